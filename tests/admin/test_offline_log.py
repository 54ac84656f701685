"""Directories as they lie on a disk: what is read from them, at any offset, and what `log verify` finds."""

import itertools

import pytest

from quorate.admin.errors import Refused
from quorate.admin.offline_log import Ends, LogFiles, Piece
from quorate.admin.verifying import verify_directory
from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.log.directory import open_directory
from quorate.metadata.log.refusals import CorruptLog, QuorumStateRefused
from quorate.metadata.quorum.election_state import ElectionState
from tests.admin.disks import BATCHES, ENDS, Disk, topic


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "data")


def _names(image):
    return list(image.topics.names())


def _flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)


def test_every_batch_is_found_with_its_place(disk):
    pieces = list(LogFiles.at(disk.path).pieces())

    assert [piece.batch.base_offset for piece in pieces] == [0, 1, 2, 4, 5]
    assert [piece.batch.is_control for piece in pieces] == [True, False, False, False, False]
    assert pieces[0].position == 0
    assert all(earlier.position < later.position for earlier, later in itertools.pairwise(pieces))


def test_the_state_at_every_offset(disk):
    files = LogFiles.at(disk.path)

    assert _names(files.image()) == ["a", "b", "c"]
    assert [_names(files.image(Offset(end - 1))) for end in ENDS] == [
        [],
        ["a", "b"],
        ["a", "b"],
        ["a", "b", "c"],
    ]
    assert [files.image(Offset(end - 1)).offset for end in ENDS] == [1, 3, 4, 5]


@pytest.mark.parametrize("offset", [2, 6, 100])
def test_there_is_no_state_inside_a_batch_or_behind_the_end(disk, offset):
    with pytest.raises(Refused, match="There is no such state"):
        LogFiles.at(disk.path).image(Offset(offset))


def test_a_snapshot_is_where_reading_begins(disk):
    records = [*BATCHES[0], topic("a"), topic("b")]
    with disk.opened() as log:
        disk.snapshot(log, 4, records)
        before = LogFiles.at(disk.path).image()
        log.drop_prefix(Offset(4), [])
    after = LogFiles.at(disk.path).image()

    assert _names(after) == _names(before) == ["a", "b", "c"]
    assert before == after
    assert _names(LogFiles.at(disk.path).image(Offset(3))) == ["a", "b"]


def test_a_snapshot_file_is_read_by_its_name(disk):
    with disk.opened() as log:
        disk.snapshot(log, 4, [*BATCHES[0], topic("a")])
    pieces = list(LogFiles.at(disk.path / "00000000000000000004-0000000001.checkpoint").pieces())

    assert [piece.batch.is_control for piece in pieces] == [True, False, True]


def test_where_the_intact_batches_end_is_told(disk):
    *_, last = [piece for piece in LogFiles.at(disk.path).pieces() if isinstance(piece, Piece)]
    _flip(disk.segment, last.position + 40)

    *kept, end = LogFiles.at(disk.path).pieces()

    assert [piece.batch.base_offset for piece in kept] == [0, 1, 2, 4]
    assert isinstance(end, Ends)
    assert end.position == last.position
    assert "crc" in end.why


def test_verifying_a_good_directory(disk):
    with disk.opened() as log:
        disk.snapshot(log, 4, [*BATCHES[0], topic("a"), topic("b")])

    found = verify_directory(disk.path)

    assert [(str(one.id), one.records, one.agrees) for one in found.snapshots] == [("4@1", 3, True)]
    assert (found.offset, found.info.log.end.offset) == (5, 6)


def test_an_intact_snapshot_that_tells_another_story_is_found(disk):
    with disk.opened() as log:
        disk.snapshot(log, 4, [*BATCHES[0], topic("a")])

    with pytest.raises(Refused, match="Snapshot 4@1 differs from the log"):
        verify_directory(disk.path)


def test_a_snapshot_whose_log_is_gone_cannot_be_compared(disk):
    with disk.opened() as log:
        disk.snapshot(log, 6, [*BATCHES[0], *map(topic, "abc")])
        log.drop_prefix(Offset(6), [])
    disk.segment.unlink(missing_ok=True)

    found = verify_directory(disk.path)

    assert [one.agrees for one in found.snapshots if one.id.offset == 6] in ([None], [True])
    assert found.offset == 5


def test_damage_below_what_was_flushed_is_not_verified(disk):
    pieces = list(LogFiles.at(disk.path).pieces())
    _flip(disk.segment, pieces[1].position + 40)

    with pytest.raises(CorruptLog):
        verify_directory(disk.path)


def test_votes_that_are_older_than_the_log_are_found(disk):
    opened = open_directory(disk.path, node_id=NodeId(1), is_controller=True)
    opened.elections.write(ElectionState.primordial())
    opened.close()

    with pytest.raises(QuorumStateRefused, match="older than the log"):
        verify_directory(disk.path)
