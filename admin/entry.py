"""Where the `quorate` command begins and ends: the quick answers, the exceptions, the exit code.

Imports next to nothing, so that `quorate --version` is there at once and a broken installation can still say so.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from quorate.admin.errors import INTERRUPTED

VERSION: Final = "--version"
DEBUG: Final = "--debug"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit code; see `errors` for what the codes mean."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == [VERSION]:
        return _say_version()
    debug = _take_debug(words)
    _leave_hypothesis_out()
    try:
        from quorate.admin.app import run  # not before the quick answers

        return run(words)
    except (KeyboardInterrupt, BaseExceptionGroup, Exception) as error:  # noqa: BLE001 - the one place where everything ends
        try:
            return _end_with(error, debug=debug)
        except KeyboardInterrupt:  # pressed twice
            return INTERRUPTED


def _say_version() -> int:
    from importlib.metadata import version

    sys.stdout.write(f"quorate {version('quorate')}\n")
    return 0


def _take_debug(words: list[str]) -> bool:
    """--debug may stand anywhere before a "--": who needs it has a failed command line and appends it."""
    end = words.index("--") if "--" in words else len(words)
    if DEBUG not in words[:end]:
        return False
    words[:end] = [word for word in words[:end] if word != DEBUG]
    return True


def _leave_hypothesis_out() -> None:
    """kio registers strategies with Hypothesis where that is installed: 0.3 s of every start in a test environment."""
    if "hypothesis" not in sys.modules:
        sys.modules["hypothesis"] = None  # type: ignore[assignment]  # None: "not installed" to an import


def _end_with(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough (`| head`). Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, KeyboardInterrupt) and not debug:
        return INTERRUPTED  # what words it would need takes long to import, and there are none
    if debug:
        import traceback

        traceback.print_exception(error)
    from quorate.admin.explain import translate

    ending = translate(error)
    if ending.what:
        sys.stderr.write(f"{ending.text()}\n")
    return ending.exit_code
