"""The shell around one core: what it makes of events, of disks that are slow or fail, of much to do."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pytest
import trio
import trio.testing

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.node import SnapshotSource, now_ms
from quorate.metadata.poller import Poller
from quorate.metadata.quorum.events import SpaceChanged
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    LeaderAndEpoch,
    Response,
    VoteResponse,
)
from quorate.metadata.records import AnyRecord, ConfigRecord, NoOpRecord
from tests.metadata.log.building import point, row
from tests.metadata.node_bench import ME, Bench, Clock, in_real_time, records_of, running, vote_request
from tests.paper.bench import KEYS, endpoint

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
        await bench.hears_of_all_below(base + 3)

        assert records_of(bench.log, base) == [["a"], ["b", "c"]]


# --- lingering ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="nobody lingers elsewhere")
async def test_it_lingers_over_its_sockets_while_it_rests_and_not_while_a_flush_runs(
    mock_clock: Clock,
) -> None:
    poller = Poller.of_this_run()
    assert poller is not None
    async with running(mock_clock) as bench:
        await bench.until_leader()
        base = bench.log.end_offset
        bench.write("a")
        await bench.hears(f"committed {base}..{base + 1}")
        bench.write("b")
        assert poller.lingers

        bench.log.hold()
        bench.write("c")
        assert not poller.lingers  # the end of that flush is told by a thread, not by a socket
        bench.log.let_go()
        await bench.hears(f"committed {base + 2}..{base + 3}")


# --- the end --------------------------------------------------------------------------------------------


async def test_a_vote_that_cannot_be_written_is_not_sent_and_ends_the_node(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        asked = await bench.asks_for_votes()
        bench.elections.error = StorageFailed("the disk says no")
        bench.answer(
            asked[0][0], VoteResponse(leader=LeaderAndEpoch(Epoch(0)), granted=True)
        )  # does not raise

        assert isinstance(await bench.died_of(), StorageFailed)
        assert bench.peers.sent == []


async def test_after_an_effect_that_failed_nothing_is_said_any_more(mock_clock: Clock) -> None:
    async with running(mock_clock, voters=(1, 2, 3)) as bench:
        asked = await bench.asks_for_votes()
        written = list(bench.elections.written)
        bench.elections.error = StorageFailed("the disk says no")
        granted = VoteResponse(leader=LeaderAndEpoch(Epoch(0)), granted=True)
        bench.answer(asked[0][0], granted)
        bench.elections.error = None
        replies: list[Response | None] = []
        bench.node.receive(vote_request(2, epoch=9), "c", replies.append)
        bench.answer(asked[1][0], granted)
        await bench.died_of()

        assert (replies, bench.peers.sent) == ([], [])
        assert bench.elections.written == written


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


async def test_a_node_that_was_cancelled_takes_no_turn_any_more(mock_clock: Clock) -> None:
    """Connections end after it, and may still bring something; the thread that flushes has ended."""
    async with running(mock_clock) as bench:
        await bench.until_leader()
    bench.node.submit(SpaceChanged(low=True))

    assert not bench.node.core.disk_low


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
