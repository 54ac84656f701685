"""The ensembles that the contract of `interface.ZooKeeper` is tried on: a tree in this process, our server and a real
ZooKeeper 3.8.4, both through kazoo."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, Protocol

import pytest
import trio
from kazoo.client import KazooClient

from quorate.metadata.zookeeper.client import KazooZooKeeper, connected
from quorate.metadata.zookeeper.embedded import EmbeddedServer
from quorate.metadata.zookeeper.interface import ConnectSettings, ZooKeeper
from quorate.metadata.zookeeper.server import running_server
from tests.e2e.java.artifacts import class_path

TICK_MS: Final = 200
"""So that sessions can be awaited: they end within 2 to 20 of them."""
_UP_WITHIN_S: Final = 60.0


class Ensemble(Protocol):
    """Something to connect to."""

    def connect(self) -> AbstractAsyncContextManager[ZooKeeper]: ...

    async def expire(self, session: ZooKeeper) -> None:
        """Ends this session; its client may not know yet."""
        ...


class Embedded:
    def __init__(self) -> None:
        self._server = EmbeddedServer(tick_ms=TICK_MS)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[ZooKeeper]:
        client = self._server.connect()
        yield client
        client.close()

    async def expire(self, session: ZooKeeper) -> None:
        self._server.expire(session.session_id)


class ThroughKazoo:
    def __init__(self, port: int, chroot: str = "") -> None:
        self._hosts = f"127.0.0.1:{port}{chroot}"

    def connect(self) -> AbstractAsyncContextManager[ZooKeeper]:
        return connected(ConnectSettings(hosts=self._hosts, session_timeout_ms=20 * TICK_MS))

    async def expire(self, session: ZooKeeper) -> None:
        """A second connection of the same session, which closes it, as kazoo's own tests do."""
        assert isinstance(session, KazooZooKeeper)
        await trio.to_thread.run_sync(partial(_close_session, self._hosts, session.session))


def _close_session(hosts: str, session: tuple[int, bytes]) -> None:
    twin = KazooClient(hosts=hosts, client_id=session, timeout=4)
    twin.start()
    twin.stop()
    twin.close()


@contextlib.contextmanager
def real_zookeeper(directory: pathlib.Path, *, users: Mapping[str, str] | None = None) -> Iterator[int]:
    """Runs one in a JVM; gives its port. `users`: passwords of those who may log in by SASL."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            if os.environ.get("TESTS_NO_SKIP"):
                pytest.fail(f"{program} is not installed, and nothing may be skipped here")
            pytest.skip(f"{program} is not installed")
    port = _free_port()
    config = directory / "zoo.cfg"
    config.write_text(
        f"tickTime={TICK_MS}\ndataDir={directory}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
        "maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n"
    )
    command = ["java", "-Xmx256m", "-cp", class_path("3.9.2"), "-Dzookeeper.extendedTypesEnabled=false"]
    if users is not None:
        jaas = directory / "jaas.conf"
        names = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        jaas.write_text(
            f"Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required {names}; }};\n"
        )
        provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
        command += [f"-Djava.security.auth.login.config={jaas}", f"-Dzookeeper.authProvider.1={provider}"]
    command += ["org.apache.zookeeper.server.ZooKeeperServerMain", str(config)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_up(process, port, directory / "log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: pathlib.Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
            one.sendall(b"ruok")
            if one.recv(4) == b"imok":
                return
        time.sleep(0.05)
    pytest.fail(f"ZooKeeper does not start:\n{log.read_text()[-3000:]}")


@contextlib.asynccontextmanager
async def ours(directory: pathlib.Path) -> AsyncIterator[int]:
    async with running_server(directory, tick_ms=TICK_MS) as running:
        yield running.address.port
