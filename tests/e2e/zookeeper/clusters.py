"""Brokers in ZooKeeper mode on a ZooKeeper server of ours, as processes."""

import pathlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.ports import HeldPorts
from quorate.admin.zookeeper_cluster import CHROOT, ServerProcess, lay_out, running_on_zookeeper
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_controller
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from quorate.metadata.zookeeper.live_tree import read_tree
from quorate.metadata.zookeeper.znodes import Tree
from tests.e2e.conftest import WITHIN_S


@attrs.define
class ZooKeeperCluster:
    """The server, and the brokers on it."""

    server: ServerProcess
    brokers: Cluster[NodeProcess]

    @property
    def _settings(self) -> ConnectSettings:
        return ConnectSettings(hosts=f"{self.server.files.address}{CHROOT}")

    async def tree(self) -> Tree:
        """What lies in ZooKeeper."""
        async with connected(self._settings) as zookeeper:
            return await read_tree(zookeeper)

    async def reading(self) -> Reading:
        return read(await self.tree(), ReadOptions())

    async def controller(self, *, other_than: NodeProcess | None = None) -> NodeProcess:
        """Whose office it is, as ZooKeeper says, as soon as it is somebody's."""
        with trio.fail_after(WITHIN_S):
            async with connected(self._settings) as zookeeper:
                while True:
                    changed = trio.Event()
                    if await zookeeper.exists(paths.CONTROLLER, lambda _, event=changed: event.set()):  # type: ignore[misc]
                        seat = (await zookeeper.get_many([paths.CONTROLLER]))[0]
                        found = seat and self.brokers.node(decode_controller(seat.data).broker_id)
                        if found and found is not other_than:
                            return found
                    await changed.wait()


@asynccontextmanager
async def zookeeper_cluster(directory: pathlib.Path, **settings: str) -> AsyncIterator[ZooKeeperCluster]:
    """Started and ready. `settings`: keys of the brokers' files, with underscores for dots."""
    given = {key.replace("_", "."): value for key, value in settings.items()}
    with HeldPorts() as ports:
        files = lay_out(directory, ports, random.Random(), settings=given)
        async with running_on_zookeeper(files) as (server, brokers):
            await brokers.ready(within_s=WITHIN_S)
            yield ZooKeeperCluster(server, brokers)
