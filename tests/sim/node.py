"""A simulated process: a real core and the real `carry_out`, over a simulated disk and network."""

import random
from collections import Counter, deque
from collections.abc import Callable

import attrs

from quorate.metadata.carry_out import carry_out
from quorate.metadata.checks import RequestRejected, check
from quorate.metadata.ids import NodeId, Offset, ReplicaKey
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import Effects, Flush, SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Event,
    LogFlushed,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.invariants import Summary, check_state, check_step, summarize
from quorate.metadata.quorum.messages import Response
from tests.sim.disk import Disk, SimLog
from tests.sim.laws import Laws
from tests.sim.machine import Machine, Values
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
        values: Values,
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
        self.inbox: deque[Event] = deque()
        self.flush_ms = options.flush_ms
        self.doom: Doom | None = None
        """The step at which the power will be cut."""
        self.when_cut: Callable[[SimNode], None] = lambda node: None
        self.when_committed: Callable[[SimNode], None] = lambda node: None
        self._options, self._schedule, self.network = options, schedule, network
        self._laws, self._values, self._trace, self._marks, self._rng = laws, values, trace, marks, rng
        self._fuse: int | None = None
        """So many effects are still carried out. None: all."""
        self._flush: tuple[Flush, Offset] | None = None
        self._flush_on_disk = False
        """The bytes are safe, though the node has not heard of it."""
        self._timer_at: int | None = None
        self._summary: Summary | None = None

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
    def is_voter(self) -> bool:
        return self.key in self._laws.voters

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
        self.machine = Machine(self._values)
        newest = self.core.log.newest_snapshot
        if newest is not None:
            self.machine.load(newest, iter(log.snapshot_records(newest)))
        self._summary = None
        self.handle(Started())

    def crash(self) -> None:
        """kill -9 together with the power: what was not flushed may be gone."""
        if not self.up:
            return
        before = self.disk.log.summary().end.offset
        self._die()
        self.disk.log.crash(self._rng)
        lost = before - self.disk.log.summary().end.offset
        self._marks["crash that loses records" if lost else "crash"] += 1
        self._trace.line(self.name, f"crashes, {lost} unflushed records are lost")

    def exit(self) -> None:
        """An orderly end: the log is closed."""
        self.disk.log.flush()
        self._die()
        self._trace.line(self.name, "exits")

    def _die(self) -> None:
        self.life += 1
        self.up = False
        self.paused = False
        self.network.died(self)

    def pause(self) -> None:
        self.paused = True
        self._trace.line(self.name, "is paused")

    def resume(self) -> None:
        """The process goes on where it stood: timers have run out, and the inbox is full."""
        if not self.up or not self.paused:
            return
        self.paused = False
        self._trace.line(self.name, f"goes on, {len(self.inbox)} events wait")
        life = self.life
        while self.inbox and self.up and self.life == life and not self.paused:
            self.handle(self.inbox.popleft())
        if self.up and self.life == life:
            self.handle(TimePassed())

    # ---- stepping --------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        if not self.up:
            return
        if self.paused:
            self.inbox.append(event)
        else:
            self.handle(event)

    def handle(self, event: Event) -> bool:
        """Steps the core and carries out its effects; False if the core refused a proposal, or the power was cut."""
        following: Event | None = event
        while following is not None:
            self._trace.event(self.name, following)
            try:
                effects = self.core.step(following, self._schedule.now_ms)
            except RequestRejected:
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
        self._laws.on_disk(self)
        self._set_timer()
        if self.core.shutdown_complete:
            self.exit()
        return True

    def _check(self, effects: Effects) -> None:
        check_state(self.core)
        now = summarize(self.core)
        if self._summary is not None:
            check_step(self._summary, now)
        self._laws.on_step(self, self._summary, now, effects)
        self._summary = now

    def _set_timer(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is None:
            return
        now = self._schedule.now_ms
        check(deadline > now, f"{self.name} wants to be stepped again at once: it would spin")
        if self._timer_at is None or deadline < self._timer_at or self._timer_at <= now:
            self._timer_at = deadline
            life = self.life
            self._schedule.at(deadline, lambda: self._timer(life, deadline))

    def _timer(self, life: int, deadline: int) -> None:
        if self.life != life or self._timer_at != deadline:
            return
        self._timer_at = None
        if self.paused:
            return  # `resume` looks at the time anyhow
        wanted = self.core.next_deadline()
        if wanted is not None and wanted <= self._schedule.now_ms:
            self.handle(TimePassed())
        else:
            self._set_timer()

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

    def start_flush(self, flush: Flush) -> None:
        self._burn()
        check(self._flush is None, "a flush was asked for while another one runs")
        end = self.disk.log.summary().end.offset
        self._flush = (flush, end)
        self._flush_on_disk = False
        life = self.life
        delay = self._rng.randint(*self.flush_ms)
        self._schedule.after(delay, lambda: self._flushed(life))

    def _flushed(self, life: int) -> None:
        if self.life != life or self._flush is None:
            return
        flush, end = self._flush
        if not self._flush_on_disk:
            self.disk.log.flush_to(end)
            self._flush_on_disk = True
        delay = self._rng.randint(*self._options.flush_notice_ms)
        self._schedule.after(delay, lambda: self._flush_noticed(life, flush))

    def _flush_noticed(self, life: int, flush: Flush) -> None:
        if self.life == life:
            self._flush = None
            self.deliver(LogFlushed(flush.end_offset, flush.generation))

    def committed(self, high_watermark: Offset) -> None:
        self._burn()
        log = self.disk.log
        if self.machine.applied.offset < log.start:
            newest = self.core.log.newest_snapshot
            check(newest is not None, "the log starts behind what was applied, and there is no snapshot")
            if newest is not None:
                self.machine.load(newest, iter(log.snapshot_records(newest)))
        if self.machine.applied.offset < high_watermark:
            batches = log.read(self.machine.applied.offset, high_watermark, 1 << 30)
            self._laws.on_committed(self, batches)
            for batch in batches:
                self.machine.apply(batch)
        self._laws.on_applied(self, high_watermark)
        self.when_committed(self)

    def note(self, text: str) -> None:
        self._trace.line(self.name, text)

    def _burn(self) -> None:
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise PowerCut
