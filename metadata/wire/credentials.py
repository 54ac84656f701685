"""SCRAM credentials: the requests, as values that no version colours (KIP-554)."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class UserName:
    name: str


@attrs.frozen(kw_only=True)
class DescribeUserScramCredentialsRequest:
    api_key: ClassVar[int] = 50

    users: tuple[UserName, ...] | None = None
    """None, as an empty list, asks for all."""


@attrs.frozen(kw_only=True)
class CredentialInfo:
    mechanism: int
    iterations: int


@attrs.frozen(kw_only=True)
class DescribeUserScramCredentialsResult:
    user: str
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    credential_infos: tuple[CredentialInfo, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeUserScramCredentialsResponse:
    api_key: ClassVar[int] = 50

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    results: tuple[DescribeUserScramCredentialsResult, ...] = ()


@attrs.frozen(kw_only=True)
class ScramCredentialDeletion:
    name: str
    mechanism: int


@attrs.frozen(kw_only=True)
class ScramCredentialUpsertion:
    name: str
    mechanism: int
    iterations: int
    salt: bytes = attrs.field(repr=False)
    salted_password: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class AlterUserScramCredentialsRequest:
    api_key: ClassVar[int] = 51

    deletions: tuple[ScramCredentialDeletion, ...] = ()
    upsertions: tuple[ScramCredentialUpsertion, ...] = ()


@attrs.frozen(kw_only=True)
class AlterUserScramCredentialsResult:
    user: str
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class AlterUserScramCredentialsResponse:
    api_key: ClassVar[int] = 51

    throttle_time_ms: int = 0
    results: tuple[AlterUserScramCredentialsResult, ...] = ()
