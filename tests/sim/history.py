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

The simulator's clients and those of real processes (`tests/e2e/faults`) are judged by this same search. Both must be
able to afford it: operations lie in the order in which they began, and only those between the first that is missing
and the first that began too late are ever looked at.
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
    PROBE = "probe"
    """Asks whether it could be created, and creates nothing."""


class Ending(enum.Enum):
    """What the client was told."""

    DONE = "done"
    REFUSED = "refused"
    """Because of what the topic is: such an answer says something about it."""
    NOTHING_DONE = "nothing was done"
    UNKNOWN = "unknown"


class Sight(enum.Enum):
    """Which half of a topic a read shows; the other half of `seen` says nothing."""

    ALL = "all"
    PARTITIONS = "partitions"
    VALUE = "value"


FOR_EVER: Final = 1 << 60
Effect: TypeAlias = str
"""One record in the log: "created", "deleted", "partition", or the value that a config was given."""


EVIDENCE: Final = 8
"""So many operations around the one that cannot be are shown."""
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
    sight: Sight = Sight.ALL
    where: str = ""
    """Who was asked, and when, for people."""

    def __str__(self) -> str:
        what = {
            Kind.CREATE: f" {self.count} {self.value}",
            Kind.GROW: f" {self.count}",
            Kind.SET: f" {self.value}",
            Kind.READ: f" {self.seen}{'' if self.sight is Sight.ALL else f' ({self.sight.value})'}",
        }
        ended = "" if self.ended == FOR_EVER else self.ended
        where = f" at {self.where}" if self.where else ""
        return (
            f"#{self.number} c{self.client} {self.kind.value} {self.topic}{what.get(self.kind, '')} "
            f"[{self.began}..{ended}] {self.ending.value}{' (may be old)' if self.stale else ''}{where}"
        )

    @property
    def changes(self) -> bool:
        looks = self.kind in (Kind.READ, Kind.PROBE)
        return not looks and self.ending in (Ending.DONE, Ending.UNKNOWN)


def allows(operation: Operation, state: TopicState) -> bool:
    """Whether the operation can have ended as it did if this is what it met."""
    match operation.kind, operation.ending:
        case Kind.READ, _:
            return _shows(operation, state)
        case Kind.CREATE | Kind.PROBE, Ending.REFUSED:
            return state is not None
        case Kind.CREATE | Kind.PROBE, _:
            return state is None
        case Kind.GROW, Ending.REFUSED:
            return state is None or state[0] >= operation.count
        case Kind.GROW, _:
            return state is not None and state[0] < operation.count
        case _, Ending.REFUSED:
            return state is None
        case _:
            return state is not None


def _shows(read: Operation, state: TopicState) -> bool:
    seen = read.seen
    if seen is None or state is None or read.sight is Sight.ALL:
        return seen == state
    half = 0 if read.sight is Sight.PARTITIONS else 1
    return seen[half] == state[half]


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
        case Kind.READ | Kind.PROBE:
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
        by_topic: dict[str, list[Operation]] = {topic: [] for topic in effects}
        for one in self.operations:
            by_topic.setdefault(one.topic, []).append(one)
        for topic in sorted(by_topic):
            found = _Search(by_topic[topic], effects.get(topic, ())).problem()
            if found is not None:
                return f"{topic}: {found}"
        return None


@attrs.frozen
class _Point:
    """How far an order has got."""

    position: int
    """In the log."""
    taken: int
    """Which of the operations that ended, a bit each."""
    open_taken: int
    """And of those whose outcome nobody learned."""
    state: TopicState


class _Search:
    """One topic's history."""

    def __init__(self, operations: Sequence[Operation], effects: Sequence[Effect]) -> None:
        told = [one for one in operations if one.ending is not Ending.NOTHING_DONE]
        told.sort(key=lambda one: one.began)
        self._effects = tuple(effects)
        self._ended = [one for one in told if one.ending is not Ending.UNKNOWN]
        self._open = [one for one in told if one.ending is Ending.UNKNOWN and one.changes]
        self._stale = [(1 << index, one) for index, one in enumerate(self._ended) if one.stale]
        self._stale_in: dict[TopicState, int] = {}
        self._furthest = _Point(0, 0, 0, None)

    def problem(self) -> str | None:
        """Depth first; a stack of its own, since histories are longer than Python's."""
        seen: set[tuple[int, int, int]] = set()
        stack = [_Point(0, 0, 0, None)]
        while stack:
            point = self._take_looks(stack.pop())
            key = (point.position, point.taken, point.open_taken)
            if key in seen:
                continue
            seen.add(key)
            if self._furthest_yet(point):
                self._furthest = point
            if self._complete(point):
                return None
            stack += self._next(point)
        return self._evidence()

    def _complete(self, point: _Point) -> bool:
        """The log is explained, and so is every answer; what is missing then may never have happened."""
        return point.position == len(self._effects) and point.taken.bit_count() == len(self._ended)

    def _furthest_yet(self, point: _Point) -> bool:
        best = self._furthest
        return (point.position, point.taken.bit_count()) > (best.position, best.taken.bit_count())

    def _window(self, taken: int) -> tuple[list[int], int]:
        """Who may come next, and the horizon: when the first of those that must still come ended. Nothing that began
        later may come before it."""
        found: list[int] = []
        horizon = FOR_EVER
        first = (~taken & (taken + 1)).bit_length() - 1
        rest = taken >> first
        for index in range(first, len(self._ended)):
            one = self._ended[index]
            if one.began > horizon:
                break
            if not rest & 1:
                found.append(index)
                horizon = min(horizon, one.ended)
            rest >>= 1
        return [index for index in found if self._ended[index].began <= horizon], horizon

    def _take_looks(self, point: _Point) -> _Point:
        """Every look that fits now is taken now: it changes nothing, and later it may not fit any more."""
        state, taken, before = point.state, point.taken | self._stale_looks(point.state), -1
        while taken != before:
            before = taken
            for index in self._window(taken)[0]:
                one = self._ended[index]
                if not one.changes and allows(one, state):
                    taken |= 1 << index
        return _Point(point.position, taken, point.open_taken, state)

    def _stale_looks(self, state: TopicState) -> int:
        """The looks that may be old and fit to a state, also those that began later."""
        if state not in self._stale_in:
            fitting = (bit for bit, one in self._stale if allows(one, state))
            self._stale_in[state] = sum(fitting)
        return self._stale_in[state]

    def _next(self, point: _Point) -> list[_Point]:
        """Who may have made the next change of the log, and where that leads.

        Of operations that do the same only the one that ended first: whichever order has another one in its place
        also holds with this one.
        """
        window, horizon = self._window(point.taken)
        ended = [(1 << index, 0, self._ended[index]) for index in window if self._ended[index].changes]
        unknown = [
            (0, 1 << index, one)
            for index, one in enumerate(self._open)
            if one.began <= horizon and not point.open_taken >> index & 1
        ]
        found: dict[tuple[Kind, int, str], tuple[int, _Point]] = {}
        for bit, open_bit, one in ended + unknown:
            if not allows(one, point.state):
                continue
            made = made_by(one, point.state)
            end = point.position + len(made)
            if self._effects[point.position : end] != made:
                continue
            what = (one.kind, one.count, one.value if one.kind in VALUED else "")
            if what not in found or found[what][0] > one.ended:
                after_it = _Point(
                    end, point.taken | bit, point.open_taken | open_bit, after(one, point.state)
                )
                found[what] = (one.ended, after_it)
        return [after_it for _, after_it in found.values()]

    def _evidence(self) -> str:
        """What the longest order that holds could not take in, and what lies around it."""
        point = self._furthest
        window, horizon = self._window(point.taken)
        missing = [self._ended[index] for index in window]
        before = [one for index, one in enumerate(self._ended) if point.taken >> index & 1]
        before = [one for one in before if one.began <= horizon][-EVIDENCE:]
        unknown = [one for index, one in enumerate(self._open) if not point.open_taken >> index & 1]
        unknown = [one for one in unknown if one.began <= horizon][-EVIDENCE:]
        log = ", ".join(self._effects[point.position : point.position + EVIDENCE]) or "its end"
        head = (
            f"no order explains what clients saw of it; understood up to change {point.position} of "
            f"{len(self._effects)} in the log, where it is {point.state} and the log goes on with: {log}"
        )
        lines = [
            head,
            *(f"  taken in:  {one}" for one in before),
            *(f"  cannot be: {one}" for one in missing),
            *(f"  open:      {one}" for one in unknown),
        ]
        return "\n".join(lines)


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
