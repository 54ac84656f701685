"""Bugs put in on purpose into changes of who votes. See `planted_bugs`, which lists them too."""

from collections.abc import Iterator
from unittest.mock import patch

import attrs

from quorate.metadata.ids import Offset, ReplicaKey
from quorate.metadata.quorum import elections, membership
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.events import Token
from quorate.metadata.quorum.messages import RemoveVoterRequest
from quorate.metadata.quorum.roles import Leader, VoterChange
from quorate.metadata.quorum.voters import VoterHistory, VoterSet
from tests.sim.options import WorldOptions, draw_changing
from tests.sim.planted_bugs import planted
from tests.sim.planted_in_stories import first_commit_not_waited_for

real_not_now = membership._not_now


def undone_changes(seed: int) -> WorldOptions:
    """Leaders that were just asked for a change are cut off, and replaced by some who never heard of it."""
    return WorldOptions(
        voters=3 + seed % 2,
        spares=2,
        delay_ms=(1, 5 + 10 * (seed % 3)),
        flush_ms=(0, 50),
        propose_every_ms=50,
        partition_every_ms=300,
        partition_ms=(500, 4000),
        resign_every_ms=1000,
        crash_every_ms=1500,
        down_ms=(1, 300),
        members_every_ms=30,
    )


def two_voters(seed: int) -> WorldOptions:
    """Neither can do without the other, also if one of them has just been removed."""
    return attrs.evolve(undone_changes(seed), voters=2, spares=1)


def impatient_operators(seed: int) -> WorldOptions:
    """One leader, far from everybody: the next change is asked for while the one before is under way."""
    return WorldOptions(
        voters=3, spares=2, delay_ms=(10, 20 + 10 * (seed % 5)), propose_every_ms=500, members_every_ms=20
    )


@planted(
    "A second change of the voters is appended while the first is not committed (openraft's note on parallel changes).",
    within=2,
    worlds=draw_changing,
    only="… changes the voters at …, and",
)
def two_changes_at_once() -> Iterator[None]:
    def not_now(core: RaftCore, own: VoterChange | None = None) -> membership.Refusal | None:
        refused = real_not_now(core, own)
        excused = refused is not None and refused[1].startswith(("Another change", "The last change"))
        return None if excused else refused

    with patch.object(membership, "_not_now", not_now):
        yield


@planted(
    "A removal that would have to wait goes into the record of the next change: majorities that need not meet.",
    within=2,
    worlds=impatient_operators,
    only="… changes the voters from",
)
def two_changes_in_one_record() -> Iterator[None]:
    real_remove, real_append = membership.on_remove_voter, membership._append
    leaving: dict[RaftCore, ReplicaKey] = {}

    def remove(core: RaftCore, token: Token, request: RemoveVoterRequest, now_ms: int) -> None:
        if core.leads and core not in leaving and real_not_now(core) is not None:
            leaving[core] = request.voter
        else:
            real_remove(core, token, request, now_ms)

    def append(core: RaftCore, voters: VoterSet, now_ms: int) -> Offset:
        gone = leaving.pop(core, None)
        left = [voter for node_id, voter in voters.voters.items() if gone is None or node_id != gone.id]
        return real_append(core, VoterSet.of(left), now_ms)

    with (
        patch.object(membership, "on_remove_voter", remove),
        patch.object(membership, "_append", append),
        patch.object(membership, "check_overlap", lambda core, voters: None),
    ):
        yield


@planted(
    "A leader changes the voters before a record of its epoch is committed (Ongaro on raft-dev, 2015).",
    within=10,
    worlds=draw_changing,
    only="… changes the voters at … before",
)
def change_before_the_first_commit() -> Iterator[None]:
    with first_commit_not_waited_for():
        yield


@planted(
    "Voters that were cut off with the end of the log stay in force (PySyncObj#133).",
    within=60,
    worlds=undone_changes,
)
def voters_not_rolled_back() -> Iterator[None]:
    with patch.object(VoterHistory, "truncated_to", lambda history, end: history):
        yield


@planted(
    "A removed voter that still fetches is taken in again, and nobody asked for it (KAFKA-19850).",
    within=1,
    worlds=draw_changing,
    only="… … …, and nobody",
)
def removed_voter_returns() -> Iterator[None]:
    real = elections.poll

    def poll(core: RaftCore, now_ms: int) -> None:
        real(core, now_ms)
        role = core.role
        if not isinstance(role, Leader) or real_not_now(core) is not None:
            return
        for _, earlier in core.log.voters.sets[:-1]:
            for node_id, voter in earlier.voters.items():
                fetches = any(key.id == node_id for key in role.progress)
                if fetches and node_id not in core.voters.voters and core.high_watermark != Offset(0):
                    membership._append(core, VoterSet.of([*core.voters.voters.values(), voter]), now_ms)
                    return

    with patch.object(elections, "poll", poll):
        yield


@planted(
    "Whose removal is not committed takes itself for an observer, and nobody is elected (our own; Kafka's).",
    within=10,
    worlds=two_voters,
)
def removed_too_early() -> Iterator[None]:
    with patch.object(RaftCore, "is_electable", property(lambda core: core.is_voter)):
        yield
