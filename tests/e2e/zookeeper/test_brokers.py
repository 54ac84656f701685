"""Brokers in ZooKeeper mode as processes: ordinary clients, killed controllers, paused ones."""

import json
import pathlib
import sys

import pytest
import trio

from quorate.admin.demo_parts import Writer, create_topics
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import decode_config
from quorate.metadata.zookeeper.kafka_znodes.troubles import Severity
from tests.e2e.conftest import WITHIN_S, full, needs
from tests.e2e.test_failover import progress
from tests.e2e.zookeeper.clusters import ZooKeeperCluster, zookeeper_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("in_the_clear")]

KILLS = 5 if full() else 1


async def test_what_was_acknowledged_survives_killed_controllers_and_clients_notice_little(
    tmp_path: pathlib.Path,
) -> None:
    async with zookeeper_cluster(tmp_path) as cluster:
        await create_topics(cluster.brokers.files)
        await _walk(cluster, "kafka_python")
        async with Writer.writing(cluster.brokers.files) as writer:
            writer.go()
            for _ in range(KILLS):
                await progress(writer)
                leader = await cluster.controller()
                leader.kill()
                await leader.wait()
                await progress(writer)
                assert await cluster.controller(other_than=leader)
                await leader.start()
                await cluster.brokers.ready(within_s=WITHIN_S)
            await writer.stop()
        await _nothing_is_lost(cluster, writer)


async def test_a_paused_controller_that_wakes_up_changes_nothing(tmp_path: pathlib.Path) -> None:
    async with zookeeper_cluster(tmp_path) as cluster:
        await create_topics(cluster.brokers.files)
        async with Writer.writing(cluster.brokers.files) as writer:
            writer.go()
            await progress(writer)
            paused = await cluster.controller()
            paused.suspend()
            try:
                await cluster.controller(other_than=paused)
                await progress(writer)
            finally:
                paused.resume()
            await cluster.brokers.ready(within_s=WITHIN_S)
            await progress(writer)
            await writer.stop()
        await _nothing_is_lost(cluster, writer)


if full():  # it takes minutes

    async def test_a_zookeeper_that_was_down_costs_time_and_nothing_else(tmp_path: pathlib.Path) -> None:
        async with zookeeper_cluster(tmp_path) as cluster:
            await create_topics(cluster.brokers.files)
            async with Writer.writing(cluster.brokers.files) as writer:
                writer.go()
                for _ in range(2):
                    await progress(writer)
                    cluster.server.kill()
                    await cluster.server.wait()
                    await cluster.server.start()
                    await cluster.server.listening()
                    await progress(writer)
                await writer.stop()
            await _nothing_is_lost(cluster, writer)

    @pytest.mark.parametrize("client", ["confluent", "aio"])
    async def test_other_clients_find_nothing_odd(tmp_path: pathlib.Path, client: str) -> None:
        async with zookeeper_cluster(tmp_path) as cluster:
            await _walk(cluster, client)

    async def test_kcat_sees_all_brokers(tmp_path: pathlib.Path) -> None:
        needs("kcat")
        async with zookeeper_cluster(tmp_path) as cluster:
            done = await trio.run_process(
                ["kcat", "-L", "-J", "-b", cluster.brokers.files.bootstrap], capture_stdout=True
            )

            listed = json.loads(done.stdout)
            assert {one["id"] for one in listed["brokers"]} == {1, 2, 3}
            assert listed["controllerid"] in {1, 2, 3}


async def _walk(cluster: ZooKeeperCluster, client: str) -> None:
    topic = f"walk-{client.replace('_', '-')}"
    command = [sys.executable, "-m", f"tests.e2e.clients.{client}", cluster.brokers.files.bootstrap, topic]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]

    found = json.loads(done.stdout)
    assert set(found.pop("leaders")) <= {1, 2, 3}
    found.pop("credentials", None)
    assert found == {
        "listed": True,
        "configs": {"retention.ms": "1000", "cleanup.policy": "compact"},
        "partitions": 4,
        "gone": True,
        "deleted_again": "UNKNOWN_TOPIC_OR_PART",
    }


async def _nothing_is_lost(cluster: ZooKeeperCluster, writer: Writer) -> None:
    """What was acknowledged last is what lies there, all is as Kafka would have put it, and every replica is served."""
    await cluster.brokers.ready(within_s=WITHIN_S)
    tree = await cluster.tree()
    settings = decode_config(tree[paths.topic_config("orders")].data)
    assert settings["retention.ms"] == writer.acknowledged[-1].value
    reading = await cluster.reading()
    assert not reading.of(Severity.BLOCKER)
    assert not reading.of(Severity.WARNING)
    assert set(reading.brokers) == {1, 2, 3}
