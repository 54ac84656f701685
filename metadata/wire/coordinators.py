"""What every client of data asks whichever broker it finds first: coordinators, producer ids, transactions (KIP-98,
KIP-699, KIP-664, KIP-932): values that no version colours."""

from typing import ClassVar, Final

import attrs

from quorate.metadata.checks import ErrorCode

GROUP: Final = 0
TRANSACTION: Final = 1
SHARE: Final = 2
"""Of a key type: what is coordinated."""


@attrs.frozen(kw_only=True)
class FindCoordinatorRequest:
    """`key` below v4, `coordinator_keys` since."""

    api_key: ClassVar[int] = 10

    key: str = ""
    key_type: int = GROUP
    coordinator_keys: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Coordinator:
    key: str
    node_id: int = -1
    host: str = ""
    port: int = -1
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class FindCoordinatorResponse:
    """`coordinators` since v4; below, the one that was asked for is the answer itself."""

    api_key: ClassVar[int] = 10

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    node_id: int = -1
    host: str = ""
    port: int = -1
    coordinators: tuple[Coordinator, ...] = ()


@attrs.frozen(kw_only=True)
class InitProducerIdRequest:
    api_key: ClassVar[int] = 22

    transactional_id: str | None = None
    """None: an idempotent producer without transactions."""
    transaction_timeout_ms: int = 0
    producer_id: int = -1
    producer_epoch: int = -1


@attrs.frozen(kw_only=True)
class InitProducerIdResponse:
    api_key: ClassVar[int] = 22

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    producer_id: int = -1
    producer_epoch: int = -1


@attrs.frozen(kw_only=True)
class ListTransactionsRequest:
    api_key: ClassVar[int] = 66

    state_filters: tuple[str, ...] = ()
    producer_id_filters: tuple[int, ...] = ()
    duration_filter: int = -1
    transactional_id_pattern: str | None = None


@attrs.frozen(kw_only=True)
class TransactionState:
    transactional_id: str
    producer_id: int
    transaction_state: str


@attrs.frozen(kw_only=True)
class ListTransactionsResponse:
    api_key: ClassVar[int] = 66

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    unknown_state_filters: tuple[str, ...] = ()
    transaction_states: tuple[TransactionState, ...] = ()
