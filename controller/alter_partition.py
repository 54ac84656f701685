"""AlterPartition (KIP-497, KIP-841, KIP-903): the leader of a partition says who is in sync.

Fences in Kafka's order, since each code makes the leader do something else: ask the other controller, give up
leading, read the metadata first, or leave out a replica that the controller will not have.
"""

from typing import Final
from uuid import UUID

from quorate.controller import isr
from quorate.controller.context import Context
from quorate.controller.isr import Electorate
from quorate.controller.partition_change import Target
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage, merge
from quorate.metadata.records import RECOVERED, RECOVERING, AnyDataRecord
from quorate.metadata.wire.brokers import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)

_EPOCH_UNKNOWN: Final = -1
"""A member's broker epoch that the leader does not know: not checked."""


def alter_partition(
    context: Context, request: AlterPartitionRequest
) -> ControllerResult[AlterPartitionResponse]:
    """Changes ISRs as their leaders say, partition by partition.

    Raises:
        RequestRejected: STALE_BROKER_EPOCH.
    """
    broker = context.broker(request.broker_id)
    if broker is None or broker.epoch != request.broker_epoch:
        reject(
            ErrorCode.stale_broker_epoch,
            f"Broker {request.broker_id} is not registered with epoch {request.broker_epoch}. Register again.",
        )
    records: list[AnyDataRecord] = []
    seen: set[tuple[UUID, int]] = set()
    topics = tuple([
        _alter_topic(context, request.broker_id, topic, records, seen) for topic in request.topics
    ])  # fmt: skip
    return ControllerResult(records, AlterPartitionResponse(topics=topics), atomic=False)


def _alter_topic(
    context: Context,
    sender: int,
    asked: AlterPartitionRequestTopicData,
    records: list[AnyDataRecord],
    seen: set[tuple[UUID, int]],
) -> AlterPartitionResponseTopicData:
    topic = context.image.topics.by_id(asked.topic_id)
    results = []
    for wanted in asked.partitions:
        key = (asked.topic_id, wanted.partition_index)
        try:
            if key in seen:
                # Both would be judged by the state before the request.
                reject(ErrorCode.invalid_request, "The request names this partition twice.")
            seen.add(key)
            results.append(_alter(context, sender, topic, wanted, records))
        except RequestRejected as refusal:
            results.append(
                AlterPartitionResponsePartitionData(
                    partition_index=wanted.partition_index, error_code=refusal.code
                )
            )
    return AlterPartitionResponseTopicData(topic_id=asked.topic_id, partitions=tuple(results))


def _alter(
    context: Context,
    sender: int,
    topic: TopicImage | None,
    wanted: AlterPartitionRequestPartitionData,
    records: list[AnyDataRecord],
) -> AlterPartitionResponsePartitionData:
    if topic is None:
        reject(ErrorCode.unknown_topic_id, "No such topic id.")
    partition = topic.partition(wanted.partition_index)
    if partition is None:
        reject(
            ErrorCode.unknown_topic_or_partition, f"No such partition {topic.name}-{wanted.partition_index}."
        )
    _check_epochs(sender, partition, wanted)
    _check_isr(partition, wanted)
    _check_members(context, wanted)
    target = Target(
        isr=tuple([member.broker_id for member in wanted.new_isr_with_epochs]),
        leader_recovery_state=wanted.leader_recovery_state,
    )
    after = partition
    for record in isr.elect(
        context, [(topic, wanted.partition_index, partition)], Electorate(context), lambda _: target
    ):
        records.append(record)
        after = merge(partition, record)
    if after.leader != partition.leader or after.leader_epoch != partition.leader_epoch:
        # The change completed a reassignment that takes the lead from the sender. It IS written; the code tells
        # the sender to wait for the metadata.
        reject(ErrorCode.new_leader_elected, "The change made another replica the leader.")
    return AlterPartitionResponsePartitionData(
        partition_index=wanted.partition_index,
        leader_id=after.leader,
        leader_epoch=after.leader_epoch,
        isr=after.isr,
        leader_recovery_state=after.leader_recovery_state,
        partition_epoch=after.partition_epoch,
    )


def _check_epochs(
    sender: int, partition: PartitionRegistration, wanted: AlterPartitionRequestPartitionData
) -> None:
    if wanted.leader_epoch > partition.leader_epoch or wanted.partition_epoch > partition.partition_epoch:
        # The leader knows of a later state than we do: we are the one who is behind.
        reject(ErrorCode.not_controller, "The request is ahead of this controller.")
    if wanted.leader_epoch < partition.leader_epoch:
        reject(ErrorCode.fenced_leader_epoch, f"The leader epoch is {partition.leader_epoch}.")
    if sender != partition.leader:
        reject(ErrorCode.invalid_request, f"The leader is broker {partition.leader}.")
    if wanted.partition_epoch < partition.partition_epoch:
        reject(ErrorCode.invalid_update_version, f"The partition epoch is {partition.partition_epoch}.")


def _check_isr(partition: PartitionRegistration, wanted: AlterPartitionRequestPartitionData) -> None:
    members = [member.broker_id for member in wanted.new_isr_with_epochs]
    if len(set(members)) != len(members) or not set(members) <= set(partition.replicas):
        reject(ErrorCode.invalid_request, "The ISR is not a set of replicas.")
    if partition.leader not in members:
        reject(ErrorCode.invalid_request, "The leader must be in the ISR.")
    state = wanted.leader_recovery_state
    if state not in (RECOVERED, RECOVERING):
        reject(ErrorCode.invalid_request, f"Unknown leader recovery state {state}.")
    if state == RECOVERING and len(members) > 1:
        reject(ErrorCode.invalid_request, "While the leader recovers it is alone in the ISR.")
    if state == RECOVERING and partition.leader_recovery_state == RECOVERED:
        reject(ErrorCode.invalid_request, "A leader that has recovered does not recover again.")


def _check_members(context: Context, wanted: AlterPartitionRequestPartitionData) -> None:
    for member in wanted.new_isr_with_epochs:
        broker = context.broker(member.broker_id)
        if broker is None or broker.fenced or broker.in_controlled_shutdown:
            reject(ErrorCode.ineligible_replica, f"Broker {member.broker_id} is not active.")
        if member.broker_epoch not in (_EPOCH_UNKNOWN, broker.epoch):
            # The leader heard of a former life of this broker, whose log may have held more.
            reject(ErrorCode.ineligible_replica, f"Broker {member.broker_id} has epoch {broker.epoch}.")
