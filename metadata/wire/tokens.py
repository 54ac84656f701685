"""Delegation tokens: the requests, as values that no version colours (KIP-48, KIP-373). Times are wall clock ms."""

from typing import ClassVar, Final

import attrs

from quorate.metadata.checks import ErrorCode

NO_TIME: Final = -1
"""In an answer that says an error."""


@attrs.frozen(kw_only=True)
class CreatableRenewers:
    principal_type: str
    principal_name: str


@attrs.frozen(kw_only=True)
class CreateDelegationTokenRequest:
    api_key: ClassVar[int] = 38

    owner_principal_type: str | None = None
    owner_principal_name: str | None = None
    """None or empty: whoever asks."""
    renewers: tuple[CreatableRenewers, ...] = ()
    max_lifetime_ms: int = -1
    """Not positive: as long as the controller allows."""


@attrs.frozen(kw_only=True)
class CreateDelegationTokenResponse:
    api_key: ClassVar[int] = 38

    error_code: ErrorCode = ErrorCode.none
    principal_type: str = ""
    principal_name: str = ""
    token_requester_principal_type: str = ""
    token_requester_principal_name: str = ""
    issue_timestamp_ms: int = NO_TIME
    expiry_timestamp_ms: int = NO_TIME
    max_timestamp_ms: int = NO_TIME
    token_id: str = ""
    hmac: bytes = attrs.field(default=b"", repr=False)
    throttle_time_ms: int = 0


@attrs.frozen(kw_only=True)
class RenewDelegationTokenRequest:
    api_key: ClassVar[int] = 39

    hmac: bytes = attrs.field(repr=False)
    renew_period_ms: int = -1
    """Not positive: as long as the controller allows."""


@attrs.frozen(kw_only=True)
class RenewDelegationTokenResponse:
    api_key: ClassVar[int] = 39

    error_code: ErrorCode = ErrorCode.none
    expiry_timestamp_ms: int = NO_TIME
    throttle_time_ms: int = 0


@attrs.frozen(kw_only=True)
class ExpireDelegationTokenRequest:
    api_key: ClassVar[int] = 40

    hmac: bytes = attrs.field(repr=False)
    expiry_time_period_ms: int = -1
    """Negative: the token is removed at once."""


@attrs.frozen(kw_only=True)
class ExpireDelegationTokenResponse:
    api_key: ClassVar[int] = 40

    error_code: ErrorCode = ErrorCode.none
    expiry_timestamp_ms: int = NO_TIME
    throttle_time_ms: int = 0


@attrs.frozen(kw_only=True)
class DescribeDelegationTokenOwner:
    principal_type: str
    principal_name: str


@attrs.frozen(kw_only=True)
class DescribeDelegationTokenRequest:
    api_key: ClassVar[int] = 41

    owners: tuple[DescribeDelegationTokenOwner, ...] | None = None
    """None: of everybody."""


@attrs.frozen(kw_only=True)
class DescribedDelegationTokenRenewer:
    principal_type: str
    principal_name: str


@attrs.frozen(kw_only=True)
class DescribedDelegationToken:
    principal_type: str
    principal_name: str
    token_requester_principal_type: str = ""
    token_requester_principal_name: str = ""
    issue_timestamp: int
    expiry_timestamp: int
    max_timestamp: int
    token_id: str
    hmac: bytes = attrs.field(repr=False)
    renewers: tuple[DescribedDelegationTokenRenewer, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeDelegationTokenResponse:
    api_key: ClassVar[int] = 41

    error_code: ErrorCode = ErrorCode.none
    tokens: tuple[DescribedDelegationToken, ...] = ()
    throttle_time_ms: int = 0
