"""A client's request inside a broker's (KIP-590): the envelope, and the principal that it carries.

The inner request and response are whole frames (header and body) in the client's own version.
"""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class EnvelopeRequest:
    api_key: ClassVar[int] = 58

    request_data: bytes
    request_principal: bytes | None = None
    client_host_address: bytes


@attrs.frozen(kw_only=True)
class EnvelopeResponse:
    api_key: ClassVar[int] = 58

    response_data: bytes | None = None
    error_code: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class DefaultPrincipalData:
    """Who the client is, as Kafka's default principal builder writes it."""

    type: str
    name: str
    token_authenticated: bool = False
