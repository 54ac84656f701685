"""Room that retention gives back on files: a log whose one large segment never fills must shrink all the same."""

from pathlib import Path

from quorate.metadata.ids import Offset
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.segments import LogConfig, SegmentedLog
from tests.metadata.log.building import batch, everything, point, row, write_snapshot


def files_of(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.log"))


def test_a_segment_that_was_partly_let_go_is_followed_by_a_new_one(tmp_path: Path) -> None:
    config = LogConfig(segment_outlived_bytes=200, preallocate_bytes=4096, reserve_bytes=4096)
    log, _ = SegmentedLog.open(RealFiles(), tmp_path, config)
    log.append(row(5), Offset(0))
    log.flush()
    write_snapshot(log, point(4, 1))
    log.drop_prefix(Offset(4), [])
    assert len(files_of(tmp_path)) == 1
    log.append([batch(10, 1)], Offset(10))
    assert len(files_of(tmp_path)) == 2

    log.append([batch(12, 1)], Offset(10))
    log.flush()
    assert len(files_of(tmp_path)) == 2  # once
    write_snapshot(log, point(10, 1))
    log.drop_prefix(Offset(10), [point(4, 1)])
    assert [name[:20] for name in files_of(tmp_path)] == [f"{10:020}"]
    assert everything(log) == [batch(10, 1), batch(12, 1)]
    log.close()
    again, _ = SegmentedLog.open(RealFiles(), tmp_path, config)
    assert everything(again) == [batch(10, 1), batch(12, 1)]
    again.close()


def test_a_small_segment_is_not_worth_a_new_file(tmp_path: Path) -> None:
    config = LogConfig(preallocate_bytes=4096, reserve_bytes=4096)
    log, _ = SegmentedLog.open(RealFiles(), tmp_path, config)
    log.append(row(5), Offset(0))
    log.flush()
    write_snapshot(log, point(4, 1))
    log.drop_prefix(Offset(4), [])
    log.append([batch(10, 1)], Offset(10))
    assert len(files_of(tmp_path)) == 1
    log.close()
