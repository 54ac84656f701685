"""How a replica that is too far behind gets there, and what may be let go (KIP-630).

A snapshot is fetched from the leader in parts, by position; while it is under way the ordinary Fetch rests. When it is
complete the log restarts at its end. Snapshots of our own are made by the shell from the applied image; here is only
when one is wanted. How much is kept is `retention`'s business; here is what somebody still reads.
"""

from typing import TYPE_CHECKING, Final

import attrs

from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.log.interface import LogSummary
from quorate.metadata.quorum import elections, replication
from quorate.metadata.quorum.effects import DropPrefix, Peer, SnapshotChunk
from quorate.metadata.quorum.events import Token
from quorate.metadata.quorum.messages import (
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    Request,
    Response,
    SnapshotRead,
)
from quorate.metadata.quorum.roles import Follower, Leader, SnapshotFetch

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

READER_PATIENCE_MS: Final = 30_000
"""A snapshot is kept for a replica that asked for a part of it so recently…"""
READER_LIMIT_MS: Final = 60 * 60 * 1000
"""…and began to read it not longer ago than this: one that reads for ever must not fill the disk."""


# ---- fetching ----------------------------------------------------------------------------------------


def is_fetch(request: Request) -> bool:
    return isinstance(request, FetchSnapshotRequest)


def begin(core: "RaftCore", role: Follower, snapshot_id: OffsetAndEpoch) -> None:
    """The leader named a snapshot instead of records. One that ends below what is committed here makes no sense."""
    check(
        core.high_watermark is None or snapshot_id.offset >= core.high_watermark,
        f"the leader offers snapshot {snapshot_id}, below the high watermark {core.high_watermark}",
    )
    role.snapshot = SnapshotFetch(snapshot_id)
    core.note(f"fetches snapshot {snapshot_id}")


def fetch(core: "RaftCore", snapshot: SnapshotFetch, peer: Peer, now_ms: int) -> None:
    request = FetchSnapshotRequest(
        replica=core.config.replica,
        epoch=core.election.epoch,
        snapshot_id=snapshot.snapshot_id,
        position=snapshot.position,
        max_bytes=core.config.snapshot_max_bytes,
    )
    core.send(peer, request, now_ms)


def on_fetch_snapshot_response(
    core: "RaftCore", request: FetchSnapshotRequest, response: Response, now_ms: int
) -> None:
    check(isinstance(response, FetchSnapshotResponse), "a FetchSnapshot was answered with something else")
    if not isinstance(response, FetchSnapshotResponse):
        return
    elections.observe(core, response.leader, now_ms)
    role = core.role
    if not isinstance(role, Follower) or role.snapshot is None or response.leader.epoch < core.election.epoch:
        return
    fetching = role.snapshot
    if request.snapshot_id != fetching.snapshot_id or request.position != fetching.position:
        return
    expected = (fetching.snapshot_id, fetching.position)
    if response.error is not ErrorCode.none or (response.snapshot_id, response.position) != expected:
        core.note(f"gives up fetching snapshot {fetching.snapshot_id}: {response.error.name}")
        role.snapshot = None
        core.fetch_at_ms = now_ms + core.config.retry_backoff_ms
        return
    if not response.data and fetching.position < response.size:
        core.fetch_at_ms = now_ms + core.config.retry_backoff_ms
        return
    replication.heard_leader_chunk(core, role, now_ms)
    core.effects.snapshot_chunk = SnapshotChunk(fetching.snapshot_id, fetching.position, response.data)
    fetching.position += len(response.data)
    if fetching.position >= response.size:
        role.snapshot = None
        core.installing = fetching.snapshot_id
        core.effects.install_snapshot = fetching.snapshot_id
        core.log.generation += 1
        core.log.flushed_end = min(core.log.flushed_end, fetching.snapshot_id.offset)
        core.note(f"installs snapshot {fetching.snapshot_id}, {response.size} bytes")


def on_installed(core: "RaftCore", summary: LogSummary, now_ms: int) -> None:
    """The log restarts at the snapshot's end; voters and epochs are those that the snapshot carries."""
    wanted = core.installing
    core.installing = None
    if wanted is None or summary.end != wanted:
        core.note(f"snapshot {wanted} was no good and is thrown away")
        _adopt(core, summary)
        core.fetch_at_ms = now_ms + core.config.retry_backoff_ms
        return
    _adopt(core, summary)
    if core.high_watermark is None or core.high_watermark < wanted.offset:
        core.high_watermark = wanted.offset
        core.effects.committed = wanted.offset
    core.fetch_at_ms = now_ms


def _adopt(core: "RaftCore", summary: LogSummary) -> None:
    """Takes the log as it now is; the generation goes on, so that older flushes stay unbelieved."""
    from quorate.metadata.quorum.core import LogState

    fresh = LogState.of(summary)
    fresh.generation = core.log.generation + 1
    fresh.flush_running = core.log.flush_running
    core.log = fresh


# ---- serving -----------------------------------------------------------------------------------------


def on_fetch_snapshot(core: "RaftCore", token: Token, request: FetchSnapshotRequest, now_ms: int) -> None:
    error = replication.refusal(core, request.epoch)
    if error is ErrorCode.none:
        replication.note_reading(core, request.replica, request.snapshot_id, now_ms)
        if request.snapshot_id not in core.log.snapshots or request.snapshot_id.offset == 0:
            error = ErrorCode.snapshot_not_found
        elif request.position < 0:
            error = ErrorCode.position_out_of_range
    read = None
    if error is ErrorCode.none:
        max_bytes = min(request.max_bytes, core.config.answer_max_bytes)
        read = SnapshotRead(request.snapshot_id, request.position, max_bytes)
    answer = FetchSnapshotResponse(
        leader=core.leader_and_epoch,
        snapshot_id=request.snapshot_id,
        position=request.position,
        error=error,
        read=read,
    )
    core.reply(token, answer)


# ---- our own -----------------------------------------------------------------------------------------


def on_created(core: "RaftCore", snapshot_id: OffsetAndEpoch) -> None:
    """A snapshot of ours is complete."""
    log = core.log
    if snapshot_id in log.snapshots or snapshot_id.offset < log.start:
        return
    limit = max_snapshot_end(core)
    check(
        snapshot_id.offset <= limit,
        f"snapshot {snapshot_id} ends beyond what is committed and flushed ({limit})",
    )
    log.snapshots = tuple(sorted((*log.snapshots, snapshot_id), key=lambda one: one.offset))
    core.note(f"has snapshot {snapshot_id}")


def let_go(core: "RaftCore", oldest_kept: OffsetAndEpoch, now_ms: int) -> None:
    """Older snapshots than this one go, and the log below its end; what a replica is reading stays, for a while."""
    log = core.log
    if oldest_kept not in log.snapshots:
        return
    needed = [oldest_kept, *_being_read(core, now_ms)]
    first = log.snapshots.index(min(needed, key=lambda one: one.offset))
    dropped, kept = log.snapshots[:first], log.snapshots[first:]
    if kept[0].offset <= log.start and not dropped:
        return
    log.snapshots = kept
    log.start = max(log.start, kept[0].offset)
    log.epochs = log.epochs.from_start(log.start, log.end.offset)
    core.effects.drop_prefix = DropPrefix(log.start, dropped)
    core.note(f"lets go what is older than snapshot {kept[0]}: its log now starts at {log.start}")


def _being_read(core: "RaftCore", now_ms: int) -> list[OffsetAndEpoch]:
    """Were one of these to go, its reader would have to begin again, and might never come to an end."""
    role = core.role
    if not isinstance(role, Leader):
        return []
    return [
        one.reads.snapshot_id
        for one in role.progress.values()
        if one.reads is not None
        and one.reads.snapshot_id in core.log.snapshots
        and now_ms - one.reads.last_ms < READER_PATIENCE_MS
        and now_ms - one.reads.began_ms < READER_LIMIT_MS
    ]


def max_snapshot_end(core: "RaftCore") -> Offset:
    """A snapshot may hold only what is committed, and on this disk: else a crash could leave a log behind it."""
    return min(core.high_watermark or Offset(0), core.log.flushed_end)


@attrs.define(eq=False)
class SnapshotSchedule:
    """When a snapshot of our own is wanted: after so many bytes of log, or so much time with something new."""

    max_bytes: int
    max_interval_ms: int
    """0: time alone never asks for one."""
    bytes_since: int = 0
    last_ms: int = 0

    def applied(self, size: int) -> None:
        self.bytes_since += size

    def begin(self, now_ms: int) -> None:
        """Time counts from here: a node that was just started does not begin with a snapshot."""
        self.last_ms = now_ms

    def due(self, now_ms: int) -> bool:
        if self.bytes_since >= self.max_bytes:
            return True
        old = self.max_interval_ms > 0 and now_ms - self.last_ms >= self.max_interval_ms
        return self.bytes_since > 0 and old

    def taken(self, now_ms: int) -> None:
        self.bytes_since = 0
        self.last_ms = now_ms
