"""What must hold in every state of a replica (`check_state`), and between two states (`check_step`).

After logcabin's RaftConsensusInvariants. Tests run both after every step; the simulator adds what only a whole
cluster can show (one leader per epoch, equal committed records). Each check names the law it stands for.
"""

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
    start: Offset
    end: OffsetAndEpoch
    flushed_end: Offset
    generation: int


def summarize(core: RaftCore) -> Summary:
    log = core.log
    return Summary(
        election=core.election,
        role=core.role.name,
        high_watermark=core.high_watermark,
        start=log.start,
        end=log.end,
        flushed_end=log.flushed_end,
        generation=log.generation,
    )


def check_state(core: RaftCore) -> None:
    """Laws of one moment.

    Raises:
        InvariantViolated: one of them is broken.
    """
    log, election = core.log, core.election
    check(log.end.epoch <= election.epoch, "the log has a record of an epoch that was never persisted")
    check(log.flushed_end <= log.end.offset, "more is flushed than was written")
    check(log.start <= log.end.offset, "the log starts behind its end")
    check(
        core.high_watermark is None or core.high_watermark <= log.end.offset or core.installing is not None,
        "the high watermark lies beyond the log",
    )
    check(
        log.start == 0 or any(one.offset >= log.start for one in log.snapshots),
        "the log has lost its beginning and no snapshot stands for it",
    )
    epochs = [one.epoch for one in log.epochs.starts]
    check(epochs == sorted(set(epochs)), "epochs do not rise along the log")
    _check_role(core)


def _check_role(core: RaftCore) -> None:
    election = core.election
    match core.role:
        case Leader(epoch_start=epoch_start):
            check(election.leader_id == core.id, "a leader is not on record as leader")
            check(core.log.end.epoch == election.epoch, "a leader has no record of its own epoch")
            check(epoch_start < core.log.end.offset, "a leader's epoch starts beyond its log")
        case Candidate():
            check(election.voted == core.config.replica, "a candidate has not voted for itself")
            check(election.leader_id is None, "a candidate knows a leader of its epoch")
            check(core.is_electable, "a candidate is no voter")
        case Follower(leader_id=leader_id):
            check(election.leader_id == leader_id, "a follower follows somebody else than is on record")
            check(leader_id != core.id, "a replica follows itself")
        case Prospective(leader=leader):
            check(leader is None or election.leader_id == leader[0], "a prospective forgot its leader")
        case Resigned():
            check(election.leader_id == core.id, "a resigned leader never was leader")
        case Unattached(election_deadline_ms=deadline):
            check(deadline is None or core.is_electable, "an observer would stand for election")


def check_step(before: Summary, after: Summary) -> None:
    """Laws of one step.

    Raises:
        InvariantViolated: one of them is broken.
    """
    old, new = before.election, after.election
    check(new.epoch >= old.epoch, "the epoch went back")
    if new.epoch == old.epoch:
        check(old.voted is None or new.voted == old.voted, "two votes in one epoch")
        check(old.leader_id is None or new.leader_id == old.leader_id, "two leaders in one epoch")
        if before.role is RoleName.RESIGNED:
            check(after.role is not RoleName.LEADER, "an epoch is led a second time after resignation")
    known = before.high_watermark
    check(known is None or (after.high_watermark or 0) >= known, "the high watermark went back")
    if before.role is RoleName.LEADER and after.role is RoleName.LEADER and new.epoch == old.epoch:
        check(after.end.offset >= before.end.offset, "a leader cut its own log")
        check(after.generation == before.generation, "a leader's log was cut")
    if after.generation == before.generation:
        check(
            after.flushed_end >= before.flushed_end, "what was flushed is not any more, and nothing was cut"
        )
    if after.end.offset < before.end.offset:
        check(after.generation > before.generation, "the log was cut and old flushes are still believed")
        check(known is None or after.end.offset >= known, "committed records were cut off")
    check(after.start >= before.start, "the log's start went back")
