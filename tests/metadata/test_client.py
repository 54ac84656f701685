"""A client of a cluster: finding the controller, following it, and never doing a write twice."""

import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from quorate.metadata import client as client_module
from quorate.metadata.addresses import Address
from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.client import NoAnswer, OutcomeUnknown, open_client
from quorate.metadata.connection import CallFailed, ConnectFailed, Connection, FailureKind, greet
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.listener import Listener
from quorate.metadata.wire.brokers import UnregisterBrokerRequest, UnregisterBrokerResponse
from quorate.metadata.wire.cluster import (
    ApiVersionsResponse,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
)
from quorate.metadata.wire.raft import DescribeQuorumRequest, DescribeQuorumResponse, RemoveRaftVoterRequest
from quorate.metadata.wire.table import API_VERSIONS, offered
from tests.metadata.streams import MemorySource

WRITE = UnregisterBrokerRequest(broker_id=7)
READ = MetadataRequest(topics=())


@attrs.define
class Node:
    """One node of a cluster in memory, as the test wants it."""

    cluster: "Cluster"
    id: int
    has_metadata: bool = True
    is_up: bool = True
    is_silent: bool = False
    """Takes requests and never answers."""
    drops: int = 0
    """Connections that it still breaks at their first request after the greeting."""
    lacks: frozenset[int] = frozenset()
    """APIs that it does not offer."""
    believes: int | None = None
    """Whom it takes for the controller, whatever the others say."""
    asked: list[str] = attrs.field(factory=list)
    source: MemorySource = attrs.field(factory=MemorySource)

    @property
    def address(self) -> Address:
        return Address(f"node{self.id}", 9092)

    @property
    def serves(self) -> frozenset[int]:
        describing = MetadataRequest.api_key if self.has_metadata else DescribeClusterRequest.api_key
        return (
            frozenset({describing, UnregisterBrokerRequest.api_key, DescribeQuorumRequest.api_key})
            - self.lacks
        )

    def api_versions(self, listener_name: str) -> ApiVersionsResponse:
        return ApiVersionsResponse(api_keys=offered({API_VERSIONS, *self.serves}))

    def handle(self, call: Call) -> None:
        request = call.request
        self.asked.append(
            {MetadataRequest: "metadata", DescribeClusterRequest: "describe"}.get(type(request), "write")
        )
        if self.is_silent:
            return
        nodes = [node for node in self.cluster.nodes.values() if node.is_up or node.id == self.believes]
        controller_id = self.cluster.controller_id if self.believes is None else self.believes
        if isinstance(request, MetadataRequest):
            brokers = tuple(
                MetadataResponseBroker(node_id=node.id, host=node.address.host, port=node.address.port)
                for node in nodes
            )
            call.answer(MetadataResponse(brokers=brokers, controller_id=controller_id, cluster_id="c"))
        elif isinstance(request, DescribeClusterRequest):
            assert request.endpoint_type == 2
            listed = tuple(
                DescribeClusterBroker(broker_id=node.id, host=node.address.host, port=node.address.port)
                for node in nodes
            )
            call.answer(
                DescribeClusterResponse(
                    brokers=listed, controller_id=self.cluster.controller_id, cluster_id="c"
                )
            )
        elif isinstance(request, DescribeQuorumRequest):
            leads = self.id == self.cluster.active_id
            code = ErrorCode.none if leads else ErrorCode.not_leader_or_follower
            call.answer(DescribeQuorumResponse(error_code=code, error_message=f"said by {self.id}"))
        elif self.id != self.cluster.active_id:
            call.reject(ErrorCode.not_controller, f"node {self.id} is not the active controller")
        else:
            call.answer(UnregisterBrokerResponse(error_message=f"done by {self.id}"))


class Cluster:
    """Nodes that can be connected to by address."""

    def __init__(self, nursery: trio.Nursery, count: int = 3) -> None:
        self.nodes = {number: Node(self, number) for number in range(1, count + 1)}
        self.controller_id = 1
        """What the nodes say."""
        self.active_id = 1
        """What is the case."""
        for node in self.nodes.values():
            nursery.start_soon(Listener("X", node).serve, [node.source])

    async def connect(
        self, address: Address, *, timeout_ms: int, client_id: str, security: Any
    ) -> Connection:
        await trio.lowlevel.checkpoint()
        node = next((node for node in self.nodes.values() if node.address == address), None)
        if node is None or not node.is_up:
            raise ConnectFailed(FailureKind.REFUSED, f"nothing listens at {address}")
        client = node.source.connect()
        stream = client.stream
        if node.drops:
            node.drops -= 1
            connection = await greet(stream, address)
            stream.send_stream.send_all_hook = breaking(stream)
            return connection
        return await greet(stream, address)


def breaking(stream: Any) -> Callable[[], Any]:
    """Lets the bytes out, and then the connection is gone."""
    deliver = stream.send_stream.send_all_hook

    async def hook() -> None:
        stream.receive_stream.put_eof()
        await deliver()

    return hook


@pytest.fixture
def cluster(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(nursery)
    monkeypatch.setattr(client_module, "connect", cluster.connect)
    return cluster


def client_of(*numbers: int) -> Any:
    return open_client([Address(f"node{number}", 9092) for number in numbers], rng=random.Random(1))


async def test_a_write_goes_to_the_active_controller(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.controller_id = cluster.active_id = 3

    async with client_of(1, 2) as client:
        first = await client.call_controller(WRITE, 30_000)
        await client.call_controller(WRITE, 30_000)

    assert first.error_message == "done by 3"
    assert cluster.nodes[1].asked == ["metadata"]  # once: the second write knows the way
    assert cluster.nodes[3].asked == ["write", "write"]


async def test_a_controller_that_is_none_any_more_is_left_for_the_new_one(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    async with client_of(1) as client:
        await client.call_controller(WRITE, 30_000)
        cluster.controller_id = cluster.active_id = 2
        answer = await client.call_controller(WRITE, 30_000)

    assert answer.error_message == "done by 2"


async def test_a_leader_that_is_none_any_more_is_left_too(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    """The quorum's own requests are refused with NOT_LEADER_OR_FOLLOWER. A voter that was removed lives on."""
    async with client_of(1) as client:
        await client.call_controller(DescribeQuorumRequest(), 30_000)
        cluster.controller_id = cluster.active_id = 2
        answer = await client.call_controller(DescribeQuorumRequest(), 30_000)

    assert answer.error_message == "said by 2"


async def test_a_dead_controller_is_left_for_the_new_one(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with client_of(1, 2) as client:
        await client.call_controller(WRITE, 30_000)
        cluster.nodes[1].is_up = False
        client._connections[Address("node1", 9092)].close()  # as the kernel does for a killed process
        cluster.controller_id = cluster.active_id = 3
        answer = await client.call_controller(WRITE, 30_000)

    assert answer.error_message == "done by 3"


async def test_a_node_that_names_a_dead_controller_for_ever_is_not_believed_for_ever(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    """A voter of a log that a recovery gave up, or one that is cut off: it answers first, and knows nothing new."""
    cluster.nodes[1].believes = 2
    cluster.nodes[2].is_up = False
    cluster.controller_id = cluster.active_id = 3

    async with client_of(1, 2, 3) as client:
        answer = await client.call_controller(WRITE, 10_000)

    assert answer.error_message == "done by 3"


async def test_it_waits_for_an_election_to_end(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.controller_id = -1

    async def elect() -> None:
        await trio.sleep(2)
        cluster.controller_id = cluster.active_id = 2

    async with trio.open_nursery() as nursery, client_of(1) as client:
        nursery.start_soon(elect)
        answer = await client.call_controller(WRITE, 30_000)

    assert answer.error_message == "done by 2"
    assert 2 <= trio.current_time() < 3.5


async def test_the_pauses_grow(cluster: Cluster, autojump_clock: MockClock) -> None:
    """An election must not be met by a crowd of clients that ask without a breath."""
    cluster.controller_id = -1

    async with client_of(1) as client:
        with pytest.raises(NoAnswer):
            await client.call_controller(WRITE, 30_000)

    assert 25 <= len(cluster.nodes[1].asked) <= 45


async def test_any_of_the_bootstrap_addresses_will_do(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.nodes[1].is_up = False
    cluster.controller_id = cluster.active_id = 2

    async with client_of(1, 2) as client:
        assert (await client.call_controller(WRITE, 30_000)).error_message == "done by 2"
        assert (await client.call_any(READ, 30_000)).cluster_id == "c"


async def test_nobody_there_is_told_for_each_address_at_the_deadline(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    for node in cluster.nodes.values():
        node.is_up = False

    async with client_of(1, 2) as client:
        with pytest.raises(NoAnswer) as caught:
            await client.call_controller(WRITE, 3_000)

    assert trio.current_time() == pytest.approx(3, abs=0.01)
    assert caught.value.reasons == {
        Address("node1", 9092): "nothing listens at node1:9092",
        Address("node2", 9092): "nothing listens at node2:9092",
    }
    assert (
        str(caught.value).splitlines()[0] == "UnregisterBroker: no answer within 3000 ms; nothing was changed"
    )
    assert not isinstance(caught.value, OutcomeUnknown)


async def test_a_write_whose_connection_broke_is_not_sent_again(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    async with client_of(2) as client:
        await client.describe(30_000)
        cluster.nodes[1].drops = 1
        with pytest.raises(OutcomeUnknown) as caught:
            await client.call_controller(WRITE, 30_000)

    assert [node.asked.count("write") for node in cluster.nodes.values()] == [1, 0, 0]
    assert "may have been carried out" in str(caught.value)
    assert trio.current_time() < 1


async def test_a_write_that_is_not_answered_in_time_has_an_unknown_outcome(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    async with client_of(2) as client:
        await client.describe(30_000)
        cluster.nodes[1].is_silent = True
        with pytest.raises(OutcomeUnknown):
            await client.call_controller(WRITE, 4_000)

    assert cluster.nodes[1].asked == ["write"]
    assert trio.current_time() == pytest.approx(4, abs=0.01)


async def test_a_controller_that_is_paused_is_left_for_the_new_one_after_one_unknown_outcome(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    """It is silent and its connection stays: every write would wait there until its end."""
    async with client_of(1, 2, 3) as client:
        await client.call_controller(WRITE, 10_000)
        cluster.nodes[1].is_silent = True
        cluster.controller_id = cluster.active_id = 3
        with pytest.raises(OutcomeUnknown):
            await client.call_controller(WRITE, 10_000)
        answer = await client.call_controller(WRITE, 10_000)

    assert answer.error_message == "done by 3"
    assert trio.current_time() < 12


async def test_a_read_whose_connection_broke_is_sent_again(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    cluster.nodes[1].drops = 1

    async with client_of(1) as client:
        assert (await client.call_any(READ, 30_000)).cluster_id == "c"


async def test_a_node_that_hangs_does_not_use_up_the_time_of_a_read(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    cluster.nodes[1].is_silent = True

    async with client_of(1, 2) as client:
        assert (await client.call_any(READ, 30_000)).cluster_id == "c"
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await client.call_any(READ, 30_000)

    assert trio.current_time() == pytest.approx(5, abs=0.1)  # the one that answered is asked first


async def test_kafkas_controllers_offer_no_metadata(cluster: Cluster, autojump_clock: MockClock) -> None:
    for node in cluster.nodes.values():
        node.has_metadata = False
    cluster.controller_id = cluster.active_id = 3

    async with client_of(1) as client:
        answer = await client.call_controller(WRITE, 30_000)
        view = await client.describe(30_000)

    assert answer.error_message == "done by 3"
    assert [node.id for node in view.nodes] == [1, 2, 3]
    assert view.controller is not None
    assert view.controller.address == Address("node3", 9092)


async def test_what_the_node_does_not_know_is_refused_at_once(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    async with client_of(1) as client:
        with pytest.raises(RequestRejected) as caught:
            await client.call_controller(
                RemoveRaftVoterRequest(voter_id=1, voter_directory_id=ZERO_UUID), 30_000
            )

    assert caught.value.code is ErrorCode.unsupported_version
    assert "does not offer RemoveRaftVoter" in caught.value.message
    assert trio.current_time() < 1


async def test_who_stands_in_for_the_controller_and_does_not_know_the_request_is_passed_over(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    """A broker names itself for the controller, since it forwards; what only controllers answer it does not offer."""
    cluster.controller_id = cluster.active_id = 3
    cluster.nodes[1].believes = 1
    cluster.nodes[1].lacks = frozenset({UnregisterBrokerRequest.api_key})
    async with client_of(1, 2, 3) as client:
        answer = await client.call_controller(WRITE, 10_000)
    assert answer.error_message == f"done by {cluster.active_id}"


async def test_a_question_about_one_node_is_put_to_that_node_only(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    cluster.nodes[3].is_up = False

    async with client_of(1) as client:
        assert (await client.call_at(Address("node2", 9092), READ, 30_000)).cluster_id == "c"
        with pytest.raises(NoAnswer) as caught:
            await client.call_at(Address("node3", 9092), READ, 30_000)

    assert list(caught.value.reasons) == [Address("node3", 9092)]
    assert cluster.nodes[1].asked == []
    assert trio.current_time() < 1


async def test_several_tasks_share_one_connection(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with client_of(1) as client, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client.call_any, READ, 30_000)

    assert cluster.nodes[1].asked == ["metadata"] * 20
    assert len(client._connections) == 1


def test_a_client_needs_somebody_to_ask() -> None:
    async def main() -> None:
        async with open_client([]):
            pass

    with pytest.raises(ValueError, match="at least one"):
        trio.run(main)


@pytest.mark.parametrize("kind", [FailureKind.CUT_OFF, FailureKind.NOT_LET_IN])
@pytest.mark.parametrize("cuts", [1, 2, 3])
async def test_who_is_cut_off_while_it_is_let_in_tries_again_but_not_for_ever(
    cluster: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, cuts: int, kind: FailureKind
) -> None:
    """A node that is killed at that moment looks like one that wants something else from us; a refusal does not."""
    left = [cuts]

    async def cut(address: Address, **how: Any) -> Connection:
        if left[0]:
            left[0] -= 1
            raise ConnectFailed(kind, f"{address} ended the connection")
        return await cluster.connect(address, **how)

    monkeypatch.setattr(client_module, "connect", cut)
    async with client_of(1) as client:
        if kind is FailureKind.CUT_OFF and cuts <= client_module.CUTS_FORGIVEN:
            assert (await client.call_any(READ, 30_000)).brokers
        else:
            with pytest.raises(CallFailed, match="ended the connection"):
                await client.call_any(READ, 30_000)
