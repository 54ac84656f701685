"""The checker is checked: every bug that is put in on purpose must be caught within its number of seeds."""

import pytest

from tests.sim.planted_bugs import PLANTED_BUGS, PlantedBug
from tests.sim.world import DEFAULT_STEPS, World


@pytest.mark.parametrize("bug", PLANTED_BUGS, ids=lambda bug: bug.name)
def test_the_planted_bug_is_caught(bug: PlantedBug) -> None:
    with bug.plant():
        for seed in range(bug.within):
            try:
                outcome = World(seed, bug.worlds(seed)).run(DEFAULT_STEPS)
            except Exception:  # noqa: BLE001  a node that trips over the bug by itself is caught too
                return
            if outcome.violation is not None:
                return
    pytest.fail(f"{bug.name} stayed undetected for {bug.within} seeds: {bug.story}")


def test_there_are_enough_of_them() -> None:
    names = {bug.name for bug in PLANTED_BUGS}
    assert len(names) == len(PLANTED_BUGS) >= 10
