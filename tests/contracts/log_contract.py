"""What every `Log` must do, whatever it is made of (`metadata/log/interface.py`).

Subclass `LogContract` and say how one is made; `reopened` where it lives longer than the process. After each step the
summary is compared with one worked out from the batches themselves, so a log cannot drift away from its content.
"""

import abc
from pathlib import Path

import pytest

from quorate.metadata.batch import CorruptBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import EpochStart, Log, LogSummary, SnapshotNotFound
from quorate.metadata.records import KRaftVersionRecord, LeaderChangeRecord
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

BIG = 1_000_000
V1 = KRaftVersionRecord(k_raft_version=1)


def epoch_starts(*pairs: tuple[int, int]) -> tuple[EpochStart, ...]:
    return tuple(EpochStart(Epoch(epoch), Offset(offset)) for epoch, offset in pairs)


class LogContract(abc.ABC):
    lets_go_in_segments = False
    """After reopening more may be readable than retention had left, until it lets go again."""

    @abc.abstractmethod
    def make(self, directory: Path) -> Log:
        """An empty log."""

    def reopened(self, log: Log, directory: Path) -> Log:
        """The same log as the next process sees it; the log itself where it dies with the process."""
        return log

    @pytest.fixture
    def log(self, tmp_path: Path) -> Log:
        return self.make(tmp_path)

    def expect(self, log: Log, directory: Path, summary: LogSummary) -> Log:
        """The summary is this, and still is after an orderly end of the process."""
        assert log.summary() == summary
        content = everything(log)
        again = self.reopened(log, directory)
        if self.lets_go_in_segments and again.summary().start < summary.start:
            again.drop_prefix(summary.start, ())
        assert again.summary() == summary
        assert everything(again) == content
        return again

    # Appending and reading

    def test_a_new_log_is_empty(self, log: Log, tmp_path: Path) -> None:
        empty = LogSummary(Offset(0), point(0, 0), (), (), ())
        self.expect(log, tmp_path, empty).close()

    def test_what_is_appended_is_read_byte_for_byte(self, log: Log) -> None:
        batches = row(5)
        log.append(batches[:1], Offset(0))
        log.append(batches[1:4], Offset(0))
        log.append(batches[4:], Offset(2))

        assert [one.data for one in log.read(Offset(0), Offset(10), BIG)] == [one.data for one in batches]
        assert log.read(Offset(6), Offset(10), BIG) == batches[3:]
        log.close()

    def test_an_empty_append_changes_nothing(self, log: Log) -> None:
        log.append(row(1), Offset(0))
        before = log.summary()
        log.append([], Offset(0))

        assert log.summary() == before
        log.close()

    def test_a_batch_that_crosses_the_end_is_left_out(self, log: Log) -> None:
        batches = row(3)
        log.append(batches, Offset(0))

        assert log.read(Offset(0), Offset(5), BIG) == batches[:2]
        assert log.read(Offset(0), Offset(4), BIG) == batches[:2]
        log.close()

    def test_a_read_from_inside_a_batch_brings_all_of_it(self, log: Log) -> None:
        batches = row(3)
        log.append(batches, Offset(0))

        assert log.read(Offset(3), Offset(6), BIG) == batches[1:]
        assert log.read(Offset(1), Offset(6), 1) == batches[:1]
        log.close()

    def test_a_read_where_nothing_is_held_is_an_error(self, log: Log) -> None:
        fetch_snapshot(log, point(10, 1), snapshot_bytes(point(10, 1)))
        log.install_snapshot(point(10, 1))
        for start in (9, 10):
            with pytest.raises(ValueError):
                log.read(Offset(start), Offset(20), BIG)
        log.append(row(2, base=10), Offset(10))
        for start in (0, 9, 14, 15):
            with pytest.raises(ValueError):
                log.read(Offset(start), Offset(20), BIG)
        log.close()

    def test_a_read_stops_at_the_size_but_brings_one_batch_at_least(self, log: Log) -> None:
        batches = row(4)
        size = len(batches[0].data)
        log.append(batches, Offset(0))

        assert log.read(Offset(0), Offset(8), 1) == batches[:1]
        assert log.read(Offset(0), Offset(8), 2 * size) == batches[:2]
        assert log.read(Offset(0), Offset(8), 2 * size - 1) == batches[:1]
        assert log.read(Offset(2), Offset(8), 3 * size) == batches[1:]
        log.close()

    def test_who_asks_from_inside_a_batch_gets_the_whole_batch(self, log: Log) -> None:
        batches = [batch(0, 1, count=4), batch(4, 1, count=2), batch(6, 1, count=3)]
        log.append(batches, Offset(0))

        for inside in (1, 2, 3):
            assert log.read(Offset(inside), Offset(9), BIG) == batches
        assert log.read(Offset(5), Offset(9), BIG) == batches[1:]
        assert log.read(Offset(7), Offset(8), BIG) == []
        for outside in (9, 10):
            with pytest.raises(ValueError):
                log.read(Offset(outside), Offset(20), BIG)
        log.close()

    def test_what_was_let_go_cannot_be_read(self, log: Log) -> None:
        log.append(row(4), Offset(0))
        log.flush()
        self.install(log, point(100, 4))
        for gone in (0, 6, 99):
            with pytest.raises(ValueError):
                log.read(Offset(gone), Offset(100), BIG)
        log.close()

    def test_the_summary_knows_ends_epochs_and_voters(self, log: Log, tmp_path: Path) -> None:
        log.append([batch(0, 1), batch(2, 1)], Offset(0))
        log.append(
            [
                control(
                    4,
                    3,
                    LeaderChangeRecord(leader_id=NodeId(1), voters=(), granting_voters=()),
                    V1,
                    voters(1, 2),
                )
            ],
            Offset(4),
        )
        log.append([batch(7, 3), batch(9, 4)], Offset(4))
        log.flush()

        control_records = ((Offset(5), V1), (Offset(6), voters(1, 2)))
        expected = LogSummary(
            Offset(0), point(11, 4), epoch_starts((1, 0), (3, 4), (4, 9)), (), control_records
        )
        self.expect(log, tmp_path, expected).close()

    def test_a_batch_that_does_not_continue_the_log_is_refused(self, log: Log) -> None:
        log.append([batch(0, 2)], Offset(0))
        before = log.summary()
        for wrong in (batch(0, 2), batch(1, 2), batch(3, 2), batch(2, 1)):
            with pytest.raises(InvariantViolated):
                log.append([wrong], Offset(0))

        assert log.summary() == before
        assert everything(log) == [batch(0, 2)]
        log.close()

    # Cutting

    @pytest.mark.parametrize("end", [0, 2, 4, 6, 8, 10])
    def test_a_cut_log_goes_on_from_the_cut(self, log: Log, tmp_path: Path, end: int) -> None:
        batches = [batch(0, 1), batch(2, 1), control(4, 2, V1, voters(1)), batch(6, 2), batch(8, 3)]
        log.append(batches, Offset(0))
        log.flush()
        log.truncate_to(Offset(end))

        kept = [one for one in batches if one.end_offset <= end]
        assert everything(log) == kept
        last = kept[-1].epoch if kept else 0
        starts = epoch_starts(*[pair for pair in ((1, 0), (2, 4), (3, 8)) if pair[1] < end])
        controls = ((Offset(4), V1), (Offset(5), voters(1))) if end >= 6 else ()
        log = self.expect(log, tmp_path, LogSummary(Offset(0), point(end, last), starts, (), controls))

        other = batch(end, 5, count=4)
        log.append([other], Offset(0))
        log.flush()
        assert everything(log) == [*kept, other]
        starts = (*starts, *epoch_starts((5, end)))
        log = self.expect(log, tmp_path, LogSummary(Offset(0), point(end + 4, 5), starts, (), controls))
        log.close()

    def test_a_cut_above_the_end_or_below_a_snapshot_is_refused(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        write_snapshot(log, point(4, 1))
        for end in (2, 8):
            with pytest.raises(InvariantViolated):
                log.truncate_to(Offset(end))
        log.close()

    # Snapshots of our own

    def test_a_snapshot_is_there_once_it_is_finished(self, log: Log, tmp_path: Path) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        snapshot_id = point(4, 1)
        batches = snapshot_batches(snapshot_id, 1, 2)
        writer = log.new_snapshot(snapshot_id)
        for one in batches:
            writer.append(one)
            assert log.summary().snapshots == ()
            with pytest.raises(SnapshotNotFound):
                log.read_snapshot_chunk(snapshot_id, 0, BIG)
        writer.finish()
        writer.abort()

        control_records = ((Offset(3), V1), (Offset(3), voters(1, 2)))
        expected = LogSummary(Offset(0), point(6, 1), epoch_starts((1, 0)), (snapshot_id,), control_records)
        log = self.expect(log, tmp_path, expected)
        assert list(log.snapshot_records(snapshot_id)) == batches
        log.close()

    def test_voters_of_the_log_follow_those_of_the_newest_snapshot(self, log: Log, tmp_path: Path) -> None:
        log.append([control(0, 1, V1, voters(1)), batch(2, 1), control(4, 1, voters(1, 2))], Offset(0))
        log.append([control(5, 2, voters(1, 2, 3))], Offset(0))
        log.flush()
        write_snapshot(log, point(4, 1), 1)
        write_snapshot(log, point(5, 1), 1, 2)

        expected = LogSummary(
            Offset(0),
            point(6, 2),
            epoch_starts((1, 0), (2, 5)),
            (point(4, 1), point(5, 1)),
            ((Offset(4), V1), (Offset(4), voters(1, 2)), (Offset(5), voters(1, 2, 3))),
        )
        self.expect(log, tmp_path, expected).close()

    def test_a_snapshot_given_up_was_never_there(self, log: Log, tmp_path: Path) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        before = log.summary()
        writer = log.new_snapshot(point(4, 1))
        writer.append(snapshot_batches(point(4, 1))[0])
        writer.abort()

        log = self.expect(log, tmp_path, before)
        assert write_snapshot(log, point(4, 1)) == snapshot_bytes(point(4, 1))
        assert log.summary().snapshots == (point(4, 1),)
        log.close()

    def test_chunks_make_the_whole_snapshot(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        data = write_snapshot(log, point(4, 1), 1)
        found = b""
        while len(found) < len(data):
            size, chunk = log.read_snapshot_chunk(point(4, 1), len(found), 64)
            assert size == len(data)
            assert 0 < len(chunk) <= 64
            found += chunk

        assert found == data
        log.close()

    @pytest.mark.parametrize("beyond", [None, 0, 1, 1000])
    def test_a_position_outside_the_snapshot_is_an_error(self, log: Log, beyond: int | None) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        size = len(write_snapshot(log, point(4, 1)))
        with pytest.raises(ValueError):
            log.read_snapshot_chunk(point(4, 1), -1 if beyond is None else size + beyond, 10)
        log.close()

    def test_a_snapshot_that_is_not_held_is_not_found(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        write_snapshot(log, point(4, 1))
        for missing in (point(4, 2), point(2, 1)):
            with pytest.raises(SnapshotNotFound):
                log.read_snapshot_chunk(missing, 0, 10)
            with pytest.raises(SnapshotNotFound):
                list(log.snapshot_records(missing))
        log.close()

    # Snapshots of the leader

    def install(self, log: Log, snapshot_id: OffsetAndEpoch, *node_ids: int) -> bytes:
        data = snapshot_bytes(snapshot_id, *node_ids)
        fetch_snapshot(log, snapshot_id, data)
        log.install_snapshot(snapshot_id)
        return data

    @pytest.mark.parametrize("held", [0, 3])
    def test_an_installed_snapshot_replaces_the_log(self, log: Log, tmp_path: Path, held: int) -> None:
        log.append(row(held), Offset(0))
        log.flush()
        data = self.install(log, point(100, 4), 1, 2)

        control_records = ((Offset(99), V1), (Offset(99), voters(1, 2)))
        expected = LogSummary(
            Offset(100), point(100, 4), epoch_starts((4, 99)), (point(100, 4),), control_records
        )
        log = self.expect(log, tmp_path, expected)
        assert log.read_snapshot_chunk(point(100, 4), 0, BIG) == (len(data), data)

        log.append([batch(100, 4), batch(102, 6)], Offset(100))
        log.flush()
        expected = LogSummary(
            Offset(100), point(104, 6), epoch_starts((4, 99), (6, 102)), (point(100, 4),), control_records
        )
        self.expect(log, tmp_path, expected).close()

    def test_position_0_starts_the_fetched_snapshot_anew(self, log: Log) -> None:
        fetch_snapshot(log, point(50, 2), snapshot_bytes(point(50, 2))[:150])
        self.install(log, point(100, 4))

        assert log.summary().snapshots == (point(100, 4),)
        log.close()

    @pytest.mark.parametrize("damage", ["flipped", "short", "nothing", "twice", "another id"])
    def test_a_damaged_fetched_snapshot_leaves_the_log_as_it_was(
        self, log: Log, tmp_path: Path, damage: str
    ) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        before = log.summary()
        data = snapshot_bytes(point(100, 4), 1)
        middle = len(data) // 2
        wrong = {
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "short": b"".join(one.data for one in snapshot_batches(point(100, 4), 1)[:-1]),
            "nothing": b"",
            "twice": data + data,
            "another id": snapshot_bytes(point(100, 3), 1),
        }[damage]
        log.write_snapshot_chunk(point(100, 4), 0, b"")
        fetch_snapshot(log, point(100, 4), wrong)
        with pytest.raises(CorruptBatch):
            log.install_snapshot(point(100, 4))

        log = self.expect(log, tmp_path, before)
        assert everything(log) == row(3)
        self.install(log, point(100, 4), 1)
        assert log.summary().end == point(100, 4)
        log.close()

    # Letting go

    def test_what_retention_lets_go_is_gone(self, log: Log, tmp_path: Path) -> None:
        log.append([batch(0, 1), batch(2, 1), batch(4, 2), batch(6, 2), batch(8, 3)], Offset(0))
        log.flush()
        write_snapshot(log, point(4, 1), 1)
        write_snapshot(log, point(6, 2), 1)
        log.drop_prefix(Offset(6), [point(4, 1)])

        with pytest.raises(SnapshotNotFound):
            log.read_snapshot_chunk(point(4, 1), 0, 10)
        control_records = ((Offset(5), V1), (Offset(5), voters(1)))
        expected = LogSummary(
            Offset(6), point(10, 3), epoch_starts((2, 5), (3, 8)), (point(6, 2),), control_records
        )
        log = self.expect(log, tmp_path, expected)
        assert everything(log) == [batch(6, 2), batch(8, 3)]

        log.append([batch(10, 3)], Offset(10))
        log.truncate_to(Offset(8))
        expected = LogSummary(Offset(6), point(8, 2), epoch_starts((2, 5)), (point(6, 2),), control_records)
        self.expect(log, tmp_path, expected).close()

    def test_the_newest_snapshot_stays(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        write_snapshot(log, point(2, 1))
        write_snapshot(log, point(4, 1))
        with pytest.raises(InvariantViolated):
            log.drop_prefix(Offset(4), [point(2, 1), point(4, 1)])
        with pytest.raises(InvariantViolated):
            log.drop_prefix(Offset(6), [])

        assert log.summary().snapshots == (point(2, 1), point(4, 1))
        assert everything(log) == row(3)
        log.close()

    def test_the_whole_log_may_go(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        write_snapshot(log, point(6, 1))
        log.drop_prefix(Offset(6), [])

        assert log.summary() == LogSummary(Offset(6), point(6, 1), epoch_starts((1, 5)), (point(6, 1),), ())
        log.append([batch(6, 2)], Offset(6))
        assert everything(log) == [batch(6, 2)]
        log.close()

    def test_the_newest_snapshot_is_never_let_go(self, log: Log) -> None:
        log.append(row(3), Offset(0))
        log.flush()
        write_snapshot(log, point(4, 1))
        before = log.summary()
        for start, gone in ((4, [point(4, 1)]), (6, [])):
            with pytest.raises(InvariantViolated):
                log.drop_prefix(Offset(start), gone)

        assert log.summary() == before
        assert everything(log) == row(3)
        log.close()

    def test_what_is_held_is_counted(self, log: Log, tmp_path: Path) -> None:
        assert (log.use().byte_count, log.use().snapshots) == (0, ())
        log.append(row(3), Offset(0))
        log.flush()
        content = sum(len(one.data) for one in row(3))
        assert log.use().byte_count >= content
        assert log.use().parts[-1].end == 6
        sizes = [len(write_snapshot(log, point(end, 1), 1)) for end in (2, 4)]
        before = log.use()

        assert [(one.id, one.byte_count) for one in before.snapshots] == [
            (point(2, 1), sizes[0]),
            (point(4, 1), sizes[1]),
        ]
        assert [one.time_ms for one in before.snapshots] == [5, 5]
        assert before.byte_count == sum(part.byte_count for part in before.parts) + sum(sizes)
        again = self.reopened(log, tmp_path)
        assert again.use() == before

        again.drop_prefix(Offset(4), [point(2, 1)])
        after = again.use()
        assert (after.start, [one.id for one in after.snapshots]) == (4, [point(4, 1)])
        assert after.byte_count <= before.byte_count - sizes[0]
        again.close()

    def test_there_is_room(self, log: Log) -> None:
        assert log.free_bytes() > 0
        log.close()
