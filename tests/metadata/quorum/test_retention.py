"""What is let go, and when: the wish (`retention`), and what the core keeps in spite of it."""

import pytest

from quorate.metadata.ids import LOG_START, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import LogPart, LogUse, SnapshotUse
from quorate.metadata.quorum.effects import SendResponse
from quorate.metadata.quorum.events import RetentionReached, SnapshotCreated
from quorate.metadata.quorum.messages import FetchSnapshotRequest, FetchSnapshotResponse, SnapshotRead
from quorate.metadata.quorum.retention import RetentionLimits, oldest_kept
from quorate.metadata.quorum.snapshots import READER_LIMIT_MS, READER_PATIENCE_MS
from tests.paper.bench import KEYS, Bench

NO_LIMIT = RetentionLimits()


def snapshot(end: int, size: int = 10, time_ms: int = 0) -> SnapshotUse:
    return SnapshotUse(OffsetAndEpoch(Offset(end), Epoch(1)), size, time_ms)


def held(*snapshots: SnapshotUse, start: int = 0) -> LogUse:
    """Parts of 100 bytes that end at 10, 20, 30, 40."""
    parts = tuple(LogPart(Offset(end), 100) for end in (10, 20, 30, 40))
    return LogUse(start=Offset(start), parts=parts, snapshots=snapshots)


def end_of(use: LogUse, limits: RetentionLimits, wall_ms: int = 0) -> int | None:
    found = oldest_kept(use, limits, wall_ms)
    return None if found is None else found.offset


THREE = held(snapshot(10, time_ms=1_000), snapshot(20, time_ms=2_000), snapshot(30, time_ms=3_000))
"""430 bytes."""


@pytest.mark.parametrize(
    ("max_bytes", "kept"),
    [(430, None), (429, 20), (220, 20), (219, 30), (1, 30), (0, 30)],
)
def test_the_oldest_go_until_the_rest_is_small_enough_and_the_newest_stays(
    max_bytes: int, kept: int | None
) -> None:
    assert end_of(THREE, RetentionLimits(max_bytes=max_bytes)) == kept


@pytest.mark.parametrize(("wall_ms", "kept"), [(11_000, None), (11_001, 20), (12_001, 30), (99_000, 30)])
def test_the_oldest_go_when_their_last_record_is_too_old(wall_ms: int, kept: int | None) -> None:
    assert end_of(THREE, RetentionLimits(max_age_ms=10_000), wall_ms) == kept


@pytest.mark.parametrize("snapshots", [(), (snapshot(10),), (SnapshotUse(LOG_START, 1, 0), snapshot(10))])
def test_a_single_snapshot_is_never_too_much(snapshots: tuple[SnapshotUse, ...]) -> None:
    assert end_of(held(*snapshots), RetentionLimits(max_bytes=0, max_age_ms=0), 1_000_000) is None


def test_minus_one_is_no_limit() -> None:
    assert RetentionLimits.of(-1, -1) == NO_LIMIT
    assert end_of(THREE, NO_LIMIT, 10**15) is None
    assert RetentionLimits.of(0, 5) == RetentionLimits(max_bytes=0, max_age_ms=5)


def test_a_snapshot_from_before_the_log_is_of_no_use() -> None:
    """Who has it could not go on from there. An installed snapshot leaves such ones behind."""
    assert end_of(held(snapshot(10), snapshot(30), start=20), NO_LIMIT) == 30


# ---- the core


def leading() -> tuple[Bench, list[OffsetAndEpoch]]:
    """A leader with snapshots at 11, 12 and 13 of a log that ends at 14."""
    bench = Bench()
    bench.become_leader()
    for _ in range(3):
        bench.propose()
    bench.flushed()
    bench.fetch(2)
    made = [OffsetAndEpoch(Offset(end), bench.epoch) for end in (11, 12, 13)]
    for one in made:
        bench.step(SnapshotCreated(one))
        assert bench.last.drop_prefix is None
    return bench, made


def read_part(bench: Bench, snapshot_id: OffsetAndEpoch, max_bytes: int = 10) -> SnapshotRead:
    """Observer 4 asks for one; what it is answered with."""
    request = FetchSnapshotRequest(
        replica=KEYS[4], epoch=bench.epoch, snapshot_id=snapshot_id, position=0, max_bytes=max_bytes
    )
    answers = [one.response for one in bench.receive(request).send if isinstance(one, SendResponse)]
    (read,) = [one.read for one in answers if isinstance(one, FetchSnapshotResponse)]
    assert read is not None
    return read


def starts_after(bench: Bench, wish: OffsetAndEpoch, later_ms: int = 0) -> int:
    bench.step(RetentionReached(wish), later_ms)
    return bench.core.log.start


def test_the_log_begins_where_the_oldest_kept_snapshot_ends() -> None:
    bench, made = leading()
    assert starts_after(bench, made[1]) == 12

    dropped = bench.last.drop_prefix
    assert dropped is not None
    assert (dropped.start, dropped.snapshots) == (12, (made[0],))
    assert bench.core.log.snapshots == (made[1], made[2])


def test_a_wish_that_names_no_snapshot_of_ours_changes_nothing() -> None:
    bench, made = leading()
    assert starts_after(bench, OffsetAndEpoch(Offset(14), bench.epoch)) == 0
    assert bench.core.log.snapshots == tuple(made)


def test_what_a_replica_reads_stays_until_it_reads_no_more() -> None:
    bench, made = leading()
    read_part(bench, made[0])
    assert starts_after(bench, made[2], READER_PATIENCE_MS - 1) == 11
    assert bench.core.log.snapshots == tuple(made)

    assert starts_after(bench, made[2], 1) == 13
    assert bench.core.log.snapshots == (made[2],)


def test_who_reads_for_ever_does_not_keep_it_for_ever() -> None:
    bench, made = leading()
    read_part(bench, made[0])
    role = bench.core.role
    began_ms = bench.now_ms
    while bench.now_ms < began_ms + READER_LIMIT_MS - 1_000:
        bench.now_ms += 1_000
        read_part(bench, made[0])
        bench.fetch(2)
        bench.fetch(3)
    assert bench.core.role is role  # else nothing would be remembered of anybody
    assert starts_after(bench, made[2]) == 11
    assert starts_after(bench, made[2], 1_000) == 13


def test_an_answer_is_read_in_parts_whatever_is_asked_for() -> None:
    bench, made = leading()
    assert read_part(bench, made[2], 100).max_bytes == 100
    assert read_part(bench, made[2], 2**31 - 1).max_bytes == bench.core.config.answer_max_bytes
