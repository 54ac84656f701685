"""What the codec refuses, and what it says about it."""

import uuid
from typing import Any

import cbor2
import pytest

from quorate.metadata.codec import MalformedRecord, decode_payload, encode_payload
from quorate.metadata.ids import NodeId
from quorate.metadata.records import (
    BrokerRegistrationChangeRecord,
    ClientQuotaRecord,
    ConfigRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
)

TOPIC = uuid.UUID(int=1000)
not_a_uuid: Any = TOPIC.bytes
PARTITION: dict[str, Any] = {
    "partition_id": 0,
    "topic_id": TOPIC,
    "replicas": (1,),
    "isr": (1,),
    "leader": 1,
    "leader_epoch": 0,
    "partition_epoch": 0,
}


def config(**changes: Any) -> ConfigRecord:
    fields: dict[str, Any] = {"resource_type": 2, "resource_name": "t", "name": "k", "value": "v"}
    return ConfigRecord(**fields | changes)


def quota(**changes: Any) -> ClientQuotaRecord:
    fields: dict[str, Any] = {"entity": (), "key": "k", "value": 1.5, "remove": False}
    return ClientQuotaRecord(**fields | changes)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (config(resource_type=128), "ConfigRecord version 0: resource_type: int8 needed, not 128"),
        (config(resource_type=True), "resource_type: int8 needed, not True"),
        (config(resource_type=2.0), "resource_type: int8 needed, not 2.0"),
        (config(name=None), "name: str needed, not None"),
        (config(name=b"k"), "name: str needed"),
        (config(value="\ud800"), "value: .* is not Unicode text"),
        (config(value="x" * 32768), "value: a text has at most 32767 bytes, not 32768"),
        (config(value="é" * 16384), "value: a text has at most 32767 bytes, not 32768"),
        (config(version=1), "ConfigRecord has no version 1"),
        (RemoveTopicRecord(topic_id=not_a_uuid), "topic_id: UUID needed"),
        (PartitionRecord(**PARTITION | {"replicas": [1]}), "replicas: an array needed"),
        (PartitionRecord(**PARTITION | {"isr": (2**31,)}), "isr: int32 needed"),
        (PartitionRecord(**PARTITION, directories=(TOPIC,)), "this version has no directories"),
        (PartitionRecord(**PARTITION, version=1, last_known_elr=(1,)), "this version has no last_known_elr"),
        (PartitionChangeRecord(partition_id=0, topic_id=TOPIC, leader=-2), "leader: -2 cannot be said"),
        (
            PartitionChangeRecord(partition_id=0, topic_id=TOPIC, leader_recovery_state=-1),
            "leader_recovery_state: -1 cannot be said",
        ),
        (
            BrokerRegistrationChangeRecord(version=2, broker_id=NodeId(1), broker_epoch=1, log_dirs=()),
            r"log_dirs: \(\) cannot be said",
        ),
        (
            BrokerRegistrationChangeRecord(
                version=1, broker_id=NodeId(1), broker_epoch=1, in_controlled_shutdown=False
            ),
            "in_controlled_shutdown: False cannot be said",
        ),
        (quota(entity=("user",)), "QuotaEntity needed"),
        (quota(value=1), "value: float needed, not 1"),
    ],
)
def test_a_record_that_no_replica_could_read_is_not_written(record: Any, why: str) -> None:
    with pytest.raises(MalformedRecord, match=why):
        encode_payload([record])


def test_text_may_be_as_long_as_kafka_allows() -> None:
    longest = config(value="é" * 16383 + "x")
    assert decode_payload(encode_payload([longest])) == (longest,)


CONFIG = "86040002617461 6b6176"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ("", "not CBOR"),
        ("81", "not CBOR"),
        ("a0", "a payload is an array of records"),
        ("05", "a payload is an array of records"),
        (f"9f{CONFIG}ff", "not CBOR"),
        (f"9801{CONFIG}", "not canonical"),
        (f"81{CONFIG}00", "not canonical"),
        ("8186180400026174616b6176", "not canonical"),
        ("81860400026174616b7f6176ff", "not CBOR"),
        ("818604000278017461 6b6176", "not canonical"),
        ("818604000261ff616b6176", "not CBOR"),
        ("8186f9440000026174616b6176", "begins with its type and version"),
        ("8186f500026174616b6176", "begins with its type and version"),
        ("8104", "begins with its type and version"),
        ("8180", "begins with its type and version"),
        ("818104", "begins with its type and version"),
        ("8182190100 00", "unknown record: type 256 version 0"),
        ("81821401", "unknown record: type 20 version 1"),
        ("81822000", "unknown record: type -1 version 0"),
        ("8185040002617461 6b", "ConfigRecord version 0: 3 fields where 4 belong"),
        ("81860400026174616bf7", "value: str needed, not undefined"),
        ("81860400026174616b4176", "value: str needed"),
        ("818614000000 0000", "NoOpRecord version 0: 4 fields where 0 belong"),
        ("81840200617443001122", "topic_id: 16 bytes needed"),
    ],
)
def test_bytes_that_the_codec_would_not_have_written_are_refused(payload: str, why: str) -> None:
    with pytest.raises(MalformedRecord, match=why):
        decode_payload(bytes.fromhex(payload))


def test_a_payload_is_read_from_any_buffer() -> None:
    payload = bytes.fromhex(f"81{CONFIG}")
    assert decode_payload(memoryview(payload)) == (config(),)
    assert encode_payload([config()]) == payload


def test_floats_have_their_shortest_form_only() -> None:
    payload = encode_payload([quota()])
    assert payload.hex() == "81860e0080616bf93e00f4"
    for longer in ("fa3fc00000", "fb3ff8000000000000"):
        with pytest.raises(MalformedRecord, match="not canonical"):
            decode_payload(bytes.fromhex(payload.hex().replace("f93e00", longer)))


def test_every_tag_is_refused_before_it_means_anything() -> None:
    """Left to itself, cbor2 makes regular expressions, dates, sets and shared references out of tags."""
    tags = [*range(400), 1004, 43000, 55799, 2**16, 2**32, 2**64 - 1]
    insides = [b"\x60", b"\x40", b"\x00", b"\x80", b"\x82\x00\x00", b"\xa0"]
    for tag in tags:
        head = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1]
        for inside in insides:
            with pytest.raises(MalformedRecord, match="tags are not allowed"):
                decode_payload(b"\x81" + head + inside)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="depth"):
        decode_payload(b"\x81" * 9 + b"\x80")


@pytest.mark.parametrize(
    "head", ["9b0000000100000000", "9bffffffffffffffff", "5bffffffffffffffff", "bb00000000ffffffff"]
)
def test_a_length_that_is_not_there_costs_nothing(head: str) -> None:
    with pytest.raises(MalformedRecord, match="not CBOR"):
        decode_payload(bytes.fromhex("81" + head))


def test_an_empty_payload_has_no_records() -> None:
    assert decode_payload(b"\x80") == ()
    assert encode_payload([]) == b"\x80"


def test_a_bool_is_no_version() -> None:
    with pytest.raises(MalformedRecord, match="begins with its type and version"):
        decode_payload(cbor2.dumps([[20, False]]))
    assert decode_payload(cbor2.dumps([[20, 0]])) == (NoOpRecord(),)
