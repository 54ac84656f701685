"""AssignReplicasToDirs: where a broker keeps its replicas, and what becomes of those in a directory that is offline."""

import uuid

import attrs
import pytest

from quorate.controller.replica_dirs import assign_replicas_to_dirs
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import LOST_DIRECTORY, UNASSIGNED_DIRECTORY
from quorate.metadata.records import UNCHANGED, FeatureLevelRecord, PartitionChangeRecord
from quorate.metadata.wire.brokers import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsRequestDirectoryData,
    AssignReplicasToDirsRequestPartitionData,
    AssignReplicasToDirsRequestTopicData,
)
from tests.controller.world import World, directory, refused

UNKNOWN = uuid.UUID(int=(9 << 100))


@pytest.fixture
def world() -> World:
    """Broker 1 has two directories and has not said where it keeps t-0 and t-1, which it leads."""
    made = World()
    made.add_broker(1, directories=2)
    for broker_id in (2, 3):
        made.add_broker(broker_id)
    made.add_topic("t", (1, 2), (1, 3), directories=(UNASSIGNED_DIRECTORY, directory(2)))
    made.add_topic("other", (2, 3))
    return made


def request(
    world: World, *said: tuple[uuid.UUID, uuid.UUID, int], sender: int = 1
) -> AssignReplicasToDirsRequest:
    """(directory, topic id, partition)."""
    return AssignReplicasToDirsRequest(
        broker_id=sender,
        broker_epoch=world.broker(sender).epoch,
        directories=tuple(
            AssignReplicasToDirsRequestDirectoryData(
                id=where,
                topics=(
                    AssignReplicasToDirsRequestTopicData(
                        topic_id=topic,
                        partitions=(AssignReplicasToDirsRequestPartitionData(partition_index=index),),
                    ),
                ),
            )
            for where, topic, index in said
        ),
    )


def assign(world: World, *said: tuple[uuid.UUID, uuid.UUID, int], sender: int = 1) -> list[ErrorCode]:
    response = world.run(assign_replicas_to_dirs, request(world, *said, sender=sender))
    assert [(d.id, t.topic_id) for d in response.directories for t in d.topics] == [s[:2] for s in said]
    return [p.error_code for d in response.directories for t in d.topics for p in t.partitions]


def test_a_broker_says_where_it_keeps_its_replicas(world: World) -> None:
    topic = world.topic("t").id
    assert assign(world, (directory(1, 0), topic, 0), (directory(1, 1), topic, 1)) == [ErrorCode.none] * 2

    assert world.partition("t", 0).directories == (directory(1, 0), directory(2))
    assert world.partition("t", 1).directories[0] == directory(1, 1)
    assert (world.partition("t", 0).leader, world.partition("t", 0).leader_epoch) == (1, 0)


def test_what_is_so_already_is_written_no_more(world: World) -> None:
    said = (directory(1, 0), world.topic("t").id, 0)
    assign(world, said)
    before = world.next_offset
    assert assign(world, said) == [ErrorCode.none]
    assert world.next_offset == before


@pytest.mark.parametrize("where", [LOST_DIRECTORY, UNKNOWN])
def test_a_replica_in_a_directory_that_is_not_online_leads_no_more(world: World, where: uuid.UUID) -> None:
    assert assign(world, (where, world.topic("t").id, 0)) == [ErrorCode.none]

    after = world.partition("t", 0)
    assert (after.leader, after.isr, after.directories[0]) == (2, (2,), where)
    assert after.leader_epoch == 1


def test_who_leads_nothing_there_changes_the_directory_only(world: World) -> None:
    assign(world, (directory(2), world.topic("t").id, 0), sender=2)
    assign(world, (directory(1, 1), world.topic("t").id, 0))
    (record,) = [r for r in world.records if isinstance(r, PartitionChangeRecord)][-1:]
    assert (record.isr, record.leader, record.replicas) == (UNCHANGED, UNCHANGED, UNCHANGED)


def test_what_is_refused_partition_by_partition(world: World) -> None:
    topic = world.topic("t").id
    here = directory(1, 0)
    assert assign(
        world,
        (here, UNKNOWN, 0),
        (here, topic, 7),
        (here, world.topic("other").id, 0),
        (here, topic, 0),
        (directory(1, 1), topic, 0),
    ) == [
        ErrorCode.unknown_topic_id,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.not_leader_or_follower,
        ErrorCode.none,
        ErrorCode.invalid_request,
    ]
    assert world.partition("t", 0).directories[0] == here


def test_a_broker_of_another_life_is_refused(world: World) -> None:
    asked = attrs.evolve(request(world), broker_epoch=world.broker(1).epoch - 1)
    assert refused(world, assign_replicas_to_dirs, asked) is ErrorCode.stale_broker_epoch
    assert (
        refused(world, assign_replicas_to_dirs, attrs.evolve(asked, broker_id=9))
        is ErrorCode.stale_broker_epoch
    )


def test_before_there_were_directories(world: World) -> None:
    world.replay([FeatureLevelRecord(name="metadata.version", feature_level=16)])
    assert refused(world, assign_replicas_to_dirs, request(world)) is ErrorCode.unsupported_version
