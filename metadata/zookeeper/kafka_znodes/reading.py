"""What a tree of Kafka's metadata says: records in the order of Kafka's own copy, and all that is odd about it."""

from collections.abc import Iterator, Mapping

import attrs

from quorate.metadata.features import DEFAULT_METADATA_VERSION
from quorate.metadata.records import AnyDataRecord
from quorate.metadata.zookeeper.kafka_znodes.nodes import BrokerZnode, ControllerZnode, MigrationZnode
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity, Trouble


@attrs.frozen(kw_only=True)
class ReadOptions:
    """How a tree is read."""

    metadata_version: int = DEFAULT_METADATA_VERSION
    """Which versions the records have."""
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """`password.encoder.secret`, and `password.encoder.old.secret` while it is being changed; tried in this order."""
    lenient: frozenset[Category] = frozenset()
    """What cannot be read of these is left out, with a warning; of all others it blocks."""


@attrs.frozen(kw_only=True)
class Batch:
    """Records that must not be torn apart: a topic with its configs and partitions, the config of one entity."""

    category: Category
    """The step of the copy: topic configs and partitions are in the batch of their topic, credentials with quotas."""
    path: str
    records: tuple[AnyDataRecord, ...]


@attrs.frozen(kw_only=True)
class BrokerNode:
    """A live broker."""

    id: int
    epoch: int
    """The czxid of its znode: the broker's epoch in ZooKeeper mode."""
    znode: BrokerZnode | None
    """None: its znode means nothing."""


@attrs.frozen(kw_only=True)
class Reading:
    """All that was read."""

    cluster_id: str | None
    controller: ControllerZnode | None
    controller_is_ephemeral: bool
    """A broker is the controller; a controller of a quorum claims it for good."""
    controller_epoch: int | None
    controller_epoch_version: int
    """The version of its znode, with which writes are fenced; -1 where there is none."""
    highest_controller_epoch: int
    """In any state of a partition; whoever leads with a smaller one may not touch that partition."""
    brokers: Mapping[int, BrokerNode]
    assigned: Mapping[int, int]
    """Broker -> how many replicas are placed on it, whether it is there or not."""
    migration: MigrationZnode | None
    pending_deletions: tuple[str, ...]
    """Topics that are being deleted: they are not among the records."""
    defaulted: tuple[tuple[str, int], ...]
    """(topic, partition) without a state: its records say what Kafka's copy would say."""
    batches: tuple[Batch, ...]
    troubles: tuple[Trouble, ...]

    def records(self) -> Iterator[AnyDataRecord]:
        return (record for batch in self.batches for record in batch.records)

    def of(self, severity: Severity) -> tuple[Trouble, ...]:
        return tuple(trouble for trouble in self.troubles if trouble.severity is severity)
