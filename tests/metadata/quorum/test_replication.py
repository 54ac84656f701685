"""Corners of fetching that simulated worlds found: each test is what is left of a seed."""

import attrs

from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.quorum.events import RetentionReached, SnapshotCreated, TimePassed
from quorate.metadata.quorum.messages import FetchResponse
from tests.paper.bench import LOG, Bench


def leader_with_a_late_start() -> Bench:
    """Epoch 3 up to 10, then epoch 4; two snapshots of epoch 4 made it forget everything below 12."""
    bench = Bench()
    bench.become_leader()
    bench.propose(1)
    bench.propose(1)
    bench.propose(1)
    bench.flushed()
    bench.fetch(2)
    for end in (12, 13):
        bench.step(SnapshotCreated(OffsetAndEpoch(Offset(end), bench.epoch)))
    bench.step(RetentionReached(bench.core.log.snapshots[0]))
    assert bench.core.log.start == 12
    return bench


def test_who_parted_from_the_log_below_its_start_gets_a_snapshot_wherever_it_ends() -> None:
    """A leader of epoch 3 that wrote alone, beyond where our log starts: no diverging epoch could make it cut anything,
    so it would ask, and be told the same, for ever."""
    bench = leader_with_a_late_start()

    bench.fetch(3, offset=20, last_epoch=LOG.epoch)

    answer = bench.answered(FetchResponse)
    assert answer.snapshot_id == OffsetAndEpoch(Offset(13), bench.epoch)
    assert answer.diverging is None


def test_who_has_the_epoch_of_the_start_is_told_where_it_ended() -> None:
    bench = leader_with_a_late_start()
    end = bench.core.log.end

    bench.fetch(3, offset=end.offset + 5, last_epoch=end.epoch)

    answer = bench.answered(FetchResponse)
    assert answer.snapshot_id is None
    assert answer.diverging == end


def test_a_sole_voter_without_flushes_has_committed_what_it_appended() -> None:
    """No flush will end that could tell it later."""
    bench = Bench(voters=(1,))
    bench.core.config = attrs.evolve(bench.core.config, durable=False)
    bench.step(TimePassed(), later_ms=10_000)
    assert bench.role == "leader"
    assert bench.core.high_watermark == bench.core.log.end.offset

    bench.propose(1)

    assert bench.last.committed == bench.core.log.end.offset
