"""Many sockets watched by one task, which hands on what arrives in the turn that finds it (shell).

Trio wakes a task for each socket that has something to read, and tells the kernel of that socket again each time: an
eighth of what a busy leader does. Here the kernel is told once, and to trio all sockets are a single file that can be
read from when one of them can. Linux alone has such files.

Where a single write goes back and forth between nodes, the round through trio's loop costs more than the step between
two messages. So whoever handles one may say that it `lingers`: the next message is then waited for right here, a
millisecond at most, and several times in a row before trio has its turn again.
"""

import contextlib
import os
import select
import sys
from collections.abc import Callable
from typing import Any, Final

import trio

from quorate.metadata.checks import check

READ_BYTES: Final = 64 * 1024
"""Asked for at once. A larger buffer is a new mapping of memory for each read."""
PATIENCE_S: Final = 0.001
"""The least that the kernel waits for if it is to wait at all."""
LOOKS_AT_MOST: Final = 4
"""In a row, so that nothing else of this process waits for long. Eight would gain a single client nothing more."""


class Poller:
    """The sockets of one run of trio that are waited for together."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, _Waiting] = {}
        self.lingers = False
        """Set while something is handled: what comes next comes over these sockets, and soon. Only by who waits for
        nothing else: the end of a flush, which a thread reports, would be heard of late."""

    @staticmethod
    def of_this_run() -> "Poller | None":
        """The one that all share; None where the system has nothing to make one of."""
        if sys.platform != "linux":
            return None
        try:
            return _POLLER.get()
        except LookupError:
            poller = Poller()
            _POLLER.set(poller)
            trio.lowlevel.spawn_system_task(poller._run)
            return poller

    @trio.lowlevel.enable_ki_protection
    async def feed(self, descriptor: int, take: Callable[[bytes], bool]) -> bool:
        """Hands to `take` what a socket brings, until that wants no more for now (True) or the stream ends (False).

        `take` is called with the context variables of the caller. What it raises is raised here. The socket is not to
        be closed before this has ended: nobody would be told.

        Raises:
            trio.BrokenResourceError: the connection broke.
        """
        check(descriptor not in self._waiting, "two wait for what one socket brings")
        waiting = _Waiting(trio.lowlevel.current_task(), take)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._waiting[descriptor] = waiting

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._forget(descriptor)
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            if waiting.error is not None:  # even if it ended its own wait first
                raise waiting.error
        return waiting.more

    async def _run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._look(0)
                looks = 0
                while self.lingers and looks < LOOKS_AT_MOST and (looks > 0 or _nothing_is_due()):
                    self._look(PATIENCE_S)
                    looks += 1
        finally:
            self._epoll.close()

    def _look(self, patience_s: float) -> None:
        self.lingers = False
        for descriptor, _ in self._epoll.poll(patience_s):
            waiting = self._waiting.get(descriptor)
            if waiting is not None:  # else it was given up for what another one brought
                self._read(descriptor, waiting)

    def _read(self, descriptor: int, waiting: "_Waiting") -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return  # woken for nothing
        except OSError as error:
            waiting.error = trio.BrokenResourceError(f"socket connection broken: {error}")
            waiting.error.__cause__ = error
        else:
            if data and self._hand_on(data, waiting):
                return
        if self._waiting.get(descriptor) is waiting:  # else it was cancelled meanwhile
            self._forget(descriptor)
            trio.lowlevel.reschedule(waiting.task)

    def _hand_on(self, data: bytes, waiting: "_Waiting") -> bool:
        try:
            if waiting.task.context.run(waiting.take, data):
                return True
            waiting.more = True
        except BaseException as error:  # noqa: BLE001  it belongs to who waits, not to those of other sockets
            waiting.error = error
        return False

    def _forget(self, descriptor: int) -> None:
        del self._waiting[descriptor]
        with contextlib.suppress(OSError):  # closed already: the kernel has forgotten it too
            self._epoll.unregister(descriptor)


class _Waiting:
    """Who waits for one socket."""

    __slots__ = ("error", "more", "take", "task")

    def __init__(self, task: trio.lowlevel.Task, take: Callable[[bytes], bool]) -> None:
        self.task = task
        self.take = take
        self.more = False
        self.error: BaseException | None = None


def _nothing_is_due() -> bool:
    now = trio.lowlevel.current_statistics()
    return now.tasks_runnable == 0 and now.run_sync_soon_queue_size == 0


_POLLER: Final[trio.lowlevel.RunVar[Poller]] = trio.lowlevel.RunVar("poller")
