"""All that a ZooKeeper server remembers: tree, sessions, watches, the last zxid; and each thing that can be asked of it
(pure).

Shared by the server and the embedded tree. A write is decided and applied at once and comes back as a transaction; to
make it durable before anybody hears of it is the caller's part.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Generic, TypeVar

import attrs

from quorate.metadata.checks import check
from quorate.metadata.zookeeper.acls import Acl, Identity, Permission, permits, without_passwords
from quorate.metadata.zookeeper.draft import Draft, Write
from quorate.metadata.zookeeper.session_table import SessionTable
from quorate.metadata.zookeeper.transactions import (
    Change,
    Deleted,
    SessionClosed,
    SessionOpened,
    Transaction,
)
from quorate.metadata.zookeeper.tree import Applied, Node, ZnodeTree
from quorate.metadata.zookeeper.watches import WatchTable
from quorate.metadata.zookeeper.znodes import (
    ErrorCode,
    EventType,
    MultiFailed,
    Stat,
    WatchEvent,
    Znode,
    ZooKeeperError,
)

TICK_MS: Final = 2000
"""ZooKeeper's own default (tickTime)."""

W = TypeVar("W", bound=Hashable)


@attrs.frozen
class Committed(Generic[W]):
    """A write that happened."""

    transaction: Transaction
    results: list[Applied]
    """One for each change."""
    events: list[tuple[W, WatchEvent]]
    """Who is to be told what, in this order, and before anything that shows the new state."""


class ServerState(Generic[W]):
    """`W`: what a watcher is to the caller, a connection for example."""

    def __init__(self, tree: ZnodeTree | None = None, *, tick_ms: int = TICK_MS, last_zxid: int = 0) -> None:
        self.tree: Final = ZnodeTree() if tree is None else tree
        self.sessions: Final = SessionTable(tick_ms)
        self.watches: Final[WatchTable[W]] = WatchTable()
        self.last_zxid = last_zxid

    # -- sessions

    def open_session(
        self, session: int, timeout_ms: int, password: bytes, *, now_ms: int, time_ms: int
    ) -> Committed[W]:
        """`timeout_ms` as it was granted."""
        check(session not in self.sessions.sessions, f"session {session:#x} is there already")
        opened = SessionOpened(session, timeout_ms, password)
        return self._commit(session, (opened,), time_ms, now_ms)

    def close_session(self, session: int, *, time_ms: int) -> Committed[W]:
        """By its client or because it has expired: its ephemerals go, all in one transaction. Unless it is there,
        only what it left behind goes."""
        gone = [Deleted(path) for path in self.tree.owned.get(session, ())]
        return self._commit(session, (*gone, SessionClosed(session)), time_ms, 0)

    def expire(self, *, now_ms: int, time_ms: int) -> list[Committed[W]]:
        """Closes the sessions whose time is over."""
        return [self.close_session(session, time_ms=time_ms) for session in self.sessions.ended(now_ms)]

    def demand_session(self, session: int) -> None:
        """
        Raises:
            ZooKeeperError: SESSION_EXPIRED.
        """
        if session not in self.sessions.sessions:
            raise ZooKeeperError(ErrorCode.SESSION_EXPIRED)

    # -- writes

    def write(
        self, session: int, op: Write, *, time_ms: int, identities: tuple[Identity, ...] = ()
    ) -> Committed[W]:
        """
        Raises:
            ZooKeeperError: nothing was done.
        """
        self.demand_session(session)
        change = Draft(self.tree, session, identities).add(op)
        return self._commit(session, (change,), time_ms, 0)

    def multi(
        self, session: int, ops: Sequence[Write], *, time_ms: int, identities: tuple[Identity, ...] = ()
    ) -> Committed[W]:
        """
        Raises:
            MultiFailed: one of them cannot be done, so nothing was.
            ZooKeeperError: SESSION_EXPIRED.
        """
        self.demand_session(session)
        draft = Draft(self.tree, session, identities)
        changes: list[Change] = []
        for op in ops:
            try:
                changes.append(draft.add(op))
            except ZooKeeperError as e:
                raise MultiFailed(e.code, e.path, len(changes)) from None
        return self._commit(session, tuple(changes), time_ms, 0)

    def replay(self, transaction: Transaction, *, now_ms: int = 0) -> Committed[W]:
        """A transaction that was committed here before, or elsewhere."""
        check(
            transaction.zxid > self.last_zxid,
            f"transaction {transaction.zxid:#x} does not follow {self.last_zxid:#x}",
        )
        results = self.tree.apply(transaction)
        self.last_zxid = transaction.zxid
        for change in transaction.changes:
            match change:
                case SessionOpened(session, timeout_ms, password):
                    self.sessions.add(session, timeout_ms, password, now_ms)
                case SessionClosed(session):
                    self.sessions.remove(session)
                case _:
                    pass
        return Committed(transaction, results, self.watches.fire(transaction.changes))

    def _commit(self, session: int, changes: tuple[Change, ...], time_ms: int, now_ms: int) -> Committed[W]:
        return self.replay(Transaction(self.last_zxid + 1, time_ms, session, changes), now_ms=now_ms)

    # -- reads

    def get(self, path: str, watcher: W | None = None, identities: Iterable[Identity] = ()) -> Znode:
        """Raises NO_NODE, and then sets no watch; NO_AUTH."""
        node = self._readable(path, identities)
        if watcher is not None:
            self.watches.watch_data(path, watcher)
        return Znode(path, node.data, node.stat())

    def exists(self, path: str, watcher: W | None = None, identities: Iterable[Identity] = ()) -> Stat | None:
        """Watches also what is not there. Raises NO_AUTH."""
        node = self._readable(path, identities) if path in self.tree.nodes or "\0" in path else None
        if watcher is not None:
            self.watches.watch_data(path, watcher)
        return None if node is None else node.stat()

    def children(
        self, path: str, watcher: W | None = None, identities: Iterable[Identity] = ()
    ) -> tuple[list[str], Node]:
        """Names, oldest first, and the znode they are of. Raises NO_NODE, and then sets no watch; NO_AUTH."""
        node = self._readable(path, identities)
        if watcher is not None:
            self.watches.watch_children(path, watcher)
        return list(node.children or ()), node

    def acl(self, path: str, identities: Iterable[Identity] = ()) -> tuple[tuple[Acl, ...], Stat]:
        """Raises NO_NODE, NO_AUTH."""
        node = self.tree.node(path)
        if not permits(node.stored_acl, Permission.READ | Permission.ADMIN, identities):
            raise ZooKeeperError(ErrorCode.NO_AUTH, path)
        may_change = permits(node.stored_acl, Permission.ADMIN, identities)
        return node.stored_acl if may_change else without_passwords(node.stored_acl), node.stat()

    def set_watches(
        self,
        seen_zxid: int,
        data: Iterable[str],
        exist: Iterable[str],
        child: Iterable[str],
        watcher: W,
    ) -> list[WatchEvent]:
        """The watches of a client that was away since `seen_zxid`: what it missed is told now, the others are set."""
        told: list[WatchEvent] = []
        for path in data:
            node = self.tree.nodes.get(path)
            if node is None:
                told.append(WatchEvent(EventType.DELETED, path))
            elif node.mzxid > seen_zxid:
                told.append(WatchEvent(EventType.DATA_CHANGED, path))
            else:
                self.watches.watch_data(path, watcher)
        for path in exist:
            if path in self.tree.nodes:
                told.append(WatchEvent(EventType.CREATED, path))
            else:
                self.watches.watch_data(path, watcher)
        for path in child:
            node = self.tree.nodes.get(path)
            if node is None:
                told.append(WatchEvent(EventType.DELETED, path))
            elif node.pzxid > seen_zxid:
                told.append(WatchEvent(EventType.CHILDREN_CHANGED, path))
            else:
                self.watches.watch_children(path, watcher)
        return told

    def _readable(self, path: str, identities: Iterable[Identity]) -> Node:
        node = self.tree.nodes.get(path)
        if node is None:
            code = ErrorCode.BAD_ARGUMENTS if "\0" in path else ErrorCode.NO_NODE
            raise ZooKeeperError(code, path)
        if not permits(node.stored_acl, Permission.READ, identities):
            raise ZooKeeperError(ErrorCode.NO_AUTH, path)
        return node
