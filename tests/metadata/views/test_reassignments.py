"""ListPartitionReassignments: only what moves, only what was asked for."""

import pytest

from quorate.metadata.views import SAME_EVERYWHERE
from quorate.metadata.views.reassignments import answer_partition_reassignments
from quorate.metadata.wire.cluster import ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics
from tests.controller.world import World


@pytest.fixture
def world() -> World:
    made = World()
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    made.add_topic("still", (1, 2))
    made.add_topic("b", (3, 1), (3, 1), adding_replicas=(3,), isr=(1,), leader=1)
    made.add_topic("a", (1, 2), removing_replicas=(2,))
    return made


def asked(world: World, *wanted: tuple[str, tuple[int, ...]] | None) -> list[tuple[str, list[int]]]:
    """(topic, numbers) of the answer; None asks for all."""
    topics = tuple(
        ListPartitionReassignmentsTopics(name=one[0], partition_indexes=one[1]) for one in wanted if one
    )
    request = ListPartitionReassignmentsRequest(topics=None if wanted == (None,) else topics)
    found = answer_partition_reassignments(world.image, request).topics
    return [(topic.name, [one.partition_index for one in topic.partitions]) for topic in found]


def test_all_that_move(world: World) -> None:
    assert asked(world, None) == [("a", [0]), ("b", [0, 1])]


def test_partitions_with_hundreds_of_replicas_have_rows_of_another_form(world: World) -> None:
    many = tuple(range(300))
    world.add_topic("c", many)
    world.add_topic("d", many, many, removing_replicas=(299,))
    world.add_topic("e", many, adding_replicas=many[1:])

    assert asked(world, None)[2:] == [("d", [0, 1]), ("e", [0])]


def test_those_that_are_named(world: World) -> None:
    assert asked(world, ("b", (1, 7)), ("still", (0,)), ("nowhere", (0,))) == [("b", [1])]
    assert asked(world) == []


def test_each_with_its_lists(world: World) -> None:
    request = ListPartitionReassignmentsRequest()
    added, removed = (topic.partitions[0] for topic in reversed(answer_of(world, request)))
    assert (added.replicas, added.adding_replicas, added.removing_replicas) == ((3, 1), (3,), ())
    assert (removed.replicas, removed.adding_replicas, removed.removing_replicas) == ((1, 2), (), (2,))


def answer_of(world: World, request: ListPartitionReassignmentsRequest):
    return SAME_EVERYWHERE[type(request)](world.image, request).topics
