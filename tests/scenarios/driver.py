"""A small cluster of real cores that a script drives: every message takes 1 ms, every flush 1 ms, nothing is random.

Unlike the simulator it draws no world: who is cut off, killed or paused, and when, stands in the script.
"""

import heapq
import random
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.carry_out import carry_out
from quorate.metadata.ids import (
    ZERO_UUID,
    Endpoint,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
    ReplicaKey,
    random_uuid,
)
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.node import Superseded
from quorate.metadata.quorum import recoveries
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import Flush, ReadAnswer, SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Event,
    Failure,
    LogFlushed,
    Proposed,
    ReadId,
    ReadRequested,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    RetentionReached,
    ShutdownRequested,
    SnapshotCreated,
    SpaceChanged,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.invariants import check_state, check_step, summarize
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    RemoveVoterRequest,
    RemoveVoterResponse,
    Request,
    Response,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.records import (
    KRaftVersionRecord,
    NoOpRecord,
    QuorumRecoveryRecord,
    VersionRange,
    Voter,
    VotersRecord,
)
from tests.sim.disk import SimLog

CLUSTER_ID = "scenario"
MESSAGE_MS = 1
FLUSH_MS = 1
KINDS: Final = {
    "vote": VoteRequest,
    "begin": BeginQuorumEpochRequest,
    "end": EndQuorumEpochRequest,
    "fetch": FetchRequest,
    "part": FetchSnapshotRequest,
}
"""What a script calls the requests."""
STRANGER: Final = NodeId(99)
_SEED = 3070
"""With this one, of nodes that start together, the lower id asks first."""


class Replica:
    """One node: up, paused or down; its log and its vote outlive it. What `carry_out` acts upon."""

    def __init__(self, world: "World", config: QuorumConfig, log: SimLog) -> None:
        self.world = world
        self.config = config
        self.log = log
        self.election = ElectionState.primordial()
        self.up = self.paused = False
        self.life = 0
        self.waiting: list[Event] = []
        self.knows_pre_votes = True
        self.flush_ms = FLUSH_MS
        self._tokens: dict[Token, tuple[Replica, int, SendRequest]] = {}
        self._wishes: dict[Token, str] = {}
        self._timer: int | None = None

    @property
    def id(self) -> NodeId:
        return self.config.replica.id

    @property
    def name(self) -> str:
        return str(self.id)

    def start(self) -> None:
        self.life += 1
        self.up, self.paused = True, False
        self.waiting.clear()
        self._timer = None
        self.core = RaftCore(self.config, self.election, self.log.summary(), random.Random(_SEED + self.id))
        self.handle(Started())

    def die(self) -> None:
        """kill -9 of the process: what it wrote stays in the system's memory, and so in the log."""
        self.up = False
        self.life += 1
        self.world.connections_break(self)

    def deliver(self, event: Event) -> None:
        if not self.up:
            return
        if self.paused:
            self.waiting.append(event)
        else:
            self.handle(event)

    def handle(self, event: Event) -> None:
        following: Event | None = event
        while following is not None:
            before = summarize(self.core)
            effects = self.core.step(following, self.world.now_ms)
            if not isinstance(following, Started):
                check_step(before, summarize(self.core))
            check_state(self.core)
            try:
                following = carry_out(effects, self)
            except Superseded as superseded:
                self._begin_anew(superseded.recovery_id)
                return
        self._set_timer()

    def _begin_anew(self, recovery_id: uuid.UUID) -> None:
        """As `assembly.through_recoveries`: its copy is gone, a controller's election is not."""
        self.config = attrs.evolve(self.config, recovery_id=recovery_id)
        self.log = SimLog()
        if not self.config.durable:
            self.election = ElectionState.primordial()
        self.start()

    def _set_timer(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is None or (self._timer is not None and self.world.now_ms < self._timer <= deadline):
            return
        self._timer = max(deadline, self.world.now_ms + 1)
        life, at = self.life, self._timer
        self.world.at(at, lambda: self._fire(life, at))

    def _fire(self, life: int, at: int) -> None:
        if self.life == life and self._timer == at:
            self._timer = None
            self.deliver(TimePassed())

    # ---- carry_out.World ---------------------------------------------------------------------------------

    def write_election(self, election: ElectionState) -> None:
        self.election = election

    def wait_for_flush(self) -> None:
        """A flush that runs proves nothing after a cut: the generation says so."""

    def send_request(self, request: SendRequest) -> None:
        self.world.carry(self, request)

    def send_response(self, token: Token, response: Response) -> None:
        wish = self._wishes.pop(token, None)
        if wish is not None:
            self.note(f"answers {wish}: {_said(response)}")
            return
        asker, life, request = self._tokens.pop(token)
        self.world.answer(self, asker, life, request, response)

    def reject_cluster_id(self, token: Token) -> None:
        """To who has asked an answer of no use is like none."""
        asker, life, request = self._tokens.pop(token)
        self.world.answer(self, asker, life, request, None)

    def superseded(self, recovery_id: uuid.UUID) -> None:
        raise Superseded(recovery_id)

    def start_flush(self, flush: Flush) -> None:
        life = self.life
        done = LogFlushed(flush.end_offset, flush.generation)
        self.world.after(self.flush_ms, lambda: self.deliver(done) if self.life == life else None)

    def committed(self, high_watermark: Offset) -> None:
        self.world.say(self, f"committed up to {high_watermark}")

    def answer_read(self, answer: ReadAnswer) -> None:
        said = (
            "no, it does not lead"
            if answer.index is None
            else f"yes, once all below {answer.index} is applied"
        )
        self.note(f"may answer read {answer.read_id}: {said}")

    def note(self, text: str) -> None:
        self.world.say(self, text)

    def wish(self, token: Token, text: str, request: Request) -> None:
        """A request of somebody who is no replica of this world: what is answered is said."""
        self._wishes[token] = text
        self.deliver(RequestReceived(token, request, CLUSTER_ID))

    def take(self, token: Token, asker: "Replica", request: SendRequest) -> None:
        if isinstance(request.request, VoteRequest) and request.request.pre_vote and not self.knows_pre_votes:
            failed = RequestFailed(request.correlation, Failure.UNSUPPORTED)
            self.world.after(MESSAGE_MS, lambda: asker.deliver(failed))
            return
        self._tokens[token] = (asker, asker.life, request)
        self.deliver(RequestReceived(token, request.request, asker.core.quorum_name))


class World:
    """Time, the network, and the transcript."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.lines: list[str] = []
        self.replicas: dict[NodeId, Replica] = {}
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._lost: set[tuple[str, NodeId, NodeId]] = set()
        self._late: Counter[str] = Counter()
        self._twice = False
        self._ids = random.Random(1)

    # ---- the script's verbs ------------------------------------------------------------------------------

    def nodes(self, voters: int, observers: int = 0) -> None:
        """Formats them: voters 1, 2, … and observers 101, 102, …; none is started."""
        keys = [ReplicaKey(NodeId(n), random_uuid(self._ids)) for n in range(1, voters + 1)]
        record = VotersRecord(voters=tuple(map(_voter, keys)))
        for key in keys:
            log = SimLog()
            log.format(KRaftVersionRecord(k_raft_version=1), record)
            self._add(key, log, durable=True, bootstrap=())
        for n in range(101, 101 + observers):
            key = ReplicaKey(NodeId(n), random_uuid(self._ids))
            self._add(key, SimLog(), durable=False, bootstrap=tuple(_endpoint(one.id) for one in keys))

    def _add(self, key: ReplicaKey, log: SimLog, *, durable: bool, bootstrap: tuple[Endpoint, ...]) -> None:
        config = QuorumConfig(
            replica=key,
            cluster_id=CLUSTER_ID,
            durable=durable,
            bootstrap=bootstrap,
            endpoints=(_endpoint(key.id),) if durable else (),
        )
        self.replicas[key.id] = Replica(self, config, log)

    def spare(self, node_id: NodeId) -> None:
        """Formats a controller that is no voter yet (--no-initial-controllers)."""
        known = tuple(_endpoint(one) for one in self.replicas)
        self._add(ReplicaKey(node_id, random_uuid(self._ids)), SimLog(), durable=True, bootstrap=known)

    def new_disk(self, node: Replica) -> None:
        """It is formatted again as a spare: another directory id, and no voters."""
        key = ReplicaKey(node.id, random_uuid(self._ids))
        others = tuple(_endpoint(one) for one in self.replicas if one != node.id)
        node.config = attrs.evolve(node.config, replica=key, bootstrap=others)
        node.log, node.election = SimLog(), ElectionState.primordial()

    def auto_join(self, node: Replica) -> None:
        """From its next start on it makes itself a voter."""
        node.config = attrs.evolve(node.config, auto_join=True)

    def elsewhere(self, node: Replica) -> None:
        """From its next start on it has another address than its former self."""
        node.config = attrs.evolve(
            node.config, endpoints=(Endpoint("CONTROLLER", f"other-{node.id}", 9000 + node.id),)
        )

    def move(self, node: Replica) -> None:
        """From its next start on it has an address more (its controllers' listener stays where it is)."""
        extra = Endpoint("EXTRA", f"host-{node.id}", 19000 + node.id)
        node.config = attrs.evolve(node.config, endpoints=(_endpoint(node.id), extra))

    def add_voter(self, leader: Replica, node: Replica) -> None:
        key = node.config.replica
        request = AddVoterRequest(voter=key, endpoints=(_endpoint(node.id),))
        leader.wish(self._token(), f"the operator, who wanted to add voter {node.id}", request)

    def remove_voter(self, leader: Replica, key: ReplicaKey) -> None:
        wish = f"the operator, who wanted to remove voter {key.id}"
        leader.wish(self._token(), wish, RemoveVoterRequest(voter=key))

    def stranger(self, node: Replica, kind: str, epoch: Epoch, last: OffsetAndEpoch) -> None:
        """A replica that is in nobody's voter set, and never was, asks for a vote or for records."""
        key = ReplicaKey(STRANGER, random_uuid(self._ids))
        request: Request
        if kind == "fetch":
            request = FetchRequest(
                replica=key,
                epoch=epoch,
                offset=last.offset,
                last_fetched_epoch=last.epoch,
                max_wait_ms=0,
                max_bytes=1,
            )
        else:
            voter, pre_vote = node.config.replica, kind == "pre-vote"
            request = VoteRequest(epoch=epoch, candidate=key, voter=voter, last=last, pre_vote=pre_vote)
        node.wish(self._token(), f"the stranger's {kind}", request)

    def read(self, node: Replica) -> None:
        """A read arrives there."""
        self._count += 1
        node.deliver(ReadRequested(ReadId(self._count)))

    def _token(self) -> Token:
        self._count += 1
        return Token(self._count)

    def run(self, milliseconds: int) -> None:
        until = self.now_ms + milliseconds
        while self._queue and self._queue[0][0] <= until:
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        self.now_ms = until

    def propose(self, node: Replica, count: int = 1) -> None:
        for _ in range(count):
            batch = RecordBatch.seal(
                [NoOpRecord(version=0)],
                base_offset=node.core.log.end.offset,
                epoch=node.core.election.epoch,
                append_time_ms=self.now_ms,
            )
            node.deliver(Proposed(node.core.election.epoch, (batch,)))

    def cut(self, one: NodeId, other: NodeId) -> None:
        """Messages from one to the other are lost; nothing tells."""
        self._cut.add((one, other))

    def lose(self, kind: str, one: NodeId, other: NodeId) -> None:
        """Requests of this kind from one to the other are lost; all else arrives."""
        self._lost.add((kind, one, other))

    def late(self, kind: str, milliseconds: int) -> None:
        """Requests of this kind take so much longer, and are overtaken by others."""
        self._late[kind] = milliseconds

    def luck(self, node: Replica, seed: int) -> None:
        node.core.rng = random.Random(seed)

    def twice(self) -> None:
        """Every request arrives, and the same again 5 ms later."""
        self._twice = True

    def parts(self, size: int) -> None:
        """Snapshots are fetched in parts of so many bytes."""
        for one in self.replicas.values():
            one.config = attrs.evolve(one.config, snapshot_max_bytes=size)

    def heal(self) -> None:
        """The network is as it was at first."""
        self._cut.clear()
        self._lost.clear()
        self._late.clear()
        self._twice = False

    def connections_break(self, node: Replica, other: Replica | None = None) -> None:
        """Everybody's requests to the node (or one peer's) fail at once; new ones may succeed."""
        for peer in self.replicas.values():
            if peer is node or not peer.up or (other is not None and peer is not other):
                continue
            for correlation, pending in list(peer.core.outstanding.items()):
                if pending.peer.id == node.id or pending.peer.endpoint == _endpoint(node.id):
                    peer.deliver(RequestFailed(correlation, Failure.RESET))

    def snapshot(self, node: Replica) -> None:
        """A snapshot of all that is committed there; of the older ones the newest is kept too."""
        end = node.core.high_watermark or Offset(0)
        snapshot_id = OffsetAndEpoch(end, node.core.log.epochs.epoch_before(end))
        composer = SnapshotComposer(snapshot_id, wall_ms=0)
        version, voters = node.core.log.voters.at(end)
        writer = node.log.new_snapshot(snapshot_id)
        writer.append(
            composer.header(
                last_contained_log_timestamp=0,
                kraft_version=KRaftVersionRecord(k_raft_version=version),
                voters=voters.record(),
            )
        )
        writer.append(composer.data([NoOpRecord(version=0)]))
        writer.append(composer.footer())
        writer.finish()
        node.deliver(SnapshotCreated(snapshot_id))
        node.deliver(RetentionReached(node.core.log.snapshots[-2:][0]))

    def wipe(self, node: Replica) -> None:
        """A new disk: formatted again, with another directory id."""
        fresh = SimLog()
        for held in node.log.summary().control[:2]:
            del held
        version, voters = (record for _, record in node.log.summary().control[:2])
        fresh.format(version, voters)  # type: ignore[arg-type]
        key = ReplicaKey(node.id, random_uuid(self._ids))
        node.config = attrs.evolve(node.config, replica=key)
        node.log, node.election = fresh, ElectionState.primordial()

    def recover(self, node: Replica) -> None:
        """Makes a quorum of one from a dead node's log, as `quorate storage recover` does; the disk gets a new id."""
        end = node.log.summary().end
        key = ReplicaKey(node.id, random_uuid(self._ids))
        epoch = recoveries.first_epoch([end.epoch, node.election.epoch])
        record = QuorumRecoveryRecord(
            recovery_id=random_uuid(self._ids),
            previous_recovery_id=node.config.recovery_id or ZERO_UUID,
            kind="recover",
            time_ms=self.now_ms,
            operator="operator@scenario",
            source=f"/data/{node.id}",
            source_directory_id=node.config.replica.directory_id or ZERO_UUID,
            source_end_offset=end.offset,
            source_epoch=end.epoch,
            epoch=epoch,
            digest=b"",
            shown=(),
        )
        batches = recoveries.first_batches(end, _voter(key), record, append_time_ms=self.now_ms)
        node.log.append(batches, end.offset)
        node.log.flush()
        node.config = attrs.evolve(node.config, replica=key, recovery_id=record.recovery_id)
        node.election = ElectionState(epoch, node.id, key)
        self.say(node, f"is recovered from its log, which ended at {end}, in epoch {epoch}")

    def shut_down(self, node: Replica) -> None:
        node.deliver(ShutdownRequested())

    def low_disk(self, node: Replica, low: bool) -> None:
        node.deliver(SpaceChanged(low))

    def pause(self, node: Replica) -> None:
        node.paused = True

    def resume(self, node: Replica) -> None:
        node.paused = False
        waiting, node.waiting = node.waiting, []
        for event in waiting:
            node.handle(event)
        node.handle(TimePassed())

    # ---- time and network --------------------------------------------------------------------------------

    def say(self, node: Replica, text: str) -> None:
        self.lines.append(f"{self.now_ms:6}  {node.name}: {text}")

    def at(self, when_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when_ms, self._count, action))

    def after(self, milliseconds: int, action: Callable[[], None]) -> None:
        self.at(self.now_ms + milliseconds, action)

    def carry(self, sender: Replica, request: SendRequest) -> None:
        target = self.replicas[NodeId(request.peer.endpoint.port - 9000)]
        life = sender.life
        kind = next((name for name, form in KINDS.items() if isinstance(request.request, form)), "other")

        def arrive() -> None:
            token = self._token()
            if (sender.id, target.id) in self._cut or sender.life != life:
                return
            if (kind, sender.id, target.id) in self._lost:
                return
            if not target.up:
                refused = RequestFailed(request.correlation, Failure.REFUSED)
                self.after(MESSAGE_MS, lambda: sender.deliver(refused) if sender.life == life else None)
                return
            target.take(token, sender, request)

        self.after(MESSAGE_MS + self._late[kind], arrive)
        if self._twice:
            self.after(MESSAGE_MS + self._late[kind] + 5, arrive)

    def answer(
        self, responder: Replica, asker: Replica, life: int, request: SendRequest, response: Response | None
    ) -> None:
        def arrive() -> None:
            if (responder.id, asker.id) not in self._cut and asker.life == life:
                asker.deliver(
                    RequestFailed(request.correlation, Failure.TIMED_OUT)
                    if response is None
                    else ResponseReceived(request.correlation, response)
                )

        self.after(MESSAGE_MS, arrive)


def _voter(key: ReplicaKey) -> Voter:
    return Voter(
        voter_id=key.id,
        voter_directory_id=key.directory_id,  # type: ignore[arg-type]
        endpoints=(_endpoint(key.id),),
        kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
    )


def _said(response: Response) -> str:
    """An answer in a few words."""
    match response:
        case AddVoterResponse() | RemoveVoterResponse():
            return response.error.name.upper() + ("" if response.message is None else f": {response.message}")
        case VoteResponse():
            return f"{response.error.name.upper()}, {'granted' if response.granted else 'not granted'}"
        case FetchResponse():
            return f"{response.error.name.upper()}, {response.leader}"
        case _:
            return type(response).__name__


def _endpoint(node_id: NodeId) -> Endpoint:
    return Endpoint("CONTROLLER", f"host-{node_id}", 9000 + node_id)
