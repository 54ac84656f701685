"""What clients saw, and whether one order of all of it explains it: linearizability, topic by topic.

A topic is a register that is empty or holds a number of partitions and one config value. Topics do not touch each
other, so each has a history of its own. The search is that of Wing and Gong: at any moment an operation may come next
if no other one that is still missing had ended before it began; what was tried is remembered.

The final log holds the changes in the order in which they happened, though not whose they were where several clients
deleted or grew the same topic. So the search follows the log: it must find for every change in it an operation that
made it, in an order that no client can contradict. That settles outcomes that nobody was told of, and keeps the search
short; it is stricter than asking for any order at all.

Refusals are never old, nor are reads that the active controller has answered after a majority confirmed it. Other reads
may be: a broker answers from its image, and so does a controller that does not lead. They need only fit to some moment
before they ended (`stale`).
"""

import enum
import itertools
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

TopicState: TypeAlias = tuple[int, str] | None
"""Partitions and config value; None: there is no such topic."""


class Kind(enum.Enum):
    CREATE = "create"
    DELETE = "delete"
    GROW = "grow"
    SET = "set"
    READ = "read"


class Ending(enum.Enum):
    """What the client was told."""

    DONE = "done"
    REFUSED = "refused"
    """Because of what the topic is: such an answer says something about it."""
    NOTHING_DONE = "nothing was done"
    UNKNOWN = "unknown"


FOR_EVER: Final = 1 << 60
Effect: TypeAlias = str
"""One record in the log: "created", "deleted", "partition", or the value that a config was given."""


VALUED: Final = (Kind.CREATE, Kind.SET)
"""They write the operation's own value."""


@attrs.define(eq=False)
class Operation:
    """One request for one topic, as its client saw it. Moments are the world's counter, not milliseconds."""

    number: int
    client: int
    kind: Kind
    topic: str
    began: int
    count: int = 1
    """Partitions: to create, or to have after growing."""
    value: str = ""
    """Unique to this operation, where it writes one."""
    ended: int = FOR_EVER
    ending: Ending = Ending.UNKNOWN
    seen: TopicState = None
    """What a read returned."""
    stale: bool = False
    """It may rest on what was so earlier."""

    def __str__(self) -> str:
        what = {
            Kind.CREATE: f" {self.count} {self.value}",
            Kind.GROW: f" {self.count}",
            Kind.SET: f" {self.value}",
            Kind.READ: f" {self.seen}",
        }
        ended = "" if self.ended == FOR_EVER else self.ended
        return (
            f"#{self.number} c{self.client} {self.kind.value} {self.topic}{what.get(self.kind, '')} "
            f"[{self.began}..{ended}] {self.ending.value}"
        )

    @property
    def changes(self) -> bool:
        return self.kind is not Kind.READ and self.ending in (Ending.DONE, Ending.UNKNOWN)


def allows(operation: Operation, state: TopicState) -> bool:
    """Whether the operation can have ended as it did if this is what it met."""
    match operation.kind, operation.ending:
        case Kind.READ, _:
            return state == operation.seen
        case Kind.CREATE, Ending.REFUSED:
            return state is not None
        case Kind.CREATE, _:
            return state is None
        case Kind.GROW, Ending.REFUSED:
            return state is None or state[0] >= operation.count
        case Kind.GROW, _:
            return state is not None and state[0] < operation.count
        case _, Ending.REFUSED:
            return state is None
        case _:
            return state is not None


def after(operation: Operation, state: TopicState) -> TopicState:
    """What the register holds after a change."""
    match operation.kind:
        case Kind.CREATE:
            return (operation.count, operation.value)
        case Kind.DELETE:
            return None
        case Kind.GROW:
            return None if state is None else (operation.count, state[1])
        case Kind.SET:
            return None if state is None else (state[0], operation.value)
        case Kind.READ:
            return state


class History:
    """All operations of a world."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._numbers = itertools.count(1)

    def begin(self, client: int, kind: Kind, topic: str, moment: int, count: int = 1) -> Operation:
        number = next(self._numbers)
        value = str(100_000 + number)
        operation = Operation(number, client, kind, topic, moment, count, value)
        self.operations.append(operation)
        return operation

    def problem(self, effects: Mapping[str, Sequence[Effect]]) -> str | None:
        """What cannot be explained, or None. `effects`: by topic, what the final log holds."""
        for topic in sorted({one.topic for one in self.operations}):
            own = [one for one in self.operations if one.topic == topic]
            found = _Search(own, effects.get(topic, ())).problem()
            if found is not None:
                return f"{topic}: {found}"
        return None


class _Search:
    """One topic's history."""

    def __init__(self, operations: Sequence[Operation], effects: Sequence[Effect]) -> None:
        told = [one for one in operations if one.ending is not Ending.NOTHING_DONE]
        self._effects = effects
        self._writes = [one for one in told if one.changes]
        self._reads = [one for one in told if not one.changes and one.ending is not Ending.UNKNOWN]
        self._furthest = 0

    def problem(self) -> str | None:
        """Depth first; a stack of its own, since histories are longer than Python's."""
        seen: set[tuple[int, int, int]] = set()
        stack: list[tuple[int, int, int, TopicState]] = [(0, 0, 0, None)]
        while stack:
            position, writes, reads, state = stack.pop()
            self._furthest = max(self._furthest, position)
            reads = self._take_reads(writes, reads, state)
            if (position, writes, reads) in seen:
                continue
            seen.add((position, writes, reads))
            if self._complete(position, writes, reads):
                return None
            for index, end in self._next(position, writes, self._horizon(writes, reads), state):
                one = self._writes[index]
                stack.append((end, writes | 1 << index, reads, after(one, state)))
        lines = "; ".join(str(one) for one in [*self._writes, *self._reads])
        return f"no order explains {lines}; the log has {self._effects}, understood up to {self._furthest}"

    def _next(self, position: int, writes: int, horizon: int, state: TopicState) -> list[tuple[int, int]]:
        """Who may have made the next change of the log, and where it ends.

        Of operations that do the same only the one that ended first: whichever order has another one in its place
        also holds with this one.
        """
        found: dict[tuple[Kind, int, str], tuple[int, int]] = {}
        for index, one in enumerate(self._writes):
            if writes >> index & 1 or one.began > horizon or not allows(one, state):
                continue
            made = made_by(one, state)
            end = position + len(made)
            if tuple(self._effects[position:end]) != made:
                continue
            what = (one.kind, one.count, one.value if one.kind in VALUED else "")
            known = found.get(what)
            if known is None or self._writes[known[0]].ended > one.ended:
                found[what] = (index, end)
        return list(found.values())

    def _take_reads(self, writes: int, reads: int, state: TopicState) -> int:
        """Every read that fits now is taken now: it changes nothing, and later it may not fit any more."""
        before = -1
        while reads != before:
            before, horizon = reads, self._horizon(writes, reads)
            for index, one in enumerate(self._reads):
                if not reads >> index & 1 and (one.stale or one.began <= horizon) and allows(one, state):
                    reads |= 1 << index
        return reads

    def _horizon(self, writes: int, reads: int) -> int:
        """Until when the first of those ended that must still come: nothing that began later may come before it."""
        ends = [one.ended for index, one in enumerate(self._writes) if not writes >> index & 1]
        ends += [one.ended for index, one in enumerate(self._reads) if not reads >> index & 1]
        return min(ends, default=FOR_EVER)

    def _complete(self, position: int, writes: int, reads: int) -> bool:
        """The log is explained; what is missing may never have happened."""
        if position < len(self._effects) or reads.bit_count() < len(self._reads):
            return False
        missing = (one for index, one in enumerate(self._writes) if not writes >> index & 1)
        return all(one.ending is Ending.UNKNOWN for one in missing)


def made_by(operation: Operation, state: TopicState) -> tuple[Effect, ...]:
    """What a change leaves in the log."""
    match operation.kind:
        case Kind.CREATE:
            return ("created", operation.value, *["partition"] * operation.count)
        case Kind.GROW:
            return ("partition",) * (operation.count - (0 if state is None else state[0]))
        case Kind.DELETE:
            return ("deleted",)
        case _:
            return (operation.value,)
