"""AssignReplicasToDirs (KIP-858): a broker says in which of its log directories it keeps which replicas.

A broker with several directories picks one for each new replica, and reports it here; one that moves a replica to
another disk does so too. A directory that is not among the broker's online ones means that the replica is lost there:
it leaves the ISR, and somebody else leads.
"""

from uuid import UUID

from quorate.controller import isr
from quorate.controller.context import Context
from quorate.controller.isr import Electorate
from quorate.controller.partition_change import Target, without
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import DIRECTORIES_SINCE, describe_level
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import AnyDataRecord
from quorate.metadata.wire.brokers import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsRequestDirectoryData,
    AssignReplicasToDirsRequestTopicData,
    AssignReplicasToDirsResponse,
    AssignReplicasToDirsResponseDirectoryData,
    AssignReplicasToDirsResponsePartitionData,
    AssignReplicasToDirsResponseTopicData,
)


def assign_replicas_to_dirs(
    context: Context, request: AssignReplicasToDirsRequest
) -> ControllerResult[AssignReplicasToDirsResponse]:
    """Writes down where a broker keeps its replicas, partition by partition.

    Raises:
        RequestRejected: UNSUPPORTED_VERSION, STALE_BROKER_EPOCH, in this order.
    """
    if context.metadata_version < DIRECTORIES_SINCE:
        reject(
            ErrorCode.unsupported_version,
            f"Directories of replicas are kept since metadata.version {describe_level(DIRECTORIES_SINCE)}; the "
            f"cluster is at {describe_level(context.metadata_version)}.",
        )
    broker = context.broker(request.broker_id)
    if broker is None or broker.epoch != request.broker_epoch:
        reject(
            ErrorCode.stale_broker_epoch,
            f"Broker {request.broker_id} is not registered with epoch {request.broker_epoch}. Register again.",
        )
    assignment = _Assignment(context, broker)
    directories = tuple([assignment.to_directory(directory) for directory in request.directories])
    return ControllerResult(
        assignment.records, AssignReplicasToDirsResponse(directories=directories), atomic=False
    )


class _Assignment:
    """What one request of a broker leads to, as it is gone through."""

    def __init__(self, context: Context, broker: BrokerRegistration) -> None:
        self.records: list[AnyDataRecord] = []
        self._context = context
        self._broker = broker
        self._seen: set[tuple[UUID, int]] = set()

    def to_directory(
        self, asked: AssignReplicasToDirsRequestDirectoryData
    ) -> AssignReplicasToDirsResponseDirectoryData:
        topics = tuple([self._topic(asked.id, topic) for topic in asked.topics])
        return AssignReplicasToDirsResponseDirectoryData(id=asked.id, topics=topics)

    def _topic(
        self, directory: UUID, asked: AssignReplicasToDirsRequestTopicData
    ) -> AssignReplicasToDirsResponseTopicData:
        topic = self._context.image.topics.by_id(asked.topic_id)
        partitions = tuple([
            AssignReplicasToDirsResponsePartitionData(
                partition_index=one.partition_index,
                error_code=(
                    ErrorCode.unknown_topic_id
                    if topic is None
                    else self._assign(directory, topic, one.partition_index)
                ),
            )
            for one in asked.partitions
        ])  # fmt: skip
        return AssignReplicasToDirsResponseTopicData(topic_id=asked.topic_id, partitions=partitions)

    def _assign(self, directory: UUID, topic: TopicImage, index: int) -> ErrorCode:
        partition = topic.partition(index)
        if partition is None:
            return ErrorCode.unknown_topic_or_partition
        if self._broker.id not in partition.replicas:
            return ErrorCode.not_leader_or_follower
        if (topic.id, index) in self._seen:
            # Both would be judged by the state before the request.
            return ErrorCode.invalid_request
        self._seen.add((topic.id, index))
        online = self._broker.has_online_directory(directory)
        electorate = Electorate(self._context, leaving=None if online else self._broker.id)
        target = Target(
            directories=_with(partition, self._broker.id, directory),
            isr=None if online else without(partition.isr, self._broker.id),
        )
        self.records += isr.elect(
            self._context,
            [(topic, index, partition)],
            electorate,
            lambda _: target,
            stopped_uncleanly=()
            if online
            else (self._broker.id,),  # an empty disk may take the lost one's place
        )
        return ErrorCode.none


def _with(partition: PartitionRegistration, broker_id: int, directory: UUID) -> tuple[UUID, ...]:
    return tuple([
        directory if replica == broker_id else known
        for replica, known in zip(partition.replicas, partition.directories, strict=True)
    ])  # fmt: skip
