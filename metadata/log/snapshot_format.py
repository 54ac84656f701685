"""How a snapshot is put together and how it is checked; bytes in, bytes out, no files (pure).

A snapshot is a stream of batches with offsets of their own, from 0, all of the snapshot's epoch (KIP-630):

    control   SnapshotHeader [KRaftVersion] [Voters]
    data      …
    control   SnapshotFooter: how many data records stand before it, SHA-256 of every byte before its batch

Replicas ship these bytes as they are. A batch's crc says that the batch is whole; only the footer says that
the snapshot is.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.records import (
    AnyRecord,
    KRaftVersionRecord,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    VotersRecord,
)

MAX_RECORDS_PER_BATCH: Final = 1024
"""As Kafka's snapshot emitter."""


class BadSnapshot(ValueError):
    """Batches that do not make a snapshot; the text says why."""


class SnapshotComposer:
    """Seals the batches of one snapshot: `header`, then `data` any number of times, then `footer`."""

    def __init__(self, snapshot_id: OffsetAndEpoch, *, wall_ms: int) -> None:
        self._id = snapshot_id
        self._wall_ms = wall_ms
        self._next = Offset(0)
        self._data_records = 0
        self._digest = hashlib.sha256()

    def header(
        self,
        *,
        last_contained_log_timestamp: int,
        kraft_version: KRaftVersionRecord | None = None,
        voters: VotersRecord | None = None,
    ) -> RecordBatch:
        check(self._next == 0, "a snapshot has one header, at its beginning")
        records: list[AnyRecord] = [
            SnapshotHeaderRecord(
                last_contained_log_timestamp=last_contained_log_timestamp,
                end_offset=self._id.offset,
                epoch=self._id.epoch,
            )
        ]
        records.extend(record for record in (kraft_version, voters) if record is not None)
        return self._seal(records, is_control=True)

    def data(self, records: Sequence[AnyRecord]) -> RecordBatch:
        check(self._next > 0, "a snapshot begins with its header")
        self._data_records += len(records)
        return self._seal(records, is_control=False)

    def footer(self) -> RecordBatch:
        check(self._next > 0, "a snapshot begins with its header")
        footer = SnapshotFooterRecord(record_count=self._data_records, digest=self._digest.digest())
        return self._seal([footer], is_control=True)

    def _seal(self, records: Sequence[AnyRecord], *, is_control: bool) -> RecordBatch:
        batch = RecordBatch.seal(
            records,
            base_offset=self._next,
            epoch=self._id.epoch,
            append_time_ms=self._wall_ms,
            is_control=is_control,
        )
        self._next = batch.end_offset
        self._digest.update(batch.data)
        return batch


@attrs.frozen(kw_only=True)
class CheckedSnapshot:
    """What a whole snapshot says about itself."""

    id: OffsetAndEpoch
    control: tuple[AnyRecord, ...]
    last_contained_log_timestamp: int
    data_records: int


class SnapshotChecker:
    """Takes a snapshot's batches one by one; `finish` says whether they were all of it."""

    def __init__(self, snapshot_id: OffsetAndEpoch) -> None:
        self._id = snapshot_id
        self._next = Offset(0)
        self._data_records = 0
        self._digest = hashlib.sha256()
        self._header: SnapshotHeaderRecord | None = None
        self._control: tuple[AnyRecord, ...] = ()
        self._finished = False

    def add(self, batch: RecordBatch) -> None:
        """Raises: BadSnapshot."""
        if self._finished:
            raise BadSnapshot("something follows the footer")
        if batch.base_offset != self._next:
            raise BadSnapshot(f"a batch has offset {batch.base_offset}, {self._next} is next")
        if batch.epoch != self._id.epoch:
            raise BadSnapshot(f"a batch is of epoch {batch.epoch}, the snapshot of epoch {self._id.epoch}")
        if self._header is None:
            self._take_header(batch)
        elif batch.is_control:
            self._take_footer(batch)
        else:
            self._data_records += batch.record_count
        self._next = batch.end_offset
        self._digest.update(batch.data)

    def finish(self) -> CheckedSnapshot:
        """Raises: BadSnapshot."""
        if self._header is None:
            raise BadSnapshot("it is empty")
        if not self._finished:
            raise BadSnapshot("the footer is missing")
        return CheckedSnapshot(
            id=self._id,
            control=self._control,
            last_contained_log_timestamp=self._header.last_contained_log_timestamp,
            data_records=self._data_records,
        )

    def _take_header(self, batch: RecordBatch) -> None:
        records = _records_of(batch) if batch.is_control else ()
        if not records or not isinstance(records[0], SnapshotHeaderRecord):
            raise BadSnapshot("it does not begin with a header")
        header, rest = records[0], records[1:]
        if (header.end_offset, header.epoch) != (self._id.offset, self._id.epoch):
            raise BadSnapshot(f"its header says {header.end_offset}@{header.epoch}, its name says {self._id}")
        if not all(isinstance(record, KRaftVersionRecord | VotersRecord) for record in rest):
            raise BadSnapshot("its header batch holds records that do not belong there")
        self._header = header
        self._control = rest

    def _take_footer(self, batch: RecordBatch) -> None:
        records = _records_of(batch)
        if len(records) != 1 or not isinstance(records[0], SnapshotFooterRecord):
            raise BadSnapshot("a control batch inside is not the footer")
        footer = records[0]
        if footer.record_count != self._data_records:
            raise BadSnapshot(
                f"the footer says {footer.record_count} records, {self._data_records} stand before it"
            )
        if footer.digest != self._digest.digest():
            raise BadSnapshot("the footer's SHA-256 does not fit the bytes before it")
        self._finished = True


def _records_of(batch: RecordBatch) -> tuple[AnyRecord, ...]:
    try:
        return batch.records()
    except (MalformedRecord, InvariantViolated) as error:
        raise BadSnapshot(
            f"the control batch at offset {batch.base_offset} cannot be read: {error}"
        ) from error
