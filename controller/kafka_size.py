"""How large records are in Kafka's form, roughly and never too small: both forms of a batch have to fit.

Most operations are a few records, for which a bound from the CBOR form is enough. Only for large ones are the fields
looked at.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import attrs

from quorate.metadata.records import AnyRecord

_SMALL: Final = 64 * 1024
_FRAME_BYTES: Final = 32
"""Per record: varints of the record and the metadata frame, version, tagged sections."""
_WORST_GROWTH: Final = 4
"""An int32 takes 4 bytes in Kafka's form and at least 1 in CBOR; text and ids are no longer there than here."""
_PER_WIDE_FIELD: Final = 16
"""The few int64 and float64 fields of a record, beyond that."""


def kafka_size(records: Sequence[AnyRecord], cbor_bytes: int) -> int:
    """An upper bound for the bytes of these records in a batch of Kafka's form."""
    bound = _WORST_GROWTH * cbor_bytes + (_FRAME_BYTES + _PER_WIDE_FIELD) * len(records)
    if cbor_bytes <= _SMALL:
        return bound
    return min(bound, sum([_FRAME_BYTES + _value_size(record) for record in records]))


def _value_size(value: Any) -> int:
    match value:
        case str():
            return len(value.encode()) + 5
        case bytes():
            return len(value) + 5
        case UUID():
            return 16
        case tuple():
            if value and isinstance(value[0], int):
                return 5 + 4 * len(value)
            return 5 + sum([_value_size(item) for item in value])
        case _ if attrs.has(type(value)):
            # A tag and a length for each field that may be tagged.
            return sum([_value_size(getattr(value, a.name)) + 6 for a in attrs.fields(type(value))])
        case _:
            return 8
