"""The metrics over HTTP: GET and HEAD of /metrics, and nothing else (shell).

h11 is the whole protocol; this moves its bytes over trio's streams. There is no login, so there is nothing here that
changes anything, and a stranger cannot do more than cost himself his connection: headers, connections and time are
limited, a body is refused before it is read, and the page is made at most twice a second, however often it is asked
for. A bug in what makes the page is told as 500, and logged; the node goes on.
"""

import email.utils
import http
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
import h11
import structlog
import trio

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.listener import host_of

PATH: Final = "/metrics"
_READ_BYTES: Final = 4096
_FRESH_S: Final = 0.5
"""A page that is younger is told again."""
_ACCEPT_PAUSE_S: Final = 0.1
_LINGER_S: Final = 0.25
_TEXT: Final = "text/plain; charset=utf-8"

_log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class HttpLimits:
    """What the endpoint allows."""

    header_bytes: int = 8 * 1024
    """Of a request line with its headers."""
    connections: int = 16
    """Further ones are closed."""
    request_s: float = 10.0
    """From a connection or from a request's first byte to its last."""
    idle_s: float = 120.0
    """Between requests; scrapers come once a minute at least."""
    response_s: float = 10.0
    """For the client to take the page."""


@attrs.frozen(kw_only=True)
class Answer:
    """What one request gets."""

    status: http.HTTPStatus
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


def answer_to(method: bytes, target: bytes, page: Callable[[], Answer]) -> Answer:
    """The answer to a well-formed request without a body."""
    return refusal_of(method, target) or page()


def refusal_of(method: bytes, target: bytes) -> Answer | None:
    """What is said to a request for anything else; None if it asks for the page."""
    if target.partition(b"?")[0] != PATH.encode():
        return _refusal(http.HTTPStatus.NOT_FOUND, f"There is only {PATH} here.")
    if method not in (b"GET", b"HEAD"):
        return _refusal(
            http.HTTPStatus.METHOD_NOT_ALLOWED, f"{PATH} can only be read.", ("Allow", "GET, HEAD")
        )
    return None


def _refusal(status: int, why: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status=http.HTTPStatus(status), body=f"{why}\n".encode(), headers=headers)


class _Refused(Exception):
    """The client gets this answer and loses its connection."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode().strip())
        self.answer = answer


class Endpoint:
    """Accepts connections and serves them until cancelled. Counts as other listeners do."""

    def __init__(
        self, render: Callable[[], bytes], *, content_type: str, limits: HttpLimits | None = None
    ) -> None:
        self.name = "METRICS"
        self.connections = 0
        """Open now."""
        self.refused = 0
        """Connections closed at once because there were too many."""
        self.cut = 0
        """Connections closed because of what their client sent, or did not send in time."""
        self._render = render
        self._content_type = content_type
        self._limits = HttpLimits() if limits is None else limits
        self._page: Answer | None = None
        self._page_at = 0.0
        self._full = False

    async def serve(
        self,
        sources: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves what the sources accept, and closes them in the end."""
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(self._accept, source, nursery)
            task_status.started()

    async def _accept(self, source: trio.abc.Listener[Any], nursery: trio.Nursery) -> None:
        async with source:
            while True:
                try:
                    stream = await source.accept()
                except OSError as error:  # whatever it is: metrics are not worth the node's life
                    _log.error("cannot accept connections", listener=self.name, why=str(error))
                    await trio.sleep(_ACCEPT_PAUSE_S)
                    continue
                if self._has_room():
                    self.connections += 1
                    nursery.start_soon(self._converse, stream)
                else:
                    self.refused += 1
                    await trio.aclose_forcefully(stream)

    def _has_room(self) -> bool:
        full = self.connections >= self._limits.connections
        if full and not self._full:
            _log.warning(
                "too many connections; new ones are closed",
                listener=self.name,
                limit=self._limits.connections,
            )
        self._full = full
        return not full

    async def _converse(self, stream: trio.abc.Stream) -> None:
        client = host_of(stream)
        try:
            await _Conversation(stream, self._current_page, self._limits).run()
        except RemoteProtocolError as error:
            self.cut += 1
            _log.warning("connection closed", listener=self.name, client=client, why=str(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it left
        except Exception as error:  # noqa: BLE001  a bug here must not end the node
            _log.error("bug", during=f"a conversation with {client}", exc_info=error)
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(stream)

    def _current_page(self) -> Answer:
        now = trio.current_time()
        if self._page is None or now - self._page_at >= _FRESH_S:
            self._page = self._new_page()
            self._page_at = now
        return self._page

    def _new_page(self) -> Answer:
        try:
            body = self._render()
        except Exception as error:  # noqa: BLE001  a bug in one number must not end the node
            _log.error("bug", during="making the metrics", exc_info=error)
            return _refusal(
                http.HTTPStatus.INTERNAL_SERVER_ERROR, "The metrics could not be made; see this node's log."
            )
        return Answer(status=http.HTTPStatus.OK, body=body, content_type=self._content_type)


class _Conversation:
    """One connection's requests, one after the other."""

    def __init__(self, stream: trio.abc.Stream, page: Callable[[], Answer], limits: HttpLimits) -> None:
        self._stream = stream
        self._page = page
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._method = b""
        """Of the last request that could be read."""

    async def run(self) -> None:
        """Until either side ends it.

        Raises:
            RemoteProtocolError: the client did something that it may not; it was told so.
        """
        try:
            await self._serve()
        except _Refused as refused:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it need not hear that
                await self._send(refused.answer, closes=True)
                await self._say_goodbye()
            raise RemoteProtocolError(str(refused)) from None

    async def _serve(self) -> None:
        patience_s = self._limits.request_s
        while (request := await self._next_request(patience_s)) is not None:
            await self._send(answer_to(request.method, request.target, self._page))
            if self._http.our_state is not h11.DONE:
                await self._say_goodbye()
                return
            self._http.start_next_cycle()
            self._method = b""
            begun = bool(self._http.trailing_data[0])
            patience_s = self._limits.request_s if begun else self._limits.idle_s

    async def _next_request(self, patience_s: float) -> h11.Request | None:
        """The next whole request; None if there is none."""
        request: h11.Request | None = None
        begun = bool(self._http.trailing_data[0])
        with trio.move_on_after(patience_s) as patience:
            while True:
                try:
                    event = self._http.next_event()
                except h11.RemoteProtocolError as error:
                    what = str(error).partition(":")[0]  # what follows is whatever the client sent
                    refusal = _refusal(error.error_status_hint, f"This is not HTTP/1.1: {what}")
                    raise _Refused(refusal) from error
                if isinstance(event, h11.Request):
                    request = event
                    self._method = request.method
                    _check_bodiless(request)
                elif isinstance(event, h11.EndOfMessage):
                    return request
                elif isinstance(event, h11.ConnectionClosed):
                    return None
                else:
                    data = await self._stream.receive_some(_READ_BYTES)
                    if not begun and data:
                        begun = True
                        patience.deadline = trio.current_time() + self._limits.request_s
                    self._http.receive_data(bytes(data))
        if begun:
            raise _Refused(_refusal(http.HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time."))
        return None

    async def _send(self, answer: Answer, *, closes: bool = False) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Date", email.utils.formatdate(usegmt=True)),
            *answer.headers,
        ]
        if closes:
            headers.append(("Connection", "close"))
        response = h11.Response(status_code=answer.status, reason=answer.status.phrase, headers=headers)
        data = self._http.send(response) or b""
        if self._method != b"HEAD":
            data += self._http.send(h11.Data(data=answer.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            with trio.fail_after(self._limits.response_s):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise RemoteProtocolError("it does not take its answer") from None

    async def _say_goodbye(self) -> None:
        """Lets the answer arrive: closing a socket with unread input makes the kernel throw it away."""
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return
        with trio.move_on_after(_LINGER_S):
            await self._stream.send_eof()
            while await self._stream.receive_some(_READ_BYTES):
                pass


def _check_bodiless(request: h11.Request) -> None:
    for name, value in request.headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            too_large = _refusal(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Requests have no body here.")
            raise _Refused(refusal_of(request.method, request.target) or too_large)
