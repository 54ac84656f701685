"""Records of topics and their partitions (KIP-631, KIP-858, KIP-966)."""

import uuid
from typing import ClassVar, Final

from attrs import field, frozen

from quorate.metadata.records.declare import (
    INT8,
    INT32,
    STRING,
    UNCHANGED,
    UUID,
    ArrayOf,
    DataRecord,
    Unchanged,
    kafka,
)

NO_LEADER: Final = -1
"""The leader of a partition that has none."""

RECOVERED: Final = 0
"""Leader recovery state: the leader came from the ISR, or has recovered from an unclean election."""
RECOVERING: Final = 1
"""Leader recovery state: the leader was elected uncleanly and has not recovered yet."""


@frozen(kw_only=True)
class TopicRecord(DataRecord):
    """Creates a topic. Its partitions follow in Partition records."""

    api_key: ClassVar = 2
    versions: ClassVar = (0, 0)

    name: str = field(metadata=kafka(STRING, "The topic's name; no other topic has it."))
    topic_id: uuid.UUID = field(
        metadata=kafka(UUID, "The topic's id; never used again, even after deletion.")
    )


@frozen(kw_only=True)
class RemoveTopicRecord(DataRecord):
    """Deletes a topic with all its partitions and its configuration."""

    api_key: ClassVar = 9
    versions: ClassVar = (0, 0)

    topic_id: uuid.UUID = field(metadata=kafka(UUID, "The topic to remove."))


@frozen(kw_only=True)
class PartitionRecord(DataRecord):
    """The whole state of one partition. Version 1: directories; version 2: eligible leader replicas."""

    api_key: ClassVar = 3
    versions: ClassVar = (0, 2)

    partition_id: int = field(metadata=kafka(INT32, "The partition's number within its topic."))
    topic_id: uuid.UUID = field(metadata=kafka(UUID, "The topic it belongs to."))
    replicas: tuple[int, ...] = field(
        metadata=kafka(ArrayOf(INT32), "The brokers that hold a replica, the preferred leader first.")
    )
    isr: tuple[int, ...] = field(metadata=kafka(ArrayOf(INT32), "The replicas that are in sync."))
    removing_replicas: tuple[int, ...] = field(
        default=(), metadata=kafka(ArrayOf(INT32), "Replicas that a reassignment is taking away.")
    )
    adding_replicas: tuple[int, ...] = field(
        default=(), metadata=kafka(ArrayOf(INT32), "Replicas that a reassignment is bringing in.")
    )
    leader: int = field(metadata=kafka(INT32, "The leading replica, or -1 if there is none."))
    leader_recovery_state: int = field(
        default=RECOVERED,
        metadata=kafka(INT8, "1 while the leader recovers from an unclean election, else 0.", tag=0),
    )
    leader_epoch: int = field(metadata=kafka(INT32, "Rises with every change of leader."))
    partition_epoch: int = field(metadata=kafka(INT32, "Rises with every change of the partition."))
    directories: tuple[uuid.UUID, ...] = field(
        default=(),
        metadata=kafka(
            ArrayOf(UUID), "The log directory of each replica, in the order of replicas.", since=1
        ),
    )
    eligible_leader_replicas: tuple[int, ...] = field(
        default=(),
        metadata=kafka(
            ArrayOf(INT32),
            "Replicas outside the ISR that still hold every committed record and may lead.",
            since=2,
            tag=1,
            nullable=True,
            empty_is_null=True,
        ),
    )
    last_known_elr: tuple[int, ...] = field(
        default=(),
        metadata=kafka(
            ArrayOf(INT32),
            "Replicas that were eligible and were then lost; the last leader among them.",
            since=2,
            tag=2,
            nullable=True,
            empty_is_null=True,
        ),
    )


@frozen(kw_only=True)
class PartitionChangeRecord(DataRecord):
    """Changes parts of a partition. Each raises the partition epoch; one with a leader the leader epoch too.

    Version 1: directories; version 2: eligible leader replicas.
    """

    api_key: ClassVar = 5
    versions: ClassVar = (0, 2)

    partition_id: int = field(metadata=kafka(INT32, "The partition's number within its topic."))
    topic_id: uuid.UUID = field(metadata=kafka(UUID, "The topic it belongs to."))
    isr: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED, metadata=kafka(ArrayOf(INT32), "The new in-sync replicas.", tag=0, nullable=True)
    )
    leader: int | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            INT32,
            "The new leader, -1 if there is none now; a leader that stays but is named gets a new epoch.",
            tag=1,
            unchanged=-2,
        ),
    )
    replicas: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED, metadata=kafka(ArrayOf(INT32), "The new replicas.", tag=2, nullable=True)
    )
    removing_replicas: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(ArrayOf(INT32), "The new list of replicas being taken away.", tag=3, nullable=True),
    )
    adding_replicas: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(ArrayOf(INT32), "The new list of replicas being brought in.", tag=4, nullable=True),
    )
    leader_recovery_state: int | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            INT8, "1 if the leader recovers from an unclean election, 0 if not.", tag=5, unchanged=-1
        ),
    )
    directories: tuple[uuid.UUID, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            ArrayOf(UUID), "The new log directory of each replica.", since=1, tag=8, nullable=True
        ),
    )
    eligible_leader_replicas: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(ArrayOf(INT32), "The new eligible leader replicas.", since=2, tag=6, nullable=True),
    )
    last_known_elr: tuple[int, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            ArrayOf(INT32), "The new last known eligible leader replicas.", since=2, tag=7, nullable=True
        ),
    )


@frozen(kw_only=True)
class ClearElrRecord(DataRecord):
    """Forgets eligible and last known leader replicas, of one topic or of all (KIP-966)."""

    api_key: ClassVar = 28
    versions: ClassVar = (0, 0)

    topic_name: str = field(metadata=kafka(STRING, "The topic; empty means every topic."))
