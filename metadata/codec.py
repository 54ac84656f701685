"""Records to bytes and back: one canonical CBOR array per payload, `[[type, version, field, field, …], …]`.

- `type` is Kafka's api key; for a control record minus Kafka's control type. Fields stand in Kafka's order,
  those that the version does not have are absent. A UUID is 16 bytes, UNCHANGED is null, a struct is an
  array.
- The codec accepts exactly what it emits: `encode_payload(decode_payload(b)) == b`, anything else is
  `MalformedRecord`. Two encodings of one record would be two CRCs and two digests for the same log.
- Nothing is encoded that could not be decoded by every replica, nor said in Kafka's form: ranges, the length
  of strings, and fields that the version lacks (silently dropped, the leader's image would differ from all
  others).

How one record becomes a row of values and comes back is in `record_forms`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, cast

from cbor2 import CBORDecodeError, dumps, loads

from quorate.metadata.record_forms import FORMS, Unfit
from quorate.metadata.records import AnyRecord

_MAX_DEPTH: Final = 8
"""Payload, record, voters, voter, endpoints, endpoint: the deepest record needs six."""
# Every tag that cbor2 6 decodes by itself; all others reach the tag hook.
_BUILT_IN_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 24, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799),
)


class MalformedRecord(ValueError):
    """Bytes that this codec would not have written, or a record that it cannot write."""


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


def _pack(record: AnyRecord) -> list[Any]:
    form = FORMS.get((record.type_number, record.version))
    if form is None:
        raise MalformedRecord(f"{type(record).__name__} has no version {record.version}")
    try:
        return form.pack(record)
    except Unfit as e:
        why = form.why_not_packed(record, e)
        raise MalformedRecord(f"{type(record).__name__} version {record.version}: {why}") from None


def _unpack(row: Any) -> AnyRecord:
    # True == 1 == 1.0 where a dict looks for a key, but they are different bytes.
    if type(row) is not tuple or len(row) < 2 or type(row[0]) is not int or type(row[1]) is not int:
        raise MalformedRecord(f"a record is an array that begins with its type and version, not {row!r:.50}")
    form = FORMS.get(row[:2])
    if form is None:
        raise MalformedRecord(f"unknown record: type {row[0]} version {row[1]}")
    try:
        return cast(AnyRecord, form.unpack(row))
    except Unfit as e:
        raise MalformedRecord(
            f"{form.made.__name__} version {row[1]}: {form.why_not_unpacked(row, e)}"
        ) from None
