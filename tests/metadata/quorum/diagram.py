"""docs/transitions.md, drawn from the table: `python -m tests.metadata.quorum.diagram --rewrite`."""

import pathlib
import sys

from quorate.metadata.quorum.transitions import TRANSITIONS, RoleName, Why

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "transitions.md"

_HEAD = """# The roles of a replica

Drawn from `metadata/quorum/transitions.py` (`python -m tests.metadata.quorum.diagram --rewrite`); a test compares
them. A change that is not here raises, and changes nothing. Every role becomes Unattached when a higher epoch without a
known leader is heard of, and Follower when the leader of this or a higher epoch is; those arrows are left out.

"""


def page() -> str:
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> Unattached",
        "    [*] --> Follower",
        "    [*] --> Resigned",
    ]
    everywhere = {Why.HIGHER_EPOCH, Why.LEADER_FOUND}
    lines += [
        f"    {_name(role)} --> {_name(target)}: {why.value}"
        for (role, why), target in TRANSITIONS.items()
        if why not in everywhere
    ]
    lines += ["```", "", "| from | because | to |", "|---|---|---|"]
    lines += [
        f"| {_name(role)} | {why.value} | {_name(target)} |" for (role, why), target in TRANSITIONS.items()
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _name(role: RoleName) -> str:
    return role.value.capitalize()


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    PAGE.write_text(page())
