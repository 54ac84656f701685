"""Durable writes per second and their latency, at the leader and through a broker."""

import pathlib
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster, leader_of
from quorate.metadata.addresses import Address

CLIENTS = (1, 16, 64, 256)


async def run(directory: pathlib.Path, *, seconds: float) -> dict[str, Any]:
    """Three controllers as processes, then with a broker; IncrementalAlterConfigs over the real protocol."""
    yardstick = await machine.measure(directory)
    async with fresh_cluster(directory / "controllers", controllers=3, brokers=0) as cluster:
        direct = await _loads(await leader_of(cluster), seconds)
    async with fresh_cluster(directory / "with-broker", controllers=3, brokers=1) as cluster:
        beside_broker = await _loads(await leader_of(cluster), seconds)
        forwarded = await _loads(Address("127.0.0.1", cluster.files.brokers[0].port), seconds)
    at_64 = CLIENTS.index(64)
    return {
        "machine": attrs.asdict(yardstick),
        "direct": [one.told("writes") for one in direct],
        "direct_beside_broker": [one.told("writes") for one in beside_broker],
        "through_broker": [one.told("writes") for one in forwarded],
        "one_client_p50_over_fdatasync_plus_echo": direct[0].p50_ms / yardstick.floor_ms,
        "one_client_p50_over_rested_fdatasync_plus_echo": direct[0].p50_ms
        / (yardstick.rested_fdatasync_p50_ms + yardstick.echo_p50_ms),
        "bare_write_over_fdatasync_plus_echo": yardstick.bare_write_p50_ms / yardstick.floor_ms,
        "through_broker_over_direct_beside_it_at_64": forwarded[at_64].per_s / beside_broker[at_64].per_s,
    }


async def _loads(address: Address, seconds: float) -> list[load.Result]:
    return [await load.closed_loop(address, clients=clients, seconds=seconds) for clients in CLIENTS]
