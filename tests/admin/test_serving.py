"""A node's process is told to stop: once in order, twice at once."""

import io
import os
import signal

import pytest
import structlog
import trio

from quorate.admin.errors import INTERRUPTED
from quorate.admin.explain import translate
from quorate.admin.serving import serve
from quorate.metadata.checks import InvariantViolated


@pytest.fixture
def log(monkeypatch):
    """What goes to the node's own log."""
    said = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.WriteLogger(said), processors=[structlog.dev.ConsoleRenderer(colors=False)]
    )
    monkeypatch.setattr("quorate.admin.serving._log", logger)
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_an_orderly_end(number):
    steps = []

    async def run(stop):
        os.kill(os.getpid(), number)
        await stop.wait()
        steps.append("handed over")

    serve(run, stop_at_eof=False)

    assert steps == ["handed over"]


def test_the_second_signal_ends_it_at_once():
    async def run(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as ended:
        serve(run, stop_at_eof=False)

    assert translate(ended.value).exit_code == INTERRUPTED


def test_the_end_of_the_launcher_asks_for_an_orderly_end(monkeypatch):
    read, write = os.pipe()
    monkeypatch.setattr("quorate.admin.serving._STDIN", read)
    steps = []

    async def run(stop):
        assert not stop.is_set()
        os.close(write)
        await stop.wait()
        steps.append("handed over")

    serve(run, stop_at_eof=True)
    os.close(read)

    assert steps == ["handed over"]


def test_a_node_that_ends_by_itself_ends_the_process():
    async def run(stop):
        await trio.lowlevel.checkpoint()

    serve(run, stop_at_eof=False)


def test_what_nobody_foresaw_goes_to_the_log_with_its_stack(log):
    async def run(stop):
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("oops")

    with pytest.raises(BaseExceptionGroup):
        serve(run, stop_at_eof=False)

    assert "Traceback" in log.getvalue()
    assert "oops" in log.getvalue()


def test_what_was_foreseen_does_not(log):
    async def run(stop):
        await trio.lowlevel.checkpoint()
        raise InvariantViolated("the disk is damaged")

    with pytest.raises(BaseExceptionGroup):
        serve(run, stop_at_eof=False)

    assert log.getvalue() == ""
