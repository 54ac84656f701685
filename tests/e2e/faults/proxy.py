"""The network between real processes: a TCP proxy before each controller, which delays, stalls, swallows and cuts.

Controllers listen on a port that nobody is told of, and advertise their proxy's. Who connects is known from the client
id in its first request, so that the way from one party to another can be broken alone, in one direction alone: what A
sends to B travels on A's connections to B as requests and on B's connections to A as answers, and both obey the rule
for (A, B). A stalled way keeps what was sent and delivers it late; one that swallows takes it and never delivers it,
so its connections are reset when it is well again.
"""

import contextlib
import functools
import itertools
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final, NewType

import attrs
import trio

from quorate.admin.ports import LOOPBACK

Party = NewType("Party", str)
"""A node's name ("controller-1"), or `CLIENTS`."""
CLIENTS: Final = Party("clients")

_CHUNK_BYTES: Final = 64 * 1024
_CHUNKS: Final = 64
"""Under way in one direction; then the sender is no longer read from."""
_HEAD: Final = struct.Struct(">ihhih")
"""Of a request: length, API, version, correlation id, length of the client id."""


@attrs.frozen(kw_only=True)
class Rule:
    """What happens to bytes on the way from one party to another."""

    stalled: bool = False
    """They wait until the rule changes."""
    swallows: bool = False
    """They are taken, and lost."""
    delay_s: tuple[float, float] = (0.0, 0.0)
    """Each piece is late by something between these; the order stays."""


WELL: Final = Rule()


class Network:
    """All proxies and all rules. `serve` runs until cancelled."""

    def __init__(self, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        """What has befallen connections."""
        self._rng = rng
        self._rules: dict[tuple[Party, Party], Rule] = {}
        self._changed = trio.Event()
        self._links: set[_Link] = set()

    def rule(self, sender: Party, receiver: Party) -> Rule:
        return self._rules.get((sender, receiver), WELL)

    def set(self, senders: Iterable[Party], receivers: Iterable[Party], rule: Rule) -> None:
        """For each of these ways; nobody talks to itself."""
        for way in itertools.product(tuple(senders), tuple(receivers)):
            if way[0] != way[1]:
                self._rules[way] = rule
        self._tell()

    def separate(self, ones: Iterable[Party], others: Iterable[Party], rule: Rule) -> None:
        """In both directions."""
        ones, others = tuple(ones), tuple(others)
        self.set(ones, others, rule)
        self.set(others, ones, rule)

    def heal(self) -> None:
        """Every way is well; connections that have lost something end."""
        self._rules.clear()
        for link in tuple(self._links):
            if link.torn:
                self.counts["reset: bytes were lost on it"] += 1
                link.reset()
        self._tell()

    def reset(self, parties: Iterable[Party]) -> int:
        """Resets every connection from or to them; how many those were."""
        hit = self._of(parties)
        for link in hit:
            link.reset()
        self.counts["reset"] += len(hit)
        return len(hit)

    def half_close(self, parties: Iterable[Party]) -> int:
        """Ends one direction of every connection from or to them, while the other goes on."""
        hit = self._of(parties)
        for link in hit:
            link.half_close(self._rng.random() < 0.5)
        self.counts["half-closed"] += len(hit)
        return len(hit)

    def _of(self, parties: Iterable[Party]) -> "list[_Link]":
        wanted = frozenset(parties)
        return sorted(
            (link for link in self._links if wanted & {link.source, link.target}),
            key=lambda link: link.number,
        )

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def serve(
        self,
        target: Party,
        port: int,
        real_port: int,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """The proxy before one node."""
        async with trio.open_nursery() as nursery:

            async def accepted(stream: trio.SocketStream) -> None:
                await self._carry(stream, target, real_port)

            await nursery.start(functools.partial(trio.serve_tcp, accepted, port, host=LOOPBACK))
            task_status.started()

    async def _carry(self, stream: trio.SocketStream, target: Party, real_port: int) -> None:
        """One connection, from its first byte to its end."""
        async with stream:
            try:
                first = await _first_request(stream)
                source = party_of(first)
                await self.passable(source, target)
                upstream = await trio.open_tcp_stream(LOOPBACK, real_port)
            except (OSError, trio.BrokenResourceError, ValueError):
                _reset(stream)
                return
            self.counts["carried"] += 1
            async with upstream:
                link = _Link(self, source, target, stream, upstream)
                self._links.add(link)
                try:
                    await link.run(first)
                finally:
                    self._links.discard(link)

    async def passable(self, sender: Party, receiver: Party) -> Rule:
        """The rule for a way, as soon as it lets anything through."""
        while (rule := self.rule(sender, receiver)).stalled:
            await self._changed.wait()
        return rule

    def delay_s(self, rule: Rule) -> float:
        return self._rng.uniform(*rule.delay_s) if rule.delay_s[1] else 0.0


async def _first_request(stream: trio.SocketStream) -> bytes:
    """What came first, at least as far as the client id.

    Raises:
        ValueError: it ended before.
    """
    data = b""
    while len(data) < _HEAD.size or len(data) < _HEAD.size + max(0, _HEAD.unpack_from(data)[4]):
        more = await stream.receive_some(_CHUNK_BYTES)
        if not more:
            raise ValueError("no request came")
        data += more
    return data


def party_of(first: bytes) -> Party:
    """Who sent a connection's first request, by its client id: those of nodes are "raft-client-1", "broker-101-..."."""
    length = max(0, _HEAD.unpack_from(first)[4])
    name = first[_HEAD.size : _HEAD.size + length].decode(errors="replace")
    words = name.split("-")
    if name.startswith("raft-client-") and words[2].isdigit():
        role = "controller" if int(words[2]) <= LAST_CONTROLLER else "broker"
        return Party(f"{role}-{words[2]}")
    if words[0] == "broker" and len(words) == 3:
        return Party(f"broker-{words[1]}")
    return CLIENTS


LAST_CONTROLLER: Final = 100
"""Brokers of a cluster on loopback have higher ids."""


def _reset(stream: trio.SocketStream) -> None:
    """Ends a connection as a dead process does."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


class _Link:
    """One carried connection: `source` opened it, and its requests go to `target`."""

    _numbers = itertools.count()

    def __init__(
        self,
        network: Network,
        source: Party,
        target: Party,
        downstream: trio.SocketStream,
        upstream: trio.SocketStream,
    ) -> None:
        self.number = next(self._numbers)
        self.source, self.target = source, target
        self._torn: set[trio.SocketStream] = set()
        self._network = network
        self._downstream, self._upstream = downstream, upstream
        self._half_closed: set[trio.SocketStream] = set()
        self._life = trio.CancelScope()
        self._was_reset = False

    @property
    def torn(self) -> bool:
        """Bytes of it were lost, so it cannot go on."""
        return bool(self._torn)

    async def run(self, first: bytes) -> None:
        with self._life:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._direction, self._downstream, self._upstream, first)
                nursery.start_soon(self._direction, self._upstream, self._downstream, b"")
        if self._was_reset:
            _reset(self._downstream)
            _reset(self._upstream)

    def reset(self) -> None:
        self._was_reset = True
        self._life.cancel()

    def half_close(self, towards_target: bool) -> None:
        """That side is told that no more comes, and gets no more."""
        go = self._upstream if towards_target else self._downstream
        self._half_closed.add(go)
        with contextlib.suppress(OSError):  # it is closed already
            go.socket.shutdown(socket.SHUT_WR)

    async def _direction(self, come: trio.SocketStream, go: trio.SocketStream, first: bytes) -> None:
        """One direction of it. A broken end breaks the other one too, as soon as that can be known there."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](_CHUNKS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take, come, go, send, first)
                await self._deliver(go, receive)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self.reset()

    async def _take(
        self,
        come: trio.SocketStream,
        go: trio.SocketStream,
        send: "trio.MemorySendChannel[tuple[float, bytes]]",
        first: bytes,
    ) -> None:
        sender, receiver = self._way(go)
        async with send:
            data: bytes | bytearray = first or await come.receive_some(_CHUNK_BYTES)
            while data:
                late = self._network.delay_s(self._network.rule(sender, receiver))
                await send.send((trio.current_time() + late, bytes(data)))
                data = await come.receive_some(_CHUNK_BYTES)

    async def _deliver(
        self, go: trio.SocketStream, receive: "trio.MemoryReceiveChannel[tuple[float, bytes]]"
    ) -> None:
        sender, receiver = self._way(go)
        async for due, data in receive:
            await trio.sleep_until(due)
            rule = await self._network.passable(sender, receiver)
            if rule.swallows:
                self._torn.add(go)
            if go not in self._torn and go not in self._half_closed:
                await go.send_all(data)
        await self._network.passable(sender, receiver)
        if go not in self._half_closed:
            await go.send_eof()

    def _way(self, go: trio.SocketStream) -> tuple[Party, Party]:
        return (self.source, self.target) if go is self._upstream else (self.target, self.source)
