"""What `interface.ZooKeeper` promises, on every implementation and on a real ZooKeeper: the same results, the same
stats, the same errors."""

import pathlib
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Final

import attrs
import pytest
import trio

from quorate.metadata.zookeeper.acls import Acl
from quorate.metadata.zookeeper.client import CannotConnect, connected
from quorate.metadata.zookeeper.interface import ConnectSettings, ZooKeeper
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    EventType,
    MultiFailed,
    Op,
    Result,
    SessionState,
    SetData,
    Stat,
    WatchEvent,
    ZooKeeperError,
)
from tests.contracts.zookeepers import Embedded, Ensemble, ThroughKazoo, ours, real_zookeeper

KINDS: Final = ("embedded", "ours", "ours in a chroot", "real")
_PATIENCE_S: Final = 30.0
"""For what comes by itself; a failing test waits that long."""


@pytest.fixture(scope="module")
def real_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_zookeeper(tmp_path_factory.mktemp("zookeeper")) as port:
        yield port


class Bench:
    """An ensemble, a session, and a znode of this test's own to work below."""

    def __init__(self, ensemble: Ensemble, session: ZooKeeper, stack: AsyncExitStack) -> None:
        self.ensemble = ensemble
        self.zk = session
        self._stack = stack

    async def another(self) -> ZooKeeper:
        return await self._stack.enter_async_context(self.ensemble.connect())


async def _ensemble(
    kind: str, request: pytest.FixtureRequest, stack: AsyncExitStack, *, chroot: bool = True
) -> Ensemble:
    if kind == "embedded":
        return Embedded()
    if kind == "real":
        port: int = request.getfixturevalue("real_port")
    else:
        port = await stack.enter_async_context(ours(request.getfixturevalue("tmp_path")))
    if kind == "ours" or not chroot:
        return ThroughKazoo(port)
    # the real one is shared: each test has a tree of its own
    own = f"/{uuid.uuid4().hex}"
    async with ThroughKazoo(port).connect() as session:
        await session.create(own)
    return ThroughKazoo(port, own)


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        ensemble = await _ensemble(request.param, request, stack)
        session = await stack.enter_async_context(ensemble.connect())
        yield Bench(ensemble, session, stack)


async def refusal(doing: object) -> ErrorCode:
    with pytest.raises(ZooKeeperError) as refused:
        await doing  # type: ignore[misc]
    return refused.value.code


class Heard(list[tuple[EventType, str]]):
    """What a watcher was told; can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._event = trio.Event()

    def __call__(self, event: WatchEvent) -> None:
        self.append((event.type, event.path))
        self._event.set()

    async def wait(self, count: int = 1) -> list[tuple[EventType, str]]:
        with trio.fail_after(_PATIENCE_S):
            while len(self) < count:
                self._event = trio.Event()
                await self._event.wait()
        return list(self)


class States:
    """What a session told of itself since this was made; each is waited for after the one before."""

    def __init__(self, zk: ZooKeeper) -> None:
        self._send, self._receive = trio.open_memory_channel[SessionState](100)
        zk.on_state(self._send.send_nowait)

    async def wait(self, wanted: SessionState) -> None:
        with trio.fail_after(_PATIENCE_S):
            async for state in self._receive:
                if state is wanted:
                    return


class TestData:
    async def test_the_stat_of_a_life(self, bench: Bench) -> None:
        zk = bench.zk
        assert await zk.create("/a", b"1") == "/a"
        made = (await zk.get("/a")).stat
        assert made.czxid == made.mzxid == made.pzxid > 0
        assert made.ctime == made.mtime
        assert _counts(made) == (0, 0, 0, 0, 1, 0)

        await zk.create("/a/b")
        child = (await zk.get("/a/b")).stat
        changed = await zk.set("/a", b"22", 0)
        assert changed.czxid == made.czxid < child.czxid == changed.pzxid < changed.mzxid
        assert _counts(changed) == (1, 1, 0, 0, 2, 1)

        await zk.delete("/a/b")
        last = await zk.exists("/a")
        assert last is not None
        assert last.pzxid > changed.mzxid == last.mzxid
        assert _counts(last) == (1, 2, 0, 0, 2, 0)

    @pytest.mark.parametrize(
        "data", [None, b"", b"\x00\xff", b"x" * 100_000], ids=["null", "empty", "bytes", "much"]
    )
    async def test_data_is_kept_as_it_is(self, bench: Bench, data: bytes | None) -> None:
        await bench.zk.create("/single", data)
        await bench.zk.multi([Create("/multi", data)])
        await bench.zk.create("/set", b"other")
        await bench.zk.create("/set-in-multi", b"other")
        await bench.zk.set("/set", data)
        await bench.zk.multi([SetData("/set-in-multi", data)])

        found = await bench.zk.get_many(["/single", "/multi", "/set", "/set-in-multi"])
        assert [one and one.data for one in found] == [data] * 4
        assert [one.stat.data_length for one in found if one] == [len(data or b"")] * 4

    async def test_a_node_made_again_starts_again(self, bench: Bench) -> None:
        await bench.zk.create("/a")
        before = await bench.zk.set("/a", b"x")
        await bench.zk.delete("/a", 1)
        await bench.zk.create("/a")

        after = (await bench.zk.get("/a")).stat
        assert (before.version, after.version) == (1, 0)
        assert after.czxid > before.mzxid

    async def test_what_is_not_there(self, bench: Bench) -> None:
        heard = Heard()

        assert await bench.zk.exists("/no") is None
        assert await refusal(bench.zk.get("/no", heard)) is ErrorCode.NO_NODE
        assert await refusal(bench.zk.children("/no", heard)) is ErrorCode.NO_NODE
        assert await refusal(bench.zk.set("/no", b"")) is ErrorCode.NO_NODE
        assert await refusal(bench.zk.delete("/no")) is ErrorCode.NO_NODE
        assert await refusal(bench.zk.create("/no/a")) is ErrorCode.NO_NODE
        await bench.zk.create("/no")
        await bench.zk.set("/no", b"x")
        await bench.zk.sync()
        assert heard == []

    async def test_refusals(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/a", b"data")
        await zk.create("/a/b")
        await zk.create("/mine", ephemeral=True)
        before = await zk.get_many(["/a", "/a/b", "/mine"])

        assert await refusal(zk.create("/a")) is ErrorCode.NODE_EXISTS
        assert await refusal(zk.create("/mine/x")) is ErrorCode.NO_CHILDREN_FOR_EPHEMERALS
        assert await refusal(zk.create("/mine/x", ephemeral=True)) is ErrorCode.NO_CHILDREN_FOR_EPHEMERALS
        assert await refusal(zk.create("/x\x01")) is ErrorCode.BAD_ARGUMENTS
        assert await refusal(zk.create("/x\uf8ff")) is ErrorCode.BAD_ARGUMENTS
        assert await refusal(zk.create("/x\U0001f600")) is ErrorCode.BAD_ARGUMENTS
        assert await refusal(zk.set("/a", b"", 5)) is ErrorCode.BAD_VERSION
        assert await refusal(zk.delete("/a", 5)) is ErrorCode.BAD_VERSION
        assert await refusal(zk.delete("/a")) is ErrorCode.NOT_EMPTY

        assert await zk.get_many(["/a", "/a/b", "/mine"]) == before

    async def test_odd_names_are_names(self, bench: Bench) -> None:
        names = ["%2F", "<default>", "ä", "a b", "...", ".hidden", "\u4e2d", "*"]
        for name in names:
            await bench.zk.create(f"/{name}", name.encode())

        assert set(names) <= set(await bench.zk.children("/"))
        found = await bench.zk.get_many([f"/{name}" for name in names])
        assert [one and one.data for one in found] == [name.encode() for name in names]

    async def test_many_reads_keep_their_order_and_say_what_is_missing(self, bench: Bench) -> None:
        zk = bench.zk
        paths = [f"/n{index}" for index in range(1200)]
        await zk.multi([Create(path, path.encode()) for path in paths])
        await zk.multi([Create("/n7/x"), Create("/n7/\u4e2d"), Create("/n8/z")])
        asked = ["/no", *paths, "/no2"]

        found = await zk.get_many(asked)
        assert [one and one.path for one in found] == [None, *paths, None]
        assert [one and one.data for one in found] == [None, *(path.encode() for path in paths), None]
        assert found[8] == await zk.get("/n7")
        children = await zk.children_many(["/n6", "/no", "/n7", "/n8"])
        assert [one if one is None else sorted(one) for one in children] == [[], None, ["x", "\u4e2d"], ["z"]]
        assert await zk.get_many([]) == await zk.children_many([]) == []

    async def test_too_much_data_costs_the_connection_and_nothing_else(self, bench: Bench) -> None:
        states = States(bench.zk)
        assert await refusal(bench.zk.create("/much", bytes(1_100_000))) is ErrorCode.CONNECTION_LOSS
        await states.wait(SessionState.SUSPENDED)
        await states.wait(SessionState.CONNECTED)

        assert await bench.zk.exists("/much") is None


@pytest.mark.parametrize("kind", ["embedded", "ours", "real"])
async def test_what_is_there_before_anything_is(kind: str, request: pytest.FixtureRequest) -> None:
    """ZooKeeper's own, as 3.8 has it."""
    async with AsyncExitStack() as stack:
        ensemble = await _ensemble(kind, request, stack, chroot=False)
        zk = await stack.enter_async_context(ensemble.connect())
        paths = ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"]

        found = await zk.get_many(paths)
        assert [one and one.stat for one in found] == [
            Stat(0, 0, 0, 0, 0, -2, 0, 0, 0, 2, 0),
            Stat(0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0),
            Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        ]
        assert sorted(await zk.children("/zookeeper")) == ["config", "quota"]
        for path in ("/", *paths):
            assert await refusal(zk.delete(path)) is ErrorCode.BAD_ARGUMENTS
        assert await refusal(zk.set("/zookeeper/config", b"")) is ErrorCode.NO_AUTH
        root = await zk.exists("/")
        assert root is not None
        assert (root.czxid, root.ephemeral_owner, root.version) == (0, 0, 0)


class TestSequences:
    async def test_the_number_counts_creations_of_any_kind(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/q")
        await zk.create("/q/plain")
        assert await zk.create("/q/n-", sequential=True) == "/q/n-0000000001"
        await zk.delete("/q/n-0000000001")
        assert await zk.create("/q/n-", ephemeral=True, sequential=True) == "/q/n-0000000002"
        with pytest.raises(MultiFailed):
            await zk.multi([Create("/q/n-", sequential=True), Check("/no", 0)])
        assert await zk.multi(
            [Create("/q/a-", sequential=True), Create("/q/plain2"), Create("/q/b-", sequential=True)]
        ) == ["/q/a-0000000003", "/q/plain2", "/q/b-0000000005"]

        stat = await zk.exists("/q")
        assert stat is not None
        assert (stat.cversion, stat.num_children) == (7, 5)


class TestMulti:
    async def test_ops_see_those_before_them_and_share_one_zxid(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/old", b"old")
        results = await zk.multi(
            [
                Create("/a", b"1"),
                Create("/a/b"),
                SetData("/a", b"2", 0),
                Check("/a", 1),
                Delete("/old"),
                Create("/old", None),
                Delete("/a/b", 0),
            ]
        )

        stat = await zk.exists("/a")
        again = await zk.get("/old")
        assert stat is not None
        assert stat.czxid == stat.mzxid == stat.pzxid == again.stat.czxid
        assert (again.data, again.stat.version) == (None, 0)
        assert _counts(stat) == (1, 2, 0, 0, 1, 0)
        assert [type(result).__name__ for result in results] == [
            "str",
            "str",
            "Stat",
            "NoneType",
            "NoneType",
            "str",
            "NoneType",
        ]
        set_result = results[2]
        assert isinstance(set_result, Stat)
        assert _counts(set_result) == (1, 1, 0, 0, 1, 1)  # as it was after this op, not at the end

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (Check("/a", 7), ErrorCode.BAD_VERSION),
            (Check("/no", 7), ErrorCode.NO_NODE),
            (Create("/a"), ErrorCode.NODE_EXISTS),
            (Create("/x/y/z"), ErrorCode.NO_NODE),
            (SetData("/a", b"", 7), ErrorCode.BAD_VERSION),
            (Delete("/a"), ErrorCode.NOT_EMPTY),
        ],
    )
    @pytest.mark.parametrize("place", [0, 1, 2])
    async def test_all_or_nothing(self, bench: Bench, bad: Op, code: ErrorCode, place: int) -> None:
        zk = bench.zk
        await zk.create("/a")
        await zk.create("/a/b")
        before = await zk.get_many(["/", "/a", "/a/b"])
        heard = Heard()
        await zk.children("/", heard)
        ops: list[Op] = [Create("/x"), SetData("/a/b", b"new")]
        ops.insert(place, bad)

        with pytest.raises(MultiFailed) as failed:
            await zk.multi(ops)

        assert (failed.value.code, failed.value.path, failed.value.index) == (code, bad.path, place)
        assert await zk.get_many(["/", "/a", "/a/b"]) == before
        assert await zk.exists("/x") is None
        assert heard == []

    async def test_of_nothing(self, bench: Bench) -> None:
        assert await bench.zk.multi([]) == []


class TestWatches:
    async def test_each_kind_hears_once_and_before_the_reply(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/a")
        data, child, exist = Heard(), Heard(), Heard()
        await zk.get("/a", data)
        await zk.children("/a", child)
        assert await zk.exists("/a/b", exist) is None

        await zk.create("/a/b")
        assert (data, child, exist) == (
            [],
            [(EventType.CHILDREN_CHANGED, "/a")],
            [(EventType.CREATED, "/a/b")],
        )
        await zk.set("/a", b"x")
        assert data == [(EventType.DATA_CHANGED, "/a")]
        await zk.set("/a", b"y")
        await zk.create("/a/c")
        await zk.delete("/a/b")
        assert list(map(len, (data, child, exist))) == [1, 1, 1]

    async def test_a_deletion_is_heard_by_all_kinds(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/a")
        data, child, exist, parent = Heard(), Heard(), Heard(), Heard()
        await zk.get("/a", data)
        await zk.children("/a", child)
        await zk.exists("/a", exist)
        await zk.children("/", parent)

        await zk.delete("/a")
        assert data == child == exist == [(EventType.DELETED, "/a")]
        assert parent == [(EventType.CHILDREN_CHANGED, "/")]

    async def test_what_is_below_the_children_is_not_heard(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/a")
        await zk.create("/a/b")
        heard = Heard()
        await zk.children("/a", heard)

        await zk.create("/a/b/c")
        await zk.set("/a/b", b"x")
        await zk.set("/a", b"x")
        assert heard == []

    async def test_the_events_of_a_multi_come_in_its_order(self, bench: Bench) -> None:
        zk = bench.zk
        await zk.create("/a")
        heard = Heard()
        await zk.get("/a", heard)
        await zk.exists("/b", heard)
        await zk.children("/a", heard)

        await zk.multi([Create("/b"), Create("/a/x"), SetData("/a", b""), SetData("/a", b"2")])
        assert heard == [
            (EventType.CREATED, "/b"),
            (EventType.CHILDREN_CHANGED, "/a"),
            (EventType.DATA_CHANGED, "/a"),
        ]

    async def test_another_sessions_change_is_heard(self, bench: Bench) -> None:
        other = await bench.another()
        heard = Heard()
        await bench.zk.exists("/a", heard)
        await other.create("/a", b"1")

        assert await heard.wait() == [(EventType.CREATED, "/a")]
        await bench.zk.sync()
        assert (await bench.zk.get("/a")).data == b"1"


class TestSessions:
    async def test_ephemerals_are_of_their_session_and_go_with_it(self, bench: Bench) -> None:
        heard = Heard()
        async with bench.ensemble.connect() as other:
            assert other.state is SessionState.CONNECTED
            await other.create("/e1", ephemeral=True)
            await other.create("/e2", ephemeral=True)
            await bench.zk.sync()
            stat = await bench.zk.exists("/e1", heard)
            assert stat is not None
            assert stat.ephemeral_owner == other.session_id != bench.zk.session_id
            before = await bench.zk.exists("/")
            assert before is not None

        assert await heard.wait() == [(EventType.DELETED, "/e1")]
        after = await bench.zk.exists("/")
        assert after is not None
        assert (after.pzxid > before.pzxid, after.num_children) == (True, before.num_children - 2)
        assert after.cversion == before.cversion + 2

    async def test_a_lost_session_is_told_and_followed_by_a_new_one(self, bench: Bench) -> None:
        zk = bench.zk
        heard, states = Heard(), States(zk)
        await zk.create("/e", ephemeral=True)
        await zk.create("/kept")
        await zk.get("/kept", heard)
        before = zk.session_id

        await bench.ensemble.expire(zk)
        await states.wait(SessionState.LOST)
        await states.wait(SessionState.CONNECTED)

        assert zk.state is SessionState.CONNECTED
        assert zk.session_id != before
        assert await zk.exists("/e") is None
        await zk.set("/kept", b"x")
        assert heard == []
        await zk.create("/e", ephemeral=True)
        stat = await zk.exists("/e")
        assert stat is not None
        assert stat.ephemeral_owner == zk.session_id


class TestAScript:
    """A long random script, drawn once, gives the same on every implementation."""

    async def test_is_the_same_everywhere(self, bench: Bench) -> None:
        async with Embedded().connect() as model:
            expected = _normal(await _play(model, 400))
        assert _normal(await _play(bench.zk, 400)) == expected


def _counts(stat: Stat) -> tuple[int, ...]:
    """What is no zxid and no time."""
    return (
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )


_NAMES: Final = ("a", "b", "c")


def _draw(rng: random.Random, *, single: bool) -> Op:
    path = "".join(f"/{rng.choice(_NAMES)}" for _ in range(rng.randint(1, 3)))
    data = rng.choice([None, b"", b"x", b"yy"])
    version = rng.choice([-1, -1, 0, 1])
    match rng.randrange(6 if single else 7):
        case 0 | 1:
            return Create(path, data, sequential=rng.random() < 0.2)
        case 2 | 3:
            return SetData(path, data, version)
        case 4 | 5:
            return Delete(path, version)
        case _:
            return Check(path, version)


async def _play(zk: ZooKeeper, steps: int) -> list[object]:
    """Everything that was given back, with the whole tree now and then."""
    rng = random.Random(11)
    seen: list[object] = []
    for step in range(steps):
        if rng.random() < 0.3:
            ops = [_draw(rng, single=False) for _ in range(rng.randint(1, 4))]
        else:
            ops = [_draw(rng, single=True)]
        try:
            seen.append(await _carry_out(zk, ops))
        except MultiFailed as e:
            seen.append((e.code, e.path, e.index))
        except ZooKeeperError as e:
            seen.append((e.code, e.path))
        if step % 50 == 49:
            seen.append(await _tree(zk))
    return seen


async def _carry_out(zk: ZooKeeper, ops: list[Op]) -> list[Result]:
    match ops:
        case [Create(path, data, _, sequential)]:
            return [await zk.create(path, data, sequential=sequential)]
        case [SetData(path, data, version)]:
            return [await zk.set(path, data, version)]
        case [Delete(path, version)]:
            await zk.delete(path, version)
            return [None]
        case _:
            return await zk.multi(ops)


async def _tree(zk: ZooKeeper) -> list[object]:
    found: list[object] = []
    left = [f"/{name}" for name in sorted(await zk.children("/")) if name != "zookeeper"]
    while left:
        path = left.pop()
        found.append(await zk.get(path))
        left += [f"{path}/{name}" for name in sorted(await zk.children(path))]
    return found


def _normal(seen: list[object]) -> str:
    """Times taken out, and zxids as their rank: what a server counts between them is its own affair."""
    zxids: set[int] = set()
    for one in _flat(seen):
        if isinstance(one, Stat):
            zxids |= {one.czxid, one.mzxid, one.pzxid}
    rank = {zxid: index for index, zxid in enumerate(sorted(zxids))}
    return "\n".join(
        f"{rank[one.czxid]} {rank[one.mzxid]} {rank[one.pzxid]} {_counts(one)}"
        if isinstance(one, Stat)
        else repr(one)
        for one in _flat(seen)
    )


def _flat(seen: object) -> Iterator[object]:
    match seen:
        case list() | tuple():
            for one in seen:
                yield from _flat(one)
        case _ if hasattr(seen, "stat"):
            yield f"{seen.path} {seen.data!r}"
            yield seen.stat
        case _:
            yield seen


async def test_a_login_at_a_real_zookeeper(tmp_path: pathlib.Path) -> None:
    """By SASL, with DIGEST-MD5, as Kafka's brokers do it; what it makes is for it alone."""
    mine = (Acl(31, "sasl", "kafka"),)
    login = {"mechanism": "DIGEST-MD5", "service": "zookeeper", "username": "kafka", "password": "secret"}
    with real_zookeeper(tmp_path, users={"kafka": "secret"}) as port:
        plain = ConnectSettings(hosts=f"127.0.0.1:{port}")
        async with connected(attrs.evolve(plain, sasl=login, acl=mine)) as owner, connected(plain) as other:
            await owner.create("/mine", b"x")
            await owner.multi([Create("/in-multi", None), SetData("/mine", b"y")])
            assert (await owner.get("/mine")).data == b"y"
            for path in ("/mine", "/in-multi"):
                assert await refusal(other.get(path)) is ErrorCode.NO_AUTH
        wrong = attrs.evolve(plain, sasl={**login, "password": "other"}, connect_timeout_ms=3000)
        with pytest.raises(CannotConnect, match="not accepted"):
            async with connected(wrong):
                pass
