"""What a migration of a tree would be: how much, how long, and what is in its way. Nothing is written anywhere.

Everything that the copy and its first reconciling would do is done here on paper: the tree is read by the same reader,
its records are taken by a log's speculation, and the image is compared with the tree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from quorate.controller.migration.operations import gathered, try_copy
from quorate.metadata.config_keys.codes import ResourceType
from quorate.metadata.config_keys.keys import key_for
from quorate.metadata.image.configs import BROKER, TOPIC
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import ConfigRecord
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions
from quorate.metadata.zookeeper.kafka_znodes.nodes import NO_KRAFT_EPOCH
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, Entropy
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity, Trouble, in_order
from quorate.metadata.zookeeper.znodes import Tree

AROUND_THE_COPY: Final = 3
"""The records that begin and end the transaction, and the one that says that the copy is made."""
_COMMIT_S: Final = 0.01
"""Assumed: a batch until a majority has it on disk."""
_WRITE_S: Final = 0.005
"""Assumed: a write of ZooKeeper until it is answered."""
_READINGS: Final = 2
"""A tree is read twice, to know that nobody wrote meanwhile."""
_SHOWN: Final = 20


@attrs.frozen(kw_only=True)
class Sample:
    """What was measured while the plan was made."""

    read_seconds: float | None
    """How long reading the whole tree once took; None: it came from a file."""
    copy_seconds: float
    """How long making its records took, and replaying them."""


@attrs.frozen(kw_only=True)
class PlanOptions:
    """What is asked, and what is known besides the tree."""

    reading: ReadOptions
    batch_records: int = 200
    """So many records the copy commits at once, or more where a topic has more."""
    controller_ids: tuple[int, ...] = ()
    """Of the quorum; no broker may have one of them."""
    quorum_epoch: int | None = None
    """Of the quorum that will claim the cluster, where it is up."""
    entropy: Entropy
    """For salts of passwords that are compared by being written."""


@attrs.frozen(kw_only=True)
class Estimate:
    """Seconds of each part. What rests on an assumption says so in `basis`."""

    reading: float | None
    copying: float
    syncing: float
    basis: str

    @property
    def total(self) -> float:
        """Without reading, where that was not measured."""
        return (self.reading or 0.0) + self.copying + self.syncing


@attrs.frozen(kw_only=True)
class Plan:
    """All that is to be known before."""

    reading: Reading
    znodes: int
    lists: int
    """How many lists of children are read."""
    records: Mapping[str, int]
    """Type -> how many the copy writes."""
    batches: int
    sync_writes: Mapping[Category, int]
    """What the first reconciling writes to ZooKeeper, by kind."""
    sync_removes: tuple[str, ...]
    """What it takes away there."""
    quorum_epoch: int | None
    troubles: tuple[Trouble, ...]

    @property
    def total(self) -> int:
        """Records of the copy, without those around it."""
        return sum(self.records.values())

    @property
    def can_run(self) -> bool:
        """Nothing blocks it."""
        return not self.of(Severity.BLOCKER)

    @property
    def claimed_epoch(self) -> int:
        """What `/controller_epoch` will be: above every epoch that a state of a partition names, so that after a way
        back the brokers' own controller may lead every partition."""
        known = (self.reading.controller_epoch, self.reading.highest_controller_epoch, self.quorum_epoch)
        return max(epoch or 0 for epoch in known) + 1

    def of(self, severity: Severity) -> tuple[Trouble, ...]:
        return tuple(trouble for trouble in self.troubles if trouble.severity is severity)

    def estimate(self, sample: Sample) -> Estimate:
        """From what was measured on this machine, and from assumptions where nothing could be."""
        writes = sum(self.sync_writes.values())
        reading = None if sample.read_seconds is None else sample.read_seconds * _READINGS
        source = "not read from an ensemble" if reading is None else "measured, two readings"
        return Estimate(
            reading=reading,
            copying=sample.copy_seconds + self.batches * _COMMIT_S,
            syncing=writes * _WRITE_S,
            basis=f"reading: {source}; copying: measured, and {_COMMIT_S * 1000:g} ms assumed for each of "
            f"{self.batches:,} commits; syncing: {_WRITE_S * 1000:g} ms assumed for each of {writes:,} writes",
        )

    def document(self, estimate: Estimate) -> dict[str, Any]:
        """As JSON."""
        return {
            "can_run": self.can_run,
            "cluster_id": self.reading.cluster_id,
            "znodes": self.znodes,
            "reads": {"znodes": self.znodes, "lists_of_children": self.lists},
            "brokers": [_broker_document(self.reading, broker_id) for broker_id in self._broker_ids()],
            "controller": self._controller_document(),
            "epochs": {
                "zookeeper": self.reading.controller_epoch,
                "highest_in_states": self.reading.highest_controller_epoch,
                "quorum": self.quorum_epoch,
                "claim": self.claimed_epoch,
            },
            "records": dict(self.records),
            "total_records": self.total,
            "records_with_transaction": self.total + AROUND_THE_COPY,
            "batches": self.batches,
            "pending_deletions": list(self.reading.pending_deletions),
            "partitions_without_state": [f"{topic}-{index}" for topic, index in self.reading.defaulted],
            "first_sync": {
                "writes": {category.value: count for category, count in self.sync_writes.items()},
                "removes": list(self.sync_removes[:_SHOWN]),
                "removed": len(self.sync_removes),
            },
            "estimated_seconds": {
                "reading": _rounded(estimate.reading),
                "copying": _rounded(estimate.copying),
                "syncing": _rounded(estimate.syncing),
                "total": _rounded(estimate.total),
                "basis": estimate.basis,
            },
            "counts": {severity.value: len(self.of(severity)) for severity in Severity},
            "troubles": [trouble_document(trouble) for trouble in self.troubles],
        }

    def _broker_ids(self) -> list[int]:
        return sorted({*self.reading.brokers, *self.reading.assigned})

    def _controller_document(self) -> dict[str, Any] | None:
        controller = self.reading.controller
        if controller is None:
            return None
        return {
            "id": controller.broker_id,
            "is_broker": controller.kraft_epoch == NO_KRAFT_EPOCH,
            "ephemeral": self.reading.controller_is_ephemeral,
            "kraft_epoch": None if controller.kraft_epoch == NO_KRAFT_EPOCH else controller.kraft_epoch,
        }


def trouble_document(trouble: Trouble) -> dict[str, str]:
    """A trouble as JSON."""
    return {
        "severity": trouble.severity.value,
        "category": trouble.category.value,
        "code": trouble.code,
        "path": trouble.path,
        "words": trouble.words,
        "what_to_do": trouble.remedy,
    }


def _broker_document(reading: Reading, broker_id: int) -> dict[str, Any]:
    node = reading.brokers.get(broker_id)
    znode = None if node is None else node.znode
    listeners = () if znode is None else znode.listeners
    return {
        "id": broker_id,
        "live": node is not None,
        "epoch": None if node is None else node.epoch,
        "rack": None if znode is None else znode.rack,
        "listeners": [f"{one.name}://{one.host}:{one.port} ({one.security_protocol})" for one in listeners],
        "replicas": reading.assigned.get(broker_id, 0),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def plan(tree: Tree, options: PlanOptions) -> Plan:
    """Reads the tree and goes through all that a migration would do with it."""
    return planned(tree, read(tree, options.reading), options)


def planned(tree: Tree, reading: Reading, options: PlanOptions) -> Plan:
    """The same, of a reading that was made already."""
    image, unreal = try_copy(reading.batches, MetadataImage.EMPTY)
    writes = list(reconcile(tree, image, _comparing(reading, options)))
    troubles = (*reading.troubles, *unreal, *_more_troubles(tree, reading, options))
    return Plan(
        reading=reading,
        znodes=sum(not path.startswith(f"{paths.CONSUMERS}/") for path in tree),
        lists=sum(bool(node.stat.num_children) for node in tree.values()),
        records=dict(sorted(Counter(type(record).__name__ for record in reading.records()).items())),
        batches=sum(1 for _ in gathered(reading.batches, options.batch_records)),
        sync_writes=dict(Counter(write.category for write in writes)),
        sync_removes=tuple(path for write in writes for path in write.removes),
        quorum_epoch=options.quorum_epoch,
        troubles=in_order(troubles),
    )


def _comparing(reading: Reading, options: PlanOptions) -> WriteOptions:
    return WriteOptions(
        controller_epoch=max(reading.controller_epoch or 0, reading.highest_controller_epoch) + 1,
        secret=options.reading.secrets[0] if options.reading.secrets else None,
        encoder=EncoderSettings(),
        entropy=options.entropy,
    )


def _more_troubles(tree: Tree, reading: Reading, options: PlanOptions) -> Iterator[Trouble]:
    """What only a migration minds."""
    taken = sorted({*reading.brokers, *reading.assigned}.intersection(options.controller_ids))
    for broker_id in taken:
        words = f"Broker {broker_id} and a controller of the quorum have the same id"
        remedy = "Give the controller another node.id: ids are unique over both roles"
        path = f"{paths.BROKER_IDS}/{broker_id}"
        yield _trouble(Severity.BLOCKER, Category.BROKERS, "id-taken", path, words, remedy)
    sequence = tree.get(paths.BROKER_SEQUENCE)
    if sequence is not None and sequence.stat.version > 0:
        words = f"{sequence.stat.version} broker ids were generated: a quorum's brokers have theirs in a file"
        remedy = "Set broker.id of each such broker to the id in its meta.properties"
        yield _trouble(
            Severity.WARNING, Category.BROKERS, "generated-ids", paths.BROKER_SEQUENCE, words, remedy
        )
    yield from _epochs(reading, options)
    yield from _unknown_keys(reading)


def _epochs(reading: Reading, options: PlanOptions) -> Iterator[Trouble]:
    epoch = reading.controller_epoch
    if epoch is not None and options.quorum_epoch is not None and options.quorum_epoch >= epoch:
        words = (
            f"The quorum is at epoch {options.quorum_epoch}, ZooKeeper at {epoch}: the claim goes above both, "
            "so that a way back stays open"
        )
        yield _trouble(Severity.NOTE, Category.CLUSTER, "epochs", paths.CONTROLLER_EPOCH, words, "")


def _unknown_keys(reading: Reading) -> Iterator[Trouble]:
    kinds = {TOPIC: ResourceType.TOPIC, BROKER: ResourceType.BROKER}
    for record in reading.records():
        if (
            not isinstance(record, ConfigRecord)
            or key_for(kinds[record.resource_type], record.name) is not None
        ):
            continue
        is_topic = record.resource_type == TOPIC
        path = (
            paths.topic_config(record.resource_name)
            if is_topic
            else paths.broker_config(record.resource_name)
        )
        words = f"{record.name} is no config that Kafka 4 knows; it is copied as it is"
        category = Category.TOPIC_CONFIGS if is_topic else Category.BROKER_CONFIGS
        remedy = "Remove it by kafka-configs if nothing reads it"
        yield _trouble(Severity.NOTE, category, "unknown-key", path, words, remedy)


def _trouble(
    severity: Severity, category: Category, code: str, path: str, words: str, remedy: str
) -> Trouble:
    return Trouble(category=category, severity=severity, code=code, path=path, words=words, remedy=remedy)
