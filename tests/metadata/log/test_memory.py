"""What simulated nodes need of MemoryLog beyond the contract: flushes that end later, crashes, copies."""

import random

import pytest

from quorate.metadata.ids import LOG_START, Offset
from quorate.metadata.log.interface import SnapshotNotFound
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.records import KRaftVersionRecord
from tests.metadata.log.building import (
    batch,
    everything,
    fetch_snapshot,
    point,
    row,
    snapshot_batches,
    snapshot_bytes,
    voters,
    write_snapshot,
)

V1 = KRaftVersionRecord(k_raft_version=1)


def half_flushed() -> MemoryLog:
    """Five batches to offset 10, flushed to 4."""
    log = MemoryLog()
    log.append(row(5), Offset(0))
    log.flush_to(Offset(4))
    return log


def test_a_crash_leaves_what_was_flushed_and_some_of_the_rest():
    left = set()
    for seed in range(40):
        log = half_flushed()
        log.crash(random.Random(seed))
        kept = everything(log)
        assert kept == row(5)[: len(kept)]
        assert log.summary().end.offset == log.flushed_end == 2 * len(kept)
        left.add(len(kept))

    assert left == {2, 3, 4, 5}


def test_a_crash_is_a_function_of_its_seed():
    ends = []
    for _ in range(2):
        rng = random.Random(7)
        log = MemoryLog()
        for round_ in range(20):
            log.append([batch(log.end_offset, 1 + round_)], log.flushed_end)
            if round_ % 3 == 0:
                log.crash(rng)
        ends.append((log.summary(), everything(log)))

    assert ends[0] == ends[1]


def test_a_flush_covers_what_it_began_with_and_no_more():
    log = half_flushed()
    began_at = log.end_offset
    log.append([batch(10, 1)], Offset(4))
    log.flush_to(began_at)
    assert log.flushed_end == 10

    log.flush_to(Offset(6))
    assert log.flushed_end == 10


def test_a_flush_that_ends_after_a_cut_does_not_cover_what_came_instead():
    log = half_flushed()
    log.truncate_to(Offset(6))
    log.flush_to(Offset(10))

    assert log.flushed_end == 6


def test_a_cut_is_durable():
    log = half_flushed()
    log.flush()
    log.truncate_to(Offset(6))
    assert log.flushed_end == 6
    log.append([batch(6, 2)], Offset(6))
    for seed in range(10):
        twin = log.copy()
        twin.crash(random.Random(seed))
        assert everything(twin)[:3] == row(3)


def test_a_crash_forgets_snapshots_that_were_not_complete():
    log = half_flushed()
    log.flush()
    write_snapshot(log, point(4, 1))
    log.new_snapshot(point(6, 1)).append(snapshot_batches(point(6, 1))[0])
    fetch_snapshot(log, point(100, 3), snapshot_bytes(point(100, 3)))
    log.crash(random.Random(1))

    assert log.summary().snapshots == (point(4, 1),)
    with pytest.raises(SnapshotNotFound):
        log.read_snapshot_chunk(point(6, 1), 0, 10)


def test_a_log_that_a_crash_leaves_short_of_its_snapshot_restarts_there():
    """It cannot happen to a voter, whose snapshots end below what it flushed; a broker does not flush."""
    log = MemoryLog()
    log.append(row(5), Offset(0))
    write_snapshot(log, point(8, 1), 1)
    ends = set()
    for seed in range(20):
        twin = log.copy()
        twin.crash(random.Random(seed))
        ends.add(twin.summary().end.offset)
        assert twin.summary().start in (0, 8)

    assert ends == {8, 10}


def test_copies_go_their_own_ways():
    log = half_flushed()
    fetch_snapshot(log, point(100, 3), snapshot_bytes(point(100, 3))[:50], chunk=50)
    before = log.summary()
    twin = log.copy()
    assert (twin.summary(), everything(twin), twin.flushed_end) == (before, everything(log), 4)

    twin.write_snapshot_chunk(point(100, 3), 50, snapshot_bytes(point(100, 3))[50:])
    twin.install_snapshot(point(100, 3))
    log.append([batch(10, 2)], Offset(4))
    log.write_snapshot_chunk(point(100, 3), 50, b"")

    assert twin.summary().end == point(100, 3)
    assert log.summary().end == point(12, 2)
    assert log.summary().snapshots == ()


def test_the_formatted_voters_are_known_before_the_first_record():
    log = MemoryLog()
    log.format(V1, voters(1, 2, 3))

    assert log.summary().snapshots == (LOG_START,)
    assert log.summary().control == ((-1, V1), (-1, voters(1, 2, 3)))
    checker = SnapshotChecker(LOG_START)
    for one in log.snapshot_records(LOG_START):
        checker.add(one)
    assert checker.finish().control == (V1, voters(1, 2, 3))


def test_a_batch_is_found_by_its_first_offset():
    log = half_flushed()

    assert log.at(Offset(4)) == row(5)[2]
    assert log.at(Offset(5)) is None
    assert log.at(Offset(10)) is None
