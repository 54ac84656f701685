"""Driving a step object (`step(event, now) -> effects`, `next_deadline()`) by events and by the clock (shell).

An effect that is carried out may bring the next event at once (a connection that fails before `send` returns).
Events therefore queue and are taken one by one, each with all its effects, in the order in which they came.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from quorate.metadata.node import now_ms

Event = TypeVar("Event")
Effect = TypeVar("Effect")


class Driver(Generic[Event, Effect]):
    """`take` is synchronous; `run` only keeps the deadlines."""

    def __init__(
        self,
        *,
        step: Callable[[Event, int], Sequence[Effect]],
        next_deadline: Callable[[], int | None],
        carry_out: Callable[[Effect], None],
        time_passed: Event,
    ) -> None:
        self._step = step
        self._next_deadline = next_deadline
        self._carry_out = carry_out
        self._time_passed = time_passed
        self._events: deque[Event] = deque()
        self._taking = False
        self._armed_ms: int | None = None
        self._earlier = trio.lowlevel.ParkingLot()

    def take(self, event: Event) -> None:
        """Has the event, and all that follows from it at once, dealt with; or, from within an effect, queues it."""
        self._events.append(event)
        if self._taking:
            return
        self._taking = True
        try:
            while self._events:
                for effect in self._step(self._events.popleft(), now_ms()):
                    self._carry_out(effect)
        finally:
            self._taking = False
        deadline = self._next_deadline()
        if deadline is not None and (self._armed_ms is None or deadline < self._armed_ms):
            self._earlier.unpark()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._armed_ms = self._next_deadline()
            # Half a millisecond late: seconds in a float, made milliseconds again, may fall short of the deadline.
            limit = float("inf") if self._armed_ms is None else (self._armed_ms + 0.5) / 1000
            with trio.CancelScope(deadline=limit):
                await self._earlier.park()
            deadline = self._next_deadline()
            if deadline is not None and deadline <= now_ms():
                self.take(self._time_passed)
