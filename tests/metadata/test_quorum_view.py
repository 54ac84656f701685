"""Times in DescribeQuorum: the core's clock, told as the wall clock's."""

from quorate.metadata.quorum_view import quorum_status
from tests.paper.bench import Bench

WALL_MS = 1_700_000_000_000


def test_no_time_lies_in_the_future_wherever_the_wall_clock_stands_now() -> None:
    """`kafka-metadata-quorum describe --replication --human-readable` stops at a time after its own now."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2)
    fetched_at = bench.now_ms
    now = fetched_at + 40

    for wall_ms in (WALL_MS, WALL_MS - 60_000):
        status = quorum_status(bench.core, now, wall_ms)
        assert status is not None
        by_id = {voter.replica.id: voter for voter in status.voters}
        assert by_id[bench.core.id].last_fetch_ms == wall_ms
        assert by_id[2].last_fetch_ms == wall_ms - 40  # type: ignore[index]
        assert by_id[3].last_fetch_ms == -1  # type: ignore[index]
