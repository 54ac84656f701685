"""CreateTopics: every check in Kafka's order, with its code; what is created, and what is answered."""

from typing import Any

import pytest

from quorate.controller.topics import create_topics
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import TOPIC_KEYS, ConfigSource, ResourceType
from quorate.metadata.ids import MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from quorate.metadata.records import ConfigRecord, PartitionRecord, TopicRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Resource
from quorate.metadata.wire.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreateTopicsRequest,
)
from tests.controller.world import World, config, directory, permit_only, refused


@pytest.fixture
def world() -> World:
    """Three brokers."""
    made = World()
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    return made


def topic(name: str = "t", **fields: Any) -> CreatableTopic:
    manual = fields.pop("manual", None)
    configs = fields.pop("configs", {})
    if manual is not None:
        fields["assignments"] = tuple(
            CreatableReplicaAssignment(partition_index=index, broker_ids=tuple(replicas))
            for index, replicas in manual
        )
    else:
        fields = {"num_partitions": 1, "replication_factor": 1, **fields}
    return CreatableTopic(
        name=name,
        configs=tuple(CreatableTopicConfig(name=key, value=value) for key, value in configs.items()),
        **fields,
    )


def create(world: World, *topics: CreatableTopic, validate_only: bool = False) -> Any:
    """The result of each topic; the records are replayed."""
    request = CreateTopicsRequest(topics=topics, validate_only=validate_only)
    return world.run(create_topics, request).topics


def code_of(world: World, wanted: CreatableTopic) -> ErrorCode:
    """The code for one topic; a refused topic leaves no records."""
    before = world.next_offset
    result: CreatableTopicResult = create(world, wanted)[0]
    if result.error_code is not ErrorCode.none:
        assert world.next_offset == before
        assert result.error_message
    return result.error_code


# --- names


def test_a_name_that_comes_twice_is_refused_once(world: World) -> None:
    results = create(world, topic("a"), topic("b"), topic("a"))

    assert [(r.name, r.error_code) for r in results] == [
        ("a", ErrorCode.invalid_request),
        ("b", ErrorCode.none),
    ]
    assert world.image.topics.names() == ["b"]


def test_the_metadata_log_is_not_a_topic(world: World) -> None:
    assert code_of(world, topic("__cluster_metadata")) is ErrorCode.invalid_request


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 250, "a b", "ä", "a/b", "a\n"])
def test_illegal_names(world: World, name: str) -> None:
    assert code_of(world, topic(name)) is ErrorCode.invalid_topic_exception


@pytest.mark.parametrize("name", ["a" * 249, "A-z_0.9", "-", "_", "..."])
def test_legal_names(world: World, name: str) -> None:
    assert code_of(world, topic(name)) is ErrorCode.none


def test_a_topic_that_exists(world: World) -> None:
    world.add_topic("a_b", (1,))

    assert code_of(world, topic("a_b")) is ErrorCode.topic_already_exists


@pytest.mark.parametrize("others", [0, 40])
def test_names_that_differ_only_in_dots_and_underscores_collide(world: World, others: int) -> None:
    # Few topics are looked through, among many the possible names are looked up.
    for number in range(others):
        world.add_topic(f"other-{number}", (1,))
    world.add_topic("a.b_c", (1,))

    for name in ("a_b_c", "a.b.c", "a_b.c"):
        assert code_of(world, topic(name)) is ErrorCode.invalid_topic_exception
    assert code_of(world, topic("a-b_c")) is ErrorCode.none


def test_names_collide_within_a_request_too(world: World) -> None:
    results = create(world, topic("x.y"), topic("x_y"))

    assert [r.error_code for r in results] == [ErrorCode.none, ErrorCode.invalid_topic_exception]


# --- rights


def test_creation_needs_create_on_the_cluster_or_on_the_topic(world: World) -> None:
    world.permits = permit_only((Operation.CREATE, Resource.TOPIC, "mine"))

    results = create(world, topic("mine"), topic("yours"))

    assert [r.error_code for r in results] == [ErrorCode.none, ErrorCode.topic_authorization_failed]
    assert results[0].topic_config_error_code is ErrorCode.topic_authorization_failed
    assert results[0].configs is None
    assert results[0].num_partitions == -1


def test_rights_are_judged_before_names(world: World) -> None:
    world.permits = permit_only()
    world.add_topic("secret", (1,))

    assert code_of(world, topic("secret")) is ErrorCode.topic_authorization_failed
    assert code_of(world, topic("not legal")) is ErrorCode.topic_authorization_failed


def test_create_on_the_cluster_is_enough(world: World) -> None:
    world.permits = permit_only((Operation.CREATE, Resource.CLUSTER, CLUSTER_NAME))

    assert code_of(world, topic("any")) is ErrorCode.none


# --- configs


@pytest.mark.parametrize(
    "configs",
    [
        {"retention.ms": None},
        {"retention.ms": "soon"},
        {"retention.m": "1"},
        {"min.insync.replicas": "0"},
        {"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"},
    ],
)
def test_bad_configs(world: World, configs: dict[str, str | None]) -> None:
    assert code_of(world, topic(configs=configs)) is ErrorCode.invalid_config


def test_a_check_between_configs_looks_at_what_the_topic_inherits() -> None:
    world = World(config=config(static={"log.cleaner.max.compaction.lag.ms": "10"}))
    world.add_broker(1)

    assert code_of(world, topic(configs={"min.compaction.lag.ms": "11"})) is ErrorCode.invalid_config
    assert code_of(world, topic(configs={"min.compaction.lag.ms": "10"})) is ErrorCode.none


def test_existence_is_judged_before_configs(world: World) -> None:
    world.add_topic("t", (1,))

    assert code_of(world, topic(configs={"nonsense": "1"})) is ErrorCode.topic_already_exists


def test_configs_are_written_between_topic_and_partitions(world: World) -> None:
    result = world.decide(
        create_topics,
        CreateTopicsRequest(
            topics=(topic(num_partitions=2, configs={"retention.ms": "5", "flush.ms": "7"}),)
        ),
    )

    assert [type(record) for record in result.records] == [
        TopicRecord,
        ConfigRecord,
        ConfigRecord,
        PartitionRecord,
        PartitionRecord,
    ]
    assert result.atomic
    world.replay(result.records)
    assert dict(world.image.configs.of(ResourceType.TOPIC, "t")) == {"retention.ms": "5", "flush.ms": "7"}


def test_the_answer_lists_every_effective_config() -> None:
    world = World(config=config(static={"log.retention.hours": "2"}))
    world.add_broker(1)

    result = create(world, topic(configs={"flush.ms": "7"}))[0]
    shown = {entry.name: entry for entry in result.configs}

    assert set(shown) >= {name for name, key in TOPIC_KEYS.items() if not key.hidden}
    assert [e.name for e in result.configs] == sorted(shown)
    assert (shown["flush.ms"].value, shown["flush.ms"].config_source) == ("7", ConfigSource.TOPIC)
    assert shown["retention.ms"].value == "7200000"
    assert shown["retention.ms"].config_source == ConfigSource.STATIC_BROKER
    assert shown["cleanup.policy"].config_source == ConfigSource.DEFAULT
    assert not any(entry.read_only or entry.is_sensitive for entry in result.configs)


def test_versions_below_5_answer_no_details(world: World) -> None:
    world.api_version = 4

    result = create(world, topic())[0]

    assert (result.configs, result.num_partitions, result.replication_factor) == (None, -1, -1)


# --- automatic assignment


@pytest.mark.parametrize("factor", [0, -2])
def test_impossible_replication_factors(world: World, factor: int) -> None:
    wanted = topic(replication_factor=factor)

    assert code_of(world, wanted) is ErrorCode.invalid_replication_factor


@pytest.mark.parametrize("partitions", [0, -2])
def test_impossible_partition_counts(world: World, partitions: int) -> None:
    assert code_of(world, topic(num_partitions=partitions)) is ErrorCode.invalid_partitions


def test_the_factor_is_judged_before_the_count(world: World) -> None:
    wanted = topic(num_partitions=0, replication_factor=0)

    assert code_of(world, wanted) is ErrorCode.invalid_replication_factor


def test_more_replicas_than_brokers(world: World) -> None:
    assert code_of(world, topic(replication_factor=4)) is ErrorCode.invalid_replication_factor


def test_brokers_in_controlled_shutdown_do_not_count(world: World) -> None:
    world.set_broker(3, in_controlled_shutdown=True)

    assert code_of(world, topic("a", replication_factor=3)) is ErrorCode.invalid_replication_factor
    assert code_of(world, topic("b", replication_factor=2)) is ErrorCode.none


def test_all_brokers_fenced(world: World) -> None:
    for broker_id in (1, 2, 3):
        world.set_broker(broker_id, fenced=True)

    assert code_of(world, topic()) is ErrorCode.invalid_replication_factor


def test_no_brokers_at_all() -> None:
    assert code_of(World(), topic()) is ErrorCode.invalid_replication_factor


def test_a_fenced_broker_counts_but_is_not_in_sync(world: World) -> None:
    world.set_broker(2, fenced=True)

    create(world, topic(num_partitions=6, replication_factor=3))

    for _, partition in world.topic("t").partitions():
        assert sorted(partition.replicas) == [1, 2, 3]
        assert sorted(partition.isr) == [1, 3]
        assert partition.leader == partition.isr[0] == partition.replicas[0]


def test_brokers_without_data_step_back_for_those_with(world: World) -> None:
    for broker_id in (4, 5, 6):
        world.add_broker(broker_id, lightweight=True)

    assert code_of(world, topic("a", replication_factor=4)) is ErrorCode.invalid_replication_factor
    create(world, topic("b", num_partitions=12, replication_factor=3))
    assert {r for _, p in world.topic("b").partitions() for r in p.replicas} == {1, 2, 3}
    assert code_of(world, topic("c", manual=[(0, (1, 4))])) is ErrorCode.invalid_replica_assignment


def test_brokers_without_data_are_enough_among_themselves() -> None:
    world = World()
    for broker_id in (4, 5):
        world.add_broker(broker_id, lightweight=True)

    assert code_of(world, topic("a", replication_factor=2)) is ErrorCode.none
    assert code_of(world, topic("b", manual=[(0, (5, 4))])) is ErrorCode.none


def test_minus_one_asks_for_the_controllers_defaults() -> None:
    world = World(config=config(num_partitions=4, default_replication_factor=2))
    for broker_id in (1, 2):
        world.add_broker(broker_id)

    result = create(world, topic(num_partitions=-1, replication_factor=-1))[0]

    assert (result.num_partitions, result.replication_factor) == (4, 2)
    assert world.topic("t").partition_count == 4


def test_a_new_partition_is_whole(world: World) -> None:
    result = create(world, topic(replication_factor=3))[0]

    partition = world.partition("t")
    assert result.topic_id == world.topic("t").id
    assert partition.isr == partition.replicas
    assert (partition.leader_epoch, partition.partition_epoch, partition.leader_recovery_state) == (0, 0, 0)
    assert partition.directories == tuple(directory(r) for r in partition.replicas)


def test_the_directory_of_a_new_replica() -> None:
    world = World()
    for broker_id, directories in ((1, 1), (2, 2), (3, 0)):
        world.add_broker(broker_id, directories=directories)

    create(world, topic(manual=[(0, (1, 2, 3))]))

    assert world.partition("t").directories == (directory(1), UNASSIGNED_DIRECTORY, MIGRATING_DIRECTORY)


# --- manual assignment


@pytest.mark.parametrize("field", ["num_partitions", "replication_factor"])
def test_a_manual_assignment_says_it_all(world: World, field: str) -> None:
    fields: dict[str, Any] = {"manual": [(0, (1,))], field: 1}
    wanted = topic(**fields)

    assert code_of(world, wanted) is ErrorCode.invalid_request


@pytest.mark.parametrize(
    "manual",
    [
        [(0, (1,)), (0, (2,))],
        [(0, (1,)), (2, (2,))],
        [(1, (1,))],
        [(0, ())],
        [(0, (1, 1))],
        [(0, (1, 9))],
        [(0, (-1,))],
        [(0, (1, 2)), (1, (1,))],
    ],
)
def test_bad_manual_assignments(world: World, manual: list[tuple[int, tuple[int, ...]]]) -> None:
    assert code_of(world, topic(manual=manual)) is ErrorCode.invalid_replica_assignment


def test_one_active_broker_is_enough_for_a_manual_assignment(world: World) -> None:
    world.set_broker(1, fenced=True)

    assert code_of(world, topic("a", manual=[(0, (1,))])) is ErrorCode.invalid_replica_assignment
    assert code_of(world, topic("b", manual=[(0, (1, 2))])) is ErrorCode.none
    assert world.partition("b").isr == (2,)
    assert world.partition("b").leader == 2


def test_a_manual_assignment_may_come_in_any_order(world: World) -> None:
    result = create(world, topic(manual=[(1, (2, 3)), (0, (1, 2))]))[0]

    assert (result.num_partitions, result.replication_factor) == (2, 2)
    assert world.partition("t", 0).replicas == (1, 2)
    assert world.partition("t", 1).replicas == (2, 3)


# --- the request as a whole


def test_validate_only_changes_nothing_and_answers_the_same(world: World) -> None:
    before = world.next_offset

    results = create(world, topic("a", num_partitions=3), topic("a b"), validate_only=True)

    assert world.next_offset == before
    assert [r.error_code for r in results] == [ErrorCode.none, ErrorCode.invalid_topic_exception]
    assert results[0].num_partitions == 3


def test_a_topic_that_is_refused_does_not_keep_the_others_from_being_created(world: World) -> None:
    results = create(world, topic("a"), topic("no good"), topic("c", replication_factor=9), topic("d"))

    assert [r.name for r in results if r.error_code is ErrorCode.none] == ["a", "d"]
    assert world.image.topics.names() == ["a", "d"]


@pytest.mark.parametrize(
    "topics",
    [
        (topic("a", num_partitions=10_000),),
        (topic("a", num_partitions=5_000), topic("b", num_partitions=4_999)),
        (topic("a", num_partitions=2**31 - 1),),
    ],
)
def test_too_many_records_refuse_the_whole_request(world: World, topics: tuple[CreatableTopic, ...]) -> None:
    code = refused(world, create_topics, CreateTopicsRequest(topics=topics))

    assert code is ErrorCode.policy_violation


def test_the_largest_request(world: World) -> None:
    assert create(world, topic("a", num_partitions=9_999))[0].error_code is ErrorCode.none


def test_ids_come_from_the_given_randomness() -> None:
    worlds = [World(), World()]
    for world in worlds:
        world.add_broker(1)

    first, second = (create(world, topic("a"), topic("b")) for world in worlds)

    assert first == second
    assert first[0].topic_id != first[1].topic_id
