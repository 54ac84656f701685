"""The end of a whole cluster's world: what must come about once nothing goes wrong any more.

Clients are served again; every broker that is alive is unfenced; one that dies is fenced, also if the leader dies with
it and only its successor can notice. Then everybody holds the same, and everything that was promised is there.
"""

from typing import TYPE_CHECKING, Final

from quorate.broker.lifecycle import BrokerState
from quorate.metadata.checks import check
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.writer import digest
from tests.sim.brokers import SimBroker
from tests.sim.controllers import SimController
from tests.sim.sessions import Sessions

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

SERVED_WITHIN_MS: Final = 40_000
"""Some sessions, failed attempts that wait for as long as a session, a snapshot in small parts."""
LAST_ANSWERS_WITHIN_MS: Final = 40_000


class Ending:
    """See the module's docstring."""

    def __init__(self, world: "World", sessions: Sessions) -> None:
        self._world, self._sessions = world, sessions

    def run(self) -> None:
        world, sessions = self._world, self._sessions
        before = len(sessions.acknowledged)
        world.run_while(
            lambda: len(sessions.acknowledged) == before, SERVED_WITHIN_MS, "acknowledged write of a client"
        )
        world.run_while(lambda: not self._brokers_as_they_are(), SERVED_WITHIN_MS, "broker unfenced")
        sessions.active = False
        if world.options.broker_dies:
            self._lose_a_broker()
        world.run_while(lambda: not sessions.idle, LAST_ANSWERS_WITHIN_MS, "end of the last requests")

    def _brokers_as_they_are(self) -> bool:
        """Unfenced if alive, fenced (or gone) if dead: in the cluster's image."""
        world = self._world
        image = world.images.image
        for node in world.brokers:
            registered = image.cluster.brokers.get(node.id)
            serves = registered is not None and not registered.fenced
            if node in world.nemesis.dead:
                if serves:
                    return False
            elif not serves or not _is_running(node):
                return False
        return True

    def _lose_a_broker(self) -> None:
        world = self._world
        victim = world.rng.choice(world.brokers)
        world.nemesis.dead.add(victim)
        world.marks["broker dies for good"] += 1
        victim.crash()
        leader = world.leader()
        if leader is not None and world.options.voters >= 3:
            leader.crash()
            world.schedule.after(world.rng.randint(1, 5000), lambda: None if leader.up else leader.start())
        within_ms = 2 * world.options.session_ms + SERVED_WITHIN_MS
        world.run_while(lambda: not self._brokers_as_they_are(), within_ms, "fence around the dead broker")


def _is_running(node: "SimNode") -> bool:
    machine = node.machine if node.up else None
    return isinstance(machine, SimBroker) and machine.life.state is BrokerState.RUNNING


def check_end(world: "World", sessions: Sessions) -> None:
    """Everybody holds the same, and all promises are kept."""
    expected = digest(world.images.image)
    for node in world.nodes:
        if node in world.nemesis.dead:
            continue
        image = image_of(node)
        check(image is not None, f"{node.name} has no image")
        if image is not None:
            check(
                digest(image) == expected,
                f"{node.name}: the digest of its image is another one than the log's",
            )
    world.images.check_watchers()
    sessions.check_all()


def image_of(node: "SimNode") -> MetadataImage | None:
    match node.machine:
        case SimController(image=image):
            return image
        case SimBroker(image=image):
            return image
        case _:
            return None
