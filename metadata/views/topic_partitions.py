"""The answer to DescribeTopicPartitions (KIP-966): topics in the order of their names, in pages of bounded size.

A page ends at a limit of partitions, and its cursor says where the next one begins. The image may have changed in
between: a cursor is a place in the order of names, not a promise that something is there.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Final

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import CHUNK_SLOTS, PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.security.permissions import Operation, Permits, Resource, permit_everything
from quorate.metadata.views.operations import operations_on_topic
from quorate.metadata.views.partitions import INTERNAL_TOPICS, PartitionSight, unknown_topic
from quorate.metadata.views.viewpoint import NO_NODE, Viewpoint
from quorate.metadata.wire.cluster import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

MAX_PARTITIONS_PER_PAGE: Final = 2000
"""Kafka's `max.request.partition.size.limit`; a request may ask for fewer."""


def answer_topic_partitions(
    image: MetadataImage,
    request: DescribeTopicPartitionsRequest,
    viewpoint: Viewpoint,
    permits: Permits = permit_everything,
) -> DescribeTopicPartitionsResponse:
    """One page. Topics that the caller may not DESCRIBE are left out of all topics, and of the cursor.

    Raises:
        RequestRejected: a cursor that points before the first partition.
    """
    cursor = request.cursor
    if cursor is not None and cursor.partition_index < 0:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"the cursor's partition index must not be negative, and is {cursor.partition_index}",
        )
    all_topics = not request.topics
    names: Sequence[str] = (
        image.topics.names() if all_topics else sorted({topic.name for topic in request.topics})
    )
    limit = min(max(request.response_partition_limit, 1), MAX_PARTITIONS_PER_PAGE)
    page = _Page(image, viewpoint, limit, permits)
    begin = 0 if cursor is None else bisect_left(names, cursor.topic_name)
    for name in islice(names, begin, None):
        if all_topics and not permits(Operation.DESCRIBE, Resource.TOPIC, name, log_if_denied=False):
            continue
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        if not page.add(name, first):
            break
    return DescribeTopicPartitionsResponse(topics=tuple(page.topics), next_cursor=page.next_cursor)


class _Page:
    """A page on its way."""

    def __init__(self, image: MetadataImage, viewpoint: Viewpoint, limit: int, permits: Permits) -> None:
        self.topics: list[DescribeTopicPartitionsResponseTopic] = []
        self.next_cursor: Cursor | None = None
        self._image = image
        self._sight = PartitionSight(image, viewpoint)
        self._room = limit
        self._permits = permits

    def add(self, name: str, first: int) -> bool:
        """Puts a topic's partitions from the number `first` on the page; False: the page is full."""
        if self._room == 0:
            self.next_cursor = Cursor(topic_name=name, partition_index=0)
            return False
        if not self._permits(Operation.DESCRIBE, Resource.TOPIC, name):
            self.topics.append(
                DescribeTopicPartitionsResponseTopic(
                    error_code=ErrorCode.topic_authorization_failed, name=name
                )
            )
            return True
        topic = self._image.topics.by_name(name)
        if topic is None:
            self.topics.append(
                DescribeTopicPartitionsResponseTopic(error_code=unknown_topic(name), name=name)
            )
            return True
        shown, following = self._take(topic, first)
        self._room -= len(shown)
        self.topics.append(
            DescribeTopicPartitionsResponseTopic(
                name=topic.name,
                topic_id=topic.id,
                is_internal=topic.name in INTERNAL_TOPICS,
                partitions=shown,
                topic_authorized_operations=operations_on_topic(self._permits, topic.name),
            )
        )
        if following is not None:
            self.next_cursor = Cursor(topic_name=name, partition_index=following)
        return following is None

    def _take(
        self, topic: TopicImage, first: int
    ) -> tuple[tuple[DescribeTopicPartitionsResponsePartition, ...], int | None]:
        """(the partitions for which there is room, the number of the one after them)."""
        shown: list[DescribeTopicPartitionsResponsePartition] = []
        for index in range(first, len(topic.chunks) * CHUNK_SLOTS):
            partition = topic.partition(index)
            if partition is None:
                continue
            if len(shown) == self._room:
                return tuple(shown), index
            shown.append(self._partition(index, partition))
        return tuple(shown), None

    def _partition(
        self, index: int, partition: PartitionRegistration
    ) -> DescribeTopicPartitionsResponsePartition:
        error = self._sight.leader_error(partition.leader)
        return DescribeTopicPartitionsResponsePartition(
            error_code=error,
            partition_index=index,
            leader_id=partition.leader if error is ErrorCode.none else NO_NODE,
            leader_epoch=partition.leader_epoch,
            replica_nodes=partition.replicas,
            isr_nodes=partition.isr,
            eligible_leader_replicas=partition.eligible_leader_replicas,
            last_known_elr=partition.last_known_elr,
            offline_replicas=self._sight.offline_replicas(partition),
        )
