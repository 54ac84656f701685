"""Who votes, changed from the command line: look, say what would happen, do it, wait for it, look again.

The leader decides and checks (`metadata.quorum.membership`); what it cannot do at this moment it refuses with
REQUEST_TIMED_OUT, and the command asks again until its own time is up. Whether a change that was not answered has been
made is read off the quorum itself, so every command may be given again.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.quorum_view import QuorumView, describe_quorum, quorum_view
from quorate.metadata import client
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import ZERO_UUID, Endpoint, NodeId, ReplicaKey, uuid_to_text
from quorate.metadata.wire.cluster import DescribeClusterRequest
from quorate.metadata.wire.raft import AddRaftVoterRequest, Listener, RemoveRaftVoterRequest

_AGAIN_S: Final = 0.25
_NOT_NOW: Final = frozenset(
    (ErrorCode.request_timed_out, ErrorCode.not_leader_or_follower, ErrorCode.not_controller)
)
_CONTROLLERS: Final = 2  # DescribeCluster's endpoint type


@attrs.frozen(kw_only=True)
class Look:
    """What the leader says of its replicas."""

    leader_id: int
    voters: Mapping[int, ReplicaKey]
    observers: tuple[ReplicaKey, ...]
    endpoints: Mapping[int, Endpoint]
    """Of the voters, on the listener on which controllers talk to each other."""

    @property
    def listener(self) -> str:
        return self.endpoints[self.leader_id].name

    def votes(self, key: ReplicaKey) -> bool:
        return self.voters.get(key.id) == key


@attrs.frozen(kw_only=True)
class Step:
    """One change: a voter comes or goes."""

    adds: bool
    key: ReplicaKey
    endpoint: Endpoint | None = None
    already: bool = False
    """The voters show it; but only the leader's answer says that it is committed."""

    def done_in(self, look: Look) -> bool:
        return look.votes(self.key) if self.adds else not look.votes(self.key)

    def request(self, timeout_ms: int) -> AddRaftVoterRequest | RemoveRaftVoterRequest:
        directory = self.key.directory_id or ZERO_UUID
        if not self.adds or self.endpoint is None:
            return RemoveRaftVoterRequest(voter_id=self.key.id, voter_directory_id=directory)
        where = Listener(name=self.endpoint.name, host=self.endpoint.host, port=self.endpoint.port)
        return AddRaftVoterRequest(
            timeout_ms=timeout_ms, voter_id=self.key.id, voter_directory_id=directory, listeners=(where,)
        )

    def document(self, outcome: str) -> dict[str, Any]:
        return {
            "change": "add" if self.adds else "remove",
            "id": self.key.id,
            "directory_id": uuid_to_text(self.key.directory_id or ZERO_UUID),
            "address": None if self.endpoint is None else f"{self.endpoint.host}:{self.endpoint.port}",
            "outcome": outcome,
        }

    def __str__(self) -> str:
        where = f" at {self.endpoint}" if self.endpoint is not None else ""
        return f"{'add' if self.adds else 'remove'} voter {self.key}{where}"


async def look_at(session: Session) -> Look:
    """Raises: NoAnswer (the client's): there is no leader in time."""
    response, partition = await describe_quorum(session, session.timeout_ms)
    return Look(
        leader_id=partition.leader_id,
        voters={
            one.replica_id: _key(one.replica_id, one.replica_directory_id) for one in partition.current_voters
        },
        observers=tuple(_key(one.replica_id, one.replica_directory_id) for one in partition.observers),
        endpoints={
            node.node_id: Endpoint(node.listeners[0].name, node.listeners[0].host, node.listeners[0].port)
            for node in response.nodes
            if node.listeners
        },
    )


def _key(node_id: int, directory_id: uuid.UUID) -> ReplicaKey:
    return ReplicaKey(NodeId(node_id), None if directory_id == ZERO_UUID else directory_id)


# ---- plans -------------------------------------------------------------------------------------------


async def plan_to_add(
    session: Session, look: Look, node_id: int, directory_id: uuid.UUID | None, address: Address | None
) -> tuple[Step, ...]:
    """The step that makes it a voter."""
    known = look.voters.get(node_id)
    if known is not None and directory_id in (None, known.directory_id):
        return (Step(adds=True, key=known, endpoint=look.endpoints[node_id], already=True),)
    if known is not None:
        raise Refused(
            f"Node {node_id} is a voter already, with another disk.",
            where=f"{known}",
            why="two disks of one node must never vote at the same time",
            remedy=f"if its disk is lost: quorate quorum replace-controller {node_id}",
        )
    key = _spare(look, node_id, directory_id)
    return (Step(adds=True, key=key, endpoint=await _endpoint(session, look, node_id, address)),)


def plan_to_remove(look: Look, node_id: int, directory_id: uuid.UUID | None) -> tuple[Step, ...]:
    """The step that ends its vote; none if it has none."""
    known = look.voters.get(node_id)
    if known is None:
        return ()
    if directory_id is not None and directory_id != known.directory_id:
        raise Refused(
            f"Node {node_id} votes with another disk than the named one.",
            where=f"{known}",
            why=f"--directory-id says {uuid_to_text(directory_id)}",
            remedy="leave --directory-id out, or see `quorate quorum describe`",
        )
    if len(look.voters) == 1:
        raise Refused(
            f"Node {node_id} is the only voter.",
            why="without it nobody could decide anything any more",
            remedy="add another controller first: quorate quorum add-controller",
        )
    return (Step(adds=False, key=known),)


async def plan_to_replace(
    session: Session, look: Look, node_id: int, directory_id: uuid.UUID | None, address: Address | None
) -> tuple[Step, ...]:
    """The old disk's vote ends, then the new disk's begins; what is done already is left out."""
    known = look.voters.get(node_id)
    fresh = [one for one in look.observers if one.id == node_id and one != known]
    if known is not None and not fresh and directory_id in (None, known.directory_id):
        raise Refused(
            f"No new disk of node {node_id} is known to the leader.",
            where=f"it votes as {known}",
            why="a replaced controller first follows the quorum as an observer, with another directory id",
            remedy="format its new directory with --no-initial-controllers, start it, then give this command again",
        )
    key = _spare(look, node_id, directory_id)
    add = Step(adds=True, key=key, endpoint=await _endpoint(session, look, node_id, address))
    return (add,) if known is None else (Step(adds=False, key=known), add)


def _spare(look: Look, node_id: int, directory_id: uuid.UUID | None) -> ReplicaKey:
    """The observer that is meant: by its directory id, or the only one of that node."""
    found = [one for one in look.observers if one.id == node_id]
    if directory_id is not None:
        return ReplicaKey(NodeId(node_id), directory_id)
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            f"Node {node_id} follows with several disks.",
            why=", ".join(map(str, found)),
            remedy="say which one: --directory-id ID (`quorate storage info` shows it)",
        )
    raise Refused(
        f"The leader, controller {look.leader_id}, knows of no node {node_id} that follows it.",
        why="a controller votes only once it has caught up with the log",
        remedy="start it first, formatted with --no-initial-controllers and with "
        "controller.quorum.bootstrap.servers of this cluster",
    )


async def _endpoint(session: Session, look: Look, node_id: int, given: Address | None) -> Endpoint:
    """Where the other controllers will reach it: as told, or as it registered itself."""
    if given is not None:
        return Endpoint(look.listener, given.host, given.port)
    leader = look.endpoints[look.leader_id]
    request = DescribeClusterRequest(endpoint_type=_CONTROLLERS)
    registered = await session.client.call_at(Address(leader.host, leader.port), request, session.timeout_ms)
    for node in registered.brokers:
        if node.broker_id == node_id:
            return Endpoint(look.listener, node.host, node.port)
    raise Refused(
        f"Nobody knows where controller {node_id} is reached.",
        why="it has not registered with the active controller yet",
        remedy="wait a moment, or say it: --address HOST:PORT of its controller listener",
    )


# ---- doing -------------------------------------------------------------------------------------------


async def check_majority(session: Session, steps: tuple[Step, ...]) -> None:
    """Refuses a removal after which the voters that answer would be no majority: it could not even commit."""
    view = await quorum_view(session)
    alive = {one.id for one in view.voters if one.error is None}
    for left, gone in _sets(view, steps):
        answering = len(left & alive)
        if answering < len(left) // 2 + 1:
            raise Refused(
                f"Without controller {gone} there would be no majority.",
                where=f"{len(left)} voters would be left, {answering} of them answer",
                why="\n".join(f"{one.id}: {one.error}" for one in view.voters if one.error) or None,
                remedy="bring the silent ones back first, or remove one of them instead",
            )


def _sets(view: QuorumView, steps: tuple[Step, ...]) -> Iterator[tuple[set[int | None], int]]:
    voters = {one.id for one in view.voters}
    for step in steps:
        if step.adds:
            voters = voters | {step.key.id}
        else:
            voters = voters - {step.key.id}
            yield voters, step.key.id


async def carry_out(session: Session, step: Step, told: Callable[[str], None]) -> None:
    """Asks the leader until the change is made.

    Raises:
        NoAnswer: it was not in time; the text says what the leader said last.
        RequestRejected: it was refused for good.
    """
    deadline = trio.current_time() + session.timeout_ms / 1000
    last = "there was no answer"
    while True:
        left_ms = int((deadline - trio.current_time()) * 1000)
        if left_ms <= 0:
            raise NoAnswer(
                f"Could not {step} in {session.timeout_ms / 1000:g} s.",
                why=last,
                remedy="see `quorate quorum status`; the command may be given again at any time",
            )
        try:
            answer = await session.client.call_controller(step.request(left_ms), left_ms)
        except client.NoAnswer as error:
            last = str(error)
        else:
            if answer.error_code is ErrorCode.none:
                return
            last = answer.error_message or answer.error_code.name
            if answer.error_code not in _NOT_NOW:
                if await _made(
                    session, step
                ):  # DUPLICATE_VOTER, VOTER_NOT_FOUND: said of committed voters only
                    return
                raise RequestRejected(answer.error_code, last)
        told(last)
        await trio.sleep(_AGAIN_S)


async def _made(session: Session, step: Step) -> bool:
    try:
        return step.done_in(await look_at(session))
    except (client.NoAnswer, RequestRejected):
        return False
