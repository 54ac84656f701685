"""A login by SASL as the server sees it: handshake, then tokens, then an identity (pure; KIP-43, KIP-152, KIP-368).

SaslHandshake v1, SaslAuthenticate ...      every current client
SaslHandshake v0, then bare tokens          clients of 0.10 and 0.11, and some that never learned better
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

import attrs

from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.security.mechanisms import Identity, NotLetIn, ServerMechanism
from quorate.metadata.wire.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

SASL_KEYS: Final = frozenset({SaslHandshakeRequest.api_key, SaslAuthenticateRequest.api_key})

Mechanisms = Mapping[str, Callable[[], ServerMechanism]]
"""What is enabled, and how a login by it is begun."""


class _State(Enum):
    BEGINNING = auto()
    TOKENS = auto()
    BARE_TOKENS = auto()
    ENDED = auto()


class SaslLogin:
    """One login of one connection; a re-authentication is another one."""

    def __init__(
        self,
        mechanisms: Mechanisms,
        *,
        lifetime_ms: Callable[[str, Identity], int],
        before: "Proven | None" = None,
    ) -> None:
        """`lifetime_ms`: for how long a login by this mechanism holds; 0: for ever. `before`: whom the connection is
        already; nobody else may take it over, nor change how he proves it."""
        self._mechanisms = mechanisms
        self._lifetime_ms = lifetime_ms
        self._before = before
        self._state = _State.BEGINNING
        self._name = ""
        self._mechanism: ServerMechanism | None = None
        self.proven: Proven | None = None
        """Set when the login has succeeded."""
        self.failure: str | None = None
        """Set when it has failed, for the log: nothing more may be read from the connection."""

    @property
    def takes_bare_tokens(self) -> bool:
        """The next frame is a token, not a request."""
        return self._state is _State.BARE_TOKENS

    def handshake(self, request: SaslHandshakeRequest, version: int) -> SaslHandshakeResponse:
        names = tuple(self._mechanisms)
        if self._state is not _State.BEGINNING:
            self._fail("a second SaslHandshake within one login")
            return SaslHandshakeResponse(error_code=ErrorCode.illegal_sasl_state, mechanisms=names)
        if self._before is not None and request.mechanism != self._before.mechanism:
            self._fail(f"it may not change from {self._before.mechanism} to {request.mechanism[:100]!r}")
            return SaslHandshakeResponse(error_code=ErrorCode.unsupported_sasl_mechanism, mechanisms=names)
        begin = self._mechanisms.get(request.mechanism)
        if begin is None:
            self._fail(
                f"the mechanism {request.mechanism[:100]!r} is not enabled; there are {', '.join(names)}"
            )
            return SaslHandshakeResponse(error_code=ErrorCode.unsupported_sasl_mechanism, mechanisms=names)
        self._name, self._mechanism = request.mechanism, begin()
        self._state = _State.TOKENS if version >= 1 else _State.BARE_TOKENS
        return SaslHandshakeResponse(mechanisms=names)

    def authenticate(self, request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
        if self._state is not _State.TOKENS:
            self._fail("SaslAuthenticate without a SaslHandshake before it")
            return SaslAuthenticateResponse(
                error_code=ErrorCode.illegal_sasl_state,
                error_message="SaslAuthenticate request received without SaslHandshake before it",
            )
        try:
            answer = self._respond(request.auth_bytes)
        except NotLetIn as error:
            return SaslAuthenticateResponse(
                error_code=ErrorCode.sasl_authentication_failed, error_message=str(error)
            )
        lifetime = 0 if self.proven is None else self.proven.lifetime_ms
        return SaslAuthenticateResponse(auth_bytes=answer, session_lifetime_ms=lifetime)

    def bare_token(self, token: bytes) -> bytes | None:
        """The answer to a token that came without a request around it; None: nobody is let in."""
        try:
            return self._respond(token)
        except NotLetIn:
            return None

    def _respond(self, token: bytes) -> bytes:
        if self._mechanism is None or self._state not in (_State.TOKENS, _State.BARE_TOKENS):
            raise InvariantViolated("a token outside of a login")
        try:
            answer = self._mechanism.respond(token)
            if self._mechanism.identity is not None:
                self._prove(self._mechanism.identity)
        except NotLetIn as error:
            self._fail(f"by {self._name}: {error}")
            raise
        return answer

    def _prove(self, identity: Identity) -> None:
        if self._before is not None and identity.principal != self._before.identity.principal:
            raise NotLetIn("Cannot change principals during re-authentication")
        self._state = _State.ENDED
        lifetime_ms = self._lifetime_ms(self._name, identity)
        self.proven = Proven(identity=identity, mechanism=self._name, lifetime_ms=lifetime_ms)

    def _fail(self, why: str) -> None:
        self._state = _State.ENDED
        self.failure = why


@attrs.frozen(kw_only=True)
class Proven:
    """Who a connection is, how that was shown, and for how many ms from then on it holds (0: for ever)."""

    identity: Identity
    mechanism: str
    lifetime_ms: int
