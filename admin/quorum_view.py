"""What the quorum looks like from outside: the leader's word on its followers, and each voter's own answer.

The leader alone knows how far the others are; but a voter that the leader has not missed yet may be gone already,
and when there is no leader the others must speak for themselves. So every voter is asked too, and every one that is
named appears, with the reason if it does not answer.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.talk import Manner, ask, failed
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.client import NoAnswer
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.connection import Failure
from quorate.metadata.disk_speed import OBSERVED_FLUSH, SLOW_FLUSH, is_slow, verdict
from quorate.metadata.ids import METADATA_TOPIC, ZERO_UUID, Epoch, NodeId, Offset, ReplicaKey, uuid_to_text
from quorate.metadata.quorum.messages import FetchRequest, FetchResponse
from quorate.metadata.raft_wire import request_to_wire, response_from_wire
from quorate.metadata.wire.cluster import DescribeClusterRequest, MetadataRequest
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from quorate.metadata.wire.raft import (
    DescribeQuorumReplicaState,
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
)

DESCRIBE_QUORUM: Final = DescribeQuorumRequest(
    topics=(
        DescribeQuorumRequestTopicData(
            topic_name=METADATA_TOPIC,
            partitions=(DescribeQuorumRequestPartitionData(partition_index=0),),
        ),
    )
)
NOBODY: Final = ReplicaKey(NodeId(-1))
"""Who reads the log and is no replica."""
BEHIND_MS: Final = 5_000
"""A voter that has not been at the leader's end for so long is behind, and cannot take over well."""
_PER_NODE_MS: Final = 3_000
WHO_IS_THERE: Final = MetadataRequest(topics=(), allow_auto_topic_creation=False)
"""What every node answers, whatever its role and state."""


@attrs.frozen(kw_only=True)
class Replica:
    """One node of the quorum. Times are what the leader's clock says has passed; None: it never did."""

    id: int | None
    role: str
    address: str | None
    directory_id: uuid.UUID | None = None
    leads: bool = False
    log_end_offset: int | None = None
    lag: int | None = None
    fetched_ms_ago: int | None = None
    caught_up_ms_ago: int | None = None
    flush_median_ms: int | None = None
    """How long its disk takes for a flush, as it says itself; None: it has not said."""
    flush_slow_ms: int | None = None
    """What it takes for slow."""
    error: str | None = None

    @property
    def state(self) -> str:
        """One word for it: who is asked itself and is silent is unreachable, whatever the leader heard of it last."""
        if self.error is not None:
            return "unreachable"
        if self.role == "asked":
            return "answers"
        if self.fetched_ms_ago is not None and self.fetched_ms_ago > BEHIND_MS:
            return "silent"
        if self.caught_up_ms_ago is None:
            return "catching up"
        return "lagging" if self.caught_up_ms_ago > BEHIND_MS else "in step"

    def document(self) -> dict[str, Any]:
        directory = None if self.directory_id is None else uuid_to_text(self.directory_id)
        return {
            "id": self.id,
            "role": self.role,
            "address": self.address,
            "directory_id": directory,
            "leader": self.leads,
            "state": self.state,
            "log_end_offset": self.log_end_offset,
            "lag": self.lag,
            "last_fetch_ms_ago": self.fetched_ms_ago,
            "last_caught_up_ms_ago": self.caught_up_ms_ago,
            "flush_median_ms": self.flush_median_ms,
            "error": self.error,
        }


@attrs.frozen(kw_only=True)
class QuorumView:
    """The whole picture at one moment."""

    cluster_id: str | None
    leader_id: int | None
    leader_epoch: int | None
    high_watermark: int | None
    recovery_id: uuid.UUID | None = None
    """Which log of the cluster this is; None: its quorum was never recovered without a majority."""
    replicas: tuple[Replica, ...]

    @property
    def voters(self) -> list[Replica]:
        return [one for one in self.replicas if one.role == "voter"]

    @property
    def answered(self) -> bool:
        return self.leader_id is not None or any(one.error is None for one in self.replicas)

    def problems(self) -> list[str]:
        """What an operator should know; empty: the quorum is healthy."""
        found = ["there is no active controller"] if self.leader_id is None and self.answered else []
        for one in self.replicas:
            who = f"{one.role} {one.id}" if one.id is not None else f"{one.address}"
            if one.error is not None:
                found.append(f"{who} does not answer: {one.error}")
            elif one.role == "voter" and one.caught_up_ms_ago is None and self.leader_id is not None:
                found.append(f"{who} has not caught up since this leader leads")
            elif one.role == "voter" and (one.caught_up_ms_ago or 0) > BEHIND_MS:
                found.append(
                    f"{who} is {one.lag} records behind, for {(one.caught_up_ms_ago or 0) / 1000:.1f} s"
                )
            taken, slow_ms = one.flush_median_ms, one.flush_slow_ms
            if taken is not None and slow_ms is not None and is_slow(taken, slow_ms):
                found.append(f"{who} has a slow disk: {verdict(taken, slow_ms)}")
        return found

    def document(self) -> dict[str, Any]:
        problems = self.problems()
        return {
            "cluster_id": self.cluster_id,
            "leader_id": self.leader_id,
            "leader_epoch": self.leader_epoch,
            "high_watermark": self.high_watermark,
            "recovery_id": None if self.recovery_id is None else uuid_to_text(self.recovery_id),
            "healthy": not problems,
            "problems": problems,
            "nodes": [one.document() for one in self.replicas],
        }


async def describe_quorum(
    session: Session, timeout_ms: int
) -> tuple[DescribeQuorumResponse, DescribeQuorumResponsePartitionData]:
    """The leader's answer. A controller that just lost its office is not the end: the next one is looked for.

    Raises:
        NoAnswer: there was no leader in time.
        RequestRejected: it refused.
    """
    deadline = trio.current_time() + timeout_ms / 1000
    while True:
        left_ms = max(1, int((deadline - trio.current_time()) * 1000))
        response = await session.client.call_controller(DESCRIBE_QUORUM, left_ms)
        code, message, partition = response.error_code, response.error_message, None
        if code is ErrorCode.none:
            partition = response.topics[0].partitions[0]
            code, message = partition.error_code, partition.error_message
        if partition is not None and code is ErrorCode.none and partition.leader_id >= 0:
            return response, partition
        if code not in (ErrorCode.none, ErrorCode.not_leader_or_follower, ErrorCode.not_controller):
            raise RequestRejected(code, message or "DescribeQuorum was refused")
        if trio.current_time() >= deadline:
            raise NoAnswer(f"DescribeQuorum: no leader within {timeout_ms} ms", {})
        await trio.sleep(0.1)


async def quorum_view(session: Session) -> QuorumView:
    """Asks the leader, then every voter. Without a leader, whoever is known."""
    try:
        # Half of the time is kept for the others, in case that nobody leads.
        response, partition = await describe_quorum(session, session.timeout_ms // 2)
    except NoAnswer:
        return await _leaderless(session)
    addresses = {
        node.node_id: Address(node.listeners[0].host, node.listeners[0].port)
        for node in response.nodes
        if node.listeners
    }
    voters = [one.replica_id for one in partition.current_voters]
    questions = {id: (addresses[id], flush_question(id)) for id in voters if id in addresses}
    answers = await ask_all(questions, session.manner)
    silent = {id: failed(answer) for id, answer in answers.items()}
    return QuorumView(
        cluster_id=await _cluster_id(session),
        leader_id=partition.leader_id,
        leader_epoch=partition.leader_epoch,
        high_watermark=partition.high_watermark,
        recovery_id=await recovery_id(session, partition, addresses.get(partition.leader_id)),
        replicas=tuple(
            with_flushes(one, answers[one.id]) if one.role == "voter" and one.id in answers else one
            for one in replicas_of(partition, addresses, silent)
        ),
    )


async def recovery_id(
    session: Session, partition: DescribeQuorumResponsePartitionData, leader: Address | None
) -> uuid.UUID | None:
    """The recovery that the leader's log has come out of: a Fetch that reads nothing is told which log it is."""
    if leader is None:
        return None
    request = FetchRequest(
        replica=NOBODY,
        epoch=Epoch(partition.leader_epoch),
        offset=Offset(max(0, partition.high_watermark)),
        last_fetched_epoch=Epoch(partition.leader_epoch),
        max_wait_ms=0,
        max_bytes=1,
    )
    cluster_id = await _cluster_id(session)
    message = request_to_wire(request, cluster_id or "")
    answer = await ask(leader, message, session.manner)
    if failed(answer) is not None:
        return None
    response = response_from_wire(answer, "")
    return response.recovery_id if isinstance(response, FetchResponse) else None


def replicas_of(
    partition: DescribeQuorumResponsePartitionData,
    addresses: Mapping[int, Address],
    silent: Mapping[int, str | None],
) -> tuple[Replica, ...]:
    """The leader's word, with addresses, and with the errors of those who were asked themselves."""
    states = [*partition.current_voters, *partition.observers]
    leader = next((one for one in states if one.replica_id == partition.leader_id), None)
    # The leader's own entry carries its clock and its end; the others are measured by these, not by our clock.
    now_ms = leader.last_caught_up_timestamp if leader else -1
    end = leader.log_end_offset if leader else partition.high_watermark
    return tuple(
        Replica(
            id=one.replica_id,
            role=role,
            address=str(addresses[one.replica_id]) if one.replica_id in addresses else None,
            directory_id=one.replica_directory_id if one.replica_directory_id != ZERO_UUID else None,
            leads=one.replica_id == partition.leader_id,
            log_end_offset=one.log_end_offset if one.log_end_offset >= 0 else None,
            lag=max(0, end - one.log_end_offset) if one.log_end_offset >= 0 else None,
            fetched_ms_ago=_ago(now_ms, one.last_fetch_timestamp),
            caught_up_ms_ago=_ago(now_ms, one.last_caught_up_timestamp),
            error=silent.get(one.replica_id),
        )
        for role, group in (("voter", partition.current_voters), ("observer", partition.observers))
        for one in _by_id(group)
    )


def _by_id(states: Sequence[DescribeQuorumReplicaState]) -> list[DescribeQuorumReplicaState]:
    return sorted(states, key=lambda one: one.replica_id)


def _ago(now_ms: int, then_ms: int) -> int | None:
    return max(0, now_ms - then_ms) if now_ms >= 0 and then_ms >= 0 else None


async def _leaderless(session: Session) -> QuorumView:
    """Nobody leads, or nobody who was asked knows: each address speaks for itself."""
    questions = {str(address): (address, WHO_IS_THERE) for address in session.servers}
    answers = await ask_all(questions, session.manner)
    heard = [answer for answer in answers.values() if failed(answer) is None]
    return QuorumView(
        cluster_id=heard[0].cluster_id if heard else None,
        leader_id=None,
        leader_epoch=None,
        high_watermark=None,
        replicas=tuple(
            Replica(id=None, role="asked", address=address, error=failed(answer))
            for address, answer in answers.items()
        ),
    )


def flush_question(node_id: int) -> DescribeConfigsRequest:
    """Whether the node is there, and how quick its disk is."""
    resource = DescribeConfigsResource(
        resource_type=ResourceType.BROKER,
        resource_name=str(node_id),
        configuration_keys=(SLOW_FLUSH, OBSERVED_FLUSH),
    )
    return DescribeConfigsRequest(resources=(resource,))


def with_flushes(replica: Replica, answer: DescribeConfigsResponse | Failure) -> Replica:
    """With what it says of its disk; who has flushed too little so far, or is older, says nothing."""
    if isinstance(answer, Failure):
        return replica
    values = {one.name: one.value for result in answer.results for one in result.configs}
    taken, slow = values.get(OBSERVED_FLUSH), values.get(SLOW_FLUSH)
    return attrs.evolve(
        replica,
        flush_median_ms=int(taken) if taken else None,
        flush_slow_ms=int(slow) if slow else None,
    )


async def ask_all(
    questions: Mapping[Any, tuple[Address, Any]], manner: Manner | None = None
) -> dict[Any, Any]:
    """Each one's answer, or the failure, in the order of the questions."""
    manner = manner or Manner(timeout_ms=_PER_NODE_MS)
    manner = attrs.evolve(manner, timeout_ms=min(_PER_NODE_MS, manner.timeout_ms))
    answers: dict[Any, Any] = dict.fromkeys(questions)

    async def ask_one(key: Any, address: Address, request: Any) -> None:
        answers[key] = await ask(address, request, manner)

    async with trio.open_nursery() as nursery:
        for key, (address, request) in questions.items():
            nursery.start_soon(ask_one, key, address, request)
    return answers


async def _cluster_id(session: Session) -> str | None:
    response = await session.read(DescribeClusterRequest())
    return response.cluster_id or None
