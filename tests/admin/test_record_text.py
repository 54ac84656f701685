"""Records as people and programs see them."""

import uuid

from quorate.admin.record_text import batch_document, record_document, record_line, type_name
from quorate.metadata.batch import RecordBatch
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.records import (
    CONTROL_RECORDS,
    DATA_RECORDS,
    BrokerEndpoint,
    ConfigRecord,
    KRaftVersionRecord,
    NoOpRecord,
    PartitionChangeRecord,
    RegisterBrokerRecord,
    TopicRecord,
    UserScramCredentialRecord,
)

_ID = uuid.UUID(int=12345)


def test_types_have_kafkas_names():
    assert type_name(TopicRecord) == "TOPIC_RECORD"
    assert type_name(KRaftVersionRecord) == "KRAFT_VERSION_RECORD"
    names = {type_name(kind) for kind in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values())}
    assert len(names) == len(DATA_RECORDS) + len(CONTROL_RECORDS)
    assert all(name.endswith("_RECORD") and name == name.upper() for name in names)


def test_fields_have_kafkas_names_and_ids_their_text_form():
    assert record_document(TopicRecord(name="orders", topic_id=_ID)) == {
        "type": "TOPIC_RECORD",
        "version": 0,
        "data": {"name": "orders", "topicId": "AAAAAAAAAAAAAAAAAAAwOQ"},
    }


def test_what_a_change_leaves_alone_is_left_out():
    change = PartitionChangeRecord(partition_id=3, topic_id=_ID, leader=7)

    assert record_document(change)["data"] == {
        "partitionId": 3,
        "topicId": "AAAAAAAAAAAAAAAAAAAwOQ",
        "leader": 7,
    }


def test_nested_values_are_plain_too():
    record = RegisterBrokerRecord(
        broker_id=101,
        incarnation_id=_ID,
        broker_epoch=9,
        end_points=(BrokerEndpoint(name="PLAINTEXT", host="h", port=1, security_protocol=0),),
        features=(),
        rack=None,
    )

    data = record_document(record)["data"]

    assert data["endPoints"] == [{"name": "PLAINTEXT", "host": "h", "port": 1, "securityProtocol": 0}]


def test_secrets_are_not_shown():
    credential = UserScramCredentialRecord(
        name="alice", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096
    )
    password = ConfigRecord(
        resource_type=ResourceType.BROKER, resource_name="", name="ssl.keystore.password", value="hunter2"
    )
    plain = ConfigRecord(resource_type=ResourceType.TOPIC, resource_name="t", name="retention.ms", value="5")

    assert record_document(credential)["data"] | {"iterations": 1} == {
        "name": "alice",
        "mechanism": 1,
        "salt": "[redacted]",
        "storedKey": "[redacted]",
        "serverKey": "[redacted]",
        "iterations": 1,
    }
    assert record_document(password)["data"]["value"] == "[redacted]"
    assert record_document(plain)["data"]["value"] == "5"


def test_a_line_says_offset_type_version_and_fields():
    assert record_line(7, TopicRecord(name="orders", topic_id=_ID)) == (
        "         7  TOPIC_RECORD v0  name=orders topicId=AAAAAAAAAAAAAAAAAAAwOQ"
    )
    assert record_line(8, NoOpRecord()) == "         8  NO_OP_RECORD v0"


def test_a_batch_says_what_stands_in_its_head():
    batch = RecordBatch.seal(
        [NoOpRecord(), NoOpRecord()], base_offset=Offset(5), epoch=Epoch(3), append_time_ms=1_700_000_000_123
    )

    assert batch_document(batch) == {
        "base_offset": 5,
        "last_offset": 6,
        "epoch": 3,
        "count": 2,
        "control": False,
        "time": "2023-11-14T22:13:20.123+00:00",
        "bytes": len(batch.data),
    }
