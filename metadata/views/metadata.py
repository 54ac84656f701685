"""The answer to Metadata: the nodes, and the topics that were asked for or all of them.

Facts are those of Kafka's metadata cache: a partition whose leader the client cannot reach has an error and no
leader, and yet its epoch, replicas and ISR. A topic that is asked for twice is answered once.
"""

from collections.abc import Iterator
from typing import Final

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.views.operations import ALL_ON_CLUSTER, ALL_ON_TOPIC
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
    image: MetadataImage, request: MetadataRequest, viewpoint: Viewpoint, api_version: int
) -> MetadataResponse:
    """What the image says, as `api_version` sees it.

    Raises:
        RequestRejected: topics are asked for by id, or without any name, in a version that cannot.
    """
    nodes, controller_id = nodes_seen(image, viewpoint)
    asked = _Asked(image, request, viewpoint, api_version)
    return MetadataResponse(
        brokers=tuple(
            MetadataResponseBroker(node_id=node.id, host=node.host, port=node.port, rack=node.rack)
            for node in nodes
        ),
        cluster_id=viewpoint.cluster_id,
        controller_id=controller_id,
        topics=tuple(asked.topics()),
        cluster_authorized_operations=(
            ALL_ON_CLUSTER if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


def unknown_names(image: MetadataImage, request: MetadataRequest) -> tuple[str, ...]:
    """The names asked for that could be topics and are none: what a broker may create on demand."""
    names = dict.fromkeys(topic.name for topic in request.topics or () if topic.name)
    return tuple(
        name
        for name in names
        if image.topics.by_name(name) is None and unknown_topic(name) is ErrorCode.unknown_topic_or_partition
    )


class _Asked:
    """The topics of one request."""

    def __init__(
        self, image: MetadataImage, request: MetadataRequest, viewpoint: Viewpoint, api_version: int
    ) -> None:
        self._image = image
        self._request = request
        self._version = api_version
        self._sight = PartitionSight(image, viewpoint)
        self._operations = ALL_ON_TOPIC if request.include_topic_authorized_operations else NOT_ASKED

    def topics(self) -> Iterator[MetadataResponseTopic]:
        wanted = self._request.topics
        # v0 has no null: there an empty list asks for all.
        if wanted is None or (self._version == 0 and not wanted):
            return (self._known(topic) for topic in self._image.topics)
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
        if found is not None:
            return self._known(found)
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
            topic_authorized_operations=self._operations,
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
