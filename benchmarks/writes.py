"""Durable writes per second and their latency, at the leader and through a broker."""

import pathlib
import statistics
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster, leader_of
from quorate.metadata.addresses import Address

CLIENTS = (1, 16, 64, 256)
ROUNDS = 9


async def run(directory: pathlib.Path, *, seconds: float) -> dict[str, Any]:
    """Three controllers as processes, then with a broker; IncrementalAlterConfigs over the real protocol."""
    yardstick = await machine.measure(directory)
    async with fresh_cluster(directory / "controllers", controllers=3, brokers=0) as cluster:
        leader = await leader_of(cluster)
        direct = await _loads(leader, seconds)
        rounds = [await _round(directory, leader, seconds / 3) for _ in range(ROUNDS)]
    async with fresh_cluster(directory / "with-broker", controllers=3, brokers=1) as cluster:
        beside_broker = await _loads(await leader_of(cluster), seconds)
        forwarded = await _loads(Address("127.0.0.1", cluster.files.brokers[0].port), seconds)
    at_64 = CLIENTS.index(64)
    return {
        "machine": attrs.asdict(yardstick),
        "direct": [one.told("writes") for one in direct],
        "direct_beside_broker": [one.told("writes") for one in beside_broker],
        "through_broker": [one.told("writes") for one in forwarded],
        "one_client": rounds,
        **{
            f"one_client_{name}": statistics.median(one[name] for one in rounds)
            for name in ("p50_over_fdatasync_plus_echo", "p50_over_rested_fdatasync_plus_echo")
        },
        "bare_write_over_fdatasync_plus_echo": yardstick.bare_write_p50_ms / yardstick.ms,
        "through_broker_over_direct_beside_it_at_64": forwarded[at_64].per_s / beside_broker[at_64].per_s,
    }


async def _loads(address: Address, seconds: float) -> list[load.Result]:
    return [await load.closed_loop(address, clients=clients, seconds=seconds) for clients in CLIENTS]


async def _round(directory: pathlib.Path, address: Address, seconds: float) -> dict[str, float]:
    """One client's writes between two looks at the machine, whose speed may change by half within a minute."""
    before = await machine.floor(directory)
    p50_ms = (await load.closed_loop(address, clients=1, seconds=seconds)).p50_ms
    after = await machine.floor(directory)
    return {
        "p50_ms": p50_ms,
        "p50_over_fdatasync_plus_echo": 2 * p50_ms / (before.ms + after.ms),
        "p50_over_rested_fdatasync_plus_echo": 2 * p50_ms / (before.rested_ms + after.rested_ms),
    }
