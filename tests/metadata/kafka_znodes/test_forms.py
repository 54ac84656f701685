"""Older versions of znodes are read, and what is none of them is an error that names its kind."""

from collections.abc import Callable

import pytest

from quorate.metadata.image.security import ScramCredential
from quorate.metadata.zookeeper.kafka_znodes import admin_nodes, configs, nodes, security, topics
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.java_order import as_scala_map, string_hash

PLAIN = nodes.BrokerListener(name="PLAINTEXT", host="h", port=9092, security_protocol="PLAINTEXT")


@pytest.mark.parametrize(
    ("text", "listeners"),
    [
        ('{"version":1,"host":"h","port":9092,"jmx_port":9999,"timestamp":"2233345666"}', [PLAIN]),
        ('{"version":2,"host":"h","port":9092,"endpoints":["PLAINTEXT://h:9092"]}', [PLAIN]),
        ('{"version":3,"endpoints":["PLAINTEXT://h:9092"],"rack":"dc1"}', [PLAIN]),
        (
            '{"version":4,"endpoints":["C://[::1]:7","E://:8"],"listener_security_protocol_map":{"C":"SSL","E":"SASL_SSL"}}',
            [
                nodes.BrokerListener(name="C", host="::1", port=7, security_protocol="SSL"),
                nodes.BrokerListener(name="E", host="", port=8, security_protocol="SASL_SSL"),
            ],
        ),
        ('{"version":6,"endpoints":["PLAINTEXT://h:9092"],"more":1}', [PLAIN]),
    ],
)
def test_brokers_of_every_version(text: str, listeners: list[nodes.BrokerListener]) -> None:
    broker = nodes.decode_broker(text.encode())

    assert list(broker.listeners) == listeners
    again = nodes.decode_broker(nodes.encode_broker(broker))
    assert again == broker


def test_features_of_a_broker() -> None:
    text = b'{"version":5,"endpoints":[],"features":{"f":{"min_version":1,"max_version":3}}}'

    assert nodes.decode_broker(text).features == {"f": (1, 3)}
    assert nodes.decode_broker(nodes.encode_broker(nodes.decode_broker(text))).features == {"f": (1, 3)}


def test_older_forms() -> None:
    assert nodes.decode_controller(b'{"version":1,"brokerid":3,"timestamp":"12"}') == nodes.ControllerZnode(
        broker_id=3, timestamp_ms=12
    )
    feature = nodes.decode_feature(
        b'{"version":1,"status":0,"features":{"f":{"min_version_level":1,"max_version_level":2}}}'
    )
    assert feature == nodes.FeatureZnode(enabled=False, levels={"f": 2})
    topic = topics.decode_topic(b'{"version":1,"partitions":{"1":[3],"0":[1,2]}}')
    assert topic == topics.TopicZnode(topic_id=None, partitions={0: (1, 2), 1: (3,)}, adding={}, removing={})
    assert list(topic.partitions) == [0, 1]
    assert (
        configs.decode_config_change(b'{"version":1,"entity_type":"topics","entity_name":"orders"}')
        == "topics/orders"
    )
    for version in (1, 2):
        text = f'{{"version":{version},"owner":"User%3Aa","renewers":[],"issueTimestamp":1,"maxTimestamp":3,'
        text += '"expiryTimestamp":2,"tokenId":"t"}'
        token_id, token = security.decode_token(text.encode())
        assert (token_id, token.owner, token.requester) == ("t", "User:a", "User:a")
        assert (token.issue_timestamp, token.expiration_timestamp, token.max_timestamp) == (1, 2, 3)


def test_members_of_our_own_survive_in_the_migration_znode() -> None:
    znode = nodes.MigrationZnode(
        offset=812, epoch=4, controller_id=3000, controller_epoch=4, extra={"attempt": "x"}
    )

    assert znode.is_copied
    assert nodes.decode_migration(nodes.encode_migration(znode)) == znode
    assert not nodes.MigrationZnode().is_copied


def test_a_state_says_recovering_only_while_it_does() -> None:
    state = topics.PartitionState(
        leader=1, leader_epoch=2, isr=(1,), controller_epoch=3, leader_recovery_state=1
    )

    assert b'"leader_recovery_state":1' in topics.encode_state(state)
    assert topics.decode_state(topics.encode_state(state)) == state


def test_requests_and_notifications() -> None:
    partition = admin_nodes.TopicPartition("orders", 0)

    wanted = {partition: (2, 3, 4)}
    assert admin_nodes.decode_reassignment(admin_nodes.encode_reassignment(wanted)) == wanted
    assert admin_nodes.decode_partitions(admin_nodes.encode_partitions([partition])) == (partition,)
    assert admin_nodes.decode_log_dir_event(admin_nodes.encode_log_dir_event(3)) == 3
    assert (
        admin_nodes.encode_partitions([partition])
        == b'{"version":1,"partitions":[{"topic":"orders","partition":0}]}'
    )


@pytest.mark.parametrize(
    ("decode", "text", "code"),
    [
        (nodes.decode_cluster_id, None, "no-data"),
        (nodes.decode_cluster_id, b"", "not-json"),
        (nodes.decode_cluster_id, b"[1]", "not-json"),
        (nodes.decode_cluster_id, b"\xff", "not-json"),
        (nodes.decode_cluster_id, b"[" * 100_000, "not-json"),
        (nodes.decode_cluster_id, b"{}", "missing-member"),
        (nodes.decode_controller, b'{"version":2,"brokerid":"1"}', "wrong-type"),
        (nodes.decode_controller, b'{"version":2,"brokerid":true}', "wrong-type"),
        (nodes.decode_controller_epoch, b"x", "not-a-number"),
        (nodes.decode_controller_epoch, "٣".encode(), "not-a-number"),
        (nodes.decode_controller_epoch, b"2147483648", "not-a-number"),
        (nodes.decode_broker, b'{"version":0}', "unknown-version"),
        (nodes.decode_broker, b'{"version":5,"endpoints":["x"]}', "wrong-value"),
        (nodes.decode_broker, b'{"version":5,"endpoints":["EXT://h:1"]}', "wrong-value"),
        (
            nodes.decode_broker,
            b'{"version":5,"endpoints":["A://h:1"],"listener_security_protocol_map":{"A":[1]}}',
            "wrong-value",
        ),
        (nodes.decode_feature, b'{"version":3,"status":1}', "unknown-version"),
        (nodes.decode_feature, b'{"version":2,"status":2}', "wrong-value"),
        (nodes.decode_migration, b'{"version":1}', "unknown-version"),
        (nodes.decode_migration, None, "no-data"),
        (nodes.decode_producer_ids, b"", "not-json"),
        (nodes.decode_producer_ids, b'{"version":1,"broker":1,"block_start":0,"block_end":1}', "wrong-type"),
        (
            nodes.decode_producer_ids,
            b'{"version":1,"broker":1,"block_start":"5","block_end":"4"}',
            "wrong-value",
        ),
        (topics.decode_topic, b'{"partitions":{"x":[1]}}', "not-a-number"),
        (topics.decode_topic, b'{"partitions":{"-1":[1]}}', "wrong-value"),
        (topics.decode_topic, b'{"partitions":{"0":["1"]}}', "wrong-type"),
        (topics.decode_topic, b'{"partitions":[]}', "wrong-type"),
        (topics.decode_topic, b'{"partitions":{},"topic_id":"x"}', "wrong-value"),
        (topics.decode_topic, b'{"partitions":{},"topic_id":7}', "wrong-type"),
        (
            topics.decode_state,
            b'{"version":2,"leader":1,"leader_epoch":1,"isr":[],"controller_epoch":1}',
            "unknown-version",
        ),
        (topics.decode_state, b'{"version":1,"leader":1,"leader_epoch":1,"isr":[]}', "missing-member"),
        (
            topics.decode_state,
            b'{"version":1,"leader":1,"leader_epoch":2147483648,"isr":[],"controller_epoch":1}',
            "wrong-type",
        ),
        (
            topics.decode_state,
            b'{"version":1,"leader":1,"leader_epoch":1,"isr":[],"controller_epoch":1,"leader_recovery_state":2}',
            "wrong-value",
        ),
        (configs.decode_config, b"", "not-json"),
        (configs.decode_config, b'{"version":2,"config":{}}', "unknown-version"),
        (configs.decode_config, b'{"version":1,"config":{"a":1}}', "wrong-type"),
        (configs.decode_config, b'{"version":1,"config":{"a":NaN}}', "not-json"),
        (configs.decode_config, b'{"version":1,"config":{"a":"\\ud800"}}', "not-json"),
        (
            configs.decode_config_change,
            b'{"version":1,"entity_type":"users","entity_name":"x"}',
            "wrong-type",
        ),
        (security.decode_token, b'{"version":4}', "unknown-version"),
        (security.decode_token, b'{"version":2,"owner":"nobody"}', "bad-principal"),
        (security.decode_token, b'{"version":2,"owner":"User%3"}', "malformed-name"),
        (admin_nodes.decode_reassignment, b'{"version":1,"partitions":[1]}', "wrong-type"),
    ],
)
def test_what_is_no_such_znode(
    decode: Callable[[bytes | None], object], text: bytes | None, code: str
) -> None:
    with pytest.raises(FormError) as caught:
        decode(text)
    assert caught.value.code == code


def test_a_config_may_be_nothing() -> None:
    assert configs.decode_config(None) == {}
    assert configs.decode_config(b'{"version":1}') == {}
    assert configs.decode_config(b'{"version":1,"config":{}}') == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1024", 1024.0), ("1e3", 1000.0), (" 0.1\n", 0.1), ("1.d", 1.0), ("-0.0", 0.0), (".5F", 0.5)],
)
def test_quotas_as_java_reads_them(text: str, value: float) -> None:
    assert configs.quota_value("request_percentage", text) == value


@pytest.mark.parametrize("text", ["", "x", "NaN", "Infinity", "1e999", "0x1p3", "1_000", "1,5", "٣"])
def test_what_is_no_quota(text: str) -> None:
    with pytest.raises(FormError):
        configs.quota_value("producer_byte_rate", text)


@pytest.mark.parametrize(
    ("kind", "key", "value", "text"),
    [
        ("user", "producer_byte_rate", 1024.0, "1024"),
        ("user", "producer_byte_rate", 1024.0000001, "1024"),
        ("client-id", "consumer_byte_rate", float(2**63), "9223372036854775807"),
        ("user", "request_percentage", 12.5, "12.5"),
        ("user", "request_percentage", 50.0, "50.0"),
        ("user", "controller_mutation_rate", 12345678.0, "1.2345678E7"),
        ("ip", "connection_creation_rate", 20.0, "20"),
        ("ip", "connection_creation_rate", float(2**31 - 1), "2147483647"),
    ],
)
def test_quotas_as_kafka_writes_them(kind: str, key: str, value: float, text: str) -> None:
    assert configs.quota_text(kind, key, value) == text


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("user", "producer_byte_rate", 0.5),
        ("ip", "connection_creation_rate", float(2**31)),
        ("ip", "producer_byte_rate", 1.0),
        ("user", "nonsense", 1.0),
    ],
)
def test_quotas_that_zookeeper_cannot_hold(kind: str, key: str, value: float) -> None:
    with pytest.raises(FormError):
        configs.quota_text(kind, key, value)


GOOD = "salt=bXNhbHQ=,stored_key=c2s=,server_key=c3Y=,iterations=4096"


def test_a_credential() -> None:
    credential = ScramCredential(salt=b"msalt", stored_key=b"sk", server_key=b"sv", iterations=4096)

    assert configs.decode_credential(GOOD) == credential
    assert configs.encode_credential(credential) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.replace(",iterations=4096", ""),
        GOOD + ",more=1",
        GOOD + ",salt=bXNhbHQ=",
        GOOD.replace("c2s=", "c2*="),
        GOOD.replace("4096", "many"),
        GOOD.replace("4096", "9999999999"),
        GOOD.replace("salt", "pepper"),
    ],
)
def test_a_damaged_credential(text: str) -> None:
    with pytest.raises(FormError) as caught:
        configs.decode_credential(text)
    assert caught.value.code == "bad-credential"
    assert "c3Y=" not in str(caught.value)


def test_what_the_node_of_a_client_may_hold() -> None:
    settings = {
        "SCRAM-SHA-256": GOOD,
        "SCRAM-SHA-1": GOOD,
        "producer_byte_rate": "7",
        "request_percentage": "x",
    }

    user = configs.client_config(settings, may_log_in=True)
    client = configs.client_config(settings, may_log_in=False)

    assert user.quotas == client.quotas == {"producer_byte_rate": 7.0}
    assert list(user.credentials) == [1]
    assert [(bad.key, bad.code) for bad in user.bad] == [
        ("SCRAM-SHA-1", "unknown-mechanism"),
        ("request_percentage", "not-a-number"),
    ]
    assert client.credentials == {}
    assert ("SCRAM-SHA-256", "misplaced-credential") in [(bad.key, bad.code) for bad in client.bad]


def test_words_of_acls_in_any_case_and_unknown_ones() -> None:
    node = security.AclNode(2, 3, "orders")
    entry = '{"principal":"User:a","permissionType":"%s","operation":"%s","host":"*"}'
    rows = [("allow", "DESCRIBECONFIGS"), ("Deny", "Fly"), ("Perhaps", "Read")]
    text = '{"version":1,"acls":[' + ",".join(entry % row for row in rows) + "]}"

    first, second, third = security.decode_acls(node, text.encode())

    assert first.acl is not None
    assert (first.acl.operation, first.acl.permission_type, first.trouble) == (10, 3, None)
    assert second.acl is not None
    assert second.acl.operation == security.UNKNOWN
    assert second.trouble is not None
    assert (third.acl, third.trouble and third.trouble.code) == (None, "unknown-permission")
    assert security.decode_acls(node, None) == security.decode_acls(node, b"") == []
    assert b'"operation":"Unknown"' in security.encode_acls([second.acl])


def test_the_hash_of_a_text_is_javas() -> None:
    assert string_hash("orders") == (lambda h: h ^ (h >> 16))(
        sum(ord(c) * 31**i for i, c in enumerate("sredro")) & 0xFFFFFFFF
    )
    assert list(as_scala_map({str(i): i for i in range(12)})) == ["11", *map(str, range(10)), "10"]
