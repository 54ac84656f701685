"""What Quorate asks of a ZooKeeper: one interface for a real ensemble through kazoo and for a tree in the same
process.

Paths are absolute, below the chroot of the connection. Every call may raise `ZooKeeperError`; a write that raises
one whose `outcome_unknown` is true may have been carried out. Nothing is retried in silence: a conditional write
that is sent twice can fail for its own sake.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from quorate.metadata.zookeeper.acls import Acl
from quorate.metadata.zookeeper.znodes import ANY_VERSION, Op, Result, SessionState, Stat, WatchEvent, Znode

Watcher = Callable[[WatchEvent], None]
"""Called once, in the event loop's thread, when the watched thing changes; not called when the session is lost."""


@attrs.frozen(kw_only=True)
class ConnectSettings:
    """Where the ensemble is and how it is spoken to."""

    hosts: str
    """`HOST:PORT,HOST:PORT/chroot`."""
    session_timeout_ms: int = 18_000
    """Asked for; Kafka's zookeeper.session.timeout.ms."""
    connect_timeout_ms: int = 18_000
    digest: str | None = attrs.field(default=None, repr=False)
    """`name:password` for znodes with `digest` in their ACL."""
    sasl: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    """kazoo's `sasl_options`: mechanism, username, password, service. Needs the package pure-sasl."""
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = attrs.field(default=None, repr=False)
    verify_host: bool = True
    """Whether the certificate must name the host that was connected to."""
    acl: tuple[Acl, ...] | None = None
    """Of what is created; None: everybody may do everything."""


class ZooKeeper(Protocol):
    """A session."""

    @property
    def session_id(self) -> int:
        """The owner of this session's ephemerals; 0 before the first connection."""
        ...

    @property
    def state(self) -> SessionState: ...

    def on_state(self, tell: Callable[[SessionState], None]) -> None:
        """`tell` is called in the event loop's thread at each change of `state`."""
        ...

    async def get(self, path: str, watch: Watcher | None = None) -> Znode:
        """Raises NO_NODE, and then sets no watch."""
        ...

    async def exists(self, path: str, watch: Watcher | None = None) -> Stat | None:
        """Watches also what is not there yet."""
        ...

    async def children(self, path: str, watch: Watcher | None = None) -> list[str]:
        """Names, in no order. Raises NO_NODE."""
        ...

    async def get_many(self, paths: Sequence[str]) -> list[Znode | None]:
        """Many znodes, asked for side by side; None for each that is not there."""
        ...

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        """The children of many znodes, asked for side by side; None for each that is not there."""
        ...

    async def create(
        self, path: str, data: bytes | None = None, *, ephemeral: bool = False, sequential: bool = False
    ) -> str:
        """The path that was made: with its number where `sequential`."""
        ...

    async def set(self, path: str, data: bytes | None, version: int = ANY_VERSION) -> Stat: ...

    async def delete(self, path: str, version: int = ANY_VERSION) -> None: ...

    async def multi(self, ops: Sequence[Op]) -> list[Result]:
        """All of it or nothing.

        Raises:
            MultiFailed: nothing of it was done.
        """
        ...

    async def sync(self, path: str = "/") -> None:
        """What is read after it, in this session, is at least as new as the moment of the call."""
        ...
