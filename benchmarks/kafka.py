"""Kafka's three controllers against ours, side by side in one run, with the same two brokers of Kafka's."""

import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio

from benchmarks import load, machine
from benchmarks.kafka_sides import WITHIN_S, MakeSide, Side, ours, theirs
from quorate.admin.kafka_distribution import from_maven
from quorate.admin.talk import Manner, talking
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import Connection
from quorate.metadata.wire.cluster import MetadataRequest, MetadataRequestTopic
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest

CLIENTS: Final = (1, 16)
_TOPICS: Final = 100
_AT_ONCE: Final = 1_000
_MANNER: Final = Manner(timeout_ms=60_000, client_id="benchmark")


async def run(directory: pathlib.Path, *, version: str, seconds: float, times: int) -> dict[str, Any]:
    """Each number of both, and ours over theirs."""
    yardstick = await machine.measure(directory)
    class_path = await trio.to_thread.run_sync(from_maven, version)
    sides: tuple[tuple[str, MakeSide], ...] = (("kafka", theirs), ("quorate", ours))
    found = {name: await _measure(make, directory / name, class_path, seconds, times) for name, make in sides}
    numbers = {
        key: {
            "kafka": value,
            "quorate": found["quorate"][key],
            "ratio": found["quorate"][key] / value if value else 0.0,
        }
        for key, value in found["kafka"].items()
    }
    return {"machine": attrs.asdict(yardstick), "brokers": version, **numbers}


async def _measure(
    make: MakeSide, directory: pathlib.Path, class_path: str, seconds: float, times: int
) -> dict[str, float]:
    async with make(directory, class_path) as (side, start):
        began = time.perf_counter()
        await start()
        active = await side.active()
        found = {"start-up to the first write, s": time.perf_counter() - began}
        await side.brokers_serve()
        for clients in CLIENTS:
            result = await load.closed_loop(active, clients=clients, seconds=seconds)
            found[f"admin writes/s, direct, {clients} clients"] = result.per_s
            found[f"admin write p50, direct, {clients} clients, ms"] = result.p50_ms
        for clients in CLIENTS:
            result = await load.closed_loop(side.broker, clients=clients, seconds=seconds)
            found[f"admin writes/s, through a broker, {clients} clients"] = result.per_s
            found[f"admin write p50, through a broker, {clients} clients, ms"] = result.p50_ms
        found |= await _topics(side)
        found["controller memory after that, MB"] = statistics.median(side.controllers_mb())
        gaps = [await _failover(side) for _ in range(times)]
        found["SIGKILL of the active controller to the next write, median s"] = statistics.median(gaps)
        found["SIGKILL of the active controller to the next write, max s"] = max(gaps)
    return found


async def _topics(side: Side) -> dict[str, float]:
    """CreateTopics through a broker: acknowledged, and its leader visible at that broker."""
    acknowledged, visible = [], []
    async with talking(side.broker, _MANNER) as connection:
        await _create(connection, ["warm-up"])
        await _leaders(connection, ["warm-up"])
        for number in range(_TOPICS):
            began = time.perf_counter()
            await _create(connection, [f"one-{number}"])
            acknowledged.append((time.perf_counter() - began) * 1000)
            await _leaders(connection, [f"one-{number}"])
            visible.append((time.perf_counter() - began) * 1000)
        names = [f"many-{number}" for number in range(_AT_ONCE)]
        began = time.perf_counter()
        await _create(connection, names)
        many_acknowledged = time.perf_counter() - began
        await _leaders(connection, names)
        many_visible = time.perf_counter() - began
    return {
        "CreateTopics acknowledged, p50 ms": statistics.median(acknowledged),
        "CreateTopics to leader visible, p50 ms": statistics.median(visible),
        "CreateTopics to leader visible, p99 ms": _p99(visible),
        "1,000 topics in one request, acknowledged, s": many_acknowledged,
        "1,000 topics in one request, all leaders visible, s": many_visible,
    }


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99) - 1]


async def _create(connection: Connection, names: Sequence[str]) -> None:
    topics = tuple(CreatableTopic(name=name, num_partitions=1, replication_factor=2) for name in names)
    answer = await connection.call(
        CreateTopicsRequest(topics=topics, timeout_ms=_MANNER.timeout_ms), _MANNER.timeout_ms
    )
    wrong = [one for one in answer.topics if one.error_code is not ErrorCode.none]
    if wrong:
        raise load.Refused(str(wrong[0]))


async def _leaders(connection: Connection, names: Sequence[str]) -> None:
    request = MetadataRequest(
        topics=tuple(MetadataRequestTopic(name=name) for name in names), allow_auto_topic_creation=False
    )
    with trio.fail_after(WITHIN_S):
        while True:
            answer = await connection.call(request, _MANNER.timeout_ms)
            partitions = [one for topic in answer.topics for one in topic.partitions]
            if len(partitions) == len(names) and all(one.leader_id >= 0 for one in partitions):
                return


async def _failover(side: Side) -> float:
    """From the kill to the answer of a write that is sent to a broker then: the broker finds the new controller."""
    active = await side.active()
    await trio.sleep(3)  # the others fetch again: the ordinary case, not a double failure
    node = side.controllers[active]
    async with talking(side.broker, _MANNER) as connection:
        began = time.perf_counter()
        node.kill()
        while not load.acknowledged(await connection.call(load.write(0), _MANNER.timeout_ms)):
            pass
        gap = time.perf_counter() - began
    await node.wait()
    await node.start()
    await side.active()
    return gap
