"""What opening a log does with damaged files: surgery on real ones, one test for each rule.

The rules turn on one question, whether the node had said that it has the bytes. `log_of` writes batches of two
records; where a later batch, or the flushed mark, says "flushed up to here", what is missing below is a refusal.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from crc32c import crc32c

from quorate.metadata.batch import HEADER_BYTES, RecordBatch
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.layout import (
    FLUSHED,
    PREFIX_BYTES,
    pack_mark,
    pack_prefix,
    segment_name,
    snapshot_name,
)
from quorate.metadata.log.recovery import RecoveryReport, survey
from quorate.metadata.log.refusals import (
    CorruptLog,
    LogStartsTooLate,
    SnapshotRefused,
    StorageRefused,
    UnknownRecord,
)
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from tests.metadata.log.building import (
    batch,
    control,
    everything,
    fetch_snapshot,
    point,
    row,
    snapshot_batches,
    snapshot_bytes,
    voters,
    write_snapshot,
)
from tests.metadata.log.golden import Case, expected, told

CONFIG = LogConfig(preallocate_bytes=4096, reserve_bytes=4096)
ONE_EACH = LogConfig(segment_bytes=1, preallocate_bytes=4096, reserve_bytes=4096)
BATCH = PREFIX_BYTES + len(batch(0).data)
"""Room that one batch takes in a segment."""


def open_log(directory: Path, config: LogConfig = CONFIG) -> tuple[SegmentedLog, RecoveryReport]:
    return SegmentedLog.open(RealFiles(), directory, config)


def log_of(
    directory: Path, batches: Sequence[RecordBatch], *, flushed: int = 0, config: LogConfig = CONFIG
) -> None:
    """A closed log of these batches; those below `flushed` are known to be flushed, by the mark."""
    log, _ = open_log(directory, config)
    log.append(batches, Offset(0))
    log.flush()
    log.close()
    mark(directory, flushed)


def mark(directory: Path, flushed: int) -> None:
    (directory / FLUSHED).write_bytes(pack_mark(Offset(flushed)))


def segment(directory: Path, base: int = 0) -> Path:
    return directory / segment_name(Offset(base))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def overwrite(path: Path, position: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[position : position + len(new)] = new
    path.write_bytes(data)


def placed(one: RecordBatch, *, base: int, position: int, flushed: int = 0) -> bytes:
    """A batch with the prefix that this node would give it there."""
    return pack_prefix(Offset(base), position, Offset(flushed), one.data) + one.data


def reopened(directory: Path) -> tuple[list[RecordBatch], RecoveryReport]:
    """Opens twice: what is found the first time is the whole truth, the second time nothing is left to do."""
    log, report = open_log(directory)
    found, summary = list(everything(log)), log.summary()
    log.close()
    again, second = open_log(directory)
    assert again.summary() == summary
    assert everything(again) == found
    assert (second.torn, second.dropped, second.removed_parts) == (None, None, ())
    again.close()
    return found, report


def tree(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


# ---- torn tails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 5, PREFIX_BYTES - 1, PREFIX_BYTES, PREFIX_BYTES + 9, BATCH - 1])
@pytest.mark.parametrize("flushed", [0, 4])
def test_a_torn_tail_at_or_above_the_bound_is_cut_and_reported(tmp_path: Path, at: int, flushed: int) -> None:
    log_of(tmp_path, row(5), flushed=flushed)
    flip(segment(tmp_path), 2 * BATCH + at)
    found, report = reopened(tmp_path)

    assert found == row(2)
    assert report.torn is not None
    assert (report.torn.offset, report.torn.position) == (4, 2 * BATCH)
    assert report.torn.flushed_to == flushed
    assert report.torn.name == "00000000000000000000.log"
    text = "\n".join(report.lines())
    assert f"torn tail cut at offset 4 (byte {2 * BATCH} of 00000000000000000000.log: " in text
    assert f"known to be flushed: offset {flushed}" in text


def test_what_was_cut_does_not_come_back_when_the_log_grows_over_it(tmp_path: Path) -> None:
    """The batches behind the torn one were intact: cut they are gone, even where nothing overwrites them."""
    log_of(tmp_path, row(5))
    flip(segment(tmp_path), 2 * BATCH + 3)
    log, _ = open_log(tmp_path)
    log.append([batch(4, 2)], Offset(4))
    log.flush()
    log.close()
    found, _ = reopened(tmp_path)

    assert found == [*row(2), batch(4, 2)]


@pytest.mark.parametrize("size", [2 * BATCH + 1, 2 * BATCH + PREFIX_BYTES, 3 * BATCH - 1])
def test_a_file_that_ends_inside_a_batch(tmp_path: Path, size: int) -> None:
    log_of(tmp_path, row(3), flushed=4)
    with segment(tmp_path).open("r+b") as file:
        file.truncate(size)
    found, report = reopened(tmp_path)

    assert found == row(2)
    assert report.torn is not None
    assert report.torn.offset == 4


@pytest.mark.parametrize("zeros", [0, 1, 4096, 3 * 1024 * 1024])
def test_a_zero_filled_remainder_is_the_end(tmp_path: Path, zeros: int) -> None:
    log_of(tmp_path, row(3), flushed=6)
    data = segment(tmp_path).read_bytes()[: 3 * BATCH]
    segment(tmp_path).write_bytes(data + bytes(zeros))
    found, report = reopened(tmp_path)

    assert found == row(3)
    assert report.torn is None


def test_a_hole_of_zeros_in_front_of_other_bytes_is_no_end(tmp_path: Path) -> None:
    log_of(tmp_path, row(4), flushed=2)
    overwrite(segment(tmp_path), BATCH, bytes(BATCH))
    found, report = reopened(tmp_path)

    assert found == row(1)
    assert report.torn is not None
    assert report.torn.offset == 2


def test_zeros_below_the_bound_are_lost_data(tmp_path: Path) -> None:
    log_of(tmp_path, row(3), flushed=6)
    overwrite(segment(tmp_path), 2 * BATCH, bytes(BATCH))
    with pytest.raises(CorruptLog) as refused:
        open_log(tmp_path)

    assert refused.value.offset == 4


def test_segments_behind_a_torn_tail_go_with_it(tmp_path: Path) -> None:
    log_of(tmp_path, row(4), config=ONE_EACH)
    flip(segment(tmp_path, 2), 30)
    found, report = reopened(tmp_path)

    assert found == row(1)
    assert report.torn is not None
    assert report.torn.removed == (segment_name(Offset(4)), segment_name(Offset(6)))
    assert not segment(tmp_path, 4).exists()
    assert not segment(tmp_path, 6).exists()


def test_a_segment_that_never_reached_the_disk_is_a_torn_tail(tmp_path: Path) -> None:
    """The next segment's name may get there before the last one's bytes."""
    log_of(tmp_path, row(4), config=ONE_EACH, flushed=2)
    segment(tmp_path, 2).unlink()
    found, report = reopened(tmp_path)

    assert found == row(1)
    assert report.torn is not None
    assert report.torn.offset == 2


# ---- below the bound -----------------------------------------------------------------------------------


def test_a_later_batch_remembers_what_was_flushed(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.append(row(3), Offset(0))
    log.flush()
    log.append([batch(6)], Offset(6))
    log.append([batch(8)], Offset(6))
    log.close()
    (tmp_path / FLUSHED).unlink()
    pristine = tree(tmp_path)

    for bad, refuses in ((0, True), (1, True), (2, True), (3, False), (4, False)):
        for name, content in pristine.items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / FLUSHED).unlink(missing_ok=True)
        flip(segment(tmp_path), bad * BATCH + 40)
        if refuses:
            with pytest.raises(CorruptLog) as refused:
                open_log(tmp_path)
            assert (refused.value.offset, refused.value.position) == (2 * bad, bad * BATCH)
        else:
            found, _ = reopened(tmp_path)
            assert found == row(bad)


def test_a_bound_in_a_later_segment_counts(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path, ONE_EACH)
    log.append(row(2), Offset(0))
    log.flush()
    log.append([batch(4)], Offset(4))
    log.close()
    (tmp_path / FLUSHED).unlink()
    flip(segment(tmp_path, 0), 30)
    with pytest.raises(CorruptLog) as refused:
        open_log(tmp_path)

    assert refused.value.path == segment(tmp_path, 0)


@pytest.mark.parametrize("bad", range(5))
def test_the_flushed_mark_is_a_bound(tmp_path: Path, bad: int) -> None:
    log_of(tmp_path, row(5), flushed=6)
    flip(segment(tmp_path), bad * BATCH + 40)
    if bad < 3:
        with pytest.raises(CorruptLog):
            open_log(tmp_path)
    else:
        found, _ = reopened(tmp_path)
        assert found == row(bad)


def test_every_flush_leaves_its_mark(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    for index, one in enumerate(row(4)):
        log.append([one], Offset(0))
        assert (tmp_path / FLUSHED).read_bytes() == pack_mark(Offset(2 * index))
        log.flush()
        assert (tmp_path / FLUSHED).read_bytes() == pack_mark(Offset(2 * index + 2))
    log.truncate_to(Offset(4))
    assert (tmp_path / FLUSHED).read_bytes() == pack_mark(Offset(4))
    log.close()


def test_that_all_is_durable_is_said_before_the_mark_is_written(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    marks = []
    log.append(row(1), Offset(0))
    log.flush(lambda: marks.append((tmp_path / FLUSHED).read_bytes()))
    assert marks == [pack_mark(Offset(0))]
    assert (tmp_path / FLUSHED).read_bytes() == pack_mark(Offset(2))
    log.close()


def test_a_cut_claims_nothing_that_was_not_flushed(tmp_path: Path) -> None:
    """0 to 2 is flushed, 2 to 6 is not: after a cut to 6 a crash may still take 2 to 4, in a segment before."""
    log, _ = open_log(tmp_path, ONE_EACH)
    log.append(row(1), Offset(0))
    log.flush()
    log.append(row(3, base=2), Offset(2))
    log.truncate_to(Offset(6))
    assert (tmp_path / FLUSHED).read_bytes() == pack_mark(Offset(2))
    log.close()


@pytest.mark.parametrize("content", [b"", b"\1", bytes(12), b"\xff" * 12, pack_mark(Offset(6))[:-1]])
def test_a_mark_that_says_nothing_proves_nothing(tmp_path: Path, content: bytes) -> None:
    log_of(tmp_path, row(3))
    (tmp_path / FLUSHED).write_bytes(content)
    flip(segment(tmp_path), 40)
    found, _ = reopened(tmp_path)

    assert found == []


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    log_of(tmp_path, row(5), flushed=6)
    (tmp_path / "x.part").write_bytes(b"x")
    flip(segment(tmp_path), BATCH + 40)
    before = tree(tmp_path)
    with pytest.raises(CorruptLog):
        open_log(tmp_path)

    assert tree(tmp_path) == before


def test_a_survey_changes_nothing(tmp_path: Path) -> None:
    log_of(tmp_path, row(5))
    (tmp_path / "x.part").write_bytes(b"x")
    flip(segment(tmp_path), BATCH + 40)
    before = tree(tmp_path)
    found = survey(RealFiles(), tmp_path, "read")
    found.close()

    assert tree(tmp_path) == before
    assert found.torn is not None
    assert found.torn.offset == 2
    assert found.parts == ("x.part",)


# ---- misdirected writes --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [1, 3])
def test_a_batch_that_stands_at_another_place_is_bad(tmp_path: Path, target: int) -> None:
    log_of(tmp_path, row(4), flushed=2)
    data = segment(tmp_path).read_bytes()
    overwrite(segment(tmp_path), target * BATCH, data[2 * BATCH : 3 * BATCH])
    found, report = reopened(tmp_path)

    assert found == row(target)
    assert report.torn is not None


def test_a_batch_copied_into_another_segment_is_bad(tmp_path: Path) -> None:
    log_of(tmp_path, row(3), config=ONE_EACH, flushed=2)
    shutil.copyfile(segment(tmp_path, 4), segment(tmp_path, 2))
    found, _ = reopened(tmp_path)

    assert found == row(1)


def test_a_copied_prefix_with_a_bound_proves_nothing(tmp_path: Path) -> None:
    """Stored inside another record's value, or by a disk at the wrong place, it is not ours."""
    log_of(tmp_path, row(3))
    flip(segment(tmp_path), BATCH + 40)
    stray = placed(batch(6), base=0, position=3 * BATCH, flushed=6)
    overwrite(segment(tmp_path), 3 * BATCH + 7, stray)
    found, _ = reopened(tmp_path)

    assert found == row(1)


# ---- snapshots and the log -----------------------------------------------------------------------------


def test_a_log_that_ends_before_the_newest_snapshot_is_dropped(tmp_path: Path) -> None:
    log_of(tmp_path, row(3))
    (tmp_path / snapshot_name(point(100, 4))).write_bytes(snapshot_bytes(point(100, 4), 1))
    found, report = reopened(tmp_path)

    assert found == []
    assert report.end == point(100, 4)
    assert report.dropped is not None
    assert "log from offset 0 to 6@1 dropped in favour of snapshot 100@4" in report.lines()


@pytest.mark.parametrize(("epoch", "dropped"), [(1, False), (2, True)])
def test_a_log_that_disagrees_with_the_snapshots_epoch_is_dropped(
    tmp_path: Path, epoch: int, dropped: bool
) -> None:
    log_of(tmp_path, row(5))
    (tmp_path / snapshot_name(point(4, epoch))).write_bytes(snapshot_bytes(point(4, epoch)))
    found, report = reopened(tmp_path)

    assert (report.dropped is not None) == dropped
    assert found == ([] if dropped else row(5))
    assert report.end == (point(4, 2) if dropped else point(10, 1))


def test_a_log_that_begins_at_or_before_the_snapshot_is_whole(tmp_path: Path) -> None:
    log_of(tmp_path, row(4), config=ONE_EACH, flushed=8)
    (tmp_path / snapshot_name(point(4, 1))).write_bytes(snapshot_bytes(point(4, 1)))
    segment(tmp_path, 0).unlink()
    segment(tmp_path, 2).unlink()
    found, report = reopened(tmp_path)

    assert found == row(2, base=4)
    assert (report.start, report.end) == (4, point(8, 1))


def test_unfinished_files_are_removed(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.append(row(3), Offset(0))
    log.flush()
    own = log.new_snapshot(point(4, 1))
    own.append(snapshot_batches(point(4, 1))[0])
    fetch_snapshot(log, point(100, 2), snapshot_bytes(point(100, 2)))
    log.close()
    (tmp_path / "quorum-state.tmp").write_bytes(b"{")
    _, report = reopened(tmp_path)

    assert report.removed_parts == (
        "00000000000000000004-0000000001.checkpoint.own.part",
        "00000000000000000100-0000000002.checkpoint.fetched.part",
        "quorum-state.tmp",
    )
    assert report.snapshots == ()


def test_epochs_rise_over_segments_and_voters_are_found_again(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path, ONE_EACH)
    log.append([batch(0, 1), control(2, 2, voters(1)), batch(3, 7)], Offset(0))
    log.flush()
    summary = log.summary()
    log.close()
    log, _ = open_log(tmp_path)

    assert log.summary() == summary
    assert log.summary().control == ((Offset(2), voters(1)),)
    log.close()


# ---- refusals, with their texts --------------------------------------------------------------------------


def said(directory: Path) -> str:
    try:
        log, _ = open_log(directory)
    except StorageRefused as refused:
        return str(refused)
    log.close()
    raise AssertionError("this log was not refused")


def _bad_below_mark(directory: Path) -> str:
    log_of(directory, row(4), flushed=6)
    flip(segment(directory), BATCH + 40)
    return said(directory)


def _bad_below_prefix(directory: Path) -> str:
    log_of(directory, row(3))
    flip(segment(directory), BATCH + 3)
    overwrite(segment(directory), 3 * BATCH, placed(batch(6), base=0, position=3 * BATCH, flushed=6))
    return said(directory)


def _short(directory: Path) -> str:
    log_of(directory, row(4), flushed=8)
    with segment(directory).open("r+b") as file:
        file.truncate(3 * BATCH)
    return said(directory)


def _segment_missing(directory: Path) -> str:
    log_of(directory, row(4), config=ONE_EACH, flushed=8)
    segment(directory, 4).unlink()
    return said(directory)


def _all_missing(directory: Path) -> str:
    log_of(directory, row(4), flushed=8)
    segment(directory).unlink()
    return said(directory)


def _overlap(directory: Path) -> str:
    log_of(directory, row(4), flushed=8)
    segment(directory, 4).write_bytes(placed(batch(4), base=4, position=0))
    return said(directory)


def _hole_inside(directory: Path) -> str:
    log_of(directory, row(2))
    overwrite(segment(directory), 2 * BATCH, placed(batch(6), base=0, position=2 * BATCH))
    return said(directory)


def _epochs_backwards(directory: Path) -> str:
    log_of(directory, row(2, epoch=5))
    overwrite(segment(directory), 2 * BATCH, placed(batch(4, 3), base=0, position=2 * BATCH))
    return said(directory)


def _epochs_backwards_between_segments(directory: Path) -> str:
    log_of(directory, row(2, epoch=5))
    segment(directory, 4).write_bytes(placed(batch(4, 3), base=4, position=0))
    return said(directory)


def _payload(directory: Path, old: bytes, new: bytes) -> str:
    """A batch that is intact, but for what a later release might have put in it."""
    good = batch(4)
    payload = bytes(good.payload)
    assert payload.count(old) == 1
    other = RecordBatch.seal_payload(
        payload.replace(old, new), record_count=2, base_offset=Offset(4), epoch=Epoch(1), append_time_ms=1
    )
    log_of(directory, row(2), flushed=4)
    overwrite(segment(directory), 2 * BATCH, placed(other, base=0, position=2 * BATCH))
    return said(directory)


def _unknown_type(directory: Path) -> str:
    return _payload(directory, b"\x82\x14\x00", b"\x82\x18\x63\x00")  # NoOp's api key 20 becomes 99


def _unknown_version(directory: Path) -> str:
    return _payload(directory, b"\x82\x14\x00", b"\x82\x14\x09")


def _snapshot(directory: Path, content: bytes) -> str:
    log_of(directory, row(4), flushed=8)
    (directory / snapshot_name(point(4, 1))).write_bytes(content)
    return said(directory)


def _snapshot_no_footer(directory: Path) -> str:
    return _snapshot(directory, b"".join(one.data for one in snapshot_batches(point(4, 1))[:-1]))


def _snapshot_digest(directory: Path) -> str:
    """Each batch is whole, but one is another's: only the footer knows."""
    batches = snapshot_batches(point(4, 1))
    other = snapshot_batches(point(4, 1), fill=21)
    batches[2] = other[2]
    return _snapshot(directory, b"".join(one.data for one in batches))


def _snapshot_count(directory: Path) -> str:
    batches = snapshot_batches(point(4, 1))
    fewer = snapshot_batches(point(4, 1), data=2)[-1].data
    moved = RecordBatch.seal_payload(
        bytes(fewer[HEADER_BYTES:]),
        record_count=1,
        base_offset=batches[-1].base_offset,
        epoch=Epoch(1),
        append_time_ms=7_000,
        is_control=True,
    )
    return _snapshot(directory, b"".join(one.data for one in (*batches[:-1], moved)))


def _snapshot_flipped(directory: Path) -> str:
    data = bytearray(snapshot_bytes(point(4, 1)))
    data[len(data) // 2] ^= 1
    return _snapshot(directory, bytes(data))


def _snapshot_empty(directory: Path) -> str:
    return _snapshot(directory, b"")


def _snapshot_of_another_id(directory: Path) -> str:
    return _snapshot(directory, snapshot_bytes(point(6, 1)))


def _starts_too_late(directory: Path) -> str:
    log_of(directory, row(4), config=ONE_EACH, flushed=8)
    (directory / snapshot_name(point(4, 1))).write_bytes(snapshot_bytes(point(4, 1)))
    for base in (0, 2, 4):
        segment(directory, base).unlink()
    return said(directory)


def _starts_too_late_without_snapshot(directory: Path) -> str:
    log_of(directory, row(4), config=ONE_EACH, flushed=8)
    segment(directory, 0).unlink()
    return said(directory)


REFUSALS: dict[str, Case] = {
    "bad-below-mark": _bad_below_mark,
    "bad-below-prefix": _bad_below_prefix,
    "short": _short,
    "segment-missing": _segment_missing,
    "all-missing": _all_missing,
    "overlap": _overlap,
    "hole-inside": _hole_inside,
    "epochs-backwards": _epochs_backwards,
    "epochs-backwards-between-segments": _epochs_backwards_between_segments,
    "unknown-type": _unknown_type,
    "unknown-version": _unknown_version,
    "snapshot-no-footer": _snapshot_no_footer,
    "snapshot-digest": _snapshot_digest,
    "snapshot-count": _snapshot_count,
    "snapshot-flipped": _snapshot_flipped,
    "snapshot-empty": _snapshot_empty,
    "snapshot-of-another-id": _snapshot_of_another_id,
    "starts-too-late": _starts_too_late,
    "starts-too-late-without-snapshot": _starts_too_late_without_snapshot,
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_an_operator_reads(tmp_path: Path, name: str) -> None:
    assert told(REFUSALS[name], tmp_path) == expected(name)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (_unknown_type, UnknownRecord),
        (_snapshot_digest, SnapshotRefused),
        (_starts_too_late, LogStartsTooLate),
        (_hole_inside, CorruptLog),
    ],
)
def test_each_refusal_has_its_kind(
    tmp_path: Path, case: Callable[[Path], str], kind: type[StorageRefused]
) -> None:
    case(tmp_path)
    with pytest.raises(kind):
        open_log(tmp_path)


def test_an_older_snapshot_that_is_damaged_is_not_made_up_for_by_a_newer_one(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.append(row(5), Offset(0))
    log.flush()
    write_snapshot(log, point(4, 1))
    write_snapshot(log, point(8, 1))
    log.close()
    flip(tmp_path / snapshot_name(point(4, 1)), 60)
    with pytest.raises(SnapshotRefused):
        open_log(tmp_path)


def test_a_crc_that_was_made_to_fit_is_still_no_batch(tmp_path: Path) -> None:
    """Impossible header fields are refused even under a good crc."""
    log_of(tmp_path, row(1), flushed=4)
    data = bytearray(batch(2).data)
    data[8] = 9  # the format
    data[4:8] = crc32c(bytes(data[8:])).to_bytes(4, "big")
    overwrite(segment(tmp_path), BATCH, pack_prefix(Offset(0), BATCH, Offset(0), bytes(data)) + bytes(data))
    with pytest.raises(CorruptLog):
        open_log(tmp_path)
