"""What the log holds: Fetch on both sides, divergence, flushes, the high watermark (KIP-595; Raft paper 5.3, 5.4.2).

Replicas pull. A voter's Fetch at offset n says "all below n is on my disk": so a follower asks again only when what
it appended is flushed, and the leader counts itself at its own flushed end. Who is no voter is served committed
records only, and so never truncates.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated, check
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.quorum import elections, joining, membership, recoveries, snapshots
from quorate.metadata.quorum.effects import Flush, Peer
from quorate.metadata.quorum.events import Failure, LogFlushed, Token
from quorate.metadata.quorum.messages import FetchRequest, FetchResponse, LogRead, Response
from quorate.metadata.quorum.roles import Follower, Leader, Parked, Progress, SnapshotReading, Unattached
from quorate.metadata.quorum.voters import BOOTSTRAP_OFFSET, VoterSet
from quorate.metadata.records import LeaderChangeRecord, LeaderChangeVoter, VotersRecord

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

_OBSERVER_FORGOTTEN_MS: Final = 5 * 60 * 1000
_RETRY_WITHOUT_LEADER_MS: Final = 50
_VOTER_NEWS_MS: Final = 10
"""How long a voter's Fetch may wait for records once there is nothing to tell it but a higher high watermark."""


# ---- appending, on either side -----------------------------------------------------------------------


def append(core: "RaftCore", batches: Iterable[RecordBatch]) -> None:
    """Adds batches that start exactly at the log's end; voters in them take effect at once (KIP-853)."""
    log = core.log
    for batch in batches:
        if batch.base_offset != log.end.offset:
            raise InvariantViolated(
                f"a batch at {batch.base_offset} cannot follow a log that ends at {log.end.offset}"
            )
        if batch.epoch > core.election.epoch:
            raise InvariantViolated(f"a batch of epoch {batch.epoch} in epoch {core.election.epoch}")
        log.epochs = log.epochs.with_append(batch.epoch, batch.base_offset)
        if batch.is_control:
            records = batch.records()
            by_hand = recoveries.is_beginning(records)
            for index, record in enumerate(records):
                if isinstance(record, VotersRecord) and not by_hand:
                    membership.check_overlap(core, VoterSet.of(record.voters))
                log.voters = log.voters.with_record(Offset(batch.base_offset + index), record)
        log.end = batch.end
        core.effects.append.append(batch)
        core.tally.batches_appended += 1
        core.tally.records_appended += batch.record_count
    if not core.config.durable:
        log.flushed_end = log.end.offset


def open_epoch(core: "RaftCore", granting: Sequence[NodeId], now_ms: int) -> None:
    """The first batch of an epoch: LeaderChange, and the voters if only the bootstrap snapshot knows them.

    Nothing of an earlier epoch is committed by counting replicas; once this record is, all before it is too (5.4.2).
    """
    voters = core.voters
    zero = core.config.replica.directory_id
    named = tuple(
        LeaderChangeVoter(voter_id=voter.voter_id, voter_directory_id=voter.voter_directory_id)
        for voter in voters.voters.values()
    )
    granted = tuple(one for one in named if one.voter_id in granting)
    records = [
        LeaderChangeRecord(
            version=0 if zero is None else 1, leader_id=core.id, voters=named, granting_voters=granted
        ),
        *(core.log.voters.records() if core.log.voters.last_offset == BOOTSTRAP_OFFSET else ()),
    ]
    batch = RecordBatch.seal(
        records,
        base_offset=core.log.end.offset,
        epoch=core.election.epoch,
        append_time_ms=core.wall_ms(now_ms),
        is_control=True,
    )
    append(core, [batch])
    after_leader_append(core, now_ms)


def after_leader_append(core: "RaftCore", now_ms: int) -> None:
    """Other voters may have been appended, of which other ends make a majority."""
    _advance_high_watermark(core, now_ms)
    _answer_parked(core, now_ms)


def after_proposed(core: "RaftCore", now_ms: int) -> None:
    """The voters are what they were: only a log without flushes can have reached anything by it."""
    _reached(core, core.log.flushed_end, now_ms)
    _answer_parked(core, now_ms)


def on_flushed(core: "RaftCore", event: LogFlushed, now_ms: int) -> None:
    """What was appended before that flush is durable, unless it was cut off since (then the generation tells)."""
    log = core.log
    log.flush_running = False
    if event.generation != log.generation:
        core.note(f"ignores a flush from before a truncation (generation {event.generation})")
        return
    check(event.end_offset <= log.end.offset, "a flush ended beyond the log")
    log.flushed_end = max(log.flushed_end, event.end_offset)
    _reached(core, log.flushed_end, now_ms)


def poll(core: "RaftCore", now_ms: int) -> None:
    """At the end of each step: parked answers that waited long enough, the next Fetch, the next flush."""
    role = core.role
    if isinstance(role, Leader):
        _poll_progress(core, role, now_ms)
    elif may_fetch(core) and core.fetch_at_ms <= now_ms:
        _fetch(core, now_ms)
    log = core.log
    if log.flushed_end < log.end.offset and not log.flush_running and core.installing is None:
        log.flush_running = True
        core.effects.flush = Flush(log.end.offset, log.generation)


# ---- the follower's side -----------------------------------------------------------------------------


def may_fetch(core: "RaftCore") -> bool:
    """Whether a Fetch (or FetchSnapshot) is owed. At most one is ever under way: two could append an offset twice."""
    role = core.role
    if not isinstance(role, Follower) and (core.is_voter or not isinstance(role, Unattached)):
        return False
    if core.installing is not None or core.disk_low or core.log.flushed_end < core.log.end.offset:
        return False
    for pending in core.outstanding.values():
        if isinstance(pending.request, FetchRequest) or snapshots.is_fetch(pending.request):
            return False
    return True


def _fetch(core: "RaftCore", now_ms: int) -> None:
    role = core.role
    peer = _fetch_peer(core, now_ms)
    if peer is None:
        core.fetch_at_ms = now_ms + _RETRY_WITHOUT_LEADER_MS
        return
    if isinstance(role, Follower) and role.snapshot is not None and peer.id == role.leader_id:
        snapshots.fetch(core, role.snapshot, peer, now_ms)
        return
    request = FetchRequest(
        replica=core.config.replica,
        epoch=core.election.epoch,
        offset=core.log.end.offset,
        last_fetched_epoch=core.log.end.epoch,
        max_wait_ms=core.config.fetch_max_wait_ms,
        max_bytes=core.config.fetch_max_bytes,
        high_watermark=Offset(-1) if core.high_watermark is None else core.high_watermark,
    )
    core.send(peer, request, now_ms)


def _fetch_peer(core: "RaftCore", now_ms: int) -> Peer | None:
    """The leader; an observer that has none, or cannot reach it, asks around."""
    role = core.role
    if isinstance(role, Follower) and (core.is_voter or not role.reconnecting):
        return Peer(role.leader_id, role.endpoint)
    peers = [Peer(NodeId(-2 - index), endpoint) for index, endpoint in enumerate(core.config.bootstrap)]
    known = {peer.endpoint for peer in peers}
    peers += [peer for peer in core.other_voters() if peer.endpoint not in known]
    return core.rng.choice(peers) if peers else None


def on_fetch_response(
    core: "RaftCore", peer: Peer, request: FetchRequest, response: Response, now_ms: int
) -> None:
    check(isinstance(response, FetchResponse), "a Fetch was answered with something else")
    if not isinstance(response, FetchResponse):
        return
    if response.recovery_id != core.config.recovery_id:
        recoveries.on_other_log(core, peer, response, now_ms)
        return
    epoch_before = core.election.epoch
    elections.observe(core, response.leader, now_ms)
    role = core.role
    if core.election.epoch != epoch_before:
        return  # the payload belongs to an epoch that we had not joined when we asked
    if response.leader.epoch < core.election.epoch or response.error is not ErrorCode.none:
        pause = core.config.retry_backoff_ms if isinstance(role, Follower) else _RETRY_WITHOUT_LEADER_MS
        core.fetch_at_ms = now_ms + pause
        denied = response.error is ErrorCode.not_leader_or_follower and response.leader.leader_id is None
        if isinstance(role, Follower) and peer.id == role.leader_id and denied:
            elections.on_leader_denies(core, role, now_ms)
            role.reconnecting = role.reconnecting or not core.is_voter  # an observer asks somebody else next
        elif isinstance(role, Follower) and response.leader.leader_id == role.leader_id:
            role.reconnecting = False  # somebody else says that it leads: its silence may be over
        return
    if not isinstance(role, Follower) or request.offset != core.log.end.offset:
        return
    if not _continue(core, response.batches):
        core.note(f"{peer.id} answered a Fetch with batches that do not continue the log at {core.log.end}")
        core.fetch_at_ms = now_ms + core.config.retry_backoff_ms
        return
    _heard_leader(core, role, now_ms)
    if response.diverging is not None:
        _truncate(core, response.diverging)
    elif response.snapshot_id is not None:
        snapshots.begin(core, role, response.snapshot_id)
    else:
        append(core, response.batches)
        _follow_high_watermark(core, response.high_watermark)


def _continue(core: "RaftCore", batches: Sequence[RecordBatch]) -> bool:
    """What does not is the peer's fault, and no reason to end this node."""
    end, epoch = core.log.end.offset, core.log.end.epoch
    for batch in batches:
        if batch.base_offset != end or not epoch <= batch.epoch <= core.election.epoch:
            return False
        end, epoch = batch.end_offset, batch.epoch
    return True


def _heard_leader(core: "RaftCore", role: Follower, now_ms: int) -> None:
    """A Fetch succeeded: the leader lives, whatever was suspected."""
    role.fetch_deadline_ms = now_ms + core.config.fetch_timeout_ms
    role.has_fetched = True
    role.reconnecting = False
    role.suspect_at_ms = None
    core.fetch_at_ms = now_ms


def heard_leader_chunk(core: "RaftCore", role: Follower, now_ms: int) -> None:
    """A part of a snapshot came: the same sign of life as a Fetch."""
    _heard_leader(core, role, now_ms)


def on_fetch_failure(core: "RaftCore", peer: Peer, failure: Failure, now_ms: int) -> None:
    core.fetch_at_ms = now_ms + core.config.retry_backoff_ms
    role = core.role
    if isinstance(role, Follower) and peer.id == role.leader_id:
        elections.on_leader_connection_lost(core, role, failure, now_ms)
        if not core.is_voter:
            role.reconnecting = True  # an observer asks somebody else next
    elif not isinstance(role, Follower):
        core.fetch_at_ms = now_ms + _RETRY_WITHOUT_LEADER_MS


def _follow_high_watermark(core: "RaftCore", told: Offset | None) -> None:
    if told is None:
        return
    reachable = min(told, core.log.end.offset)
    known = core.high_watermark
    if known is not None and reachable < known and told < known:
        raise InvariantViolated(
            f"the leader's high watermark {told} is behind {known}, which an earlier leader reported"
        )
    if known is None or reachable > known:
        core.high_watermark = Offset(reachable)
        core.effects.committed = Offset(reachable)


def _truncate(core: "RaftCore", diverging: OffsetAndEpoch) -> None:
    """Cuts the log back to where it can still agree with the leader's (KIP-595). May take several rounds."""
    log = core.log
    if diverging.epoch == 0:
        cut = min(diverging.offset, log.end.offset)
    else:
        mine = log.epochs.end_for(diverging.epoch, log.end.offset)
        if mine is None:
            cut = log.start
        elif mine.epoch == diverging.epoch:
            cut = min(mine.offset, diverging.offset)
        else:
            cut = mine.offset
    check(
        core.high_watermark is None or cut >= core.high_watermark,
        f"the leader asks to cut the log at {cut}, below the high watermark {core.high_watermark}",
    )
    if cut >= log.end.offset:
        return
    was_voter = core.is_voter
    core.note(f"cuts its log from {log.end} back to {cut}: the leader has another history")
    log.epochs = log.epochs.truncated_to(cut)
    log.voters = log.voters.truncated_to(cut)
    log.end = OffsetAndEpoch(cut, _epoch_before(core, cut))
    log.flushed_end = min(log.flushed_end, cut)
    log.generation += 1
    core.effects.truncate_to = cut
    if was_voter and not core.is_voter:
        joining.forget(core)


def _epoch_before(core: "RaftCore", end: Offset) -> Epoch:
    """The epoch of the record just below `end`: from the log, or of the snapshot that the log starts behind."""
    log = core.log
    if end > log.start:
        return log.epochs.epoch_before(end)
    return next((one.epoch for one in reversed(log.snapshots) if one.offset == end), Epoch(0))


# ---- the leader's side -------------------------------------------------------------------------------


def refusal(core: "RaftCore", epoch: Epoch) -> ErrorCode:
    """What only the leader of this epoch may answer, in Kafka's order; NONE if that is us."""
    if epoch < core.election.epoch:
        return ErrorCode.fenced_leader_epoch
    if epoch > core.election.epoch:
        return ErrorCode.unknown_leader_epoch
    return ErrorCode.none if core.leads else ErrorCode.not_leader_or_follower


def on_fetch(core: "RaftCore", token: Token, request: FetchRequest, now_ms: int) -> None:
    error = refusal(core, request.epoch)
    if request.max_wait_ms < 0 or request.offset < 0 or not 0 <= request.last_fetched_epoch <= request.epoch:
        error = ErrorCode.invalid_request
    role = core.role
    if error is not ErrorCode.none or not isinstance(role, Leader):
        core.reply(token, refused(core, error))
        return
    progress = _progress(core, role, request.replica)
    if progress is not None:
        _seen(core, role, progress, now_ms)
    snapshot = _needs_snapshot(core, request)
    diverging = None if snapshot is not None else _diverging(core, request)
    if snapshot is not None or diverging is not None:
        answer = attrs.evolve(_empty_answer(core, role), snapshot_id=snapshot, diverging=diverging)
        core.reply(token, answer)
        return
    parked = Parked(token, request, now_ms + request.max_wait_ms)
    if progress is None:
        core.reply(
            token, _answer(core, role, request, _limit(core, is_voter=core.voters.contains(request.replica)))
        )
        return
    if progress.parked is not None:  # a replica has one Fetch under way: it gave this one up
        core.reply(progress.parked.token, _empty_answer(core, role))
    progress.parked = parked
    _valid_fetch(core, role, progress, request, now_ms)
    if progress.parked is parked:
        _answer_if_ready(core, role, progress, now_ms)


def _progress(core: "RaftCore", role: Leader, replica: ReplicaKey) -> Progress | None:
    """What we know of a replica; None for readers that are none (a negative id), and for observers beyond the limit.

    A voter is known by its set's key.
    """
    if replica.id < 0 or replica.id == core.id:
        return None
    voters = core.voters
    key = voters.key(replica.id) if voters.contains(replica) else replica
    progress = role.progress.get(key)
    if progress is None:
        if key is replica and len(role.progress) >= core.config.replicas_max:
            return None
        progress = role.progress[key] = Progress(key)
    return progress


def note_reading(core: "RaftCore", replica: ReplicaKey, snapshot_id: OffsetAndEpoch, now_ms: int) -> None:
    """A FetchSnapshot is as good a sign of life as a Fetch, and says what the replica still needs."""
    role = core.role
    progress = _progress(core, role, replica) if isinstance(role, Leader) else None
    if progress is None or not isinstance(role, Leader):
        return
    _seen(core, role, progress, now_ms)
    if progress.reads is None or progress.reads.snapshot_id != snapshot_id:
        progress.reads = SnapshotReading(snapshot_id, began_ms=now_ms, last_ms=now_ms)
    progress.reads.last_ms = now_ms


def _seen(core: "RaftCore", role: Leader, progress: Progress, now_ms: int) -> None:
    progress.last_fetch_ms = now_ms
    voters = core.voters
    if not voters.contains(progress.key):
        return
    role.fetched_since_check.add(progress.key.id)
    present = len(role.fetched_since_check) + (1 if core.is_voter else 0)
    if present >= voters.majority and role.check_quorum_at_ms is not None:
        role.check_quorum_at_ms = now_ms + core.config.fetch_timeout_ms * 3 // 2
        role.fetched_since_check.clear()


def _needs_snapshot(core: "RaftCore", request: FetchRequest) -> OffsetAndEpoch | None:
    """The newest snapshot, for who is behind the log's start, or starts from nothing (cheaper than a replay).

    Or whose last epoch is older than the record just before the start: where the two logs part lies below the start,
    and no diverging epoch could be named that would make it cut anything.
    """
    log = core.log
    newest = log.newest_snapshot
    if newest is None:
        return None
    if request.offset == 0:
        return newest
    before_start = _epoch_before(core, log.start)
    behind = request.offset < log.start or request.last_fetched_epoch < before_start
    at_start = request.offset == log.start and log.start > 0 and request.last_fetched_epoch != before_start
    return newest if behind or at_start else None


def _diverging(core: "RaftCore", request: FetchRequest) -> OffsetAndEpoch | None:
    log = core.log
    if request.offset == 0 or (request.offset == log.start and request.offset <= log.end.offset):
        return None
    found = log.epochs.end_for(request.last_fetched_epoch, log.end.offset)
    if found is None:
        return OffsetAndEpoch(log.start, _epoch_before(core, log.start))
    if found.epoch == request.last_fetched_epoch and request.offset <= found.offset:
        return None
    return found


def _valid_fetch(
    core: "RaftCore", role: Leader, progress: Progress, request: FetchRequest, now_ms: int
) -> None:
    """A Fetch that continues our log: its offset counts, and may move the high watermark."""
    end = core.log.end.offset
    if request.offset >= end:
        progress.last_caught_up_ms = now_ms
    elif request.offset >= progress.leader_end_at_last_fetch and progress.end_offset is not None:
        progress.last_caught_up_ms = progress.last_fetch_ms
    progress.leader_end_at_last_fetch = end
    if progress.end_offset is None or request.offset > progress.end_offset:
        progress.end_offset = request.offset
        _reached(core, request.offset, now_ms)


def _limit(core: "RaftCore", *, is_voter: bool) -> Offset:
    """Up to where a replica is served: voters to the log's end, all others committed records only."""
    if is_voter:
        return core.log.end.offset
    return core.high_watermark or Offset(0)


def _told_high_watermark(core: "RaftCore", role: Leader) -> Offset | None:
    """Unknown until a record of our epoch is committed: an earlier leader may have reported a higher one."""
    return core.high_watermark if role.high_watermark_known else None


def refused(core: "RaftCore", error: ErrorCode) -> FetchResponse:
    """No records, but who leads, and which log this is."""
    return FetchResponse(leader=core.leader_and_epoch, error=error, recovery_id=core.config.recovery_id)


def _empty_answer(core: "RaftCore", role: Leader) -> FetchResponse:
    return FetchResponse(
        leader=core.leader_and_epoch,
        high_watermark=_told_high_watermark(core, role),
        log_start=core.log.start,
        recovery_id=core.config.recovery_id,
    )


def _answer(core: "RaftCore", role: Leader, request: FetchRequest, limit: Offset) -> FetchResponse:
    max_bytes = min(request.max_bytes, core.config.answer_max_bytes)
    return FetchResponse(
        leader=core.leader_and_epoch,
        high_watermark=_told_high_watermark(core, role),
        log_start=core.log.start,
        read=LogRead(request.offset, limit, max_bytes) if request.offset < limit else None,
        recovery_id=core.config.recovery_id,
    )


def _answer_if_ready(core: "RaftCore", role: Leader, progress: Progress, now_ms: int) -> None:
    """Answers a parked Fetch when it has data, news of the high watermark, or waited long enough."""
    parked = progress.parked
    if parked is None:
        return
    request = parked.request
    is_voter = core.voters.contains(request.replica)
    limit = _limit(core, is_voter=is_voter)
    told = _told_high_watermark(core, role)
    known = progress.high_watermark_sent if request.high_watermark is None else request.high_watermark
    # A watermark beyond the replica's own end is no news to it before the data is.
    news = told is not None and (known is None or min(told, request.offset) > known)
    if news and is_voter:
        # Nobody waits for a voter's high watermark: it mostly rides on the next records, for one request less each.
        parked.deadline_ms = min(parked.deadline_ms, now_ms + _VOTER_NEWS_MS)
        news = False
    if request.offset < limit or news or parked.deadline_ms <= now_ms:
        progress.parked = None
        progress.high_watermark_sent = told
        core.reply(parked.token, _answer(core, role, request, limit))


def _answer_parked(core: "RaftCore", now_ms: int) -> None:
    role = core.role
    if isinstance(role, Leader):
        for progress in list(role.progress.values()):
            _answer_if_ready(core, role, progress, now_ms)


def _poll_progress(core: "RaftCore", role: Leader, now_ms: int) -> None:
    """Answers the Fetches that waited long enough; forgets observers that are gone."""
    for key, progress in list(role.progress.items()):
        parked, last_ms = progress.parked, progress.last_fetch_ms
        if parked is not None:
            if parked.deadline_ms <= now_ms:
                _answer_if_ready(core, role, progress, now_ms)
        elif (
            last_ms is not None
            and last_ms + _OBSERVER_FORGOTTEN_MS <= now_ms
            and not core.voters.contains(key)
        ):
            del role.progress[key]


def fail_parked(core: "RaftCore", role: Leader) -> None:
    """Leadership is over: who waits is told where to turn."""
    for progress in role.progress.values():
        if progress.parked is not None:
            core.reply(progress.parked.token, refused(core, ErrorCode.not_leader_or_follower))
            progress.parked = None


def _reached(core: "RaftCore", end: Offset, now_ms: int) -> None:
    """A replica has all below `end` on its disk: of use to the high watermark only if it lies above."""
    if end > (core.high_watermark or 0):
        _advance_high_watermark(core, now_ms)


def _advance_high_watermark(core: "RaftCore", now_ms: int) -> None:
    """The offset that a majority of the voters holds on disk, once it covers a record of this epoch.

    Counting replicas of an older epoch's record proves nothing: a leader that never saw it could still be elected and
    replace it (Raft paper, figure 8).
    """
    role = core.role
    if not isinstance(role, Leader):
        return
    voters, own_id = core.voters, core.id if core.is_voter else None
    ends = []
    for node_id, key in voters.keys.items():
        if node_id == own_id:
            ends.append(core.log.flushed_end)
            continue
        progress = role.progress.get(key)
        ends.append(Offset(-1) if progress is None or progress.end_offset is None else progress.end_offset)
    ends.sort(reverse=True)
    candidate = ends[voters.majority - 1] if ends else Offset(-1)
    if candidate <= role.epoch_start or candidate <= (core.high_watermark or 0):
        return
    if not role.high_watermark_known:
        role.high_watermark_known = True
        core.note(f"leads epoch {core.election.epoch}: its first record is committed")
    core.high_watermark = candidate
    core.effects.committed = candidate
    _answer_parked(core, now_ms)
    membership.on_commit(core, role, now_ms)
