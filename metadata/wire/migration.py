"""Steering the move from ZooKeeper: a request of ours, which Kafka does not have (`own_schemas`).

Kafka's migration is steered by restarts and by hand in ZooKeeper. Ours is asked and told.
"""

import uuid
from typing import ClassVar, Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import ZERO_UUID

STATUS: Final = "status"
RUN: Final = "run"
FINALIZE: Final = "finalize"
ROLL_BACK: Final = "rollback"
WITHDRAW: Final = "withdraw"
"""Back from an order to roll back that has not been carried out yet, or from one to run that has not begun."""
STEPS: Final = (STATUS, RUN, FINALIZE, ROLL_BACK, WITHDRAW)


@attrs.frozen(kw_only=True)
class SteerMigrationRequest:
    api_key: ClassVar[int] = 20_000

    step: str = STATUS
    """One of STEPS."""
    attempt: uuid.UUID = ZERO_UUID
    """Which attempt is meant; zero: the one that is under way."""
    forced: bool = False
    """Roll back although brokers still need the quorum."""
    validate_only: bool = False
    """Say what stands in the way, and change nothing."""


@attrs.frozen(kw_only=True)
class SteerMigrationResponse:
    api_key: ClassVar[int] = 20_000

    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    offset: int = -1
    """The last committed offset that the status rests on."""
    status: str = ""
    """A JSON document (`controller.migration.status`)."""
