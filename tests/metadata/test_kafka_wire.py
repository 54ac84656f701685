"""The log as a broker of Kafka's fetches it: the same offsets and epochs, and nothing in an answer that ends a broker.

Each answer that is kept away from brokers here was tried on real ones; docs/kafka-brokers.md says what they did.
"""

from typing import Any

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import (
    METADATA_TOPIC,
    METADATA_TOPIC_ID,
    Endpoint,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
)
from quorate.metadata.kafka_form import decode_batches
from quorate.metadata.kafka_wire import (
    KafkaBatches,
    asks_in_kafkas_form,
    fetch_from_kafka,
    fetch_snapshot_from_kafka,
    fetched_to_kafka,
    in_kafkas_form,
    snapshot_to_kafka,
)
from quorate.metadata.quorum import messages as raft
from quorate.metadata.records import (
    AbortTransactionRecord,
    FeatureLevelRecord,
    LeaderChangeRecord,
    LeaderChangeVoter,
    NoOpRecord,
    QuorumRecoveryRecord,
)
from quorate.metadata.wire import raft as wire
from tests.metadata.log.building import batch, control, point
from tests.paper.bench import KEYS

BROKER = KEYS[5]
LEADER = raft.LeaderAndEpoch(Epoch(4), NodeId(2), Endpoint("CONTROLLER", "host-2", 9002))


def asking(offset: int = 10, **fields: Any) -> wire.FetchRequest:
    """As Kafka 4.x asks."""
    partition = wire.FetchPartition(
        partition=0,
        current_leader_epoch=4,
        fetch_offset=offset,
        last_fetched_epoch=3,
        partition_max_bytes=0,
        replica_directory_id=BROKER.directory_id,  # type: ignore[arg-type]
        high_watermark=-1,
        **fields,
    )
    return wire.FetchRequest(
        cluster_id="c",
        replica_state=wire.FetchReplicaState(replica_id=BROKER.id),
        max_wait_ms=500,
        min_bytes=0,
        max_bytes=1024 * 1024,
        topics=(wire.FetchTopic(topic_id=METADATA_TOPIC_ID, partitions=(partition,)),),
    )


def asking_for_snapshot(name: str = METADATA_TOPIC) -> wire.FetchSnapshotRequest:
    partition = wire.FetchSnapshotRequestPartitionSnapshot(
        partition=0,
        current_leader_epoch=4,
        snapshot_id=wire.SnapshotId(end_offset=8, epoch=3),
        position=100,
        replica_directory_id=BROKER.directory_id,  # type: ignore[arg-type]
    )
    topic = wire.FetchSnapshotRequestTopicSnapshot(name=name, partitions=(partition,))
    return wire.FetchSnapshotRequest(cluster_id="c", replica_id=BROKER.id, max_bytes=7, topics=(topic,))


def told(
    response: raft.FetchResponse, offset: int = 10
) -> tuple[wire.FetchResponse, wire.FetchPartitionData]:
    answer = fetched_to_kafka(response, fetch_from_kafka(asking(offset)), KafkaBatches())
    (topic,) = answer.responses
    assert topic.topic_id == METADATA_TOPIC_ID
    (partition,) = topic.partitions
    return answer, partition


# --- what is asked


def test_a_brokers_fetch_is_that_of_an_observer() -> None:
    assert asks_in_kafkas_form(asking())
    assert fetch_from_kafka(asking()) == raft.FetchRequest(
        replica=BROKER,
        epoch=Epoch(4),
        offset=Offset(10),
        last_fetched_epoch=Epoch(3),
        max_wait_ms=500,
        max_bytes=1024 * 1024,  # that of the partition is 0, and is not looked at
        high_watermark=Offset(-1),
    )


def test_who_cannot_say_what_it_knows_is_kept_account_of() -> None:
    """Fetch 17, as 3.9 sends it."""
    partition = attrs.evolve(asking().topics[0].partitions[0], high_watermark=wire.NOT_TRACKED)
    topic = wire.FetchTopic(topic_id=METADATA_TOPIC_ID, partitions=(partition,))
    assert fetch_from_kafka(attrs.evolve(asking(), topics=(topic,))).high_watermark is None


def test_a_snapshot_is_asked_for_by_name() -> None:
    assert asks_in_kafkas_form(asking_for_snapshot())
    assert not asks_in_kafkas_form(asking_for_snapshot("__quorate_metadata"))
    assert fetch_snapshot_from_kafka(asking_for_snapshot()) == raft.FetchSnapshotRequest(
        replica=BROKER, epoch=Epoch(4), snapshot_id=point(8, 3), position=100, max_bytes=7
    )


def test_our_own_form_is_another_topic() -> None:
    topic = attrs.evolve(asking().topics[0], topic_id=KEYS[1].directory_id)
    assert not asks_in_kafkas_form(attrs.evolve(asking(), topics=(topic,)))
    assert not asks_in_kafkas_form(attrs.evolve(asking(), topics=()))


def test_a_strange_fetch_is_refused_in_a_way_that_ends_nobody() -> None:
    twice = attrs.evolve(asking(), topics=asking().topics * 2)
    with pytest.raises(RequestRejected) as refusal:
        fetch_from_kafka(twice)
    assert refusal.value.code is ErrorCode.unknown_server_error


# --- what is answered


def test_records_keep_their_offsets_epochs_and_batches() -> None:
    change = LeaderChangeRecord(leader_id=NodeId(2), voters=(), granting_voters=())
    batches = (
        batch(10, 3, count=3, time_ms=77),
        control(13, 4, change),
        batch(14, 4),
    )
    answer, partition = told(raft.FetchResponse(leader=LEADER, high_watermark=Offset(16), batches=batches))

    found = [*decode_batches(partition.records or b"")]
    assert [(b.base_offset, b.epoch, len(b.records), b.is_control) for b in found] == [
        (10, 3, 3, False),
        (13, 4, 1, True),
        (14, 4, 2, False),
    ]
    assert found[0].append_time_ms == 77
    assert found[0].records == batches[0].records()
    assert (partition.high_watermark, partition.error_code) == (16, ErrorCode.none)
    assert (partition.current_leader.leader_id, partition.current_leader.leader_epoch) == (2, 4)
    assert [(n.node_id, n.host, n.port) for n in answer.node_endpoints] == [(2, "host-2", 9002)]


def test_a_leader_change_is_written_as_kafka_reads_it() -> None:
    """Whatever version it says, Kafka reads version 0: the directory ids of version 1 end the process."""
    voter = LeaderChangeVoter(voter_id=NodeId(2), voter_directory_id=KEYS[2].directory_id)  # type: ignore[arg-type]
    record = LeaderChangeRecord(version=1, leader_id=NodeId(2), voters=(voter,), granting_voters=(voter,))

    (found,) = decode_batches(in_kafkas_form(control(0, 1, record)))

    plain = LeaderChangeVoter(voter_id=NodeId(2))
    assert found.records == (
        LeaderChangeRecord(version=0, leader_id=NodeId(2), voters=(plain,), granting_voters=(plain,)),
    )


def test_a_record_of_our_own_is_a_no_op_at_its_offset() -> None:
    ours = QuorumRecoveryRecord(
        recovery_id=KEYS[1].directory_id,  # type: ignore[arg-type]
        previous_recovery_id=KEYS[2].directory_id,  # type: ignore[arg-type]
        kind="recover",
        time_ms=0,
        operator="",
        source="",
        source_directory_id=KEYS[3].directory_id,  # type: ignore[arg-type]
        source_end_offset=1,
        source_epoch=1,
        epoch=2,
        digest=b"",
        shown=(),
    )
    level = FeatureLevelRecord(name="metadata.version", feature_level=21)
    sealed = RecordBatch.seal(
        [AbortTransactionRecord(reason="why"), ours, level],
        base_offset=Offset(5),
        epoch=Epoch(2),
        append_time_ms=0,
    )
    (found,) = decode_batches(in_kafkas_form(sealed))
    assert found.base_offset == 5
    assert found.records == (AbortTransactionRecord(reason="why"), NoOpRecord(), level)


def test_a_batch_that_begins_elsewhere_is_never_sent() -> None:
    _, partition = told(raft.FetchResponse(leader=LEADER, batches=(batch(10, 3, count=4),)), offset=12)
    assert (partition.records, partition.error_code) == (b"", ErrorCode.offset_out_of_range)


def test_there_are_always_records_be_they_none() -> None:
    for error in (ErrorCode.none, ErrorCode.not_leader_or_follower, ErrorCode.fenced_leader_epoch):
        _, partition = told(raft.FetchResponse(leader=LEADER, error=error))
        assert partition.records == b""
        assert partition.error_code is error


def test_an_invalid_request_is_called_otherwise() -> None:
    _, partition = told(raft.FetchResponse(leader=LEADER, error=ErrorCode.invalid_request))
    assert partition.error_code is ErrorCode.unknown_server_error


@pytest.mark.parametrize(
    "leader",
    [
        raft.LeaderAndEpoch(Epoch(4), NodeId(2)),
        raft.LeaderAndEpoch(Epoch(4), BROKER.id, Endpoint("CONTROLLER", "host-5", 9005)),
    ],
    ids=["no address", "the asker itself"],
)
def test_a_leader_that_would_end_the_broker_is_not_named(leader: raft.LeaderAndEpoch) -> None:
    answer, partition = told(raft.FetchResponse(leader=leader, error=ErrorCode.not_leader_or_follower))
    assert (partition.current_leader.leader_id, partition.current_leader.leader_epoch) == (-1, 4)
    assert answer.node_endpoints == ()


def test_what_is_not_known_is_minus_one_and_not_less_than_before() -> None:
    _, partition = told(raft.FetchResponse(leader=LEADER, high_watermark=None))
    assert partition.high_watermark == -1


def test_a_snapshot_is_named_instead_of_records() -> None:
    _, partition = told(raft.FetchResponse(leader=LEADER, snapshot_id=point(8, 3)), offset=0)
    assert (partition.snapshot_id.end_offset, partition.snapshot_id.epoch) == (8, 3)


def test_a_part_of_a_snapshot() -> None:
    response = raft.FetchSnapshotResponse(
        leader=LEADER, snapshot_id=OffsetAndEpoch(Offset(8), Epoch(3)), position=100, size=300, data=b"part"
    )
    answer = snapshot_to_kafka(response, BROKER.id)
    (topic,) = answer.topics
    (part,) = topic.partitions
    assert (topic.name, part.position, part.size, part.unaligned_records) == (
        METADATA_TOPIC,
        100,
        300,
        b"part",
    )
    assert [n.node_id for n in answer.node_endpoints] == [2]


# --- once for all readers


def test_a_batch_is_translated_once() -> None:
    kept = KafkaBatches()
    first = kept.bytes_of(batch(10, 3))
    assert kept.bytes_of(batch(10, 3)) is first
    assert kept.translated == 1
    # The same offset in another epoch is another batch.
    assert kept.bytes_of(batch(10, 4)) != first
    assert kept.translated == 2


def test_only_so_much_is_kept_the_newest_and_always_the_last() -> None:
    one, two, three = batch(10, 3), batch(12, 3), batch(14, 3)
    kept = KafkaBatches(limit=2 * len(in_kafkas_form(one)) + 1)
    for each in (one, two, one, three):  # the second was looked at last
        kept.bytes_of(each)
    kept.bytes_of(one)
    assert kept.translated == 3
    kept.bytes_of(two)
    assert kept.translated == 4

    nothing = KafkaBatches(limit=0)
    nothing.bytes_of(one)
    nothing.bytes_of(one)
    assert nothing.translated == 1
