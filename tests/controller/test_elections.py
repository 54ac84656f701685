"""ElectLeaders, and the elections that the clock asks for."""

from typing import Any

import pytest

from quorate.controller import elections
from quorate.controller.elections import (
    PREFERRED,
    UNCLEAN,
    elect_leaderless,
    elect_leaders,
    elect_preferred,
    find_leaderless,
    find_not_preferred,
    leaderless_of,
)
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import NO_LEADER, RECOVERING, ConfigRecord
from quorate.metadata.wire.topics import ElectLeadersRequest, TopicPartitions
from tests.controller.world import World, config, refused


@pytest.fixture
def world() -> World:
    made = World()
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    return made


def elect(world: World, type_: int, *wanted: tuple[str, tuple[int, ...]] | None) -> dict[str, Any]:
    """(topic, partition) -> code."""
    request = ElectLeadersRequest(
        election_type=type_,
        topic_partitions=None
        if wanted == (None,)
        else tuple(TopicPartitions(topic=w[0], partitions=w[1]) for w in wanted if w is not None),
    )
    response = world.run(elect_leaders, request)
    assert response.error_code is ErrorCode.none
    return {
        f"{topic.topic}-{partition.partition_id}": partition.error_code
        for topic in response.replica_election_results
        for partition in topic.partition_result
    }


def test_the_preferred_replica_takes_over(world: World) -> None:
    world.add_topic("t", (1, 2), leader=2)

    assert elect(world, PREFERRED, ("t", (0,))) == {"t-0": ErrorCode.none}
    assert world.partition("t").leader == 1
    assert world.partition("t").leader_epoch == 1


def test_what_is_not_needed(world: World) -> None:
    world.add_topic("t", (1, 2))

    assert elect(world, PREFERRED, ("t", (0,))) == {"t-0": ErrorCode.election_not_needed}
    assert elect(world, UNCLEAN, ("t", (0,))) == {"t-0": ErrorCode.election_not_needed}


def test_what_does_not_exist(world: World) -> None:
    world.add_topic("t", (1, 2))

    assert elect(world, PREFERRED, ("t", (1,)), ("u", (0,))) == {
        "t-1": ErrorCode.unknown_topic_or_partition,
        "u-0": ErrorCode.unknown_topic_or_partition,
    }


@pytest.mark.parametrize("state", [{"isr": (2,)}, {}], ids=["not in sync", "fenced"])
def test_a_preferred_replica_that_cannot_lead(world: World, state: dict[str, Any]) -> None:
    world.add_topic("t", (1, 2), leader=2, **state)
    if not state:
        world.set_broker(1, fenced=True)
    before = world.next_offset

    assert elect(world, PREFERRED, ("t", (0,))) == {"t-0": ErrorCode.preferred_leader_not_available}
    assert world.next_offset == before


def test_a_preferred_election_elects_nobody_else(world: World) -> None:
    # The present leader is gone as well; that is for another kind of election.
    world.add_topic("t", (1, 2, 3), leader=2, isr=(2, 3))
    world.set_broker(2, fenced=True)

    assert elect(world, PREFERRED, ("t", (0,))) == {"t-0": ErrorCode.preferred_leader_not_available}


def test_unclean_ignores_the_topics_config(world: World) -> None:
    world.add_topic("t", (1, 2), isr=(1,), leader=NO_LEADER)
    world.set_broker(1, fenced=True)

    assert elect(world, UNCLEAN, ("t", (0,))) == {"t-0": ErrorCode.none}

    partition = world.partition("t")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (2, (2,), RECOVERING)


def test_unclean_without_an_active_replica(world: World) -> None:
    world.add_topic("t", (1,), leader=NO_LEADER)
    world.set_broker(1, fenced=True)

    assert elect(world, UNCLEAN, ("t", (0,))) == {"t-0": ErrorCode.eligible_leaders_not_available}


def test_every_partition(world: World) -> None:
    world.add_topic("good", (1, 2))
    world.add_topic("moved", (1, 2), (2, 1), leader=1)
    world.add_topic("stuck", (3, 1), leader=1, isr=(1,))

    assert elect(world, PREFERRED, None) == {
        "moved-1": ErrorCode.none,
        "stuck-0": ErrorCode.preferred_leader_not_available,
    }


def test_a_partition_that_comes_twice_is_elected_once(world: World) -> None:
    world.add_topic("t", (1, 2), leader=2)

    elect(world, PREFERRED, ("t", (0, 0)), ("t", (0,)))

    assert world.partition("t").partition_epoch == 1


def test_an_unknown_type(world: World) -> None:
    assert refused(world, elect_leaders, ElectLeadersRequest(election_type=2)) is ErrorCode.invalid_request


def test_too_many_partitions_to_look_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elections, "MAX_PARTITIONS_ELECTED_AT_ONCE", 2)
    world.add_topic("t", (1,), (1,), (1,))

    assert refused(world, elect_leaders, ElectLeadersRequest()) is ErrorCode.policy_violation


def test_too_many_elections() -> None:
    world = World(config=config(max_records_per_operation=1))
    world.add_broker(1)
    world.add_broker(2)
    world.add_topic("t", (1, 2), (1, 2), leader=2)

    assert refused(world, elect_leaders, ElectLeadersRequest()) is ErrorCode.policy_violation


# --- by the clock


def test_imbalanced_partitions_are_found_and_balanced(world: World) -> None:
    world.add_topic("balanced", (1, 2))
    moved = world.add_topic("moved", (1, 2), (2, 3), leader=2)
    world.add_topic("out of sync", (1, 2), leader=2, isr=(2,))
    world.add_topic("leaderless", (1, 2), leader=NO_LEADER)

    found = [*find_not_preferred(world.image)]
    world.run(elect_preferred, [partition for part in found for partition in part])

    assert found == [[(moved.id, 0)]]
    assert world.partition("moved").leader == 1


def test_a_candidate_is_judged_again_when_its_turn_comes(world: World) -> None:
    topic = world.add_topic("t", (1, 2), leader=2)
    gone = world.add_topic("gone", (1, 2))
    found = [(topic.id, 0), (topic.id, 5), (gone.id, 0)]
    world.set_broker(1, fenced=True)
    before = world.next_offset

    world.run(elect_preferred, found)
    world.run(elect_leaderless, found)

    assert world.next_offset == before


def test_leaderless_partitions_are_elected_as_far_as_the_topic_allows(world: World) -> None:
    world.add_topic("clean", (1, 2), leader=NO_LEADER, isr=(2,))
    world.add_topic("unclean", (1, 2), leader=NO_LEADER, isr=(1,))
    world.add_topic("stuck", (1, 2), leader=NO_LEADER, isr=(1,))
    world.set_broker(1, fenced=True)
    world.replay([
        ConfigRecord(
            resource_type=2, resource_name="unclean", name="unclean.leader.election.enable", value="true"
        )
    ])  # fmt: skip

    found = [*find_leaderless(world.image)]
    world.run(elect_leaderless, [partition for part in found for partition in part])

    assert [world.partition(name).leader for name in ("clean", "unclean", "stuck")] == [2, 2, NO_LEADER]
    assert world.partition("clean").leader_recovery_state != RECOVERING
    assert world.partition("unclean").leader_recovery_state == RECOVERING


@pytest.mark.parametrize("where", ["topic", "node", "cluster", "file"])
def test_where_unclean_elections_are_allowed(where: str) -> None:
    key = "unclean.leader.election.enable"
    world = World(config=config(static={key: "true"} if where == "file" else {}))
    topic = world.add_topic("t", (1, 2), leader=NO_LEADER, isr=(1,))
    world.add_broker(2)
    type_, name = {"topic": (2, "t"), "node": (4, "3000"), "cluster": (4, "")}.get(where, (0, ""))
    if type_:
        world.replay([ConfigRecord(resource_type=type_, resource_name=name, name=key, value=" TRUE ")])

    world.run(elect_leaderless, leaderless_of(world.image, "t"))

    assert world.partition("t").leader == 2
    assert leaderless_of(world.image, "t") == []
    assert leaderless_of(world.image, "u") == []
    assert topic.partition_count == 1


def test_a_walk_comes_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elections, "PARTITIONS_PER_SLICE", 3)
    monkeypatch.setattr(elections, "MAX_ELECTIONS_PER_RUN", 2)
    world.add_topic("a", *[(1, 2)] * 4)
    world.add_topic("b", *[(1, 2)] * 4, leader=2)

    slices = [*find_not_preferred(world.image)]

    assert [len(part) for part in slices] == [0, 2, 2, 0]
    assert sorted(index for part in slices for _, index in part) == [0, 1, 2, 3]
