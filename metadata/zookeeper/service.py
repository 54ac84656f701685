"""What the server answers: requests of its clients in, replies and events out, in the order in which they may leave
(pure).

Everything that goes out carries the zxid that it rests on. A reply may show a write of somebody else that is not on
disk yet, so reads wait for the disk too: nobody ever sees what a crash could take back. Since zxids only grow, one
queue for all clients is in the right order for each of them.
"""

import hmac
from collections import deque
from typing import Any, Final

import attrs

from quorate.metadata.zookeeper import messages
from quorate.metadata.zookeeper.acls import Identity, digest_identity
from quorate.metadata.zookeeper.draft import SetAcl
from quorate.metadata.zookeeper.messages import (
    AUTH_XID,
    PING_XID,
    Auth,
    Connect,
    Kind,
    Multi,
    MultiRead,
    Read,
    Request,
    SetWatches,
    Unreadable,
)
from quorate.metadata.zookeeper.state import Committed, ServerState
from quorate.metadata.zookeeper.transactions import Transaction
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    SetData,
    Znode,
    ZooKeeperError,
)


@attrs.define(eq=False)
class Client:
    """A connection, seen from what it asks."""

    address: str
    identities: tuple[Identity, ...]
    session: int = 0
    """0: it has none yet, or no longer."""
    received: int = 0
    sent: int = 0
    waiting: int = 0
    """What is meant for it and may not leave yet."""


@attrs.frozen
class Outgoing:
    """Leaves when everything up to `zxid` is on disk."""

    client: Client
    data: bytes
    zxid: int
    closes: bool = False
    """Whether the connection ends after it."""


class ZooKeeperService:
    """Writes are in `transactions` and all that is said is in `outgoing` until the caller takes it from there."""

    def __init__(self, state: ServerState[Any]) -> None:
        self.state: Final[ServerState[Client]] = state
        self.transactions: Final[deque[Transaction]] = deque()
        self.outgoing: Final[deque[Outgoing]] = deque()
        self._clients: Final[dict[int, Client]] = {}
        """The one connection of each session that has one."""

    # -- connections

    def connect(
        self, client: Client, wish: Connect, *, session: int, password: bytes, now_ms: int, time_ms: int
    ) -> bool:
        """`session` and `password` are for a new session. False: close the connection without a word, since this
        client has seen a newer state than there is here, and would go back in time."""
        state = self.state
        if wish.last_zxid > state.last_zxid:
            return False
        timeout_ms = state.sessions.granted_timeout_ms(wish.timeout_ms)
        if wish.session:
            known = state.sessions.sessions.get(wish.session)
            if known is None or not hmac.compare_digest(known.password, wish.password):
                self._say(client, _connected(wish, 0, 0, bytes(messages.PASSWORD_BYTES)), closes=True)
                return True
            self._take_over(wish.session)
            session, password, known.timeout_ms = known.id, known.password, timeout_ms
            state.sessions.touch(session, now_ms)
        else:
            self._done(state.open_session(session, timeout_ms, password, now_ms=now_ms, time_ms=time_ms))
        client.session = session
        self._clients[session] = client
        self._say(client, _connected(wish, timeout_ms, session, password))
        return True

    def disconnected(self, client: Client) -> None:
        """The session lives on, its watches do not: they were the connection's."""
        self.state.watches.forget(client)
        if self._clients.get(client.session) is client:
            del self._clients[client.session]
        client.session = 0

    def expire(self, *, now_ms: int, time_ms: int) -> list[int]:
        """Ends the sessions whose time is over, with their connections."""
        ended = self.state.expire(now_ms=now_ms, time_ms=time_ms)
        for committed in ended:
            self._done(committed)
            if (client := self._clients.get(committed.transaction.session)) is not None:
                self._say(client, b"", closes=True)
                self.disconnected(client)
        return [committed.transaction.session for committed in ended]

    def _take_over(self, session: int) -> None:
        if (former := self._clients.get(session)) is not None:
            self._say(former, b"", closes=True)
            self.disconnected(former)

    # -- requests

    def handle(self, client: Client, data: bytes, *, now_ms: int, time_ms: int) -> None:
        """
        Raises:
            RemoteProtocolError: it is no request at all; the connection is to be closed.
        """
        client.received += 1
        state = self.state
        try:
            request = messages.read_request(data)
        except Unreadable as e:
            self._say(client, messages.write_error(e.xid, state.last_zxid, e.code))
            return
        state.sessions.touch(client.session, now_ms)
        try:
            self._answer(client, request, time_ms)
        except MultiFailed as e:
            count = len(request.body.ops) if isinstance(request.body, Multi) else 0
            self._say(client, messages.write_multi_failed(request.xid, state.last_zxid, count, e))
        except ZooKeeperError as e:
            self._say(client, messages.write_error(request.xid, state.last_zxid, e.code))

    def _answer(self, client: Client, request: Request, time_ms: int) -> None:
        state, xid = self.state, request.xid
        if request.kind not in (Kind.AUTH, Kind.CLOSE):
            state.demand_session(client.session)
        match request.body:
            case Read():
                self._say(client, self._read(client, request.kind, xid, request.body))
            case Create() | Delete() | SetData() | Check() | SetAcl():
                done = state.write(
                    client.session, request.body, time_ms=time_ms, identities=client.identities
                )
                self._done(done)
                self._say(client, messages.write_written(xid, state.last_zxid, request.kind, done.results[0]))
            case Multi(ops, kinds):
                done = state.multi(client.session, ops, time_ms=time_ms, identities=client.identities)
                self._done(done)
                self._say(client, messages.write_multi(xid, state.last_zxid, kinds, done.results))
            case MultiRead(reads):
                results = [self._read_one(client, kind, path) for kind, path in reads]
                self._say(client, messages.write_multi_read(xid, state.last_zxid, results))
            case Auth():
                self._authenticate(client, request.body)
            case SetWatches(zxid, data, exist, child):
                for event in state.set_watches(zxid, data, exist, child, client):
                    self._say(client, messages.write_event(event))
                self._say(client, messages.write_ok(xid, state.last_zxid))
            case str(path) if request.kind is Kind.GET_ACL:
                acl, stat = state.acl(path, client.identities)
                self._say(client, messages.write_acl(xid, state.last_zxid, acl, stat))
            case str(path):  # sync: there is one server, and it never lags behind itself
                self._say(client, messages.write_path(xid, state.last_zxid, path))
            case None if request.kind is Kind.PING:
                self._say(client, messages.write_ok(PING_XID, state.last_zxid))
            case None:
                self._close(client, xid, time_ms)

    def _read(self, client: Client, kind: Kind, xid: int, read: Read) -> bytes:
        state = self.state
        watcher = client if read.watch else None
        if kind is Kind.GET_DATA:
            znode = state.get(read.path, watcher, client.identities)
            return messages.write_data(xid, state.last_zxid, znode)
        if kind is Kind.EXISTS:
            stat = state.exists(read.path, watcher, client.identities)
            if stat is None:
                raise ZooKeeperError(ErrorCode.NO_NODE, read.path)
            return messages.write_stat(xid, state.last_zxid, stat)
        names, node = state.children(read.path, watcher, client.identities)
        told = node.stat() if kind is Kind.GET_CHILDREN_2 else None
        return messages.write_children(xid, state.last_zxid, names, told)

    def _read_one(self, client: Client, kind: Kind, path: str) -> Znode | list[str] | ErrorCode:
        try:
            if kind is Kind.GET_DATA:
                return self.state.get(path, None, client.identities)
            return self.state.children(path, None, client.identities)[0]
        except ZooKeeperError as e:
            return e.code

    def _authenticate(self, client: Client, auth: Auth) -> None:
        """`digest` is always believed: it is who knows the password that an ACL names. `ip` is known already."""
        identity = digest_identity(auth.credential) if auth.scheme == "digest" else None
        if identity is None and auth.scheme != "ip":
            self._say(client, messages.write_error(AUTH_XID, 0, ErrorCode.AUTH_FAILED), closes=True)
            return
        if identity is not None and identity not in client.identities:
            client.identities = (*client.identities, identity)
        self._say(client, messages.write_ok(AUTH_XID, 0))

    def _close(self, client: Client, xid: int, time_ms: int) -> None:
        if client.session in self.state.sessions.sessions:
            self._done(self.state.close_session(client.session, time_ms=time_ms))
        self._say(client, messages.write_ok(xid, self.state.last_zxid), closes=True)
        self.disconnected(client)

    def _done(self, committed: Committed[Client]) -> None:
        """Events come before the reply to the write, and before every reply that shows the new state."""
        self.transactions.append(committed.transaction)
        for client, event in committed.events:
            self._say(client, messages.write_event(event))

    def _say(self, client: Client, data: bytes, *, closes: bool = False) -> None:
        client.waiting += 1
        self.outgoing.append(Outgoing(client, data, self.state.last_zxid, closes))


def _connected(wish: Connect, timeout_ms: int, session: int, password: bytes) -> bytes:
    return messages.write_connected(timeout_ms, session, password, has_read_only=wish.has_read_only)
