"""The answer to FindCoordinator: the leader of the partition that a key falls on (KIP-98, KIP-699, KIP-932).

A broker that stores no topic data coordinates nothing, yet clients ask whichever broker they find first. Once those
with data have made their internal topics, the image says who leads them. Before that the answer is one of them: it
says that it is not the coordinator, and makes the topic when the client, which is connected to it now, asks it in turn.
librdkafka asks whichever of its brokers it likes, so it may take long to do so (docs/kafka-brokers.md). But
COORDINATOR_NOT_AVAILABLE would not do at all: it would ask the only broker that it is connected to, for ever.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import uuid_from_text
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Permits, Resource
from quorate.metadata.views.viewpoint import AtBroker, endpoint_seen
from quorate.metadata.wire.coordinators import (
    GROUP,
    SHARE,
    TRANSACTION,
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

_TOPICS: Final[Mapping[int, str]] = {
    GROUP: "__consumer_offsets",
    TRANSACTION: "__transaction_state",
    SHARE: "__share_group_state",
}
_RIGHTS: Final[Mapping[int, tuple[Operation, Resource, ErrorCode]]] = {
    GROUP: (Operation.DESCRIBE, Resource.GROUP, ErrorCode.group_authorization_failed),
    TRANSACTION: (
        Operation.DESCRIBE,
        Resource.TRANSACTIONAL_ID,
        ErrorCode.transactional_id_authorization_failed,
    ),
}
_KEYS_SINCE: Final = 4
_SHARE_SINCE: Final = 6


def answer_find_coordinator(
    image: MetadataImage, request: FindCoordinatorRequest, viewpoint: AtBroker, version: int, permits: Permits
) -> FindCoordinatorResponse:
    """Raises:
    RequestRejected: INVALID_REQUEST, for a type of keys that this version does not have;
        CLUSTER_AUTHORIZATION_FAILED, for share groups asked by anybody but a node.
    """
    if request.key_type not in _TOPICS or (request.key_type == SHARE and version < _SHARE_SINCE):
        raise RequestRejected(
            ErrorCode.invalid_request, f"no coordinators are known for keys of type {request.key_type}"
        )
    if request.key_type == SHARE and not permits(Operation.CLUSTER_ACTION, Resource.CLUSTER, CLUSTER_NAME):
        raise RequestRejected(
            ErrorCode.cluster_authorization_failed, "only nodes ask who coordinates shared partitions"
        )
    keys = request.coordinator_keys if version >= _KEYS_SINCE else (request.key,)
    found = tuple(_coordinator(image, request.key_type, key, viewpoint, permits) for key in keys)
    if version >= _KEYS_SINCE:
        return FindCoordinatorResponse(coordinators=found)
    (only,) = found
    return FindCoordinatorResponse(
        error_code=only.error_code,
        error_message=only.error_message,
        node_id=only.node_id,
        host=only.host,
        port=only.port,
    )


def _coordinator(
    image: MetadataImage, key_type: int, key: str, viewpoint: AtBroker, permits: Permits
) -> Coordinator:
    needed = _RIGHTS.get(key_type)
    if needed is not None and not permits(needed[0], needed[1], key):
        return Coordinator(key=key, error_code=needed[2])
    if key_type == SHARE and not _is_share_key(key):
        return Coordinator(
            key=key,
            error_code=ErrorCode.invalid_request,
            error_message="a key of a shared partition is group:topicId:partition",
        )
    topic = image.topics.by_name(_TOPICS[key_type])
    if topic is None:
        broker = _maker(image, key, viewpoint)
    else:
        partition = topic.partition(partition_of(key, sum(1 for _ in topic.indexes())))
        broker = None if partition is None else image.cluster.broker(partition.leader)
    endpoint = None if broker is None or broker.fenced else endpoint_seen(broker, viewpoint)
    if broker is None or endpoint is None:
        return Coordinator(key=key, error_code=ErrorCode.coordinator_not_available)
    return Coordinator(key=key, node_id=broker.id, host=endpoint.host, port=endpoint.port)


def _maker(image: MetadataImage, key: str, viewpoint: AtBroker) -> BrokerRegistration | None:
    """A broker that makes internal topics; not the same one for all keys."""
    able = [
        broker
        for _, broker in sorted(image.cluster.brokers.items())
        if not broker.is_lightweight and not broker.fenced and endpoint_seen(broker, viewpoint) is not None
    ]
    return able[partition_of(key, len(able))] if able else None


def partition_of(key: str, count: int) -> int:
    """Of an internal topic with so many partitions: Java's `String.hashCode`, as Kafka's brokers fold it.

    >>> partition_of("polygenelubricants", 50)  # its hash code is the one number that has no positive twin
    0
    """
    code = 0
    units = key.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(units), 2):
        code = (31 * code + (units[at] << 8 | units[at + 1])) & 0xFFFFFFFF
    signed = code - (1 << 32) if code >> 31 else code
    return 0 if signed == -(1 << 31) else abs(signed) % count


def _is_share_key(key: str) -> bool:
    group, _, rest = key.partition(":")
    topic_id, _, partition = rest.partition(":")
    return bool(group) and _as_uuid(topic_id) is not None and partition.isascii() and partition.isdigit()


def _as_uuid(text: str) -> UUID | None:
    try:
        return uuid_from_text(text)
    except ValueError:
        return None
