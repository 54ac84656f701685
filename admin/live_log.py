"""Reading the committed log of a running cluster: its newest snapshot where one is needed, then batch after batch.

The reader asks the leader like a replica, with replica id -1: it is answered at once, gets committed records only,
and nobody counts it. When the leader changes, the next one is found, and reading goes on where it was.
"""

from collections import deque
from typing import Final

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.errors import Refused
from quorate.admin.quorum_view import NOBODY, describe_quorum
from quorate.metadata.addresses import Address
from quorate.metadata.batch import RecordBatch, decode_batches
from quorate.metadata.checks import ErrorCode, RemoteProtocolError, RequestRejected
from quorate.metadata.client import NoAnswer
from quorate.metadata.ids import LOG_START, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.quorum import messages as raft
from quorate.metadata.raft_wire import request_to_wire, response_from_wire

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
    """Reads on from a point. `high_watermark`: the newest one heard of."""

    def __init__(self, session: Session, start: OffsetAndEpoch = LOG_START) -> None:
        self._session = session
        self._at = start
        self._leader: _Leader | None = None
        self._ready: deque[RecordBatch] = deque()
        self.high_watermark: Offset | None = None

    async def next(self, *, wait: bool) -> LoadedSnapshot | RecordBatch | None:
        """What comes next: a batch, or a snapshot where the log no longer has what was asked for.

        At the end of what is committed: None, or with `wait` the next batch when there is one.

        Raises:
            NoAnswer: there is no leader in time.
            RequestRejected: the leader refuses.
        """
        while not self._ready:
            leader = self._leader or await self._find_leader()
            try:
                answer = await self._fetch(leader)
                if answer.snapshot_id is not None:
                    snapshot = await self._snapshot(leader, answer.snapshot_id)
                    self._at = snapshot.id
                    return snapshot
            except (NoAnswer, _LeaderMoved):
                self._leader = None
                await trio.sleep(_RETRY_S)  # it is gone or deposed; `describe_quorum` has the deadline
                continue
            if answer.diverging is not None:
                raise Refused(
                    "The log does not hold what was read before.",
                    why=f"it goes another way from offset {answer.diverging.offset} on",
                    remedy="read it again from the beginning",
                )
            self._ready.extend(answer.batches)
            if not self._ready:
                # Before the leader knows its high watermark nothing can be said to be the end.
                at_end = self.high_watermark is not None and self._at.offset >= self.high_watermark
                if at_end and not wait:
                    return None
                await trio.sleep(_REST_S)
        batch = self._ready.popleft()
        self._at = batch.end
        return batch

    async def _find_leader(self) -> _Leader:
        response, partition = await describe_quorum(self._session, self._session.timeout_ms)
        cluster = await self._session.client.describe(self._session.timeout_ms)
        for node in response.nodes:
            if node.node_id == partition.leader_id and node.listeners:
                listener = node.listeners[0]
                self._leader = _Leader(
                    address=Address(listener.host, listener.port),
                    epoch=Epoch(partition.leader_epoch),
                    cluster_id=cluster.cluster_id or "",
                )
                return self._leader
        raise Refused(
            "The leader cannot be reached.",
            why=f"the answer names controller {partition.leader_id} as leader, and no address for it",
        )

    async def _fetch(self, leader: _Leader) -> raft.FetchResponse:
        request = raft.FetchRequest(
            replica=NOBODY,
            epoch=leader.epoch,
            offset=self._at.offset,
            last_fetched_epoch=self._at.epoch,
            max_wait_ms=0,
            max_bytes=_MAX_BYTES,
            high_watermark=self.high_watermark,
        )
        answer = await self._ask(leader, request)
        if not isinstance(answer, raft.FetchResponse):
            raise RemoteProtocolError(f"a Fetch was answered with {type(answer).__name__}")
        self.high_watermark = answer.high_watermark
        return answer

    async def _snapshot(self, leader: _Leader, snapshot_id: OffsetAndEpoch) -> LoadedSnapshot:
        data = bytearray()
        size = 1
        with self._session.printer.progress(f"Fetching snapshot {snapshot_id}") as told:
            while len(data) < size:
                request = raft.FetchSnapshotRequest(
                    replica=NOBODY,
                    epoch=leader.epoch,
                    snapshot_id=snapshot_id,
                    position=len(data),
                    max_bytes=_MAX_BYTES,
                )
                answer = await self._ask(leader, request)
                if not isinstance(answer, raft.FetchSnapshotResponse) or not answer.data:
                    raise RemoteProtocolError("a FetchSnapshot was answered without data")
                data += answer.data
                size = answer.size
                told(len(data))
        batches = tuple(decode_batches(bytes(data)))
        checker = SnapshotChecker(snapshot_id)
        for batch in batches:
            checker.add(batch)
        checker.finish()
        return LoadedSnapshot(snapshot_id, batches)

    async def _ask(
        self, leader: _Leader, request: raft.FetchRequest | raft.FetchSnapshotRequest
    ) -> raft.FetchResponse | raft.FetchSnapshotResponse:
        message = request_to_wire(request, leader.cluster_id)
        answer = response_from_wire(
            await self._session.client.call_at(leader.address, message, self._session.timeout_ms), ""
        )
        if not isinstance(answer, raft.FetchResponse | raft.FetchSnapshotResponse):
            raise RemoteProtocolError("a read of the log was answered with something else")
        if answer.error in _MOVED:
            raise _LeaderMoved
        if answer.error is not ErrorCode.none:
            raise RequestRejected(answer.error, "the leader does not let the log be read")
        return answer


class _LeaderMoved(Exception):
    """Whom we asked does not lead, or leads another epoch."""
