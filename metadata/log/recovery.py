"""Opening a log after whatever happened: find what is good, refuse what was lost, cut what was torn.

The question is always the same: had this node said that it has these bytes? It said so (in its next Fetch, or by
counting itself) only about what was flushed, and every batch and the flushed mark remember a lower bound of that.

    batches      good good good BAD  …  good
    bound                  ^            ^ says: flushed up to here
                below: lost, refuse     at or above: torn, cut from BAD on, whatever lies behind

The kernel writes unflushed pages in any order, so intact batches behind a bad one are no proof by themselves, only
their bounds are. `survey` reads and judges and changes nothing (`quorate log verify` is that); `recover` acts.
"""

from pathlib import Path
from typing import Final

import attrs

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import LOG_START, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.files import Files, Mode, failing_storage, read_whole, write_fully
from quorate.metadata.log.history import LogHistory
from quorate.metadata.log.layout import (
    ASIDE_SUFFIX,
    FLUSHED,
    PART_SUFFIX,
    pack_mark,
    segment_base,
    segment_name,
    snapshot_name,
    unpack_mark,
)
from quorate.metadata.log.refusals import REPLACE, CorruptLog, LogStartsTooLate, UnknownRecord
from quorate.metadata.log.scan import Found, prefixes_behind, scan
from quorate.metadata.log.segment import Segment
from quorate.metadata.log.snapshot_files import held_snapshots

_NEWER_RELEASE: Final = (
    "start the release that wrote it again;\n"
    "a node cannot go back behind a release whose records it has stored"
)


@attrs.frozen(kw_only=True)
class TornTail:
    """What was (or would be) cut off: bytes that were never flushed, so nobody was told of them."""

    name: str
    position: int
    offset: Offset
    """The log ends here now."""
    reason: str
    flushed_to: Offset
    """The largest bound found; never above `offset`."""
    removed: tuple[str, ...]
    """Segments that lay behind."""


@attrs.frozen(kw_only=True)
class DroppedLog:
    """A log given up for a snapshot: the node died between the two halves of installing it."""

    start: Offset
    end: OffsetAndEpoch
    snapshot: OffsetAndEpoch


@attrs.frozen(kw_only=True)
class RecoveryReport:
    """What opening the log found and did; the shell logs `lines()`."""

    start: Offset
    end: OffsetAndEpoch
    flushed_to: Offset
    segments: int
    batches: int
    snapshots: tuple[OffsetAndEpoch, ...]
    torn: TornTail | None
    dropped: DroppedLog | None
    removed_parts: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        said = [
            (
                f"the log holds offsets {self.start} to {self.end.offset}, last epoch {self.end.epoch}: "
                f"{self.batches} batches in {self.segments} segments, {len(self.snapshots)} snapshots"
            )
        ]
        if self.torn is not None:
            torn = self.torn
            said.append(
                f"torn tail cut at offset {torn.offset} (byte {torn.position} of {torn.name}: {torn.reason}); "
                f"known to be flushed: offset {torn.flushed_to}"
            )
            if torn.removed:
                said.append("segments behind the torn tail removed: " + ", ".join(torn.removed))
        if self.dropped is not None:
            gone = self.dropped
            said.append(
                f"log from offset {gone.start} to {gone.end} dropped in favour of snapshot {gone.snapshot}"
            )
        if self.removed_parts:
            said.append("unfinished files removed: " + ", ".join(self.removed_parts))
        return tuple(said)


@attrs.define(kw_only=True)
class Survey:
    """What lies in the directory, judged good: files are open, nothing was changed."""

    segments: list[Segment]
    doomed: list[Segment]
    """Segments behind a torn tail."""
    history: LogHistory
    batches: int
    flushed_to: Offset
    torn: TornTail | None
    dropped: DroppedLog | None
    parts: tuple[str, ...]

    def close(self) -> None:
        for segment in (*self.segments, *self.doomed):
            segment.close()

    @property
    def last_epoch(self) -> Epoch:
        """The last epoch that the log or a snapshot knows, whichever of the two recovery will keep."""
        known = [self.history.summary().end.epoch]
        if self.dropped is not None:
            known.append(self.dropped.snapshot.epoch)
        return max(known)

    def report(self) -> RecoveryReport:
        summary = self.history.summary()
        return RecoveryReport(
            start=summary.start,
            end=summary.end,
            flushed_to=self.flushed_to,
            segments=len(self.segments),
            batches=self.batches,
            snapshots=summary.snapshots,
            torn=self.torn,
            dropped=self.dropped,
            removed_parts=self.parts,
        )


def survey(files: Files, directory: Path, mode: Mode) -> Survey:
    """Reads the whole log, changes nothing. Files are opened in `mode`; the caller closes them.

    Raises:
        StorageRefused: what must never be skipped.
        StorageFailed: the disk does not answer.
    """
    with failing_storage("Reading the log", directory):
        names = files.names(directory)
        snapshots = held_snapshots(files, directory, names)
        newest = snapshots[-1].id if snapshots else None
        mark = (unpack_mark(read_whole(files, directory / FLUSHED)) if FLUSHED in names else None) or Offset(
            0
        )
        surveyor = _Surveyor(files, directory, mode, replayed_from=newest.offset if newest else Offset(0))
        try:
            for base in sorted(base for name in names if (base := segment_base(name)) is not None):
                surveyor.take(base)
            found = surveyor.finish(mark, newest)
            for held in snapshots:
                found.history.add_snapshot(held)
            _compare_with_snapshot(found, newest, directory)
        except BaseException:
            surveyor.close()
            raise
        found.parts = tuple(name for name in names if name.endswith((PART_SUFFIX, ASIDE_SUFFIX)))
        return found


def recover(files: Files, directory: Path, found: Survey) -> Survey:
    """Brings the directory into the state that its survey (for "update") judged to be the truth.

    Afterwards everything that the history tells of is durable: the log's end may be promised to others.

    Raises:
        StorageFailed: the disk does not answer.
    """
    with failing_storage("Recovering the log", directory):
        for name in found.parts:
            files.remove(directory / name)
        remove_segments(files, directory, found.doomed)
        found.doomed = []
        if found.torn is not None:
            found.segments[-1].cut(found.torn.position, found.torn.offset)
        if found.dropped is not None:
            found.segments = [reset_segments(files, directory, found.segments, found.dropped.snapshot.offset)]
            found.history.on_reset(found.dropped.snapshot.offset)
        if not found.segments:
            found.segments = [Segment.open(files, directory, found.history.end_offset, "new")]
        _make_durable(files, directory, found)
        write_mark(files, directory, found.history.end_offset, durable=False)
    return found


def remove_segments(files: Files, directory: Path, segments: list[Segment]) -> None:
    """The last one first, each durably: a crash in between must not leave a hole."""
    for segment in reversed(segments):
        segment.close()
        files.remove(segment.path)
        files.sync_directory(directory)


def reset_segments(files: Files, directory: Path, segments: list[Segment], base: Offset) -> Segment:
    """Replaces all segments by an empty one. The snapshot that ends at `base` is durable already."""
    write_mark(files, directory, Offset(0), durable=True)
    remove_segments(files, directory, segments)
    fresh = Segment.open(files, directory, base, "new")
    fresh.file.fsync()
    files.sync_directory(directory)
    return fresh


def write_mark(files: Files, directory: Path, flushed_to: Offset, *, durable: bool) -> None:
    """Durable only where it falls: a mark above the end of a log that was cut would look like lost data."""
    file = files.open(directory / FLUSHED, "update")
    try:
        write_fully(file, [pack_mark(flushed_to)], 0)
        if durable:
            file.fsync()
    finally:
        file.close()
    if durable:
        files.sync_directory(directory)


def _make_durable(files: Files, directory: Path, found: Survey) -> None:
    """What we have read may still be in memory only, or even, after a failed fsync of the process before us, be
    marked clean without being on disk (such pages are never written again). So what lies above the bound is
    written over itself, and everything flushed.
    """
    for segment in found.segments:
        if segment.end_offset > found.flushed_to:
            segment.rewrite_from(found.flushed_to)
        segment.file.fsync()
    files.sync_directory(directory)


class _Surveyor:
    """Walks the segments in order and remembers the first place where they stop being good."""

    def __init__(self, files: Files, directory: Path, mode: Mode, *, replayed_from: Offset) -> None:
        self._files = files
        self._directory = directory
        self._mode: Mode = mode
        self._replayed_from = replayed_from
        self._segments: list[Segment] = []
        self._doomed: list[Segment] = []
        self._history = LogHistory()
        self._last_epoch = Epoch(0)
        self._batches = 0
        self._flushed_to = Offset(0)
        self._said_by = ""
        self._stop: tuple[Segment, int, str] | None = None

    def close(self) -> None:
        for segment in (*self._segments, *self._doomed):
            segment.close()

    def take(self, base: Offset) -> None:
        segment = Segment.open(self._files, self._directory, base, self._mode)
        end = self._history.end_offset
        if not self._segments:
            self._history.on_reset(base)
        elif self._stop is None and base < end:
            segment.close()
            self._refuse_overlap(segment, end)
        elif self._stop is None and base > end:
            last = self._segments[-1]
            self._stop = (
                last,
                last.size,
                f"offsets {end} to {base - 1} are missing, {segment.path.name} follows",
            )
        if self._stop is not None:
            self._doomed.append(segment)
            self._look_for_bounds(segment, 0)
            return
        self._segments.append(segment)
        self._read(segment)

    def finish(self, mark: Offset, newest: OffsetAndEpoch | None) -> Survey:
        """Raises: CorruptLog, unless everything that is missing lies at or above every bound."""
        self._bound(mark, f"the file {FLUSHED}")
        if not self._segments and newest is not None:
            self._history.on_reset(newest.offset)
        end = self._history.end_offset
        if self._flushed_to > end:
            self._refuse_lost(end)
        torn = None
        if self._stop is not None:
            segment, position, reason = self._stop
            torn = TornTail(
                name=segment.path.name,
                position=position,
                offset=end,
                reason=reason,
                flushed_to=self._flushed_to,
                removed=tuple(gone.path.name for gone in self._doomed),
            )
        return Survey(
            segments=self._segments,
            doomed=self._doomed,
            history=self._history,
            batches=self._batches,
            flushed_to=self._flushed_to,
            torn=torn,
            dropped=None,
            parts=(),
        )

    def _read(self, segment: Segment) -> None:
        name = segment.path.name
        for found in scan(segment.file, segment.base, 0, segment.file.size()):
            if isinstance(found, Found):
                self._check_chain(segment, found)
                self._history.on_append(found.batch)
                segment.note(found.batch)
                self._batches += 1
                self._last_epoch = found.batch.epoch
                self._bound(found.flushed_to, f"the batch at byte {found.position} of {name}")
            elif found.bad is not None:
                self._stop = (segment, found.position, found.bad)
                self._look_for_bounds(segment, found.position)

    def _check_chain(self, segment: Segment, found: Found) -> None:
        batch = found.batch
        end = self._history.end_offset
        if batch.base_offset != end:
            raise CorruptLog(
                f"The log has a hole: offset {end} is missing",
                path=segment.path,
                position=found.position,
                offset=end,
                why=f"an intact batch with offset {batch.base_offset} stands where offset {end} belongs",
            )
        if batch.epoch < self._last_epoch:
            raise CorruptLog(
                f"Epochs go backwards at offset {end}",
                path=segment.path,
                position=found.position,
                offset=end,
                why=f"a batch of epoch {batch.epoch} follows one of epoch {self._last_epoch}; no leader writes that",
            )
        if batch.end_offset > self._replayed_from or batch.is_control:
            self._check_records(segment, found)

    def _check_records(self, segment: Segment, found: Found) -> None:
        try:
            found.batch.records()
        except (MalformedRecord, InvariantViolated) as error:
            raise UnknownRecord(
                f"The records at offset {found.batch.base_offset} cannot be read",
                path=segment.path,
                position=found.position,
                offset=found.batch.base_offset,
                why=f"the batch is intact, but: {error}",
                remedy=_NEWER_RELEASE,
            ) from error

    def _look_for_bounds(self, segment: Segment, position: int) -> None:
        size = segment.file.size()
        for at, flushed_to in prefixes_behind(segment.file, segment.base, position, size):
            self._bound(flushed_to, f"the batch at byte {at} of {segment.path.name}")

    def _bound(self, flushed_to: Offset, said_by: str) -> None:
        if flushed_to > self._flushed_to:
            self._flushed_to = flushed_to
            self._said_by = said_by

    def _refuse_overlap(self, segment: Segment, end: Offset) -> None:
        raise CorruptLog(
            f"Two segments hold offset {segment.base}",
            path=segment.path,
            position=0,
            offset=segment.base,
            why=f"the segments before it go up to offset {end}; this file, or one of them, does not belong here",
        )

    def _refuse_lost(self, end: Offset) -> None:
        why = f"{self._said_by} says that everything below offset {self._flushed_to} had been flushed"
        if self._stop is not None:
            segment, position, reason = self._stop
            why = f"{reason}; and {why}"
        elif self._segments:
            segment = self._segments[-1]
            position = segment.size
        else:
            raise CorruptLog(
                f"All segments are missing; offsets {end} to {self._flushed_to - 1} are lost",
                path=self._directory / segment_name(end),
                position=0,
                offset=end,
                why=why,
            )
        raise CorruptLog(
            f"The log is damaged at offset {end}, below what this node had flushed",
            path=segment.path,
            position=position,
            offset=end,
            why=f"{why}, so this is lost data and not a torn tail",
        )


def _compare_with_snapshot(found: Survey, newest: OffsetAndEpoch | None, directory: Path) -> None:
    history = found.history
    needed = newest or LOG_START
    if history.start > needed.offset:
        raise LogStartsTooLate(
            f"The log starts at offset {history.start}, behind everything that the snapshots hold",
            where=directory / segment_name(history.start),
            why=f"offsets {needed.offset} to {history.start - 1} are missing: "
            + (f"the newest snapshot is {snapshot_name(newest)}" if newest else "there is no snapshot"),
            remedy=REPLACE,
        )
    if newest is not None and not history.agrees_with(newest):
        end = OffsetAndEpoch(history.end_offset, history.summary().end.epoch)
        found.dropped = DroppedLog(start=history.start, end=end, snapshot=newest)
