"""Who the controller is, as a broker in ZooKeeper mode finds out."""

import trio
from trio.testing import MockClock

from quorate.broker.zookeeper_controller import ControllerFinder
from quorate.broker.zookeeper_hybrid import QuorumFollower
from quorate.metadata.ids import Endpoint, Epoch, NodeId
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.zookeeper.embedded import EmbeddedServer
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    BrokerListener,
    BrokerZnode,
    ControllerZnode,
    encode_broker,
    encode_controller,
)


class Told:
    """What a finder said, newest last."""

    def __init__(self) -> None:
        self.news: list[LeaderAndEpoch] = []
        self._more = trio.Event()

    def __call__(self, leader: LeaderAndEpoch) -> None:
        self.news.append(leader)
        self._more.set()

    @property
    def last(self) -> tuple[int | None, Endpoint | None]:
        return self.news[-1].leader_id, self.news[-1].endpoint

    async def until(self, leader: int | None) -> None:
        while not self.news or self.news[-1].leader_id != leader:
            self._more = trio.Event()
            await self._more.wait()


def seat(broker_id: int, kraft_epoch: int = -1) -> bytes:
    return encode_controller(ControllerZnode(broker_id=broker_id, timestamp_ms=0, kraft_epoch=kraft_epoch))


def broker(broker_id: int) -> bytes:
    listeners = (
        BrokerListener(name="EXT", host="ext", port=1000 + broker_id, security_protocol="SSL"),
        BrokerListener(name="INT", host="int", port=2000 + broker_id, security_protocol="PLAINTEXT"),
    )
    return encode_broker(BrokerZnode(listeners=listeners, rack=None, features={}, timestamp_ms=0))


async def cluster() -> EmbeddedServer:
    server = EmbeddedServer()
    session = server.connect()
    await session.create("/brokers")
    await session.create(paths.BROKER_IDS)
    for broker_id in (1, 2):
        await session.create(f"{paths.BROKER_IDS}/{broker_id}", broker(broker_id))
    return server


async def test_it_is_reached_on_the_listener_of_brokers_among_themselves(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server, told = await cluster(), Told()
    await server.connect().create(paths.CONTROLLER, seat(2))
    nursery.start_soon(ControllerFinder(server.connect(), "INT", told).run)
    await told.until(2)

    assert told.last == (2, Endpoint("INT", "int", 2002))


async def test_each_claim_is_another_controller_even_of_the_same_broker(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Requests that were sent to the former holding must not wait for an answer of the next."""
    server, told = await cluster(), Told()
    session = server.connect()
    nursery.start_soon(ControllerFinder(server.connect(), "INT", told).run)
    await told.until(None)
    await session.create(paths.CONTROLLER, seat(1))
    await told.until(1)
    first = told.news[-1]
    await session.delete(paths.CONTROLLER)
    await told.until(None)
    await session.create(paths.CONTROLLER, seat(1))
    await told.until(1)

    assert told.news[-1].epoch > first.epoch


async def test_a_controller_whose_registration_is_late_is_waited_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server, told = await cluster(), Told()
    session = server.connect()
    await session.create(paths.CONTROLLER, seat(3))
    nursery.start_soon(ControllerFinder(server.connect(), "INT", told).run)
    await told.until(None)
    await session.create(f"{paths.BROKER_IDS}/3", broker(3))
    with trio.fail_after(1):
        await told.until(3)


async def test_while_a_quorum_is_in_office_its_active_controller_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server, told = await cluster(), Told()
    session = server.connect()
    quorum = QuorumFollower((), "CONTROLLER", "test", None)
    await session.create(paths.CONTROLLER, seat(1))
    nursery.start_soon(ControllerFinder(server.connect(), "INT", told, quorum=quorum).run)
    await told.until(1)
    active = LeaderAndEpoch(Epoch(1), NodeId(3000), Endpoint("CONTROLLER", "c", 9093))
    quorum.now(active)
    await trio.sleep(1)
    assert told.last[0] == 1  # it is not in office

    await session.delete(paths.CONTROLLER)
    await session.create(paths.CONTROLLER, seat(3001, kraft_epoch=4))
    await told.until(3000)
    quorum.now(LeaderAndEpoch(Epoch(2), NodeId(3001), Endpoint("CONTROLLER", "d", 9093)))
    await told.until(3001)

    await session.delete(paths.CONTROLLER)
    await session.create(paths.CONTROLLER, seat(2))
    await told.until(2)


async def test_a_broker_that_does_not_migrate_knows_nobody_while_a_quorum_is_in_office(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server, told = await cluster(), Told()
    session = server.connect()
    await session.create(paths.CONTROLLER, seat(1))
    nursery.start_soon(ControllerFinder(server.connect(), "INT", told).run)
    await told.until(1)
    await session.set(paths.CONTROLLER, seat(3000, kraft_epoch=4))
    await told.until(None)
