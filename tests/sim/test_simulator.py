"""Whole clusters from seeds: safe whatever happens, live once healed, and the same in every process."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.sim.flapping import flap
from tests.sim.gaps import gap_ms, killed, paused, stopped
from tests.sim.node import SimNode
from tests.sim.options import draw
from tests.sim.world import DEFAULT_STEPS, World

SEEDS = range(60)
"""Fixed, so that a change shows here first; `.ci/run` draws fresh ones."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_stays_safe_and_gets_going_again(seed: int) -> None:
    outcome = World(seed, draw(seed)).run(DEFAULT_STEPS)

    assert outcome.violation is None, f"python -m tests.sim --seed {seed} --steps {outcome.steps} --trace"


def test_the_same_seed_is_the_same_world_in_every_process() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seed", "11", "--count", "3", "--hash"]
    hashes = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(hashes) == 1
    assert hashes != {""}


@pytest.mark.parametrize(("seed", "voters", "restarts"), [(1, 3, 0.3), (2, 5, 0.3), (3, 3, 0.0), (4, 3, 1.0)])
def test_a_thousand_resets_and_restarts_of_followers_never_unseat_a_healthy_leader(
    seed: int, voters: int, restarts: float
) -> None:
    world = flap(seed, voters=voters, mean_ms=40, propose_every_ms=50, restarts=restarts)

    assert {node.core.election.epoch for node in world.nodes if node.up} == {1}


@pytest.mark.parametrize(("way", "at_most_ms"), [(killed, 500), (paused, 3_500), (stopped, 300)])
def test_the_gap_without_a_leader_is_short(way: Callable[[SimNode], None], at_most_ms: int) -> None:
    """Simulated milliseconds: the same on every machine."""
    assert statistics.median(gap_ms(seed, way) for seed in range(15)) <= at_most_ms
