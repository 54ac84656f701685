"""No world's controllers say anything that would end one of Apache Kafka's brokers; the model notices if they do."""

from collections import Counter

import attrs
import pytest

from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.quorum import replication
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.quorum.roles import Leader
from tests.sim.options import draw
from tests.sim.strict_broker import watch
from tests.sim.world import World

SEEDS = range(40)


def run(seed: int, steps: int = 4_000) -> tuple[str | None, Counter[str]]:
    """The violation, if any, of a world with brokers, and what those have met."""
    drawn = draw(seed)
    options = drawn if drawn.brokers else attrs.evolve(drawn, observers=max(2, drawn.observers))
    world = World(seed, options)
    brokers = watch(world)
    outcome = world.run(steps)
    met: Counter[str] = Counter()
    for one in brokers:
        met += one.marks
    return outcome.violation, met


def test_no_broker_is_ended_whatever_happens() -> None:
    met: Counter[str] = Counter()
    for seed in SEEDS:
        violation, marks = run(seed)
        assert violation is None, f"seed {seed}: {violation}"
        met += marks
    assert met["new epoch"] > 100, met
    assert met["batch"] > 1_000, met
    assert met["snapshot"] > 0, met


def is_noticed(words: str, limit: int = 80) -> bool:
    """Whether a broker notices it in one of the worlds, in these words."""
    violations = (run(seed, 2_000)[0] for seed in range(limit))
    return any(words in violation for violation in violations if violation is not None)


def test_a_watermark_below_that_of_an_earlier_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second leader lags in what it tells."""

    def told(core: RaftCore, role: Leader) -> Offset | None:
        known = core.high_watermark if role.high_watermark_known else None
        return known if known is None or core.election.epoch % 2 else Offset(max(0, known - 5))

    monkeypatch.setattr(replication, "_told_high_watermark", told)
    assert is_noticed("is to go from")


def test_records_that_are_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "_limit", lambda core, is_voter: core.log.end.offset)
    assert is_noticed("is committed")


def test_a_leader_whose_address_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.metadata.raft_wire._nodes", lambda leader: ())
    assert is_noticed("without an address")


def test_another_leader_of_an_epoch_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(leader: LeaderAndEpoch, asking: NodeId) -> LeaderAndEpoch:
        if leader.leader_id is None or leader.endpoint is None or asking % 2:
            return leader
        return attrs.evolve(leader, leader_id=NodeId(leader.leader_id % 3 + 1 + leader.epoch % 2))

    monkeypatch.setattr("quorate.metadata.kafka_wire._reachable", wrong)
    assert is_noticed("is told of leader")
