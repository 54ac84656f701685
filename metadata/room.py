"""How much of a node its clients may take: connections, and answers that nobody reads (pure).

One `Room` is shared by all listeners of a node. `Limits` names every limit of a connection and of all together; each
of them costs a client its connection or makes it wait, never the node its memory.
"""

from collections import Counter
from typing import Final, Protocol

import attrs

_MEBIBYTE: Final = 1024 * 1024


@attrs.frozen(kw_only=True)
class Limits:
    """What the listeners of one node allow."""

    frame_bytes: int = 8 * _MEBIBYTE
    """The largest request (Kafka: socket.request.max.bytes)."""
    connections: int = 2_000
    """Of all listeners together."""
    connections_per_address: int = 2**31 - 1
    """Of one client's address (max.connections.per.ip)."""
    connections_per_second: int = 2**31 - 1
    """Beyond it accepting waits (max.connection.creation.rate)."""
    pipelined: int = 256
    """Requests of one connection that wait for an answer; beyond it nothing more is read."""
    unread_bytes: int = 32 * _MEBIBYTE
    """Answers of one connection that its client has not read; beyond it nothing more is read from it."""
    unread_bytes_of_all: int = 512 * _MEBIBYTE
    """The same of all connections; beyond it the one with most is closed. One answer may have 100 MiB (Metadata of two
    million partitions), so this is no small number."""
    idle_ms: int = 600_000
    """Without a byte in either direction for so long, a connection is closed (connections.max.idle.ms)."""
    admission_ms: int = 10_000
    """Time for the security step."""


class Holder(Protocol):
    """A connection whose answers wait to be read."""

    unread_bytes: int

    def cut(self, why: str) -> None:
        """Closes it, because of what its client did."""
        ...


@attrs.frozen
class Refusal:
    """Why a connection is not accepted. `first`: since there was room last; the others need no line in the log."""

    what: str
    limit: int
    first: bool


class Room:
    """What is taken now, by all listeners of a node."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.unread_bytes = 0
        self._by_address: Counter[str] = Counter()
        self._holders: dict[Holder, str] = {}
        self._full_told = False
        self._addresses_told: set[str] = set()
        self._credit = float(limits.connections_per_second)
        self._credit_ms = 0

    @property
    def connections(self) -> int:
        return len(self._holders)

    def wait_ms(self, now_ms: int) -> int:
        """How long the next connection must wait before it is accepted; a second's worth may come at once."""
        rate = self.limits.connections_per_second
        earned = max(0, now_ms - self._credit_ms) * rate / 1000
        self._credit, self._credit_ms = min(float(rate), self._credit + earned), now_ms
        return 0 if self._credit >= 1 else int((1 - self._credit) * 1000 / max(rate, 1)) + 1

    def refusal(self, address: str) -> Refusal | None:
        """Whether there is room for one more connection from there."""
        self._credit -= 1
        if len(self._holders) >= self.limits.connections:
            first, self._full_told = not self._full_told, True
            return Refusal("too many connections; new ones are closed", self.limits.connections, first)
        limit = self.limits.connections_per_address
        if self._by_address[address] >= limit:
            first = address not in self._addresses_told
            self._addresses_told.add(address)
            return Refusal("too many connections of one client; its new ones are closed", limit, first)
        return None

    def enter(self, holder: Holder, address: str) -> None:
        self._holders[holder] = address
        self._by_address[address] += 1

    def leave(self, holder: Holder) -> None:
        address = self._holders.pop(holder)
        self._full_told = False
        self._addresses_told.discard(address)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        self.took(holder, holder.unread_bytes)

    def hold(self, holder: Holder, count: int) -> None:
        """An answer waits to be read. If all of them are too much, who reads least loses its connection."""
        holder.unread_bytes += count
        self.unread_bytes += count
        if self.unread_bytes > self.limits.unread_bytes_of_all:
            worst = max(self._holders, key=lambda one: one.unread_bytes)
            worst.cut(
                f"it leaves {worst.unread_bytes} bytes of answers unread, the most of all clients, and together they "
                f"leave {self.unread_bytes}, more than {self.limits.unread_bytes_of_all}"
            )

    def took(self, holder: Holder, count: int) -> None:
        """So much was read, or is given up."""
        holder.unread_bytes -= count
        self.unread_bytes -= count
