"""A RaftNode over the real core and log; the test plays the clock, the disk, the peers and the state machine."""

import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

import attrs
import trio
import trio.testing

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import nothing_more
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.node import RaftNode, SnapshotSource, snapshot_batches
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import ResponseReceived
from quorate.metadata.quorum.messages import (
    FetchRequest,
    LeaderAndEpoch,
    Response,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.snapshots import SnapshotSchedule
from quorate.metadata.records import AnyRecord, ConfigRecord, KRaftVersionRecord, NoOpRecord, VotersRecord
from tests.metadata.log.building import point
from tests.metadata.log.building import voters as members_of
from tests.paper.bench import KEYS, endpoint

Clock = trio.testing.MockClock
Asked = TypeVar("Asked")

ME: Final = 1
LONGEST_S: Final = 20
"""Of real time, for what threads do."""


class Disk(MemoryLog):
    """A log whose flushes can be held, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.flush_error: Exception | None = None
        self.append_error: Exception | None = None
        self._may_end = threading.Event()
        self._may_end.set()

    def hold(self) -> None:
        self._may_end.clear()

    def let_go(self) -> None:
        self._may_end.set()

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        if self.append_error is not None:
            raise self.append_error
        super().append(batches, flushed_to)

    def flush(self, durable: Callable[[], None] = nothing_more) -> None:
        end = self.end_offset
        self.flushes += 1
        assert self._may_end.wait(LONGEST_S)
        if self.flush_error is not None:
            raise self.flush_error
        self.flush_to(end)
        durable()


class Elections:
    """The quorum-state file."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.written: list[ElectionState] = []

    def write(self, election: ElectionState) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(election)


class Peers:
    """The transport: what was sent lies there."""

    def __init__(self) -> None:
        self.sent: list[SendRequest] = []

    def send(self, request: SendRequest) -> None:
        self.sent.append(request)


class Machine:
    """Writes down what it is told, and proposes what the test queues."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.news = trio.Event()
        """Set at whatever it is told; the test puts a new one in its place."""
        self.queue: list[AnyRecord] = []
        self.leads: Epoch | None = None
        self.deadline: int | None = None
        self.turns = 0
        self.when_shown: Callable[[Sequence[RecordBatch]], None] = lambda batches: None
        self.source: SnapshotSource | None = None
        self.load_slices = 0
        self.when_loading: Callable[[], None] = lambda: None

    def on_committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        self._hear(f"committed {batches[0].base_offset}..{batches[-1].end_offset}")
        self.when_shown(batches)

    def load_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[RecordBatch]) -> Iterator[None]:
        assert sum(1 for _ in batches) > 0
        for _ in range(self.load_slices):
            self.when_loading()
            yield
        self._hear(f"loaded {snapshot_id}")

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        self.leads = None
        self._hear(f"leader {leader}")

    def on_claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        self.leads = epoch
        self._hear(f"claimed epoch {epoch} at {next_offset}")

    def _hear(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        self.turns += 1
        if self.deadline is not None and self.deadline <= now_ms:
            self.deadline = None
        if self.leads is None or not self.queue:
            return ()
        records, self.queue = self.queue, []
        return (RecordBatch.seal(records, base_offset=log_end, epoch=self.leads, append_time_ms=now_ms),)

    def next_deadline(self) -> int | None:
        return self.deadline

    def snapshot_source(self) -> SnapshotSource | None:
        return self.source


@contextmanager
def in_real_time(seconds: float = LONGEST_S) -> Iterator[None]:
    """A limit for what a thread does while the test's clock stands still."""
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:
        timer = threading.Timer(seconds, token.run_sync_soon, [scope.cancel])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
    assert not scope.cancelled_caught, "it did not happen"


@attrs.define
class Bench:
    """A node and all that it touches."""

    clock: Clock
    node: RaftNode
    log: Disk
    elections: Elections
    peers: Peers
    machine: Machine
    fault: BaseException | None = None
    """What ended `run`, if anything did."""
    ended: trio.Event = attrs.Factory(trio.Event)

    async def hears(self, what: str) -> None:
        """Until the state machine has been told this; the flush thread may have its time for it."""
        await self._hears(lambda told: told == what)

    async def hears_of_all_below(self, end: int) -> None:
        """Until it was shown so much as committed, in whatever pieces the disk's pace makes of it."""
        await self._hears(lambda told: told.startswith("committed") and told.endswith(f"..{end}"))

    async def _hears(self, is_it: Callable[[str], bool]) -> None:
        with in_real_time():
            while not any(map(is_it, self.machine.told)):
                self.machine.news = trio.Event()
                await self.machine.news.wait()
            await trio.testing.wait_all_tasks_blocked()

    def write(self, name: str) -> None:
        """As a client's request that arrives."""
        self.machine.queue.append(ConfigRecord(resource_type=2, resource_name=name, name="n", value="v"))
        self.node.wake()

    async def pass_ms(self, ms: int) -> None:
        self.clock.jump(ms / 1000)
        await trio.testing.wait_all_tasks_blocked()

    async def passes_until(self, holds: Callable[[], bool]) -> None:
        """Time passes, and nothing else happens, until it is so."""
        with in_real_time():
            while not holds():
                await self.pass_ms(10)

    async def asks_for_votes(self) -> list[tuple[SendRequest, VoteRequest]]:
        """Its next requests; nothing else lies there then."""
        await self.passes_until(lambda: bool(self.asked(VoteRequest)))
        asked = self.asked(VoteRequest)
        self.peers.sent.clear()
        return asked

    async def until_leader(self) -> None:
        """A voter that is alone elects itself as soon as its chance delay is over."""
        await self.passes_until(lambda: self.node.core.leads)
        await self.hears(f"claimed epoch {self.epoch} at {self.log.end_offset}")

    async def be_elected(self) -> None:
        """By voter 2, of three: first the pre-vote, then the vote."""
        for _ in range(2):
            asked = await self.asks_for_votes()
            answer = VoteResponse(leader=LeaderAndEpoch(asked[0][1].epoch), granted=True)
            self.answer(asked[0][0], answer)
        assert self.node.core.leads

    async def is_fetched_from(self) -> None:
        """Voter 2 has on its disk what we have."""
        await trio.testing.wait_all_tasks_blocked()
        end = self.log.summary().end
        request = FetchRequest(
            replica=KEYS[2],
            epoch=self.epoch,
            offset=end.offset,
            last_fetched_epoch=end.epoch,
            max_wait_ms=0,
            max_bytes=1_000_000,
        )
        self.node.receive(request, "c", lambda response: None)
        await trio.testing.wait_all_tasks_blocked()

    @property
    def epoch(self) -> Epoch:
        return self.node.core.election.epoch

    def asked(self, kind: type[Asked]) -> list[tuple[SendRequest, Asked]]:
        return [(one, one.request) for one in self.peers.sent if isinstance(one.request, kind)]

    def answer(self, asked: SendRequest, response: Response) -> None:
        self.node.submit(ResponseReceived(asked.correlation, response))

    async def died_of(self) -> BaseException:
        with in_real_time():
            await self.ended.wait()
        fault = self.fault
        while isinstance(fault, BaseExceptionGroup):
            (fault,) = fault.exceptions
        assert fault is not None
        return fault

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await self.node.run(task_status=task_status)
        except Exception as problem:  # noqa: BLE001  the test asks for it
            self.fault = problem
        self.ended.set()


def core_over(log: Disk) -> RaftCore:
    summary = log.summary()
    config = QuorumConfig(replica=KEYS[ME], cluster_id="c")
    return RaftCore(config, ElectionState(summary.end.epoch), summary, random.Random(1))


@asynccontextmanager
async def running(
    clock: Clock,
    *,
    voters: tuple[int, ...] = (ME,),
    written: Sequence[RecordBatch] = (),
    snapshot_id: OffsetAndEpoch | None = None,
    prepare: Callable[[Bench], None] = lambda bench: None,
    snapshot_bytes: int = 1 << 40,
    floor_bytes: int = 0,
) -> AsyncIterator[Bench]:
    """Node 1 of these voters, over a log with these batches, already durable."""
    log, elections, peers, machine = Disk(), Elections(), Peers(), Machine()
    members = members_of(*voters)
    keyed = tuple(
        attrs.evolve(
            one, voter_directory_id=KEYS[one.voter_id].directory_id, endpoints=(endpoint(one.voter_id),)
        )
        for one in members.voters
    )
    log.format(KRaftVersionRecord(k_raft_version=1), VotersRecord(voters=keyed))
    log.append(written, Offset(0))
    log.flush_to(log.end_offset)
    core = core_over(log)
    if snapshot_id is not None:
        writer = log.new_snapshot(snapshot_id)
        for one in snapshot_batches(core, SnapshotSource(snapshot_id, 0, iter([NoOpRecord()]))):
            writer.append(one)
        writer.finish()
        core = core_over(log)
    node = RaftNode(
        core=core,
        log=log,
        elections=elections,
        transport=peers,
        machine=machine,
        schedule=SnapshotSchedule(snapshot_bytes, 0),
        free_space_floor_bytes=floor_bytes,
    )
    bench = Bench(clock, node, log, elections, peers, machine)
    prepare(bench)
    async with trio.open_nursery() as nursery:
        await nursery.start(bench._run)
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield bench
        finally:
            log.let_go()
            nursery.cancel_scope.cancel()


def records_of(log: MemoryLog, start: int) -> list[list[str]]:
    """By batch: what the records from there on are about."""
    batches = log.read(Offset(start), log.end_offset, 1 << 30) if start < log.end_offset else []
    return [
        [one.resource_name for one in each.records() if isinstance(one, ConfigRecord)] for each in batches
    ]


def vote_request(candidate: int, *, epoch: int) -> VoteRequest:
    """A pre-vote: whoever is asked answers at once and changes nothing."""
    return VoteRequest(
        epoch=Epoch(epoch), candidate=KEYS[candidate], voter=KEYS[ME], last=point(1_000, epoch), pre_vote=True
    )
