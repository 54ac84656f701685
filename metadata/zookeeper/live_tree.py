"""Kafka's metadata of a living ZooKeeper, read as a whole (shell).

A tree is read level by level, many znodes side by side, while others may write. So one reading is not one moment: a
second one tells whether anybody wrote meanwhile (`rereading`, `unfenced`), and a write that did not find what it
expected is given what is really there (`around`).
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol, TypeVar

import attrs

from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.places import category_of
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Remove, Write
from quorate.metadata.zookeeper.znodes import Tree, Znode

T = TypeVar("T")

ROOTS: Final = (
    "/cluster",
    paths.CONTROLLER,
    paths.CONTROLLER_EPOCH,
    "/brokers",
    paths.CONFIG,
    "/admin",
    paths.ISR_CHANGES,
    paths.LOG_DIR_EVENTS,
    paths.PRODUCER_IDS,
    paths.FEATURE,
    paths.LITERAL_ACLS,
    paths.LITERAL_ACL_CHANGES,
    "/kafka-acl-extended",
    paths.PREFIXED_ACL_CHANGES,
    "/delegation_token",
    paths.MIGRATION,
    paths.CONSUMERS,
)
"""What Kafka writes, everything else below the chroot is somebody else's. Of consumers there are offsets, which may be
millions, and which no migration needs: they are read on demand."""

AT_ONCE: Final = 1000
"""How many znodes are asked for before progress is told."""


class Progress(Protocol):
    """Is told how far a reading is; totals grow while more is found."""

    def __call__(self, category: Category, done: int, total: int) -> None: ...


def no_progress(category: Category, done: int, total: int) -> None:
    """For who does not want to know."""


async def read_tree(
    zookeeper: ZooKeeper, *, consumers: bool = False, progress: Progress = no_progress
) -> dict[str, Znode]:
    """Everything of Kafka's; `consumers`: the offsets of old consumers too. What vanishes while it is read is left out.

    Raises:
        ZooKeeperError: a read failed; nothing was retried.
    """
    await zookeeper.sync()
    reading = _Reading(zookeeper=zookeeper, consumers=consumers, progress=progress)
    await reading.level(["/", *ROOTS])
    await reading.below([root for root in ROOTS if root in reading.tree])
    return dict(sorted(reading.tree.items()))


async def around(zookeeper: ZooKeeper, write: Write) -> dict[str, Znode]:
    """What a write needs to know of what is there (`Write.resolved`, `Write.is_done`).

    Raises:
        ZooKeeperError: a read failed.
    """
    await zookeeper.sync()
    reading = _Reading(zookeeper=zookeeper, consumers=True, progress=no_progress)
    wanted = {"/"}
    for step in write.steps:
        path = step.prefix if isinstance(step, Announce) else step.path
        while path != "/":
            wanted.add(path)
            path = paths.parent(path)
    await reading.level(sorted(wanted))
    removed = [step.path for step in write.steps if isinstance(step, Remove)]
    await reading.below([path for path in removed if path in reading.tree])
    return reading.tree


async def rereading(zookeeper: ZooKeeper, first: Tree) -> tuple["Unfenced", ...]:
    """Reads once more, and tells all that is different from the first time.

    Raises:
        ZooKeeperError: a read failed.
    """
    consumers = any(path.startswith(f"{paths.CONSUMERS}/") for path in first)
    return differences(first, await read_tree(zookeeper, consumers=consumers))


@attrs.frozen(kw_only=True)
class Unfenced:
    """A znode that somebody wrote whom no fence held back."""

    category: Category
    path: str
    what: str
    """`made`, `gone`, `made again`, `data changed`, `children changed`."""
    zxid: int
    """Of the change, as far as is known; of what is gone, the last one seen."""


def differences(first: Tree, second: Tree) -> tuple[Unfenced, ...]:
    """What was written between two readings. That a list of children changed is told only where nothing else shows it:
    something came and went in between."""
    found: list[Unfenced] = []
    touched: set[str] = set()
    for path in sorted({*first, *second}):
        before, after = first.get(path), second.get(path)
        what = _difference(before, after)
        if what:
            node = after or before
            touched |= {path, paths.parent(path)} if what == "made again" else {paths.parent(path)}
            zxid = 0 if node is None else max(node.stat.czxid, node.stat.mzxid)
            found.append(Unfenced(category=category_of(path), path=path, what=what, zxid=zxid))
    for path in sorted(first.keys() & second.keys()):
        if first[path].stat.pzxid != second[path].stat.pzxid and path not in touched:
            zxid = second[path].stat.pzxid
            found.append(Unfenced(category=category_of(path), path=path, what="children changed", zxid=zxid))
    return tuple(found)


def unfenced(tree: Tree, claim_zxid: int, ours: Collection[str] = ()) -> tuple[Unfenced, ...]:
    """What was written after the claim by somebody else.

    `claim_zxid`: of the transaction that claimed `/controller`. `ours`: the paths that whoever claimed it has written
    since; what changed of their parents is theirs too.
    """
    own = {*ours, *(paths.parent(path) for path in ours)}
    found: list[Unfenced] = []
    for path in sorted(set(tree).difference(own)):
        stat = tree[path].stat
        if stat.czxid > claim_zxid:
            what, zxid = "made", stat.czxid
        elif stat.mzxid > claim_zxid:
            what, zxid = "data changed", stat.mzxid
        elif stat.pzxid > claim_zxid:
            what, zxid = "children changed", stat.pzxid
        else:
            continue
        found.append(Unfenced(category=category_of(path), path=path, what=what, zxid=zxid))
    return tuple(found)


def _difference(before: Znode | None, after: Znode | None) -> str:
    if before is None:
        return "made"
    if after is None:
        return "gone"
    if before.stat.czxid != after.stat.czxid:
        return "made again"
    return "" if before.stat.mzxid == after.stat.mzxid else "data changed"


@attrs.define(kw_only=True)
class _Reading:
    """One walk over a tree."""

    zookeeper: ZooKeeper
    consumers: bool
    progress: Progress
    tree: dict[str, Znode] = attrs.Factory(dict)
    _done: dict[Category, int] = attrs.Factory(dict)
    _total: dict[Category, int] = attrs.Factory(dict)

    async def below(self, parents: Sequence[str]) -> None:
        """All below these, which were read already."""
        while parents:
            having = [path for path in parents if self.tree[path].stat.num_children and self._is_wanted(path)]
            lists = await _in_pieces(self.zookeeper.children_many, having)
            found = [
                f"{path}/{name}"
                for path, names in zip(having, lists, strict=True)
                for name in sorted(names or ())
            ]
            await self.level(found)
            parents = [path for path in found if path in self.tree]

    async def level(self, level: Sequence[str]) -> None:
        """These znodes themselves."""
        for path in level:
            category = category_of(path)
            self._total[category] = self._total.get(category, 0) + 1
        for start in range(0, len(level), AT_ONCE):
            piece = level[start : start + AT_ONCE]
            nodes = await self.zookeeper.get_many(piece)
            self.tree.update({node.path: node for node in nodes if node is not None})
            self._tell(piece)

    def _is_wanted(self, path: str) -> bool:
        return self.consumers or path != paths.CONSUMERS

    def _tell(self, piece: Sequence[str]) -> None:
        touched: dict[Category, None] = {}
        for path in piece:
            category = category_of(path)
            self._done[category] = self._done.get(category, 0) + 1
            touched[category] = None
        for category in touched:
            self.progress(category, self._done[category], self._total[category])


async def _in_pieces(ask: Callable[[Sequence[str]], Awaitable[list[T]]], wanted: Sequence[str]) -> list[T]:
    found: list[T] = []
    for start in range(0, len(wanted), AT_ONCE):
        found += await ask(wanted[start : start + AT_ONCE])
    return found
