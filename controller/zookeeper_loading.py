"""From ZooKeeper's tree to what a new controller begins with: the image, and what it must write first (pure).

Brokers and tools leave things for the controller, and dead controllers leave things half done:

- topics without an id (from before Kafka 2.8) get one;
- topics that are marked for deletion are removed, or keep living where delete.topic.enable is false;
- partitions without a state get one: the first living replica leads, the living ones are in sync.

What cannot be decoded is left out of the image and left alone in ZooKeeper; the troubles say what and where.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

import attrs

from quorate.controller.zookeeper_writes import KnownZnodes
from quorate.metadata import features
from quorate.metadata.addresses import SecurityProtocol
from quorate.metadata.ids import NodeId, random_uuid
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    NO_LEADER,
    AnyDataRecord,
    BrokerEndpoint,
    FeatureRange,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import BrokerZnode
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import BrokerNode, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.topics import (
    PartitionState,
    decode_topic,
    encode_state,
    encode_topic,
)
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity, Trouble
from quorate.metadata.zookeeper.znodes import Create, Delete, Op, SetData, Tree, Znode

NOTIFICATIONS: Final = (
    paths.CONFIG_CHANGES,
    paths.LITERAL_ACL_CHANGES,
    paths.PREFIXED_ACL_CHANGES,
    paths.TOKEN_CHANGES,
)
"""Below which whoever changes metadata says so."""


def is_left_out(trouble: Trouble) -> bool:
    """Whether it keeps something out of the image. What blocks a migration for other reasons is about the cluster."""
    return trouble.severity is Severity.BLOCKER and trouble.category is not Category.CLUSTER


@attrs.frozen(kw_only=True)
class Loaded:
    """What a claim begins with."""

    image: MetadataImage
    """As it is once `repairs` are written."""
    repairs: tuple[tuple[Op, ...], ...]
    """One after the other; each is complete in itself."""
    notes: tuple[str, ...]
    """What the repairs are, for the log."""
    troubles: tuple[Trouble, ...]
    known: KnownZnodes
    """What is there once the repairs are written."""
    children: Mapping[str, frozenset[str]]
    """Of the znodes below which others may write: who watches knows what is new."""


def load(
    tree: Tree,
    *,
    metadata_version: int,
    epoch: int,
    wall_ms: int,
    delete_topics: bool,
    rng: random.Random,
    secrets: tuple[str, ...] = (),
) -> Loaded:
    """What to make of a tree that was read after the claim of `epoch`. `secrets`: for brokers' passwords.

    Raises:
        ReplayError: the records of the tree contradict each other.
    """
    repairs: list[tuple[Op, ...]] = []
    notes: list[str] = []
    known = dict(tree)
    for repair, note in (*_deletions(known, delete_topics), *_topic_ids(known, rng)):
        repairs.append(repair)
        notes.append(note)
    reading = read(known, ReadOptions(metadata_version=metadata_version, secrets=secrets))
    live = registrations(reading.brokers, metadata_version)
    records = _Defaulted(known, set(reading.defaulted), frozenset(live), epoch)
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(features.format_records(metadata_version))
    delta.replay_all(live.values())
    delta.replay_all(records.settled(reading.records()))
    repairs += records.repairs
    if records.repairs:
        notes.append(f"{len(records.repairs)} partitions had no state")
    family = Family(known)
    there = KnownZnodes(tree, (one.path for one in reading.troubles if _would_be_lost(one)))
    for ops in repairs:
        there.apply(ops)
    return Loaded(
        image=delta.apply(Provenance(offset=0, epoch=epoch, append_time_ms=wall_ms)),
        repairs=tuple(repairs),
        notes=tuple(notes),
        troubles=reading.troubles,
        known=there,
        children={path: frozenset(family.children(path)) for path in (paths.TOPICS, *NOTIFICATIONS)},
    )


def _would_be_lost(trouble: Trouble) -> bool:
    """Whether the image lacks what lies there. Topics are looked for before one is made; a state that means nothing is
    no loss."""
    return is_left_out(trouble) and trouble.category not in (Category.TOPICS, Category.PARTITIONS)


def registrations(
    brokers: Mapping[int, BrokerNode], metadata_version: int
) -> dict[NodeId, RegisterBrokerRecord]:
    """The brokers whose znodes are there, by id; one whose znode means nothing is not there."""
    return {
        NodeId(broker_id): registration(NodeId(broker_id), node.znode, node.epoch, metadata_version)
        for broker_id, node in sorted(brokers.items())
        if node.znode is not None
    }


def registration(
    broker_id: NodeId, znode: BrokerZnode, epoch: int, metadata_version: int
) -> RegisterBrokerRecord:
    """A broker as the image holds it, unfenced; its incarnation is told by its epoch, the czxid."""
    return RegisterBrokerRecord(
        version=features.record_version(RegisterBrokerRecord, metadata_version),
        broker_id=broker_id,
        incarnation_id=UUID(int=epoch),
        broker_epoch=epoch,
        end_points=tuple(
            BrokerEndpoint(
                name=one.name,
                host=one.host,
                port=one.port,
                security_protocol=SecurityProtocol[one.security_protocol],
            )
            for one in znode.listeners
        ),
        features=tuple(
            FeatureRange(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in sorted(znode.features.items())
        ),
        rack=znode.rack,
        fenced=False,
    )


def _deletions(tree: dict[str, Znode], delete_topics: bool) -> Iterator[tuple[tuple[Op, ...], str]]:
    """In Kafka's order: the topic, its configs, the marker. Takes the topics out of the tree."""
    family = Family(dict(tree))
    for name in family.children(paths.DELETE_TOPICS):
        marker = f"{paths.DELETE_TOPICS}/{name}"
        gone = [marker]
        if delete_topics:
            gone = [*family.below(paths.topic(name)), *family.below(paths.topic_config(name)), marker]
        for path in gone:
            del tree[path]
        word = "was deleted" if len(gone) > 1 else "was marked for deletion, and is not deleted"
        yield tuple(Delete(path) for path in gone), f"topic {name} {word}"


def _topic_ids(tree: dict[str, Znode], rng: random.Random) -> Iterator[tuple[tuple[Op, ...], str]]:
    """Gives every topic an id, in the tree as well."""
    for name in Family(dict(tree)).children(paths.TOPICS):
        path = paths.topic(name)
        node = tree[path]
        try:
            topic = decode_topic(node.data)
        except FormError:
            continue  # the reader says so
        if topic.topic_id is None:
            data = encode_topic(attrs.evolve(topic, topic_id=random_uuid(rng)))
            tree[path] = attrs.evolve(node, data=data)
            yield (SetData(path, data, node.stat.version),), f"topic {name} had no id"


class _Defaulted:
    """Partitions that have no state yet: what the first controller that sees them makes of them."""

    def __init__(self, tree: Tree, which: set[tuple[str, int]], live: frozenset[NodeId], epoch: int) -> None:
        self.repairs: list[tuple[Op, ...]] = []
        self._tree = tree
        self._which = which
        self._live = live
        self._epoch = epoch
        self._made: set[str] = set()

    def settled(self, records: Iterator[AnyDataRecord]) -> Iterator[AnyDataRecord]:
        names: dict[UUID, str] = {}
        for record in records:
            if isinstance(record, TopicRecord):
                names[record.topic_id] = record.name
            elif isinstance(record, PartitionRecord):
                name = names[record.topic_id]
                if (name, record.partition_id) in self._which:
                    yield self._settle(name, record)
                    continue
            yield record

    def _settle(self, name: str, record: PartitionRecord) -> PartitionRecord:
        """Kafka waits until a replica lives; here the partition is leaderless until then."""
        living = tuple([one for one in record.replicas if one in self._live])
        isr = living or record.replicas
        leader = living[0] if living else NO_LEADER
        state = PartitionState(leader=leader, leader_epoch=0, isr=isr, controller_epoch=self._epoch)
        path = paths.state(name, record.partition_id)
        if path in self._tree:  # and means nothing
            version = self._tree[path].stat.version
            self.repairs.append((SetData(path, encode_state(state), version),))
            return attrs.evolve(record, isr=isr, leader=leader, partition_epoch=version + 1)
        parents = (paths.partitions(name), paths.partition(name, record.partition_id))
        self.repairs.append((*self._missing(parents), Create(path, encode_state(state))))
        return attrs.evolve(record, isr=isr, leader=leader, partition_epoch=0)

    def _missing(self, parents: Sequence[str]) -> Iterator[Op]:
        for path in parents:
            if path not in self._tree and path not in self._made:
                self._made.add(path)
                yield Create(path)
