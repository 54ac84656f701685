"""Looking for a planted bug, seed after seed: by all laws, or by consequences alone."""

from quorate.metadata.checks import InvariantViolated
from tests.sim.planted_bugs import PlantedBug
from tests.sim.world import World


def violation(bug: PlantedBug, seed: int, *, by_consequences_only: bool = False) -> str | None:
    """What is wrong in the seed's world, or in its trial. The bug must be planted, or not be, by the caller.

    `by_consequences_only`: nobody compares a core's beliefs with its disk, or an answer with the log at once.
    """
    if bug.trial is not None:
        try:
            return bug.trial(seed)
        except InvariantViolated as violated:
            return str(violated)
        except Exception as problem:  # noqa: BLE001  whatever escapes from a node would have ended its process
            return f"a node would have died of {problem!r}"
    world = World(seed, bug.worlds(seed))
    world.laws.by_consequences_only = by_consequences_only
    if world.laws.images is not None:
        world.laws.images.by_consequences_only = by_consequences_only
    return world.run().violation


def first_caught(
    bug: PlantedBug, seeds: int | None = None, *, by_consequences_only: bool = False
) -> tuple[int, str] | None:
    """Plants the bug; the first seed, up to its own limit or to `seeds`, that gives it away, and how."""
    with bug.plant():
        for seed in range(1, (bug.within if seeds is None else seeds) + 1):
            found = violation(bug, seed, by_consequences_only=by_consequences_only)
            if found is not None:
                return seed, found
    return None
