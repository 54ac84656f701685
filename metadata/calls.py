"""A request being answered, and what answers it: the seam between connections and services.

A `Call` is made by whatever received the request (a connection of `listener`, or an opened envelope) and handed
to a `Service`, which answers it at once or at any later time, at most once. Nothing here waits: no task belongs
to a request.
"""

import ipaddress
import json
import socket
from collections.abc import Callable, Mapping, Set
from typing import Any, Final, Protocol

import attrs
import structlog

from quorate.metadata.checks import ErrorCode, InvariantViolated, RemoteProtocolError, RequestRejected
from quorate.metadata.ids import NodeId
from quorate.metadata.wire.cluster import ApiVersionsResponse
from quorate.metadata.wire.convert import UnsayableValue
from quorate.metadata.wire.envelope import EnvelopeRequest, EnvelopeResponse
from quorate.metadata.wire.framing import framed, readdressed
from quorate.metadata.wire.principal import decode_principal, encode_principal
from quorate.metadata.wire.table import (
    APIS,
    RequestFrame,
    decode_request,
    encode_response,
    refusal,
    says_moved,
)

ANONYMOUS: Final = "User:ANONYMOUS"
"""Who a client is that did not say, on a listener that does not ask."""

_log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where the answer of a call goes."""

    def deliver(self, call: "Call", response: Any, data: bytes) -> None:
        """`data` is the whole response frame with its length; `response` the value, None if it came as bytes."""
        ...


class Call:
    """One request being answered.

    The fields are for reading. `on_gone` may be set by the service: it is called, at most once, if the client's
    connection ends before the answer; answering afterwards is harmless.
    """

    __slots__ = (
        "_sink",
        "answered",
        "api_key",
        "api_version",
        "asked_at",
        "by_token",
        "client_host",
        "client_id",
        "connection_id",
        "correlation_id",
        "data",
        "frame",
        "listener_name",
        "meant",
        "on_gone",
        "principal",
        "received_ms",
        "request",
    )

    def __init__(
        self,
        sink: Sink,
        frame: bytes,
        *,
        principal: str,
        by_token: bool = False,
        client_host: str,
        listener_name: str,
        connection_id: int,
        received_ms: int,
        asked_at: "AskedAt | None" = None,
        decode: Callable[[bytes], RequestFrame] = decode_request,
    ) -> None:
        """Decodes the frame.

        Raises:
            UnsupportedRequest: an API or a version that nobody here speaks.
            RemoteProtocolError: bytes that are no request.
        """
        decoded = decode(frame)
        self.api_key: int = decoded.api_key
        self.api_version: int = decoded.api_version
        self.correlation_id: int = decoded.correlation_id
        self.client_id: str | None = decoded.client_id
        self.request: Any = decoded.body
        self.meant: Any = decoded.meant
        """The `quorum.messages` request that this is, where the reader knows it; None says nothing."""
        self.frame: bytes = frame
        """The request as it came, head and body, without its length: what a broker forwards."""
        self.principal: str = principal
        """`User:alice`."""
        self.by_token: bool = by_token
        """Whether the client logged in by a delegation token."""
        self.client_host: str = client_host
        """The client's address as text."""
        self.listener_name: str = listener_name
        self.asked_at: AskedAt | None = asked_at
        """The broker without an image that handed this on, where there is one."""
        self.connection_id: int = connection_id
        self.received_ms: int = received_ms
        """Monotonic."""
        self.on_gone: Callable[[], None] | None = None
        self.answered: bool = False
        self.data: bytes | None = None  # the sink's: the answer while it waits for its turn
        self._sink = sink

    def answer(self, response: Any) -> bytes:
        """Sends the response in its turn. Callable at any later time, at most once. Returns its frame.

        A response that cannot be written (our mistake) becomes UNKNOWN_SERVER_ERROR: one odd value must not take
        down the node, and the next one after it.
        """
        try:
            data = encode_response(self.api_key, self.api_version, self.correlation_id, response)
        except UnsayableValue as error:
            _log.exception("an answer could not be written", request=repr(self.request)[:500], why=str(error))
            response = refusal(self.request, ErrorCode.unknown_server_error, str(error)[:200])
            data = encode_response(self.api_key, self.api_version, self.correlation_id, response)
        self._deliver(response, data)
        return data

    def answer_alike(self, response: Any, frame: bytes) -> None:
        """Sends what another call of the same API and version was answered with: this response, in this frame."""
        self._deliver(response, readdressed(frame, self.correlation_id))

    def answer_written(self, response: Any, frame: bytes) -> None:
        """Sends a response that the caller has put into bytes: the whole frame, for this very call."""
        self._deliver(response, frame)

    def reject(self, code: ErrorCode, message: str | None = None) -> None:
        """Answers in the API's error shape; the message where the version has a field for it."""
        self.answer(refusal(self.request, code, message))

    def answer_frame(self, data: bytes) -> None:
        """Sends a response that somebody else wrote: head and body, without a length."""
        self._deliver(None, framed(data))

    def gone(self) -> None:
        """The sink's: the client's connection ended before the answer."""
        tell, self.on_gone = self.on_gone, None
        if tell is not None and not self.answered:
            tell()

    def _deliver(self, response: Any, data: bytes) -> None:
        if self.answered:
            raise InvariantViolated(f"{self} is answered twice")
        self.answered = True
        self._sink.deliver(self, response, data)

    def __repr__(self) -> str:
        api = APIS[self.api_key].name
        return f"<Call {api} v{self.api_version} of {self.client_id!r} at {self.client_host}>"


@attrs.frozen(kw_only=True)
class AskedAt:
    """A broker that has no image and hands on its clients' reads (ZooKeeper mode): they are answered as if it had."""

    broker_id: NodeId
    listener_name: str
    configs: Mapping[str, str]
    """What its file says, where its own configs are asked for; values that nobody may see are empty."""


def described_by(call: Call) -> tuple[tuple[str, str], ...]:
    """What the broker that handed a call on says of its configs: an answer may follow from it."""
    return () if call.asked_at is None else tuple(sorted(call.asked_at.configs.items()))


class Service(Protocol):
    """What answers the requests of a listener.

    ApiVersions never reaches `handle`: the listener answers it from `api_versions`.
    """

    @property
    def serves(self) -> Set[int]:
        """The keys of the APIs that `handle` takes. Any other one costs its sender the connection."""
        ...

    def api_versions(self, listener_name: str) -> ApiVersionsResponse:
        """What is advertised now: see `table.offered`, and `ApiVersionsResponse` for the features."""
        ...

    def handle(self, call: Call) -> None:
        """Answers the call, now or later. Must not block, and must not raise: what escapes ends the process."""
        ...


def answer_read(call: Call, read: Callable[[Call], Any]) -> None:
    """Answers from what is known here. A bug in a view costs its asker the answer, never the node its life."""
    try:
        response = read(call)
    except RequestRejected as refusal_:
        call.reject(refusal_.code, refusal_.message)
    except Exception:  # noqa: BLE001  one odd request must not take down one node after the other
        _log.exception("bug", during=repr(call), request=repr(call.request)[:500])
        call.reject(
            ErrorCode.unknown_server_error,
            "The request failed because of a bug; the node's log has the details.",
        )
    else:
        call.answer(response)


def envelope_of(call: Call, asked_at: AskedAt | None = None) -> EnvelopeRequest:
    """The call as a broker hands it to the controller (KIP-590). `asked_at`: this broker, if it has no image."""
    envelope = EnvelopeRequest(
        request_data=call.frame,
        request_principal=encode_principal(call.principal, by_token=call.by_token),
        client_host_address=_address_bytes(call.client_host),
    )
    if asked_at is None:
        return envelope
    return attrs.evolve(
        envelope,
        broker_id=asked_at.broker_id,
        listener_name=asked_at.listener_name,
        broker_configs=json.dumps(dict(asked_at.configs)).encode() if asked_at.configs else b"",
    )


def open_envelope(outer: Call, served: Set[int], rests_on: Callable[[], int]) -> Call | None:
    """The client's call inside a broker's envelope; None if the envelope is no good and has been refused.

    `served`: what is answered here. A broker forwards all that may be forwarded, and may be newer than this node.
    `rests_on`: the last offset that an answer given now may rest on.
    The caller has checked that the sender may send envelopes. What the inner call is answered goes back inside
    the outer answer, except NOT_CONTROLLER: that is the broker's business, which asks the next controller.
    """
    try:
        inner = _inner_call(outer, served, rests_on)
    except RequestRejected as error:
        _log.warning("an envelope was refused", why=str(error), sender=outer.client_host)
        outer.reject(error.code)
        return None
    outer.on_gone = inner.gone
    return inner


def _inner_call(outer: Call, served: Set[int], rests_on: Callable[[], int]) -> Call:
    request: EnvelopeRequest = outer.request
    try:
        principal, by_token = decode_principal(request.request_principal or b"")
    except RemoteProtocolError as error:
        raise RequestRejected(ErrorCode.principal_deserialization_failure, str(error)) from None
    try:
        host = _address_text(request.client_host_address)
    except ValueError as error:
        raise RequestRejected(ErrorCode.invalid_request, str(error)) from None
    try:
        inner = Call(
            _EnvelopeSink(outer, rests_on),
            request.request_data,
            principal=principal,
            by_token=by_token,
            client_host=host,
            listener_name=outer.listener_name,
            connection_id=outer.connection_id,
            received_ms=outer.received_ms,
            asked_at=_asked_at(request),
        )
    except RemoteProtocolError as error:
        raise RequestRejected(ErrorCode.unsupported_version, str(error)) from None
    api = APIS[inner.api_key]
    if not api.forwardable and not (api.reads and inner.asked_at is not None):
        raise RequestRejected(ErrorCode.invalid_request, f"{APIS[inner.api_key].name} is never forwarded")
    if inner.api_key not in served:
        raise RequestRejected(
            ErrorCode.unsupported_version, f"{APIS[inner.api_key].name} is not offered by this controller"
        )
    return inner


def _asked_at(request: EnvelopeRequest) -> AskedAt | None:
    if request.broker_id < 0:
        return None
    configs: object = {}
    try:
        if request.broker_configs:
            configs = json.loads(request.broker_configs)
    except ValueError:
        configs = None
    if not isinstance(configs, dict) or not all(isinstance(value, str) for value in configs.values()):
        raise RequestRejected(ErrorCode.invalid_request, "the broker's configs are no JSON object of texts")
    return AskedAt(broker_id=NodeId(request.broker_id), listener_name=request.listener_name, configs=configs)


class _EnvelopeSink:
    """Puts the inner answer into the outer one."""

    __slots__ = ("_outer", "_rests_on")

    def __init__(self, outer: Call, rests_on: Callable[[], int]) -> None:
        self._outer = outer
        self._rests_on = rests_on

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        moved = response is not None and says_moved(call.api_key, response)
        if moved:
            self._outer.answer(EnvelopeResponse(error_code=ErrorCode.not_controller))
        else:
            self._outer.answer(EnvelopeResponse(response_data=data[4:], rests_on=self._rests_on()))


# Nearly all are of IPv4, and each forwarded request has one: the C library reads them in a tenth of the time.


def _address_bytes(host: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET, host)
    except OSError:
        try:
            return ipaddress.ip_address(host).packed
        except ValueError:  # a stream that is no socket: in one process
            return socket.inet_aton("127.0.0.1")


def _address_text(packed: bytes) -> str:
    """Raises ValueError for what is no address."""
    return socket.inet_ntoa(packed) if len(packed) == 4 else str(ipaddress.ip_address(packed))
