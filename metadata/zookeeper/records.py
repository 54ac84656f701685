"""Transactions, znodes and sessions as bytes, for journal and snapshot (pure)."""

import enum
from collections.abc import Iterator

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.zookeeper.jute import Reader, Writer
from quorate.metadata.zookeeper.session_table import Session
from quorate.metadata.zookeeper.transactions import (
    AclSet,
    Change,
    Checked,
    Created,
    DataSet,
    Deleted,
    SessionClosed,
    SessionOpened,
    Transaction,
)
from quorate.metadata.zookeeper.tree import Node


class _Mark(enum.IntEnum):
    """Which change follows. For ever: journals hold them."""

    CREATED = 1
    DELETED = 2
    DATA_SET = 3
    ACL_SET = 4
    CHECKED = 5
    SESSION_OPENED = 6
    SESSION_CLOSED = 7


def write_transaction(writer: Writer, transaction: Transaction) -> None:
    writer.i64(transaction.zxid).i64(transaction.time_ms).i64(transaction.session)
    writer.i32(len(transaction.changes))
    for change in transaction.changes:
        match change:
            case Created(path, data, acl, owner):
                writer.byte(_Mark.CREATED).text(path).buffer(data).acl(acl).i64(owner)
            case Deleted(path):
                writer.byte(_Mark.DELETED).text(path)
            case DataSet(path, data, version):
                writer.byte(_Mark.DATA_SET).text(path).buffer(data).i32(version)
            case AclSet(path, acl, version):
                writer.byte(_Mark.ACL_SET).text(path).acl(acl).i32(version)
            case Checked(path):
                writer.byte(_Mark.CHECKED).text(path)
            case SessionOpened(session, timeout_ms, password):
                writer.byte(_Mark.SESSION_OPENED).i64(session).i32(timeout_ms).buffer(password)
            case SessionClosed(session):
                writer.byte(_Mark.SESSION_CLOSED).i64(session)


def read_transaction(reader: Reader) -> Transaction:
    """
    Raises:
        RemoteProtocolError, InvariantViolated: it is none.
    """
    zxid, time_ms, session, count = reader.i64(), reader.i64(), reader.i64(), reader.i32()
    return Transaction(zxid, time_ms, session, tuple(_change(reader) for _ in range(count)))


def _change(reader: Reader) -> Change:
    match reader.byte():
        case _Mark.CREATED:
            return Created(reader.text(), reader.buffer(), reader.acl(), reader.i64())
        case _Mark.DELETED:
            return Deleted(reader.text())
        case _Mark.DATA_SET:
            return DataSet(reader.text(), reader.buffer(), reader.i32())
        case _Mark.ACL_SET:
            return AclSet(reader.text(), reader.acl(), reader.i32())
        case _Mark.CHECKED:
            return Checked(reader.text())
        case _Mark.SESSION_OPENED:
            return SessionOpened(reader.i64(), reader.i32(), reader.buffer() or b"")
        case _Mark.SESSION_CLOSED:
            return SessionClosed(reader.i64())
        case other:
            raise InvariantViolated(
                f"a change of kind {other} is not known: a newer version wrote this journal"
            )


def write_node(writer: Writer, path: str, node: Node) -> None:
    writer.text(path).buffer(node.data).acl(node.stored_acl).i64(node.owner)
    writer.i64(node.czxid).i64(node.mzxid).i64(node.pzxid).i64(node.ctime).i64(node.mtime)
    writer.i32(node.version).i32(node.aversion).i32(node.creates)


def read_nodes(reader: Reader) -> Iterator[tuple[str, Node]]:
    """To the end of what is read. Numbers that are equal become one object: it is most of what a tree weighs."""
    while not reader.at_end():
        path, data, acl, owner = reader.text(), reader.buffer(), reader.acl(), reader.i64()
        czxid, mzxid, pzxid, ctime, mtime = (reader.i64() for _ in range(5))
        node = Node(data, acl, owner, czxid, ctime)
        node.mzxid = czxid if mzxid == czxid else mzxid
        node.pzxid = czxid if pzxid == czxid else pzxid
        node.mtime = ctime if mtime == ctime else mtime
        node.version, node.aversion, node.creates = reader.i32(), reader.i32(), reader.i32()
        yield path, node


def write_session(writer: Writer, session: Session) -> None:
    writer.i64(session.id).i32(session.timeout_ms).buffer(session.password)


def read_sessions(reader: Reader) -> Iterator[tuple[int, int, bytes]]:
    """Number, timeout in milliseconds, password."""
    while not reader.at_end():
        yield reader.i64(), reader.i32(), reader.buffer() or b""
