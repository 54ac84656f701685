"""ActiveController: one pure object that every controller node has, leading or standing by.

`step(event, now_ms) -> ControllerEffects`, `next_deadline()`. Standing by, it follows the log (`committed`) and refuses
requests. Leading, it answers them:

    Submitted ─▶ queue ──Turn──▶ handler(context) ─▶ records ─▶ replay on the newest image ─▶ open batch ─▶ append
                                                     response ─▶ purgatory ──Committed──▶ answer

Handler, replay and proposal happen in one step. A turn takes what has gathered in the queue, up to a limit, and makes
one batch of it. Nothing is answered that rests on records which are not committed. Heartbeats that change nothing
do not wait for anybody.

On loss of leadership the chain is dropped; answers whose records were appended wait for what the next leader makes of
them (`purgatory`). What goes wrong has its consequences from one table (`faults`).
"""

import random
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, assert_never

import attrs

from quorate.controller import heartbeats, isr
from quorate.controller.activation import activate, is_new
from quorate.controller.committed import CommittedImage
from quorate.controller.config import ControllerConfig
from quorate.controller.context import NEWEST_API_VERSION, Context
from quorate.controller.counters import Counters
from quorate.controller.events import (
    NOTHING,
    BootstrapRead,
    Claimed,
    Committed,
    ControllerEffects,
    ControllerEvent,
    Fault,
    LeaderChanged,
    SnapshotLoaded,
    Submitted,
    Turn,
)
from quorate.controller.faults import Situation, rejection
from quorate.controller.migration import mode
from quorate.controller.mutation_quota import Allowance, MutationQuotas
from quorate.controller.operations import HANDLERS, STRICT_SINCE
from quorate.controller.policies import NO_POLICIES, Policies
from quorate.controller.purgatory import Parked, Purgatory
from quorate.controller.requests import Answer, OwnOperation, PendingRequest
from quorate.controller.result import ControllerResult
from quorate.controller.sessions import BrokerSessions
from quorate.controller.speculation import Link, Speculation
from quorate.controller.tasks import Task, Tasks
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, RequestRejected, check
from quorate.metadata.features import METADATA_VERSION, SUPPORTED, describe_level
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.quorum.voters import NO_VOTERS
from quorate.metadata.records import AnyDataRecord
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest

MAX_OPERATIONS_PER_TURN: Final = 512
MAX_RECORDS_PER_TURN: Final = 20_000
"""Beyond either the rest of the queue waits for the next turn, so that votes and heartbeats get in between."""
LATE_MS: Final = 500
"""A turn that comes later than it was asked for by this much: the process was stopped, or had too much to do."""

_NOBODY: Final = PendingRequest(request=None, token=None, deadline_ms=0, api_version=NEWEST_API_VERSION)
"""Who asks for the controller's own tasks: nobody, who may do everything."""


@attrs.define
class _Office:
    """Everything that exists only while this node is the active controller."""

    epoch: Epoch
    speculation: Speculation
    sessions: BrokerSessions
    tasks: Tasks
    quotas: MutationQuotas
    queue: deque[PendingRequest] = attrs.Factory(deque)
    activated: bool = False


@attrs.define
class _Outcome:
    """What a turn has brought so far."""

    now_ms: int
    wall_ms: int
    answers: list[Answer] = attrs.Factory(list)
    faults: list[Fault] = attrs.Factory(list)
    notes: list[str] = attrs.Factory(list)
    operations: int = 0
    records: int = 0


class ActiveController:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        config: ControllerConfig,
        cluster_id: str,
        rng: random.Random,
        policies: Policies = NO_POLICIES,
    ) -> None:
        self._policies = policies
        self.counters = Counters()
        self._config = config
        self._cluster_id = cluster_id
        self._rng = rng
        self._bootstrap: tuple[AnyDataRecord, ...] = ()
        self._committed = CommittedImage()
        self._purgatory = Purgatory()
        self._leader = LeaderAndEpoch(Epoch(0))
        self._office: _Office | None = None
        self._now_ms = 0
        self._voters = NO_VOTERS
        self._asked_for_ms: int | None = None
        """The deadline that was asked for after the last turn."""
        self._asked_ms = 0
        """When that was: the last moment at which this process is known to have listened."""

    # ---- what others may look at ---------------------------------------------------------------------------

    @property
    def committed_image(self) -> MetadataImage:
        """What every answer may rest on."""
        return self._committed.image

    @property
    def committed_end(self) -> Offset:
        """The offset after the last committed batch that was taken in."""
        return self._committed.end

    @property
    def newest_image(self) -> MetadataImage:
        """What the next decision rests on: the committed image while standing by."""
        return self._committed.image if self._office is None else self._office.speculation.image

    @property
    def active_epoch(self) -> Epoch | None:
        """The epoch in which this node is the active controller; None while it is not."""
        return None if self._office is None else self._office.epoch

    @property
    def transaction_open(self) -> bool:
        """Whether committed records are held back, so that the image does not reach the end of the log."""
        return self._committed.transaction_open

    @property
    def queue_length(self) -> int:
        return 0 if self._office is None else len(self._office.queue)

    @property
    def parked_answers(self) -> int:
        return len(self._purgatory)

    def next_deadline(self) -> int | None:
        """When it wants a Turn although nothing else happens. Whoever asks gives it one then, or was held up."""
        self._asked_for_ms = self._due_ms()
        self._asked_ms = self._now_ms
        return self._asked_for_ms

    def _due_ms(self) -> int | None:
        unresolved_ms = self._purgatory.next_deadline_ms()
        office = self._office
        if office is None:
            return unresolved_ms
        if office.queue or not office.activated:
            return self._now_ms
        task_ms = office.tasks.next_deadline_ms(self._now_ms)
        return task_ms if unresolved_ms is None else min(task_ms, unresolved_ms)

    # ---- the step ------------------------------------------------------------------------------------------

    def step(self, event: ControllerEvent, now_ms: int) -> ControllerEffects:
        """Takes one event in.

        Raises:
            InvariantViolated: a committed record makes no sense, or the quorum broke its promises. The process ends.
        """
        self._now_ms = max(self._now_ms, now_ms)
        match event:
            case Submitted():
                return self._on_submitted(event.pending, now_ms)
            case Turn():
                self._voters = event.voters
                if self._has_nothing_to_do(now_ms):
                    return NOTHING
                return self._on_turn(event, now_ms)
            case Committed():
                return self._on_committed(event)
            case LeaderChanged():
                return self._on_leader_changed(event.leader)
            case Claimed():
                self._asked_for_ms = None
                return self._on_claimed(event, now_ms)
            case SnapshotLoaded():
                return self._on_snapshot_loaded(event)
            case BootstrapRead():
                self._bootstrap = event.records
                return NOTHING
            case _:
                assert_never(event)

    # ---- requests ------------------------------------------------------------------------------------------

    def _on_submitted(self, pending: PendingRequest, now_ms: int) -> ControllerEffects:
        office = self._office
        if office is None:
            return ControllerEffects(answers=(pending.refuse_for(Situation.NOT_ACTIVE, self._whom_to_ask()),))
        if isinstance(pending.request, BrokerHeartbeatRequest):
            answer = self._beat(office, pending, pending.request, now_ms)
            if answer is not None:
                return ControllerEffects(answers=(answer,))
        config = self._config
        if (
            len(office.queue) >= config.max_queued_requests
            or len(self._purgatory) >= config.max_parked_requests
        ):
            self.counters.requests_turned_away += 1
            return ControllerEffects(answers=(pending.refuse_for(Situation.TOO_BUSY),))
        office.queue.append(pending)
        return NOTHING

    def _beat(
        self, office: _Office, pending: PendingRequest, request: BrokerHeartbeatRequest, now_ms: int
    ) -> Answer | None:
        """Keeps the session, and answers if nothing has to be written and nothing uncommitted was looked at."""
        broker_id = request.broker_id
        office.sessions.touch(broker_id, request.broker_epoch, request.current_metadata_offset, now_ms)
        registered = office.speculation.image.cluster.broker(broker_id)
        if registered is not self._committed.image.cluster.broker(broker_id):
            return None
        context = self._context(office, pending, now_ms, wall_ms=0)
        try:
            found = heartbeats.assess(context, request)
        except RequestRejected as refusal:
            return pending.refuse(refusal)
        if found.writes:
            return None
        self.counters.heartbeats_answered_at_once += 1
        return pending.answer(found.response)

    def _context(self, office: _Office, pending: PendingRequest | None, now_ms: int, wall_ms: int) -> Context:
        asks = pending or _NOBODY
        return Context(
            image=office.speculation.image,
            next_offset=office.speculation.next_offset,
            now_ms=now_ms,
            wall_ms=wall_ms,
            rng=self._rng,
            config=self._config,
            cluster_id=self._cluster_id,
            sessions=office.sessions,
            api_version=asks.api_version,
            permits=asks.permits,
            principal=asks.principal,
            by_token=asks.by_token,
            voters=self._voters,
            policies=self._policies,
            allowance=_allowance(office, asks, now_ms),
        )

    def _whom_to_ask(self) -> str:
        if self._leader.leader_id in (None, self._config.node_id):
            return "No leader is known at the moment."
        return f"The active controller appears to be node {self._leader.leader_id}."

    def _has_nothing_to_do(self, now_ms: int) -> bool:
        """Three turns of four: the quorum stirs on each of its own messages as well."""
        office = self._office
        if office is None:
            return len(self._purgatory) == 0
        due_ms = self._asked_for_ms
        return not office.queue and office.activated and due_ms is not None and now_ms < due_ms

    # ---- a turn --------------------------------------------------------------------------------------------

    def _on_turn(self, turn: Turn, now_ms: int) -> ControllerEffects:
        outcome = _Outcome(now_ms, turn.wall_ms)
        outcome.answers += self._purgatory.expire(now_ms)
        office = self._office
        if office is None:
            return ControllerEffects(answers=tuple(outcome.answers))
        try:
            batches = self._work(office, turn, outcome)
        except Exception as error:  # noqa: BLE001  whatever it is: the images may hold what will not be appended
            return self._give_up(outcome, Fault("the controller's turn", error))
        return ControllerEffects(
            append=batches,
            answers=tuple(outcome.answers),
            notes=tuple(outcome.notes),
            faults=tuple(outcome.faults),
        )

    def _work(self, office: _Office, turn: Turn, outcome: _Outcome) -> tuple[RecordBatch, ...]:
        self._forgive_lateness(office, outcome)
        office.speculation.follow_log_end(turn.log_end)
        if not office.activated:
            self._activate(office, outcome)
        image = office.speculation.image
        if not mode.is_handed_back(image):
            for task in office.tasks.due(image, outcome.now_ms):
                outcome.notes.append(task.name)
                self._run_task(office, task, outcome)
        while (
            office.queue
            and outcome.operations < MAX_OPERATIONS_PER_TURN
            and outcome.records < MAX_RECORDS_PER_TURN
        ):
            self._run_request(office, office.queue.popleft(), outcome)
        if outcome.records == 0:
            idle = office.tasks.no_op_due(outcome.now_ms)
            if idle is not None:
                self._run_task(office, idle, outcome)
        office.speculation.seal(turn.wall_ms)
        batches = office.speculation.take_sealed()
        if batches:
            office.tasks.appended(outcome.now_ms)
            self.counters.batches_appended += len(batches)
            self.counters.records_appended += outcome.records
        return batches

    def _activate(self, office: _Office, outcome: _Outcome) -> None:
        """Comes before everything else: what is written inside somebody's open transaction goes with it."""
        context = self._context(office, None, outcome.now_ms, outcome.wall_ms)
        result = activate(context, self._bootstrap, self._committed.transaction_open)
        deltas = office.speculation.add(result.records, atomic=True, wall_ms=outcome.wall_ms)
        self._done(office, result, deltas, outcome)
        office.activated = True

    def _run_request(self, office: _Office, pending: PendingRequest, outcome: _Outcome) -> None:
        if pending.deadline_ms <= outcome.now_ms:
            self.counters.operations_timed_out += 1
            if isinstance(pending.request, BrokerHeartbeatRequest):
                self.counters.heartbeats_timed_out += 1
            outcome.answers.append(pending.refuse_for(Situation.EXPIRED))
            return
        context = self._context(office, pending, outcome.now_ms, outcome.wall_ms)
        try:
            result = self._decide(office, context, pending.request)
            deltas = office.speculation.add(result.records, atomic=result.atomic, wall_ms=outcome.wall_ms)
        except RequestRejected as refusal:
            self.counters.requests_rejected += 1
            answer = pending.refuse(refusal)
        except Exception as error:  # noqa: BLE001  a bug in any handler must not depose the leader
            self._met_a_bug(outcome, Fault(str(pending), error))
            answer = pending.refuse_for(Situation.FAULT)
        else:
            self._done(office, result, deltas, outcome)
            if isinstance(pending.request, BrokerHeartbeatRequest):
                self._note_handover(office, pending.request.broker_id, outcome.now_ms)
            answer = pending.answer(result.response)
        office.quotas.keep(context.allowance)
        outcome.operations += 1
        self.counters.operations_started += 1
        if office.speculation.is_pending:
            self._purgatory.park(
                Parked(office.speculation.next_offset, office.epoch, pending, answer.response)
            )
        elif isinstance(pending.request, BrokerHeartbeatRequest):
            outcome.answers.append(answer)
        else:
            outcome.answers.append(pending.answer_unless_replaced(answer.response, self._whom_to_ask()))

    def _decide(self, office: _Office, context: Context, request: Any) -> ControllerResult[Any]:
        if isinstance(request, OwnOperation):
            if request.epoch != office.epoch:
                raise rejection(Situation.NOT_ACTIVE, f"{request.name} belongs to epoch {request.epoch}.")
            result = request.run(context)
            if request.settles:
                for broker_id in isr.brokers_to_settle(context.image):
                    office.tasks.settle(broker_id, context.image)
            return result
        why = mode.why_closed(context.image, request)
        if why is not None:
            raise RequestRejected(ErrorCode.not_controller, why)
        return HANDLERS[type(request)](context, request)

    def _run_task(self, office: _Office, task: Task, outcome: _Outcome) -> None:
        context = self._context(office, None, outcome.now_ms, outcome.wall_ms)
        try:
            result = task.run(context)
            deltas = office.speculation.add(result.records, atomic=result.atomic, wall_ms=outcome.wall_ms)
        except Exception as error:  # noqa: BLE001  as for requests; the task is tried again later
            self._met_a_bug(outcome, Fault(task.name, error))
            office.tasks.failed(outcome.now_ms)
        else:
            self._done(office, result, deltas, outcome)
            self.counters.sessions_expired += task.ends_session
        outcome.operations += 1
        self.counters.operations_started += 1

    def _done(
        self,
        office: _Office,
        result: ControllerResult[Any],
        deltas: Sequence[MetadataDelta],
        outcome: _Outcome,
    ) -> None:
        """What is known besides the image follows the records."""
        outcome.records += len(result.records)
        for delta in deltas:
            for broker_id, broker in delta.changed_brokers.items():
                office.sessions.follow(broker_id, broker, outcome.now_ms)
            changed_configs = delta.changed_configs
            if changed_configs:
                office.tasks.configs_changed(changed_configs, outcome.now_ms)
        if result.unsettled is not None:
            office.tasks.settle(result.unsettled, office.speculation.image)

    def _note_handover(self, office: _Office, broker_id: int, now_ms: int) -> None:
        """Everything was moved away from a broker in controlled shutdown, unless that goes on."""
        if office.sessions.is_settled(broker_id):
            office.sessions.settled(broker_id, office.speculation.next_offset - 1, now_ms)

    def _forgive_lateness(self, office: _Office, outcome: _Outcome) -> None:
        """Heartbeats that lay in a socket while this process stood still must not cost anybody its session.

        It may have stood still since it last asked. Counted from the deadline alone, a deadline that was the end of a
        session would be the end of that session again, only later.
        """
        late_ms = 0 if self._asked_for_ms is None else outcome.now_ms - self._asked_for_ms
        if late_ms >= LATE_MS:
            silence_ms = outcome.now_ms - self._asked_ms
            office.sessions.forgive(silence_ms)
            self.counters.silence_forgiven_ms += silence_ms
            outcome.notes.append(
                f"came {late_ms} ms late to its turn, {silence_ms} ms after the one before; the brokers' sessions are "
                "extended by as much"
            )

    def _met_a_bug(self, outcome: _Outcome, fault: Fault) -> None:
        self.counters.faults += 1
        outcome.faults.append(fault)

    def _give_up(self, outcome: _Outcome, fault: Fault) -> ControllerEffects:
        """The images are ahead of the log, so nothing more may be decided on them."""
        self._met_a_bug(outcome, fault)
        answers = self._leave_office()
        return ControllerEffects(
            resign=f"{fault.what} failed: {fault.error!r}",
            answers=(*outcome.answers, *answers),
            notes=tuple(outcome.notes),
            faults=tuple(outcome.faults),
        )

    # ---- the log -------------------------------------------------------------------------------------------

    def _on_committed(self, event: Committed) -> ControllerEffects:
        answers: list[Answer] = []
        office = self._office
        if office is not None and any(batch.epoch > office.epoch for batch in event.batches):
            # The new leader's records may be shown before the news of its election.
            answers += self._leave_office()
        publications = tuple(self._committed.take(event.batches, self._own_link))
        answers += self._purgatory.resolve(batch.end for batch in event.batches)
        answers += self._purgatory.release(self._committed.end)
        return ControllerEffects(publications=publications, answers=tuple(answers))

    def _own_link(self, batch: RecordBatch) -> Link | None:
        return None if self._office is None else self._office.speculation.committed(batch)

    def _on_snapshot_loaded(self, event: SnapshotLoaded) -> ControllerEffects:
        check(self._office is None, "a leader never loads a snapshot")
        self._committed.load(event.image, event.snapshot_id.offset)
        return ControllerEffects(answers=tuple(self._purgatory.snapshot_loaded(event.snapshot_id)))

    # ---- leadership ----------------------------------------------------------------------------------------

    def _on_leader_changed(self, leader: LeaderAndEpoch) -> ControllerEffects:
        self._leader = leader
        office = self._office
        if office is None or (leader.epoch == office.epoch and leader.leader_id == self._config.node_id):
            return NOTHING
        answers = self._leave_office()
        return ControllerEffects(
            answers=answers, notes=(f"no longer the active controller of epoch {office.epoch}: {leader}",)
        )

    def _leave_office(self) -> tuple[Answer, ...]:
        """Drops everything uncommitted; who was not appended can be told so."""
        office, self._office = self._office, None
        if office is None:
            return ()
        self._purgatory.leadership_lost()
        why = rejection(Situation.NOT_ACTIVE, self._whom_to_ask())
        return tuple([pending.refuse(why) for pending in office.queue])

    def _on_claimed(self, event: Claimed, now_ms: int) -> ControllerEffects:
        check(self._office is None, "claimed twice without losing the leadership in between")
        check(event.next_offset >= self._committed.end, "claimed a log that ends below what was committed")
        image = self._committed.image
        self._leader = LeaderAndEpoch(event.epoch, self._config.node_id)
        level = image.features.metadata_version
        if not is_new(image) and level not in SUPPORTED[METADATA_VERSION]:
            supported = SUPPORTED[METADATA_VERSION]
            return ControllerEffects(
                resign=f"the cluster is at metadata.version {describe_level(level)}, this node can write at "
                f"{supported.lowest} to {supported.highest}: upgrade it, or let another controller lead"
            )
        if mode.is_migrating(image) and not self._config.migration_enabled:
            return ControllerEffects(resign=mode.FLAG_IS_MISSING)
        sessions = BrokerSessions(self._config.broker_session_timeout_ms)
        sessions.restart(image.cluster.brokers.values(), now_ms)
        tasks = Tasks(self._config, sessions, now_ms)
        speculation = Speculation(image, event.epoch, event.next_offset)
        for broker_id in isr.brokers_to_settle(image):
            tasks.settle(broker_id, image)
        self._office = _Office(event.epoch, speculation, sessions, tasks, MutationQuotas(self._config))
        self.counters.times_active += 1
        return ControllerEffects(
            notes=(f"active controller of epoch {event.epoch}, next offset {event.next_offset}",)
        )


def _allowance(office: _Office, pending: PendingRequest, now_ms: int) -> Allowance:
    strict_since = STRICT_SINCE.get(type(pending.request))
    if strict_since is None:
        return Allowance()
    return office.quotas.allowance(
        office.speculation.image.quotas,
        pending.principal,
        pending.client_id,
        now_ms,
        strict=pending.api_version >= strict_since,
    )
