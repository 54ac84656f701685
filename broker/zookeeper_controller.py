"""Who the controller is, as ZooKeeper says: `/controller`, followed; and where that one is reached (shell).

A broker that holds the office is reached on the listener that brokers use among themselves. While a migration runs a
controller of a quorum has put itself there; which of them is active at the moment only they know, so they are asked.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.client import ClusterClient, NoAnswer, open_client
from quorate.metadata.connection import CallFailed, ClientSecurity
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
ASK_QUORUM_S: Final = 1.0
_ASK_TIMEOUT_MS: Final = 3_000

_log = structlog.get_logger("broker")


class ControllerFinder:
    """Follows the controller; `tell` hears of each change, `LeaderAndEpoch` without a leader where nobody is known."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        listener: str,
        tell: Callable[[LeaderAndEpoch], None],
        *,
        quorum: Sequence[Address] = (),
        quorum_listener: str = "",
        security: ClientSecurity | None = None,
    ) -> None:
        """`listener`: of brokers among themselves. `quorum`: controllers that may take over; none: none may."""
        self.quorum_is_active = False
        """Whether a controller of a quorum holds the office."""
        self._zookeeper = zookeeper
        self._listener = listener
        self._tell = tell
        self._quorum = tuple(quorum)
        self._quorum_listener = quorum_listener
        self._security = security
        self._known: LeaderAndEpoch | None = None
        self._wake = trio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._zookeeper.on_state(lambda _: self._wake.set())
        while True:
            self._wake = wake = trio.Event()
            wait_s = LOOK_AGAIN_S
            if self._zookeeper.state is SessionState.CONNECTED:
                try:
                    node = await self._seat(wake)
                    if node is not None and await self._follow_quorum(node, wake):
                        continue
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
            broker_id = decode_controller(seat.data).broker_id
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

    async def _follow_quorum(self, seat: Znode, wake: trio.Event) -> bool:
        """Where a controller of a quorum holds the office: follows the active one until the seat changes."""
        try:
            kraft_epoch = decode_controller(seat.data).kraft_epoch
        except FormError:
            return False
        self.quorum_is_active = kraft_epoch != NO_KRAFT_EPOCH
        if not self.quorum_is_active:
            return False
        if not self._quorum:
            _log.warning("a controller of a quorum is in office, and this broker knows none", path=seat.path)
            self._say(LeaderAndEpoch(Epoch(kraft_epoch)))
            with trio.move_on_after(LOOK_AGAIN_S):
                await wake.wait()
            return True
        async with (
            open_client(self._quorum, client_id="zookeeper-broker", security=self._security) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._ask_quorum, client, kraft_epoch)
            await wake.wait()
            nursery.cancel_scope.cancel()
        return True

    async def _ask_quorum(self, client: ClusterClient, kraft_epoch: int) -> None:
        """Until cancelled. Its epochs and ZooKeeper's are of different kinds, but only a change counts."""
        while True:
            try:
                view = await client.describe(_ASK_TIMEOUT_MS)
            except (NoAnswer, CallFailed) as error:
                _log.info("no controller of the quorum answers", why=str(error))
            else:
                found = view.controller
                if found is not None:
                    where = Endpoint(self._quorum_listener, found.address.host, found.address.port)
                    self._say(LeaderAndEpoch(Epoch(kraft_epoch), NodeId(found.id), where))
            await trio.sleep(ASK_QUORUM_S)

    def _say(self, found: LeaderAndEpoch) -> None:
        if found != self._known:
            self._known = found
            self._tell(found)
