"""A bug put in on purpose in the log on files, where the simulator's disks are none: see `planted_bugs`."""

import random
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final
from unittest.mock import patch

from quorate.metadata.ids import Offset
from quorate.metadata.log.refusals import CorruptLog
from quorate.metadata.log.segment import Segment
from tests.metadata.log.faulty_files import FaultyFiles, ProcessEnds
from tests.metadata.log.test_crashes import Expected, Script, check_what_is_left, life_goes_on
from tests.sim.planted_bugs import planted

CRASHES: Final = 40
"""Of one seed, each at another operation of the same life."""
STEPS: Final = 30


def files_and_crashes(seed: int) -> str | None:
    """The real log on files that keep what was flushed and little else: the power goes at many operations of a life."""
    whole = FaultyFiles()
    Script(seed, whole, Expected()).run(STEPS)
    rng = random.Random(f"cuts {seed}")
    for _ in range(CRASHES):
        files, known = FaultyFiles(), Expected()
        stop = files.stop_at = rng.randint(1, whole.operations)
        try:
            Script(seed, files, known).run(STEPS)
        except ProcessEnds:
            files.crash(rng)
        try:
            log = check_what_is_left(files, known)
            life_goes_on(files, known, log, seed)
        except (AssertionError, KeyError, CorruptLog) as wrong:
            return f"a crash at operation {stop} leaves a log that is not what was promised: {wrong!r}"
    return None


@planted(
    "What was cut off the log stays in its file, and comes back with the next start (etcd#22442).",
    within=5,
    trial=files_and_crashes,
)
def truncated_tail_comes_back() -> Iterator[None]:
    def cut(segment: Segment, position: int, end: Offset) -> None:
        segment.size, segment.end_offset = position, end
        keep = bisect_right(segment._positions, position - 1)
        del segment._offsets[keep:]
        del segment._positions[keep:]

    with patch.object(Segment, "cut", cut):
        yield
