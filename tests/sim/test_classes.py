"""The table of bug classes: complete, and the page says what is declared."""

from typing import Final

import pytest

from tests.scenarios.runner import scenarios
from tests.sim.all_bugs import BUGS, BY_NAME
from tests.sim.classes import CLASSES, PAGE, BugClass, page, seeds_on

AGAIN: Final = "python -m tests.sim.classes --rewrite"


def test_all_classes_are_there_and_each_has_a_bug() -> None:
    assert [one.number for one in CLASSES] == list(range(1, 25))
    assert [one.number for one in CLASSES if not one.bugs] == []


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: str(one.number))
def test_what_a_class_names_exists(one: BugClass) -> None:
    assert [name for name in one.bugs if name not in BY_NAME] == []
    assert set(one.transcripts) <= {path.stem for path in scenarios()}
    assert one.seen_in


def test_a_bug_belongs_to_a_class_or_to_a_law() -> None:
    in_classes = {name for one in CLASSES for name in one.bugs}

    assert [bug.name for bug in BUGS if bug.name not in in_classes and bug.only is None] == SPARE


SPARE: Final = ["vote_without_comparing_logs"]
"""The rule that all of Raft rests on (5.4.1): nobody we know of has got it wrong."""


def test_the_page_says_what_is_declared_and_no_bug_was_caught_too_late() -> None:
    text = PAGE.read_text()
    seeds = seeds_on(text)

    assert text == page({**dict.fromkeys(BY_NAME, 0), **seeds}), AGAIN
    shown = {name for one in CLASSES for name in one.bugs} | {
        bug.name for bug in BUGS if bug.only is not None
    }
    assert seeds.keys() == shown, AGAIN
    assert [name for name, seed in seeds.items() if not 1 <= seed <= BY_NAME[name].within] == []
