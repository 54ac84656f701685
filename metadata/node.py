"""RaftNode: the shell around one core. It owns the core, its inbox and its deadline, and carries out its effects.

One task steps the core; everything else hands events to its inbox and wakes it. A turn takes all events that have
gathered, applies what was committed, and lets the state machine propose: so whatever arrived together is appended
together and flushed once (group commit, without a linger timer).

The state machine (the controller, or a broker's metadata loader) is told of commits, snapshots and leaders through
`StateMachine`; long work (loading a snapshot, applying a long log, writing a snapshot) is done in slices.
"""

import gc
import itertools
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import attrs
import structlog
import trio

from quorate.metadata.batch import RecordBatch
from quorate.metadata.carry_out import carry_out
from quorate.metadata.checks import check
from quorate.metadata.disk_speed import DiskSpeed
from quorate.metadata.flushing import FlushThread
from quorate.metadata.ids import FIRST_OFFSET, Epoch, NodeId, Offset, OffsetAndEpoch, uuid_to_text
from quorate.metadata.log.interface import Log
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.poller import Poller
from quorate.metadata.quorum import retention, snapshots
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.effects import Flush, ReadAnswer, SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Event,
    LogFlushed,
    Proposed,
    ReadId,
    ReadRequested,
    RequestReceived,
    ResignRequested,
    RetentionReached,
    ShutdownRequested,
    SnapshotCreated,
    SpaceChanged,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.messages import LeaderAndEpoch, Request, Response
from quorate.metadata.quorum.retention import RetentionLimits
from quorate.metadata.quorum.roles import Leader
from quorate.metadata.quorum.snapshots import SnapshotSchedule
from quorate.metadata.quorum.voters import VoterHistory
from quorate.metadata.records import AnyRecord, KRaftVersionRecord

_APPLY_BYTES_PER_READ: Final = 1024 * 1024
_SLICE_MS: Final = 20
"""How long one turn may apply committed records before the inbox is looked at again."""
_SNAPSHOT_SLICE_MS: Final = 4
_SNAPSHOT_SHARE: Final = 4
"""Writing a snapshot rests this many times as long as it works: a fifth of the loop at most."""
_SNAPSHOT_BATCH_RECORDS: Final = 256
_SNAPSHOT_RETRY_MS: Final = 1000
_SPACE_CHECK_S: Final = 1.0
_RETENTION_CHECK_S: Final = 60.0
"""As in Kafka; also after each snapshot of our own."""
_ROUNDING_S: Final = 1e-5

Reply = Callable[[Response | None], None]
"""Takes the answer to a request that came in; None: the request named another cluster."""


@attrs.frozen
class SnapshotSource:
    """An image, as records, at a point of the log."""

    snapshot_id: OffsetAndEpoch
    append_time_ms: int
    """Wall clock, of the last batch inside."""
    records: Iterator[AnyRecord]


class Superseded(Exception):
    """Another recovery of the quorum has given this node's log up; the node must begin anew without its copy."""

    def __init__(self, recovery_id: uuid.UUID) -> None:
        self.recovery_id = recovery_id
        super().__init__(f"the log was given up by recovery {uuid_to_text(recovery_id)}")


class StateMachine(Protocol):
    """What the log is for. All methods are called by the node's one task and must not block."""

    def on_committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        """These batches, contiguous with what came before, are committed."""
        ...

    def load_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[RecordBatch]) -> Iterator[None]:
        """Replaces the whole state; yields between slices. Before it is exhausted nothing is committed or claimed;
        news of other leaders do come, and so do the questions below."""
        ...

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Another leader or epoch. This node's own leadership is announced by `on_claimed` only."""
        ...

    def on_claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        """This node leads, a record of its epoch is committed, and all that is committed has been applied."""
        ...

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        """Batches to append, sealed for `log_end`. Called at the end of each turn; who does not lead has none."""
        ...

    def next_deadline(self) -> int | None:
        """When it wants a turn without anything else happening."""
        ...

    def snapshot_source(self) -> SnapshotSource | None:
        """The state as it is now; None if there is none yet, or it cannot be written (inside a transaction)."""
        ...


class ElectionStore(Protocol):
    """Where the election state is kept."""

    def write(self, election: ElectionState) -> None:
        """Replaces it, durably, before returning."""
        ...


class Transport(Protocol):
    """Requests to peers. Their outcome comes back as ResponseReceived or RequestFailed."""

    def send(self, request: SendRequest) -> None: ...


def now_ms() -> int:
    """The node's clock: trio's, in whole milliseconds."""
    return int(trio.current_time() * 1000)


def wall_ms() -> int:
    """The wall clock, in whole milliseconds since 1970: for times that people and other machines read."""
    return time.time_ns() // 1_000_000


class RaftNode:
    """See the module's docstring. `run` lives as long as the node."""

    def __init__(
        self,
        *,
        core: RaftCore,
        log: Log,
        elections: ElectionStore,
        transport: Transport,
        machine: StateMachine,
        schedule: SnapshotSchedule,
        free_space_floor_bytes: int = 0,
        retention_limits: RetentionLimits | None = None,
        disk_speed: DiskSpeed | None = None,
    ) -> None:
        self.core = core
        self.log = log
        self.applied = FIRST_OFFSET
        """Offset after the last record that the state machine has seen."""
        self._elections = elections
        self._transport = transport
        self._machine = machine
        self._schedule = schedule
        self._floor_bytes = free_space_floor_bytes
        self._retention_limits = retention_limits or RetentionLimits()
        self._clock: Callable[[], float] = trio.current_time
        self._inbox: deque[Event] = deque()
        self._wake = trio.Event()
        self._poller: Poller | None = None
        self._resting: trio.CancelScope | None = None
        """While the node's task sleeps: what ends the sleep when the next deadline comes."""
        self._rests_until_ms: int | None = None
        self._core_due_ms: int | None = None
        """The core's next deadline, once a turn has asked for it; what was asked holds until the next step."""
        self._core_asked = False
        self._unfinished = True
        """Whether a turn is wanted before anything else happens."""
        self._in_turn = False
        self._wanted = 0
        """How often the state machine asked for a turn since it had one."""
        self._alone = False
        """Whether it had asked once only before it proposed last: nothing to gather, as with a single client."""
        self._failure: BaseException | None = None
        self._replies: dict[Token, Reply] = {}
        self._last_token = 0
        self._reads: dict[ReadId, Callable[[bool], None]] = {}
        self._last_read_id = 0
        self._confirmed: list[tuple[Offset, Callable[[bool], None]]] = []  # until so much is applied
        self._committed: Offset | None = None
        self.free_bytes: int | None = None
        """Room on the disk when it was looked at last; None before."""
        self._loading: Iterator[None] | None = None
        self._loading_end = FIRST_OFFSET
        self._leader_told = LeaderAndEpoch(Epoch(-1))
        self._claimed: Epoch | None = None
        self._flushes = FlushThread(log.flush, self._on_flushed, speed=disk_speed)
        self._snapshot_wanted = trio.Event()
        self._snapshot_running = False
        self._snapshot_after_ms = 0
        self._handed_over = trio.Event()
        self._stopped = trio.Event()
        self._notes = structlog.get_logger("raft").bind(node=core.id)

    # ---- from other tasks ----------------------------------------------------------------------------

    def submit(self, event: Event) -> None:
        """Hands an event to the core. Synchronous; it may be stepped before this returns."""
        self._inbox.append(event)
        self._stir()

    def receive(self, request: Request, cluster_id: str | None, reply: Reply) -> None:
        """A peer's request. `reply` is called once, unless the node stops first."""
        self._last_token += 1
        token = Token(self._last_token)
        self._replies[token] = reply
        self.submit(RequestReceived(token, request, cluster_id))

    def _on_flushed(self, flush: Flush) -> None:
        self.submit(LogFlushed(flush.end_offset, flush.generation))

    @property
    def voters(self) -> VoterHistory:
        """The voters and the kraft.version of the log, its uncommitted end included."""
        return self.core.log.voters

    def now_ms(self) -> int:
        """As the function of this name, by a shorter way."""
        return int(self._clock() * 1000)

    def wake(self) -> None:
        """The state machine has something to propose. Not at once, unless it would be alone in its batch anyway: what
        else has arrived goes into the same one."""
        self._wanted += 1
        if self._alone and self._wanted == 1 and self._committed == self.core.log.end.offset:
            self._stir()
            return
        self._unfinished = True
        self._wake.set()

    def confirm_read(self, tell: Callable[[bool], None]) -> None:
        """Tells, later or at once: the image shows all that was acknowledged anywhere before now; False: this node
        does not lead, or it was replaced meanwhile."""
        self._last_read_id += 1
        read_id = ReadId(self._last_read_id)
        self._reads[read_id] = tell
        self.submit(ReadRequested(read_id))

    def resign(self, epoch: Epoch, reason: str) -> None:
        self.submit(ResignRequested(epoch, reason))

    @property
    def leader(self) -> LeaderAndEpoch:
        return self.core.leader_and_epoch

    @property
    def claimed_epoch(self) -> Epoch | None:
        """The epoch that this node leads as active controller; None while it does not."""
        return self._claimed

    @property
    def high_watermark(self) -> Offset | None:
        return self.core.high_watermark

    @property
    def flushes(self) -> FlushThread:
        """For its counts."""
        return self._flushes

    @property
    def snapshot_schedule(self) -> SnapshotSchedule:
        """When the last snapshot of our own was taken, and how much was applied since."""
        return self._schedule

    # ---- the tasks -----------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Steps the core until `stop`. Any exception in here means that the process must end, but for one.

        Raises:
            Superseded: this node's copy of the log is worth nothing; it may begin anew without it.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._flushes.run)
            self._poller = Poller.of_this_run()
            nursery.start_soon(self._snapshotter)
            self._clock = trio.lowlevel.current_clock().current_time
            self._schedule.begin(now_ms())
            self._begin_with_snapshot()
            self._step(Started())
            self._look_at_space()
            nursery.start_soon(self._watch_space)
            nursery.start_soon(self._watch_retention)
            task_status.started()
            while not self._stopped.is_set():
                until = self._rests_until_ms
                if self._unfinished or (until is not None and until <= self.now_ms()):
                    self._turn()
                await self._rest()
            nursery.cancel_scope.cancel()

    async def hand_over(self) -> None:
        """The first half of an orderly end: a leader resigns, and returns when the others can do without this node.

        The node goes on following, so that answers which wait for the outcome of their records still get it.
        """
        self.submit(ShutdownRequested())
        with trio.move_on_after(self.core.config.election_timeout_ms * 2 / 1000):
            await self._handed_over.wait()

    def stop(self) -> None:
        """`run` returns."""
        self._stopped.set()
        self._wake.set()

    async def _rest(self) -> None:
        if self._unfinished:
            await trio.lowlevel.checkpoint()
            return
        try:
            with trio.CancelScope(deadline=self._wakes_at_s()) as self._resting:
                await self._wake.wait()
        finally:
            self._resting = None  # a node that was cancelled takes no turn any more
        self._wake = trio.Event()
        if self._failure is not None:
            raise self._failure

    def _wakes_at_s(self) -> float:
        """A little later than the deadline, so that `now_ms`, which rounds down, has reached it then."""
        core_ms, machine_ms = self._core_deadline(), self._machine.next_deadline()
        until_ms = (
            machine_ms if core_ms is None or (machine_ms is not None and machine_ms < core_ms) else core_ms
        )
        self._rests_until_ms = until_ms
        return math.inf if until_ms is None else until_ms / 1000 + _ROUNDING_S

    def _stir(self) -> None:
        """Takes a turn at once if the node rests and its disk does; else it will, together with what comes until then.

        On an idle node this saves waking a task for each of the steps that a write takes. Under load a flush nearly
        always runs, and what arrives meanwhile is gathered into one batch.
        """
        if self._in_turn:
            self._unfinished = True
            return
        if self._poller is not None:
            self._poller.lingers = False  # whatever an event before this one had in mind
        resting, self._resting = self._resting, None
        if resting is None or self._flushes.running:
            self._unfinished = True
            self._wake.set()
            return
        try:
            self._turn()
        except BaseException as problem:  # noqa: BLE001  it belongs to the node, not to whoever brought the event
            self._failure = problem
            self._wake.set()
            return
        if self._unfinished:
            self._wake.set()
        else:
            until_s = self._wakes_at_s()
            # Never moved back: waking for nothing now and then is cheaper than to move it at every turn.
            if until_s < resting.deadline:
                resting.deadline = until_s
            self._resting = resting
            if self._poller is not None and not self._flushes.running:
                self._poller.lingers = True  # the next thing is a request or an answer

    def _turn(self) -> None:
        self._in_turn, self._unfinished = True, False
        if self._inbox:
            self._take_events()  # each step looks at the timers as well
            now = self.now_ms()
        else:
            now = self.now_ms()
            deadline = self._core_deadline()
            if deadline is not None and deadline <= now:
                self._step(TimePassed())
        busy = self._apply()
        if self._confirmed:
            self._answer_confirmed()
        self._tell_leader()
        wanted, self._wanted = self._wanted, 0
        batches = self._machine.propose(self.core.log.end.offset, now)
        if batches:
            self._alone = wanted <= 1
            self._step(Proposed(batches[0].epoch, tuple(batches)))
            self._take_events()  # its flush may have ended
            busy = self._apply()
        self._maybe_snapshot(now)
        if self.core.shutting_down and self.core.shutdown_complete:
            self._handed_over.set()
        self._in_turn = False
        self._unfinished = self._unfinished or busy or bool(self._inbox)

    def _take_events(self) -> None:
        while self._inbox:
            self._step(self._inbox.popleft())

    def _core_deadline(self) -> int | None:
        if not self._core_asked:
            self._core_due_ms, self._core_asked = self.core.next_deadline(), True
        return self._core_due_ms

    def _step(self, event: Event) -> None:
        self._core_asked = False
        following: Event | None = event
        while following is not None:
            following = carry_out(self.core.step(following, self.now_ms()), self)

    # ---- what carry_out acts upon (carry_out.World) --------------------------------------------------

    def write_election(self, election: ElectionState) -> None:
        self._elections.write(election)

    def wait_for_flush(self) -> None:
        self._flushes.wait()

    def send_request(self, request: SendRequest) -> None:
        self._transport.send(request)

    def send_response(self, token: Token, response: Response) -> None:
        self._replies.pop(token)(response)

    def reject_cluster_id(self, token: Token) -> None:
        self._replies.pop(token)(None)

    def start_flush(self, flush: Flush) -> None:
        if self._flushes.start(flush, patient=self._alone or not self.core.leads):
            self._inbox.append(LogFlushed(flush.end_offset, flush.generation))

    def committed(self, high_watermark: Offset) -> None:
        self._committed = high_watermark

    def answer_read(self, answer: ReadAnswer) -> None:
        tell = self._reads.pop(answer.read_id)
        if answer.index is None:
            tell(False)
        elif answer.index <= self.applied:
            tell(True)
        else:
            self._confirmed.append((answer.index, tell))

    def superseded(self, recovery_id: uuid.UUID) -> None:
        raise Superseded(recovery_id)

    def note(self, text: str) -> None:
        self._notes.info(text)

    # ---- room on the disk ----------------------------------------------------------------------------

    async def _watch_space(self) -> None:
        while True:
            await trio.sleep(_SPACE_CHECK_S)
            self._look_at_space()
            news = self._flushes.speed.news(self.now_ms())
            if news is not None:
                self._notes.warning(news)

    def _look_at_space(self) -> None:
        """Below the floor a node neither leads for long nor fetches; above it by a quarter, it is as before."""
        free = self.free_bytes = self.log.free_bytes()
        low = self.core.disk_low
        if not low and free < self._floor_bytes:
            self._notes.error(
                "the disk is almost full: this node refuses writes and does not stand for election",
                free_bytes=free,
                floor_bytes=self._floor_bytes,
            )
            self.submit(SpaceChanged(low=True))
        elif low and free >= self._floor_bytes * 5 // 4:
            self.submit(SpaceChanged(low=False))

    async def _watch_retention(self) -> None:
        while True:
            self._let_go()
            await trio.sleep(_RETENTION_CHECK_S)

    def _let_go(self) -> None:
        wall_now_ms = wall_ms()
        oldest = retention.oldest_kept(self.log.use(), self._retention_limits, wall_now_ms)
        if oldest is not None:
            self.submit(RetentionReached(oldest))

    # ---- applying ------------------------------------------------------------------------------------

    def _begin_with_snapshot(self) -> None:
        newest = self.core.log.newest_snapshot
        if newest is not None:
            self._load(newest)

    def _load(self, snapshot_id: OffsetAndEpoch) -> None:
        self._claimed = None
        self._loading = self._machine.load_snapshot(snapshot_id, self.log.snapshot_records(snapshot_id))
        self._loading_end = snapshot_id.offset

    def _apply(self) -> bool:
        """Shows the state machine what was committed, for one slice; True if more is left."""
        if self.applied == self._committed and self._loading is None:
            return False
        until = self.now_ms() + _SLICE_MS
        if self.applied < self.core.log.start and self._loading_end < self.core.log.start:
            newest = self.core.log.newest_snapshot
            check(newest is not None, "the log starts behind what was applied, and there is no snapshot")
            if newest is not None:
                self._load(newest)
        if self._loading is not None:
            for _ in self._loading:
                if now_ms() >= until:
                    return True
            self._loading = None
            self.applied = self._loading_end
            # What was loaded stays: full collections of the cyclic collector must not walk through it again and again.
            gc.collect()
            gc.freeze()
        target = self._committed
        while target is not None and self.applied < target:
            batches = self.log.read(self.applied, target, _APPLY_BYTES_PER_READ)
            self.applied = batches[-1].end_offset
            self._machine.on_committed(batches, target)  # first of all: somebody waits for an answer
            self._schedule.applied(sum([len(batch.data) for batch in batches]))
            if self.applied < target and self.now_ms() >= until:
                return True
        return False

    def _answer_confirmed(self) -> None:
        ready = [tell for index, tell in self._confirmed if index <= self.applied]
        self._confirmed = [(index, tell) for index, tell in self._confirmed if index > self.applied]
        for tell in ready:
            tell(True)

    def _tell_leader(self) -> None:
        leader, told = self.core.leader_and_epoch, self._leader_told
        if leader is not told and leader != told:
            self._leader_told = leader
            if (leader.epoch, leader.leader_id) != (
                told.epoch,
                told.leader_id,
            ):  # else it is reached elsewhere now
                self._claimed = None
            self._machine.on_leader_change(leader)
        role = self.core.role
        if (
            isinstance(role, Leader)
            and self._claimed is None
            and role.high_watermark_known
            and self._loading is None
            and self.applied == self._committed
        ):
            # Only now has it seen every record that an earlier leader may have committed.
            self._claimed = self.core.election.epoch
            self._machine.on_claimed(self._claimed, self.core.log.end.offset)

    # ---- snapshots of our own ------------------------------------------------------------------------

    def _maybe_snapshot(self, now: int) -> None:
        if not self._snapshot_running and now >= self._snapshot_after_ms and self._schedule.due(now):
            self._snapshot_running = True
            self._snapshot_wanted.set()

    async def _snapshotter(self) -> None:
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted = trio.Event()
            source = self._machine.snapshot_source()
            limit = snapshots.max_snapshot_end(self.core)
            if source is None or source.snapshot_id.offset > limit or self._loading is not None:
                self._snapshot_after_ms = (
                    now_ms() + _SNAPSHOT_RETRY_MS
                )  # still due: what is wanted must be flushed first
            else:
                if source.snapshot_id not in self.core.log.snapshots:
                    await self._write_snapshot(source)
                self._schedule.taken(now_ms())
            self._snapshot_running = False

    async def _write_snapshot(self, source: SnapshotSource) -> None:
        await write_snapshot(self.core, self.log, source)
        self.submit(SnapshotCreated(source.snapshot_id))
        self._let_go()


async def write_snapshot(core: RaftCore, log: Log, source: SnapshotSource) -> None:
    """Writes a snapshot in slices, so that elections and heartbeats do not notice; flushes it in a worker thread."""
    writer = log.new_snapshot(source.snapshot_id)
    try:
        began = trio.current_time()
        for batch in snapshot_batches(core, source):
            writer.append(batch)
            spent = trio.current_time() - began
            if spent * 1000 >= _SNAPSHOT_SLICE_MS:
                await trio.sleep(spent * _SNAPSHOT_SHARE)
                began = trio.current_time()
        await trio.to_thread.run_sync(writer.finish)
    except BaseException:
        writer.abort()
        raise


def snapshot_batches(core: RaftCore, source: SnapshotSource) -> Iterator[RecordBatch]:
    """The batches of a snapshot: header and voters, the image's records, the footer (KIP-630)."""
    composer = SnapshotComposer(source.snapshot_id, wall_ms=source.append_time_ms)
    version, voters = core.log.voters.at(source.snapshot_id.offset)
    dynamic = version > 0
    yield composer.header(
        last_contained_log_timestamp=source.append_time_ms,
        kraft_version=KRaftVersionRecord(k_raft_version=version) if dynamic else None,
        voters=voters.record() if dynamic else None,
    )
    while records := list(itertools.islice(source.records, _SNAPSHOT_BATCH_RECORDS)):
        yield composer.data(records)
    yield composer.footer()


def leader_id_of(leader: LeaderAndEpoch) -> NodeId:
    """As Kafka's answers say it: -1 where no leader is known."""
    return NodeId(-1) if leader.leader_id is None else leader.leader_id
