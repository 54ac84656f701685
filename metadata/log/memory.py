"""MemoryLog: the metadata log without files, for simulated nodes and for tests (pure).

It keeps the contract of `interface.Log` and has what a simulator needs beside it: `flush_to` ends a flush that began
earlier, `crash` takes away what was not flushed, `copy` is cheap because batches never change and are shared.
What a crash leaves is always a prefix: on files too, recovery cuts at the first batch that is torn.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

from quorate.metadata.batch import CorruptBatch, RecordBatch, decode_batches
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.ids import LOG_START, Offset, OffsetAndEpoch
from quorate.metadata.log.history import HeldSnapshot, LogHistory
from quorate.metadata.log.interface import (
    LogPart,
    LogSummary,
    LogUse,
    SnapshotNotFound,
    SnapshotWriter,
    nothing_more,
)
from quorate.metadata.log.run import BatchRun
from quorate.metadata.log.snapshot_format import (
    BadSnapshot,
    CheckedSnapshot,
    SnapshotChecker,
    SnapshotComposer,
)
from quorate.metadata.records import KRaftVersionRecord, VotersRecord

_PLENTY: Final = 1 << 40


class MemoryLog:
    """See `interface.Log`; what is said there is not repeated here."""

    def __init__(self) -> None:
        self._history = LogHistory()
        self._batches = BatchRun()
        self._snapshots: dict[OffsetAndEpoch, bytes] = {}
        self._fetched: tuple[OffsetAndEpoch, bytearray] | None = None
        self._flushed_end = Offset(0)
        self.room = _PLENTY
        """What `free_bytes` answers."""

    def copy(self) -> Self:
        """A log of the same content that goes its own way. Snapshots that are being written stay with the original."""
        twin = type(self)()
        twin._history = self._history.copy()
        twin._batches = self._batches.copy()
        twin._snapshots = dict(self._snapshots)
        if self._fetched is not None:
            twin._fetched = (self._fetched[0], bytearray(self._fetched[1]))
        twin._flushed_end = self._flushed_end
        twin.room = self.room
        return twin

    # The contract

    def summary(self) -> LogSummary:
        return self._history.summary()

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        check(flushed_to <= self.end_offset, f"nothing is flushed at {flushed_to}, behind the end")
        for batch in batches:
            self._history.on_append(batch)
            self._batches.append(batch)

    def flush(self, durable: Callable[[], None] = nothing_more) -> None:
        self._flushed_end = self.end_offset
        durable()

    def truncate_to(self, end: Offset) -> None:
        if end == self.end_offset:
            return
        self._history.on_truncate(end)
        self._batches.truncate_to(end)
        self._flushed_end = min(self._flushed_end, end)

    def read(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        return self._batches.read(start, end, max_bytes)

    def new_snapshot(self, snapshot_id: OffsetAndEpoch) -> SnapshotWriter:
        return _MemorySnapshotWriter(self, snapshot_id)

    def read_snapshot_chunk(
        self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int
    ) -> tuple[int, bytes]:
        data = self._snapshot(snapshot_id)
        if not 0 <= position < len(data):
            raise ValueError(f"position {position} is not inside snapshot {snapshot_id} of {len(data)} bytes")
        return len(data), data[position : position + max_bytes]

    def snapshot_records(self, snapshot_id: OffsetAndEpoch) -> Iterator[RecordBatch]:
        return decode_batches(self._snapshot(snapshot_id))

    def write_snapshot_chunk(self, snapshot_id: OffsetAndEpoch, position: int, data: bytes) -> None:
        if position == 0:
            self._fetched = (snapshot_id, bytearray())
        fetched = self._fetched_of(snapshot_id)
        check(
            position == len(fetched),
            f"snapshot {snapshot_id} has {len(fetched)} bytes so far, not {position}",
        )
        fetched += data

    def install_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        data = bytes(self._fetched_of(snapshot_id))
        self._fetched = None
        checker = SnapshotChecker(snapshot_id)
        try:
            for batch in decode_batches(data):
                checker.add(batch)
            checked = checker.finish()
        except BadSnapshot as error:
            raise CorruptBatch(f"fetched snapshot {snapshot_id}: {error}") from error
        self._hold(checked, data)
        self._restart_at(snapshot_id.offset)

    def drop_prefix(self, start: Offset, snapshots: Sequence[OffsetAndEpoch]) -> None:
        newest = self._history.newest_snapshot
        check(newest is not None and newest.offset >= start, "the log would begin behind its newest snapshot")
        check(newest not in snapshots, "the newest snapshot is never let go")
        self._batches.drop_below(start)
        self._history.remove_snapshots(snapshots)
        self._history.on_drop(max(start, self._history.start))
        for snapshot_id in snapshots:
            self._snapshots.pop(snapshot_id, None)

    def use(self) -> LogUse:
        return LogUse(
            start=self.start,
            parts=tuple(LogPart(one.end_offset, len(one.data)) for one in self._batches.batches),
            snapshots=self._history.snapshot_use(),
        )

    def free_bytes(self) -> int:
        return self.room

    def close(self) -> None:
        """Nothing to give back."""

    # For simulators

    @property
    def start(self) -> Offset:
        return self._history.start

    @property
    def end_offset(self) -> Offset:
        return self._history.end_offset

    @property
    def flushed_end(self) -> Offset:
        """What lies below survives every crash."""
        return self._flushed_end

    def format(self, version: KRaftVersionRecord, voters: VotersRecord) -> None:
        """As `storage format` leaves a first voter: with the 0-0 snapshot, which is never shipped."""
        composer = SnapshotComposer(LOG_START, wall_ms=0)
        header = composer.header(last_contained_log_timestamp=0, kraft_version=version, voters=voters)
        checked = CheckedSnapshot(
            id=LOG_START, control=(version, voters), last_contained_log_timestamp=0, data_records=0
        )
        self._hold(checked, header.data + composer.footer().data)

    def flush_to(self, end: Offset) -> None:
        """The end of a flush that began when the log ended at `end`; what was cut off since stays cut off."""
        self._flushed_end = max(self._flushed_end, min(end, self.end_offset))

    def at(self, base: Offset) -> RecordBatch | None:
        """The batch that starts exactly there."""
        return self._batches.at(base)

    def crash(self, rng: random.Random) -> None:
        """The machine loses power: of what was not flushed, all, some or nothing is left. Unfinished snapshots go."""
        self._fetched = None
        batches = self._batches.batches
        flushed = self._batches.count_below(self._flushed_end)
        keep = rng.choice([flushed, len(batches), rng.randint(flushed, len(batches))])
        end = batches[keep - 1].end_offset if keep else self.start
        newest = self._history.newest_snapshot
        if end < self.end_offset:
            if newest is not None and newest.offset > end:
                self._restart_at(newest.offset)  # as recovery does: the log ends before its newest snapshot
            else:
                self.truncate_to(end)
        self._flushed_end = self.end_offset

    def _hold(self, checked: CheckedSnapshot, data: bytes) -> None:
        self._snapshots[checked.id] = data
        self._history.add_snapshot(HeldSnapshot.of(checked, len(data)))

    def _restart_at(self, offset: Offset) -> None:
        self._batches.clear()
        self._history.on_reset(offset)
        self._flushed_end = offset

    def _snapshot(self, snapshot_id: OffsetAndEpoch) -> bytes:
        try:
            return self._snapshots[snapshot_id]
        except KeyError:
            raise SnapshotNotFound(f"there is no snapshot {snapshot_id}") from None

    def _fetched_of(self, snapshot_id: OffsetAndEpoch) -> bytearray:
        if self._fetched is None or self._fetched[0] != snapshot_id:
            raise InvariantViolated(f"snapshot {snapshot_id} is not being fetched")
        return self._fetched[1]


class _MemorySnapshotWriter:
    """See `interface.SnapshotWriter`."""

    def __init__(self, log: MemoryLog, snapshot_id: OffsetAndEpoch) -> None:
        self._log = log
        self._id = snapshot_id
        self._checker = SnapshotChecker(snapshot_id)
        self._data: bytearray | None = bytearray()

    def append(self, batch: RecordBatch) -> None:
        if self._data is None:
            raise InvariantViolated("a batch for a snapshot that is finished")
        try:
            self._checker.add(batch)
        except BadSnapshot as error:
            raise InvariantViolated(f"snapshot {self._id} is put together wrongly: {error}") from error
        self._data += batch.data

    def finish(self) -> None:
        if self._data is None:
            raise InvariantViolated("a snapshot is finished once")
        try:
            checked = self._checker.finish()
        except BadSnapshot as error:
            raise InvariantViolated(f"snapshot {self._id} is put together wrongly: {error}") from error
        self._log._hold(checked, bytes(self._data))
        self._data = None

    def abort(self) -> None:
        self._data = None
