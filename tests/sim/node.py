"""A simulated process: a real core and the real `carry_out`, over a simulated disk, network and clock.

On top of it runs a state machine: a small one (`machine`), or a real controller or broker (`controllers`, `brokers`).
Those get their turns as `metadata/node.py` gives them: events first, then what was committed, then news of leaders,
then the question whether there is something to propose; now and then late, as in a loop that is busy.
"""

import random
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import attrs

from quorate.metadata.carry_out import carry_out
from quorate.metadata.checks import RequestRejected, check
from quorate.metadata.ids import FIRST_OFFSET, Epoch, NodeId, Offset, ReplicaKey
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import Effects, Flush, ReadAnswer, SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Event,
    LogFlushed,
    Proposed,
    ReadId,
    ReadRequested,
    ResignRequested,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.invariants import Summary, check_state, check_step, summarize
from quorate.metadata.quorum.messages import LeaderAndEpoch, Response
from quorate.metadata.quorum.roles import Leader
from tests.sim.disk import Disk, SimLog
from tests.sim.laws import Laws
from tests.sim.machine import StateMachine
from tests.sim.network import Network
from tests.sim.options import WorldOptions
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace


class PowerCut(Exception):
    """The node dies between two effects of one step."""


@attrs.frozen
class Doom:
    """Crashes worth waiting for: at the first step that `when` picks, after so many of its effects."""

    when: Callable[[Effects], bool]
    effects: int


@attrs.frozen
class Act:
    """Something for the state machine: a request, an answer."""

    action: Callable[[], None]
    what: str


TURN: Final = "its turn"
"""Nothing has come in: what waits is gathered, and what is due is done."""
STALL_MS: Final = (1_000, 12_000)
MOST_TURNS_AT_ONCE: Final = 500
"""Without time passing in between: more of them is spinning."""


class SimNode:
    """Up or down, paused or not; its disk outlives it. Also what `carry_out` acts upon (`carry_out.World`)."""

    def __init__(
        self,
        config: QuorumConfig,
        disk: Disk,
        *,
        options: WorldOptions,
        schedule: Schedule,
        network: Network,
        laws: Laws,
        make_machine: Callable[["SimNode"], StateMachine],
        trace: Trace,
        marks: Counter[str],
        rng: random.Random,
    ) -> None:
        self.config = config
        self.disk = disk
        self.life = 0
        """Counts starts and deaths: what was meant for an earlier life is dropped."""
        self.up = False
        self.paused = False
        self.inbox: deque[Event | Act] = deque()
        self.flush_ms = options.flush_ms
        self.bad_disk = True
        """It may fail and stall, where the world has such disks at all."""
        self.doom: Doom | None = None
        """The step at which the power will be cut."""
        self.when_cut: Callable[[SimNode], None] = lambda node: None
        self.when_committed: Callable[[SimNode], None] = lambda node: None
        self.when_ended: Callable[[SimNode], None] = lambda node: None
        """The process has ended itself: somebody may start it again."""
        self._options, self._schedule, self.network = options, schedule, network
        self._laws, self._trace, self._marks, self._rng = laws, trace, marks, rng
        self._make_machine = make_machine
        self._rate, self._clock_offset_ms = 1000, 0
        if options.drift:
            self._rate += self._rng.randint(-int(1000 * options.drift), int(1000 * options.drift))
            self._clock_offset_ms = self._rng.randint(0, 10_000)
        self._fuse: int | None = None
        """So many effects are still carried out. None: all."""
        self._flush: tuple[Flush, Offset] | None = None
        self._flush_on_disk = False
        """The bytes are safe, though the node has not heard of it."""
        self._timer_at: int | None = None
        self._summary: Summary | None = None
        self._committed: Offset | None = None
        self._vouched_for = FIRST_OFFSET
        """All below it this life has called committed, lawfully."""
        self._leader_told = LeaderAndEpoch(Epoch(-1))
        self._claimed: Epoch | None = None
        self._turn_planned = False
        self._planned_at_ms = 0
        self._reads: dict[ReadId, Callable[[bool], None]] = {}
        self._last_read_id = 0
        self._confirmed: list[tuple[Offset, Callable[[bool], None]]] = []
        self._turns_at_once = (0, 0)

    @property
    def clock_ms(self) -> int:
        """What this node takes for the time."""
        return self._schedule.now_ms * self._rate // 1000 + self._clock_offset_ms

    def _when(self, clock_ms: int) -> int:
        """When this node's clock will show it, and not before."""
        return -(-(clock_ms - self._clock_offset_ms) * 1000 // self._rate)

    @property
    def id(self) -> NodeId:
        return self.config.replica.id

    @property
    def key(self) -> ReplicaKey:
        return self.config.replica

    @property
    def name(self) -> str:
        return f"n{self.id}"

    @property
    def is_broker(self) -> bool:
        return not self.config.durable

    @property
    def is_voter(self) -> bool:
        return self.key in self._laws.members.voters

    # ---- living and dying ------------------------------------------------------------------------------

    def start(self) -> None:
        check(not self.up, "started twice")
        self.life += 1
        self.up = True
        self.paused = False
        self.inbox.clear()
        self._flush = None
        self._timer_at = None
        self.doom = None
        self._fuse = None
        log = self.disk.log
        core_rng = random.Random(self._rng.getrandbits(64))
        self.core = RaftCore(self.config, self.disk.election, log.summary(), core_rng)
        self._committed = self._claimed = None
        self._vouched_for = FIRST_OFFSET
        self._leader_told = LeaderAndEpoch(Epoch(-1))
        self._turn_planned = False
        self._reads, self._confirmed = {}, []
        self.machine = self._make_machine(self)
        newest = self.core.log.newest_snapshot
        if newest is not None:
            self.machine.load(newest, iter(log.snapshot_records(newest)))
        self._summary = None
        self.handle(Started())

    def start_unless_up(self) -> None:
        """Somebody else may have started it first."""
        if not self.up:
            self.start()

    def crash(self) -> None:
        """kill -9 together with the power: what was not flushed may be gone."""
        if not self.up:
            return
        before = self.disk.log.summary().end.offset
        self._die()
        self.disk.log.crash(self._rng)
        lost = before - self.disk.log.summary().end.offset
        self._marks["crash that loses records" if lost else "crash"] += 1
        self._trace.trouble(self.name, f"crashes, {lost} unflushed records are lost")
        self._trace.state(self)

    def exit(self) -> None:
        """An orderly end: the log is closed."""
        self.disk.log.flush()
        self._die()
        self._trace.trouble(self.name, "exits")
        self._trace.state(self)

    def end(self) -> None:
        """The process ends itself in order: a broker that has left the cluster."""
        self.exit()
        self.when_ended(self)

    def fail(self, why: str) -> None:
        """The disk can no longer be trusted, so the process ends at once; what was not flushed is gone."""
        self._marks[f"ends: {why}"] += 1
        self._trace.trouble(self.name, f"ends: {why}")
        self.crash()
        self.when_ended(self)

    def rot(self, rng: random.Random, *, misdirected: bool) -> bool:
        """Damages the log; what was on it before counts on, for its owner had said so."""
        before = self.disk.copy()
        damaged = self.disk.log.rot(rng, misdirected=misdirected)
        if damaged:
            self._laws.on_disk_lost(self.key, before)
        return damaged

    def _die(self) -> None:
        self.life += 1
        self.up = False
        self.paused = False
        self.network.died(self)

    def pause(self) -> None:
        self.paused = True
        self._trace.trouble(self.name, "is paused")
        self._trace.state(self)

    def resume(self) -> None:
        """The process goes on where it stood: timers have run out, and the inbox is full."""
        if not self.up or not self.paused:
            return
        self.paused = False
        self._trace.trouble(self.name, f"goes on, {len(self.inbox)} events wait")
        self._trace.state(self)
        life = self.life
        while self.inbox and self.up and self.life == life and not self.paused:
            self._take(self.inbox.popleft())
        if self.up and self.life == life:
            self.handle(TimePassed())

    # ---- stepping --------------------------------------------------------------------------------------

    def deliver(self, event: Event | Act) -> None:
        if not self.up:
            return
        if self.paused:
            self.inbox.append(event)
        else:
            self._take(event)

    def act(self, action: Callable[[], None], what: str) -> None:
        """Has the state machine do something, when it can."""
        self.deliver(Act(action, what))

    def serve(self, request: Any, reply: Callable[[Any], None]) -> None:
        self.machine.serve(request, reply)

    def resign(self, epoch: Epoch, why: str) -> None:
        self._schedule.after(0, lambda: self.deliver(ResignRequested(epoch, why)))

    def confirm_read(self, tell: Callable[[bool], None]) -> None:
        """As `RaftNode.confirm_read`."""
        self._last_read_id += 1
        read_id = ReadId(self._last_read_id)
        self._reads[read_id] = tell
        life = self.life

        def ask() -> None:
            if self.life == life:
                self.deliver(ReadRequested(read_id))

        self._schedule.after(0, ask)

    def answer_read(self, answer: ReadAnswer) -> None:
        tell = self._reads.pop(answer.read_id)
        if answer.index is None:
            self._marks["read by a leader that is none"] += 1
            tell(False)
        elif answer.index <= self.machine.applied:
            self._marks["read confirmed"] += 1
            tell(True)
        else:
            self._confirmed.append((answer.index, tell))

    def _answer_confirmed(self) -> None:
        ready = [tell for index, tell in self._confirmed if index <= self.machine.applied]
        self._confirmed = [(index, tell) for index, tell in self._confirmed if index > self.machine.applied]
        for tell in ready:
            self._marks["read confirmed"] += 1
            tell(True)

    def _take(self, event: Event | Act) -> None:
        if not isinstance(event, Act):
            self.handle(event)
            return
        if not self._catch_up():
            return
        self._trace.act(self.name, event.what)
        event.action()
        if self.up:
            self._turn_soon()

    def handle(self, event: Event) -> bool:
        """Steps the core and carries out its effects; False if the core refused a proposal, or the power was cut."""
        if not self._catch_up() or not self._step(event):
            return False
        self._laws.on_disk(self)
        if not self.machine.eager:
            self._turn_soon()
        if not self.up:
            return False
        self._set_timer()
        if self.core.shutdown_complete:
            self.exit()
        return True

    def _step(self, event: Event) -> bool:
        following: Event | None = event
        while following is not None:
            self._trace.event(self.name, following)
            try:
                effects = self.core.step(following, self.clock_ms)
            except RequestRejected:
                check(self.machine.eager, f"{self.name}: the controller proposes and its node does not lead")
                return False
            self._check(effects)
            doomed = self.doom is not None and self.doom.when(effects)
            if doomed and self.doom is not None:
                self._fuse = self.doom.effects
            try:
                following = carry_out(effects, self)
                if doomed:
                    raise PowerCut
            except PowerCut:
                self._marks["crash between two effects"] += 1
                self.crash()
                self.when_cut(self)
                return False
            except StorageFailed as problem:
                self.fail(str(problem))
                return False
            self._trace.state(self)
        return True

    # ---- the state machine's turns -----------------------------------------------------------------------

    def _turn_soon(self) -> None:
        """Now, or a little later, together with what comes until then."""
        if self._turn_planned:
            return
        if self._rng.random() < self._options.laziness:
            self._plan_turn(self._rng.choice([0, 0, 1, 3, 20]))
        else:
            self._turn()

    def _catch_up(self) -> bool:
        """What came in one moment may share a turn; what comes later meets a node that has had it. False: it died."""
        life = self.life
        if self._turn_planned and self._schedule.now_ms > self._planned_at_ms:
            self._turn()
        return self.life == life

    def _plan_turn(self, delay_ms: int) -> None:
        self._turn_planned = True
        self._planned_at_ms = self._schedule.now_ms
        life = self.life

        def turn() -> None:
            if self.life == life and self._turn_planned:
                self._turn_planned = False
                if not self.paused:
                    self._trace.act(self.name, TURN)
                    self._turn()

        self._schedule.after(delay_ms, turn)

    def _turn(self) -> None:
        """As `RaftNode._turn`."""
        self._turn_planned = False
        life = self.life
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self.clock_ms and not self._step(TimePassed()):
            return
        self._apply()
        if self._confirmed:
            self._answer_confirmed()
        self._tell_leader()
        if self.life != life:
            return
        batches = self.machine.propose(self.core.log.end.offset, self.clock_ms)
        if self.life != life:
            return
        if batches:
            self._marks["batch proposed"] += 1
            if not self._step(Proposed(batches[0].epoch, tuple(batches))):
                return
            self._laws.on_disk(self)
            if self._committed is not None and self.machine.applied < self._committed:
                self._plan_turn(0)
        self._set_timer()

    def _apply(self) -> None:
        """Shows the state machine what was committed."""
        target = self._committed
        if target is None:
            return
        log = self.disk.log
        if self.machine.applied < log.start:
            newest = self.core.log.newest_snapshot
            check(newest is not None, "the log starts behind what was applied, and there is no snapshot")
            if newest is not None:
                self._claimed = None
                self.machine.load(newest, iter(log.snapshot_records(newest)))
        if self.machine.applied < target:
            self.machine.committed(log.read(self.machine.applied, target, 1 << 30), target)
        self._laws.on_applied(self, target)
        self.when_committed(self)

    def _tell_leader(self) -> None:
        leader = self.core.leader_and_epoch
        if leader != self._leader_told:
            if (leader.epoch, leader.leader_id) != (self._leader_told.epoch, self._leader_told.leader_id):
                self._claimed = None
            self._leader_told = leader
            self.machine.leader_changed(leader)
        role = self.core.role
        if (
            isinstance(role, Leader)
            and self._claimed is None
            and role.high_watermark_known
            and self.machine.applied == self._committed
        ):
            self._claimed = self.core.election.epoch
            self._marks["controller becomes active"] += 1
            self.machine.claimed(self._claimed, self.core.log.end.offset)

    def _check(self, effects: Effects) -> None:
        check_state(self.core)
        now = summarize(self.core)
        if self._summary is not None:
            check_step(self._summary, now)
        self._laws.on_step(self, self._summary, now, effects)
        self._summary = now

    def _set_timer(self) -> None:
        deadline = self.core.next_deadline()
        now = self.clock_ms
        check(
            deadline is None or deadline > now,
            f"{self.name} wants to be stepped again at once: it would spin",
        )
        wanted = self.machine.next_deadline()
        if wanted is not None and wanted <= now:
            wanted = None
            if not self._turn_planned:
                self._count_turns()
                self._plan_turn(0)
        if wanted is not None and (deadline is None or wanted < deadline):
            deadline = wanted
        if deadline is None:
            return
        due = self._when(deadline)
        if self._timer_at is None or due < self._timer_at or self._timer_at <= self._schedule.now_ms:
            self._timer_at = due
            life = self.life
            self._schedule.at(due, lambda: self._timer(life, due))

    def _count_turns(self) -> None:
        at, count = self._turns_at_once
        now = self._schedule.now_ms
        self._turns_at_once = (now, count + 1 if at == now else 1)
        check(count < MOST_TURNS_AT_ONCE, f"the state machine of {self.name} wants turn after turn: it spins")

    def _timer(self, life: int, due: int) -> None:
        if self.life != life or self._timer_at != due:
            return
        self._timer_at = None
        if self.paused:
            return  # `resume` looks at the time anyhow
        wanted = self.core.next_deadline()
        if wanted is not None and wanted <= self.clock_ms:
            self.handle(TimePassed())
        elif self.machine.eager:
            self._set_timer()
        else:
            self._trace.act(self.name, TURN)
            self._turn()

    # ---- carry_out.World -------------------------------------------------------------------------------

    @property
    def log(self) -> SimLog:
        self._burn()
        return self.disk.log

    def write_election(self, election: ElectionState) -> None:
        self._burn()
        self.disk.election = election
        if election.leader_id == self.id:
            self._laws.on_claim(self, election.epoch)

    def wait_for_flush(self) -> None:
        if self._flush is not None and not self._flush_on_disk:
            self.disk.log.flush_to(self._flush[1])
            self._flush_on_disk = True

    def send_request(self, request: SendRequest) -> None:
        self._burn()
        self.network.request(self, request)

    def send_response(self, token: Token, response: Response) -> None:
        self._burn()
        self._laws.on_response(self, token, response)
        self.network.respond(token, response)

    def reject_cluster_id(self, token: Token) -> None:
        self.network.respond(token, None)

    def superseded(self, recovery_id: uuid.UUID) -> None:
        check(False, f"no quorum is recovered here, but {self.name} speaks of recovery {recovery_id}")

    def start_flush(self, flush: Flush) -> None:
        self._burn()
        check(self._flush is None, "a flush was asked for while another one runs")
        end = self.disk.log.summary().end.offset
        self._flush = (flush, end)
        self._flush_on_disk = False
        life = self.life
        delay = self._rng.randint(*self.flush_ms)
        if self.bad_disk and self._options.fsync_stalls and self._rng.random() < self._options.fsync_stalls:
            delay = self._rng.randint(*STALL_MS)
            self._marks["fsync stalls"] += 1
            self._trace.trouble(self.name, f"its disk stalls for {delay} ms")
        self._schedule.after(delay, lambda: self._flushed(life))

    def _flushed(self, life: int) -> None:
        if self.life != life or self._flush is None:
            return
        flush, end = self._flush
        fails = self._options.fsync_fails
        if fails and self.bad_disk and not self._flush_on_disk and self._rng.random() < fails:
            self.fsync_failed(flush)
            return
        if not self._flush_on_disk:
            self.disk.log.flush_to(end)
            self._flush_on_disk = True
            self._trace.state(self)
        delay = self._rng.randint(*self._options.flush_notice_ms)
        self._schedule.after(delay, lambda: self._flush_noticed(life, flush))

    def fsync_failed(self, flush: Flush) -> None:
        """The pages are marked clean and are not on the disk: asking again would say that all is well."""
        self.fail("fsync failed")

    def _flush_noticed(self, life: int, flush: Flush) -> None:
        if self.life == life:
            self._flush = None
            self.deliver(LogFlushed(flush.end_offset, flush.generation))

    def committed(self, high_watermark: Offset) -> None:
        self._burn()
        self._committed = high_watermark
        first = max(self._vouched_for, self.disk.log.start)
        if first < high_watermark:
            self._laws.on_committed(self, self.disk.log.read(first, high_watermark, 1 << 30))
            self._vouched_for = high_watermark
        if self.machine.eager:
            self._apply()

    def note(self, text: str) -> None:
        self._trace.line(self.name, text)

    def _burn(self) -> None:
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise PowerCut
