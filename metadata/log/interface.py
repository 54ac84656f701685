"""What the node and the simulator ask of a log, whatever it is made of.

Two implementations, one contract suite (`tests/contracts`): `memory.MemoryLog`, which forgets what was not
flushed when told to crash, and `segments.SegmentedLog` on files. All methods are synchronous; only `flush`
may be called from a worker thread, and it may run while the owner appends, never while it truncates.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.records import AnyRecord


class StorageFailed(Exception):
    """The disk can no longer be trusted (failed fsync, I/O error, no space). The process ends."""


class SnapshotNotFound(LookupError):
    """No complete snapshot of that id is held."""


@attrs.frozen
class EpochStart:
    """The first offset written in an epoch."""

    epoch: Epoch
    offset: Offset


@attrs.frozen
class LogSummary:
    """What recovery found: all that the core needs to know about a log that it never reads itself.

    Invariant: start ≤ end; `epochs` rises strictly in both fields; `snapshots` rises strictly;
    start > 0 implies a snapshot whose id ends at or behind `start`.
    """

    start: Offset
    """First offset that can still be read."""
    end: OffsetAndEpoch
    """Log end offset, with the epoch of the last record (of the newest snapshot where no record follows it)."""
    epochs: tuple[EpochStart, ...]
    """Where each epoch begins, as far back as `start` or the oldest snapshot."""
    snapshots: tuple[OffsetAndEpoch, ...]
    """Ids of the complete snapshots, oldest first; the bootstrap snapshot 0-0 included where there is one."""
    control: tuple[tuple[Offset, AnyRecord], ...]
    """KRaftVersion and Voters records: those of the newest snapshot (at its end offset - 1), then the log's."""


@attrs.frozen
class SnapshotUse:
    """What a snapshot takes on the disk. `time_ms`: wall clock, of the last record in it."""

    id: OffsetAndEpoch
    byte_count: int
    time_ms: int


@attrs.frozen
class LogPart:
    """A piece of the log that can only go as a whole: a segment on files."""

    end: Offset
    byte_count: int


@attrs.frozen(kw_only=True)
class LogUse:
    """What the log and its snapshots take on the disk, oldest first: what retention decides by."""

    start: Offset
    parts: tuple[LogPart, ...]
    snapshots: tuple[SnapshotUse, ...]

    @property
    def byte_count(self) -> int:
        return sum(one.byte_count for one in self.parts) + sum(one.byte_count for one in self.snapshots)


class SnapshotWriter(Protocol):
    """A snapshot being written aside. Header first, footer last; the caller brings both as batches."""

    def append(self, batch: RecordBatch) -> None:
        """Adds a batch; its offsets are the snapshot's own and start at 0."""
        ...

    def finish(self) -> None:
        """Flushes, renames, flushes the directory: from here on the snapshot exists. Worker thread."""
        ...

    def abort(self) -> None:
        """Removes what was written. Harmless after `finish`."""
        ...


def nothing_more() -> None:
    """For who asks for a flush and goes on when it returns."""


class Log(Protocol):
    """The metadata log of one node, with its snapshots."""

    def summary(self) -> LogSummary:
        """The state now; exact after every other method."""
        ...

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        """Writes batches that start exactly at the end. Not durable before the next `flush` that begins later.

        flushed_to: what the caller knows to be durable; goes in front of each batch as a lower bound.
        """
        ...

    def flush(self, durable: Callable[[], None] = nothing_more) -> None:
        """Makes durable all that was appended before the call. Worker thread.

        `durable` is called as soon as it is; what follows until the return is for the next start only.

        Raises:
            StorageFailed: a failed fsync. Never tried again: the pages may be marked clean.
        """
        ...

    def truncate_to(self, end: Offset) -> None:
        """Drops every batch at or behind `end`, durably. `end` must be a batch boundary."""
        ...

    def read(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        """Whole batches below `end` from the one that holds `start`: at least one, then as many as fit.

        A replica asks from a batch boundary. Who does not gets the whole batch, as from Kafka: a strange Fetch must
        not cost the leader its life.

        Raises:
            ValueError: no batch holds `start`.
        """
        ...

    def new_snapshot(self, snapshot_id: OffsetAndEpoch) -> SnapshotWriter:
        """Begins a snapshot of our own; nothing is visible before its `finish`."""
        ...

    def read_snapshot_chunk(
        self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int
    ) -> tuple[int, bytes]:
        """(size of the whole snapshot, the bytes at `position`).

        Raises:
            SnapshotNotFound: there is no such snapshot.
            ValueError: the position is negative or not inside the snapshot.
        """
        ...

    def snapshot_records(self, snapshot_id: OffsetAndEpoch) -> Iterable[RecordBatch]:
        """The batches of a snapshot, header and footer included, each checked.

        Raises:
            SnapshotNotFound: there is no such snapshot.
        """
        ...

    def write_snapshot_chunk(self, snapshot_id: OffsetAndEpoch, position: int, data: bytes) -> None:
        """Adds to a snapshot that is being fetched; position 0 starts it anew."""
        ...

    def install_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        """Checks the fetched snapshot, makes it durable under its name, and restarts the log at its end.

        Raises:
            CorruptBatch: the fetched bytes are no snapshot; they are removed, the log stays as it was.
        """
        ...

    def drop_prefix(self, start: Offset, snapshots: Sequence[OffsetAndEpoch]) -> None:
        """Lets go what retention allows: these snapshots, and segments that lie wholly below `start`."""
        ...

    def use(self) -> LogUse:
        """What is held, in bytes."""
        ...

    def free_bytes(self) -> int:
        """Space left for this directory."""
        ...

    def close(self) -> None: ...
