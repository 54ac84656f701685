"""Record batches: the unit that is appended, replicated, checked and recovered as a whole.

A batch is sealed once, by the leader, and its bytes never change afterwards: disk, wire and every replica
hold the same ones, so the CRC computed by the leader is the one a reader checks years later.

    length u32 · crc32c u32 · format u8 · attributes u8 · base_offset i64 · epoch i32 · record_count u32
    · append_time_ms i64 · payload                                                        (big-endian)

`length` counts everything after itself; the crc covers everything after itself. The payload is one canonical
CBOR array of records (`codec`). One offset per record, control records included.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, Self

import attrs
from crc32c import crc32c

from quorate.metadata.checks import check
from quorate.metadata.codec import MalformedRecord, decode_payload, encode_payload
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.records import AnyRecord

BATCH_FORMAT: Final = 1
CONTROL: Final = 0b0000_0001
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Kafka's largest metadata batch (kraft.md 2.1); both forms of a batch stay within it."""
MAX_BATCH_RECORDS: Final = 10_000

_HEADER: Final = struct.Struct(">IIBBqiIq")
_AFTER_CRC: Final = struct.Struct(">BBqiIq")
_LENGTH_AND_CRC: Final = struct.Struct(">II")
HEADER_BYTES: Final = _HEADER.size
_UNCOUNTED: Final = 4  # the length field does not count itself


class CorruptBatch(ValueError):
    """Bytes that are not a whole, intact batch. The text says what is wrong with them."""


@attrs.frozen
class RecordBatch:
    """One sealed batch.

    Guarantees, checked at the gateways `seal` and `decode` only:
    1. `data` is exactly the encoded batch and its CRC fits; 2. `record_count` ≥ 1;
    3. the payload was produced by `codec.encode_payload`, of control records if and only if `is_control`, or is
       refused when `records` is read.
    """

    base_offset: Offset
    epoch: Epoch
    append_time_ms: int
    record_count: int
    is_control: bool
    data: bytes = attrs.field(repr=False)
    end_offset: Offset = attrs.field(
        default=attrs.Factory(lambda self: self.base_offset + self.record_count, takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )
    """The offset after the last record: kept, since a batch is asked for it at every turn."""

    @property
    def end(self) -> OffsetAndEpoch:
        """The log's end once this batch is its last."""
        return OffsetAndEpoch(self.end_offset, self.epoch)

    @property
    def payload(self) -> memoryview:
        return memoryview(self.data)[HEADER_BYTES:]

    def records(self) -> tuple[AnyRecord, ...]:
        """The records, decoded anew at each call.

        Raises:
            MalformedRecord: an unknown type or version, bytes that the codec would not have written, or control
                records in a data batch (or the reverse), which one reader would see and another not.
        """
        found = decode_payload(self.payload)
        is_control = self.is_control
        for record in found:
            if (record.type_number < 0) is not is_control:
                raise self._misplaced(found)
        check(
            len(found) == self.record_count,
            f"batch at {self.base_offset} holds {len(found)} records, its header says {self.record_count}",
        )
        return found

    def _misplaced(self, records: Sequence[AnyRecord]) -> MalformedRecord:
        index, record = next(
            (index, record)
            for index, record in enumerate(records)
            if (record.type_number < 0) is not self.is_control
        )
        kind = "control" if self.is_control else "data"
        return MalformedRecord(
            f"the {kind} batch at {self.base_offset} holds a {type(record).__name__} "
            f"at offset {self.base_offset + index}"
        )

    @classmethod
    def seal(
        cls,
        records: Sequence[AnyRecord],
        *,
        base_offset: Offset,
        epoch: Epoch,
        append_time_ms: int,
        is_control: bool = False,
    ) -> Self:
        """Encodes records into a batch that will never change again."""
        check(
            0 < len(records) <= MAX_BATCH_RECORDS,
            f"a batch holds 1 to {MAX_BATCH_RECORDS} records, not {len(records)}",
        )
        return cls.seal_payload(
            encode_payload(records),
            record_count=len(records),
            base_offset=base_offset,
            epoch=epoch,
            append_time_ms=append_time_ms,
            is_control=is_control,
        )

    @classmethod
    def seal_payload(
        cls,
        payload: bytes,
        *,
        record_count: int,
        base_offset: Offset,
        epoch: Epoch,
        append_time_ms: int,
        is_control: bool = False,
    ) -> Self:
        """As `seal`, of a payload that the codec has made of that many records."""
        check(
            0 < record_count <= MAX_BATCH_RECORDS,
            f"a batch holds 1 to {MAX_BATCH_RECORDS} records, not {record_count}",
        )
        attributes = CONTROL if is_control else 0
        tail = (
            _AFTER_CRC.pack(BATCH_FORMAT, attributes, base_offset, epoch, record_count, append_time_ms)
            + payload
        )
        size = _LENGTH_AND_CRC.size + len(tail)
        check(size <= MAX_BATCH_BYTES, f"a batch has at most {MAX_BATCH_BYTES} bytes, not {size}")
        data = _LENGTH_AND_CRC.pack(size - _UNCOUNTED, crc32c(tail)) + tail
        return cls(base_offset, epoch, append_time_ms, record_count, is_control, data)

    @classmethod
    def decode(cls, buffer: bytes | memoryview, position: int = 0) -> Self:
        """Reads the batch that starts at `position`; bytes behind it are left alone.

        Raises:
            CorruptBatch: too short, an impossible header, or a CRC that does not fit.
        """
        view = memoryview(buffer)[position:]
        if len(view) < HEADER_BYTES:
            raise CorruptBatch(f"{len(view)} bytes are left, a batch header has {HEADER_BYTES}")
        length, crc, form, attributes, base_offset, epoch, count, time_ms = _HEADER.unpack_from(view)
        size = length + _UNCOUNTED
        if size <= HEADER_BYTES or size > MAX_BATCH_BYTES:
            raise CorruptBatch(f"impossible batch length {size}")
        if size > len(view):
            raise CorruptBatch(f"the batch has {size} bytes, only {len(view)} are left")
        data = bytes(view[:size])
        actual = crc32c(data[_LENGTH_AND_CRC.size :])
        if actual != crc:
            raise CorruptBatch(f"crc is {actual:#010x}, the header says {crc:#010x}")
        if (
            form != BATCH_FORMAT
            or attributes & ~CONTROL
            or base_offset < 0
            or epoch < 0
            or not 0 < count <= MAX_BATCH_RECORDS
        ):
            raise CorruptBatch("impossible batch header")
        return cls(Offset(base_offset), Epoch(epoch), time_ms, count, bool(attributes & CONTROL), data)


def decode_batches(buffer: bytes | memoryview) -> Iterator[RecordBatch]:
    """Every batch of a buffer that holds whole batches only.

    Raises:
        CorruptBatch: see `RecordBatch.decode`.
    """
    position = 0
    while position < len(buffer):
        batch = RecordBatch.decode(buffer, position)
        position += len(batch.data)
        yield batch
