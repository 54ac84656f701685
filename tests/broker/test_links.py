"""Links: every request ends exactly once, and the other end says whether a byte of it left."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from quorate.broker.links import CONNECT_MS, ControllerLinks
from quorate.metadata.addresses import Address
from quorate.metadata.connection import ConnectFailed, Connection, Failure, FailureKind, greet
from quorate.metadata.ids import Endpoint
from quorate.metadata.wire.brokers import UnregisterBrokerRequest, UnregisterBrokerResponse
from quorate.metadata.wire.cluster import ApiVersionsResponse
from quorate.metadata.wire.table import API_VERSIONS, decode_request, encode_response, offered
from tests.metadata.streams import Client

ONE = Endpoint("CONTROLLER", "one", 9093)
TWO = Endpoint("CONTROLLER", "two", 9093)
UNREGISTER = UnregisterBrokerRequest.api_key
OFFER = ApiVersionsResponse(api_keys=offered({API_VERSIONS, UNREGISTER}))

Clock = trio.testing.MockClock


class Controllers:
    """Plays every controller: accepts connections, unless `refuses`, and keeps what arrives."""

    def __init__(self) -> None:
        self.refuses = False
        self.takes_s = 0.0
        self.connected: list[str] = []
        self.peers: list[Client] = []
        self.arrived: list[tuple[str, int]] = []
        self._nursery: trio.Nursery | None = None

    async def open(self, address: Address) -> Connection:
        await trio.sleep(self.takes_s)
        if self.refuses:
            raise ConnectFailed(FailureKind.REFUSED, f"nothing listens at {address}")
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Client(theirs)
        assert self._nursery is not None
        self._nursery.start_soon(self._greet, peer)
        connection = await greet(ours, address)
        self.connected.append(address.host)
        self.peers.append(peer)
        self._nursery.start_soon(self._read, address.host, peer)
        return connection

    async def run(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def _greet(self, peer: Client) -> None:
        frame = await peer.frame()
        assert frame is not None
        request = decode_request(frame)
        await peer.stream.send_all(
            encode_response(API_VERSIONS, request.api_version, request.correlation_id, OFFER)
        )

    async def _read(self, host: str, peer: Client) -> None:
        while (frame := await peer.frame()) is not None:
            request = decode_request(frame)
            self.arrived.append((host, request.body.broker_id))
            if request.body.broker_id >= 0:  # a negative one is never answered
                answer = UnregisterBrokerResponse(error_message=str(request.body.broker_id))
                await peer.stream.send_all(
                    encode_response(UNREGISTER, request.api_version, request.correlation_id, answer)
                )

    def break_all(self) -> None:
        for peer in self.peers:
            peer.stream.send_stream.close()
        self.peers.clear()


class Outcomes:
    """What became of requests, by their number."""

    def __init__(self, links: ControllerLinks) -> None:
        self.links = links
        self.seen: list[tuple[int, str]] = []

    def send(self, number: int, to: Endpoint = ONE, timeout_ms: int = 10_000) -> None:
        self.links.send(
            to, UnregisterBrokerRequest(broker_id=number), self.told(number), timeout_ms=timeout_ms
        )

    def told(self, number: int) -> Callable[[Any], None]:
        def on_reply(reply: Any) -> None:
            if isinstance(reply, Failure):
                self.seen.append(
                    (number, f"{reply.kind.value}, {'written' if reply.written else 'unwritten'}")
                )
            else:
                self.seen.append((number, f"answer {reply.error_message}"))

        return on_reply

    async def settle(self) -> list[tuple[int, str]]:
        """All that became known once nothing can happen any more without time passing."""
        await trio.testing.wait_all_tasks_blocked()
        seen, self.seen = self.seen, []
        return seen


@asynccontextmanager
async def playing(*, distrust_silence: bool = False) -> AsyncIterator[tuple[Outcomes, Controllers]]:
    controllers = Controllers()
    links = ControllerLinks(controllers.open, distrust_silence=distrust_silence)
    async with trio.open_nursery() as nursery:
        await controllers.run(nursery)
        await nursery.start(links.run)
        yield Outcomes(links), controllers
        nursery.cancel_scope.cancel()


async def test_one_connection_per_controller_made_when_it_is_needed(autojump_clock: Clock) -> None:
    async with playing() as (out, controllers):
        assert controllers.connected == []
        out.send(1)
        out.send(2)
        out.send(3, TWO)
        assert sorted(await out.settle()) == [(1, "answer 1"), (2, "answer 2"), (3, "answer 3")]
        out.send(4)
        assert await out.settle() == [(4, "answer 4")]
        assert sorted(controllers.connected) == ["one", "two"]
        assert controllers.arrived.index(("one", 1)) < controllers.arrived.index(("one", 2))


async def test_what_a_controller_says_of_itself_is_known_once_it_was_reached(autojump_clock: Clock) -> None:
    async with playing() as (out, _):
        assert out.links.versions(ONE) is None
        out.send(1)
        await out.settle()
        assert out.links.versions(ONE) == OFFER
        assert out.links.versions(TWO) is None


async def test_nobody_there_fails_all_that_waits_and_the_next_one_tries_again(autojump_clock: Clock) -> None:
    async with playing() as (out, controllers):
        controllers.refuses = True
        out.send(1)
        out.send(2)
        assert await out.settle() == [(1, "refused, unwritten"), (2, "refused, unwritten")]
        controllers.refuses = False
        out.send(3)
        assert await out.settle() == [(3, "answer 3")]


async def test_who_asks_again_from_within_the_failure_waits_for_the_next_connection(
    autojump_clock: Clock,
) -> None:
    async with playing() as (out, controllers):
        controllers.refuses = True

        def again(reply: Any) -> None:
            controllers.refuses = False
            out.send(2)

        out.links.send(ONE, UnregisterBrokerRequest(broker_id=1), again, timeout_ms=10_000)
        assert await out.settle() == [(2, "answer 2")]


async def test_a_connection_that_breaks_is_made_anew(autojump_clock: Clock) -> None:
    async with playing() as (out, controllers):
        out.send(-1)
        await out.settle()
        controllers.break_all()
        assert await out.settle() == [(-1, "reset, written")]
        out.send(2)
        assert await out.settle() == [(2, "answer 2")]
        assert controllers.connected == ["one", "one"]


async def test_time_spent_connecting_counts(autojump_clock: Clock) -> None:
    async with playing() as (out, controllers):
        controllers.takes_s = CONNECT_MS / 1000
        out.send(1, timeout_ms=CONNECT_MS - 1)
        out.send(-2, timeout_ms=CONNECT_MS + 500)
        await trio.sleep(CONNECT_MS / 1000 + 0.1)
        assert await out.settle() == [(1, "timed out, unwritten")]
        await trio.sleep(0.5)
        assert await out.settle() == [(-2, "timed out, written")]
        assert controllers.arrived == [("one", -2)]


async def test_a_controller_that_is_silent_loses_its_connection_if_silence_is_distrusted(
    autojump_clock: Clock,
) -> None:
    for distrust_silence, connections in ((True, 2), (False, 1)):
        async with playing(distrust_silence=distrust_silence) as (out, controllers):
            out.send(-1, timeout_ms=100)
            await trio.sleep(0.2)
            out.send(2)
            assert await out.settle() == [(-1, "timed out, written"), (2, "answer 2")]
            assert len(controllers.connected) == connections


async def test_a_link_that_nobody_uses_is_given_up(autojump_clock: Clock) -> None:
    async with playing() as (out, controllers):
        out.send(1)
        await out.settle()
        controllers.break_all()
        await trio.sleep(120)
        assert out.links.versions(ONE) is None
        out.send(2)
        assert await out.settle() == [(2, "answer 2")]
