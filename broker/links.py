"""Connections from a broker to controllers: requests out, exactly one outcome each, at once or later (shell).

One link per address, connected when first needed and again after it broke. A link never repeats a request: whether
to ask again, and whom, is decided by the life cycle and by the forwarder, which need to know whether a request may
have been seen.

Heartbeats and forwarded requests have links of their own: a node answers each connection in order, and a heartbeat
must not wait behind a client's slow write.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.connection import (
    ClientSecurity,
    ConnectFailed,
    Connection,
    Failure,
    FailureKind,
    OnReply,
    connect,
)
from quorate.metadata.ids import Endpoint
from quorate.metadata.wire.cluster import ApiVersionsResponse

CONNECT_MS: Final = 2_000
"""What a controller may take to accept a connection and say what it is."""
_IDLE_S: Final = 60.0
"""A link that is not connected and not used for so long is given up."""

Open = Callable[[Address], Awaitable[Connection]]
"""Makes a connection, or raises ConnectFailed."""


class Sender(Protocol):
    """Where requests for a controller go."""

    def send(self, endpoint: Endpoint, request: Any, on_reply: OnReply, *, timeout_ms: int) -> None:
        """Sends; `on_reply` is told the response or a `connection.Failure`, exactly once."""
        ...


def opener(client_id: str, security: ClientSecurity | None = None) -> Open:
    """Connects over TCP."""

    async def open_connection(address: Address) -> Connection:
        return await connect(address, timeout_ms=CONNECT_MS, client_id=client_id, security=security)

    return open_connection


class ControllerLinks:
    """All links of one purpose. `run` owns their tasks; `send` may be called once it has started."""

    def __init__(self, open_connection: Open, *, distrust_silence: bool = False) -> None:
        """`distrust_silence`: a request that is not answered in time costs the link its connection."""
        self._open = open_connection
        self._distrust_silence = distrust_silence
        self._links: dict[Address, _Link] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def send(self, endpoint: Endpoint, request: Any, on_reply: OnReply, *, timeout_ms: int) -> None:
        """See `Sender`."""
        if self._nursery is None:
            raise RuntimeError("ControllerLinks.send before run")
        address = Address(endpoint.host, endpoint.port)
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = _Link(address, self._open, self._distrust_silence)
            self._nursery.start_soon(self._live, link)
        link.send(_Unsent(request, on_reply, trio.current_time() + timeout_ms / 1000))

    def versions(self, endpoint: Endpoint) -> ApiVersionsResponse | None:
        """What the controller there said of itself when it was last connected to."""
        link = self._links.get(Address(endpoint.host, endpoint.port))
        return None if link is None else link.peer

    async def _live(self, link: "_Link") -> None:
        await link.run()
        if self._links.get(link.address) is link:
            del self._links[link.address]


@attrs.frozen
class _Unsent:
    request: Any
    on_reply: OnReply
    deadline: float


class _Link:
    """The connection to one address, and what waits for it."""

    def __init__(self, address: Address, open_connection: Open, distrust_silence: bool) -> None:
        self.address = address
        self.peer: ApiVersionsResponse | None = None
        self._open = open_connection
        self._distrust_silence = distrust_silence
        self._connection: Connection | None = None
        self._waiting: deque[_Unsent] = deque()
        self._wanted = trio.Event()

    def send(self, unsent: _Unsent) -> None:
        if self._connection is not None and self._connection.is_open:
            self._put(self._connection, unsent)
        else:
            self._waiting.append(unsent)
            self._wanted.set()

    async def run(self) -> None:
        """Connects whenever something waits; ends when nothing did for a while."""
        while True:
            with trio.move_on_after(_IDLE_S):
                await self._wanted.wait()
            if not self._waiting:
                return
            self._wanted = trio.Event()
            try:
                connection = await self._open(self.address)
            except ConnectFailed as problem:
                self._fail_waiting(problem.failure)
                continue
            self.peer = connection.peer
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run)
                self._connection = connection
                while self._waiting:
                    self._put(connection, self._waiting.popleft())
            self._connection = None

    def _put(self, connection: Connection, unsent: _Unsent) -> None:
        left_ms = int((unsent.deadline - trio.current_time()) * 1000)
        if left_ms <= 0:
            text = f"connecting to {self.address} took too long"
            unsent.on_reply(Failure(kind=FailureKind.TIMED_OUT, written=False, text=text))
            return

        def on_reply(reply: Any) -> None:
            unsent.on_reply(reply)
            silent = isinstance(reply, Failure) and reply.kind is FailureKind.TIMED_OUT
            if silent and self._distrust_silence:
                connection.close()

        connection.send(unsent.request, on_reply, timeout_ms=left_ms)

    def _fail_waiting(self, failure: Failure) -> None:
        # Whoever is told may send again at once: that one waits for the next connection.
        for unsent in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            unsent.on_reply(failure)
