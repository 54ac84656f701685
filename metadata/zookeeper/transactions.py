"""What a committed write did, as values: the journal holds these, and replaying them makes the tree (pure).

Everything that was decided is in them: names with their numbers, versions, owners. So replaying needs no rules, and
gives the same tree wherever it is done.
"""

import attrs

from quorate.metadata.zookeeper.acls import Acl


@attrs.frozen
class Created:
    path: str
    data: bytes | None
    acl: tuple[Acl, ...]
    owner: int
    """The session whose end removes it; 0: persistent."""


@attrs.frozen
class Deleted:
    path: str


@attrs.frozen
class DataSet:
    path: str
    data: bytes | None
    version: int
    """The new one."""


@attrs.frozen
class AclSet:
    path: str
    acl: tuple[Acl, ...]
    version: int
    """The new one."""


@attrs.frozen
class Checked:
    """A condition that held; changes nothing."""

    path: str


@attrs.frozen
class SessionOpened:
    session: int
    timeout_ms: int
    password: bytes


@attrs.frozen
class SessionClosed:
    """By its client or because it expired. The Deleted of its ephemerals stand before it."""

    session: int


Change = Created | Deleted | DataSet | AclSet | Checked | SessionOpened | SessionClosed


@attrs.frozen
class Transaction:
    """All of it or nothing."""

    zxid: int
    time_ms: int
    """Milliseconds since 1970: the ctime and mtime of what it touches."""
    session: int
    """Who asked for it; 0: nobody."""
    changes: tuple[Change, ...]
