"""A world that fails, made smaller: fewer steps, fewer kinds of trouble, fewer nodes, as long as something is violated.

What is left is no proof of what matters, but a reader has less to look at. Each try is another world of the same seed.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from tests.sim.options import WITHOUT, WorldOptions, without
from tests.sim.world import Outcome, World

SHRINK_CPU_S: Final = 30.0
_LESS: Final = {
    "voters": (1, 2, 3),
    "observers": (0, 1),
    "spares": (0, 1),
    "brokers": (1, 2),
    "clients": (1, 2),
    "topics": (1,),
}
"""What to try instead, least first. A whole cluster keeps a broker: without one it is of another kind."""


@attrs.frozen
class Shrunk:
    """The smallest failing world that was found."""

    options: WorldOptions
    outcome: Outcome
    """Its `steps` are those to replay it with."""
    tries: int


def shrink(outcome: Outcome, options: WorldOptions, cpu_s: float = SHRINK_CPU_S) -> Shrunk:
    """`outcome` is that of a failing world with these options."""
    return _Shrinker(outcome, options, time.process_time() + cpu_s).run()


def law_of(violation: str) -> str:
    """The words of a violation that do not depend on who, where and when: one law is not exchanged for another."""
    words = re.sub(r"\(.*\)|\[.*?\]", "", violation.split(";")[0]).split()
    return " ".join(word for word in words if not any(sign.isdigit() for sign in word))


class _Shrinker:
    def __init__(self, outcome: Outcome, options: WorldOptions, until_s: float) -> None:
        self._options, self._outcome, self._until_s = options, _trimmed(outcome), until_s
        self._given = outcome.steps
        self._tries = 0

    def run(self) -> Shrunk:
        again = True
        while again and self._in_time:
            again = self._fewer_steps()
            for smaller in self._smaller():
                again = self._try(smaller, self._given) or again
        return Shrunk(self._options, self._outcome, self._tries)

    @property
    def _in_time(self) -> bool:
        return time.process_time() < self._until_s

    def _fewer_steps(self) -> bool:
        """Only where it fails after healing: else it ends at the violation already."""
        found = False
        for part in (0.0, 0.25, 0.5, 0.75):
            found = self._try(lambda options: options, int(self._outcome.steps * part)) or found
        return found

    def _smaller(self) -> Iterator[Callable[[WorldOptions], WorldOptions]]:
        for name in WITHOUT:
            yield lambda options, name=name: without(options, name)
        for field, values in _LESS.items():
            for value in values:
                yield (
                    lambda options, field=field, value=value: (
                        attrs.evolve(options, **{field: value})
                        if value < getattr(options, field)
                        else options
                    )
                )

    def _try(self, change: Callable[[WorldOptions], WorldOptions], steps: int) -> bool:
        options = change(self._options)
        if not self._in_time or (options == self._options and steps >= self._outcome.steps):
            return False
        self._tries += 1
        outcome = World(self._outcome.seed, options).run(steps)
        if outcome.violation is None or law_of(outcome.violation) != law_of(self._outcome.violation or ""):
            return False
        self._options, self._outcome = options, _trimmed(outcome)
        return True


def _trimmed(outcome: Outcome) -> Outcome:
    """The violation ends the world, so no later step is needed. It may have come between two events."""
    return attrs.evolve(outcome, steps=min(outcome.steps, outcome.events + 1))
