"""One connection: what its opening tells of a node, and how each request ends exactly once."""

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from quorate.metadata import connection as connection_module
from quorate.metadata.addresses import Address
from quorate.metadata.connection import (
    MAX_IN_FLIGHT,
    CallFailed,
    ConnectFailed,
    Connection,
    Failure,
    FailureKind,
    connect,
    greet,
)
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.wire.brokers import UnregisterBrokerRequest, UnregisterBrokerResponse
from quorate.metadata.wire.cluster import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    UpdateFeaturesRequest,
)
from quorate.metadata.wire.raft import RemoveRaftVoterRequest
from quorate.metadata.wire.table import (
    API_VERSIONS,
    decode_request,
    encode_response,
    offered,
    unsupported_api_versions,
)
from tests.metadata.streams import Client, socket_pair

ADDRESS = Address("node.example", 9092)
UNREGISTER = UnregisterBrokerRequest.api_key
OFFER = ApiVersionsResponse(
    api_keys=(*offered({API_VERSIONS, UNREGISTER}), ApiVersion(api_key=57, min_version=0, max_version=0))
)


class Peer:
    """The other side of a connection, played by the test."""

    def __init__(self, ends: tuple[Any, Any] | None = None) -> None:
        self.ours, theirs = ends or trio.testing.memory_stream_pair()
        self._client = Client(theirs)
        self.stream = theirs

    async def request(self) -> Any:
        frame = await self._client.frame()
        assert frame is not None
        return decode_request(frame)

    async def answer(self, api_key: int, version: int, correlation_id: int, value: Any) -> None:
        await self.stream.send_all(encode_response(api_key, version, correlation_id, value))

    async def offer(self) -> None:
        """Plays the greeting."""
        asked = await self.request()
        assert asked.api_key == API_VERSIONS
        await self.answer(API_VERSIONS, asked.api_version, asked.correlation_id, OFFER)


@asynccontextmanager
async def connected(ends: tuple[Any, Any] | None = None) -> AsyncIterator[tuple[Connection, Peer]]:
    peer = Peer(ends)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.offer)
            connection = await greet(peer.ours, ADDRESS)
            nursery.start_soon(connection.run)
            yield connection, peer
            connection.close()
    finally:
        await trio.aclose_forcefully(peer.stream)


def unregister(broker_id: int) -> UnregisterBrokerRequest:
    return UnregisterBrokerRequest(broker_id=broker_id)


def done(text: str) -> UnregisterBrokerResponse:
    return UnregisterBrokerResponse(error_message=text)


async def never_written() -> None:
    await trio.sleep_forever()


# --- opening --------------------------------------------------------------------------------------------


async def test_the_greeting_tells_who_we_are_and_learns_what_is_spoken() -> None:
    peer = Peer()
    async with trio.open_nursery() as nursery:

        async def play() -> None:
            asked = await peer.request()
            assert (asked.api_key, asked.api_version, asked.client_id) == (API_VERSIONS, 4, "me")
            assert asked.body.client_software_name == "quorate"
            assert asked.body.client_software_version
            await peer.answer(API_VERSIONS, 4, asked.correlation_id, OFFER)

        nursery.start_soon(play)
        connection = await greet(peer.ours, ADDRESS, client_id="me")

    assert connection.peer == OFFER
    assert connection.version_of(UNREGISTER) == 0
    assert connection.version_of(57) == 0  # the peer's newest, ours is newer
    assert connection.version_of(55) is None


@pytest.mark.parametrize("theirs", [0, 2, 3])
async def test_an_older_node_is_asked_again_in_its_own_version(theirs: int) -> None:
    peer = Peer()
    versions = []
    async with trio.open_nursery() as nursery:

        async def play() -> None:
            while not versions or versions[-1] > theirs:
                asked = await peer.request()
                versions.append(asked.api_version)
                if asked.api_version > theirs:
                    own = ApiVersion(api_key=API_VERSIONS, min_version=0, max_version=theirs)
                    refused = ApiVersionsResponse(
                        error_code=unsupported_api_versions().error_code, api_keys=(own,)
                    )
                    await peer.answer(API_VERSIONS, 0, asked.correlation_id, refused)
                else:
                    await peer.answer(API_VERSIONS, asked.api_version, asked.correlation_id, OFFER)

        nursery.start_soon(play)
        connection = await greet(peer.ours, ADDRESS)

    assert versions == [4, theirs]
    assert connection.peer.api_keys == OFFER.api_keys


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", FailureKind.NOT_KAFKA, "HTTP response"),
        (b"\x15\x03\x03\x00\x02\x02\x46", FailureKind.NOT_KAFKA, "expects TLS"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", FailureKind.NOT_KAFKA, "SSH"),
        (b"\0\0\0\x08\0\0\0\0rubb", FailureKind.NOT_KAFKA, "ApiVersionsResponse"),
        (b"\0\0\0\x08\0\0\0\7rubb", FailureKind.NOT_KAFKA, "answer is to request 7"),
        (b"", FailureKind.RESET, "closed the connection before it said what it is"),
    ],
)
async def test_what_is_no_node_is_told_apart(said: bytes, kind: FailureKind, told: str) -> None:
    peer = Peer()
    await peer.stream.send_all(said)
    await peer.stream.send_eof()

    with pytest.raises(ConnectFailed) as caught:
        await greet(peer.ours, ADDRESS)

    assert caught.value.failure.kind is kind
    assert not caught.value.failure.written
    assert "node.example:9092" in str(caught.value)
    assert told in str(caught.value)
    with pytest.raises(trio.ClosedResourceError):
        await peer.ours.send_all(b"the stream is closed")


async def test_nothing_listens() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", holder.getsockname()[1])

        with pytest.raises(ConnectFailed) as caught:
            await connect(address, timeout_ms=60_000)

    assert caught.value.failure.kind is FailureKind.REFUSED
    assert f"cannot connect to {address}: nothing listens there" in str(caught.value)


class NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


async def test_a_name_that_does_not_resolve() -> None:
    trio.socket.set_custom_hostname_resolver(NoNames())

    with pytest.raises(ConnectFailed) as caught:
        await connect(ADDRESS, timeout_ms=60_000)

    assert caught.value.failure.kind is FailureKind.UNREACHABLE
    assert "does not resolve" in str(caught.value)


def os_error(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([os_error(errno.ECONNREFUSED)], FailureKind.REFUSED),
        ([os_error(errno.ECONNRESET)], FailureKind.RESET),
        ([os_error(errno.ETIMEDOUT)], FailureKind.TIMED_OUT),
        ([os_error(errno.EHOSTUNREACH)], FailureKind.UNREACHABLE),
        ([os_error(errno.ENETUNREACH), os_error(errno.ECONNREFUSED)], FailureKind.REFUSED),
    ],
)
async def test_the_address_that_got_furthest_tells_why(
    errors: list[OSError], kind: FailureKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name has several addresses; trio reports what happened to each of them in one error."""

    async def fail(host: str, port: int) -> trio.SocketStream:
        cause = errors[0] if len(errors) == 1 else ExceptionGroup("all failed", errors)
        raise OSError("all attempts to connect failed") from cause

    monkeypatch.setattr(connection_module.trio, "open_tcp_stream", fail)

    with pytest.raises(ConnectFailed) as caught:
        await connect(ADDRESS, timeout_ms=60_000)

    assert caught.value.failure.kind is kind
    assert "None" not in str(caught.value)


async def test_silence_after_connecting_is_not_silence_before(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    peer = Peer()

    async def accepted(host: str, port: int) -> Any:
        return peer.ours

    async def silent(host: str, port: int) -> Any:
        await trio.sleep_forever()

    told = []
    for behaviour in (accepted, silent):
        monkeypatch.setattr(connection_module.trio, "open_tcp_stream", behaviour)
        with pytest.raises(ConnectFailed) as caught:
            await connect(ADDRESS, timeout_ms=1_500)
        assert caught.value.failure.kind is FailureKind.TIMED_OUT
        told.append(str(caught.value))

    assert "then said nothing within 1500 ms" in told[0]
    assert "did not answer within 1500 ms" in told[1]
    assert trio.current_time() == pytest.approx(3, abs=0.1)


# --- speaking -------------------------------------------------------------------------------------------


async def test_many_requests_are_under_way_at_once_and_told_apart() -> None:
    async with connected() as (connection, peer):
        replies: dict[int, Any] = {}

        def keep(broker_id: int) -> Callable[[Any], None]:
            return lambda reply: replies.setdefault(broker_id, reply)

        for broker_id in (1, 2, 3):
            connection.send(unregister(broker_id), keep(broker_id))
        asked = [await peer.request() for _ in range(3)]
        for request in reversed(asked):
            await peer.answer(UNREGISTER, 0, request.correlation_id, done(str(request.body.broker_id)))
        await trio.testing.wait_all_tasks_blocked()

        assert {key: reply.error_message for key, reply in replies.items()} == {1: "1", 2: "2", 3: "3"}
        assert connection.in_flight == 0


async def test_a_call_waits_for_its_answer() -> None:
    async with connected() as (connection, peer), trio.open_nursery() as nursery:

        async def play() -> None:
            request = await peer.request()
            await peer.answer(UNREGISTER, 0, request.correlation_id, done("well"))

        nursery.start_soon(play)
        assert await connection.call(unregister(1), 1_000) == done("well")


async def test_a_late_answer_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as (connection, peer):
        with pytest.raises(CallFailed) as caught:
            await connection.call(unregister(1), 500)
        assert caught.value.failure.kind is FailureKind.TIMED_OUT
        assert caught.value.failure.written
        late = await peer.request()
        await peer.answer(UNREGISTER, 0, late.correlation_id, done("late"))

        replies: list[Any] = []
        connection.send(unregister(2), replies.append, timeout_ms=500)
        request = await peer.request()
        await peer.answer(UNREGISTER, 0, request.correlation_id, done("in time"))
        await trio.testing.wait_all_tasks_blocked()

        assert replies == [done("in time")]
        assert connection.is_open


async def test_deadlines_pass_in_their_own_order(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as (connection, _):
        ended: list[tuple[str, float]] = []
        began = trio.current_time()
        for name, timeout_ms in (("late", 900), ("early", 300), ("middle", 600)):
            connection.send(
                unregister(1),
                lambda _, name=name: ended.append((name, trio.current_time() - began)),  # type: ignore[misc]
                timeout_ms=timeout_ms,
            )
        await trio.sleep(2)

        assert [name for name, _ in ended] == ["early", "middle", "late"]
        assert [at for _, at in ended] == pytest.approx([0.3, 0.6, 0.9], abs=0.01)


async def test_what_was_given_up_before_it_left_never_leaves(autojump_clock: trio.testing.MockClock) -> None:
    """Its owner was told that it is safe to send it elsewhere."""
    async with connected() as (connection, peer):
        deliver = peer.ours.send_stream.send_all_hook
        peer.ours.send_stream.send_all_hook = never_written_before(1.0, deliver)
        replies: list[Any] = []
        connection.send(unregister(1), replies.append)
        await trio.testing.wait_all_tasks_blocked(0.01)
        connection.send(unregister(2), replies.append, timeout_ms=300)
        connection.send(unregister(3), replies.append)
        await trio.sleep(0.5)

        assert [(reply.kind, reply.written) for reply in replies] == [(FailureKind.TIMED_OUT, False)]
        assert [(await peer.request()).body.broker_id for _ in range(2)] == [1, 3]


def never_written_before(seconds: float, deliver: Any) -> Callable[[], Any]:
    async def hook() -> None:
        await trio.sleep(seconds)
        await deliver()

    return hook


async def test_a_loss_says_of_each_request_whether_it_may_have_been_seen() -> None:
    async with connected() as (connection, peer):
        replies: dict[int, Failure] = {}
        connection.send(unregister(1), lambda reply: replies.setdefault(1, reply))
        await peer.request()
        peer.ours.send_stream.send_all_hook = never_written
        connection.send(unregister(2), lambda reply: replies.setdefault(2, reply))
        await trio.testing.wait_all_tasks_blocked()
        connection.send(unregister(3), lambda reply: replies.setdefault(3, reply))
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()

        assert {key: (reply.kind, reply.written) for key, reply in replies.items()} == {
            1: (FailureKind.RESET, True),
            2: (FailureKind.RESET, True),  # handed to the socket: a part may have left
            3: (FailureKind.RESET, False),
        }
        assert not connection.is_open
        late: list[Failure] = []
        connection.send(unregister(4), late.append)
        assert [(reply.kind, reply.written) for reply in late] == [(FailureKind.RESET, False)]


async def test_each_request_ends_exactly_once() -> None:
    async with connected() as (connection, peer):
        replies: list[Any] = []
        connection.send(unregister(1), replies.append, timeout_ms=60_000)
        request = await peer.request()
        await peer.answer(UNREGISTER, 0, request.correlation_id, done("first"))
        await peer.answer(UNREGISTER, 0, request.correlation_id, done("again"))
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        connection.close()

        assert replies == [done("first")]


@pytest.mark.parametrize(
    "said",
    [
        encode_response(UNREGISTER, 0, 99, done("never asked")),
        encode_response(UNREGISTER, 0, 1, done("cut"))[:-1] + b"\7",
        b"\0\0\0\2hi",
        b"\xff\xff\xff\xff",
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_left(said: bytes) -> None:
    async with connected() as (connection, peer):
        replies: list[Any] = []
        connection.send(unregister(1), replies.append)
        await peer.request()
        await peer.stream.send_all(said)
        await trio.testing.wait_all_tasks_blocked()

        (failure,) = replies
        assert (failure.kind, failure.written) == (FailureKind.NOT_KAFKA, True)
        assert "broke the Kafka protocol" in failure.text


async def test_what_comes_unasked_with_the_greeting_breaks_the_protocol_too() -> None:
    peer = Peer()
    unasked = encode_response(UNREGISTER, 0, 1, done("never asked"))

    async def offer_and_more() -> None:
        asked = await peer.request()
        offer = encode_response(API_VERSIONS, asked.api_version, asked.correlation_id, OFFER)
        await peer.stream.send_all(offer + unasked)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer_and_more)
        connection = await greet(peer.ours, ADDRESS)
        assert (await connection.run()).kind is FailureKind.NOT_KAFKA


async def test_what_the_peer_does_not_know_is_not_sent() -> None:
    async with connected() as (connection, peer):
        replies: list[Any] = []
        connection.send(RemoveRaftVoterRequest(voter_id=1, voter_directory_id=ZERO_UUID), replies.append)
        connection.send(UpdateFeaturesRequest(validate_only=True), replies.append)
        connection.send(ApiVersionsRequest(), lambda _: None)

        assert [(reply.kind, reply.written) for reply in replies] == [
            (FailureKind.UNSUPPORTED_VERSION, False)
        ] * 2
        assert "does not offer RemoveRaftVoter" in replies[0].text
        assert "validate_only" in replies[1].text
        assert (await peer.request()).api_key == API_VERSIONS


async def test_a_limit_of_requests_under_way() -> None:
    async with connected() as (connection, peer):
        replies: list[Any] = []
        for number in range(MAX_IN_FLIGHT + 1):
            connection.send(unregister(number), replies.append)
        assert [(reply.kind, reply.written) for reply in replies] == [(FailureKind.TOO_MANY, False)]

        request = await peer.request()
        await peer.answer(UNREGISTER, 0, request.correlation_id, done("one"))
        await trio.testing.wait_all_tasks_blocked()
        connection.send(unregister(0), replies.append)

        assert replies[1:] == [done("one")]


async def test_running_says_why_it_ended() -> None:
    for end, kind in (("ours", FailureKind.CLOSED), ("theirs", FailureKind.RESET)):
        peer = Peer()
        reasons = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.offer)
            connection = await greet(peer.ours, ADDRESS)

            async def run(connection: Connection = connection, reasons: list[Failure] = reasons) -> None:
                reasons.append(await connection.run())

            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            if end == "ours":
                connection.close()
            else:
                await peer.stream.aclose()

        assert [reason.kind for reason in reasons] == [kind]


async def test_a_connection_that_is_cancelled_fails_what_is_under_way() -> None:
    peer = Peer()
    replies: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.offer)
        connection = await greet(peer.ours, ADDRESS)
        nursery.start_soon(connection.run)
        connection.send(unregister(1), replies.append)
        await peer.request()
        nursery.cancel_scope.cancel()

    assert [(reply.kind, reply.written) for reply in replies] == [(FailureKind.CLOSED, True)]


# --- on a socket of the kernel, where a request is written in the turn that sends it ---------------------


def long_request(length: int) -> ApiVersionsRequest:
    return ApiVersionsRequest(client_software_name="n" * length)


async def test_a_request_leaves_at_once_where_the_socket_takes_it() -> None:
    async with connected(socket_pair()) as (connection, peer):
        replies: list[Any] = []
        connection.send(unregister(1), replies.append)
        connection.close()  # no task has run since

        assert (await peer.request()).body == unregister(1)
        assert [(reply.kind, reply.written) for reply in replies] == [(FailureKind.CLOSED, True)]


async def test_requests_do_not_fall_into_each_other() -> None:
    """The first ones fill the socket; the later ones must wait until the last byte of those has left."""
    async with connected(socket_pair(4_608)) as (connection, peer):
        for number in range(20):
            connection.send(long_request(30_000 - number), lambda _: None)
            await trio.testing.wait_all_tasks_blocked()
        received = []
        for number in range(20):
            received.append(len((await peer.request()).body.client_software_name))
            connection.send(unregister(number), lambda _: None)  # whenever there is room again
        after = [(await peer.request()).body for _ in range(20)]

        assert received == [30_000 - number for number in range(20)]
        assert after == [unregister(number) for number in range(20)]


async def test_a_request_that_was_begun_is_written_to_its_end(autojump_clock: trio.testing.MockClock) -> None:
    """Given up or not: the other side has half a frame and waits for the rest."""
    async with connected(socket_pair(4_608)) as (connection, peer):
        replies: list[Any] = []
        connection.send(long_request(30_000), replies.append, timeout_ms=100)
        connection.send(long_request(20_000), replies.append, timeout_ms=100)
        await trio.sleep(1)
        connection.send(unregister(1), replies.append)

        assert [reply.kind for reply in replies] == [FailureKind.TIMED_OUT] * 2
        sent = [reply.written for reply in replies]
        bodies = [(await peer.request()).body for _ in range(sent.count(True) + 1)]
        assert sent[0]
        assert bodies[0] == long_request(30_000)
        assert bodies[-1] == unregister(1)
