"""CreatePartitions: a topic grows, by the controller's choice or by hand."""

from collections.abc import Sequence

import pytest

from quorate.controller.partitions import create_partitions
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import PartitionChangeRecord
from quorate.metadata.security.permissions import Operation, Resource
from quorate.metadata.wire.topics import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from tests.controller.world import World, permit_only, refused


@pytest.fixture
def world() -> World:
    made = World()
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    made.add_topic("t", (1, 2), (2, 3))
    return made


def grow(
    world: World,
    name: str,
    count: int,
    assignments: Sequence[Sequence[int]] | None = None,
    validate_only: bool = False,
) -> ErrorCode:
    before = world.next_offset
    request = CreatePartitionsRequest(
        topics=(_topic(name, count, assignments),), timeout_ms=1, validate_only=validate_only
    )
    result = world.run(create_partitions, request).results[0]
    if result.error_code is not ErrorCode.none:
        assert result.error_message
        assert world.next_offset == before
    code: ErrorCode = result.error_code
    return code


def _topic(
    name: str, count: int, assignments: Sequence[Sequence[int]] | None = None
) -> CreatePartitionsTopic:
    return CreatePartitionsTopic(
        name=name,
        count=count,
        assignments=None
        if assignments is None
        else tuple(CreatePartitionsAssignment(broker_ids=tuple(a)) for a in assignments),
    )


def test_the_controller_places_new_partitions_with_the_topics_factor(world: World) -> None:
    assert grow(world, "t", 5) is ErrorCode.none

    topic = world.topic("t")
    assert topic.partition_count == 5
    assert world.partition("t", 0).replicas == (1, 2)
    for index in (2, 3, 4):
        partition = world.partition("t", index)
        assert len(set(partition.replicas)) == 2
        assert (partition.isr, partition.leader) == (partition.replicas, partition.replicas[0])


def test_by_hand(world: World) -> None:
    assert grow(world, "t", 4, [(3, 1), (2, 1)]) is ErrorCode.none

    assert world.partition("t", 2).replicas == (3, 1)
    assert world.partition("t", 3).replicas == (2, 1)


@pytest.mark.parametrize(
    ("name", "count", "assignments", "code"),
    [
        ("u", 3, None, ErrorCode.unknown_topic_or_partition),
        ("t", 2, None, ErrorCode.invalid_partitions),
        ("t", 1, None, ErrorCode.invalid_partitions),
        ("t", -1, None, ErrorCode.invalid_partitions),
        ("t", 4, [(1, 2)], ErrorCode.invalid_replica_assignment),
        ("t", 3, [(1, 2), (2, 3)], ErrorCode.invalid_replica_assignment),
        ("t", 3, [], ErrorCode.invalid_replica_assignment),
        ("t", 3, [()], ErrorCode.invalid_replica_assignment),
        ("t", 3, [(1,)], ErrorCode.invalid_replica_assignment),
        ("t", 3, [(1, 2, 3)], ErrorCode.invalid_replica_assignment),
        ("t", 3, [(1, 1)], ErrorCode.invalid_replica_assignment),
        ("t", 3, [(1, 9)], ErrorCode.invalid_replica_assignment),
    ],
)
def test_what_is_refused(
    world: World, name: str, count: int, assignments: list[tuple[int, ...]] | None, code: ErrorCode
) -> None:
    assert grow(world, name, count, assignments) is code


def test_nobody_active_in_a_manual_assignment(world: World) -> None:
    world.set_broker(1, fenced=True)
    world.set_broker(2, in_controlled_shutdown=True)

    assert grow(world, "t", 3, [(1, 2)]) is ErrorCode.invalid_replica_assignment
    assert grow(world, "t", 3, [(1, 3)]) is ErrorCode.none
    assert world.partition("t", 2).isr == (3,)


def test_too_few_brokers_for_the_topics_factor(world: World) -> None:
    for broker_id in (1, 2):
        world.set_broker(broker_id, in_controlled_shutdown=True)

    assert grow(world, "t", 3) is ErrorCode.invalid_replication_factor


def test_a_topic_that_comes_twice(world: World) -> None:
    request = CreatePartitionsRequest(topics=(_topic("t", 3), _topic("t", 4)), timeout_ms=1)

    results = world.run(create_partitions, request).results

    assert [(r.name, r.error_code) for r in results] == [("t", ErrorCode.invalid_request)]
    assert world.topic("t").partition_count == 2


def test_growing_needs_alter_on_the_topic(world: World) -> None:
    world.permits = permit_only()
    assert grow(world, "t", 3) is ErrorCode.topic_authorization_failed
    assert grow(world, "unknown", 3) is ErrorCode.topic_authorization_failed

    world.permits = permit_only((Operation.ALTER, Resource.TOPIC, "t"))
    assert grow(world, "t", 3) is ErrorCode.none


def test_validate_only(world: World) -> None:
    before = world.next_offset

    assert grow(world, "t", 3, validate_only=True) is ErrorCode.none
    assert world.next_offset == before


def test_the_factor_is_that_after_a_reassignment_under_way(world: World) -> None:
    # From (1, 2) to (3): for a while there are three replicas, and there will be one.
    change = PartitionChangeRecord(
        version=1,
        partition_id=0,
        topic_id=world.topic("t").id,
        replicas=(3, 1, 2),
        directories=(*world.partition("t").directories, world.broker(3).log_dirs[0]),
        removing_replicas=(1, 2),
        adding_replicas=(3,),
    )
    world.replay([change])

    assert grow(world, "t", 3) is ErrorCode.none
    assert len(world.partition("t", 2).replicas) == 1


def test_too_many_at_once(world: World) -> None:
    request = CreatePartitionsRequest(topics=(_topic("t", 10_003),), timeout_ms=1)

    assert refused(world, create_partitions, request) is ErrorCode.policy_violation
