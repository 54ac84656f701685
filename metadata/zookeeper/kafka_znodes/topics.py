"""Topics: the znode with all assignments (v1 to v3), and the state of one partition (v1).

The epoch of a partition is no field: it is the version of its state's znode. The `version` of a topic's znode says
nothing about its id: Kafka writes 3 also where there is none.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import attrs

from quorate.metadata.ids import uuid_from_text, uuid_to_text
from quorate.metadata.records import RECOVERED, RECOVERING
from quorate.metadata.zookeeper.kafka_znodes.forms import (
    FormError,
    brokers,
    decimal,
    decoded,
    encoded,
    integer,
    submap,
    version_of,
    wrong,
)
from quorate.metadata.zookeeper.kafka_znodes.java_order import as_scala_map

Replicas = Mapping[int, tuple[int, ...]]

_TOPIC_VERSION: Final = 3
_INT32: Final = 2**31 - 1


@attrs.frozen(kw_only=True)
class TopicZnode:
    """`/brokers/topics/<topic>`; partitions that are not being reassigned are in neither of the last two."""

    topic_id: uuid.UUID | None
    partitions: Replicas
    adding: Replicas
    removing: Replicas


@attrs.frozen(kw_only=True)
class PartitionState:
    """`/brokers/topics/<topic>/partitions/<n>/state`."""

    leader: int
    leader_epoch: int
    isr: tuple[int, ...]
    controller_epoch: int
    """ZooKeeper's, of the controller that wrote it: one that has a smaller epoch does not touch the partition."""
    leader_recovery_state: int = RECOVERED


def decode_topic(data: bytes | None) -> TopicZnode:
    """
    Raises:
        FormError
    """
    members = decoded(data)
    topic_id = members.get("topic_id")
    if topic_id is not None and not isinstance(topic_id, str):
        wrong("topic_id", members, "a text")
    return TopicZnode(
        topic_id=None if topic_id is None else _uuid(topic_id),
        partitions=_replicas(members, "partitions"),
        adding=_replicas(members, "adding_replicas"),
        removing=_replicas(members, "removing_replicas"),
    )


def encode_topic(topic: TopicZnode) -> bytes:
    """Version 3, as Kafka 2.8 and newer write it."""
    named = {} if topic.topic_id is None else {"topic_id": uuid_to_text(topic.topic_id)}
    return encoded(
        {
            "partitions": _replicas_map(topic.partitions),
            **named,
            "adding_replicas": _replicas_map(topic.adding),
            "removing_replicas": _replicas_map(topic.removing),
            "version": _TOPIC_VERSION,
        }
    )


def decode_state(data: bytes | None) -> PartitionState:
    """
    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 1, 1)
    recovery = integer(members, "leader_recovery_state", RECOVERED)
    if recovery not in (RECOVERED, RECOVERING):
        raise FormError("wrong-value", f"its leader_recovery_state is {recovery}; 0 and 1 are known")
    return PartitionState(
        leader=integer(members, "leader"),
        leader_epoch=integer(members, "leader_epoch"),
        isr=brokers(members.get("isr"), "isr"),
        controller_epoch=integer(members, "controller_epoch"),
        leader_recovery_state=recovery,
    )


def encode_state(state: PartitionState) -> bytes:
    """Version 1; the recovery state stands there only while there is something to recover from."""
    members: dict[str, Any] = {
        "controller_epoch": state.controller_epoch,
        "leader": state.leader,
        "version": 1,
        "leader_epoch": state.leader_epoch,
        "isr": state.isr,
    }
    if state.leader_recovery_state != RECOVERED:
        members["leader_recovery_state"] = state.leader_recovery_state
    return encoded(members)


def _uuid(value: str) -> uuid.UUID:
    try:
        return uuid_from_text(value)
    except ValueError as error:
        raise FormError("wrong-value", f"its topic_id: {error}") from None


def _replicas(members: Mapping[str, Any], name: str) -> Replicas:
    found = {
        decimal(index, f"a partition in {name!r}", _INT32): brokers(value, f"partition {index} in {name!r}")
        for index, value in submap(members, name).items()
    }
    if any(index < 0 for index in found):
        raise FormError("wrong-value", f"a partition in {name!r} has the negative number {min(found)}")
    return dict(sorted(found.items()))


def _replicas_map(replicas: Replicas) -> dict[str, tuple[int, ...]]:
    return as_scala_map({str(index): value for index, value in replicas.items()})
