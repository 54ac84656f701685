"""Carrying writes out on a tree, with ZooKeeper's rules: a multi happens as a whole or not at all."""

from collections.abc import Iterable, Mapping

import attrs

from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.security import RESOURCE_NODES
from quorate.metadata.zookeeper.kafka_znodes.writes import Write
from quorate.metadata.zookeeper.znodes import (
    ANY_VERSION,
    Check,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    Op,
    SetData,
    Stat,
    Znode,
)
from tests.metadata.kafka_znodes.trees import Content, made

NEW_CLUSTER: Content = {
    **dict.fromkeys(paths.ALWAYS_THERE),
    **{f"{paths.LITERAL_ACLS}/{kind}": None for kind in RESOURCE_NODES},
    **{f"{paths.PREFIXED_ACLS}/{kind}": None for kind in RESOURCE_NODES},
    paths.TOKENS: None,
    paths.LITERAL_ACL_CHANGES: None,
    paths.PREFIXED_ACL_CHANGES: None,
    paths.TOKEN_CHANGES: None,
    paths.CLUSTER_ID: '{"version":"1","id":"k3hT0mWcQ1uV8yZb5xN2Lg"}',
    paths.CONTROLLER_EPOCH: ("57", 57),
}
"""What brokers with ACLs and delegation tokens make at their first start."""


def new_cluster() -> dict[str, Znode]:
    return made(NEW_CLUSTER)


def multi(tree: Mapping[str, Znode], ops: Iterable[Op]) -> dict[str, Znode]:
    """
    Raises:
        MultiFailed: as ZooKeeper would; the tree is as it was anyway.
    """
    after = dict(tree)
    _all_of(after, ops)
    return after


def _all_of(tree: dict[str, Znode], ops: Iterable[Op]) -> None:
    for index, op in enumerate(ops):
        code = _carry_out(tree, op)
        if code is not ErrorCode.OK:
            raise MultiFailed(code, op.path, index)


def carried_out(tree: Mapping[str, Znode], writes: Iterable[Write]) -> dict[str, Znode]:
    """All of them, one after the other.

    Raises:
        MultiFailed: see `multi`.
    """
    after = dict(tree)
    for write in writes:
        _all_of(after, write.ops)
    return after


def _carry_out(tree: dict[str, Znode], op: Op) -> ErrorCode:
    parent = op.path.rpartition("/")[0] or "/"
    there = tree.get(op.path)
    match op:
        case Create():
            if parent not in tree:
                return ErrorCode.NO_NODE
            path = f"{op.path}{tree[parent].stat.cversion:010d}" if op.sequential else op.path
            if path in tree:
                return ErrorCode.NODE_EXISTS
            tree[path] = Znode(path, op.data, _STAT)
            _children(tree, parent, 1)
            return ErrorCode.OK
        case _ if there is None:
            return ErrorCode.NO_NODE
        case Delete(version=version) | SetData(version=version) | Check(version=version):
            if version not in (ANY_VERSION, there.stat.version):
                return ErrorCode.BAD_VERSION
    if isinstance(op, SetData):
        stat = attrs.evolve(there.stat, version=there.stat.version + 1)
        tree[op.path] = Znode(op.path, op.data, stat)
    elif isinstance(op, Delete):
        if there.stat.num_children:
            return ErrorCode.NOT_EMPTY
        del tree[op.path]
        _children(tree, parent, -1)
    return ErrorCode.OK


def _children(tree: dict[str, Znode], path: str, more: int) -> None:
    stat = tree[path].stat
    changed = attrs.evolve(stat, cversion=stat.cversion + 1, num_children=stat.num_children + more)
    tree[path] = attrs.evolve(tree[path], stat=changed)


_STAT = Stat(
    czxid=99,
    mzxid=99,
    ctime=0,
    mtime=0,
    version=0,
    cversion=0,
    aversion=0,
    ephemeral_owner=0,
    data_length=0,
    num_children=0,
    pzxid=99,
)


def announced(tree: Mapping[str, Znode]) -> list[str]:
    """The data of all notifications, by path."""
    folders = (
        paths.CONFIG_CHANGES,
        paths.LITERAL_ACL_CHANGES,
        paths.PREFIXED_ACL_CHANGES,
        paths.TOKEN_CHANGES,
    )
    return [(tree[path].data or b"").decode() for path in sorted(tree) if path.rpartition("/")[0] in folders]
