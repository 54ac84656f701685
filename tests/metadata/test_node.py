"""The shell around one core: what it makes of events, disks that are slow or fail, and a state machine with much to do.

The core and the log are the real ones; the test plays the disk's end of a flush, the peers and the state machine.
"""

import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

import attrs
import trio
import trio.testing

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.node import RaftNode, SnapshotSource, now_ms, snapshot_batches
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import SendRequest
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import ResponseReceived
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    LeaderAndEpoch,
    Response,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.snapshots import SnapshotSchedule
from quorate.metadata.records import AnyRecord, ConfigRecord, KRaftVersionRecord, NoOpRecord, VotersRecord
from tests.metadata.log.building import point, row
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

    def flush(self) -> None:
        end = self.end_offset
        self.flushes += 1
        assert self._may_end.wait(LONGEST_S)
        if self.flush_error is not None:
            raise self.flush_error
        self.flush_to(end)


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
        with in_real_time():
            while what not in self.machine.told:
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

    async def until_leader(self) -> None:
        """A voter that is alone elects itself as soon as its chance delay is over."""
        await self.passes_until(lambda: self.node.core.leads)
        await self.hears(f"claimed epoch {self.epoch} at {self.log.end_offset}")

    async def be_elected(self) -> None:
        """By voter 2, of three: first the pre-vote, then the vote."""
        for _ in range(2):
            await self.passes_until(lambda: bool(self.asked(VoteRequest)))
            asked = self.asked(VoteRequest)
            self.peers.sent.clear()
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


# --- gathering ------------------------------------------------------------------------------------------


async def test_what_arrives_together_is_one_batch_and_one_flush(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        base, flushes = bench.log.end_offset, bench.log.flushes
        for name in ("a", "b", "c"):
            bench.write(name)
        await bench.hears(f"committed {base}..{base + 3}")

        assert records_of(bench.log, base) == [["a", "b", "c"]]
        assert bench.log.flushes == flushes + 1


async def test_what_arrives_while_a_flush_runs_goes_into_one_flush_after_it(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        base, flushes = bench.log.end_offset, bench.log.flushes
        bench.log.hold()
        for names in (("a",), ("b", "c"), ("d",)):
            for name in names:
                bench.write(name)
            await trio.testing.wait_all_tasks_blocked()
        assert bench.log.end_offset == base + 4  # written all the same
        assert not any(told.startswith(f"committed {base}") for told in bench.machine.told)

        bench.log.let_go()
        await bench.hears(f"committed {base + 1}..{base + 4}")

        assert records_of(bench.log, base) == [["a"], ["b", "c"], ["d"]]
        assert bench.log.flushes == flushes + 2


async def test_a_write_that_is_alone_waits_for_nothing(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        base = bench.log.end_offset
        bench.write("a")
        await bench.hears(f"committed {base}..{base + 1}")

        bench.write("b")
        assert bench.log.end_offset == base + 2  # before any other task had a turn


async def test_two_that_follow_one_alone_are_not_torn_apart_while_it_is_not_committed(
    mock_clock: Clock,
) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        base = bench.log.end_offset
        bench.write("a")
        await bench.hears(f"committed {base}..{base + 1}")
        bench.log.hold()
        bench.write("b")
        for name in ("c", "d"):
            bench.write(name)
        bench.log.let_go()
        await bench.hears(f"committed {base + 2}..{base + 4}")

        assert records_of(bench.log, base) == [["a"], ["b"], ["c", "d"]]


async def test_while_the_others_have_not_what_was_alone_the_next_ones_are_gathered(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.be_elected()
        await bench.is_fetched_from()
        await bench.hears(f"claimed epoch {bench.epoch} at {bench.log.end_offset}")
        base = bench.log.end_offset
        bench.write("a")
        await trio.testing.wait_all_tasks_blocked()
        for name in ("b", "c"):
            bench.write(name)
        await bench.is_fetched_from()
        await bench.hears(f"committed {base}..{base + 3}")

        assert records_of(bench.log, base) == [["a"], ["b", "c"]]


# --- the end --------------------------------------------------------------------------------------------


async def test_a_vote_that_cannot_be_written_is_not_sent_and_ends_the_node(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.passes_until(lambda: bool(bench.asked(VoteRequest)))
        asked = bench.asked(VoteRequest)
        bench.peers.sent.clear()
        bench.elections.error = StorageFailed("the disk says no")
        bench.answer(
            asked[0][0], VoteResponse(leader=LeaderAndEpoch(Epoch(0)), granted=True)
        )  # does not raise

        assert isinstance(await bench.died_of(), StorageFailed)
        assert bench.peers.sent == []


async def test_after_an_effect_that_failed_nothing_is_said_any_more(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.passes_until(lambda: bool(bench.asked(VoteRequest)))
        asked = bench.asked(VoteRequest)
        bench.peers.sent.clear()
        bench.elections.error = StorageFailed("the disk says no")
        granted = VoteResponse(leader=LeaderAndEpoch(Epoch(0)), granted=True)
        bench.answer(asked[0][0], granted)
        bench.elections.error = None
        replies: list[Response | None] = []
        bench.node.receive(vote_request(2, epoch=9), "c", replies.append)
        bench.answer(asked[1][0], granted)
        await bench.died_of()

        assert (replies, bench.peers.sent) == ([], [])
        assert bench.elections.written == []


async def test_what_cannot_be_appended_ends_the_node(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        told = list(bench.machine.told)
        bench.log.append_error = StorageFailed("no room")
        bench.write("a")

        assert isinstance(await bench.died_of(), StorageFailed)
        assert bench.machine.told == told


async def test_a_flush_that_fails_ends_the_node_and_nothing_is_acknowledged(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        told = list(bench.machine.told)
        bench.log.hold()
        bench.write("a")
        bench.write("b")
        await trio.testing.wait_all_tasks_blocked()
        bench.log.flush_error = StorageFailed("EIO")
        bench.log.let_go()

        assert str(await bench.died_of()) == "EIO"
        assert bench.machine.told == told


async def test_stopped_it_ends_by_itself(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        bench.node.stop()
        with in_real_time():
            await bench.ended.wait()

        assert bench.fault is None


# --- applying -------------------------------------------------------------------------------------------


def large_batch(base: int) -> RecordBatch:
    """So large that two of them are no single read."""
    records = [ConfigRecord(resource_type=2, resource_name="t", name="n", value="v" * 30_000)] * 20
    return RecordBatch.seal(records, base_offset=Offset(base), epoch=Epoch(1), append_time_ms=0)


LONG_LOG: Final = [large_batch(base) for base in range(0, 80, 20)]


def slow_to_apply(bench: Bench) -> None:
    """Each batch takes longer than a slice."""
    bench.machine.when_shown = lambda batches: bench.clock.jump(0.03)


async def test_it_is_told_that_it_leads_when_it_has_seen_all_that_is_committed(mock_clock: Clock) -> None:
    async with running(mock_clock, written=LONG_LOG, prepare=slow_to_apply) as bench:
        await bench.until_leader()

        assert bench.machine.told[-5:] == [
            "committed 0..20",
            "committed 20..40",
            "committed 40..60",
            f"committed 60..{bench.log.end_offset}",
            f"claimed epoch 2 at {bench.log.end_offset}",
        ]


async def test_a_request_is_answered_while_much_is_applied(mock_clock: Clock) -> None:
    answered_after: list[str] = []

    def ask_early(bench: Bench) -> None:
        def shown(batches: Sequence[RecordBatch]) -> None:
            bench.clock.jump(0.03)
            if batches[0].base_offset == 0:
                bench.node.receive(
                    vote_request(2, epoch=1), "c", lambda _: answered_after.extend(bench.machine.told)
                )

        bench.machine.when_shown = shown

    async with running(mock_clock, written=LONG_LOG, prepare=ask_early) as bench:
        await bench.until_leader()

    assert "committed 0..20" in answered_after
    assert "committed 20..40" not in answered_after


async def test_a_snapshot_is_loaded_before_what_follows_it(mock_clock: Clock) -> None:

    def slow_to_load(bench: Bench) -> None:
        bench.machine.load_slices = 3
        bench.machine.when_loading = lambda: bench.clock.jump(0.03)

    async with running(mock_clock, written=row(4), snapshot_id=point(4, 1), prepare=slow_to_load) as bench:
        await bench.until_leader()

        told = [one for one in bench.machine.told if not one.startswith("leader")]
        assert told == [
            "loaded 4@1",
            f"committed 4..{bench.log.end_offset}",
            f"claimed epoch 2 at {bench.log.end_offset}",
        ]


async def test_a_snapshot_that_takes_long_to_load_holds_nobody_up(mock_clock: Clock) -> None:
    answered: list[Response | None] = []

    def asked_while_loading(bench: Bench) -> None:
        bench.machine.load_slices = 3

        def loading() -> None:
            bench.clock.jump(0.03)
            bench.machine.told.append(f"{len(answered)} answered")
            bench.node.receive(vote_request(2, epoch=1), "c", answered.append)

        bench.machine.when_loading = loading

    async with running(
        mock_clock, written=row(4), snapshot_id=point(4, 1), prepare=asked_while_loading
    ) as bench:
        await bench.hears("loaded 4@1")
        told = [one for one in bench.machine.told if not one.startswith("leader")]
        assert told[:4] == ["0 answered", "1 answered", "2 answered", "loaded 4@1"]


# --- reads ----------------------------------------------------------------------------------------------


async def test_who_does_not_lead_confirms_no_read(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        told: list[bool] = []
        bench.node.confirm_read(told.append)
        await trio.testing.wait_all_tasks_blocked()

        assert told == [False]


async def test_a_read_is_confirmed_when_all_is_applied_that_was_committed_before_it(
    mock_clock: Clock,
) -> None:
    confirmed_after: list[list[str]] = []

    def read_early(bench: Bench) -> None:
        def shown(batches: Sequence[RecordBatch]) -> None:
            bench.clock.jump(0.03)
            if batches[0].base_offset == 0:
                bench.node.confirm_read(
                    lambda leads: confirmed_after.append([str(leads), bench.machine.told[-1]])
                )

        bench.machine.when_shown = shown

    async with running(mock_clock, written=LONG_LOG, prepare=read_early) as bench:
        await bench.until_leader()

        assert confirmed_after == [["True", f"committed 60..{bench.log.end_offset}"]]


async def test_a_read_is_refused_when_leadership_ends_before_a_majority_confirmed_it(
    mock_clock: Clock,
) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.be_elected()
        told: list[bool] = []
        bench.node.confirm_read(told.append)
        await trio.testing.wait_all_tasks_blocked()
        assert told == []  # nobody has said yet that it still leads

        bench.node.resign(bench.epoch, "the test says so")
        await trio.testing.wait_all_tasks_blocked()
        assert told == [False]


# --- leaving --------------------------------------------------------------------------------------------


async def test_a_leader_hands_over_and_goes_on_following(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.be_elected()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.node.hand_over)
            await trio.testing.wait_all_tasks_blocked()
            assert {one.peer.id for one, _ in bench.asked(EndQuorumEpochRequest)} == {2, 3}
            assert nursery.child_tasks  # the others have not answered

            successor = LeaderAndEpoch(Epoch(bench.epoch + 1), NodeId(2), endpoint(2))
            replies: list[Response | None] = []
            begin = BeginQuorumEpochRequest(
                epoch=successor.epoch,
                leader_id=NodeId(2),
                voter=KEYS[ME],
                endpoints=(endpoint(2),),
            )
            bench.node.receive(begin, "c", replies.append)
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
        assert (len(replies), bench.node.leader.leader_id) == (1, 2)
        assert bench.machine.told[-1] == f"leader {successor}"
        assert not bench.ended.is_set()


async def test_handing_over_to_nobody_ends_in_time(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        await bench.be_elected()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.node.hand_over)
            await trio.testing.wait_all_tasks_blocked()
            while nursery.child_tasks:
                await bench.pass_ms(50)

        longest_ms = 2 * bench.node.core.config.election_timeout_ms
        assert (trio.current_time() - began) * 1000 <= longest_ms + 100


async def test_a_voter_that_is_alone_hands_over_at_once(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        with in_real_time():
            await bench.node.hand_over()

        assert not bench.node.core.leads
        assert bench.node.claimed_epoch is None


# --- time -----------------------------------------------------------------------------------------------


async def test_it_wakes_for_the_state_machine_once_and_not_before(mock_clock: Clock) -> None:
    async with running(mock_clock, prepare=lambda bench: setattr(bench.machine, "deadline", 7)) as bench:
        before = bench.machine.turns
        await bench.pass_ms(6)
        assert (bench.machine.turns, bench.machine.deadline) == (before, 7)
        await bench.pass_ms(2)

        assert (bench.machine.turns, bench.machine.deadline) == (before + 1, None)


async def test_an_event_may_bring_the_next_deadline_nearer(mock_clock: Clock) -> None:
    async with running(mock_clock) as bench:
        await bench.until_leader()
        bench.machine.deadline = now_ms() + 60_000
        bench.node.confirm_read(lambda leads: None)  # taken while the node's task sleeps
        bench.machine.deadline = now_ms() + 40
        bench.node.confirm_read(lambda leads: None)
        await bench.pass_ms(41)

        assert bench.machine.deadline is None


# --- snapshots of our own -------------------------------------------------------------------------------


def snapshot_of(bench: Bench, end: int, *, records: Iterable[AnyRecord] = (NoOpRecord(),)) -> OffsetAndEpoch:
    """The state machine is ready to be written down as it was there."""
    snapshot_id = point(end, bench.epoch)
    bench.machine.source = SnapshotSource(snapshot_id, 0, iter(records))
    return snapshot_id


async def until_held(bench: Bench, snapshot_id: OffsetAndEpoch) -> int:
    """How many turns of others fit in until it is there; its last flush is a thread's."""
    reads: list[bool] = []
    with in_real_time():
        while snapshot_id not in bench.log.summary().snapshots:
            bench.node.confirm_read(reads.append)
            await bench.pass_ms(20)
    return len(reads)


async def test_a_snapshot_is_written_in_slices_and_rests_between_them(mock_clock: Clock) -> None:
    async with running(mock_clock, snapshot_bytes=1) as bench:
        await bench.until_leader()
        works_ms = 4 * 256

        def records() -> Iterator[AnyRecord]:
            for _ in range(works_ms):
                bench.clock.jump(0.001)
                yield NoOpRecord()

        snapshot_id = snapshot_of(bench, bench.log.end_offset, records=records())
        await bench.pass_ms(1_000)  # it had been asked before there was anything to write
        began = now_ms()
        turns = await until_held(bench, snapshot_id)

        assert now_ms() - began >= 5 * works_ms
        assert turns >= 4 * works_ms // 20


async def test_what_is_not_committed_and_flushed_goes_into_no_snapshot(mock_clock: Clock) -> None:
    async with running(mock_clock, snapshot_bytes=1) as bench:
        await bench.until_leader()
        bench.log.hold()
        bench.write("a")
        await trio.testing.wait_all_tasks_blocked()
        snapshot_id = snapshot_of(bench, bench.log.end_offset)
        for _ in range(5):
            await bench.pass_ms(1_000)
            bench.node.confirm_read(lambda leads: None)
        await trio.testing.wait_all_tasks_blocked()
        assert snapshot_id not in bench.log.summary().snapshots

        bench.log.let_go()
        await until_held(bench, snapshot_id)  # still wanted, and possible now


async def test_a_snapshot_that_cannot_be_written_leaves_nothing_and_ends_the_node(mock_clock: Clock) -> None:
    async with running(mock_clock, snapshot_bytes=1) as bench:
        await bench.until_leader()

        def records() -> Iterator[AnyRecord]:
            yield NoOpRecord()
            raise StorageFailed("no room for a snapshot")

        before = bench.log.summary().snapshots
        snapshot_of(bench, bench.log.end_offset, records=records())
        await bench.pass_ms(1_000)
        bench.node.confirm_read(lambda leads: None)

        assert isinstance(await bench.died_of(), StorageFailed)
        assert bench.log.summary().snapshots == before


# --- the rest -------------------------------------------------------------------------------------------


async def test_a_request_that_names_another_cluster_is_told_so(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        replies: list[Response | None] = []
        bench.node.receive(vote_request(2, epoch=1), "another", replies.append)
        bench.node.receive(vote_request(2, epoch=1), "c", replies.append)
        await trio.testing.wait_all_tasks_blocked()

        assert replies[0] is None
        assert isinstance(replies[1], VoteResponse)


async def test_a_disk_that_fills_is_noticed_and_counts_as_mended_only_with_room_to_spare(
    mock_clock: Clock,
) -> None:
    async with running(mock_clock, floor_bytes=100) as bench:
        seen = []
        for room in (99, 100, 124, 125, 100, 99):
            bench.log.room = room
            await bench.pass_ms(1_000)
            seen.append(bench.node.core.disk_low)

        assert seen == [True, True, True, False, False, True]


def vote_request(candidate: int, *, epoch: int) -> VoteRequest:
    """A pre-vote: whoever is asked answers at once and changes nothing."""
    return VoteRequest(
        epoch=Epoch(epoch), candidate=KEYS[candidate], voter=KEYS[ME], last=point(1_000, epoch), pre_vote=True
    )
