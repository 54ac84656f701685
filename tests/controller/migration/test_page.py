"""docs/migration.md says what the code does: what is to be done in each state, and which may follow which."""

from quorate.controller.migration.board import WHAT_TO_DO
from quorate.controller.migration.states import TRANSITIONS
from tests.controller.migration.page import PAGE, diagram, made_of_the_code, states


def test_the_page_is_made_of_the_tables() -> None:
    text = PAGE.read_text()
    assert text == made_of_the_code(text), "python -m tests.controller.migration.page --rewrite"


def test_every_state_and_every_move_is_in_it() -> None:
    rows, arrows = "\n".join(states()), "\n".join(diagram())
    assert all(f"| `{state}` | {words} |" in rows for state, words in WHAT_TO_DO.items())
    assert all(f"{now} --> {to}" in arrows for now, following in TRANSITIONS.items() for to in following)
