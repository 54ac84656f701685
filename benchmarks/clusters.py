"""Clusters of real processes for benchmarks: the launcher of `quorate dev`, on fresh directories."""

import pathlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import load
from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, lay_out
from quorate.admin.ports import HeldPorts
from quorate.metadata.addresses import Address
from tests.secured import Secured


def fresh_files(
    directory: pathlib.Path, *, controllers: int, brokers: int, guard: Secured | None = None
) -> ClusterFiles:
    """`guard`: what the nodes ask of their clients."""
    wanted = (guard or Secured(mode="plaintext")).wanted(controllers=controllers, brokers=brokers)
    directory.mkdir(parents=True, exist_ok=True)
    with HeldPorts() as ports:
        return lay_out(directory / "cluster", ports, random.Random(), wanted)


@asynccontextmanager
async def fresh_cluster(
    directory: pathlib.Path, *, controllers: int, brokers: int, guard: Secured | None = None
) -> AsyncIterator[Cluster[NodeProcess]]:
    """Up and ready; gone afterwards."""
    files = fresh_files(directory, controllers=controllers, brokers=brokers, guard=guard)
    async with running(files) as cluster:
        await cluster.ready(within_s=30)
        yield cluster


async def leader_of(cluster: Cluster[NodeProcess]) -> Address:
    """Where writes are taken."""
    controllers = [Address("127.0.0.1", node.port) for node in cluster.files.controllers]
    return await load.find_writer(controllers, within_s=20, login=cluster.files.login())


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in megabytes of 10^6 bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return kib * 1024 / 1e6
