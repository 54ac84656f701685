"""What controllers and brokers make of a good configuration; the bad ones are in test_config_errors."""

import pathlib

import pytest

from quorate.broker.config import BrokerConfig
from quorate.controller.config import ControllerConfig
from quorate.metadata.addresses import Address, SecurityProtocol
from quorate.metadata.config_keys import NodeConfigs, effective_broker_configs
from quorate.metadata.ids import Endpoint
from quorate.metadata.node_config import NodeConfig, process_roles
from quorate.metadata.settings import InvalidSettings, RawSettings

CONTROLLER = {
    "process.roles": "controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listeners": "CONTROLLER://one:9093",
    "controller.quorum.bootstrap.servers": "one:9093,two:9093",
    "metadata.log.dir": "data",
}
BROKER = CONTROLLER | {"process.roles": "broker", "node.id": "4", "listeners": "PLAINTEXT://four:9092"}


def test_kafkas_defaults_of_a_controller() -> None:
    config = ControllerConfig.of(CONTROLLER)

    assert config.node_id == 1
    assert config.metadata_log_dir == pathlib.Path("data")
    assert (config.election_timeout_ms, config.fetch_timeout_ms, config.election_backoff_max_ms) == (
        1000,
        2000,
        1000,
    )
    assert (config.request_timeout_ms, config.retry_backoff_ms) == (2000, 20)
    assert (config.log_segment_bytes, config.log_segment_ms) == (1 << 30, 604_800_000)
    assert (config.snapshot_after_bytes, config.snapshot_interval_ms) == (20 << 20, 3_600_000)
    assert (config.retention_bytes, config.retention_ms) == (100 << 20, 604_800_000)
    assert (config.broker_session_timeout_ms, config.max_idle_interval_ms) == (9000, 500)
    assert (config.auto_leader_rebalance_enable, config.leader_imbalance_check_interval_ms) == (True, 300_000)
    assert config.unclean_leader_election_interval_ms == 300_000
    assert (config.num_partitions, config.default_replication_factor) == (1, 1)
    assert (config.delete_topic_enable, config.remote_log_storage_system_enable) == (True, False)
    assert (config.quota_window_num, config.quota_window_size_ms) == (11, 1000)
    assert config.delegation_token_secret_key is None
    assert config.delegation_token_expiry_check_interval_ms == 3_600_000


def test_kafkas_defaults_of_a_broker() -> None:
    config = BrokerConfig.of(BROKER)

    assert (config.heartbeat_interval_ms, config.session_timeout_ms) == (2000, 9000)
    assert config.initial_registration_timeout_ms == 60_000
    assert (config.controlled_shutdown_enable, config.auto_create_topics_enable) == (True, True)
    assert config.rack is None
    assert (config.log_format, config.log_level, config.metrics_listener) == ("console", "info", None)


def test_what_is_said_counts() -> None:
    config = BrokerConfig.of(
        BROKER
        | {
            "broker.rack": "r1",
            "broker.heartbeat.interval.ms": " 100 ",
            "controlled.shutdown.enable": "FALSE",
            "quorate.metrics.listener": "[::1]:0",
            "quorate.log.format": "json",
            "metadata.max.retention.bytes": "-1",
        }
    )

    assert (config.rack, config.heartbeat_interval_ms, config.controlled_shutdown_enable) == (
        "r1",
        100,
        False,
    )
    assert config.metrics_listener == Address("::1", 0)
    assert config.log_format == "json"
    assert config.retention_bytes == -1


def test_the_quorum_is_dialled_on_the_first_controller_listener() -> None:
    config = BrokerConfig.of(BROKER | {"controller.listener.names": "first,second"})

    assert config.bootstrap_endpoints == (Endpoint("FIRST", "one", 9093), Endpoint("FIRST", "two", 9093))


@pytest.mark.parametrize(
    ("directories", "directory"),
    [
        ({"metadata.log.dir": "m", "log.dirs": "a,b", "log.dir": "c"}, "m"),
        ({"log.dirs": " a , b", "log.dir": "c"}, "a"),
        ({"log.dir": "c"}, "c"),
    ],
)
def test_where_the_metadata_log_is(directories: dict[str, str], directory: str) -> None:
    values = {key: value for key, value in BROKER.items() if key != "metadata.log.dir"}

    assert BrokerConfig.of(values | directories).metadata_log_dir == pathlib.Path(directory)


def test_broker_id_stands_for_node_id() -> None:
    values = {key: value for key, value in BROKER.items() if key != "node.id"}
    config = BrokerConfig.of(values | {"broker.id": "7"})

    assert config.node_id == 7
    assert (config.static["node.id"], config.static["broker.id"]) == ("7", "7")


# --- listeners


def test_listeners_are_advertised_as_they_are() -> None:
    config = BrokerConfig.of(
        BROKER
        | {
            "listeners": "PLAINTEXT://four:9092,LOCAL://127.0.0.1:0",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOCAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
    )

    assert config.advertised_listeners == config.listeners
    assert config.listeners[1] == Endpoint("LOCAL", "127.0.0.1", 0)


def test_only_what_is_advertised_is_advertised() -> None:
    config = BrokerConfig.of(
        BROKER
        | {
            "listeners": "PLAINTEXT://0.0.0.0:9092,LOCAL://127.0.0.1:9094",
            "advertised.listeners": "plaintext://public.example.org:19092",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOCAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
    )

    assert config.advertised_listeners == (Endpoint("PLAINTEXT", "public.example.org", 19092),)


def test_an_empty_host_is_advertised_as_this_machine() -> None:
    raw = RawSettings.of(BROKER | {"listeners": "PLAINTEXT://:9092"})
    config, _ = BrokerConfig.from_raw(raw, "machine.example.org")

    assert config.listeners == (Endpoint("PLAINTEXT", "", 9092),)
    assert config.advertised_listeners == (Endpoint("PLAINTEXT", "machine.example.org", 9092),)


def test_every_interface_needs_an_advertised_address_even_with_a_host_name() -> None:
    raw = RawSettings.of(BROKER | {"listeners": "PLAINTEXT://0.0.0.0:9092"})

    with pytest.raises(InvalidSettings, match="has no host that others could connect to"):
        BrokerConfig.from_raw(raw, "machine.example.org")


def test_a_controller_listener_needs_no_protocol_where_all_is_in_the_clear() -> None:
    config = ControllerConfig.of(
        CONTROLLER | {"controller.listener.names": "ANY", "listeners": "any://one:9093"}
    )

    assert config.security_protocols["ANY"] is SecurityProtocol.PLAINTEXT


def test_with_a_map_every_listener_needs_its_protocol() -> None:
    with pytest.raises(InvalidSettings, match="add CONTROLLER:PLAINTEXT"):
        ControllerConfig.of(CONTROLLER | {"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT"})


# --- what is kept for DescribeConfigs and decisions


def test_static_keeps_what_has_an_effect_as_it_was_written() -> None:
    given = {
        "log.retention.hours": " 24",
        "min.insync.replicas": "2",
        "quorate.log.format": "json",
        "num.io.threads": "9",
    }
    config = ControllerConfig.of(CONTROLLER | given)

    assert config.static == CONTROLLER | {
        "broker.id": "1",
        "log.retention.hours": " 24",
        "min.insync.replicas": "2",
        "quorate.log.format": "json",
    }


@pytest.mark.parametrize("kind", [ControllerConfig, BrokerConfig])
def test_our_own_keys_are_described_like_kafkas(kind: type[NodeConfig]) -> None:
    values = CONTROLLER if kind is ControllerConfig else BROKER
    config = kind.of(values | {"quorate.log.format": "json"})
    described = effective_broker_configs(NodeConfigs(static=config.static), None, kind.own_keys())
    ours = {line.name: line for line in described if line.name.startswith("quorate.")}

    assert ours["quorate.log.format"].value == "json"
    assert ours["quorate.max.connections"].value == "2000"
    assert all(line.documentation and line.read_only and not line.sensitive for line in ours.values())


@pytest.mark.parametrize(
    ("text", "roles"),
    [("broker", ("broker",)), (" controller ,broker", ("broker", "controller")), ("", ())],
)
def test_roles_of_a_file(text: str, roles: tuple[str, ...]) -> None:
    assert process_roles(RawSettings.of({"process.roles": text})) == roles
    assert process_roles(RawSettings.of({})) == ()


@pytest.mark.parametrize(
    "name",
    ["max.connections", "zookeeper.max.in.flight.requests", "listener.name.absent.queued.max.requests"],
)
def test_a_key_without_effect_is_ignored_and_warned_of(name: str) -> None:
    config, warnings = ControllerConfig.from_raw(RawSettings.of(CONTROLLER | {name: "anything"}))

    assert [warning.key for warning in warnings] == [name]
    assert name not in config.static


def test_a_refused_key_may_stand_empty() -> None:
    _, warnings = ControllerConfig.from_raw(RawSettings.of(CONTROLLER | {"authorizer.class.name": ""}))

    assert warnings == ()
