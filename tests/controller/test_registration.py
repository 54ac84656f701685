"""BrokerRegistration, UnregisterBroker, ControllerRegistration, AllocateProducerIds."""

import uuid
from typing import Any

import pytest

from quorate.controller.producer_ids import BLOCK_SIZE, allocate_producer_ids, init_producer_id
from quorate.controller.registration import register_broker, register_controller, unregister_broker
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import format_records
from quorate.metadata.records import (
    NO_LEADER,
    FeatureLevelRecord,
    PartitionChangeRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
)
from quorate.metadata.wire.brokers import (
    AllocateProducerIdsRequest,
    BrokerRegistrationRequest,
    ControllerRegistrationRequest,
    Feature,
    Listener,
    UnregisterBrokerRequest,
)
from quorate.metadata.wire.coordinators import InitProducerIdRequest
from tests.controller.world import CLUSTER_ID, SESSION_MS, World, directory, incarnation, refused

LISTENER = Listener(name="PLAINTEXT", host="h", port=9092, security_protocol=0)


def registration(broker_id: int = 1, **fields: Any) -> BrokerRegistrationRequest:
    features = fields.pop("features", {"metadata.version": (1, 25)})
    values: dict[str, Any] = {
        "broker_id": broker_id,
        "cluster_id": CLUSTER_ID,
        "incarnation_id": incarnation(broker_id),
        "listeners": (LISTENER,),
        "features": tuple(
            Feature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in features.items()
        ),
        "log_dirs": (directory(broker_id),),
        **fields,
    }
    return BrokerRegistrationRequest(**values)


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_broker_is_fenced_and_its_epoch_is_its_records_offset(world: World) -> None:
    offset = world.next_offset

    response = world.run(register_broker, registration(rack="r"))

    assert response.broker_epoch == offset == world.broker(1).epoch
    broker = world.broker(1)
    assert (broker.fenced, broker.in_controlled_shutdown, broker.rack) == (True, False, "r")
    assert broker.incarnation_id == incarnation(1)
    assert broker.log_dirs == (directory(1),)
    assert broker.listeners[0].port == 9092


def test_the_same_process_keeps_epoch_and_flags(world: World) -> None:
    epoch = world.run(register_broker, registration()).broker_epoch
    world.set_broker(1, fenced=False)

    again = world.run(register_broker, registration(rack="elsewhere"))

    assert again.broker_epoch == epoch
    assert (world.broker(1).fenced, world.broker(1).rack) == (False, "elsewhere")


# --- checks, in order


def test_another_cluster(world: World) -> None:
    world.add_broker(1)
    wrong = registration(cluster_id="other", incarnation_id=incarnation(1, 1), log_dirs=())

    assert refused(world, register_broker, wrong) is ErrorCode.inconsistent_cluster_id


def test_another_process_while_the_first_is_alive(world: World) -> None:
    world.add_broker(1)
    second = registration(incarnation_id=incarnation(1, 1), log_dirs=())

    assert refused(world, register_broker, second) is ErrorCode.duplicate_broker_registration


def test_a_new_process_on_the_same_directories_need_not_wait_for_the_session(world: World) -> None:
    """It holds their locks, so the first one is dead; Kafka lets it wait (KAFKA-19047)."""
    first = world.add_broker(1)
    again = registration(incarnation_id=incarnation(1, 1), log_dirs=first.log_dirs)

    assert world.run(register_broker, again).broker_epoch > first.epoch
    assert world.broker(1).fenced


def test_a_migrating_broker(world: World) -> None:
    wrong = registration(is_migrating_zk_broker=True, log_dirs=())

    assert refused(world, register_broker, wrong) is ErrorCode.broker_id_not_registered


@pytest.mark.parametrize(
    "directories",
    [(), (uuid.UUID(int=0),), (uuid.UUID(int=99),), (directory(1), directory(1)), (directory(2),)],
)
def test_directories(world: World, directories: tuple[uuid.UUID, ...]) -> None:
    world.add_broker(2)
    wrong = registration(log_dirs=directories, features={})

    assert refused(world, register_broker, wrong) is ErrorCode.invalid_registration


@pytest.mark.parametrize(
    "features", [{}, {"metadata.version": (1, 20)}, {"metadata.version": (22, 25)}, {"x": (1, 99)}]
)
def test_features_that_do_not_fit(world: World, features: dict[str, tuple[int, int]]) -> None:
    wrong = registration(features=features)

    assert refused(world, register_broker, wrong) is ErrorCode.unsupported_version


def test_a_finalized_feature_that_the_broker_does_not_list(world: World) -> None:
    world.replay([FeatureLevelRecord(name="group.version", feature_level=1)])

    assert refused(world, register_broker, registration()) is ErrorCode.unsupported_version
    listed = registration(features={"metadata.version": (1, 25), "group.version": (0, 1)})
    world.run(register_broker, listed)


# --- a process that comes back


def test_a_new_process_takes_over_when_the_session_is_over(world: World) -> None:
    old = world.add_broker(1)
    world.now_ms += SESSION_MS

    epoch = world.run(register_broker, registration(incarnation_id=incarnation(1, 1))).broker_epoch

    assert epoch > old.epoch
    assert world.broker(1).fenced


@pytest.mark.parametrize("state", [{"fenced": True}, {"in_controlled_shutdown": True}])
def test_who_was_fenced_or_shutting_down_may_come_back_at_once(world: World, state: dict[str, bool]) -> None:
    world.add_broker(1)
    world.set_broker(1, **state)

    world.run(register_broker, registration(incarnation_id=incarnation(1, 1)))

    assert world.broker(1).incarnation_id == incarnation(1, 1)
    assert not world.broker(1).in_controlled_shutdown


@pytest.mark.parametrize("state", [{}, {"in_controlled_shutdown": True}])
def test_what_the_old_process_still_led_goes_to_others_first(world: World, state: dict[str, bool]) -> None:
    # Its session is over, and the task that would have fenced it has not had its turn.
    world.add_broker(1)
    world.add_broker(2)
    world.add_topic("t", (1, 2), (1,))
    if state:
        world.set_broker(1, **state)
    world.now_ms += SESSION_MS

    epoch = world.run(register_broker, registration(incarnation_id=incarnation(1, 1))).broker_epoch

    assert (world.partition("t", 0).leader, world.partition("t", 0).isr) == (2, (2,))
    assert (world.partition("t", 1).leader, world.partition("t", 1).isr) == (NO_LEADER, (1,))
    assert epoch == world.next_offset - 1 == world.broker(1).epoch


def at_level(level: int) -> World:
    made = World()
    made.replay(format_records(level))
    return made


@pytest.mark.parametrize(
    ("level", "clean", "removed"),
    [(22, False, False), (23, True, False), (23, False, True)],
)
def test_a_broker_that_cannot_say_that_it_stopped_cleanly_leaves_its_isrs(
    level: int, clean: bool, removed: bool
) -> None:
    world = at_level(level)
    old = world.add_broker(1, fenced=True)
    world.add_broker(2)
    world.add_topic("t", (1, 2), (1,), leader=NO_LEADER)
    request = registration(incarnation_id=incarnation(1, 1), previous_broker_epoch=old.epoch if clean else -1)

    result = world.decide(register_broker, request)

    assert not result.atomic
    assert isinstance(result.records[-1], RegisterBrokerRecord)
    offset_of_record = world.next_offset + len(result.records) - 1
    assert result.response.broker_epoch == result.records[-1].broker_epoch == offset_of_record
    changes = [r for r in result.records if isinstance(r, PartitionChangeRecord)]
    assert [r.isr for r in changes] == ([(2,)] if removed else [])


def test_a_lightweight_broker_has_nothing_to_lose() -> None:
    world = at_level(23)
    world.add_broker(1, fenced=True, lightweight=True)
    world.add_topic("t", (1, 2))

    result = world.decide(register_broker, registration(incarnation_id=incarnation(1, 1)))

    assert [type(r) for r in result.records] == [RegisterBrokerRecord]


# --- unregistering


def test_unregistering(world: World) -> None:
    world.add_broker(1)
    world.add_broker(2)
    world.add_topic("t", (1, 2))

    world.run(unregister_broker, UnregisterBrokerRequest(broker_id=1))

    assert world.image.cluster.broker(1) is None
    assert (world.partition("t").leader, world.partition("t").isr) == (2, (2,))


def test_unregistering_who_is_not_registered(world: World) -> None:
    wrong = UnregisterBrokerRequest(broker_id=1)

    assert refused(world, unregister_broker, wrong) is ErrorCode.broker_id_not_registered


# --- controllers


def test_a_controller_registers_and_registers_again(world: World) -> None:
    request = ControllerRegistrationRequest(
        controller_id=3001,
        incarnation_id=incarnation(3001),
        listeners=(LISTENER,),
        features=(Feature(name="metadata.version", min_supported_version=21, max_supported_version=25),),
    )

    for _ in range(2):
        before = world.next_offset
        world.run(register_controller, request)
        assert world.next_offset == before + 1

    registered = [*world.image.cluster.controllers.values()]
    assert [(c.id, c.incarnation_id) for c in registered] == [(3001, incarnation(3001))]
    assert registered[0].features["metadata.version"].max_supported_version == 25


# --- producer ids


def test_blocks_follow_each_other(world: World) -> None:
    epoch = world.add_broker(1).epoch
    request = AllocateProducerIdsRequest(broker_id=1, broker_epoch=epoch)

    blocks = [world.run(allocate_producer_ids, request) for _ in range(3)]

    assert [(b.producer_id_start, b.producer_id_len) for b in blocks] == [
        (0, BLOCK_SIZE),
        (BLOCK_SIZE, BLOCK_SIZE),
        (2 * BLOCK_SIZE, BLOCK_SIZE),
    ]


@pytest.mark.parametrize(("broker_id", "epoch"), [(2, 1), (1, 10_000)])
def test_only_registered_brokers_get_ids(world: World, broker_id: int, epoch: int) -> None:
    world.add_broker(1)
    request = AllocateProducerIdsRequest(broker_id=broker_id, broker_epoch=epoch)

    assert refused(world, allocate_producer_ids, request) is ErrorCode.stale_broker_epoch


def test_the_last_ids(world: World) -> None:
    epoch = world.add_broker(1).epoch
    request = AllocateProducerIdsRequest(broker_id=1, broker_epoch=epoch)
    last = 2**63 - 1 - BLOCK_SIZE
    world.replay([ProducerIdsRecord(broker_id=world.broker(1).id, broker_epoch=epoch, next_producer_id=last)])

    assert world.run(allocate_producer_ids, request).producer_id_start == last
    assert refused(world, allocate_producer_ids, request) is ErrorCode.unknown_server_error


def test_a_single_id_comes_between_blocks_and_is_never_given_again(world: World) -> None:
    block = AllocateProducerIdsRequest(broker_id=1, broker_epoch=world.add_broker(1).epoch)
    had_one = InitProducerIdRequest(producer_id=5, producer_epoch=3)

    ids = [
        world.run(init_producer_id, InitProducerIdRequest()).producer_id,
        world.run(allocate_producer_ids, block).producer_id_start,
        world.run(init_producer_id, had_one).producer_id,
    ]

    assert ids == [0, 1, 1 + BLOCK_SIZE]
    assert world.run(init_producer_id, had_one).producer_epoch == 0


def test_a_transactional_producer_is_sent_to_its_coordinator(world: World) -> None:
    request = InitProducerIdRequest(transactional_id="t")

    assert refused(world, init_producer_id, request) is ErrorCode.not_coordinator
