"""Who votes, changed by commands while a client writes: a quorum grows, shrinks, moves, and replaces a lost disk."""

import json
import random
from typing import Any

import attrs
import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import with_spare_controller
from quorate.admin.demo_parts import Writer, create_topics, replicated_to, values_in_log
from quorate.admin.ports import HeldPorts
from tests.e2e import commands
from tests.e2e.commands import directory_id, put_new_disk
from tests.e2e.conftest import WITHIN_S, MakeCluster
from tests.e2e.test_failover import caught_up, progress

pytestmark = pytest.mark.e2e


async def quorum(cluster: Cluster[NodeProcess], *words: str, code: int = 0) -> dict[str, Any]:
    """A `quorate quorum` command, its document, and the exit code that it must have."""
    with trio.fail_after(WITHIN_S):
        found, document = await commands.quorum(cluster, *words)
    assert found == code, json.dumps(document)
    return document


async def spare(cluster: Cluster[NodeProcess], ports: HeldPorts) -> int:
    """One controller more, following."""
    cluster.files, files = with_spare_controller(cluster.files, ports, random.Random())
    node = cluster.nodes[files.id] = NodeProcess(files)
    await node.start()
    await replicated_to(cluster.files, [files.id], within_s=WITHIN_S)
    return files.id


async def forget(cluster: Cluster[NodeProcess], node_id: int) -> None:
    """Stops a controller that votes no more, for good."""
    node = cluster.node(node_id)
    await node.stop()
    del cluster.nodes[node.files.id]
    left = tuple(one for one in cluster.files.controllers if one.id != node_id)
    cluster.files = attrs.evolve(cluster.files, controllers=left)


def voters(document: dict[str, Any]) -> list[int]:
    return [one["id"] for one in document["voters"]]


async def test_a_quorum_of_three_grows_to_five_and_shrinks_to_one_other_node(
    make_cluster: MakeCluster,
) -> None:
    async with make_cluster(controllers=3, brokers=2) as cluster:
        await create_topics(cluster.files)
        with HeldPorts() as ports:
            async with Writer.writing(cluster.files) as writer:
                writer.go()
                await progress(writer)
                for _ in range(2):
                    added = await spare(cluster, ports)
                    planned = await quorum(cluster, "add-controller", str(added), "--dry-run")
                    assert [one["outcome"] for one in planned["changes"]] == ["would be done"]
                    assert added not in voters(planned)
                    assert added in voters(await quorum(cluster, "add-controller", str(added)))
                    again = await quorum(cluster, "add-controller", str(added))
                    assert (again["changes"], added in voters(again)) == ([], True)
                    await progress(writer)
                for gone in (1, 2, 3, 4):
                    document = await quorum(cluster, "remove-controller", str(gone))
                    assert gone not in voters(document)
                    await forget(cluster, gone)
                    await progress(writer)
                assert voters(document) == [5]
                refused = await quorum(cluster, "remove-controller", "5", code=1)
                assert "only voter" in refused["error"]["what"]
                await progress(writer)
                await writer.stop()
        await caught_up(cluster)
        assert not {one.value for one in writer.acknowledged} - await values_in_log(cluster.files)


async def test_a_controller_with_a_new_disk_is_replaced_by_one_command(make_cluster: MakeCluster) -> None:
    async with make_cluster(controllers=3, brokers=2) as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            lost = cluster.node(2)
            before = directory_id(lost)
            lost.kill()
            await lost.wait()
            refused = await quorum(cluster, "replace-controller", "2", code=1)
            assert "No new disk" in refused["error"]["what"]
            put_new_disk(cluster, lost, random.Random())
            await lost.start()
            await caught_up(cluster)
            document = await quorum(cluster, "replace-controller", "2")
            assert [(one["change"], one["id"]) for one in document["changes"]] == [("remove", 2), ("add", 2)]
            new = next(one["directory_id"] for one in document["voters"] if one["id"] == 2)
            assert new == directory_id(lost) != before
            # It counts: with another voter gone the quorum needs it.
            other = cluster.node(3)
            other.kill()
            await other.wait()
            await progress(writer)
            await writer.stop()
        assert not {one.value for one in writer.acknowledged} - await values_in_log(cluster.files)


async def test_the_last_majority_is_not_removed_by_mistake(make_cluster: MakeCluster) -> None:
    async with make_cluster(controllers=3, brokers=0) as cluster:
        dead = cluster.node(1)
        dead.kill()
        await dead.wait()
        await cluster.ready(within_s=WITHIN_S)
        refused = await quorum(cluster, "remove-controller", "2", code=1)
        assert "no majority" in refused["error"]["what"]
        document = await quorum(cluster, "remove-controller", "1")
        assert voters(document) == [2, 3]
