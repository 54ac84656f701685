"""Driving a step object: every effect of one event before the next event, and each deadline once, on time."""

import pytest
import trio
import trio.testing

from quorate.broker.driver import Driver
from quorate.metadata.node import now_ms

Clock = trio.testing.MockClock


class Counter:
    """A step object that wants to be woken at the times it is told, and notes when it was."""

    def __init__(self) -> None:
        self.deadlines: list[int] = []
        self.woken: list[int] = []
        self.done: list[str] = []
        self.driver: Driver[str, str] = Driver(
            step=self.step,
            next_deadline=lambda: min(self.deadlines, default=None),
            carry_out=self.carry_out,
            time_passed="time",
        )

    def step(self, event: str, now_ms: int) -> list[str]:
        if event == "time":
            self.woken.append(now_ms)
            self.deadlines = [one for one in self.deadlines if one > now_ms]
        elif event.startswith("at "):
            self.deadlines.append(int(event[3:]))
        return [f"{event}, first", f"{event}, second"]

    def carry_out(self, effect: str) -> None:
        self.done.append(effect)
        if effect == "one, first":
            self.driver.take("two")


def test_what_an_effect_brings_waits_for_its_turn() -> None:
    async def main() -> list[str]:
        counter = Counter()
        counter.driver.take("one")
        await trio.lowlevel.checkpoint()
        return counter.done

    assert trio.run(main) == ["one, first", "one, second", "two, first", "two, second"]


@pytest.mark.parametrize("first", range(1000, 1020))
async def test_every_deadline_is_met_whatever_a_float_makes_of_it(first: int, autojump_clock: Clock) -> None:
    counter = Counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.driver.run)
        begin = now_ms()
        counter.driver.take(f"at {begin + first}")
        await trio.sleep(0.5)
        counter.driver.take(f"at {begin + 700}")  # earlier than the one it waits for
        with trio.fail_after(10):
            await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert counter.woken == [begin + 700, begin + first]
