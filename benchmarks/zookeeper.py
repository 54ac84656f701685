"""Our ZooKeeper server, as a process of its own: durable creations from kazoo's async calls, single ones, reads.

kazoo pays for its side in this process, and it is a good part of it: each of its calls goes through three threads.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import trio
from kazoo.client import KazooClient

from benchmarks import machine
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.trees import read_tree

_ASYNC = 10_000
_ONE_BY_ONE = 1_000
_WINDOW = 1_000
_DATA = b"x" * 100


async def run(directory: pathlib.Path) -> dict[str, Any]:
    """Numbers a second."""
    yardstick = await machine.measure(directory)
    with _server(directory / "zookeeper") as (address, pid):
        found = await trio.to_thread.run_sync(_with_kazoo, address)
        async with connected(ConnectSettings(hosts=address)) as zookeeper:
            began = time.perf_counter()
            tree = await read_tree(zookeeper)
            found["znodes of a tree read/s (multiRead)"] = len(tree) / (time.perf_counter() - began)
        found["resident memory of the server, MB"] = _resident_mb(pid)
    return {"machine": attrs.asdict(yardstick), "zookeeper": found}


@contextlib.contextmanager
def _server(directory: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Its address and process."""
    words = [sys.executable, "-m", "quorate.admin", "zookeeper", "start", "--listen", "127.0.0.1:0"]
    words += ["--directory", str(directory), "--output", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["address"], server.pid
        server.terminate()


def _with_kazoo(address: str) -> dict[str, Any]:
    client = KazooClient(hosts=address)
    client.start()
    client.create("/many")
    client.create("/one")
    found = {
        "durable creates/s, async": _rate(
            _ASYNC, lambda index: client.create_async(f"/many/{index}", _DATA), _WINDOW
        ),
        "durable sets/s, one by one": _rate(_ONE_BY_ONE, lambda index: client.set_async("/one", _DATA), 1),
        "gets/s, async": _rate(_ASYNC, lambda index: client.get_async(f"/many/{index}"), _WINDOW),
        "gets/s, one by one": _rate(_ONE_BY_ONE, lambda index: client.get_async("/one"), 1),
    }
    client.stop()
    client.close()
    return found


def _rate(count: int, ask: Callable[[int], Any], window: int) -> float:
    began = time.perf_counter()
    waiting: list[Any] = []
    for index in range(count):
        waiting.append(ask(index))
        if len(waiting) >= window:
            waiting.pop(0).get()
    for one in waiting:
        one.get()
    return count / (time.perf_counter() - began)


def _resident_mb(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0
