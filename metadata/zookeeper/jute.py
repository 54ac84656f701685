"""Jute, the encoding of ZooKeeper's messages: big-endian numbers, strings and buffers with their length (pure).

A length of -1 is null. Also the encoding of this server's journal and snapshots.
"""

import struct
from typing import Final

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.zookeeper.acls import OPEN, Acl
from quorate.metadata.zookeeper.znodes import Stat

_INT: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!q")
_STAT: Final = struct.Struct("!qqqqiiiqiiq")
_NULL: Final = _INT.pack(-1)
_OPEN_ACL: Final = _INT.pack(1) + _INT.pack(31) + _INT.pack(5) + b"world" + _INT.pack(6) + b"anyone"


class Reader:
    """Over one message.

    Raises:
        RemoteProtocolError: the message ends too early, or is no text where text must be.
    """

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._position = position

    def _take(self, size: int) -> int:
        at = self._position
        if size < 0 or at + size > len(self._data):
            raise RemoteProtocolError(
                f"a message of {len(self._data)} bytes ends before its byte {at + size}"
            )
        self._position = at + size
        return at

    def at_end(self) -> bool:
        return self._position == len(self._data)

    def byte(self) -> int:
        return self._data[self._take(1)]

    def flag(self) -> bool:
        return self.byte() != 0

    def i32(self) -> int:
        number: int = _INT.unpack_from(self._data, self._take(4))[0]
        return number

    def i64(self) -> int:
        number: int = _LONG.unpack_from(self._data, self._take(8))[0]
        return number

    def buffer(self) -> bytes | None:
        size = self.i32()
        if size < 0:
            return None
        at = self._take(size)
        return self._data[at : at + size]

    def text(self) -> str:
        """Null is the empty string: kazoo writes the one where it means the other."""
        data = self.buffer()
        try:
            return "" if data is None else data.decode()
        except UnicodeDecodeError as e:
            raise RemoteProtocolError(f"no UTF-8 in a text: {e}") from None

    def texts(self) -> list[str]:
        return [self.text() for _ in range(self._count())]

    def acl(self) -> tuple[Acl, ...]:
        count = self._count()
        if count == 1 and self._data.startswith(_OPEN_ACL, self._position - 4):
            self._position += len(_OPEN_ACL) - 4
            return OPEN
        return tuple(Acl(self.i32(), self.text(), self.text()) for _ in range(count))

    def stat(self) -> Stat:
        return Stat(*_STAT.unpack_from(self._data, self._take(_STAT.size)))

    def _count(self) -> int:
        count = self.i32()
        if count > len(self._data):
            raise RemoteProtocolError(f"a list of {count} in a message of {len(self._data)} bytes")
        return max(count, 0)


class Writer:
    """Collects one message."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = bytearray()

    def done(self) -> bytes:
        return bytes(self._parts)

    def raw(self, data: bytes) -> "Writer":
        self._parts += data
        return self

    def byte(self, value: int) -> "Writer":
        self._parts.append(value)
        return self

    def flag(self, value: bool) -> "Writer":
        return self.byte(1 if value else 0)

    def i32(self, value: int) -> "Writer":
        self._parts += _INT.pack(value)
        return self

    def i64(self, value: int) -> "Writer":
        self._parts += _LONG.pack(value)
        return self

    def buffer(self, data: bytes | None) -> "Writer":
        if data is None:
            self._parts += _NULL
        else:
            self._parts += _INT.pack(len(data))
            self._parts += data
        return self

    def text(self, value: str) -> "Writer":
        return self.buffer(value.encode())

    def texts(self, values: list[str]) -> "Writer":
        self.i32(len(values))
        for value in values:
            self.buffer(value.encode())
        return self

    def acl(self, acl: tuple[Acl, ...]) -> "Writer":
        if acl is OPEN:
            self._parts += _OPEN_ACL
            return self
        self.i32(len(acl))
        for entry in acl:
            self.i32(entry.permissions).text(entry.scheme).text(entry.id)
        return self

    def stat(self, s: Stat) -> "Writer":
        self._parts += _STAT.pack(
            s.czxid,
            s.mzxid,
            s.ctime,
            s.mtime,
            s.version,
            s.cversion,
            s.aversion,
            s.ephemeral_owner,
            s.data_length,
            s.num_children,
            s.pzxid,
        )
        return self
