"""Disks that fill up, and disks that fail: under a writing client, and nothing that was acknowledged is lost."""

import os
import pathlib
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, NodeFiles, Wanted, lay_out
from quorate.admin.demo_parts import Writer, create_topics, replicated_to, values_in_log
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.talk import ask
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import Failure
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from tests.e2e.conftest import WITHIN_S, MakeCluster, needs
from tests.e2e.texts import check_golden, last_text

pytestmark = pytest.mark.e2e

_MEBIBYTE: Final = 1024 * 1024
_DISK_MIB: Final = 64
_FLOOR_MIB: Final = 8


# --- a disk that is full


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[Callable[[NodeFiles], None]]:
    """Puts a node's directory on a file system of its own, before the node is started."""
    mounted: list[pathlib.Path] = []

    def put(node: NodeFiles) -> None:
        aside = node.data.with_name(node.data.name + ".aside")
        node.data.rename(aside)
        node.data.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "quorate-test", str(node.data)]
        made = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            _skip(f"no file system can be mounted here: {made.stderr.strip()}")
        mounted.append(node.data)
        for file in aside.iterdir():
            (node.data / file.name).write_bytes(file.read_bytes())

    needs("mount")
    yield put
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


def _skip(reason: str) -> None:
    """As `needs` does, for what is no program."""
    if os.environ.get("TESTS_NO_SKIP"):
        pytest.fail(f"{reason}, and nothing may be skipped here")
    pytest.skip(reason)


def _fill(node: NodeFiles) -> pathlib.Path:
    """Somebody else's file takes the room of a node down to half of its floor."""
    found = os.statvfs(node.data)
    wanted = found.f_bavail * found.f_frsize - _FLOOR_MIB * _MEBIBYTE // 2
    path = node.data / "somebody-elses-file"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, wanted)
    return path


async def test_a_full_disk_refuses_writes_and_loses_none(
    tmp_path: pathlib.Path, small_disk: Callable[[NodeFiles], None]
) -> None:
    floor = {"quorate.free.space.floor.bytes": str(_FLOOR_MIB * _MEBIBYTE)}
    wanted = Wanted(controllers=3, brokers=2, controller_settings=floor)
    with HeldPorts() as ports:
        files = lay_out(tmp_path / "cluster", ports, random.Random(), wanted)
        for controller in files.controllers:
            small_disk(controller)
        async with running(files) as cluster:
            await cluster.ready(within_s=WITHIN_S)
            await _use_with_full_disks(cluster)
        assert not [node.name for node in files.nodes if "Traceback" in node.log.read_text()]


async def _use_with_full_disks(cluster: Cluster[NodeProcess]) -> None:
    files = cluster.files
    await create_topics(files)
    async with _writing(files) as writer:
        first = await _leader(cluster)
        fillers = [_fill(first.files)]
        with trio.fail_after(WITHIN_S):
            while (await _leader(cluster)) is first:  # noqa: ASYNC110 - others decide it
                await trio.sleep(0.02)
        await _progress(writer)  # another one has room
    fillers += [_fill(controller) for controller in files.controllers if controller is not first.files]

    said = await _refusal(files.controllers)
    check_golden(
        "disk-full", said, {f"controller {node.id} ": "controller ID " for node in files.controllers}
    )

    for filler in fillers:
        filler.unlink()
    await cluster.ready(within_s=WITHIN_S)
    async with _writing(files) as later:
        await _progress(later)
    cluster.kill_all()
    for node in cluster.nodes.values():
        await node.wait()
    await cluster.start()
    await cluster.ready(within_s=WITHIN_S)
    assert {one.value for one in (*writer.acknowledged, *later.acknowledged)} <= await values_in_log(files)


async def _refusal(controllers: tuple[NodeFiles, ...]) -> str:
    """What a write is told once every disk is known to be full."""
    request = CreateTopicsRequest(
        topics=(CreatableTopic(name="one-more", num_partitions=1, replication_factor=1),), validate_only=True
    )
    with trio.fail_after(WITHIN_S):
        while True:
            answers = [
                await ask(Address(LOOPBACK, node.port), request, timeout_ms=5_000) for node in controllers
            ]
            told = [one.topics[0] for one in answers if isinstance(one, CreateTopicsResponse)]
            full = [one for one in told if one.error_code is ErrorCode.kafka_storage_error]
            others = [one for one in told if one.error_code is ErrorCode.not_controller]
            if full and len(full) + len(others) == len(
                controllers
            ):  # the others know that one leads, and name it
                return str(full[0].error_message)
            assert not any(isinstance(one, Failure) and one.kind.value == "refused" for one in answers), (
                answers
            )
            await trio.sleep(0.02)


# --- a disk that fails


@pytest.fixture
def fail_fsync(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[NodeProcess], None]:
    """Makes every further fsync and fdatasync of a node's process fail. Nodes must be started after this fixture."""
    needs("gcc")
    library = tmp_path / "faulty_fsync.so"
    source = pathlib.Path(__file__).parent / "faulty_fsync.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    told = tmp_path / "failing"
    told.mkdir()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAIL_FSYNC_OF", str(told))

    def fail(node: NodeProcess) -> None:
        assert node.pid is not None
        (told / str(node.pid)).touch()

    return fail


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_disk_that_cannot_flush_ends_its_node_and_nobody_else(
    role: str, fail_fsync: Callable[[NodeProcess], None], make_cluster: MakeCluster
) -> None:
    async with make_cluster() as cluster:
        await create_topics(cluster.files)
        async with _writing(cluster.files) as writer:
            leader = await _leader(cluster)
            followers = [node for node in cluster.controllers if node is not leader]
            broken = leader if role == "leader" else followers[0]
            fail_fsync(broken)
            with trio.fail_after(WITHIN_S):
                assert await broken.wait() == 1
            await _progress(writer)
            _check_last_words(broken)
            await broken.start()  # a new process: its disk is well again
            await cluster.ready(within_s=WITHIN_S)
            await _progress(writer)
        await replicated_to(
            cluster.files, [node.files.id for node in cluster.nodes.values()], within_s=WITHIN_S
        )
        assert {one.value for one in writer.acknowledged} <= await values_in_log(cluster.files)


def _check_last_words(node: NodeProcess) -> None:
    said = node.files.log.read_text()
    assert "Traceback" not in said
    check_golden("fsync-failed", last_text(said), {str(node.files.data): "DIR"})


# --- the client


@asynccontextmanager
async def _writing(files: ClusterFiles) -> AsyncIterator[Writer]:
    """A client that writes from the first line of the block to its last."""
    async with Writer.writing(files) as writer:
        writer.go()
        await _progress(writer)
        yield writer
        await writer.stop()


async def _progress(writer: Writer, more: int = 20) -> None:
    """Waits until so many more writes are acknowledged."""
    wanted = len(writer.acknowledged) + more
    with trio.fail_after(WITHIN_S):
        while len(writer.acknowledged) < wanted:
            await writer.acknowledged_after(writer.acknowledged[-1].at if writer.acknowledged else 0.0)


async def _leader(cluster: Cluster[NodeProcess]) -> NodeProcess:
    readiness = await cluster.ready(within_s=WITHIN_S)
    assert readiness.active is not None
    return cluster.node(readiness.active)
