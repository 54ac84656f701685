"""A broker in ZooKeeper mode whose cluster is being moved: registered with the quorum, too (shell; KIP-866).

It says that it is migrating, and which metadata.version its inter.broker.protocol.version amounts to, and no other:
so the quorum takes none that would not understand what it writes back. Its registration and heartbeats are those of
any broker; it follows no log, since whoever holds `/controller` answers its clients.
"""

import random
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from quorate.broker.config import BrokerConfig
from quorate.broker.heartbeat import BrokerIdentity, BrokerLife
from quorate.broker.lifecycle import LifecycleSettings
from quorate.broker.links import ControllerLinks, opener
from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.metadata import features
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import BoundListener, registered_listeners
from quorate.metadata.client import ClusterClient, NoAnswer, open_client
from quorate.metadata.connection import CallFailed, ClientSecurity
from quorate.metadata.ids import Endpoint, Epoch, NodeId, random_uuid
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire import brokers

ASK_S: Final = 1.0
_ASK_TIMEOUT_MS: Final = 3_000
_LEAVE_S: Final = 5.0
_FOR_EVER_MS: Final = 2**53
"""The quorum may be started long after the brokers, and refuses them until it migrates."""

_log = structlog.get_logger("broker")


class QuorumFollower:
    """Asks the quorum who its active controller is, again and again; whoever listens hears of changes."""

    def __init__(
        self, servers: Sequence[Address], listener: str, client_id: str, security: ClientSecurity | None
    ) -> None:
        self._servers = tuple(servers)
        self._listener = listener
        self._client_id = client_id
        self._security = security
        self._listeners: list[Callable[[LeaderAndEpoch], None]] = []
        self._changes = 0
        self.active = LeaderAndEpoch(Epoch(0))
        """Numbered by the changes that were seen here: the answers to the question do not tell epochs."""

    def on_change(self, tell: Callable[[LeaderAndEpoch], None]) -> None:
        self._listeners.append(tell)

    async def run(self) -> None:
        """Until cancelled."""
        async with open_client(self._servers, client_id=self._client_id, security=self._security) as client:
            while True:
                await self._ask(client)
                await trio.sleep(ASK_S)

    async def _ask(self, client: ClusterClient) -> None:
        try:
            found = (await client.describe(_ASK_TIMEOUT_MS)).controller
        except (NoAnswer, CallFailed) as error:
            _log.debug("no controller of the quorum answers", why=str(error))
            return
        if found is None:
            return
        where = Endpoint(self._listener, found.address.host, found.address.port)
        if (self.active.leader_id, self.active.endpoint) == (found.id, where):
            return
        self._changes += 1
        self.now(LeaderAndEpoch(Epoch(self._changes), NodeId(found.id), where))

    def now(self, active: LeaderAndEpoch) -> None:
        """Another one is active."""
        self.active = active
        for tell in self._listeners:
            tell(self.active)


class HybridMembership:
    """The broker's life in the quorum, beside its life in ZooKeeper."""

    def __init__(
        self,
        config: ZooKeeperBrokerConfig,
        *,
        cluster_id: str,
        directory_id: uuid.UUID,
        bound: Sequence[BoundListener],
        quorum: QuorumFollower,
        security: ClientSecurity,
        rng: random.Random,
    ) -> None:
        self._links = ControllerLinks(
            opener(f"broker-{config.node_id}-heartbeat", security), distrust_silence=True
        )
        identity = _identity(config, cluster_id, directory_id, bound, rng)
        self.life = BrokerLife(identity, _settings(config), self._links, rng, follows_log=False)
        quorum.on_change(self.life.leader_changed)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._links.run)
            nursery.start_soon(self.life.run)

    async def leave(self) -> None:
        """Has the quorum let go of this broker, if it answers."""
        self.life.shut_down()
        with trio.move_on_after(_LEAVE_S):
            await self.life.ended.wait()


def _settings(config: BrokerConfig) -> LifecycleSettings:
    return LifecycleSettings(
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        session_timeout_ms=config.session_timeout_ms,
        initial_registration_timeout_ms=_FOR_EVER_MS,
        controlled_shutdown_enable=config.controlled_shutdown_enable,
        controlled_shutdown_grace_ms=config.controlled_shutdown_grace_ms,
    )


def _identity(
    config: ZooKeeperBrokerConfig,
    cluster_id: str,
    directory_id: uuid.UUID,
    bound: Sequence[BoundListener],
    rng: random.Random,
) -> BrokerIdentity:
    level = config.metadata_version
    return BrokerIdentity(
        broker_id=config.node_id,
        cluster_id=cluster_id,
        incarnation_id=random_uuid(rng),
        listeners=registered_listeners(config, bound),
        features=(
            brokers.Feature(
                name=features.METADATA_VERSION, min_supported_version=level, max_supported_version=level
            ),
            brokers.Feature(name=features.LIGHTWEIGHT, min_supported_version=1, max_supported_version=1),
        ),
        rack=config.rack,
        log_dirs=(directory_id,),
        is_migrating_zk_broker=True,
    )
