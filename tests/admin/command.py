"""Runs the real `quorate` command in a process of its own, and compares what it says with golden files."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.ports import HeldPorts

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


@contextlib.contextmanager
def dev_cluster(directory: pathlib.Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The ready line of `quorate dev`, all nodes in its process, until the block ends; then it must have ended well."""
    with HeldPorts() as ports:
        lay_out(directory, ports, random.Random(), wanted)
    words = ["dev", "--dir", str(directory), "--in-process", "--output", "json"]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "quorate.admin", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, process.stderr.read()


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
