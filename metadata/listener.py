"""One listener and its connections: frames in, calls to a service, answers out in request order (shell).

    socket → FrameBuffer → Call → service.handle … answer → deque in request order → writer → socket

Each connection has one reader and one writer; no task belongs to a request. A burst of requests is handled in one
go, and the answers that are ready then leave in one write. An answer that is ready before an earlier one waits for
its turn, as Kafka's clients expect. A client that does not read its answers, or pipelines too many requests, is
not read from until it has caught up: nothing grows without a limit (`room`). Neither is one, for as long, that an
answer has asked to be quiet: it may not know how to (KIP-219).

What a client does wrong costs it its connection, never more.
"""

import errno
import itertools
from collections import deque
from collections.abc import Sequence, Set
from typing import Any, Final, Protocol

import attrs
import structlog
import trio

from quorate.metadata.calls import ANONYMOUS, Call, Service
from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.fetch_frames import RequestReader
from quorate.metadata.poller import READ_BYTES
from quorate.metadata.room import Limits, Room
from quorate.metadata.wire.cluster import ApiVersionsResponse
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.table import (
    API_VERSIONS,
    THROTTLED,
    UnsupportedRequest,
    encode_response,
    throttle_ms_of,
    unsupported_api_versions,
)

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_ACCEPT_PAUSE_S: Final = 0.1
_LINGER_S: Final = 0.25

_log = structlog.get_logger(__name__)


class Renewals(Protocol):
    """A login that may be renewed while the connection lives, and perhaps has to be (KIP-368)."""

    @property
    def keys(self) -> Set[int]:
        """The requests that `step` takes."""
        ...

    @property
    def ends_ms(self) -> float:
        """When the login ends, on the clock of `trio.current_time`; infinity: never."""
        ...

    def extend(self, answer: ApiVersionsResponse) -> ApiVersionsResponse:
        """What the service advertises, with what the login takes."""
        ...

    def step(self, call: Call) -> str | None:
        """Answers a request of a login; says why the connection has to end after that answer, if it has to."""
        ...


@attrs.frozen
class Admission:
    """What the security step makes of a new connection: the stream to speak on, and who the client is."""

    stream: trio.abc.Stream
    principal: str
    renewals: Renewals | None = None
    by_token: bool = False
    """Whether it logged in by a delegation token."""


class Security(Protocol):
    """The step between accepting a connection and its first ordinary request: TLS, SASL, or nothing."""

    async def admit(self, stream: trio.abc.Stream, buffer: FrameBuffer, service: Service) -> Admission:
        """Says who is there. Frames that came early stay in `buffer`.

        A SASL exchange speaks Kafka frames itself, ApiVersions among them, hence the service.

        Raises:
            RemoteProtocolError: the client is not let in.
        """
        ...


class Plaintext:
    """No step: whoever connects is `User:ANONYMOUS`."""

    async def admit(self, stream: trio.abc.Stream, buffer: FrameBuffer, service: Service) -> Admission:
        await trio.lowlevel.checkpoint()
        return Admission(stream, ANONYMOUS)


class Listener:
    """Accepts connections under one listener name and serves them until stopped."""

    def __init__(
        self, name: str, service: Service, *, security: Security | None = None, room: Room | None = None
    ) -> None:
        """`room`: what all listeners of the node share."""
        self.name = name
        self.refused = 0
        """Connections closed at once because there were too many."""
        self.cut = 0
        """Connections closed because of what their client sent."""
        self._service = service
        self._security: Security = Plaintext() if security is None else security
        self._room = Room(Limits()) if room is None else room
        self._connections: set[_Connection] = set()
        self._ids = itertools.count(1)
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._stopping = False
        self._emptied = trio.Event()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    async def serve(
        self,
        sources: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves what the sources accept, and closes them in the end. Returns after `stop`."""
        with self._serving:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep)
                task_status.started()
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for source in sources:
                            accepting.start_soon(self._accept, source, nursery)
                await self._emptied.wait()
                nursery.cancel_scope.cancel()

    async def stop(self, within_ms: int) -> None:
        """Accepts and reads nothing more, lets what is pending be answered for so long, then closes.

        A request that was received will be answered if its service does so in time; one that was not is lost
        with the connection, and its sender knows that no answer came.
        """
        self._stopping = True
        self._accepting.cancel()
        for connection in self._connections:
            connection.finish()
        if not self._connections:
            self._emptied.set()
        with trio.move_on_after(within_ms / 1000):
            await self._emptied.wait()
            return
        _log.warning("stopped with requests unanswered", listener=self.name, connections=self.connections)
        self._serving.cancel()

    async def _accept(self, source: trio.abc.Listener[Any], nursery: trio.Nursery) -> None:
        async with source:
            while True:
                await trio.sleep(self._room.wait_ms(_now_ms()) / 1000)
                try:
                    stream = await source.accept()
                except OSError as error:
                    if error.errno not in _OUT_OF_RESOURCES:
                        raise
                    _log.error("cannot accept connections", listener=self.name, why=str(error))
                    await trio.sleep(_ACCEPT_PAUSE_S)
                    continue
                connection = _Connection(next(self._ids), stream, self.name, self._service, self._room)
                if self._refuses(connection.client_host):
                    await trio.aclose_forcefully(stream)
                else:
                    self._room.enter(connection, connection.client_host)
                    self._connections.add(connection)
                    nursery.start_soon(self._serve_connection, connection)

    def _refuses(self, client_host: str) -> bool:
        refusal = self._room.refusal(client_host)
        if refusal is None:
            return False
        self.refused += 1
        if refusal.first:
            _log.warning(refusal.what, listener=self.name, client=client_host, limit=refusal.limit)
        return True

    async def _serve_connection(self, connection: "_Connection") -> None:
        try:
            await connection.run(self._security)
        except RemoteProtocolError as error:
            self.cut += 1
            _log.warning(
                "connection closed", listener=self.name, client=connection.client_host, why=str(error)
            )
        finally:
            self._connections.discard(connection)
            self._room.leave(connection)
            if self._stopping and not self._connections:
                self._emptied.set()

    async def _sweep(self) -> None:
        """One task asks all connections; a timer for each would cost every one of their reads."""
        while True:
            idle_ms = self._room.limits.idle_ms
            await trio.sleep(idle_ms / 10_000)
            before = _now_ms() - idle_ms
            for connection in self._connections:
                if connection.active_ms <= before:
                    connection.close()


class _Connection:
    """One client's connection."""

    def __init__(
        self, number: int, stream: trio.abc.Stream, listener_name: str, service: Service, room: Room
    ) -> None:
        self.client_host = host_of(stream)
        self._clock = trio.lowlevel.current_clock().current_time
        self.active_ms = self._now_ms()
        self._number = number
        self._stream = stream
        self._principal = ANONYMOUS
        self._by_token = False
        self._renewals: Renewals | None = None
        self._listener_name = listener_name
        self._service = service
        self._requests = RequestReader()
        self._serves = service.serves
        self._shared = room
        self._limits = limits = room.limits
        self._buffer = FrameBuffer(limits.frame_bytes)
        self.unread_bytes = 0
        """Of answers that could not be written yet: the room's to count."""
        self._pending: deque[Call | _Written] = (
            deque()
        )  # in request order; answered ones wait here for their turn
        self._ready = trio.lowlevel.ParkingLot()  # the writer, when the first of them has no answer
        self._room = trio.lowlevel.ParkingLot()  # the reader, when they are too many
        self._life = trio.CancelScope()
        self._over = False
        self._reading = trio.CancelScope()
        self._direct: (
            DirectSocket  # from admission on: what is written before that is not for the bare socket
        )
        self._idle = True  # the writer is not inside a write, into which another one must not fall
        self._held_up = False  # the reader waits in `_room`, or did lately
        self._held_back: bytes | None = None  # the request that it will take then
        self._bursting = False  # another request of this burst is about to be handled
        self._finishing = False
        self._fault: RemoteProtocolError | None = None
        self._muted_until_ms = 0

    def finish(self) -> None:
        """Reads nothing more; ends when what is pending is answered and written."""
        self._finishing = True
        self._reading.cancel()
        self._ready.unpark()

    def cut(self, why: str) -> None:
        """Ends now, and tells that it was the client's fault."""
        self._fault = RemoteProtocolError(why)
        self.close()

    def close(self) -> None:
        """Ends now."""
        self._over = True
        self._life.cancel()

    async def run(self, security: Security) -> None:
        """Serves the connection until either side ends it.

        Raises:
            RemoteProtocolError: the client broke the protocol; the connection is closed.
        """
        raw = self._stream
        try:
            with self._life:
                with trio.fail_after(self._limits.admission_ms / 1000):
                    admission = await security.admit(raw, self._buffer, self._service)
                self._stream, self._principal = admission.stream, admission.principal
                self._renewals, self._by_token = admission.renewals, admission.by_token
                self._direct = DirectSocket(self._stream)
                await self._speak()
        except trio.TooSlowError:
            raise RemoteProtocolError("who is there was not said in time") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left during admission
        finally:
            pending, self._pending = self._pending, deque()
            for call in pending:
                call.gone()
            await trio.aclose_forcefully(self._stream)
            await trio.aclose_forcefully(raw)
        if self._fault is not None:
            raise self._fault

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        """The answer of one of our calls; it leaves when its turn comes."""
        if self._over:
            return  # nobody will read it
        if call.api_key in THROTTLED:
            self._mute(throttle_ms_of(call.api_key, call.api_version, data))
        if not self._pending or self._pending[0] is not call:
            call.data = data
            self._shared.hold(self, len(data))
            return
        if len(self._pending) == 1 and self._idle and not self._bursting:
            taken = self._direct.write(data)
            if taken == len(data):
                self._pending.popleft()
                if self._held_up:
                    self._held_up = False
                    self._room.unpark()
                self.active_ms = self._now_ms()
                if self._finishing:
                    self._ready.unpark()
                return
            data = data[taken:]
        call.data = data
        self._shared.hold(self, len(data))
        self._ready.unpark()

    async def _speak(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            with self._reading:
                await self._read()
                self.close()
        await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Lets the last answers arrive: closing a socket with unread input makes the kernel throw them away."""
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return
        try:
            with trio.move_on_after(_LINGER_S):
                await self._stream.send_eof()
                while await self._stream.receive_some(READ_BYTES):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client closed first

    async def _read(self) -> None:
        try:
            self._take_frames()  # what came with the end of the admission
            while True:
                if self._held_back is not None:
                    await self._take_held_back(self._held_back)
                elif not await self._direct.feed(self._take_arrived):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except RemoteProtocolError as error:
            self._fault = error

    def _take_arrived(self, data: bytes) -> bool:
        self.active_ms = self._now_ms()
        self._buffer.feed(data)
        self._take_frames()
        return self._held_back is None

    def _take_frames(self) -> None:
        """All that are whole, up to one for which its client has to wait."""
        while self._fault is None and (frame := self._buffer.next_frame()) is not None:
            if self._muted_until_ms or self._clogged:
                self._held_back = frame
                return
            self._take(frame)
        self._bursting = False

    async def _take_held_back(self, frame: bytes) -> None:
        while self._clogged:
            self._held_up = True
            await self._room.park()
        if self._muted_until_ms:
            await self._stay_muted()
        self._held_back = None
        self._take(frame)
        self._take_frames()

    def _mute(self, quiet_ms: int) -> None:
        if quiet_ms > 0:
            self._muted_until_ms = max(self._muted_until_ms, self._now_ms() + quiet_ms)

    async def _stay_muted(self) -> None:
        while (rest_ms := self._muted_until_ms - self._now_ms()) > 0:  # noqa: ASYNC110  answers may prolong it
            await trio.sleep(rest_ms / 1000)
        self._muted_until_ms = 0

    def _take(self, frame: bytes) -> None:
        self._bursting = len(self._buffer) > 0
        try:
            call = Call(
                self,
                frame,
                principal=self._principal,
                by_token=self._by_token,
                client_host=self.client_host,
                listener_name=self._listener_name,
                connection_id=self._number,
                received_ms=self.active_ms,
                decode=self._requests.decode,
            )
        except UnsupportedRequest as error:
            if error.header.api_key != API_VERSIONS:
                raise
            # Written as v0: all that a client can be sure to read before it knows what we speak (KIP-511).
            data = encode_response(API_VERSIONS, 0, error.header.correlation_id, unsupported_api_versions())
            self._pending.append(_Written(data))
            self._shared.hold(self, len(data))
            self._ready.unpark()
            return
        if self._renewals is not None and self._take_login(call, self._renewals):
            return
        if call.api_key == API_VERSIONS:
            self._pending.append(call)
            call.answer(self._service.api_versions(self._listener_name))
        elif call.api_key in self._serves:
            self._pending.append(call)
            self._service.handle(call)
        else:
            raise RemoteProtocolError(f"{call} asks for an API that is not offered here")

    def _take_login(self, call: Call, renewals: Renewals) -> bool:
        """Whether the request belongs to the login; all others are taken for as long as that holds."""
        if call.api_key in renewals.keys:
            self._pending.append(call)
            failure = renewals.step(call)
            if failure is not None:
                self._fault = RemoteProtocolError(failure)
                self.finish()
            return True
        if self.active_ms > renewals.ends_ms:
            raise RemoteProtocolError("its login has ended, and it did not log in again in time")
        if call.api_key == API_VERSIONS:
            self._pending.append(call)
            call.answer(renewals.extend(self._service.api_versions(self._listener_name)))
            return True
        return False

    def _now_ms(self) -> int:
        """As the function of this name, by a shorter way."""
        return int(self._clock() * 1000)

    @property
    def _clogged(self) -> bool:
        """Its client has asked for so much, or left so much unread, that nothing more is taken from it."""
        return len(self._pending) >= self._limits.pipelined or self.unread_bytes > self._limits.unread_bytes

    async def _write(self) -> None:
        try:
            while True:
                ready = self._take_ready()
                if ready:
                    if not self._clogged:
                        self._room.unpark()
                    self._idle = False
                    await self._stream.send_all(ready)
                    self._idle = True
                    self._shared.took(self, len(ready))
                    if not self._clogged:
                        self._room.unpark()
                    self.active_ms = self._now_ms()
                elif self._finishing and not self._pending:
                    return
                else:
                    await self._ready.park()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close()

    def _take_ready(self) -> bytes:
        """The answers whose turn has come, joined."""
        ready = []
        while self._pending and (data := self._pending[0].data) is not None:
            ready.append(data)
            self._pending.popleft()
        return ready[0] if len(ready) == 1 else b"".join(ready)


class _Written:
    """An answer that has no call: its request could not be read."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def gone(self) -> None:
        """Nobody waits for it."""


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


def host_of(stream: trio.abc.Stream) -> str:
    """Who is at the other end, for people."""
    if not isinstance(stream, trio.SocketStream):
        return "local"
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "unknown"  # it left between connecting and being accepted
    return str(name[0]) if isinstance(name, tuple) else "local"
