"""The proxies themselves: who is whom, and what each rule does to the bytes of one connection."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from quorate.admin.ports import LOOPBACK
from quorate.metadata.wire.cluster import ApiVersionsRequest
from quorate.metadata.wire.table import encode_request
from tests.e2e.faults.proxy import CLIENTS, Network, Party, Rule, party_of

WITHIN_S = 20.0
ONE = Party("controller-1")
TWO = Party("controller-2")


def first_request(client_id: str) -> bytes:
    return encode_request(ApiVersionsRequest(), 3, 0, client_id)


@pytest.mark.parametrize(
    ("client_id", "party"),
    [
        ("raft-client-2", "controller-2"),
        ("raft-client-101", "broker-101"),
        ("broker-102-heartbeat", "broker-102"),
        ("broker-102-forwarding", "broker-102"),
        ("fault-client-7", CLIENTS),
        ("quorate-admin", CLIENTS),
        ("", CLIENTS),
    ],
)
def test_who_connects_is_known_by_its_client_id(client_id: str, party: str) -> None:
    assert party_of(first_request(client_id)) == party


class Carried:
    """A connection from controller 1 to controller 2, seen from both ends."""

    def __init__(self, network: Network, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.network, self.near, self.far = network, near, far

    async def arrives(self, sender: trio.SocketStream, receiver: trio.SocketStream, data: bytes) -> None:
        await sender.send_all(data)
        await self.gets(receiver, data)

    async def gets(self, receiver: trio.SocketStream, data: bytes) -> None:
        got = b""
        while len(got) < len(data):
            more = await receiver.receive_some(len(data) - len(got))
            assert more, "the connection ended"
            got += more
        assert got == data


@asynccontextmanager
async def carried() -> AsyncIterator[Carried]:
    network = Network(random.Random(1))
    (behind,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    (free,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    port = free.socket.getsockname()[1]
    await free.aclose()
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery, behind:
            await nursery.start(network.serve, TWO, port, behind.socket.getsockname()[1])
            near = await trio.open_tcp_stream(LOOPBACK, port)
            hello = first_request("raft-client-1")
            await near.send_all(hello)
            far = await behind.accept()
            one = Carried(network, near, far)
            async with near, far:
                await one.gets(far, hello)
                yield one
            nursery.cancel_scope.cancel()


async def is_silent(stream: trio.SocketStream, for_s: float = 0.05) -> bool:
    """Whether nothing comes. That something came later than this would make a test pass, never fail."""
    with trio.move_on_after(for_s):
        await stream.receive_some(1)
        return False
    return True


async def test_what_is_well_passes_in_both_directions() -> None:
    async with carried() as one:
        await one.arrives(one.near, one.far, b"question")
        await one.arrives(one.far, one.near, b"answer")


async def test_a_stalled_way_delivers_late_and_only_that_way_is_stalled() -> None:
    async with carried() as one:
        one.network.set([ONE], [TWO], Rule(stalled=True))
        await one.near.send_all(b"question")
        await one.arrives(one.far, one.near, b"other way")
        assert await is_silent(one.far)
        one.network.heal()
        await one.gets(one.far, b"question")


async def test_a_way_that_swallows_ends_its_connections_when_it_is_well_again() -> None:
    async with carried() as one:
        one.network.set([TWO], [ONE], Rule(swallows=True))
        await one.far.send_all(b"answer")
        await one.arrives(one.near, one.far, b"other way")
        assert await is_silent(one.near)
        one.network.heal()
        with pytest.raises(trio.BrokenResourceError):
            await one.near.receive_some(1)


async def test_a_slow_way_is_late_and_keeps_the_order() -> None:
    async with carried() as one:
        one.network.set([ONE], [TWO], Rule(delay_s=(0.2, 0.3)))
        await one.near.send_all(b"first ")
        await one.near.send_all(b"second")
        assert await is_silent(one.far, 0.02)
        await one.gets(one.far, b"first second")


async def test_a_half_closed_connection_still_carries_the_other_direction() -> None:
    async with carried() as one:
        one.network.half_close([TWO])
        streams = [one.near, one.far]
        ended: list[trio.SocketStream] = []

        async def read(stream: trio.SocketStream) -> None:
            if await stream.receive_some(1) == b"":
                ended.append(stream)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(read, stream)
        (deaf,) = ended
        (other,) = [stream for stream in streams if stream is not deaf]
        await one.arrives(deaf, other, b"still here")


async def test_a_reset_connection_breaks_at_both_ends() -> None:
    async with carried() as one:
        assert one.network.reset([ONE]) == 1
        for stream in (one.near, one.far):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)


async def test_a_node_that_does_not_listen_is_no_connection() -> None:
    network = Network(random.Random(1))
    (free,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    (other,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    port, nobody = free.socket.getsockname()[1], other.socket.getsockname()[1]
    await free.aclose()
    await other.aclose()
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve, TWO, port, nobody)
            async with await trio.open_tcp_stream(LOOPBACK, port) as stream:
                await stream.send_all(first_request("fault-client-1"))
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some(1)
            nursery.cancel_scope.cancel()
