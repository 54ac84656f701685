"""Changes of who votes, and disks that come back old: what the worlds show, and what no quorum can forgive."""

from collections import Counter

import attrs
import pytest

from quorate.metadata.checks import InvariantViolated
from tests.sim.gaps import keep_writing
from tests.sim.node import SimNode
from tests.sim.options import KINDS, WorldOptions
from tests.sim.world import World

EXPECTED = (
    "voter added",
    "voter removed",
    "voter replaced",
    "change of voters granted",
    "change of voters refused",
    "change of voters undone",
    "old disk restored",
)


def test_the_worlds_show_changes_that_are_made_refused_and_undone() -> None:
    marks: Counter[str] = Counter()
    for seed in (2, 16, 17):
        options = attrs.evolve(KINDS["changing"](seed), wipe_every_ms=500, restore_every_ms=500)
        outcome = World(seed, options).run(1000)
        assert outcome.violation is None, seed
        marks += outcome.marks

    assert set(EXPECTED) <= set(marks)


def test_some_of_the_ordinary_worlds_have_each_kind() -> None:
    drawn = [KINDS["any"](seed) for seed in range(200)]

    assert sum(options.members_every_ms is not None for options in drawn) > 40
    assert sum(options.restore_every_ms is not None for options in drawn) > 15
    assert sum(options.slow_links > 0 for options in drawn) > 15
    assert sum(options.pause_every_ms is not None and options.pause_ms[1] > 9000 for options in drawn) > 5


def test_slow_links_are_slow_in_one_direction_and_heal() -> None:
    world = World(1, WorldOptions(voters=5, slow_links=0.3, slow_link_ms=(50, 60)))

    slow = set(world.network.slow)
    assert slow
    assert any((target, source) not in slow for source, target in slow)
    assert world.network.arrival(*min(slow)) >= 51
    world.network.heal()
    assert world.network.slow == {}


def followers_of(world: World) -> tuple[SimNode, SimNode, SimNode]:
    leader = world.leader()
    assert leader is not None
    one, other = [node for node in world.nodes if node is not leader]
    return leader, one, other


def test_an_old_disk_of_a_voter_breaks_its_promise_which_is_why_it_must_be_replaced_instead() -> None:
    """No Raft can know it: what it acknowledged is gone, and it does not say so. See tests/README.md."""
    world = World(1, WorldOptions(propose_every_ms=None))
    keep_writing(world)
    world.run_until(1500)
    leader, witness, other = followers_of(world)
    copy = witness.disk.copy()
    world.network.split(frozenset({other.id}), inward=True, outward=True)
    world.run_until(2500)
    assert world.laws.committed_end > copy.log.end_offset
    leader.crash()
    witness.crash()
    witness.disk = copy
    copy.log.flush()
    world.network.heal()

    witness.start()
    with pytest.raises(InvariantViolated, match="leads epoch 2 without records"):
        world.run_until(10_000)


def test_a_voter_with_a_new_directory_instead_is_nobody_until_it_is_added() -> None:
    """The way out for who has nothing but an old disk: without the leader's disk nobody is elected, nothing is lost."""
    world = World(1, WorldOptions(propose_every_ms=None))
    keep_writing(world)
    world.run_until(1500)
    leader, witness, other = followers_of(world)
    world.network.split(frozenset({other.id}), inward=True, outward=True)
    world.run_until(2500)
    leader.crash()
    witness.crash()
    world._wipe(witness)
    world.network.heal()

    witness.start()
    world.run_until(10_000)

    assert world.leader() is None
    leader.start()
    world.run_until(20_000)
    assert world.leader() is not None
