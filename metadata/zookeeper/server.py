"""A ZooKeeper server of one process: sockets, the flush thread, the clock (shell).

    socket → Frames → service.handle → transactions → journal → flush thread
                              └─ outgoing ──── waits until its zxid is on disk ──▶ socket

One flush runs at a time; what arrives meanwhile goes into the next one. A client that does not read its replies is not
read from.
"""

import contextlib
import secrets
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import structlog
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.flushing import FlushThread
from quorate.metadata.ids import Offset
from quorate.metadata.log.files import File, Files, failing_storage, write_fully
from quorate.metadata.quorum.effects import Flush
from quorate.metadata.zookeeper import four_letter_words
from quorate.metadata.zookeeper.acls import Identity
from quorate.metadata.zookeeper.frames import Frames
from quorate.metadata.zookeeper.journal import Journal, Recovered, open_journal
from quorate.metadata.zookeeper.messages import PASSWORD_BYTES, read_connect
from quorate.metadata.zookeeper.service import Client, ZooKeeperService
from quorate.metadata.zookeeper.snapshot import SnapshotDrawing
from quorate.metadata.zookeeper.state import TICK_MS, ServerState

_CONNECT_S: Final = 10.0
"""How long a connection may take until its first message."""
_LINGER_S: Final = 5.0
"""How long the last words to a client may take."""
_UNREAD_BYTES: Final = 4 * 1024 * 1024
"""Of replies, until a client is not read from."""
_WAITING: Final = 10_000
"""Requests of one client that wait for the disk, until it is not read from."""
_SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
"""Of journal, until the next snapshot."""
_NODES_AT_ONCE: Final = 1000
"""Of a snapshot, in one turn of the loop: some milliseconds."""

_log = structlog.get_logger("zookeeper")


@attrs.define(eq=False)
class _Connection:
    """A socket and what it still has to be told."""

    client: Client
    stream: trio.abc.Stream
    socket: DirectSocket
    unsent: deque[bytes] = attrs.field(factory=deque)
    unsent_bytes: int = 0
    closing: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    wake_writer: trio.Event = attrs.field(factory=trio.Event)
    wake_reader: trio.Event = attrs.field(factory=trio.Event)

    def say(self, data: bytes) -> None:
        self.client.sent += 1
        if not self.unsent:
            written = self.socket.write(data)
            if written == len(data):
                return
            data = data[written:]
        self.unsent.append(data)
        self.unsent_bytes += len(data)
        self.wake_writer.set()

    def close_after_this(self) -> None:
        self.closing = True
        self.scope.deadline = trio.current_time() + _LINGER_S
        self.wake_writer.set()

    @property
    def is_behind(self) -> bool:
        return self.unsent_bytes > _UNREAD_BYTES or self.client.waiting > _WAITING


class ZooKeeperServer:
    """`serve` does everything; it ends when it is cancelled, or when the disk fails."""

    def __init__(
        self,
        journal: Journal,
        state: ServerState[Any],
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        tls: ssl.SSLContext | None = None,
        snapshot_bytes: int = _SNAPSHOT_BYTES,
    ) -> None:
        self.journal: Final = journal
        self.service: Final = ZooKeeperService(state)
        self.snapshots = 0
        """Written since the start."""
        self._wall_ms = wall_ms
        self._tls = tls
        self._snapshot_bytes = snapshot_bytes
        self._connections: dict[Client, _Connection] = {}
        self._flush = FlushThread(journal.flush, self._flushed)
        self._began = 0.0
        self._spent = _Spent()
        self._flush_ended = trio.Event()
        self._snapshot_wanted = trio.Event()

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def serve(
        self,
        sources: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """
        Raises:
            StorageFailed: nothing more can be promised; the process must end.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._flush.run)
            nursery.start_soon(self._expire)
            nursery.start_soon(self._snapshot_when_wanted)
            task_status.started()
            await trio.serve_listeners(self._serve_connection, sources)

    # -- connections

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            peer, port = stream.socket.getpeername()[:2]
        except OSError:
            return  # it is gone already
        secured: trio.abc.Stream = stream
        if self._tls is not None:
            secured = trio.SSLStream(stream, self._tls, server_side=True)
        client = Client(f"{peer}:{port}", (Identity("ip", peer),))
        connection = _Connection(client, secured, DirectSocket(secured))
        self._connections[client] = connection
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection)
                    await self._read(connection)
                    connection.close_after_this()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except* RemoteProtocolError as e:
            _log.warning("a connection is closed", client=peer, why=str(e.exceptions[0]))
        finally:
            del self._connections[client]
            self.service.disconnected(client)
            with trio.move_on_after(0) as hurry:
                hurry.shield = True
                await trio.aclose_forcefully(secured)

    async def _read(self, connection: _Connection) -> None:
        frames = Frames()
        messages: list[bytes] = []
        with trio.move_on_after(_CONNECT_S):
            messages = await self._first_messages(connection, frames)
        if not messages or not self._connect(connection.client, messages[0]):
            return
        self._handle(connection, messages[1:])
        while data := await connection.socket.read():
            self._handle(connection, frames.add(data))
            while connection.is_behind:
                connection.wake_reader = trio.Event()
                await connection.wake_reader.wait()

    async def _first_messages(self, connection: _Connection, frames: Frames) -> list[bytes]:
        """None if that was all: a word of four letters, which is answered, or nothing."""
        data = bytes(await connection.socket.read())
        while len(data) < 4 and (more := await connection.socket.read()):
            data += more
        if data[:4] in four_letter_words.WORDS:
            connection.say(self._word(data[:4]))
            return []
        messages = list(frames.add(data))
        while not messages and (more := await connection.socket.read()):
            messages = list(frames.add(more))
        return messages

    async def _write(self, connection: _Connection) -> None:
        """What the socket did not take at once; and the end."""
        while not connection.closing or connection.unsent:
            if not connection.unsent:
                connection.wake_writer = trio.Event()
                await connection.wake_writer.wait()
                continue
            data = b"".join(connection.unsent)
            await connection.stream.send_all(data)
            # what was said meanwhile lies behind it
            sent = 0
            while sent < len(data):
                sent += len(connection.unsent.popleft())
            connection.unsent_bytes -= sent
            connection.wake_reader.set()
        connection.scope.cancel()

    def _connect(self, client: Client, message: bytes) -> bool:
        wish = read_connect(message)
        taken = self.service.state.sessions.sessions
        session = secrets.randbits(55) + 1
        while session in taken:
            session += 1
        accepted = self.service.connect(
            client,
            wish,
            session=session,
            password=secrets.token_bytes(PASSWORD_BYTES),
            now_ms=_now_ms(),
            time_ms=self._wall_ms(),
        )
        self._move()
        return accepted

    def _handle(self, connection: _Connection, messages: Any) -> None:
        now_ms, time_ms = _now_ms(), self._wall_ms()
        try:
            for message in messages:
                self.service.handle(connection.client, message, now_ms=now_ms, time_ms=time_ms)
        finally:
            self._move()

    def _word(self, word: bytes) -> bytes:
        figures = four_letter_words.Figures(
            len(self._connections), len(self.service.outgoing), self._spent.told_ms()
        )
        return four_letter_words.answer(word, self.service, self._connections, figures).encode()

    # -- disk

    def _move(self) -> None:
        """After anything was said or written: to the journal, and out what may leave."""
        service = self.service
        while service.transactions:
            self.journal.append(service.transactions.popleft())
        self._start_flush()
        self._release()

    def _start_flush(self) -> None:
        while not self._flush.running and self.journal.appended_zxid > self.journal.flushed_zxid:
            self._began = time.perf_counter()
            # several who wait mean that more is coming: it is better read than waited for
            patient = len(self.service.outgoing) <= 2
            if not self._flush.start(Flush(Offset(self.journal.seal()), 0), patient=patient):
                return
            self._after_flush()

    def _flushed(self, flush: Flush) -> None:
        self._after_flush()
        self._start_flush()
        self._release()

    def _after_flush(self) -> None:
        self._spent.add(time.perf_counter() - self._began)
        self._flush_ended.set()
        self._flush_ended = trio.Event()
        if self.journal.bytes_since_snapshot > self._snapshot_bytes:
            self._snapshot_wanted.set()

    def _release(self) -> None:
        outgoing, durable = self.service.outgoing, self.journal.flushed_zxid
        while outgoing and outgoing[0].zxid <= durable:
            one = outgoing.popleft()
            one.client.waiting -= 1
            connection = self._connections.get(one.client)
            if connection is None:
                continue
            if one.data:
                connection.say(one.data)
            if one.closes:
                connection.close_after_this()
            if not one.client.waiting:
                connection.wake_reader.set()

    # -- time

    async def _expire(self) -> None:
        tick_s = self.service.state.sessions.tick_ms / 1000
        while True:
            begun = trio.current_time()
            await trio.sleep(tick_s / 4)
            now_ms = _now_ms()
            if trio.current_time() - begun > tick_s:
                # this process stood still, and heard nobody: that is not its clients' fault
                for session in self.service.state.sessions.sessions:
                    self.service.state.sessions.touch(session, now_ms)
            for session in self.service.expire(now_ms=now_ms, time_ms=self._wall_ms()):
                _log.info("a session has expired", session=f"{session:#x}")
            self._move()

    async def _snapshot_when_wanted(self) -> None:
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted = trio.Event()
            await self.write_snapshot()

    async def write_snapshot(self) -> None:
        """The whole tree as it is now, while it goes on changing.

        Raises:
            StorageFailed: as a flush does.
        """
        while self._flush.running:
            await self._flush_ended.wait()
        self.journal.roll()
        drawing = SnapshotDrawing(self.service.state)
        began = trio.current_time()
        file = self.journal.open_snapshot()
        try:
            position = 0
            while (part := drawing.next_frame(_NODES_AT_ONCE)) is not None:
                position = await trio.to_thread.run_sync(
                    _append, file, part, position, self.journal.directory
                )
            while self.journal.flushed_zxid < drawing.zxid:
                await self._flush_ended.wait()
            await trio.to_thread.run_sync(self.journal.finish_snapshot, file, drawing.zxid)
        finally:
            drawing.give_up()
            file.close()
        self.snapshots += 1
        _log.info(
            "snapshot written",
            zxid=f"{drawing.zxid:#x}",
            bytes=position,
            seconds=round(trio.current_time() - began, 3),
        )


def _append(file: File, part: bytes, position: int, directory: Path) -> int:
    with failing_storage("writing a snapshot", directory):
        return write_fully(file, [part], position)


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


@attrs.define
class _Spent:
    """How long flushes took, as the loop saw it."""

    lowest_s: float = float("inf")
    highest_s: float = 0.0
    sum_s: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        self.lowest_s = min(self.lowest_s, seconds)
        self.highest_s = max(self.highest_s, seconds)
        self.sum_s += seconds
        self.count += 1

    def told_ms(self) -> tuple[float, float, float]:
        """Lowest, mean, highest."""
        if not self.count:
            return 0.0, 0.0, 0.0
        return 1000 * self.lowest_s, 1000 * self.sum_s / self.count, 1000 * self.highest_s


@attrs.frozen
class Running:
    """A server that listens."""

    server: ZooKeeperServer
    address: Address
    recovered: Recovered


@contextlib.asynccontextmanager
async def running_server(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tick_ms: int = TICK_MS,
    tls: ssl.SSLContext | None = None,
    files: Files | None = None,
) -> AsyncIterator[Running]:
    """Serves this directory until the block is left. Port 0: any free one.

    Raises:
        StorageRefused, StorageFailed: see `open_journal`; the second one also from inside the block.
        OSError: it cannot listen there.
    """
    sources = await trio.open_tcp_listeners(port, host=host or None)
    try:
        journal, state, recovered = open_journal(directory, tick_ms=tick_ms, now_ms=_now_ms(), files=files)
        try:
            server = ZooKeeperServer(journal, state, tls=tls)
            address = Address(host, sources[0].socket.getsockname()[1])
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, sources)
                try:
                    yield Running(server, address, recovered)
                except Exception as error:  # noqa: BLE001  raised again as itself, without the nursery's group
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            journal.close()
    finally:
        for source in sources:
            source.socket.close()
