"""What old tools and brokers leave for the controller: requests and notifications as znodes."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from quorate.metadata.zookeeper.kafka_znodes.forms import (
    brokers,
    decoded,
    encoded,
    integer,
    objects,
    text,
    version_of,
)


@attrs.frozen(order=True)
class TopicPartition:
    topic: str
    partition: int


def decode_reassignment(data: bytes | None) -> dict[TopicPartition, tuple[int, ...]]:
    """`/admin/reassign_partitions`: partition -> the replicas that it shall have.

    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 1, 1)
    return {
        _partition(one): brokers(one.get("replicas"), "replicas") for one in objects(members, "partitions")
    }


def encode_reassignment(wanted: Mapping[TopicPartition, tuple[int, ...]]) -> bytes:
    rows = [{"topic": p.topic, "partition": p.partition, "replicas": r} for p, r in wanted.items()]
    return encoded({"version": 1, "partitions": rows})


def decode_partitions(data: bytes | None) -> tuple[TopicPartition, ...]:
    """`/admin/preferred_replica_election`, and what is below `/isr_change_notification`.

    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 1, 1)
    return tuple(_partition(one) for one in objects(members, "partitions"))


def encode_partitions(partitions: Iterable[TopicPartition]) -> bytes:
    rows = [{"topic": one.topic, "partition": one.partition} for one in partitions]
    return encoded({"version": 1, "partitions": rows})


LOG_DIR_FAILURE = 1


def decode_log_dir_event(data: bytes | None) -> int:
    """What is below `/log_dir_event_notification`: the broker with a directory that failed.

    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 1, 1)
    return integer(members, "broker")


def encode_log_dir_event(broker_id: int) -> bytes:
    return encoded({"version": 1, "broker": broker_id, "event": LOG_DIR_FAILURE})


def _partition(members: Mapping[str, Any]) -> TopicPartition:
    return TopicPartition(text(members, "topic"), integer(members, "partition"))
