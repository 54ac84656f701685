"""Kafka's form of records and batches, derived from the declarations in `records`.

Kafka's own brokers follow the log in this form, at the same offsets. Nothing is written by hand per record: which
fields there are at a version, in which order, of which type, tagged or not, all stands in the declarations.

    data record   unsigned varint frame (1) · unsigned varint api key · unsigned varint version · body
    control       key: i16 0 · i16 control type; value: the body, whose first field is its version
    body          the untagged fields in order · count of tagged fields · (tag · size · value)*
    batch         Kafka's record batch, magic 2, never compressed, one offset per record

Flexible encoding throughout (KIP-482): lengths are unsigned varints plus one, 0 is null. A tagged field that has its
default is left out. Fields of our own (in snapshot headers and footers) do not exist here and come back as defaults;
for a record of our own a NoOp stands at its offset.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias, assert_never, cast

import attrs
from crc32c import crc32c

from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import Epoch, Offset, uuid_from_bytes
from quorate.metadata.records import (
    CONTROL_RECORDS,
    DATA_RECORDS,
    AnyDataRecord,
    AnyRecord,
    ControlRecord,
    NoOpRecord,
    Record,
)
from quorate.metadata.records.declare import UNCHANGED, ArrayOf, Field, Kind, Scalar, StructOf

FRAME_VERSION: Final = 1
_CONTROL_KEY: Final = Struct(">hh")
_VERSION: Final = Struct(">h")
_FIXED: Final[Mapping[Scalar, Struct]] = {
    Scalar.BOOL: Struct(">?"),
    Scalar.INT8: Struct(">b"),
    Scalar.INT16: Struct(">h"),
    Scalar.UINT16: Struct(">H"),
    Scalar.INT32: Struct(">i"),
    Scalar.INT64: Struct(">q"),
    Scalar.FLOAT64: Struct(">d"),
}
_UUID_BYTES: Final = 16
_VARINT_BYTES: Final = 10


class _Reader:
    """Bytes, and how far they were read."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise MalformedRecord(f"{count} bytes needed, {len(self.data) - self.at} left")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def fixed(self, form: Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def varint(self) -> int:
        """An unsigned varint."""
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedRecord("a varint that does not end")

    def zigzag(self) -> int:
        """A signed varint."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def finish(self) -> None:
        if self.at != len(self.data):
            raise MalformedRecord(f"{len(self.data) - self.at} bytes left over")


def _write_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_zigzag(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


_Write: TypeAlias = Callable[[bytearray, Any], None]
_Read: TypeAlias = Callable[[_Reader], Any]


@attrs.frozen
class _Pair:
    """How values of one kind, or of one field, are written and read."""

    write: _Write
    read: _Read


def _scalar(kind: Scalar) -> _Pair:
    match kind:
        case Scalar.STRING:
            return _sized(lambda text: cast(bytes, text.encode()), bytes.decode)
        case Scalar.BYTES:
            return _sized(bytes, bytes)
        case Scalar.UUID:
            return _Pair(
                lambda out, value: out.extend(value.bytes), lambda r: uuid_from_bytes(r.take(_UUID_BYTES))
            )
        case _:
            form = _FIXED[kind]
            return _Pair(lambda out, value: out.extend(form.pack(value)), lambda r: r.fixed(form))


def _sized(to_bytes: Callable[[Any], bytes], from_bytes: Callable[[bytes], Any]) -> _Pair:
    def write(out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
            return
        raw = to_bytes(value)
        _write_varint(out, len(raw) + 1)
        out += raw

    def read(r: _Reader) -> Any:
        size = r.varint()
        return from_bytes(r.take(size - 1)) if size else None

    return _Pair(write, read)


def _array(item: _Pair) -> _Pair:
    def write(out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
            return
        _write_varint(out, len(value) + 1)
        for v in value:
            item.write(out, v)

    def read(r: _Reader) -> Any:
        count = r.varint()
        return tuple(item.read(r) for _ in range(count - 1)) if count else None

    return _Pair(write, read)


def _pair(kind: Kind, version: int) -> _Pair:
    match kind:
        case Scalar():
            return _scalar(kind)
        case ArrayOf(item=item):
            return _array(_pair(item, version))
        case StructOf():
            body = _Body.of(kind.fields, version)
            return _Pair(body.write, lambda r: kind.struct(**body.read(r)))
        case _:
            assert_never(kind)


def _field_pair(field: Field, version: int) -> _Pair:
    """As the field's kind, with Kafka's values for what Kafka says otherwise than we do."""
    codes = field.declared.codes
    pair = _scalar(Scalar.INT8) if codes is not None else _pair(field.declared.kind, version)
    said_otherwise = _said_otherwise(field)
    if not said_otherwise:
        return pair
    ours = {theirs: value for value, theirs in said_otherwise.items()}

    def write(out: bytearray, value: Any) -> None:
        pair.write(out, said_otherwise.get(value, value))

    def read(r: _Reader) -> Any:
        value = pair.read(r)
        if codes is not None and value not in ours:
            raise MalformedRecord(f"{field.name} is {value}")
        return ours.get(value, value)

    return _Pair(write, read)


def _said_otherwise(field: Field) -> dict[Any, Any]:
    """Our value -> Kafka's."""
    declared = field.declared
    if declared.empty_is_null:
        return {(): None}
    if not field.may_be_unchanged:
        return {}
    if isinstance(declared.kind, ArrayOf):
        return {UNCHANGED: None if declared.nullable else ()}
    return {**(declared.codes or {}), UNCHANGED: declared.unchanged}


@attrs.frozen
class _Body:
    """The fields of a record or struct at one version."""

    untagged: tuple[tuple[str, bool, _Pair], ...]
    """(name, nullable, form)."""
    tagged: tuple[tuple[int, str, Any, _Pair], ...]
    """(tag, name, default, form), by tag."""

    @classmethod
    def of(cls, fields: Sequence[Field], version: int) -> "_Body":
        there = [f for f in fields if f.declared.since <= version and not f.declared.ours]
        tagged = [
            (f.declared.tag, f.name, f.default, _field_pair(f, version))
            for f in there
            if f.declared.tag is not None
        ]
        return cls(
            tuple(
                (f.name, f.declared.nullable, _field_pair(f, version))
                for f in there
                if f.declared.tag is None
            ),
            tuple(sorted(tagged, key=lambda t: t[0])),
        )

    def write(self, out: bytearray, source: Any) -> None:
        for name, _, pair in self.untagged:
            pair.write(out, getattr(source, name))
        values = [(tag, getattr(source, name), default, pair) for tag, name, default, pair in self.tagged]
        said = [(tag, value, pair) for tag, value, default, pair in values if value != default]
        _write_varint(out, len(said))
        for tag, value, pair in said:
            raw = bytearray()
            pair.write(raw, value)
            _write_varint(out, tag)
            _write_varint(out, len(raw))
            out += raw

    def read(self, r: _Reader) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, nullable, pair in self.untagged:
            found[name] = pair.read(r)
            if found[name] is None and not nullable:
                raise MalformedRecord(f"{name} is null")
        known = {tag: (name, pair) for tag, name, _, pair in self.tagged}
        last = -1
        for _ in range(r.varint()):
            tag, size = r.varint(), r.varint()
            if tag not in known or tag <= last:
                raise MalformedRecord(f"unexpected tag {tag}")
            last = tag
            name, pair = known[tag]
            inner = _Reader(r.take(size))
            found[name] = pair.read(inner)
            inner.finish()
        return found


_BODIES: Final[Mapping[tuple[int, int], _Body]] = {
    (made.type_number, version): _Body.of(made.fields(), version)
    for made in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values())
    for version in range(made.versions[0], made.versions[1] + 1)
}


def encode_record(record: AnyDataRecord) -> bytes:
    """The value of a data record in Kafka's log. The record is one that `codec` accepts."""
    if not record.in_kafka:
        return _NO_OP
    out = bytearray((FRAME_VERSION, record.api_key))
    _write_varint(out, record.version)
    _BODIES[record.type_number, record.version].write(out, record)
    return bytes(out)


_NO_OP: Final = encode_record(NoOpRecord())


def decode_record(value: bytes) -> AnyDataRecord:
    """A data record from the value that it has in Kafka's log.

    Raises:
        MalformedRecord: an unknown type or version, or bytes that are not such a record.
    """
    r = _Reader(value)
    frame, api_key, version = r.varint(), r.varint(), r.varint()
    made = DATA_RECORDS.get(api_key)
    if frame != FRAME_VERSION or made is None or not made.in_kafka:
        raise MalformedRecord(f"unknown record: frame {frame} api key {api_key} version {version}")
    return cast(AnyDataRecord, _decode(made, version, r))


def encode_control(record: ControlRecord) -> tuple[bytes, bytes]:
    """(key, value) of a control record in Kafka's log."""
    out = bytearray(_VERSION.pack(record.version))
    _BODIES[record.type_number, record.version].write(out, record)
    return _CONTROL_KEY.pack(0, record.control_type), bytes(out)


def decode_control(key: bytes, value: bytes) -> ControlRecord:
    """A control record from the key and value that it has in Kafka's log.

    Raises:
        MalformedRecord: an unknown type or version, or bytes that are not such a record.
    """
    _, control_type = _CONTROL_KEY.unpack(_Reader(key).take(_CONTROL_KEY.size))
    made = CONTROL_RECORDS.get(control_type)
    if made is None:
        raise MalformedRecord(f"unknown control record: type {control_type}")
    r = _Reader(value)
    return cast(ControlRecord, _decode(made, r.fixed(_VERSION), r))


def _decode(made: type[Record], version: int, r: _Reader) -> Record:
    body = _BODIES.get((made.type_number, version))
    if body is None:
        raise MalformedRecord(f"{made.__name__} has no version {version}")
    try:
        found = body.read(r)
    except UnicodeDecodeError as e:
        raise MalformedRecord(f"{made.__name__} version {version}: {e}") from e
    r.finish()
    return made(version=version, **found)


_BATCH: Final = Struct(">qiibIhiqqqhii")
"""base offset · length · leader epoch · magic · crc · attributes · last offset delta · base time · max time · producer
id · producer epoch · base sequence · record count."""
_UNCOUNTED: Final = 12  # base offset and length
_BEFORE_ATTRIBUTES: Final = 21  # where what the crc covers begins
_MAGIC: Final = 2
_COMPRESSION: Final = 0b0000_0111
_CONTROL_BATCH: Final = 0b0010_0000
_NO_KEY: Final = -1


@attrs.frozen(kw_only=True)
class KafkaBatch:
    """A batch as Kafka's log has it."""

    base_offset: Offset
    epoch: Epoch
    append_time_ms: int
    is_control: bool
    records: tuple[AnyRecord, ...]


def encode_batch(batch: KafkaBatch) -> bytes:
    """The bytes of a batch in Kafka's log."""
    body = bytearray()
    for i, record in enumerate(batch.records):
        _write_entry(body, i, record)
    attributes = _CONTROL_BATCH if batch.is_control else 0
    time_ms, count = batch.append_time_ms, len(batch.records)
    # Not a producer's batch: producer id, epoch and sequence are all -1.
    rest = (attributes, count - 1, time_ms, time_ms, -1, -1, -1, count)
    size = _BATCH.size + len(body)
    unsealed = _BATCH.pack(batch.base_offset, size - _UNCOUNTED, batch.epoch, _MAGIC, 0, *rest)
    crc = crc32c(body, crc32c(unsealed[_BEFORE_ATTRIBUTES:]))
    return _BATCH.pack(batch.base_offset, size - _UNCOUNTED, batch.epoch, _MAGIC, crc, *rest) + body


def _write_entry(out: bytearray, index: int, record: AnyRecord) -> None:
    entry = bytearray((0, 0))  # attributes; no distance in time
    _write_zigzag(entry, index)
    if isinstance(record, ControlRecord):
        key, value = encode_control(record)
        _write_zigzag(entry, len(key))
        entry += key
    else:
        value = encode_record(record)
        _write_zigzag(entry, _NO_KEY)
    _write_zigzag(entry, len(value))
    entry += value
    entry.append(0)  # no headers
    _write_zigzag(out, len(entry))
    out += entry


def decode_batches(data: bytes) -> Iterator[KafkaBatch]:
    """Every batch of a segment or snapshot of Kafka's; zeroes behind the last one are its preallocated rest.

    Raises:
        MalformedRecord: a batch that is cut off, compressed, damaged, or not one of Kafka's metadata log.
    """
    at = 0
    while at < len(data) and any(data[at : at + _BATCH.size]):
        if len(data) - at < _BATCH.size:
            raise MalformedRecord(f"position {at}: {len(data) - at} bytes, a batch header has {_BATCH.size}")
        size = _BATCH.unpack_from(data, at)[1] + _UNCOUNTED
        if not _BATCH.size <= size <= len(data) - at:
            raise MalformedRecord(f"position {at}: a batch of {size} bytes, {len(data) - at} are left")
        yield _decode_batch(data[at : at + size], at)
        at += size


def _decode_batch(data: bytes, position: int) -> KafkaBatch:
    base, _, epoch, magic, crc, attributes, last, time_ms, _, _, _, _, count = _BATCH.unpack_from(data)
    if magic != _MAGIC or attributes & _COMPRESSION:
        raise MalformedRecord(
            f"position {position}: magic {magic}, attributes {attributes:#x}: not a plain batch"
        )
    if crc32c(data[_BEFORE_ATTRIBUTES:]) != crc:
        raise MalformedRecord(f"position {position}: the crc does not fit")
    r = _Reader(data)
    r.at = _BATCH.size
    is_control = bool(attributes & _CONTROL_BATCH)
    records = tuple(_read_entry(r, i, is_control) for i in range(count))
    r.finish()
    if last != count - 1:
        raise MalformedRecord(f"position {position}: {count} records, but the last offset is {last} on")
    return KafkaBatch(
        base_offset=Offset(base),
        epoch=Epoch(epoch),
        append_time_ms=time_ms,
        is_control=is_control,
        records=records,
    )


def _read_entry(r: _Reader, index: int, is_control: bool) -> AnyRecord:
    entry = _Reader(r.take(r.zigzag()))
    attributes, time_delta, offset_delta = entry.take(1)[0], entry.zigzag(), entry.zigzag()
    key_size = entry.zigzag()
    key = b"" if key_size == _NO_KEY else entry.take(key_size)
    value = entry.take(entry.zigzag())
    headers = entry.zigzag()
    entry.finish()
    if attributes or time_delta or headers or offset_delta != index or bool(key) != is_control:
        raise MalformedRecord(f"record {index} of a batch is not one of a metadata log")
    return cast(AnyRecord, decode_control(key, value)) if is_control else decode_record(value)
