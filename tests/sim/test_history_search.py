"""The checker of histories against one that tries every order, on small histories; and mutants of it, which differ.

The other one is too slow for more than a few operations, and too simple to be wrong: all orders of all subsets, each
held to what every client saw. What a client is told must fit the moment; what it was told to be old must fit an earlier
one; what it was never told may have happened, or not.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim import history as subject
from tests.sim.history import (
    FOR_EVER,
    Effect,
    Ending,
    History,
    Kind,
    Operation,
    Sight,
    TopicState,
    after,
    allows,
    made_by,
)

MOST: Final = 5
MUTANT_HISTORIES: Final = 3000


# ---- the slow one ------------------------------------------------------------------------------------------


def is_explained(operations: Sequence[Operation], effects: Sequence[Effect]) -> bool:
    """Whether any order of what happened explains all that was seen and all that is in the log."""
    told = [one for one in operations if one.ending is not Ending.NOTHING_DONE]
    sure = [one for one in told if one.ending is not Ending.UNKNOWN]
    unknown = [one for one in told if one.ending is Ending.UNKNOWN and one.changes]
    for count in range(len(unknown) + 1):
        for happened in itertools.combinations(unknown, count):
            for order in itertools.permutations([*sure, *happened]):
                if _keeps_time(order) and _explains(order, effects):
                    return True
    return False


def _keeps_time(order: Sequence[Operation]) -> bool:
    """What had ended comes before what began later; only an old answer may be from before its question."""
    return not any(
        later.ended < earlier.began and not earlier.stale
        for earlier, later in itertools.combinations(order, 2)
    )


def _explains(order: Sequence[Operation], effects: Sequence[Effect]) -> bool:
    state: TopicState = None
    made: list[Effect] = []
    for one in order:
        if not allows(one, state):
            return False
        if one.changes:
            made += made_by(one, state)
            state = after(one, state)
    return made == list(effects)


# ---- small histories -----------------------------------------------------------------------------------------


KINDS: Final = (
    (Kind.CREATE, Kind.CREATE, Kind.SET, Kind.DELETE, Kind.GROW, Kind.READ, Kind.READ, Kind.PROBE),
    (Kind.CREATE, Kind.GROW, Kind.GROW, Kind.GROW, Kind.READ),
    (Kind.CREATE, Kind.READ),
)


def small_history(rng: random.Random) -> tuple[History, list[Effect]]:
    """Mostly what a register would do, then now and then something that it would not."""
    history = History()
    count = rng.randint(1, MOST)
    moments = list(range(1, 2 * count + 1))
    rng.shuffle(moments)
    spans = sorted(sorted(moments[2 * index : 2 * index + 2]) for index in range(count))
    kinds = rng.choice(KINDS)
    for began, ended in spans:
        kind = rng.choice(kinds)
        partitions = rng.randint(2, 4) if kind is Kind.GROW else rng.choice([1, 1, 2, 3])
        one = history.begin(rng.randint(1, 3), kind, "t", began, partitions)
        one.ended = ended
    effects = _happen(history.operations, rng)
    if rng.random() < 0.5:
        _spoil(history.operations, effects, rng)
    return history, effects


def _seen(state: TopicState, sight: Sight) -> TopicState:
    """The half that is not shown is anything."""
    if state is None or sight is Sight.ALL:
        return state
    return (state[0], "") if sight is Sight.PARTITIONS else (-1, state[1])


def _happen(operations: Sequence[Operation], rng: random.Random) -> list[Effect]:
    """Each at one moment of its span; what came of it is mostly told, sometimes not."""
    state: TopicState = None
    states: list[TopicState] = [None]
    effects: list[Effect] = []
    for one in sorted(operations, key=lambda one: rng.uniform(one.began, one.ended)):
        one.ending = Ending.DONE
        if one.kind is Kind.READ:
            one.stale = rng.random() < 0.4
            one.sight = rng.choice([Sight.ALL, Sight.ALL, Sight.PARTITIONS, Sight.VALUE])
            one.seen = _seen(rng.choice(states) if one.stale else state, one.sight)
        elif rng.random() < 0.1:
            one.ending = Ending.NOTHING_DONE
        elif rng.random() < 0.1:
            one.ending, one.ended = Ending.UNKNOWN, FOR_EVER  # it did not happen
        elif one.kind is Kind.PROBE:
            one.ending = Ending.DONE if allows(one, state) else Ending.REFUSED
        elif allows(one, state):
            effects += made_by(one, state)
            state = after(one, state)
            states.append(state)
            if rng.random() < 0.25:
                one.ending, one.ended = Ending.UNKNOWN, FOR_EVER
        else:
            one.ending = Ending.REFUSED
    return effects


def _spoil(operations: Sequence[Operation], effects: list[Effect], rng: random.Random) -> None:
    reads = [other for other in operations if other.kind is Kind.READ]
    one = rng.choice(reads or operations)
    match rng.randrange(6):
        case 0 if effects:
            del effects[rng.randrange(len(effects))]
        case 1 if effects:
            effects.insert(rng.randrange(len(effects)), rng.choice(effects))
        case 2 if len(effects) > 1:
            rng.shuffle(effects)
        case 3:
            one.ending = rng.choice([Ending.DONE, Ending.REFUSED, Ending.NOTHING_DONE])
        case 4:
            one.seen = rng.choice([None, *((other.count, other.value) for other in operations)])
        case _ if one.kind is Kind.READ:  # nothing else may ever be old
            one.stale = not one.stale
        case _:
            pass


def agree(history: History, effects: Sequence[Effect]) -> bool:
    return (history.problem({"t": effects}) is None) is is_explained(history.operations, effects)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**48))
def test_both_checkers_say_the_same(seed: int) -> None:
    history, effects = small_history(random.Random(seed))

    assert agree(history, effects), "\n".join([*map(str, history.operations), str(effects)])


def test_the_small_histories_are_of_both_kinds() -> None:
    verdicts = [
        is_explained(history.operations, effects)
        for history, effects in (small_history(random.Random(seed)) for seed in range(400))
    ]

    assert 40 < verdicts.count(False) < 300


# ---- mutants -------------------------------------------------------------------------------------------------


_SEARCH: Final = subject._Search
_next, _complete = _SEARCH._next, _SEARCH._complete


def _window(holds_up: Callable[[Operation], bool]) -> Callable[..., Any]:
    """As the checker's own, but only some of those that must still come hold up what began later."""

    def window(search: Any, taken: int) -> tuple[list[int], int]:
        ended = search._ended
        rest = [index for index in range(len(ended)) if not taken >> index & 1]
        horizon = min((ended[index].ended for index in rest if holds_up(ended[index])), default=FOR_EVER)
        return [index for index in rest if ended[index].began <= horizon], horizon

    return window


def _all_taken(search: Any, taken: int, those: Callable[[Operation], bool]) -> bool:
    return all(taken >> index & 1 for index, one in enumerate(search._ended) if those(one))


MUTANTS: Final[Mapping[str, tuple[Any, str, Callable[..., Any]]]] = {
    "a later one may come before what had ended": (_SEARCH, "_window", _window(lambda one: False)),
    "reads do not hold up what comes later": (_SEARCH, "_window", _window(lambda one: one.changes)),
    "acknowledged writes may be missing": (
        _SEARCH,
        "_complete",
        lambda self, point: (
            point.position == len(self._effects)
            and _all_taken(self, point.taken, lambda one: not one.changes)
        ),
    ),
    "unknown outcomes must have happened": (
        _SEARCH,
        "_complete",
        lambda self, point: _complete(self, point) and point.open_taken.bit_count() == len(self._open),
    ),
    "the end of the log need not be explained": (
        _SEARCH,
        "_complete",
        lambda self, point: _all_taken(self, point.taken, lambda one: True),
    ),
    "reads need not be explained": (
        _SEARCH,
        "_complete",
        lambda self, point: (
            point.position == len(self._effects) and _all_taken(self, point.taken, lambda one: one.changes)
        ),
    ),
    "a read fits whatever the register holds": (
        subject,
        "allows",
        lambda operation, state: operation.kind is Kind.READ or allows(operation, state),
    ),
    "a read of one half is held to the other": (
        subject,
        "allows",
        lambda operation, state: (
            operation.seen == state if operation.kind is Kind.READ else allows(operation, state)
        ),
    ),
    "refusals say nothing": (
        subject,
        "allows",
        lambda operation, state: operation.ending is Ending.REFUSED or allows(operation, state),
    ),
    "probes say nothing": (
        subject,
        "allows",
        lambda operation, state: operation.kind is Kind.PROBE or allows(operation, state),
    ),
    "only the first way on is tried": (
        _SEARCH,
        "_next",
        lambda self, *arguments: _next(self, *arguments)[:1],
    ),
    "no answer may be old": (_SEARCH, "_stale_looks", lambda self, state: 0),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_checker_that_is_wrong_differs(name: str) -> None:
    """Else the histories above would not tell a right checker from a wrong one."""
    target, attribute, mutant = MUTANTS[name]
    with patch.object(target, attribute, mutant):
        assert any(
            (history.problem({"t": effects}) is None) is not _truth(seed)
            for seed in range(MUTANT_HISTORIES)
            for history, effects in [small_history(random.Random(seed))]
        )


_TRUTHS: Final[dict[int, bool]] = {}


def _truth(seed: int) -> bool:
    """By the slow one, which has the real `allows` of its own."""
    if seed not in _TRUTHS:
        history, effects = small_history(random.Random(seed))
        _TRUTHS[seed] = is_explained(history.operations, effects)
    return _TRUTHS[seed]
