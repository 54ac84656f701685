"""What a resource may have: names, values, what keys demand of each other; APPEND and SUBTRACT."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata import config_keys
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ResourceType


def refusal_of(validate: Callable[[], object]) -> tuple[ErrorCode, str]:
    with pytest.raises(RequestRejected) as refusal:
        validate()
    return refusal.value.code, refusal.value.message


# --- topics


def test_an_unknown_topic_key_is_refused_with_the_nearest_one() -> None:
    assert refusal_of(lambda: config_keys.validate_topic_configs({"retention.msec": "1"})) == (
        ErrorCode.invalid_config,
        "Unknown topic config name: retention.msec. Did you mean retention.ms?",
    )


def test_all_nulls_are_named() -> None:
    configs = {"retention.ms": None, "segment.ms": "5", "flush.ms": None}

    assert refusal_of(lambda: config_keys.validate_topic_configs(configs)) == (
        ErrorCode.invalid_config,
        "Null value not supported for topic configs: retention.ms,flush.ms",
    )


def test_a_value_has_at_most_32767_characters() -> None:
    longest = ",".join(["0:1"] * 8192)
    config_keys.validate_topic_configs({"leader.replication.throttled.replicas": longest})

    code, message = refusal_of(
        lambda: config_keys.validate_topic_configs({"leader.replication.throttled.replicas": longest + " "})
    )

    assert len(longest) == config_keys.MAX_VALUE_LENGTH
    assert code is ErrorCode.invalid_config
    assert "its 32768 characters exceed" in message


@pytest.mark.parametrize(
    ("configs", "defaults", "ok"),
    [
        ({"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "5"}, {}, True),
        ({"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"}, {}, False),
        ({"min.compaction.lag.ms": "6"}, {}, True),
        ({"min.compaction.lag.ms": "6"}, {"max.compaction.lag.ms": "5"}, False),
        ({"max.compaction.lag.ms": "5"}, {"min.compaction.lag.ms": "6"}, False),
        ({"retention.ms": "5"}, {"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"}, True),
    ],
)
def test_compaction_lags_must_not_cross(configs: dict[str, str], defaults: dict[str, str], ok: bool) -> None:
    if ok:
        config_keys.validate_topic_configs(configs, defaults=defaults)
    else:
        code, message = refusal_of(lambda: config_keys.validate_topic_configs(configs, defaults=defaults))
        assert code is ErrorCode.invalid_config
        assert "min.compaction.lag.ms (6) > max.compaction.lag.ms (5)" in message


REMOTE = {"remote.storage.enable": "true"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, None),
        ({"cleanup.policy": ""}, None),
        ({"cleanup.policy": "compact"}, "only supports topics with cleanup.policy=delete"),
        ({"cleanup.policy": "delete,compact"}, "only supports topics with cleanup.policy=delete"),
        ({"retention.ms": "10", "local.retention.ms": "10"}, None),
        ({"retention.ms": "10", "local.retention.ms": "11"}, "must not be more than retention.ms property value: 10"),
        ({"retention.ms": "10", "local.retention.ms": "-1"}, "must not be -1 as retention.ms value is set as 10."),
        ({"retention.ms": "10", "local.retention.ms": "-2"}, None),
        ({"retention.ms": "-1", "local.retention.ms": "-1"}, None),
        ({"retention.ms": "-1", "local.retention.ms": "5"}, None),
        ({"retention.bytes": "10", "local.retention.bytes": "11"}, "must not be more than retention.bytes property"),
        ({"local.retention.bytes": "11"}, None),
        ({"local.retention.ms": "604800001"}, "Value must not be more than retention.ms property value: 604800000"),
        ({"remote.log.copy.disable": "true"}, None),
        ({"remote.log.copy.disable": "true", "retention.ms": "9", "local.retention.ms": "9"}, None),
        ({"remote.log.copy.disable": "true", "retention.ms": "9", "local.retention.ms": "8"}, "the identical value"),
        ({"remote.log.copy.disable": "true", "local.retention.bytes": "8"}, "must be set to the identical value"),
    ],
)  # fmt: skip
def test_what_remote_storage_demands(more: dict[str, str], why: str | None) -> None:
    def validate() -> None:
        config_keys.validate_topic_configs(REMOTE | more, remote_storage_system=True)

    if why is None:
        validate()
    else:
        code, message = refusal_of(validate)
        assert code is ErrorCode.invalid_config
        assert why in message


def test_remote_storage_rules_do_not_touch_other_topics() -> None:
    config_keys.validate_topic_configs(
        {"retention.ms": "10", "local.retention.ms": "11", "cleanup.policy": "compact"}
    )


def test_remote_storage_needs_a_node_that_has_it() -> None:
    code, message = refusal_of(lambda: config_keys.validate_topic_configs(REMOTE))

    assert code is ErrorCode.invalid_config
    assert "Tiered Storage functionality is disabled" in message


def test_a_retention_given_by_the_node_counts_for_remote_storage() -> None:
    code, _ = refusal_of(
        lambda: config_keys.validate_topic_configs(
            REMOTE | {"local.retention.ms": "11"}, defaults={"retention.ms": "10"}, remote_storage_system=True
        )
    )

    assert code is ErrorCode.invalid_config


@pytest.mark.parametrize("configs", [{}, {"remote.storage.enable": "false"}, {"retention.ms": "5"}])
def test_remote_storage_is_not_turned_off_by_accident(configs: dict[str, str]) -> None:
    existing = {"remote.storage.enable": "TRUE"}

    code, message = refusal_of(lambda: config_keys.validate_topic_configs(configs, existing=existing))

    assert code is ErrorCode.invalid_config
    assert "invalid to disable remote storage without deleting" in message
    config_keys.validate_topic_configs(configs | {"remote.log.delete.on.disable": "true"}, existing=existing)
    config_keys.validate_topic_configs(configs, existing={"remote.storage.enable": "false"})


# --- brokers


def test_read_only_keys_are_all_named() -> None:
    changes = {"node.id": "1", "log.retention.ms": "1", "controller.quorum.voters": "x"}

    assert refusal_of(lambda: config_keys.validate_broker_configs(changes, per_broker=True)) == (
        ErrorCode.invalid_request,
        "Cannot update these configs dynamically: controller.quorum.voters, node.id",
    )


@pytest.mark.parametrize(
    ("name", "value", "for_all"),
    [
        ("log.retention.ms", "1", True),
        ("max.connections", "10", True),
        ("listener.name.external.max.connections", "10", True),
        ("listener.name.external.num.network.threads", "2", True),
        ("listeners", "PLAINTEXT://:1", False),
        ("ssl.client.auth", "required", False),
        ("listener.name.external.ssl.keystore.location", "/keys", False),
        ("listener.name.external.plain.sasl.jaas.config", "x", False),
        ("a.plugins.own.key", "x", True),
    ],
)
def test_what_may_be_set_for_the_whole_cluster(name: str, value: str, for_all: bool) -> None:
    config_keys.validate_broker_configs({name: value}, per_broker=True)
    if for_all:
        config_keys.validate_broker_configs({name: value}, per_broker=False)
    else:
        code, message = refusal_of(
            lambda: config_keys.validate_broker_configs({name: value}, per_broker=False)
        )
        assert code is ErrorCode.invalid_request
        assert message.endswith(f"broker id must be specified: {name}")


def test_a_listeners_value_is_judged_like_the_key_it_stands_for() -> None:
    code, message = refusal_of(
        lambda: config_keys.validate_broker_configs(
            {"listener.name.x.max.connections": "many"}, per_broker=True
        )
    )

    assert code is ErrorCode.invalid_request
    assert "Not a number of type INT" in message


def test_what_a_broker_looks_up_itself_is_not_judged() -> None:
    config_keys.validate_broker_configs({"log.retention.ms": "${file:/etc/keys:retention}"}, per_broker=True)


def test_a_long_broker_value_is_refused() -> None:
    code, _ = refusal_of(lambda: config_keys.validate_broker_configs({"any": "x" * 32768}, per_broker=True))

    assert code is ErrorCode.invalid_config


@pytest.mark.parametrize(("name", "node"), [("", None), ("0", 0), ("2147483647", 2147483647), ("+7", 7)])
def test_a_broker_resource_names_a_node_or_all(name: str, node: int | None) -> None:
    assert config_keys.broker_id_of(name) == node


@pytest.mark.parametrize("name", ["-1", "one", "1.0", "2147483648", " 1", "1_0", "9" * 5000])
def test_a_broker_resource_that_names_no_node(name: str) -> None:
    code, _ = refusal_of(lambda: config_keys.broker_id_of(name))

    assert code is ErrorCode.invalid_request


# --- groups


@pytest.mark.parametrize(
    ("configs", "static", "why"),
    [
        ({"consumer.session.timeout.ms": "45000"}, {}, None),
        ({"consumer.session.timeout.ms": "44999"}, {}, "than or equal to group.consumer.min.session.timeout.ms"),
        ({"consumer.session.timeout.ms": "60001"}, {}, "less than or equal to group.consumer.max.session.timeout.ms"),
        ({"consumer.session.timeout.ms": "100"}, {"group.consumer.min.session.timeout.ms": "1"}, "be greater than"),
        ({"consumer.session.timeout.ms": "100", "consumer.heartbeat.interval.ms": "99"},
         {"group.consumer.min.session.timeout.ms": "1", "group.consumer.min.heartbeat.interval.ms": "1"}, None),
        ({"share.delivery.count.limit": "11"}, {}, "group.share.max.delivery.count.limit (10), but it is 11"),
        ({"share.partition.max.record.locks": "4001"}, {}, "group.share.max.partition.max.record.locks"),
        ({"streams.num.standby.replicas": "3"}, {}, "group.streams.max.standby.replicas"),
        ({"streams.assignment.interval.ms": "15001"}, {}, "group.streams.max.assignment.interval.ms"),
        ({"streams.initial.rebalance.delay.ms": "999999"}, {}, None),
        ({"share.isolation.level": "serializable"}, {}, "String must be one of: read_committed, read_uncommitted"),
        ({"consumer.session": "1"}, {}, "Unknown group config name: consumer.session"),
    ],
)  # fmt: skip
def test_groups(configs: dict[str, str], static: dict[str, str], why: str | None) -> None:
    def validate() -> None:
        config_keys.validate_group_configs(configs, static=static)

    if why is None:
        validate()
    else:
        code, message = refusal_of(validate)
        assert code is ErrorCode.invalid_config
        assert why in message


# --- client metrics


@pytest.mark.parametrize(
    "configs",
    [
        {},
        {"metrics": "*", "interval.ms": "100"},
        {"interval.ms": "3600000"},
        {"match": "client_id=a.*,client_software_name=\\p{Alpha}+"},
        {"match": " client_source_port = 9\\d+ "},
    ],
)
def test_client_metrics_that_are_accepted(configs: dict[str, str]) -> None:
    config_keys.validate_client_metrics_configs(configs)


@pytest.mark.parametrize(
    ("configs", "code"),
    [
        ({"interval.ms": "3600001"}, ErrorCode.invalid_request),
        ({"interval": "100"}, ErrorCode.invalid_request),
        ({"interval.ms": "soon"}, ErrorCode.invalid_config),
        ({"interval.ms": None}, ErrorCode.invalid_config),
        ({"match": "client_id"}, ErrorCode.invalid_config),
        ({"match": "client_id="}, ErrorCode.invalid_config),
        ({"match": "client_id=a=b"}, ErrorCode.invalid_config),
        ({"match": "client_id=(a"}, ErrorCode.invalid_config),
        ({"match": "client_name=a"}, ErrorCode.invalid_config),
    ],
)
def test_client_metrics_that_are_refused(configs: dict[str, str | None], code: ErrorCode) -> None:
    assert refusal_of(lambda: config_keys.validate_client_metrics_configs(configs))[0] is code


# --- lists

TOPIC = ResourceType.TOPIC


@pytest.mark.parametrize(
    ("current", "additions", "result"),
    [
        (None, "compact", "delete,compact"),
        (None, "delete", "delete"),
        ("compact", "delete, compact", "compact,delete"),
        ("", "compact", "compact"),
        ("compact , delete", "", "compact,delete"),
    ],
)
def test_append_adds_what_is_missing_at_the_end(current: str | None, additions: str, result: str) -> None:
    assert config_keys.append_to_list(TOPIC, "cleanup.policy", current, additions) == result


@pytest.mark.parametrize(
    ("current", "removals", "result"),
    [
        (None, "delete", ""),
        (None, "compact", "delete"),
        ("compact, delete", "compact,nothing", "delete"),
        ("compact,compact,delete", "compact", "delete"),
    ],
)
def test_subtract_takes_away_what_is_there(current: str | None, removals: str, result: str) -> None:
    assert config_keys.subtract_from_list(TOPIC, "cleanup.policy", current, removals) == result


@pytest.mark.parametrize(
    ("resource", "name"),
    [(TOPIC, "retention.ms"), (TOPIC, "unknown"), (ResourceType.BROKER_LOGGER, "listeners"), (3, "x")],
)
def test_only_lists_are_changed_by_members(resource: int, name: str) -> None:
    for change, operation in (
        (config_keys.append_to_list, "APPEND"),
        (config_keys.subtract_from_list, "SUBTRACT"),
    ):
        code, message = refusal_of(lambda change=change: change(resource, name, None, "x"))
        assert code is ErrorCode.invalid_config
        assert message.startswith(f"Can't {operation} to key {name} because its type is not LIST.")


words = st.lists(st.sampled_from(["0:1", "0:2", "1:1", "2:7", "*"]), unique=True).map(",".join)
REPLICAS = "leader.replication.throttled.replicas"


@given(words, words)
def test_append_holds_both_and_subtract_undoes_it(current: str, more: str) -> None:
    both = config_keys.append_to_list(TOPIC, REPLICAS, current, more)

    assert both.startswith(current)
    assert set(filter(None, both.split(","))) == set(filter(None, f"{current},{more}".split(",")))
    assert config_keys.append_to_list(TOPIC, REPLICAS, both, more) == both
    assert config_keys.subtract_from_list(TOPIC, REPLICAS, both, both) == ""
    assert not set(config_keys.subtract_from_list(TOPIC, REPLICAS, both, more).split(",")) & set(
        more.split(",")
    ) - {""}


# --- what came with 4.4


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        (
            {"local.retention.ms": "5000", "remote.copy.lag.ms": "5001"},
            "local.retention.ms (effective value: 5000)",
        ),
        (
            {"retention.ms": "5000", "remote.copy.lag.ms": "5001"},
            "local.retention.ms (effective value: 5000)",
        ),
        (
            {"retention.bytes": "70", "remote.copy.lag.bytes": "71"},
            "local.retention.bytes (effective value: 70)",
        ),
        ({"retention.ms": "5000", "remote.copy.lag.ms": "5000"}, None),
        ({"retention.ms": "-1", "remote.copy.lag.ms": "99999"}, None),
        ({"retention.ms": "5000", "remote.copy.lag.ms": "-1"}, None),
    ],
)
def test_a_segment_is_copied_while_it_is_still_here(configs: dict[str, str], why: str | None) -> None:
    told = {"remote.storage.enable": "true", **configs}
    if why is None:
        config_keys.validate_topic_configs(told, remote_storage_system=True)
    else:
        with pytest.raises(RequestRejected, match=re.escape(why)) as refusal:
            config_keys.validate_topic_configs(told, remote_storage_system=True)
        assert refusal.value.code is ErrorCode.invalid_config
    config_keys.validate_topic_configs(configs)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("streams.assignor.name", "sticky", None),
        (
            "streams.assignor.name",
            "mine",
            "not a registered task assignor. Registered assignors are: [sticky]",
        ),
        ("errors.deadletterqueue.topic.name", "dlq.orders", None),
        ("errors.deadletterqueue.topic.name", "__dlq", "must not start with '__'"),
    ],
)
def test_groups_of_4_4(key: str, value: str, why: str | None) -> None:
    if why is None:
        config_keys.validate_group_configs({key: value})
    else:
        with pytest.raises(RequestRejected, match=re.escape(why)):
            config_keys.validate_group_configs({key: value})


def test_a_node_may_have_other_assignors() -> None:
    config_keys.validate_group_configs(
        {"streams.assignor.name": "mine"}, static={"group.streams.assignors": "mine,sticky"}
    )
