"""Golden files of what a node says, with everything replaced that differs from run to run.

A text that changed is reviewed like code: write the files anew with

    REWRITE_GOLDEN=1 python -m pytest -m e2e tests/e2e

and read the difference.
"""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Final

GOLDEN: Final = pathlib.Path(__file__).parent / "golden"
REWRITE: Final = "REWRITE_GOLDEN"

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
_LOOPBACK_PORT: Final = re.compile(r"127\.0\.0\.1:\d+")
_PLACES: Final = (
    (re.compile(r"\b(bytes?|offsets?|epoch|crc) \d+( to \d+)?"), r"\1 N"),
    (re.compile(r"\b\d+ bytes, only \d+\b"), "N bytes, only N"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "CRC"),
    (re.compile(r"\b\d{20}-\d{10}\b"), "OFFSET-EPOCH"),
    (re.compile(r"\b\d{20}\b"), "OFFSET"),
    (re.compile(r"\b\d+@\d+\b"), "OFFSET@EPOCH"),
)
"""Where in a log something stands. A test that cares says so itself."""


def check_golden(name: str, text: str, replaced: Mapping[str, str] | None = None) -> None:
    """The text is what golden/<name>.txt says."""
    for found, shown in (replaced or {}).items():
        text = text.replace(found, shown)
    text = _LOOPBACK_PORT.sub("127.0.0.1:PORT", _TIME.sub("TIME", text))
    for pattern, shown in _PLACES:
        text = pattern.sub(shown, text)
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    path = GOLDEN / f"{name}.txt"
    if os.environ.get(REWRITE) == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path} differs; review it, and run with {REWRITE}=1 to accept"


def log_lines(said: str, event: str) -> list[str]:
    """The lines of a node's log (console form) that tell of this event."""
    return [line for line in said.splitlines() if event in line]


def last_text(said: str) -> str:
    """What follows the log (console form): the text with which the node ended."""
    return "\n".join(line for line in said.splitlines() if not _TIME.match(line))
