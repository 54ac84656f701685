"""A whole broker beside a whole controller, in one event loop, over loopback and real files."""

import pathlib
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from quorate.broker.config import BrokerConfig
from quorate.broker.main import CannotJoin, Running, run_broker
from quorate.controller.config import ControllerConfig
from quorate.controller.main import run_controller
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import CannotListen
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, open_client
from quorate.metadata.ids import Endpoint, NodeId
from quorate.metadata.log.directory import FormatPlan, Quorum, format_directory
from quorate.metadata.wire.cluster import ApiVersionsRequest, DescribeClusterRequest, MetadataRequest
from quorate.metadata.wire.raft import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
)
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)

BROKER, CONTROLLER = NodeId(1), NodeId(3001)
CLUSTER_ID = "abcdefghijklmnopqrstuA"
TIMEOUT_MS = 20_000
LONGEST_S = 40

CANNOT_JOIN = """\
Broker 1 ends: the registration did not succeed in time; the last try ended with: no active controller is known to \
this broker
  asked for the active controller, and what each said last:
    127.0.0.1:PORT: cannot connect to 127.0.0.1:PORT: nothing listens there. Is the node running, and is this the port \
of its listener?
  what to do: see that a majority of the controllers runs and that controller.quorum.bootstrap.servers names some of \
them;
  if they refuse this broker, their log and the text above say why"""


@attrs.frozen
class Place:
    """A directory with room for one controller and one broker, and the controller's port."""

    root: pathlib.Path
    port: int

    def controller(self) -> ControllerConfig:
        return ControllerConfig.of(
            {
                "process.roles": "controller",
                "node.id": str(CONTROLLER),
                "metadata.log.dir": str(self.root / "controller"),
                "listeners": f"CONTROLLER://127.0.0.1:{self.port}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.port}",
                "quorate.free.space.floor.bytes": "0",
            }
        )

    def broker(self, port: int = 0, **settings: str) -> BrokerConfig:
        return BrokerConfig.of(
            {
                "process.roles": "broker",
                "node.id": str(BROKER),
                "metadata.log.dir": str(self.root / "broker"),
                "listeners": f"PLAINTEXT://127.0.0.1:{port}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.port}",
                "quorate.free.space.floor.bytes": "0",
                **{name.replace("_", "."): value for name, value in settings.items()},
            }
        )


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """Formatted for both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, node_id, is_controller in (("controller", CONTROLLER, True), ("broker", BROKER, False)):
        plan = FormatPlan(
            directory=tmp_path / name,
            cluster_id=CLUSTER_ID,
            node_id=node_id,
            listener="CONTROLLER",
            is_controller=is_controller,
            quorum=Quorum.STANDALONE if is_controller else Quorum.NONE,
            endpoint=Endpoint("CONTROLLER", "127.0.0.1", port) if is_controller else None,
        )
        format_directory(plan, random.Random(node_id))
    return Place(tmp_path, port)


@asynccontextmanager
async def broker_running(config: BrokerConfig) -> AsyncIterator[Running]:
    """A broker that is stopped in order at the end of the block."""
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        yield await nursery.start(lambda task_status: run_broker(config, stop=stop, task_status=task_status))
        stop.set()


@asynccontextmanager
async def controller_running(place: Place) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(
            lambda task_status: run_controller(place.controller(), stop=stop, task_status=task_status)
        )
        yield
        stop.set()


@asynccontextmanager
async def client_of(running: Running) -> AsyncIterator[ClusterClient]:
    endpoint = running.endpoints["PLAINTEXT"]
    async with open_client([Address(endpoint.host, endpoint.port)]) as client:
        yield client


async def test_a_broker_joins_serves_forwards_and_leaves(place: Place) -> None:
    with trio.fail_after(LONGEST_S):
        async with controller_running(place):
            async with broker_running(place.broker()) as running, client_of(running) as client:
                assert running.cluster_id == CLUSTER_ID
                # Who gets an answer at all knows that the broker is unfenced.
                view = await client.describe(TIMEOUT_MS)
                assert (view.cluster_id, view.controller_id) == (CLUSTER_ID, BROKER)
                assert [(n.id, n.address.port) for n in view.nodes] == [
                    (BROKER, running.endpoints["PLAINTEXT"].port)
                ]
                topic = CreatableTopic(name="t", num_partitions=3, replication_factor=1)
                made = await client.call_controller(CreateTopicsRequest(topics=(topic,)), TIMEOUT_MS)
                assert made.topics[0].error_code is ErrorCode.none
                metadata = await client.call_any(MetadataRequest(topics=None), TIMEOUT_MS)
                assert [(t.name, len(t.partitions)) for t in metadata.topics] == [("t", 3)]
                assert {p.leader_id for t in metadata.topics for p in t.partitions} == {BROKER}
                quorum = await client.call_any(describe_quorum(), TIMEOUT_MS)
                assert quorum.topics[0].partitions[0].leader_id == CONTROLLER
                versions = await client.call_any(ApiVersionsRequest(), TIMEOUT_MS)
                assert {one.name for one in versions.finalized_features} == {
                    "metadata.version",
                    "kraft.version",
                }
            # The cluster knows that it is gone before its process is.
            async with open_client([Address("127.0.0.1", place.port)]) as client:
                request = DescribeClusterRequest(include_fenced_brokers=True)
                told = await client.call_any(request, TIMEOUT_MS)
                assert [(n.broker_id, n.is_fenced) for n in told.brokers if n.broker_id == BROKER] == [
                    (BROKER, True)
                ]


def describe_quorum() -> DescribeQuorumRequest:
    partition = DescribeQuorumRequestPartitionData(partition_index=0)
    topic = DescribeQuorumRequestTopicData(topic_name="__cluster_metadata", partitions=(partition,))
    return DescribeQuorumRequest(topics=(topic,))


async def test_a_broker_that_comes_back_shows_nothing_old(place: Place) -> None:
    topic = CreatableTopic(name="old", num_partitions=1, replication_factor=1)
    delete = DeleteTopicsRequest(topics=(DeleteTopicState(name="old"),), timeout_ms=TIMEOUT_MS)
    with trio.fail_after(LONGEST_S):
        async with controller_running(place):
            async with broker_running(place.broker()) as running, client_of(running) as client:
                await client.call_controller(CreateTopicsRequest(topics=(topic,)), TIMEOUT_MS)
            async with open_client([Address("127.0.0.1", place.port)]) as client:
                gone = await client.call_controller(delete, TIMEOUT_MS)
                assert gone.responses[0].error_code is ErrorCode.none
            async with broker_running(place.broker()) as running, client_of(running) as client:
                # Its own log ends with the topic; its first answer does not.
                metadata = await client.call_any(MetadataRequest(topics=None), TIMEOUT_MS)
                assert metadata.topics == ()


async def test_a_port_that_is_taken_is_said_to_be(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Cannot listen on 127.0.0.1:{port}"):
            await run_broker(place.broker(port), stop=trio.Event())


async def test_a_port_for_metrics_that_is_taken_is_said_to_be(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = attrs.evolve(place.broker(), metrics_listener=Address(*taken.getsockname()))
        with pytest.raises(
            CannotListen, match=r"metrics of node 1\)(.|\n)*change `quorate.metrics.listener`"
        ):
            await run_broker(config, stop=trio.Event())


async def test_without_a_quorum_it_gives_up_in_time_and_says_why(place: Place) -> None:
    config = place.broker(initial_broker_registration_timeout_ms="300")
    with trio.fail_after(LONGEST_S), pytest.raises(CannotJoin) as ended:
        await run_broker(config, stop=trio.Event())
    assert str(ended.value).replace(str(place.port), "PORT") == CANNOT_JOIN


async def test_a_broker_that_never_joined_stops_at_once(place: Place) -> None:
    with trio.fail_after(LONGEST_S):
        async with broker_running(place.broker()):
            pass
        async with broker_running(place.broker()):  # nothing is left that would keep it from starting again
            pass
