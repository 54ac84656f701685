"""The role transitions, as a table. A pair that is not in it raises and changes nothing.

The roles are KRaft's (KIP-595, KIP-996). Epoch rules (never backwards, one leader and one vote per epoch) stand in
`invariants`; this table says which role may follow which, and why. The diagram in the docs is drawn from it.
"""

import enum
from collections.abc import Mapping
from typing import Final

from quorate.metadata.checks import InvariantViolated


class RoleName(enum.Enum):
    UNATTACHED = "unattached"
    PROSPECTIVE = "prospective"
    CANDIDATE = "candidate"
    LEADER = "leader"
    FOLLOWER = "follower"
    RESIGNED = "resigned"


class Why(enum.Enum):
    """The reasons a role can change for."""

    HIGHER_EPOCH = "a higher epoch exists, its leader is unknown"
    LEADER_FOUND = "the leader of this or a higher epoch is known"
    VOTE_GIVEN = "it gave its vote of this epoch to another"
    ELECTION_TIMEOUT = "it heard of no leader in time"
    FETCH_TIMEOUT = "the leader did not answer in time"
    SUSPICION = "nobody listens where the leader was"
    SUCCESSOR = "the resigning leader named it first"
    PRE_VOTES_WON = "a majority would vote for it"
    PRE_VOTES_LOST = "a majority would not vote for it, and no leader is known"
    PRE_VOTES_LOST_TO_LEADER = "a majority would not vote for it; it goes back to the leader it had"
    LEADER_ANSWERED = "the leader of this epoch is alive"
    VOTES_WON = "a majority voted for it"
    VOTES_LOST = "it was not elected in time"
    RESIGNED = "it gives up leadership"
    NO_LONGER_VOTER = "it was leader and is no voter any more"


_U, _P, _C, _L, _F, _R = (
    RoleName.UNATTACHED,
    RoleName.PROSPECTIVE,
    RoleName.CANDIDATE,
    RoleName.LEADER,
    RoleName.FOLLOWER,
    RoleName.RESIGNED,
)

TRANSITIONS: Final[Mapping[tuple[RoleName, Why], RoleName]] = {
    **{(role, Why.HIGHER_EPOCH): _U for role in RoleName},
    **{(role, Why.LEADER_FOUND): _F for role in RoleName},
    (_U, Why.VOTE_GIVEN): _U,
    (_P, Why.VOTE_GIVEN): _U,
    (_U, Why.ELECTION_TIMEOUT): _P,
    (_R, Why.ELECTION_TIMEOUT): _P,
    (_R, Why.NO_LONGER_VOTER): _U,
    (_F, Why.FETCH_TIMEOUT): _P,
    (_F, Why.SUSPICION): _P,
    (_F, Why.SUCCESSOR): _C,
    (_P, Why.PRE_VOTES_WON): _C,
    (_P, Why.PRE_VOTES_LOST): _U,
    (_P, Why.PRE_VOTES_LOST_TO_LEADER): _F,
    (_P, Why.LEADER_ANSWERED): _F,
    (_C, Why.VOTES_WON): _L,
    (_C, Why.VOTES_LOST): _P,
    (_L, Why.RESIGNED): _R,
}


def next_role(role: RoleName, why: Why) -> RoleName:
    """The role that follows.

    Raises:
        InvariantViolated: this role does not change for this reason.
    """
    try:
        return TRANSITIONS[role, why]
    except KeyError:
        raise InvariantViolated(f"a {role.value} replica cannot move on because {why.value}") from None
