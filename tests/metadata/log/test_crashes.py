"""The power goes at every single operation, and the disk lies as disks do: what is left must be the truth.

A seeded script of appends, flushes, cuts, snapshots and installs runs on `FaultyFiles`; a second run of the same script
ends at operation n, for every n. `Expected` knows what had been promised by then.
"""

import contextlib
import errno
import random
from pathlib import Path

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from quorate.metadata.quorum.election_state import ElectionState
from tests.metadata.log.building import (
    batch,
    everything,
    fetch_snapshot,
    point,
    row,
    snapshot_batches,
    snapshot_bytes,
)
from tests.metadata.log.faulty_files import FaultyFiles, ProcessEnds

HERE = Path("/directory")
CONFIG = LogConfig(segment_bytes=1500, preallocate_bytes=1024, reserve_bytes=600, tail_cache_batches=2)
STEPS = 14


def open_log(files: FaultyFiles, config: LogConfig = CONFIG) -> SegmentedLog:
    log, _ = SegmentedLog.open(files, HERE, config)
    return log


@attrs.define
class Expected:
    """What the next process may find. `flushed` says from where on batches may be missing."""

    start: int = 0
    batches: list[RecordBatch] = attrs.field(factory=list)
    """What is in the log now, flushed or not; while a cut or an install runs, what is left if it was not done."""
    flushed: int = 0
    base: OffsetAndEpoch = LOG_START
    """Where the log would begin without a record: the installed snapshot."""
    installing: OffsetAndEpoch | None = None
    cutting: int | None = None
    dropping: int = 0
    voted: int = 0
    voting: int = 0
    snapshots: set[OffsetAndEpoch] = attrs.field(factory=set)
    """Promised to be there."""
    possible: set[OffsetAndEpoch] = attrs.field(factory=set)
    mark: int = 0

    @property
    def end(self) -> int:
        return self.batches[-1].end_offset if self.batches else self.base.offset

    @property
    def epoch(self) -> int:
        return self.batches[-1].epoch if self.batches else self.base.epoch


class Script:
    """A node's life, decided by a seed; each step says first what may be, then does it, then what must be."""

    def __init__(self, seed: int, files: FaultyFiles, expected: Expected) -> None:
        self.rng = random.Random(seed)
        self.files = files
        self.expected = expected

    def run(self, steps: int = STEPS) -> None:
        log = open_log(self.files)
        elections = QuorumStateFile(self.files, HERE)
        for _ in range(steps):
            step = self.rng.choices(
                (self.append, self.flush, self.cut, self.snapshot, self.install, self.drop),
                (10, 6, 3, 3, 1, 2),
            )[0]
            step(log)
            if self.rng.random() < 0.2:
                self.vote(elections)
            if self.rng.random() < 0.08:
                log.close()
                log = open_log(self.files)
                self.expected.flushed = self.expected.end
        log.close()

    def append(self, log: SegmentedLog) -> None:
        known, rng = self.expected, self.rng
        added: list[RecordBatch] = []
        end, epoch = known.end, max(1, known.epoch) + (rng.random() < 0.3)
        for _ in range(rng.randint(1, 4)):
            known.mark += 1
            fill = rng.choice((5, 100, 500, 1100))
            added.append(batch(end, epoch, count=rng.randint(1, 3), fill=fill, mark=known.mark))
            end = added[-1].end_offset
        known.batches += added
        log.append(added, Offset(known.flushed))

    def flush(self, log: SegmentedLog) -> None:
        log.flush()
        self.expected.flushed = self.expected.end

    def cut(self, log: SegmentedLog) -> None:
        known = self.expected
        lowest = max((one.offset for one in known.possible), default=0)
        ends = [one.end_offset for one in known.batches if one.end_offset >= max(lowest, known.start)]
        if not ends:
            return
        end = self.rng.choice(ends)
        known.cutting = end
        # From here on what lies behind the cut is nobody's promise.
        known.flushed = min(known.flushed, end)
        log.truncate_to(Offset(end))
        known.batches = [one for one in known.batches if one.end_offset <= end]
        known.cutting = None

    def snapshot(self, log: SegmentedLog) -> None:
        known = self.expected
        newest = max((one.offset for one in known.possible), default=0)
        ends = [one.end for one in known.batches if newest < one.end_offset <= known.flushed]
        if not ends:
            return
        snapshot_id = self.rng.choice(ends)
        known.possible.add(snapshot_id)
        writer = log.new_snapshot(snapshot_id)
        for one in snapshot_batches(snapshot_id, 1):
            writer.append(one)
        writer.finish()
        known.snapshots.add(snapshot_id)

    def install(self, log: SegmentedLog) -> None:
        known = self.expected
        snapshot_id = point(known.end + self.rng.randint(1, 50), known.epoch + 1)
        known.installing = snapshot_id
        known.possible.add(snapshot_id)
        fetch_snapshot(log, snapshot_id, snapshot_bytes(snapshot_id, 1, 2), chunk=300)
        log.install_snapshot(snapshot_id)
        known.base, known.batches, known.start = snapshot_id, [], snapshot_id.offset
        known.flushed = snapshot_id.offset
        known.dropping = 0
        known.snapshots.add(snapshot_id)
        known.installing = None

    def drop(self, log: SegmentedLog) -> None:
        known = self.expected
        ids = sorted(known.snapshots, key=lambda one: one.offset)
        if not ids:
            return
        known.dropping = max(known.dropping, ids[-1].offset)
        known.snapshots = {ids[-1]}
        log.drop_prefix(Offset(ids[-1].offset), ids[:-1])

    def vote(self, elections: QuorumStateFile) -> None:
        self.expected.voting += 1
        epoch = self.expected.voting
        elections.write(ElectionState(Epoch(epoch), None, ReplicaKey(NodeId(epoch % 5))))
        self.expected.voted = epoch


def check_what_is_left(files: FaultyFiles, known: Expected) -> SegmentedLog:
    """The log opens, everything that was flushed is there, and nothing that never was."""
    log = open_log(files)
    found, summary = list(everything(log)), log.summary()
    ids = set(summary.snapshots)
    assert known.snapshots <= ids <= known.possible
    if known.installing is not None and summary.start == known.installing.offset and known.installing in ids:
        assert found == []
        assert summary.end == known.installing
        return log
    assert summary.end.offset >= known.flushed
    assert summary.start <= max(known.start, known.dropping)
    by_base = {one.base_offset: one for one in known.batches}
    kept = [one for one in found if one.end_offset > known.start]
    for one in kept:
        assert one.data == by_base[one.base_offset].data
    assert summary.end == (kept[-1].end if kept else summary.end)
    return log


@pytest.mark.parametrize("seed", range(12))
def test_whatever_was_promised_survives_a_crash_at_every_operation(seed: int) -> None:
    whole = FaultyFiles()
    Script(seed, whole, Expected()).run()
    step = max(1, whole.operations // 150)
    for stop in range(1 + seed % step, whole.operations + 1, step):
        files, known = FaultyFiles(), Expected()
        files.stop_at = stop
        script = Script(seed, files, known)
        with pytest.raises(ProcessEnds):
            script.run()
        files.crash(random.Random(f"{seed} {stop}"))
        check_the_vote(files, known)
        check_what_is_left(files, known).close()
        files.crash(random.Random(f"{seed} {stop} again"))
        log = check_what_is_left(files, known)
        life_goes_on(files, known, log, seed)


def check_the_vote(files: FaultyFiles, known: Expected) -> None:
    """Never older than the last that `write` returned for, never one that nobody asked to write."""
    if known.voted == 0:
        return
    found = QuorumStateFile(files, HERE).read()
    assert known.voted <= found.epoch <= known.voting
    assert found.voted == ReplicaKey(NodeId(found.epoch % 5))


def life_goes_on(files: FaultyFiles, known: Expected, log: SegmentedLog, seed: int) -> None:
    """What was found is flushed now; it goes on growing, and bytes cut off before stay away."""
    found, summary = list(everything(log)), log.summary()
    later = row(3, base=summary.end.offset, epoch=summary.end.epoch + 1, fill=300)
    log.append(later[:2], summary.end.offset)
    log.flush()
    log.append(later[2:], later[1].end_offset)
    files.crash(random.Random(seed))
    log = open_log(files)
    after = list(everything(log))
    assert after[: len(found) + 2] == [*found, *later[:2]]
    assert after[len(found) + 2 :] in ([], later[2:])
    log.close()


@pytest.mark.parametrize("seed", range(20))
def test_recovery_itself_may_be_interrupted(seed: int) -> None:
    """A crash, then a crash at every operation of the recovery, then the same truth."""
    rng = random.Random(seed)
    for stop in range(1, 200):
        files, known = FaultyFiles(), Expected()
        files.stop_at = 60 + rng.randint(0, 60)
        with contextlib.suppress(ProcessEnds):
            Script(seed, files, known).run()
        files.crash(random.Random(f"{seed} first"))
        files.operations, files.stop_at = 0, stop
        try:
            open_log(files).close()
        except ProcessEnds:
            files.crash(random.Random(f"{seed} {stop}"))
            check_what_is_left(files, known).close()
        else:
            return
    raise AssertionError("recovery never ended")


def test_short_writes_and_reads_are_gone_on_with() -> None:
    files = FaultyFiles()
    files.short = random.Random(3)
    log = open_log(files)
    batches = [batch(2 * index, fill=700) for index in range(6)]
    log.append(batches, Offset(0))
    log.flush()
    assert log.read(Offset(0), Offset(12), 1 << 20) == batches
    log.close()
    files.crash(random.Random(0))
    log = open_log(files)
    assert everything(log) == batches
    log.close()


# ---- errors ----------------------------------------------------------------------------------------------


def test_after_a_failed_fsync_nothing_is_tried_again() -> None:
    files = FaultyFiles()
    log = open_log(files)
    log.append(row(1), Offset(0))
    log.flush()
    log.append(row(1, base=2), Offset(2))
    files.fail = {"fsync": errno.EIO}
    with pytest.raises(StorageFailed, match="Flushing the log failed"):
        log.flush()
    files.fail = {}
    for call in (
        log.flush,
        lambda: log.append(row(1, base=4), Offset(2)),
        lambda: log.truncate_to(Offset(2)),
        lambda: log.new_snapshot(point(2, 1)),
        lambda: log.write_snapshot_chunk(point(9, 9), 0, b"x"),
        lambda: log.install_snapshot(point(9, 9)),
        lambda: log.drop_prefix(Offset(0), ()),
    ):
        with pytest.raises(StorageFailed, match="Flushing the log failed"):
            call()

    assert files.synced_after_failure == []
    files.crash(random.Random(1))
    log = open_log(files)
    assert everything(log)[:1] == row(1)
    log.close()


def test_what_a_failed_fsync_left_clean_in_memory_is_written_anew_by_the_next_process() -> None:
    """Only the process ended, not the machine: the pages are readable, clean, and not on disk."""
    files = FaultyFiles()
    log = open_log(files)
    log.append(row(2), Offset(0))
    files.fail = {"fsync": errno.EIO}
    with pytest.raises(StorageFailed):
        log.flush()
    log.close()
    files.fail = {}
    log = open_log(files)
    found = everything(log)
    log.close()
    files.crash(random.Random(0))
    log = open_log(files)

    assert everything(log) == found == row(2)
    log.close()


@pytest.mark.parametrize("kind", ["fsync", "rename", "names", "write"])
def test_an_error_while_a_snapshot_is_finished_ends_the_log(kind: str) -> None:
    files = FaultyFiles()
    log = open_log(files)
    log.append(row(2), Offset(0))
    log.flush()
    writer = log.new_snapshot(point(4, 1))
    files.fail = {kind: errno.EIO}
    with pytest.raises(StorageFailed):  # noqa: PT012
        for one in snapshot_batches(point(4, 1)):
            writer.append(one)
        writer.finish()
    files.fail = {}

    assert log.summary().snapshots == ()
    with pytest.raises(StorageFailed):
        log.append(row(1, base=4), Offset(4))


@pytest.mark.parametrize("kind", ["fsync", "rename", "names", "open"])
def test_an_error_while_a_snapshot_is_installed_ends_the_log(kind: str) -> None:
    files = FaultyFiles()
    log = open_log(files)
    log.append(row(2), Offset(0))
    log.flush()
    fetch_snapshot(log, point(50, 3), snapshot_bytes(point(50, 3)))
    files.fail = {kind: errno.EIO}
    with pytest.raises(StorageFailed):
        log.install_snapshot(point(50, 3))
    files.fail = {}
    with pytest.raises(StorageFailed):
        log.append(row(1, base=4), Offset(4))


@pytest.mark.parametrize("kind", ["fsync", "rename", "names", "write"])
def test_a_vote_that_could_not_be_written_was_not_given(kind: str) -> None:
    files = FaultyFiles()
    elections = QuorumStateFile(files, HERE)
    elections.write(ElectionState(Epoch(1)))
    files.fail = {kind: errno.EIO}
    with pytest.raises(StorageFailed, match="Writing the vote failed"):
        elections.write(ElectionState(Epoch(2)))
    files.crash(random.Random(2))

    assert elections.read().epoch in (1, 2)


# ---- a full disk -------------------------------------------------------------------------------------------


def fill_up(log: SegmentedLog) -> tuple[int, bool]:
    """Appends until the disk is full; (where the log ends, whether the reserve was given up before)."""
    end, leaned = 0, False
    while end < 10_000:
        try:
            log.append([batch(end, fill=300)], Offset(0))
        except StorageFailed as failed:
            if "the file system is full" not in str(failed):
                raise
            return end, leaned
        leaned = leaned or log.free_bytes() == 0
        end += 2
    raise AssertionError("the disk never was full")


@pytest.mark.parametrize("preallocate", [512, 4096])
def test_a_full_disk_is_met_before_the_reserve_is_gone(preallocate: int) -> None:
    """Also where a step of preallocation is larger than the reserve: then single batches still fit in."""
    files = FaultyFiles(capacity=20_000)
    config = LogConfig(segment_bytes=1 << 20, preallocate_bytes=preallocate, reserve_bytes=2048)
    log = open_log(files, config)
    assert log.free_bytes() > 0
    end, leaned = fill_up(log)

    assert leaned
    assert log.free_bytes() == 0
    with pytest.raises(StorageFailed):
        log.flush()
    files.capacity = None
    files.crash(random.Random(0))
    log = open_log(files, config)
    assert log.summary().end.offset <= end
    assert log.free_bytes() > 0
    log.close()


def test_a_start_without_room_for_the_reserve_says_that_there_is_none() -> None:
    files = FaultyFiles(capacity=1000)
    log = open_log(files, LogConfig(preallocate_bytes=512, reserve_bytes=2048))

    assert log.free_bytes() == 0
    assert "reserve" not in files.names(HERE)
    log.append(row(1), Offset(0))
    log.flush()
    assert everything(log) == row(1)
    log.close()
