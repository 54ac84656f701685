"""Who waits to hear of what: watches, each of which fires once (pure).

A watch is set by a read and belongs to a connection. `exists` and `get` set data watches, the first also on what is
not there; `children` sets child watches. Who is told of a deletion by both is told once.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from quorate.metadata.zookeeper.paths import parent_of
from quorate.metadata.zookeeper.transactions import Change, Created, DataSet, Deleted
from quorate.metadata.zookeeper.znodes import EventType, WatchEvent

W = TypeVar("W")
"""Who is told: hashable, and nothing is asked of it here."""

_Table = dict[str, dict[W, None]]


class WatchTable(Generic[W]):
    """Events come in the order of the changes; for one change, of those who asked first."""

    def __init__(self) -> None:
        self._data: Final[_Table[W]] = {}
        self._child: Final[_Table[W]] = {}
        self._paths: Final[dict[W, set[str]]] = {}
        """Where each may have a watch, so that it can be forgotten without a search."""

    def watch_data(self, path: str, who: W) -> None:
        self._data.setdefault(path, {})[who] = None
        self._paths.setdefault(who, set()).add(path)

    def watch_children(self, path: str, who: W) -> None:
        self._child.setdefault(path, {})[who] = None
        self._paths.setdefault(who, set()).add(path)

    def forget(self, who: W) -> None:
        for path in self._paths.pop(who, ()):
            for table in (self._data, self._child):
                if (there := table.get(path)) is not None:
                    there.pop(who, None)
                    if not there:
                        del table[path]

    def forget_if(self, meant: Callable[[W], bool]) -> None:
        for who in [who for who in self._paths if meant(who)]:
            self.forget(who)

    def take_from(self, other: "WatchTable[W]") -> None:
        """The watches that were set elsewhere, behind its own."""
        for path, waiting in other._data.items():
            for who in waiting:
                self.watch_data(path, who)
        for path, waiting in other._child.items():
            for who in waiting:
                self.watch_children(path, who)

    def count(self) -> int:
        return sum(map(len, self._data.values())) + sum(map(len, self._child.values()))

    def fire(self, changes: Iterable[Change]) -> list[tuple[W, WatchEvent]]:
        """Who is to be told what."""
        if not self._paths:
            return []
        told: list[tuple[W, WatchEvent]] = []
        for change in changes:
            match change:
                case Created(path):
                    self._tell(told, self._data, path, EventType.CREATED)
                    self._tell(told, self._child, parent_of(path), EventType.CHILDREN_CHANGED)
                case DataSet(path):
                    self._tell(told, self._data, path, EventType.DATA_CHANGED)
                case Deleted(path):
                    heard = self._tell(told, self._data, path, EventType.DELETED)
                    self._tell(told, self._child, path, EventType.DELETED, heard)
                    self._tell(told, self._child, parent_of(path), EventType.CHILDREN_CHANGED)
                case _:
                    pass
        return told

    def _tell(
        self,
        told: list[tuple[W, WatchEvent]],
        table: _Table[W],
        path: str,
        what: EventType,
        heard: dict[W, None] | None = None,
    ) -> dict[W, None]:
        waiting = table.pop(path, None)
        if waiting is None:
            return {}
        other = self._child if table is self._data else self._data
        event = WatchEvent(what, path)
        for who in waiting:
            if who not in other.get(path, ()):
                self._forget_path(who, path)
            if heard is None or who not in heard:
                told.append((who, event))
        return waiting

    def _forget_path(self, who: W, path: str) -> None:
        if (paths := self._paths.get(who)) is not None:
            paths.discard(path)
            if not paths:
                del self._paths[who]
