"""Who votes: adding, removing and updating voters, one at a time (KIP-853; Ongaro's thesis, 4.1).

A voter set counts from the moment its record is appended, committed or not, and is undone with it. Two sets that
follow each other differ by one replica, so any two of their majorities meet. Three rules keep that true:

- one change at a time: the next waits until the record of the last one is committed;
- a leader changes nothing before a record of its own epoch is committed: until then an earlier leader's change, which
  it has not seen, may still win;
- a replica is added only once it has caught up: as a voter that is far behind it would hold up every commit.

A leader that removed itself goes on leading, without counting itself, until its removal is committed; then it resigns.
"""

from typing import TYPE_CHECKING, Final

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import ZERO_UUID, Endpoint, NodeId, Offset, ReplicaKey
from quorate.metadata.quorum import elections, replication
from quorate.metadata.quorum.effects import Peer
from quorate.metadata.quorum.events import Correlation, Failure, Token
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    RemoveVoterRequest,
    RemoveVoterResponse,
    Response,
    UpdateVoterRequest,
    UpdateVoterResponse,
    VersionsRequest,
    VersionsResponse,
)
from quorate.metadata.quorum.roles import Follower, Leader, VoterChange
from quorate.metadata.quorum.voters import BOOTSTRAP_OFFSET, VoterSet
from quorate.metadata.records import VersionRange, Voter

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

Refusal = tuple[ErrorCode, str]

_UPDATE_EVERY: Final = 3
"""Fetch timeouts between two tries of a follower to have its own entry corrected (as in Kafka)."""


# ---- requests ----------------------------------------------------------------------------------------


def on_add_voter(core: "RaftCore", token: Token, request: AddVoterRequest, now_ms: int) -> None:
    """Checks in Kafka's order; then the new voter is asked which kraft.versions it speaks."""
    role = core.role
    refused = _not_now(core) or _cannot_add(core, request)
    endpoint = _dialled(core, request.endpoints)
    if refused is not None or endpoint is None or not isinstance(role, Leader):
        code, why = refused or _no_endpoint(core, request.voter)
        core.reply(token, AddVoterResponse(leader=core.leader_and_epoch, error=code, message=why))
        return
    deadline_ms = now_ms + _patience_ms(core, request.timeout_ms)
    core.note(f"is asked to add voter {request.voter}: asks it what it speaks")
    asked = core.send(Peer(request.voter.id, endpoint), VersionsRequest(), now_ms)
    role.change = VoterChange(token, request, deadline_ms, asked=asked)


def on_versions(core: "RaftCore", asked: Correlation, response: Response, now_ms: int) -> None:
    """The replica to be added has answered; append if it speaks our kraft.version and has caught up."""
    role = core.role
    change = role.change if isinstance(role, Leader) else None
    if not isinstance(role, Leader) or change is None or change.asked != asked:
        return  # it took too long, and its operator was told so
    if not isinstance(change.request, AddVoterRequest):
        return
    spoken = response.kraft_versions if isinstance(response, VersionsResponse) else None
    refused = _not_now(core, change) or _cannot_join(core, role, change.request, spoken, now_ms)
    if refused is not None or spoken is None:
        _end_change(core, role, *(refused or (ErrorCode.invalid_request, "It does not speak kraft.version.")))
        return
    voter = _voter(change.request.voter, change.request.endpoints, spoken)
    voters = VoterSet.of([*core.voters.voters.values(), voter])
    core.note(f"adds voter {change.request.voter}")
    change.offset = _append(core, voters, now_ms)
    if not change.request.ack_when_committed:
        _end_change(core, role, ErrorCode.none, None)
    _after_append(core, role, now_ms)


def on_versions_failure(core: "RaftCore", asked: Correlation, peer: Peer, failure: Failure) -> None:
    role = core.role
    change = role.change if isinstance(role, Leader) else None
    if not isinstance(role, Leader) or change is None or change.asked != asked:
        return
    _end_change(
        core,
        role,
        ErrorCode.request_timed_out,
        f"Controller {peer.id} could not be asked at {peer.endpoint} which kraft.versions it speaks "
        f"({failure.value}); nothing was changed. Is it running, and is this its address?",
    )


def on_remove_voter(core: "RaftCore", token: Token, request: RemoveVoterRequest, now_ms: int) -> None:
    role = core.role
    refused = _not_now(core) or _cannot_remove(core, request.voter)
    if refused is not None or not isinstance(role, Leader):
        code, why = refused or (ErrorCode.not_leader_or_follower, "This controller does not lead.")
        core.reply(token, RemoveVoterResponse(leader=core.leader_and_epoch, error=code, message=why))
        return
    role.change = VoterChange(token, request, now_ms + _patience_ms(core, request.timeout_ms))
    left = [one for node_id, one in core.voters.voters.items() if node_id != request.voter.id]
    core.note(f"removes voter {request.voter}")
    role.change.offset = _append(core, VoterSet.of(left), now_ms)
    _after_append(core, role, now_ms)


def on_update_voter(core: "RaftCore", token: Token, request: UpdateVoterRequest, now_ms: int) -> None:
    """A voter corrects its own entry. Answered once appended: it is no change of who votes."""
    role = core.role
    error = replication.refusal(core, request.epoch)
    if error is ErrorCode.none:
        refused = _not_now(core) or _cannot_update(core, request)
        error = ErrorCode.none if refused is None else refused[0]
    if error is ErrorCode.none and isinstance(role, Leader):
        _replace_entry(core, role, _voter(request.voter, request.endpoints, request.kraft_versions), now_ms)
    core.reply(token, UpdateVoterResponse(leader=core.leader_and_epoch, error=error))


# ---- the checks --------------------------------------------------------------------------------------


def _not_now(core: "RaftCore", own: VoterChange | None = None) -> Refusal | None:
    """What every change must wait for, or turn to somebody else for."""
    role = core.role
    if not isinstance(role, Leader):
        return (
            ErrorCode.not_leader_or_follower,
            f"Controller {core.id} does not lead: {core.leader_and_epoch}.",
        )
    if role.change is not None and role.change is not own:
        return ErrorCode.request_timed_out, "Another change of the voters is under way. Try again."
    if not role.high_watermark_known:
        why = "This leader has not committed a record of its epoch yet. Try again."
        return ErrorCode.request_timed_out, why
    if core.log.voters.kraft_version < 1:
        why = "The voters are static (kraft.version 0): they stand in controller.quorum.voters of each node."
        return ErrorCode.unsupported_version, why
    if core.log.voters.last_offset >= (core.high_watermark or 0):
        return ErrorCode.request_timed_out, "The last change of the voters is not committed yet. Try again."
    return None


def _cannot_add(core: "RaftCore", request: AddVoterRequest) -> Refusal | None:
    voter = request.voter
    if voter.id < 0 or voter.directory_id in (None, ZERO_UUID):
        why = "A voter is added by its node id and its directory id (`quorate storage info` shows them)."
        return ErrorCode.invalid_request, why
    if _dialled(core, request.endpoints) is None:
        return _no_endpoint(core, voter)
    known = core.voters.keys.get(voter.id)
    if known == voter:
        return ErrorCode.duplicate_voter, f"{voter} is a voter already."
    if known is not None:
        why = f"Node {voter.id} is a voter with another disk, {known}. Remove that one first, if its disk is lost."
        return ErrorCode.duplicate_voter, why
    return None


def _no_endpoint(core: "RaftCore", voter: ReplicaKey) -> Refusal:
    why = f"No address of {voter} on the listener {core.config.listener}, on which controllers talk to each other."
    return ErrorCode.invalid_request, why


def _cannot_join(
    core: "RaftCore", role: Leader, request: AddVoterRequest, spoken: tuple[int, int] | None, now_ms: int
) -> Refusal | None:
    voter, level = request.voter, core.log.voters.kraft_version
    if spoken is None or not spoken[0] <= level <= spoken[1]:
        said = "none" if spoken is None else f"{spoken[0]} to {spoken[1]}"
        why = f"{voter} speaks kraft.version {said}, the quorum is at {level}. Upgrade it."
        return ErrorCode.invalid_request, why
    progress = role.progress.get(voter)
    recent = now_ms - core.config.fetch_timeout_ms
    if progress is None or progress.last_fetch_ms is None or progress.last_fetch_ms < recent:
        why = (
            f"{voter} does not fetch from this leader, so it cannot catch up; nothing was changed. Is it running, with "
            "this directory id, and with controller.quorum.bootstrap.servers of this cluster?"
        )
        return ErrorCode.request_timed_out, why
    if progress.last_caught_up_ms is None or progress.last_caught_up_ms < recent:
        behind = core.log.end.offset - (progress.end_offset or 0)
        why = f"{voter} is still catching up, {behind} records behind; nothing was changed. Try again."
        return ErrorCode.request_timed_out, why
    return None


def _cannot_remove(core: "RaftCore", voter: ReplicaKey) -> Refusal | None:
    known = core.voters.keys.get(voter.id)
    if known is None:
        return ErrorCode.voter_not_found, f"Node {voter.id} is no voter."
    if known != voter:
        return ErrorCode.voter_not_found, f"{voter} is no voter; node {voter.id} votes as {known}."
    if len(core.voters) == 1:
        return ErrorCode.voter_not_found, f"{voter} is the only voter. Add another one before it goes."
    return None


def _cannot_update(core: "RaftCore", request: UpdateVoterRequest) -> Refusal | None:
    lowest, highest = request.kraft_versions
    if request.voter.directory_id in (None, ZERO_UUID) or _dialled(core, request.endpoints) is None:
        return _no_endpoint(core, request.voter)
    if not lowest <= core.log.voters.kraft_version <= highest:
        return ErrorCode.invalid_request, f"{request.voter} does not speak the kraft.version of the quorum."
    if core.voters.keys.get(request.voter.id) != request.voter:
        return ErrorCode.voter_not_found, f"{request.voter} is no voter."
    return None


def _dialled(core: "RaftCore", endpoints: tuple[Endpoint, ...]) -> Endpoint | None:
    return next((one for one in endpoints if one.name == core.config.listener), None)


def _patience_ms(core: "RaftCore", asked_ms: int) -> int:
    return asked_ms if asked_ms > 0 else core.config.request_timeout_ms


# ---- carrying out ------------------------------------------------------------------------------------


def _voter(key: ReplicaKey, endpoints: tuple[Endpoint, ...], versions: tuple[int, int]) -> Voter:
    lowest, highest = versions
    return Voter(
        voter_id=key.id,
        voter_directory_id=key.directory_id or ZERO_UUID,
        endpoints=endpoints,
        kraft_version_feature=VersionRange(min_supported_version=lowest, max_supported_version=highest),
    )


def _append(core: "RaftCore", voters: VoterSet, now_ms: int) -> Offset:
    offset = core.log.end.offset
    batch = RecordBatch.seal(
        [voters.record()],
        base_offset=offset,
        epoch=core.election.epoch,
        append_time_ms=core.wall_ms(now_ms),
        is_control=True,
    )
    replication.append(core, [batch])
    return offset


def _after_append(core: "RaftCore", role: Leader, now_ms: int) -> None:
    """The new set counts from here on: for commits, and for who must be heard of."""
    role.fetched_since_check.intersection_update(core.voters.ids)
    if core.voters.ids == (core.id,):
        role.check_quorum_at_ms = None
    elif role.check_quorum_at_ms is None:
        role.check_quorum_at_ms = now_ms + core.config.fetch_timeout_ms * 3 // 2
    role.begin_quorum_at_ms = now_ms  # a new voter hears of its leader as one
    replication.after_leader_append(core, now_ms)


def _replace_entry(core: "RaftCore", role: Leader, voter: Voter, now_ms: int) -> None:
    known = core.voters.voters[NodeId(voter.voter_id)]
    if known == voter:
        return
    core.note(f"voter {voter.voter_id} is reached at {', '.join(map(str, voter.endpoints))} from now on")
    others = [one for one in core.voters.voters.values() if one.voter_id != voter.voter_id]
    _append(core, VoterSet.of([*others, voter]), now_ms)
    _after_append(core, role, now_ms)


def check_overlap(core: "RaftCore", voters: VoterSet) -> None:
    """A set in the log must share its majorities with the one before (the formatted one was agreed on by hand).

    Raises:
        InvariantViolated: more than one replica added, or more than one removed.
    """
    if core.log.voters.last_offset == BOOTSTRAP_OFFSET:
        return
    before, after = set(core.voters.keys.values()), set(voters.keys.values())
    if len(before - after) > 1 or len(after - before) > 1:
        raise InvariantViolated(
            f"voters changed from {sorted(map(str, before))} to {sorted(map(str, after))} in one record"
        )


# ---- later -------------------------------------------------------------------------------------------


def on_commit(core: "RaftCore", role: Leader, now_ms: int) -> None:
    """The high watermark moved: the change may be over, and with it this leadership."""
    committed = core.high_watermark or Offset(0)
    change = role.change
    if change is not None and change.offset is not None and change.offset < committed:
        _end_change(core, role, ErrorCode.none, None)
    if not core.is_voter and core.log.voters.last_offset < committed:
        elections.resign(core, now_ms, "it was removed from the voters")


def poll(core: "RaftCore", now_ms: int) -> None:
    """Changes that take too long, and entries of our own that are out of date."""
    role = core.role
    if isinstance(role, Leader):
        if role.change is not None and role.change.deadline_ms <= now_ms:
            appended = role.change.offset is not None
            done = "is in the log and may still be committed" if appended else "was not begun"
            why = f"The change {done}: there was no {'majority' if appended else 'answer'} in time."
            _end_change(core, role, ErrorCode.request_timed_out, why)
        if core.entry_is_old and _not_now(core) is None:
            _replace_entry(core, role, _own_entry(core), now_ms)
    elif isinstance(role, Follower) and role.update_at_ms <= now_ms and core.entry_is_old:
        _ask_for_update(core, role, now_ms)


def deadline(core: "RaftCore") -> int | None:
    """When `poll` has something to do, as far as time alone tells."""
    role = core.role
    if isinstance(role, Leader):
        return None if role.change is None else role.change.deadline_ms
    if isinstance(role, Follower) and core.entry_is_old:
        return role.update_at_ms
    return None


def own_entry_is_old(core: "RaftCore") -> bool:
    """Whether the log tells others another address of this replica, a voter, than it has, or other kraft.versions."""
    if not core.config.endpoints or core.log.voters.kraft_version < 1:
        return False
    return core.voters.voters[core.id] != _own_entry(core)


def _own_entry(core: "RaftCore") -> Voter:
    known = core.voters.key(core.id)
    return _voter(known, core.config.endpoints, core.config.kraft_versions)


def _ask_for_update(core: "RaftCore", role: Follower, now_ms: int) -> None:
    role.update_at_ms = now_ms + _UPDATE_EVERY * core.config.fetch_timeout_ms
    if not role.has_fetched:
        return
    request = UpdateVoterRequest(
        epoch=core.election.epoch,
        voter=core.config.replica,
        endpoints=core.config.endpoints,
        kraft_versions=core.config.kraft_versions,
    )
    core.send(Peer(role.leader_id, role.endpoint), request, now_ms)


def _end_change(core: "RaftCore", role: Leader, error: ErrorCode, message: str | None) -> None:
    change, role.change = role.change, None
    if change is None:
        return
    kind = AddVoterResponse if isinstance(change.request, AddVoterRequest) else RemoveVoterResponse
    core.reply(change.token, kind(leader=core.leader_and_epoch, error=error, message=message))


def fail_change(core: "RaftCore", role: Leader) -> None:
    """Leadership is over; whether the change holds is for the next leader's log to say."""
    why = f"Controller {core.id} leads no more. Ask the quorum whether the change was made: {core.leader_and_epoch}."
    _end_change(core, role, ErrorCode.not_leader_or_follower, why)
