"""How long nobody can write after the leader is gone: killed, stopped (SIGSTOP), or stopped in order."""

import pathlib
import statistics
import time
from typing import Any

import attrs
import trio

from benchmarks import load, machine
from benchmarks.clusters import fresh_cluster
from quorate.admin.cluster import Cluster, NodeProcess
from quorate.metadata.addresses import Address

_WITHIN_S = 30.0


async def run(directory: pathlib.Path, *, times: int) -> dict[str, Any]:
    """Each way as often as asked for; between two rounds the node comes back."""
    yardstick = await machine.measure(directory)
    async with fresh_cluster(directory, controllers=3, brokers=0) as cluster:
        gaps = {way: [await _gap_ms(cluster, way) for _ in range(times)] for way in ("kill", "pause", "stop")}
    return {
        "machine": attrs.asdict(yardstick),
        "gap_ms": {
            way: {"median": statistics.median(all_), "max": max(all_), "all": [round(gap) for gap in all_]}
            for way, all_ in gaps.items()
        },
    }


async def _gap_ms(cluster: Cluster[NodeProcess], way: str) -> float:
    """From the moment the leader goes to the next acknowledged write anywhere else."""
    await _all_answer(cluster)
    leader = await load.find_writer(_addresses(cluster), within_s=_WITHIN_S)
    node = next(one for one in cluster.controllers if one.files.port == leader.port)
    others = [address for address in _addresses(cluster) if address != leader]
    began = time.perf_counter()
    match way:
        case "kill":
            node.kill()
        case "pause":
            node.suspend()
        case _:
            node.terminate()
    await load.find_writer(others, within_s=_WITHIN_S)
    gap = (time.perf_counter() - began) * 1000
    if way == "pause":
        node.resume()
    else:
        await node.wait()
        await node.start()
    return gap


async def _all_answer(cluster: Cluster[NodeProcess]) -> None:
    readiness = await cluster.ready(within_s=_WITHIN_S)
    del readiness
    await trio.sleep(1)  # followers fetch again: a benchmark of the ordinary case, not of a double failure


def _addresses(cluster: Cluster[NodeProcess]) -> list[Address]:
    return [Address("127.0.0.1", node.port) for node in cluster.files.controllers]
