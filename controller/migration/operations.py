"""What the migration writes to the log: each a decision on the newest image, as those on requests are (pure; KIP-866).

The copy is one metadata transaction: Begin, everything that ZooKeeper has, ZkMigrationState(MIGRATION), End. Half of
it never shows; a leader that finds one open ends it (`controller.activation`).
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.controller.speculation import Speculation
from quorate.metadata.checks import ErrorCode
from quorate.metadata.codec import MalformedRecord, encode_records
from quorate.metadata.config_keys.codes import ResourceType
from quorate.metadata.ids import Epoch, Offset, uuid_to_text
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import (
    AnyDataRecord,
    BeginTransactionRecord,
    ConfigRecord,
    EndTransactionRecord,
    MigrationOrder,
    MigrationOrderRecord,
    MigrationState,
    ZkMigrationStateRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.paths import broker_config, topic_config
from quorate.metadata.zookeeper.kafka_znodes.reading import Batch
from quorate.metadata.zookeeper.kafka_znodes.troubles import Severity, Trouble

Operation = Callable[[Context], ControllerResult[None]]

_NOTHING_YET = MigrationOrder.WAIT


def order_of(image: MetadataImage) -> MigrationOrder:
    """The order that counts."""
    return _NOTHING_YET if image.migration_order is None else MigrationOrder(image.migration_order.order)


def gathered(batches: Iterable[Batch], records: int) -> Iterator[list[Batch]]:
    """What the copy commits at once: batches together, until they have so many records; none is torn apart."""
    waiting: list[Batch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch.records)
        if count >= records:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


def try_copy(batches: Iterable[Batch], image: MetadataImage) -> tuple[MetadataImage, list[Trouble]]:
    """What the log would hold after a copy onto `image`, and the batches that it would not take: they are left out.

    A copy that fails half-way ends with its leader's resignation, and what the log does not take from one leader it
    takes from none. So this is asked before it begins.
    """
    found: list[Trouble] = []
    for batch in batches:
        trial = Speculation(image, Epoch(0), Offset(0))
        try:
            trial.add(batch.records, atomic=False, wall_ms=0)
        except ReplayError as error:
            words = f"Its records cannot be true together with the others: {error}"
            found.append(_blocker(batch, "contradiction", batch.path, words))
        except MalformedRecord as error:
            path, what = _without_form(batch)
            found.append(
                _blocker(batch, "malformed-record", path, f"The log has no form for {what}: {error}")
            )
        else:
            image = trial.image
    return image, found


_REMEDIES: Final = {
    "contradiction": "Mend what it says, or remove it if nothing needs it: Kafka's own tools write no such thing",
    "malformed-record": "Shorten or remove it with Kafka's own tools",
}


def _blocker(batch: Batch, code: str, path: str, words: str) -> Trouble:
    return Trouble(
        category=batch.category,
        severity=Severity.BLOCKER,
        code=code,
        path=path,
        words=words,
        remedy=_REMEDIES[code],
    )


def _without_form(batch: Batch) -> tuple[str, str]:
    """The znode of the first record that cannot be written, and what it is about: a batch has records of several."""
    for record in batch.records:
        if not isinstance(record, ConfigRecord):
            continue
        try:
            encode_records([record])
        except MalformedRecord:
            of_topic = record.resource_type == ResourceType.TOPIC
            return (topic_config if of_topic else broker_config)(record.resource_name), record.name
    return batch.path, "it"


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
