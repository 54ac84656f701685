"""AlterPartition: every fence in Kafka's order, and the state that the leader is told."""

import uuid
from typing import Any

import pytest

from quorate.controller.alter_partition import alter_partition
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import RECOVERED, RECOVERING, PartitionChangeRecord
from quorate.metadata.wire.brokers import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponsePartitionData,
    BrokerState,
)
from tests.controller.world import World, directory, refused


@pytest.fixture
def world() -> World:
    """Broker 1 leads t-0 (replicas 1, 2, 3) at leader epoch 3 and partition epoch 7; in sync are 1 and 2."""
    made = World()
    for broker_id in (1, 2, 3, 4):
        made.add_broker(broker_id)
    made.add_topic("t", (1, 2, 3), isr=(1, 2), leader_epoch=3, partition_epoch=7)
    return made


def wanted(isr: tuple[int, ...], **fields: Any) -> AlterPartitionRequestPartitionData:
    epochs = fields.pop("epochs", {})
    values: dict[str, Any] = {"partition_index": 0, "leader_epoch": 3, "partition_epoch": 7, **fields}
    return AlterPartitionRequestPartitionData(
        new_isr_with_epochs=tuple(BrokerState(broker_id=b, broker_epoch=epochs.get(b, -1)) for b in isr),
        **values,
    )


def alter(
    world: World,
    *partitions: AlterPartitionRequestPartitionData,
    sender: int = 1,
    topic_id: uuid.UUID | None = None,
) -> list[AlterPartitionResponsePartitionData]:
    request = AlterPartitionRequest(
        broker_id=sender,
        broker_epoch=world.broker(sender).epoch,
        topics=(
            AlterPartitionRequestTopicData(topic_id=topic_id or world.topic("t").id, partitions=partitions),
        ),
    )
    return [*world.run(alter_partition, request).topics[0].partitions]


def test_the_isr_grows(world: World) -> None:
    answer = alter(world, wanted((1, 2, 3)))[0]

    assert answer == AlterPartitionResponsePartitionData(
        partition_index=0,
        leader_id=1,
        leader_epoch=3,
        isr=(1, 2, 3),
        leader_recovery_state=RECOVERED,
        partition_epoch=8,
    )
    assert world.partition("t").isr == (1, 2, 3)


def test_the_isr_shrinks_without_a_new_leader_epoch(world: World) -> None:
    answer = alter(world, wanted((1,)))[0]

    assert (answer.isr, answer.leader_epoch, answer.partition_epoch) == ((1,), 3, 8)


def test_what_is_already_so_is_answered_without_a_record(world: World) -> None:
    before = world.next_offset

    answer = alter(world, wanted((1, 2)))[0]

    assert (answer.error_code, answer.partition_epoch, world.next_offset) == (ErrorCode.none, 7, before)


@pytest.mark.parametrize(("sender", "epoch"), [(9, 1), (1, 10_000), (1, -1)])
def test_an_unknown_broker_or_an_old_registration(world: World, sender: int, epoch: int) -> None:
    request = AlterPartitionRequest(broker_id=sender, broker_epoch=epoch)

    assert refused(world, alter_partition, request) is ErrorCode.stale_broker_epoch


def test_an_unknown_topic(world: World) -> None:
    answer = alter(world, wanted((1,)), topic_id=uuid.UUID(int=5))[0]

    assert answer.error_code is ErrorCode.unknown_topic_id


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (wanted((1,), partition_index=1), ErrorCode.unknown_topic_or_partition),
        (wanted((1,), leader_epoch=4), ErrorCode.not_controller),
        (wanted((1,), partition_epoch=8), ErrorCode.not_controller),
        # An epoch ahead of ours counts before one behind.
        (wanted((1,), leader_epoch=2, partition_epoch=8), ErrorCode.not_controller),
        (wanted((1,), leader_epoch=2), ErrorCode.fenced_leader_epoch),
        (wanted((1,), leader_epoch=2, partition_epoch=6), ErrorCode.fenced_leader_epoch),
        (wanted((1,), partition_epoch=6), ErrorCode.invalid_update_version),
        (wanted((1, 1)), ErrorCode.invalid_request),
        (wanted((1, 4)), ErrorCode.invalid_request),
        (wanted((2, 3)), ErrorCode.invalid_request),
        (wanted(()), ErrorCode.invalid_request),
        (wanted((1, 2), leader_recovery_state=RECOVERING), ErrorCode.invalid_request),
        (wanted((1,), leader_recovery_state=RECOVERING), ErrorCode.invalid_request),
        (wanted((1,), leader_recovery_state=2), ErrorCode.invalid_request),
        (wanted((1, 3), epochs={3: 10_000}), ErrorCode.ineligible_replica),
    ],
)
def test_fences(world: World, asked: AlterPartitionRequestPartitionData, code: ErrorCode) -> None:
    before = world.next_offset

    assert alter(world, asked)[0].error_code is code
    assert world.next_offset == before


def test_only_the_leader_may_ask(world: World) -> None:
    assert alter(world, wanted((1, 2)), sender=2)[0].error_code is ErrorCode.invalid_request
    old = wanted((1, 2), partition_epoch=6)
    assert alter(world, old, sender=2)[0].error_code is ErrorCode.invalid_request


@pytest.mark.parametrize("state", [{"fenced": True}, {"in_controlled_shutdown": True}])
def test_an_inactive_member(world: World, state: dict[str, bool]) -> None:
    world.set_broker(3, **state)

    assert alter(world, wanted((1, 2, 3)))[0].error_code is ErrorCode.ineligible_replica


def test_a_member_with_the_right_epoch(world: World) -> None:
    epochs = {3: world.broker(3).epoch}

    assert alter(world, wanted((1, 2, 3), epochs=epochs))[0].error_code is ErrorCode.none


def test_a_leader_recovers() -> None:
    world = World()
    for broker_id in (1, 2):
        world.add_broker(broker_id)
    world.add_topic(
        "t", (1, 2), isr=(1,), leader_recovery_state=RECOVERING, leader_epoch=3, partition_epoch=7
    )

    still = alter(world, wanted((1,), leader_recovery_state=RECOVERING))[0]
    done = alter(world, wanted((1,), leader_recovery_state=RECOVERED))[0]

    assert (still.error_code, still.leader_recovery_state) == (ErrorCode.none, RECOVERING)
    assert (done.error_code, done.leader_recovery_state, done.partition_epoch) == (
        ErrorCode.none,
        RECOVERED,
        8,
    )


def test_a_reassignment_that_completes_and_takes_the_lead(world: World) -> None:
    moving = PartitionChangeRecord(
        version=1,
        partition_id=0,
        topic_id=world.topic("t").id,
        replicas=(4, 1, 2, 3),
        directories=tuple(directory(r) for r in (4, 1, 2, 3)),
        removing_replicas=(1, 2, 3),
        adding_replicas=(4,),
    )
    world.replay([moving])

    answer = alter(world, wanted((1, 2, 4), partition_epoch=8))[0]

    assert answer.error_code is ErrorCode.new_leader_elected
    partition = world.partition("t")
    assert (partition.replicas, partition.isr, partition.leader) == ((4,), (4,), 4)
    assert partition.leader_epoch == 4


def test_a_partition_that_comes_twice_is_changed_once(world: World) -> None:
    answers = alter(world, wanted((1,)), wanted((1, 2, 3)))

    assert [a.error_code for a in answers] == [ErrorCode.none, ErrorCode.invalid_request]
    assert world.partition("t").isr == (1,)
