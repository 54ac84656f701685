"""Virtual time: one priority queue, whole milliseconds, ties broken by the seed or by order of arrival."""

import heapq
import random
from collections.abc import Callable

Action = Callable[[], None]


class Schedule:
    """What happens when. Only `run_next` moves the time."""

    def __init__(self, rng: random.Random, *, shuffle_ties: bool) -> None:
        self.now_ms = 0
        self._rng = rng
        self._shuffle_ties = shuffle_ties
        self._queue: list[tuple[int, float, int, Action]] = []
        self._last = 0

    def at(self, when_ms: int, action: Action) -> None:
        """Plans an action; one in the past happens now, after what is already planned for now."""
        self._last += 1
        tie = self._rng.random() if self._shuffle_ties else 0.0
        heapq.heappush(self._queue, (max(when_ms, self.now_ms), tie, self._last, action))

    def after(self, delay_ms: int, action: Action) -> None:
        self.at(self.now_ms + delay_ms, action)

    def run_next(self) -> bool:
        """Does the next thing; False if nothing is planned."""
        if not self._queue:
            return False
        self.now_ms, _, _, action = heapq.heappop(self._queue)
        action()
        return True

    def next_at(self) -> int | None:
        return self._queue[0][0] if self._queue else None
