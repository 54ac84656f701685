"""A healthy leader, and followers that flap: connections that break, processes that restart, a thousand times.

Nothing of this is a reason to change the leader: the epoch at the end is the epoch at the beginning.
"""

import random

from tests.sim.node import SimNode
from tests.sim.options import WorldOptions
from tests.sim.world import World

TROUBLES = 1000


def flap(
    seed: int,
    *,
    voters: int = 3,
    mean_ms: int,
    propose_every_ms: int | None,
    restarts: float = 0.3,
    pauses: float = 0.0,
    show: bool = False,
) -> World:
    """The world after a thousand troubles; the leader that it had at first is still its leader if all is well."""
    options = WorldOptions(
        voters=voters, delay_ms=(1, 3), flush_ms=(0, 3), shuffle_ties=True, propose_every_ms=propose_every_ms
    )
    world = World(seed, options, print if show else None)
    rng = random.Random(f"flapping {seed}")
    world.run_until(5000)
    leader = world.leader()
    assert leader is not None
    for _ in range(TROUBLES):
        world.run_until(world.schedule.now_ms + rng.randint(1, 2 * mean_ms))
        _trouble(world, leader, rng, restarts, pauses)
    world.run_until(world.schedule.now_ms + 5000)
    return world


def _trouble(world: World, leader: SimNode, rng: random.Random, restarts: float, pauses: float) -> None:
    node = rng.choice([one for one in world.nodes if one is not leader])
    if not node.up:
        node.start()
    elif rng.random() < restarts:
        if rng.random() < 0.5:
            node.crash()
        else:
            node.exit()
        world.schedule.after(rng.choice([0, 1, 50, 3000]), lambda: None if node.up else node.start())
    elif rng.random() < pauses:
        if not any(one.paused for one in world.nodes):
            node.pause()
            world.schedule.after(rng.choice([10, 500, 3000]), node.resume)
    elif rng.random() < 0.8:
        world.network.reset(node.id, leader.id)
    else:
        other = rng.choice([one for one in world.nodes if one is not node])
        world.network.reset(node.id, other.id)
        world.network.reset(other.id, node.id)
