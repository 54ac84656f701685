"""The parts of docs/migration.md that are made of the code: `python -m tests.controller.migration.page --rewrite`."""

import pathlib
import re
import sys
from collections.abc import Iterator

from quorate.controller.migration.board import WHAT_TO_DO
from quorate.controller.migration.states import TRANSITIONS, DriverState

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "migration.md"
_LAST = (DriverState.FINISHED, DriverState.ROLLED_BACK)


def states() -> Iterator[str]:
    """What to do in each state."""
    yield "| state | what to do |"
    yield "|---|---|"
    for state, words in WHAT_TO_DO.items():
        yield f"| `{state}` | {words} |"


def diagram() -> Iterator[str]:
    """Which state may follow which."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {DriverState.INACTIVE}"
    for state, following in TRANSITIONS.items():
        for to in DriverState:
            if to in following:
                yield f"    {state} --> {to}"
    for state in _LAST:
        yield f"    {state} --> [*]"
    yield "```"


PARTS = {"what to do": states, "the driver": diagram}


def made_of_the_code(text: str) -> str:
    """The page, with its parts made anew."""
    for name, lines in PARTS.items():
        begin, end = f"<!-- {name}: made by tests.controller.migration.page -->", "<!-- end -->"
        text, found = re.subn(
            f"{re.escape(begin)}.*?{end}",
            lambda _, b=begin, e=end, part=lines: "\n".join((b, *part(), e)),
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise LookupError(f"{PAGE}: there is not one part {name!r}")
    return text


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    PAGE.write_text(made_of_the_code(PAGE.read_text()))
