"""Who leads: Vote, BeginQuorumEpoch, EndQuorumEpoch, suspicion, resignation (KIP-595, KIP-996; Raft paper 5.2, 5.4).

A replica that misses its leader first asks whether it would be elected (Prospective). Only a yes of a majority lets
it raise the epoch (Candidate): so a node that was cut off comes back without disturbing anybody. Additions:

- *Suspicion.* A leader killed on a living host leaves refused connections behind. A follower whose connection to
  the leader breaks reconnects once, at once; only if nobody listens there, or it breaks again, does it suspect, and
  turns Prospective after 10 to 150 ms instead of two seconds.
- *The leader is asked first.* Whatever the others grant, an answer of the living leader ends the matter; a *refused*
  connection counts as silence, and so does silence until the fetch timeout (after it, for 150 ms more). Connections
  that merely break, however often, never unseat a healthy leader; nor does a follower that was itself asleep.
- *Waiting once more.* Two replicas with equal logs that grant each other's pre-vote would both raise the epoch and
  split the vote. Who has granted such a peer waits one more random delay before it stands.
"""

from typing import TYPE_CHECKING, Final

from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.ids import Endpoint, Epoch, NodeId, ReplicaKey
from quorate.metadata.quorum import replication
from quorate.metadata.quorum.effects import Peer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Failure, Token
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    LeaderAndEpoch,
    Response,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from quorate.metadata.quorum.transitions import Why

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

_REFUSED_RETRY_MS: Final = 50
"""How soon a voter that could not be reached is asked again: at a joint start all come up within moments."""
_BACKOFF_UNIT_MS: Final = 100


# ---- starting ----------------------------------------------------------------------------------------


def start(core: "RaftCore", now_ms: int) -> None:
    """Chooses the first role from what the disk says (KRaft: `QuorumState.initialize`).

    A former leader of the epoch starts as Resigned: an unflushed tail may be lost, and were it to lead the same epoch
    again it would give those offsets to other records.
    """
    check(
        core.election.epoch >= core.log.end.epoch,
        f"quorum-state knows epoch {core.election.epoch}, the log has records of epoch {core.log.end.epoch}",
    )
    newest = core.log.newest_snapshot
    if newest is not None:
        core.high_watermark = newest.offset
        core.effects.committed = newest.offset
    # Asking for pre-votes disturbs nobody, so the first question need not wait for an election timeout.
    soon = now_ms + core.rng.randint(*core.config.suspicion_delay_ms)
    if core.election.leader_id == core.id:
        core.role = Resigned(soon, set())
        core.note(f"starts as resigned leader of epoch {core.election.epoch}")
        return
    leader_id = core.election.leader_id
    endpoint = None if leader_id is None else core.voters.endpoint(leader_id, core.config.listener)
    if leader_id is not None and leader_id != core.id and endpoint is not None:
        core.role = Follower(leader_id, endpoint, now_ms + core.config.fetch_timeout_ms)
    else:
        core.role = Unattached(soon if core.is_electable else None)
    core.note(f"starts as {core.role.name.value} in epoch {core.election.epoch}, log ends at {core.log.end}")


# ---- timers ------------------------------------------------------------------------------------------


def poll(core: "RaftCore", now_ms: int) -> None:
    """Does what is due in elections. A sole voter passes through every role at once."""
    role = core.role
    match role:
        case Unattached(election_deadline_ms=deadline):
            _poll_unattached(core, role, deadline, now_ms)
        case Follower():
            _poll_follower(core, role, now_ms)
        case Prospective():
            _poll_prospective(core, role, now_ms)
        case Candidate():
            _poll_candidate(core, role, now_ms)
        case Leader():
            _poll_leader(core, role, now_ms)
        case Resigned():
            _poll_resigned(core, role, now_ms)


def _poll_unattached(core: "RaftCore", role: Unattached, deadline: int | None, now_ms: int) -> None:
    if not core.is_electable:
        role.election_deadline_ms = None
    elif not core.may_stand:
        return
    elif deadline is None:  # it became a voter by a record in its log
        role.election_deadline_ms = now_ms + core.election_timeout()
    elif deadline <= now_ms:
        _ask_for_pre_votes(core, Why.ELECTION_TIMEOUT, now_ms)


def _poll_follower(core: "RaftCore", role: Follower, now_ms: int) -> None:
    overdue = role.fetch_deadline_ms <= now_ms
    suspected = role.suspect_at_ms is not None and role.suspect_at_ms <= now_ms
    if not (overdue or suspected) or not core.may_stand:
        return  # an observer that cannot reach its leader asks the bootstrap servers instead
    _ask_for_pre_votes(core, Why.FETCH_TIMEOUT if overdue else Why.SUSPICION, now_ms)


def _poll_prospective(core: "RaftCore", role: Prospective, now_ms: int) -> None:
    if role.election_deadline_ms <= now_ms and role.awaits_leader:
        role.awaits_leader = False
        role.election_deadline_ms = now_ms + core.election_timeout()
        core.note("its leader had its time to answer")
    elif role.election_deadline_ms <= now_ms:
        _pre_votes_lost(core, role, now_ms)
        return
    for peer in _due(core, role.resend_at_ms, now_ms):
        core.send(peer, _vote_request(core, peer, pre_vote=True), now_ms)
    _maybe_stand(core, role, now_ms)


def _poll_candidate(core: "RaftCore", role: Candidate, now_ms: int) -> None:
    if role.election_deadline_ms <= now_ms or (role.retry_at_ms is not None and role.retry_at_ms <= now_ms):
        _ask_for_pre_votes(core, Why.VOTES_LOST, now_ms)
        return
    for peer in _due(core, role.resend_at_ms, now_ms):
        core.send(peer, _vote_request(core, peer, pre_vote=False), now_ms)


def _poll_leader(core: "RaftCore", role: Leader, now_ms: int) -> None:
    if role.check_quorum_at_ms is not None and role.check_quorum_at_ms <= now_ms:
        resign(core, now_ms, "no majority has fetched for 1.5 fetch timeouts")
    elif role.begin_quorum_at_ms <= now_ms:
        _announce(core, role, now_ms)


def _poll_resigned(core: "RaftCore", role: Resigned, now_ms: int) -> None:
    over = role.election_deadline_ms <= now_ms
    if core.shutting_down:
        core.handed_over = core.handed_over or over or not role.unacknowledged
    if over and not core.is_electable:
        # The epoch is raised so that nobody is told of this leader any more.
        _to_unattached(core, Why.NO_LONGER_VOTER, core.next_epoch(), now_ms)
    elif over and core.may_stand:
        _ask_for_pre_votes(core, Why.ELECTION_TIMEOUT, now_ms)
    else:
        for peer in _due(core, role.resend_at_ms, now_ms):
            core.send(peer, _end_request(core, role), now_ms)


def _due(core: "RaftCore", resend_at_ms: dict[NodeId, int], now_ms: int) -> list[Peer]:
    """The peers to ask again now; they leave the waiting list."""
    due = [peer for peer in core.other_voters() if resend_at_ms.get(peer.id, now_ms + 1) <= now_ms]
    for peer in due:
        del resend_at_ms[peer.id]
    return due


# ---- pre-votes and votes, asking ---------------------------------------------------------------------


def _vote_request(core: "RaftCore", peer: Peer, *, pre_vote: bool) -> VoteRequest:
    return VoteRequest(
        epoch=core.election.epoch,
        candidate=core.config.replica,
        voter=core.voters.key(peer.id),
        last=core.log.end,
        pre_vote=pre_vote,
    )


def _ask_for_pre_votes(core: "RaftCore", why: Why, now_ms: int) -> None:
    """Turns Prospective in the same epoch and asks all other voters, a leader it had included."""
    old = core.role
    role = Prospective(now_ms + core.election_timeout(), core.own_votes)
    if isinstance(old, Follower):
        role.leader = (old.leader_id, old.endpoint)
        role.awaits_leader = True
        role.election_deadline_ms = max(old.fetch_deadline_ms, now_ms + core.config.suspicion_delay_ms[1])
    core.become(why, role, core.election, now_ms)
    for peer in core.other_voters():
        core.send(peer, _vote_request(core, peer, pre_vote=True), now_ms)
    _maybe_stand(core, role, now_ms)


def _maybe_stand(core: "RaftCore", role: Prospective, now_ms: int) -> None:
    """Raises the epoch once a majority would vote for it and no courtesy asks it to wait."""
    if len(role.granted) < core.voters.majority or role.awaits_leader:
        return
    if role.granted_equal and role.stand_at_ms is None:
        role.stand_at_ms = now_ms + core.rng.randint(*core.config.suspicion_delay_ms)
        core.note("granted an equal peer: waits once more before it stands")
    if role.stand_at_ms is None or role.stand_at_ms <= now_ms:
        _stand(core, Why.PRE_VOTES_WON, now_ms)


def _stand(core: "RaftCore", why: Why, now_ms: int) -> None:
    """Raises the epoch, votes for itself, and asks the others."""
    role = Candidate(now_ms + core.election_timeout(), core.own_votes)
    election = ElectionState(core.next_epoch(), None, core.config.replica)
    core.become(why, role, election, now_ms)
    for peer in core.other_voters():
        core.send(peer, _vote_request(core, peer, pre_vote=False), now_ms)
    _maybe_lead(core, role, now_ms)


def _maybe_lead(core: "RaftCore", role: Candidate, now_ms: int) -> None:
    if len(role.granted) < core.voters.majority:
        return
    config = core.config
    leader = Leader(
        epoch_start=core.log.end.offset,
        begin_quorum_at_ms=now_ms,
        check_quorum_at_ms=None
        if core.voters.ids == (core.id,)
        else now_ms + config.fetch_timeout_ms * 3 // 2,
    )
    election = ElectionState(core.election.epoch, core.id, core.election.voted)
    core.become(Why.VOTES_WON, leader, election, now_ms)
    core.elections_lost = 0
    replication.open_epoch(core, sorted(role.granted), now_ms)
    _announce(core, leader, now_ms)


def _pre_votes_lost(core: "RaftCore", role: Prospective, now_ms: int) -> None:
    """Back to the leader it had, or to waiting. It grants pre-votes again: it has not fetched since."""
    if role.leader is not None:
        _to_follower(core, Why.PRE_VOTES_LOST_TO_LEADER, core.election.epoch, *role.leader, now_ms)
    else:
        _to_unattached(core, Why.PRE_VOTES_LOST, core.election.epoch, now_ms)


def on_vote_response(
    core: "RaftCore", peer: Peer, request: VoteRequest, response: Response, now_ms: int
) -> None:
    check(isinstance(response, VoteResponse), "a Vote was answered with something else")
    if not isinstance(response, VoteResponse):
        return
    role = core.role
    if (
        isinstance(role, Prospective)
        and response.leader.epoch == core.election.epoch
        and response.leader.leader_id == peer.id
    ):
        endpoint = response.leader.endpoint or peer.endpoint
        _to_follower(core, Why.LEADER_ANSWERED, core.election.epoch, peer.id, endpoint, now_ms)
        return
    observe(core, response.leader, now_ms)
    if core.role is not role or request.epoch != core.election.epoch:
        return
    granted = response.granted and response.error is ErrorCode.none
    if isinstance(role, Prospective) and request.pre_vote:
        if role.leader is not None and role.leader[0] == peer.id:
            role.awaits_leader = False  # it answered, and leads no more
        _count(role, peer.id, granted)
        if _cannot_win(core, role):
            _pre_votes_lost(core, role, now_ms)
        else:
            _maybe_stand(core, role, now_ms)
    elif isinstance(role, Candidate) and not request.pre_vote:
        _count(role, peer.id, granted)
        _maybe_lead(core, role, now_ms)
        if core.role is role and _cannot_win(core, role) and role.retry_at_ms is None:
            role.retry_at_ms = now_ms + _backoff(core)
            core.note("cannot win this epoch any more")


def _count(role: Prospective | Candidate, peer_id: NodeId, granted: bool) -> None:
    """The last answer counts: a peer that was asked again may have changed its mind about a pre-vote."""
    (role.granted if granted else role.rejected).add(peer_id)
    (role.rejected if granted else role.granted).discard(peer_id)


def _cannot_win(core: "RaftCore", role: Prospective | Candidate) -> bool:
    return len(core.voters) - len(role.rejected) < core.voters.majority


def _backoff(core: "RaftCore") -> int:
    """Kafka's binary exponential backoff of a defeated candidate."""
    steps = core.rng.randrange(2 * 2 ** min(20, core.elections_lost))
    core.elections_lost += 1
    return min(core.config.election_backoff_max_ms, _BACKOFF_UNIT_MS * steps)


def on_vote_failure(
    core: "RaftCore", peer: Peer, request: VoteRequest, failure: Failure, now_ms: int
) -> None:
    role = core.role
    if not isinstance(role, Prospective | Candidate) or request.epoch != core.election.epoch:
        return
    if failure is Failure.UNSUPPORTED:
        # Whoever cannot be asked has not agreed: falling back to a real vote would disturb a living leader.
        _count(role, peer.id, granted=False)
        if isinstance(role, Prospective) and _cannot_win(core, role):
            _pre_votes_lost(core, role, now_ms)
            return
    else:
        role.resend_at_ms[peer.id] = now_ms + _REFUSED_RETRY_MS
    if not isinstance(role, Prospective):
        return
    if failure is Failure.REFUSED and role.leader is not None and role.leader[0] == peer.id:
        role.awaits_leader = False
        _maybe_stand(core, role, now_ms)


# ---- votes, answering --------------------------------------------------------------------------------


def on_vote_request(core: "RaftCore", token: Token, request: VoteRequest, now_ms: int) -> None:
    """Checks in Kafka's order: shape, epoch, addressee; then the decision."""
    last_allowed = request.epoch if request.pre_vote else request.epoch - 1
    if request.last.offset < 0 or not 0 <= request.last.epoch <= last_allowed or request.candidate.id < 0:
        return _answer_vote(core, token, error=ErrorCode.invalid_request)
    if request.epoch < core.election.epoch:
        return _answer_vote(core, token, error=ErrorCode.fenced_leader_epoch)
    if request.epoch > core.election.epoch:
        _to_unattached(core, Why.HIGHER_EPOCH, request.epoch, now_ms)
    if not request.voter.matches(core.config.replica):
        core.note(f"was asked for the vote of {request.voter}, but is {core.config.replica}")
        return _answer_vote(core, token, error=ErrorCode.invalid_voter_key)
    granted = (
        _grants_pre_vote(core, request, now_ms) if request.pre_vote else _grants_vote(core, request, now_ms)
    )
    kind = "pre-vote" if request.pre_vote else "vote"
    core.note(
        f"{'grants' if granted else 'refuses'} {request.candidate.id} its {kind} in epoch {request.epoch}"
    )
    if not granted:
        _after_refusal(core, request, now_ms)
    return _answer_vote(core, token, granted=granted)


def _after_refusal(core: "RaftCore", request: VoteRequest, now_ms: int) -> None:
    """Who was refused may hold up the election; what we know of it by its request saves waiting for timeouts.

    - A rival of the same epoch: the vote may be split. A candidate gives it the time of a few messages, not more.
    - A replica whose log ends before ours: it looks for a leader, so it will grant us what we could not grant it.
    """
    role = core.role
    shortest, longest = core.config.suspicion_delay_ms
    soon = now_ms + core.rng.randint(shortest, longest)
    if isinstance(role, Candidate):
        if not request.pre_vote:
            role.election_deadline_ms = min(role.election_deadline_ms, soon + longest)
    elif request.last.at_least(core.log.end):
        return
    elif isinstance(role, Unattached) and role.election_deadline_ms is not None:
        role.election_deadline_ms = min(role.election_deadline_ms, soon)
    elif isinstance(role, Prospective) and request.candidate.id in role.rejected:
        role.resend_at_ms.setdefault(request.candidate.id, soon)


def _answer_vote(
    core: "RaftCore", token: Token, *, granted: bool = False, error: ErrorCode = ErrorCode.none
) -> None:
    core.reply(token, VoteResponse(leader=core.leader_and_epoch, granted=granted, error=error))


def _grants_pre_vote(core: "RaftCore", request: VoteRequest, now_ms: int) -> bool:
    """Not persisted, may be given to many. A leader never grants; nor does a follower that hears its leader.

    One that does not stand itself (an observer, or a voter without room) stays a follower when its leader falls silent:
    it must grant all the same, for it may be a voter by the log of who asks.
    """
    role = core.role
    if isinstance(role, Leader):
        return False
    if isinstance(role, Follower) and role.has_fetched and now_ms < role.fetch_deadline_ms:
        return False
    if not request.last.at_least(core.log.end):
        return False
    if isinstance(role, Prospective) and request.last == core.log.end:
        role.granted_equal = True
    return True


def _grants_vote(core: "RaftCore", request: VoteRequest, now_ms: int) -> bool:
    """One vote per epoch, on disk before the answer leaves; the log rule of the Raft paper, 5.4.1.

    The candidate need not be in our voter set, nor we: a replica whose log lags behind a change of the voters
    must still be able to elect (KIP-853).
    """
    if core.election.leader_id is not None or not isinstance(core.role, Unattached | Prospective):
        return False
    voted = core.election.voted
    if voted is not None:
        return voted == request.candidate
    if not request.last.at_least(core.log.end):
        return False
    election = ElectionState(core.election.epoch, None, request.candidate)
    role = Unattached(now_ms + core.election_timeout() if core.is_electable else None)
    core.become(Why.VOTE_GIVEN, role, election, now_ms)
    return True


# ---- the leader's presence ---------------------------------------------------------------------------


def observe(core: "RaftCore", hint: LeaderAndEpoch, now_ms: int) -> None:
    """Takes in what another replica says of epoch and leader. Older news changes nothing."""
    mine = core.election
    if hint.epoch < mine.epoch:
        return
    leader_id = None if hint.leader_id == core.id else hint.leader_id
    if hint.epoch == mine.epoch and leader_id is not None and mine.leader_id is not None:
        check(
            leader_id == mine.leader_id,
            f"two leaders in epoch {mine.epoch}: {mine.leader_id} and {leader_id}",
        )
    endpoint = _endpoint_of(core, leader_id, hint.endpoint)
    if leader_id is not None and endpoint is not None:
        known = isinstance(core.role, Follower | Prospective) and mine.leader_id == leader_id
        if hint.epoch > mine.epoch or not known:
            _to_follower(core, Why.LEADER_FOUND, hint.epoch, leader_id, endpoint, now_ms)
    elif hint.epoch > mine.epoch:
        _to_unattached(core, Why.HIGHER_EPOCH, hint.epoch, now_ms)


def _endpoint_of(core: "RaftCore", leader_id: NodeId | None, told: Endpoint | None) -> Endpoint | None:
    if leader_id is None:
        return None
    return told or core.voters.endpoint(leader_id, core.config.listener)


def on_begin_quorum_epoch(
    core: "RaftCore", token: Token, request: BeginQuorumEpochRequest, now_ms: int
) -> None:
    error = ErrorCode.none
    if request.epoch < core.election.epoch:
        error = ErrorCode.fenced_leader_epoch
    elif request.leader_id < 0 or request.leader_id == core.id:
        error = ErrorCode.invalid_request
    else:
        endpoint = next((one for one in request.endpoints if one.name == core.config.listener), None)
        observe(core, LeaderAndEpoch(request.epoch, request.leader_id, endpoint), now_ms)
        _leader_speaks(core, request.leader_id, endpoint, now_ms)
        if not request.voter.matches(core.config.replica):
            error = ErrorCode.invalid_voter_key
    core.reply(token, BeginQuorumEpochResponse(leader=core.leader_and_epoch, error=error))


def _leader_speaks(core: "RaftCore", leader_id: NodeId, told: Endpoint | None, now_ms: int) -> None:
    """A Prospective whose leader speaks up goes back to it."""
    role = core.role
    if isinstance(role, Prospective) and role.leader is not None and role.leader[0] == leader_id:
        endpoint = told or role.leader[1]
        _to_follower(core, Why.LEADER_ANSWERED, core.election.epoch, leader_id, endpoint, now_ms)


def on_end_quorum_epoch(core: "RaftCore", token: Token, request: EndQuorumEpochRequest, now_ms: int) -> None:
    """The leader steps down. Its first successor stands at once; the others leave it the time to win."""
    error = ErrorCode.none
    if request.epoch < core.election.epoch:
        error = ErrorCode.fenced_leader_epoch
    elif request.leader_id < 0 or request.leader_id == core.id:
        error = ErrorCode.invalid_request
    else:
        observe(core, LeaderAndEpoch(request.epoch, request.leader_id), now_ms)
    core.reply(token, EndQuorumEpochResponse(leader=core.leader_and_epoch, error=error))
    role = core.role
    if error is not ErrorCode.none or not isinstance(role, Follower) or not core.is_electable:
        return
    role.has_fetched = False
    position = _position(request.preferred, core.config.replica)
    if position == 0 and core.may_stand:
        _stand(core, Why.SUCCESSOR, now_ms)
    else:
        wait = _successor_wait(core.config.election_backoff_max_ms, position or None, len(request.preferred))
        role.fetch_deadline_ms = min(role.fetch_deadline_ms, now_ms + wait)


def _position(preferred: tuple[ReplicaKey, ...], replica: ReplicaKey) -> int | None:
    return next((index for index, key in enumerate(preferred) if key.matches(replica)), None)


def _successor_wait(longest_ms: int, position: int | None, count: int) -> int:
    """Kafka's formula: the further back in the list, the longer the wait."""
    if position is None:
        return longest_ms
    return min(longest_ms, (longest_ms >> (count - 1)) << (position - 1))


def _announce(core: "RaftCore", role: Leader, now_ms: int) -> None:
    """BeginQuorumEpoch to every other voter, now and every half fetch timeout: a voter that restarts hears of us."""
    role.begin_quorum_at_ms = now_ms + core.config.fetch_timeout_ms // 2
    mine = core.own_endpoint
    for peer in core.other_voters():
        request = BeginQuorumEpochRequest(
            epoch=core.election.epoch,
            leader_id=core.id,
            voter=core.voters.key(peer.id),
            endpoints=() if mine is None else (mine,),
        )
        core.send(peer, request, now_ms)


# ---- stepping down -----------------------------------------------------------------------------------


def resign(core: "RaftCore", now_ms: int, reason: str) -> None:
    """Gives up leadership for good in this epoch, and names successors, best log first."""
    role = core.role
    if not isinstance(role, Leader):
        return
    core.note(f"resigns as leader of epoch {core.election.epoch}: {reason}")
    others = core.other_voters()

    def end_of(peer: Peer) -> int:
        progress = role.progress.get(core.voters.key(peer.id))
        return -1 if progress is None or progress.end_offset is None else progress.end_offset

    ranked = sorted(others, key=lambda peer: (-end_of(peer), peer.id))
    resigned = Resigned(
        now_ms + core.election_timeout(),
        {peer.id for peer in others},
        tuple(core.voters.key(peer.id) for peer in ranked),
    )
    core.become(Why.RESIGNED, resigned, core.election, now_ms)
    for peer in others:
        core.send(peer, _end_request(core, resigned), now_ms)


def on_space_changed(core: "RaftCore", now_ms: int) -> None:
    """A leader without room hands over if a voter that has room is there; who has none does not fetch."""
    core.note("is below its free-space floor" if core.disk_low else "has room on its disk again")
    role = core.role
    if not core.disk_low or not isinstance(role, Leader):
        return
    recent = now_ms - core.config.fetch_timeout_ms
    fit = [
        one
        for one in role.progress.values()
        if core.voters.contains(one.key) and one.last_fetch_ms is not None and one.last_fetch_ms >= recent
    ]
    if len(fit) + 1 >= core.voters.majority and len(core.voters) > 1:
        resign(core, now_ms, "its disk is almost full, another voter has room")


def _end_request(core: "RaftCore", role: Resigned) -> EndQuorumEpochRequest:
    return EndQuorumEpochRequest(epoch=core.election.epoch, leader_id=core.id, preferred=role.preferred)


def on_end_quorum_response(core: "RaftCore", peer: Peer, response: Response, now_ms: int) -> None:
    role = core.role
    if isinstance(role, Resigned) and isinstance(response, EndQuorumEpochResponse):
        role.unacknowledged.discard(peer.id)
    observe(core, response.leader, now_ms)


def on_end_quorum_failure(core: "RaftCore", peer: Peer, failure: Failure, now_ms: int) -> None:
    role = core.role
    if not isinstance(role, Resigned) or peer.id not in role.unacknowledged:
        return
    if failure is Failure.REFUSED and core.shutting_down:
        role.unacknowledged.discard(peer.id)  # nobody is there to hear it
    else:
        role.resend_at_ms[peer.id] = now_ms + _REFUSED_RETRY_MS


# ---- suspicion ---------------------------------------------------------------------------------------


def on_leader_connection_lost(core: "RaftCore", role: Follower, failure: Failure, now_ms: int) -> None:
    """A Fetch to the leader failed. One break reconnects at once; refusal, or a second break, is suspicion."""
    if failure is Failure.RESET and not role.reconnecting:
        role.reconnecting = True
        core.fetch_at_ms = now_ms
        return
    if failure is Failure.REFUSED:
        role.has_fetched = False  # nobody listens there: others may be granted a pre-vote at once
    if failure in (Failure.REFUSED, Failure.RESET):
        _suspect(core, role, f"connection {failure.value}", now_ms)


def on_leader_denies(core: "RaftCore", role: Follower, now_ms: int) -> None:
    """The leader itself says that it does not lead this epoch: it resigned, or was restarted."""
    role.has_fetched = False
    _suspect(core, role, "it says that it does not lead", now_ms)


def _suspect(core: "RaftCore", role: Follower, why: str, now_ms: int) -> None:
    if not core.may_stand or now_ms < role.no_suspicion_before_ms or role.suspect_at_ms is not None:
        return
    role.no_suspicion_before_ms = now_ms + core.config.suspicion_interval_ms
    role.suspect_at_ms = now_ms + core.rng.randint(*core.config.suspicion_delay_ms)
    core.note(f"suspects leader {role.leader_id}: {why}")


# ---- the two roles that others lead to ---------------------------------------------------------------


def _to_unattached(core: "RaftCore", why: Why, epoch: Epoch, now_ms: int) -> None:
    """Keeps what is left of a running election timer: bumped epochs must not postpone our own election for ever."""
    old = core.role
    deadline: int | None = None
    if core.is_electable:
        deadline = now_ms + core.election_timeout()
        if isinstance(old, Unattached | Candidate) and old.election_deadline_ms is not None:
            deadline = max(now_ms + 1, min(deadline, old.election_deadline_ms))
    election = core.election
    if epoch > election.epoch:
        election = ElectionState(epoch)
    core.become(why, Unattached(deadline), election, now_ms)


def _to_follower(
    core: "RaftCore", why: Why, epoch: Epoch, leader_id: NodeId, endpoint: Endpoint, now_ms: int
) -> None:
    check(leader_id != core.id, "a replica cannot follow itself")
    voted = core.election.voted if epoch == core.election.epoch else None
    role = Follower(leader_id, endpoint, now_ms + core.config.fetch_timeout_ms)
    core.become(why, role, ElectionState(epoch, leader_id, voted), now_ms)
    core.elections_lost = 0
