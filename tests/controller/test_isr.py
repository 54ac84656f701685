"""Leaders and ISRs when brokers come and go."""

import pytest

from quorate.controller import isr
from quorate.metadata.ids import LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from quorate.metadata.records import (
    NO_LEADER,
    RECOVERING,
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    PartitionChangeRecord,
    UnregisterBrokerRecord,
)
from tests.controller.world import World, directory


@pytest.fixture
def world() -> World:
    """Three brokers; t-0 is led by 1, t-1 by 2, t-2 has only 1."""
    made = World()
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    made.add_topic("t", (1, 2, 3), (2, 1, 3), (1,))
    return made


def leaders(world: World, topic: str = "t") -> list[int]:
    return [partition.leader for _, partition in world.topic(topic).partitions()]


def isrs(world: World, topic: str = "t") -> list[tuple[int, ...]]:
    return [partition.isr for _, partition in world.topic(topic).partitions()]


def fence(world: World, broker_id: int) -> None:
    world.replay(isr.fence(world.context(), world.broker(broker_id)).records)


def unfence(world: World, broker_id: int) -> None:
    world.replay(isr.unfence(world.context(), world.broker(broker_id)).records)


def test_fencing_takes_everything_and_comes_last(world: World) -> None:
    records = isr.fence(world.context(), world.broker(1)).records

    assert [type(r) for r in records] == [PartitionChangeRecord] * 3 + [BrokerRegistrationChangeRecord]
    world.replay(records)
    assert world.broker(1).fenced
    assert leaders(world) == [2, 2, NO_LEADER]
    assert isrs(world) == [(2, 3), (2, 3), (1,)]


def test_fencing_the_fenced_is_nothing(world: World) -> None:
    fence(world, 1)

    assert isr.fence(world.context(), world.broker(1)).records == []


def test_a_broker_that_returns_leads_what_nobody_leads(world: World) -> None:
    fence(world, 1)

    records = isr.unfence(world.context(), world.broker(1)).records

    assert [type(r) for r in records] == [BrokerRegistrationChangeRecord, PartitionChangeRecord]
    world.replay(records)
    assert leaders(world) == [2, 2, 1]
    assert isrs(world) == [(2, 3), (2, 3), (1,)], "the rest comes back through AlterPartition"


def test_a_lightweight_broker_rejoins_when_it_returns() -> None:
    world = World()
    for broker_id in (1, 2, 3):
        world.add_broker(broker_id, lightweight=True)
    world.add_topic("t", (1, 2, 3), (2, 1), (1,))
    fence(world, 1)

    unfence(world, 1)

    assert isrs(world) == [(1, 2, 3), (2, 1), (1,)]
    assert leaders(world) == [2, 2, 1], "whoever leads goes on leading"


def test_a_lightweight_broker_revives_a_partition_whose_isr_is_gone() -> None:
    world = World()
    for broker_id in (1, 2):
        world.add_broker(broker_id, lightweight=True)
    world.add_topic("t", (1, 2))
    fence(world, 1)
    fence(world, 2)
    assert (leaders(world), isrs(world)) == ([NO_LEADER], [(2,)])

    unfence(world, 1)

    assert (leaders(world), isrs(world)) == ([1], [(1, 2)])


def test_the_last_isr_of_data_brokers_is_waited_for(world: World) -> None:
    world.add_topic("u", (1, 2))
    fence(world, 1)
    fence(world, 2)

    unfence(world, 1)

    assert (leaders(world, "u"), isrs(world, "u")) == ([NO_LEADER], [(2,)])
    unfence(world, 2)
    assert (leaders(world, "u"), isrs(world, "u")) == ([2], [(2,)])


def test_where_unclean_election_is_allowed_data_may_be_lost(world: World) -> None:
    world.add_topic("u", (1, 2))
    world.replay([
        ConfigRecord(
            resource_type=2, resource_name="u", name="unclean.leader.election.enable", value="true"
        )
    ])  # fmt: skip
    fence(world, 1)
    fence(world, 2)

    unfence(world, 1)

    partition = world.partition("u")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (1, (1,), RECOVERING)


def test_controlled_shutdown_is_marked_before_the_moves(world: World) -> None:
    records = isr.begin_controlled_shutdown(world.context(), world.broker(1)).records

    assert [type(r) for r in records] == [BrokerRegistrationChangeRecord] + [PartitionChangeRecord] * 3
    world.replay(records)
    assert world.broker(1).in_controlled_shutdown
    assert not world.broker(1).fenced
    assert leaders(world) == [2, 2, NO_LEADER]


# --- in slices


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 2)


def settle(world: World, broker_id: int) -> int:
    """Does the rest; how many slices it took."""
    slices = [*isr.find_partitions(world.image, broker_id)]
    for part in slices:
        world.replay(isr.settle(world.context(), broker_id, part).records)
    return len(slices)


@pytest.mark.usefixtures("small_slices")
def test_one_operation_looks_at_a_few_partitions_and_says_that_there_are_more(world: World) -> None:
    change = isr.fence(world.context(), world.broker(1))

    assert change.unsettled == 1
    assert [type(r) for r in change.records] == [PartitionChangeRecord] * 2 + [BrokerRegistrationChangeRecord]
    world.replay(change.records)
    assert leaders(world) == [2, 2, 1]
    assert settle(world, 1) == 2
    assert leaders(world) == [2, 2, NO_LEADER]


@pytest.mark.usefixtures("small_slices")
def test_exactly_one_slice_leaves_nothing_to_settle(world: World) -> None:
    world.add_topic("u", (3, 2))

    assert isr.fence(world.context(), world.broker(3)).unsettled == 3
    assert isr.unregister(world.context(), world.broker(2)).unsettled == 2
    world.add_broker(4)
    world.add_topic("v", (4,), (4,))
    assert isr.fence(world.context(), world.broker(4)).unsettled is None


@pytest.mark.usefixtures("small_slices")
def test_settling_a_broker_that_is_back_brings_it_back_everywhere() -> None:
    world = World()
    world.add_broker(1, lightweight=True)
    world.add_broker(2)
    world.add_topic("t", *[(1, 2)] * 5, isr=(2,), leader=2)
    world.set_broker(1, fenced=True)

    unfence(world, 1)
    assert [len(isr_) for isr_ in isrs(world)] == [2, 2, 1, 1, 1]
    settle(world, 1)

    assert isrs(world) == [(1, 2)] * 5


def test_settling_what_is_settled_changes_nothing(world: World) -> None:
    fence(world, 1)
    before = world.next_offset

    for broker_id in (1, 2, 3, 99):
        settle(world, broker_id)

    assert world.next_offset == before


def test_who_has_to_be_settled_after_a_failover() -> None:
    world = World()
    for broker_id in range(1, 6):
        world.add_broker(broker_id, lightweight=broker_id == 5)
    world.add_topic("t", (1, 2, 3, 4, 5))
    world.set_broker(1, fenced=True)
    world.set_broker(2, in_controlled_shutdown=True)
    world.replay(isr.unregister(world.context(), world.broker(3)).records)
    world.add_broker(9, fenced=True)

    assert isr.brokers_to_settle(world.image) == [1, 2, 3, 5]


@pytest.mark.usefixtures("small_slices")
def test_finding_out_who_leads_something_does_not_take_long(world: World) -> None:
    assert not isr.leads_something(world.context(), 3)
    world.add_topic("u", (2, 3))

    assert isr.leads_something(world.context(), 3), "it has three replicas, and two were looked at"


# --- leaving for good


def test_unregistering_takes_everything_and_comes_last(world: World) -> None:
    records = isr.unregister(world.context(), world.broker(1)).records

    assert isinstance(records[-1], UnregisterBrokerRecord)
    world.replay(records)
    assert world.image.cluster.broker(1) is None
    assert leaders(world) == [2, 2, NO_LEADER]
    assert world.partition("t").replicas == (1, 2, 3)


def test_partitions_of_others_are_left_alone(world: World) -> None:
    world.add_topic("u", (2, 3), (1, 2))
    fence(world, 1)

    assert world.partition("u", 0).partition_epoch == 0
    assert world.partition("u", 1).partition_epoch == 1


def test_a_lost_directory_takes_only_its_replicas() -> None:
    world = World()
    world.add_broker(1, directories=2)
    world.add_broker(2)
    world.add_topic("a", (1, 2), directories=(directory(1, 0), directory(2)))
    world.add_topic("b", (1, 2), directories=(directory(1, 1), directory(2)))

    world.replay(isr.lose_directories(world.context(), world.broker(1), [directory(1, 1)]).records)

    assert world.broker(1).log_dirs == (directory(1, 0),)
    assert (leaders(world, "a"), leaders(world, "b")) == ([1], [2])
    assert isr.lose_directories(world.context(), world.broker(1), [directory(1, 1)]).records == []


def test_the_last_directory_is_never_taken_away() -> None:
    world = World()
    world.add_broker(1)

    assert isr.lose_directories(world.context(), world.broker(1), [directory(1)]).records == []


@pytest.mark.parametrize(
    ("where", "leads"),
    [
        (directory(1), True),
        (UNASSIGNED_DIRECTORY, True),
        (MIGRATING_DIRECTORY, True),
        (LOST_DIRECTORY, False),
        (directory(1, 7), False),
    ],
)
def test_a_replica_leads_only_from_a_directory_that_is_online(where: object, leads: bool) -> None:
    world = World()
    for broker_id in (1, 2):
        world.add_broker(broker_id)
    world.add_topic("t", (2, 1), directories=(directory(2), where))

    fence(world, 2)

    assert leaders(world) == [1 if leads else NO_LEADER]


def test_who_leads_something(world: World) -> None:
    assert isr.leads_something(world.context(), 1)
    assert not isr.leads_something(world.context(), 3)
    assert not isr.leads_something(world.context(), 99)
