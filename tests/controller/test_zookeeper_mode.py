"""The office in ZooKeeper mode: who holds it, what it writes, and that nobody who lost it can."""

import json

import pytest
import trio
from trio.testing import MockClock

from quorate.controller.zookeeper_claim import Taken, claim_office
from quorate.controller.zookeeper_core import CHANGES
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import NO_LEADER
from quorate.metadata.wire.coordinators import InitProducerIdRequest
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from quorate.metadata.zookeeper.embedded import Call, EmbeddedServer, Fault
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import ControllerZnode, encode_controller
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, encode_secret
from quorate.metadata.zookeeper.znodes import Create, Delete, SetData
from tests.controller.zookeeper_world import (
    SESSION_MS,
    Broker,
    Moved,
    World,
    same_but_for_ids,
    until,
    world,
)


def image_of(broker: Broker) -> MetadataImage:
    image = broker.office.image()
    assert image is not None
    return image


def _creating(name: str) -> CreateTopicsRequest:
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return CreateTopicsRequest(topics=(topic,), timeout_ms=30_000)


def claim_by_hand(world: World) -> int:
    """Another holder, whose process nobody here sees; its session. The office changes hands without a word."""
    client = world.server.connect()
    epoch = world.tree[paths.CONTROLLER_EPOCH]
    seat = encode_controller(ControllerZnode(broker_id=77, timestamp_ms=0))
    world.server.multi(
        client.session_id,
        [
            Delete(paths.CONTROLLER),
            Create(paths.CONTROLLER, seat, ephemeral=True),
            SetData(paths.CONTROLLER_EPOCH, str(int(epoch.data or b"0") + 1).encode(), epoch.stat.version),
        ],
    )
    return client.session_id


# ---- standing, claiming ----------------------------------------------------------------------------------


async def test_the_first_of_the_queue_claims_the_office_as_kafka_does(autojump_clock: MockClock) -> None:
    async with world() as w:
        leader = await w.leader()

        assert leader.id == 1
        seat = w.tree[paths.CONTROLLER]
        found = json.loads(seat.data or b"")
        assert (found["version"], found["brokerid"], found["kraftControllerEpoch"]) == (2, 1, -1)
        assert isinstance(found["timestamp"], str)
        assert seat.stat.ephemeral_owner == leader.session.session_id
        assert (w.data(paths.CONTROLLER_EPOCH), w.tree[paths.CONTROLLER_EPOCH].stat.version) == (b"1", 1)


async def test_when_the_leader_goes_the_next_of_the_queue_leads_with_a_higher_epoch(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.kill(await w.leader())

        leader = await w.leader()

        assert leader.id == 2
        assert (w.controller, w.data(paths.CONTROLLER_EPOCH)) == (2, b"2")


async def test_whoever_leaves_in_order_gives_the_office_up_at_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        first = await w.leader()
        await first.office.leave()
        first.scope.cancel()

        assert (await w.leader(other_than=first)).id == 2
        assert w.server.lives(first.session.session_id)


async def test_brokers_that_do_not_hold_the_office_say_so(autojump_clock: MockClock) -> None:
    async with world() as w:
        await w.leader()

        with pytest.raises(Moved):
            await w.brokers[2].create("orders")


async def test_who_lost_the_connection_and_is_back_in_its_session_claims_anew(
    autojump_clock: MockClock,
) -> None:
    """Its writes of before may be under way still: they must not pass the fence of the new claim."""
    async with world([1]) as w:
        leader = await w.leader()
        leader.session.hold_back()
        await until(lambda: not leader.office.holds)
        leader.session.let_in()
        await w.leader()

        assert (w.controller, w.data(paths.CONTROLLER_EPOCH)) == (1, b"2")


async def test_while_a_controller_of_a_quorum_holds_the_office_nobody_claims_it(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        leader = await w.leader()
        client = w.server.connect()
        seat = encode_controller(ControllerZnode(broker_id=3000, timestamp_ms=0, kraft_epoch=4))
        w.server.multi(client.session_id, [Delete(paths.CONTROLLER), Create(paths.CONTROLLER, seat)])

        await until(lambda: not leader.office.holds)
        await trio.sleep(60)
        assert w.controller == 3000
        assert w.data(paths.CONTROLLER_EPOCH) == b"1"

        await client.delete(paths.CONTROLLER)
        assert (await w.leader()).id == 1
        assert w.data(paths.CONTROLLER_EPOCH) == b"2"


async def test_a_seat_that_belongs_to_no_session_is_told_and_not_taken(autojump_clock: MockClock) -> None:
    """A tree that was loaded from a dump has one; so might one whose controller is at work elsewhere."""
    server = EmbeddedServer()
    client = server.connect()
    await client.create(paths.CONTROLLER, encode_controller(ControllerZnode(broker_id=1, timestamp_ms=0)))
    taken = await claim_office(server.connect(), 2, 0, lambda _: None)

    assert isinstance(taken, Taken)
    assert "belongs to no session" in taken.why


# ---- what is written --------------------------------------------------------------------------------------


async def test_a_topic_lies_in_zookeeper_as_kafka_would_have_put_it(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert await (await w.leader()).create("orders", partitions=2, replicas=3) == [ErrorCode.none]

        topic = json.loads(w.data(paths.topic("orders")) or b"")
        assert topic["version"] == 3
        assert sorted(topic["partitions"]) == ["0", "1"]
        assert sorted(topic["partitions"]["0"]) == [1, 2, 3]
        assert json.loads(w.data(paths.topic_config("orders")) or b"") == {"version": 1, "config": {}}
        assert w.data(paths.partitions("orders")) is None
        assert w.data(paths.partition("orders", 0)) is None
        state, version = w.state("orders", 0)
        assert (state.leader, list(state.isr)) == (topic["partitions"]["0"][0], topic["partitions"]["0"])
        assert (state.leader_epoch, state.controller_epoch, version) == (0, 1, 0)
        assert not w.reading().troubles


async def test_what_is_in_the_image_is_what_a_new_controller_would_read(autojump_clock: MockClock) -> None:
    async with world() as w:
        leader = await w.leader()
        await leader.create("orders", "payments", partitions=3)
        await leader.set_config(ResourceType.TOPIC, "orders", "retention.ms", "1000")
        await leader.set_config(ResourceType.BROKER, "2", "log.cleaner.threads", "2")
        await leader.set_config(ResourceType.BROKER, "", "log.cleaner.threads", "3")
        w.kill(w.brokers[3])
        await until(lambda: len(image_of(leader).cluster.brokers) == 2)
        await leader.delete("payments")

        assert same_but_for_ids(image_of(leader), w.loaded().image) == []
        assert not w.loaded().repairs


async def test_a_config_that_was_emptied_can_be_set_again(autojump_clock: MockClock) -> None:
    """Its znode stays, empty, as Kafka leaves it: what to write is not told by the image alone."""
    async with world([1]) as w:
        leader = await w.leader()
        for value in ("2", "3"):
            assert (
                await leader.set_config(ResourceType.BROKER, "1", "log.cleaner.threads", value)
                is ErrorCode.none
            )
            await leader.unset_config(ResourceType.BROKER, "1", "log.cleaner.threads")

        assert json.loads(w.data(paths.broker_config("1")) or b"")["config"] == {}
        assert w.data(paths.CONTROLLER_EPOCH) == b"1"


async def test_a_change_of_a_config_is_announced_and_is_no_news_to_its_maker(
    autojump_clock: MockClock,
) -> None:
    async with world([1]) as w:
        leader = await w.leader()
        await leader.create("orders", replicas=1)
        readings = leader.office.readings
        await leader.set_config(ResourceType.TOPIC, "orders", "retention.ms", "1000")
        await trio.sleep(1)

        changes = [path for path in w.tree if path.startswith(paths.CONFIG_CHANGE_PREFIX)]
        assert json.loads(w.data(changes[-1]) or b"") == {"version": 2, "entity_path": "topics/orders"}
        assert leader.office.readings == readings


async def test_what_zookeeper_cannot_hold_is_refused_and_nothing_is_written(
    autojump_clock: MockClock,
) -> None:
    async with world([1]) as w:
        leader = await w.leader()
        before = set(w.tree)

        refused = await leader.set_config(ResourceType.CLIENT_METRICS, "m", "interval.ms", "1000")

        assert refused is ErrorCode.invalid_request
        assert set(w.tree) == before


# ---- brokers come and go ------------------------------------------------------------------------------------


async def test_who_dies_leaves_every_isr_and_who_is_back_is_in_them_again(autojump_clock: MockClock) -> None:
    async with world() as w:
        leader = await w.leader()
        await leader.create("orders", partitions=6, replicas=3)
        w.kill(w.brokers[3])
        await until(lambda: all(3 not in w.state("orders", i)[0].isr for i in range(6)))

        assert all(w.state("orders", i)[0].leader in (1, 2) for i in range(6))
        await w.start(3)
        await until(lambda: all(3 in w.state("orders", i)[0].isr for i in range(6)))
        for i in range(6):
            topic = image_of(leader).topics.by_name("orders")
            partition = None if topic is None else topic.partition(i)
            assert partition is not None
            assert partition.partition_epoch == w.state("orders", i)[1]


async def test_the_last_of_an_isr_stays_in_it_without_leading(autojump_clock: MockClock) -> None:
    async with world() as w:
        leader = await w.leader()
        await leader.create("orders", partitions=3, replicas=1)
        w.kill(w.brokers[3])
        states = [w.state("orders", i)[0] for i in range(3)]
        mine = next(i for i, state in enumerate(states) if state.leader == 3)
        await until(lambda: w.state("orders", mine)[0].leader == NO_LEADER)

        assert list(w.state("orders", mine)[0].isr) == [3]


async def test_a_broker_that_died_with_the_leader_is_noticed_by_the_next_one(
    autojump_clock: MockClock,
) -> None:
    async with world([1, 2, 3, 4]) as w:
        await (await w.leader()).create("orders", partitions=4, replicas=4)
        dying = w.brokers[4]
        w.kill(w.brokers[1])
        w.kill(dying)
        await w.leader()

        await until(lambda: all(set(w.state("orders", i)[0].isr) == {2, 3} for i in range(4)))


# ---- split brain ----------------------------------------------------------------------------------------------


async def test_a_paused_leader_that_wakes_up_cannot_write(autojump_clock: MockClock) -> None:
    """It has decided, and is about to write, when it is stopped; when it goes on another one holds the office."""
    async with world([1]) as w:
        leader = await w.leader()
        before = {path for path in w.tree if path.startswith(paths.TOPICS)}

        def stopped_before_writing(call: Call) -> None:
            if call.name == "multi" and paths.topic("orders") in call.paths:
                w.server.fault = lambda _: None
                claim_by_hand(w)

        w.server.fault = stopped_before_writing
        with pytest.raises(Moved):
            await leader.create("orders", replicas=1)

        assert {path for path in w.tree if path.startswith(paths.TOPICS)} == before
        assert w.controller == 77
        assert not leader.office.holds


async def test_a_paused_leader_that_wakes_up_answers_no_read(autojump_clock: MockClock) -> None:
    async with world([1]) as w:
        leader = await w.leader()
        await leader.create("orders", replicas=1)

        def stopped_before_it_asked(call: Call) -> None:
            if call.name == "sync":
                w.server.fault = lambda _: None
                claim_by_hand(w)

        w.server.fault = stopped_before_it_asked
        with pytest.raises(Moved):
            await leader.metadata("orders")


async def test_a_leader_that_looks_at_an_older_state_asks_for_the_newest_before_it_answers(
    autojump_clock: MockClock,
) -> None:
    """Its server lags behind, so that no watch has told it yet."""
    async with world([1]) as w:
        leader = await w.leader()
        await leader.create("orders", replicas=1)
        leader.session.lag()
        claim_by_hand(w)

        assert leader.office.holds
        with pytest.raises(Moved):
            await leader.metadata("orders")


async def test_a_leader_that_is_cut_off_neither_reads_nor_writes(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        first = await w.leader()
        await first.create("orders")
        first.session.hold_back()
        with pytest.raises(Moved):
            await first.metadata("orders")
        w.server.advance(3 * SESSION_MS)
        second = await w.leader(other_than=first)
        await second.create("made-meanwhile", replicas=1)
        first.session.let_in()

        with pytest.raises(Moved):
            await first.create("too-late", replicas=1)
        names = {topic.name for topic in (await second.metadata()).topics}
        assert names == {"orders", "made-meanwhile"}
        assert w.controller == second.id


# ---- unknown outcomes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_write_whose_outcome_is_unknown_is_said_to_be_so(
    fault: Fault, autojump_clock: MockClock
) -> None:
    async with world([1]) as w:
        leader = await w.leader()

        def befalls(call: Call) -> Fault | None:
            if call.name != "multi" or paths.topic("orders") not in call.paths:
                return None
            w.server.fault = lambda _: None
            return fault

        w.server.fault = befalls

        assert await leader.create("orders", replicas=1) == [ErrorCode.request_timed_out]

        leader = await w.leader()
        done = fault in (Fault.LOSS_AFTER, Fault.EXPIRY_AFTER)
        again = ErrorCode.topic_already_exists if done else ErrorCode.none
        assert await leader.create("orders", replicas=1) == [again]
        assert same_but_for_ids(image_of(leader), w.loaded().image) == []


# ---- what others leave and do ---------------------------------------------------------------------------------


async def test_a_topic_that_somebody_else_made_is_taken_up(autojump_clock: MockClock) -> None:
    async with world() as w:
        leader = await w.leader()
        client = w.server.connect()
        topic = {"version": 3, "partitions": {"0": [2, 1]}, "topic_id": "o9HJ8Ft-TCKaEAwvbo1LFw"}
        await client.create(paths.topic("legacy"), json.dumps(topic).encode())
        await until(lambda: paths.state("legacy", 0) in w.tree)

        state, version = w.state("legacy", 0)
        assert (state.leader, list(state.isr), version) == (2, [2, 1], 0)
        found = (await leader.metadata("legacy")).topics[0]
        assert (found.error_code, found.partitions[0].leader_id) == (ErrorCode.none, 2)
        assert w.data(paths.CONTROLLER_EPOCH) == b"1"


async def test_a_config_that_a_tool_has_written_counts_once_it_says_so(autojump_clock: MockClock) -> None:
    async with world([1]) as w:
        leader = await w.leader()
        await leader.create("orders", replicas=1)
        client = w.server.connect()
        written = {"version": 1, "config": {"retention.ms": "77"}}
        await client.set(paths.topic_config("orders"), json.dumps(written).encode())
        notification = b'{"version":2,"entity_path":"topics/orders"}'
        await client.create(paths.CONFIG_CHANGE_PREFIX, notification, sequential=True)

        await until(lambda: leader.office.readings == 2 and leader.office.holds)
        assert dict(image_of(leader).configs.of(ResourceType.TOPIC, "orders")) == {"retention.ms": "77"}


@pytest.mark.parametrize("enabled", [True, False])
async def test_markers_for_deletion_are_honoured(*, enabled: bool, autojump_clock: MockClock) -> None:
    async with world([1], delete_topic_enable=str(enabled).lower()) as w:
        leader = await w.leader()
        await leader.create("doomed", "kept", replicas=1)
        client = w.server.connect()
        await client.create(f"{paths.DELETE_TOPICS}/doomed")
        await client.create(f"{paths.DELETE_TOPICS}/unknown")
        await until(lambda: not any(path.startswith(f"{paths.DELETE_TOPICS}/") for path in w.tree))

        assert (paths.topic("doomed") in w.tree) is not enabled
        assert (paths.topic_config("doomed") in w.tree) is not enabled
        leader = await w.leader()
        names = {topic.name for topic in (await leader.metadata()).topics}
        assert names == ({"kept"} if enabled else {"doomed", "kept"})


async def test_a_topic_without_an_id_gets_one(autojump_clock: MockClock) -> None:
    async with world([1]) as w:
        client = w.server.connect()
        await client.create(paths.topic("ancient"), b'{"version":1,"partitions":{"0":[1]}}')
        await until(lambda: paths.state("ancient", 0) in w.tree)

        assert len(json.loads(w.data(paths.topic("ancient")) or b"")["topic_id"]) == 22
        leader = await w.leader()
        assert same_but_for_ids(image_of(leader), w.loaded().image) == []


async def test_what_cannot_be_read_is_not_overwritten_nor_in_the_way_of_others(
    autojump_clock: MockClock,
) -> None:
    async with world([1]) as w:
        leader = await w.leader()
        client = w.server.connect()
        await client.create(paths.topic("broken"), b"no json")
        await until(lambda: leader.office.readings > 1)
        leader = await w.leader()
        broken = leader.submit(_creating("broken"))
        fine = leader.submit(_creating("fine"))

        assert (await broken.outcome()).topics[0].error_code is ErrorCode.unknown_server_error
        assert (await fine.outcome()).topics[0].error_code is ErrorCode.none
        assert w.data(paths.topic("broken")) == b"no json"
        assert w.data(paths.CONTROLLER_EPOCH) == b"1"


async def test_what_cannot_be_read_is_not_lost_by_a_change_beside_it(autojump_clock: MockClock) -> None:
    """A password whose secret this controller was not given: the whole node would be written anew without it."""
    async with world([1]) as w:
        client = w.server.connect()
        password = encode_secret("clear", "secret", EncoderSettings(), entropy=bytes)
        config = {"version": 1, "config": {"listener.name.a.ssl.key.password": password}}
        await client.create(paths.broker_config("1"), json.dumps(config).encode())
        await client.create(paths.topic("orders"), b'{"version":1,"partitions":{"0":[1]}}')
        await client.create(paths.topic_config("orders"), b'{"version":1,"config":{"retention.ms":7}}')
        await until(lambda: paths.state("orders", 0) in w.tree)
        leader = await w.leader()

        for kind, name, key in (
            (ResourceType.BROKER, "1", "log.cleaner.threads"),
            (ResourceType.TOPIC, "orders", "segment.ms"),
        ):
            assert await leader.set_config(kind, name, key, "60000") is ErrorCode.invalid_request
            leader = await w.leader()
        assert await leader.set_config(ResourceType.BROKER, "", "log.cleaner.threads", "2") is ErrorCode.none
        assert json.loads(w.data(paths.broker_config("1")) or b"") == config
        assert await leader.delete("orders") == [ErrorCode.none]
        assert paths.topic_config("orders") not in w.tree


async def test_a_state_that_somebody_else_wrote_is_read_before_it_is_written(
    autojump_clock: MockClock,
) -> None:
    """The epoch of a partition is the version of its state: a write that expects another one changes nothing."""
    async with world() as w:
        leader = await w.leader()
        await leader.create("orders", partitions=1, replicas=3)
        path = paths.state("orders", 0)
        client = w.server.connect()
        await client.set(path, w.data(path))  # says nothing new, and yet is another version
        w.kill(w.brokers[3])

        await until(lambda: 3 not in w.state("orders", 0)[0].isr)
        assert w.state("orders", 0)[1] == 2
        await until(lambda: leader.office.holds)
        assert same_but_for_ids(image_of(leader), w.loaded().image) == []


def test_where_no_broker_has_data_producers_are_not_lured() -> None:
    """Given an id, a producer would look for a leader that takes its messages, for ever."""
    assert CreateTopicsRequest in CHANGES
    assert InitProducerIdRequest not in CHANGES
