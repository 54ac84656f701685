"""The answer to ListPartitionReassignments (KIP-455): the partitions that are on their way to other brokers."""

from collections.abc import Iterable, Iterator

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.wire.cluster import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)


def answer_partition_reassignments(
    image: MetadataImage, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Those of the partitions asked for, or of all; what does not exist or does not move is left out."""
    found = _everywhere(image) if request.topics is None else _named(image, request)
    return ListPartitionReassignmentsResponse(
        topics=tuple(
            OngoingTopicReassignment(name=name, partitions=partitions)
            for name, every in found
            if (partitions := tuple(_ongoing(every)))
        )
    )


def _everywhere(image: MetadataImage) -> Iterator[tuple[str, Iterable[tuple[int, PartitionRegistration]]]]:
    return ((topic.name, topic.reassigning()) for topic in image.topics)


def _named(
    image: MetadataImage, request: ListPartitionReassignmentsRequest
) -> Iterator[tuple[str, Iterable[tuple[int, PartitionRegistration]]]]:
    for wanted in request.topics or ():
        topic = image.topics.by_name(wanted.name)
        if topic is not None:
            yield (
                topic.name,
                [
                    (index, partition)
                    for index in wanted.partition_indexes
                    if (partition := topic.partition(index)) is not None
                ],
            )


def _ongoing(
    partitions: Iterable[tuple[int, PartitionRegistration]],
) -> Iterator[OngoingPartitionReassignment]:
    for index, partition in partitions:
        if partition.is_reassigning:
            yield OngoingPartitionReassignment(
                partition_index=index,
                replicas=partition.replicas,
                adding_replicas=partition.adding_replicas,
                removing_replicas=partition.removing_replicas,
            )
