"""Records to bytes and back: one canonical CBOR array per payload, `[[type, version, field, field, …], …]`.

- `type` is Kafka's api key; for a control record minus Kafka's control type. Fields stand in Kafka's order,
  those that the version does not have are absent. A UUID is 16 bytes, UNCHANGED is null, a struct is an
  array.
- The codec accepts exactly what it emits: `encode_payload(decode_payload(b)) == b`, anything else is
  `MalformedRecord`. Two encodings of one record would be two CRCs and two digests for the same log.
- Nothing is encoded that could not be decoded by every replica, nor said in Kafka's form: ranges, the length
  of strings, and fields that the version lacks (silently dropped, the leader's image would differ from all
  others).

What a class needs at a version is worked out once, when the module is loaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter, ne
from typing import Any, Final, NoReturn, TypeAlias, assert_never, cast
from uuid import UUID

import attrs
from cbor2 import CBORDecodeError, dumps, loads

from quorate.metadata.ids import uuid_from_bytes
from quorate.metadata.records import CONTROL_RECORDS, DATA_RECORDS, AnyRecord
from quorate.metadata.records.declare import (
    INT_RANGES,
    MAX_STRING_BYTES,
    UNCHANGED,
    ArrayOf,
    Declared,
    Field,
    Kind,
    Scalar,
    StructOf,
)

_MAX_DEPTH: Final = 8
"""Payload, record, voters, voter, endpoints, endpoint: the deepest record needs six."""
# Every tag that cbor2 6 decodes by itself; all others reach the tag hook.
_BUILT_IN_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 24, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799),
)

_Convert: TypeAlias = Callable[[Any], Any]
"""Checks one value and turns it into its other form, or raises _Unfit."""


class MalformedRecord(ValueError):
    """Bytes that this codec would not have written, or a record that it cannot write."""


class _Unfit(ValueError):
    """A value that does not fit the declaration of its field."""


def encode_payload(records: Sequence[AnyRecord]) -> bytes:
    """The payload of a batch.

    Raises:
        MalformedRecord: a value out of range or of another type, or a field that the version does not have.
    """
    return dumps([_pack(record) for record in records], canonical=True)


def encode_records(records: Sequence[AnyRecord]) -> bytes:
    """The records as they stand inside a payload, for one that grows piece by piece (`join_payload`).

    Raises:
        MalformedRecord: see `encode_payload`.
    """
    return encode_payload(records)[len(_array_head(len(records))) :]


def join_payload(count: int, pieces: Iterable[bytes]) -> bytes:
    """The payload of `count` records in all, from what `encode_records` made of each piece: the same bytes that
    `encode_payload` makes of all of them at once."""
    return _array_head(count) + b"".join(pieces)


def _array_head(count: int) -> bytes:
    # RFC 8949, 3: major type 4, then the length in the shortest form.
    if count < 24:
        return bytes((0x80 | count,))
    return b"\x98" + count.to_bytes(1, "big") if count < 256 else b"\x99" + count.to_bytes(2, "big")


def decode_payload(buffer: bytes | memoryview) -> tuple[AnyRecord, ...]:
    """The records of a payload.

    Raises:
        MalformedRecord: an unknown type or version, or bytes that `encode_payload` would not have written.
    """
    data = bytes(buffer)
    try:
        rows = loads(
            data,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            immutable=True,
        )
    except CBORDecodeError as e:
        raise MalformedRecord(f"a payload that is not CBOR: {e}") from e
    if type(rows) is not tuple:
        raise MalformedRecord(f"a payload is an array of records, not {rows!r:.50}")
    records = tuple([_unpack(row) for row in rows])
    # Once for the whole payload: the types were checked above, so this compares lengths, number sizes and the
    # tail.
    if dumps(rows, canonical=True) != data:
        raise MalformedRecord(
            "a payload that is not canonical: a longer form than needed, or bytes behind its end"
        )
    return records


def _refuse_tag(*_: object) -> NoReturn:
    # Left alone, cbor2 turns tag 35 into a compiled regular expression and tag 36 into a MIME message.
    raise CBORDecodeError("tags are not allowed")


_NO_TAGS: Final = dict.fromkeys(_BUILT_IN_TAGS, _refuse_tag)


@attrs.frozen
class _Form:
    """One class at one version: how an object becomes a row and comes back."""

    made: type[Any]
    head: tuple[int, ...]
    """What stands before the fields: type and version; nothing in a struct."""
    names: tuple[str, ...]
    packers: tuple[tuple[Callable[[Any], Any], _Convert], ...]
    """(take the value out of the object, pack it) per field."""
    unpackers: tuple[tuple[Callable[[Any, Any], None], _Convert], ...]
    """(put the value into a new object, unpack it) per field."""
    fixed: tuple[tuple[Callable[[Any, Any], None], Any], ...]
    """(put, value) of the version, and of each field that the version does not have."""
    missing: tuple[tuple[str, Callable[[Any], Any], Any], ...]
    """(name, take, default) of each field that the version does not have."""

    def pack(self, source: Any) -> list[Any]:
        row: list[Any] = [*self.head]
        for take, convert in self.packers:
            row.append(convert(take(source)))
        for name, take, default in self.missing:
            if take(source) != default:
                raise _Unfit(f"this version has no {name}")
        return row

    def unpack(self, row: tuple[Any, ...]) -> Any:
        values = row[len(self.head) :]
        if len(values) != len(self.unpackers):
            raise _Unfit(f"{len(values)} fields where {len(self.unpackers)} belong")
        # Frozen objects are filled through their slots: each value is checked here, and a constructor call
        # with keywords costs twice as much.
        made = object.__new__(self.made)
        for put, value in self.fixed:
            put(made, value)
        for (put, convert), value in zip(self.unpackers, values, strict=True):
            put(made, convert(value))
        return made

    def blame(self, why: _Unfit, convert_field: Callable[[int], object]) -> str:
        """Names the unfit field, by trying each again: so the good path pays nothing for the message."""
        for i, name in enumerate(self.names):
            try:
                convert_field(i)
            except _Unfit as e:
                return f"{name}: {e}"
        return str(why)


def _pack(record: AnyRecord) -> list[Any]:
    form = _FORMS.get((record.type_number, record.version))
    if form is None:
        raise MalformedRecord(f"{type(record).__name__} has no version {record.version}")
    try:
        return form.pack(record)
    except _Unfit as e:
        why = form.blame(e, lambda i: form.packers[i][1](form.packers[i][0](record)))
        raise MalformedRecord(f"{type(record).__name__} version {record.version}: {why}") from None


def _unpack(row: Any) -> AnyRecord:
    # True == 1 == 1.0 where a dict looks for a key, but they are different bytes.
    if type(row) is not tuple or len(row) < 2 or type(row[0]) is not int or type(row[1]) is not int:
        raise MalformedRecord(f"a record is an array that begins with its type and version, not {row!r:.50}")
    form = _FORMS.get(row[:2])
    if form is None:
        raise MalformedRecord(f"unknown record: type {row[0]} version {row[1]}")
    try:
        return cast(AnyRecord, form.unpack(row))
    except _Unfit as e:
        fits = len(row) == 2 + len(form.names)
        why = form.blame(e, lambda i: form.unpackers[i][1](row[2 + i])) if fits else str(e)
        raise MalformedRecord(f"{form.made.__name__} version {row[1]}: {why}") from None


def _integer(kind: Scalar) -> _Convert:
    low, high = INT_RANGES[kind]

    def convert(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        raise _Unfit(f"{kind.value} needed, not {value!r:.50}")

    return convert


def _exactly(wanted: type[Any]) -> _Convert:
    def convert(value: Any) -> Any:
        if type(value) is wanted:
            return value
        raise _Unfit(f"{wanted.__name__} needed, not {value!r:.50}")

    return convert


def _text(value: Any) -> Any:
    if type(value) is not str:
        raise _Unfit(f"str needed, not {value!r:.50}")
    if not value.isascii() or len(value) > MAX_STRING_BYTES:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise _Unfit(f"{value!r:.50} is not Unicode text") from None
        if size > MAX_STRING_BYTES:
            raise _Unfit(f"a text has at most {MAX_STRING_BYTES} bytes, not {size}")
    return value


def _pack_uuid(value: Any) -> Any:
    if type(value) is UUID:
        return value.bytes
    raise _Unfit(f"UUID needed, not {value!r:.50}")


def _unpack_uuid(value: Any) -> Any:
    if type(value) is bytes and len(value) == 16:
        return uuid_from_bytes(value)
    raise _Unfit(f"16 bytes needed, not {value!r:.50}")


def _array(convert: _Convert) -> _Convert:
    def convert_all(value: Any) -> Any:
        if type(value) is not tuple:
            raise _Unfit(f"an array needed, not {value!r:.50}")
        return tuple([convert(v) for v in value])

    return convert_all


def _integers(kind: Scalar) -> _Convert:
    """As `_array(_integer(kind))`, without a call for every replica of every partition."""
    low, high = INT_RANGES[kind]

    def convert(value: Any) -> Any:
        if type(value) is not tuple:
            raise _Unfit(f"an array needed, not {value!r:.50}")
        for v in value:
            if type(v) is not int or not low <= v <= high:
                raise _Unfit(f"{kind.value} needed, not {v!r:.50}")
        return value

    return convert


_SAME: Final[Mapping[Scalar, _Convert]] = {
    **{kind: _integer(kind) for kind in INT_RANGES},
    Scalar.BOOL: _exactly(bool),
    Scalar.FLOAT64: _exactly(float),
    Scalar.BYTES: _exactly(bytes),
    Scalar.STRING: _text,
}
"""The kinds that look the same in an object and in a row."""


def _converters(kind: Kind, version: int) -> tuple[_Convert, _Convert]:
    """(pack, unpack) for values of a kind."""
    match kind:
        case Scalar.UUID:
            return _pack_uuid, _unpack_uuid
        case Scalar():
            return _SAME[kind], _SAME[kind]
        case ArrayOf(item=Scalar() as item) if item in INT_RANGES:
            return _integers(item), _integers(item)
        case ArrayOf(item=item):
            pack, unpack = _converters(item, version)
            return _array(pack), _array(unpack)
        case StructOf():
            return _struct(_form(kind.struct, (), kind.fields, version))
        case _:
            assert_never(kind)


def _struct(form: _Form) -> tuple[_Convert, _Convert]:
    def pack(value: Any) -> Any:
        if type(value) is not form.made:
            raise _Unfit(f"{form.made.__name__} needed, not {value!r:.50}")
        return form.pack(value)

    def unpack(value: Any) -> Any:
        if type(value) is not tuple:
            raise _Unfit(f"an array needed, not {value!r:.50}")
        return form.unpack(value)

    return pack, unpack


def _field_converters(field: Field, version: int) -> tuple[_Convert, _Convert]:
    """(pack, unpack) for one field: null where it stands for something, nothing that Kafka cannot say."""
    declared = field.declared
    pack, unpack = _converters(declared.kind, version)
    if field.may_be_unchanged:
        sayable = _sayable(declared)
        if sayable is not None:
            pack, unpack = _only(sayable, pack), _only(sayable, unpack)
        return _or_null(pack, unpack, UNCHANGED)
    if declared.nullable and not declared.empty_is_null:
        return _or_null(pack, unpack, None)
    return pack, unpack


def _sayable(declared: Declared) -> Callable[[Any], bool] | None:
    """Kafka's form spends a value on "unchanged"; that one cannot be said any more."""
    if declared.codes is not None:
        return declared.codes.__contains__
    if declared.unchanged is not None:
        return partial(ne, declared.unchanged)
    return None if declared.nullable else bool


def _only(sayable: Callable[[Any], bool], convert: _Convert) -> _Convert:
    def convert_sayable(value: Any) -> Any:
        converted = convert(value)
        if not sayable(value):
            raise _Unfit(f"{value!r:.50} cannot be said in this field")
        return converted

    return convert_sayable


def _or_null(pack: _Convert, unpack: _Convert, stands_for: object) -> tuple[_Convert, _Convert]:
    def pack_or_null(value: Any) -> Any:
        return None if value is stands_for else pack(value)

    def unpack_or_null(value: Any) -> Any:
        return stands_for if value is None else unpack(value)

    return pack_or_null, unpack_or_null


def _form(made: type[Any], head: tuple[int, ...], fields: tuple[Field, ...], version: int) -> _Form:
    """Works out everything that is the same for all objects of a class at a version."""
    present = [f for f in fields if f.declared.since <= version]
    missing = [f for f in fields if f.declared.since > version]
    converters = [_field_converters(f, version) for f in present]
    fixed = [(f.name, f.default) for f in missing]
    if head:
        fixed.append(("version", version))
    return _Form(
        made=made,
        head=head,
        names=tuple(f.name for f in present),
        packers=tuple((attrgetter(f.name), pack) for f, (pack, _) in zip(present, converters, strict=True)),
        unpackers=tuple(
            (_put(made, f.name), unpack) for f, (_, unpack) in zip(present, converters, strict=True)
        ),
        fixed=tuple((_put(made, name), value) for name, value in fixed),
        missing=tuple((f.name, attrgetter(f.name), f.default) for f in missing),
    )


def _put(made: type[Any], name: str) -> Callable[[Any, Any], None]:
    # The slot itself: the way around a frozen class's __setattr__.
    return cast(Callable[[Any, Any], None], getattr(made, name).__set__)


_FORMS: Final[Mapping[tuple[int, ...], _Form]] = {
    (made.type_number, version): _form(made, (made.type_number, version), made.fields(), version)
    for made in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values())
    for version in range(made.versions[0], made.versions[1] + 1)
}
