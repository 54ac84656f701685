"""The session through kazoo, beyond what the contract shows: TLS, logins, a server that goes and comes back."""

import pathlib
import ssl
import threading
from collections.abc import Sequence
from typing import Final

import attrs
import pytest
import trio
import trustme
from kazoo.security import make_digest_acl

from quorate.metadata.zookeeper import messages
from quorate.metadata.zookeeper.acls import Acl
from quorate.metadata.zookeeper.candidates import Candidacy, Leading
from quorate.metadata.zookeeper.client import CannotConnect, connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.server import running_server
from quorate.metadata.zookeeper.trees import Ephemerals, load_tree, read_stable_tree, read_tree
from quorate.metadata.zookeeper.znodes import (
    Create,
    ErrorCode,
    SessionState,
    SetData,
    WatchEvent,
    ZooKeeperError,
)

PATIENCE_S: Final = 30.0

# kazoo drops sockets that it cannot secure without closing them; they are found some time after that test
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def settings(port: int, **more: object) -> ConnectSettings:
    return attrs.evolve(ConnectSettings(hosts=f"127.0.0.1:{port}"), **more)


async def test_nobody_there() -> None:
    with pytest.raises(CannotConnect, match="nobody answered within 200 ms"):
        async with connected(settings(1, connect_timeout_ms=200)):
            pass


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # kazoo drops what it cannot secure
async def test_tls(tmp_path: pathlib.Path) -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = ca.issue_cert("me")
    for name, pem in (
        ("ca", ca.cert_pem),
        ("stranger", stranger.cert_pem),
        ("mine", mine.private_key_and_cert_chain_pem),
    ):
        pem.write_to_path(tmp_path / f"{name}.pem")
    async with running_server(tmp_path / "zk", tls=context) as running:
        good = settings(
            running.address.port,
            hosts=f"localhost:{running.address.port}",
            tls=True,
            ca_file=str(tmp_path / "ca.pem"),
            cert_file=str(tmp_path / "mine.pem"),
            key_file=str(tmp_path / "mine.pem"),
        )
        async with connected(good) as zookeeper:
            await zookeeper.create("/a", b"x" * 200_000)
            assert (await zookeeper.get("/a")).data == b"x" * 200_000
        bad = attrs.evolve(good, ca_file=str(tmp_path / "stranger.pem"), connect_timeout_ms=500)
        with pytest.raises(CannotConnect):
            async with connected(bad):
                pass


async def test_what_a_login_makes_is_for_that_login(tmp_path: pathlib.Path) -> None:
    mine = Acl(31, "digest", make_digest_acl("me", "secret", all=True).id.id)
    async with running_server(tmp_path) as running:
        port = running.address.port
        async with (
            connected(settings(port, digest="me:secret", acl=(mine,))) as owner,
            connected(settings(port)) as other,
        ):
            await owner.create("/mine", b"x")
            await owner.multi([Create("/in-multi", b"x")])
            assert (await owner.get("/mine")).data == b"x"
            for path in ("/mine", "/in-multi"):
                with pytest.raises(ZooKeeperError, match=f"NO_AUTH {path}"):
                    await other.get(path)
            with pytest.raises(ZooKeeperError, match="NO_AUTH"):
                await other.get_many(["/", "/mine"])


async def test_ensembles_that_do_not_know_many_reads(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before ZooKeeper 3.6."""
    asked: list[object] = []

    def unknown(reader: object) -> messages.MultiRead:
        asked.append(reader)
        raise ZooKeeperError(ErrorCode.UNIMPLEMENTED)

    monkeypatch.setattr(messages, "_multi_read", unknown)
    async with running_server(tmp_path) as running, connected(settings(running.address.port)) as zookeeper:
        await zookeeper.multi([Create(f"/{index}", str(index).encode()) for index in range(1100)])
        paths = ["/no", *(f"/{index}" for index in range(1100)), "/no"]
        found = await zookeeper.get_many(paths)

        assert [one and one.data for one in found] == [None, *(str(i).encode() for i in range(1100)), None]
        assert await zookeeper.children_many(["/1", "/no"]) == [[], None]
        assert len(asked) == 1, "it is asked once, and believed"


async def test_a_server_that_goes_and_comes_back(tmp_path: pathlib.Path) -> None:
    """The session lives through it; what is asked meanwhile fails at once, and watches are gone."""
    states: list[SessionState] = []
    moved = trio.Event()
    events: list[WatchEvent] = []

    def told(state: SessionState) -> None:
        nonlocal moved
        states.append(state)
        moved.set()
        moved = trio.Event()

    async def until(wanted: Sequence[SessionState]) -> None:
        with trio.fail_after(PATIENCE_S):
            while states != wanted:
                await moved.wait()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(_serve, tmp_path, 0)
        async with connected(settings(server.port)) as zookeeper:
            zookeeper.on_state(told)
            session = zookeeper.session_id
            await zookeeper.create("/e", ephemeral=True)
            await zookeeper.get("/e", events.append)
            await server.stop()
            await until([SessionState.SUSPENDED])
            with pytest.raises(ZooKeeperError, match="CONNECTION_LOSS"):
                await zookeeper.set("/e", b"lost")
            await nursery.start(_serve, tmp_path, server.port)
            await until([SessionState.SUSPENDED, SessionState.CONNECTED])

            assert zookeeper.session_id == session
            assert (await zookeeper.get("/e")).data is None
            await zookeeper.set("/e", b"x")
            assert events == []
        nursery.cancel_scope.cancel()


@attrs.frozen
class _Server:
    port: int
    scope: trio.CancelScope
    ended: trio.Event

    async def stop(self) -> None:
        self.scope.cancel()
        await self.ended.wait()


async def _serve(
    directory: pathlib.Path, port: int, *, task_status: trio.TaskStatus[_Server] = trio.TASK_STATUS_IGNORED
) -> None:
    ended = trio.Event()
    with trio.CancelScope() as scope:
        async with running_server(directory, port=port) as running:
            task_status.started(_Server(running.address.port, scope, ended))
            await trio.sleep_forever()
    ended.set()


async def test_events_come_before_the_replies_that_follow_them(tmp_path: pathlib.Path) -> None:
    """However slow kazoo's thread for events is: here it stands still."""
    events: list[WatchEvent] = []
    gate = threading.Event()
    async with running_server(tmp_path) as running, connected(settings(running.address.port)) as zookeeper:
        await zookeeper.create("/a")
        await zookeeper.get("/a", events.append)
        zookeeper._handler.callback_queue.put(gate.wait)
        await zookeeper.set("/a", b"x")
        gate.set()

        assert [event.path for event in events] == ["/a"]


async def test_candidates_over_the_wire(tmp_path: pathlib.Path) -> None:
    """As on the embedded tree: the second one takes over when the first session ends."""
    told: dict[str, list[Leading | None]] = {"a": [], "b": []}
    leads = {name: trio.Event() for name in told}

    def tell(name: str, leading: Leading | None) -> None:
        told[name].append(leading)
        if leading is not None:
            leads[name].set()

    async with running_server(tmp_path) as running, trio.open_nursery() as nursery:
        port = settings(running.address.port)
        with trio.fail_after(PATIENCE_S):
            async with connected(port) as second:
                async with connected(port) as first:
                    nursery.start_soon(Candidacy(first, "/queue", lambda leading: tell("a", leading)).run)
                    await leads["a"].wait()
                    nursery.start_soon(Candidacy(second, "/queue", lambda leading: tell("b", leading)).run)
                    while len(await second.children("/queue")) < 2:
                        await trio.lowlevel.checkpoint()
                    assert told["b"] == []
                await leads["b"].wait()
        assert told["a"][-1] is None
        assert told["a"][0] is not None
        assert told["b"][0] is not None
        assert told["a"][0].token < told["b"][0].token
        nursery.cancel_scope.cancel()


async def test_trees_are_read_and_loaded(tmp_path: pathlib.Path) -> None:
    async with running_server(tmp_path) as running:
        port = running.address.port
        async with connected(settings(port)) as root:
            await root.multi([Create("/one"), Create("/two")])
        hosts = f"127.0.0.1:{port}"
        async with (
            connected(settings(port, hosts=f"{hosts}/one")) as one,
            connected(settings(port, hosts=f"{hosts}/two")) as two,
        ):
            await one.multi([Create(f"/n{index}", bytes(10)) for index in range(1300)])
            await one.multi(
                [Create("/n0/null", None), Create("/n0/big", bytes(300_000)), SetData("/n0/null", None)]
            )
            await one.create("/n1/big", bytes(400_000))
            await one.create("/gone", b"", ephemeral=True)
            tree = await read_stable_tree(one)
            assert len(tree) == 1305
            assert await read_tree(one, "/n0") == {
                path: tree[path] for path in ("/n0", "/n0/null", "/n0/big")
            }
            assert await read_tree(one, "/no") == {}

            assert await load_tree(two, tree, ephemerals=Ephemerals.SKIP) == 1303
            again = await read_stable_tree(two)
            assert {path: (node.data, node.stat.version) for path, node in again.items()} == {
                path: (node.data, node.stat.version) for path, node in tree.items() if path != "/gone"
            }
