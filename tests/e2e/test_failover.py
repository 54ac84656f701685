"""A writing client while leaders are killed, stopped, and told to go: what was acknowledged stays."""

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.demo_parts import Writer, create_topics, replicated_to, values_in_log
from quorate.admin.offline_log import LogFiles
from quorate.metadata.ids import Offset
from quorate.metadata.image.writer import digest
from tests.e2e.conftest import WITHIN_S, MakeCluster, full

pytestmark = pytest.mark.e2e

KILLS = 20 if full() else 3


async def test_every_acknowledged_write_survives_killed_leaders(make_cluster: MakeCluster) -> None:
    async with make_cluster() as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            for _ in range(KILLS):
                leader = await _leader(cluster)
                leader.kill()
                await leader.wait()
                await progress(writer)
                await leader.start()
                await caught_up(cluster)
            await writer.stop()
        await _check_nothing_is_lost(cluster, writer)


async def test_every_acknowledged_write_survives_when_all_nodes_are_killed_at_once(
    make_cluster: MakeCluster,
) -> None:
    async with make_cluster() as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            for node in cluster.nodes.values():
                node.kill()
            for node in cluster.nodes.values():
                await node.wait()
            await cluster.start()
            await cluster.ready(within_s=WITHIN_S)
            await progress(writer)
            await writer.stop()
        await _check_nothing_is_lost(cluster, writer)


async def test_a_leader_that_was_paused_follows_when_it_goes_on(make_cluster: MakeCluster) -> None:
    async with make_cluster() as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            paused = await _leader(cluster)
            paused.suspend()
            try:
                await progress(writer, more=50)
            finally:
                paused.resume()
            await caught_up(cluster)
            assert (await _leader(cluster)) is not paused
            await writer.stop()
        await _check_nothing_is_lost(cluster, writer)


async def test_a_leader_that_is_told_to_go_hands_over(make_cluster: MakeCluster) -> None:
    async with make_cluster() as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            leader = await _leader(cluster)
            leader.terminate()
            assert await leader.wait() == 0
            await progress(writer)
            assert "resigns as leader" in leader.files.log.read_text()
            await leader.start()
            await writer.stop()
        await _check_nothing_is_lost(cluster, writer)


async def test_followers_that_come_and_go_never_unseat_the_leader(make_cluster: MakeCluster) -> None:
    async with make_cluster(brokers=0) as cluster:
        leader = await _leader(cluster)
        for follower in [node for node in cluster.controllers if node is not leader] * 2:
            follower.kill()
            await follower.wait()
            await follower.start()
            await caught_up(cluster)
        assert await _leader(cluster) is leader
        said = leader.files.log.read_text()
    assert said.count("candidate -> leader") == 1
    assert "leader -> " not in said.split("is shutting down")[0]


async def progress(writer: Writer, more: int = 20) -> None:
    """Waits until so many more writes are acknowledged."""
    wanted = len(writer.acknowledged) + more
    with trio.fail_after(WITHIN_S):
        while len(writer.acknowledged) < wanted:
            await writer.acknowledged_after(writer.acknowledged[-1].at if writer.acknowledged else 0.0)


async def _leader(cluster: Cluster[NodeProcess]) -> NodeProcess:
    readiness = await cluster.ready(within_s=WITHIN_S)
    assert readiness.active is not None
    return cluster.node(readiness.active)


async def caught_up(cluster: Cluster[NodeProcess]) -> int:
    await cluster.ready(within_s=WITHIN_S)
    return await replicated_to(
        cluster.files, [node.files.id for node in cluster.nodes.values()], within_s=WITHIN_S
    )


async def _check_nothing_is_lost(cluster: Cluster[NodeProcess], writer: Writer) -> None:
    """In the committed log, and in the images on all disks, which must be equal."""
    await caught_up(cluster)
    missing = {one.value for one in writer.acknowledged} - await values_in_log(cluster.files)
    assert not missing
    offset = Offset(await caught_up(cluster) - 1)
    for node in cluster.nodes.values():
        await node.stop()
    digests = {node.name: digest(LogFiles.at(node.data).image(offset)) for node in cluster.files.nodes}
    assert len(set(digests.values())) == 1, digests
