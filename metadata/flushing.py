"""The thread that flushes the log: one of its own, since handing work to a pool costs more than the fdatasync (shell).

A follower has nothing to do before its flush has ended, so while the disk is quick it waits for it, some milliseconds
at most: to hear of the end through the event loop takes longer than the flush itself. A flush that is not over by then
is heard of later, and so are the next few; twice as many each time that the first one waited for again is slow too: a
disk that stalls holds nobody up, and one odd flush of a quick disk costs next to nothing. A leader whose batch has a
single request in it waits likewise, since nothing else is likely to arrive meanwhile; one that has gathered several
never does: what arrives goes into one batch, and others may hold the majority.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from quorate.metadata.checks import check
from quorate.metadata.disk_speed import DiskSpeed
from quorate.metadata.metrics.histogram import Histogram
from quorate.metadata.quorum.effects import Flush
from quorate.metadata.thread_cpu import ThreadCpu

_PATIENCE_S: Final = 0.003
_DISTRUST_FLUSHES: Final = 2
_DISTRUST_AT_MOST: Final = 64
_SLOW_MS: Final = 100
"""Where no configuration says it (`quorate.slow.flush.ms`)."""
_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class FlushThread:
    """`run` owns the thread; everything else is called by the node's task."""

    def __init__(
        self,
        flush_log: Callable[[Callable[[], None]], None],
        on_flushed: Callable[[Flush], None],
        *,
        patience_s: float = _PATIENCE_S,
        speed: DiskSpeed | None = None,
    ) -> None:
        """`flush_log` is `Log.flush`. `on_flushed` is told, in the node's task, of each flush whose end `start` did not
        wait for."""
        self.running = False
        """From `start` until its caller, or `on_flushed`, knows the end."""
        self.seconds = Histogram(_BOUNDS_S)
        """How long flushes took. Counted by the thread, and read by anybody."""
        self.speed = DiskSpeed(_SLOW_MS) if speed is None else speed
        """The verdict on the last of them."""
        self.slow = 0
        """Flushes that took longer than a follower waits for one."""
        self._flush_log = flush_log
        self._on_flushed = on_flushed
        self._queue: queue.SimpleQueue[Flush | Callable[[], None] | None] = queue.SimpleQueue()
        self._cpu = ThreadCpu()
        self._ended = threading.Lock()  # held from a flush's begin until what it flushes is durable
        self._handshake = threading.Lock()  # guards `_awaited`
        self._awaited = False
        self._patient = False  # whether the flush that runs was waited for at first
        self._patience_s = patience_s
        self._distrust = 0  # flushes that must be quick before `start` waits for one again
        self._next_distrust = _DISTRUST_FLUSHES
        self._failed = trio.Event()
        self._error: BaseException | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. What a flush raises is raised here: the process must end then."""
        token = trio.lowlevel.current_trio_token()
        thread = threading.Thread(target=self._work, args=(token,), name="flush", daemon=True)
        thread.start()
        self._cpu.hold(thread)
        task_status.started()
        try:
            await self._failed.wait()
        finally:
            self._queue.put(None)
            with trio.CancelScope(shield=True):  # the log's files are closed after this
                await trio.to_thread.run_sync(thread.join)
        if self._error is not None:
            raise self._error

    def start(self, flush: Flush, *, patient: bool) -> bool:
        """Begins a flush; True: it has ended already, and `on_flushed` will not be told.

        What the flush raised is raised here as well if it was waited for.
        """
        check(not self.running, "a flush was asked for while another one runs")
        self.running = True
        patient = patient and self._distrust == 0
        self._awaited = self._patient = patient
        self._ended.acquire()
        if not patient:
            self._cpu.anywhere()
            self._queue.put(flush)
            return False
        self._cpu.beside_caller()
        self._queue.put(flush)
        if self._ended.acquire(timeout=self._patience_s):
            self._ended.release()
        else:
            self._cpu.anywhere()
        with self._handshake:
            ended, self._awaited = not self._awaited, False
        if not ended:
            return False
        if self._error is not None:
            raise self._error
        self.running = False
        return True

    def wait(self) -> None:
        """Returns when no flush runs, and what it does at its end is done."""
        idle = threading.Lock()
        idle.acquire()
        self._queue.put(idle.release)
        idle.acquire()

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (job := self._queue.get()) is not None:
            if isinstance(job, Flush):
                self._carry_out(job, token)
            else:
                job()

    def _carry_out(self, flush: Flush, token: trio.lowlevel.TrioToken) -> None:
        began = time.perf_counter()
        told = False

        def durable() -> None:
            nonlocal told
            told = True
            self._end(flush, time.perf_counter() - began, token)

        try:
            self._flush_log(durable)
        except BaseException as problem:  # noqa: BLE001  whatever it is must end the process, not this thread
            self._error = problem
            if not told:
                durable()
            self._tell(token, self._failed.set)

    def _end(self, flush: Flush, spent: float, token: trio.lowlevel.TrioToken) -> None:
        slow = spent > self._patience_s
        self.seconds.add(spent)
        self.speed.add(spent)
        self.slow += slow
        with self._handshake:
            awaited, self._awaited = self._awaited, False
        in_vain = self._patient and not awaited  # whatever the disk took: this thread may have come late
        self._judge(slow=slow or in_vain)
        self._ended.release()
        if not awaited and self._error is None:
            self._tell(token, partial(self._report, flush))

    def _tell(self, token: trio.lowlevel.TrioToken, report: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(report)

    def _judge(self, *, slow: bool) -> None:
        if slow:
            self._distrust = self._next_distrust
            self._next_distrust = min(self._next_distrust * 2, _DISTRUST_AT_MOST)
        elif self._distrust > 0:
            self._distrust -= 1
        else:
            self._next_distrust = _DISTRUST_FLUSHES

    def _report(self, flush: Flush) -> None:
        self.running = False
        self._on_flushed(flush)
