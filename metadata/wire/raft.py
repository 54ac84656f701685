"""The quorum's own requests: votes, epochs, fetching the log and its snapshots, changing voters.

Plain values, the same for every version of an API. Names and meaning are those of Kafka's message
definitions (KIP-595, KIP-630, KIP-853); `convert` knows how each version says them. The topic of all of them is
the metadata log: `__cluster_metadata` and partition 0, or our own topic id where a Fetch names one.
"""

import uuid
from typing import ClassVar, Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import ZERO_UUID

MAX_INT32: Final = 2**31 - 1
NOT_TRACKED: Final = 2**63 - 1
"""High watermark of a fetcher that does not tell what it knows (before Fetch v18)."""


@attrs.frozen(kw_only=True)
class VoteRequestPartitionData:
    partition_index: int
    replica_epoch: int
    replica_id: int
    replica_directory_id: uuid.UUID = ZERO_UUID
    voter_directory_id: uuid.UUID = ZERO_UUID
    last_offset_epoch: int
    last_offset: int
    pre_vote: bool = False


@attrs.frozen(kw_only=True)
class VoteRequestTopicData:
    topic_name: str
    partitions: tuple[VoteRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class VoteRequest:
    api_key: ClassVar[int] = 52

    cluster_id: str | None = None
    voter_id: int = -1
    topics: tuple[VoteRequestTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class VoteResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    leader_id: int
    leader_epoch: int
    vote_granted: bool


@attrs.frozen(kw_only=True)
class VoteResponseTopicData:
    topic_name: str
    partitions: tuple[VoteResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class NodeEndpoint:
    node_id: int
    host: str
    port: int
    rack: str | None = None


@attrs.frozen(kw_only=True)
class VoteResponse:
    api_key: ClassVar[int] = 52

    error_code: ErrorCode = ErrorCode.none
    topics: tuple[VoteResponseTopicData, ...] = ()
    node_endpoints: tuple[NodeEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class BeginQuorumEpochRequestPartitionData:
    partition_index: int
    voter_directory_id: uuid.UUID = ZERO_UUID
    leader_id: int
    leader_epoch: int


@attrs.frozen(kw_only=True)
class BeginQuorumEpochRequestTopicData:
    topic_name: str
    partitions: tuple[BeginQuorumEpochRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class LeaderEndpoint:
    name: str
    host: str
    port: int


@attrs.frozen(kw_only=True)
class BeginQuorumEpochRequest:
    api_key: ClassVar[int] = 53

    cluster_id: str | None = None
    voter_id: int = -1
    topics: tuple[BeginQuorumEpochRequestTopicData, ...] = ()
    leader_endpoints: tuple[LeaderEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class BeginQuorumEpochResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    leader_id: int
    leader_epoch: int


@attrs.frozen(kw_only=True)
class BeginQuorumEpochResponseTopicData:
    topic_name: str
    partitions: tuple[BeginQuorumEpochResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class BeginQuorumEpochResponse:
    api_key: ClassVar[int] = 53

    error_code: ErrorCode = ErrorCode.none
    topics: tuple[BeginQuorumEpochResponseTopicData, ...] = ()
    node_endpoints: tuple[NodeEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class ReplicaInfo:
    candidate_id: int
    candidate_directory_id: uuid.UUID


@attrs.frozen(kw_only=True)
class EndQuorumEpochRequestPartitionData:
    partition_index: int
    leader_id: int
    leader_epoch: int
    preferred_candidates: tuple[ReplicaInfo, ...] = ()


@attrs.frozen(kw_only=True)
class EndQuorumEpochRequestTopicData:
    topic_name: str
    partitions: tuple[EndQuorumEpochRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class EndQuorumEpochRequest:
    api_key: ClassVar[int] = 54

    cluster_id: str | None = None
    topics: tuple[EndQuorumEpochRequestTopicData, ...] = ()
    leader_endpoints: tuple[LeaderEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class EndQuorumEpochResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    leader_id: int
    leader_epoch: int


@attrs.frozen(kw_only=True)
class EndQuorumEpochResponseTopicData:
    topic_name: str
    partitions: tuple[EndQuorumEpochResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class EndQuorumEpochResponse:
    api_key: ClassVar[int] = 54

    error_code: ErrorCode = ErrorCode.none
    topics: tuple[EndQuorumEpochResponseTopicData, ...] = ()
    node_endpoints: tuple[NodeEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class FetchReplicaState:
    replica_id: int = -1
    replica_epoch: int = -1


@attrs.frozen(kw_only=True)
class FetchPartition:
    partition: int
    current_leader_epoch: int = -1
    fetch_offset: int
    last_fetched_epoch: int = -1
    log_start_offset: int = -1
    partition_max_bytes: int
    replica_directory_id: uuid.UUID = ZERO_UUID
    high_watermark: int = NOT_TRACKED


@attrs.frozen(kw_only=True)
class FetchTopic:
    topic_id: uuid.UUID = ZERO_UUID
    partitions: tuple[FetchPartition, ...] = ()


@attrs.frozen(kw_only=True)
class ForgottenTopic:
    topic_id: uuid.UUID = ZERO_UUID
    partitions: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class FetchRequest:
    api_key: ClassVar[int] = 1

    cluster_id: str | None = None
    replica_state: FetchReplicaState = FetchReplicaState()
    max_wait_ms: int
    min_bytes: int
    max_bytes: int = MAX_INT32
    isolation_level: int = 0
    session_id: int = 0
    session_epoch: int = -1
    topics: tuple[FetchTopic, ...] = ()
    forgotten_topics_data: tuple[ForgottenTopic, ...] = ()
    rack_id: str = ""


@attrs.frozen(kw_only=True)
class EpochEndOffset:
    epoch: int = -1
    end_offset: int = -1


@attrs.frozen(kw_only=True)
class LeaderIdAndEpoch:
    leader_id: int = -1
    leader_epoch: int = -1


@attrs.frozen(kw_only=True)
class SnapshotId:
    end_offset: int = -1
    epoch: int = -1


@attrs.frozen(kw_only=True)
class AbortedTransaction:
    producer_id: int
    first_offset: int


@attrs.frozen(kw_only=True)
class FetchPartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    diverging_epoch: EpochEndOffset = EpochEndOffset()
    current_leader: LeaderIdAndEpoch = LeaderIdAndEpoch()
    snapshot_id: SnapshotId = SnapshotId()
    aborted_transactions: tuple[AbortedTransaction, ...] | None = None
    preferred_read_replica: int = -1
    records: bytes | None = None


@attrs.frozen(kw_only=True)
class FetchableTopicResponse:
    topic_id: uuid.UUID = ZERO_UUID
    partitions: tuple[FetchPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class FetchResponse:
    api_key: ClassVar[int] = 1

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    session_id: int = 0
    responses: tuple[FetchableTopicResponse, ...] = ()
    node_endpoints: tuple[NodeEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class FetchSnapshotRequestPartitionSnapshot:
    partition: int
    current_leader_epoch: int
    snapshot_id: SnapshotId
    position: int
    replica_directory_id: uuid.UUID = ZERO_UUID


@attrs.frozen(kw_only=True)
class FetchSnapshotRequestTopicSnapshot:
    name: str
    partitions: tuple[FetchSnapshotRequestPartitionSnapshot, ...] = ()


@attrs.frozen(kw_only=True)
class FetchSnapshotRequest:
    api_key: ClassVar[int] = 59

    cluster_id: str | None = None
    replica_id: int = -1
    max_bytes: int = MAX_INT32
    topics: tuple[FetchSnapshotRequestTopicSnapshot, ...] = ()


@attrs.frozen(kw_only=True)
class FetchSnapshotResponsePartitionSnapshot:
    index: int
    error_code: ErrorCode = ErrorCode.none
    snapshot_id: SnapshotId = SnapshotId()
    current_leader: LeaderIdAndEpoch = LeaderIdAndEpoch()
    size: int = 0
    position: int = 0
    unaligned_records: bytes = b""


@attrs.frozen(kw_only=True)
class FetchSnapshotResponseTopicSnapshot:
    name: str
    partitions: tuple[FetchSnapshotResponsePartitionSnapshot, ...] = ()


@attrs.frozen(kw_only=True)
class FetchSnapshotResponse:
    api_key: ClassVar[int] = 59

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    topics: tuple[FetchSnapshotResponseTopicSnapshot, ...] = ()
    node_endpoints: tuple[NodeEndpoint, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeQuorumRequestPartitionData:
    partition_index: int


@attrs.frozen(kw_only=True)
class DescribeQuorumRequestTopicData:
    topic_name: str
    partitions: tuple[DescribeQuorumRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeQuorumRequest:
    api_key: ClassVar[int] = 55

    topics: tuple[DescribeQuorumRequestTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeQuorumReplicaState:
    replica_id: int
    replica_directory_id: uuid.UUID = ZERO_UUID
    log_end_offset: int
    last_fetch_timestamp: int = -1
    last_caught_up_timestamp: int = -1


@attrs.frozen(kw_only=True)
class DescribeQuorumResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    leader_id: int
    leader_epoch: int
    high_watermark: int
    current_voters: tuple[DescribeQuorumReplicaState, ...] = ()
    observers: tuple[DescribeQuorumReplicaState, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeQuorumResponseTopicData:
    topic_name: str
    partitions: tuple[DescribeQuorumResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class Listener:
    name: str
    host: str
    port: int


@attrs.frozen(kw_only=True)
class DescribeQuorumNode:
    node_id: int
    listeners: tuple[Listener, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeQuorumResponse:
    api_key: ClassVar[int] = 55

    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    topics: tuple[DescribeQuorumResponseTopicData, ...] = ()
    nodes: tuple[DescribeQuorumNode, ...] = ()


@attrs.frozen(kw_only=True)
class AddRaftVoterRequest:
    api_key: ClassVar[int] = 80

    cluster_id: str | None = None
    timeout_ms: int
    voter_id: int
    voter_directory_id: uuid.UUID
    listeners: tuple[Listener, ...] = ()
    ack_when_committed: bool = True


@attrs.frozen(kw_only=True)
class AddRaftVoterResponse:
    api_key: ClassVar[int] = 80

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class RemoveRaftVoterRequest:
    api_key: ClassVar[int] = 81

    cluster_id: str | None = None
    voter_id: int
    voter_directory_id: uuid.UUID


@attrs.frozen(kw_only=True)
class RemoveRaftVoterResponse:
    api_key: ClassVar[int] = 81

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class KRaftVersionFeature:
    min_supported_version: int
    max_supported_version: int


@attrs.frozen(kw_only=True)
class UpdateRaftVoterRequest:
    api_key: ClassVar[int] = 82

    cluster_id: str | None = None
    current_leader_epoch: int
    voter_id: int
    voter_directory_id: uuid.UUID
    listeners: tuple[Listener, ...] = ()
    k_raft_version_feature: KRaftVersionFeature


@attrs.frozen(kw_only=True)
class CurrentLeader:
    leader_id: int = -1
    leader_epoch: int = -1
    host: str = ""
    port: int = 0


@attrs.frozen(kw_only=True)
class UpdateRaftVoterResponse:
    api_key: ClassVar[int] = 82

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    current_leader: CurrentLeader = CurrentLeader()
