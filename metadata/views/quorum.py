"""The answer to DescribeQuorum (KIP-595, KIP-836, KIP-853) from what the leader knows of its replicas.

The quorum itself is not in the image; whoever owns the core fills a `QuorumStatus`.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import METADATA_TOPIC, ZERO_UUID, Endpoint, Epoch, NodeId, Offset, ReplicaKey
from quorate.metadata.wire.raft import (
    DescribeQuorumNode,
    DescribeQuorumReplicaState,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Listener,
)

UNKNOWN: Final = -1
"""An offset or a time that the leader does not know (yet)."""
_PARTITION: Final = 0


@attrs.frozen(kw_only=True)
class ReplicaStatus:
    """One replica as its leader sees it. Times are wall clock ms; the leader's own are now."""

    replica: ReplicaKey
    log_end_offset: int = UNKNOWN
    last_fetch_ms: int = UNKNOWN
    last_caught_up_ms: int = UNKNOWN


@attrs.frozen(kw_only=True)
class QuorumStatus:
    """The quorum as its leader sees it."""

    leader_id: NodeId
    epoch: Epoch
    high_watermark: Offset | None
    """None until the leader knows it."""
    voters: tuple[ReplicaStatus, ...]
    observers: tuple[ReplicaStatus, ...]
    endpoints: Mapping[NodeId, tuple[Endpoint, ...]]
    """Of the voters."""


def answer_describe_quorum(
    status: QuorumStatus | None, request: DescribeQuorumRequest
) -> DescribeQuorumResponse:
    """`status`: None where the asked node does not lead."""
    asked = [
        (topic.topic_name, part.partition_index) for topic in request.topics for part in topic.partitions
    ]
    if asked != [(METADATA_TOPIC, _PARTITION)]:
        return _unknown_partitions(request)
    if status is None:
        return DescribeQuorumResponse(
            error_code=ErrorCode.not_leader_or_follower,
            error_message="This node does not lead the metadata quorum; ask its leader.",
        )
    partition = DescribeQuorumResponsePartitionData(
        partition_index=_PARTITION,
        leader_id=status.leader_id,
        leader_epoch=status.epoch,
        high_watermark=UNKNOWN if status.high_watermark is None else status.high_watermark,
        current_voters=tuple(map(_state, status.voters)),
        observers=tuple(map(_state, status.observers)),
    )
    return DescribeQuorumResponse(
        topics=(DescribeQuorumResponseTopicData(topic_name=METADATA_TOPIC, partitions=(partition,)),),
        nodes=tuple(_node(node_id, status.endpoints[node_id]) for node_id in sorted(status.endpoints)),
    )


def _state(status: ReplicaStatus) -> DescribeQuorumReplicaState:
    return DescribeQuorumReplicaState(
        replica_id=status.replica.id,
        replica_directory_id=status.replica.directory_id or ZERO_UUID,
        log_end_offset=status.log_end_offset,
        last_fetch_timestamp=status.last_fetch_ms,
        last_caught_up_timestamp=status.last_caught_up_ms,
    )


def _node(node_id: NodeId, endpoints: tuple[Endpoint, ...]) -> DescribeQuorumNode:
    return DescribeQuorumNode(
        node_id=node_id,
        listeners=tuple(Listener(name=one.name, host=one.host, port=one.port) for one in endpoints),
    )


def _unknown_partitions(request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    text = f"Only partition {_PARTITION} of {METADATA_TOPIC} has a quorum of this kind."
    return DescribeQuorumResponse(
        topics=tuple(
            DescribeQuorumResponseTopicData(
                topic_name=topic.topic_name,
                partitions=tuple(
                    DescribeQuorumResponsePartitionData(
                        partition_index=part.partition_index,
                        error_code=ErrorCode.unknown_topic_or_partition,
                        error_message=text,
                        leader_id=-1,
                        leader_epoch=-1,
                        high_watermark=-1,
                    )
                    for part in topic.partitions
                ),
            )
            for topic in request.topics
        )
    )
