"""On which processor a thread runs: beside the one that waits for it, or wherever there is room (shell).

Where one thread hands work to another and then sleeps until it is done, both can use the same processor. The scheduler
does not know that, and wakes the second on an idle one, which has to be woken itself and has cold caches: a twentieth
of what a single client's write takes. Only Linux is told; elsewhere, and where it is forbidden, nothing happens.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Set
from typing import Final


class ThreadCpu:
    """Where one thread may run. Called by the thread that hands it work."""

    __slots__ = ("_at", "_current", "_native_id")

    def __init__(self) -> None:
        self._native_id: int | None = None  # None: it is left alone
        self._at: int | None = None  # the one processor that it is kept on
        self._current = _SCHED_GETCPU

    def hold(self, thread: threading.Thread) -> None:
        """The thread, which runs."""
        if self._current is not None:
            self._native_id = thread.native_id

    def beside_caller(self) -> None:
        """It is about to work while the caller sleeps."""
        if self._native_id is None or self._current is None:
            return
        cpu = self._current()
        if cpu != self._at:
            self._at = cpu
            self._keep({cpu})

    def anywhere(self) -> None:
        """It works while the caller goes on: wherever that one may run."""
        if self._at is not None:
            self._at = None
            self._keep(os.sched_getaffinity(0))

    def _keep(self, cpus: Set[int]) -> None:
        if self._native_id is not None:
            try:
                os.sched_setaffinity(self._native_id, cpus)
            except OSError:
                self._native_id = None  # not allowed, or the processors are others now


def _sched_getcpu() -> Callable[[], int] | None:
    """The C library's function of that name, for which Python has none."""
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return None


_SCHED_GETCPU: Final = _sched_getcpu()
