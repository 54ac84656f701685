"""Controllers that make themselves voters: a new one, one with a new disk, and never one that was removed."""

import random
import shutil

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import NodeFiles, format_spare, with_spare_controller
from quorate.admin.demo_parts import Writer, create_topics, replicated_to, values_in_log
from quorate.admin.ports import HeldPorts
from tests.e2e.conftest import WITHIN_S, MakeCluster
from tests.e2e.test_failover import caught_up, progress
from tests.e2e.test_membership import quorum, voters

pytestmark = pytest.mark.e2e


def let_it_join(files: NodeFiles) -> None:
    with files.config.open("a") as config:
        config.write("controller.quorum.auto.join.enable = true\n")


async def voting(cluster: Cluster[NodeProcess], node_id: int) -> str:
    """Waits until it votes; with which disk."""
    with trio.fail_after(WITHIN_S):
        while True:
            document = await quorum(cluster, "describe")
            for one in document["replicas"]:
                if (one["id"], one["role"]) == (node_id, "voter"):
                    return str(one["directory_id"])


async def said(node: NodeProcess, text: str) -> None:
    """Waits until it has said that since it was started last."""
    with trio.fail_after(WITHIN_S):
        while True:
            lines = node.files.log.read_text().split("listening")[-1]
            if text in lines:
                return
            await trio.sleep(0.05)


async def test_a_new_controller_joins_by_itself_and_once_removed_stays_so(make_cluster: MakeCluster) -> None:
    async with make_cluster(controllers=3, brokers=2) as cluster:
        await create_topics(cluster.files)
        with HeldPorts() as ports:
            async with Writer.writing(cluster.files) as writer:
                writer.go()
                await progress(writer)
                cluster.files, files = with_spare_controller(cluster.files, ports, random.Random())
                let_it_join(files)
                added = cluster.nodes[files.id] = NodeProcess(files)
                await added.start()
                await voting(cluster, files.id)
                await progress(writer)

                document = await quorum(cluster, "remove-controller", str(files.id))
                assert files.id not in voters(document)
                await said(added, "stays an observer")
                await added.stop()
                await added.start()
                await said(added, "stays an observer")
                await replicated_to(cluster.files, [files.id], within_s=WITHIN_S)
                await progress(writer)
                await writer.stop()
            assert files.id in voters(await quorum(cluster, "add-controller", str(files.id)))
        await caught_up(cluster)
        assert not {one.value for one in writer.acknowledged} - await values_in_log(cluster.files)


async def test_a_controller_with_a_new_disk_takes_its_own_place(make_cluster: MakeCluster) -> None:
    async with make_cluster(controllers=3, brokers=0) as cluster:
        lost = cluster.node(2)
        before = await voting(cluster, 2)
        lost.kill()
        await lost.wait()
        shutil.rmtree(lost.files.data)
        format_spare(lost.files, cluster.files.cluster_id, random.Random())
        let_it_join(lost.files)
        await lost.start()
        with trio.fail_after(WITHIN_S):
            while await voting(cluster, 2) == before:
                pass
        assert sorted(voters(await quorum(cluster, "add-controller", "2"))) == [1, 2, 3]
