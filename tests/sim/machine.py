"""What the simulated log is for: a few keys that hold the last value written to each.

Values are unique over a world's whole life, so that "this write" can be told from every other one; there are few keys,
so that a snapshot forgets what was overwritten, as a real one does.
"""

import itertools
from collections.abc import Iterator

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import FIRST_OFFSET, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.records import AnyRecord, ConfigRecord, KRaftVersionRecord

KEYS = 6
State = dict[str, str]
Digest = tuple[tuple[str, str], ...]


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

    def __init__(self, values: Values) -> None:
        self._values = values
        self.applied = OffsetAndEpoch(FIRST_OFFSET, Epoch(0))
        self.state: State = {}

    def apply(self, batch: RecordBatch) -> None:
        if not batch.is_control:
            self._take(self._values.records(batch))
        self.applied = batch.end

    def load(self, snapshot_id: OffsetAndEpoch, batches: Iterator[RecordBatch]) -> None:
        self.state = {}
        for batch in batches:
            if not batch.is_control:
                self._take(batch.records())
        self.applied = snapshot_id

    def _take(self, records: tuple[AnyRecord, ...]) -> None:
        for record in records:
            if isinstance(record, ConfigRecord) and record.value is not None:
                self.state[record.name] = record.value

    @property
    def digest(self) -> Digest:
        return tuple(sorted(self.state.items()))

    def snapshot(self, core: RaftCore, wall_ms: int) -> list[RecordBatch]:
        """The state as a whole snapshot, at the point up to which it was applied."""
        composer = SnapshotComposer(self.applied, wall_ms=wall_ms)
        version, voters = core.log.voters.at(self.applied.offset)
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
