"""Every planted bug there is: importing this makes the list complete."""

from typing import Final

from tests.sim import (
    planted_bugs,
    planted_for_laws,
    planted_in_files,
    planted_in_membership,
    planted_in_migration,
    planted_in_services,
    planted_in_stories,
)
from tests.sim.planted_bugs import PlantedBug

MODULES: Final = (
    planted_bugs,
    planted_in_services,
    planted_in_stories,
    planted_in_files,
    planted_in_membership,
    planted_in_migration,
    planted_for_laws,
)
_IN_ORDER: Final = [module.__name__ for module in MODULES]
BUGS: Final[tuple[PlantedBug, ...]] = tuple(
    sorted(planted_bugs.PLANTED_BUGS, key=lambda bug: _IN_ORDER.index(bug.plant.__module__))
)
"""In one order, whichever of the modules was imported first."""
BY_NAME: Final = {bug.name: bug for bug in BUGS}
