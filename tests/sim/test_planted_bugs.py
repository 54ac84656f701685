"""The checker is checked: every bug that is put in on purpose must be caught within its number of seeds.

And by its consequences alone: comparing a core's beliefs with its disk, which would give most of them away at once, is
off here. What stays are the laws of `laws.py` on votes, leaders, logs and commits, and the core's own invariants.
Bugs that only one law finds are looked for in `test_laws`, with it and without.
"""

import random
from unittest.mock import patch

import pytest

from quorate.metadata.log.memory import MemoryLog
from tests.sim import planted_bugs, planted_in_membership, planted_in_services
from tests.sim.all_bugs import BUGS
from tests.sim.hunting import first_caught, violation
from tests.sim.options import WorldOptions
from tests.sim.planted_bugs import PlantedBug
from tests.sim.world import World


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.only is None], ids=lambda bug: bug.name)
def test_the_planted_bug_is_caught(bug: PlantedBug) -> None:
    caught = first_caught(bug, by_consequences_only=True)

    assert caught, f"{bug.name} stayed undetected for {bug.within} seeds: {bug.story}"


@pytest.mark.parametrize("bug", {bug.where: bug for bug in BUGS}.values(), ids=lambda bug: bug.where)
def test_the_same_worlds_without_the_bug_are_lawful(bug: PlantedBug) -> None:
    """Else the tests above would pass for another reason."""
    assert [violation(bug, seed) for seed in range(1, 6)] == [None] * 5


def test_asking_before_the_flush_has_ended_is_safe_as_long_as_old_flushes_are_not_believed() -> None:
    """The ground that one of the bugs stands on is no bug itself: the generation is what makes it safe."""
    with planted_bugs.probing_for_divergence():
        found = [World(seed, planted_bugs.slow_disks(seed)).run().violation for seed in range(1, 31)]

    assert found == [None] * 30


def test_a_disk_that_forgets_what_it_flushed_is_caught() -> None:
    """Nothing of the core is wrong then; its promises are broken all the same."""
    honest = MemoryLog.crash

    def crash(log: MemoryLog, rng: random.Random) -> None:
        log.truncate_to(log.summary().start)
        honest(log, rng)

    with patch.object(MemoryLog, "crash", crash):
        world = World(1, WorldOptions(crash_every_ms=500, crash_all=1.0, down_ms=(1, 50)))
        world.laws.by_consequences_only = True
        assert world.run().violation is not None


def test_there_are_enough_of_them() -> None:
    names = {bug.name for bug in BUGS}
    assert len(names) == len(BUGS) >= 70
    assert planted_in_services.busy_failovers in {bug.worlds for bug in BUGS}
    assert planted_in_membership.undone_changes in {bug.worlds for bug in BUGS}
