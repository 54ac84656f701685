"""ZooKeeper's requests, read; its replies, written (pure). Numbers are those of ZooDefs.OpCode.

A message on the wire is its length and its bytes. The first one of a connection is the connect request, without a
header; all others begin with the client's number for the request (xid) and what it is (type).
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.zookeeper.acls import Acl
from quorate.metadata.zookeeper.draft import SetAcl, Write
from quorate.metadata.zookeeper.jute import Reader, Writer
from quorate.metadata.zookeeper.tree import Applied
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    SetData,
    Stat,
    WatchEvent,
    Znode,
    ZooKeeperError,
)

MAX_BYTES: Final = 0xFFFFF
"""Of one request, as ZooKeeper has it (jute.maxbuffer); a client that sends more loses its connection."""
WATCH_XID: Final = -1
PING_XID: Final = -2
AUTH_XID: Final = -4
PASSWORD_BYTES: Final = 16
_SYNC_CONNECTED: Final = 3
"""KeeperState, the state that every watch event comes with."""
_EPHEMERAL: Final = 1
_SEQUENTIAL: Final = 2


class Kind(enum.IntEnum):
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN_2 = 12
    CHECK = 13
    MULTI = 14
    CREATE_2 = 15
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    CLOSE = -11


_ERROR: Final = -1
"""The type of a result in a multi that failed, and of its end."""


@attrs.frozen
class Connect:
    """Opens a session, or goes on with one."""

    last_zxid: int
    """The newest that the client has seen: it must never see an older state."""
    timeout_ms: int
    session: int
    """0: a new one."""
    password: bytes
    has_read_only: bool
    """Whether the client knows of read-only servers, as those since 3.4 do: the reply has that field then."""


@attrs.frozen
class Read:
    path: str
    watch: bool


@attrs.frozen
class Auth:
    scheme: str
    credential: bytes


@attrs.frozen
class SetWatches:
    zxid: int
    data: list[str]
    exist: list[str]
    child: list[str]


@attrs.frozen
class Multi:
    ops: list[Write]
    kinds: list[Kind]
    """What each was sent as: create and create2 are answered differently."""


@attrs.frozen
class MultiRead:
    """Many reads in one request, without watches (ZOOKEEPER-1416); each is answered for itself."""

    reads: list[tuple[Kind, str]]


Body = Write | Read | Multi | MultiRead | Auth | SetWatches | str | None
"""What a request asks: `str` is the path of sync and getACL; None has nothing to say: ping and close."""


@attrs.frozen
class Request:
    xid: int
    kind: Kind
    body: Body


def read_connect(data: bytes) -> Connect:
    """
    Raises:
        RemoteProtocolError: it is no connect request.
    """
    reader = Reader(data)
    reader.i32()  # the protocol's version, 0 for ever
    zxid, timeout_ms, session, password = reader.i64(), reader.i32(), reader.i64(), reader.buffer()
    has_read_only = not reader.at_end()
    return Connect(zxid, timeout_ms, session, password or b"", has_read_only)


def write_connected(timeout_ms: int, session: int, password: bytes, *, has_read_only: bool) -> bytes:
    """`timeout_ms` 0: the session has expired, or the password is wrong."""
    writer = Writer().i32(0).i32(timeout_ms).i64(session).buffer(password)
    return framed(writer.flag(False) if has_read_only else writer)


class Unreadable(Exception):
    """A request whose header could be read and whose rest could not be."""

    def __init__(self, xid: int, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.xid: Final = xid
        self.code: Final = code


def read_request(data: bytes) -> Request:
    """
    Raises:
        RemoteProtocolError: it has no header.
        Unreadable: it has a header; the client is told the code.
    """
    reader = Reader(data)
    xid, number = reader.i32(), reader.i32()
    try:
        kind = Kind(number)
    except ValueError:
        raise Unreadable(
            xid, ErrorCode.UNIMPLEMENTED, f"requests of type {number} are not known here"
        ) from None
    try:
        return Request(xid, kind, _body(kind, reader))
    except RemoteProtocolError as e:
        raise Unreadable(xid, ErrorCode.MARSHALLING_ERROR, f"{kind.name}: {e}") from None
    except ZooKeeperError as e:
        raise Unreadable(xid, e.code, f"{kind.name}: {e}") from None


def _body(kind: Kind, reader: Reader) -> Body:
    match kind:
        case Kind.EXISTS | Kind.GET_DATA | Kind.GET_CHILDREN | Kind.GET_CHILDREN_2:
            return Read(reader.text(), reader.flag())
        case Kind.SYNC | Kind.GET_ACL:
            return reader.text()
        case Kind.PING | Kind.CLOSE:
            return None
        case Kind.MULTI:
            return _multi(reader)
        case Kind.MULTI_READ:
            return _multi_read(reader)
        case Kind.AUTH:
            reader.i32()  # a type that nobody uses
            return Auth(reader.text(), reader.buffer() or b"")
        case Kind.SET_WATCHES:
            return SetWatches(reader.i64(), reader.texts(), reader.texts(), reader.texts())
        case _:
            return _write(kind, reader)


def _write(kind: Kind, reader: Reader) -> Write:
    match kind:
        case Kind.CREATE | Kind.CREATE_2:
            path, data, acl, flags = reader.text(), reader.buffer(), reader.acl(), reader.i32()
            if flags not in range(4):
                code = ErrorCode.UNIMPLEMENTED if flags in (4, 5, 6) else ErrorCode.BAD_ARGUMENTS
                raise ZooKeeperError(code, path)
            return Create(path, data, bool(flags & _EPHEMERAL), bool(flags & _SEQUENTIAL), acl)
        case Kind.DELETE:
            return Delete(reader.text(), reader.i32())
        case Kind.SET_DATA:
            return SetData(reader.text(), reader.buffer(), reader.i32())
        case Kind.CHECK:
            return Check(reader.text(), reader.i32())
        case Kind.SET_ACL:
            return SetAcl(reader.text(), reader.acl(), reader.i32())
        case _:
            raise RemoteProtocolError(f"{kind.name} is no write")


def _multi(reader: Reader) -> Multi:
    ops: list[Write] = []
    kinds: list[Kind] = []
    while True:
        number, done, _ = reader.i32(), reader.flag(), reader.i32()
        if done:
            return Multi(ops, kinds)
        if number not in (Kind.CREATE, Kind.CREATE_2, Kind.DELETE, Kind.SET_DATA, Kind.CHECK):
            raise ZooKeeperError(ErrorCode.UNIMPLEMENTED)
        kinds.append(Kind(number))
        ops.append(_write(kinds[-1], reader))


def _multi_read(reader: Reader) -> MultiRead:
    reads: list[tuple[Kind, str]] = []
    while True:
        number, done, _ = reader.i32(), reader.flag(), reader.i32()
        if done:
            return MultiRead(reads)
        if number not in (Kind.GET_DATA, Kind.GET_CHILDREN):
            raise ZooKeeperError(ErrorCode.UNIMPLEMENTED)
        reads.append((Kind(number), reader.text()))
        reader.flag()  # a watch, which ZooKeeper does not set here either


# -- replies


def framed(body: Writer) -> bytes:
    data = body.done()
    return len(data).to_bytes(4, "big") + data


def _reply(xid: int, zxid: int, code: int = 0) -> Writer:
    return Writer().i32(xid).i64(zxid).i32(code)


def write_ok(xid: int, zxid: int) -> bytes:
    return framed(_reply(xid, zxid))


def write_error(xid: int, zxid: int, code: ErrorCode) -> bytes:
    return framed(_reply(xid, zxid, code))


def write_written(xid: int, zxid: int, kind: Kind, result: Applied) -> bytes:
    return framed(_result(_reply(xid, zxid), kind, result))


def write_multi(xid: int, zxid: int, kinds: Sequence[Kind], results: Iterable[Applied]) -> bytes:
    writer = _reply(xid, zxid)
    for kind, result in zip(kinds, results, strict=True):
        _result(writer.i32(kind).flag(False).i32(0), kind, result)
    return framed(writer.i32(_ERROR).flag(True).i32(_ERROR))


def write_multi_failed(xid: int, zxid: int, count: int, failed: MultiFailed) -> bytes:
    """What came before the failed op was rolled back (0), what came after it was never tried."""
    writer = _reply(xid, zxid)
    for index in range(count):
        code = ErrorCode.OK if index < failed.index else ErrorCode.RUNTIME_INCONSISTENCY
        code = failed.code if index == failed.index else code
        writer.i32(_ERROR).flag(False).i32(code).i32(code)
    return framed(writer.i32(_ERROR).flag(True).i32(_ERROR))


def _result(writer: Writer, kind: Kind, result: Applied) -> Writer:
    match result:
        case (str(path), Stat() as stat):
            writer.text(path)
            return writer.stat(stat) if kind is Kind.CREATE_2 else writer
        case Stat():
            return writer.stat(result)
        case _:
            return writer


def write_data(xid: int, zxid: int, znode: Znode) -> bytes:
    return framed(_reply(xid, zxid).buffer(znode.data).stat(znode.stat))


def write_multi_read(xid: int, zxid: int, results: Iterable[Znode | list[str] | ErrorCode]) -> bytes:
    writer = _reply(xid, zxid)
    for result in results:
        match result:
            case Znode():
                writer.i32(Kind.GET_DATA).flag(False).i32(0).buffer(result.data).stat(result.stat)
            case ErrorCode():
                writer.i32(_ERROR).flag(False).i32(result).i32(result)
            case list():
                writer.i32(Kind.GET_CHILDREN).flag(False).i32(0).texts(result)
    return framed(writer.i32(_ERROR).flag(True).i32(_ERROR))


def write_stat(xid: int, zxid: int, stat: Stat) -> bytes:
    return framed(_reply(xid, zxid).stat(stat))


def write_children(xid: int, zxid: int, names: list[str], stat: Stat | None) -> bytes:
    writer = _reply(xid, zxid).texts(names)
    return framed(writer if stat is None else writer.stat(stat))


def write_acl(xid: int, zxid: int, acl: tuple[Acl, ...], stat: Stat) -> bytes:
    return framed(_reply(xid, zxid).acl(acl).stat(stat))


def write_path(xid: int, zxid: int, path: str) -> bytes:
    return framed(_reply(xid, zxid).text(path))


def write_event(event: WatchEvent) -> bytes:
    return framed(_reply(WATCH_XID, -1).i32(event.type).i32(_SYNC_CONNECTED).text(event.path))
