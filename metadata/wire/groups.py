"""Groups, as far as brokers without any are asked about them: values that no version colours (KIP-518, KIP-848)."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class ListGroupsRequest:
    api_key: ClassVar[int] = 16

    states_filter: tuple[str, ...] = ()
    """Empty: all."""
    types_filter: tuple[str, ...] = ()
    """Empty: all."""


@attrs.frozen(kw_only=True)
class ListedGroup:
    group_id: str
    protocol_type: str
    group_state: str = ""
    group_type: str = ""


@attrs.frozen(kw_only=True)
class ListGroupsResponse:
    api_key: ClassVar[int] = 16

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    groups: tuple[ListedGroup, ...] = ()
