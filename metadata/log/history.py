"""What a log knows about itself without reading its bytes: ends, epochs, voters, snapshots (pure).

Both logs keep one of these, and recovery fills one, so that a log just opened and the same log a week into its
life give equal summaries. That is why epochs are told as they could be read again: an epoch that began before
the log's start begins at the start, and a snapshot at or before the start says which epoch ended there.
"""

from collections.abc import Iterable
from typing import Self

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import EpochStart, LogSummary, SnapshotUse
from quorate.metadata.log.snapshot_format import CheckedSnapshot
from quorate.metadata.quorum.epochs import EpochHistory
from quorate.metadata.records import AnyRecord, KRaftVersionRecord, VotersRecord


@attrs.frozen
class HeldSnapshot:
    """A complete snapshot, and the control records inside that the quorum needs."""

    id: OffsetAndEpoch
    control: tuple[AnyRecord, ...]
    byte_count: int
    time_ms: int
    """Wall clock, of the last record in it."""

    @classmethod
    def of(cls, checked: CheckedSnapshot, byte_count: int) -> Self:
        return cls(checked.id, checked.control, byte_count, checked.last_contained_log_timestamp)


def quorum_records(batch: RecordBatch) -> list[tuple[Offset, AnyRecord]]:
    """The KRaftVersion and Voters records of a control batch, with their offsets."""
    return [
        (Offset(batch.base_offset + index), record)
        for index, record in enumerate(batch.records())
        if isinstance(record, KRaftVersionRecord | VotersRecord)
    ]


class LogHistory:
    """Mutable; owned by one log. Only `add_snapshot` and `remove_snapshots` may come from another thread."""

    __slots__ = ("_control", "_epochs", "_snapshots", "_summary", "end_offset", "start")

    def __init__(self) -> None:
        self.start = Offset(0)
        self.end_offset = Offset(0)
        self._epochs = EpochHistory()
        self._control: list[tuple[Offset, AnyRecord]] = []
        self._snapshots: tuple[HeldSnapshot, ...] = ()
        # With the snapshots it was made from: a snapshot finished in a worker thread makes it stale.
        self._summary: tuple[tuple[HeldSnapshot, ...], LogSummary] | None = None

    def copy(self) -> Self:
        twin = type(self)()
        twin.start = self.start
        twin.end_offset = self.end_offset
        twin._epochs = self._epochs
        twin._control = list(self._control)
        twin._snapshots = self._snapshots
        twin._summary = self._summary
        return twin

    @property
    def newest_snapshot(self) -> OffsetAndEpoch | None:
        snapshots = self._snapshots
        return snapshots[-1].id if snapshots else None

    @property
    def end_epoch(self) -> Epoch:
        if self.start < self.end_offset:
            return self._epochs.last_epoch
        newest = self.newest_snapshot
        return newest.epoch if newest else Epoch(0)

    def snapshot_use(self) -> tuple[SnapshotUse, ...]:
        return tuple(SnapshotUse(held.id, held.byte_count, held.time_ms) for held in self._snapshots)

    def holds_snapshot(self, snapshot_id: OffsetAndEpoch) -> bool:
        return any(held.id == snapshot_id for held in self._snapshots)

    def agrees_with(self, point: OffsetAndEpoch) -> bool:
        """Whether the readable log reaches `point`, and its record just before has that epoch.

        A log that begins exactly there has no record before; then its first must not be of an older epoch.
        """
        if not self.start <= point.offset <= self.end_offset:
            return False
        if point.offset > self.start:
            return self._epochs.epoch_before(point.offset) == point.epoch
        return self.start == self.end_offset or self._epochs.starts[0].epoch >= point.epoch

    def on_append(self, batch: RecordBatch) -> None:
        if batch.base_offset != self.end_offset:
            raise InvariantViolated(
                f"a batch at offset {batch.base_offset} does not continue a log that ends at {self.end_offset}"
            )
        if batch.epoch < self.end_epoch:
            raise InvariantViolated(
                f"a batch of epoch {batch.epoch} cannot follow one of epoch {self.end_epoch}"
            )
        self._epochs = self._epochs.with_append(batch.epoch, batch.base_offset)
        if batch.is_control:
            self._control.extend(quorum_records(batch))
        self.end_offset = batch.end_offset
        self._summary = None

    def on_truncate(self, end: Offset) -> None:
        check(
            self.start <= end <= self.end_offset,
            f"a log from {self.start} to {self.end_offset} cannot end at {end}",
        )
        newest = self.newest_snapshot
        check(newest is None or newest.offset <= end, f"a log with snapshot {newest} cannot end at {end}")
        self._epochs = self._epochs.truncated_to(end)
        self._control = [entry for entry in self._control if entry[0] < end]
        self.end_offset = end
        self._summary = None

    def on_reset(self, offset: Offset) -> None:
        """The log is empty and goes on at `offset`, where the newest snapshot ends."""
        self.start = self.end_offset = offset
        self._epochs = EpochHistory()
        self._control = []
        self._summary = None

    def on_drop(self, start: Offset) -> None:
        """What lies below `start` can no longer be read."""
        self.start = start
        self._epochs = self._epochs.from_start(start, self.end_offset)
        self._control = [entry for entry in self._control if entry[0] >= start]
        self._summary = None

    def add_snapshot(self, held: HeldSnapshot) -> None:
        others = [other for other in self._snapshots if other.id != held.id]
        self._snapshots = tuple(sorted((*others, held), key=lambda one: (one.id.offset, one.id.epoch)))

    def remove_snapshots(self, gone: Iterable[OffsetAndEpoch]) -> None:
        unwanted = frozenset(gone)
        self._snapshots = tuple(held for held in self._snapshots if held.id not in unwanted)

    def summary(self) -> LogSummary:
        known = self._summary
        snapshots = self._snapshots
        if known is not None and known[0] is snapshots:
            return known[1]
        made = LogSummary(
            start=self.start,
            end=OffsetAndEpoch(self.end_offset, self.end_epoch),
            epochs=self._all_epochs(snapshots),
            snapshots=tuple(held.id for held in snapshots),
            control=self._all_control(snapshots),
        )
        self._summary = (snapshots, made)
        return made

    def _all_epochs(self, snapshots: tuple[HeldSnapshot, ...]) -> tuple[EpochStart, ...]:
        """A snapshot at or before the start adds that the record before its end was of its epoch."""
        before = [
            EpochStart(held.id.epoch, Offset(held.id.offset - 1))
            for held in snapshots
            if 0 < held.id.offset <= self.start
        ]
        known: list[EpochStart] = []
        for entry in (*before, *self._epochs.starts):
            if not known or entry.epoch > known[-1].epoch:
                known.append(entry)
        return tuple(known)

    def _all_control(self, snapshots: tuple[HeldSnapshot, ...]) -> tuple[tuple[Offset, AnyRecord], ...]:
        if not snapshots:
            return tuple(self._control)
        newest = snapshots[-1]
        inside = Offset(newest.id.offset - 1)
        later = [entry for entry in self._control if entry[0] >= newest.id.offset]
        return (*((inside, record) for record in newest.control), *later)
