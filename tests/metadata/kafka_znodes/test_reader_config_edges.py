"""Configs, quotas, credentials, ACLs and tokens with something wrong in them."""

import pytest

from quorate.metadata.records import (
    AccessControlEntryRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    ProducerIdsRecord,
    TopicRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, encode_secret
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from tests.metadata.kafka_znodes.edges import found, of, read_with
from tests.metadata.kafka_znodes.test_forms import GOOD
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.trees import Content

# ---- configs


@pytest.mark.parametrize(
    ("settings", "severity"),
    [('{"cleanup.policy":"compact"}', "warning"), ("{}", None), ('{"a":1}', "blocker")],
)
def test_configs_of_topics_that_do_not_exist(settings: str, severity: str | None) -> None:
    reading = read_with({"/config/topics/ghost": f'{{"version":1,"config":{settings}}}'})

    assert [one[0] for one in found(reading)] == ([] if severity is None else [severity])


def test_any_text_may_be_a_value() -> None:
    odd = '{"version":1,"config":{"no.such.key":"","a=b":"x=y\\n\\u0000\\"ü"}}'

    reading = read_with({"/config/topics/orders": odd})

    assert found(reading) == []
    configs = [(r.name, r.value) for r in of(reading, ConfigRecord) if isinstance(r, ConfigRecord)]
    assert configs == [("a=b", 'x=y\n\0"ü'), ("no.such.key", "")]


@pytest.mark.parametrize("data", ["", '{"version":1,"config":{"a":1}}', '{"version":9}'])
def test_undecodable_configs_of_a_topic(data: str) -> None:
    strict = read_with({"/config/topics/orders": data})
    lenient = read_with({"/config/topics/orders": data}, lenient=frozenset({Category.TOPIC_CONFIGS}))

    assert [(s, p) for s, _, p in found(strict)] == [("blocker", "/config/topics/orders")]
    assert [(s, p) for s, _, p in found(lenient)] == [("warning", "/config/topics/orders")]
    assert len(of(lenient, TopicRecord)) == 1


@pytest.mark.parametrize("data", [None, '{"version":1}'])
def test_configs_may_be_nothing(data: str | None) -> None:
    assert found(read_with({"/config/topics/orders": data})) == []


def test_configs_of_brokers() -> None:
    config = '{"version":1,"config":{"log.cleaner.threads":"2"}}'

    reading = read_with({f"/config/brokers/{name}": config for name in ("10", "9", "<default>", "x")})

    assert found(reading) == [
        ("blocker", "malformed-name", "/config/brokers/x"),
        ("note", "no-such-broker", "/config/brokers/10"),
        ("note", "no-such-broker", "/config/brokers/9"),
    ]
    resources = [r.resource_name for r in of(reading, ConfigRecord) if isinstance(r, ConfigRecord)]
    assert resources == ["orders", "", "9", "10"]


def _secret_config(secret: str, key: str = "ssl.key.password") -> Content:
    value = encode_secret("geheim", secret, EncoderSettings(iterations=10), entropy())
    return {"/config/brokers/2": f'{{"version":1,"config":{{"{key}":"{value}","num.io.threads":"4"}}}}'}


@pytest.mark.parametrize(
    ("secrets", "code"), [((), "no-secret"), (("wrong",), "wrong-secret"), (("wrong", "bad"), "wrong-secret")]
)
def test_a_secret_that_cannot_be_read_is_never_copied_as_it_is(secrets: tuple[str, ...], code: str) -> None:
    strict = read_with(_secret_config("right"), secrets=secrets)
    lenient = read_with(
        _secret_config("right"), secrets=secrets, lenient=frozenset({Category.BROKER_CONFIGS})
    )

    assert found(strict) == [("blocker", code, "/config/brokers/2")]
    assert found(lenient) == [("warning", code, "/config/brokers/2")]
    names = [r.name for r in of(lenient, ConfigRecord) if isinstance(r, ConfigRecord)]
    assert names == ["retention.ms", "num.io.threads"]
    assert "encryptedPassword" not in str(lenient)


@pytest.mark.parametrize("secrets", [("right",), ("new", "right")])
def test_an_old_secret_counts_while_it_is_being_changed(secrets: tuple[str, ...]) -> None:
    reading = read_with(_secret_config("right"), secrets=secrets)

    assert found(reading) == []
    values = {r.name: r.value for r in of(reading, ConfigRecord) if isinstance(r, ConfigRecord)}
    assert values["ssl.key.password"] == "geheim"


def test_a_password_in_clear_text_is_said_and_copied() -> None:
    reading = read_with({"/config/brokers/2": '{"version":1,"config":{"ssl.key.password":"oh"}}'})

    assert found(reading) == [("warning", "clear-password", "/config/brokers/2")]
    assert "oh" not in str(reading.troubles)
    assert len(of(reading, ConfigRecord)) == 2


# ---- quotas, credentials, producer ids


def _quota(value: str = "1024", key: str = "producer_byte_rate") -> str:
    return f'{{"version":1,"config":{{"{key}":"{value}"}}}}'


def test_every_place_of_a_default() -> None:
    folders = ["users/<default>", "users/u", "clients/<default>", "clients/c"]
    folders += [
        f"users/{u}/clients/{c}" for u in ("<default>", "u", "%3Cdefault%3E") for c in ("<default>", "c")
    ]
    more = {f"/config/{folder}": _quota() for folder in folders}
    more |= {
        f"/config/ips/{ip}": _quota("20", "connection_creation_rate") for ip in ("<default>", "10.0.0.1")
    }

    reading = read_with(more)

    assert found(reading) == []
    entities = [
        tuple((e.entity_type, e.entity_name) for e in r.entity)
        for r in of(reading, ClientQuotaRecord)
        if isinstance(r, ClientQuotaRecord)
    ]
    assert entities == [
        (("user", None),),
        (("user", "u"),),
        (("client-id", None),),
        (("client-id", "c"),),
        (("user", "<default>"), ("client-id", None)),
        (("user", "<default>"), ("client-id", "c")),
        (("user", None), ("client-id", None)),
        (("user", None), ("client-id", "c")),
        (("user", "u"), ("client-id", None)),
        (("user", "u"), ("client-id", "c")),
        (("ip", "10.0.0.1"),),
        (("ip", None),),
    ]


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("user%2F1%40prod", "user/1@prod"),
        ("a%252Fb", "a%2Fb"),
        ("m%C3%BCller", "müller"),
        ("%2A", "*"),
        ("%20", " "),
    ],
)
def test_odd_names_of_users(node: str, name: str) -> None:
    (record,) = of(read_with({f"/config/users/{node}": _quota()}), ClientQuotaRecord)

    assert isinstance(record, ClientQuotaRecord)
    assert record.entity[0].entity_name == name


def test_a_malformed_name_blocks_once() -> None:
    more: Content = {"/config/users/50%": _quota(), "/config/users/50%/clients/c": _quota()}

    assert found(read_with(more)) == [("blocker", "malformed-name", "/config/users/50%")]


@pytest.mark.parametrize("value", ["x", "NaN", ""])
def test_a_quota_that_is_no_number_blocks_alone(value: str) -> None:
    reading = read_with({"/config/users/a": _quota(value), "/config/users/b": _quota()})

    assert found(reading) == [("blocker", "not-a-number", "/config/users/a")]
    assert len(of(reading, ClientQuotaRecord)) == 1


def test_a_quota_that_kafka_does_not_know() -> None:
    reading = read_with({"/config/ips/1.2.3.4": _quota()})

    assert found(reading) == [("warning", "unknown-quota", "/config/ips/1.2.3.4")]
    assert len(of(reading, ClientQuotaRecord)) == 1


def test_users_with_a_credential_a_quota_both_or_only_clients() -> None:
    both = f'{{"version":1,"config":{{"SCRAM-SHA-256":"{GOOD}","SCRAM-SHA-512":"{GOOD}","producer_byte_rate":"1"}}}}'
    more: Content = {
        "/config/users/both": both,
        "/config/users/scram": f'{{"version":1,"config":{{"SCRAM-SHA-512":"{GOOD}"}}}}',
        "/config/users/quota": _quota(),
        "/config/users/pair/clients/c": _quota(),
    }

    reading = read_with(more)

    assert found(reading) == []
    credentials = [
        (r.name, r.mechanism)
        for r in of(reading, UserScramCredentialRecord)
        if isinstance(r, UserScramCredentialRecord)
    ]
    assert credentials == [("both", 1), ("both", 2), ("scram", 2)]
    assert len(of(reading, ClientQuotaRecord)) == 3


@pytest.mark.parametrize(
    "path", ["/config/clients/c", "/config/users/u/clients/c", "/config/users/<default>"]
)
def test_a_credential_where_nobody_logs_in(path: str) -> None:
    reading = read_with({path: f'{{"version":1,"config":{{"SCRAM-SHA-512":"{GOOD}"}}}}'})

    assert found(reading) == [("blocker", "misplaced-credential", path)]
    assert of(reading, UserScramCredentialRecord) == []


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [("SCRAM-SHA-512", "salt=x", "bad-credential"), ("SCRAM-SHA-1", GOOD, "unknown-mechanism")],
)
def test_credentials_that_mean_nothing(key: str, value: str, code: str) -> None:
    reading = read_with({"/config/users/u": _quota(value, key)})

    assert [(s, c) for s, c, _ in found(reading)] == [("blocker", code)]


@pytest.mark.parametrize(
    ("data", "following"),
    [
        (None, None),
        ('{"version":1,"broker":2,"block_start":"0","block_end":"999"}', 1000),
        ('{"version":1,"broker":2,"block_start":"1","block_end":"9223372036854775806"}', 2**63 - 1),
    ],
)
def test_producer_ids(data: str | None, following: int | None) -> None:
    reading = read_with({"/latest_producer_id_block": data})

    ids = [r.next_producer_id for r in of(reading, ProducerIdsRecord) if isinstance(r, ProducerIdsRecord)]
    assert ids == ([] if following is None else [following])
    assert found(reading) == []


@pytest.mark.parametrize(
    "data", ["", '{"version":1,"broker":2,"block_start":"0","block_end":"9223372036854775807"}']
)
def test_producer_ids_that_mean_nothing(data: str) -> None:
    path = "/latest_producer_id_block"

    assert [(s, p) for s, _, p in found(read_with({path: data}))] == [("blocker", path)]


# ---- ACLs and tokens


def _acls(*rows: tuple[str, str, str]) -> str:
    entry = '{"principal":"%s","permissionType":"%s","operation":"%s","host":"*"}'
    return '{"version":1,"acls":[' + ",".join(entry % row for row in rows) + "]}"


def test_acls_of_both_stores() -> None:
    one = _acls(("User:CN=a/b,O=x", "Allow", "Read"))
    more: Content = {
        "/kafka-acl/Topic/*": one,
        "/kafka-acl/Topic/same": one,
        "/kafka-acl-extended/prefixed/Topic/same": one,
        "/kafka-acl/Topic/empty": _acls(),
        "/kafka-acl/Topic/null": None,
        "/kafka-acl/Topic/nothing": "",
        "/kafka-acl/Cluster/kafka-cluster": one,
    }

    reading = read_with(more)

    assert found(reading) == []
    records = [r for r in of(reading, AccessControlEntryRecord) if isinstance(r, AccessControlEntryRecord)]
    assert [(r.resource_type, r.pattern_type, r.resource_name) for r in records] == [
        (4, 3, "kafka-cluster"),
        (2, 3, "*"),
        (2, 3, "same"),
        (2, 4, "same"),
    ]
    assert len({r.id for r in records}) == 4
    assert [r.id for r in of(read_with(more), AccessControlEntryRecord)] == [r.id for r in records]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "severity", "code", "count"),
    [
        (("User:a", "Allow", "Fly"), "warning", "unknown-operation", 2),
        (("User:a", "Perhaps", "Read"), "blocker", "unknown-permission", 1),
        (("nobody", "Allow", "Read"), "blocker", "bad-principal", 1),
        (("User:b", "ALLOW", "READ"), "note", "double-acl", 1),
    ],
)
def test_odd_acls(row: tuple[str, str, str], severity: str, code: str, count: int) -> None:
    reading = read_with({"/kafka-acl/Topic/t": _acls(("User:b", "Allow", "Read"), row)})

    assert found(reading) == [(severity, code, "/kafka-acl/Topic/t")]
    assert len(of(reading, AccessControlEntryRecord)) == count


def test_acls_that_mean_nothing() -> None:
    more: Content = {"/kafka-acl/Topic/t": '{"version":2,"acls":[]}', "/kafka-acl/Planet/x": _acls()}

    assert found(read_with(more)) == [
        ("blocker", "unknown-version", "/kafka-acl/Topic/t"),
        ("note", "unknown-resource", "/kafka-acl/Planet"),
    ]


def test_very_many_acls_come_in_batches() -> None:
    rows = [(f"User:u{i}", "Allow", "Read") for i in range(250)]

    reading = read_with({"/kafka-acl/Topic/t": _acls(*rows)})

    assert [len(b.records) for b in reading.batches if b.category is Category.ACLS] == [100, 100, 50]


def _token(token_id: str, **more: str) -> str:
    owner = more.get("owner", "User%3Aalice")
    return (
        f'{{"version":2,"owner":"{owner}","renewers":["User%3Ac"],"issueTimestamp":1,"maxTimestamp":3,'
        f'"expiryTimestamp":2,"tokenId":"{token_id}"}}'
    )


def test_tokens() -> None:
    more: Content = {
        "/delegation_token/tokens/t": _token("t"),
        "/delegation_token/tokens/gone": None,
        "/delegation_token/tokens/empty": "",
    }

    reading = read_with(more)

    assert found(reading) == []
    assert of(reading, DelegationTokenRecord) == [
        DelegationTokenRecord(
            owner="User:alice",
            requester="User:alice",
            renewers=("User:c",),
            issue_timestamp=1,
            max_timestamp=3,
            expiration_timestamp=2,
            token_id="t",
        )
    ]


@pytest.mark.parametrize("data", ["{", _token("other"), _token("t", owner="alice")])
def test_tokens_that_mean_nothing(data: str) -> None:
    assert [(s, p) for s, _, p in found(read_with({"/delegation_token/tokens/t": data}))] == [
        ("blocker", "/delegation_token/tokens/t")
    ]
