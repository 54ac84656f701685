"""AlterPartitionReassignments (KIP-455, KIP-860): a partition moves to other brokers, or no longer moves.

Between request and end the partition has the target's replicas followed by those that are to go. It ends with the
ISR change after which every replica of the target is in sync (`partition_change`).

A broker without data has nothing to copy and leads without ever saying who is in sync. An active one is in sync
from the moment it is assigned; one that is fenced joins the ISR when it is unfenced (`isr`), which ends the
reassignment then. Brokers with data are left to their leaders' AlterPartition, as in Kafka.
"""

import functools
from typing import Final

from quorate.controller.assignments import check_manual_assignment
from quorate.controller.context import Context
from quorate.controller.isr import Electorate, default_directory
from quorate.controller.partition_change import Election, Target, change_partition, without
from quorate.controller.result import ControllerResult, TooLarge, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import AnyDataRecord, PartitionChangeRecord
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)

_ANY_NUMBER: Final = None
"""Of replicas: the assignments of one request need not have equally many."""


def alter_partition_reassignments(
    context: Context, request: AlterPartitionReassignmentsRequest
) -> ControllerResult[AlterPartitionReassignmentsResponse]:
    """Begins, replaces or cancels (replicas None) a reassignment of each partition that passes.

    Raises:
        RequestRejected: POLICY_VIOLATION for too many partitions.
    """
    records: list[AnyDataRecord] = []
    seen: set[tuple[str, int]] = set()
    responses = []
    for topic in request.topics:
        results = []
        for wanted in topic.partitions:
            key = (topic.name, wanted.partition_index)
            try:
                if key in seen:
                    # Both would be judged by the state before the request.
                    reject(ErrorCode.invalid_request, "The request names this partition twice.")
                seen.add(key)
                record = _alter(
                    context, topic.name, wanted, may_resize=request.allow_replication_factor_change
                )
                if record is not None:
                    context.require_room(records, 1, "this reassignment")
                    records.append(record)
            except TooLarge:
                raise
            except RequestRejected as refusal:
                results.append(
                    ReassignablePartitionResponse(
                        partition_index=wanted.partition_index,
                        error_code=refusal.code,
                        error_message=refusal.message,
                    )
                )
            else:
                results.append(ReassignablePartitionResponse(partition_index=wanted.partition_index))
        responses.append(ReassignableTopicResponse(name=topic.name, partitions=tuple(results)))
    return ControllerResult(
        records,
        AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=tuple(responses),
        ),
    )


def _alter(
    context: Context, name: str, wanted: ReassignablePartition, *, may_resize: bool
) -> PartitionChangeRecord | None:
    topic = context.image.topics.by_name(name)
    if topic is None:
        reject(ErrorCode.unknown_topic_or_partition, f"Unable to find a topic named {name}.")
    partition = topic.partition(wanted.partition_index)
    if partition is None:
        reject(
            ErrorCode.unknown_topic_or_partition, f"Unable to find partition {name}:{wanted.partition_index}."
        )
    if wanted.replicas is None:
        election, target = _cancelled(context, name, wanted.partition_index, partition)
    else:
        check_manual_assignment(context, wanted.replicas, _ANY_NUMBER)
        if not may_resize:
            _require_same_size(partition, wanted.replicas)
        election, target = Election.ONLINE, _reassigned(context, partition, wanted.replicas)
    return _change(context, topic, wanted.partition_index, partition, election, target)


def _reassigned(context: Context, partition: PartitionRegistration, replicas: tuple[int, ...]) -> Target:
    """On top of a reassignment under way: judged by the whole present list, replicas being added included."""
    removing = tuple(sorted(set(partition.replicas).difference(replicas)))
    adding = tuple(sorted(set(replicas).difference(partition.replicas)))
    return Target(
        isr=(*partition.isr, *_in_sync_at_once(context, partition, replicas)),
        replicas=(*replicas, *removing),
        # Kafka leaves both lists as they are where the new one is empty. For `removing` that would take away
        # replicas which the caller has just asked for.
        removing=removing,
        adding=adding or partition.adding_replicas,
    )


def _in_sync_at_once(
    context: Context, partition: PartitionRegistration, replicas: tuple[int, ...]
) -> tuple[int, ...]:
    return tuple([
        replica
        for replica in replicas
        if replica not in partition.isr
        and context.is_active(replica)
        and (broker := context.broker(replica)) is not None
        and broker.is_lightweight
    ])  # fmt: skip


def _cancelled(
    context: Context, name: str, index: int, partition: PartitionRegistration
) -> tuple[Election, Target]:
    if not partition.is_reassigning:
        reject(ErrorCode.no_reassignment_in_progress, "No partition reassignment is in progress.")
    replicas = without(partition.replicas, *partition.adding_replicas)
    isr = without(partition.isr, *partition.adding_replicas)
    election = Election.ONLINE
    if not without(partition.isr or partition.eligible_leader_replicas, *partition.adding_replicas):
        if not context.unclean_election_allowed(name):
            reject(
                ErrorCode.invalid_replica_assignment,
                f"Unable to revert partition assignment for {name}:{index} because it would require an unclean "
                f"leader election: only replicas being added are in sync. Wait for one of {list(replicas)}, or "
                "set unclean.leader.election.enable for the topic.",
            )
        isr, election = replicas[:1], Election.UNCLEAN
    return election, Target(isr=isr, replicas=replicas, removing=(), adding=())


def _require_same_size(partition: PartitionRegistration, replicas: tuple[int, ...]) -> None:
    """The present size is that which a reassignment under way will lead to."""
    present = len(without(partition.replicas, *partition.removing_replicas))
    if present != len(replicas):
        reject(
            ErrorCode.invalid_replication_factor,
            f"The replication factor is changed from {present} to {len(replicas)}, which the request does not "
            "allow (allow.replication.factor.change).",
        )


def _change(
    context: Context,
    topic: TopicImage,
    index: int,
    partition: PartitionRegistration,
    election: Election,
    target: Target,
) -> PartitionChangeRecord | None:
    return change_partition(
        partition,
        topic_id=topic.id,
        partition_id=index,
        version=context.version_of(PartitionChangeRecord),
        may_lead=functools.partial(_admits, context, partition, target),
        election=election,
        target=target,
        directory_of=lambda broker_id: default_directory(context.broker(broker_id)),
        min_isr=context.effective_min_isr(topic),
    )


def _admits(context: Context, partition: PartitionRegistration, target: Target, replica: int) -> bool:
    """A replica that is new has no directory yet that could be offline."""
    if replica in partition.replicas:
        return Electorate(context).admits(replica, partition)
    return replica in (target.replicas or ()) and context.is_active(replica)
