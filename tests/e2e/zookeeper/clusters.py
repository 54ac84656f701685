"""Brokers in ZooKeeper mode on a ZooKeeper server of ours, as processes."""

import json
import pathlib
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import ClusterFiles, NodeFiles
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.metadata.ids import NodeId
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_controller
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from quorate.metadata.zookeeper.live_tree import read_tree
from quorate.metadata.zookeeper.znodes import Tree
from tests.e2e.conftest import WITHIN_S

SESSION_MS = 3_000
CHROOT = "/kafka"


class ServerProcess(NodeProcess):
    """The ZooKeeper server; not told apart from a node but by how it is started."""

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "tests.e2e.zookeeper.server",
            str(self.files.data),
            str(self.files.port),
        ]


@attrs.define
class ZooKeeperCluster:
    """The server, and the brokers on it."""

    server: ServerProcess
    brokers: Cluster[NodeProcess]

    async def tree(self) -> Tree:
        """What lies in ZooKeeper."""
        settings = ConnectSettings(hosts=f"{self.server.files.address}{CHROOT}")
        async with connected(settings) as zookeeper:
            return await read_tree(zookeeper)

    async def reading(self) -> Reading:
        return read(await self.tree(), ReadOptions())

    async def controller(self, *, other_than: NodeProcess | None = None) -> NodeProcess:
        """Whose office it is, as ZooKeeper says, as soon as it is somebody's."""
        settings = ConnectSettings(hosts=f"{self.server.files.address}{CHROOT}")
        with trio.fail_after(WITHIN_S):
            async with connected(settings) as zookeeper:
                while True:
                    changed = trio.Event()
                    if await zookeeper.exists(paths.CONTROLLER, lambda _, event=changed: event.set()):  # type: ignore[misc]
                        seat = (await zookeeper.get_many([paths.CONTROLLER]))[0]
                        found = seat and self.brokers.node(decode_controller(seat.data).broker_id)
                        if found and found is not other_than:
                            return found
                    await changed.wait()


@asynccontextmanager
async def zookeeper_cluster(
    directory: pathlib.Path, *, brokers: int = 3, **settings: str
) -> AsyncIterator[ZooKeeperCluster]:
    """Started and ready. `settings`: keys of the brokers' files, with underscores for dots."""
    rng = random.Random()
    with HeldPorts() as ports:
        server = ServerProcess(_files(directory, "server", NodeId(0), ports.claim(rng)))
        nodes = [
            _broker(directory, NodeId(one), ports.claim(rng), server.files, settings)
            for one in range(1, brokers + 1)
        ]
        files = ClusterFiles(directory=directory, cluster_id="", controllers=(), brokers=tuple(nodes))
        cluster = ZooKeeperCluster(server, Cluster(files, NodeProcess))
        try:
            await server.start()
            await cluster.brokers.start()
            await cluster.brokers.ready(within_s=WITHIN_S)
            yield cluster
        finally:
            with trio.CancelScope(shield=True):
                await cluster.brokers.stop()
                await server.stop()


def _files(directory: pathlib.Path, name: str, node_id: NodeId, port: int) -> NodeFiles:
    return NodeFiles(
        role="broker",
        id=node_id,
        port=port,
        config=directory / f"{name}.toml",
        data=directory / name,
        log=directory / f"{name}.log",
    )


def _broker(
    directory: pathlib.Path, node_id: NodeId, port: int, server: NodeFiles, settings: dict[str, str]
) -> NodeFiles:
    files = _files(directory, f"broker-{node_id}", node_id, port)
    values = {
        "broker.id": str(node_id),
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "zookeeper.connect": f"{server.address}{CHROOT}",
        "zookeeper.session.timeout.ms": str(SESSION_MS),
        **{key.replace("_", "."): value for key, value in settings.items()},
    }
    files.config.write_text(
        "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())
    )
    return files
