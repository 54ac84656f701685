"""What the migration writes to the log: each a decision on the newest image, as those on requests are (pure; KIP-866).

The copy is one metadata transaction: Begin, everything that ZooKeeper has, ZkMigrationState(MIGRATION), End. Half of
it never shows; a leader that finds one open ends it (`controller.activation`).
"""

import uuid
from collections.abc import Callable, Sequence

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import uuid_to_text
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import (
    AnyDataRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    MigrationOrder,
    MigrationOrderRecord,
    MigrationState,
    ZkMigrationStateRecord,
)

Operation = Callable[[Context], ControllerResult[None]]

_NOTHING_YET = MigrationOrder.WAIT


def order_of(image: MetadataImage) -> MigrationOrder:
    """The order that counts."""
    return _NOTHING_YET if image.migration_order is None else MigrationOrder(image.migration_order.order)


def begin_copy(attempt: uuid.UUID) -> Operation:
    """Opens the transaction.

    Raises (when it is run):
        RequestRejected: INVALID_REQUEST; this is not the moment: the order was withdrawn, or the copy is there.
    """

    def run(context: Context) -> ControllerResult[None]:
        _require(context, MigrationState.PRE_MIGRATION, MigrationOrder.RUN, attempt)
        return ControllerResult(
            [BeginTransactionRecord(name=f"ZooKeeper migration {uuid_to_text(attempt)}")], None
        )

    return run


def copy(records: Sequence[AnyDataRecord]) -> Operation:
    """A part of what ZooKeeper has. It may be cut into several batches: the transaction holds them together."""

    def run(context: Context) -> ControllerResult[None]:
        return ControllerResult(records, None, atomic=False)

    return run


def end_copy(attempt: uuid.UUID) -> Operation:
    """Closes the transaction: from here on the log has the metadata.

    Raises (when it is run):
        RequestRejected: as `begin_copy`.
    """

    def run(context: Context) -> ControllerResult[None]:
        _require(context, MigrationState.PRE_MIGRATION, MigrationOrder.RUN, attempt)
        state = ZkMigrationStateRecord(zk_migration_state=MigrationState.MIGRATION.value)
        return ControllerResult([state, EndTransactionRecord()], None)

    return run


def finish() -> Operation:
    """The quorum keeps the cluster.

    Raises (when it is run):
        RequestRejected: INVALID_REQUEST; a broker in ZooKeeper mode has registered after all, or there is nothing to
            finish.
    """

    def run(context: Context) -> ControllerResult[None]:
        _require(context, MigrationState.MIGRATION, MigrationOrder.RUN, None)
        old = [
            broker.id for broker in context.image.cluster.brokers.values() if broker.is_migrating_zk_broker
        ]
        if old:
            reject(ErrorCode.invalid_request, f"Brokers {sorted(old)} still run in ZooKeeper mode.")
        return ControllerResult(
            [ZkMigrationStateRecord(zk_migration_state=MigrationState.POST_MIGRATION.value)], None
        )

    return run


def give_order(
    order: MigrationOrder,
    attempt: uuid.UUID,
    *,
    forced: bool = False,
    operator: str = "",
    expected: MigrationOrder,
) -> Operation:
    """Keeps an order in the log.

    `expected`: the order that it follows. Raises (when it is run):
        RequestRejected: INVALID_REQUEST; another one was given in the meantime.
    """

    def run(context: Context) -> ControllerResult[None]:
        now = order_of(context.image)
        if now is not expected:
            reject(
                ErrorCode.invalid_request,
                f"The order {expected.name} was replaced by {now.name} in the meantime. Look at the status again.",
            )
        record = MigrationOrderRecord(
            order=order.value, attempt=attempt, forced=forced, time_ms=context.wall_ms, operator=operator
        )
        return ControllerResult([record], None)

    return run


def _require(
    context: Context, state: MigrationState, order: MigrationOrder, attempt: uuid.UUID | None
) -> None:
    image = context.image
    if image.migration is not state:
        reject(
            ErrorCode.invalid_request, f"The migration is in state {image.migration.name}, not {state.name}."
        )
    if order_of(image) is not order or (
        attempt is not None and image.migration_order is not None and image.migration_order.attempt != attempt
    ):
        reject(ErrorCode.invalid_request, f"The order {order.name} was withdrawn or replaced.")
