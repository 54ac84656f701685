"""A full disk and the reserve, seen from the vote and from retention; formats that meet; whose fault an error is."""

import errno
import os
import random
from pathlib import Path

import attrs
import pytest

from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, random_uuid
from quorate.metadata.log.directory import (
    FormatPlan,
    Formatted,
    InitialVoter,
    Quorum,
    format_directory,
    open_directory,
)
from quorate.metadata.log.files import File, Mode, RealFiles, storage_failed
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.log.layout import LOCK, RESERVE
from quorate.metadata.log.refusals import AlreadyFormatted, NotFormatted
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from quorate.metadata.quorum.election_state import ElectionState
from tests.metadata.log.building import point, row, write_snapshot
from tests.metadata.log.faulty_files import FaultyFiles

HERE = Path("/directory")
SMALL = LogConfig(segment_bytes=600, preallocate_bytes=200, reserve_bytes=2_000)


def plan(directory: Path) -> FormatPlan:
    return FormatPlan(
        directory=directory,
        cluster_id="MkU3OEVBNTcwNTJENDM2Qg",
        node_id=NodeId(1),
        listener="CONTROLLER",
        is_controller=True,
        quorum=Quorum.STANDALONE,
        endpoint=Endpoint("CONTROLLER", "host1", 9093),
    )


def fill_up(files: FaultyFiles) -> None:
    files.capacity = sum(inode.room for inode in files.names_now.values())


def test_a_vote_is_written_on_a_full_disk():
    files = FaultyFiles()
    format_directory(plan(HERE), random.Random(1), files)
    found = open_directory(HERE, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
    fill_up(files)
    vote = ElectionState(Epoch(7), NodeId(1))
    found.elections.write(vote)

    assert found.elections.read() == vote
    assert found.log.free_bytes() == 0, "the node is told to refuse writes"
    found.close()


def test_without_a_reserve_the_vote_is_not_given():
    files = FaultyFiles()
    format_directory(plan(HERE), random.Random(1), files)
    found = open_directory(HERE, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
    found.log.reserve.release()
    fill_up(files)
    with pytest.raises(StorageFailed, match="file system is full"):
        found.elections.write(ElectionState(Epoch(7), NodeId(1)))

    assert found.elections.read() == ElectionState.primordial()
    found.close()


def test_room_that_retention_gives_back_becomes_the_reserve_again():
    files = FaultyFiles()
    log, _ = SegmentedLog.open(files, HERE, SMALL)
    log.append(row(40), Offset(0))
    log.flush()
    write_snapshot(log, point(80, 1))
    log.reserve.release()
    fill_up(files)
    log.drop_prefix(Offset(0), [])
    assert log.free_bytes() == 0
    assert RESERVE not in files.names(HERE)

    log.drop_prefix(Offset(80), [])
    assert RESERVE in files.names(HERE)
    assert log.free_bytes() > 0
    log.close()


def test_a_disk_that_has_room_again_is_full_no_more():
    """Somebody else's file went. The node asks each second, and nothing else would take the reserve again."""
    files = FaultyFiles()
    log, _ = SegmentedLog.open(files, HERE, SMALL)
    log.append(row(40), Offset(0))
    log.reserve.release()
    fill_up(files)
    assert log.free_bytes() == 0

    files.capacity += SMALL.reserve_bytes
    assert log.free_bytes() == 0, "not before there is more than the reserve takes"
    files.capacity += 1000
    assert log.free_bytes() == 1000
    assert RESERVE in files.names(HERE)
    log.close()


def with_list(directory: Path, directory_id_seed: int) -> FormatPlan:
    voter = InitialVoter(
        id=NodeId(1), host="host1", port=9093, directory_id=random_uuid(random.Random(directory_id_seed))
    )
    return attrs.evolve(plan(directory), quorum=Quorum.INITIAL_CONTROLLERS, initial=(voter,))


def test_a_disk_that_the_list_does_not_know_is_not_skipped(tmp_path):
    done = format_directory(with_list(tmp_path, 5), random.Random(1))
    again = attrs.evolve(with_list(tmp_path, 5), ignore_formatted=True)
    assert format_directory(again, random.Random(1)) == Formatted(meta=done.meta, already=True)

    other = attrs.evolve(with_list(tmp_path, 6), ignore_formatted=True)
    with pytest.raises(AlreadyFormatted, match="with the directory id"):
        format_directory(other, random.Random(1))


class Overtaken(RealFiles):
    """Another format of the same directory comes to its end while this one waits for the lock."""

    def __init__(self, other: FormatPlan) -> None:
        self._other: FormatPlan | None = other
        self.done: Formatted | None = None

    def open(self, path: Path, mode: Mode) -> File:
        if path.name == LOCK and self._other is not None:
            other, self._other = self._other, None
            self.done = format_directory(other, random.Random(2))
        return super().open(path, mode)


def test_of_two_formats_at_once_one_counts(tmp_path):
    files = Overtaken(plan(tmp_path))
    with pytest.raises(AlreadyFormatted):
        format_directory(plan(tmp_path), random.Random(3), files)

    found = open_directory(tmp_path, node_id=NodeId(1), is_controller=True, log_config=SMALL)
    assert files.done is not None
    assert found.meta == files.done.meta
    found.close()


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotFormatted, match="a file, or goes through one"):
            open_directory(path, node_id=NodeId(1), is_controller=True)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "start the node as the user who owns the directory"),
        (errno.EROFS, "must not be mounted read-only"),
        (errno.ENOSPC, "make room on this file system"),
        (errno.EIO, "look at the system's log for disk errors"),
    ],
)
def test_an_error_says_what_to_do_about_it(code, advice):
    error = storage_failed("Opening the log", Path("/d/x.log"), OSError(code, os.strerror(code)))

    assert str(error).startswith(f"Opening the log failed: {os.strerror(code)} ({errno.errorcode[code]})\n")
    assert "where: /d/x.log" in str(error)
    assert advice in str(error)
