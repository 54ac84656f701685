"""A cluster in ZooKeeper mode on loopback: a ZooKeeper server of ours and brokers on it, each a process.

    zookeeper.json           the server's port; written last, so its presence means that all files are there
    zookeeper/               its journal
    broker-1.toml            an ordinary configuration, to be changed at will but for id, port and zookeeper.connect
    broker-1.log             what that broker says; zookeeper.log: the server

The same `Cluster` as a quorum's launches the brokers: it has no controllers.
"""

import contextlib
import json
import pathlib
import random
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

import attrs
import trio

from quorate.admin.cluster import STOP_AT_EOF, Cluster, NodeProcess
from quorate.admin.cluster_files import ClusterFiles, NodeFiles
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.metadata.ids import NodeId
from quorate.metadata.settings import read

DEFAULT_BROKERS: Final = 3
CHROOT: Final = "/kafka"
TICK_MS: Final = 500
SESSION_MS: Final = 3_000
"""Short, so that a killed controller is followed soon: a dead process on loopback cannot come back late."""
_SUMMARY: Final = "zookeeper.json"
_QUORUM: Final = "cluster.json"
_LISTENS_WITHIN_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.05


@attrs.frozen(kw_only=True)
class ZooKeeperFiles:
    """Such a cluster, which can be started."""

    server: NodeFiles
    brokers: ClusterFiles

    @property
    def zookeeper(self) -> str:
        """As in zookeeper.connect."""
        return f"{self.server.address}{CHROOT}"


class ServerProcess(NodeProcess):
    """The ZooKeeper server: started and stopped like a node, and none."""

    def _command(self) -> list[str]:
        start = [sys.executable, "-P", "-m", "quorate.admin", "zookeeper", "start"]
        where = ["--directory", str(self.files.data), "--listen", self.files.address]
        return [*start, *where, "--tick-ms", str(TICK_MS), STOP_AT_EOF]

    async def listening(self) -> None:
        """
        Raises:
            NoAnswer: it does not come to listen.
        """
        with trio.move_on_after(_LISTENS_WITHIN_S):
            while not self.ended_by_itself:
                try:
                    stream = await trio.open_tcp_stream(LOOPBACK, self.files.port)
                except OSError:
                    await trio.sleep(_LOOK_AGAIN_S)
                    continue
                await stream.aclose()
                return
        raise NoAnswer(
            "The ZooKeeper server does not listen.", where=str(self.files.log), why=self.last_words() or None
        )


def lay_out(
    directory: pathlib.Path,
    ports: HeldPorts,
    rng: random.Random,
    *,
    brokers: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> ZooKeeperFiles:
    """The cluster in a directory: the one that is there, or a new one. Holds all ports.

    `brokers`: how many; None: as before, or three at first. `settings`: of new brokers, beyond the written ones.

    Raises:
        Refused: the directory is a quorum's, or a port is taken.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / _QUORUM).exists():
        raise Refused(
            "There is a cluster with a quorum in this directory.",
            where=str(directory),
            why="its metadata is not in ZooKeeper, and cannot be moved there",
            remedy="name another directory with --dir, or leave --zookeeper out",
        )
    summary = directory / _SUMMARY
    if summary.exists():
        server = node_files(directory, "zookeeper", NodeId(0), int(json.loads(summary.read_text())["port"]))
        ports.hold(server.port, "the ZooKeeper server")
        known = sorted(directory.glob("broker-*.toml"))
        nodes = [_known(directory, config) for config in known]
        for node in nodes:
            ports.hold(node.port, node.name)
    else:
        server, nodes = node_files(directory, "zookeeper", NodeId(0), ports.claim(rng)), []
    wanted = brokers if brokers is not None else len(nodes) or DEFAULT_BROKERS
    while len(nodes) < wanted:
        node_id = NodeId(len(nodes) + 1)
        added = node_files(directory, f"broker-{node_id}", node_id, ports.claim(rng))
        _write(added, server, settings or {})
        nodes.append(added)
    summary.write_text(json.dumps({"port": server.port}) + "\n")
    found = ClusterFiles(directory=directory, cluster_id="", controllers=(), brokers=tuple(nodes[:wanted]))
    return ZooKeeperFiles(server=server, brokers=found)


@contextlib.asynccontextmanager
async def running_on_zookeeper(
    files: ZooKeeperFiles,
) -> AsyncIterator[tuple[ServerProcess, Cluster[NodeProcess]]]:
    """Starts all; at the end, however it comes, stops the brokers and then the server."""
    server, cluster = ServerProcess(files.server), Cluster(files.brokers, NodeProcess)
    try:
        await server.start()
        await server.listening()
        await cluster.start()
        yield server, cluster
    finally:
        with trio.CancelScope(shield=True):
            await cluster.stop()
            await server.stop()


def node_files(directory: pathlib.Path, name: str, node_id: NodeId, port: int) -> NodeFiles:
    """The files of one process of that name."""
    return NodeFiles(
        role="broker",
        id=node_id,
        port=port,
        config=directory / f"{name}.toml",
        data=directory / name,
        log=directory / f"{name}.log",
    )


def _known(directory: pathlib.Path, config: pathlib.Path) -> NodeFiles:
    """Id and port are what the configuration says now."""
    texts = read(config).texts
    port = int(texts["listeners"].value.rpartition(":")[2])
    return node_files(directory, config.stem, NodeId(int(texts["broker.id"].value)), port)


def _write(node: NodeFiles, server: NodeFiles, settings: Mapping[str, str]) -> None:
    values = {
        "broker.id": str(node.id),
        "listeners": f"PLAINTEXT://{node.address}",
        "zookeeper.connect": f"{server.address}{CHROOT}",
        "zookeeper.session.timeout.ms": str(SESSION_MS),
        **settings,
    }
    lines = [
        f"# {node.name} of the cluster in this directory, written by `quorate dev --zookeeper`.",
        "# Change what you like and start it again; id, port and zookeeper.connect must stay.",
        *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()),
    ]
    node.config.write_text("\n".join(lines) + "\n")
