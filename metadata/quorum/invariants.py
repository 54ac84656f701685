"""What must hold in every state of a replica (`check_state`), and between two states (`check_step`).

After logcabin's RaftConsensusInvariants. Tests run both after every step; the simulator adds what only a whole
cluster can show (one leader per epoch, equal committed records). One law a function, and for each function there is a
bug that only it catches (`tests/sim/test_laws.py`): a law that something else always breaks first does not stay here.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import attrs

from quorate.metadata.checks import check
from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from quorate.metadata.quorum.transitions import RoleName


@attrs.frozen
class Summary:
    """A small frozen picture of a core, to compare the next one with."""

    election: ElectionState
    role: RoleName
    high_watermark: Offset | None
    end: OffsetAndEpoch
    generation: int


def summarize(core: RaftCore) -> Summary:
    log = core.log
    return Summary(
        election=core.election,
        role=core.role.name,
        high_watermark=core.high_watermark,
        end=log.end,
        generation=log.generation,
    )


def check_state(core: RaftCore) -> None:
    """Laws of one moment.

    Raises:
        InvariantViolated: one of them is broken.
    """
    for law in LAWS_OF_A_STATE:
        law(core)


def check_step(before: Summary, after: Summary) -> None:
    """Laws of one step.

    Raises:
        InvariantViolated: one of them is broken.
    """
    for law in LAWS_OF_A_STEP:
        law(before, after)


# ---- one moment --------------------------------------------------------------------------------------


def watermark_lies_in_the_log(core: RaftCore) -> None:
    """Since it never goes back, nothing committed is ever cut off either."""
    known = core.high_watermark
    check(
        known is None or known <= core.log.end.offset or core.installing is not None,
        "the high watermark lies beyond the log",
    )


def a_snapshot_stands_for_what_is_gone(core: RaftCore) -> None:
    log = core.log
    check(
        log.start == 0 or any(one.offset >= log.start for one in log.snapshots),
        "the log has lost its beginning and no snapshot stands for it",
    )


def epochs_rise_along_the_log(core: RaftCore) -> None:
    starts = core.log.epochs.starts
    check(
        all(one.epoch < other.epoch and one.offset < other.offset for one, other in pairwise(starts)),
        "epochs do not rise along the log",
    )


def a_leader_is_on_record(core: RaftCore) -> None:
    check(not core.leads or core.election.leader_id == core.id, "a leader is not on record as leader")


def a_leader_has_a_record_of_its_epoch(core: RaftCore) -> None:
    check(
        not core.leads or core.log.end.epoch == core.election.epoch, "a leader has no record of its own epoch"
    )


def a_candidate_votes_for_itself(core: RaftCore) -> None:
    check(
        not isinstance(core.role, Candidate) or core.election.voted == core.config.replica,
        "a candidate has not voted for itself",
    )


def whom_it_follows_is_on_record(core: RaftCore) -> None:
    """Also of a Prospective, which goes back to that leader unless it finds it gone."""
    match core.role:
        case Follower(leader_id=leader_id) | Prospective(leader=(leader_id, _)):
            check(core.election.leader_id == leader_id, "a replica follows somebody else than is on record")


def who_resigned_had_led(core: RaftCore) -> None:
    check(
        not isinstance(core.role, Resigned) or core.election.leader_id == core.id,
        "a resigned leader never was leader",
    )


def who_has_no_vote_never_stands(core: RaftCore) -> None:
    match core.role:
        case Unattached(election_deadline_ms=None) | Follower() | Leader() | Resigned():
            pass  # a leader that removed itself leads on until its removal is committed
        case _:
            check(core.is_electable, "a replica without a vote stands for election")


LAWS_OF_A_STATE: Final[tuple[Callable[[RaftCore], None], ...]] = (
    watermark_lies_in_the_log,
    a_snapshot_stands_for_what_is_gone,
    epochs_rise_along_the_log,
    a_leader_is_on_record,
    a_leader_has_a_record_of_its_epoch,
    a_candidate_votes_for_itself,
    whom_it_follows_is_on_record,
    who_resigned_had_led,
    who_has_no_vote_never_stands,
)


# ---- one step ----------------------------------------------------------------------------------------


def _same_epoch(before: Summary, after: Summary) -> bool:
    return before.election.epoch == after.election.epoch


def the_epoch_never_goes_back(before: Summary, after: Summary) -> None:
    check(after.election.epoch >= before.election.epoch, "the epoch went back")


def one_vote_an_epoch(before: Summary, after: Summary) -> None:
    voted = before.election.voted
    check(
        voted is None or after.election.voted == voted or not _same_epoch(before, after),
        "a vote was taken back, or given a second time in its epoch",
    )


def one_leader_an_epoch(before: Summary, after: Summary) -> None:
    leader_id = before.election.leader_id
    check(
        leader_id is None or after.election.leader_id == leader_id or not _same_epoch(before, after),
        "the leader of an epoch was forgotten, or is another one",
    )


def who_resigned_never_leads_again(before: Summary, after: Summary) -> None:
    """In that epoch."""
    again = before.role is RoleName.RESIGNED and after.role is RoleName.LEADER
    check(not again or not _same_epoch(before, after), "an epoch is led a second time after resignation")


def the_watermark_never_goes_back(before: Summary, after: Summary) -> None:
    known = before.high_watermark
    check(known is None or (after.high_watermark or 0) >= known, "the high watermark went back")


def a_leader_never_cuts_its_log(before: Summary, after: Summary) -> None:
    """Raft paper, 5.3: leader append-only."""
    led_on = before.role is RoleName.LEADER and after.role is RoleName.LEADER and _same_epoch(before, after)
    check(not led_on or after.generation == before.generation, "a leader cut its own log")


def after_a_cut_old_flushes_prove_nothing(before: Summary, after: Summary) -> None:
    check(
        after.end.offset >= before.end.offset or after.generation > before.generation,
        "the log was cut and old flushes are still believed",
    )


LAWS_OF_A_STEP: Final[tuple[Callable[[Summary, Summary], None], ...]] = (
    the_epoch_never_goes_back,
    one_vote_an_epoch,
    one_leader_an_epoch,
    who_resigned_never_leads_again,
    the_watermark_never_goes_back,
    a_leader_never_cuts_its_log,
    after_a_cut_old_flushes_prove_nothing,
)
