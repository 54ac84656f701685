"""IncrementalAlterConfigs and AlterConfigs: what may be set where, what is written, what is refused."""

from typing import Any

import pytest

from quorate.controller.configs import alter_configs, incremental_alter_configs
from quorate.controller.registration import register_controller
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import AlterOperation, ResourceType
from quorate.metadata.records import ConfigRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Resource
from quorate.metadata.wire.brokers import ControllerRegistrationRequest
from quorate.metadata.wire.configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from tests.controller.world import World, config, incarnation, permit_only, refused

SET, DELETE, APPEND, SUBTRACT = AlterOperation
TOPIC = ResourceType.TOPIC
BROKER = ResourceType.BROKER
GROUP = ResourceType.GROUP
CLIENT_METRICS = ResourceType.CLIENT_METRICS


@pytest.fixture
def world() -> World:
    made = World()
    made.add_broker(1)
    made.add_topic("t", (1,))
    made.add_topic("u", (1,))
    return made


def resource(type_: int, name: str, *changes: tuple[int, str, str | None]) -> Any:
    return IncrementalAlterConfigsResource(
        resource_type=type_,
        resource_name=name,
        configs=tuple(
            IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
            for operation, key, value in changes
        ),
    )


def alter(world: World, *resources: Any, validate_only: bool = False) -> list[ErrorCode]:
    request = IncrementalAlterConfigsRequest(resources=resources, validate_only=validate_only)
    results = world.run(incremental_alter_configs, request).responses
    assert [(r.resource_type, r.resource_name) for r in results] == [
        (r.resource_type, r.resource_name) for r in resources
    ]
    assert all((r.error_message is None) == (r.error_code is ErrorCode.none) for r in results)
    return [r.error_code for r in results]


def replace(world: World, type_: int, name: str, configs: dict[str, str | None]) -> ErrorCode:
    entries = tuple(AlterableConfig(name=key, value=value) for key, value in configs.items())
    request = AlterConfigsRequest(
        resources=(AlterConfigsResource(resource_type=type_, resource_name=name, configs=entries),)
    )
    code: ErrorCode = world.run(alter_configs, request).responses[0].error_code
    return code


def configs_of(world: World, type_: int, name: str) -> dict[str, str]:
    return dict(world.image.configs.of(type_, name))


# --- what is written


def test_set_and_delete(world: World) -> None:
    assert alter(world, resource(TOPIC, "t", (SET, "retention.ms", "5"), (SET, "flush.ms", "6"))) == [
        ErrorCode.none
    ]
    assert configs_of(world, TOPIC, "t") == {"retention.ms": "5", "flush.ms": "6"}

    assert alter(world, resource(TOPIC, "t", (DELETE, "retention.ms", None))) == [ErrorCode.none]
    assert configs_of(world, TOPIC, "t") == {"flush.ms": "6"}


def test_append_starts_from_the_default_and_adds_nothing_twice(world: World) -> None:
    alter(world, resource(TOPIC, "t", (APPEND, "cleanup.policy", "compact,delete")))
    assert configs_of(world, TOPIC, "t") == {"cleanup.policy": "delete,compact"}

    alter(world, resource(TOPIC, "t", (SUBTRACT, "cleanup.policy", "delete")))
    assert configs_of(world, TOPIC, "t") == {"cleanup.policy": "compact"}


def test_a_value_that_does_not_change_is_not_written(world: World) -> None:
    alter(world, resource(TOPIC, "t", (SET, "retention.ms", "5")))
    before = world.next_offset

    assert alter(world, resource(TOPIC, "t", (SET, "retention.ms", "5"), (DELETE, "flush.ms", None))) == [
        ErrorCode.none
    ]
    assert world.next_offset == before


@pytest.mark.parametrize("name", ["1", ""])
def test_a_brokers_value_is_written_even_if_it_does_not_change(world: World, name: str) -> None:
    for _ in range(2):
        before = world.next_offset
        alter(world, resource(BROKER, name, (SET, "log.cleaner.threads", "2")))
        assert world.next_offset == before + 1


def test_a_refused_resource_does_not_keep_the_others_from_changing(world: World) -> None:
    codes = alter(
        world,
        resource(TOPIC, "t", (SET, "retention.ms", "5")),
        resource(TOPIC, "t2", (SET, "retention.ms", "5")),
        resource(TOPIC, "u", (SET, "retention.ms", "6")),
    )

    assert codes == [ErrorCode.none, ErrorCode.unknown_topic_or_partition, ErrorCode.none]
    assert configs_of(world, TOPIC, "t") == {"retention.ms": "5"}
    assert configs_of(world, TOPIC, "u") == {"retention.ms": "6"}


def test_one_bad_key_keeps_the_whole_resource_as_it_is(world: World) -> None:
    codes = alter(world, resource(TOPIC, "t", (SET, "retention.ms", "5"), (SET, "flush.ms", "never")))

    assert codes == [ErrorCode.invalid_config]
    assert configs_of(world, TOPIC, "t") == {}


def test_validate_only(world: World) -> None:
    before = world.next_offset

    codes = alter(
        world,
        resource(TOPIC, "t", (SET, "retention.ms", "5")),
        resource(TOPIC, "u", (SET, "retention.ms", "x")),
        validate_only=True,
    )

    assert codes == [ErrorCode.none, ErrorCode.invalid_config]
    assert world.next_offset == before


def test_what_a_topic_would_have_is_validated_as_a_whole(world: World) -> None:
    alter(world, resource(TOPIC, "t", (SET, "max.compaction.lag.ms", "10")))

    assert alter(world, resource(TOPIC, "t", (SET, "min.compaction.lag.ms", "11"))) == [
        ErrorCode.invalid_config
    ]
    assert alter(
        world,
        resource(TOPIC, "t", (SET, "min.compaction.lag.ms", "11"), (DELETE, "max.compaction.lag.ms", None)),
    ) == [ErrorCode.none]


# --- what is refused


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (resource(TOPIC, "t", (SET, "retention.ms", None)), ErrorCode.invalid_config),
        (resource(TOPIC, "t", (APPEND, "cleanup.policy", None)), ErrorCode.invalid_config),
        (resource(TOPIC, "t", (SUBTRACT, "cleanup.policy", None)), ErrorCode.invalid_config),
        (resource(TOPIC, "t", (APPEND, "retention.ms", "5")), ErrorCode.invalid_config),
        (resource(TOPIC, "t", (SET, "retention.m", "5")), ErrorCode.invalid_config),
        (resource(TOPIC, "t", (9, "retention.ms", "5")), ErrorCode.invalid_request),
        (resource(TOPIC, "t", (SET, "flush.ms", "1"), (SET, "flush.ms", "2")), ErrorCode.invalid_request),
        (resource(TOPIC, "", (SET, "retention.ms", "5")), ErrorCode.invalid_request),
        (resource(TOPIC, "t2", (SET, "retention.ms", "5")), ErrorCode.unknown_topic_or_partition),
        (resource(BROKER, "one", (SET, "log.cleaner.threads", "2")), ErrorCode.invalid_request),
        (resource(BROKER, "-1", (SET, "log.cleaner.threads", "2")), ErrorCode.invalid_request),
        (resource(BROKER, "9", (SET, "log.cleaner.threads", "2")), ErrorCode.broker_id_not_registered),
        (resource(BROKER, "1", (SET, "log.cleaner.threads", "two")), ErrorCode.invalid_request),
        (resource(BROKER, "1", (SET, "node.id", "2")), ErrorCode.invalid_request),
        (resource(BROKER, "", (SET, "advertised.listeners", "A://b:1")), ErrorCode.invalid_request),
        (resource(ResourceType.BROKER_LOGGER, "1", (SET, "x", "INFO")), ErrorCode.invalid_request),
        (resource(0, "1", (SET, "x", "INFO")), ErrorCode.invalid_request),
        (resource(GROUP, "", (SET, "consumer.session.timeout.ms", "1")), ErrorCode.invalid_request),
        (resource(GROUP, "g", (SET, "consumer.session.timeout.ms", "1")), ErrorCode.invalid_config),
        (resource(CLIENT_METRICS, "", (SET, "interval.ms", "100")), ErrorCode.invalid_request),
        (resource(CLIENT_METRICS, "m", (SET, "interval.ms", "1")), ErrorCode.invalid_request),
    ],
)
def test_what_is_refused(world: World, wanted: Any, code: ErrorCode) -> None:
    before = world.next_offset

    assert alter(world, wanted) == [code]
    assert world.next_offset == before


def test_a_resource_that_comes_twice(world: World) -> None:
    twice = resource(TOPIC, "t", (SET, "retention.ms", "5"))

    codes = alter(world, twice, resource(TOPIC, "u", (SET, "retention.ms", "5")), twice)

    assert codes == [ErrorCode.invalid_request, ErrorCode.none, ErrorCode.invalid_request]
    assert configs_of(world, TOPIC, "t") == {}


def test_existence_is_judged_before_values(world: World) -> None:
    assert alter(world, resource(TOPIC, "t2", (APPEND, "retention.ms", "5"))) == [
        ErrorCode.unknown_topic_or_partition
    ]


@pytest.mark.parametrize("name", ["3000", "3001"])
def test_controllers_have_configs_too(world: World, name: str) -> None:
    world.run(
        register_controller,
        ControllerRegistrationRequest(controller_id=3001, incarnation_id=incarnation(3001)),
    )

    assert alter(world, resource(BROKER, name, (SET, "max.connections", "5"))) == [ErrorCode.none]


@pytest.mark.parametrize(
    ("wanted", "right", "code"),
    [
        (
            resource(TOPIC, "t", (SET, "retention.ms", "5")),
            (Operation.ALTER_CONFIGS, Resource.TOPIC, "t"),
            ErrorCode.topic_authorization_failed,
        ),
        (
            resource(BROKER, "", (SET, "log.cleaner.threads", "2")),
            (Operation.ALTER_CONFIGS, Resource.CLUSTER, CLUSTER_NAME),
            ErrorCode.cluster_authorization_failed,
        ),
        (
            resource(CLIENT_METRICS, "m", (SET, "interval.ms", "100")),
            (Operation.ALTER_CONFIGS, Resource.CLUSTER, CLUSTER_NAME),
            ErrorCode.cluster_authorization_failed,
        ),
        (
            resource(GROUP, "g", (SET, "consumer.session.timeout.ms", "50000")),
            (Operation.ALTER_CONFIGS, Resource.GROUP, "g"),
            ErrorCode.group_authorization_failed,
        ),
    ],
)
def test_rights(world: World, wanted: Any, right: tuple[Operation, Resource, str], code: ErrorCode) -> None:
    world.permits = permit_only()
    assert alter(world, wanted) == [code]

    world.permits = permit_only(right)
    assert alter(world, wanted) == [ErrorCode.none]


def test_too_many_changes_refuse_the_whole_request() -> None:
    world = World(config=config(max_records_per_operation=2))
    world.add_topic("t", (1,))
    request = IncrementalAlterConfigsRequest(
        resources=(
            resource(
                TOPIC, "t", (SET, "retention.ms", "5"), (SET, "flush.ms", "5"), (SET, "segment.ms", "5")
            ),
        )
    )

    assert refused(world, incremental_alter_configs, request) is ErrorCode.policy_violation


# --- the older call


def test_what_is_not_named_is_deleted(world: World) -> None:
    alter(world, resource(TOPIC, "t", (SET, "retention.ms", "5"), (SET, "flush.ms", "6")))

    assert replace(world, TOPIC, "t", {"flush.ms": "6", "segment.ms": "7"}) is ErrorCode.none

    assert configs_of(world, TOPIC, "t") == {"flush.ms": "6", "segment.ms": "7"}
    assert {(r.name, r.value) for r in world.records[-2:] if isinstance(r, ConfigRecord)} == {
        ("retention.ms", None),
        ("segment.ms", "7"),
    }


@pytest.mark.parametrize(
    ("type_", "name", "configs", "code"),
    [
        (TOPIC, "t", {"flush.ms": None}, ErrorCode.invalid_config),
        (TOPIC, "t", {"flush.ms": "x"}, ErrorCode.invalid_config),
        (TOPIC, "t2", {}, ErrorCode.unknown_topic_or_partition),
        (BROKER, "9", {}, ErrorCode.broker_id_not_registered),
        (ResourceType.BROKER_LOGGER, "1", {}, ErrorCode.invalid_request),
    ],
)
def test_what_the_older_call_refuses(
    world: World, type_: int, name: str, configs: dict[str, str | None], code: ErrorCode
) -> None:
    assert replace(world, type_, name, configs) is code
