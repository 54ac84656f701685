"""Whole trees of a live ensemble: read until they hold still, and loaded (shell, over `interface.ZooKeeper`)."""

import enum
from collections.abc import Callable, Iterator
from typing import Final

from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.paths import ROOT, child_of, is_reserved
from quorate.metadata.zookeeper.znodes import Create, Op, SetData, Tree, Znode

_ATTEMPTS: Final = 8
_PATHS_AT_ONCE: Final = 5000
_OPS_OF_A_MULTI: Final = 500
_BYTES_OF_A_MULTI: Final = 500_000
"""Well below what a server takes in one request."""

Progress = Callable[[int], None]
"""Is told how many znodes are done."""


class TreeChanging(Exception):
    """It was different at each attempt to read it twice."""


async def read_tree(
    zookeeper: ZooKeeper, root: str = ROOT, *, progress: Progress = lambda done: None
) -> dict[str, Znode]:
    """Everything at and below `root`, without what is ZooKeeper's own. Nothing, if `root` is not there.

    ZooKeeper cannot read a tree at one moment: what changes meanwhile may be there or not.
    """
    found: dict[str, Znode] = {}
    level = [root]
    while level:
        below: list[str] = []
        for first in range(0, len(level), _PATHS_AT_ONCE):
            paths = level[first : first + _PATHS_AT_ONCE]
            znodes = await zookeeper.get_many(paths)
            there = {znode.path: znode for znode in znodes if znode is not None}
            found |= there
            parents = [path for path, znode in there.items() if znode.stat.num_children]
            for path, names in zip(parents, await zookeeper.children_many(parents), strict=True):
                below += [child_of(path, name) for name in names or ()]
            progress(len(found))
        level = [path for path in below if not is_reserved(path)]
    return found


async def read_stable_tree(
    zookeeper: ZooKeeper, root: str = ROOT, *, progress: Progress = lambda done: None
) -> dict[str, Znode]:
    """As `read_tree`, twice in a row the same: so it was at one moment, unless something changed there and back.

    Raises:
        TreeChanging: at no attempt it was.
    """
    last = await read_tree(zookeeper, root, progress=progress)
    for _ in range(_ATTEMPTS):
        await zookeeper.sync(root)
        again = await read_tree(zookeeper, root, progress=progress)
        if again == last:
            return again
        last = again
    raise TreeChanging


class Ephemerals(enum.StrEnum):
    """What becomes of znodes whose sessions are not here."""

    PERSISTENT = "persistent"
    """They stay when nobody is there any more."""
    SKIP = "skip"


async def load_tree(
    zookeeper: ZooKeeper,
    tree: Tree,
    *,
    ephemerals: Ephemerals = Ephemerals.PERSISTENT,
    versions: bool = True,
    progress: Progress = lambda done: None,
) -> int:
    """Makes all of it, and gives how many znodes that were. Kept are paths, bytes, null and empty data, and with
    `versions` how often data was set: Kafka's partition epochs are that. What a server numbers itself is not: zxids
    (so Kafka's broker epochs), times, owners, and the counters behind sequential names.

    Raises:
        ZooKeeperError: NODE_EXISTS, where something of it is there already; what was made before it stays.
    """
    made, done = 0, 0
    batch: list[Op] = []
    size = 0
    for op, is_new in _ops(tree, ephemerals, versions=versions):
        batch.append(op)
        made += is_new
        size += len(op.path) + len(op.data or b"") if isinstance(op, Create | SetData) else 0
        if len(batch) >= _OPS_OF_A_MULTI or size >= _BYTES_OF_A_MULTI:
            await zookeeper.multi(batch)
            batch, size, done = [], 0, made
            progress(done)
    await zookeeper.multi(batch)
    return made


def _ops(tree: Tree, ephemerals: Ephemerals, *, versions: bool) -> Iterator[tuple[Op, bool]]:
    """Parents first; whether it is a new znode."""
    for path in sorted(tree):
        znode = tree[path]
        if path == ROOT or is_reserved(path):
            continue
        if znode.stat.ephemeral_owner and ephemerals is Ephemerals.SKIP:
            continue
        yield Create(path, znode.data), True
        for _ in range(znode.stat.version if versions else 0):
            yield SetData(path, znode.data), False
