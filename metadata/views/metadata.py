"""The answer to Metadata: the nodes, and the topics that were asked for or all of them.

Facts are those of Kafka's metadata cache: a partition whose leader the client cannot reach has an error and no
leader, and yet its epoch, replicas and ISR. A topic that is asked for twice is answered once.
"""

from collections.abc import Iterator, Set
from typing import Final

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permits,
    Resource,
    permit_everything,
)
from quorate.metadata.views.operations import operations_on_cluster, operations_on_topic
from quorate.metadata.views.partitions import INTERNAL_TOPICS, PartitionSight, unknown_topic
from quorate.metadata.views.viewpoint import NO_NODE, Viewpoint, nodes_seen
from quorate.metadata.wire.cluster import (
    NOT_ASKED,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

_FIRST_WITH_LISTENER_NOT_FOUND: Final = 6
_FIRST_WITH_TOPIC_IDS: Final = 12
"""The schema has ids since v10, but a server may use them only since v12 (KAFKA-13296)."""


def answer_metadata(
    image: MetadataImage,
    request: MetadataRequest,
    viewpoint: Viewpoint,
    api_version: int,
    permits: Permits = permit_everything,
    *,
    may_not_make: Set[str] = frozenset(),
) -> MetadataResponse:
    """What the image says, as `api_version` sees it, and as far as the caller may know it.

    A topic that the caller may not DESCRIBE is left out of all topics; asked for by name it is answered like one
    that does not exist and may not be seen. `may_not_make`: names that would be created on demand, but not for him.

    Raises:
        RequestRejected: topics are asked for by id, or without any name, in a version that cannot.
    """
    nodes, controller_id = nodes_seen(image, viewpoint)
    asked = _Asked(image, request, viewpoint, api_version, permits, may_not_make)
    return MetadataResponse(
        brokers=tuple(
            MetadataResponseBroker(node_id=node.id, host=node.host, port=node.port, rack=node.rack)
            for node in nodes
        ),
        cluster_id=viewpoint.cluster_id,
        controller_id=controller_id,
        topics=tuple(asked.topics()),
        cluster_authorized_operations=(
            operations_on_cluster(permits) if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


def unknown_names(
    image: MetadataImage, request: MetadataRequest, permits: Permits = permit_everything
) -> tuple[str, ...]:
    """The names asked for that could be topics and are none, and of which the caller may know that: what a broker may
    create on demand."""
    names = dict.fromkeys(topic.name for topic in request.topics or () if topic.name)
    return tuple(
        name
        for name in names
        if image.topics.by_name(name) is None
        and unknown_topic(name) is ErrorCode.unknown_topic_or_partition
        and permits(Operation.DESCRIBE, Resource.TOPIC, name, log_if_denied=False)
    )


def may_make(permits: Permits, name: str, *, log_if_denied: bool = True) -> bool:
    """Whether the caller may have this topic made."""
    everywhere = permits(Operation.CREATE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False)
    return everywhere or permits(Operation.CREATE, Resource.TOPIC, name, log_if_denied=log_if_denied)


class _Asked:
    """The topics of one request."""

    def __init__(
        self,
        image: MetadataImage,
        request: MetadataRequest,
        viewpoint: Viewpoint,
        api_version: int,
        permits: Permits,
        may_not_make: Set[str],
    ) -> None:
        self._image = image
        self._request = request
        self._version = api_version
        self._sight = PartitionSight(image, viewpoint)
        self._permits = permits
        self._may_not_make = may_not_make

    def topics(self) -> Iterator[MetadataResponseTopic]:
        wanted = self._request.topics
        # v0 has no null: there an empty list asks for all.
        if wanted is None or (self._version == 0 and not wanted):
            return (
                self._known(topic)
                for topic in self._image.topics
                if self._permits(Operation.DESCRIBE, Resource.TOPIC, topic.name, log_if_denied=False)
            )
        for topic in wanted:
            if self._version < _FIRST_WITH_TOPIC_IDS and (topic.topic_id != ZERO_UUID or topic.name is None):
                raise RequestRejected(
                    ErrorCode.invalid_request,
                    f"Metadata version {self._version} cannot ask for topics by id; use version 12 or names",
                )
        return (self._one(topic) for topic in dict.fromkeys(wanted))

    def _one(self, wanted: MetadataRequestTopic) -> MetadataResponseTopic:
        if wanted.topic_id != ZERO_UUID:
            found = self._image.topics.by_id(wanted.topic_id)
            error = ErrorCode.unknown_topic_id
        else:
            found = self._image.topics.by_name(wanted.name or "")
            error = unknown_topic(wanted.name or "")
        name = wanted.name if found is None else found.name
        if name is not None and not self._permits(Operation.DESCRIBE, Resource.TOPIC, name):
            return _not_to_be_seen(wanted)
        if found is not None:
            return self._known(found)
        if wanted.name in self._may_not_make:
            return _not_to_be_seen(wanted)
        return MetadataResponseTopic(
            error_code=error,
            name=wanted.name,
            topic_id=wanted.topic_id,
            is_internal=wanted.name in INTERNAL_TOPICS,
        )

    def _known(self, topic: TopicImage) -> MetadataResponseTopic:
        return MetadataResponseTopic(
            name=topic.name,
            topic_id=topic.id,
            is_internal=topic.name in INTERNAL_TOPICS,
            partitions=tuple([self._partition(index, p) for index, p in topic.partitions()]),
            topic_authorized_operations=(
                operations_on_topic(self._permits, topic.name)
                if self._request.include_topic_authorized_operations
                else NOT_ASKED
            ),
        )

    def _partition(self, index: int, partition: PartitionRegistration) -> MetadataResponsePartition:
        sight = self._sight
        error = sight.leader_error(partition.leader)
        leader = partition.leader if error is ErrorCode.none else NO_NODE
        if error is ErrorCode.listener_not_found and self._version < _FIRST_WITH_LISTENER_NOT_FOUND:
            error = ErrorCode.leader_not_available
        replicas, isr = partition.replicas, partition.isr
        if self._version == 0:
            # Clients of v0 look up the address of every replica and know nothing of offline ones.
            replicas, isr = sight.reachable(replicas), sight.reachable(isr)
            if error is ErrorCode.none and (len(replicas), len(isr)) != (
                len(partition.replicas),
                len(partition.isr),
            ):
                error = ErrorCode.replica_not_available
        return MetadataResponsePartition(
            error_code=error,
            partition_index=index,
            leader_id=leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=replicas,
            isr_nodes=isr,
            offline_replicas=sight.offline_replicas(partition),
        )


def _not_to_be_seen(wanted: MetadataRequestTopic) -> MetadataResponseTopic:
    """What was asked by is all that the answer says: of a name not the id, of an id not the name."""
    return MetadataResponseTopic(
        error_code=ErrorCode.topic_authorization_failed, name=wanted.name, topic_id=wanted.topic_id
    )
