"""RaftCore: one replica of the metadata log, as a pure state machine.

`step(event, now_ms) -> Effects` is the whole interface, with `next_deadline()` for the moment at which the next
`TimePassed` is wanted. Same events, same times, same `random.Random`: same effects. The parts, by their question:

- `elections`   who leads (Vote, BeginQuorumEpoch, EndQuorumEpoch, suspicion, resignation)
- `replication` what the log holds (Fetch on both sides, divergence, flushes, the high watermark)
- `snapshots`   how a replica that is too far behind gets there (FetchSnapshot), what may be dropped
- `reads`       is this leader still the one (the read index)
- `membership`  who votes (AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter)
- `joining`     a controller that makes itself a voter
- `recoveries`  is this the same log (after a recovery without a majority)
- `transitions` which role may follow which · `invariants` what must hold after every step

This file keeps the state, hands events to those parts, and collects the effects of one step.
"""

import random
import uuid
from typing import Final, assert_never

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected, check
from quorate.metadata.ids import (
    FIRST_OFFSET,
    Endpoint,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
    ReplicaKey,
    quorum_name,
)
from quorate.metadata.log.interface import LogSummary
from quorate.metadata.quorum import elections, joining, membership, reads, recoveries, replication, snapshots
from quorate.metadata.quorum.effects import (
    Effects,
    Peer,
    SendRequest,
    SendResponse,
)
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.epochs import EpochHistory
from quorate.metadata.quorum.events import (
    Correlation,
    Event,
    Failure,
    LogFlushed,
    Proposed,
    ReadRequested,
    RequestFailed,
    RequestReceived,
    ResignRequested,
    ResponseReceived,
    RetentionReached,
    ShutdownRequested,
    SnapshotCreated,
    SnapshotInstalled,
    SpaceChanged,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchSnapshotRequest,
    LeaderAndEpoch,
    RemoveVoterRequest,
    Request,
    Response,
    UpdateVoterRequest,
    VersionsRequest,
    VersionsResponse,
    VoteRequest,
)
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached
from quorate.metadata.quorum.tally import Tally
from quorate.metadata.quorum.transitions import Why, next_role
from quorate.metadata.quorum.voters import VoterHistory, VoterSet

BOOTSTRAP_PEER_IDS: Final = -2
"""Bootstrap servers are peers -2, -3, …, as in Kafka."""


@attrs.frozen(kw_only=True)
class QuorumConfig:
    """Who this replica is, and its timers (Kafka's `controller.quorum.*`, in milliseconds)."""

    replica: ReplicaKey
    cluster_id: str
    recovery_id: uuid.UUID | None = None
    """Which log of that cluster this replica holds: None unless the quorum was made anew (`recoveries`)."""
    listener: str = "CONTROLLER"
    """The listener of the voters' endpoints that this replica dials."""
    endpoints: tuple[Endpoint, ...] = ()
    """Where others reach this controller: what its entry among the voters should say. None: that is left alone."""
    kraft_versions: tuple[int, int] = (0, 1)
    """The lowest and the highest that this replica speaks."""
    bootstrap: tuple[Endpoint, ...] = ()
    auto_join: bool = False
    """Whether it asks by itself to become a voter (controller.quorum.auto.join.enable)."""
    durable: bool = True
    """False for brokers: their log is a cache, so a Fetch need not wait for a flush."""
    wall_offset_ms: int = 0
    """Wall clock minus the clock of `step`: for the append times written in batches, which decide nothing."""
    election_timeout_ms: int = 1000
    fetch_timeout_ms: int = 2000
    election_backoff_max_ms: int = 1000
    request_timeout_ms: int = 2000
    retry_backoff_ms: int = 20
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 8 * 1024 * 1024
    snapshot_max_bytes: int = 1024 * 1024
    answer_max_bytes: int = 8 * 1024 * 1024
    """The most that one Fetch or FetchSnapshot is answered with, whatever it asks for: it is read into memory."""
    replicas_max: int = 10_000
    """How many replicas a leader remembers: who invents new ones with each request must not fill its memory."""
    suspicion_interval_ms: int = 250
    suspicion_delay_ms: tuple[int, int] = (10, 150)


@attrs.define(eq=False)
class LogState:
    """What the core knows of its own log; the bytes themselves are the shell's."""

    start: Offset
    end: OffsetAndEpoch
    epochs: EpochHistory
    snapshots: tuple[OffsetAndEpoch, ...]
    voters: VoterHistory
    flushed_end: Offset
    generation: int = 0
    """Raised by each truncation, install and reset: flushes that began before it prove nothing."""
    flush_running: bool = False

    @classmethod
    def of(cls, summary: LogSummary) -> "LogState":
        """From disk. All that recovery kept is durable: it ends with an fsync."""
        return cls(
            start=summary.start,
            end=summary.end,
            epochs=EpochHistory.of(summary.epochs),
            snapshots=summary.snapshots,
            voters=VoterHistory.of(summary.control),
            flushed_end=summary.end.offset,
        )

    @property
    def newest_snapshot(self) -> OffsetAndEpoch | None:
        """The newest snapshot that may be shipped: 0-0 never is."""
        return self.snapshots[-1] if self.snapshots and self.snapshots[-1].offset > 0 else None


@attrs.frozen
class Outstanding:
    """A request of ours that has no answer yet."""

    peer: Peer
    request: Request
    deadline_ms: int


@attrs.frozen
class _Judgement:
    """What the voters in force mean for this replica."""

    voters: VoterSet
    is_voter: bool
    entry_is_old: bool
    own_endpoint: Endpoint | None


class RaftCore:
    """One replica. See the module's docstring."""

    def __init__(
        self, config: QuorumConfig, election: ElectionState, log: LogSummary, rng: random.Random
    ) -> None:
        """From what the disk holds; `Started` must be the first event."""
        self.config = config
        self.id: NodeId = config.replica.id
        self.quorum_name: Final = quorum_name(config.cluster_id, config.recovery_id)
        self.said_once: set[str] = set()
        """What was said of other logs of this cluster, so that it is not said again."""
        self.rng = rng
        self.election = election
        self.log = LogState.of(log)
        self.role: Role = Unattached(None)
        self.high_watermark: Offset | None = None
        """Everything below is committed. None until known; never goes back, not even over changes of role."""
        self.outstanding: dict[Correlation, Outstanding] = {}
        self.fetch_at_ms = 0
        """No Fetch goes out before this: the pause after one that failed."""
        self.elections_lost = 0
        self.tally = Tally()
        self.installing: OffsetAndEpoch | None = None
        self.disk_low = False
        """Below the free-space floor: it neither fetches nor stands for election, but still votes."""
        self.joining_said = ""
        """What was noted last about becoming a voter."""
        self.shutting_down = False
        self.handed_over = False
        """While shutting down: its successors know, or had their time."""
        self._last_correlation = 0
        self._judged: _Judgement | None = None
        self._named = LeaderAndEpoch(Epoch(0))
        """What `leader_and_epoch` said last: while nothing changes it is the same object, and quickly compared."""
        self._effects = Effects()

    # ---- the interface -------------------------------------------------------------------------------

    def step(self, event: Event, now_ms: int) -> Effects:
        """Takes one event.

        Raises:
            RequestRejected: a proposal by a controller that does not lead this epoch; nothing has changed.
            InvariantViolated: the process must end.
        """
        check(
            self.installing is None or isinstance(event, SnapshotInstalled),
            "a snapshot is being installed: nothing else may happen before its end",
        )
        effects = self._effects = Effects()
        self._handle(event, now_ms)
        if self.installing is None:
            self._after_event(now_ms)
        # Without flushes nothing is known to be on the disk, so a torn tail there is never damage.
        effects.flushed_to = self.log.flushed_end if self.config.durable else FIRST_OFFSET
        return effects

    def next_deadline(self) -> int | None:
        """When `TimePassed` is wanted next; None: not before something else happens."""
        role = self.role
        deadlines: list[int | None] = [pending.deadline_ms for pending in self.outstanding.values()]
        if self._may_change_voters():
            deadlines += [membership.deadline(self), joining.deadline(self)]
        if not isinstance(role, Leader):
            deadlines.append(self.fetch_at_ms if replication.may_fetch(self) else None)
        match role:
            case Unattached():
                deadlines.append(role.election_deadline_ms if self.may_stand else None)
            case Prospective():
                deadlines += [role.election_deadline_ms, role.stand_at_ms, *role.resend_at_ms.values()]
            case Candidate():
                deadlines += [role.election_deadline_ms, role.retry_at_ms, *role.resend_at_ms.values()]
            case Leader():
                deadlines += [role.begin_quorum_at_ms, role.check_quorum_at_ms]
                if role.read_round is not None:
                    deadlines.append(role.read_round.retry_at_ms)
                deadlines += [
                    one.parked.deadline_ms for one in role.progress.values() if one.parked is not None
                ]
            case Follower():
                if self.may_stand:
                    deadlines += [role.fetch_deadline_ms, role.suspect_at_ms]
            case Resigned():
                waits = (
                    self.may_stand or not self.is_electable or (self.shutting_down and not self.handed_over)
                )
                deadlines += [role.election_deadline_ms if waits else None, *role.resend_at_ms.values()]
            case _:
                assert_never(role)
        earliest: int | None = None
        for deadline in deadlines:
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """Who leads, as this replica would tell others. A resigned leader names nobody: it is not one any more."""
        epoch, leader_id, endpoint = self.election.epoch, None, None
        match self.role:
            case Leader():
                leader_id, endpoint = self.id, self.own_endpoint
            case Follower() as role:
                leader_id, endpoint = role.leader_id, role.endpoint
            case Prospective(leader=(known_id, known_endpoint)):
                leader_id, endpoint = known_id, known_endpoint
        named = self._named
        if named.endpoint is not endpoint or named.epoch != epoch or named.leader_id != leader_id:
            named = self._named = LeaderAndEpoch(epoch, leader_id, endpoint)
        return named

    @property
    def own_endpoint(self) -> Endpoint | None:
        """Where others reach this replica: as the log says; a leader that removed itself is still to be reached."""
        return self._judge().own_endpoint

    @property
    def voters(self) -> VoterSet:
        """In force: the last set appended here, committed or not (KIP-853)."""
        return self.log.voters.last

    @property
    def is_voter(self) -> bool:
        return self._judge().is_voter

    @property
    def entry_is_old(self) -> bool:
        """Whether the log tells others something out of date about this voter."""
        return self._judge().entry_is_old

    def _judge(self) -> _Judgement:
        """Asked many times in each step, while the voters hardly ever change."""
        voters, known = self.log.voters.last, self._judged
        if known is None or known.voters is not voters:
            config = self.config
            is_voter = voters.contains(config.replica)
            own = [one for one in config.endpoints if one.name == config.listener]
            known = self._judged = _Judgement(
                voters,
                is_voter=is_voter,
                entry_is_old=is_voter and membership.own_entry_is_old(self),
                own_endpoint=voters.endpoint(self.id, config.listener) or (own[0] if own else None),
            )
        return known

    @property
    def is_electable(self) -> bool:
        """A voter; or one whose removal is in its log and not committed, as far as it knows (Ongaro's thesis, 4.2.2).

        The voters that lack that record may need its vote, and would never get it: its log is longer than theirs. So it
        stands itself, without counting itself, and resigns once the record is committed.
        """
        if self.is_voter:
            return True
        sets = self.log.voters.sets
        if len(sets) < 2 or self.log.voters.last_offset < (self.high_watermark or 0):
            return False
        return sets[-2][1].contains(self.config.replica)

    @property
    def own_votes(self) -> set[NodeId]:
        """What it starts with as a candidate: its own vote, if that counts."""
        return {self.id} if self.is_voter else set()

    @property
    def may_stand(self) -> bool:
        """Whether it may try to become leader: one without room for its log, or about to go, would be none."""
        return self.is_electable and not self.disk_low and not self.shutting_down

    @property
    def leads(self) -> bool:
        return isinstance(self.role, Leader)

    @property
    def shutdown_complete(self) -> bool:
        """After ShutdownRequested: whether the process may end without hurting the others."""
        if not self.shutting_down or isinstance(self.role, Leader):
            return False
        return self.handed_over or not isinstance(self.role, Resigned)

    # ---- events --------------------------------------------------------------------------------------

    def _handle(self, event: Event, now_ms: int) -> None:
        match event:
            case Started():
                elections.start(self, now_ms)
            case TimePassed():
                pass
            case RequestReceived():
                self._on_request(event, now_ms)
            case ResponseReceived():
                self._on_response(event.correlation, event.response, now_ms)
            case RequestFailed():
                self._on_failure(event.correlation, event.failure, now_ms)
            case Proposed():
                self._on_proposed(event, now_ms)
            case ReadRequested():
                reads.on_requested(self, event.read_id, now_ms)
            case LogFlushed():
                replication.on_flushed(self, event, now_ms)
            case SnapshotInstalled():
                snapshots.on_installed(self, event.summary, now_ms)
            case SnapshotCreated():
                snapshots.on_created(self, event.snapshot_id)
            case RetentionReached():
                snapshots.let_go(self, event.oldest_kept, now_ms)
            case ResignRequested():
                if self.leads and self.election.epoch == event.epoch:
                    elections.resign(self, now_ms, event.reason)
            case SpaceChanged(low=low):
                self.disk_low = low
                elections.on_space_changed(self, now_ms)
            case ShutdownRequested():
                self.shutting_down = True
                if self.leads:
                    elections.resign(self, now_ms, "it is shutting down")
            case _:
                assert_never(event)

    def _after_event(self, now_ms: int) -> None:
        """Timers come after the event: after a long pause, what waits in the inbox is heard before a timer acts."""
        for correlation, pending in list(self.outstanding.items()):
            if pending.deadline_ms <= now_ms:
                self._on_failure(correlation, Failure.TIMED_OUT, now_ms)
        elections.poll(self, now_ms)
        if self._may_change_voters():
            membership.poll(self, now_ms)
            joining.remember(self)
            joining.poll(self, now_ms)
        if isinstance(self.role, Leader):
            reads.poll(self, self.role, now_ms)
        replication.poll(self, now_ms)

    def _may_change_voters(self) -> bool:
        """Whether `membership` and `joining` may have something to do: seldom, while they are asked in each step."""
        known, role = self._judge(), self.role
        if not known.is_voter or known.entry_is_old or not self.election.was_voter:
            return True
        return isinstance(role, Leader) and role.change is not None

    def _on_request(self, event: RequestReceived, now_ms: int) -> None:
        if not recoveries.is_meant(self, event):
            recoveries.refuse(self, event)
            return
        request, token = event.request, event.token
        match request:
            case VoteRequest():
                elections.on_vote_request(self, token, request, now_ms)
            case BeginQuorumEpochRequest():
                elections.on_begin_quorum_epoch(self, token, request, now_ms)
            case EndQuorumEpochRequest():
                elections.on_end_quorum_epoch(self, token, request, now_ms)
            case FetchRequest():
                replication.on_fetch(self, token, request, now_ms)
            case FetchSnapshotRequest():
                snapshots.on_fetch_snapshot(self, token, request, now_ms)
            case AddVoterRequest():
                membership.on_add_voter(self, token, request, now_ms)
            case RemoveVoterRequest():
                membership.on_remove_voter(self, token, request, now_ms)
            case UpdateVoterRequest():
                membership.on_update_voter(self, token, request, now_ms)
            case VersionsRequest():
                self.reply(token, VersionsResponse(kraft_versions=self.config.kraft_versions))
            case _:
                assert_never(request)

    def _on_response(self, correlation: Correlation, response: Response, now_ms: int) -> None:
        pending = self.outstanding.pop(correlation, None)
        if pending is None:
            return  # given up before: acting on it now could append the same offset twice
        match pending.request:
            case VoteRequest() as request:
                elections.on_vote_response(self, pending.peer, request, response, now_ms)
            case BeginQuorumEpochRequest():
                elections.observe(self, response.leader, now_ms)
                reads.on_response(self, correlation, response, now_ms)
            case EndQuorumEpochRequest():
                elections.on_end_quorum_response(self, pending.peer, response, now_ms)
            case FetchRequest() as request:
                replication.on_fetch_response(self, pending.peer, request, response, now_ms)
            case FetchSnapshotRequest() as request:
                snapshots.on_fetch_snapshot_response(self, request, response, now_ms)
            case VersionsRequest():
                membership.on_versions(self, correlation, response, now_ms)
            case UpdateVoterRequest():
                elections.observe(self, response.leader, now_ms)
            case (AddVoterRequest() | RemoveVoterRequest()) as request:
                joining.on_response(self, request, response, now_ms)
            case _:
                assert_never(pending.request)

    def _on_failure(self, correlation: Correlation, failure: Failure, now_ms: int) -> None:
        pending = self.outstanding.pop(correlation, None)
        if pending is None:
            return
        match pending.request:
            case VoteRequest() as request:
                elections.on_vote_failure(self, pending.peer, request, failure, now_ms)
            case BeginQuorumEpochRequest():
                reads.on_failure(self, correlation, now_ms)  # an announcement comes again by itself
            case EndQuorumEpochRequest():
                elections.on_end_quorum_failure(self, pending.peer, failure, now_ms)
            case FetchRequest() | FetchSnapshotRequest():
                replication.on_fetch_failure(self, pending.peer, failure, now_ms)
            case VersionsRequest():
                membership.on_versions_failure(self, correlation, pending.peer, failure)
            case UpdateVoterRequest() | AddVoterRequest() | RemoveVoterRequest():
                pass  # asked again after a while, if there is still cause
            case _:
                assert_never(pending.request)

    def _on_proposed(self, event: Proposed, now_ms: int) -> None:
        if not self.leads or event.epoch != self.election.epoch:
            raise RequestRejected(
                ErrorCode.not_controller,
                f"node {self.id} does not lead epoch {event.epoch} (it is {self.role.name.value} in epoch "
                f"{self.election.epoch}); ask the active controller",
            )
        replication.append(self, event.batches)
        replication.after_proposed(self, now_ms)

    # ---- what the parts use --------------------------------------------------------------------------

    def become(self, why: Why, role: Role, election: ElectionState, now_ms: int) -> None:
        """The one place where a role changes: table, persistence, and what the old role leaves behind."""
        old = self.role
        election = attrs.evolve(election, was_voter=self.election.was_voter)
        check(next_role(old.name, why) is role.name, f"{why.name} does not make a {role.name.value} replica")
        check(
            election.epoch >= self.election.epoch, f"epoch {election.epoch} is behind {self.election.epoch}"
        )
        self.outstanding.clear()
        self.fetch_at_ms = now_ms
        self.role = role
        self.tally.role_changes[old.name, why] += 1
        if election != self.election:
            self.election = election
            self._effects.election = election
        self.note(f"{old.name.value} -> {role.name.value} in epoch {election.epoch}: {why.value}")
        if isinstance(old, Leader):
            replication.fail_parked(self, old)
            membership.fail_change(self, old)
            reads.fail(self, old)

    def note(self, text: str) -> None:
        self._effects.notes.append(text)

    def send(self, peer: Peer, request: Request, now_ms: int) -> Correlation:
        self._last_correlation += 1
        correlation = Correlation(self._last_correlation)
        self.outstanding[correlation] = Outstanding(peer, request, now_ms + self.config.request_timeout_ms)
        self._effects.send.append(SendRequest(peer, correlation, request))
        return correlation

    def reply(self, token: Token, response: Response) -> None:
        self._effects.send.append(SendResponse(token, response))

    @property
    def effects(self) -> Effects:
        """The effects of the running step."""
        return self._effects

    def other_voters(self) -> list[Peer]:
        """The voters to talk to, by id; one without an endpoint on our listener cannot be reached."""
        found = []
        for node_id in self.voters.ids:
            endpoint = self.voters.endpoint(node_id, self.config.listener)
            if node_id != self.id and endpoint is not None:
                found.append(Peer(node_id, endpoint))
        return found

    def wall_ms(self, now_ms: int) -> int:
        return now_ms + self.config.wall_offset_ms

    def next_epoch(self) -> Epoch:
        return Epoch(self.election.epoch + 1)

    def election_timeout(self) -> int:
        """Uniform in [base, 2 × base), as Kafka draws it."""
        base = self.config.election_timeout_ms
        return base + self.rng.randrange(base)
