"""Reads that are never stale: the read index (Ongaro's thesis, 6.4).

A leader may have been replaced without knowing it, so that it would deny what its successor has acknowledged. Before a
read is answered a majority must say that it still follows this epoch, and say so to a question that was asked after
the read had arrived: one BeginQuorumEpoch round, told by its correlation ids, serves all reads that wait for it. Those
that come meanwhile wait for the next one. A Fetch proves nothing here: it may have been sent before its sender voted
for somebody else, and no clock is trusted.

The answer must then show at least what was committed when the read arrived, and all that earlier leaders committed,
which is known to be below the end of the first record of this epoch.
"""

from typing import TYPE_CHECKING

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Offset
from quorate.metadata.quorum.effects import ReadAnswer
from quorate.metadata.quorum.events import Correlation, ReadId
from quorate.metadata.quorum.messages import BeginQuorumEpochRequest, BeginQuorumEpochResponse, Response
from quorate.metadata.quorum.roles import Leader, PendingRead, ReadRound

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore


def on_requested(core: "RaftCore", read_id: ReadId, now_ms: int) -> None:
    role = core.role
    if not isinstance(role, Leader):
        core.effects.reads.append(ReadAnswer(read_id, None))
        return
    index = max(core.high_watermark or 0, role.epoch_start + 1)
    role.waiting_reads.append(PendingRead(read_id, Offset(index)))
    if role.read_round is None:
        _begin_round(core, role, now_ms)


def _begin_round(core: "RaftCore", role: Leader, now_ms: int) -> None:
    reads, role.waiting_reads = role.waiting_reads, []
    current = role.read_round = ReadRound(reads)
    mine = core.own_endpoint
    for peer in core.other_voters():
        request = BeginQuorumEpochRequest(
            epoch=core.election.epoch,
            leader_id=core.id,
            voter=core.voters.key(peer.id),
            endpoints=() if mine is None else (mine,),
        )
        current.asked[core.send(peer, request, now_ms)] = peer.id
    _settle(core, role, current, now_ms)


def on_response(core: "RaftCore", correlation: Correlation, response: Response, now_ms: int) -> None:
    """An answer to a BeginQuorumEpoch, perhaps one of the round."""
    role = core.role
    current = role.read_round if isinstance(role, Leader) else None
    if not isinstance(role, Leader) or current is None:
        return
    peer_id = current.asked.pop(correlation, None)
    if peer_id is None:
        return
    leader = response.leader
    follows = leader.epoch == core.election.epoch and leader.leader_id == core.id
    if isinstance(response, BeginQuorumEpochResponse) and response.error is ErrorCode.none and follows:
        current.agreed.add(peer_id)  # with another disk than the voter's it has no say (INVALID_VOTER_KEY)
    _settle(core, role, current, now_ms)


def on_failure(core: "RaftCore", correlation: Correlation, now_ms: int) -> None:
    role = core.role
    current = role.read_round if isinstance(role, Leader) else None
    if isinstance(role, Leader) and current is not None and current.asked.pop(correlation, None) is not None:
        _settle(core, role, current, now_ms)


def _settle(core: "RaftCore", role: Leader, current: ReadRound, now_ms: int) -> None:
    """Confirms the reads of the round, or sees that it has failed and when to try again."""
    voters = core.voters
    agreed = len(current.agreed.intersection(voters.ids)) + (1 if core.is_voter else 0)
    if agreed >= voters.majority:
        core.effects.reads += [ReadAnswer(read.id, read.index) for read in current.reads]
        role.read_round = None
        if role.waiting_reads:
            _begin_round(core, role, now_ms)
    elif not current.asked and current.retry_at_ms is None:
        current.retry_at_ms = now_ms + core.config.retry_backoff_ms


def poll(core: "RaftCore", role: Leader, now_ms: int) -> None:
    current = role.read_round
    if current is not None and (current.retry_at_ms or now_ms + 1) <= now_ms:
        role.waiting_reads = [*current.reads, *role.waiting_reads]
        _begin_round(core, role, now_ms)


def fail(core: "RaftCore", role: Leader) -> None:
    """Leadership is over: whoever leads now must be asked."""
    waiting = role.waiting_reads + (role.read_round.reads if role.read_round is not None else [])
    core.effects.reads += [ReadAnswer(read.id, None) for read in waiting]
