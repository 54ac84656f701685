"""What the machine itself can do, measured in the same run: the yardstick of every other number."""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

import attrs
import trio

from benchmarks.bare_path import bare_write_ms

_ECHO = """
import sys, trio
async def echo(stream):
    async for data in stream:
        await stream.send_all(data)
async def main():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(echo, listeners)
trio.run(main)
"""
_FLUSHES = 400
_ECHOES = 3_000
_BYTES = 256
_REST_S = 0.001


@attrs.frozen(kw_only=True)
class Floor:
    """The least that one durable, replicated write could take: one flush and one round trip. Medians, in ms."""

    fdatasync_p50_ms: float
    """One after the other: the disk and the processor are awake."""
    rested_fdatasync_p50_ms: float
    """As a single client's writes ask for it: nothing was asked of disk and processor for a moment before."""
    echo_p50_ms: float
    """One request and answer on loopback between two processes, trio on both sides."""

    @property
    def ms(self) -> float:
        return self.fdatasync_p50_ms + self.echo_p50_ms

    @property
    def rested_ms(self) -> float:
        return self.rested_fdatasync_p50_ms + self.echo_p50_ms


@attrs.frozen(kw_only=True)
class Machine(Floor):
    """One machine: the floor, and what else it can do."""

    bare_write_p50_ms: float
    """A replicated write without anything but hops and flushes: see `bare_path`."""
    cores: int
    load: float


async def floor(directory: pathlib.Path) -> Floor:
    return Floor(
        fdatasync_p50_ms=_fdatasync_ms(directory),
        rested_fdatasync_p50_ms=_fdatasync_ms(directory, rest_s=_REST_S),
        echo_p50_ms=await _echo_ms(),
    )


async def measure(directory: pathlib.Path) -> Machine:
    return Machine(
        **attrs.asdict(await floor(directory)),
        bare_write_p50_ms=await bare_write_ms(directory),
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
    )


def _fdatasync_ms(directory: pathlib.Path, *, rest_s: float = 0.0) -> float:
    """Appends into room that was taken ahead, each followed by fdatasync: what the log does."""
    path = directory / "fdatasync"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, _FLUSHES * _BYTES)
        os.fsync(descriptor)
        times = []
        for at in range(_FLUSHES):
            time.sleep(rest_s)
            os.pwrite(descriptor, bytes([at % 256]) * _BYTES, at * _BYTES)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


async def _echo_ms() -> float:
    process = subprocess.Popen([sys.executable, "-c", _ECHO], stdout=subprocess.PIPE)  # noqa: ASYNC220
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(_ECHOES):
            began = time.perf_counter()
            await stream.send_all(b"x" * _BYTES)
            await stream.receive_some(4096)
            times.append(time.perf_counter() - began)
        await stream.aclose()
    finally:
        process.kill()
        process.wait()
    return statistics.median(times) * 1000
