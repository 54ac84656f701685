"""Serves the metadata log to Kafka's own brokers: their requests to the core, its answers in Kafka's form (shell).

The core sees ordinary observers. It decides what a broker gets, and how long it waits; here it is only translated, and
the parts of a snapshot are read from its Kafka form, where positions are others.

A broker that knows of a later epoch than this node asks again without any pause, for ever. So it is answered a moment
later than it could be: by then this node has mostly heard of that epoch too.
"""

from collections import deque
from functools import partial
from typing import Any, Final

import attrs
import trio

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import Endpoint, ReplicaKey
from quorate.metadata.kafka_snapshots import KafkaSnapshots
from quorate.metadata.kafka_wire import (
    KafkaBatches,
    asks_in_kafkas_form,
    fetch_from_kafka,
    fetch_snapshot_from_kafka,
    fetched_to_kafka,
    snapshot_to_kafka,
)
from quorate.metadata.node import RaftNode
from quorate.metadata.quorum.messages import (
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderAndEpoch,
    Response,
)
from quorate.metadata.wire import raft

_KINDS: Final = (raft.FetchRequest, raft.FetchSnapshotRequest)
_PAUSE_S: Final = 0.1
_LEAST_BYTES: Final = 1
"""What is read of our own form of a snapshot, to learn whether it is there."""


class KafkaServing:
    """Answers Fetch and FetchSnapshot where they are about the log in Kafka's form."""

    def __init__(self, node: RaftNode, snapshots: KafkaSnapshots, cluster_id: str) -> None:
        self._node = node
        self._snapshots = snapshots
        self._cluster_id = cluster_id
        self._batches = KafkaBatches()
        self._later: deque[tuple[float, Call, FetchRequest, FetchResponse]] = deque()
        self._wanted = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Until cancelled: makes snapshots, and gives the answers that are given later."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._snapshots.run)
            while True:
                if not self._later:
                    await self._wanted.park()
                    continue
                due, call, asked, response = self._later[0]
                await trio.sleep_until(due)
                self._later.popleft()
                self._tell_fetched(call, asked, response)

    def is_meant(self, request: Any) -> bool:
        """Whether a request is one of these."""
        return isinstance(request, _KINDS) and asks_in_kafkas_form(request)

    def handle(self, call: Call) -> None:
        """Answers the call when the core does. A broker that may be answered later is never hung up on."""
        try:
            if isinstance(call.request, raft.FetchRequest):
                self._fetch(call, fetch_from_kafka(call.request))
            else:
                self._fetch_snapshot(call, fetch_snapshot_from_kafka(call.request))
        except RequestRejected as refusal:
            call.reject(refusal.code, refusal.message)

    def _fetch(self, call: Call, asked: FetchRequest) -> None:
        self._check_replica(asked.replica)
        self._node.receive(asked, self._quorum_meant(call), partial(self._fetched, call, asked))

    def _fetched(self, call: Call, asked: FetchRequest, response: Response | None) -> None:
        if not isinstance(response, FetchResponse):
            self._reject_cluster(call)
        elif response.error is ErrorCode.unknown_leader_epoch:
            self._later.append((trio.current_time() + _PAUSE_S, call, asked, response))
            self._wanted.unpark()
        else:
            self._tell_fetched(call, asked, response)

    def _tell_fetched(self, call: Call, asked: FetchRequest, response: FetchResponse) -> None:
        leader = self._leader_at(call, response.leader)
        call.answer(fetched_to_kafka(attrs.evolve(response, leader=leader), asked, self._batches))

    def _fetch_snapshot(self, call: Call, asked: FetchSnapshotRequest) -> None:
        self._check_replica(asked.replica)
        # Positions in Kafka's form mean nothing to the core, which only says whether the snapshot may be read.
        whether = attrs.evolve(asked, position=0, max_bytes=_LEAST_BYTES)
        self._node.receive(whether, self._quorum_meant(call), partial(self._may_read, call, asked))

    def _may_read(self, call: Call, asked: FetchSnapshotRequest, response: Response | None) -> None:
        if not isinstance(response, FetchSnapshotResponse):
            self._reject_cluster(call)
        elif response.error is not ErrorCode.none:
            self._tell_part(call, asked, response)
        else:
            tell = partial(self._read, call, asked, response)
            most = min(max(asked.max_bytes, _LEAST_BYTES), self._node.core.config.answer_max_bytes)
            self._snapshots.read(asked.snapshot_id, asked.position, most, tell)

    def _read(
        self, call: Call, asked: FetchSnapshotRequest, response: FetchSnapshotResponse, size: int, data: bytes
    ) -> None:
        error = ErrorCode.none
        if not data:
            error = ErrorCode.position_out_of_range if size else ErrorCode.snapshot_not_found
        self._tell_part(call, asked, attrs.evolve(response, error=error, size=size, data=data))

    def _tell_part(self, call: Call, asked: FetchSnapshotRequest, response: FetchSnapshotResponse) -> None:
        leader = self._leader_at(call, response.leader)
        said = attrs.evolve(response, leader=leader, position=asked.position)
        call.answer(snapshot_to_kafka(said, asked.replica.id))

    def _leader_at(self, call: Call, leader: LeaderAndEpoch) -> LeaderAndEpoch:
        """The leader with its address on the listener that the broker came by."""
        voter = None if leader.leader_id is None else self._node.voters.last.voters.get(leader.leader_id)
        for one in () if voter is None else voter.endpoints:
            if one.name == call.listener_name:
                return attrs.evolve(leader, endpoint=Endpoint(one.name, one.host, one.port))
        return leader

    def _quorum_meant(self, call: Call) -> str | None:
        """Kafka's brokers know a cluster id only. Where the quorum was recovered without a majority ours say more."""
        said: str | None = call.request.cluster_id
        return self._node.core.quorum_name if said == self._cluster_id else said

    def _check_replica(self, replica: ReplicaKey) -> None:
        """A voter's Fetch says that it has the batches on its disk, and those are ours, not Kafka's.

        Raises:
            RequestRejected: UNKNOWN_TOPIC_ID, which says that there is no such log for it.
        """
        if self._node.voters.last.contains(replica):
            raise RequestRejected(
                ErrorCode.unknown_topic_id,
                f"controller {replica.id} votes here; voters do not fetch the log in Kafka's form",
            )

    def _reject_cluster(self, call: Call) -> None:
        call.reject(ErrorCode.inconsistent_cluster_id, f"this is cluster {self._cluster_id}")
