"""The tree of znodes: reads, and committed transactions applied (pure).

Knows no rules: what may be done is decided in `draft.py`, and a transaction that comes here is a fact. Sessions and
watches are kept in `state.py` and `watches.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from quorate.metadata.checks import check
from quorate.metadata.zookeeper.acls import OPEN, READ_ONLY, Acl
from quorate.metadata.zookeeper.paths import CONFIG, QUOTA, RESERVED, ROOT, is_reserved, name_of, parent_of
from quorate.metadata.zookeeper.transactions import (
    AclSet,
    Checked,
    Created,
    DataSet,
    Deleted,
    SessionClosed,
    SessionOpened,
    Transaction,
)
from quorate.metadata.zookeeper.znodes import ErrorCode, Stat, Znode, ZooKeeperError


class Node:
    """One znode, as it is kept. Hundreds of thousands of these are in memory, so small things are shared."""

    __slots__ = (
        "aversion",
        "children",
        "creates",
        "ctime",
        "czxid",
        "data",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "stored_acl",
        "version",
    )

    def __init__(self, data: bytes | None, acl: tuple[Acl, ...], owner: int, zxid: int, time_ms: int) -> None:
        self.data = data
        self.stored_acl = acl
        self.owner = owner
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = time_ms
        self.version = 0
        self.aversion = 0
        self.creates = 0
        """Children ever created, with or without a number: the next sequential child's number."""
        self.children: dict[str, None] | None = None
        """Names, oldest first; None while there are none."""

    def stat(self) -> Stat:
        count = 0 if self.children is None else len(self.children)
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            # kept is the number of creations; told is that of all changes: each child that is gone was one more
            signed_32(2 * self.creates - count),
            self.aversion,
            self.owner,
            0 if self.data is None else len(self.data),
            count,
            self.pzxid,
        )


Applied = str | Stat | tuple[str, Stat] | None
"""What a change gave: path and Stat of Created, the Stat of DataSet and AclSet."""


class ZnodeTree:
    """Every znode by its path."""

    def __init__(self, nodes: dict[str, Node] | None = None) -> None:
        """`nodes`: of a snapshot; the root and ZooKeeper's own are added where they are missing."""
        self.nodes: Final[dict[str, Node]] = {} if nodes is None else nodes
        self.owned: Final[dict[int, dict[str, None]]] = {}
        """Ephemerals by session, oldest first."""
        self.before_change: Callable[[str], None] | None = None
        """Told the path of each znode that is about to change or vanish, while a snapshot is written."""
        for path in (ROOT, RESERVED, CONFIG, QUOTA):
            if path not in self.nodes:
                self.nodes[path] = Node(b"", READ_ONLY if path == CONFIG else OPEN, 0, 0, 0)
                self.nodes[path].aversion = -1 if path == CONFIG else 0  # so has ZooKeeper 3.8
        for path, node in self.nodes.items():
            if path != ROOT:
                check(parent_of(path) in self.nodes, f"{path} has no parent: this is no whole tree")
                parent = self.nodes[parent_of(path)]
                parent.children = {} if parent.children is None else parent.children
                parent.children[name_of(path)] = None
            if node.owner:
                self.owned.setdefault(node.owner, {})[path] = None

    def __len__(self) -> int:
        return len(self.nodes)

    def node(self, path: str) -> Node:
        """
        Raises:
            ZooKeeperError: NO_NODE.
        """
        found = self.nodes.get(path)
        if found is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        return found

    def get(self, path: str) -> Znode:
        """Raises NO_NODE."""
        node = self.node(path)
        return Znode(path, node.data, node.stat())

    def children(self, path: str) -> list[str]:
        """Names, oldest first. Raises NO_NODE."""
        return list(self.node(path).children or ())

    def apply(self, transaction: Transaction) -> list[Applied]:
        """One result for each change, as it was after that change."""
        return [self._apply(change, transaction) for change in transaction.changes]

    def _apply(self, change: object, by: Transaction) -> Applied:
        match change:
            case Created():
                return self._create(change, by)
            case DataSet(path, data, version):
                node = self._changing(path)
                node.data, node.version = data, version
                node.mzxid, node.mtime = by.zxid, by.time_ms
                return node.stat()
            case Deleted(path):
                self._delete(path, by.zxid)
                return None
            case AclSet(path, acl, version):
                node = self._changing(path)
                node.stored_acl, node.aversion = acl, version
                return node.stat()
            case Checked() | SessionOpened() | SessionClosed():
                return None
            case _:
                raise TypeError(change)

    def _changing(self, path: str) -> Node:
        if self.before_change is not None:
            self.before_change(path)
        return self.nodes[path]

    def _create(self, change: Created, by: Transaction) -> Applied:
        path = change.path
        parent = self._changing(parent_of(path))
        node = Node(change.data, change.acl, change.owner, by.zxid, by.time_ms)
        parent.creates = signed_32(parent.creates + 1)
        parent.pzxid = by.zxid
        if parent.children is None:
            parent.children = {}
        parent.children[name_of(path)] = None
        self.nodes[path] = node
        if change.owner:
            self.owned.setdefault(change.owner, {})[path] = None
        return path, node.stat()

    def _delete(self, path: str, zxid: int) -> None:
        parent = self._changing(parent_of(path))
        node = self._changing(path)
        del self.nodes[path]
        parent.pzxid = zxid
        if parent.children is not None:
            parent.children.pop(name_of(path))
            parent.children = parent.children or None
        if node.owner:
            mine = self.owned[node.owner]
            del mine[path]
            if not mine:
                del self.owned[node.owner]


def tree_of(znodes: Mapping[str, Znode]) -> ZnodeTree:
    """A tree with exactly these stats: of a dump. Its ephemerals belong to sessions that nobody has."""
    nodes: dict[str, Node] = {}
    for path in sorted(znodes):
        nodes[path] = _node_of(znodes[path])
    return ZnodeTree(nodes)


def _node_of(znode: Znode) -> Node:
    stat = znode.stat
    node = Node(znode.data, OPEN, stat.ephemeral_owner, stat.czxid, stat.ctime)
    node.mzxid, node.pzxid, node.mtime = stat.mzxid, stat.pzxid, stat.mtime
    node.version, node.aversion = stat.version, stat.aversion
    node.creates = (stat.cversion + stat.num_children) // 2
    return node


def copy_of(tree: ZnodeTree) -> ZnodeTree:
    """Shares nothing that changes."""
    nodes: dict[str, Node] = {}
    for path, node in tree.nodes.items():
        twin = Node(node.data, node.stored_acl, node.owner, node.czxid, node.ctime)
        twin.mzxid, twin.pzxid, twin.mtime = node.mzxid, node.pzxid, node.mtime
        twin.version, twin.aversion, twin.creates = node.version, node.aversion, node.creates
        nodes[path] = twin
    return ZnodeTree(nodes)


def newest_zxid(tree: ZnodeTree) -> int:
    """Of all that the tree shows: no transaction after it may be numbered lower."""
    return max(max(node.czxid, node.mzxid, node.pzxid) for node in tree.nodes.values())


def all_znodes(tree: ZnodeTree) -> Iterator[Znode]:
    """Without what is ZooKeeper's own; in no order."""
    for path, node in tree.nodes.items():
        if not is_reserved(path):
            yield Znode(path, node.data, node.stat())


def signed_32(number: int) -> int:
    """As Java's int wraps."""
    return (number + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000
