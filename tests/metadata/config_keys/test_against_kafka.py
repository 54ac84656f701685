"""Our answers about configs beside those that a real Kafka 4.3.1 gave to the same questions."""

import json
import pathlib
from typing import Any

import pytest

from quorate.metadata import config_keys
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ConfigType, EffectiveConfig, NodeConfigs, ResourceType

RECORDED = pathlib.Path(__file__).parents[2] / "artefacts" / "kafka" / "configs-4.3.1" / "answers.json"
ANSWERS: dict[str, Any] = json.loads(RECORDED.read_text())
STATIC: dict[str, str] = {"broker.id": "1", **ANSWERS["static"]}
OVERRIDDEN = {
    "cleanup.policy": "compact , delete",
    "min.cleanable.dirty.ratio": "0.0000500",
    "retention.ms": "123456",
    "unclean.leader.election.enable": "TRUE",
}


def changes_of(alter: dict[str, Any]) -> dict[str, str]:
    """What the topic, broker, … would have; APPEND is judged before anything is set."""
    resource = ResourceType[alter["type"]]
    changes = {}
    for operation, name, value in alter["changes"]:
        if operation == "APPEND":
            value = config_keys.append_to_list(resource, name, None, value)
        changes[name] = value
    return changes


def judge(alter: dict[str, Any]) -> None:
    changes = changes_of(alter)
    match alter["type"]:
        case "TOPIC":
            config_keys.validate_topic_configs(changes)
        case "BROKER":
            per_broker = config_keys.broker_id_of(alter["name"]) is not None
            config_keys.validate_broker_configs(changes, per_broker=per_broker)
        case "GROUP":
            config_keys.validate_group_configs(changes, static=STATIC)
        case _:
            config_keys.validate_client_metrics_configs(changes)


ALTERS = [alter for alter in ANSWERS["alter"] if alter["type"] == "BROKER" or alter["name"]]
"""The names of other resources are judged by the handler."""

BEYOND_KAFKA = ("log.cleaner.min.compaction.lag.ms",)
"""Kafka takes a pair of defaults that contradict each other, and then no topic can be changed."""


def asked(alter: dict[str, Any]) -> str:
    return f"{alter['type']}-{alter['name']}-{alter['changes']}"


@pytest.mark.parametrize("alter", [a for a in ALTERS if a["code"] == "none"], ids=asked)
def test_what_kafka_accepts_is_accepted(alter: dict[str, Any]) -> None:
    if alter["changes"][0][1] in BEYOND_KAFKA:
        with pytest.raises(RequestRejected, match="the first must not exceed the second"):
            judge(alter)
    else:
        judge(alter)


@pytest.mark.parametrize("alter", [a for a in ALTERS if a["code"] != "none"], ids=asked)
def test_what_kafka_refuses_is_refused_with_its_code(alter: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected) as refusal:
        judge(alter)

    assert refusal.value.code is ErrorCode[alter["code"]]


SAME_WORDS = (
    "Value must be",
    "Not a number",
    "Unknown",
    "Expected value",
    "conflict topic config",
    "Tiered",
    "Can't",
    "interval must be",
)


@pytest.mark.parametrize(
    "alter",
    [a for a in ALTERS if a["message"] and any(words in a["message"] for words in SAME_WORDS)],
    ids=asked,
)
def test_the_words_are_kafkas_so_that_operators_find_them(alter: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected) as refusal:
        judge(alter)

    assert alter["message"] in refusal.value.message


def dynamic(per_broker: bool) -> dict[str, str]:
    found = {}
    for alter in ANSWERS["alter"]:
        if alter["type"] == "BROKER" and bool(alter["name"]) is per_broker and alter["code"] == "none":
            found.update({name: value for _, name, value in alter["changes"]})
    return found


NODE = NodeConfigs(broker_dynamic=dynamic(True), cluster_dynamic=dynamic(False), static=STATIC)


def described(resource: str) -> list[EffectiveConfig]:
    match resource:
        case "TOPIC:plain":
            overrides = {"cleanup.policy": "delete,delete", "flush.ms": "+5", "min.insync.replicas": " 1 "}
            return config_keys.effective_topic_configs(overrides, NODE)
        case "TOPIC:overridden":
            return config_keys.effective_topic_configs(OVERRIDDEN, NODE)
        case "BROKER:1":
            return config_keys.effective_broker_configs(NODE)
        case "BROKER:":
            return config_keys.cluster_default_configs(NODE.cluster_dynamic)
        case "GROUP:g":
            overrides = {
                "consumer.session.timeout.ms": "46000",
                "share.auto.offset.reset": "by_duration:PT1H",
            }
            return config_keys.effective_group_configs(overrides, NODE)
        case _:
            return config_keys.effective_client_metrics_configs({"interval.ms": "1000"})


MORE_TRUTHFUL = {
    "leader.replication.throttled.rate": "Kafka does not say what its default is",
    "segment.jitter.ms": "Kafka drops synonyms before the first one with a default: log.roll.jitter.hours",
    "log.retention.hours": "Kafka shows 168 while the file says 24, once log.retention.ms is dynamic",
    "listener.name.external.ssl.keystore.password": "Kafka took the change a moment ago and calls it read-only",
}


CAME_WITH_4_4 = {
    "errors.deadletterqueue.auto.create.topics.enable",
    "errors.deadletterqueue.copy.record.enable",
    "errors.deadletterqueue.group.enable",
    "errors.deadletterqueue.topic.name",
    "errors.deadletterqueue.topic.name.prefix",
    "group.streams.assignors",
    "group.streams.rack.aware.assignment.tags",
    "group.streams.topology.description.plugin.class",
    "log.remote.copy.lag.bytes",
    "log.remote.copy.lag.ms",
    "max.decompressed.message.bytes",
    "remote.copy.lag.bytes",
    "remote.copy.lag.ms",
    "sasl.oauthbearer.allow.unverified.audience",
    "sasl.oauthbearer.allow.unverified.issuer",
    "streams.assignor.name",
    "streams.rack.aware.assignment.tags",
}
"""What a 4.3.1 does not know; how a 4.4 shows them, tests/e2e/java compares."""


@pytest.mark.parametrize("resource", ANSWERS["describe"])
def test_describe_configs_is_kafkas(resource: str) -> None:
    kafkas = {row[0]: row for row in ANSWERS["describe"][resource]}
    ours = {
        config.name: [
            config.name,
            config.value,
            config.source,
            config.sensitive,
            config.read_only,
            ConfigType(config.type).name,
            [[synonym.name, synonym.value, synonym.source] for synonym in config.synonyms],
        ]
        for config in described(resource)
        if config.name not in CAME_WITH_4_4
    }

    assert ours.keys() == kafkas.keys()
    different = {name for name in ours if ours[name] != kafkas[name]}
    assert different == kafkas.keys() & MORE_TRUTHFUL.keys()


def test_where_we_differ_the_answer_is_the_truth() -> None:
    topic = {config.name: config for config in described("TOPIC:plain")}
    broker = {config.name: config for config in described("BROKER:1")}

    assert [s.name for s in topic["segment.jitter.ms"].synonyms] == ["log.roll.jitter.hours"]
    assert broker["log.retention.hours"].value == "24"
    assert broker["listener.name.external.ssl.keystore.password"].read_only is False
