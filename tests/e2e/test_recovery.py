"""No majority is left: a new quorum is made from what is there, from one node's log or from a backup."""

import json
import pathlib
import random
import shutil
import sys
from typing import Any

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import format_spare
from quorate.admin.demo_parts import TOPIC, TOPICS, Writer, create_topics, replicated_to, values_in_log
from quorate.admin.offline_log import LogFiles
from tests.e2e.commands import reach
from tests.e2e.conftest import WITHIN_S, MakeCluster
from tests.e2e.test_failover import caught_up, progress
from tests.e2e.test_membership import quorum, voters

pytestmark = pytest.mark.e2e


async def command(*words: object, code: int = 0) -> dict[str, Any]:
    """A `quorate` command, its document, and the exit code that it must have."""
    line = [sys.executable, "-m", "quorate.admin", *map(str, words), "--output", "json"]
    with trio.fail_after(WITHIN_S):
        done = await trio.run_process(line, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def kill(*nodes: NodeProcess) -> None:
    for node in nodes:
        node.kill()
    for node in nodes:
        await node.wait()


async def settled(cluster: Cluster[NodeProcess]) -> None:
    """There is a leader, and the brokers follow its log and no other."""
    await cluster.ready(within_s=WITHIN_S)
    await replicated_to(cluster.files, [node.files.id for node in cluster.brokers], within_s=WITHIN_S)
    await cluster.ready(within_s=WITHIN_S)


async def topics(cluster: Cluster[NodeProcess]) -> set[str]:
    """As each broker tells them; all must tell the same."""
    told = [
        await command("topics", "list", *reach(cluster.files, node.files.address)) for node in cluster.brokers
    ]
    assert all(one == told[0] for one in told)
    return {one["name"] for one in told[0]["topics"]}


async def add_back(cluster: Cluster[NodeProcess], node_id: int) -> list[int]:
    """A lost controller with a new disk gets a vote in the recovered quorum."""
    node = cluster.node(node_id)
    shutil.rmtree(node.files.data, ignore_errors=True)
    format_spare(node.files, cluster.files.cluster_id, random.Random())
    await node.start()
    await replicated_to(cluster.files, [node.files.id], within_s=WITHIN_S)
    return voters(await quorum(cluster, "add-controller", str(node_id)))


async def test_two_of_three_disks_are_lost_and_the_third_lags(make_cluster: MakeCluster) -> None:
    """The third voter was dead while the others went on: the brokers, which run all the time, are ahead of it."""
    async with make_cluster(controllers=3, brokers=2) as cluster:
        await create_topics(cluster.files)
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            await kill(cluster.node(3))
            held = values_on(cluster.node(3).files.data)
            await progress(writer, more=30)
            await writer.stop()
        everything = {one.value for one in writer.acknowledged}
        third, broker = cluster.node(3).files.data, cluster.node(101).files.data

        login = reach(cluster.files, "")[2:]
        refused = await command("storage", "recover", third, broker, "--yes", *login, code=1)
        assert "answers" in refused["error"]["what"]
        await command("storage", "recover", third, broker, "--yes", code=1)  # nor if it cannot ask

        await command("topics", "create", "--topic", "late", *reach(cluster.files, cluster.files.bootstrap))
        await replicated_to(cluster.files, [node.files.id for node in cluster.brokers], within_s=WITHIN_S)
        await kill(cluster.node(1), cluster.node(2))
        for lost in (1, 2):
            shutil.rmtree(cluster.node(lost).files.data)

        report = await command("storage", "recover", third, broker, "--dry-run")
        (against,) = report["comparisons"]
        assert against["surely_acknowledged"]
        assert against["lost"]["types"]["CONFIG_RECORD"] >= 30
        assert set(report["would_be_stray"].values()) == {"late"}
        done = await command("storage", "recover", third, broker, "--yes")
        assert values_on(pathlib.Path(done["old_directory"])) == held, "the old directory is kept"
        await cluster.node(3).start()
        await settled(cluster)

        status = await quorum(cluster, "status")
        assert (status["recovery_id"], status["leader_id"]) == (done["recovery_id"], 3)
        assert await topics(cluster) == set(TOPICS)
        kept = await values_in_log(cluster.files)
        assert held <= kept
        assert everything - kept, "the writes that only the lost disks had are gone, as the report said"
        said = cluster.node(101).files.log.read_text()
        assert "discards its copy" in said
        assert "Traceback" not in said

        assert await add_back(cluster, 1) == [1, 3]
        assert await add_back(cluster, 2) == [1, 2, 3]
        async with Writer.writing(cluster.files) as again:
            again.go()
            await progress(again)
            await kill(cluster.node(3))
            await progress(again)
            await again.stop()


def values_on(directory: pathlib.Path) -> set[str]:
    """What a directory has of the writer's values."""
    return {
        record.value
        for batch in LogFiles.at(directory).batches()
        for record in batch.records()
        if getattr(record, "resource_name", None) == TOPIC and getattr(record, "name", "") == "retention.ms"
    }


async def test_an_old_voter_that_comes_back_takes_no_part(make_cluster: MakeCluster) -> None:
    async with make_cluster(controllers=3, brokers=1) as cluster:
        await caught_up(cluster)
        await kill(*(cluster.node(one) for one in (1, 2, 3)))
        directories = [cluster.node(one).files.data for one in (1, 2, 3)]
        done = await command("storage", "recover", *directories, "--from", directories[2], "--yes")
        assert [one["voter"] for one in done["shown"]] == [True, True, True]
        await cluster.node(3).start()
        await settled(cluster)
        old = cluster.node(1)
        await old.start()
        with trio.fail_after(WITHIN_S):
            while "recovered without this directory" not in old.files.log.read_text():  # noqa: ASYNC110 - another process
                await trio.sleep(0.1)
        status = await quorum(cluster, "status", code=0)
        assert [one["id"] for one in status["nodes"] if one["role"] == "voter"] == [3]
        await kill(old)
        assert await add_back(cluster, 1) == [1, 3]


@pytest.mark.parametrize("new_id", [False, True])
async def test_a_backup_is_restored(make_cluster: MakeCluster, tmp_path: pathlib.Path, new_id: bool) -> None:
    async with make_cluster(controllers=1, brokers=2) as cluster:
        await create_topics(cluster.files)
        backup = tmp_path / "backup"
        saved = await command("snapshot", "save", backup, *reach(cluster.files, cluster.files.bootstrap))
        assert (await command("snapshot", "verify", backup))["image_digest"] == saved["image_digest"]
        await command("snapshot", "save", backup, *reach(cluster.files, cluster.files.bootstrap), code=1)
        await command("topics", "create", "--topic", "late", *reach(cluster.files, cluster.files.bootstrap))

        controller = cluster.node(1)
        await kill(controller)
        shutil.rmtree(controller.files.data)
        other = ["--cluster-id", (await command("storage", "random-uuid"))["uuid"]] if new_id else []
        done = await command("storage", "restore", backup, controller.files.config, *other)
        assert done["backup"]["sha256"] == saved["sha256"]
        assert (done["cluster_id"] == cluster.files.cluster_id) is not new_id
        await controller.start()
        if new_id:  # brokers of the old id have no business there
            await kill(*cluster.brokers)
            for node in cluster.brokers:
                shutil.rmtree(node.files.data)
                await command("storage", "format", node.files.config, "--cluster-id", done["cluster_id"])
                await node.start()
        await settled(cluster)
        assert await topics(cluster) == set(TOPICS)
        shown = await command(
            "image", "cat", "/recoveries", *reach(cluster.files, cluster.files.bootstrap_controllers)
        )
        (recovery,) = shown["entries"][0]["value"].values()
        assert (recovery["kind"], recovery["source"]) == ("restore", saved["sha256"])
        async with Writer.writing(cluster.files) as writer:
            writer.go()
            await progress(writer)
            await writer.stop()
