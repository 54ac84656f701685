"""Clients that write as fast as they are answered: closed loops over Kafka's protocol."""

import statistics
import time
from collections.abc import Sequence

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import CallFailed, ConnectFailed, Connection, connect
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)

_BROKER = 4
_TIMEOUT_MS = 10_000


@attrs.frozen(kw_only=True)
class Result:
    """One load."""

    clients: int
    writes_per_s: float
    p50_ms: float
    p99_ms: float


def write(number: int) -> IncrementalAlterConfigsRequest:
    """A durable write: one cluster-wide config gets a value that it did not have."""
    change = IncrementalAlterableConfig(
        name="log.retention.ms", config_operation=0, value=str(1_000_000 + number)
    )
    resource = IncrementalAlterConfigsResource(resource_type=_BROKER, resource_name="", configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)


async def find_writer(addresses: Sequence[Address], *, within_s: float) -> Address:
    """The address that takes a write now.

    Raises:
        trio.TooSlowError: none does in time.
    """
    with trio.fail_after(within_s):
        while True:
            for address in addresses:
                if await _takes(address):
                    return address
            await trio.sleep(0.005)


async def _takes(address: Address) -> bool:
    try:
        connection = await connect(address, timeout_ms=500)
    except ConnectFailed:
        return False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            return acknowledged(await connection.call(write(0), 2_000))
        except CallFailed:
            return False
        finally:
            connection.close()


def acknowledged(answer: object) -> bool:
    return answer.responses[0].error_code is ErrorCode.none  # type: ignore[attr-defined]


async def closed_loop(address: Address, *, clients: int, seconds: float) -> Result:
    """So many connections, one write under way on each."""
    times: list[float] = []

    async def one(number: int, connection: Connection) -> None:
        sent = number * 1_000_000
        while time.perf_counter() < end:
            sent += 1
            began = time.perf_counter()
            answer = await connection.call(write(sent), _TIMEOUT_MS)
            if not acknowledged(answer):
                raise RuntimeError(f"a write was refused: {answer.responses[0]}")
            times.append(time.perf_counter() - began)

    async with trio.open_nursery() as connections:
        opened = [await connect(address, timeout_ms=5_000) for _ in range(clients)]
        for connection in opened:
            connections.start_soon(connection.run)
        await opened[0].call(write(0), _TIMEOUT_MS)
        began = time.perf_counter()
        end = began + seconds
        async with trio.open_nursery() as loops:
            for number, connection in enumerate(opened):
                loops.start_soon(one, number, connection)
        spent = time.perf_counter() - began
        connections.cancel_scope.cancel()
    times.sort()
    return Result(
        clients=clients,
        writes_per_s=len(times) / spent,
        p50_ms=statistics.median(times) * 1000,
        p99_ms=times[int(len(times) * 0.99)] * 1000,
    )
