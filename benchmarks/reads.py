"""Reads per second and their latency: confirmed by a majority before each answer, and not."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster, leader_of
from quorate.admin.cluster_files import NodeFiles
from quorate.metadata.addresses import Address

CLIENTS = (1, 64)


async def run(directory: pathlib.Path, *, seconds: float) -> dict[str, Any]:
    """DescribeConfigs of one config: at the leader, at a controller that does not lead and at a broker, whose answers
    may be old; then at the leader of a cluster that is made to answer without asking."""
    yardstick = await machine.measure(directory)
    async with fresh_cluster(directory / "confirming", controllers=3, brokers=1) as cluster:
        leader = await leader_of(cluster)
        confirmed = await _loads(leader, seconds)
        follower = next(node.port for node in cluster.files.controllers if node.port != leader.port)
        at_follower = await _loads(Address(leader.host, follower), seconds)
        at_broker = await _loads(Address(leader.host, cluster.files.brokers[0].port), seconds)
    with _unconfirmed():
        async with fresh_cluster(directory / "unconfirmed", controllers=3, brokers=1) as cluster:
            unconfirmed = await _loads(await leader_of(cluster), seconds)
    return {
        "machine": attrs.asdict(yardstick),
        "leader": [one.told("reads") for one in confirmed],
        "leader_without_read_index": [one.told("reads") for one in unconfirmed],
        "follower": [one.told("reads") for one in at_follower],
        "broker": [one.told("reads") for one in at_broker],
        "one_client_p50_over_echo": confirmed[0].p50_ms / yardstick.echo_p50_ms,
        "one_client_p50_over_echo_without_read_index": unconfirmed[0].p50_ms / yardstick.echo_p50_ms,
    }


async def _loads(address: Address, seconds: float) -> list[load.Result]:
    return [
        await load.closed_loop(address, clients=clients, seconds=seconds, make=load.Reader)
        for clients in CLIENTS
    ]


@contextlib.contextmanager
def _unconfirmed() -> Iterator[None]:
    """Within the block nodes are started with `benchmarks.unconfirmed` instead of the real command."""

    def command(files: NodeFiles) -> list[str]:
        return [sys.executable, "-m", "benchmarks.unconfirmed", files.role, "start", str(files.config)]

    with patch("quorate.admin.cluster.command", command):
        yield
