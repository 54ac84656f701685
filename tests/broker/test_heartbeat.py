"""The life cycle's shell: what leaves, what an answer becomes, when listeners open and the process ends."""

import random
import uuid

import attrs
import pytest
import trio
import trio.testing

from quorate.broker.heartbeat import BrokerIdentity, BrokerLife
from quorate.broker.lifecycle import BrokerState, LifecycleSettings
from quorate.broker.loader import Cause, Publication
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import FailureKind
from quorate.metadata.features import format_records
from quorate.metadata.ids import NodeId
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.records import RegisterBrokerRecord
from quorate.metadata.wire.brokers import (
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    Feature,
    Listener,
)
from tests.broker.wire import Wire, failure, leader

Clock = trio.testing.MockClock
OURS = uuid.UUID(int=900)
BROKER = NodeId(5)
IDENTITY = BrokerIdentity(
    broker_id=BROKER,
    cluster_id="a-cluster",
    incarnation_id=OURS,
    listeners=(Listener(name="PLAINTEXT", host="b5", port=9092, security_protocol=0),),
    features=(Feature(name="f", min_supported_version=1, max_supported_version=2),),
    rack="r",
    log_dirs=(uuid.UUID(int=901),),
)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def life(wire: Wire, nursery: trio.Nursery) -> BrokerLife:
    """Started, and has met no controller yet."""
    life = BrokerLife(IDENTITY, LifecycleSettings(), wire, random.Random(1))
    nursery.start_soon(life.run)
    await trio.sleep(0.07)
    return life


def registered(epoch: int, *, fenced: bool = True) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        version=3,
        broker_id=BROKER,
        incarnation_id=OURS,
        broker_epoch=epoch,
        end_points=(),
        features=(),
        rack=None,
        fenced=fenced,
    )


def publication(offset: int, epoch: int) -> Publication:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all([*format_records(), registered(epoch)])
    image = delta.apply(Provenance(offset=offset, epoch=1, append_time_ms=0))
    return Publication(MetadataImage.EMPTY, image, Cause.FIRST)


def beat(caught_up: bool = False, fenced: bool = True, stop: bool = False) -> BrokerHeartbeatResponse:
    return BrokerHeartbeatResponse(is_caught_up=caught_up, is_fenced=fenced, should_shut_down=stop)


def running(life: BrokerLife, wire: Wire) -> None:
    """Takes it through the life of a healthy broker, up to the answer to its last heartbeat."""
    life.leader_changed(leader(1))
    wire.take().on_reply(BrokerRegistrationResponse(broker_epoch=7))
    waiting = wire.take()
    life.published(publication(7, epoch=7))
    waiting.on_reply(beat(caught_up=True, fenced=False))
    assert life.state is BrokerState.RUNNING


async def test_it_registers_as_who_it_is(life: BrokerLife, wire: Wire, autojump_clock: Clock) -> None:
    assert wire.sent == []  # nobody to send to yet
    life.leader_changed(leader(1))
    sent = wire.take()
    assert (sent.endpoint.host, sent.timeout_ms) == ("c1", LifecycleSettings().request_timeout_ms)
    assert sent.request == BrokerRegistrationRequest(
        broker_id=5,
        cluster_id="a-cluster",
        incarnation_id=OURS,
        listeners=IDENTITY.listeners,
        features=IDENTITY.features,
        rack="r",
        log_dirs=IDENTITY.log_dirs,
    )


async def test_a_healthy_life(life: BrokerLife, wire: Wire, autojump_clock: Clock) -> None:
    life.leader_changed(leader(1))
    wire.take().on_reply(BrokerRegistrationResponse(broker_epoch=7))
    first = wire.take()
    assert first.request == BrokerHeartbeatRequest(
        broker_id=5, broker_epoch=7, current_metadata_offset=-1, want_fence=True
    )
    life.published(publication(7, epoch=7))
    first.on_reply(beat())
    await trio.testing.wait_all_tasks_blocked()
    assert not life.running.is_set()

    await trio.sleep(0.2)
    second = wire.take()
    assert second.request == BrokerHeartbeatRequest(
        broker_id=5, broker_epoch=7, current_metadata_offset=7, want_fence=False
    )
    second.on_reply(beat(caught_up=True, fenced=False))
    assert life.running.is_set()
    assert life.state is BrokerState.RUNNING


async def test_without_a_controller_it_waits_for_one(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    await trio.sleep(5)
    assert wire.sent == []
    life.leader_changed(leader(None, epoch=2))
    assert wire.sent == []
    life.leader_changed(leader(2, epoch=3))
    await trio.sleep(0.2)
    assert wire.take().endpoint.host == "c2"


async def test_a_controller_that_leads_no_more_is_left_alone(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    running(life, wire)
    life.leader_changed(leader(None, epoch=2))
    await trio.sleep(10)
    assert wire.sent == []


async def test_a_refusal_and_a_broken_connection_are_tried_again_elsewhere(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    life.leader_changed(leader(1))
    wire.take().on_reply(BrokerRegistrationResponse(error_code=ErrorCode.not_controller))
    await trio.sleep(0.3)
    wire.take().on_reply(failure(FailureKind.RESET, written=True))
    life.leader_changed(leader(2, epoch=2))
    await trio.sleep(0.3)
    sent = wire.take()
    assert sent.endpoint.host == "c2"
    assert isinstance(sent.request, BrokerRegistrationRequest)


async def test_a_controller_that_refuses_connections_at_once_does_no_harm(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    wire.refuses = True
    life.leader_changed(leader(1))
    await trio.sleep(1)
    wire.refuses = False
    await trio.sleep(5)
    assert isinstance(wire.take().request, BrokerRegistrationRequest)


async def test_another_brokers_leave_is_acknowledged_at_once(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    running(life, wire)
    for broker_id, beats in ((BROKER, []), (NodeId(6), [20])):
        delta = MetadataDelta(MetadataImage.EMPTY)
        delta.replay(attrs.evolve(registered(7), broker_id=broker_id, in_controlled_shutdown=True))
        if broker_id != BROKER:
            delta.replay(registered(7))
        image = delta.apply(Provenance(offset=20, epoch=1, append_time_ms=0))
        life.published(Publication(MetadataImage.EMPTY, image, Cause.LOG, delta))
        await trio.sleep(0.1)
        assert [sent.request.current_metadata_offset for sent in wire.sent] == beats


async def test_it_leaves_when_the_controller_lets_it(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    running(life, wire)
    wire.sent.clear()
    life.shut_down()
    sent = wire.take()
    assert sent.request.want_shut_down
    assert not life.ended.is_set()
    sent.on_reply(beat(caught_up=True, fenced=True, stop=True))
    assert life.ended.is_set()
    assert life.ending is not None
    assert life.ending.clean


async def test_it_leaves_at_once_if_told_so(life: BrokerLife, wire: Wire, autojump_clock: Clock) -> None:
    running(life, wire)
    life.shut_down(at_once=True)
    assert life.ending is not None
    assert not life.ending.clean


async def test_it_gives_up_when_nobody_registers_it(
    life: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    with trio.fail_after(61):
        await life.ended.wait()
    assert life.ending is not None
    assert "did not succeed in time" in life.ending.reason
    assert "no active controller is known" in life.ending.reason


# ---- without a log (a broker in ZooKeeper mode that migrates) ----------------------------------------------


@pytest.fixture
async def without_log(wire: Wire, nursery: trio.Nursery) -> BrokerLife:
    """A life that knows only what controllers answer."""
    identity = attrs.evolve(IDENTITY, is_migrating_zk_broker=True)
    life = BrokerLife(identity, LifecycleSettings(), wire, random.Random(1), follows_log=False)
    nursery.start_soon(life.run)
    await trio.sleep(0.07)
    return life


async def test_without_a_log_it_is_caught_up_as_soon_as_it_is_registered(
    without_log: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    without_log.leader_changed(leader(1))
    asks = wire.take()
    assert asks.request.is_migrating_zk_broker
    asks.on_reply(BrokerRegistrationResponse(broker_epoch=7))
    wire.take().on_reply(beat())
    await trio.sleep(LifecycleSettings().heartbeat_interval_ms / 1000)
    second = wire.take()

    assert second.request.current_metadata_offset >= 7
    assert not second.request.want_fence
    second.on_reply(beat(caught_up=True, fenced=False))
    assert without_log.state is BrokerState.RUNNING


async def test_without_a_log_a_registration_that_is_gone_shows_in_the_answer_to_a_heartbeat(
    without_log: BrokerLife, wire: Wire, autojump_clock: Clock
) -> None:
    without_log.leader_changed(leader(1))
    wire.take().on_reply(BrokerRegistrationResponse(broker_epoch=7))
    wire.take().on_reply(BrokerHeartbeatResponse(error_code=ErrorCode.stale_broker_epoch))
    again = wire.take()

    assert isinstance(again.request, BrokerRegistrationRequest)
    again.on_reply(BrokerRegistrationResponse(broker_epoch=9))
    assert wire.take().request.broker_epoch == 9
