"""The flush thread: who is told of a flush's end, once, and who is never held up by a disk that stalls."""

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from quorate.metadata.flushing import FlushThread
from quorate.metadata.ids import Offset
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.quorum.effects import Flush

FIRST, SECOND = Flush(Offset(5), 0), Flush(Offset(9), 0)
LONG_S = 60.0


class Reports:
    """What `on_flushed` was told."""

    def __init__(self) -> None:
        self.flushes: list[Flush] = []
        self._changed = trio.Event()

    def take(self, flush: Flush) -> None:
        self.flushes.append(flush)
        self._changed.set()

    async def next(self) -> Flush:
        with trio.fail_after(LONG_S):
            await self._changed.wait()
        self._changed = trio.Event()
        return self.flushes[-1]


@asynccontextmanager
async def flushing(
    flush_disk: Callable[[], None],
    reports: Reports,
    *,
    patience_s: float,
    afterwards: Callable[[], None] = lambda: None,
) -> AsyncIterator[FlushThread]:
    """`afterwards`: what the log does when all is durable, and nobody waits for."""

    def flush_log(durable: Callable[[], None]) -> None:
        flush_disk()
        durable()
        afterwards()

    flushes = FlushThread(flush_log, reports.take, patience_s=patience_s)
    async with trio.open_nursery() as nursery:
        await nursery.start(flushes.run)
        yield flushes
        nursery.cancel_scope.cancel()


def quick() -> None:
    """A disk that takes no time."""


def run(test: Callable[[], object]) -> None:
    trio.run(test)  # type: ignore[arg-type]


def test_a_follower_knows_the_end_of_a_quick_flush_at_once_and_is_not_told_again() -> None:
    async def scene() -> None:
        reports = Reports()
        async with flushing(quick, reports, patience_s=LONG_S) as flushes:
            ended = [flushes.start(flush, patient=True) for flush in (FIRST, SECOND)]
            assert not flushes.running
        assert (ended, reports.flushes) == ([True, True], [])

    run(scene)


def test_how_long_flushes_took_is_counted_in_time_for_whoever_hears_of_the_end() -> None:
    async def scene() -> None:
        reports, disk = Reports(), threading.Event()

        def stalls_once() -> None:
            disk.wait(LONG_S)

        async with flushing(stalls_once, reports, patience_s=0.0) as flushes:
            flushes.start(FIRST, patient=False)
            assert (flushes.seconds.count, flushes.slow) == (0, 0)
            disk.set()
            await reports.next()
            assert (flushes.seconds.count, flushes.slow) == (1, 1)
            flushes._patience_s = LONG_S
            flushes.start(SECOND, patient=False)
            await reports.next()
            assert (flushes.seconds.count, flushes.slow) == (2, 1)
            assert flushes.seconds.sum > 0

    run(scene)


def test_the_thread_runs_where_it_is_waited_for_and_anywhere_once_it_is_slow_or_nobody_waits() -> None:
    async def scene() -> None:
        allowed = os.sched_getaffinity(0)
        reports, disk = Reports(), threading.Event()
        disk.set()

        def stalls() -> None:
            disk.wait(LONG_S)

        async with flushing(stalls, reports, patience_s=LONG_S) as flushes:
            thread = next(one for one in threading.enumerate() if one.name == "flush").native_id
            assert thread is not None
            assert flushes.start(FIRST, patient=True)
            assert len(os.sched_getaffinity(thread)) == 1
            assert not flushes.start(SECOND, patient=False)
            assert os.sched_getaffinity(thread) == allowed
            await reports.next()
            assert flushes.start(FIRST, patient=True)
            flushes._patience_s = 0.0
            disk.clear()
            assert not flushes.start(SECOND, patient=True)
            assert os.sched_getaffinity(thread) == allowed, (
                "a slow flush is kept on a processor that others want"
            )
            disk.set()
            await reports.next()

    run(scene)


def test_a_leader_never_waits_and_is_told() -> None:
    async def scene() -> None:
        reports = Reports()
        async with flushing(quick, reports, patience_s=LONG_S) as flushes:
            assert not flushes.start(FIRST, patient=False)
            assert flushes.running
            assert await reports.next() == FIRST
            assert not flushes.running

    run(scene)


def test_a_disk_that_stalls_holds_nobody_up_and_is_not_waited_for_next_time() -> None:
    async def scene() -> None:
        reports, disk = Reports(), threading.Event()
        began = threading.Event()

        def stalls() -> None:
            began.set()
            disk.wait(LONG_S)

        async with flushing(stalls, reports, patience_s=0.001) as flushes:
            assert not flushes.start(FIRST, patient=True)
            assert began.wait(LONG_S)
            disk.set()
            assert await reports.next() == FIRST
            assert not flushes.start(SECOND, patient=True), "waited although the last one was slow"
            assert await reports.next() == SECOND

    run(scene)


def test_each_stall_in_a_row_is_distrusted_for_twice_as_long_and_a_quick_disk_is_trusted_again() -> None:
    async def scene() -> None:
        reports = Reports()

        async with flushing(quick, reports, patience_s=LONG_S) as flushes:

            async def begin(*, slow: bool = False) -> bool:
                flushes._patience_s = 0.0 if slow else LONG_S  # what this machine does decides nothing
                ended = flushes.start(FIRST, patient=not slow)
                if not ended:
                    await reports.next()
                return ended

            for distrusted in (2, 4, 8, 16, 32, 64, 64):
                await begin(slow=True)
                assert [await begin() for _ in range(distrusted)] == [False] * distrusted
            assert await begin(), "not waited for although the disk was quick for long"
            await begin(slow=True)
            assert [await begin() for _ in range(3)] == [False, False, True]

    run(scene)


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("durable", [False, True])
def test_a_flush_that_fails_ends_the_node(patient: bool, durable: bool) -> None:
    """Also one that fails when all is durable already, and who waited has gone on."""

    def fails() -> None:
        raise StorageFailed("no disk")

    async def scene() -> None:
        disk, afterwards = (quick, fails) if durable else (fails, quick)
        async with flushing(disk, Reports(), patience_s=LONG_S, afterwards=afterwards) as flushes:
            flushes.start(FIRST, patient=patient)
            with trio.fail_after(LONG_S):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as raised:
        run(scene)
    assert raised.group_contains(StorageFailed)


def test_waiting_ends_with_the_flush() -> None:
    """A log must not be cut under a flush."""

    async def scene() -> None:
        reports, disk, order = Reports(), threading.Event(), list[str]()

        def stalls() -> None:
            disk.wait(LONG_S)
            order.append("flushed")

        async with flushing(stalls, reports, patience_s=0.0) as flushes:
            flushes.start(FIRST, patient=False)
            threading.Timer(0.0, disk.set).start()
            flushes.wait()
            order.append("waited")
            await reports.next()
        assert order == ["flushed", "waited"]

    run(scene)


def test_what_the_log_does_when_all_is_durable_holds_nobody_up_but_who_cuts_the_log() -> None:
    async def scene() -> None:
        reports, slow, order = Reports(), threading.Event(), list[str]()

        def marks() -> None:
            slow.wait(LONG_S)
            order.append("marked")

        async with flushing(quick, reports, patience_s=LONG_S, afterwards=marks) as flushes:
            assert flushes.start(FIRST, patient=True)
            assert not flushes.start(SECOND, patient=False)
            order.append("began the next one")
            threading.Timer(0.0, slow.set).start()
            flushes.wait()
            order.append("waited")
            assert await reports.next() == SECOND
        assert order == ["began the next one", "marked", "marked", "waited"]

    run(scene)
