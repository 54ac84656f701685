"""CreatePartitions (KIP-195): a topic grows, it never shrinks."""

from collections import Counter
from collections.abc import Sequence

from quorate.controller.assignments import (
    check_manual_assignment,
    partition_records,
    place_partitions,
    require_active,
)
from quorate.controller.context import Context
from quorate.controller.partition_change import without
from quorate.controller.result import ControllerResult, TooLarge, reject
from quorate.metadata.checks import ErrorCode, RequestRejected, check
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import AnyDataRecord
from quorate.metadata.security.permissions import Operation, Resource
from quorate.metadata.wire.topics import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)


def create_partitions(
    context: Context, request: CreatePartitionsRequest
) -> ControllerResult[CreatePartitionsResponse]:
    """Adds partitions to each topic that passes; `validate_only`: says what would happen."""
    counts = Counter(topic.name for topic in request.topics)
    records: list[AnyDataRecord] = []
    results = []
    for topic in {topic.name: topic for topic in request.topics}.values():
        try:
            if counts[topic.name] > 1:
                reject(ErrorCode.invalid_request, "Duplicate topic name.")
            if not context.permits(Operation.ALTER, Resource.TOPIC, topic.name):
                reject(ErrorCode.topic_authorization_failed, f"Not authorized to alter topic '{topic.name}'.")
            records += _grow(context, topic, records)
        except TooLarge:
            raise
        except RequestRejected as refusal:
            results.append(
                CreatePartitionsTopicResult(
                    name=topic.name, error_code=refusal.code, error_message=refusal.message
                )
            )
        else:
            results.append(CreatePartitionsTopicResult(name=topic.name))
    response = CreatePartitionsResponse(
        throttle_time_ms=context.allowance.throttle_ms, results=tuple(results)
    )
    return ControllerResult(() if request.validate_only else records, response)


def _grow(
    context: Context, wanted: CreatePartitionsTopic, before: Sequence[AnyDataRecord]
) -> list[AnyDataRecord]:
    topic = context.image.topics.by_name(wanted.name)
    if topic is None:
        reject(ErrorCode.unknown_topic_or_partition, f"This server does not host topic '{wanted.name}'.")
    existing = topic.partition_count
    if wanted.count == existing:
        reject(ErrorCode.invalid_partitions, f"Topic already has {existing} partition(s).")
    if wanted.count < existing:
        reject(
            ErrorCode.invalid_partitions,
            f"The topic {wanted.name} currently has {existing} partition(s); {wanted.count} would not be an "
            "increase. Partitions cannot be removed.",
        )
    additional = wanted.count - existing
    if wanted.assignments is not None and len(wanted.assignments) != additional:
        reject(
            ErrorCode.invalid_replica_assignment,
            f"Attempted to add {additional} additional partition(s), but {len(wanted.assignments)} assignment(s) "
            "were specified. Name the new partitions only, or leave the assignment to the controller.",
        )
    context.require_room(before, additional, f"growing topic '{wanted.name}' and those before it")
    factor = _replication_factor(topic)
    if wanted.assignments is None:
        assigned = place_partitions(context, additional, factor)
    else:
        assigned = _checked(context, wanted.assignments, existing, factor)
    context.allowance.take(additional)
    return [*partition_records(context, topic.id, existing, assigned)]


def _replication_factor(topic: TopicImage) -> int:
    """That of the first partition, once a reassignment under way has ended: the replicas it will keep."""
    first = topic.partition(0)
    check(first is not None, f"topic {topic.name} has no partition 0")
    return 0 if first is None else len(without(first.replicas, *first.removing_replicas))


def _checked(
    context: Context,
    assignments: Sequence[CreatePartitionsAssignment],
    first_partition: int,
    factor: int,
) -> list[tuple[int, ...]]:
    for partition_id, assignment in enumerate(assignments, first_partition):
        check_manual_assignment(context, assignment.broker_ids, factor)
        require_active(context, assignment.broker_ids, partition_id)
    return [assignment.broker_ids for assignment in assignments]
