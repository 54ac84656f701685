"""Durable writes per second and their latency, at the leader and through a broker."""

import pathlib
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster
from quorate.metadata.addresses import Address

CLIENTS = (1, 16, 64, 256)


async def run(directory: pathlib.Path, *, seconds: float) -> dict[str, Any]:
    """Three controllers and one broker as processes; IncrementalAlterConfigs over the real protocol."""
    yardstick = await machine.measure(directory)
    async with fresh_cluster(directory, controllers=3, brokers=1) as cluster:
        controllers = [Address("127.0.0.1", node.port) for node in cluster.files.controllers]
        leader = await load.find_writer(controllers, within_s=20)
        direct = [await load.closed_loop(leader, clients=clients, seconds=seconds) for clients in CLIENTS]
        broker = Address("127.0.0.1", cluster.files.brokers[0].port)
        forwarded = [await load.closed_loop(broker, clients=clients, seconds=seconds) for clients in CLIENTS]
    return {
        "machine": attrs.asdict(yardstick),
        "direct": [attrs.asdict(one) for one in direct],
        "through_broker": [attrs.asdict(one) for one in forwarded],
        "one_client_p50_over_fdatasync_plus_echo": direct[0].p50_ms / yardstick.floor_ms,
        "through_broker_over_direct_at_64": forwarded[2].writes_per_s / direct[2].writes_per_s,
    }
