"""One listener: order, pipelining, limits, bad clients, stopping."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.metadata.calls import Call, Service
from quorate.metadata.checks import ErrorCode, InvariantViolated, RemoteProtocolError
from quorate.metadata.listener import Admission, Listener, Security
from quorate.metadata.room import Limits, Room
from quorate.metadata.wire.brokers import UnregisterBrokerRequest, UnregisterBrokerResponse
from quorate.metadata.wire.cluster import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest
from quorate.metadata.wire.framing import FrameBuffer, framed
from quorate.metadata.wire.table import API_VERSIONS, encode_request, offered
from quorate.metadata.wire.topics import CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse
from tests.metadata.streams import Client, MemorySource, settled

UNREGISTER = UnregisterBrokerRequest.api_key


class Desk:
    """A service that keeps the calls until the test answers them."""

    serves = frozenset({UNREGISTER, CreateTopicsRequest.api_key})

    def __init__(self, at_once: bool = False) -> None:
        self.calls: list[Call] = []
        self.at_once = at_once

    def api_versions(self, listener_name: str) -> ApiVersionsResponse:
        return ApiVersionsResponse(api_keys=offered({API_VERSIONS, *self.serves}))

    def handle(self, call: Call) -> None:
        self.calls.append(call)
        if self.at_once:
            answer(call)


def answer(call: Call) -> None:
    call.answer(UnregisterBrokerResponse(error_message=f"broker {call.request.broker_id}"))


def unregister(broker_id: int) -> UnregisterBrokerRequest:
    return UnregisterBrokerRequest(broker_id=broker_id)


class Served:
    """A listener under test, with what it serves and where it accepts."""

    def __init__(self, listener: Listener, desk: Desk, source: MemorySource, room: Room) -> None:
        self.listener = listener
        self.room = room
        self.desk = desk
        self.source = source

    def connect(self) -> Client:
        return self.source.connect()

    def connect_over_socket(self, buffer_bytes: int | None = None) -> Client:
        return self.source.connect_over_socket(buffer_bytes)


@asynccontextmanager
async def serving(
    *, at_once: bool = False, security: Security | None = None, **limits: int
) -> AsyncIterator[Served]:
    desk = Desk(at_once)
    source = MemorySource()
    room = Room(Limits(**limits))
    listener = Listener("CONTROLLER", desk, security=security, room=room)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, [source])
        yield Served(listener, desk, source, room)
        nursery.cancel_scope.cancel()


def watch_writes(client: Client) -> list[None]:
    """Grows by one for each write of the server to this client."""
    writes: list[None] = []
    deliver = client.server_side.send_stream.send_all_hook

    async def watched() -> None:
        writes.append(None)
        await deliver()

    client.server_side.send_stream.send_all_hook = watched
    return writes


async def test_a_request_reaches_the_service_and_its_answer_the_client() -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(4), 0, 77)
        await settled(lambda: len(served.desk.calls) == 1)

        call = served.desk.calls[0]
        assert (call.api_key, call.api_version, call.client_id) == (UNREGISTER, 0, "tester")
        assert (call.principal, call.listener_name) == ("User:ANONYMOUS", "CONTROLLER")
        assert call.request == unregister(4)
        assert call.frame == encode_request(unregister(4), 0, 77, "tester")[4:]
        answer(call)

        assert await client.answer(UNREGISTER, 0) == (77, UnregisterBrokerResponse(error_message="broker 4"))


async def test_answers_leave_in_request_order_whatever_finishes_first() -> None:
    async with serving() as served:
        client = served.connect()
        for number in range(3):
            await client.send(unregister(number), 0, 100 + number)
        await settled(lambda: len(served.desk.calls) == 3)
        first, second, third = served.desk.calls
        writes = watch_writes(client)

        answer(second)
        answer(third)
        await settled(lambda: writes == [])  # nothing overtakes the first
        answer(first)

        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(3)] == [100, 101, 102]


async def test_a_burst_is_answered_in_one_write() -> None:
    async with serving(at_once=True) as served:
        client = served.connect()
        writes = watch_writes(client)
        await client.stream.send_all(b"".join(encode_request(unregister(n), 0, n, None) for n in range(20)))
        await trio.testing.wait_all_tasks_blocked()

        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(20)] == list(range(20))
        assert len(writes) == 1


async def test_one_byte_at_a_time() -> None:
    async with serving(at_once=True) as served:
        client = served.connect()
        for byte in encode_request(unregister(1), 0, 1, "slow") + encode_request(unregister(2), 0, 2, "slow"):
            await client.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(2)] == [1, 2]


async def test_a_client_is_not_read_from_while_too_many_of_its_requests_wait() -> None:
    async with serving(pipelined=3) as served:
        client = served.connect()
        await client.stream.send_all(b"".join(encode_request(unregister(n), 0, n, None) for n in range(5)))
        await settled(lambda: len(served.desk.calls) == 3)

        answer(served.desk.calls[1])
        await settled(
            lambda: len(served.desk.calls) == 3
        )  # answered, but not before its turn: it still waits
        answer(served.desk.calls[0])
        await settled(lambda: len(served.desk.calls) == 5)

        for call in served.desk.calls[2:]:
            answer(call)
        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(5)] == list(range(5))


async def test_librdkafka_finds_the_version_of_api_versions_that_is_spoken() -> None:
    """It sends its newest version first and, told error 35 in a v0 body, the greatest one of that body."""
    async with serving() as served:
        client = served.connect()
        newest = bytearray(
            encode_request(ApiVersionsRequest(client_software_name="librdkafka"), 3, 1, "rdkafka")
        )
        newest[6:8] = (9).to_bytes(2, "big")
        await client.stream.send_all(newest)

        correlation_id, refused = await client.answer(API_VERSIONS, 0)
        assert correlation_id == 1
        assert refused.error_code is ErrorCode.unsupported_version
        (own,) = refused.api_keys
        await client.send(ApiVersionsRequest(), own.max_version, 2)
        correlation_id, found = await client.answer(API_VERSIONS, own.max_version)

        assert correlation_id == 2
        assert found.error_code is ErrorCode.none
        assert {api.api_key for api in found.api_keys} == {API_VERSIONS, *Desk.serves}
        assert served.desk.calls == []


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x7f\xff\xff\xff", id="a huge length"),
        pytest.param(b"\xff\xff\xff\xff", id="a negative length"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(framed(b"\x00"), id="too short for a head"),
        pytest.param(framed(bytes.fromhex("7fff 0000 00000001 ffff")), id="an unknown api"),
        pytest.param(
            framed(bytes.fromhex("0040 0009 00000001 ffff 00 00000001 00")), id="an unknown version"
        ),
        pytest.param(encode_request(MetadataRequest(), 13, 1, None), id="an api that is not served"),
        pytest.param(encode_request(unregister(1), 0, 1, None)[:-1] + b"\1", id="a body that does not fit"),
        pytest.param(
            framed(bytes.fromhex("0013 0007 00000001 ffff 00 ffffffff0f")), id="an array of 2^32 topics"
        ),
    ],
)
async def test_bad_bytes_cost_their_sender_its_connection_and_nobody_else(bad: bytes) -> None:
    async with serving(at_once=True) as served:
        good, evil = served.connect(), served.connect()

        with structlog.testing.capture_logs() as logs:
            await evil.stream.send_all(bad)
            assert await evil.is_closed()

        assert served.listener.cut == 1
        assert [line["event"] for line in logs] == ["connection closed"]
        assert logs[0]["why"]
        await good.send(unregister(1), 0, 1)
        assert (await good.answer(UNREGISTER, 0))[0] == 1


@settings(max_examples=60, deadline=None)
@given(chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6))
def test_random_bytes_do_nothing_but_close_the_connection(chunks: list[bytes]) -> None:
    async def main() -> None:
        async with serving(at_once=True) as served:
            noisy, good = served.connect(), served.connect()
            for chunk in chunks:
                try:
                    await noisy.stream.send_all(chunk)
                except trio.BrokenResourceError:
                    break
                await trio.testing.wait_all_tasks_blocked()
            await good.send(unregister(1), 0, 1)
            assert (await good.answer(UNREGISTER, 0))[0] == 1

    with structlog.testing.capture_logs():
        trio.run(main)


async def test_a_frame_that_is_cut_off_ends_the_connection_in_silence() -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(encode_request(unregister(1), 0, 1, None)[:-1])
        await client.stream.send_eof()

        assert await client.is_closed()
        await settled(lambda: served.listener.connections == 0)
        assert served.desk.calls == []


async def test_a_service_hears_of_clients_that_left_and_may_answer_all_the_same() -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(1), 0, 1)
        await client.send(unregister(2), 0, 2)
        await settled(lambda: len(served.desk.calls) == 2)
        gone = []
        for call in served.desk.calls:
            call.on_gone = lambda call=call: gone.append(call.correlation_id)  # type: ignore[misc]
        answer(served.desk.calls[1])

        await client.stream.aclose()
        await settled(lambda: served.listener.connections == 0)

        assert gone == [1]
        answer(served.desk.calls[0])


async def test_a_call_is_answered_once() -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(1), 0, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        call = served.desk.calls[0]
        answer(call)

        with pytest.raises(InvariantViolated, match="answered twice"):
            call.reject(ErrorCode.not_controller, "too late")


async def test_an_answer_that_cannot_be_written_is_an_unknown_error() -> None:
    """One odd value must not end the node that meets it, and then the next leader that meets it."""
    async with serving() as served:
        client = served.connect()
        await client.send(CreateTopicsRequest(), 7, 1)
        await client.send(unregister(1), 0, 2)
        await settled(lambda: len(served.desk.calls) == 2)
        with structlog.testing.capture_logs() as logs:
            served.desk.calls[0].answer(
                CreateTopicsResponse(topics=(CreatableTopicResult(name="n" * 40_000),))
            )
            served.desk.calls[1].answer(UnregisterBrokerResponse(throttle_time_ms="soon"))  # type: ignore[arg-type]

        assert await client.answer(CreateTopicsRequest.api_key, 7) == (1, CreateTopicsResponse())
        _, refused = await client.answer(UNREGISTER, 0)
        assert refused.error_code is ErrorCode.unknown_server_error
        assert [line["event"] for line in logs] == ["an answer could not be written"] * 2


async def test_a_rejection_has_the_shape_of_its_api() -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(9), 0, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        served.desk.calls[0].reject(ErrorCode.broker_id_not_registered, "broker 9 is not registered")

        assert (await client.answer(UNREGISTER, 0))[1] == UnregisterBrokerResponse(
            error_code=ErrorCode.broker_id_not_registered, error_message="broker 9 is not registered"
        )


async def test_what_another_node_answered_is_passed_on_unread() -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(9), 0, 3)
        await settled(lambda: len(served.desk.calls) == 1)
        served.desk.calls[0].answer_frame(b"\0\0\0\3whatever")

        assert await client.frame() == b"\0\0\0\3whatever"


async def test_too_many_connections_are_closed_with_one_line() -> None:
    async with serving(connections=2, at_once=True) as served:
        kept = [served.connect(), served.connect()]
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await served.connect().is_closed()

        assert served.listener.refused == 3
        assert [(line["event"], line["limit"]) for line in logs] == [
            ("too many connections; new ones are closed", 2)
        ]
        await kept[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        replacement = served.connect()
        await replacement.send(unregister(1), 0, 1)
        assert (await replacement.answer(UNREGISTER, 0))[0] == 1


async def test_silent_connections_are_closed_and_busy_ones_are_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(idle_ms=10_000, at_once=True) as served:
        busy, silent = served.connect(), served.connect()
        await silent.stream.send_all(b"\0\0")  # half a length: a client that trickles is silent too
        for number in range(8):
            await trio.sleep(2)
            await busy.send(unregister(1), 0, number)
            await busy.answer(UNREGISTER, 0)

        assert served.listener.connections == 1
        assert await silent.is_closed()


async def test_a_client_that_never_reads_does_not_stay_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(idle_ms=10_000, at_once=True) as served:
        client = served.connect()

        async def never_sent() -> None:
            await trio.sleep_forever()

        client.server_side.send_stream.send_all_hook = never_sent
        await client.send(unregister(1), 0, 1)
        await trio.sleep(9)
        assert served.listener.connections == 1
        await trio.sleep(3)

        assert served.listener.connections == 0


async def test_stopping_lets_pending_answers_leave_and_reads_nothing_more() -> None:
    async with serving() as served:
        client, idle = served.connect(), served.connect()
        await client.send(unregister(1), 0, 1)
        await settled(lambda: len(served.desk.calls) == 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.listener.stop, 60_000)
            assert await idle.is_closed()
            await idle.stream.aclose()
            await client.send(unregister(2), 0, 2)
            await settled(lambda: len(served.desk.calls) == 1)
            answer(served.desk.calls[0])
            assert (await client.answer(UNREGISTER, 0))[0] == 1
            assert await client.is_closed()
            await client.stream.aclose()

        assert served.source.closed
        assert served.listener.connections == 0


async def test_stopping_does_not_wait_longer_than_it_may(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(unregister(1), 0, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        began = trio.current_time()

        with structlog.testing.capture_logs() as logs:
            await served.listener.stop(2_000)
            assert await client.is_closed()

        assert trio.current_time() - began == pytest.approx(2)
        assert [line["event"] for line in logs] == ["stopped with requests unanswered"]


async def test_stopping_an_idle_listener_is_immediate(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        began = trio.current_time()
        await served.listener.stop(60_000)

        assert trio.current_time() == began


async def test_accepting_goes_on_after_running_out_of_descriptors(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(at_once=True) as served:
        with structlog.testing.capture_logs() as logs:
            served.source.fail(OSError(errno.EMFILE, "Too many open files"))
            client = served.connect()
            await client.send(unregister(1), 0, 1)

            assert (await client.answer(UNREGISTER, 0))[0] == 1
        assert [line["event"] for line in logs] == ["cannot accept connections"]


class Doorkeeper:
    """A security step that reads a name from the stream, as SASL would."""

    async def admit(self, stream: trio.abc.Stream, buffer: FrameBuffer, service: Service) -> Admission:
        while (name := buffer.next_frame()) is None:
            data = await stream.receive_some(1_000)
            if not data:
                raise trio.BrokenResourceError
            buffer.feed(data)
        if name == b"mallory":
            raise RemoteProtocolError("mallory is not let in")
        return Admission(stream, f"User:{name.decode()}")


async def test_the_security_step_says_who_is_there() -> None:
    async with serving(security=Doorkeeper(), at_once=True) as served:
        client = served.connect()
        # In one piece with the first request: what the step does not take is the loop's.
        await client.stream.send_all(framed(b"alice") + encode_request(unregister(1), 0, 1, None))

        assert (await client.answer(UNREGISTER, 0))[0] == 1
        assert served.desk.calls[0].principal == "User:alice"


async def test_who_is_not_let_in_is_told_nothing() -> None:
    async with serving(security=Doorkeeper()) as served:
        client = served.connect()
        with structlog.testing.capture_logs() as logs:
            await client.stream.send_all(framed(b"mallory"))
            assert await client.is_closed()

        assert logs[0]["why"] == "mallory is not let in"


async def test_who_does_not_say_who_he_is_has_limited_time(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(security=Doorkeeper(), admission_ms=3_000) as served:
        client = served.connect()
        with structlog.testing.capture_logs() as logs:
            assert await client.is_closed()

        assert trio.current_time() >= 3
        assert logs[0]["why"] == "who is there was not said in time"


async def test_who_leaves_at_the_door_is_forgotten() -> None:
    async with serving(security=Doorkeeper()) as served:
        client = served.connect()
        await client.stream.aclose()
        await settled(lambda: served.listener.connections == 0)
        assert served.listener.cut == 0


async def test_what_escapes_the_service_ends_the_listener() -> None:
    """A core that stepped halfway must not be asked again: failing is the only safe end."""

    class Broken(Desk):
        def handle(self, call: Call) -> None:
            raise InvariantViolated("the disk is behind")

    source = MemorySource()
    with pytest.RaisesGroup(InvariantViolated, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(Listener("X", Broken()).serve, [source])
            await source.connect().send(unregister(1), 0, 1)
            await trio.sleep_forever()


async def test_over_a_socket_an_answer_leaves_in_the_turn_that_made_it() -> None:
    async with serving() as served:
        client = served.source.connect_over_socket()
        await client.send(unregister(1), 0, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        answer(served.desk.calls[0])

        assert len(os.read(client.stream.socket.fileno(), 1_000)) > 4  # no task has run since
        await client.stream.aclose()


@pytest.mark.parametrize("pipelined", [1, 2, 256])
async def test_over_a_socket_answers_do_not_fall_into_each_other(pipelined: int) -> None:
    """The first ones fill the socket; the later ones wait until the last byte of those has left."""
    async with serving(pipelined=pipelined) as served:
        client = served.source.connect_over_socket(4_608)
        sizes = [30_000, 3, 20_000, 20_000, 5, 30_000, 7]
        received = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                for number in range(len(sizes)):
                    await client.send(unregister(number), 0, number)

            async def answer_all() -> None:
                for number, size in enumerate(sizes):
                    while len(served.desk.calls) <= number:
                        await trio.lowlevel.checkpoint()
                    served.desk.calls[number].answer(UnregisterBrokerResponse(error_message="e" * size))

            nursery.start_soon(ask)
            nursery.start_soon(answer_all)
            for _ in sizes:
                _, found = await client.answer(UNREGISTER, 0)
                received.append(len(found.error_message))
        await client.stream.aclose()

        assert received == sizes


async def test_over_a_socket_the_next_request_is_read_when_there_is_room_again() -> None:
    async with serving(pipelined=1) as served:
        client = served.source.connect_over_socket()
        for number in range(3):
            await client.send(unregister(number), 0, number)
            await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            await settled(lambda number=number: len(served.desk.calls) == number + 1)  # type: ignore[misc]
            answer(served.desk.calls[number])
        await client.stream.aclose()


async def test_over_a_socket_a_burst_is_answered_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda *said: writes.append(None) or write(*said))
    async with serving(at_once=True) as served:
        client = served.source.connect_over_socket()
        await client.stream.send_all(b"".join(encode_request(unregister(n), 0, n, None) for n in range(20)))
        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(20)] == list(range(20))
        assert writes == []  # a burst is the writer's
        await client.send(unregister(1), 0, 20)
        await client.answer(UNREGISTER, 0)
        assert len(writes) == 1
        await client.stream.aclose()


async def test_over_real_tcp() -> None:
    desk = Desk(at_once=True)
    listener = Listener("CONTROLLER", desk)
    sources = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = sources[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, sources)
        client = Client(await trio.open_tcp_stream("127.0.0.1", port))
        await client.send(unregister(1), 0, 1)
        assert (await client.answer(UNREGISTER, 0))[0] == 1
        assert desk.calls[0].client_host == "127.0.0.1"
        nursery.start_soon(listener.stop, 10_000)
        assert await client.is_closed()
        await client.stream.aclose()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


def long_answer(call: Call, size: int = 10_000) -> None:
    call.answer(UnregisterBrokerResponse(error_message="x" * size))


async def test_one_address_may_have_so_many_connections_on_all_listeners_together() -> None:
    async with serving(connections_per_address=2, at_once=True) as served:
        kept = [served.connect(), served.connect()]
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await served.connect().is_closed()

        assert served.listener.refused == 3
        assert [(line["event"], line["client"], line["limit"]) for line in logs] == [
            ("too many connections of one client; its new ones are closed", "local", 2)
        ]
        await kept[0].stream.aclose()
        await settled(lambda: served.listener.connections == 1)
        again = served.connect()
        await again.send(unregister(1), 0, 1)
        assert (await again.answer(UNREGISTER, 0))[0] == 1


async def test_connections_beyond_the_rate_are_accepted_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(connections_per_second=2, at_once=True) as served:
        began = trio.current_time()
        clients = [served.connect() for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send(unregister(number), 0, number)
            assert (await client.answer(UNREGISTER, 0))[0] == number
        assert 1.9 < trio.current_time() - began < 2.5
        assert served.listener.refused == 0


async def test_a_client_is_not_read_from_while_it_leaves_too_much_unread() -> None:
    async with serving(unread_bytes=25_000) as served:
        client = served.connect_over_socket()
        await client.stream.send_all(b"".join(encode_request(unregister(n), 0, n, None) for n in range(5)))
        await settled(lambda: len(served.desk.calls) == 5)
        for call in served.desk.calls[1:]:
            long_answer(call)  # none may leave before the first
        await client.send(unregister(5), 0, 5)
        await settled(lambda: len(served.desk.calls) == 5)

        long_answer(served.desk.calls[0])
        assert [(await client.answer(UNREGISTER, 0))[0] for _ in range(5)] == list(range(5))
        await settled(lambda: len(served.desk.calls) == 6)
        assert served.room.unread_bytes == 0
        await client.stream.aclose()


async def test_who_leaves_most_unread_is_closed_and_its_memory_given_back() -> None:
    """A replica or a client that asks and asks and never reads: the node's memory does not grow with it."""
    async with serving(unread_bytes_of_all=200_000) as served:
        slow = served.connect_over_socket(4_096)
        await slow.stream.send_all(b"".join(encode_request(unregister(n), 0, n, None) for n in range(50)))
        good = served.connect()
        await good.send(unregister(99), 0, 99)
        await settled(lambda: len(served.desk.calls) == 51)
        with structlog.testing.capture_logs() as logs:
            for call in served.desk.calls[:50]:
                long_answer(call)
                assert served.room.unread_bytes <= 220_000
            await settled(lambda: served.listener.connections == 1)

        assert served.listener.cut == 1
        assert served.room.unread_bytes == 0
        (line,) = logs
        assert "bytes of answers unread" in line["why"]
        answer(served.desk.calls[50])
        assert (await good.answer(UNREGISTER, 0))[0] == 99
        await slow.stream.aclose()
