"""What the controller in ZooKeeper mode decides: the handlers of a quorum's controller, on an image read from znodes.

    submitted ─▶ queue ──turn──▶ handler(context) ─▶ records ─▶ replay on the newest image ─▶ steps ─▶ writes to znodes
                                                     response ─▶ waits ──written──▶ answer

One turn is under way at a time. What it decides is an image ahead of what is written; when all of it is, that image
counts and the answers leave. If a write fails, whoever holds the office gives it up: this object is dropped, and the
next claim begins from what is in ZooKeeper by then.

Brokers come and go with their znodes, so no session is kept here and nobody is fenced: a broker is registered while
its znode is there, under the epoch that ZooKeeper gave it.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from quorate.controller import isr
from quorate.controller.context import NEWEST_API_VERSION, Context
from quorate.controller.counters import Counters
from quorate.controller.events import Fault
from quorate.controller.faults import Situation
from quorate.controller.mutation_quota import Allowance, MutationQuotas
from quorate.controller.operations import HANDLERS, STRICT_SINCE
from quorate.controller.policies import NO_POLICIES, Policies
from quorate.controller.requests import Answer, PendingRequest
from quorate.controller.result import ControllerResult
from quorate.controller.sessions import BrokerSessions
from quorate.controller.tasks import Task, Tasks
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_limits import refuse_unwritable
from quorate.metadata.checks import RequestRejected, check
from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.image.changes import Changes
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import RegisterBrokerRecord
from quorate.metadata.wire.brokers import (
    BrokerHeartbeatRequest,
    BrokerRegistrationRequest,
    ControllerRegistrationRequest,
    UnregisterBrokerRequest,
)
from quorate.metadata.wire.cluster import UpdateFeaturesRequest
from quorate.metadata.wire.coordinators import InitProducerIdRequest
from quorate.metadata.wire.table import APIS

MAX_OPERATIONS_PER_TURN: Final = 128
MAX_RECORDS_PER_TURN: Final = 5_000
"""Beyond either the rest waits for the next turn: a turn is written as a whole, and its first caller waits for it."""

NOT_IN_ZOOKEEPER: Final = (
    BrokerRegistrationRequest,
    BrokerHeartbeatRequest,
    ControllerRegistrationRequest,
    UnregisterBrokerRequest,
    UpdateFeaturesRequest,
    InitProducerIdRequest,
)
"""What a quorum's controller does and this one does not: ZooKeeper keeps the registrations and sessions, and
inter.broker.protocol.version is in the place of metadata.version. No broker there has data, and so no producers."""

CHANGES: Final = frozenset(
    kind
    for kind in HANDLERS
    if kind not in NOT_IN_ZOOKEEPER and APIS[kind.api_key].forwardable  # type: ignore[attr-defined]
)
"""The classes of the requests that it carries out: those of clients. Brokers with data ask for more."""

_Run = Callable[[Context], ControllerResult[None]]

_NEVER_MS: Final = 2**60
_NOBODY: Final = PendingRequest(request=None, token=None, deadline_ms=0, api_version=NEWEST_API_VERSION)
"""Who asks for the controller's own tasks: nobody, who may do everything."""


@attrs.frozen(kw_only=True)
class Step:
    """One operation: where it led from and to."""

    before: MetadataImage
    after: MetadataImage
    changes: Changes


@attrs.frozen(kw_only=True)
class Turn:
    """Decided, and to be written in this order."""

    image: MetadataImage
    """What counts once all of it is written."""
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...]
    """They leave once it is written, and not before this broker is known to hold the office still."""
    waiting: tuple[PendingRequest, ...]
    """Whose answers these are, in the same order."""
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


@attrs.define
class _Outcome:
    """What a turn has brought so far."""

    image: MetadataImage
    now_ms: int
    wall_ms: int
    steps: list[Step] = attrs.Factory(list)
    answers: list[Answer] = attrs.Factory(list)
    waiting: list[PendingRequest] = attrs.Factory(list)
    notes: list[str] = attrs.Factory(list)
    faults: list[Fault] = attrs.Factory(list)
    operations: int = 0
    records: int = 0

    @property
    def is_full(self) -> bool:
        return self.operations >= MAX_OPERATIONS_PER_TURN or self.records >= MAX_RECORDS_PER_TURN


class ZooKeeperCore:
    """One holding of the office. It has no clock, no session and no znodes of its own."""

    def __init__(
        self,
        *,
        config: ZooKeeperControllerConfig,
        cluster_id: str,
        rng: random.Random,
        image: MetadataImage,
        epoch: int,
        now_ms: int,
        policies: Policies = NO_POLICIES,
        counters: Counters | None = None,
    ) -> None:
        """`image`: what the tree says; `epoch`: of `/controller_epoch`, as claimed."""
        self.counters = counters or Counters()
        self.epoch: Final = epoch
        self._config = config
        self._cluster_id = cluster_id
        self._rng = rng
        self._policies = policies
        self._image = image
        self._queue: deque[PendingRequest] = deque()
        self._live: Mapping[NodeId, RegisterBrokerRecord] | None = None
        self._alone: deque[PendingRequest] = deque()
        self._turn: Turn | None = None
        self._sessions = BrokerSessions(_NEVER_MS)
        self._sessions.restart(image.cluster.brokers.values(), now_ms)
        # There is no log that NoOps would have to move on.
        self._tasks = Tasks(attrs.evolve(config, max_idle_interval_ms=0), self._sessions, now_ms)
        self._quotas = MutationQuotas(config)
        self.counters.times_active += 1
        for broker_id in isr.brokers_to_settle(image):
            self._tasks.settle(broker_id, image)

    @property
    def image(self) -> MetadataImage:
        """What is written."""
        return self._image

    @property
    def queue_length(self) -> int:
        return len(self._queue) + len(self._alone)

    # ---- what happens ------------------------------------------------------------------------------------

    def submit(self, pending: PendingRequest) -> Answer | None:
        """A request arrived; the answer if it is refused at once."""
        if len(self._queue) >= self._config.max_queued_requests:
            self.counters.requests_turned_away += 1
            return pending.refuse_for(Situation.TOO_BUSY)
        self._queue.append(pending)
        return None

    def brokers_are(self, live: Mapping[NodeId, RegisterBrokerRecord]) -> None:
        """The brokers whose znodes are there now, as registrations."""
        self._live = live

    def take_back(self, waiting: Sequence[PendingRequest]) -> None:
        """Requests whose turn could not be written, and of which nothing was: each gets a turn of its own now, so
        that the one in whose way something lies does not take the others with it."""
        self._alone += waiting

    def next_deadline_ms(self, now_ms: int) -> int:
        """When it wants a turn; now if something waits."""
        if self._queue or self._alone or self._live is not None:
            return now_ms
        return self._tasks.next_deadline_ms(now_ms)

    def turn(self, now_ms: int, wall_ms: int) -> Turn | None:
        """Runs what is due and what waits; None: that was nothing. `written` must be told before the next one."""
        check(self._turn is None, "a turn was asked for while another one is under way")
        outcome = _Outcome(self._image, now_ms, wall_ms)
        if self._alone:
            self._run_request(self._alone.popleft(), outcome)
        else:
            self._run_all(outcome)
        if not outcome.operations:
            return None
        self._turn = Turn(
            image=outcome.image,
            steps=tuple(outcome.steps),
            answers=tuple(outcome.answers),
            waiting=tuple(outcome.waiting),
            notes=tuple(outcome.notes),
            faults=tuple(outcome.faults),
        )
        return self._turn

    def _run_all(self, outcome: _Outcome) -> None:
        self._take_brokers(outcome)
        for task in self._tasks.due(outcome.image, outcome.now_ms):
            self._operate(task, outcome)
        while self._queue and not outcome.is_full:
            self._run_request(self._queue.popleft(), outcome)

    def written(self, turn: Turn) -> None:
        """All of the turn is in ZooKeeper."""
        check(turn is self._turn, "another turn is under way")
        self._turn = None
        self._image = turn.image
        self.counters.batches_appended += bool(turn.steps)

    def leave(self) -> tuple[Answer, ...]:
        """The office is lost: what to say to those whose turn had not come."""
        waiting = (*self._alone, *self._queue)
        self._alone.clear()
        self._queue.clear()
        return tuple(pending.refuse_for(Situation.NOT_ACTIVE) for pending in waiting)

    def hand_over(self, successor: "ZooKeeperCore") -> None:
        """What waits goes to the one that begins anew, in the same holding of the office."""
        successor._alone += self._alone
        successor._queue += self._queue
        self._alone.clear()
        self._queue.clear()

    # ---- brokers -----------------------------------------------------------------------------------------

    def _take_brokers(self, outcome: _Outcome) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        known = outcome.image.cluster.brokers
        for broker_id in sorted(known):
            if broker_id not in live or live[broker_id].broker_epoch != known[broker_id].epoch:
                self._operate(Task(f"broker {broker_id} is gone", _leave(broker_id)), outcome)
        for broker_id in sorted(live):
            if outcome.image.cluster.broker(broker_id) is None:
                self._operate(
                    Task(f"broker {broker_id} is here", partial(_register, live[broker_id])), outcome
                )
                self._operate(Task(f"broker {broker_id} may lead", _enter(broker_id)), outcome)

    def _operate(self, task: Task, outcome: _Outcome) -> None:
        outcome.notes.append(task.name)
        self._run_task(task, outcome)

    # ---- operations --------------------------------------------------------------------------------------

    def _run_request(self, pending: PendingRequest, outcome: _Outcome) -> None:
        outcome.operations += 1
        if pending.deadline_ms <= outcome.now_ms:
            self.counters.operations_timed_out += 1
            self._answer(pending, pending.refuse_for(Situation.EXPIRED), outcome)
            return
        context = self._context(pending, outcome)
        self.counters.operations_started += 1
        try:
            result = HANDLERS[type(pending.request)](context, pending.request)
            step = self._step(result, outcome)
            if step is not None:
                refuse_unwritable(step.changes, with_secret=self._config.password_encoder_secret is not None)
        except RequestRejected as refusal:
            self.counters.requests_rejected += 1
            answer = pending.refuse(refusal)
        except Exception as error:  # noqa: BLE001  a bug in any handler must not depose the controller
            self._met_a_bug(Fault(str(pending), error), outcome)
            answer = pending.refuse_for(Situation.FAULT)
        else:
            self._done(result, step, outcome)
            answer = pending.answer(result.response)
        self._quotas.keep(context.allowance)
        self._answer(pending, answer, outcome)

    def _answer(self, pending: PendingRequest, answer: Answer, outcome: _Outcome) -> None:
        outcome.answers.append(answer)
        outcome.waiting.append(pending)

    def _run_task(self, task: Task, outcome: _Outcome) -> None:
        outcome.operations += 1
        self.counters.operations_started += 1
        try:
            result = task.run(self._context(_NOBODY, outcome))
            step = self._step(result, outcome)
        except Exception as error:  # noqa: BLE001  as for requests; the task is tried again later
            self._met_a_bug(Fault(task.name, error), outcome)
            self._tasks.failed(outcome.now_ms)
        else:
            self._done(result, step, outcome)

    def _step(self, result: ControllerResult[Any], outcome: _Outcome) -> Step | None:
        """The records, replayed on the newest image; None: there are none."""
        if not result.records:
            return None
        before = outcome.image
        delta = MetadataDelta(before)
        delta.replay_all(result.records)
        after = delta.apply(
            Provenance(
                offset=before.offset + len(result.records),
                epoch=self.epoch,
                append_time_ms=outcome.wall_ms,
            )
        )
        return Step(before=before, after=after, changes=delta.changes())

    def _done(self, result: ControllerResult[Any], step: Step | None, outcome: _Outcome) -> None:
        """What is known besides the image follows the records."""
        if step is not None:
            outcome.steps.append(step)
            outcome.image = step.after
            outcome.records += len(result.records)
            self.counters.records_appended += len(result.records)
            for broker_id, broker in step.changes.changed_brokers.items():
                self._sessions.follow(broker_id, broker, outcome.now_ms)
            if step.changes.changed_configs:
                self._tasks.configs_changed(step.changes.changed_configs, outcome.now_ms)
        if result.unsettled is not None:
            self._tasks.settle(result.unsettled, outcome.image)

    def _met_a_bug(self, fault: Fault, outcome: _Outcome) -> None:
        self.counters.faults += 1
        outcome.faults.append(fault)

    def _context(self, pending: PendingRequest, outcome: _Outcome) -> Context:
        return Context(
            image=outcome.image,
            next_offset=Offset(outcome.image.offset + 1),
            now_ms=outcome.now_ms,
            wall_ms=outcome.wall_ms,
            rng=self._rng,
            config=self._config,
            cluster_id=self._cluster_id,
            sessions=self._sessions,
            api_version=pending.api_version,
            permits=pending.permits,
            principal=pending.principal,
            by_token=pending.by_token,
            policies=self._policies,
            allowance=self._allowance(pending, outcome),
        )

    def _allowance(self, pending: PendingRequest, outcome: _Outcome) -> Allowance:
        strict_since = STRICT_SINCE.get(type(pending.request))
        if strict_since is None:
            return Allowance()
        return self._quotas.allowance(
            outcome.image.quotas,
            pending.principal,
            pending.client_id,
            outcome.now_ms,
            strict=pending.api_version >= strict_since,
        )


def _leave(broker_id: NodeId) -> _Run:
    """Everything that a broker had goes to others, and the broker is forgotten."""

    def run(context: Context) -> ControllerResult[None]:
        broker = context.broker(broker_id)
        change = isr.NO_CHANGE if broker is None else isr.unregister(context, broker)
        return ControllerResult(change.records, None, atomic=False, unsettled=change.unsettled)

    return run


def _register(record: RegisterBrokerRecord, _: Context) -> ControllerResult[None]:
    return ControllerResult([attrs.evolve(record, fenced=True)], None)


def _enter(broker_id: NodeId) -> _Run:
    """A broker that was just registered may lead, and if it holds no data be in its ISRs."""

    def run(context: Context) -> ControllerResult[None]:
        broker = context.broker(broker_id)
        change = isr.NO_CHANGE if broker is None else isr.unfence(context, broker)
        return ControllerResult(change.records, None, atomic=False, unsettled=change.unsettled)

    return run
