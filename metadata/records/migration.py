"""What an operator ordered about the move from ZooKeeper. The state itself is Kafka's record (`flow`).

Kafka's migration begins by itself when the last broker has registered, and its way back is a list of znodes to delete
by hand. Here both are orders, kept in the log: they survive every leader, and who gave them can be read. Kafka knows
no such record: in Kafka's form a NoOp stands at its offset.
"""

import enum
import uuid
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.records.declare import BOOL, INT8, INT64, STRING, UUID, DataRecord, ours


class MigrationOrder(enum.IntEnum):
    """What is to be done; the numbers of MigrationOrder records."""

    WAIT = 0
    """Nothing yet, or no more: what was not begun is not begun."""
    RUN = 1
    """Copy, then write to both sides."""
    ROLL_BACK = 2
    """Give the cluster back to ZooKeeper, as soon as no broker needs the quorum any more."""
    HAND_BACK = 3
    """The quorum changes nothing from here on, so that ZooKeeper can be brought level, checked and let go."""
    ROLLED_BACK = 4
    """ZooKeeper has the cluster again. This quorum's log is of no use any more."""


@frozen(kw_only=True)
class MigrationOrderRecord(DataRecord):
    """An operator's order, or the driver's own step on the way of one."""

    api_key: ClassVar = 20_002
    versions: ClassVar = (0, 0)
    in_kafka: ClassVar = False

    order: int = field(metadata=ours(INT8, "A number of MigrationOrder."))
    attempt: uuid.UUID = field(
        metadata=ours(UUID, "Names this attempt at a migration; the znode /migration carries it too.")
    )
    forced: bool = field(
        metadata=ours(BOOL, "Do not wait for brokers that still need the side that is given up.")
    )
    time_ms: int = field(metadata=ours(INT64, "When, wall clock ms."))
    operator: str = field(metadata=ours(STRING, "Who: a principal; empty for the driver's own steps."))
