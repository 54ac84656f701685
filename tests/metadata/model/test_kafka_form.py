"""Kafka's form against bytes that Kafka wrote: vectors, whole logs and snapshots (artefacts, 3.9.2 and 4.3.1).

The golden bytes of every record version (`test_golden_records`) were also read and written again by the classes
of Kafka 4.3.1, unchanged.
"""

import pathlib
import uuid

import pytest

from quorate.metadata.codec import MalformedRecord, decode_payload, encode_payload
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.kafka_form import (
    KafkaBatch,
    decode_batches,
    decode_control,
    decode_record,
    encode_batch,
    encode_control,
    encode_record,
)
from quorate.metadata.records import (
    CONTROL_RECORDS,
    FeatureLevelRecord,
    NoOpRecord,
    PartitionChangeRecord,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    TopicRecord,
)

ARTEFACTS = pathlib.Path(__file__).parents[2] / "artefacts" / "kafka"
FILES = sorted([*ARTEFACTS.glob("log-*/*.log"), *ARTEFACTS.glob("log-*/*.checkpoint")])
VECTORS = [line.rpartition(": ") for line in (ARTEFACTS / "record-vectors.txt").read_text().splitlines()]
CONTROL_TYPES = {"LeaderChange": 2, "KRaftVersion": 5, "Voters": 6}


def test_the_artefacts_are_there() -> None:
    assert len(FILES) == 6
    assert len(VECTORS) >= 19


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_log_that_kafka_wrote_is_written_again_byte_for_byte(path: pathlib.Path) -> None:
    data = path.read_bytes()
    again = b"".join(map(encode_batch, decode_batches(data)))
    assert again
    assert data[: len(again)] == again
    assert not any(data[len(again) :])


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_log_that_kafka_wrote_fits_into_our_form(path: pathlib.Path) -> None:
    for batch in decode_batches(path.read_bytes()):
        assert decode_payload(encode_payload(batch.records)) == batch.records


@pytest.mark.parametrize(("name", "_", "value"), VECTORS, ids=[v[0] for v in VECTORS])
def test_a_vector_that_kafka_checked_comes_back(name: str, _: str, value: str) -> None:
    data = bytes.fromhex(value)
    if "batch" in name:
        assert b"".join(map(encode_batch, decode_batches(data))) == data
    elif "control value" in name:
        key = bytes((0, 0, 0, CONTROL_TYPES[name.split()[0]]))
        assert encode_control(decode_control(key, data)) == (key, data)
    else:
        assert encode_record(decode_record(data)) == data


def test_a_worked_example() -> None:
    record = FeatureLevelRecord(name="metadata.version", feature_level=21)
    assert encode_record(record).hex(" ") == (
        "01 0c 00 11 6d 65 74 61 64 61 74 61 2e 76 65 72 73 69 6f 6e 00 15 00"
    )


def test_an_unchanged_leader_is_not_a_leader_that_is_named() -> None:
    topic = uuid.UUID(int=7)
    unchanged = PartitionChangeRecord(partition_id=0, topic_id=topic)
    none = PartitionChangeRecord(partition_id=0, topic_id=topic, leader=-1)
    assert encode_record(unchanged)[-1:] == b"\x00"
    assert encode_record(none)[-7:].hex() == "010104ffffffff"
    assert decode_record(encode_record(none)) == none


def test_what_only_we_have_is_not_in_kafkas_form() -> None:
    header = SnapshotHeaderRecord(last_contained_log_timestamp=5, end_offset=272, epoch=2)
    footer = SnapshotFooterRecord(record_count=3, digest=b"d")
    assert encode_control(header) == (bytes.fromhex("00000003"), bytes.fromhex("0000000000000000000500"))
    assert encode_control(footer) == (bytes.fromhex("00000004"), bytes.fromhex("000000"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "1 bytes needed"),
        ("00140000", "frame 0 api key 20"),
        ("01060000", "unknown record: .* api key 6"),
        ("01140100", "NoOpRecord has no version 1"),
        ("0114000000", "1 bytes left over"),
        ("01140001000101", "unexpected tag 0"),
        ("010200037431", "16 bytes needed"),
        ("0102000000112233445566778899aabbccddeeff00", "name is null"),
        ("01020003c328" + "00" * 17, "utf-8"),
        ("01ffffffffffffffffffffff00", "a varint that does not end"),
        ("01110000000001000000000000000901000105", "fenced is 5"),
        ("011100000000010000000000000009020001010001ff", "unexpected tag 0"),
        ("0111000000000100000000000000090100020101", "1 bytes left over"),
    ],
)
def test_bytes_that_are_no_record_are_refused(value: str, why: str) -> None:
    with pytest.raises(MalformedRecord, match=why):
        decode_record(bytes.fromhex(value))


def test_an_unknown_control_record_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="unknown control record: type 9"):
        decode_control(bytes.fromhex("00000009"), b"\x00\x00\x00")
    with pytest.raises(MalformedRecord, match="4 bytes needed"):
        decode_control(b"\x00", b"\x00\x00\x00")
    with pytest.raises(MalformedRecord, match="VotersRecord has no version 3"):
        decode_control(bytes.fromhex("00000006"), b"\x00\x03\x00")


def batch() -> bytes:
    made = KafkaBatch(
        base_offset=Offset(5),
        epoch=Epoch(2),
        append_time_ms=1_700_000_000_000,
        is_control=False,
        records=(NoOpRecord(), TopicRecord(name="t", topic_id=uuid.UUID(int=9))),
    )
    return encode_batch(made)


@pytest.mark.parametrize("place", range(17, 100, 7))
def test_a_damaged_batch_is_refused(place: int) -> None:
    data = bytearray(batch())
    data[place] ^= 0x10
    with pytest.raises(MalformedRecord):
        list(decode_batches(bytes(data)))


def test_a_batch_that_is_cut_off_is_refused() -> None:
    data = batch()
    for size in range(8, len(data)):  # the first seven bytes are zero, like the rest of a segment
        with pytest.raises(MalformedRecord, match="bytes"):
            list(decode_batches(data[:size]))


def test_zeroes_behind_the_last_batch_are_its_segments_rest() -> None:
    assert len(list(decode_batches(batch() + bytes(1000)))) == 1
    assert list(decode_batches(bytes(1000))) == []


def test_a_compressed_batch_is_refused_by_name() -> None:
    data = bytearray(batch())
    data[22] |= 1
    with pytest.raises(MalformedRecord, match="attributes 0x1: not a plain batch"):
        list(decode_batches(bytes(data)))


def test_control_records_stand_in_control_batches_only() -> None:
    assert set(CONTROL_RECORDS) == {2, 3, 4, 5, 6}
    mixed = KafkaBatch(
        base_offset=Offset(0),
        epoch=Epoch(1),
        append_time_ms=0,
        is_control=False,
        records=(SnapshotFooterRecord(),),
    )
    with pytest.raises(MalformedRecord, match="not one of a metadata log"):
        list(decode_batches(encode_batch(mixed)))
