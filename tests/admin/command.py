"""Runs the real `quorate` command in a process of its own, and compares what it says with golden files."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

import attrs

GOLDEN = pathlib.Path(__file__).parent / "golden"
REWRITE = "REWRITE_GOLDEN"
"""Set to 1, the golden files are written anew; the difference is what is reviewed."""
_TIMEOUT_S = 60


@attrs.frozen
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def quorate(
    *words: str, env: Mapping[str, str] | None = None, cwd: pathlib.Path | None = None, input: str = ""
) -> Ran:
    """Runs one command line to its end."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "quorate.admin", *words],
        capture_output=True,
        text=True,
        input=input,
        env=environment() | dict(env or {}),
        cwd=cwd,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """Ours, without what would colour, wrap or redirect the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUORATE_", "_TYPER"))}
    return kept | {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"}


def check_golden(name: str, text: str, replaced: Mapping[str, str] | None = None) -> None:
    """The text is what golden/<name>.txt says; `replaced` are what differs between runs, such as paths."""
    for found, shown in (replaced or {}).items():
        text = text.replace(found, shown)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get(REWRITE) == "1":
        path.write_text(text)
    assert path.read_text() == text, f"{path} differs; review it, and run with {REWRITE}=1 to accept"
