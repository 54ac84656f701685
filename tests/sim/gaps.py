"""How long writes stand still when the leader goes: in simulated milliseconds, hence the same on every machine.

A client writes all the time through whoever leads; a gap begins when the leader is killed, paused or told to stop, and
ends with the first write acknowledged by another leader.
"""

from collections.abc import Callable

from quorate.metadata.quorum.events import Failure, ShutdownRequested
from tests.sim.node import SimNode
from tests.sim.options import WorldOptions
from tests.sim.world import World

QUIET_NETWORK = WorldOptions(delay_ms=(1, 1), flush_ms=(1, 1), shuffle_ties=True, propose_every_ms=None)
WRITE_EVERY_MS = 10
GIVE_UP_MS = 20_000


def killed(leader: SimNode) -> None:
    leader.crash()


def paused(leader: SimNode) -> None:
    leader.pause()


def stopped(leader: SimNode) -> None:
    leader.handle(ShutdownRequested())


def reset_for_ever(leader: SimNode) -> None:
    """Every connection to it breaks, but is never refused: a dead process behind a proxy."""
    leader.network.break_off(leader.id, Failure.RESET)


def refused(leader: SimNode) -> None:
    """It lives, but a firewall refuses every connection, its own as well."""
    leader.network.break_off(leader.id, Failure.REFUSED)


def gap_ms(seed: int, end_leader: Callable[[SimNode], None], options: WorldOptions = QUIET_NETWORK) -> int:
    """One world, one gap."""
    world = World(seed, options)
    keep_writing(world)
    world.run_until(1000 + world.rng.randrange(1000))  # ordinary life, ending at any moment
    leader = world.leader()
    assert leader is not None
    began = world.schedule.now_ms
    end_leader(leader)
    before = len(world.clients.acknowledged)
    while world.schedule.now_ms < began + GIVE_UP_MS:
        world.schedule.run_next()
        if len(world.clients.acknowledged) > before:
            if world.clients.acknowledged_by[-1] is not leader:
                return world.schedule.now_ms - began
            before = len(world.clients.acknowledged)
    raise AssertionError(f"seed {seed}: no write was acknowledged within {GIVE_UP_MS} ms")


def keep_writing(world: World) -> None:
    """A client that never rests."""

    def write() -> None:
        leader = world.leader()
        if leader is not None and not leader.paused:
            world.clients.propose(leader, count=1)
        world.schedule.after(WRITE_EVERY_MS, write)

    world.schedule.after(0, write)
