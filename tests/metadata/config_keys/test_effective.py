"""Which value counts, and where it is said to come from."""

import attrs
import pytest

from quorate.metadata import config_keys
from quorate.metadata.config_keys import ConfigKey, ConfigSource, ConfigType, EffectiveConfig, NodeConfigs


def one(configs: list[EffectiveConfig]) -> EffectiveConfig:
    (config,) = configs
    return config


FULL = NodeConfigs(
    broker_dynamic={"log.retention.ms": "3"},
    cluster_dynamic={"log.retention.ms": "4"},
    static={"log.retention.hours": "5", "log.retention.minutes": "6"},
)


@pytest.mark.parametrize(
    ("overrides", "node", "value", "source"),
    [
        ({"retention.ms": "2"}, FULL, "2", ConfigSource.TOPIC),
        ({}, FULL, "3", ConfigSource.DYNAMIC_BROKER),
        ({}, attrs.evolve(FULL, broker_dynamic={}), "4", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ({}, NodeConfigs(static=FULL.static), "360000", ConfigSource.STATIC_BROKER),
        ({}, NodeConfigs(static={"log.retention.hours": "5"}), "18000000", ConfigSource.STATIC_BROKER),
        ({}, NodeConfigs(static={"log.retention.hours": "-1"}), "-1", ConfigSource.STATIC_BROKER),
        ({}, NodeConfigs(), "604800000", ConfigSource.DEFAULT),
    ],
)  # fmt: skip
def test_levels_come_first_and_synonyms_within_a_level(
    overrides: dict[str, str], node: NodeConfigs, value: str, source: ConfigSource
) -> None:
    config = one(config_keys.effective_topic_configs(overrides, node, ["retention.ms"]))

    assert (config.value, config.source) == (value, source)
    assert config.is_default is (source is ConfigSource.DEFAULT)
    assert config_keys.effective_topic_value("retention.ms", overrides, node) == value
    assert config_keys.topic_defaults(node).get("retention.ms", "604800000") == value or overrides


def test_every_place_is_listed_from_the_highest_down() -> None:
    config = one(config_keys.effective_topic_configs({"retention.ms": " 2"}, FULL, ["retention.ms"]))

    assert [(synonym.source, synonym.name, synonym.value) for synonym in config.synonyms] == [
        (ConfigSource.TOPIC, "retention.ms", "2"),
        (ConfigSource.DYNAMIC_BROKER, "log.retention.ms", "3"),
        (ConfigSource.DYNAMIC_DEFAULT_BROKER, "log.retention.ms", "4"),
        (ConfigSource.STATIC_BROKER, "log.retention.minutes", "6"),
        (ConfigSource.STATIC_BROKER, "log.retention.hours", "5"),
        (ConfigSource.DEFAULT, "log.retention.hours", "168"),
    ]


def test_a_topic_shows_all_its_keys_and_hidden_ones_only_when_set() -> None:
    plain = [config.name for config in config_keys.effective_topic_configs({}, NodeConfigs())]
    hidden = config_keys.effective_topic_configs({"internal.segment.bytes": "5"}, NodeConfigs())

    assert len(plain) == 37
    assert plain == sorted(plain)
    assert {config.name for config in hidden} - set(plain) == {"internal.segment.bytes"}


def test_what_a_topic_key_is() -> None:
    config = one(config_keys.effective_topic_configs({}, NodeConfigs(), ["cleanup.policy"]))

    assert (config.type, config.read_only, config.sensitive) == (ConfigType.LIST, False, False)
    assert "retention policy" in config.documentation


def test_a_stored_value_that_no_longer_parses_is_shown_as_it_stands() -> None:
    config = one(
        config_keys.effective_topic_configs({"retention.ms": "soon"}, NodeConfigs(), ["retention.ms"])
    )

    assert config.value == "soon"


def test_a_stored_key_that_nobody_knows_is_not_shown_in_the_clear() -> None:
    overrides = {"message.format.version": "2.8"}
    config = one(config_keys.effective_topic_configs(overrides, NodeConfigs(), list(overrides)))

    assert (config.value, config.sensitive, config.type) == (None, True, ConfigType.UNKNOWN)
    assert [synonym.value for synonym in config.synonyms] == [None]


def test_secrets_are_hidden_in_every_place() -> None:
    node = NodeConfigs(
        broker_dynamic={"listener.name.ext.ssl.key.password": "one"}, static={"ssl.key.password": "two"}
    )
    configs = config_keys.effective_broker_configs(node)

    assert {config.name for config in configs if config.sensitive and config.synonyms} == {
        "listener.name.ext.ssl.key.password",
        "ssl.key.password",
    }
    assert "'one'" not in repr(configs)
    assert "'two'" not in repr(configs)
    assert [config.value for config in configs if config.sensitive] == [None] * sum(
        c.sensitive for c in configs
    )


def test_a_listeners_key_falls_back_on_the_general_one() -> None:
    node = NodeConfigs(
        broker_dynamic={"listener.name.ext.max.connections": "7"}, static={"max.connections": "9"}
    )
    config = one(config_keys.effective_broker_configs(node, ["listener.name.ext.max.connections"]))

    assert (config.value, config.read_only) == ("7", False)
    assert [synonym.name for synonym in config.synonyms] == [
        "listener.name.ext.max.connections",
        "max.connections",
        "max.connections",
    ]


def test_names_select() -> None:
    asked = ["log.retention.hours", "node.id", "nonsense"]
    configs = config_keys.effective_broker_configs(NodeConfigs(static={"node.id": "3"}), asked)

    assert [(config.name, config.value, config.read_only) for config in configs] == [
        ("log.retention.hours", "168", True),
        ("node.id", "3", True),
    ]


def test_no_names_select_everything() -> None:
    everything = config_keys.effective_broker_configs(NodeConfigs())

    assert config_keys.effective_broker_configs(NodeConfigs(), []) == everything
    assert len(everything) > 300


def test_keys_of_our_own_are_shown_with_their_documentation() -> None:
    key = ConfigKey(name="quorate.x", type=ConfigType.INT, default="1", documentation="What x is.")
    node = NodeConfigs(static={"quorate.x": "02"})
    config = one(config_keys.effective_broker_configs(node, ["quorate.x"], {"quorate.x": key}))

    assert (config.value, config.source, config.documentation) == (
        "2",
        ConfigSource.STATIC_BROKER,
        "What x is.",
    )
    assert config.sensitive is False


def test_cluster_defaults_are_only_what_is_set() -> None:
    config = one(config_keys.cluster_default_configs({"log.retention.ms": "5"}))

    assert (config.name, config.value, config.source) == (
        "log.retention.ms",
        "5",
        ConfigSource.DYNAMIC_DEFAULT_BROKER,
    )
    assert len(config.synonyms) == 1


def test_a_group_inherits_from_the_node() -> None:
    node = NodeConfigs(static={"group.share.heartbeat.interval.ms": "6000"})
    config = one(config_keys.effective_group_configs({}, node, ["share.heartbeat.interval.ms"]))

    assert (config.value, config.source) == ("6000", ConfigSource.STATIC_BROKER)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (NodeConfigs(broker_dynamic={"min.insync.replicas": "3"}, static={"min.insync.replicas": "2"}), "3"),
        (NodeConfigs(cluster_dynamic={"min.insync.replicas": "4"}, static={"min.insync.replicas": "2"}), "4"),
        (NodeConfigs(static={"min.insync.replicas": "2"}), "2"),
        (NodeConfigs(), "1"),
    ],
)
def test_a_broker_value_for_decisions(node: NodeConfigs, value: str) -> None:
    assert config_keys.effective_broker_value("min.insync.replicas", node) == value


def test_topic_defaults_hold_only_what_differs_from_kafkas() -> None:
    node = NodeConfigs(static={"log.roll.hours": "168", "log.segment.bytes": "2097152"})

    assert config_keys.topic_defaults(node) == {"segment.bytes": "2097152"}
