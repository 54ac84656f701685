"""A ZooKeeper in the same process: the real tree behind `interface.ZooKeeper`, without sockets, threads or a disk
(shell, since its calls can be awaited).

For rehearsals, and for simulations: everything that can go wrong between a client and an ensemble can be made to
happen, exactly there and every time. Time stands still unless `advance` moves it. Sessions that are in touch stay
alive by themselves; one that is held back ends when its timeout is over, and its client learns of that when it is let
in again, as with a real ensemble.
"""

import enum
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import attrs
import trio

from quorate.metadata.zookeeper.interface import Watcher
from quorate.metadata.zookeeper.messages import MAX_BYTES
from quorate.metadata.zookeeper.state import TICK_MS, Committed, ServerState
from quorate.metadata.zookeeper.transactions import Transaction
from quorate.metadata.zookeeper.tree import all_znodes, copy_of, newest_zxid, tree_of
from quorate.metadata.zookeeper.znodes import (
    ANY_VERSION,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    Op,
    Result,
    SessionState,
    SetData,
    Stat,
    Tree,
    WatchEvent,
    Znode,
    ZooKeeperError,
)

T = TypeVar("T")
_FIRST_SESSION: Final = 0x1000
_OVERHEAD_BYTES: Final = 64
"""Of a message around its data, roughly."""


class Fault(enum.Enum):
    """What befalls a call."""

    LOSS_BEFORE = "connection lost, nothing was done"
    LOSS_AFTER = "connection lost, it was done all the same"
    EXPIRY_BEFORE = "the session ended, nothing was done"
    EXPIRY_AFTER = "it was done, and the session ended before the reply"


@attrs.frozen
class Call:
    """What is asked, for whoever decides about faults."""

    session: int
    name: str
    """`get`, `create`, `multi`: the methods of the interface; reads of many ask once for each path."""
    paths: tuple[str, ...]

    @property
    def writes(self) -> bool:
        return self.name in ("create", "set", "delete", "multi")


@attrs.frozen(eq=False)
class _Watch:
    """One watch that one read has set."""

    session: "EmbeddedZooKeeper"
    tell: Watcher


class EmbeddedServer:
    """The ensemble."""

    def __init__(
        self,
        tree: Tree | None = None,
        *,
        tick_ms: int = TICK_MS,
        wall_ms: int = 1_700_000_000_000,
        shuffle: random.Random | None = None,
        pause: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        """
        tree: of a dump; its stats are kept, and its ephemerals, of sessions that nobody has.
        wall_ms: of the stats, at the beginning. It moves on with `advance`.
        shuffle: gives children in another order each time, as nobody promises one.
        pause: awaited in every call, before and after it is carried out.
        """
        inner = None if tree is None else tree_of(tree)
        self.state: Final[ServerState[_Watch]] = ServerState(
            inner, tick_ms=tick_ms, last_zxid=0 if inner is None else newest_zxid(inner)
        )
        self.fault: Callable[[Call], Fault | None] = lambda call: None
        """Asked at every call."""
        self.now_ms = 0
        self._wall_ms = wall_ms
        self._sessions: Final[dict[int, EmbeddedZooKeeper]] = {}
        self._next_session = _FIRST_SESSION
        self.shuffle: Final = shuffle
        self.pause: Final = pause

    def connect(self, timeout_ms: int = 18_000) -> "EmbeddedZooKeeper":
        """A client with a session."""
        return EmbeddedZooKeeper(self, timeout_ms)

    def advance(self, ms: int) -> None:
        """Moves the clock; sessions whose clients cannot be heard may end."""
        self.now_ms += ms
        self._wall_ms += ms
        for session, client in self._sessions.items():
            if not client.is_held_back:
                self.state.sessions.touch(session, self.now_ms)
        for ended in self.state.expire(now_ms=self.now_ms, time_ms=self._wall_ms):
            self.spread(ended)

    def expire(self, session: int) -> None:
        """Ends a session now; its client is told at once, unless it is held back."""
        self.spread(self.state.close_session(session, time_ms=self._wall_ms))
        client = self._sessions.get(session)
        if client is not None and not client.is_held_back:
            client.learn()

    def client_of(self, session: int) -> "EmbeddedZooKeeper":
        return self._sessions[session]

    def znodes(self) -> Tree:
        """Everything as it is now, without ZooKeeper's own."""
        return {znode.path: znode for znode in all_znodes(self.state.tree)}

    # -- for the clients

    def open_session(self, client: "EmbeddedZooKeeper", timeout_ms: int) -> int:
        session = self._next_session
        self._next_session += 1
        self._sessions[session] = client
        granted = self.state.sessions.granted_timeout_ms(timeout_ms)
        opened = self.state.open_session(session, granted, b"", now_ms=self.now_ms, time_ms=self._wall_ms)
        self.spread(opened)
        return session

    def close_session(self, session: int) -> None:
        if self.lives(session):
            self.spread(self.state.close_session(session, time_ms=self._wall_ms))
        self._sessions.pop(session, None)

    def lives(self, session: int) -> bool:
        return session in self.state.sessions.sessions

    def write(self, session: int, op: Op) -> Committed[_Watch]:
        return self.spread(self.state.write(session, op, time_ms=self._wall_ms))

    def multi(self, session: int, ops: Sequence[Op]) -> Committed[_Watch]:
        return self.spread(self.state.multi(session, ops, time_ms=self._wall_ms))

    def spread(self, committed: Committed[_Watch]) -> Committed[_Watch]:
        """To everybody who watches, and to those who look at an older state."""
        zxid = committed.transaction.zxid
        for client in list(self._sessions.values()):
            client.heard_of(committed.transaction)
        for watch, event in committed.events:
            watch.session.deliver(zxid, watch.tell, event)
        return committed


class EmbeddedZooKeeper:
    """See `interface.ZooKeeper`. `hold_back`, `let_in` and `lag` are what can be done to it."""

    def __init__(self, server: EmbeddedServer, timeout_ms: int) -> None:
        self._server: Final = server
        self._timeout_ms: Final = timeout_ms
        self._state = SessionState.CONNECTED
        self._listeners: Final[list[Callable[[SessionState], None]]] = []
        self.is_held_back = False
        self._view: ServerState[_Watch] | None = None
        """The older state that this client looks at; None: the newest."""
        self._behind: Final[deque[Transaction]] = deque()
        self._late: Final[list[tuple[int, Watcher, WatchEvent]]] = []
        self._session = server.open_session(self, timeout_ms)

    # -- what can be done to it

    def hold_back(self) -> None:
        """Cut off from the ensemble: its calls fail, its watches are lost, its session lives for its timeout."""
        self.is_held_back = True
        self._drop_watches()
        self._become(SessionState.SUSPENDED)

    def let_in(self) -> None:
        """Connected again: in its session, or, if that is over, in a new one."""
        self.is_held_back = False
        self.learn()

    def lag(self) -> None:
        """From now on it looks at the tree as it is at this moment: until `sync`, a write of its own, or
        `catch_up`."""
        if self._view is None:
            current = self._server.state
            self._view = ServerState(copy_of(current.tree), last_zxid=current.last_zxid)

    def catch_up(self) -> None:
        """Sees all that happened, in its order: each event before what it tells of."""
        view, self._view = self._view, None
        if view is None:
            return
        while self._behind:
            transaction = self._behind.popleft()
            told = [(watch.tell, event) for watch, event in view.replay(transaction).events]
            told += [(tell, event) for zxid, tell, event in self._late if zxid == transaction.zxid]
            for tell, event in told:
                tell(event)
        self._late.clear()
        self._server.state.watches.take_from(view.watches)

    def close(self) -> None:
        """Ends the session; its ephemerals go."""
        self._drop_watches()
        self._server.close_session(self._session)
        self._become(SessionState.LOST)

    # -- the interface

    @property
    def session_id(self) -> int:
        return self._session

    @property
    def state(self) -> SessionState:
        return self._state

    def on_state(self, tell: Callable[[SessionState], None]) -> None:
        self._listeners.append(tell)

    async def get(self, path: str, watch: Watcher | None = None) -> Znode:
        return await self._do("get", (path,), lambda: self._seen.get(path, self._watch(watch)))

    async def exists(self, path: str, watch: Watcher | None = None) -> Stat | None:
        return await self._do("exists", (path,), lambda: self._seen.exists(path, self._watch(watch)))

    async def children(self, path: str, watch: Watcher | None = None) -> list[str]:
        return await self._do("children", (path,), lambda: self._children(path, self._watch(watch)))

    async def get_many(self, paths: Sequence[str]) -> list[Znode | None]:
        return [await self._do("get", (path,), partial(_or_none, self._seen_get, path)) for path in paths]

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        return [
            await self._do("children", (path,), partial(_or_none, self._children, path)) for path in paths
        ]

    async def create(
        self, path: str, data: bytes | None = None, *, ephemeral: bool = False, sequential: bool = False
    ) -> str:
        result = await self._write("create", Create(path, data, ephemeral, sequential))
        return _told(result, str)

    async def set(self, path: str, data: bytes | None, version: int = ANY_VERSION) -> Stat:
        return _told(await self._write("set", SetData(path, data, version)), Stat)

    async def delete(self, path: str, version: int = ANY_VERSION) -> None:
        await self._write("delete", Delete(path, version))

    async def multi(self, ops: Sequence[Op]) -> list[Result]:
        if not ops:
            await self._server.pause()
            return []

        def carry_out() -> list[Result]:
            done = self._server.multi(self._session, ops)
            return [result[0] if isinstance(result, tuple) else result for result in done.results]

        return await self._do("multi", tuple(op.path for op in ops), carry_out, _bytes_of(ops))

    async def sync(self, path: str = "/") -> None:
        await self._do("sync", (path,), self.catch_up)

    # -- for the server

    def heard_of(self, transaction: Transaction) -> None:
        if self._view is not None:
            self._behind.append(transaction)

    def deliver(self, zxid: int, tell: Watcher, event: WatchEvent) -> None:
        if self._view is None:
            tell(event)
        else:
            self._late.append((zxid, tell, event))

    def learn(self) -> None:
        """Hears from the ensemble again."""
        if self._server.lives(self._session):
            self._become(SessionState.CONNECTED)
            return
        self._drop_watches()
        self._become(SessionState.LOST)
        self._server.close_session(self._session)
        self._session = self._server.open_session(self, self._timeout_ms)
        self._become(SessionState.CONNECTED)

    # -- inside

    async def _do(self, name: str, paths: tuple[str, ...], carry_out: Callable[[], T], size: int = 0) -> T:
        server = self._server
        await server.pause()
        if self._state is not SessionState.CONNECTED:
            raise ZooKeeperError(ErrorCode.CONNECTION_LOSS, paths[0])
        call = Call(self._session, name, paths)
        # what is larger than a server takes costs the connection
        fault = Fault.LOSS_BEFORE if size > MAX_BYTES else server.fault(call)
        if fault in (Fault.LOSS_BEFORE, Fault.EXPIRY_BEFORE):
            self._break(fault, paths[0])
        try:
            result = carry_out()
            if call.writes:
                self.catch_up()
        except MultiFailed as e:  # a client knows the paths that it asked for, and no others
            raise MultiFailed(e.code, paths[e.index], e.index) from None
        except ZooKeeperError as e:
            raise ZooKeeperError(e.code, paths[0]) from None
        finally:
            if fault is not None:
                self._break(fault, paths[0])
        await server.pause()
        return result

    def _break(self, fault: Fault, path: str) -> None:
        if fault in (Fault.EXPIRY_BEFORE, Fault.EXPIRY_AFTER):
            self._server.expire(self._session)
            raise ZooKeeperError(ErrorCode.SESSION_EXPIRED, path) from None
        self._drop_watches()
        self._become(SessionState.SUSPENDED)
        self._become(SessionState.CONNECTED)
        raise ZooKeeperError(ErrorCode.CONNECTION_LOSS, path) from None

    async def _write(self, name: str, op: Op) -> Result:
        def carry_out() -> Result:
            result = self._server.write(self._session, op).results[0]
            return result[0] if isinstance(result, tuple) else result

        return await self._do(name, (op.path,), carry_out, _bytes_of([op]))

    @property
    def _seen(self) -> ServerState[_Watch]:
        return self._server.state if self._view is None else self._view

    def _seen_get(self, path: str) -> Znode:
        return self._seen.get(path)

    def _children(self, path: str, watch: _Watch | None = None) -> list[str]:
        names, _ = self._seen.children(path, watch)
        if self._server.shuffle is not None:
            self._server.shuffle.shuffle(names)
        return names

    def _watch(self, tell: Watcher | None) -> _Watch | None:
        return None if tell is None else _Watch(self, tell)

    def _drop_watches(self) -> None:
        """A new connection is with a server that is up to date, and that knows no watches of this client."""
        for table in (self._server.state.watches, self._seen.watches):
            table.forget_if(lambda watch: watch.session is self)
        self._late.clear()
        self._view = None
        self._behind.clear()

    def _become(self, state: SessionState) -> None:
        if state is not self._state:
            self._state = state
            for tell in list(self._listeners):
                tell(state)


def _bytes_of(ops: Sequence[Op]) -> int:
    """Of the request that says this, roughly."""
    return sum(
        _OVERHEAD_BYTES + len(op.path) + (len(op.data or b"") if isinstance(op, Create | SetData) else 0)
        for op in ops
    )


def _or_none(read: Callable[[str], T], path: str) -> T | None:
    try:
        return read(path)
    except ZooKeeperError as e:
        if e.code is ErrorCode.NO_NODE:
            return None
        raise


def _told(result: Result, kind: type[T]) -> T:
    if not isinstance(result, kind):
        raise TypeError(result)
    return result
