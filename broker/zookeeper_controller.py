"""Who the controller is, as ZooKeeper says: `/controller`, followed; and where that one is reached (shell).

A broker that holds the office is reached on the listener that brokers use among themselves. While a migration runs a
controller of a quorum has put itself there; which of them is active at the moment only they know (`QuorumFollower`).
"""

from collections.abc import Callable
from typing import Final

import structlog
import trio

from quorate.broker.zookeeper_hybrid import QuorumFollower
from quorate.metadata.ids import Endpoint, Epoch, NodeId
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    NO_KRAFT_EPOCH,
    decode_broker,
    decode_controller,
)
from quorate.metadata.zookeeper.znodes import ErrorCode, SessionState, Znode, ZooKeeperError

RETRY_S: Final = 0.2
LOOK_AGAIN_S: Final = 5.0
"""Whatever no watch told of is noticed after so long."""

_log = structlog.get_logger("broker")


class ControllerFinder:
    """Follows the controller; `tell` hears of each change, `LeaderAndEpoch` without a leader where nobody is known."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        listener: str,
        tell: Callable[[LeaderAndEpoch], None],
        *,
        quorum: QuorumFollower | None = None,
    ) -> None:
        """`listener`: of brokers among themselves. `quorum`: which may take over; None: none may."""
        self._zookeeper = zookeeper
        self._listener = listener
        self._tell = tell
        self._quorum = quorum
        self._known: LeaderAndEpoch | None = None
        self._wake = trio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._zookeeper.on_state(lambda _: self._wake.set())
        if self._quorum is not None:
            self._quorum.on_change(lambda _: self._wake.set())
        while True:
            self._wake = wake = trio.Event()
            wait_s = LOOK_AGAIN_S
            if self._zookeeper.state is SessionState.CONNECTED:
                try:
                    node = await self._seat(wake)
                    found = await self._holder(node)
                    self._say(found)
                    if node is not None and found.leader_id is None:
                        wait_s = RETRY_S
                except ZooKeeperError as error:
                    _log.info("the controller cannot be looked for", why=str(error))
                    wait_s = RETRY_S
            with trio.move_on_after(wait_s):
                await wake.wait()

    async def _seat(self, wake: trio.Event) -> Znode | None:
        """`/controller`, watched."""
        if await self._zookeeper.exists(paths.CONTROLLER, lambda _: wake.set()) is None:
            return None
        try:
            return await self._zookeeper.get(paths.CONTROLLER)
        except ZooKeeperError as error:
            if error.code is not ErrorCode.NO_NODE:
                raise
            return None

    async def _holder(self, seat: Znode | None) -> LeaderAndEpoch:
        """The czxid of the seat tells one holding of the office from the next; it never falls."""
        if seat is None:
            return LeaderAndEpoch(Epoch(0))
        epoch = Epoch(seat.stat.czxid)
        try:
            found = decode_controller(seat.data)
            if found.kraft_epoch != NO_KRAFT_EPOCH:
                return self._of_quorum(seat)
            broker_id = found.broker_id
            node = await self._zookeeper.get(f"{paths.BROKER_IDS}/{broker_id}")
            broker = decode_broker(node.data)
        except FormError as error:
            _log.warning("who is the controller cannot be understood", why=str(error))
            return LeaderAndEpoch(epoch)
        except ZooKeeperError as error:
            if error.code is ErrorCode.NO_NODE:
                return LeaderAndEpoch(epoch)
            raise
        for one in broker.listeners:
            if one.name == self._listener:
                return LeaderAndEpoch(epoch, NodeId(broker_id), Endpoint(one.name, one.host, one.port))
        _log.warning("the controller has no listener of that name", listener=self._listener, node=broker_id)
        return LeaderAndEpoch(epoch)

    def _of_quorum(self, seat: Znode) -> LeaderAndEpoch:
        """A controller of a quorum holds the office; which of them is active now only they know."""
        if self._quorum is None:
            _log.warning(
                "a controller of a quorum is in office, and this broker knows none: set "
                "zookeeper.metadata.migration.enable and controller.quorum.bootstrap.servers",
                path=seat.path,
            )
            return LeaderAndEpoch(Epoch(seat.stat.czxid))
        return self._quorum.active

    def _say(self, found: LeaderAndEpoch) -> None:
        if found != self._known:
            self._known = found
            self._tell(found)
