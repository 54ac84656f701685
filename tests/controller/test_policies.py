"""Policies: what they are asked, when, and what becomes of what they forbid."""

import importlib.metadata
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from quorate.controller.configs import alter_configs, incremental_alter_configs
from quorate.controller.policies import ConfigsToAlter, Policies, PolicyViolation, TopicToCreate
from quorate.controller.policy_loading import load_policies
from quorate.controller.topics import create_topics
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import AlterOperation, ResourceType
from quorate.metadata.settings import InvalidSettings
from quorate.metadata.wire.configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from tests.controller.desk import Desk, create
from tests.controller.world import World, config

VIOLATION = ErrorCode.policy_violation
TOPIC, BROKER = int(ResourceType.TOPIC), int(ResourceType.BROKER)


@attrs.define
class Asked:
    """A policy that remembers what it was asked, and forbids what a predicate says."""

    forbids: Callable[[Any], bool] = lambda request: False
    requests: list[Any] = attrs.Factory(list)

    def validate(self, request: Any) -> None:
        self.requests.append(request)
        if self.forbids(request):
            raise PolicyViolation("not here")


def guarded(create_topic: Asked | None = None, alter_config: Asked | None = None) -> World:
    world = World(policies=Policies(create_topic, alter_config))
    world.add_broker(1)
    world.add_broker(2)
    return world


def topic(name: str, **fields: Any) -> CreatableTopic:
    return CreatableTopic(name=name, **{"num_partitions": 2, "replication_factor": 1, **fields})


def test_a_topic_that_is_forbidden_does_not_keep_the_others_from_being_created() -> None:
    policy = Asked(lambda request: request.name == "b")
    world = guarded(policy)

    response = world.run(create_topics, CreateTopicsRequest(topics=(topic("a"), topic("b"), topic("c"))))

    assert [(one.error_code, one.error_message) for one in response.topics] == [
        (ErrorCode.none, None),
        (VIOLATION, "not here"),
        (ErrorCode.none, None),
    ]
    assert world.image.topics.names() == ["a", "c"]


def test_what_a_policy_is_told_of_a_topic() -> None:
    policy = Asked()
    world = guarded(policy)
    retention = CreatableTopicConfig(name="retention.ms", value="5")
    chosen = topic(
        "chosen",
        num_partitions=-1,
        replication_factor=-1,
        assignments=(CreatableReplicaAssignment(partition_index=0, broker_ids=(2, 1)),),
    )
    default = topic("default", num_partitions=-1, replication_factor=-1, configs=(retention,))

    world.run(create_topics, CreateTopicsRequest(topics=(chosen, default), validate_only=True))

    assert policy.requests == [
        TopicToCreate(
            name="chosen",
            num_partitions=None,
            replication_factor=None,
            replicas_assignments={0: (2, 1)},
            configs={},
        ),
        TopicToCreate(
            name="default",
            num_partitions=world.config.num_partitions,
            replication_factor=world.config.default_replication_factor,
            replicas_assignments=None,
            configs={"retention.ms": "5"},
        ),
    ]


def test_it_is_not_asked_about_what_is_refused_anyway() -> None:
    policy = Asked()
    world = guarded(policy)
    world.add_topic("there", (1,))

    refused = (topic("there"), topic("?"), topic("many", replication_factor=3))
    world.run(create_topics, CreateTopicsRequest(topics=refused))

    assert policy.requests == []


def test_configs_of_a_new_topic_are_looked_at_as_changes_too() -> None:
    policy = Asked(lambda request: request.configs.get("retention.ms") == "1")
    world = guarded(None, policy)
    short = topic("short", configs=(CreatableTopicConfig(name="retention.ms", value="1"),))

    response = world.run(create_topics, CreateTopicsRequest(topics=(short, topic("plain"))))

    assert [one.error_code for one in response.topics] == [VIOLATION, ErrorCode.none]
    assert policy.requests == [
        ConfigsToAlter(resource_type=TOPIC, resource_name="short", configs={"retention.ms": "1"})
    ]


def setting(kind: int, name: str, **values: str | None) -> IncrementalAlterConfigsResource:
    return IncrementalAlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=tuple(
            IncrementalAlterableConfig(
                name=key.replace("_", "."),
                config_operation=AlterOperation.DELETE if value is None else AlterOperation.SET,
                value=value,
            )
            for key, value in values.items()
        ),
    )


def alter(world: World, *resources: IncrementalAlterConfigsResource) -> list[ErrorCode]:
    request = IncrementalAlterConfigsRequest(resources=resources)
    return [one.error_code for one in world.run(incremental_alter_configs, request).responses]


def test_a_change_that_is_forbidden_does_not_keep_the_others_from_being_made() -> None:
    policy = Asked(lambda request: request.resource_name == "b")
    world = guarded(None, policy)
    for name in ("a", "b"):
        world.add_topic(name, (1,))

    assert alter(world, setting(TOPIC, "b", retention_ms="1"), setting(TOPIC, "a", retention_ms="2")) == [
        VIOLATION,
        ErrorCode.none,
    ]
    assert dict(world.image.configs.of(TOPIC, "b")) == {}
    assert dict(world.image.configs.of(TOPIC, "a")) == {"retention.ms": "2"}


def test_what_a_policy_is_told_of_a_change() -> None:
    policy = Asked()
    world = guarded(None, policy)
    world.add_topic("t", (1,))
    alter(world, setting(TOPIC, "t", retention_ms="1", retention_bytes="1"))
    alter(world, setting(BROKER, "", log_retention_ms="1"))
    policy.requests.clear()

    alter(world, setting(TOPIC, "t", retention_ms="1", retention_bytes=None, segment_ms="7"))
    alter(world, setting(BROKER, "", log_retention_ms="1"))

    assert policy.requests == [
        ConfigsToAlter(
            resource_type=TOPIC,
            resource_name="t",
            configs={"retention.bytes": None, "segment.ms": "7"},
        ),
        ConfigsToAlter(resource_type=BROKER, resource_name="", configs={"log.retention.ms": "1"}),
    ]


def test_what_the_older_call_deletes_by_not_naming_it_is_not_shown() -> None:
    policy = Asked()
    world = guarded(None, policy)
    world.add_topic("t", (1,))
    alter(world, setting(TOPIC, "t", retention_ms="1"))
    policy.requests.clear()
    named = AlterableConfig(name="segment.ms", value="7")
    resource = AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=(named,))

    world.run(alter_configs, AlterConfigsRequest(resources=(resource,)))

    assert [request.configs for request in policy.requests] == [{"segment.ms": "7"}]
    assert dict(world.image.configs.of(TOPIC, "t")) == {"segment.ms": "7"}


def test_a_policy_with_a_bug_costs_its_caller_the_answer_and_nobody_else_anything() -> None:
    class Broken:
        def validate(self, request: Any) -> None:
            raise KeyError(request.name)

    desk = Desk(config=config(broker_session_timeout_ms=10**9), policies=Policies(Broken())).lead()
    desk.broker(1)

    response = desk.ask(create("t"))

    assert [one.error_code for one in response.topics] == [ErrorCode.unknown_server_error]
    assert desk.ask(desk.beat(1)).error_code is ErrorCode.none


# --- finding them


class Configured:
    """As an operator would write it."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def configure(self, configs: dict[str, str]) -> None:
        self.told = configs

    def validate(self, request: Any) -> None: ...


class NoPolicy:
    """It has no validate."""


class NeedsArguments:
    def __init__(self, what: str) -> None: ...

    def validate(self, request: Any) -> None: ...


HERE = __name__


def test_a_class_is_found_by_its_path_and_told_the_configuration() -> None:
    found = load_policies(
        config(alter_config_policy=f"{HERE}.Configured", static={"default.replication.factor": "3"})
    )

    assert found.create_topic is None
    assert isinstance(found.alter_config, Configured)
    assert found.alter_config.told == {"default.replication.factor": "3"}


def test_an_entry_point_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    point = importlib.metadata.EntryPoint("ours", f"{HERE}:Configured", "quorate.create_topic_policy")

    def entry_points(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        asked.append(wanted)
        return [point]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)

    assert isinstance(load_policies(config(create_topic_policy="ours")).create_topic, Configured)
    assert asked == [{"group": "quorate.create_topic_policy", "name": "ours"}]


@pytest.mark.parametrize(
    "name",
    ["ours", "no.such.module.Policy", f"{HERE}.Missing", f"{HERE}.NoPolicy", f"{HERE}.NeedsArguments"],
)
def test_what_is_no_policy_keeps_the_controller_from_starting(name: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_policies(config(create_topic_policy=name, alter_config_policy=name))

    assert [problem.key for problem in refused.value.problems] == [
        "create.topic.policy.class.name",
        "alter.config.policy.class.name",
    ]
