"""A controller that makes itself a voter (controller.quorum.auto.join.enable; KIP-853).

It follows as an observer, and asks the leader to add it; the leader refuses until it has caught up, so it asks again.
If its node id votes with another disk, that vote must end first. Two rules that Kafka does not have:

- who was removed stays removed (KAFKA-19850): a disk that has ever voted never asks again. That is kept in the
  quorum-state file, since neither log nor snapshots tell for ever who voted once;
- a vote of the same node id with another disk is ended only if its address is this node's own: this node listens
  there, so its former self is dead. At another address there may be a living twin, started by mistake.
"""

from typing import TYPE_CHECKING

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.quorum.effects import Peer
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    RemoveVoterRequest,
    RemoveVoterResponse,
    Response,
)
from quorate.metadata.quorum.roles import Follower

if TYPE_CHECKING:
    from quorate.metadata.quorum.core import RaftCore

ASK_EVERY = 3
"""Fetch timeouts between two tries, as for corrections of a voter's entry."""


def remember(core: "RaftCore") -> None:
    """Whoever sees itself among the voters has voted once: durable before it could act on it."""
    if core.is_voter and not core.election.was_voter:
        _write(core, was_voter=True)


def forget(core: "RaftCore") -> None:
    """The record that made it a voter was cut off: it never was one."""
    if core.election.was_voter:
        _write(core, was_voter=False)


def _write(core: "RaftCore", *, was_voter: bool) -> None:
    core.election = core.effects.election = attrs.evolve(core.election, was_voter=was_voter)


def poll(core: "RaftCore", now_ms: int) -> None:
    role = _asker(core)
    if role is None or role.update_at_ms > now_ms:
        return
    role.update_at_ms = now_ms + ASK_EVERY * core.config.fetch_timeout_ms
    if core.election.was_voter:
        _say(core, "was removed from the voters and stays an observer; `add-controller` lets it vote again")
        return
    known = core.voters.keys.get(core.id)
    request: AddVoterRequest | RemoveVoterRequest
    if known is None:
        # Not acknowledged by its commit: the Fetch that the commit may need waits behind this answer.
        request = AddVoterRequest(
            voter=core.config.replica,
            endpoints=core.config.endpoints,
            timeout_ms=core.config.request_timeout_ms,
            ack_when_committed=False,
        )
    elif core.voters.endpoint(core.id, core.config.listener) in core.config.endpoints:
        request = RemoveVoterRequest(voter=known)
    else:
        where = core.voters.endpoint(core.id, core.config.listener)
        _say(
            core,
            f"does not ask to vote: {known} votes at {where}, and may be alive. If it is not, and for good: "
            f"`quorate quorum replace-controller {core.id}`",
        )
        return
    core.send(Peer(role.leader_id, role.endpoint), request, now_ms)


def deadline(core: "RaftCore") -> int | None:
    """When a follower that wants to vote asks next."""
    role = _asker(core)
    return None if role is None else role.update_at_ms


def on_response(
    core: "RaftCore", request: AddVoterRequest | RemoveVoterRequest, response: Response, now_ms: int
) -> None:
    if not isinstance(response, AddVoterResponse | RemoveVoterResponse):
        return
    wish = f"to add voter {request.voter}"
    if isinstance(request, RemoveVoterRequest):
        wish = f"to remove voter {request.voter}, its former disk"
        role = core.role
        if isinstance(role, Follower) and response.error is ErrorCode.none:
            role.update_at_ms = now_ms + core.config.retry_backoff_ms
    if response.error is ErrorCode.none:
        _say(core, f"asked {wish}: done")
    else:
        _say(core, f"asked {wish}, and will again: {response.error.name.upper()}: {response.message}")


def _asker(core: "RaftCore") -> Follower | None:
    """The role of a replica that would like to vote and is in a position to ask."""
    role, config = core.role, core.config
    if (
        not config.auto_join
        or not isinstance(role, Follower)
        or core.is_voter
        or core.log.voters.kraft_version < 1
    ):
        return None
    ready = role.has_fetched and role.snapshot is None and not core.disk_low and not core.shutting_down
    reachable = any(one.name == config.listener for one in config.endpoints)
    return role if ready and reachable else None


def _say(core: "RaftCore", text: str) -> None:
    """Once, although it is tried again and again."""
    if core.joining_said != text:
        core.joining_said = text
        core.note(text)
