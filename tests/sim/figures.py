"""What a run of many worlds amounts to, in numbers: for people who want to know what was tried."""

from collections import Counter
from collections.abc import Iterator

from tests.sim.world import Outcome

FAULTS = (
    "crash",
    "crash that loses records",
    "crash between two effects",
    "all crash",
    "partition",
    "one-way partition",
    "pause",
    "orderly stop",
    "disk lost",
    "disk full",
    "ends: no space left on the disk",
    "fsync stalls",
    "ends: fsync failed",
    "bit flipped",
    "misdirected write",
    "damage found at start",
    "snapshot part damaged",
    "connection given up",
    "request of a dead sender arrives",
    "broker dies for good",
    "old disk restored",
)
RAFT = (
    "becomes leader",
    "truncation",
    "snapshot created",
    "snapshot installed",
    "write acknowledged",
    "write replaced",
    "voter added",
    "voter removed",
    "voter replaced",
    "change of voters undone",
    "change of voters refused",
)
WHOLE = (
    "controller becomes active",
    "batch proposed",
    "client gives up",
    "answer comes too late",
    "read confirmed",
)


class Figures:
    """Sums over worlds."""

    def __init__(self) -> None:
        self.marks: Counter[str] = Counter()
        self.worlds = self.failed = self.events = self.simulated_ms = 0

    def add(self, outcome: Outcome) -> None:
        self.worlds += 1
        self.failed += outcome.violation is not None
        self.events += outcome.events
        self.simulated_ms += outcome.simulated_ms
        self.marks += outcome.marks

    def lines(self, cpu_s: float) -> Iterator[str]:
        cpu_s = max(cpu_s, 1e-9)
        simulated_s = self.simulated_ms / 1000
        yield (
            f"{self.worlds} seeds, {self.failed} failed, {self.events} events, {simulated_s:.0f} simulated s; "
            f"per CPU second {self.events / cpu_s:.0f} events, {simulated_s / cpu_s:.0f} simulated s"
        )
        yield f"faults: {self._listed(FAULTS)}"
        yield f"quorum: {self._listed(RAFT)}"
        yield f"whole clusters: {self._listed(WHOLE)}"
        yield f"clients: {self._listed(sorted(mark for mark in self.marks if _is_of_clients(mark)))}"
        yield f"brokers: {self._listed(sorted(mark for mark in self.marks if mark.startswith('image published')))}"

    def _listed(self, names: tuple[str, ...] | list[str]) -> str:
        return ", ".join(f"{name} {self.marks[name]}" for name in names)


def _is_of_clients(mark: str) -> bool:
    return mark.split(":")[0] in ("create", "delete", "grow", "set", "read")
