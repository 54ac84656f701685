"""A turn of the controller in ZooKeeper mode as multis, each behind the fence (pure).

The writer of `kafka_znodes` says which znodes a change is about. Three things are added here, because here ZooKeeper
is the truth and not a copy:

- The epoch of a partition is the version of its state's znode. So every change of a partition writes its state exactly
  once, also one that only concerns its replicas, and expects the version that the image has: if somebody else wrote
  there, nothing is written, and the office begins anew from what is there.
- Which znodes exist is known from the last reading of the tree and all that was written since, so that a write never
  creates what is there (an empty config that Kafka left) or sets what is not.
- Several operations share a multi, which is all or nothing. Only what is too large for one is cut, in the writer's
  order, in which each prefix makes sense (a topic without states is one that nobody has taken up yet).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from quorate.controller.zookeeper_core import Step
from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions, partition_state
from quorate.metadata.zookeeper.kafka_znodes.topics import encode_state
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Write
from quorate.metadata.zookeeper.znodes import Check, Create, Delete, Op, SetData, Stat, Tree, Znode

MAX_OPS: Final = 1_000
MAX_BYTES: Final = 512 * 1024
"""Of a multi; ZooKeeper's servers refuse a request above 1 MiB (jute.maxbuffer)."""
MOST_BYTES: Final = 1_000_000
"""Of one operation: a request above the servers' limit costs the connection, and with it the office."""
_BYTES_PER_OP: Final = 40
"""Around path and data."""
_THERE: Final = Znode("", None, Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
"""Stands for a znode of which only its being there counts."""


class Unwritable(Exception):
    """A turn that ZooKeeper cannot take; nothing of it was sent. `code` is for the one who asked for it."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code: Final = code


def in_the_way(path: str) -> Unwritable:
    """A topic is to be created where a znode lies that could not be read: it is not overwritten."""
    why = f"{path} is there already, and this controller cannot read it"
    return Unwritable(ErrorCode.unknown_server_error, why)


class KnownZnodes:
    """Which znodes are there; their data do not matter."""

    def __init__(self, tree: Tree, unreadable: Iterable[str] = ()) -> None:
        """`unreadable`: znodes that hold something which is not in the image, and would be lost by a write."""
        self.unreadable: Final = frozenset(unreadable)
        self._names: dict[str, set[str]] = {"/": set()}
        for path in tree:
            self._add(path)

    def __contains__(self, path: str) -> bool:
        return path in self._names

    def apply(self, ops: Iterable[Op]) -> None:
        """They were, or will be, carried out. Notifications are not followed."""
        for op in ops:
            match op:
                case Create(sequential=False):
                    self._add(op.path)
                case Delete():
                    self._names.pop(op.path, None)
                    self._names.get(paths.parent(op.path), set()).discard(paths.name(op.path))
                case _:
                    pass

    def around(self, write: Write) -> Tree:
        """What `Write.resolved` has to know."""
        found: dict[str, Znode] = {}
        announced = [step.prefix for step in write.steps if isinstance(step, Announce)]
        for path in (*write.paths, *announced):
            while path != "/" and path not in found:
                if path in self._names:
                    found[path] = _THERE
                path = paths.parent(path)
        waiting = list(write.removes)
        while waiting:
            path = waiting.pop()
            if path in self._names:
                found[path] = _THERE
                waiting += [f"{path}/{name}" for name in self._names[path]]
        return found

    def _add(self, path: str) -> None:
        if path != "/" and path not in self._names:
            self._names[path] = set()
            self._names.setdefault(paths.parent(path), set()).add(paths.name(path))


def multis(
    steps: Iterable[Step], known: KnownZnodes, options: WriteOptions, fence: Check
) -> Iterator[list[Op]]:
    """What to send, in this order, each as one multi; nothing if nothing is to be written. `known` follows.

    Raises:
        Unwritable: one of the steps cannot be written; `known` is of no use any more.
    """
    gathered: list[Op] = []
    size = 0
    for ops in _operations(steps, known, options):
        weight = sum(map(_weight, ops))
        if gathered and (len(gathered) + len(ops) > MAX_OPS or size + weight > MAX_BYTES):
            yield [fence, *gathered]
            gathered, size = [], 0
        for op in ops:
            if gathered and (len(gathered) >= MAX_OPS or size + _weight(op) > MAX_BYTES):
                yield [fence, *gathered]
                gathered, size = [], 0
            gathered.append(op)
            size += _weight(op)
    if gathered:
        yield [fence, *gathered]


def _weight(op: Op) -> int:
    data = op.data if isinstance(op, Create | SetData) else None
    return _BYTES_PER_OP + len(op.path) + len(data or b"")


def _operations(steps: Iterable[Step], known: KnownZnodes, options: WriteOptions) -> Iterator[Sequence[Op]]:
    """The operations of each step that writes anything."""
    for step in steps:
        ops: list[Op] = []
        states = dict(_changed_states(step))
        for write in writes(step.before, step.after, options, step.changes):
            resolved = write.resolved(known.around(write)).ops
            known.apply(resolved)
            for op in resolved:
                if op.path in known.unreadable and _loses(op):
                    raise Unwritable(
                        ErrorCode.invalid_request,
                        f"{op.path} holds something that this controller cannot read and would lose (its log says "
                        "what): an encrypted password needs password.encoder.secret; remove the rest by hand",
                    )
                if _weight(op) > MOST_BYTES:
                    raise Unwritable(
                        ErrorCode.invalid_request,
                        f"{op.path} would have {_weight(op)} bytes, and ZooKeeper takes no more than {MOST_BYTES} of "
                        "one znode: a topic has all its replicas in one. Make it smaller, or move to a quorum",
                    )
                changed = states.pop(op.path, None) if isinstance(op, SetData) else None
                ops.append(op if changed is None else _conditional(op, changed[0]))
        ops += [
            SetData(
                path, encode_state(partition_state(now, options.controller_epoch)), before.partition_epoch
            )
            for path, (before, now) in states.items()
        ]
        if ops:
            yield ops


def _loses(op: Op) -> bool:
    """The config of a topic goes with its topic, readable or not."""
    if isinstance(op, Delete):
        return not op.path.startswith(f"{paths.TOPIC_CONFIGS}/")
    return isinstance(op, SetData)


def check_room(steps: Iterable[Step], known: KnownZnodes) -> None:
    """Before anything is planned.

    Raises:
        Unwritable: a step creates a topic whose znode is there.
    """
    gone: set[str] = set()
    for step in steps:
        gone.update(paths.topic(topic.name) for topic in step.changes.deleted_topics.values())
        for name in step.changes.created_topics.values():
            path = paths.topic(name)
            if path in known and path not in gone:
                raise in_the_way(path)


def _changed_states(
    step: Step,
) -> Iterator[tuple[str, tuple[PartitionRegistration, PartitionRegistration]]]:
    """(path, before and after) of the states of partitions that were there before and have changed."""
    for topic_id, partitions in step.changes.changed_topics.items():
        topic = step.before.topics.by_id(topic_id)
        if topic is None:
            continue
        for index, now in partitions.items():
            before = topic.partition(index)
            if before is None or before.partition_epoch == now.partition_epoch:
                continue
            check(
                now.partition_epoch == before.partition_epoch + 1,
                f"one operation changed partition {index} of {topic.name} more than once",
            )
            yield paths.state(topic.name, index), (before, now)


def _conditional(op: Op, before: PartitionRegistration) -> Op:
    return attrs.evolve(op, version=before.partition_epoch) if isinstance(op, SetData) else op
