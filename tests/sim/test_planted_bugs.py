"""The checker is checked: every bug that is put in on purpose must be caught within its number of seeds.

And by its consequences alone: comparing a core's beliefs with its disk, which would give most of them away at once, is
off here. What stays are the laws of `laws.py` on votes, leaders, logs and commits, and the core's own invariants.
"""

import random
from unittest.mock import patch

import pytest

from quorate.metadata.log.memory import MemoryLog
from tests.sim import planted_bugs, planted_in_membership, planted_in_services
from tests.sim.options import WorldOptions
from tests.sim.planted_bugs import PLANTED_BUGS, PlantedBug
from tests.sim.world import World


def violation(seed: int, options: WorldOptions) -> str | None:
    world = World(seed, options)
    world.laws.by_consequences_only = True
    if world.laws.images is not None:
        world.laws.images.by_consequences_only = True
    return world.run().violation


@pytest.mark.parametrize("bug", PLANTED_BUGS, ids=lambda bug: bug.name)
def test_the_planted_bug_is_caught(bug: PlantedBug) -> None:
    with bug.plant():
        caught = any(violation(seed, bug.worlds(seed)) for seed in range(1, bug.within + 1))

    assert caught, f"{bug.name} stayed undetected for {bug.within} seeds: {bug.story}"


def test_the_same_worlds_without_the_bug_are_lawful() -> None:
    """Else the tests above would pass for another reason."""
    kinds = sorted({bug.worlds for bug in PLANTED_BUGS}, key=lambda one: one.__name__)

    found = [violation(seed, worlds(seed)) for worlds in kinds for seed in range(1, 6)]

    assert found == [None] * len(found)


def test_asking_before_the_flush_has_ended_is_safe_as_long_as_old_flushes_are_not_believed() -> None:
    """The ground that one of the bugs stands on is no bug itself: the generation is what makes it safe."""
    with planted_bugs.probing_for_divergence():
        found = [violation(seed, planted_bugs.slow_disks(seed)) for seed in range(1, 31)]

    assert found == [None] * 30


def test_a_disk_that_forgets_what_it_flushed_is_caught() -> None:
    """Nothing of the core is wrong then; its promises are broken all the same."""
    honest = MemoryLog.crash

    def crash(log: MemoryLog, rng: random.Random) -> None:
        log.truncate_to(log.summary().start)
        honest(log, rng)

    with patch.object(MemoryLog, "crash", crash):
        assert violation(1, WorldOptions(crash_every_ms=500, crash_all=1.0, down_ms=(1, 50))) is not None


def test_there_are_enough_of_them() -> None:
    names = {bug.name for bug in PLANTED_BUGS}
    assert len(names) == len(PLANTED_BUGS) >= 30
    assert planted_in_services.busy_failovers in {bug.worlds for bug in PLANTED_BUGS}
    assert planted_in_membership.undone_changes in {bug.worlds for bug in PLANTED_BUGS}
