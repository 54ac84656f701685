"""Disks that fill up, and disks that fail: under a writing client, and nothing that was acknowledged is lost."""

import pathlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, NodeFiles, lay_out
from quorate.admin.demo_parts import Writer, create_topics, replicated_to, values_in_log
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.talk import Manner, ask
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import Failure
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from tests.e2e.conftest import WITHIN_S, MakeCluster, skip
from tests.e2e.disks import MEBIBYTE, FaultyFsync, Impossible, SmallDisks, fill
from tests.e2e.texts import check_golden, last_text
from tests.secured import Secured

pytestmark = pytest.mark.e2e

_DISK_MIB: Final = 64
_FLOOR_MIB: Final = 8


# --- a disk that is full


@pytest.fixture
def small_disk() -> Iterator[Callable[[NodeFiles], None]]:
    """Puts a node's directory on a file system of its own, before the node is started."""
    disks = SmallDisks(_DISK_MIB)

    def put(node: NodeFiles) -> None:
        try:
            disks.put(node)
        except Impossible as reason:
            skip(str(reason))

    yield put
    disks.unmount()


def _fill(node: NodeFiles) -> pathlib.Path:
    """Down to half of the floor."""
    return fill(node.data, _FLOOR_MIB * MEBIBYTE // 2)


async def test_a_full_disk_refuses_writes_and_loses_none(
    tmp_path: pathlib.Path, security: Secured, small_disk: Callable[[NodeFiles], None]
) -> None:
    floor = {"quorate.free.space.floor.bytes": str(_FLOOR_MIB * MEBIBYTE)}
    wanted = security.wanted(controllers=3, brokers=2, controller_settings=floor)
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

    said = await _refusal(files)
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


async def _refusal(files: ClusterFiles) -> str:
    """What a write is told once every disk is known to be full."""
    request = CreateTopicsRequest(
        topics=(CreatableTopic(name="one-more", num_partitions=1, replication_factor=1),), validate_only=True
    )
    manner = Manner(timeout_ms=5_000, security=files.login())
    with trio.fail_after(WITHIN_S):
        while True:
            answers = [await ask(Address(LOOPBACK, node.port), request, manner) for node in files.controllers]
            told = [one.topics[0] for one in answers if isinstance(one, CreateTopicsResponse)]
            full = [one for one in told if one.error_code is ErrorCode.kafka_storage_error]
            others = [one for one in told if one.error_code is ErrorCode.not_controller]
            if full and len(full) + len(others) == len(files.controllers):
                # the others know that one leads, and name it
                return str(full[0].error_message)
            assert not any(isinstance(one, Failure) and one.kind.value == "refused" for one in answers), (
                answers
            )
            await trio.sleep(0.02)


# --- a disk that fails


@pytest.fixture
def fail_fsync(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[NodeProcess], None]:
    """Makes every further fsync and fdatasync of a node's process fail. Nodes must be started after this fixture."""
    try:
        faulty = FaultyFsync.build(tmp_path)
    except Impossible as reason:
        skip(str(reason))
    for name, value in faulty.environment.items():
        monkeypatch.setenv(name, value)

    def fail(node: NodeProcess) -> None:
        assert node.pid is not None
        faulty.fail(node.pid)

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
