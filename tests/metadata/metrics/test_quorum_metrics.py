"""The quorum's numbers, after steps whose outcome is known."""

from collections import defaultdict

from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch, uuid_to_text
from quorate.metadata.metrics.declared import Family
from quorate.metadata.metrics.quorum_metrics import (
    BATCHES,
    ELECTIONS_LOST,
    ELECTIONS_STARTED,
    ELECTIONS_WON,
    EPOCH,
    FAMILIES,
    FLUSHED_END,
    HIGH_WATERMARK,
    LEADER,
    LEADERSHIPS_ENDED,
    LOG_END,
    LOG_END_EPOCH,
    OBSERVERS,
    PRE_VOTES,
    RECORDS,
    REPLICA_LAG,
    REPLICA_SILENCE,
    ROLE,
    SNAPSHOT_END,
    SNAPSHOT_EPOCH,
    VOTED,
    VOTER,
    VOTERS,
    quorum_samples,
)
from quorate.metadata.quorum.events import ResignRequested, SnapshotCreated
from quorate.metadata.quorum.transitions import RoleName
from tests.paper.bench import KEYS, Bench


def values(bench: Bench) -> dict[Family, object]:
    """By family; of those with labels, by labels."""
    found: dict[Family, object] = {}
    labelled: defaultdict[Family, dict[tuple[str, ...], object]] = defaultdict(dict)
    for sample in quorum_samples(bench.core, bench.now_ms):
        assert sample.family in FAMILIES
        assert len(sample.labels) == len(sample.family.labels)
        if sample.labels:
            assert sample.labels not in labelled[sample.family], "the same series twice"
            labelled[sample.family][sample.labels] = sample.value
        else:
            assert sample.family not in found, "the same series twice"
            found[sample.family] = sample.value
    return found | labelled


def directory(node: int) -> str:
    found = KEYS[node].directory_id
    assert found is not None
    return uuid_to_text(found)


def test_before_anything_happens() -> None:
    told = values(Bench())

    assert told[ROLE] == "unattached"
    assert (told[VOTER], told[VOTERS], told[EPOCH], told[LEADER], told[VOTED]) == (1, 3, 3, -1, -1)
    assert (told[LOG_END], told[LOG_END_EPOCH], told[FLUSHED_END], told[HIGH_WATERMARK]) == (10, 3, 10, -1)
    assert (told[SNAPSHOT_END], told[SNAPSHOT_EPOCH]) == (-1, -1)
    assert [told[one] for one in (PRE_VOTES, ELECTIONS_STARTED, ELECTIONS_WON, BATCHES, RECORDS)] == [0] * 5
    assert OBSERVERS not in told
    assert REPLICA_LAG not in told


def test_every_role_is_a_state() -> None:
    assert set(ROLE.states) == {role.value for role in RoleName}


def test_an_observer_is_no_voter() -> None:
    assert values(Bench(me=4))[VOTER] == 0


def test_an_election_won() -> None:
    bench = Bench()
    bench.become_leader()
    told = values(bench)

    assert (told[ROLE], told[EPOCH], told[LEADER], told[VOTED]) == ("leader", 4, 1, 1)
    assert [told[one] for one in (PRE_VOTES, ELECTIONS_STARTED, ELECTIONS_WON, ELECTIONS_LOST)] == [
        1,
        1,
        1,
        0,
    ]
    assert (told[LOG_END_EPOCH], told[BATCHES]) == (4, 1)
    assert told[RECORDS] == bench.core.log.end.offset - 10


def test_an_election_lost() -> None:
    bench = Bench()
    bench.become_candidate()
    while bench.role == "candidate":
        bench.until_timeout()
        bench.answer_votes()
    told = values(bench)

    assert (told[ELECTIONS_STARTED], told[ELECTIONS_WON], told[ELECTIONS_LOST]) == (1, 0, 1)
    assert told[PRE_VOTES] == 2
    assert told[LEADERSHIPS_ENDED] == 0


def test_a_leadership_that_ended() -> None:
    bench = Bench()
    bench.become_leader()
    bench.step(ResignRequested(bench.epoch, "a test"))
    told = values(bench)

    assert (told[ROLE], told[LEADERSHIPS_ENDED], told[LEADER]) == ("resigned", 1, -1)
    assert OBSERVERS not in told


def test_what_the_leader_knows_of_the_others() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    start = bench.core.log.end.offset
    bench.fetch(2)
    bench.now_ms += 300
    bench.propose(5)
    bench.flushed()
    bench.fetch(4, offset=start, last_epoch=4)
    told = values(bench)
    voter = ("2", directory(2), "voter")
    observer = ("4", directory(4), "observer")

    assert told[REPLICA_LAG] == {voter: 5, observer: 5}
    assert told[REPLICA_SILENCE] == {voter: 0.3, observer: 0.0}
    assert told[OBSERVERS] == 1
    assert (told[LOG_END], told[FLUSHED_END], told[HIGH_WATERMARK]) == (start + 5, start + 5, start)

    bench.fetch(2)
    told = values(bench)
    assert told[REPLICA_LAG] == {voter: 0, observer: 5}
    assert told[HIGH_WATERMARK] == start + 5


def test_an_observer_that_is_gone_is_forgotten_and_a_voter_is_not() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2)
    bench.fetch(4)
    bench.now_ms += 300_000
    assert values(bench)[OBSERVERS] == 1
    bench.now_ms += 1
    told = values(bench)

    assert told[OBSERVERS] == 0
    assert told[REPLICA_SILENCE] == {("2", directory(2), "voter"): 300.001}


def test_what_is_not_flushed_yet() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    end = bench.core.log.end.offset
    bench.propose(7)
    told = values(bench)

    assert (told[LOG_END], told[FLUSHED_END], told[BATCHES]) == (end + 7, end, 2)
    assert told[RECORDS] == end + 7 - 10


def test_a_snapshot() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2)
    bench.step(SnapshotCreated(OffsetAndEpoch(Offset(10), Epoch(3))))
    told = values(bench)

    assert (told[SNAPSHOT_END], told[SNAPSHOT_EPOCH]) == (10, 3)
