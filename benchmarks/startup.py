"""From nothing running to the first acknowledged write; memory of each node when idle."""

import pathlib
import statistics
import time
from typing import Any

import attrs

from benchmarks import load, machine
from benchmarks.clusters import fresh_files, resident_mb
from quorate.admin.cluster import running
from quorate.metadata.addresses import Address


async def run(directory: pathlib.Path, *, times: int) -> dict[str, Any]:
    """Three fresh controllers each time; formatting is not counted."""
    yardstick = await machine.measure(directory)
    firsts, memory = [], []
    for number in range(times):
        files = fresh_files(directory / str(number), controllers=3, brokers=0)
        began = time.perf_counter()
        async with running(files) as cluster:
            addresses = [Address("127.0.0.1", node.port) for node in files.controllers]
            await load.find_writer(addresses, within_s=30)
            firsts.append(time.perf_counter() - began)
            memory += [resident_mb(node.pid) for node in cluster.controllers if node.pid is not None]
    return {
        "machine": attrs.asdict(yardstick),
        "first_write_s": {"median": statistics.median(firsts), "max": max(firsts)},
        "controller_resident_mb": {"median": statistics.median(memory), "max": max(memory)},
    }
