"""What others do in ZooKeeper while this broker is the controller: brokers, tools, whoever claims the office (shell).

Brokers are followed one by one. Everything else is rare, since all brokers of ours ask the controller instead of
writing: topics, markers for deletion and notifications of changed configs or ACLs that are not this controller's own
are a reason to read everything anew. What a tool writes without a notification is seen at the next such reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog
import trio

from quorate.controller.zookeeper_claim import Claim
from quorate.controller.zookeeper_loading import NOTIFICATIONS, registrations
from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import RegisterBrokerRecord
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_broker
from quorate.metadata.zookeeper.kafka_znodes.reading import BrokerNode
from quorate.metadata.zookeeper.znodes import ErrorCode, Result, ZooKeeperError

LOOK_PAUSE_S: Final = 1.0
"""Between two looks at one list: most of its changes are this controller's own, and it may be long."""
KEEP_NOTIFICATIONS_S: Final = 15 * 60.0
"""After so long whoever listens has heard; as long as Kafka's brokers keep them."""

_log = structlog.get_logger("controller")


class News:
    """Of one reading of the tree on."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        *,
        image: Callable[[], MetadataImage],
        children: Mapping[str, frozenset[str]],
        level: int,
        brokers_are: Callable[[Mapping[NodeId, RegisterBrokerRecord]], None],
        begin_anew: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        self._zookeeper = zookeeper
        self._image = image
        self._level = level
        self._brokers_are = brokers_are
        self._begin_anew = begin_anew
        self._lost = lost
        self._changed: set[str] = {paths.TOPICS, paths.DELETE_TOPICS, *NOTIFICATIONS}
        self._not_before_s: dict[str, float] = {}
        self._stirred = trio.Event()
        self._left_out = children[paths.TOPICS] - {topic.name for topic in image().topics}
        now_s = trio.current_time()
        self._notifications = {f"{path}/{name}": now_s for path in NOTIFICATIONS for name in children[path]}

    async def run(self, claim: Claim) -> None:
        """Until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_brokers)
                nursery.start_soon(self._follow_controller, claim)
                nursery.start_soon(self._clean_up, claim)
        except* ZooKeeperError as group:
            self._lost(f"ZooKeeper does not tell what happens: {group.exceptions[0]}")

    def wrote(self, results: Iterable[Result]) -> None:
        """What a multi of this controller gave: its own notifications are no news."""
        now_s = trio.current_time()
        for result in results:
            if isinstance(result, str) and paths.parent(result) in NOTIFICATIONS:
                self._notifications[result] = now_s

    async def look(self) -> None:
        """Between two turns, when image and tree say the same unless somebody else has written.

        Raises:
            ZooKeeperError: it could not be asked.
        """
        self._stirred = trio.Event()
        now_s = trio.current_time()
        due = sorted(path for path in self._changed if self._not_before_s.get(path, now_s) <= now_s)
        self._changed.difference_update(due)
        for path in due:
            self._not_before_s[path] = now_s + LOOK_PAUSE_S
            await self._look_at(path)

    def due_in_s(self) -> float:
        """When there will be something to look at that was put off."""
        now_s = trio.current_time()
        waits = (self._not_before_s.get(path, now_s) - now_s for path in self._changed)
        return max(0.0, min(waits, default=float("inf")))

    async def or_wanted(self, wanted: trio.Event) -> None:
        """Until there is something to look at, or `wanted` is set."""
        async with trio.open_nursery() as nursery:

            async def stirred() -> None:
                await self._stirred.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stirred)
            await wanted.wait()
            nursery.cancel_scope.cancel()

    async def _look_at(self, path: str) -> None:
        names = await self._children(path, self._watcher(path))
        if path == paths.TOPICS:
            self._look_at_topics(names)
        elif path != paths.DELETE_TOPICS:
            self._look_at_notifications(path, names)
        elif names:
            self._begin_anew(f"somebody marked topics for deletion: {', '.join(sorted(names)[:5])}")

    def _watcher(self, path: str) -> Callable[[object], None]:
        def stir(_: object) -> None:
            self._changed.add(path)
            self._stirred.set()

        return stir

    def _look_at_topics(self, names: Sequence[str]) -> None:
        topics = self._image().topics
        known = {topic.name for topic in topics}
        strange = known.symmetric_difference(names) - self._left_out
        if strange:
            self._begin_anew(f"somebody else made or removed topics: {', '.join(sorted(strange)[:5])}")

    def _look_at_notifications(self, path: str, names: Sequence[str]) -> None:
        if any(f"{path}/{name}" not in self._notifications for name in names):
            self._begin_anew(f"somebody else changed metadata and says so in {path}")

    async def _children(self, path: str, watch: Callable[[object], None]) -> list[str]:
        """None below a znode that is not there; its creation is watched for, too."""
        while True:
            try:
                return await self._zookeeper.children(path, watch)
            except ZooKeeperError as error:
                if error.code is not ErrorCode.NO_NODE:
                    raise
            if await self._zookeeper.exists(path, watch) is None:
                return []

    async def _follow_brokers(self) -> None:
        while True:
            changed = trio.Event()
            names = await self._children(paths.BROKER_IDS, lambda _, event=changed: event.set())  # type: ignore[misc]
            ids = sorted(int(name) for name in names if name.isdecimal())
            found = await self._zookeeper.get_many([f"{paths.BROKER_IDS}/{one}" for one in ids])
            brokers: dict[int, BrokerNode] = {}
            for broker_id, node in zip(ids, found, strict=True):
                if node is None:
                    continue
                try:
                    znode = decode_broker(node.data)
                except FormError as error:
                    _log.warning("a broker's znode means nothing", path=node.path, why=str(error))
                    continue
                brokers[broker_id] = BrokerNode(id=broker_id, epoch=node.stat.czxid, znode=znode)
            self._brokers_are(registrations(brokers, self._level))
            await changed.wait()

    async def _follow_controller(self, claim: Claim) -> None:
        """Whoever claims next has deleted `/controller`, or a controller of a quorum has put itself there."""
        changed = trio.Event()
        stat = await self._zookeeper.exists(paths.CONTROLLER, lambda _: changed.set())
        if stat is not None and stat.ephemeral_owner == self._zookeeper.session_id:
            await changed.wait()
        self._lost(f"{paths.CONTROLLER} was changed")

    async def _clean_up(self, claim: Claim) -> None:
        """Old notifications are of no use to anybody."""
        while True:
            await trio.sleep(KEEP_NOTIFICATIONS_S / 15)
            due_s = trio.current_time() - KEEP_NOTIFICATIONS_S
            for path in [path for path, since_s in self._notifications.items() if since_s <= due_s]:
                try:
                    await self._zookeeper.delete(path)
                except ZooKeeperError as error:
                    if error.code is not ErrorCode.NO_NODE:
                        raise
                self._notifications.pop(path, None)
