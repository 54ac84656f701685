"""What the owner does while a worker flushes. The flush is interrupted at a chosen call of the system, in one thread:
the log holds no lock there, so this is exactly what two threads would do, in an order that never varies."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Offset
from quorate.metadata.log.files import Mode, read_whole
from quorate.metadata.log.layout import FLUSHED, segment_name, unpack_mark
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from tests.metadata.log.building import (
    batch,
    everything,
    fetch_snapshot,
    point,
    row,
    snapshot_bytes,
    write_snapshot,
)
from tests.metadata.log.faulty_files import FaultyFile, FaultyFiles

HERE = Path("/directory")
TWO_A_SEGMENT = LogConfig(segment_bytes=300, preallocate_bytes=100, reserve_bytes=100)


class _File(FaultyFile):
    def fdatasync(self) -> None:
        """What is written from now on came too late for this flush."""
        super().fdatasync()
        disk = self._disk
        assert isinstance(disk, InterruptedFiles)
        meanwhile, disk.meanwhile = disk.meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def close(self) -> None:
        super().close()
        self._disk.closed.append(self._path.name)  # type: ignore[attr-defined]


class InterruptedFiles(FaultyFiles):
    """After the next fdatasync the owner comes and does something, then the flush goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None
        self.closed: list[str] = []

    def open(self, path: Path, mode: Mode) -> FaultyFile:
        file = super().open(path, mode)
        return _File(self, file._inode, path)

    def mark(self) -> int | None:
        return unpack_mark(read_whole(self, HERE / FLUSHED))


def opened(files: FaultyFiles) -> SegmentedLog:
    log, _ = SegmentedLog.open(files, HERE, TWO_A_SEGMENT)
    return log


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("flushed_again", [False, True])
def test_what_is_appended_during_a_flush_belongs_to_the_next(seed: int, flushed_again: bool) -> None:
    """Into the segment that is being flushed, and, after a roll, into others."""
    files = InterruptedFiles()
    log = opened(files)
    before, meanwhile = row(1), row(6, base=2)
    log.append(before, Offset(0))
    files.meanwhile = lambda: log.append(meanwhile, Offset(0))
    log.flush()
    assert files.mark() == 2
    assert everything(log) == before + meanwhile

    if flushed_again:
        log.flush()
        assert files.mark() == 14
    files.crash(random.Random(seed))
    left = everything(opened(files))

    assert left == (before + meanwhile)[: len(left)]
    assert len(left) >= (7 if flushed_again else 1)


def test_some_of_what_came_too_late_is_lost_in_some_crash() -> None:
    """Otherwise the test above would prove nothing."""
    lengths = set()
    for seed in range(30):
        files = InterruptedFiles()
        log = opened(files)
        log.append(row(1), Offset(0))
        files.meanwhile = lambda log=log: log.append(row(6, base=2), Offset(0))  # type: ignore[misc]
        log.flush()
        files.crash(random.Random(seed))
        lengths.add(len(everything(opened(files))))

    assert min(lengths) == 1
    assert len(lengths) > 2


def misuses(log: SegmentedLog) -> dict[str, Callable[[], None]]:
    return {
        "cut": lambda: log.truncate_to(Offset(2)),
        "install": lambda: log.install_snapshot(point(50, 2)),
        "flush": log.flush,
    }


@pytest.mark.parametrize("misuse", ["cut", "install", "flush"])
def test_what_must_not_meet_a_flush_is_noticed_and_does_nothing(misuse: str) -> None:
    files = InterruptedFiles()
    log = opened(files)
    log.append(row(3), Offset(0))
    fetch_snapshot(log, point(50, 2), snapshot_bytes(point(50, 2)))
    before = log.summary()
    raised: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(InvariantViolated) as caught:
            misuses(log)[misuse]()
        raised.append(str(caught.value))

    files.meanwhile = meanwhile
    log.flush()

    assert len(raised) == 1
    assert log.summary() == before
    assert files.mark() == 6
    log.truncate_to(Offset(2))
    log.install_snapshot(point(50, 2))
    assert log.summary().end == point(50, 2)
    log.close()


def test_a_segment_that_retention_drops_lives_until_the_flush_has_ended() -> None:
    """A broker does not wait for its disk: its snapshot may end behind what it has flushed."""
    files = InterruptedFiles()
    log = opened(files)
    log.append(row(6), Offset(0))
    write_snapshot(log, point(8, 1))
    first = segment_name(Offset(0))
    closed_during_flush: list[str] = []

    def meanwhile() -> None:
        files.closed.clear()
        log.drop_prefix(Offset(8), [])
        closed_during_flush.extend(files.closed)

    files.meanwhile = meanwhile
    log.flush()

    assert first not in files.names(HERE)
    assert first not in closed_during_flush
    assert first in files.closed
    assert everything(log) == row(6)[4:]
    log.append([batch(12, 1)], Offset(12))
    log.flush()
    assert files.mark() == 14
    log.close()


def test_a_snapshot_that_is_finished_beside_the_owner_is_in_the_next_summary() -> None:
    """The worker renames it while the owner keeps asking and appending."""
    files = InterruptedFiles()
    log = opened(files)
    log.append(row(3), Offset(0))

    def meanwhile() -> None:
        log.summary()
        write_snapshot(log, point(4, 1))
        assert log.summary().snapshots == (point(4, 1),)
        log.append(row(1, base=6), Offset(0))

    files.meanwhile = meanwhile
    log.flush()

    assert log.summary().snapshots == (point(4, 1),)
    assert log.summary().end == point(8, 1)
    log.close()
