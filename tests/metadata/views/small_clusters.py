"""Small clusters as plain values, what Hypothesis draws of them, and the image of one.

The values are the naive model's: lists and dicts, no index, nothing packed.
"""

import uuid
from collections.abc import Mapping

import attrs
from hypothesis import strategies as st

from quorate.metadata.features import LIGHTWEIGHT, format_records
from quorate.metadata.ids import LOST_DIRECTORY, UNASSIGNED_DIRECTORY, Endpoint, Epoch, NodeId
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import (
    AnyDataRecord,
    BrokerEndpoint,
    ConfigRecord,
    FeatureRange,
    PartitionRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    TopicRecord,
)

BROKERS = (1, 2, 3)
STRANGER = 9
"""Never registered, yet named by partitions."""
CLUSTER_ID = "a-cluster"
_STORES_NOTHING = (FeatureRange(name=LIGHTWEIGHT, min_supported_version=1, max_supported_version=1),)
DISKS = tuple(uuid.UUID(int=1000 + i) for i in range(2))


@attrs.frozen(kw_only=True)
class Broker:
    listeners: Mapping[str, int]
    """name -> port; the host is `b<id>`."""
    fenced: bool = False
    rack: str | None = None
    disks: tuple[uuid.UUID, ...] = (DISKS[0],)
    lightweight: bool = False


@attrs.frozen(kw_only=True)
class Partition:
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int = 0
    disks: tuple[uuid.UUID, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Cluster:
    brokers: Mapping[int, Broker]
    topics: Mapping[str, tuple[Partition, ...]]
    controllers: Mapping[int, str] = attrs.field(factory=dict)
    """id -> host; all listen on CONTROLLER, port 9093."""
    configs: tuple[ConfigRecord, ...] = ()

    def topic_id(self, name: str) -> uuid.UUID:
        return uuid.UUID(int=(7 << 100) + sum(ord(c) << (8 * i) for i, c in enumerate(name[:8])))

    def image(self) -> MetadataImage:
        delta = MetadataDelta(MetadataImage.EMPTY)
        records = [*format_records(), *self._nodes(), *self._topics(), *self.configs]
        delta.replay_all(records)
        return delta.apply(Provenance(offset=len(records) - 1, epoch=1, append_time_ms=0))

    def _nodes(self) -> list[AnyDataRecord]:
        brokers = [
            RegisterBrokerRecord(
                version=3,
                broker_id=NodeId(broker_id),
                incarnation_id=uuid.UUID(int=500 + broker_id),
                broker_epoch=broker_id,
                end_points=tuple(
                    BrokerEndpoint(name=name, host=f"b{broker_id}", port=port, security_protocol=0)
                    for name, port in broker.listeners.items()
                ),
                features=_STORES_NOTHING if broker.lightweight else (),
                rack=broker.rack,
                fenced=broker.fenced,
                log_dirs=broker.disks,
            )
            for broker_id, broker in self.brokers.items()
        ]
        controllers = [
            RegisterControllerRecord(
                controller_id=NodeId(controller_id),
                incarnation_id=uuid.UUID(int=800 + controller_id),
                zk_migration_ready=False,
                end_points=(BrokerEndpoint(name="CONTROLLER", host=host, port=9093, security_protocol=0),),
                features=(),
            )
            for controller_id, host in self.controllers.items()
        ]
        return [*brokers, *controllers]

    def _topics(self) -> list[AnyDataRecord]:
        records: list[AnyDataRecord] = []
        for name, partitions in self.topics.items():
            records.append(TopicRecord(name=name, topic_id=self.topic_id(name)))
            records += [
                PartitionRecord(
                    version=2,
                    partition_id=number,
                    topic_id=self.topic_id(name),
                    replicas=one.replicas,
                    isr=one.isr,
                    removing_replicas=(),
                    adding_replicas=(),
                    leader=one.leader,
                    leader_epoch=one.leader_epoch,
                    partition_epoch=0,
                    directories=one.disks or (UNASSIGNED_DIRECTORY,) * len(one.replicas),
                    eligible_leader_replicas=one.elr,
                    last_known_elr=one.last_known_elr,
                )
                for number, one in enumerate(partitions)
            ]
        return records


def leader(node_id: int | None, host: str = "quorum-side") -> LeaderAndEpoch:
    if node_id is None:
        return LeaderAndEpoch(Epoch(3))
    return LeaderAndEpoch(Epoch(3), NodeId(node_id), Endpoint("CONTROLLER", host, 9093))


def brokers() -> st.SearchStrategy[Broker]:
    return st.builds(
        Broker,
        listeners=st.dictionaries(
            st.sampled_from(["PLAINTEXT", "EXTERNAL"]), st.integers(1, 9), min_size=1, max_size=2
        ),
        fenced=st.booleans(),
        rack=st.sampled_from([None, "r"]),
        disks=st.sampled_from([(), DISKS[:1], DISKS]),
    )


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    replicas = tuple(draw(st.lists(st.sampled_from([*BROKERS, STRANGER]), min_size=1, unique=True)))
    some = st.lists(st.sampled_from(replicas), unique=True).map(tuple)
    disk = st.sampled_from([*DISKS, UNASSIGNED_DIRECTORY, LOST_DIRECTORY])
    return Partition(
        replicas=replicas,
        isr=draw(some),
        leader=draw(st.sampled_from([-1, *replicas])),
        leader_epoch=draw(st.integers(0, 5)),
        disks=tuple(draw(st.lists(disk, min_size=len(replicas), max_size=len(replicas)))),
        elr=draw(some),
        last_known_elr=draw(some),
    )


TOPIC_NAMES = ("a", "b", "c", "__consumer_offsets")


def clusters() -> st.SearchStrategy[Cluster]:
    return st.builds(
        Cluster,
        brokers=st.dictionaries(st.sampled_from(BROKERS), brokers()),
        topics=st.dictionaries(
            st.sampled_from(TOPIC_NAMES), st.lists(partitions(), max_size=5).map(tuple), max_size=4
        ),
        controllers=st.dictionaries(st.sampled_from([3001, 3002]), st.just("c")),
    )
