"""What the simulated log is for: a state machine. Here is the small one of bare quorums, for speed.

A few keys hold the last value written to each.

Values are unique over a world's whole life, so that "this write" can be told from every other one; there are few keys,
so that a snapshot forgets what was overwritten, as a real one does.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import FIRST_OFFSET, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import AnyRecord, ConfigRecord, KRaftVersionRecord

KEYS = 6
State = dict[str, str]
Digest = tuple[tuple[str, str], ...]


class StateMachine(Protocol):
    """As `metadata.node.StateMachine`, all at once where that has slices."""

    eager: bool
    """It is shown what is committed in the midst of a step, and asked for nothing."""

    @property
    def applied(self) -> Offset:
        """The offset after the last record that it has seen."""
        ...

    def load(self, snapshot_id: OffsetAndEpoch, batches: Iterator[RecordBatch]) -> None: ...

    def committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None: ...

    def leader_changed(self, leader: LeaderAndEpoch) -> None: ...

    def claimed(self, epoch: Epoch, next_offset: Offset) -> None: ...

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]: ...

    def next_deadline(self) -> int | None: ...

    def snapshot(self, core: RaftCore, wall_ms: int) -> tuple[OffsetAndEpoch, Iterator[RecordBatch]] | None:
        """The state as a whole snapshot, and where it ends; None: not now."""
        ...

    def stop(self) -> None:
        """An orderly end begins."""
        ...

    def serve(self, request: Any, reply: Callable[[Any], None]) -> None: ...


class Values:
    """Makes records with values never used before, and remembers what each batch holds, so as not to decode it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._content: dict[bytes, tuple[AnyRecord, ...]] = {}

    def batch(self, count: int, *, base: Offset, epoch: Epoch, now_ms: int) -> RecordBatch:
        records = tuple(self._record() for _ in range(count))
        batch = RecordBatch.seal(records, base_offset=base, epoch=epoch, append_time_ms=now_ms)
        self._content[batch.data] = records
        return batch

    def _record(self) -> ConfigRecord:
        number = next(self._numbers)
        return ConfigRecord(
            resource_type=2, resource_name="sim", name=f"key-{number % KEYS}", value=f"value-{number}"
        )

    def records(self, batch: RecordBatch) -> tuple[AnyRecord, ...]:
        found = self._content.get(batch.data)
        return batch.records() if found is None else found


class Machine:
    """The state of one node: committed records, applied in order."""

    eager = True

    def __init__(self, values: Values) -> None:
        self._values = values
        self.at = OffsetAndEpoch(FIRST_OFFSET, Epoch(0))
        self.state: State = {}

    @property
    def applied(self) -> Offset:
        return self.at.offset

    def committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        for batch in batches:
            if not batch.is_control:
                self._take(self._values.records(batch))
            self.at = batch.end

    def load(self, snapshot_id: OffsetAndEpoch, batches: Iterator[RecordBatch]) -> None:
        self.state = {}
        for batch in batches:
            if not batch.is_control:
                self._take(batch.records())
        self.at = snapshot_id

    def leader_changed(self, leader: LeaderAndEpoch) -> None:
        """It does not ask who leads."""

    def claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        """Nor whether that is this node."""

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        return ()

    def next_deadline(self) -> int | None:
        return None

    def stop(self) -> None:
        """Nothing to hand over."""

    def serve(self, request: Any, reply: Callable[[Any], None]) -> None:
        raise AssertionError(f"nobody asks a bare quorum: {request}")

    def _take(self, records: tuple[AnyRecord, ...]) -> None:
        for record in records:
            if isinstance(record, ConfigRecord) and record.value is not None:
                self.state[record.name] = record.value

    @property
    def digest(self) -> Digest:
        return tuple(sorted(self.state.items()))

    def snapshot(self, core: RaftCore, wall_ms: int) -> tuple[OffsetAndEpoch, Iterator[RecordBatch]] | None:
        return self.at, iter(self._snapshot(core, wall_ms))

    def _snapshot(self, core: RaftCore, wall_ms: int) -> list[RecordBatch]:
        composer = SnapshotComposer(self.at, wall_ms=wall_ms)
        version, voters = core.log.voters.at(self.at.offset)
        header = composer.header(
            last_contained_log_timestamp=wall_ms,
            kraft_version=KRaftVersionRecord(k_raft_version=version),
            voters=voters.record(),
        )
        data = [
            composer.data([ConfigRecord(resource_type=2, resource_name="sim", name=name, value=value)])
            for name, value in self.digest
        ]
        return [header, *data, composer.footer()]
