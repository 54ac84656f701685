"""Whole clusters from seeds: safe whatever happens, live once healed, and the same in every process."""

import os
import pathlib
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from quorate.metadata.quorum.transitions import RoleName
from tests.sim.flapping import flap
from tests.sim.gaps import gap_ms, killed, paused, refused, reset_for_ever, stopped
from tests.sim.history import Ending, Kind
from tests.sim.node import SimNode
from tests.sim.options import KINDS
from tests.sim.world import World

EXPECTED_MARKS = (
    *(f"becomes {role.value}" for role in RoleName),
    "all crash",
    "client never learns",
    "crash",
    "crash between two effects",
    "crash that loses records",
    "disk lost",
    "one-way partition",
    "orderly stop",
    "partition",
    "pause",
    "snapshot created",
    "snapshot installed",
    "truncation",
    "write acknowledged",
    "write replaced",
)

CHANGES = (Kind.CREATE, Kind.DELETE, Kind.GROW, Kind.SET)
EXPECTED_OF_WHOLE_CLUSTERS = (
    "answer comes too late",
    "broker dies for good",
    "client gives up",
    "connection given up",
    "controller becomes active",
    "damage found at start",
    "ends: fsync failed",
    "ends: no space left on the disk",
    "fsync stalls",
    "image published: a snapshot",
    "image published: committed records",
    "request of a dead sender arrives",
    "snapshot installed",
    "snapshot part damaged",
    *(f"{kind.value}: {ending.value}" for kind in CHANGES for ending in Ending),
    "read: done",
)
KEPT = [
    (int(line.split()[0]), line.split()[1])
    for line in (pathlib.Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if not line.startswith("#")
]
SEEDS = range(60)
"""Fixed, so that a change shows here first; `.ci/run` draws fresh ones."""


def test_every_kept_seed_says_what_it_showed() -> None:
    text = (pathlib.Path(__file__).parent / "seeds.txt").read_text()
    lines = [line.split(maxsplit=2) for line in text.splitlines() if not line.startswith("#")]

    assert len(lines) == len(KEPT) > 0
    assert all(len(words) == 3 and words[1] in KINDS for words in lines)


@pytest.mark.parametrize(("seed", "kind"), [*((seed, "any") for seed in SEEDS), *KEPT])
def test_a_world_stays_safe_and_gets_going_again(seed: int, kind: str) -> None:
    outcome = World(seed, KINDS[kind](seed)).run()

    replay = f"python -m tests.sim --seed {seed} --kind {kind} --steps {outcome.steps} --trace"
    assert outcome.violation is None, f"{replay}: {outcome.violation}"


def test_a_cluster_that_keeps_eligible_leaders_is_as_safe() -> None:
    marks: Counter[str] = Counter()
    for seed in range(12):
        outcome = World(seed, KINDS["eligible"](seed)).run()
        replay = f"python -m tests.sim --seed {seed} --kind eligible --steps {outcome.steps} --trace"
        assert outcome.violation is None, f"{replay}: {outcome.violation}"
        marks.update(outcome.marks)

    assert marks["an ISR is empty"]


def test_the_same_seed_is_the_same_world_in_every_process() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seed", "13", "--count", "4", "--hash"]
    hashes = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(hashes) == 1
    assert hashes != {""}


@pytest.mark.parametrize(
    ("seed", "voters", "restarts", "pauses"),
    [(1, 3, 0.3, 0.0), (2, 5, 0.3, 0.0), (3, 3, 0.0, 0.0), (4, 3, 1.0, 0.0), (5, 5, 0.1, 0.1)],
)
def test_a_thousand_resets_and_restarts_of_followers_never_unseat_a_healthy_leader(
    seed: int, voters: int, restarts: float, pauses: float
) -> None:
    world = flap(seed, voters=voters, mean_ms=40, propose_every_ms=50, restarts=restarts, pauses=pauses)

    assert {node.core.election.epoch for node in world.nodes if node.up} == {1}


def test_an_idle_leader_is_not_unseated_either() -> None:
    """Nothing is answered before its time is over, so with a reset every now and then no Fetch ever succeeds."""
    world = flap(6, voters=3, mean_ms=60, propose_every_ms=None, restarts=0.0)

    assert {node.core.election.epoch for node in world.nodes if node.up} == {1}


@pytest.mark.parametrize(
    ("way", "median_ms", "at_most_ms"),
    [
        (killed, 200, 500),
        (refused, 200, 500),
        (reset_for_ever, 2_200, 2_500),
        (paused, 2_400, 3_500),
        (stopped, 50, 300),
    ],
)
def test_the_gap_without_a_leader_is_short(
    way: Callable[[SimNode], None], median_ms: int, at_most_ms: int
) -> None:
    """Simulated milliseconds: the same on every machine."""
    gaps = sorted(gap_ms(seed, way) for seed in range(15))

    assert statistics.median(gaps) <= median_ms
    assert gaps[-1] <= at_most_ms


def test_whole_clusters_show_what_can_happen_to_clients_brokers_and_disks() -> None:
    marks: Counter[str] = Counter()
    for seed in range(100, 140):
        options = KINDS["whole"](seed)
        worse = attrs.evolve(
            options,
            fsync_fails=0.003,
            fsync_stalls=0.01,
            full_disk_every_ms=3000,
            rot_every_ms=3000,
            damage=0.2,
        )
        outcome = World(seed, worse).run(800)
        assert outcome.violation is None, seed
        marks.update(outcome.marks)

    assert set(EXPECTED_OF_WHOLE_CLUSTERS) <= set(marks)


def test_the_worlds_show_all_kinds_of_trouble() -> None:
    """A simulator that never cuts a log proves nothing about cutting logs."""
    marks: Counter[str] = Counter()
    for seed in SEEDS:
        marks.update(World(seed, KINDS["plain"](seed)).run(400).marks)

    assert set(EXPECTED_MARKS) <= set(marks)
