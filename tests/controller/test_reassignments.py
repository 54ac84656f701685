"""AlterPartitionReassignments: what begins, what ends at once, what is refused, what a cancellation restores."""

import pytest

from quorate.controller import isr
from quorate.controller.alter_partition import alter_partition
from quorate.controller.reassignments import alter_partition_reassignments
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import ConfigRecord
from quorate.metadata.wire.brokers import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    BrokerState,
)
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from tests.controller.world import World, config, directory, refused

Wanted = tuple[int, ...] | None


def a_world(*, lightweight: bool = False) -> World:
    made = World()
    for broker_id in range(1, 7):
        made.add_broker(broker_id, lightweight=lightweight)
    return made


@pytest.fixture
def world() -> World:
    return a_world()


def request(*wanted: tuple[str, int, Wanted], resize: bool = True) -> AlterPartitionReassignmentsRequest:
    return AlterPartitionReassignmentsRequest(
        allow_replication_factor_change=resize,
        topics=tuple(
            ReassignableTopic(
                name=name, partitions=(ReassignablePartition(partition_index=index, replicas=replicas),)
            )
            for name, index, replicas in wanted
        ),
    )


def reassign(world: World, *wanted: tuple[str, int, Wanted], resize: bool = True) -> list[ErrorCode]:
    """The codes, in the order of the request."""
    response = world.run(alter_partition_reassignments, request(*wanted, resize=resize))
    assert response.error_code is ErrorCode.none
    assert response.allow_replication_factor_change is resize
    results = [one for topic in response.responses for one in topic.partitions]
    assert all((one.error_message is None) == (one.error_code is ErrorCode.none) for one in results)
    return [one.error_code for one in results]


def lists(world: World, name: str = "t") -> tuple[tuple[int, ...], ...]:
    """(replicas, ISR, adding, removing)"""
    found = world.partition(name)
    return found.replicas, found.isr, found.adding_replicas, found.removing_replicas


def say_in_sync(world: World, *members: int) -> ErrorCode:
    """What a leader with data does once its followers have caught up."""
    partition = world.partition("t")
    changed = AlterPartitionRequestPartitionData(
        partition_index=0,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        new_isr_with_epochs=tuple(BrokerState(broker_id=member) for member in members),
    )
    sender = world.broker(partition.leader)
    response = world.run(
        alter_partition,
        AlterPartitionRequest(
            broker_id=sender.id,
            broker_epoch=sender.epoch,
            topics=(AlterPartitionRequestTopicData(topic_id=world.topic("t").id, partitions=(changed,)),),
        ),
    )
    code: ErrorCode = response.topics[0].partitions[0].error_code
    return code


# --- brokers with data


def test_it_begins_with_both_lists_and_ends_with_the_isr_change(world: World) -> None:
    world.add_topic("t", (1, 2, 3))

    assert reassign(world, ("t", 0, (6, 5, 1))) == [ErrorCode.none]
    assert lists(world) == ((6, 5, 1, 2, 3), (1, 2, 3), (5, 6), (2, 3))
    assert world.partition("t").directories == tuple(directory(b) for b in (6, 5, 1, 2, 3))
    assert (world.partition("t").leader, world.partition("t").leader_epoch) == (1, 0)

    assert say_in_sync(world, 1, 2, 3, 5) is ErrorCode.none
    assert world.partition("t").is_reassigning
    assert say_in_sync(world, 1, 2, 3, 5, 6) is ErrorCode.new_leader_elected
    assert lists(world) == ((6, 5, 1), (1, 5, 6), (), ())
    assert world.partition("t").leader_epoch == 1


def test_one_that_only_removes_ends_at_once(world: World) -> None:
    world.add_topic("t", (1, 2, 3))

    assert reassign(world, ("t", 0, (2, 3))) == [ErrorCode.none]
    assert lists(world) == ((2, 3), (2, 3), (), ())
    assert (world.partition("t").leader, world.partition("t").leader_epoch) == (2, 1)


def test_an_identical_target_writes_nothing(world: World) -> None:
    world.add_topic("t", (1, 2))
    before = world.next_offset

    assert reassign(world, ("t", 0, (1, 2))) == [ErrorCode.none]
    assert world.next_offset == before


def test_another_order_makes_another_preferred_replica(world: World) -> None:
    world.add_topic("t", (1, 2))

    assert reassign(world, ("t", 0, (2, 1))) == [ErrorCode.none]
    assert lists(world) == ((2, 1), (1, 2), (), ())
    assert world.partition("t").leader == 1


def test_a_second_one_is_judged_by_the_whole_present_list(world: World) -> None:
    world.add_topic("t", (1, 2))
    reassign(world, ("t", 0, (3, 4)))

    assert reassign(world, ("t", 0, (3, 5))) == [ErrorCode.none]
    assert lists(world) == ((3, 5, 1, 2, 4), (1, 2), (5,), (1, 2, 4))


def test_a_second_one_takes_nothing_away_that_it_asks_for(world: World) -> None:
    # Kafka would go on removing 1 and 2.
    world.add_topic("t", (1, 2))
    reassign(world, ("t", 0, (3, 4)))

    assert reassign(world, ("t", 0, (1, 2, 3, 4))) == [ErrorCode.none]
    assert lists(world) == ((1, 2, 3, 4), (1, 2), (3, 4), ())
    say_in_sync(world, 1, 2, 3, 4)
    assert lists(world) == ((1, 2, 3, 4), (1, 2, 3, 4), (), ())


# --- cancelling


def test_a_cancellation_restores_what_was(world: World) -> None:
    world.add_topic("t", (1, 2))
    reassign(world, ("t", 0, (3, 2)))
    say_in_sync(world, 1, 2)

    assert reassign(world, ("t", 0, None)) == [ErrorCode.none]
    replicas, members, adding, removing = lists(world)
    assert (sorted(replicas), members, adding, removing) == ([1, 2], (1, 2), (), ())


def test_there_is_nothing_to_cancel(world: World) -> None:
    world.add_topic("t", (1, 2))
    assert reassign(world, ("t", 0, None)) == [ErrorCode.no_reassignment_in_progress]


@pytest.mark.parametrize("unclean", [False, True])
def test_a_cancellation_that_would_lose_every_member_of_the_isr(world: World, unclean: bool) -> None:
    world.add_topic("t", (1, 3), isr=(3,), leader=3, adding_replicas=(3,))
    if unclean:
        world.replay([
            ConfigRecord(
                resource_type=2, resource_name="t", name="unclean.leader.election.enable", value="true"
            )
        ])  # fmt: skip

    expected = ErrorCode.none if unclean else ErrorCode.invalid_replica_assignment
    assert reassign(world, ("t", 0, None)) == [expected]
    assert lists(world) == (((1,), (1,), (), ()) if unclean else ((1, 3), (3,), (3,), ()))
    assert world.partition("t").leader == (1 if unclean else 3)


# --- refusals


@pytest.mark.parametrize("replicas", [(), (1, 1), (-1,), (1, 77)], ids=str)
def test_assignments_that_cannot_be(world: World, replicas: tuple[int, ...]) -> None:
    world.add_topic("t", (1, 2))
    before = world.next_offset

    assert reassign(world, ("t", 0, replicas)) == [ErrorCode.invalid_replica_assignment]
    assert world.next_offset == before


def test_what_does_not_exist_does_not_hinder_the_others(world: World) -> None:
    world.add_topic("t", (1, 2))

    assert reassign(world, ("u", 0, (1,)), ("t", 1, None), ("t", 0, (1,))) == [
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.none,
    ]
    assert lists(world) == ((1,), (1,), (), ())


def test_a_partition_that_is_named_twice_is_judged_once(world: World) -> None:
    world.add_topic("t", (1, 2))

    assert reassign(world, ("t", 0, (1,)), ("t", 0, (2,))) == [ErrorCode.none, ErrorCode.invalid_request]
    assert lists(world) == ((1,), (1,), (), ())


def test_a_factor_that_must_not_change_is_the_one_that_a_reassignment_leads_to(world: World) -> None:
    world.add_topic("t", (1, 2))
    assert reassign(world, ("t", 0, (1,)), resize=False) == [ErrorCode.invalid_replication_factor]
    assert reassign(world, ("t", 0, (3, 4, 5))) == [ErrorCode.none]
    assert reassign(world, ("t", 0, (3, 4)), resize=False) == [ErrorCode.invalid_replication_factor]
    assert reassign(world, ("t", 0, (3, 4, 6)), resize=False) == [ErrorCode.none]


def test_more_than_one_request_may_change() -> None:
    world = World(config=config(max_records_per_operation=1))
    for broker_id in (1, 2):
        world.add_broker(broker_id)
    world.add_topic("t", (1, 2), (1, 2))

    asked = request(("t", 0, (1,)), ("t", 1, (1,)))
    assert refused(world, alter_partition_reassignments, asked) is ErrorCode.policy_violation


def test_no_data_goes_to_brokers_that_store_none(world: World) -> None:
    world.add_topic("t", (1, 2))
    world.add_broker(9, lightweight=True)
    assert reassign(world, ("t", 0, (1, 9))) == [ErrorCode.invalid_replica_assignment]


# --- brokers without data


def test_brokers_without_data_are_in_sync_at_once() -> None:
    world = a_world(lightweight=True)
    world.add_topic("t", (1, 2))

    assert reassign(world, ("t", 0, (4, 3))) == [ErrorCode.none]
    assert lists(world) == ((4, 3), (4, 3), (), ())
    assert (world.partition("t").leader, world.partition("t").leader_epoch) == (4, 1)


def test_a_fenced_broker_without_data_ends_the_reassignment_when_it_is_back() -> None:
    world = a_world(lightweight=True)
    world.add_topic("t", (1, 2))
    world.set_broker(3, fenced=True)

    assert reassign(world, ("t", 0, (4, 3))) == [ErrorCode.none]
    assert lists(world) == ((4, 3, 1, 2), (1, 2, 4), (3, 4), (1, 2))

    world.replay(isr.unfence(world.context(), world.broker(3)).records)
    assert lists(world) == ((4, 3), (4, 3), (), ())
