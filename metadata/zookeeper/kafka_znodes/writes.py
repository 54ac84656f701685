"""Writes to ZooKeeper as values: what is wanted, and the operations that bring it about.

A multi cannot say "create or set", nor "delete with all below": which operations are right depends on what is there.
So a `Write` keeps both: what is wanted (`steps`), and the operations for what is believed to be there (`ops`). Where
ZooKeeper answers NO_NODE, NODE_EXISTS or NOT_EMPTY, or where nobody knows what became of a write, the caller reads
what is really there and asks for the operations anew (`resolved`).
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import attrs

from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import Create, Delete, Op, SetData, Tree

MOST_OPS: Final = 500
"""Of one write. All of a multi comes and goes in one request."""
MOST_BYTES: Final = 500_000
"""Of one write; ZooKeeper takes 1 MiB in a request unless it is told otherwise."""
_OP_BYTES: Final = 64
"""What an operation costs besides its path and data."""


@attrs.frozen
class Put:
    """The znode is there and has this data; whatever is missing above it is made with null data."""

    path: str
    data: bytes | None


@attrs.frozen
class Remove:
    """The znode is not there, nor anything below it."""

    path: str


@attrs.frozen
class Announce:
    """A sequential znode whose coming tells brokers in ZooKeeper mode to look again. Twice does no harm."""

    prefix: str
    data: bytes


Step = Put | Remove | Announce


class Known(Protocol):
    """What is there, or is believed to be."""

    def exists(self, path: str) -> bool: ...

    def below(self, path: str) -> list[str]:
        """The znode and all below it, as far as they exist; children before their parents."""
        ...


@attrs.frozen(kw_only=True)
class Write:
    """One multi, without the fences that the caller puts in front of it (`/controller_epoch`, `/migration`)."""

    category: Category
    about: str
    """What it is about, in words: `topic orders`."""
    steps: tuple[Step, ...]
    ops: tuple[Op, ...]

    @property
    def bulk(self) -> int:
        """About how many bytes it has in a request."""
        return sum(map(_bytes_of, self.ops))

    @property
    def paths(self) -> tuple[str, ...]:
        """The znodes that it is about; notifications are not among them."""
        return tuple(step.path for step in self.steps if not isinstance(step, Announce))

    @property
    def removes(self) -> tuple[str, ...]:
        """Those that it takes away, with all below them."""
        return tuple(step.path for step in self.steps if isinstance(step, Remove))

    @property
    def is_idempotent(self) -> bool:
        """Whether the same operations may be sent again when nobody knows what became of them.

        Where it is not, read what is there: `is_done`, or `resolved`. What is set a second time has a version that is
        higher by one, which harms nobody: of a partition's state it is an epoch that was not used yet.
        """
        return all(isinstance(op, SetData) or (isinstance(op, Create) and op.sequential) for op in self.ops)

    def resolved(self, tree: Tree) -> "Write":
        """The same, with operations for what is really there.

        `tree` has what exists of `paths`, of all above them, and of all below those that are removed.
        """
        return attrs.evolve(self, ops=tuple(_Plan(Family(tree)).ops(self.steps)))

    def is_done(self, tree: Tree) -> bool:
        """Whether it has been carried out already: `tree` as for `resolved`. Notifications do not count."""
        for step in self.steps:
            if isinstance(step, Put) and (step.path not in tree or tree[step.path].data != step.data):
                return False
            if isinstance(step, Remove) and step.path in tree:
                return False
        return True


class Writer:
    """Makes writes; each one takes it that those before it were carried out."""

    def __init__(self, known: Known) -> None:
        self._plan: Final = _Plan(known)

    def write(self, category: Category, about: str, steps: Iterable[Step]) -> Iterator[Write]:
        """One write, or several where it would be too large; none where there is nothing to do but to announce it.

        Steps are never torn apart, and come in the order given.
        """
        waiting: list[Step] = []
        ops: list[Op] = []
        size = 0
        changes = False
        for step in steps:
            more = list(self._plan.ops([step]))
            bulk = sum(map(_bytes_of, more))
            if ops and (len(ops) + len(more) > MOST_OPS or size + bulk > MOST_BYTES):
                yield Write(category=category, about=about, steps=tuple(waiting), ops=tuple(ops))
                waiting, ops, size = [], [], 0
            changes = changes or (bool(more) and not isinstance(step, Announce))
            waiting.append(step)
            ops += more
            size += bulk
        if ops and changes:
            yield Write(category=category, about=about, steps=tuple(waiting), ops=tuple(ops))


def _bytes_of(op: Op) -> int:
    data = op.data if isinstance(op, Create | SetData) else None
    return _OP_BYTES + len(op.path) + len(data or b"")


class _Plan:
    """Operations for steps, one after the other, over what was known before."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._made: set[str] = {"/"}
        self._gone: set[str] = set()

    def _exists(self, path: str) -> bool:
        return path in self._made or (path not in self._gone and self._known.exists(path))

    def ops(self, steps: Iterable[Step]) -> Iterator[Op]:
        for step in steps:
            match step:
                case Put():
                    yield from self._put(step)
                case Remove():
                    yield from self._remove(step.path)
                case Announce():
                    yield from self._ancestors(step.prefix)
                    yield Create(step.prefix, step.data, sequential=True)

    def _put(self, step: Put) -> Iterator[Op]:
        if self._exists(step.path):
            yield SetData(step.path, step.data)
            return
        yield from self._ancestors(step.path)
        self._make(step.path)
        yield Create(step.path, step.data)

    def _ancestors(self, path: str) -> Iterator[Op]:
        parts = path.split("/")[1:-1]
        above = ["/" + "/".join(parts[: i + 1]) for i in range(len(parts))]
        missing = []
        for one in reversed(above):
            if self._exists(one):
                break
            missing.append(one)
        for one in reversed(missing):
            self._make(one)
            yield Create(one, None)

    def _remove(self, path: str) -> Iterator[Op]:
        there = [one for one in self._known.below(path) if one not in self._gone]
        there += [
            one for one in self._made if (one == path or one.startswith(f"{path}/")) and one not in there
        ]
        for one in sorted(there, key=lambda found: (-found.count("/"), found)):
            self._made.discard(one)
            self._gone.add(one)
            yield Delete(one)

    def _make(self, path: str) -> None:
        self._made.add(path)
        self._gone.discard(path)
