"""Short ways to records and images for the tests of this folder."""

import uuid
from collections.abc import Iterable
from typing import Any

from quorate.metadata.ids import NodeId
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.records import (
    AnyRecord,
    BrokerEndpoint,
    ConfigRecord,
    FeatureLevelRecord,
    MigrationOrderRecord,
    PartitionRecord,
    QuorumRecoveryRecord,
    RegisterBrokerRecord,
    TopicRecord,
)

HERE = Provenance(offset=10, epoch=2, append_time_ms=1_700_000_000_000)
A, B = uuid.UUID(int=0xA000), uuid.UUID(int=0xB000)
DIRECTORIES = {broker: uuid.UUID(int=0xD000 + broker) for broker in range(400)}


def recovery(number: int, previous: int = 0, **changes: Any) -> QuorumRecoveryRecord:
    fields: dict[str, Any] = {
        "recovery_id": uuid.UUID(int=number),
        "previous_recovery_id": uuid.UUID(int=previous),
        "kind": "recover",
        "time_ms": 1_700_000_000_000,
        "operator": "alice@host",
        "source": "/data/3",
        "source_directory_id": A,
        "source_end_offset": 10,
        "source_epoch": 2,
        "epoch": 1002,
        "digest": b"\x01\x02",
        "shown": ("/data/3: node 3",),
    }
    return QuorumRecoveryRecord(**(fields | changes))


def migration_order(order: int) -> MigrationOrderRecord:
    return MigrationOrderRecord(order=order, attempt=A, forced=False, time_ms=5, operator="User:alice")


def topic(name: str = "a", topic_id: uuid.UUID = A) -> TopicRecord:
    return TopicRecord(name=name, topic_id=topic_id)


def partition(number: int = 0, topic_id: uuid.UUID = A, **changes: Any) -> PartitionRecord:
    replicas = changes.get("replicas", (1, 2, 3))
    fields: dict[str, Any] = {
        "version": 2,
        "partition_id": number,
        "topic_id": topic_id,
        "replicas": replicas,
        "isr": replicas,
        "leader": replicas[0] if replicas else -1,
        "leader_epoch": 0,
        "partition_epoch": 0,
        "directories": tuple(DIRECTORIES[r] for r in replicas),
    }
    return PartitionRecord(**fields | changes)


def broker(number: int = 1, **changes: Any) -> RegisterBrokerRecord:
    fields: dict[str, Any] = {
        "version": 4,
        "broker_id": NodeId(number),
        "incarnation_id": uuid.UUID(int=number),
        "broker_epoch": 5,
        "end_points": (BrokerEndpoint(name="PLAINTEXT", host="h", port=9092, security_protocol=0),),
        "features": (),
        "log_dirs": (DIRECTORIES[number],),
    }
    return RegisterBrokerRecord(**fields | changes)


def config(name: str, value: str | None, resource_type: int = 2, resource: str = "a") -> ConfigRecord:
    return ConfigRecord(resource_type=resource_type, resource_name=resource, name=name, value=value)


def level(metadata_version: int) -> FeatureLevelRecord:
    return FeatureLevelRecord(name="metadata.version", feature_level=metadata_version)


def delta_of(records: Iterable[AnyRecord], start: MetadataImage = MetadataImage.EMPTY) -> MetadataDelta:
    delta = MetadataDelta(start)
    delta.replay_all(records)
    return delta


def image_of(records: Iterable[AnyRecord], start: MetadataImage = MetadataImage.EMPTY) -> MetadataImage:
    return delta_of(records, start).apply(HERE)
