"""DescribeQuorum: everything that the leader knows arrives, and nobody else answers."""

import uuid

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import METADATA_TOPIC, ZERO_UUID, Endpoint, Epoch, NodeId, Offset, ReplicaKey
from quorate.metadata.views import QuorumStatus, ReplicaStatus, answer_describe_quorum
from quorate.metadata.wire.raft import (
    DescribeQuorumReplicaState,
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    Listener,
)
from quorate.metadata.wire.table import decode_response, encode_response

DISK = uuid.UUID(int=77)
STATUS = QuorumStatus(
    leader_id=NodeId(1),
    epoch=Epoch(4),
    high_watermark=Offset(90),
    voters=(
        ReplicaStatus(
            replica=ReplicaKey(NodeId(1), DISK),
            log_end_offset=100,
            last_fetch_ms=5000,
            last_caught_up_ms=5000,
        ),
        ReplicaStatus(replica=ReplicaKey(NodeId(2))),
    ),
    observers=(ReplicaStatus(replica=ReplicaKey(NodeId(101), DISK), log_end_offset=90, last_fetch_ms=4000),),
    endpoints={NodeId(2): (Endpoint("CONTROLLER", "two", 9093),), NodeId(1): ()},
)


def request(*places: tuple[str, int]) -> DescribeQuorumRequest:
    return DescribeQuorumRequest(
        topics=tuple(
            DescribeQuorumRequestTopicData(
                topic_name=name, partitions=(DescribeQuorumRequestPartitionData(partition_index=index),)
            )
            for name, index in places
        )
    )


def test_the_leader_tells_what_it_knows() -> None:
    answer = answer_describe_quorum(STATUS, request((METADATA_TOPIC, 0)))
    data = encode_response(DescribeQuorumRequest.api_key, 2, 1, answer)
    assert decode_response(DescribeQuorumRequest.api_key, 2, data[4:]) == answer
    (topic,) = answer.topics
    (partition,) = topic.partitions
    assert (topic.topic_name, partition.partition_index) == (METADATA_TOPIC, 0)
    assert (partition.leader_id, partition.leader_epoch, partition.high_watermark) == (1, 4, 90)
    assert partition.current_voters == (
        DescribeQuorumReplicaState(
            replica_id=1,
            replica_directory_id=DISK,
            log_end_offset=100,
            last_fetch_timestamp=5000,
            last_caught_up_timestamp=5000,
        ),
        DescribeQuorumReplicaState(
            replica_id=2,
            replica_directory_id=ZERO_UUID,
            log_end_offset=-1,
            last_fetch_timestamp=-1,
            last_caught_up_timestamp=-1,
        ),
    )
    assert [one.replica_id for one in partition.observers] == [101]
    assert [(node.node_id, node.listeners) for node in answer.nodes] == [
        (1, ()),
        (2, (Listener(name="CONTROLLER", host="two", port=9093),)),
    ]


def test_a_high_watermark_that_is_not_known_yet_is_minus_one() -> None:
    answer = answer_describe_quorum(attrs.evolve(STATUS, high_watermark=None), request((METADATA_TOPIC, 0)))
    assert answer.topics[0].partitions[0].high_watermark == -1


def test_who_does_not_lead_says_so() -> None:
    answer = answer_describe_quorum(None, request((METADATA_TOPIC, 0)))
    assert (answer.error_code, answer.topics) == (ErrorCode.not_leader_or_follower, ())


def test_no_other_partition_has_a_quorum() -> None:
    for places in ([("t", 0)], [(METADATA_TOPIC, 1)], [(METADATA_TOPIC, 0), ("t", 0)]):
        answer = answer_describe_quorum(STATUS, request(*places))
        told = [(t.topic_name, p.partition_index, p.error_code) for t in answer.topics for p in t.partitions]
        assert told == [(name, index, ErrorCode.unknown_topic_or_partition) for name, index in places]
