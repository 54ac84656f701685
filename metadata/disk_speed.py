"""Whether this node's disk is slow: the median of its last flushes against a limit (pure).

A write waits for the flushes of a majority, and a leader's heartbeats wait behind nothing; so a slow disk shows as slow
writes, for which nobody knows the reason. It is named in the log, in the metrics and, since Kafka's protocol has no
place for it, as what this node answers when it is asked for the config `OBSERVED_FLUSH` by its name.
"""

from statistics import median
from typing import Final

SLOW_FLUSH: Final = "quorate.slow.flush.ms"
OBSERVED_FLUSH: Final = "quorate.observed.flush.median.ms"
LOOKS_AT: Final = 20
"""Flushes: one that stalls says nothing, and a disk that recovers is believed soon."""
_NEEDS: Final = 5
_TOLD_EVERY_MS: Final = 60_000


class DiskSpeed:
    """`add` may be called by the thread that flushes; all else belongs to the node's task."""

    def __init__(self, slow_ms: int) -> None:
        self.slow_ms = slow_ms
        self._spent_ms: list[float] = []
        self._at = 0
        self._told_slow = False
        self._tell_at_ms = 0

    def add(self, seconds: float) -> None:
        if len(self._spent_ms) < LOOKS_AT:
            self._spent_ms.append(seconds * 1000)
        else:
            self._spent_ms[self._at] = seconds * 1000
            self._at = (self._at + 1) % LOOKS_AT

    @property
    def median_ms(self) -> int | None:
        """None: too few flushes so far."""
        seen = list(self._spent_ms)
        return round(median(seen)) if len(seen) >= _NEEDS else None

    @property
    def slow(self) -> bool:
        return is_slow(self.median_ms, self.slow_ms)

    def news(self, now_ms: int) -> str | None:
        """What the log should say now: at a change, and once a minute while the disk is slow."""
        taken, slow = self.median_ms, self.slow
        if taken is None or (slow == self._told_slow and (not slow or now_ms < self._tell_at_ms)):
            return None
        self._told_slow, self._tell_at_ms = slow, now_ms + _TOLD_EVERY_MS
        if slow:
            return f"the disk is slow: {verdict(taken, self.slow_ms)}"
        return f"the disk is quick again: a flush takes {taken} ms"

    def observed(self) -> dict[str, str]:
        taken = self.median_ms
        return {} if taken is None else {OBSERVED_FLUSH: str(taken)}


def is_slow(median_ms: int | None, slow_ms: int) -> bool:
    return median_ms is not None and median_ms > slow_ms


def verdict(median_ms: int, slow_ms: int) -> str:
    """For people."""
    return f"it takes {median_ms} ms for a flush (median of the last {LOOKS_AT}; more than {slow_ms})"
