"""Authentication inside the protocol (KIP-43, KIP-152, KIP-368), as values that no version colours."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class SaslHandshakeRequest:
    api_key: ClassVar[int] = 17

    mechanism: str


@attrs.frozen(kw_only=True)
class SaslHandshakeResponse:
    api_key: ClassVar[int] = 17

    error_code: ErrorCode = ErrorCode.none
    mechanisms: tuple[str, ...] = ()
    """All that are enabled."""


@attrs.frozen(kw_only=True)
class SaslAuthenticateRequest:
    api_key: ClassVar[int] = 36

    auth_bytes: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class SaslAuthenticateResponse:
    api_key: ClassVar[int] = 36

    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    auth_bytes: bytes = attrs.field(default=b"", repr=False)
    session_lifetime_ms: int = 0
    """After so long the client has to say again who it is; 0: never."""
