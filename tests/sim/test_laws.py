"""Each law is needed: there is a bug that is found with it, and that nobody finds without it.

`invariants.py`, `laws.py`, `members.py` and `images.py` are read, so a new law without such a bug fails here. Either
plant one (see `planted_for_laws`), or do without the law.
"""

import ast
import inspect
from typing import Final

import pytest

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.quorum import invariants
from tests.sim.all_bugs import BUGS, BY_NAME
from tests.sim.hunting import first_caught, violation
from tests.sim.law_book import GAP, LAWS, Law, broken_by, law
from tests.sim.planted_bugs import PlantedBug

FIRST: Final = {
    "… leads epoch … without …": (
        "vote_without_comparing_logs",
        "whatever its missing records lead to comes much later, and looks like something else",
    ),
    "what a client asked for once was carried out twice": (
        "refused_though_appended",
        "the history would tell it too, at the end of the world and after a long search",
    ),
}
"""Laws that others follow from: kept because they are broken first, with the bug that shows it."""

NEEDED: Final = [bug for bug in BUGS if bug.only is not None]


@pytest.mark.parametrize("bug", NEEDED, ids=lambda bug: bug.name)
def test_only_this_law_finds_the_bug(bug: PlantedBug) -> None:
    needed = law(bug.only or "")

    caught = first_caught(bug)
    assert caught is not None, f"{bug.name} stayed undetected for {bug.within} seeds"
    assert broken_by(caught[1]) is needed, caught[1]
    with needed.set_aside():
        assert first_caught(bug) is None


@pytest.mark.parametrize(("text", "name"), [(text, name) for text, (name, _) in FIRST.items()])
def test_what_follows_from_others_is_broken_first(text: str, name: str) -> None:
    expected, bug = law(text), BY_NAME[name]

    with bug.plant():
        broken = (broken_by(violation(bug, seed) or "") for seed in range(1, bug.within + 1))
        assert any(one is expected for one in broken), f"{name} never breaks the law {text!r} first"


def test_there_is_no_other_law() -> None:
    needed = {law(bug.only) for bug in NEEDED if bug.only is not None} | {law(text) for text in FIRST}

    assert [f"{one.where}: {one.text}" for one in LAWS if one not in needed] == []


def test_every_invariant_is_a_function_of_its_own() -> None:
    """So "each function has a bug that only it catches" is what the tests above say."""
    listed = [one.__name__ for one in (*invariants.LAWS_OF_A_STATE, *invariants.LAWS_OF_A_STEP)]
    tree = ast.parse(inspect.getsource(invariants))
    checking = [
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"
    ]

    assert sorted(checking) == sorted(listed)
    assert len(set(listed)) == len(listed) >= 15


def test_laws_are_told_apart_by_their_texts() -> None:
    for one in LAWS:
        said = one.text.replace(GAP, "n1")
        assert [other for other in LAWS if other.is_broken_in(said)] == [one]


def test_a_law_that_is_set_aside_is_the_only_one_that_is() -> None:
    epoch, watermark = law("the epoch went back"), law("the high watermark went back")

    def check(broken: Law) -> None:
        vars(invariants)["check"](False, broken.text)

    with epoch.set_aside():
        check(epoch)
        with pytest.raises(InvariantViolated):
            check(watermark)
    with pytest.raises(InvariantViolated):
        check(epoch)


def test_no_two_laws_begin_alike() -> None:
    with pytest.raises(ValueError, match="laws begin with"):
        law(GAP)
    with pytest.raises(ValueError, match="0 laws"):
        law("there is no such law")
