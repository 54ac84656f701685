"""The server over real sockets: sessions over connections, the disk before every answer, and the end of both."""

import re
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE

from quorate.metadata.log.files import File, Mode, RealFiles
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.zookeeper.frames import Frames
from quorate.metadata.zookeeper.jute import Reader
from quorate.metadata.zookeeper.messages import PING_XID, WATCH_XID
from quorate.metadata.zookeeper.server import Running, running_server

TICK_MS: Final = 100
PATIENCE_S: Final = 20.0


class Wire:
    """A client that says exactly what it is told to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.session = 0
        self.password = b""
        self.timeout_ms = 0
        self._frames = Frames()
        self._waiting: list[bytes] = []

    async def connect(
        self, session: int = 0, password: bytes = bytes(16), *, zxid: int = 0, timeout_ms: int = 10_000
    ) -> bool:
        """False: the server closed the connection without a word."""
        await self.frame(bytes(kazoo.Connect(0, zxid, timeout_ms, session, password, False).serialize()))
        answer = await self.receive()
        if answer is None:
            return False
        reader = Reader(answer)
        assert reader.i32() == 0
        self.timeout_ms, self.session, self.password = reader.i32(), reader.i64(), reader.buffer() or b""
        return True

    async def frame(self, data: bytes) -> None:
        await self.stream.send_all(len(data).to_bytes(4, "big") + data)

    async def send(self, xid: int, request: Any) -> None:
        await self.frame(sent(xid, request))

    async def receive(self) -> bytes | None:
        """The next message; None: the connection is closed."""
        with trio.fail_after(PATIENCE_S):
            while not self._waiting:
                try:
                    data = await self.stream.receive_some()
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                self._waiting += self._frames.add(data)
        return self._waiting.pop(0)

    async def reply(self) -> tuple[int, int, int]:
        """Number, zxid and error."""
        answer = await self.receive()
        assert answer is not None
        reader = Reader(answer)
        return reader.i32(), reader.i64(), reader.i32()

    async def ask(self, xid: int, request: Any) -> int:
        """The error of its reply."""
        await self.send(xid, request)
        found, _, error = await self.reply()
        assert found == xid
        return error


def sent(xid: int, request: Any) -> bytes:
    body = request.serialize()
    return kazoo.int_int_struct.pack(xid, request.type) + (body if isinstance(body, bytes) else bytes(body))


def create(path: str, flags: int = 0) -> Any:
    return kazoo.Create(path, b"x", OPEN_ACL_UNSAFE, flags)


class Bench:
    def __init__(self, running: Running, stack: AsyncExitStack) -> None:
        self.running = running
        self.server = running.server
        self._stack = stack

    async def wire(self) -> Wire:
        stream = await trio.open_tcp_stream("127.0.0.1", self.running.address.port)
        await self._stack.enter_async_context(stream)
        return Wire(stream)

    async def connected(self, **wish: Any) -> Wire:
        wire = await self.wire()
        assert await wire.connect(**wish)
        return wire

    async def word(self, word: bytes) -> str:
        stream = await trio.open_tcp_stream("127.0.0.1", self.running.address.port)
        await stream.send_all(word)
        async with stream:
            return b"".join([part async for part in stream]).decode()

    def has(self, path: str) -> bool:
        return path in self.server.service.state.tree.nodes


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with running_server(tmp_path, tick_ms=TICK_MS) as running, AsyncExitStack() as stack:
        yield Bench(running, stack)


class TestSessions:
    async def test_go_on_over_another_connection(self, bench: Bench) -> None:
        first = await bench.connected()
        await first.ask(1, create("/e", 1))
        await first.ask(2, kazoo.GetData("/e", True))
        await first.stream.aclose()
        second = await bench.connected(session=first.session, password=first.password)

        assert (second.session, second.password) == (first.session, first.password)
        assert bench.has("/e")
        await second.send(1, kazoo.SetData("/e", b"", -1))
        assert (await second.reply())[0] == 1, "the watch was the first connection's"

    async def test_take_their_former_connection_away(self, bench: Bench) -> None:
        first = await bench.connected()
        await bench.connected(session=first.session, password=first.password)

        assert await first.receive() is None

    @pytest.mark.parametrize("which", ["password", "session"])
    async def test_are_of_who_knows_the_password(self, bench: Bench, which: str) -> None:
        first = await bench.connected()
        session = first.session if which == "password" else first.session + 1
        thief = await bench.connected(session=session, password=b"?" * 16)

        assert thief.timeout_ms == 0  # which is how a client learns that its session is over
        assert await thief.receive() is None
        assert await first.ask(1, kazoo.Exists("/", None)) == 0

    async def test_of_clients_that_have_seen_more_are_refused(self, bench: Bench) -> None:
        """It would go back in time: this server has lost something, or is another one."""
        wire = await bench.wire()

        assert not await wire.connect(zxid=99)

    async def test_end_when_nobody_is_heard(self, bench: Bench) -> None:
        wire = await bench.connected(timeout_ms=1)
        assert wire.timeout_ms == 2 * TICK_MS
        await wire.ask(1, create("/e", 1))
        other = await bench.connected()
        await other.ask(1, kazoo.Exists("/e", True))

        assert await wire.receive() is None
        assert not bench.has("/e")
        assert (await other.reply())[0] == WATCH_XID
        again = await bench.connected(session=wire.session, password=wire.password)
        assert again.timeout_ms == 0

    async def test_live_as_long_as_they_ping(self, bench: Bench) -> None:
        wire = await bench.connected(timeout_ms=1)
        await wire.ask(1, create("/e", 1))
        expired = await bench.connected(timeout_ms=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping, wire)
            assert await expired.receive() is None
            nursery.cancel_scope.cancel()
        assert bench.has("/e")

    async def _ping(self, wire: Wire) -> None:
        while True:
            await wire.frame(kazoo.int_int_struct.pack(PING_XID, 11))
            assert (await wire.reply())[0] == PING_XID

    async def test_that_are_over_answer_nothing_more(self, bench: Bench) -> None:
        """Whatever is asked between the end and the close of the connection."""
        wire = await bench.connected()
        bench.server.service.expire(now_ms=2**60, time_ms=0)
        body = kazoo.int_int_struct.pack(1, 101) + bytes(20)
        asked = [sent(1, request) for request in (create("/a"), kazoo.Exists("/", None), kazoo.GetACL("/"))]
        (client,) = bench.server._connections
        service = bench.server.service
        before = len(service.outgoing)
        for message in (*asked, sent(1, kazoo.Sync("/")), body):
            service.handle(client, message, now_ms=0, time_ms=0)

        errors = [Reader(one.data, 16).i32() for one in list(service.outgoing)[before:]]
        assert errors == [-112] * 5
        while await wire.receive() is not None:  # and then the connection ends
            pass

    async def test_are_closed_by_their_client(self, bench: Bench) -> None:
        wire = await bench.connected()
        await wire.ask(1, create("/e", 1))
        assert await wire.ask(2, kazoo.CloseInstance) == 0

        assert await wire.receive() is None
        assert not bench.has("/e")

    async def test_outlive_the_server(self, tmp_path: Path) -> None:
        async with running_server(tmp_path) as running, AsyncExitStack() as stack:
            bench = Bench(running, stack)
            first = await bench.connected()
            await first.ask(1, create("/e", 1))
            await first.ask(2, create("/a"))
        async with running_server(tmp_path) as running, AsyncExitStack() as stack:
            bench = Bench(running, stack)
            assert running.recovered.transactions == 3
            again = await bench.connected(session=first.session, password=first.password, zxid=3)
            assert again.session == first.session
            assert bench.has("/e")
            assert await again.ask(1, kazoo.CloseInstance) == 0
            assert (bench.has("/e"), bench.has("/a")) == (False, True)


class TestRequests:
    async def test_are_answered_in_their_order(self, bench: Bench) -> None:
        """Reads behind writes that wait for the disk too."""
        wire = await bench.connected()
        for xid in range(1, 101):
            await wire.send(xid, create(f"/{xid}") if xid % 2 else kazoo.Exists(f"/{xid - 1}", None))
        replies = [await wire.reply() for _ in range(100)]

        assert [xid for xid, _, _ in replies] == list(range(1, 101))
        assert {error for _, _, error in replies} == {0}
        zxids = [zxid for _, zxid, _ in replies]
        assert zxids == sorted(zxids)

    async def test_that_are_unknown_cost_nothing_more(self, bench: Bench) -> None:
        wire = await bench.connected()
        await wire.frame(kazoo.int_int_struct.pack(5, 77))

        assert await wire.reply() == (5, 1, -6)
        assert await wire.ask(6, kazoo.Exists("/", None)) == 0

    @pytest.mark.parametrize("data", [b"\x7f\xff\xff\xff", b"\0\0\0\3abc"], ids=["too long", "no header"])
    async def test_that_are_none_cost_the_connection(self, bench: Bench, data: bytes) -> None:
        wire = await bench.connected()
        await wire.stream.send_all(data)

        assert await wire.receive() is None
        assert await (await bench.connected()).ask(1, kazoo.Exists("/", None)) == 0

    async def test_watches_come_back_with_a_client(self, bench: Bench) -> None:
        """SetWatches, as the Java client sends it."""
        wire = await bench.connected()
        body = kazoo.long_struct.pack(0) + b"".join(
            [
                kazoo.int_struct.pack(1) + kazoo.write_string("/"),
                kazoo.int_struct.pack(1) + kazoo.write_string("/new"),
                kazoo.int_struct.pack(0),
            ]
        )
        await wire.frame(kazoo.int_int_struct.pack(-8, 101) + body)
        assert (await wire.reply())[0] == -8
        await wire.send(1, create("/new"))

        assert [(await wire.reply())[0] for _ in range(2)] == [WATCH_XID, 1]

    async def test_credentials_that_are_none_end_the_connection(self, bench: Bench) -> None:
        wire = await bench.connected()
        await wire.send(-4, kazoo.Auth(0, "digest", "nocolon"))

        assert await wire.reply() == (-4, 0, -115)
        assert await wire.receive() is None


class TestWords:
    async def test_of_four_letters(self, bench: Bench) -> None:
        wire = await bench.connected()
        await wire.ask(1, create("/a"))

        assert await bench.word(b"ruok") == "imok"
        assert await bench.word(b"isro") == "rw"
        srvr = await bench.word(b"srvr")
        assert "Zxid: 0x2\nMode: standalone\nNode count: 5\n" in srvr
        stat = await bench.word(b"stat")
        assert re.search(r"\nClients:\n /127.0.0.1:\d+\[1\]\(queued=0,recved=1,sent=2\)\n", stat)
        mntr = dict(line.split("\t") for line in (await bench.word(b"mntr")).splitlines())
        assert (mntr["zk_znode_count"], mntr["zk_server_state"], mntr["zk_global_sessions"]) == (
            "5",
            "standalone",
            "1",
        )
        assert "not in the whitelist" in await bench.word(b"dump")


class Gate:
    """Files whose flushes wait until they may, or fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.failing = False

    def files(self) -> RealFiles:
        gate = self

        class Files(RealFiles):
            def open(self, path: Path, mode: Mode) -> File:
                file = super().open(path, mode)
                flush = file.fdatasync

                def fdatasync() -> None:
                    gate.open.wait()
                    if gate.failing:
                        raise OSError(5, "Input/output error")
                    flush()

                return _Proxy(file, fdatasync)

        return Files()


class _Proxy:
    def __init__(self, file: File, fdatasync: Any) -> None:
        self._file = file
        self.fdatasync = fdatasync

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TestTheDisk:
    async def test_comes_before_every_answer(self, tmp_path: Path) -> None:
        """Before the writer's own, before events, and before what others read of it."""
        gate = Gate()
        async with running_server(tmp_path, files=gate.files()) as running, AsyncExitStack() as stack:
            bench = Bench(running, stack)
            writer, reader = await bench.connected(), await bench.connected()
            await reader.ask(1, kazoo.Exists("/a", True))
            gate.open.clear()
            await writer.send(1, create("/a"))
            while not bench.has("/a"):
                await trio.lowlevel.checkpoint()
            await reader.send(2, kazoo.GetData("/a", None))
            while len(bench.server.service.outgoing) < 3:  # the event, the reply to the writer, what is read
                await trio.lowlevel.checkpoint()
            for wire in (writer, reader):
                with pytest.raises(BlockingIOError):
                    wire.stream.socket._sock.recv(1)  # type: ignore[attr-defined]

            gate.open.set()
            assert (await writer.reply())[0] == 1
            assert [(await reader.reply())[0] for _ in range(2)] == [WATCH_XID, 2]

    async def test_that_fails_ends_the_server(self, tmp_path: Path) -> None:
        with pytest.raises(BaseExceptionGroup) as ended:
            await self._serve_on_a_failing_disk(tmp_path)
        # perhaps twice: by the flush thread, and by whoever waited for it
        assert ended.value.split(StorageFailed)[1] is None

    async def _serve_on_a_failing_disk(self, directory: Path) -> None:
        gate = Gate()
        async with running_server(directory, files=gate.files()) as running, AsyncExitStack() as stack:
            wire = await Bench(running, stack).connected()
            gate.failing = True
            await wire.send(1, create("/a"))
            assert await wire.receive() is None
            await trio.sleep_forever()

    async def test_snapshots_are_taken_while_it_serves(self, tmp_path: Path) -> None:
        async with running_server(tmp_path) as running, AsyncExitStack() as stack:
            bench = Bench(running, stack)
            wire = await bench.connected()
            for xid in range(1, 3001):
                await wire.send(xid, create(f"/{xid}"))
            assert {(await wire.reply())[2] for _ in range(3000)} == {0}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.server.write_snapshot)
                for xid in range(3001, 3501):
                    await wire.send(xid, create(f"/{xid}"))
                assert {(await wire.reply())[2] for _ in range(500)} == {0}
            assert bench.server.snapshots == 1
            assert await wire.ask(3501, create("/after")) == 0
        async with running_server(tmp_path) as running:
            assert (
                0 < running.recovered.transactions <= 502
            )  # what had come before it began is in the snapshot
            assert len(running.server.service.state.tree) == 3505
