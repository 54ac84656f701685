"""A write being decided: may it be done, and what exactly would it do (pure).

The ops of a multi see the effects of those before them, and nothing of it is visible to anybody until the whole of it
is applied; a draft that fails is forgotten, with the sequence numbers it would have taken. Which error comes first
when several are due is ZooKeeper's order (PrepRequestProcessor), since clients can tell.
"""

from typing import Final

import attrs

from quorate.metadata.zookeeper.acls import Acl, Identity, Permission, expanded, permits
from quorate.metadata.zookeeper.paths import UNDELETABLE, parent_of, why_invalid
from quorate.metadata.zookeeper.transactions import AclSet, Change, Checked, Created, DataSet, Deleted
from quorate.metadata.zookeeper.tree import ZnodeTree, signed_32
from quorate.metadata.zookeeper.znodes import (
    ANY_VERSION,
    Check,
    Create,
    Delete,
    ErrorCode,
    Op,
    SetData,
    ZooKeeperError,
)


@attrs.frozen
class SetAcl:
    """Replaces who may do what; not part of a multi."""

    path: str
    acl: tuple[Acl, ...]
    version: int = ANY_VERSION


Write = Op | SetAcl


@attrs.define
class _Sketch:
    """What decisions need of a znode."""

    version: int
    aversion: int
    children: int
    creates: int
    owner: int
    acl: tuple[Acl, ...]


class Draft:
    """For one session's write, from its first op to its last."""

    def __init__(self, tree: ZnodeTree, session: int, identities: tuple[Identity, ...]) -> None:
        self._nodes: Final = tree.nodes
        self._session: Final = session
        self._identities: Final = identities
        self._drawn: Final[dict[str, _Sketch | None]] = {}

    def add(self, op: Write) -> Change:
        """
        Raises:
            ZooKeeperError: it cannot be done. The draft is of no use any more.
        """
        match op:
            case Create():
                return self._create(op)
            case Delete(path, version):
                return self._delete(path, version)
            case SetData(path, data, version):
                node = self._valid_node(path)
                self._demand(node, Permission.WRITE, path)
                node.version = _next_version(node.version, version, path)
                return DataSet(path, data, node.version)
            case Check(path, version):
                node = self._valid_node(path)
                self._demand(node, Permission.READ, path)
                _next_version(node.version, version, path)
                return Checked(path)
            case SetAcl(path, acl, version):
                _demand_valid(path)
                stored = self._expanded(acl, path)
                node = self._node(path)
                self._demand(node, Permission.ADMIN, path)
                node.aversion, node.acl = _next_version(node.aversion, version, path), stored
                return AclSet(path, stored, node.aversion)

    def _create(self, op: Create) -> Created:
        path = op.path
        if "/" not in path or "\0" in path:
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        acl = self._expanded(op.acl, path)
        parent = self._node(parent_of(path))
        self._demand(parent, Permission.CREATE, path)
        if op.sequential:
            path += f"{parent.creates:010d}"
        _demand_valid(path)
        if self._find(path) is not None:
            raise ZooKeeperError(ErrorCode.NODE_EXISTS, path)
        if parent.owner:
            raise ZooKeeperError(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS, path)
        owner = self._session if op.ephemeral else 0
        parent.children += 1
        parent.creates = signed_32(parent.creates + 1)
        self._drawn[path] = _Sketch(0, 0, 0, 0, owner, acl)
        return Created(path, op.data, acl, owner)

    def _delete(self, path: str, version: int) -> Deleted:
        if "/" not in path or "\0" in path or path in UNDELETABLE:
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        parent = self._node(parent_of(path))
        self._demand(parent, Permission.DELETE, path)
        node = self._node(path)
        _next_version(node.version, version, path)
        if node.children:
            raise ZooKeeperError(ErrorCode.NOT_EMPTY, path)
        parent.children -= 1
        self._drawn[path] = None
        return Deleted(path)

    def _find(self, path: str) -> _Sketch | None:
        if path in self._drawn:
            return self._drawn[path]
        node = self._nodes.get(path)
        if node is None:
            return None
        count = 0 if node.children is None else len(node.children)
        sketch = _Sketch(node.version, node.aversion, count, node.creates, node.owner, node.stored_acl)
        self._drawn[path] = sketch
        return sketch

    def _node(self, path: str) -> _Sketch:
        found = self._find(path)
        if found is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        return found

    def _valid_node(self, path: str) -> _Sketch:
        _demand_valid(path)
        return self._node(path)

    def _demand(self, node: _Sketch, permission: Permission, path: str) -> None:
        if not permits(node.acl, permission, self._identities):
            raise ZooKeeperError(ErrorCode.NO_AUTH, path)

    def _expanded(self, acl: tuple[Acl, ...], path: str) -> tuple[Acl, ...]:
        found = expanded(acl, self._identities)
        if found is None:
            raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
        return found


def _demand_valid(path: str) -> None:
    if why_invalid(path) is not None:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)


def _next_version(version: int, expected: int, path: str) -> int:
    if expected not in (ANY_VERSION, version):
        raise ZooKeeperError(ErrorCode.BAD_VERSION, path)
    # -1 is left out: as an expectation it means any version (ZOOKEEPER-4743)
    return signed_32(version + 1) if version != -2 else 0
