"""The bare path of a replicated write: what is left of it without any Raft, protocol, validation or image.

Three trio processes and a client that blocks, frames of the sizes that the real ones have: the leader appends a write,
sends it to two followers and flushes in a thread; they append, flush and acknowledge; the first acknowledgement is
passed on to the client. What no implementation on trio can be faster than here, in the same hour: 4 hops, 2 flushes
side by side, 4 processes on the cores that there are.
"""

import os
import pathlib
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import trio

_WRITES = 2_000
_REQUEST, _REPLICATED, _FETCH, _ANSWER = (
    61,
    178,
    172,
    21,
)  # bytes of an IncrementalAlterConfigs, and what follows
_ROOM = 16 * 1024 * 1024
_READ = 64 * 1024


async def bare_write_ms(directory: pathlib.Path) -> float:
    """Median of one client that writes again when it is answered."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        followers = [_start(processes, "follow", directory / name) for name in ("bare-1", "bare-2")]
        port = _start(processes, "lead", directory / "bare-0", *followers)
        return await trio.to_thread.run_sync(_median_ms, int(port))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _median_ms(port: int) -> float:
    """The client blocks in its socket, as the one client of the real path does (`load`)."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as leader:
        leader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_WRITES):
            began = time.perf_counter()
            leader.sendall(b"w" * _REQUEST)
            if len(leader.recv(_ANSWER, socket.MSG_WAITALL)) < _ANSWER:
                raise EOFError
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def _start(processes: list[subprocess.Popen[bytes]], role: str, path: pathlib.Path, *arguments: str) -> str:
    """Its port."""
    words = [sys.executable, "-m", "benchmarks.bare_path", role, str(path), *arguments]
    processes.append(
        subprocess.Popen(words, stdout=subprocess.PIPE, cwd=pathlib.Path(__file__).parent.parent)
    )
    said = processes[-1].stdout
    assert said is not None
    return said.readline().decode().strip()


class _Log:
    """Appends into room that was taken ahead, as the real one does."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self._end = 0
        os.posix_fallocate(self._descriptor, 0, _ROOM)
        os.fsync(self._descriptor)

    def append(self, data: bytes) -> None:
        self._end += os.pwrite(self._descriptor, data, self._end)

    def flush(self) -> None:
        os.fdatasync(self._descriptor)


async def _exactly(stream: trio.abc.Stream, wanted: int) -> bytes:
    data = b""
    while len(data) < wanted:
        more = await stream.receive_some(_READ)
        if not more:
            raise EOFError
        data += more
    return data


async def _serve(handle: Callable[[trio.SocketStream], Awaitable[object]]) -> None:
    async def until_it_goes(asker: trio.SocketStream) -> None:
        try:
            await handle(asker)
        except (EOFError, trio.BrokenResourceError):
            os._exit(0)  # who asked has gone: so does this process

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(until_it_goes, listeners)


async def follow(path: str) -> None:
    log = _Log(path)

    async def replicate(leader: trio.SocketStream) -> None:
        while True:
            log.append(await _exactly(leader, _REPLICATED))
            log.flush()
            await leader.send_all(b"f" * _FETCH)

    await _serve(replicate)


async def lead(path: str, *ports: str) -> None:
    log = _Log(path)
    wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
    followers = [await trio.open_tcp_stream("127.0.0.1", int(port)) for port in ports]
    acknowledged = [0] * len(followers)
    answered = 0
    clients: list[trio.SocketStream] = []

    def flush() -> None:
        while True:
            wanted.get()
            log.flush()

    async def hear(number: int) -> None:
        nonlocal answered
        while True:
            await _exactly(followers[number], _FETCH)
            acknowledged[number] += 1
            if acknowledged[number] > answered:
                answered += 1
                await clients[0].send_all(b"a" * _ANSWER)

    async def serve(client: trio.SocketStream) -> None:
        clients.append(client)
        while True:
            await _exactly(client, _REQUEST)
            log.append(b"w" * _REPLICATED)
            for follower in followers:
                await follower.send_all(b"w" * _REPLICATED)
            wanted.put(None)

    threading.Thread(target=flush, daemon=True).start()
    async with trio.open_nursery() as nursery:
        for number in range(len(followers)):
            nursery.start_soon(hear, number)
        nursery.start_soon(_serve, serve)


if __name__ == "__main__":
    trio.run({"follow": follow, "lead": lead}[sys.argv[1]], *sys.argv[2:])
