"""A client's request inside a broker's (KIP-590): the envelope, and the principal that it carries.

The inner request and response are whole frames (header and body) in the client's own version.
"""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.convert import own_tag


@attrs.frozen(kw_only=True)
class EnvelopeRequest:
    api_key: ClassVar[int] = 58

    request_data: bytes
    request_principal: bytes | None = None
    client_host_address: bytes
    broker_id: int = own_tag(10_000, "int32", default=-1)
    """The broker that hands this on, where it has no image and so hands on reads too (ZooKeeper mode); -1: it has one.
    They are answered as if it did: brokers under the client's listener, itself as the controller."""
    listener_name: str = own_tag(10_001, "string", default="")
    """On which the client asked that broker."""
    broker_configs: bytes = own_tag(10_002, "bytes", default=b"")
    """What that broker's file says, as a JSON object, where its own configs are asked for."""


@attrs.frozen(kw_only=True)
class EnvelopeResponse:
    api_key: ClassVar[int] = 58

    response_data: bytes | None = None
    error_code: ErrorCode = ErrorCode.none
    rests_on: int = own_tag(10_000, "int64", default=-1)
    """The last offset that the answer may rest on; -1: not said. A broker that shows less waits before it hands the
    answer on, so that its client sees there what it was told."""


@attrs.frozen(kw_only=True)
class DefaultPrincipalData:
    """Who the client is, as Kafka's default principal builder writes it."""

    type: str
    name: str
    token_authenticated: bool = False
