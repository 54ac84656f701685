"""Who may log in at a broker in ZooKeeper mode: SCRAM credentials and delegation tokens, followed (shell).

Everything else a broker asks the controller; but a login is judged before anything is asked, and must not wait for
another broker. As Kafka's do, it reads all of them at its start and again whenever somebody says that users or tokens
have changed; news that come together are read once.
"""

from typing import Final

import structlog
import trio

from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.metadata import features
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import NOWHERE, MetadataImage
from quorate.metadata.records import DelegationTokenRecord, UserScramCredentialRecord
from quorate.metadata.security.mechanisms import SCRAM
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import ErrorCode, SessionState, Tree, Znode, ZooKeeperError

GATHER_S: Final = 0.05
RETRY_S: Final = 0.5
_NEWS: Final = (paths.CONFIG_CHANGES, paths.TOKEN_CHANGES)
_USERS: Final = (paths.USERS, paths.TOKENS)

_log = structlog.get_logger("broker")


def needs_users(config: ZooKeeperBrokerConfig) -> bool:
    """Whether any listener looks credentials or tokens up."""
    spoken = {
        mechanism
        for listener in config.listener_security.values()
        if listener.sasl is not None
        for mechanism in listener.sasl.mechanisms
    }
    return not spoken.isdisjoint(SCRAM)


class UserFollower:
    """`image` has credentials and tokens, and nothing else."""

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self.image = MetadataImage.EMPTY
        self._zookeeper = zookeeper
        self._wake = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once everything was read for the first time."""
        self._zookeeper.on_state(lambda _: self._wake.set())
        told = False
        while True:
            self._wake = wake = trio.Event()
            if self._zookeeper.state is SessionState.CONNECTED:
                try:
                    for path in _NEWS:
                        await self._children(path, wake)
                    self.image = users_in(await self._read())
                except ZooKeeperError as error:
                    _log.warning("users cannot be read", why=str(error))
                    await trio.sleep(RETRY_S)
                    continue
                if not told:
                    told = True
                    task_status.started()
            await wake.wait()
            await trio.sleep(GATHER_S)

    async def _children(self, path: str, wake: trio.Event) -> list[str]:
        try:
            return await self._zookeeper.children(path, lambda _: wake.set())
        except ZooKeeperError as error:
            if error.code is not ErrorCode.NO_NODE:
                raise
        await self._zookeeper.exists(path, lambda _: wake.set())
        return []

    async def _read(self) -> Tree:
        tree: dict[str, Znode] = {}
        for above, names in zip(_USERS, await self._zookeeper.children_many(_USERS), strict=True):
            found = await self._zookeeper.get_many([f"{above}/{name}" for name in names or ()])
            tree.update({node.path: node for node in found if node is not None})
        return tree


def users_in(tree: Tree) -> MetadataImage:
    """What cannot be read is left out: such a user cannot log in; the controller's log says why."""
    options = ReadOptions(lenient=frozenset(Category))
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(features.format_records())
    delta.replay_all(
        record
        for record in read(tree, options).records()
        if isinstance(record, UserScramCredentialRecord | DelegationTokenRecord)
    )
    return delta.apply(NOWHERE)
