"""Client quotas: the requests, as values that no version colours (KIP-546)."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class ComponentData:
    entity_type: str
    match_type: int
    match: str | None = None


@attrs.frozen(kw_only=True)
class DescribeClientQuotasRequest:
    api_key: ClassVar[int] = 48

    components: tuple[ComponentData, ...] = ()
    strict: bool = False


@attrs.frozen(kw_only=True)
class EntityData:
    entity_type: str
    entity_name: str | None = None


@attrs.frozen(kw_only=True)
class ValueData:
    key: str
    value: float


@attrs.frozen(kw_only=True)
class DescribedEntry:
    entity: tuple[EntityData, ...] = ()
    values: tuple[ValueData, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeClientQuotasResponse:
    api_key: ClassVar[int] = 48

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    entries: tuple[DescribedEntry, ...] | None = ()


@attrs.frozen(kw_only=True)
class OpData:
    key: str
    value: float = 0.0
    remove: bool = False


@attrs.frozen(kw_only=True)
class AlteredEntry:
    entity: tuple[EntityData, ...] = ()
    ops: tuple[OpData, ...] = ()


@attrs.frozen(kw_only=True)
class AlterClientQuotasRequest:
    api_key: ClassVar[int] = 49

    entries: tuple[AlteredEntry, ...] = ()
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class AlteredEntryResult:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    entity: tuple[EntityData, ...] = ()


@attrs.frozen(kw_only=True)
class AlterClientQuotasResponse:
    api_key: ClassVar[int] = 49

    throttle_time_ms: int = 0
    entries: tuple[AlteredEntryResult, ...] = ()
