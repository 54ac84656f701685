"""Clusters of real processes. What needs a missing program is skipped, unless TESTS_NO_SKIP is set."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NoReturn

import pytest

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.ports import HeldPorts
from tests.secured import Secured, secured

WITHIN_S = 60.0
"""Nothing here takes so long on any machine that can be worked on; beyond it something hangs."""

MakeCluster = Callable[..., AbstractAsyncContextManager[Cluster[NodeProcess]]]


def needs(program: str) -> None:
    """Skips the test where a program is missing; fails it where no skip is allowed."""
    if not shutil.which(program):
        skip(f"{program} is not installed")


def skip(reason: str) -> NoReturn:
    """Skips the test, or fails it where no skip is allowed."""
    if os.environ.get("TESTS_NO_SKIP"):
        pytest.fail(f"{reason}, and nothing may be skipped here")
    pytest.skip(reason)


def full() -> bool:
    """Whether the whole matrix runs (`python -m tests.full`)."""
    return bool(os.environ.get("TESTS_FULL"))


@pytest.fixture(scope="session")
def security(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """What the clusters of this run ask of their clients: TESTS_SECURITY, one of `secured.MODES`."""
    return secured(os.environ.get("TESTS_SECURITY", "plaintext"), tmp_path_factory.mktemp("security"))


@pytest.fixture
def in_the_clear(security: Secured) -> None:
    """For tests that speak raw bytes, or whose cluster has settings of its own: TLS has tests of its own."""
    if security.mode != "plaintext":
        pytest.skip("it is about the plain protocol")


@contextmanager
def started(directory: pathlib.Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """`quorate dev` with such a cluster: what it says of itself when it is ready."""
    with HeldPorts() as ports:
        lay_out(directory / "c", ports, random.Random(), wanted)
    command = [
        sys.executable,
        "-m",
        "quorate.admin",
        "dev",
        "--dir",
        str(directory / "c"),
        "--output",
        "json",
    ]
    with (directory / "stderr").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (directory / "stderr").read_text()
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=WITHIN_S)
            finally:
                process.kill()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory, security: Secured) -> Iterator[dict[str, Any]]:
    """`quorate dev` with 3 controllers and 2 brokers: what it says of itself when it is ready."""
    with started(tmp_path_factory.mktemp("dev"), security.wanted()) as found:
        yield found


@pytest.fixture
def make_cluster(tmp_path: pathlib.Path, security: Secured) -> MakeCluster:
    """Makes clusters whose nodes the test kills, stops and starts again."""

    @asynccontextmanager
    async def make(
        controllers: int = 3, brokers: int = 2, **settings: dict[str, str]
    ) -> AsyncIterator[Cluster[NodeProcess]]:
        wanted = security.wanted(controllers=controllers, brokers=brokers, **settings)
        with HeldPorts() as ports:
            files = lay_out(tmp_path / "cluster", ports, random.Random(), wanted)
            async with running(files) as cluster:
                await cluster.ready(within_s=WITHIN_S)
                yield cluster

    return make
