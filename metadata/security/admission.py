"""Letting clients in: TLS, then SASL, then the first ordinary request (shell).

A `Security` for `listener.Listener`. Whoever fails is told so where the protocol has a way of saying it, a little
later than he would like, and the connection ends; whatever he sends, it costs him his connection and nobody else
anything.
"""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs
import trio

from quorate.metadata.calls import ANONYMOUS, Call, Service
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.listener import Admission
from quorate.metadata.security.mechanisms import Identity, Known, server_mechanism
from quorate.metadata.security.principals import distinguished_name
from quorate.metadata.security.sasl_server import SASL_KEYS, Proven, SaslLogin
from quorate.metadata.security.settings import ListenerSettings, SaslServerSettings
from quorate.metadata.security.tls import TlsContext, explain_handshake
from quorate.metadata.security.tls_stream import TlsStream
from quorate.metadata.wire import sasl
from quorate.metadata.wire.cluster import ApiVersionsResponse
from quorate.metadata.wire.framing import FrameBuffer, framed
from quorate.metadata.wire.table import (
    API_VERSIONS,
    APIS,
    RequestFrame,
    UnsupportedRequest,
    decode_request,
    encode_response,
    offered,
    unsupported_api_versions,
)

_READ_BYTES: Final = 16 * 1024


class ListenerSecurity:
    """What one listener asks of its clients."""

    def __init__(self, settings: ListenerSettings, known: Known, *, wall_ms: Callable[[], int]) -> None:
        """
        Raises:
            CannotSecure: its certificates cannot be used.
        """
        self._settings = settings
        self._known = known
        self._wall_ms = wall_ms
        self._tls = None if settings.tls is None else TlsContext(settings.tls, serves=True)

    async def admit(self, stream: trio.abc.Stream, buffer: FrameBuffer, service: Service) -> Admission:
        """See `listener.Security`."""
        principal = ANONYMOUS
        if self._tls is not None:
            stream, principal = await self._secure(stream, self._tls)
        else:
            await trio.lowlevel.checkpoint()
        if self._settings.sasl is None:
            return Admission(stream, principal)
        return await self._log_in(stream, buffer, service, self._settings.sasl)

    async def _secure(self, stream: trio.abc.Stream, tls: TlsContext) -> tuple[trio.abc.Stream, str]:
        secured = TlsStream(stream, tls.current(), server_side=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            raise RemoteProtocolError(f"TLS failed: {explain_handshake(error)}") from None
        certificate = secured.getpeercert()
        if not certificate:
            return secured, ANONYMOUS
        name = distinguished_name(certificate.get("subject", ()))
        principal = self._settings.rules.principal(name)
        if principal is None:
            raise RemoteProtocolError(
                f"the certificate of {name} is made no principal by ssl.principal.mapping.rules; add DEFAULT at its "
                "end to take such names as they are"
            )
        return secured, principal

    async def _log_in(
        self, stream: trio.abc.Stream, buffer: FrameBuffer, service: Service, settings: SaslServerSettings
    ) -> Admission:
        login = self._login(settings, None)
        frames = FrameBuffer(settings.max_token_bytes)
        while login.proven is None:
            frame = await _next_frame(stream, frames)
            if login.takes_bare_tokens:
                answer = login.bare_token(frame)
                data = b"" if answer is None else framed(answer)
            else:
                data = self._answer(frame, login, service)
            if login.failure is not None:
                await trio.sleep(self._settings.failure_delay_ms / 1000)
            if data:
                await stream.send_all(data)
            if login.failure is not None:
                raise RemoteProtocolError(f"it is not let in: {login.failure}")
        buffer.feed(frames.rest())
        return Admission(
            stream,
            login.proven.identity.principal,
            _Renewals(partial(self._login, settings), login.proven, self._wall_ms),
            by_token=login.proven.identity.by_token,
        )

    def _login(self, settings: SaslServerSettings, before: Proven | None) -> SaslLogin:
        begin = {
            name: partial(server_mechanism, name, self._known, lambda: secrets.token_hex(16))
            for name in settings.mechanisms
        }
        return SaslLogin(begin, lifetime_ms=partial(self._lifetime_ms, settings), before=before)

    def _lifetime_ms(self, settings: SaslServerSettings, mechanism: str, identity: Identity) -> int:
        """The shorter of what the listener allows and what the token has left; 0: for ever."""
        ends = [settings.max_session_ms.get(mechanism, 0)]
        if identity.expires_ms is not None:
            ends.append(max(1, identity.expires_ms - self._wall_ms()))
        return min((end for end in ends if end > 0), default=0)

    def _answer(self, frame: bytes, login: SaslLogin, service: Service) -> bytes:
        """What a request is answered before its sender is let in: only what leads there."""
        try:
            request = decode_request(frame)
        except UnsupportedRequest as error:
            if error.header.api_key != API_VERSIONS:
                raise
            return encode_response(API_VERSIONS, 0, error.header.correlation_id, unsupported_api_versions())
        if request.api_key == API_VERSIONS:
            response: Any = offering_sasl(service.api_versions(self._settings.name))
        elif request.api_key in SASL_KEYS:
            response = _step(login, request)
        else:
            raise RemoteProtocolError(f"it sent {APIS[request.api_key].name} before it said who it is")
        return encode_response(request.api_key, request.api_version, request.correlation_id, response)


class _Renewals:
    """Logging in again on a living connection (KIP-368). The old login holds until its own end."""

    def __init__(
        self, begin: Callable[[Proven], SaslLogin], proven: Proven, wall_ms: Callable[[], int]
    ) -> None:
        self._begin = begin
        self._proven = proven
        self._wall_ms = wall_ms
        self._login: SaslLogin | None = None
        self.keys = SASL_KEYS
        self.ends_ms = self._end_of(proven)

    def _end_of(self, proven: Proven) -> float:
        return float("inf") if proven.lifetime_ms == 0 else trio.current_time() * 1000 + proven.lifetime_ms

    def extend(self, answer: ApiVersionsResponse) -> ApiVersionsResponse:
        return offering_sasl(answer)

    def step(self, call: Call) -> str | None:
        if self._login is None:
            if self._proven.lifetime_ms == 0:
                call.reject(ErrorCode.illegal_sasl_state)
                return "it logs in a second time, and its first login has no end"
            self._login = self._begin(self._proven)
        request = call.request
        if isinstance(request, sasl.SaslHandshakeRequest) and call.api_version == 0:
            raise RemoteProtocolError("it logs in again by bare tokens, which is not possible")
        response = _step(self._login, call)
        call.answer(response)
        failure = self._login.failure
        if self._login.proven is not None:
            self._proven, self._login = self._login.proven, None
            self.ends_ms = self._end_of(self._proven)
        return failure


def _step(login: SaslLogin, request: RequestFrame | Call) -> Any:
    body = request.request if isinstance(request, Call) else request.body
    if isinstance(body, sasl.SaslHandshakeRequest):
        return login.handshake(body, request.api_version)
    return login.authenticate(body)


def offering_sasl(answer: ApiVersionsResponse) -> ApiVersionsResponse:
    """What a listener that asks for a login advertises."""
    keys = {one.api_key: one for one in (*answer.api_keys, *offered(SASL_KEYS))}
    return attrs.evolve(answer, api_keys=tuple(keys[key] for key in sorted(keys)))


async def _next_frame(stream: trio.abc.Stream, frames: FrameBuffer) -> bytes:
    while (frame := frames.next_frame()) is None:
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("it left before it was let in")
        frames.feed(data)
    return frame
