"""Znodes, what can be done to them and what can go wrong, as values (pure).

Shared by the embedded tree, the server, the client and everything that reads or writes Kafka's metadata in
ZooKeeper. Null data and empty data are different things, here as in ZooKeeper: Kafka reads one as absent and
stumbles over the other.
"""

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.zookeeper.acls import OPEN, Acl

ANY_VERSION: Final = -1


@attrs.frozen
class Stat:
    """What ZooKeeper keeps of a znode beside its data; fields in the order of its wire form."""

    czxid: int
    """Of the transaction that created it; Kafka's broker epoch in ZooKeeper mode."""
    mzxid: int
    """Of the last change to its data."""
    ctime: int
    """Milliseconds since 1970."""
    mtime: int
    version: int
    """How often its data was set since it was created; Kafka's partition epoch is this."""
    cversion: int
    """How often its list of children changed."""
    aversion: int
    ephemeral_owner: int
    """The session whose end removes it; 0: persistent."""
    data_length: int
    num_children: int
    pzxid: int
    """Of the last change to its list of children."""


@attrs.frozen
class Znode:
    path: str
    data: bytes | None
    stat: Stat


Tree = Mapping[str, Znode]
"""A whole tree at one moment, by absolute path; what a dump is read into, and what a live ensemble is read into."""


@attrs.frozen
class Create:
    path: str
    data: bytes | None = None
    ephemeral: bool = False
    sequential: bool = False
    acl: tuple[Acl, ...] = OPEN


@attrs.frozen
class SetData:
    path: str
    data: bytes | None
    version: int = ANY_VERSION


@attrs.frozen
class Delete:
    path: str
    version: int = ANY_VERSION


@attrs.frozen
class Check:
    path: str
    version: int


Op = Create | SetData | Delete | Check
"""A step of a multi; all of a multi happens, or nothing of it."""

Result = str | Stat | None
"""What an op gives: the path that Create made, the Stat after SetData, nothing for Delete and Check."""


class ErrorCode(enum.IntEnum):
    """ZooKeeper's numbers (KeeperException.Code)."""

    OK = 0
    RUNTIME_INCONSISTENCY = -2
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    REQUEST_TIMEOUT = -122
    QUOTA_EXCEEDED = -125
    THROTTLED = -127


class ZooKeeperError(Exception):
    """An operation that ZooKeeper refused, or whose outcome is unknown (CONNECTION_LOSS, OPERATION_TIMEOUT)."""

    def __init__(self, code: ErrorCode, path: str = "") -> None:
        super().__init__(f"{code.name} {path}".rstrip())
        self.code: Final = code
        self.path: Final = path

    @property
    def outcome_unknown(self) -> bool:
        """Whether the operation may have been carried out all the same."""
        return self.code in (
            ErrorCode.CONNECTION_LOSS,
            ErrorCode.OPERATION_TIMEOUT,
            ErrorCode.REQUEST_TIMEOUT,
            ErrorCode.SESSION_EXPIRED,
        )


class MultiFailed(ZooKeeperError):
    """A multi of which nothing was done; `code` and `path` are those of the op that failed, `index` is its place."""

    def __init__(self, code: ErrorCode, path: str, index: int) -> None:
        super().__init__(code, path)
        self.index: Final = index


class EventType(enum.IntEnum):
    """ZooKeeper's numbers (Watcher.Event.EventType)."""

    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4


@attrs.frozen
class WatchEvent:
    """Fired once for each watch that was set."""

    type: EventType
    path: str


class SessionState(enum.Enum):
    """What a client knows of its session."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    """The connection is gone, the session may live: whoever leads stops, its ephemerals are still there."""
    LOST = "lost"
    """The session is over and its ephemerals are gone."""
