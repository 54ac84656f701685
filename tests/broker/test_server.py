"""The broker as its clients see it: a listener over streams in memory, and controllers that the test plays."""

import pathlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio.testing

from quorate.broker.config import BrokerConfig
from quorate.broker.forwarding import FORWARD_TIMEOUT_MS
from quorate.broker.relay import Relay
from quorate.broker.server import BrokerServer
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import FailureKind
from quorate.metadata.image import MetadataImage
from quorate.metadata.listener import Listener
from quorate.metadata.slow_reads import SLOW_PARTITIONS, SlowReads
from quorate.metadata.wire.cluster import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    MetadataRequest,
    MetadataRequestTopic,
)
from quorate.metadata.wire.configs import DescribeConfigsRequest, DescribeConfigsResource
from quorate.metadata.wire.coordinators import (
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListTransactionsRequest,
)
from quorate.metadata.wire.envelope import EnvelopeRequest, EnvelopeResponse
from quorate.metadata.wire.log_dirs import DescribeLogDirsRequest
from quorate.metadata.wire.principal import decode_principal
from quorate.metadata.wire.raft import DescribeQuorumRequest
from quorate.metadata.wire.table import APIS, decode_request, encode_response
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from tests.broker.wire import Sent, Wire, failure, leader
from tests.metadata.streams import Client, MemorySource
from tests.metadata.views.small_clusters import Broker, Cluster, Partition

Clock = trio.testing.MockClock

CONFIG = BrokerConfig.of(
    {
        "process.roles": "broker",
        "node.id": "1",
        "metadata.log.dir": "unused",
        "listeners": "PLAINTEXT://127.0.0.1:9092",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
        "num.partitions": "4",
        "default.replication.factor": "2",
    }
)
IMAGE = Cluster(
    brokers={1: Broker(listeners={"PLAINTEXT": 9092})},
    topics={"known": (Partition(replicas=(1,), isr=(1,), leader=1),)},
).image()
CREATE = CreateTopicsRequest(topics=(CreatableTopic(name="new", num_partitions=1, replication_factor=1),))
CREATE_KEY = CreateTopicsRequest.api_key
VERSION = 7


class World:
    """One broker's server, its wire to controllers, and one client of it."""

    def __init__(self, config: BrokerConfig) -> None:
        self.wire = Wire()
        self.relay = Relay(self.wire)
        self.slow = SlowReads()
        self.image: MetadataImage = IMAGE
        self.controller: ApiVersionsResponse | None = None
        self.server = BrokerServer(
            config=config,
            cluster_id="a-cluster",
            image=lambda: self.image,
            published=lambda: self.image,
            relay=self.relay,
            slow=self.slow,
            kraft_version=lambda: 1,
            controller_versions=lambda: self.controller,
        )
        self.source = MemorySource()
        self.client: Client = self.source.connect()

    async def ask(self, request: Any, version: int) -> Any:
        await self.client.send(request, version, 11)
        number, answer = await self.client.answer(request.api_key, version)
        assert number == 11
        return answer

    async def forwarded(self) -> Sent:
        """The one envelope that left, once nothing more happens."""
        await trio.testing.wait_all_tasks_blocked()
        return self.wire.take()


@asynccontextmanager
async def serving(config: BrokerConfig = CONFIG, *, active: int | None = 3001) -> AsyncIterator[World]:
    world = World(config)
    listener = Listener("PLAINTEXT", world.server)
    world.relay.leader_changed(leader(active))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.relay.run)
        nursery.start_soon(world.slow.run)
        await nursery.start(listener.serve, [world.source])
        yield world
        nursery.cancel_scope.cancel()


def inner(sent: Sent) -> Any:
    """The client's request inside an envelope."""
    assert isinstance(sent.request, EnvelopeRequest)
    return decode_request(sent.request.request_data)


def created(sent: Sent, code: ErrorCode = ErrorCode.none) -> EnvelopeResponse:
    """The controller's answer to a CreateTopics in an envelope."""
    head = inner(sent)
    answer = CreateTopicsResponse(
        topics=tuple(
            CreatableTopicResult(name=topic.name, error_code=code, error_message="because")
            for topic in head.body.topics
        )
    )
    frame = encode_response(CREATE_KEY, head.api_version, head.correlation_id, answer)
    return EnvelopeResponse(response_data=frame[4:])


# --- answered here ----------------------------------------------------------------------------------------


async def test_reads_are_answered_from_the_image_and_nothing_is_forwarded() -> None:
    async with serving() as world:
        metadata = await world.ask(MetadataRequest(topics=None), 12)
        assert [topic.name for topic in metadata.topics] == ["known"]
        assert (metadata.cluster_id, metadata.controller_id) == ("a-cluster", 1)
        cluster = await world.ask(DescribeClusterRequest(), 1)
        assert [node.broker_id for node in cluster.brokers] == [1]
        page = await world.ask(DescribeTopicPartitionsRequest(), 0)
        assert [topic.name for topic in page.topics] == ["known"]
        resource = DescribeConfigsResource(
            resource_type=4, resource_name="1", configuration_keys=("num.partitions",)
        )
        configs = await world.ask(DescribeConfigsRequest(resources=(resource,)), 4)
        assert [config.value for config in configs.results[0].configs] == ["4"]
        assert world.wire.sent == []


async def test_its_one_log_directory_holds_no_topics(tmp_path: pathlib.Path) -> None:
    """kafka-reassign-partitions of 4.4 asks every broker before it plans."""
    async with serving(attrs.evolve(CONFIG, metadata_log_dir=tmp_path)) as world:
        answer = await world.ask(DescribeLogDirsRequest(topics=None), 5)

    (found,) = answer.results
    assert (answer.error_code, found.error_code, found.topics) == (ErrorCode.none, ErrorCode.none, ())
    assert found.log_dir == str(tmp_path)
    assert found.total_bytes >= found.usable_bytes > 0


async def test_a_log_directory_that_is_gone_is_an_error(tmp_path: pathlib.Path) -> None:
    async with serving(attrs.evolve(CONFIG, metadata_log_dir=tmp_path / "gone")) as world:
        answer = await world.ask(DescribeLogDirsRequest(topics=None), 5)

    assert (answer.error_code, answer.results) == (ErrorCode.kafka_storage_error, ())


async def test_an_answer_is_as_new_as_the_image() -> None:
    async with serving() as world:
        world.image = Cluster(brokers={}, topics={"later": ()}).image()
        metadata = await world.ask(MetadataRequest(topics=None), 12)
        assert [topic.name for topic in metadata.topics] == ["later"]


async def test_a_large_answer_leaves_in_its_turn_like_any_other() -> None:
    one = Partition(replicas=(1,), isr=(1,), leader=1)
    async with serving() as world:
        world.image = Cluster(
            brokers={}, topics={"large": (one,) * (SLOW_PARTITIONS + 1), "small": (one,)}
        ).image()
        large, small = (MetadataRequest(topics=(MetadataRequestTopic(name=n),)) for n in ("large", "small"))
        for number, request in enumerate((small, large, small)):
            await world.client.send(request, 12, number)
        answers = [await world.client.answer(MetadataRequest.api_key, 12) for _ in range(3)]
        assert [number for number, _ in answers] == [0, 1, 2]
        assert [len(answer.topics[0].partitions) for _, answer in answers] == [1, SLOW_PARTITIONS + 1, 1]


async def test_a_large_answer_is_as_new_as_the_image_too() -> None:
    one = Partition(replicas=(1,), isr=(1,), leader=1)
    topics = {"large": (one,) * (SLOW_PARTITIONS + 1)}
    alone, joined = Broker(listeners={"PLAINTEXT": 1}), Broker(listeners={"PLAINTEXT": 2})
    everything = MetadataRequest(topics=None)
    async with serving() as world:
        for brokers in ({1: alone}, {1: alone, 2: joined}, {2: joined}):
            world.image = Cluster(brokers=brokers, topics=topics).image()
            first, again = await world.ask(everything, 12), await world.ask(everything, 12)
            assert first == again
            assert [broker.node_id for broker in first.brokers] == list(brokers)
            assert [partition.leader_id for partition in first.topics[0].partitions][:1] == (
                [1] if 1 in brokers else [-1]
            )


async def test_a_refused_read_has_its_apis_own_shape() -> None:
    async with serving() as world:
        by_id = MetadataRequest(topics=(MetadataRequestTopic(topic_id=uuid.UUID(int=5), name=""),))
        answer = await world.ask(by_id, 10)
        assert [topic.error_code for topic in answer.topics] == [ErrorCode.invalid_request]


async def test_a_request_that_trips_the_broker_is_answered_and_the_next_one_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tripped(*_: object) -> None:
        raise ZeroDivisionError

    async with serving() as world:
        with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
            patched.setattr("quorate.metadata.image_reads.answer_metadata", tripped)
            answer = await world.ask(MetadataRequest(topics=None), 13)
        assert answer.error_code is ErrorCode.unknown_server_error
        assert [line["event"] for line in logs] == ["bug"]
        assert (await world.ask(MetadataRequest(topics=None), 13)).error_code is ErrorCode.none


async def test_topic_data_is_neither_advertised_nor_served() -> None:
    async with serving() as world:
        shown = {one.api_key for one in (await world.ask(ApiVersionsRequest(), 4)).api_keys}
        produce, fetch = 0, 1
        assert not shown & {produce, fetch}
        assert shown == {*world.server.serves, ApiVersionsRequest.api_key}
        await world.client.stream.send_all(b"\0\0\0\x0a\0\x01\0\x0d\0\0\0\x01\xff\xff")
        assert await world.client.is_closed()


async def test_what_clients_of_data_ask_is_offered_beside_brokers_with_data_only() -> None:
    of_data = {
        one.api_key for one in (FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest)
    }
    async with serving() as world:
        assert of_data <= {one.api_key for one in (await world.ask(ApiVersionsRequest(), 4)).api_keys}
        alone = Broker(listeners={"PLAINTEXT": 9092}, lightweight=True)
        world.image = Cluster(brokers={1: alone}, topics={}).image()
        assert not of_data & {one.api_key for one in (await world.ask(ApiVersionsRequest(), 4)).api_keys}
        found = await world.ask(FindCoordinatorRequest(coordinator_keys=("g",)), 6)
        assert found.coordinators[0].error_code is ErrorCode.coordinator_not_available
        assert (await world.ask(ListTransactionsRequest(), 2)).transaction_states == ()


async def test_versions_of_what_is_forwarded_are_those_of_the_active_controller_too() -> None:
    async with serving() as world:
        world.controller = ApiVersionsResponse(
            api_keys=(ApiVersion(api_key=CREATE_KEY, min_version=2, max_version=5),)
        )
        shown = {one.api_key: one.max_version for one in (await world.ask(ApiVersionsRequest(), 4)).api_keys}
        assert shown[CREATE_KEY] == 5
        forwardable = {key for key, api in APIS.items() if api.forwardable}
        assert set(shown) & forwardable == {CREATE_KEY}


# --- forwarded --------------------------------------------------------------------------------------------


async def test_a_write_travels_as_the_client_wrote_it_and_its_answer_comes_back(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The clock stands, since what was waited is taken off the time that is left."""
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 42)
        sent = await world.forwarded()
        head = inner(sent)
        assert (sent.endpoint.host, sent.timeout_ms) == ("c3001", FORWARD_TIMEOUT_MS)
        assert (head.body, head.api_version, head.correlation_id, head.client_id) == (
            CREATE,
            VERSION,
            42,
            "tester",
        )
        assert decode_principal(sent.request.request_principal) == ("User:ANONYMOUS", False)
        sent.on_reply(created(sent))
        number, answer = await world.client.answer(CREATE_KEY, VERSION)
        assert (number, answer.topics[0].name, answer.topics[0].error_code) == (42, "new", ErrorCode.none)


async def test_describing_the_quorum_is_the_controllers_business() -> None:
    async with serving() as world:
        await world.client.send(DescribeQuorumRequest(), 2, 1)
        assert inner(await world.forwarded()).api_key == DescribeQuorumRequest.api_key


async def test_a_controller_that_is_none_any_more_hands_over_to_the_next() -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        first = await world.forwarded()
        first.on_reply(EnvelopeResponse(error_code=ErrorCode.not_controller))
        world.relay.leader_changed(leader(3002, epoch=2))
        second = await world.forwarded()
        assert (second.endpoint.host, second.request) == ("c3002", first.request)
        second.on_reply(created(second))
        assert (await world.client.answer(CREATE_KEY, VERSION))[1].topics[0].error_code is ErrorCode.none


async def test_without_a_controller_a_write_waits_for_one() -> None:
    async with serving(active=None) as world:
        await world.client.send(CREATE, VERSION, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert (world.wire.sent, world.relay.pending) == ([], 1)
        world.relay.leader_changed(leader(3001))
        assert inner(await world.forwarded()).body == CREATE


async def test_nothing_was_changed_is_said_only_when_it_is_true(autojump_clock: Clock) -> None:
    async with serving(active=None) as world:
        asked_at = trio.current_time()
        answer = await world.ask(attrs.evolve(CREATE, timeout_ms=10_000), VERSION)
        # Its client gives up after ten seconds, and would not hear why.
        assert trio.current_time() - asked_at == pytest.approx(9, abs=0.1)
        assert answer.topics[0].error_code is ErrorCode.request_timed_out
        assert "nothing was changed" in answer.topics[0].error_message


async def test_a_write_that_may_have_been_seen_is_never_repeated() -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        (await world.forwarded()).on_reply(failure(FailureKind.RESET, written=True))
        answer = (await world.client.answer(CREATE_KEY, VERSION))[1]
        assert answer.topics[0].error_code is ErrorCode.request_timed_out
        assert "unknown" in answer.topics[0].error_message
        assert world.wire.sent == []


async def test_what_never_left_and_what_only_reads_goes_again(autojump_clock: Clock) -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        (await world.forwarded()).on_reply(failure(FailureKind.REFUSED, written=False))
        await trio.sleep(1)
        assert inner(world.wire.take()).body == CREATE

        await world.client.send(DescribeQuorumRequest(), 2, 2)
        (await world.forwarded()).on_reply(failure(FailureKind.RESET, written=True))
        await trio.sleep(1)
        assert inner(world.wire.take()).api_key == DescribeQuorumRequest.api_key


async def test_a_controller_without_envelopes_is_named_as_the_reason() -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        (await world.forwarded()).on_reply(failure(FailureKind.UNSUPPORTED_VERSION, written=False))
        answer = (await world.client.answer(CREATE_KEY, VERSION))[1]
        assert answer.topics[0].error_code is ErrorCode.unsupported_version


async def test_writes_and_reads_of_one_connection_are_answered_in_order() -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        await world.client.send(MetadataRequest(topics=()), 12, 2)
        sent = await world.forwarded()
        sent.on_reply(created(sent))
        assert (await world.client.answer(CREATE_KEY, VERSION))[0] == 1
        assert (await world.client.answer(MetadataRequest.api_key, 12))[0] == 2


async def test_a_client_that_has_gone_is_forgotten() -> None:
    async with serving() as world:
        await world.client.send(CREATE, VERSION, 1)
        sent = await world.forwarded()
        await world.client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert world.relay.pending == 0
        sent.on_reply(created(sent))  # nobody waits; nobody is harmed
        assert (await world.source.connect().send(CREATE, VERSION, 1)) is None
        assert inner(await world.forwarded()).body == CREATE


# --- topics on demand -------------------------------------------------------------------------------------


def wanted(*names: str, allow: bool = True) -> MetadataRequest:
    topics = tuple(MetadataRequestTopic(name=name) for name in names)
    return MetadataRequest(topics=topics, allow_auto_topic_creation=allow)


async def test_a_topic_that_is_asked_for_is_made_with_the_brokers_defaults() -> None:
    async with serving() as world:
        answer = await world.ask(wanted("known", "new"), 12)
        assert [topic.error_code for topic in answer.topics] == [
            ErrorCode.none,
            ErrorCode.unknown_topic_or_partition,
        ]
        sent = await world.forwarded()
        (topic,) = inner(sent).body.topics
        assert (topic.name, topic.num_partitions, topic.replication_factor) == ("new", 4, 2)
        assert decode_principal(sent.request.request_principal) == ("User:ANONYMOUS", False)


async def test_however_many_ask_it_is_made_once() -> None:
    async with serving() as world:
        for _ in range(3):
            await world.ask(wanted("new"), 12)
        sent = await world.forwarded()
        sent.on_reply(created(sent))
        await world.ask(wanted("new"), 12)  # this broker has not heard of it yet
        again = await world.forwarded()
        with structlog.testing.capture_logs() as logs:
            again.on_reply(created(again, ErrorCode.topic_already_exists))
        assert logs == []


async def test_a_topic_that_cannot_be_made_is_told_to_the_log() -> None:
    async with serving() as world:
        await world.ask(wanted("new"), 12)
        sent = await world.forwarded()
        with structlog.testing.capture_logs() as logs:
            sent.on_reply(created(sent, ErrorCode.invalid_replication_factor))
        assert [(line["topic"], line["error"], line["why"]) for line in logs] == [
            ("new", "INVALID_REPLICATION_FACTOR", "because")
        ]


async def test_topics_are_not_made_if_the_client_or_the_operator_does_not_want_it() -> None:
    async with serving() as world:
        await world.ask(wanted("new", allow=False), 12)
        await trio.testing.wait_all_tasks_blocked()
        assert world.wire.sent == []
    async with serving(attrs.evolve(CONFIG, auto_create_topics_enable=False)) as world:
        await world.ask(wanted("new"), 12)
        await trio.testing.wait_all_tasks_blocked()
        assert world.wire.sent == []
