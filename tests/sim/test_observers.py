"""Observers find the leader that the majority has, wherever they have to ask."""

import itertools

import pytest

from tests.sim.gaps import keep_writing
from tests.sim.options import WorldOptions
from tests.sim.world import World


@pytest.mark.parametrize("seed", range(4))
def test_observers_leave_a_leader_that_is_cut_off_from_the_other_voters(seed: int) -> None:
    """They still reach it, and it still answers: only that it leads no more (KAFKA-15489)."""
    world = World(seed, WorldOptions(observers=2, propose_every_ms=None))
    keep_writing(world)
    world.run_until(1500)
    leader = world.leader()
    assert leader is not None
    for node in world.nodes[:3]:
        if node is not leader:
            world.network.cut |= set(itertools.permutations((leader.id, node.id)))

    world.run_until(1500 + 5000)  # a fetch timeout, a check-quorum timeout, and a few requests

    world.run_until(world.schedule.now_ms + 1000)
    behind = [world.laws.committed_end - node.machine.applied for node in world.nodes[3:]]
    assert max(behind) <= 5, behind


def test_an_observer_that_restarts_with_an_empty_log_catches_up() -> None:
    world = World(1, WorldOptions(observers=1, propose_every_ms=None))
    keep_writing(world)
    world.run_until(2000)
    broker = world.nodes[3]
    assert not broker.config.durable
    broker.crash()
    world.schedule.after(500, broker.start)

    world.run_until(4000)

    assert world.laws.committed_end - broker.machine.applied <= 5
