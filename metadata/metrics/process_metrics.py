"""What the process tells, whatever runs in it: its version, its memory, how late its event loop is (shell).

The `process_…` values are prometheus-client's own, read from /proc when somebody asks; they are declared here for the
documentation only.
"""

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import trio

from quorate.metadata.metrics.declared import Family, Kind, Sample, gauge, histogram
from quorate.metadata.metrics.histogram import Histogram

_LAG_SAMPLE_S: Final = 0.25
_LAG_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

BUILD: Final = gauge(
    "build_info", "Always 1; the labels tell what runs.", labels=("version", "python"), kafka="app-info"
)
LOOP_LAG: Final = histogram(
    "event_loop_lag_seconds",
    "How late a task woke that wanted to wake four times a second: the time for which everything else waits too.",
    unit="seconds",
)


def _of_the_library(name: str, meaning: str, unit: str, kind: Kind = Kind.GAUGE) -> Family:
    return Family(name=f"process_{name}", kind=kind, meaning=meaning, unit=unit)


OF_THE_LIBRARY: Final[tuple[Family, ...]] = (
    _of_the_library("virtual_memory_bytes", "Virtual memory size.", "bytes"),
    _of_the_library("resident_memory_bytes", "Resident memory size.", "bytes"),
    _of_the_library("start_time_seconds", "When the process started, since the Unix epoch.", "seconds"),
    _of_the_library("cpu_seconds_total", "User and system time spent.", "seconds", Kind.COUNTER),
    _of_the_library("open_fds", "Open file descriptors.", ""),
    _of_the_library("max_fds", "How many may be open.", ""),
)
"""On Linux; elsewhere they are missing."""

FAMILIES: Final[tuple[Family, ...]] = (BUILD, LOOP_LAG)


class LoopLag:
    """Measures how late this process comes to its tasks."""

    def __init__(self) -> None:
        self.seconds = Histogram(_LAG_BOUNDS_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + _LAG_SAMPLE_S
            await trio.sleep_until(due)
            self.seconds.add(max(0.0, trio.current_time() - due))


class ProcessMetrics:
    """Reads what does not belong to a part of the node."""

    def __init__(self, lag: LoopLag) -> None:
        self._lag = lag
        self._build = (metadata.version("quorate"), platform.python_version())

    def samples(self) -> Iterator[Sample]:
        yield BUILD.of(1, *self._build)
        yield LOOP_LAG.of(self._lag.seconds)
