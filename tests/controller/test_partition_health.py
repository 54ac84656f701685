"""Partitions without their leader, counted in the background."""

import random

import pytest
import trio
import trio.testing

from quorate.controller.partition_health import (
    NOT_PREFERRED,
    OFFLINE,
    PartitionHealth,
    Tally,
    recount,
)
from quorate.metadata.image.rows import CHUNK_SLOTS
from quorate.metadata.image.topics import TopicsImage
from quorate.metadata.records import PartitionChangeRecord, RemoveTopicRecord
from tests.controller.world import World

Clock = trio.testing.MockClock


@pytest.fixture
def world() -> World:
    world = World()
    for broker_id in (1, 2, 3):
        world.add_broker(broker_id)
    return world


def lead(world: World, topic: str, partition: int, leader: int) -> None:
    record = PartitionChangeRecord(
        version=0, topic_id=world.topic(topic).id, partition_id=partition, leader=leader
    )
    world.replay([record])


def count(topics: TopicsImage, before: Tally | None = None) -> Tally:
    after = Tally(topics)
    for _ in recount(before or Tally(), after):
        pass
    return after


def by_walking(topics: TopicsImage) -> tuple[int, int]:
    partitions = [partition for topic in topics for _, partition in topic.partitions()]
    offline = sum(p.leader == -1 for p in partitions)
    return offline, sum(p.leader != p.preferred_replica for p in partitions)


def test_a_healthy_cluster(world: World) -> None:
    world.add_topic("t", [1, 2], [2, 3], [3, 1])

    found = count(world.image.topics)

    assert (found.offline, found.not_preferred, found.troubled) == (0, 0, {})


def test_partitions_in_trouble(world: World) -> None:
    world.add_topic("t", [1, 2], [2, 3], [3, 1])
    world.add_topic("u", [1, 2])
    lead(world, "t", 0, 2)
    lead(world, "t", 1, -1)
    lead(world, "u", 0, -1)

    found = count(world.image.topics)

    assert (found.offline, found.not_preferred) == (2, 3)


def test_counting_on_is_counting_anew(world: World) -> None:
    rng = random.Random(5)
    for number in range(8):
        world.add_topic(f"t{number}", *[[1, 2, 3]] * (1 + number * 20))
    tally = count(world.image.topics)
    for step in range(60):
        number = rng.randrange(8)
        name = f"t{number}"
        if step % 20 == 19:
            world.replay([RemoveTopicRecord(version=0, topic_id=world.topic(name).id)])
            world.add_topic(name, *[[2, 1]] * (1 + number * 20))
        else:
            lead(world, name, rng.randrange(1 + number * 20), rng.choice([-1, 1, 2]))
        if step % 3 == 0:
            tally = count(world.image.topics, tally)
            assert (tally.offline, tally.not_preferred) == by_walking(world.image.topics)


def test_a_topic_that_did_not_change_is_not_looked_at(world: World) -> None:
    world.add_topic("large", *[[1, 2]] * (CHUNK_SLOTS * 10))
    world.add_topic("small", [1, 2])
    first = count(world.image.topics)
    lead(world, "small", 0, -1)

    steps = sum(1 for _ in recount(first, Tally(world.image.topics)))

    assert steps == 3  # the small one's chunk, and each topic
    assert sum(1 for _ in recount(Tally(), Tally(world.image.topics))) == 3 + 10


async def test_the_newest_image_is_counted_and_how_old_the_count_is_told(
    world: World, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    world.add_topic("t", [1, 2])
    health = PartitionHealth(lambda: world.image.topics)
    assert list(health.samples()) == []

    nursery.start_soon(health.run)
    await trio.testing.wait_all_tasks_blocked()
    assert [sample.value for sample in health.samples()] == [0, 0, 0]

    lead(world, "t", 0, -1)
    await trio.sleep(0.5)
    assert [sample.value for sample in health.samples()] == [0, 0, 0.5]
    await trio.sleep(0.75)
    assert [sample.value for sample in health.samples()] == [1, 1, pytest.approx(0.25)]
    assert [sample.family for sample in health.samples()][:2] == [OFFLINE, NOT_PREFERRED]
