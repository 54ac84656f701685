"""DeleteTopics: by name and by id, what is refused and what is hidden."""

import uuid

import pytest

from quorate.controller.topics import delete_topics
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.records import ConfigRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Resource
from quorate.metadata.wire.topics import DeletableTopicResult, DeleteTopicsRequest, DeleteTopicState
from tests.controller.world import World, config, permit_only, refused

UNKNOWN = uuid.UUID(int=77_777)


@pytest.fixture
def world() -> World:
    made = World()
    made.add_broker(1)
    made.add_topic("a", (1,))
    made.add_topic("b", (1,))
    return made


def delete(world: World, *states: DeleteTopicState) -> list[DeletableTopicResult]:
    request = DeleteTopicsRequest(topics=states, timeout_ms=1000)
    return list(world.run(delete_topics, request).responses)


def by_name(name: str) -> DeleteTopicState:
    return DeleteTopicState(name=name)


def by_id(topic_id: uuid.UUID) -> DeleteTopicState:
    return DeleteTopicState(topic_id=topic_id)


def test_by_name_and_by_id(world: World) -> None:
    ids = {name: world.topic(name).id for name in "ab"}

    results = delete(world, by_name("a"), by_id(ids["b"]))

    assert [(r.name, r.topic_id, r.error_code) for r in results] == [
        ("a", ids["a"], ErrorCode.none),
        ("b", ids["b"], ErrorCode.none),
    ]
    assert world.image.topics.topic_count == 0


def test_configs_go_with_the_topic(world: World) -> None:
    record = ConfigRecord(resource_type=2, resource_name="a", name="retention.ms", value="1")
    world.replay([record])

    delete(world, by_name("a"))

    assert not world.image.configs.of(ResourceType.TOPIC, "a")


@pytest.mark.parametrize(
    ("version", "code"),
    [(2, ErrorCode.invalid_request), (3, ErrorCode.topic_deletion_disabled)],
)
def test_a_cluster_that_forbids_deletion(version: int, code: ErrorCode) -> None:
    world = World(config=config(delete_topic_enable=False), api_version=version)

    assert refused(world, delete_topics, DeleteTopicsRequest(topics=(by_name("a"),), timeout_ms=1)) is code


@pytest.mark.parametrize(
    ("states", "codes"),
    [
        ([DeleteTopicState()], [ErrorCode.invalid_request]),
        ([DeleteTopicState(name="a", topic_id=UNKNOWN)], [ErrorCode.invalid_request]),
        ([by_name("a"), by_name("a")], [ErrorCode.invalid_request]),
        ([by_id(UNKNOWN), by_id(UNKNOWN)], [ErrorCode.invalid_request]),
        ([by_id(UNKNOWN)], [ErrorCode.unknown_topic_id]),
        ([by_name("c")], [ErrorCode.unknown_topic_or_partition]),
    ],
)
def test_what_is_refused(world: World, states: list[DeleteTopicState], codes: list[ErrorCode]) -> None:
    before = world.next_offset

    results = delete(world, *states)

    assert [r.error_code for r in results] == codes
    assert all(r.error_message for r in results)
    assert world.next_offset == before


def test_one_topic_by_name_and_by_id_is_deleted_once(world: World) -> None:
    results = delete(world, by_name("a"), by_id(world.topic("a").id))

    assert [r.error_code for r in results] == [ErrorCode.none, ErrorCode.invalid_request]
    assert world.image.topics.names() == ["b"]


def test_existence_is_hidden_from_those_who_may_not_see_it(world: World) -> None:
    world.permits = permit_only((Operation.DESCRIBE, Resource.TOPIC, "b"))

    results = delete(world, by_name("a"), by_name("nowhere"), by_name("b"), by_id(world.topic("a").id))

    assert [r.error_code for r in results] == [ErrorCode.topic_authorization_failed] * 4


def test_who_may_see_learns_that_there_is_nothing(world: World) -> None:
    world.permits = permit_only((Operation.DESCRIBE, Resource.TOPIC, "c"))

    assert delete(world, by_name("c"))[0].error_code is ErrorCode.unknown_topic_or_partition


@pytest.mark.parametrize(
    "right",
    [
        [(Operation.DELETE, Resource.CLUSTER, CLUSTER_NAME)],
        [(Operation.DELETE, Resource.TOPIC, "a"), (Operation.DESCRIBE, Resource.TOPIC, "a")],
    ],
)
def test_delete_on_the_cluster_or_on_the_topic(
    world: World, right: list[tuple[Operation, Resource, str]]
) -> None:
    world.permits = permit_only(*right)

    assert delete(world, by_name("a"))[0].error_code is ErrorCode.none


def test_who_may_delete_and_not_see_deletes_by_id_alone(world: World) -> None:
    """DENY of DESCRIBE hides the topic from whoever names it; an id is nothing to hide."""
    world.permits = permit_only((Operation.DELETE, Resource.TOPIC, "a"))

    results = delete(world, by_name("a"), by_name("nowhere"))
    assert [r.error_code for r in results] == [ErrorCode.topic_authorization_failed] * 2
    assert delete(world, by_id(world.topic("a").id))[0].error_code is ErrorCode.none


def test_too_many_at_once() -> None:
    world = World(config=config(max_records_per_operation=1))
    world.add_topic("a", (1,))
    world.add_topic("b", (1,))
    request = DeleteTopicsRequest(topics=(by_name("a"), by_name("b")), timeout_ms=1)

    assert refused(world, delete_topics, request) is ErrorCode.policy_violation
