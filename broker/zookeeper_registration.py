"""A broker's place in ZooKeeper: the paths that must be there, the cluster's id, its own ephemeral znode (shell).

`/brokers/ids/<id>` is what a broker is to the controller: registered while it is there, under its czxid as the
broker's epoch. It is made as Kafka makes it, in one multi that creates it without data and then sets them, so that
its version is 1 and its stat is known. When the session is over the znode is gone, and a new one is made in the next.
"""

import random
from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

from quorate.metadata.ids import random_uuid, uuid_to_text
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    BrokerListener,
    BrokerZnode,
    decode_cluster_id,
    encode_broker,
    encode_cluster_id,
)
from quorate.metadata.zookeeper.znodes import (
    Create,
    ErrorCode,
    MultiFailed,
    SessionState,
    SetData,
    Stat,
    ZooKeeperError,
)

RETRY_S: Final = 0.2
_EMPTY: Final = frozenset({paths.BROKER_SEQUENCE})
"""Whose data Kafka makes empty, not null."""

_log = structlog.get_logger("broker")


class CannotRegister(Exception):
    """This broker cannot take its place; the text says why and what to do."""


async def ensure_paths(zookeeper: ZooKeeper) -> None:
    """What every broker makes sure of at its start, as Kafka's do.

    Raises:
        ZooKeeperError
    """
    for path in paths.ALWAYS_THERE:
        await ensure_path(zookeeper, path)


async def ensure_path(zookeeper: ZooKeeper, path: str) -> None:
    """That a persistent znode is there, and all above it."""
    if await zookeeper.exists(path) is not None:
        return
    above = paths.parent(path)
    if above != "/":
        await ensure_path(zookeeper, above)
    try:
        await zookeeper.create(path, b"" if path in _EMPTY else None)
    except ZooKeeperError as error:
        if error.code is not ErrorCode.NODE_EXISTS:
            raise


async def find_cluster_id(zookeeper: ZooKeeper, rng: random.Random) -> str:
    """The cluster's id, which the first broker of all makes.

    Raises:
        CannotRegister: what stands there is no id.
        ZooKeeperError
    """
    if await zookeeper.exists(paths.CLUSTER_ID) is None:
        await ensure_path(zookeeper, paths.parent(paths.CLUSTER_ID))
        try:
            await zookeeper.create(paths.CLUSTER_ID, encode_cluster_id(uuid_to_text(random_uuid(rng))))
        except ZooKeeperError as error:
            if error.code is not ErrorCode.NODE_EXISTS:
                raise
    node = await zookeeper.get(paths.CLUSTER_ID)
    try:
        return decode_cluster_id(node.data)
    except FormError as error:
        raise CannotRegister(
            f"{paths.CLUSTER_ID} holds no cluster id: {error}\n"
            "  what to do: see that zookeeper.connect names the right path behind its hosts"
        ) from None


class Registration:
    """The znode of this broker. `registered` is set when it is there for the first time."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        broker_id: int,
        *,
        listeners: tuple[BrokerListener, ...],
        rack: str | None,
        features: Mapping[str, tuple[int, int]],
        wall_ms: Callable[[], int],
        patience_s: float,
    ) -> None:
        """`patience_s`: how long to wait for the end of a former process's session."""
        self.registered = trio.Event()
        self.epoch = -1
        """The czxid of the znode; -1 while there is none."""
        self._zookeeper = zookeeper
        self._broker_id = broker_id
        self._path = f"{paths.BROKER_IDS}/{broker_id}"
        self._listeners = listeners
        self._rack = rack
        self._features = features
        self._wall_ms = wall_ms
        self._patience_s = patience_s
        self._sessions: set[int] = set()
        """Of this process."""
        self._wake = trio.Event()
        self._leaves = False

    def was_session(self, session_id: int) -> None:
        """An earlier session of this very process: what it has left may be replaced."""
        self._sessions.add(session_id)

    async def run(self) -> None:
        """Until cancelled, or left: sees to it that the znode is there.

        Raises:
            CannotRegister: another broker has this id.
        """
        self._zookeeper.on_state(self._session_changed)
        while not self._leaves:
            self._wake = trio.Event()
            if self._zookeeper.state is SessionState.CONNECTED:
                try:
                    await self._see_to_it()
                except ZooKeeperError as error:
                    _log.warning("this broker is not registered", node=self._broker_id, why=str(error))
                    await trio.sleep(RETRY_S)
                    continue
            await self._wake.wait()

    async def leave(self) -> None:
        """Takes the znode away: the controller hears of it at once."""
        self._leaves = True
        try:
            node = await self._zookeeper.get(self._path)
            if node.stat.ephemeral_owner == self._zookeeper.session_id:
                await self._zookeeper.delete(self._path, node.stat.version)
        except ZooKeeperError as error:
            _log.info("the registration ends with the session", node=self._broker_id, why=str(error))

    def _session_changed(self, state: SessionState) -> None:
        if state is SessionState.LOST:
            self.epoch = -1
        self._wake.set()

    async def _see_to_it(self) -> None:
        session = self._zookeeper.session_id
        self.was_session(session)
        wake = self._wake
        stat = await self._zookeeper.exists(self._path, lambda _: wake.set())
        if stat is None:
            await self._register()
        elif stat.ephemeral_owner != session:
            await self._replace(stat)
        else:
            self.epoch = stat.czxid
            self.registered.set()

    async def _register(self) -> None:
        """The creation wakes this task once more, which then sees the znode and its epoch."""
        znode = BrokerZnode(
            listeners=self._listeners,
            rack=self._rack,
            features=self._features,
            timestamp_ms=self._wall_ms(),
        )
        try:
            await self._zookeeper.multi(
                [Create(self._path, None, ephemeral=True), SetData(self._path, encode_broker(znode), 0)]
            )
        except MultiFailed as error:
            if error.code is not ErrorCode.NODE_EXISTS:
                raise
            self._wake.set()
        else:
            _log.info("registered in ZooKeeper", node=self._broker_id)

    async def _replace(self, stat: Stat) -> None:
        """Somebody else's session has made it: one of this process that is over, or of another process."""
        if stat.ephemeral_owner in self._sessions:
            await self._zookeeper.delete(self._path, stat.version)
            return
        gone = trio.Event()
        if await self._zookeeper.exists(self._path, lambda _: gone.set()) is None:
            return
        _log.info("another session holds this broker's id; waiting for its end", node=self._broker_id)
        with trio.move_on_after(self._patience_s):
            await gone.wait()
            return
        raise CannotRegister(
            f"Broker {self._broker_id} is registered already, by the ZooKeeper session 0x{stat.ephemeral_owner:x}.\n"
            f"  where: {self._path}\n"
            "  why: another process runs with this id, or a former one's session is not over yet\n"
            "  what to do: stop the other process, or give this broker another broker.id"
        )
