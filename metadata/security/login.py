"""A client's way in: TLS, then SASL (shell). A `ClientSecurity` for `connection.connect`.

A login that ends is renewed on the living connection before it does (KIP-368), so that a link between nodes is not
lost for it.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.connection import CLIENT_ID, CutOff, Entry, RefusedThere
from quorate.metadata.security.mechanisms import ClientMechanism, NotLetIn, client_mechanism
from quorate.metadata.security.settings import ClientSettings, SaslClientSettings
from quorate.metadata.security.tls import TlsContext, ended_without_a_word, explain_handshake
from quorate.metadata.security.tls_stream import TlsStream
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.sasl import SaslAuthenticateRequest, SaslHandshakeRequest
from quorate.metadata.wire.table import correlation_id_of, decode_response, encode_request

_HANDSHAKE_VERSION: Final = 1
_AUTHENTICATE_VERSION: Final = 1
"""Kafka has spoken it since 2.2; v2 says the same in another encoding."""
_READ_BYTES: Final = 16 * 1024
_RENEW_WITHIN: Final = (0.85, 0.95)
"""Of its lifetime, a login is renewed: Kafka's own bounds, apart so that not all links come at once."""

_Ask = Callable[[Any], Awaitable[Any]]


class ClientLogin:
    """One way to other nodes. Used for all their connections."""

    def __init__(self, settings: ClientSettings) -> None:
        """
        Raises:
            CannotSecure: its certificates cannot be used.
        """
        self._settings = settings
        self._tls = None if settings.tls is None else TlsContext(settings.tls, serves=False)

    async def enter(self, stream: trio.abc.Stream, buffer: FrameBuffer, address: Address) -> Entry:
        """See `connection.ClientSecurity`."""
        if self._tls is not None:
            stream = await _secure(stream, self._tls, address)
        else:
            await trio.lowlevel.checkpoint()
        sasl = self._settings.sasl
        if sasl is None:
            return Entry(stream)
        number = 0

        async def ask(request: Any) -> Any:
            nonlocal number
            number += 1
            return await _ask(stream, buffer, request, number)

        try:
            lifetime_ms = await _log_in(sasl, ask, address)
        except trio.BrokenResourceError as error:
            refused = CutOff if ended_without_a_word(error) else RefusedThere
            raise refused(_broken(error, address)) from None
        return Entry(stream, _renew_after_ms(lifetime_ms), logged_in=True)

    async def renew(self, call: _Ask, address: Address) -> int:
        """See `connection.ClientSecurity`."""
        sasl = self._settings.sasl
        if sasl is None:
            return 0
        return _renew_after_ms(await _log_in(sasl, call, address))


def _renew_after_ms(lifetime_ms: int) -> int:
    return int(lifetime_ms * random.uniform(*_RENEW_WITHIN))


async def _secure(stream: trio.abc.Stream, tls: TlsContext, address: Address) -> trio.abc.Stream:
    secured = TlsStream(stream, tls.current(), server_hostname=address.host)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        refused = CutOff if ended_without_a_word(error) else RefusedThere
        raise refused(
            f"{address} cannot be spoken to over TLS: {explain_handshake(error)}. Check the port, "
            "security.protocol, and ssl.truststore.location"
        ) from None
    return secured


def _broken(error: BaseException, address: Address) -> str:
    if error.__cause__ is not None:
        return f"{address} ended the connection during the login: {explain_handshake(error)}"
    return (
        f"{address} ended the connection during the login. Is this the port of a listener that wants one? "
        "Check security.protocol"
    )


async def _log_in(sasl: SaslClientSettings, ask: _Ask, address: Address) -> int:
    """For how many ms the login holds; 0: for ever."""
    mechanism = _mechanism(sasl, address)
    welcome = await ask(SaslHandshakeRequest(mechanism=sasl.mechanism))
    if welcome.error_code is not ErrorCode.none:
        raise RefusedThere(
            f"{address} does not take a login by {sasl.mechanism}; it takes {', '.join(welcome.mechanisms) or 'none'}. "
            "Change sasl.mechanism"
        )
    token: bytes | None = mechanism.first()
    lifetime_ms = 0
    while token is not None:
        answer = await ask(SaslAuthenticateRequest(auth_bytes=token))
        if answer.error_code is not ErrorCode.none:
            why = answer.error_message or answer.error_code.name.upper()
            raise RefusedThere(
                f"{address} does not let {sasl.login.username} in: {why}. Check the name and the password in "
                "sasl.jaas.config"
            )
        lifetime_ms = answer.session_lifetime_ms
        try:
            token = mechanism.next(answer.auth_bytes)
        except NotLetIn as error:
            raise RefusedThere(
                f"{address} is not believed: {error}. It does not know this password, or it is not who it seems"
            ) from None
    return lifetime_ms


def _mechanism(sasl: SaslClientSettings, address: Address) -> ClientMechanism:
    login = sasl.login
    try:
        return client_mechanism(
            sasl.mechanism,
            login.username or "",
            login.password or "",
            lambda: secrets.token_hex(16),
            by_token=login.by_token,
        )
    except ValueError as error:
        raise RefusedThere(f"{address} was not asked to let us in: {error}") from None


async def _ask(stream: trio.abc.Stream, buffer: FrameBuffer, request: Any, number: int) -> Any:
    version = _HANDSHAKE_VERSION if isinstance(request, SaslHandshakeRequest) else _AUTHENTICATE_VERSION
    await stream.send_all(encode_request(request, version, number, CLIENT_ID))
    while (frame := buffer.next_frame()) is None:
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("end of stream")
        buffer.feed(data)
    if correlation_id_of(frame) != number:
        raise RemoteProtocolError(f"an answer to request {correlation_id_of(frame)}, not to {number}")
    return decode_response(request.api_key, version, frame)
