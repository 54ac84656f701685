"""The metrics over HTTP, in memory: what is answered, and what a stranger cannot do."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h11
import pytest
import structlog.testing
import trio
import trio.testing

from quorate.metadata.metrics.endpoint import Endpoint, HttpLimits
from tests.metadata.streams import Client, MemorySource

Clock = trio.testing.MockClock
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
TYPE = "text/plain; version=0.0.4"


class Pages:
    """Makes a page of its own each time."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> bytes:
        self.made += 1
        return b"page %d\n" % self.made


class Served:
    def __init__(self, endpoint: Endpoint, source: MemorySource, pages: Pages) -> None:
        self.endpoint = endpoint
        self.source = source
        self.pages = pages

    def connect(self) -> Client:
        return self.source.connect()

    async def answers(self, data: bytes, *methods: str) -> list[tuple[int, bytes]]:
        """What a new connection that sends all of this at once, and then no more, is answered."""
        client = self.connect()
        with trio.move_on_after(1):  # who is cut off in the middle does not take the rest
            await client.stream.send_all(data)
        await client.stream.send_stream.aclose()
        return answers_in(await everything(client), *methods)


async def everything(client: Client) -> bytes:
    """All that the server sends before it closes."""
    found = bytearray()
    while data := await client.stream.receive_some(10_000):
        found += data
    return bytes(found)


def responses_in(data: bytes, *methods: str) -> list[tuple[h11.Response, bytes]]:
    """The responses to these requests, GET each unless said otherwise."""
    found = []
    reader = h11.Connection(h11.CLIENT)
    reader.receive_data(data)
    reader.receive_data(b"")
    for number in range(data.count(b"HTTP/1.1 ")):
        method = methods[number] if number < len(methods) else "GET"
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        response, body = reader.next_event(), b""
        assert isinstance(response, h11.Response)
        while isinstance(event := reader.next_event(), h11.Data):
            body += event.data
        found.append((response, body))
        if reader.their_state is h11.DONE:
            reader.start_next_cycle()
    return found


def answers_in(data: bytes, *methods: str) -> list[tuple[int, bytes]]:
    return [(response.status_code, body) for response, body in responses_in(data, *methods)]


async def next_answer(client: Client, reader: h11.Connection) -> tuple[int, bytes]:
    """The next one on a connection that stays."""
    status, body = 0, b""
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            reader.receive_data(bytes(await client.stream.receive_some(1000)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            assert isinstance(event, h11.EndOfMessage)
            reader.start_next_cycle()
            return status, body


async def ask(client: Client, reader: h11.Connection) -> tuple[int, bytes]:
    request = h11.Request(method="GET", target="/metrics", headers=[("Host", "x")])
    data = reader.send(request)
    assert data is not None
    await client.stream.send_all(data + (reader.send(h11.EndOfMessage()) or b""))
    return await next_answer(client, reader)


@asynccontextmanager
async def serving(
    render: Callable[[], bytes] | None = None, limits: HttpLimits | None = None
) -> AsyncIterator[Served]:
    pages, source = Pages(), MemorySource()
    endpoint = Endpoint(render or pages, content_type=TYPE, limits=limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.serve, [source])
        yield Served(endpoint, source, pages)
        nursery.cancel_scope.cancel()


async def test_a_page(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        ((response, body),) = responses_in(await everything(client))

        assert (response.status_code, body) == (200, b"page 1\n")
        headers = dict(response.headers)
        assert (headers[b"content-type"], headers[b"content-length"]) == (TYPE.encode(), b"7")
        assert b"date" in headers


async def test_head_says_how_long_the_page_is_and_sends_none_of_it(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        data = await everything(client)

        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: 7\r\n" in data.lower()
        assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /", 404),
        (b"GET /metrics/", 404),
        (b"GET //metrics", 404),
        (b"GET /metrics%00", 404),
        (b"HEAD /favicon.ico", 404),
        (b"GET /metrics?name=x", 200),
        (b"PUT /metrics", 405),
        (b"DELETE /metrics", 405),
        (b"OPTIONS /metrics", 405),
        (b"CONNECT /metrics", 405),
    ],
)
async def test_there_is_one_path_and_it_can_only_be_read(
    line: bytes, status: int, autojump_clock: Clock
) -> None:
    async with serving() as served:
        method = line.split()[0].decode()

        ((found, _),) = await served.answers(line + b" HTTP/1.1\r\nHost: x\r\n\r\n", method)

        assert found == status
        assert served.endpoint.cut == 0


async def test_who_may_not_is_told_what_one_may(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(b"PUT /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        ((response, _),) = responses_in(await everything(client), "PUT")

        assert dict(response.headers)[b"allow"] == b"GET, HEAD"


async def test_a_connection_is_kept_and_asked_again(autojump_clock: Clock) -> None:
    async with serving() as served:
        client, reader = served.connect(), h11.Connection(h11.CLIENT)

        first = await ask(client, reader)
        await trio.sleep(60)
        second = await ask(client, reader)

        assert (first, second) == ((200, b"page 1\n"), (200, b"page 2\n"))
        assert served.endpoint.connections == 1


async def test_an_http_1_0_client_is_answered_and_let_go(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")

        assert answers_in(await everything(client)) == [(200, b"page 1\n")]


async def test_pipelined_requests_are_answered_in_order(autojump_clock: Clock) -> None:
    async with serving() as served:
        other = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"

        found = await served.answers(GET + other + GET)

        assert [status for status, _ in found] == [200, 404, 200]


async def test_a_request_may_come_byte_by_byte(autojump_clock: Clock) -> None:
    async with serving() as served:
        client, reader = served.connect(), h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        for byte in GET:
            await client.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

        assert await next_answer(client, reader) == (200, b"page 1\n")


async def test_asking_all_the_time_does_not_make_pages_all_the_time(autojump_clock: Clock) -> None:
    async with serving() as served:
        assert [body for _, body in await served.answers(GET * 50)] == [b"page 1\n"] * 50
        await trio.sleep(0.6)
        assert await served.answers(GET) == [(200, b"page 2\n")]
        assert served.pages.made == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\x00\x00\x00\x1a\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test\x00\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: z\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 100_000, 431),
        (b"GET /metr", 400),
    ],
)
async def test_a_bad_client_is_told_so_and_costs_itself_its_connection_only(
    data: bytes, status: int, autojump_clock: Clock
) -> None:
    async with serving() as served:
        kept, reader = served.connect(), h11.Connection(h11.CLIENT)
        assert (await ask(kept, reader))[0] == 200

        with structlog.testing.capture_logs() as logs:
            ((found, body),) = await served.answers(data)
            await trio.testing.wait_all_tasks_blocked()

        assert found == status
        assert body.endswith(b"\n")
        assert [(line["event"], line["log_level"], line["listener"]) for line in logs] == [
            ("connection closed", "warning", "METRICS")
        ]
        assert "exc_info" not in logs[0]
        assert len(logs[0]["why"]) < 100, "what it sent is no text for a log"
        assert (served.endpoint.connections, served.endpoint.cut) == (1, 1)
        assert (await ask(kept, reader))[0] == 200


async def test_what_follows_a_bad_request_is_not_read(autojump_clock: Clock) -> None:
    async with serving() as served:
        smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + GET

        assert [status for status, _ in await served.answers(smuggled)] == [413]


async def test_a_client_that_dawdles_is_cut_off(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def trickle() -> None:
                for byte in b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 1000:
                    try:
                        await client.stream.send_all(bytes([byte]))
                    except trio.BrokenResourceError:
                        return
                    await trio.sleep(1)

            data = await everything(client)
            nursery.cancel_scope.cancel()
        await trio.sleep(1)

        assert answers_in(data)[0][0] == 408
        assert trio.current_time() - began < 12
        assert served.endpoint.cut == 1


async def test_a_request_that_begins_late_must_not_dawdle_either(autojump_clock: Clock) -> None:
    async with serving() as served:
        client, reader = served.connect(), h11.Connection(h11.CLIENT)
        await ask(client, reader)
        await trio.sleep(60)
        await client.stream.send_all(GET[:9])
        began = trio.current_time()

        assert answers_in(await everything(client))[0][0] == 408
        assert trio.current_time() - began == pytest.approx(10)


async def test_a_refusal_after_a_head_has_its_text(autojump_clock: Clock) -> None:
    async with serving() as served:
        head = GET.replace(b"GET", b"HEAD")

        assert await served.answers(head + b"\x00\r\n\r\n", "HEAD") == [
            (200, b""),
            (400, b"This is not HTTP/1.1: illegal request line\n"),
        ]


async def test_a_silent_client_is_let_go_without_a_word(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        with structlog.testing.capture_logs() as logs:
            assert await everything(client) == b""
            await trio.testing.wait_all_tasks_blocked()

        assert trio.current_time() == pytest.approx(10)
        assert (served.endpoint.connections, served.endpoint.cut, logs) == (0, 0, [])


async def test_an_idle_client_is_let_go_after_a_while(autojump_clock: Clock) -> None:
    async with serving() as served:
        client, reader = served.connect(), h11.Connection(h11.CLIENT)
        await ask(client, reader)
        began = trio.current_time()

        assert await everything(client) == b""
        assert trio.current_time() - began == pytest.approx(120)
        assert served.endpoint.cut == 0


async def test_a_client_that_does_not_take_its_answer_is_cut_off(autojump_clock: Clock) -> None:
    async with serving() as served:
        client = served.connect()
        client.server_side.send_stream.send_all_hook = trio.sleep_forever
        await client.stream.send_all(GET)
        await trio.sleep(11)

        assert (served.endpoint.connections, served.endpoint.cut) == (0, 1)


async def test_a_client_that_leaves_in_the_middle_is_no_news(autojump_clock: Clock) -> None:
    async with serving() as served:
        with structlog.testing.capture_logs() as logs:
            client = served.connect()
            await client.stream.send_all(GET)
            await client.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()

        assert (served.endpoint.connections, served.endpoint.cut, logs) == (0, 0, [])


async def test_too_many_connections_are_closed_and_counted(autojump_clock: Clock) -> None:
    async with serving(limits=HttpLimits(connections=2)) as served:
        first, reader = served.connect(), h11.Connection(h11.CLIENT)
        await ask(first, reader)
        second, other = served.connect(), h11.Connection(h11.CLIENT)
        await ask(second, other)

        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await everything(served.connect()) == b""

        assert served.endpoint.refused == 3
        assert [line["event"] for line in logs] == ["too many connections; new ones are closed"]
        assert (await ask(first, reader))[0] == 200
        await second.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await served.answers(GET))[0][0] == 200


async def test_a_bug_in_the_page_is_a_500_and_the_node_goes_on(autojump_clock: Clock) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError("a number that cannot be")

    async with serving(broken) as served:
        with structlog.testing.capture_logs() as logs:
            ((status, body),) = await served.answers(GET)

        assert status == 500
        assert b"ZeroDivisionError" not in body
        assert [(line["event"], line["log_level"]) for line in logs] == [("bug", "error")]
        assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


async def test_an_accept_that_fails_is_tried_again(autojump_clock: Clock) -> None:
    async with serving() as served:
        with structlog.testing.capture_logs() as logs:
            served.source.fail(OSError(24, "too many open files"))
            assert (await served.answers(GET))[0][0] == 200

        assert [line["event"] for line in logs] == ["cannot accept connections"]


async def test_its_sources_are_closed_in_the_end(autojump_clock: Clock) -> None:
    async with serving() as served:
        pass

    assert served.source.closed
