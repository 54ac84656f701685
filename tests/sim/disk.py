"""A node's disk: the log, the quorum-state file, and what a power cut leaves of them."""

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from quorate.metadata.batch import CorruptBatch, RecordBatch, decode_batches
from quorate.metadata.ids import FIRST_OFFSET, LOG_START, Offset, OffsetAndEpoch
from quorate.metadata.log.history import HeldSnapshot, LogHistory
from quorate.metadata.log.interface import LogSummary, SnapshotNotFound, SnapshotWriter
from quorate.metadata.log.snapshot_format import BadSnapshot, SnapshotChecker
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.records import KRaftVersionRecord, VotersRecord


class SimLog:
    """STAND-IN until metadata.log.memory lands."""

    def __init__(self) -> None:
        self.history = LogHistory()
        self.batches: list[RecordBatch] = []
        self.bases: list[int] = []
        self.start = FIRST_OFFSET
        self.flushed_end = FIRST_OFFSET
        self.snapshots: dict[OffsetAndEpoch, bytes] = {}
        self._fetched: tuple[OffsetAndEpoch, bytearray] | None = None

    @property
    def end_offset(self) -> Offset:
        return self.history.end_offset

    def format(self, version: KRaftVersionRecord, voters: VotersRecord) -> None:
        self.history.add_snapshot(HeldSnapshot(LOG_START, (version, voters)))

    def summary(self) -> LogSummary:
        return self.history.summary()

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        for batch in batches:
            self.history.on_append(batch)
            self.batches.append(batch)
            self.bases.append(batch.base_offset)

    def flush(self) -> None:
        self.flushed_end = self.history.end_offset

    def flush_to(self, end: Offset) -> None:
        self.flushed_end = max(self.flushed_end, min(end, self.end_offset))

    def truncate_to(self, end: Offset) -> None:
        index = bisect_left(self.bases, end)
        del self.batches[index:], self.bases[index:]
        self.history.on_truncate(end)
        self.flushed_end = min(self.flushed_end, end)

    def read(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        index = bisect_left(self.bases, start)
        if index == len(self.bases) or self.bases[index] != start:
            raise AssertionError(f"{start} is no batch boundary")
        found: list[RecordBatch] = []
        size = 0
        for batch in self.batches[index:]:
            size += len(batch.data)
            if batch.end_offset > end or (found and size > max_bytes):
                break
            found.append(batch)
        return found

    def at(self, base: Offset) -> RecordBatch | None:
        index = bisect_left(self.bases, base)
        if index == len(self.bases) or self.bases[index] != base:
            return None
        return self.batches[index]

    def new_snapshot(self, snapshot_id: OffsetAndEpoch) -> SnapshotWriter:
        return _Writer(self, snapshot_id)

    def read_snapshot_chunk(
        self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int
    ) -> tuple[int, bytes]:
        if snapshot_id not in self.snapshots:
            raise SnapshotNotFound(str(snapshot_id))
        data = self.snapshots[snapshot_id]
        if not 0 <= position < len(data):
            raise ValueError(position)
        return len(data), data[position : position + max_bytes]

    def snapshot_records(self, snapshot_id: OffsetAndEpoch) -> Iterable[RecordBatch]:
        if snapshot_id not in self.snapshots:
            raise SnapshotNotFound(str(snapshot_id))
        return list(decode_batches(self.snapshots[snapshot_id]))

    def write_snapshot_chunk(self, snapshot_id: OffsetAndEpoch, position: int, data: bytes) -> None:
        if position == 0:
            self._fetched = (snapshot_id, bytearray())
        assert self._fetched is not None
        assert self._fetched[0] == snapshot_id
        assert len(self._fetched[1]) == position
        self._fetched[1].extend(data)

    def install_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        assert self._fetched is not None
        data, self._fetched = bytes(self._fetched[1]), None
        checker = SnapshotChecker(snapshot_id)
        try:
            for batch in decode_batches(data):
                checker.add(batch)
            held = HeldSnapshot(snapshot_id, checker.finish().control)
        except BadSnapshot as bad:
            raise CorruptBatch(str(bad)) from bad
        self.snapshots[snapshot_id] = data
        self.history.add_snapshot(held)
        self.batches, self.bases = [], []
        self.history.on_reset(snapshot_id.offset)
        self.start = self.flushed_end = snapshot_id.offset

    def drop_prefix(self, start: Offset, snapshots: Sequence[OffsetAndEpoch]) -> None:
        index = bisect_left(self.bases, start)
        del self.batches[:index], self.bases[:index]
        self.start = max(self.start, start)
        self.history.on_drop(self.start)
        self.history.remove_snapshots(snapshots)
        for snapshot_id in snapshots:
            self.snapshots.pop(snapshot_id, None)

    def free_bytes(self) -> int:
        return 1 << 40

    def close(self) -> None:
        pass

    def crash(self, rng: random.Random) -> None:
        """Of what was not flushed some beginning is left: all of it, part of it, nothing."""
        self._fetched = None
        kept = bisect_left(self.bases, self.flushed_end)
        keep = rng.choice([kept, len(self.batches), rng.randint(kept, len(self.batches))])
        end = self.batches[keep - 1].end_offset if keep else self.start
        if end < self.history.end_offset:
            end = Offset(max(end, self.start))
            index = bisect_left(self.bases, end)
            del self.batches[index:], self.bases[index:]
            newest = self.history.newest_snapshot
            if newest is not None and newest.offset > end:
                self.batches, self.bases = [], []
                self.history.on_reset(newest.offset)
                self.start = newest.offset
            else:
                self.history.on_truncate(end)
        self.flushed_end = self.history.end_offset


class _Writer:
    def __init__(self, log: SimLog, snapshot_id: OffsetAndEpoch) -> None:
        self._log = log
        self._id = snapshot_id
        self._checker = SnapshotChecker(snapshot_id)
        self._data = bytearray()

    def append(self, batch: RecordBatch) -> None:
        self._checker.add(batch)
        self._data.extend(batch.data)

    def finish(self) -> None:
        self._log.history.add_snapshot(HeldSnapshot(self._id, self._checker.finish().control))
        self._log.snapshots[self._id] = bytes(self._data)

    def abort(self) -> None:
        pass


class Disk:
    """What survives the process."""

    def __init__(self, election: ElectionState, log: SimLog) -> None:
        self.election = election
        self.log = log
