"""Bugs put in on purpose into changes of who votes. See `planted_bugs`, which lists them too."""

from collections.abc import Callable, Iterator
from unittest.mock import patch

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Offset
from quorate.metadata.quorum import membership
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.roles import Leader, VoterChange
from quorate.metadata.quorum.voters import VoterHistory, VoterSet
from tests.sim.options import WorldOptions, draw_changing
from tests.sim.planted_bugs import planted

Refusal = tuple[ErrorCode, str]
NotNow = Callable[[RaftCore, VoterChange | None], Refusal | None]
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


def _deaf_to(*reasons: str) -> NotNow:
    """`_not_now`, except that these reasons are none."""

    def not_now(core: RaftCore, own: VoterChange | None = None) -> Refusal | None:
        refused = real_not_now(core, own)
        excused = refused is not None and refused[1].startswith(reasons)
        return None if excused else refused

    return not_now


@planted(
    "A second change of the voters is appended while the first is not committed (openraft's note on parallel changes).",
    within=20,
    worlds=draw_changing,
)
def two_changes_at_once() -> Iterator[None]:
    with patch.object(membership, "_not_now", _deaf_to("Another change", "The last change")):
        yield


@planted(
    "A leader changes the voters before a record of its epoch is committed (Ongaro on raft-dev, 2015).",
    within=20,
    worlds=draw_changing,
)
def change_before_the_first_commit() -> Iterator[None]:
    with patch.object(membership, "_not_now", _deaf_to("This leader has not committed")):
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
    within=40,
    worlds=draw_changing,
)
def removed_voter_returns() -> Iterator[None]:
    real = membership.poll

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

    with patch.object(membership, "poll", poll):
        yield


@planted(
    "Whose removal is not committed takes itself for an observer, and nobody is elected (our own; Kafka's).",
    within=60,
    worlds=draw_changing,
)
def removed_too_early() -> Iterator[None]:
    with patch.object(RaftCore, "is_electable", property(lambda core: core.is_voter)):
        yield
