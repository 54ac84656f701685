"""Running a node until it is told to stop: SIGTERM, Ctrl-C, or the end of its launcher.

The first signal asks for an orderly end: a leader hands over, a broker leaves in order. The second one, for those
who cannot wait, ends the process at once; a node must survive that anyway.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Final

import structlog
import trio
import typer

from quorate.admin.errors import Fault, Interrupted
from quorate.admin.explain import translate

_log = structlog.get_logger("process")

StopAtEof = Annotated[
    bool,
    typer.Option(
        "--stop-at-eof",
        help="Stop in order when standard input ends: so `quorate dev` leaves no node behind, however it ends.",
    ),
]
_STDIN: Final = 0


def serve(run: Callable[[trio.Event], Awaitable[None]], *, stop_at_eof: bool) -> None:
    """Runs a node in an event loop of its own; `run` takes the event that tells it to stop.

    Raises:
        whatever ends the node.
    """

    async def main() -> None:
        stop = trio.Event()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, signals, stop)
                if stop_at_eof:
                    nursery.start_soon(_stop_at_eof, stop)
                await run(stop)
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseException as error:
        _note_fault(error)
        raise


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        if stop.is_set():
            raise Interrupted("Ended at once, as told by a second signal.")
        stop.set()


async def _stop_at_eof(stop: trio.Event) -> None:
    async with trio.lowlevel.FdStream(os.dup(_STDIN)) as stdin:
        while await stdin.receive_some():
            pass
    stop.set()


def _note_fault(error: BaseException) -> None:
    """What nobody foresaw goes to the node's log with its stack: its operator may have to send it to us."""
    if isinstance(translate(error), Fault):
        _log.error("the process ends: a fault in quorate itself", exc_info=error)
