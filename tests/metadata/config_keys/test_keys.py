"""The tables of keys, and what a text means for one key."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata import config_keys
from quorate.metadata.config_keys import (
    BROKER_KEYS,
    CLIENT_METRICS_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    ConfigType,
    InvalidConfigValue,
    ResourceType,
    Scope,
)

TABLES = {
    "topic": TOPIC_KEYS,
    "broker": BROKER_KEYS,
    "group": GROUP_KEYS,
    "client metrics": CLIENT_METRICS_KEYS,
}
EVERY_KEY = [key for table in TABLES.values() for key in table.values()]


@pytest.mark.parametrize(
    "key", [key for key in TOPIC_KEYS.values() if not key.hidden], ids=lambda key: key.name
)
def test_a_topic_key_that_is_shown_accepts_its_own_default(key: ConfigKey) -> None:
    assert key.default is not None

    assert key.canonical(key.default) == key.default
    key.parse(key.default)


def test_every_default_is_accepted_by_its_key_and_in_canonical_form() -> None:
    for key in EVERY_KEY:
        if key.required:
            assert key.default is None
        else:
            key.parse(key.default)
            assert key.default is None or key.canonical(key.default) == key.default


def test_every_key_says_what_it_is_for_and_what_it_allows() -> None:
    assert [key.name for key in EVERY_KEY if not key.documentation and not key.hidden] == []
    assert [key.name for key in EVERY_KEY if not key.allowed] == []


def test_synonyms_are_broker_keys() -> None:
    assert {synonym.name for key in EVERY_KEY for synonym in key.synonyms} <= BROKER_KEYS.keys()


def test_tables_are_alphabetical() -> None:
    for table in TABLES.values():
        assert list(table) == sorted(table)


@pytest.mark.parametrize(
    ("name", "synonyms"),
    [
        (
            "retention.ms",
            [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
        ),
        ("segment.ms", [("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
        ("flush.ms", [("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
        ("max.message.bytes", [("message.max.bytes", 1)]),
        ("remote.storage.enable", []),
    ],
)
def test_broker_synonyms_come_in_kafkas_order(name: str, synonyms: list[tuple[str, int]]) -> None:
    assert [(synonym.name, synonym.factor) for synonym in TOPIC_KEYS[name].synonyms] == synonyms


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("node.id", Scope.READ_ONLY),
        ("controller.quorum.fetch.timeout.ms", Scope.READ_ONLY),
        ("listeners", Scope.PER_BROKER),
        ("ssl.keystore.location", Scope.PER_BROKER),
        ("log.retention.ms", Scope.CLUSTER_WIDE),
        ("leader.replication.throttled.rate", Scope.CLUSTER_WIDE),
    ],
)
def test_scope_says_how_a_broker_key_can_change(name: str, scope: Scope) -> None:
    assert BROKER_KEYS[name].scope is scope


def test_nothing_is_read_before_the_first_look() -> None:
    script = (
        "import quorate.metadata.config_keys.keys as keys\n"
        "tables = [keys.TOPIC_KEYS, keys.BROKER_KEYS, keys.GROUP_KEYS, keys.CLIENT_METRICS_KEYS]\n"
        "assert not any('by_name' in vars(table) for table in tables), tables\n"
        "keys.TOPIC_KEYS['retention.ms']\n"
        "assert ['by_name' in vars(table) for table in tables] == [True, False, False, False]\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_table_is_read_once() -> None:
    assert TOPIC_KEYS["retention.ms"] is TOPIC_KEYS["retention.ms"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("preallocate", " TRUE\n", True),
        ("preallocate", "False", False),
        ("segment.bytes", "+1048576", 1_048_576),
        ("retention.ms", "-1", -1),
        ("retention.bytes", "9223372036854775807", 2**63 - 1),
        ("min.cleanable.dirty.ratio", "1e-1", 0.1),
        ("min.cleanable.dirty.ratio", ".5f", 0.5),
        ("cleanup.policy", "compact , delete", ("compact", "delete")),
        ("cleanup.policy", "delete,delete", ("delete",)),
        ("cleanup.policy", "", ()),
        ("compression.gzip.level", "-1", -1),
        ("follower.replication.throttled.replicas", "*", ("*",)),
        ("follower.replication.throttled.replicas", "0:1,1:2", ("0:1", "1:2")),
        ("follower.replication.throttled.replicas", "", ()),
        ("compression.type", " zstd ", "zstd"),
    ],
)
def test_a_text_means(name: str, text: str, value: object) -> None:
    parsed = TOPIC_KEYS[name].parse(text)

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("preallocate", "1", "Expected value to be either true or false"),
        ("segment.bytes", "1_048_576", "Not a number of type INT"),
        ("segment.bytes", "2147483648", "Not a number of type INT"),
        ("segment.bytes", "\u0661\u0660\u0664\u0668\u0665\u0667\u0666", "Not a number of type INT"),
        ("segment.bytes", "9" * 5000, "Not a number of type INT"),
        ("segment.bytes", "1048575", "Value must be at least 1048576"),
        ("retention.bytes", "9223372036854775808", "Not a number of type LONG"),
        ("min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "inf", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "1e9999", "Value must be no more than 1"),
        ("compression.gzip.level", "-2", "Value must be between 1 and 9 or equal to -1"),
        ("cleanup.policy", "compact,,delete", "Values must not be empty"),
        ("cleanup.policy", "compact,drop", "String must be one of: compact, delete"),
        (
            "compression.type",
            "ZSTD",
            "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("follower.replication.throttled.replicas", "*,*", "Value must be the literal '*'"),
        ("follower.replication.throttled.replicas", "0:1,1", "Value must be the literal '*'"),
        ("retention.ms", None, "Value must be non-null"),
        ("cleanup.policy", None, "Values must not be null"),
    ],
)
def test_a_text_is_refused(name: str, text: str | None, why: str) -> None:
    with pytest.raises(InvalidConfigValue) as refusal:
        TOPIC_KEYS[name].parse(text)

    assert refusal.value.key == name
    assert refusal.value.reason.startswith(why)
    assert str(refusal.value).startswith(
        f"Invalid value {'null' if text is None else text} for configuration {name}: "
    )


@pytest.mark.parametrize(
    ("name", "text", "ok"),
    [
        ("group.consumer.migration.policy", "Bidirectional", True),
        ("group.consumer.migration.policy", "both", False),
        ("offsets.topic.replication.factor", "32767", True),
        ("offsets.topic.replication.factor", "32768", False),
        ("principal.builder.class", "org.example.Builder$Inner", True),
        ("principal.builder.class", "not a class", False),
        ("remote.log.storage.manager.class.name", "", False),
        ("authorizer.class.name", "", True),
        ("listeners", "", False),
    ],
)
def test_broker_values(name: str, text: str, ok: bool) -> None:
    if ok:
        BROKER_KEYS[name].parse(text)
    else:
        with pytest.raises(InvalidConfigValue):
            BROKER_KEYS[name].parse(text)


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("earliest", True),
        ("LATEST", True),
        ("by_duration:P1DT2H3M4.5S", True),
        ("by_duration:PT0.000000001S", True),
        ("by_duration:P", False),
        ("by_duration:PT", False),
        ("by_duration:P1DT", False),
        ("by_duration:-PT1H", False),
        ("by_duration", False),
        ("earliest:", False),
        ("none", False),
    ],
)
def test_where_a_share_group_starts(text: str, ok: bool) -> None:
    key = GROUP_KEYS["share.auto.offset.reset"]

    assert (key.validator is not None and key.validator.wrong(text) is None) is ok


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.5", "0.5"),
        ("1", "1.0"),
        ("0.001", "0.001"),
        ("0.0001", "1.0E-4"),
        ("0.00012345", "1.2345E-4"),
        ("9999999", "9999999.0"),
        ("10000000", "1.0E7"),
        ("123456789", "1.23456789E8"),
        ("-2.5e30", "-2.5E30"),
        ("0", "0.0"),
    ],
)
def test_numbers_are_shown_as_java_writes_them(text: str, shown: str) -> None:
    assert ConfigKey(name="x", type=ConfigType.DOUBLE, default=None).canonical(text) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_shown_number_means_the_same(value: float) -> None:
    key = ConfigKey(name="x", type=ConfigType.DOUBLE, default=None)

    assert key.parse(key.canonical(repr(value))) == value


@given(st.sampled_from(EVERY_KEY), st.text(max_size=30))
def test_what_is_shown_means_what_was_said(key: ConfigKey, text: str) -> None:
    try:
        value = key.parse(text)
    except InvalidConfigValue:
        assert key.canonical(text) == text
    else:
        assert key.parse(key.canonical(text)) == value
        assert key.canonical(key.canonical(text)) == key.canonical(text)


@given(st.lists(st.sampled_from(["compact", "delete", " compact", "delete "]), max_size=5))
def test_a_list_is_read_without_blanks_and_repetitions(words: list[str]) -> None:
    value = TOPIC_KEYS["cleanup.policy"].parse(",".join(words))

    assert value == tuple(dict.fromkeys(word.strip() for word in words))


@given(st.integers(-(2**65), 2**65))
def test_an_int_is_taken_exactly_in_its_range(number: int) -> None:
    key = TOPIC_KEYS["flush.messages"]
    if 1 <= number < 2**63:
        assert key.parse(str(number)) == number
    else:
        with pytest.raises(InvalidConfigValue):
            key.parse(str(number))


def test_a_listeners_own_key_is_known_by_the_key_it_stands_for() -> None:
    one = config_keys.key_for(ResourceType.BROKER, "listener.name.external.ssl.keystore.password")
    other = config_keys.key_for(ResourceType.BROKER, "listener.name.sasl.scram-sha-256.sasl.jaas.config")

    assert one is BROKER_KEYS["ssl.keystore.password"]
    assert other is BROKER_KEYS["sasl.jaas.config"]


@pytest.mark.parametrize(
    ("resource", "name", "sensitive"),
    [
        (ResourceType.BROKER, "ssl.key.password", True),
        (ResourceType.BROKER, "listener.name.x.ssl.key.password", True),
        (ResourceType.BROKER, "log.retention.ms", False),
        (ResourceType.BROKER, "unknown.to.everybody", True),
        (ResourceType.TOPIC, "retention.ms", False),
        (ResourceType.TOPIC, "log.retention.ms", True),
        (ResourceType.BROKER_LOGGER, "anything", True),
    ],
)
def test_what_is_secret_or_unknown_is_not_shown(resource: ResourceType, name: str, sensitive: bool) -> None:
    assert config_keys.is_sensitive(resource, name) is sensitive


def test_a_secret_is_not_in_its_own_error() -> None:
    key = ConfigKey(
        name="secret",
        type=ConfigType.PASSWORD,
        default=None,
        validator=TOPIC_KEYS["compression.type"].validator,
    )

    with pytest.raises(InvalidConfigValue) as refusal:
        key.parse("hunter2")

    assert "hunter2" not in str(refusal.value)


def test_resource_types_are_kafkas_numbers() -> None:
    assert {kind.name: kind.value for kind in ResourceType} == {
        "TOPIC": 2,
        "BROKER": 4,
        "BROKER_LOGGER": 8,
        "CLIENT_METRICS": 16,
        "GROUP": 32,
    }
