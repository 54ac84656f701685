"""TLS over a real socket: what is written without a task switch, what the socket takes in parts, how it ends."""

import pathlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.security.tls_stream import TlsStream
from tests.metadata.streams import socket_pair
from tests.secured import Certificates

_PATIENCE_S = 10.0
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """(of a server, of a client that believes it)"""
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.issue("node.pem", "localhost"))
    return server, ssl.create_default_context(cafile=certificates.authority)


@asynccontextmanager
async def connected(
    contexts: Contexts, buffer_bytes: int | None = None
) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """(client, server), after their handshake."""
    ours, theirs = socket_pair(buffer_bytes)
    client = TlsStream(ours, contexts[1], server_hostname="localhost")
    server = TlsStream(theirs, contexts[0], server_side=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        yield client, server
    finally:
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)


async def received(stream: TlsStream, count: int) -> bytes:
    data = bytearray()
    with trio.fail_after(_PATIENCE_S):
        while len(data) < count:
            piece = await stream.receive_some(1000)
            assert piece, "the stream ended early"
            data += piece
    return bytes(data)


def written_until_full(stream: TlsStream) -> bytes:
    """What was taken at once, before the socket took no more."""
    taken = bytearray()
    for number in range(1000):
        message = number.to_bytes(4, "big") * 250
        if stream.write(message) == 0:
            assert taken
            return bytes(taken)
        taken += message
    raise AssertionError("a socket with a small buffer takes everything")


async def test_a_short_message_leaves_at_once(contexts: Contexts) -> None:
    async with connected(contexts) as (client, server):
        assert server.write(b"hello") == 5
        assert await received(client, 5) == b"hello"


async def test_a_long_one_is_left_to_who_may_wait(contexts: Contexts) -> None:
    long = bytes(range(256)) * 400
    async with connected(contexts) as (client, server):
        assert server.write(long) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, long)
            assert await received(client, len(long)) == long


async def test_what_a_full_socket_takes_in_parts_arrives_whole_and_in_order(contexts: Contexts) -> None:
    """Once something is left over nothing more is taken at once, or it would overtake it."""
    async with connected(contexts, 4096) as (client, server):
        expected = written_until_full(server)
        assert server.write(b"x") == 0
        assert await received(client, len(expected)) == expected
        await trio.testing.wait_all_tasks_blocked()
        assert server.write(b"again") == 5
        assert await received(client, 5) == b"again"


async def test_who_may_wait_sends_what_was_left_over_first(contexts: Contexts) -> None:
    async with connected(contexts, 4096) as (client, server):
        expected = written_until_full(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, b"the end")
            assert await received(client, len(expected) + 7) == expected + b"the end"


async def test_it_is_fed_from_what_came_with_the_handshake_what_comes_later_and_its_end(
    contexts: Contexts,
) -> None:
    heard: list[bytes] = []
    async with connected(contexts) as (client, server):
        assert server.write(b"one") == 3
        assert await client.receive_some(1) == b"o"  # the rest of the record is in OpenSSL's hands

        def take(data: bytes) -> bool:
            heard.append(data)
            if data == b"two":
                assert server.write(b"three") == 5
            return data != b"three"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fed, client, take, True)
            await trio.testing.wait_all_tasks_blocked()
            assert heard == [b"ne"]
            assert server.write(b"two") == 3
        assert heard == [b"ne", b"two", b"three"]

        assert server.write(b"four") == 4
        await trio.aclose_forcefully(server)
        await fed(client, take, False)
        assert heard[3:] == [b"four"]


async def test_what_openssl_wants_to_say_while_it_is_fed_is_said_at_once(contexts: Contexts) -> None:
    async with connected(contexts) as (client, server):

        def take(_: bytes) -> bool:
            client._outgoing.write(b"an alert")  # as for a client that asks to negotiate anew
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fed, client, take, False)
            assert server.write(b"one") == 3
            with trio.fail_after(_PATIENCE_S):
                assert await server._transport.receive_some(100) == b"an alert"
            await trio.aclose_forcefully(server)


async def test_a_cut_ends_what_is_fed_like_a_goodbye(contexts: Contexts) -> None:
    async with connected(contexts) as (client, server):
        assert server.write(b"one") == 3
        await trio.aclose_forcefully(server._transport)
        heard: list[bytes] = []
        await fed(client, lambda data: not heard.append(data), False)
        assert heard == [b"one"]


async def test_what_is_no_tls_ends_what_is_fed_with_an_error(contexts: Contexts) -> None:
    async with connected(contexts) as (client, server):
        assert DirectSocket(server._transport).write(b"GET / HTTP/1.1\r\n") == 16
        with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
            await fed(client, lambda _: True, True)


async def fed(stream: TlsStream, take: Callable[[bytes], bool], more: bool) -> None:
    with trio.fail_after(_PATIENCE_S):
        assert await DirectSocket(stream).feed(take) is more


async def test_its_end_is_an_end_and_not_an_error(contexts: Contexts) -> None:
    async with connected(contexts) as (client, server):
        server.write(b"bye")
        await server.aclose()

        assert await received(client, 3) == b"bye"
        assert await client.receive_some() == b""


async def test_it_says_goodbye_so_that_other_peoples_libraries_do_not_complain(contexts: Contexts) -> None:
    """close_notify: without it OpenSSL 3 tells its user that the connection was cut."""
    ours, theirs = socket_pair()
    strict = trio.SSLStream(ours, contexts[1], server_hostname="localhost", https_compatible=False)
    server = TlsStream(theirs, contexts[0], server_side=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(strict.do_handshake)
            nursery.start_soon(server.do_handshake)
        await server.aclose()

        assert await strict.receive_some() == b""
    finally:
        await trio.aclose_forcefully(strict)
        await trio.aclose_forcefully(server)


async def test_after_the_socket_is_closed_nothing_is_written(contexts: Contexts) -> None:
    async with connected(contexts) as (_, server):
        await server.aclose()

        assert server.write(b"x") == 0
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await server.send_all(b"x")


async def test_who_is_not_believed_is_told_why(contexts: Contexts, tmp_path: pathlib.Path) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(Certificates(tmp_path).issue("stranger.pem", "localhost"))
    ours, theirs = socket_pair()
    client = TlsStream(ours, contexts[1], server_hostname="localhost")
    server = TlsStream(theirs, stranger, server_side=True)

    async def begin(stream: TlsStream) -> None:
        """With TLS 1.3 a server is done before the client has judged it, and hears of that when it reads."""
        await stream.do_handshake()
        await stream.receive_some()

    async def handshake(stream: TlsStream, reason: type[BaseException]) -> None:
        with pytest.raises(trio.BrokenResourceError) as failed:
            await begin(stream)
        assert isinstance(failed.value.__cause__, reason)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handshake, client, ssl.SSLCertVerificationError)
            nursery.start_soon(handshake, server, ssl.SSLError)
    finally:
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)
