"""Snapshots: section 7 of the Raft paper, and KIP-630, which pulls what InstallSnapshot pushes."""

import attrs
import pytest

from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import EpochStart, LogSummary
from quorate.metadata.quorum.effects import DropPrefix, SnapshotChunk
from quorate.metadata.quorum.events import (
    LogFlushed,
    ResponseReceived,
    RetentionReached,
    SnapshotCreated,
    SnapshotInstalled,
    TimePassed,
)
from quorate.metadata.quorum.messages import (
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderAndEpoch,
    LogRead,
    SnapshotRead,
    VoteResponse,
)
from quorate.metadata.quorum.roles import Leader
from quorate.metadata.records import KRaftVersionRecord, VotersRecord
from tests.paper.bench import KEYS, LOG, Bench, endpoint
from tests.paper.test_membership import leading
from tests.paper.test_raft import answer_fetch, batch, following

OLD = OffsetAndEpoch(Offset(6), Epoch(3))
NEW = OffsetAndEpoch(Offset(8), Epoch(3))
FETCHED = OffsetAndEpoch(Offset(20), Epoch(4))
"""What the leader of epoch 4 offers to a follower whose log ends at 10."""


def compacted() -> Bench:
    """A leader whose log begins at its older snapshot."""
    bench = Bench(snapshots=(OLD, NEW))
    bench.become_leader()
    bench.flushed()
    return bench


def fetching() -> Bench:
    """A follower that was offered a snapshot, and has asked for its first part."""
    bench = following()
    answer_fetch(bench, snapshot_id=FETCHED)
    return bench


def answer_part(bench: Bench, data: bytes, size: int, **changes: object) -> None:
    one, request = bench.sent(FetchSnapshotRequest)[0]
    answer = FetchSnapshotResponse(
        leader=LeaderAndEpoch(bench.epoch, NodeId(2), endpoint(2)),
        snapshot_id=request.snapshot_id,
        position=request.position,
        size=size,
        data=data,
    )
    bench.step(ResponseReceived(one.correlation, attrs.evolve(answer, **changes)))  # type: ignore[arg-type]


def installed(bench: Bench, voters: tuple[int, ...] = (1, 2, 3)) -> None:
    """The disk's report: the log restarts at the snapshot's end, with the snapshot's voters."""
    members = tuple(Bench(voters=voters).core.voters.voters.values())
    before = Offset(FETCHED.offset - 1)
    control = ((before, KRaftVersionRecord(k_raft_version=1)), (before, VotersRecord(voters=members)))
    summary = LogSummary(FETCHED.offset, FETCHED, (), (FETCHED,), control)
    bench.step(SnapshotInstalled(summary))


def request_part(bench: Bench, **changes: object) -> FetchSnapshotRequest:
    request = FetchSnapshotRequest(
        replica=KEYS[2], epoch=bench.epoch, snapshot_id=NEW, position=0, max_bytes=100
    )
    return attrs.evolve(request, **changes)  # type: ignore[arg-type]


# ---- taking one


def test_a_snapshot_covers_committed_entries_only() -> None:
    """7: "covering just the committed entries in its log"; KIP-630: not beyond the high watermark."""
    bench = leading()
    end = bench.core.log.end
    bench.propose()
    with pytest.raises(InvariantViolated, match="beyond what is committed and flushed"):
        bench.step(SnapshotCreated(OffsetAndEpoch(Offset(end.offset + 1), end.epoch)))


def test_a_snapshot_covers_only_what_is_on_this_disk() -> None:
    """A log that ends before its snapshot after a crash would be no proof of anything."""
    bench = leading()
    bench.propose()
    for node in (2, 3):
        bench.fetch(node)
    end = bench.core.log.end
    assert bench.core.high_watermark == end.offset
    with pytest.raises(InvariantViolated, match="committed and flushed"):
        bench.step(SnapshotCreated(end))


def test_each_replica_takes_its_own() -> None:
    """7: "Each server takes snapshots independently": a follower as well."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(9))
    bench.step(SnapshotCreated(OLD))
    assert bench.core.log.newest_snapshot == OLD


def test_the_log_may_begin_where_a_snapshot_ends() -> None:
    """7: "it may delete all log entries up through the last included index"; how much is kept is the operator's."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(9))
    bench.step(SnapshotCreated(OLD))
    bench.step(SnapshotCreated(NEW))
    assert (bench.last.drop_prefix, bench.core.log.start) == (None, 0)
    bench.step(RetentionReached(OLD))
    assert bench.last.drop_prefix == DropPrefix(OLD.offset, ())
    assert bench.core.log.start == OLD.offset


def test_older_snapshots_go_with_the_log_before_them() -> None:
    """7: "as well as any prior snapshot"."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(9))
    third = OffsetAndEpoch(Offset(9), Epoch(3))
    for one in (OLD, NEW, third):
        bench.step(SnapshotCreated(one))
    bench.step(RetentionReached(NEW))
    assert bench.last.drop_prefix == DropPrefix(NEW.offset, (OLD,))
    assert bench.core.log.snapshots == (NEW, third)


def test_a_snapshot_that_is_there_or_older_than_the_log_changes_nothing() -> None:
    """KIP-630: one of an offset below the log's start is of no use."""
    bench = Bench(snapshots=(OLD, NEW))
    for one in (NEW, OffsetAndEpoch(Offset(3), Epoch(3))):
        bench.step(SnapshotCreated(one))
        assert bench.core.log.snapshots == (OLD, NEW)
        assert bench.last.drop_prefix is None


# ---- when the leader sends one


@pytest.mark.parametrize(
    ("offset", "epoch", "sent"),
    [
        (0, 0, True),  # from nothing: cheaper than a replay
        (3, 3, True),  # the leader has discarded what follows
        (6, 2, True),  # at the start, with another history below it
        (9, 2, True),  # its last epoch is older than what lies before the start: they part below it
        (6, 3, False),
        (8, 3, False),
    ],
)
def test_who_cannot_be_served_from_the_log_gets_the_newest_snapshot(
    offset: int, epoch: int, sent: bool
) -> None:
    """7: "when the leader has already discarded the next log entry"; KIP-630, Fetch: SnapshotId."""
    bench = compacted()
    bench.fetch(2, offset=offset, last_epoch=epoch)
    answer = bench.answered(FetchResponse)
    assert answer.snapshot_id == (NEW if sent else None)
    end = bench.core.log.end.offset
    assert answer.read == (None if sent else LogRead(Offset(offset), end, 1_000_000))
    assert answer.diverging is None


def test_a_log_that_parts_behind_the_start_is_cut_not_replaced() -> None:
    """KIP-630, Fetch: DivergingEpoch where the common point is in the log."""
    bench = Bench(
        snapshots=(OffsetAndEpoch(Offset(2), Epoch(1)),),
        epochs=(EpochStart(Epoch(1), Offset(2)), EpochStart(Epoch(3), Offset(6))),
    )
    bench.become_leader()
    bench.fetch(2, offset=9, last_epoch=2)
    answer = bench.answered(FetchResponse)
    assert (answer.snapshot_id, answer.diverging) == (None, OffsetAndEpoch(Offset(6), Epoch(1)))


def test_a_fetch_that_is_answered_with_a_snapshot_acknowledges_nothing() -> None:
    """KIP-630: only a valid Fetch moves the high watermark."""
    bench = compacted()
    bench.fetch(2, offset=9, last_epoch=2)
    role = bench.core.role
    assert isinstance(role, Leader)
    assert role.progress[KEYS[2]].end_offset is None


def test_the_formatted_snapshot_is_never_sent() -> None:
    """KIP-853: 0-0 is for its own node; its voters are in the log."""
    bench = Bench(snapshots=(LOG_START,))
    bench.become_leader()
    bench.fetch(2, offset=0, last_epoch=0)
    answer = bench.answered(FetchResponse)
    assert answer.snapshot_id is None
    assert answer.read is not None
    bench.receive(request_part(bench, snapshot_id=LOG_START))
    assert bench.answered(FetchSnapshotResponse).error is ErrorCode.snapshot_not_found


# ---- FetchSnapshot at the leader


def test_a_part_is_read_at_the_position_asked_for() -> None:
    """KIP-630, FetchSnapshot: by position, so many bytes at most."""
    bench = compacted()
    bench.receive(request_part(bench, position=50))
    answer = bench.answered(FetchSnapshotResponse)
    assert (answer.error, answer.read) == (ErrorCode.none, SnapshotRead(NEW, 50, 100))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epoch": Epoch(3)}, ErrorCode.fenced_leader_epoch),
        ({"epoch": Epoch(9)}, ErrorCode.unknown_leader_epoch),
        ({"snapshot_id": OffsetAndEpoch(Offset(7), Epoch(3))}, ErrorCode.snapshot_not_found),
        ({"snapshot_id": OffsetAndEpoch(Offset(8), Epoch(2))}, ErrorCode.snapshot_not_found),
        ({"position": -1}, ErrorCode.position_out_of_range),
    ],
)
def test_what_fetch_snapshot_is_refused_for(change: dict[str, object], expected: ErrorCode) -> None:
    """KIP-630, FetchSnapshot, errors; a position behind the end is found out where the bytes are read."""
    bench = compacted()
    bench.receive(request_part(bench, **change))
    answer = bench.answered(FetchSnapshotResponse)
    assert (answer.error, answer.read) == (expected, None)
    assert answer.leader == LeaderAndEpoch(Epoch(4), NodeId(1), endpoint(1))


def test_only_the_leader_hands_out_snapshots() -> None:
    """KIP-630, FetchSnapshot: NOT_LEADER_OR_FOLLOWER, and who leads."""
    bench = following()
    bench.receive(request_part(bench))
    answer = bench.answered(FetchSnapshotResponse)
    assert answer.error is ErrorCode.not_leader_or_follower
    assert answer.leader.leader_id == 2


def test_who_fetches_a_snapshot_is_there() -> None:
    """KIP-630 with check quorum: a follower that takes long over a snapshot must not cost its leader the epoch."""
    bench = compacted()
    for _ in range(4):
        bench.step(TimePassed(), 2_000)
        bench.receive(request_part(bench))
    assert bench.role == "leader"


# ---- FetchSnapshot at the follower


def test_who_is_offered_a_snapshot_fetches_it_from_the_beginning() -> None:
    """7, InstallSnapshot 2: a new snapshot begins at offset 0; KIP-630: and Fetch rests meanwhile."""
    bench = fetching()
    ((one, request),) = bench.sent(FetchSnapshotRequest)
    assert (one.peer.id, request.snapshot_id, request.position) == (2, FETCHED, 0)
    assert not bench.sent(FetchRequest)


def test_parts_are_written_where_they_belong_and_the_next_is_asked_for() -> None:
    """7, InstallSnapshot 3 and 4: "Write data into snapshot file at given offset", "wait for more data chunks"."""
    bench = fetching()
    answer_part(bench, b"abc", size=5)
    assert bench.last.snapshot_chunk == SnapshotChunk(FETCHED, 0, b"abc")
    assert bench.last.install_snapshot is None
    assert bench.sent(FetchSnapshotRequest)[0][1].position == 3
    answer_part(bench, b"de", size=5)
    assert bench.last.snapshot_chunk == SnapshotChunk(FETCHED, 3, b"de")
    assert bench.last.install_snapshot == FETCHED


def test_each_part_is_a_sign_of_the_leader() -> None:
    """KIP-630: a chunk resets the fetch timer."""
    bench = fetching()
    for _ in range(4):
        asked = bench.last
        bench.step(TimePassed(), 1_500)
        bench.last = asked
        answer_part(bench, b"a", size=9)
    assert bench.role == "follower"


@pytest.mark.parametrize(
    "changes",
    [
        {"error": ErrorCode.snapshot_not_found, "data": b""},
        {"error": ErrorCode.position_out_of_range, "data": b""},
        {"snapshot_id": OffsetAndEpoch(Offset(21), Epoch(4))},
        {"position": 1},
    ],
)
def test_a_part_that_does_not_come_ends_the_fetching(changes: dict[str, object]) -> None:
    """KIP-630: on SNAPSHOT_NOT_FOUND the follower fetches from its log again; what was not asked for is not taken."""
    bench = fetching()
    answer_part(bench, **{"data": b"abc", "size": 5, **changes})  # type: ignore[arg-type]
    assert bench.last.snapshot_chunk is None
    bench.step(TimePassed(), bench.core.config.retry_backoff_ms)
    assert [request.offset for _, request in bench.sent(FetchRequest)] == [10]


def test_a_newer_leader_ends_the_fetching() -> None:
    """7, InstallSnapshot 1: a smaller term is refused: what an older leader's snapshot holds may have been replaced."""
    bench = fetching()
    one, _ = bench.sent(FetchSnapshotRequest)[0]
    newer = LeaderAndEpoch(Epoch(6), NodeId(3), endpoint(3))
    answer = FetchSnapshotResponse(leader=newer, snapshot_id=FETCHED, position=0, size=3, data=b"abc")
    bench.step(ResponseReceived(one.correlation, answer))
    assert bench.last.snapshot_chunk is None
    assert bench.last.install_snapshot is None
    assert [(one.peer.id, request.epoch) for one, request in bench.sent(FetchRequest)] == [(3, 6)]


def test_the_log_restarts_at_the_end_of_the_snapshot() -> None:
    """7, InstallSnapshot 7: "Discard the entire log"; KIP-630: start, end and high watermark are its end."""
    bench = fetching()
    answer_part(bench, b"abc", size=3)
    installed(bench)
    log = bench.core.log
    assert (log.start, log.end, log.flushed_end) == (20, FETCHED, 20)
    assert bench.last.committed == bench.core.high_watermark == 20
    (_, request) = bench.sent(FetchRequest)[0]
    assert (request.offset, request.last_fetched_epoch) == (20, 4)


def test_the_voters_are_those_of_the_snapshot() -> None:
    """7, InstallSnapshot 8: "load snapshot's cluster configuration"."""
    bench = fetching()
    answer_part(bench, b"abc", size=3)
    installed(bench, voters=(2, 3, 4))
    assert bench.core.voters.ids == (2, 3, 4)
    assert not bench.core.is_voter


def test_nothing_happens_while_a_snapshot_is_installed() -> None:
    """An answer or a vote in between would speak of a log that is being replaced."""
    bench = fetching()
    answer_part(bench, b"abc", size=3)
    with pytest.raises(InvariantViolated, match="a snapshot is being installed"):
        bench.receive(bench.vote_request(3, epoch=9))


def test_a_flush_of_the_former_log_proves_nothing_of_the_new_one() -> None:
    bench = following()
    answer_fetch(bench, batches=(batch(10, 3),))
    old = LogFlushed(Offset(11), bench.core.log.generation)
    bench.flushed()
    answer_fetch(bench, snapshot_id=FETCHED)
    answer_part(bench, b"abc", size=3)
    installed(bench)
    bench.step(old)
    assert any("ignores a flush" in one for one in bench.last.notes)


def test_a_snapshot_that_turned_out_damaged_is_fetched_again() -> None:
    """KIP-630: validated before it is used: the log stays what it was, and Fetch asks anew."""
    bench = fetching()
    answer_part(bench, b"abc", size=3)
    before = LogSummary(Offset(0), LOG, (EpochStart(Epoch(3), Offset(0)),), (), ())
    bench.step(SnapshotInstalled(before))
    assert bench.core.log.end == LOG
    assert bench.core.high_watermark is None
    bench.step(TimePassed(), bench.core.config.retry_backoff_ms)
    assert bench.sent(FetchRequest)[0][1].offset == 10


def test_a_snapshot_below_what_is_committed_here_ends_the_process() -> None:
    """Figure 3, State Machine Safety: it would undo what was applied."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(9))
    with pytest.raises(InvariantViolated, match="below the high watermark 9"):
        answer_fetch(bench, snapshot_id=NEW)


def test_a_snapshot_is_as_good_as_its_last_record_in_an_election() -> None:
    """7 with 5.4.1: "last included index and term" stand for the log that they replaced."""
    bench = fetching()
    answer_part(bench, b"abc", size=3)
    installed(bench)
    bench.receive(bench.vote_request(3, epoch=9, last=OffsetAndEpoch(Offset(19), Epoch(4))))
    assert not bench.answered(VoteResponse).granted
    bench.receive(bench.vote_request(2, epoch=9, last=FETCHED))
    assert bench.answered(VoteResponse).granted
