"""One connection to another node: opened, its versions learned, then requests out and answers back (shell).

`connect` says exactly why a node could not be spoken to. `Connection.send` is synchronous and tells the outcome to
a callback, so that the Raft shell needs no task for a request; `call` waits for it. Many requests may be under way;
the answers are told apart by correlation id, and one that comes after its request was given up is dropped.

Every request ends exactly once: with an answer, or with a `Failure` that says whether a byte of it may have reached
the other side. Only what was never written may be sent again blindly.
"""

import errno
import heapq
import importlib.metadata
import itertools
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import cache
from typing import Any, Final, Protocol

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.poller import READ_BYTES
from quorate.metadata.security.tls import explain_handshake
from quorate.metadata.wire.cluster import ApiVersionsRequest, ApiVersionsResponse
from quorate.metadata.wire.convert import UnsayableValue
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.sasl import SaslHandshakeRequest
from quorate.metadata.wire.table import API_VERSIONS, APIS, correlation_id_of, decode_response, encode_request

MAX_IN_FLIGHT: Final = 128
"""Requests under way at once on one connection. Below what a listener parks, so that it never pushes back."""
MAX_RESPONSE_BYTES: Final = 256 * 1024 * 1024
CLIENT_ID: Final = "quorate"
_RENEW_MS: Final = 10_000
"""What one step of a login may take on a living connection."""


class FailureKind(Enum):
    """Why there is no answer."""

    REFUSED = "refused"
    """Nothing listens there."""
    RESET = "reset"
    """The connection was there and broke."""
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    """No route, or a name that does not resolve."""
    NOT_KAFKA = "not Kafka"
    """Something answered that does not speak the protocol."""
    UNSUPPORTED_VERSION = "unsupported version"
    """The node does not know the API, or no version of it that can say this."""
    TOO_MANY = "too many"
    """`MAX_IN_FLIGHT` requests are under way."""
    CLOSED = "closed"
    """This side closed the connection."""
    NOT_LET_IN = "not let in"
    """One side does not believe the other: a password, a certificate, a mechanism."""
    CUT_OFF = "cut off"
    """The other side hung up while it was asked to let us in: it does not speak so, or it died at that moment."""


@attrs.frozen(kw_only=True)
class Failure:
    """No answer: why, whether the request may have been seen, and a text that says what, where, why, what to do."""

    kind: FailureKind
    written: bool
    """False: no byte of the request left. True: it may have been carried out, or may yet be."""
    text: str

    def __str__(self) -> str:
        return self.text


OnReply = Callable[[Any], None]
"""Is told the response value, or a `Failure`. May be called before `send` returns; must not raise."""


class ConnectFailed(Exception):
    """The node could not be connected to, or what is there is no node."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.failure = Failure(kind=kind, written=False, text=text)


class CallFailed(Exception):
    """A call ended without an answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class RefusedThere(Exception):
    """One side does not believe the other. Asking again is of no use; the text says what to change."""


class CutOff(RefusedThere):
    """The other side hung up without a word. If it does so again and again, it is as with the others."""


@attrs.frozen
class Entry:
    """A connection that may be used: the stream to speak on, and when the login has to be renewed."""

    stream: trio.abc.Stream
    renew_after_ms: int = 0
    """0: never."""
    logged_in: bool = False


class ClientSecurity(Protocol):
    """The step between connecting and the first ordinary request: TLS, SASL, or nothing."""

    async def enter(self, stream: trio.abc.Stream, buffer: FrameBuffer, address: Address) -> Entry:
        """
        Raises:
            RefusedThere: one side does not believe the other.
            RemoteProtocolError: the other side does not do its part.
        """
        ...

    async def renew(self, call: Callable[[Any], Awaitable[Any]], address: Address) -> int:
        """Logs in again by such calls; says in how many ms it has to be done once more (0: never).

        Raises:
            RefusedThere: it is not let in any more.
            CallFailed: the connection is gone.
        """
        ...


class Plaintext:
    """No step."""

    async def enter(self, stream: trio.abc.Stream, buffer: FrameBuffer, address: Address) -> Entry:
        await trio.lowlevel.checkpoint()
        return Entry(stream)

    async def renew(self, call: Callable[[Any], Awaitable[Any]], address: Address) -> int:
        await trio.lowlevel.checkpoint()
        return 0


async def connect(
    address: Address, *, timeout_ms: int, client_id: str = CLIENT_ID, security: ClientSecurity | None = None
) -> "Connection":
    """Connects, secures, learns the other side's versions. The caller must then `run` the connection.

    Raises:
        ConnectFailed: says which of these failed, and what can be done about it.
    """
    stream: trio.abc.Stream | None = None
    try:
        with trio.fail_after(timeout_ms / 1000):
            stream = await trio.open_tcp_stream(address.host, address.port)
            return await greet(stream, address, client_id=client_id, security=security)
    except trio.TooSlowError:
        said = "accepted the connection and then said nothing" if stream else "did not answer"
        raise ConnectFailed(
            FailureKind.TIMED_OUT,
            f"{address} {said} within {timeout_ms} ms: is the node overloaded or stopped, or a packet filter between?",
        ) from None
    except OSError as error:
        raise _explained(address, error) from error


async def greet(
    stream: trio.abc.Stream,
    address: Address,
    *,
    client_id: str = CLIENT_ID,
    security: ClientSecurity | None = None,
) -> "Connection":
    """The part of `connect` after TCP, for streams that come from elsewhere. Closes the stream if it fails.

    Raises:
        ConnectFailed: the other side hung up or is no Kafka node.
    """
    buffer = FrameBuffer(MAX_RESPONSE_BYTES)
    try:
        entry = await (security or Plaintext()).enter(stream, buffer, address)
        peer = await _learn_versions(entry.stream, buffer, client_id)
    except RefusedThere as error:
        await trio.aclose_forcefully(stream)
        kind = FailureKind.CUT_OFF if isinstance(error, CutOff) else FailureKind.NOT_LET_IN
        raise ConnectFailed(kind, str(error)) from None
    except RemoteProtocolError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectFailed(
            FailureKind.NOT_KAFKA,
            f"{address} does not speak the Kafka protocol: {error}. Check the port, and whether that listener "
            "wants TLS",
        ) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error.__cause__, ssl.SSLError):  # with TLS 1.3 a client's certificate is refused late
            raise ConnectFailed(
                FailureKind.NOT_LET_IN,
                f"{address} ended the connection: {explain_handshake(error)}. Check ssl.keystore.location",
            ) from None
        raise ConnectFailed(
            FailureKind.RESET,
            f"{address} closed the connection before it said what it is: does that listener want TLS or a login "
            "(security.protocol), and has that node room for another connection? Its log may tell",
        ) from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return Connection(entry, buffer, address, peer, client_id, security or Plaintext())


class Form(Protocol):
    """How the requests of one API are written, and their answers read, where the general codec is not to do it."""

    @property
    def api_key(self) -> int: ...

    def write(self, request: Any, version: int, number: int) -> bytes:
        """The whole frame, with its length in front.

        Raises:
            UnsayableValue: this version cannot say it.
        """
        ...

    def read(self, version: int, frame: bytes) -> Any:
        """What `on_reply` is given for an answer, a frame without its length.

        Raises:
            RemoteProtocolError: bytes that are no such answer.
        """
        ...


class Connection:
    """An open connection. Everything but `run` and `call` is synchronous."""

    def __init__(
        self,
        entry: Entry,
        buffer: FrameBuffer,
        address: Address,
        peer: ApiVersionsResponse,
        client_id: str,
        security: ClientSecurity,
    ) -> None:
        self.address = address
        self.peer = peer
        """What the other side said of itself when the connection began."""
        self._security = security
        self._renew_after_ms = entry.renew_after_ms
        takes_logins = any(one.api_key == SaslHandshakeRequest.api_key for one in peer.api_keys)
        self._hint = (
            ": does that listener want a login (security.protocol, sasl.mechanism)?"
            if takes_logins and not entry.logged_in
            else ""
        )
        self._stream = entry.stream
        self._direct = DirectSocket(entry.stream)
        self._idle = True  # the writer is not inside a write, into which another one must not fall
        self._buffer = buffer
        self._client_id = client_id
        self._versions = _common_versions(peer)
        self._ids = itertools.count(1)
        self._last_id = 0
        self._under_way: dict[int, _Request] = {}
        self._unwritten: deque[tuple[_Request, bytes]] = deque()
        self._deadlines: list[tuple[float, int]] = []  # a heap; entries of finished requests are skipped
        self._to_write = trio.lowlevel.ParkingLot()
        self._earlier = trio.lowlevel.ParkingLot()  # the timer, when a deadline comes before those it knows
        self._life = trio.CancelScope()
        self._loss: Failure | None = None

    @property
    def is_open(self) -> bool:
        return self._loss is None

    @property
    def in_flight(self) -> int:
        """Requests that have neither an answer nor a failure yet."""
        return len(self._under_way)

    def version_of(self, api_key: int) -> int | None:
        """The newest version of an API that both sides speak."""
        return self._versions.get(api_key)

    def close(self) -> None:
        """Ends the connection; what is under way fails."""
        self._lose_to_us()

    async def run(self) -> Failure:
        """Moves the bytes until the connection ends, and says why it ended. Run it once, as a task."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch_deadlines)
                    if self._renew_after_ms:
                        nursery.start_soon(self._renew_login)
                    await self._read()
                    self._life.cancel()
        finally:
            loss = self._lose_to_us()  # no-op if it is lost already
            await trio.aclose_forcefully(self._stream)
        return loss

    def send(
        self, request: Any, on_reply: OnReply, *, timeout_ms: int | None = None, form: "Form | None" = None
    ) -> None:
        """Sends a request in the newest version that both sides speak; `on_reply` is called exactly once."""
        failure = self._loss or self._too_many()
        if failure is not None:
            on_reply(attrs.evolve(failure, written=False))
            return
        number = next(self._ids)
        try:
            version, data = self._encoded(request, number, form)
        except UnsayableValue as error:
            text = f"{self.address} cannot be asked this: {error}. Upgrade that node, or ask another one"
            on_reply(Failure(kind=FailureKind.UNSUPPORTED_VERSION, written=False, text=text))
            return
        self._last_id = number
        entry = _Request(request.api_key if form is None else form.api_key, version, on_reply, form)
        self._under_way[number] = entry
        self._put(entry, data)
        if timeout_ms is not None:
            self._set_deadline(number, trio.current_time() + timeout_ms / 1000)

    def _put(self, entry: "_Request", data: bytes) -> None:
        """At once if nothing else is being written; what the socket does not take is the writer's."""
        if self._idle and not self._unwritten:
            taken = self._direct.write(data)
            entry.written = taken > 0
            if taken == len(data):
                return
            data = data[taken:]
        self._unwritten.append((entry, data))
        self._to_write.unpark()

    async def call(self, request: Any, timeout_ms: int) -> Any:
        """Sends a request and waits for the response value. Cancelling it drops the answer, not the request.

        Raises:
            CallFailed: there is none.
        """
        done = trio.Event()
        replies: list[Any] = []

        def on_reply(reply: Any) -> None:
            replies.append(reply)
            done.set()

        self.send(request, on_reply, timeout_ms=timeout_ms)
        await done.wait()
        if isinstance(replies[0], Failure):
            raise CallFailed(replies[0])
        return replies[0]

    async def _renew_login(self) -> None:
        """Before a login ends it is done again; other requests may be under way meanwhile."""

        async def call(request: Any) -> Any:
            return await self.call(request, _RENEW_MS)

        while self._renew_after_ms:
            await trio.sleep(self._renew_after_ms / 1000)
            try:
                self._renew_after_ms = await self._security.renew(call, self.address)
            except RefusedThere as error:
                self._lose(FailureKind.NOT_LET_IN, str(error))
            except CallFailed as error:
                self._lose(error.failure.kind, error.failure.text)

    def _too_many(self) -> Failure | None:
        if len(self._under_way) < MAX_IN_FLIGHT:
            return None
        text = f"{self.address} has {MAX_IN_FLIGHT} requests of this connection to answer already; try again later"
        return Failure(kind=FailureKind.TOO_MANY, written=False, text=text)

    def _encoded(self, request: Any, number: int, form: "Form | None") -> tuple[int, bytes]:
        api_key = request.api_key if form is None else form.api_key
        version = self._versions.get(api_key)
        if version is None:
            raise UnsayableValue(f"it does not offer {APIS[api_key].name} in a version that is spoken here")
        if form is not None:
            return version, form.write(request, version, number)
        return version, encode_request(request, version, number, self._client_id)

    def _set_deadline(self, number: int, deadline: float) -> None:
        earliest = self._deadlines[0][0] if self._deadlines else None
        heapq.heappush(self._deadlines, (deadline, number))
        if earliest is None or deadline < earliest:
            self._earlier.unpark()

    async def _write(self) -> None:
        while True:
            if not self._unwritten:
                await self._to_write.park()
                continue
            batch = bytearray()
            while self._unwritten:
                entry, data = self._unwritten.popleft()
                # Given up before a byte left: its owner may have sent it elsewhere. A frame that was begun is ended.
                if entry.written or not entry.given_up:
                    entry.written = True
                    batch += data
            self._idle = False
            try:
                await self._stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._lose_to_peer(error)
                return
            self._idle = True

    async def _read(self) -> None:
        try:
            self._take_arrived(b"")  # what came with the end of the entry
            await self._direct.feed(self._take_arrived)
            self._lose(FailureKind.RESET, f"{self.address} closed the connection{self._hint}")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lose_to_peer(error)
        except RemoteProtocolError as error:
            self._lose(FailureKind.NOT_KAFKA, f"{self.address} broke the Kafka protocol: {error}")

    def _take_arrived(self, data: bytes) -> bool:
        self._buffer.feed(data)
        while (frame := self._buffer.next_frame()) is not None:
            self._take(frame)
        return True

    def _take(self, frame: bytes) -> None:
        number = correlation_id_of(frame)
        entry = self._under_way.get(number)
        if entry is None:
            if 0 < number <= self._last_id:
                return  # its request was given up
            raise RemoteProtocolError(f"an answer to request {number}, which was never sent")
        form = entry.form
        if form is None:
            response = decode_response(entry.api_key, entry.version, frame)
        else:
            response = form.read(entry.version, frame)
        del self._under_way[number]
        self._hint = ""  # it answers: whatever ends this connection, it is not for want of a login
        entry.on_reply(response)

    async def _watch_deadlines(self) -> None:
        while True:
            while self._deadlines and self._deadlines[0][1] not in self._under_way:
                heapq.heappop(self._deadlines)
            if not self._deadlines:
                await self._earlier.park()
                continue
            deadline, number = self._deadlines[0]
            if trio.current_time() >= deadline:
                entry = self._under_way.pop(number)
                entry.given_up = True
                entry.on_reply(
                    Failure(
                        kind=FailureKind.TIMED_OUT,
                        written=entry.written,
                        text=f"{self.address} did not answer {APIS[entry.api_key].name} in time",
                    )
                )
                continue
            with trio.move_on_at(deadline):
                await self._earlier.park()

    def _lose_to_us(self) -> Failure:
        return self._lose(FailureKind.CLOSED, f"the connection to {self.address} was closed by this side")

    def _lose_to_peer(self, error: Exception) -> None:
        cause = error.__cause__
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else "it broke"
        self._lose(FailureKind.RESET, f"the connection to {self.address} was lost: {why}")

    def _lose(self, kind: FailureKind, text: str) -> Failure:
        """Fails all that is under way; only the first reason counts, and is returned."""
        if self._loss is not None:
            return self._loss
        self._loss = Failure(kind=kind, written=False, text=text)
        self._life.cancel()
        entries = list(self._under_way.values())
        self._under_way.clear()
        self._unwritten.clear()
        for entry in entries:
            entry.on_reply(attrs.evolve(self._loss, written=entry.written))
        return self._loss


class _Request:
    """A request that has no answer yet."""

    __slots__ = ("api_key", "form", "given_up", "on_reply", "version", "written")

    def __init__(self, api_key: int, version: int, on_reply: OnReply, form: "Form | None") -> None:
        self.api_key = api_key
        self.form = form
        self.version = version
        self.on_reply = on_reply
        self.written = False
        self.given_up = False


def _common_versions(peer: ApiVersionsResponse) -> dict[int, int]:
    """The newest version of each API that both sides speak."""
    common = {}
    for offered in peer.api_keys:
        api = APIS.get(offered.api_key)
        if api is not None:
            newest = min(api.last, offered.max_version)
            if newest >= max(api.first, offered.min_version):
                common[api.key] = newest
    return common


async def _learn_versions(
    stream: trio.abc.Stream, buffer: FrameBuffer, client_id: str
) -> ApiVersionsResponse:
    """Asks in our newest version; an older node answers error 35 as v0, with the range that it speaks (KIP-511)."""
    version = APIS[API_VERSIONS].last
    while True:
        request = ApiVersionsRequest(
            client_software_name="quorate", client_software_version=_software_version()
        )
        await stream.send_all(encode_request(request, version, 0, client_id))
        frame = await _next_frame(stream, buffer)
        if correlation_id_of(frame) != 0:
            raise RemoteProtocolError(f"the first answer is to request {correlation_id_of(frame)}, not 0")
        refused = frame[4:6] == ErrorCode.unsupported_version.to_bytes(2, "big")
        answer: ApiVersionsResponse = decode_response(API_VERSIONS, 0 if refused else version, frame)
        if answer.error_code is ErrorCode.none:
            return answer
        if not refused or version == 0:
            raise RemoteProtocolError(f"ApiVersions is answered with {answer.error_code.name.upper()}")
        theirs = [api.max_version for api in answer.api_keys if api.api_key == API_VERSIONS]
        version = min(version - 1, max(0, *theirs, 0))


async def _next_frame(stream: trio.abc.Stream, buffer: FrameBuffer) -> bytes:
    while (frame := buffer.next_frame()) is None:
        data = await stream.receive_some(READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("end of stream")
        buffer.feed(data)
    return frame


@cache
def _software_version() -> str:
    return importlib.metadata.version("quorate")


_TOLD: Final = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.ECONNRESET: FailureKind.RESET,
    errno.ECONNABORTED: FailureKind.RESET,
    errno.EPIPE: FailureKind.RESET,
    errno.ETIMEDOUT: FailureKind.TIMED_OUT,
}
_ADVICE: Final = {
    FailureKind.REFUSED: "nothing listens there. Is the node running, and is this the port of its listener?",
    FailureKind.RESET: "the connection was reset at once. Is the node just starting or stopping?",
    FailureKind.TIMED_OUT: "no answer came. Is the machine up, and no packet filter between?",
    FailureKind.UNREACHABLE: "Check the name and the network.",
}


def _explained(address: Address, error: OSError) -> ConnectFailed:
    """A name may have several addresses, each with its own error: the one that got furthest is told."""
    causes = _leaves(error)
    kinds = [_TOLD.get(cause.errno or 0, FailureKind.UNREACHABLE) for cause in causes]
    order = (FailureKind.RESET, FailureKind.REFUSED, FailureKind.TIMED_OUT, FailureKind.UNREACHABLE)
    kind = min(kinds, key=order.index)
    cause = causes[kinds.index(kind)]
    if kind is FailureKind.UNREACHABLE:
        reason = (
            "the name does not resolve"
            if isinstance(cause, socket.gaierror)
            else cause.strerror or str(cause)
        )
        return ConnectFailed(kind, f"cannot connect to {address}: {reason}. {_ADVICE[kind]}")
    return ConnectFailed(kind, f"cannot connect to {address}: {_ADVICE[kind]}")


def _leaves(error: BaseException) -> list[OSError]:
    """The errors of all attempts; trio puts them behind one that only says that all failed."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    if isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        return _leaves(error.__cause__) or [error]
    return [error] if isinstance(error, OSError) else []
