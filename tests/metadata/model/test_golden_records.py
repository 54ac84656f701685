"""The bytes of every record version, in both forms: what a log holds today must be readable for ever.

`golden/records.txt` holds, for each class and version, a record with every field set and one with as little as
possible. `python -m tests.metadata.model.test_golden_records --rewrite` writes the file anew; a difference in an
old line is a format that old logs do not have.
"""

import pathlib
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import attrs

from quorate.metadata.codec import decode_payload, encode_payload
from quorate.metadata.kafka_form import encode_control, encode_record
from quorate.metadata.records import CONTROL_RECORDS, DATA_RECORDS, ControlRecord
from quorate.metadata.records.declare import ArrayOf, Field, Kind, Scalar, StructOf

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "records.txt"

_SAMPLES: dict[Scalar, Any] = {
    Scalar.BOOL: True,
    Scalar.INT8: 1,
    Scalar.INT16: 300,
    Scalar.UINT16: 65535,
    Scalar.INT32: 70000,
    Scalar.INT64: 5_000_000_000,
    Scalar.FLOAT64: 1048576.5,
    Scalar.STRING: "naïve",
    Scalar.BYTES: b"\x00\xff",
    Scalar.UUID: uuid.UUID(int=0x0123456789AB4DEF8123456789ABCDEF),
}


def _sample(kind: Kind, version: int) -> Any:
    match kind:
        case Scalar():
            return _SAMPLES[kind]
        case ArrayOf(item=item):
            return (_sample(item, version),) * 2
        case StructOf():
            return kind.struct(**_all(kind.fields, version))


def _all(fields: tuple[Field, ...], version: int) -> dict[str, Any]:
    return {f.name: _sample(f.declared.kind, version) for f in fields if f.declared.since <= version}


def _least(fields: tuple[Field, ...]) -> dict[str, Any]:
    empty = {
        f.name: () if isinstance(f.declared.kind, ArrayOf) else _sample(f.declared.kind, 0) for f in fields
    }
    return {f.name: empty[f.name] for f in fields if f.default is attrs.NOTHING}


def examples() -> Iterator[tuple[str, Any]]:
    for made in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values()):
        fields = made.fields()
        for version in range(made.versions[0], made.versions[1] + 1):
            yield f"{made.__name__} version {version}, full", made(version=version, **_all(fields, version))
            yield f"{made.__name__} version {version}, least", made(version=version, **_least(fields))


def text() -> str:
    blocks: list[str] = []
    for title, record in examples():
        lines = [title, f"  {record}", f"  cbor  {encode_payload([record]).hex()}"]
        if isinstance(record, ControlRecord):
            key, value = encode_control(record)
            lines.append(f"  kafka key {key.hex()} value {value.hex()}")
        else:
            lines.append(f"  kafka {encode_record(record).hex()}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def test_every_record_version_has_the_bytes_it_always_had() -> None:
    assert text() == GOLDEN.read_text()


def test_the_golden_bytes_are_read_as_the_records_they_were() -> None:
    golden = [line.split()[1] for line in GOLDEN.read_text().splitlines() if line.startswith("  cbor")]
    read = [decode_payload(bytes.fromhex(line))[0] for line in golden]
    assert read == [record for _, record in examples()]


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m tests.metadata.model.test_golden_records --rewrite")
    GOLDEN.write_text(text())
