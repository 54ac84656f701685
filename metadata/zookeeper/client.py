"""A session with a ZooKeeper through kazoo, for trio (shell).

kazoo has threads of its own. What it has to tell, replies, events and states, goes through one queue of one thread
into the event loop, so it arrives in the order in which the server said it. Nothing is retried: while the connection
is gone every call fails at once, and whoever called decides. Connecting again is kazoo's part, and so is the new
session after a lost one.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import trio
from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    ConnectionClosedError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
    ZookeeperError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.connection import PURESASL_AVAILABLE
from kazoo.protocol.serialization import (
    CheckVersion,
    GetChildren,
    GetData,
    MultiHeader,
    int_struct,
    read_buffer,
    stat_struct,
    write_string,
)
from kazoo.protocol.serialization import Create as KazooCreate
from kazoo.protocol.serialization import Delete as KazooDelete
from kazoo.protocol.serialization import SetData as KazooSetData
from kazoo.protocol.states import EventType as KazooEventType
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.retry import KazooRetry
from kazoo.security import ACL, Id

from quorate.metadata.zookeeper.acls import OPEN, Acl
from quorate.metadata.zookeeper.interface import ConnectSettings, Watcher
from quorate.metadata.zookeeper.znodes import (
    ANY_VERSION,
    Check,
    Create,
    Delete,
    ErrorCode,
    EventType,
    MultiFailed,
    Op,
    Result,
    SessionState,
    SetData,
    Stat,
    WatchEvent,
    Znode,
    ZooKeeperError,
)

_WINDOW: Final = 500
"""Reads in one request, or under way at once, in `get_many` and `children_many`."""
_STATES: Final = {
    KazooState.CONNECTED: SessionState.CONNECTED,
    KazooState.SUSPENDED: SessionState.SUSPENDED,
    KazooState.LOST: SessionState.LOST,
}
_EVENTS: Final = {
    KazooEventType.CREATED: EventType.CREATED,
    KazooEventType.DELETED: EventType.DELETED,
    KazooEventType.CHANGED: EventType.DATA_CHANGED,
    KazooEventType.CHILD: EventType.CHILDREN_CHANGED,
}
_UNKNOWN_SESSION: Final = -12

_logger = logging.getLogger("kazoo.client")
_logger.addHandler(logging.NullHandler())  # where nobody wants to hear them, its words go nowhere


class CannotConnect(Exception):
    """No session came about: what, why, what to do."""

    def __init__(self, what: str, *, why: str, remedy: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  what to do: {remedy}")
        self.what: Final = what
        self.why: Final = why
        self.remedy: Final = remedy


@contextlib.asynccontextmanager
async def connected(settings: ConnectSettings) -> AsyncIterator["KazooZooKeeper"]:
    """A session until the block is left; its ephemerals go then.

    Raises:
        CannotConnect: nobody answered in time, or this client is not let in.
    """
    session = KazooZooKeeper(settings)
    try:
        await session.start()
        yield session
    finally:
        with trio.CancelScope(shield=True):
            await session.close()


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo is not typed
    """Replies and events in one queue: with kazoo's own two, a reply can overtake the event that comes before it."""

    def dispatch_callback(self, callback: Any) -> None:
        self.completion_queue.put(partial(callback.func, *callback.args))


class _Transaction(TransactionRequest):  # type: ignore[misc]
    """kazoo's own, which also takes null data, as single writes do."""

    def add(self, op: Op, acl: list[ACL]) -> None:
        path = self.client.prefixed(op.path)
        match op:
            case Create(_, data, ephemeral, sequential):
                self._add(KazooCreate(path, data, acl, _flags(ephemeral, sequential)))
            case SetData(_, data, version):
                self._add(KazooSetData(path, data, version))
            case Delete(_, version):
                self._add(KazooDelete(path, version))
            case Check(_, version):
                self._add(CheckVersion(path, version))


class _Client(KazooClient):  # type: ignore[misc]
    def prefixed(self, path: str) -> str:
        """The whole path of one below the chroot, as it is: kazoo would mend some that are invalid."""
        return str(self.chroot) + path if path != "/" or not self.chroot else str(self.chroot)

    def call_async(self, request: Any) -> Any:
        """For a request that kazoo has no method for."""
        pending = self.handler.async_result()
        self._call(request, pending)
        return pending


class MultiRead(NamedTuple):
    """Reads of one kind, in one request (ZOOKEEPER-1416), as kazoo wants a request to be."""

    kind: int
    paths: list[str]

    @property
    def type(self) -> int:
        return 22

    def serialize(self) -> bytes:
        head = MultiHeader(self.kind, False, -1).serialize()
        parts = [head + write_string(path) + b"\0" for path in self.paths]
        return b"".join(parts) + bytes(MultiHeader(-1, True, -1).serialize())

    def deserialize(self, data: bytes, offset: int) -> list[Any]:
        """What kazoo gives for each, or the number of an error."""
        results: list[Any] = []
        header, offset = MultiHeader.deserialize(data, offset)
        while not header.done:
            if header.type == GetData.type:
                content, offset = read_buffer(data, offset)
                results.append((content, stat_struct.unpack_from(data, offset)))
                offset += stat_struct.size
            elif header.type == GetChildren.type:
                results.append(GetChildren.deserialize(data, offset))
                offset += 4 + sum(4 + len(name.encode()) for name in results[-1])
            else:
                results.append(int_struct.unpack_from(data, offset)[0])
                offset += int_struct.size
            header, offset = MultiHeader.deserialize(data, offset)
        return results


def _flags(ephemeral: bool, sequential: bool) -> int:
    return int(ephemeral) + 2 * int(sequential)


class KazooZooKeeper:
    """See `interface.ZooKeeper`; and `connected`, which makes one."""

    def __init__(self, settings: ConnectSettings) -> None:
        self._settings = settings
        self._token = trio.lowlevel.current_trio_token()
        self._listeners: list[Callable[[SessionState], None]] = []
        self._state = SessionState.LOST
        self._moved = trio.Event()
        self._multi_reads = True
        """Whether the ensemble is believed to know them."""
        self._handler = _Handler()
        self._acl = None if settings.acl is None else _kazoo_acl(settings.acl)
        self._client = _Client(
            hosts=settings.hosts,
            timeout=settings.session_timeout_ms / 1000,
            handler=self._handler,
            auth_data=None if settings.digest is None else [("digest", settings.digest)],
            sasl_options=None if settings.sasl is None else dict(settings.sasl),
            default_acl=self._acl,
            connection_retry=KazooRetry(
                max_tries=-1, delay=0.05, max_delay=1.0, sleep_func=self._handler.sleep_func
            ),
            use_ssl=settings.tls,
            ca=settings.ca_file,
            certfile=settings.cert_file,
            keyfile=settings.key_file,
            keyfile_password=settings.key_password,
            check_hostname=settings.tls and settings.verify_host,
            logger=_logger,
        )
        self._client.add_listener(self._on_kazoo_state)

    async def start(self) -> None:
        """Raises CannotConnect; `close` it all the same."""
        timeout_s = self._settings.connect_timeout_ms / 1000
        if self._settings.sasl is not None and not PURESASL_AVAILABLE:
            await trio.lowlevel.checkpoint()
            raise CannotConnect(
                f"No ZooKeeper session at {self._settings.hosts}.",
                why="a SASL login is configured, and the package pure-sasl is not installed",
                remedy="install it: pip install pure-sasl",
            )
        self._client.start_async()
        with trio.move_on_after(timeout_s):
            await self._let_in()
            return
        raise CannotConnect(
            f"No ZooKeeper session at {self._settings.hosts}.",
            why=f"nobody answered within {self._settings.connect_timeout_ms} ms",
            remedy="check the addresses, that the servers run, and what they ask for: TLS, or a login",
        )

    async def _let_in(self) -> None:
        """Until there is a session that may be used. kazoo says that it is connected before it has logged in."""
        while True:
            moved = self._moved = trio.Event()
            if self._client.client_state == KeeperState.AUTH_FAILED:
                raise CannotConnect(
                    f"No ZooKeeper session at {self._settings.hosts}.",
                    why="this login is not accepted there",
                    remedy="check user, password and mechanism",
                )
            if self._state is SessionState.CONNECTED:
                if self._settings.sasl is None:
                    return
                with contextlib.suppress(ZooKeeperError):
                    await self.exists("/")
                    return
            await moved.wait()

    async def close(self) -> None:
        await trio.to_thread.run_sync(self._stop)

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    # -- the interface

    @property
    def session_id(self) -> int:
        return self.session[0]

    @property
    def session(self) -> tuple[int, bytes]:
        """Number and password: with both, another client can go on with the session, or end it."""
        session = self._client.client_id
        return (0, b"") if session is None or session[0] is None else (int(session[0]), bytes(session[1]))

    @property
    def state(self) -> SessionState:
        return self._state

    def on_state(self, tell: Callable[[SessionState], None]) -> None:
        self._listeners.append(tell)

    async def get(self, path: str, watch: Watcher | None = None) -> Znode:
        data, stat = await self._call(path, self._client.get_async, path, self._watcher(watch))
        return Znode(path, data, Stat(*stat))

    async def exists(self, path: str, watch: Watcher | None = None) -> Stat | None:
        stat = await self._call(path, self._client.exists_async, path, self._watcher(watch))
        return None if stat is None else Stat(*stat)

    async def children(self, path: str, watch: Watcher | None = None) -> list[str]:
        names: list[str] = await self._call(path, self._client.get_children_async, path, self._watcher(watch))
        return names

    async def get_many(self, paths: Sequence[str]) -> list[Znode | None]:
        found = await self._many(GetData.type, self._client.get_async, paths)
        return [
            None if got is None else Znode(path, got[0], Stat(*got[1]))
            for path, got in zip(paths, found, strict=True)
        ]

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        return await self._many(GetChildren.type, self._client.get_children_async, paths)

    async def create(
        self, path: str, data: bytes | None = None, *, ephemeral: bool = False, sequential: bool = False
    ) -> str:
        made: str = await self._call(
            path,
            self._client.create_async,
            path,
            data,
            self._acl,
            ephemeral=ephemeral,
            sequence=sequential,
        )
        return made

    async def set(self, path: str, data: bytes | None, version: int = ANY_VERSION) -> Stat:
        return Stat(*await self._call(path, self._client.set_async, path, data, version))

    async def delete(self, path: str, version: int = ANY_VERSION) -> None:
        await self._call(path, self._client.delete_async, path, version)

    async def multi(self, ops: Sequence[Op]) -> list[Result]:
        if not ops:
            await trio.lowlevel.checkpoint()
            return []
        transaction = _Transaction(self._client)
        for op in ops:
            transaction.add(op, self._acl_of(op) if isinstance(op, Create) else [])
        results = await self._call("", transaction.commit_async)
        return [self._result(op, result) for op, result in zip(ops, _inspected(ops, results), strict=True)]

    async def sync(self, path: str = "/") -> None:
        await self._call(path, self._client.sync_async, path)

    def _acl_of(self, op: Create) -> list[ACL]:
        """Where an op says nothing of its own, the connection's settings do."""
        return self._acl if op.acl is OPEN and self._acl is not None else _kazoo_acl(op.acl)

    # -- from kazoo's threads to the event loop

    async def _call(self, path: str, start: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Raises:
            ZooKeeperError
        """
        if self._state is not SessionState.CONNECTED:
            await trio.lowlevel.checkpoint()
            raise ZooKeeperError(ErrorCode.CONNECTION_LOSS, path)
        ended = trio.Event()
        with _translated(path):
            pending = start(*args, **kwargs)
        pending.rawlink(partial(self._tell, ended.set))
        await ended.wait()
        with _translated(path):
            return pending.get_nowait()

    async def _many(self, kind: int, start: Callable[[str], Any], paths: Sequence[str]) -> list[Any]:
        """In order; None for each that is not there. In one request for many where the ensemble knows that (since
        3.6), else one by one, many under way."""
        found: list[Any] = []
        for first in range(0, len(paths), _WINDOW):
            window = paths[first : first + _WINDOW]
            if self._multi_reads:
                try:
                    found += await self._at_once(kind, window)
                    continue
                except ZooKeeperError as e:
                    if e.code is not ErrorCode.UNIMPLEMENTED:
                        raise
                    self._multi_reads = False
            found += await self._side_by_side(start, window)
        return found

    async def _at_once(self, kind: int, paths: Sequence[str]) -> list[Any]:
        request = MultiRead(kind, [self._client.prefixed(path) for path in paths])
        found: list[Any] = []
        results = await self._call(paths[0], self._client.call_async, request)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, int) and result != ErrorCode.NO_NODE:
                raise ZooKeeperError(_known(result), path)
            found.append(None if isinstance(result, int) else result)
        return found

    async def _side_by_side(self, start: Callable[[str], Any], paths: Sequence[str]) -> list[Any]:
        if self._state is not SessionState.CONNECTED:
            raise ZooKeeperError(ErrorCode.CONNECTION_LOSS, paths[0])
        ended = trio.Event()
        pending = []
        for path in paths:
            with _translated(path):
                pending.append(start(path))
        # the replies come in the order of the requests: the last one says that all are there
        pending[-1].rawlink(partial(self._tell, ended.set))
        await ended.wait()
        found: list[Any] = []
        for path, one in zip(paths, pending, strict=True):
            try:
                with _translated(path):
                    found.append(one.get_nowait())
            except ZooKeeperError as e:
                if e.code is not ErrorCode.NO_NODE:
                    raise
                found.append(None)
        return found

    def _watcher(self, watch: Watcher | None) -> Callable[[Any], None] | None:
        if watch is None:
            return None

        def told(event: Any) -> None:
            kind = _EVENTS.get(event.type)
            if kind is not None:  # NONE tells that the connection is lost, and with it the watch
                self._tell(partial(watch, WatchEvent(kind, event.path)))

        return told

    def _on_kazoo_state(self, state: Any) -> None:
        """In kazoo's connection thread; goes through the same queue as all else."""
        tell = partial(self._tell, partial(self._changed, _STATES[state]))
        if self._handler.running:
            self._handler.completion_queue.put(tell)
        else:
            tell()

    def _tell(self, what: Callable[[], None], *_: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(what)

    def _changed(self, state: SessionState) -> None:
        if state is not self._state:
            self._state = state
            self._moved.set()
            for tell in list(self._listeners):
                tell(state)

    def _result(self, op: Op, result: Any) -> Result:
        match op:
            case Create():
                return str(self._client.unchroot(result))
            case SetData():
                return Stat(*result)
            case _:
                return None


def _kazoo_acl(acl: tuple[Acl, ...]) -> list[ACL]:
    return [ACL(a.permissions, Id(a.scheme, a.id)) for a in acl]


def _inspected(ops: Sequence[Op], results: list[Any]) -> list[Any]:
    """kazoo gives errors as results and raises nothing.

    Raises:
        MultiFailed
    """
    for index, result in enumerate(results):
        if isinstance(result, Exception) and not isinstance(result, RolledBackError | RuntimeInconsistency):
            raise MultiFailed(_code(result), ops[index].path, index)
    if any(isinstance(result, Exception) for result in results):
        raise MultiFailed(ErrorCode.RUNTIME_INCONSISTENCY, ops[0].path, 0)
    return results


@contextlib.contextmanager
def _translated(path: str) -> Any:
    try:
        yield
    except KazooTimeoutError:
        raise ZooKeeperError(ErrorCode.OPERATION_TIMEOUT, path) from None
    except (ZookeeperError, NoNodeError) as e:
        raise ZooKeeperError(_code(e), path) from None
    except ValueError:  # kazoo's own look at a path
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path) from None


def _code(error: Exception) -> ErrorCode:
    code = getattr(error, "code", 0)
    if isinstance(error, ConnectionClosedError) or code == _UNKNOWN_SESSION:
        return ErrorCode.SESSION_EXPIRED
    return _known(code)


def _known(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.RUNTIME_INCONSISTENCY
