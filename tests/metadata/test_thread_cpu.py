"""Real threads and the real scheduler's word about them."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from quorate.metadata.thread_cpu import ThreadCpu

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told")


@pytest.fixture
def allowed() -> Iterator[set[int]]:
    """The processors of this thread, which gets them back afterwards."""
    cpus = os.sched_getaffinity(0)
    yield cpus
    os.sched_setaffinity(0, cpus)


@pytest.fixture
def here(allowed: set[int]) -> int:
    """The one processor that this thread runs on meanwhile."""
    cpu = max(allowed)
    os.sched_setaffinity(0, {cpu})
    return cpu


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    end = threading.Event()
    found = threading.Thread(target=end.wait, daemon=True)
    found.start()
    yield found
    end.set()
    found.join()


def may_run_on(thread: threading.Thread) -> set[int]:
    assert thread.native_id is not None
    return os.sched_getaffinity(thread.native_id)


def test_it_is_kept_beside_the_caller_and_let_go_again(allowed: set[int], thread: threading.Thread) -> None:
    placed = ThreadCpu()
    placed.hold(thread)
    for cpu in sorted(allowed):
        os.sched_setaffinity(0, {cpu})
        placed.beside_caller()
        assert may_run_on(thread) == {cpu}
    os.sched_setaffinity(0, allowed)
    placed.anywhere()
    assert may_run_on(thread) == allowed


def test_it_gets_back_no_more_than_its_owner_may_use(here: int, thread: threading.Thread) -> None:
    placed = ThreadCpu()
    placed.hold(thread)
    placed.beside_caller()
    placed.anywhere()
    assert may_run_on(thread) == {here}


def test_before_it_is_held_and_after_a_refusal_nothing_happens(
    here: int, thread: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = ThreadCpu()
    placed.beside_caller()
    placed.anywhere()
    before = may_run_on(thread)
    placed.hold(thread)

    asked: list[set[int]] = []

    def forbidden(_thread: int, cpus: set[int]) -> None:
        asked.append(cpus)
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    placed.beside_caller()
    placed.anywhere()
    placed.beside_caller()
    monkeypatch.undo()
    assert asked == [{here}]
    assert may_run_on(thread) == before
