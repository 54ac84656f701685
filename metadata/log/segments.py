"""SegmentedLog: the metadata log on files.

Files `<base offset>.log`, each a row of (prefix, batch); see `layout`. Room is taken ahead in steps, so that a
full disk is met between batches and not inside one. The newest batches are kept in memory too, since that is what
followers ask for. Opening is `recovery`'s business, snapshots are `snapshot_files`'.

Two threads meet here: the owner, who does everything, and a worker in `flush` (or in a snapshot writer's
`finish`). What they share is guarded by one lock that is never held during a system call.
"""

import contextlib
import errno
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.log.files import Files, failing_storage, storage_failed, write_fully
from quorate.metadata.log.history import HeldSnapshot
from quorate.metadata.log.interface import (
    LogPart,
    LogSummary,
    LogUse,
    SnapshotWriter,
    StorageFailed,
    nothing_more,
)
from quorate.metadata.log.layout import FLUSHED, PREFIX_BYTES, pack_mark, snapshot_name
from quorate.metadata.log.recovery import (
    RecoveryReport,
    Survey,
    recover,
    remove_segments,
    reset_segments,
    survey,
    write_mark,
)
from quorate.metadata.log.run import BatchRun
from quorate.metadata.log.scan import Found, Stop
from quorate.metadata.log.segment import Segment
from quorate.metadata.log.snapshot_files import FetchedPart, FileSnapshotWriter, SnapshotReader
from quorate.metadata.log.space import Reserve


@attrs.frozen(kw_only=True)
class LogConfig:
    """Sizes and times; the defaults of the first two are Kafka's."""

    segment_bytes: int = 1024 * 1024 * 1024
    """metadata.log.segment.bytes: a segment that would grow beyond is followed by a new one."""
    segment_ms: int = 7 * 24 * 3600 * 1000
    """metadata.log.segment.ms: likewise, by the append times of its first batch and the next."""
    segment_outlived_bytes: int = 1024 * 1024
    """A segment of so much, the beginning of which was let go, is followed by a new one: else retention could free
    nothing before it is full."""
    preallocate_bytes: int = 16 * 1024 * 1024
    """Room is taken in steps of this; the next step is taken when half of the last is used."""
    reserve_bytes: int = 8 * 1024 * 1024
    tail_cache_bytes: int = 16 * 1024 * 1024
    tail_cache_batches: int = 10_000


class SegmentedLog:
    """See `interface.Log`; what is said there is not repeated here."""

    def __init__(self, files: Files, directory: Path, config: LogConfig, recovered: Survey) -> None:
        self._files = files
        self._directory = directory
        self._config = config
        self._segments = recovered.segments
        self._history = recovered.history
        self._to_be_let_go = False
        """The active segment holds much that retention let go: the next batch begins a new one."""
        self._tail = BatchRun()
        self._snapshots = SnapshotReader(files, directory)
        self._fetched = FetchedPart(files, directory, self._failing)
        self.reserve = Reserve(files, directory, config.reserve_bytes)
        with failing_storage("Opening the flushed mark", directory):
            self._mark = files.open(directory / FLUSHED, "update")
        self._lock = threading.Lock()
        # All below: guarded by the lock.
        self._unflushed: dict[Segment, None] = {}
        self._new_names = False
        self._written_end = self._flushed_end = self._history.end_offset
        self._flushing: tuple[Segment, ...] | None = None
        self._dropped: list[Segment] = []
        self._failure: StorageFailed | None = None

    @classmethod
    def open(
        cls, files: Files, directory: Path, config: LogConfig | None = None, found: Survey | None = None
    ) -> tuple[Self, RecoveryReport]:
        """Recovers the log of a directory that exists. `found`: its survey for "update", if it was made already.

        Raises:
            StorageRefused: the log must not be used. StorageFailed: the disk does not answer.
        """
        recovered = recover(files, directory, found or survey(files, directory, "update"))
        log = cls(files, directory, config or LogConfig(), recovered)
        with failing_storage("Reserving room", directory):
            log.reserve.ensure()
        return log, recovered.report()

    def summary(self) -> LogSummary:
        return self._history.summary()

    # Writing

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        self._raise_if_failed()
        if flushed_to > self._written_end:
            raise InvariantViolated(f"nothing is flushed at {flushed_to}, behind the end")
        for batch in batches:
            self._history.on_append(batch)
        for segment, group in self._placed(batches):
            try:  # not `_failing`: every write passes here
                self._write(segment, group, flushed_to)
            except OSError as error:
                raise self._failed("Writing to the log", segment.path, error) from error
        for batch in batches:
            self._tail.append(batch)
        self._tail.shrink(self._config.tail_cache_bytes, self._config.tail_cache_batches)

    def _placed(self, batches: Sequence[RecordBatch]) -> Iterator[tuple[Segment, list[RecordBatch]]]:
        """Which batches go to which segment; new segments are made on the way."""
        active = self._segments[-1]
        group: list[RecordBatch] = []
        position = active.size
        first_time_ms = active.first_time_ms
        if self._to_be_let_go and batches:
            self._to_be_let_go = False
            active = self._roll(batches[0].base_offset)
            position, first_time_ms = 0, None
        for batch in batches:
            size = PREFIX_BYTES + len(batch.data)
            if position and (
                position + size > self._config.segment_bytes
                or (
                    first_time_ms is not None
                    and batch.append_time_ms - first_time_ms >= self._config.segment_ms
                )
            ):
                if group:
                    yield active, group
                active = self._roll(batch.base_offset)
                group, position, first_time_ms = [], 0, None
            if first_time_ms is None:
                first_time_ms = batch.append_time_ms
            group.append(batch)
            position += size
        if group:
            yield active, group

    def _write(self, segment: Segment, group: list[RecordBatch], flushed_to: Offset) -> None:
        end = segment.size + sum(PREFIX_BYTES + len(batch.data) for batch in group)
        if end > segment.allocated:
            self._take_room(segment, end)
        self.reserve.lean_on(lambda: segment.write(group, flushed_to))
        for batch in group:
            segment.note(batch)
        with self._lock:
            # After the write: a flush that took the segment before must not have taken these bytes for flushed.
            self._unflushed[segment] = None
            self._written_end = segment.end_offset

    def _take_room(self, segment: Segment, end: int) -> None:
        """A whole step; where none fits any more, what is needed and no more, at last from the reserve."""
        step = max(self._config.preallocate_bytes, 1)
        upto = max(min(-(-end // step) * step, self._config.segment_bytes), end)
        try:
            segment.allocate(upto)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.reserve.lean_on(lambda: segment.allocate(end))

    def _roll(self, base: Offset) -> Segment:
        with self._failing("Beginning a new segment", self._directory):
            fresh = self.reserve.lean_on(lambda: Segment.open(self._files, self._directory, base, "new"))
        with self._lock:
            self._unflushed[self._segments[-1]] = None  # so that the next flush gives its room back
            self._segments.append(fresh)
            self._new_names = True
        return fresh

    def flush(self, durable: Callable[[], None] = nothing_more) -> None:
        with self._lock:
            self._raise_if_failed()
            check(self._flushing is None, "two flushes at once")
            active = self._segments[-1]
            todo = tuple(self._unflushed)
            new_names, end = self._new_names, self._written_end
            self._unflushed.clear()
            self._new_names = False
            self._flushing = todo
        try:
            self._flush(todo, active, new_names=new_names)
            self._flushed_end = end
            durable()  # nobody need wait for the mark
            if todo:
                # Before the flush ends: a mark written beside a cut would stand above what the cut leaves.
                try:
                    write_fully(self._mark, [pack_mark(end)], 0)
                except OSError as error:
                    raise self._failed("Writing the flushed mark", self._directory, error) from error
        finally:
            with self._lock:
                self._flushing = None
                dropped, self._dropped = self._dropped, []
            for segment in dropped:
                segment.close()

    def _flush(self, todo: Sequence[Segment], active: Segment, *, new_names: bool) -> None:
        for segment in todo:
            try:
                if segment is active:
                    self._take_room_ahead(segment)
                else:
                    segment.trim()
                segment.file.fdatasync()
            except OSError as error:
                raise self._failed("Flushing the log", segment.path, error) from error
        if new_names:
            with self._failing("Flushing the directory", self._directory):
                self._files.sync_directory(self._directory)

    def _take_room_ahead(self, segment: Segment) -> None:
        step = self._config.preallocate_bytes
        upto = min(segment.allocated + step, self._config.segment_bytes)
        if segment.allocated - segment.size < step // 2 and upto > segment.allocated:
            # A full disk is not an error yet; it will be when the room that is left is used.
            with contextlib.suppress(OSError):
                segment.allocate(upto)

    def truncate_to(self, end: Offset) -> None:
        self._raise_if_failed()
        self._check_quiet("cut")
        if end == self._history.end_offset:
            return
        self._history.on_truncate(end)
        keep = max(1, bisect_right([segment.base for segment in self._segments], end - 1))
        kept, gone = self._segments[:keep], self._segments[keep:]
        last = kept[-1]
        with self._failing("Cutting the log", last.path):
            position = last.position_of(end)
            # First the mark: were it to stand above the new end, the cut would look like lost data. Nor above what
            # is flushed: a crash may still take what is left below the cut.
            write_mark(self._files, self._directory, min(self._flushed_end, end), durable=True)
            remove_segments(self._files, self._directory, gone)
            last.cut(position, end)
        self._segments = kept
        self._tail.truncate_to(end)
        self._forget_unflushed(end)

    def _forget_unflushed(self, end: Offset) -> None:
        with self._lock:
            self._unflushed = {segment: None for segment in self._unflushed if segment in self._segments}
            self._written_end = end
            self._flushed_end = min(self._flushed_end, end)

    # Reading

    def read(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        tail_start = self._tail.start
        if tail_start is not None and start >= tail_start:
            return self._tail.read(start, end, max_bytes)
        with self._failing("Reading the log", self._directory):
            return self._read_files(start, end, max_bytes)

    def _read_files(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        first = bisect_right([segment.base for segment in self._segments], start) - 1
        taken: list[RecordBatch] = []
        size = 0
        for found in self._batches_from(max(first, 0), start):
            batch = found.batch
            if batch.end_offset <= start:
                continue
            if batch.base_offset > start:
                break
            size += len(batch.data)
            if batch.end_offset > end or (taken and size > max_bytes):
                return taken
            taken.append(batch)
            start = batch.end_offset
        if not taken:
            raise ValueError(f"no batch holds offset {start}")
        return taken

    def _batches_from(self, first: int, start: Offset) -> Iterator[Found]:
        for segment in self._segments[first:]:
            for found in segment.scan_from(start):
                if isinstance(found, Stop):
                    check(found.bad is None, f"{segment.path.name}, byte {found.position}: {found.bad}")
                    break
                yield found

    # Snapshots

    def new_snapshot(self, snapshot_id: OffsetAndEpoch) -> SnapshotWriter:
        self._raise_if_failed()
        return FileSnapshotWriter(
            self._files, self._directory, snapshot_id, self._add_snapshot, self._failing
        )

    def _add_snapshot(self, held: HeldSnapshot) -> None:
        with self._lock:
            self._history.add_snapshot(held)

    def read_snapshot_chunk(
        self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int
    ) -> tuple[int, bytes]:
        return self._snapshots.chunk(snapshot_id, position, max_bytes)

    def snapshot_records(self, snapshot_id: OffsetAndEpoch) -> Iterable[RecordBatch]:
        return self._snapshots.batches(snapshot_id)

    def write_snapshot_chunk(self, snapshot_id: OffsetAndEpoch, position: int, data: bytes) -> None:
        self._raise_if_failed()
        self._fetched.write(snapshot_id, position, data)

    def install_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        self._raise_if_failed()
        self._check_quiet("replaced by a snapshot")
        held = self._fetched.install(snapshot_id)
        with self._failing("Restarting the log behind a snapshot", self._directory):
            fresh = reset_segments(self._files, self._directory, self._segments, snapshot_id.offset)
        self._segments = [fresh]
        self._add_snapshot(held)
        self._history.on_reset(snapshot_id.offset)
        self._tail.clear()
        self._forget_unflushed(snapshot_id.offset)

    def drop_prefix(self, start: Offset, snapshots: Sequence[OffsetAndEpoch]) -> None:
        self._raise_if_failed()
        newest = self._history.newest_snapshot
        check(newest is not None and newest.offset >= start, "the log would begin behind its newest snapshot")
        check(newest not in snapshots, "the newest snapshot is never let go")
        keep = next(
            (at for at, segment in enumerate(self._segments) if segment.end_offset > start),
            len(self._segments) - 1,
        )
        gone, self._segments = self._segments[:keep], self._segments[keep:]
        with self._failing("Letting go of old segments", self._directory):
            # The oldest first: a crash in between leaves a log that merely begins earlier.
            for segment in gone:
                self._files.remove(segment.path)
                self._files.sync_directory(self._directory)
            for snapshot_id in snapshots:
                if self._history.holds_snapshot(snapshot_id):
                    self._files.remove(self._directory / snapshot_name(snapshot_id))
        self._close_dropped(gone)
        active = self._segments[-1]
        self._to_be_let_go = active.base < start and active.size >= self._config.segment_outlived_bytes
        with self._lock:
            self._history.remove_snapshots(snapshots)
        # After a restart the log begins earlier, where the oldest segment that is left begins: harmless.
        self._history.on_drop(max(start, self._history.start))
        self._tail.drop_below(start)
        with self._failing("Reserving room", self._directory):
            self.reserve.ensure()

    def _close_dropped(self, gone: list[Segment]) -> None:
        """A flush that runs may still hold one of them; then its file lives until that flush has ended."""
        with self._lock:
            for segment in gone:
                self._unflushed.pop(segment, None)
            busy = self._flushing or ()
            self._dropped += [segment for segment in gone if segment in busy]
        for segment in gone:
            if segment not in busy:
                segment.close()

    # The rest

    def use(self) -> LogUse:
        return LogUse(
            start=self._history.start,
            parts=tuple(LogPart(segment.end_offset, segment.size) for segment in self._segments),
            snapshots=self._history.snapshot_use(),
        )

    def free_bytes(self) -> int:
        with failing_storage("Asking for the room that is left", self._directory):
            return self.reserve.free_bytes()

    def close(self) -> None:
        for segment in self._segments:
            segment.close()
        self._mark.close()
        self._fetched.close()

    def _check_quiet(self, doing: str) -> None:
        with self._lock:
            check(self._flushing is None, f"the log is {doing} while a flush runs")

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def _failing(self, doing: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(doing, path, error) from error

    def _failed(self, doing: str, path: Path, error: OSError) -> StorageFailed:
        """After the first error nothing is tried again: pages may be marked clean that are not on the disk."""
        self._failure = storage_failed(doing, path, error)
        return self._failure
