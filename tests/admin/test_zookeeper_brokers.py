"""Whole brokers in ZooKeeper mode on loopback, on a ZooKeeper in the same process: what their clients see."""

import contextlib
import json
from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from quorate.admin.zookeeper_mode import office_factory, zookeeper_node
from quorate.broker.main import Running
from quorate.broker.zookeeper_main import run_zookeeper_broker
from quorate.controller.policies import NO_POLICIES
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, open_client
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.settings import RawSettings
from quorate.metadata.wire import acls, cluster, configs, log_dirs
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from quorate.metadata.zookeeper.embedded import EmbeddedServer
from quorate.metadata.zookeeper.interface import ZooKeeper

TIMEOUT_MS = 20_000


@attrs.define
class Brokers:
    """Started, each with its own session."""

    server: EmbeddedServer
    nursery: trio.Nursery
    running: dict[int, Running] = attrs.Factory(dict)
    stops: dict[int, trio.Event] = attrs.Factory(dict)

    async def start(self, broker_id: int, **settings: str) -> None:
        texts = {
            "broker.id": str(broker_id),
            "zookeeper.connect": "embedded:2181",
            "listeners": "INT://127.0.0.1:0,EXT://127.0.0.1:0",
            "listener.security.protocol.map": "INT:PLAINTEXT,EXT:PLAINTEXT",
            "inter.broker.listener.name": "INT",
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        node, _ = zookeeper_node(RawSettings.of(texts))
        session = self.server.connect(6_000)

        @contextlib.asynccontextmanager
        async def connect() -> AsyncIterator[ZooKeeper]:
            yield session
            session.close()

        stop = self.stops[broker_id] = trio.Event()

        async def run(*, task_status: trio.TaskStatus[Running]) -> None:
            office = office_factory(node, NO_POLICIES)
            await run_zookeeper_broker(node.broker, connect, office, stop=stop, task_status=task_status)

        self.running[broker_id] = await self.nursery.start(run)

    def address(self, broker_id: int, listener: str = "INT") -> Address:
        endpoint = self.running[broker_id].endpoints[listener]
        return Address(endpoint.host, endpoint.port)

    @contextlib.asynccontextmanager
    async def client(self, broker_id: int, listener: str = "INT") -> AsyncIterator[ClusterClient]:
        async with open_client([self.address(broker_id, listener)]) as client:
            yield client


@pytest.fixture
async def two(nursery: trio.Nursery) -> Brokers:
    """The first one is the controller."""
    brokers = Brokers(EmbeddedServer(), nursery)
    for broker_id in (1, 2):
        await brokers.start(broker_id, num_partitions=str(broker_id))
    await both_are_known(brokers)
    return brokers


async def both_are_known(brokers: Brokers) -> None:
    async with brokers.client(1) as client:
        while len((await client.call_any(cluster.MetadataRequest(topics=()), TIMEOUT_MS)).brokers) < 2:
            await trio.lowlevel.checkpoint()


async def test_answers_are_those_of_the_broker_and_the_listener_that_were_asked(two: Brokers) -> None:
    for broker_id in (1, 2):
        for listener in ("INT", "EXT"):
            async with two.client(broker_id, listener) as client:
                answer = await client.call_any(cluster.MetadataRequest(topics=()), TIMEOUT_MS)

            assert answer.controller_id == broker_id
            assert {node.node_id: node.port for node in answer.brokers} == {
                one: two.address(one, listener).port for one in (1, 2)
            }


async def test_a_topic_that_is_made_at_one_broker_is_seen_at_the_other_at_once(two: Brokers) -> None:
    topic = CreatableTopic(name="orders", num_partitions=2, replication_factor=2)
    for broker_id in (2, 1):
        request = CreateTopicsRequest(topics=(attrs.evolve(topic, name=f"orders-{broker_id}"),))
        async with two.client(broker_id) as client, two.client(3 - broker_id) as other:
            made = await client.call_controller(request, TIMEOUT_MS)
            names = {one.name for one in (await other.call_any(cluster.MetadataRequest(), TIMEOUT_MS)).topics}

        assert made.topics[0].error_code is ErrorCode.none
        assert f"orders-{broker_id}" in names


async def test_each_broker_describes_its_own_file_whoever_answers(two: Brokers) -> None:
    for broker_id in (1, 2):
        resource = configs.DescribeConfigsResource(
            resource_type=ResourceType.BROKER, resource_name=str(broker_id)
        )
        async with two.client(broker_id) as client:
            request = configs.DescribeConfigsRequest(resources=(resource,))
            answer = await client.call_any(request, TIMEOUT_MS)

        values = {config.name: config.value for config in answer.results[0].configs}
        assert values["num.partitions"] == str(broker_id)
        assert values["zookeeper.connect"] == "embedded:2181"
        assert values["listeners"] == "INT://127.0.0.1:0,EXT://127.0.0.1:0"


async def test_without_an_authorizer_acls_would_protect_nothing_and_are_refused(two: Brokers) -> None:
    everything = acls.DescribeAclsRequest(resource_type_filter=1, operation=1, permission_type=1)
    async with two.client(2) as client:
        answer = await client.call_any(everything, TIMEOUT_MS)

    assert answer.error_code is ErrorCode.security_disabled


async def test_a_topic_is_made_when_somebody_asks_for_it(two: Brokers) -> None:
    asked = cluster.MetadataRequest(topics=(cluster.MetadataRequestTopic(name="on-demand"),))
    async with two.client(2) as client:
        first = await client.call_any(asked, TIMEOUT_MS)
        assert first.topics[0].error_code is ErrorCode.unknown_topic_or_partition
        while (await client.call_any(asked, TIMEOUT_MS)).topics[0].error_code is not ErrorCode.none:
            await trio.lowlevel.checkpoint()


async def test_brokers_without_a_directory_have_no_log_dirs(two: Brokers) -> None:
    async with two.client(2) as client:
        answer = await client.call_any(log_dirs.DescribeLogDirsRequest(), TIMEOUT_MS)

    assert (answer.error_code, answer.results) == (ErrorCode.none, ())


async def test_when_the_controller_stops_in_order_requests_wait_for_the_next_one(two: Brokers) -> None:
    async with two.client(2) as client:
        two.stops[1].set()
        topic = CreatableTopic(name="orders", num_partitions=1, replication_factor=1)
        made = await client.call_controller(CreateTopicsRequest(topics=(topic,)), TIMEOUT_MS)
        while True:
            answer = await client.call_any(cluster.MetadataRequest(topics=()), TIMEOUT_MS)
            if [node.node_id for node in answer.brokers] == [2]:
                break

    assert made.topics[0].error_code is ErrorCode.none


async def test_acls_count_at_whoever_holds_the_office_whichever_broker_is_asked(
    nursery: trio.Nursery,
) -> None:
    guarded = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    brokers = Brokers(EmbeddedServer(), nursery)
    for broker_id in (1, 2):
        await brokers.start(broker_id, **guarded)
    await both_are_known(brokers)
    allowed = acls.AclCreation(
        resource_type=2,
        resource_name="orders",
        resource_pattern_type=3,
        principal="User:alice",
        host="*",
        operation=3,
        permission_type=3,
    )
    everything = acls.DescribeAclsRequest(resource_type_filter=1, operation=1, permission_type=1)
    async with brokers.client(2) as client:
        made = await client.call_controller(acls.CreateAclsRequest(creations=(allowed,)), TIMEOUT_MS)
        found = await client.call_any(everything, TIMEOUT_MS)

    assert made.results[0].error_code is ErrorCode.none
    assert [resource.resource_name for resource in found.resources] == ["orders"]
    node = brokers.server.znodes()["/kafka-acl/Topic/orders"]
    assert json.loads(node.data or b"")["acls"] == [
        {"principal": "User:alice", "permissionType": "Allow", "operation": "Read", "host": "*"}
    ]
