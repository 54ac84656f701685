"""Connections in memory: a source of streams for a listener, and a client's end that speaks frames."""

from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.table import correlation_id_of, decode_response, encode_request

Stream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


class MemorySource(trio.abc.Listener[Stream | trio.SocketStream]):
    """Accepts what the test connects."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Stream | trio.SocketStream | OSError](100)
        self.closed = False

    def connect(self) -> "Client":
        """A new connection, seen from the client's side."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._send.send_nowait(theirs)
        return Client(ours, theirs)

    def connect_over_socket(self, buffer_bytes: int | None = None) -> "Client":
        """A new connection through the kernel."""
        ours, theirs = socket_pair(buffer_bytes)
        self._send.send_nowait(theirs)
        return Client(ours)

    def fail(self, error: OSError) -> None:
        """Makes the next accept fail."""
        self._send.send_nowait(error)

    async def accept(self) -> Stream | trio.SocketStream:
        arrived = await self._receive.receive()
        if isinstance(arrived, OSError):
            raise arrived
        return arrived

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class Client:
    """The client's end of a connection."""

    def __init__(self, stream: Any, server_side: Any = None) -> None:
        self.stream = stream
        self.server_side = server_side
        self._buffer = FrameBuffer()

    async def send(self, request: Any, version: int, correlation_id: int) -> None:
        await self.stream.send_all(encode_request(request, version, correlation_id, "tester"))

    async def frame(self) -> bytes | None:
        """The next frame, or None if the server closed the connection."""
        while (frame := self._buffer.next_frame()) is None:
            data = await self.stream.receive_some(10_000)
            if not data:
                return None
            self._buffer.feed(data)
        return frame

    async def answer(self, api_key: int, version: int) -> tuple[int, Any]:
        """(correlation id, value) of the next response."""
        frame = await self.frame()
        assert frame is not None, "the server closed the connection"
        return correlation_id_of(frame), decode_response(api_key, version, frame)

    async def is_closed(self) -> bool:
        """Whether the server closes the connection and sends nothing before; waits until it has nothing left to do."""
        closed = await self.frame() is None
        await trio.testing.wait_all_tasks_blocked()
        return closed


async def settled(holds: Callable[[], bool]) -> None:
    """Waits until nothing can happen any more, then insists."""
    await trio.testing.wait_all_tasks_blocked()
    assert holds()


def socket_pair(buffer_bytes: int | None = None) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two connected ends in the kernel, where what the socket does with bytes matters."""
    ends = trio.socket.socketpair()
    for end in ends:
        if buffer_bytes is not None:
            end.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, buffer_bytes)
    return trio.SocketStream(ends[0]), trio.SocketStream(ends[1])
