"""Records for people and programs: Kafka's type names and field names, as kafka-dump-log prints them.

What a record does not change is left out. Secrets never appear: whoever may read the log may not thereby log in.
"""

import base64
import datetime
import json
import re
import uuid
from typing import Any, Final

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.config_keys import is_sensitive
from quorate.metadata.ids import uuid_to_text
from quorate.metadata.records import (
    CONTROL_RECORDS,
    DATA_RECORDS,
    UNCHANGED,
    AnyRecord,
    ConfigRecord,
    DelegationTokenRecord,
    Record,
    UserScramCredentialRecord,
)
from quorate.metadata.records.declare import fields_of

REDACTED: Final = "[redacted]"
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def type_name(record: AnyRecord | type[AnyRecord]) -> str:
    """`TOPIC_RECORD` for a TopicRecord, `KRAFT_VERSION_RECORD` for a KRaftVersionRecord."""
    kind = record if isinstance(record, type) else type(record)
    return _WORD.sub("_", kind.__name__.replace("KRaft", "Kraft")).upper()


def type_names() -> list[str]:
    """Every type that a log or a snapshot may hold."""
    kinds: list[type[Any]] = [*DATA_RECORDS.values(), *CONTROL_RECORDS.values()]
    return sorted(map(type_name, kinds))


def record_document(record: AnyRecord) -> dict[str, Any]:
    """{"type", "version", "data"}."""
    return {"type": type_name(record), "version": record.version, "data": _data(record)}


def placed_record_document(batch: RecordBatch, offset: int, record: AnyRecord) -> dict[str, Any]:
    """A record with its place in the log."""
    return {
        "offset": offset,
        "base_offset": batch.base_offset,
        "epoch": batch.epoch,
        "time": time_text(batch.append_time_ms),
        "control": batch.is_control,
        **record_document(record),
    }


def batch_document(batch: RecordBatch) -> dict[str, Any]:
    """What stands in a batch's head."""
    return {
        "base_offset": batch.base_offset,
        "last_offset": batch.end_offset - 1,
        "epoch": batch.epoch,
        "count": batch.record_count,
        "control": batch.is_control,
        "time": time_text(batch.append_time_ms),
        "bytes": len(batch.data),
    }


def record_line(offset: int, record: AnyRecord) -> str:
    """One line for a record: offset, type, version, fields."""
    fields = " ".join(f"{name}={_short(value)}" for name, value in _data(record).items())
    return f"  {offset:>8}  {type_name(record)} v{record.version}  {fields}".rstrip()


def batch_line(batch: RecordBatch) -> str:
    kind = "control batch" if batch.is_control else "batch"
    return (
        f"{kind} {batch.base_offset}..{batch.end_offset - 1}  epoch {batch.epoch}  "
        f"{time_text(batch.append_time_ms)}  {len(batch.data)} bytes"
    )


def time_text(ms: int) -> str:
    """A wall-clock time, UTC."""
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).isoformat(timespec="milliseconds")


def _data(record: Record) -> dict[str, Any]:
    secret = _secret_fields(record)
    return {
        _lower_first(field.kafka_name): REDACTED if field.name in secret else _plain(value)
        for field in record.fields_at(record.version)
        if (value := getattr(record, field.name)) is not UNCHANGED
    }


def _secret_fields(record: Record) -> frozenset[str]:
    match record:
        case ConfigRecord() if record.value is not None and is_sensitive(record.resource_type, record.name):
            return frozenset({"value"})
        case UserScramCredentialRecord():
            return frozenset({"salt", "stored_key", "server_key"})
        case DelegationTokenRecord():
            return frozenset({"token_id"})
        case _:
            return frozenset()


def _plain(value: Any) -> Any:
    match value:
        case uuid.UUID():
            return uuid_to_text(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _ if attrs.has(type(value)):
            return _plain_struct(value)
        case _:
            return str(value)


def _plain_struct(value: Any) -> dict[str, Any]:
    declared = fields_of(type(value))
    if declared:
        return {_lower_first(field.kafka_name): _plain(getattr(value, field.name)) for field in declared}
    return {one.name: _plain(getattr(value, one.name)) for one in attrs.fields(type(value))}


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


def _short(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value)
