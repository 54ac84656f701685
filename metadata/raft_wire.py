"""The quorum's flat messages, and their shape in Kafka's protocol (KIP-595, KIP-630, KIP-853).

Kafka's requests speak of many topics and partitions; there is exactly one here, and everything else is refused at this
border. Incoming requests are checked for shape only: what they mean is the core's business. A log that was recovered
without a majority has its recovery id as topic id in the answers to Fetch: so does Kafka tell a topic that was created
anew from its former self of the same name.
"""

import uuid
from collections.abc import Sequence
from typing import Final, TypeVar, assert_never

from quorate.metadata.batch import CorruptBatch, decode_batches
from quorate.metadata.checks import ErrorCode, InvariantViolated, RemoteProtocolError, RequestRejected
from quorate.metadata.ids import (
    METADATA_TOPIC,
    QUORATE_TOPIC,
    QUORATE_TOPIC_ID,
    ZERO_UUID,
    Endpoint,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
    ReplicaKey,
)
from quorate.metadata.quorum import messages as raft
from quorate.metadata.quorum.voters import VoterSet
from quorate.metadata.wire import raft as wire

WireRequest = (
    wire.VoteRequest
    | wire.BeginQuorumEpochRequest
    | wire.EndQuorumEpochRequest
    | wire.FetchRequest
    | wire.FetchSnapshotRequest
    | wire.AddRaftVoterRequest
    | wire.RemoveRaftVoterRequest
    | wire.UpdateRaftVoterRequest
)
WireResponse = (
    wire.VoteResponse
    | wire.BeginQuorumEpochResponse
    | wire.EndQuorumEpochResponse
    | wire.FetchResponse
    | wire.FetchSnapshotResponse
    | wire.AddRaftVoterResponse
    | wire.RemoveRaftVoterResponse
    | wire.UpdateRaftVoterResponse
)

_NONE: Final = -1
_NOWHERE: Final = wire.FetchPartitionData(partition_index=0)
"""Its fields say "none": the very objects that the writer knows as defaults, and leaves out."""


_One = TypeVar("_One")


# ---- requests ----------------------------------------------------------------------------------------


def request_to_wire(request: raft.Request, cluster_id: str) -> WireRequest:
    """A request of ours as Kafka says it; what a peer speaks is known from its connection and never asked so."""
    match request:
        case raft.VoteRequest():
            return _vote_to_wire(request, cluster_id)
        case raft.BeginQuorumEpochRequest():
            return _begin_to_wire(request, cluster_id)
        case raft.EndQuorumEpochRequest():
            return _end_to_wire(request, cluster_id)
        case raft.FetchRequest():
            return _fetch_to_wire(request, cluster_id)
        case raft.FetchSnapshotRequest():
            return _fetch_snapshot_to_wire(request, cluster_id)
        case raft.AddVoterRequest():
            return wire.AddRaftVoterRequest(
                cluster_id=cluster_id,
                timeout_ms=request.timeout_ms,
                voter_id=request.voter.id,
                voter_directory_id=request.voter.directory_id or ZERO_UUID,
                listeners=_listeners(request.endpoints),
                ack_when_committed=request.ack_when_committed,
            )
        case raft.RemoveVoterRequest():
            return wire.RemoveRaftVoterRequest(
                cluster_id=cluster_id,
                voter_id=request.voter.id,
                voter_directory_id=request.voter.directory_id or ZERO_UUID,
            )
        case raft.UpdateVoterRequest():
            return _update_voter_to_wire(request, cluster_id)
        case raft.VersionsRequest():
            raise InvariantViolated("what a peer speaks is no request of its own")
        case _:
            assert_never(request)


def request_from_wire(request: WireRequest) -> raft.Request:
    """What a peer asks.

    Raises:
        RequestRejected: not exactly the one topic and partition there is. INVALID_REQUEST, or
            UNKNOWN_TOPIC_ID for a Fetch of a topic that we do not have.
    """
    match request:
        case wire.VoteRequest():
            return _vote_from_wire(request)
        case wire.BeginQuorumEpochRequest():
            return _begin_from_wire(request)
        case wire.EndQuorumEpochRequest():
            return _end_from_wire(request)
        case wire.FetchRequest():
            return _fetch_from_wire(request)
        case wire.FetchSnapshotRequest():
            return _fetch_snapshot_from_wire(request)
        case wire.AddRaftVoterRequest():
            return raft.AddVoterRequest(
                voter=_key(request.voter_id, request.voter_directory_id),
                endpoints=_endpoints(request.listeners),
                timeout_ms=request.timeout_ms,
                ack_when_committed=request.ack_when_committed,
            )
        case wire.RemoveRaftVoterRequest():
            return raft.RemoveVoterRequest(voter=_key(request.voter_id, request.voter_directory_id))
        case wire.UpdateRaftVoterRequest():
            return _update_voter_from_wire(request)
        case _:
            assert_never(request)


def _vote_to_wire(request: raft.VoteRequest, cluster_id: str) -> wire.VoteRequest:
    partition = wire.VoteRequestPartitionData(
        partition_index=0,
        replica_epoch=request.epoch,
        replica_id=request.candidate.id,
        replica_directory_id=request.candidate.directory_id or ZERO_UUID,
        voter_directory_id=request.voter.directory_id or ZERO_UUID,
        last_offset_epoch=request.last.epoch,
        last_offset=request.last.offset,
        pre_vote=request.pre_vote,
    )
    topic = wire.VoteRequestTopicData(topic_name=METADATA_TOPIC, partitions=(partition,))
    return wire.VoteRequest(cluster_id=cluster_id, voter_id=request.voter.id, topics=(topic,))


def _vote_from_wire(request: wire.VoteRequest) -> raft.VoteRequest:
    topic = _only(request.topics)
    _check_name(topic.topic_name, METADATA_TOPIC)
    partition = _only(topic.partitions)
    _check_index(partition.partition_index)
    return raft.VoteRequest(
        epoch=Epoch(partition.replica_epoch),
        candidate=_key(partition.replica_id, partition.replica_directory_id),
        voter=_key(request.voter_id, partition.voter_directory_id),
        last=OffsetAndEpoch(Offset(partition.last_offset), Epoch(partition.last_offset_epoch)),
        pre_vote=partition.pre_vote,
    )


def _begin_to_wire(request: raft.BeginQuorumEpochRequest, cluster_id: str) -> wire.BeginQuorumEpochRequest:
    partition = wire.BeginQuorumEpochRequestPartitionData(
        partition_index=0,
        voter_directory_id=request.voter.directory_id or ZERO_UUID,
        leader_id=request.leader_id,
        leader_epoch=request.epoch,
    )
    topic = wire.BeginQuorumEpochRequestTopicData(topic_name=METADATA_TOPIC, partitions=(partition,))
    endpoints = tuple(
        wire.LeaderEndpoint(name=one.name, host=one.host, port=one.port) for one in request.endpoints
    )
    return wire.BeginQuorumEpochRequest(
        cluster_id=cluster_id, voter_id=request.voter.id, topics=(topic,), leader_endpoints=endpoints
    )


def _begin_from_wire(request: wire.BeginQuorumEpochRequest) -> raft.BeginQuorumEpochRequest:
    topic = _only(request.topics)
    _check_name(topic.topic_name, METADATA_TOPIC)
    partition = _only(topic.partitions)
    _check_index(partition.partition_index)
    return raft.BeginQuorumEpochRequest(
        epoch=Epoch(partition.leader_epoch),
        leader_id=NodeId(partition.leader_id),
        voter=_key(request.voter_id, partition.voter_directory_id),
        endpoints=tuple(Endpoint(one.name, one.host, one.port) for one in request.leader_endpoints),
    )


def _end_to_wire(request: raft.EndQuorumEpochRequest, cluster_id: str) -> wire.EndQuorumEpochRequest:
    candidates = tuple(
        wire.ReplicaInfo(candidate_id=key.id, candidate_directory_id=key.directory_id or ZERO_UUID)
        for key in request.preferred
    )
    partition = wire.EndQuorumEpochRequestPartitionData(
        partition_index=0,
        leader_id=request.leader_id,
        leader_epoch=request.epoch,
        preferred_candidates=candidates,
    )
    topic = wire.EndQuorumEpochRequestTopicData(topic_name=METADATA_TOPIC, partitions=(partition,))
    return wire.EndQuorumEpochRequest(cluster_id=cluster_id, topics=(topic,))


def _end_from_wire(request: wire.EndQuorumEpochRequest) -> raft.EndQuorumEpochRequest:
    topic = _only(request.topics)
    _check_name(topic.topic_name, METADATA_TOPIC)
    partition = _only(topic.partitions)
    _check_index(partition.partition_index)
    return raft.EndQuorumEpochRequest(
        epoch=Epoch(partition.leader_epoch),
        leader_id=NodeId(partition.leader_id),
        preferred=tuple(
            _key(one.candidate_id, one.candidate_directory_id) for one in partition.preferred_candidates
        ),
    )


def _fetch_to_wire(request: raft.FetchRequest, cluster_id: str) -> wire.FetchRequest:
    partition = wire.FetchPartition(
        partition=0,
        current_leader_epoch=request.epoch,
        fetch_offset=request.offset,
        last_fetched_epoch=request.last_fetched_epoch,
        partition_max_bytes=request.max_bytes,
        replica_directory_id=request.replica.directory_id or ZERO_UUID,
        high_watermark=_NONE if request.high_watermark is None else request.high_watermark,
    )
    return wire.FetchRequest(
        cluster_id=cluster_id,
        replica_state=wire.FetchReplicaState(replica_id=request.replica.id),
        max_wait_ms=request.max_wait_ms,
        min_bytes=0,
        max_bytes=request.max_bytes,
        topics=(wire.FetchTopic(topic_id=QUORATE_TOPIC_ID, partitions=(partition,)),),
    )


def _fetch_from_wire(request: wire.FetchRequest) -> raft.FetchRequest:
    topic = _only(request.topics)
    if topic.topic_id != QUORATE_TOPIC_ID:
        raise RequestRejected(
            ErrorCode.unknown_topic_id,
            f"no topic {topic.topic_id} here: this node serves the metadata log only",
        )
    partition = _only(topic.partitions)
    _check_index(partition.partition)
    told = partition.high_watermark
    return raft.FetchRequest(
        replica=_key(request.replica_state.replica_id, partition.replica_directory_id),
        epoch=Epoch(partition.current_leader_epoch),
        offset=Offset(partition.fetch_offset),
        last_fetched_epoch=Epoch(partition.last_fetched_epoch),
        max_wait_ms=request.max_wait_ms,
        max_bytes=request.max_bytes,
        high_watermark=None if told == wire.NOT_TRACKED else Offset(told),
    )


def _fetch_snapshot_to_wire(request: raft.FetchSnapshotRequest, cluster_id: str) -> wire.FetchSnapshotRequest:
    partition = wire.FetchSnapshotRequestPartitionSnapshot(
        partition=0,
        current_leader_epoch=request.epoch,
        snapshot_id=_snapshot_id(request.snapshot_id),
        position=request.position,
        replica_directory_id=request.replica.directory_id or ZERO_UUID,
    )
    topic = wire.FetchSnapshotRequestTopicSnapshot(name=QUORATE_TOPIC, partitions=(partition,))
    return wire.FetchSnapshotRequest(
        cluster_id=cluster_id, replica_id=request.replica.id, max_bytes=request.max_bytes, topics=(topic,)
    )


def _fetch_snapshot_from_wire(request: wire.FetchSnapshotRequest) -> raft.FetchSnapshotRequest:
    topic = _only(request.topics)
    _check_name(topic.name, QUORATE_TOPIC)
    partition = _only(topic.partitions)
    _check_index(partition.partition)
    return raft.FetchSnapshotRequest(
        replica=_key(request.replica_id, partition.replica_directory_id),
        epoch=Epoch(partition.current_leader_epoch),
        snapshot_id=OffsetAndEpoch(
            Offset(partition.snapshot_id.end_offset), Epoch(partition.snapshot_id.epoch)
        ),
        position=partition.position,
        max_bytes=request.max_bytes,
    )


def _update_voter_to_wire(request: raft.UpdateVoterRequest, cluster_id: str) -> wire.UpdateRaftVoterRequest:
    lowest, highest = request.kraft_versions
    return wire.UpdateRaftVoterRequest(
        cluster_id=cluster_id,
        current_leader_epoch=request.epoch,
        voter_id=request.voter.id,
        voter_directory_id=request.voter.directory_id or ZERO_UUID,
        listeners=_listeners(request.endpoints),
        k_raft_version_feature=wire.KRaftVersionFeature(
            min_supported_version=lowest, max_supported_version=highest
        ),
    )


def _update_voter_from_wire(request: wire.UpdateRaftVoterRequest) -> raft.UpdateVoterRequest:
    spoken = request.k_raft_version_feature
    return raft.UpdateVoterRequest(
        epoch=Epoch(request.current_leader_epoch),
        voter=_key(request.voter_id, request.voter_directory_id),
        endpoints=_endpoints(request.listeners),
        kraft_versions=(spoken.min_supported_version, spoken.max_supported_version),
    )


# ---- answers -----------------------------------------------------------------------------------------


def response_to_wire(response: raft.Response) -> WireResponse:
    """An answer of ours as Kafka says it; its data must have been read in (`carry_out`)."""
    leader = response.leader
    nodes = _nodes(leader)
    leader_id = _NONE if leader.leader_id is None else leader.leader_id
    match response:
        case raft.VoteResponse():
            vote = wire.VoteResponsePartitionData(
                partition_index=0,
                error_code=response.error,
                leader_id=leader_id,
                leader_epoch=leader.epoch,
                vote_granted=response.granted,
            )
            topic = wire.VoteResponseTopicData(topic_name=METADATA_TOPIC, partitions=(vote,))
            return wire.VoteResponse(topics=(topic,), node_endpoints=nodes)
        case raft.BeginQuorumEpochResponse():
            begun = wire.BeginQuorumEpochResponsePartitionData(
                partition_index=0, error_code=response.error, leader_id=leader_id, leader_epoch=leader.epoch
            )
            begin_topic = wire.BeginQuorumEpochResponseTopicData(
                topic_name=METADATA_TOPIC, partitions=(begun,)
            )
            return wire.BeginQuorumEpochResponse(topics=(begin_topic,), node_endpoints=nodes)
        case raft.EndQuorumEpochResponse():
            ended = wire.EndQuorumEpochResponsePartitionData(
                partition_index=0, error_code=response.error, leader_id=leader_id, leader_epoch=leader.epoch
            )
            end_topic = wire.EndQuorumEpochResponseTopicData(topic_name=METADATA_TOPIC, partitions=(ended,))
            return wire.EndQuorumEpochResponse(topics=(end_topic,), node_endpoints=nodes)
        case raft.FetchResponse():
            return _fetched_to_wire(response, leader_id, nodes)
        case raft.FetchSnapshotResponse():
            return _snapshot_to_wire(response, leader_id, nodes)
        case raft.AddVoterResponse():
            return wire.AddRaftVoterResponse(error_code=response.error, error_message=response.message)
        case raft.RemoveVoterResponse():
            return wire.RemoveRaftVoterResponse(error_code=response.error, error_message=response.message)
        case raft.UpdateVoterResponse():
            where = leader.endpoint
            current = wire.CurrentLeader(
                leader_id=leader_id,
                leader_epoch=leader.epoch,
                host="" if where is None else where.host,
                port=0 if where is None else where.port,
            )
            return wire.UpdateRaftVoterResponse(error_code=response.error, current_leader=current)
        case raft.VersionsResponse():
            raise InvariantViolated("what this node speaks is told by ApiVersions")
        case _:
            assert_never(response)


def _fetched_to_wire(
    response: raft.FetchResponse, leader_id: int, nodes: tuple[wire.NodeEndpoint, ...]
) -> wire.FetchResponse:
    diverging = response.diverging
    watermark = _NONE if response.high_watermark is None else response.high_watermark
    partition = wire.FetchPartitionData(
        partition_index=0,
        error_code=response.error,
        high_watermark=watermark,
        last_stable_offset=watermark,
        log_start_offset=response.log_start,
        diverging_epoch=_NOWHERE.diverging_epoch
        if diverging is None
        else wire.EpochEndOffset(epoch=diverging.epoch, end_offset=diverging.offset),
        current_leader=wire.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=response.leader.epoch),
        snapshot_id=_snapshot_id(response.snapshot_id),
        records=b"".join(batch.data for batch in response.batches),
    )
    topic = wire.FetchableTopicResponse(
        topic_id=response.recovery_id or QUORATE_TOPIC_ID, partitions=(partition,)
    )
    return wire.FetchResponse(responses=(topic,), node_endpoints=nodes)


def _snapshot_to_wire(
    response: raft.FetchSnapshotResponse, leader_id: int, nodes: tuple[wire.NodeEndpoint, ...]
) -> wire.FetchSnapshotResponse:
    partition = wire.FetchSnapshotResponsePartitionSnapshot(
        index=0,
        error_code=response.error,
        snapshot_id=_snapshot_id(response.snapshot_id),
        current_leader=wire.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=response.leader.epoch),
        size=response.size,
        position=response.position,
        unaligned_records=response.data,
    )
    topic = wire.FetchSnapshotResponseTopicSnapshot(name=QUORATE_TOPIC, partitions=(partition,))
    return wire.FetchSnapshotResponse(topics=(topic,), node_endpoints=nodes)


def response_from_wire(response: WireResponse, listener: str) -> raft.Response:
    """A peer's answer; its leader's address is understood as one of `listener`.

    Raises:
        RemoteProtocolError: not the one topic and partition asked for, a top-level error, or damaged batches.
    """
    if isinstance(
        response, wire.AddRaftVoterResponse | wire.RemoveRaftVoterResponse | wire.UpdateRaftVoterResponse
    ):
        return _change_from_wire(response, listener)
    if response.error_code is not ErrorCode.none:
        raise RemoteProtocolError(f"the peer answered {response.error_code.name}")
    match response:
        case wire.VoteResponse():
            vote = _answered(_answered(response.topics).partitions)
            return raft.VoteResponse(
                leader=_leader(vote.leader_id, vote.leader_epoch, response.node_endpoints, listener),
                granted=vote.vote_granted,
                error=vote.error_code,
            )
        case wire.BeginQuorumEpochResponse():
            begun = _answered(_answered(response.topics).partitions)
            leader = _leader(begun.leader_id, begun.leader_epoch, response.node_endpoints, listener)
            return raft.BeginQuorumEpochResponse(leader=leader, error=begun.error_code)
        case wire.EndQuorumEpochResponse():
            ended = _answered(_answered(response.topics).partitions)
            leader = _leader(ended.leader_id, ended.leader_epoch, response.node_endpoints, listener)
            return raft.EndQuorumEpochResponse(leader=leader, error=ended.error_code)
        case wire.FetchResponse():
            return _fetched_from_wire(response, listener)
        case wire.FetchSnapshotResponse():
            return _snapshot_from_wire(response, listener)
        case _:
            assert_never(response)


def _fetched_from_wire(response: wire.FetchResponse, listener: str) -> raft.FetchResponse:
    topic = _answered(response.responses)
    data = _answered(topic.partitions)
    current, diverging, snapshot = data.current_leader, data.diverging_epoch, data.snapshot_id
    try:
        batches = tuple(decode_batches(data.records or b""))
    except CorruptBatch as problem:
        raise RemoteProtocolError(f"a Fetch was answered with damaged batches: {problem}") from None
    return raft.FetchResponse(
        leader=_leader(current.leader_id, current.leader_epoch, response.node_endpoints, listener),
        error=data.error_code,
        high_watermark=None if data.high_watermark < 0 else Offset(data.high_watermark),
        log_start=Offset(max(0, data.log_start_offset)),
        diverging=None
        if diverging.epoch < 0
        else OffsetAndEpoch(Offset(diverging.end_offset), Epoch(diverging.epoch)),
        snapshot_id=None
        if snapshot.epoch < 0
        else OffsetAndEpoch(Offset(snapshot.end_offset), Epoch(snapshot.epoch)),
        batches=batches,
        recovery_id=None if topic.topic_id == QUORATE_TOPIC_ID else topic.topic_id,
    )


def _snapshot_from_wire(response: wire.FetchSnapshotResponse, listener: str) -> raft.FetchSnapshotResponse:
    data = _answered(_answered(response.topics).partitions)
    current, snapshot = data.current_leader, data.snapshot_id
    return raft.FetchSnapshotResponse(
        leader=_leader(current.leader_id, current.leader_epoch, response.node_endpoints, listener),
        snapshot_id=OffsetAndEpoch(Offset(snapshot.end_offset), Epoch(snapshot.epoch)),
        position=data.position,
        error=data.error_code,
        size=data.size,
        data=data.unaligned_records,
    )


def _change_from_wire(
    response: wire.AddRaftVoterResponse | wire.RemoveRaftVoterResponse | wire.UpdateRaftVoterResponse,
    listener: str,
) -> raft.Response:
    error, nobody = response.error_code, raft.LeaderAndEpoch(Epoch(0))
    match response:
        case wire.AddRaftVoterResponse(error_message=message):
            return raft.AddVoterResponse(leader=nobody, error=error, message=message)
        case wire.RemoveRaftVoterResponse(error_message=message):
            return raft.RemoveVoterResponse(leader=nobody, error=error, message=message)
        case wire.UpdateRaftVoterResponse(current_leader=current):
            node = wire.NodeEndpoint(node_id=current.leader_id, host=current.host, port=current.port)
            leader = _leader(
                current.leader_id, current.leader_epoch, (node,) if current.host else (), listener
            )
            return raft.UpdateVoterResponse(leader=leader, error=error)
        case _:
            assert_never(response)


# ---- pieces ------------------------------------------------------------------------------------------


def describe_quorum_nodes(voters: VoterSet) -> tuple[wire.DescribeQuorumNode, ...]:
    """The voters with all their listeners, as DescribeQuorum v2 lists them."""
    return tuple(
        wire.DescribeQuorumNode(
            node_id=voter.voter_id,
            listeners=_listeners(voter.endpoints),
        )
        for voter in voters.voters.values()
    )


def _listeners(endpoints: Sequence[Endpoint]) -> tuple[wire.Listener, ...]:
    return tuple(wire.Listener(name=one.name, host=one.host, port=one.port) for one in endpoints)


def _endpoints(listeners: Sequence[wire.Listener]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(one.name, one.host, one.port) for one in listeners)


def _key(node_id: int, directory_id: uuid.UUID) -> ReplicaKey:
    return ReplicaKey(NodeId(node_id), None if directory_id == ZERO_UUID else directory_id)


def _snapshot_id(snapshot_id: OffsetAndEpoch | None) -> wire.SnapshotId:
    if snapshot_id is None:
        return _NOWHERE.snapshot_id
    return wire.SnapshotId(end_offset=snapshot_id.offset, epoch=snapshot_id.epoch)


def _nodes(leader: raft.LeaderAndEpoch) -> tuple[wire.NodeEndpoint, ...]:
    """An answer that names a leader always says where it is: Kafka's brokers exit without it (KIP-853)."""
    if leader.leader_id is None or leader.endpoint is None:
        return ()
    return (
        wire.NodeEndpoint(node_id=leader.leader_id, host=leader.endpoint.host, port=leader.endpoint.port),
    )


def _leader(
    leader_id: int, epoch: int, nodes: Sequence[wire.NodeEndpoint], listener: str
) -> raft.LeaderAndEpoch:
    if epoch < 0:
        return raft.LeaderAndEpoch(Epoch(0))
    if leader_id < 0:
        return raft.LeaderAndEpoch(Epoch(epoch))
    endpoint = next(
        (Endpoint(listener, one.host, one.port) for one in nodes if one.node_id == leader_id), None
    )
    return raft.LeaderAndEpoch(Epoch(epoch), NodeId(leader_id), endpoint)


def _only(items: Sequence[_One]) -> _One:
    if len(items) != 1:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"exactly one topic with one partition is served here, {len(items)} were asked for",
        )
    return items[0]


def _answered(items: Sequence[_One]) -> _One:
    if len(items) != 1:
        raise RemoteProtocolError(f"asked about one topic and partition, was answered about {len(items)}")
    return items[0]


def _check_name(name: str, expected: str) -> None:
    if name != expected:
        raise RequestRejected(ErrorCode.invalid_request, f"topic {name!r} is not {expected}")


def _check_index(index: int) -> None:
    if index != 0:
        raise RequestRejected(
            ErrorCode.invalid_request, f"the metadata log has partition 0 only, not {index}"
        )
