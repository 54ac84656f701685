"""Links to the other replicas: what becomes of a request, told exactly once and in the words of the core."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import pytest
import structlog.testing
import trio
import trio.testing

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import ConnectFailed, Connection, FailureKind, greet
from quorate.metadata.features import KRAFT_VERSION
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.effects import Peer, SendRequest
from quorate.metadata.quorum.events import Correlation, Event, Failure, RequestFailed, ResponseReceived
from quorate.metadata.quorum.messages import (
    LeaderAndEpoch,
    Request,
    VersionsRequest,
    VersionsResponse,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.raft_wire import response_to_wire
from quorate.metadata.transport import PeerLinks
from quorate.metadata.wire.cluster import ApiVersionsResponse, SupportedFeatureKey
from quorate.metadata.wire.raft import VoteResponse as WireVoteResponse
from quorate.metadata.wire.table import API_VERSIONS, decode_request, encode_response, offered
from tests.metadata.streams import Client
from tests.paper.bench import KEYS

Clock = trio.testing.MockClock

VOTE: Final = 52
TIMEOUT_MS: Final = 2_000
PEER: Final = Peer(NodeId(2), Endpoint("CONTROLLER", "peer.example", 9093))
ANSWER: Final = VoteResponse(
    leader=LeaderAndEpoch(Epoch(3), NodeId(3), Endpoint("CONTROLLER", "three", 9093))
)


def vote(number: int, peer: Peer = PEER, request: Request | None = None) -> SendRequest:
    ask = VoteRequest(
        epoch=Epoch(3),
        candidate=KEYS[1],
        voter=KEYS[2],
        last=OffsetAndEpoch(Offset(number), Epoch(1)),
        pre_vote=True,
    )
    return SendRequest(peer, Correlation(number), request or ask)


class Remote:
    """The peer's end of one connection, played by the test."""

    def __init__(self, stream: Any, offers: ApiVersionsResponse) -> None:
        self.stream = stream
        self._client = Client(stream)
        self._offers = offers

    async def greet(self) -> None:
        asked = await self._request()
        await self._answer(asked, self._offers)

    async def answer_next(self, response: Any) -> int:
        """Answers the next request; which one it was, by the offset in it."""
        asked = await self._request()
        await self._answer(asked, response)
        offset: int = asked.body.topics[0].partitions[0].last_offset
        return offset

    async def _request(self) -> Any:
        frame = await self._client.frame()
        assert frame is not None
        return decode_request(frame)

    async def _answer(self, asked: Any, response: Any) -> None:
        data = encode_response(asked.api_key, asked.api_version, asked.correlation_id, response)
        await self.stream.send_all(data)

    async def is_closed(self) -> bool:
        return await self._client.is_closed()


OFFERS: Final = ApiVersionsResponse(
    api_keys=offered({API_VERSIONS, VOTE}),
    supported_features=(SupportedFeatureKey(name=KRAFT_VERSION, min_version=0, max_version=1),),
)


class MemoryLinks(PeerLinks):
    """Connects in memory; the test decides how each attempt ends."""

    def __init__(self) -> None:
        super().__init__(
            node_id=NodeId(1), cluster_id="ours", listener="CONTROLLER", request_timeout_ms=TIMEOUT_MS
        )
        self.offers = OFFERS
        self.refuses: ConnectFailed | None = None
        self.remotes: list[Remote] = []
        self.events: list[Event] = []
        self.attempts = 0

    async def open(self, endpoint: Endpoint) -> Connection:
        self.attempts += 1
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        ours, theirs = trio.testing.memory_stream_pair()
        remote = Remote(theirs, self.offers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.greet)
            connection = await greet(ours, Address(endpoint.host, endpoint.port))
        self.remotes.append(remote)
        return connection


@asynccontextmanager
async def linked() -> AsyncIterator[MemoryLinks]:
    links = MemoryLinks()
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run, links.events.append)
        yield links
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[MemoryLinks, Remote]]:
    """After one request that went well."""
    async with linked() as links:
        links.send(vote(1))
        await trio.testing.wait_all_tasks_blocked()
        (remote,) = links.remotes
        assert await remote.answer_next(response_to_wire(ANSWER)) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert links.events == [ResponseReceived(Correlation(1), ANSWER)]
        links.events.clear()
        yield links, remote


def failed(*numbers: int, why: Failure) -> list[Event]:
    return [RequestFailed(Correlation(number), why) for number in numbers]


# --- outcomes -------------------------------------------------------------------------------------------


async def test_requests_that_wait_for_a_connection_share_it_and_leave_in_order() -> None:
    async with linked() as links:
        for number in (1, 2, 3):
            links.send(vote(number))
        await trio.testing.wait_all_tasks_blocked()
        (remote,) = links.remotes
        for number in (1, 2, 3):
            assert await remote.answer_next(response_to_wire(ANSWER)) == number
        await trio.testing.wait_all_tasks_blocked()

        assert links.attempts == 1
        assert links.events == [ResponseReceived(Correlation(number), ANSWER) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (FailureKind.REFUSED, Failure.REFUSED),
        (FailureKind.RESET, Failure.RESET),
        (FailureKind.TIMED_OUT, Failure.TIMED_OUT),
        (FailureKind.UNREACHABLE, Failure.TIMED_OUT),
        (FailureKind.NOT_KAFKA, Failure.TIMED_OUT),
    ],
)
async def test_an_attempt_that_fails_fails_all_that_wait_and_is_not_made_again(
    kind: FailureKind, told: Failure
) -> None:
    async with linked() as links:
        links.refuses = ConnectFailed(kind, "the test says so")
        links.send(vote(1))
        links.send(vote(2))
        await trio.testing.wait_all_tasks_blocked()

        assert links.events == failed(1, 2, why=told)
        assert links.attempts == 1


async def test_after_a_refusal_the_next_request_tries_again() -> None:
    async with linked() as links:
        links.refuses = ConnectFailed(FailureKind.REFUSED, "nobody yet")
        links.send(vote(1))
        await trio.testing.wait_all_tasks_blocked()
        links.refuses = None
        links.send(vote(2))
        await trio.testing.wait_all_tasks_blocked()
        await links.remotes[0].answer_next(response_to_wire(ANSWER))
        await trio.testing.wait_all_tasks_blocked()

        assert links.events == [*failed(1, why=Failure.REFUSED), ResponseReceived(Correlation(2), ANSWER)]


async def test_a_connection_that_breaks_resets_what_is_under_way_and_the_next_request_connects_anew() -> None:
    async with connected() as (links, remote):
        links.send(vote(2))
        links.send(vote(3))
        await remote.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert links.events == failed(2, 3, why=Failure.RESET)
        assert links.attempts == 1  # whether to ask again is the core's decision

        links.send(vote(4))
        await trio.testing.wait_all_tasks_blocked()
        assert await links.remotes[1].answer_next(response_to_wire(ANSWER)) == 4


async def test_silence_is_a_timeout_and_keeps_the_connection(autojump_clock: Clock) -> None:
    async with connected() as (links, remote):
        began = trio.current_time()
        links.send(vote(2))
        await trio.sleep(TIMEOUT_MS / 1000 + 0.1)
        assert links.events == failed(2, why=Failure.TIMED_OUT)
        assert trio.current_time() - began < 2 * TIMEOUT_MS / 1000

        links.send(vote(3))
        assert await remote.answer_next(response_to_wire(ANSWER)) == 2  # too late, and told to nobody
        assert await remote.answer_next(response_to_wire(ANSWER)) == 3
        await trio.testing.wait_all_tasks_blocked()
        assert links.events[1:] == [ResponseReceived(Correlation(3), ANSWER)]


async def test_what_the_peer_does_not_speak_is_told_as_that() -> None:
    async with linked() as links:
        links.offers = attrs.evolve(OFFERS, api_keys=offered({API_VERSIONS}))
        links.send(vote(1))
        await trio.testing.wait_all_tasks_blocked()

        assert links.events == failed(1, why=Failure.UNSUPPORTED)


async def test_an_answer_that_makes_no_sense_is_no_sign_of_a_dead_process() -> None:
    async with connected() as (links, remote):
        links.send(vote(2))
        await remote.answer_next(WireVoteResponse())  # no topic in it
        await trio.testing.wait_all_tasks_blocked()

        assert links.events == failed(2, why=Failure.TIMED_OUT)


@pytest.mark.parametrize(("features", "spoken"), [(OFFERS.supported_features, (0, 1)), ((), None)])
async def test_what_a_peer_speaks_is_known_from_its_greeting(
    features: tuple[SupportedFeatureKey, ...], spoken: tuple[int, int] | None
) -> None:
    async with linked() as links:
        links.offers = attrs.evolve(OFFERS, supported_features=features)
        links.send(vote(1, request=VersionsRequest()))
        await trio.testing.wait_all_tasks_blocked()

        assert links.events == [ResponseReceived(Correlation(1), VersionsResponse(kraft_versions=spoken))]


async def test_who_asks_again_at_the_moment_of_a_loss_gets_a_new_connection() -> None:
    """So does the core: only if the second attempt fails too does it suspect the leader."""

    class AsksAgain(MemoryLinks):
        def take(self, event: Event) -> None:
            self.events.append(event)
            if event == RequestFailed(Correlation(1), Failure.RESET):
                self.send(vote(2))

    links = AsksAgain()
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run, links.take)
        links.send(vote(1))
        await trio.testing.wait_all_tasks_blocked()
        await links.remotes[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert links.events == failed(1, why=Failure.RESET)
        assert await links.remotes[1].answer_next(response_to_wire(ANSWER)) == 2
        nursery.cancel_scope.cancel()


# --- for people -----------------------------------------------------------------------------------------


async def test_a_peer_of_another_cluster_is_complained_of_once() -> None:
    async with connected() as (links, remote):
        with structlog.testing.capture_logs() as logs:
            for number in (2, 3):
                links.send(vote(number))
                await remote.answer_next(WireVoteResponse(error_code=ErrorCode.inconsistent_cluster_id))
                await trio.testing.wait_all_tasks_blocked()

        assert links.events == failed(2, 3, why=Failure.TIMED_OUT)
        assert [(one["event"], one["peer"]) for one in logs] == [
            ("a peer's answer is of no use", "peer.example:9093")
        ]
        assert "cluster ours" in logs[0]["why"]
        assert links.last_said() == {Address("peer.example", 9093): logs[0]["why"]}


async def test_a_peer_that_takes_this_node_for_a_stranger_says_what_to_do() -> None:
    async with connected() as (links, remote):
        with structlog.testing.capture_logs() as logs:
            links.send(vote(2))
            await remote.answer_next(WireVoteResponse(error_code=ErrorCode.cluster_authorization_failed))
            await trio.testing.wait_all_tasks_blocked()

        assert links.events == failed(2, why=Failure.TIMED_OUT)
        assert "super.users" in logs[0]["why"]


async def test_what_each_peer_said_last_can_be_told() -> None:
    other = Peer(NodeId(3), Endpoint("CONTROLLER", "other.example", 9093))
    async with connected() as (links, remote):
        links.refuses = ConnectFailed(FailureKind.REFUSED, "nothing listens there")
        links.send(vote(2, other))
        links.send(vote(3))
        await remote.answer_next(response_to_wire(VoteResponse(leader=LeaderAndEpoch(Epoch(4)))))
        await trio.testing.wait_all_tasks_blocked()

        assert links.last_said() == {
            Address("peer.example", 9093): "knows of no active controller in epoch 4",
            Address("other.example", 9093): "nothing listens there",
        }


# --- their lives ----------------------------------------------------------------------------------------


async def test_one_peer_that_cannot_be_reached_does_not_hold_up_another(mock_clock: Clock) -> None:
    """Its attempt goes on and on."""

    class Stuck(MemoryLinks):
        async def open(self, endpoint: Endpoint) -> Connection:
            if endpoint.host == "stuck.example":
                await trio.sleep_forever()
            return await super().open(endpoint)

    links = Stuck()
    async with trio.open_nursery() as nursery:
        await nursery.start(links.run, links.events.append)
        links.send(vote(1, Peer(NodeId(3), Endpoint("CONTROLLER", "stuck.example", 9093))))
        links.send(vote(2))
        await trio.testing.wait_all_tasks_blocked()
        await links.remotes[0].answer_next(response_to_wire(ANSWER))
        await trio.testing.wait_all_tasks_blocked()
        assert links.events == [ResponseReceived(Correlation(2), ANSWER)]
        nursery.cancel_scope.cancel()


async def test_a_link_that_nobody_wants_is_forgotten_and_made_again(autojump_clock: Clock) -> None:
    async with connected() as (links, remote):
        await remote.stream.aclose()
        await trio.sleep(61)
        assert links._links == {}

        links.send(vote(2))
        await trio.testing.wait_all_tasks_blocked()
        assert await links.remotes[1].answer_next(response_to_wire(ANSWER)) == 2


async def test_cancelled_it_closes_its_connections() -> None:
    async with connected() as (_, remote):
        pass

    assert await remote.is_closed()


async def test_before_it_runs_nothing_can_be_sent() -> None:
    with pytest.raises(RuntimeError, match="before run"):
        MemoryLinks().send(vote(1))


# --- through the kernel ---------------------------------------------------------------------------------


async def outcome_of_dialling(port: int) -> Event:
    """What becomes of a request to that port of this machine."""
    send, receive = trio.open_memory_channel[Event](10)
    links = PeerLinks(node_id=NodeId(1), cluster_id="ours", listener="CONTROLLER", request_timeout_ms=20_000)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(links.run, send.send_nowait)
            links.send(vote(1, Peer(NodeId(2), Endpoint("CONTROLLER", "127.0.0.1", port))))
            event = await receive.receive()
            nursery.cancel_scope.cancel()
    return event


async def test_a_dead_process_refuses() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        assert await outcome_of_dialling(bound.getsockname()[1]) == RequestFailed(
            Correlation(1), Failure.REFUSED
        )


async def test_a_process_that_dies_meanwhile_resets() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def take_and_drop() -> None:
        stream = await listener.accept()
        await stream.receive_some(1)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_and_drop)
        event = await outcome_of_dialling(listener.socket.getsockname()[1])
    await listener.aclose()

    assert event == RequestFailed(Correlation(1), Failure.RESET)
