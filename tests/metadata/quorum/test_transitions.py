"""The table of transitions: exhaustively, and as the docs draw it."""

import itertools

import pytest

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.quorum.roles import Candidate, Unattached
from quorate.metadata.quorum.transitions import TRANSITIONS, RoleName, Why, next_role
from tests.metadata.quorum.diagram import PAGE, page
from tests.paper.bench import Bench

ALL = list(itertools.product(RoleName, Why))


@pytest.mark.parametrize(("role", "why"), ALL, ids=lambda part: part.name)
def test_a_pair_is_in_the_table_or_raises(role: RoleName, why: Why) -> None:
    if (role, why) in TRANSITIONS:
        assert next_role(role, why) is TRANSITIONS[role, why]
    else:
        with pytest.raises(InvariantViolated, match=f"a {role.value} replica cannot move on"):
            next_role(role, why)


def test_an_illegal_transition_changes_nothing() -> None:
    bench = Bench()
    role, election = bench.core.role, bench.core.election

    with pytest.raises(InvariantViolated):
        bench.core.become(Why.VOTES_WON, Candidate(5_000, {bench.core.id}), election, 2_000)

    assert (bench.core.role, bench.core.election) == (role, election)


def test_a_reason_leads_to_one_role_only() -> None:
    bench = Bench()
    role = bench.core.role

    with pytest.raises(InvariantViolated, match="does not make"):
        bench.core.become(Why.LEADER_FOUND, Unattached(None), bench.core.election, 2_000)

    assert bench.core.role is role


def test_every_reason_is_used() -> None:
    assert {why for _, why in TRANSITIONS} == set(Why)


def test_only_a_majority_of_pre_votes_or_a_resigning_leader_makes_candidates() -> None:
    into = {why for (_, why), target in TRANSITIONS.items() if target is RoleName.CANDIDATE}
    assert into == {Why.PRE_VOTES_WON, Why.SUCCESSOR}


def test_the_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == page(), "python -m tests.metadata.quorum.diagram --rewrite"
