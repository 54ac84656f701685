"""Reading the committed log of a running cluster: its newest snapshot where one is needed, then batch after batch.

The reader asks the leader like a replica, with replica id -1: it is answered at once, gets committed records only,
and nobody counts it. When the leader changes, the next one is found, and reading goes on where it was.
"""

from collections.abc import AsyncIterator
from typing import Final

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.errors import Refused
from quorate.admin.quorum_view import describe_quorum
from quorate.admin.talk import talking
from quorate.metadata.addresses import Address
from quorate.metadata.batch import RecordBatch, decode_batches
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.connection import CallFailed, ConnectFailed, Connection
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.quorum import messages as raft
from quorate.metadata.raft_wire import request_to_wire, response_from_wire

NOBODY: Final = ReplicaKey(NodeId(-1))
_MAX_BYTES: Final = 8 * 1024 * 1024
_REST_S: Final = 0.2
_RETRY_S: Final = 0.1
_MOVED: Final = frozenset({
    ErrorCode.not_leader_or_follower,
    ErrorCode.fenced_leader_epoch,
    ErrorCode.unknown_leader_epoch,
})  # fmt: skip


@attrs.frozen(kw_only=True)
class _Leader:
    address: Address
    epoch: Epoch
    cluster_id: str


@attrs.frozen
class LoadedSnapshot:
    """A whole snapshot, fetched and checked."""

    id: OffsetAndEpoch
    batches: tuple[RecordBatch, ...]


class LiveLog:
    """Reads on from a point; `high_watermark` is the newest one heard of."""

    def __init__(self, session: Session, start: OffsetAndEpoch = LOG_START) -> None:
        self._session = session
        self._at = start
        self.high_watermark: Offset | None = None

    async def read(self, *, follow: bool) -> AsyncIterator[LoadedSnapshot | RecordBatch]:
        """What is committed from the point on; a snapshot instead where the log no longer has it.

        follow: wait for more at the end, instead of ending there.

        Raises:
            NoAnswer: there is no leader in time.
            RequestRejected: the leader refuses.
        """
        while True:
            leader = await self._leader()
            try:
                async with talking(leader.address, timeout_ms=self._session.timeout_ms) as connection:
                    async for piece in self._from_leader(connection, leader, follow=follow):
                        yield piece
                    return
            except (ConnectFailed, CallFailed, _LeaderMoved):
                await trio.sleep(_RETRY_S)  # it is gone or deposed; `describe_quorum` has the deadline

    async def _from_leader(
        self, connection: Connection, leader: _Leader, *, follow: bool
    ) -> AsyncIterator[LoadedSnapshot | RecordBatch]:
        while True:
            answer = await self._fetch(connection, leader)
            self.high_watermark = answer.high_watermark
            if answer.snapshot_id is not None:
                snapshot = await self._snapshot(connection, leader, answer.snapshot_id)
                self._at = snapshot.id
                yield snapshot
                continue
            if answer.diverging is not None:
                raise Refused(
                    "The log does not hold what was read before.",
                    why=f"it goes another way from offset {answer.diverging.offset} on",
                    remedy="read it again from the beginning",
                )
            for batch in answer.batches:
                self._at = batch.end
                yield batch
            if not answer.batches:
                # Before the leader knows its high watermark nothing can be said to be the end.
                at_end = self.high_watermark is not None and self._at.offset >= self.high_watermark
                if at_end and not follow:
                    return
                await trio.sleep(_REST_S)

    async def _leader(self) -> _Leader:
        response, partition = await describe_quorum(self._session, self._session.timeout_ms)
        cluster = await self._session.client.describe(self._session.timeout_ms)
        for node in response.nodes:
            if node.node_id == partition.leader_id and node.listeners:
                listener = node.listeners[0]
                return _Leader(
                    address=Address(listener.host, listener.port),
                    epoch=Epoch(partition.leader_epoch),
                    cluster_id=cluster.cluster_id or "",
                )
        raise Refused(
            "The leader cannot be reached.",
            why=f"the answer names controller {partition.leader_id} as leader, and no address for it",
        )

    async def _fetch(self, connection: Connection, leader: _Leader) -> raft.FetchResponse:
        request = raft.FetchRequest(
            replica=NOBODY,
            epoch=leader.epoch,
            offset=self._at.offset,
            last_fetched_epoch=self._at.epoch,
            max_wait_ms=0,
            max_bytes=_MAX_BYTES,
            high_watermark=self.high_watermark,
        )
        wire = await connection.call(request_to_wire(request, leader.cluster_id), self._session.timeout_ms)
        answer = response_from_wire(wire, "")
        _check(answer.error)
        assert isinstance(answer, raft.FetchResponse)
        return answer

    async def _snapshot(
        self, connection: Connection, leader: _Leader, snapshot_id: OffsetAndEpoch
    ) -> LoadedSnapshot:
        data = bytearray()
        with self._session.printer.progress(f"Fetching snapshot {snapshot_id}") as told:
            while True:
                request = raft.FetchSnapshotRequest(
                    replica=NOBODY,
                    epoch=leader.epoch,
                    snapshot_id=snapshot_id,
                    position=len(data),
                    max_bytes=_MAX_BYTES,
                )
                wire = await connection.call(
                    request_to_wire(request, leader.cluster_id), self._session.timeout_ms
                )
                answer = response_from_wire(wire, "")
                _check(answer.error)
                assert isinstance(answer, raft.FetchSnapshotResponse)
                data += answer.data
                told(len(data))
                if len(data) >= answer.size:
                    break
        batches = tuple(decode_batches(bytes(data)))
        checker = SnapshotChecker(snapshot_id)
        for batch in batches:
            checker.add(batch)
        checker.finish()
        return LoadedSnapshot(snapshot_id, batches)


class _LeaderMoved(Exception):
    """Whom we asked does not lead, or leads another epoch."""


def _check(code: ErrorCode) -> None:
    if code in _MOVED:
        raise _LeaderMoved
    if code is not ErrorCode.none:
        raise RequestRejected(code, "the leader does not let the log be read")
