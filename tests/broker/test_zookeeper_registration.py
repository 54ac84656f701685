"""A broker's znode: as Kafka makes it, once, and again when its session is over."""

import json
import random

import pytest
import trio
from trio.testing import MockClock

from quorate.broker.zookeeper_registration import (
    CannotRegister,
    Registration,
    ensure_paths,
    find_cluster_id,
)
from quorate.metadata.zookeeper.embedded import EmbeddedServer, EmbeddedZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import BrokerListener
from tests.controller.zookeeper_world import until

PATH = f"{paths.BROKER_IDS}/3"
PATIENCE_S = 30.0


def registration(session: EmbeddedZooKeeper) -> Registration:
    return Registration(
        session,
        3,
        listeners=(
            BrokerListener(name="INT", host="b3.example", port=9092, security_protocol="PLAINTEXT"),
            BrokerListener(name="EXT", host="198.51.100.7", port=9094, security_protocol="SASL_SSL"),
        ),
        rack="az-1",
        features={"quorate.lightweight": (1, 1)},
        wall_ms=lambda: 1718000000456,
        patience_s=PATIENCE_S,
    )


async def test_the_znode_is_version_5_made_without_data_and_then_set(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    broker = registration(session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        await broker.registered.wait()
        nursery.cancel_scope.cancel()

    node = server.znodes()[PATH]
    assert json.loads(node.data or b"") == {
        "version": 5,
        "host": "b3.example",
        "port": 9092,
        "endpoints": ["INT://b3.example:9092", "EXT://198.51.100.7:9094"],
        "jmx_port": -1,
        "timestamp": "1718000000456",
        "rack": "az-1",
        "listener_security_protocol_map": {"INT": "PLAINTEXT", "EXT": "SASL_SSL"},
        "features": {"quorate.lightweight": {"min_version": 1, "max_version": 1}},
    }
    assert (node.stat.version, node.stat.ephemeral_owner) == (1, session.session_id)
    assert broker.epoch == node.stat.czxid


async def test_what_must_be_there_is_made_with_null_data(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    await ensure_paths(session)

    tree = server.znodes()
    assert {path for path in paths.ALWAYS_THERE if path not in tree} == set()
    assert tree[paths.TOPICS].data is None
    assert tree[paths.BROKER_SEQUENCE].data == b""


async def test_the_first_broker_makes_the_clusters_id_and_the_others_find_it(
    autojump_clock: MockClock,
) -> None:
    server = EmbeddedServer()
    one, other = server.connect(), server.connect()
    made = await find_cluster_id(one, random.Random(1))

    assert await find_cluster_id(other, random.Random(2)) == made
    assert json.loads(server.znodes()[paths.CLUSTER_ID].data or b"") == {"version": "1", "id": made}


async def test_something_else_in_its_place_is_no_cluster_id(autojump_clock: MockClock) -> None:
    session = EmbeddedServer().connect()
    await session.create("/cluster")
    await session.create(paths.CLUSTER_ID, b"surprise")

    with pytest.raises(CannotRegister, match="names the right path"):
        await find_cluster_id(session, random.Random(1))


async def test_after_the_end_of_its_session_it_registers_in_the_next_one(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    broker = registration(session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        await broker.registered.wait()
        first = broker.epoch
        server.expire(session.session_id)
        await until(lambda: broker.epoch not in (-1, first))
        nursery.cancel_scope.cancel()

    node = server.znodes()[PATH]
    assert node.stat.ephemeral_owner == session.session_id
    assert node.stat.czxid == broker.epoch > first


async def test_a_znode_of_its_own_former_session_is_replaced_at_once(autojump_clock: MockClock) -> None:
    """The server may learn of the end of a session later than the client."""
    server = EmbeddedServer()
    session, leftover = server.connect(), server.connect()
    await ensure_paths(session)
    broker = registration(session)
    broker.was_session(leftover.session_id)
    await leftover.create(PATH, b"old", ephemeral=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        with trio.fail_after(PATIENCE_S / 2):
            await broker.registered.wait()
        nursery.cancel_scope.cancel()

    assert server.znodes()[PATH].stat.ephemeral_owner == session.session_id


async def test_an_operator_who_removes_the_znode_gets_it_back(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    broker = registration(session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        await broker.registered.wait()
        first = broker.epoch
        await server.connect().delete(PATH)
        await until(lambda: broker.epoch != first)
        nursery.cancel_scope.cancel()

    assert server.znodes()[PATH].stat.czxid == broker.epoch


async def test_who_holds_the_id_is_waited_for_and_then_it_is_refused(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    other, session = server.connect(), server.connect()
    await ensure_paths(session)
    await other.create(PATH, b"somebody", ephemeral=True)
    began = trio.current_time()

    with pytest.raises(CannotRegister, match="Broker 3 is registered already"):
        await registration(session).run()
    assert trio.current_time() - began >= PATIENCE_S
    assert server.znodes()[PATH].data == b"somebody"


async def test_a_killed_brokers_session_is_waited_for(autojump_clock: MockClock) -> None:
    server = EmbeddedServer()
    killed, session = server.connect(), server.connect()
    await ensure_paths(session)
    await killed.create(PATH, b"former self", ephemeral=True)
    broker = registration(session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        await trio.sleep(PATIENCE_S / 2)
        assert not broker.registered.is_set()
        server.expire(killed.session_id)
        await broker.registered.wait()
        nursery.cancel_scope.cancel()


async def test_who_leaves_in_order_takes_its_znode_away_and_does_not_come_back(
    autojump_clock: MockClock,
) -> None:
    server = EmbeddedServer()
    session = server.connect()
    await ensure_paths(session)
    broker = registration(session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.run)
        await broker.registered.wait()
        await broker.leave()
        await trio.sleep(10)
        assert PATH not in server.znodes()
        nursery.cancel_scope.cancel()
