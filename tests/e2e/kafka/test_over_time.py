"""What happens to a cluster over the years: releases come, levels rise, logs are let go, kinds of brokers mix."""

import os
import pathlib
import shutil

import pytest

from quorate.admin.kafka_distribution import java
from quorate.admin.kafka_process import KafkaProcess
from quorate.metadata.log.kraft_directory import PARTITION
from quorate.metadata.log.layout import snapshot_id_of
from tests.e2e.conftest import full, needs
from tests.e2e.java.artifacts import class_path
from tests.e2e.kafka import scenes
from tests.e2e.kafka.cluster import FIRST_ID, FLAGS, Cell, KafkaCluster, kafka_cluster, until
from tests.e2e.kafka.messages import Stream, consume, produce, transact
from tests.e2e.kafka.test_cells import NEWEST, OLDEST

pytestmark = pytest.mark.e2e

_LETTING_GO = {
    "metadata.log.max.record.bytes.between.snapshots": "4000",
    "metadata.max.retention.bytes": "10000",
    "metadata.log.segment.bytes": str(8 * 1024 * 1024),
}


async def many_records(cluster: KafkaCluster, mark: str) -> None:
    """Topics enough for several snapshots."""
    for number in range(6):
        await cluster.done(
            "kafka-topics",
            "--create",
            "--topic",
            f"{mark}-{number}",
            "--partitions=30",
            "--replication-factor=2",
        )


async def log_starts_behind(cluster: KafkaCluster, offset: int) -> None:
    """Waits until the active controller has let go the log below an offset, and has a snapshot instead."""

    async def look() -> bool:
        node = await cluster.active()
        found = [one for name in os.listdir(node.files.data) if (one := snapshot_id_of(name)) is not None]
        return any(one.offset > offset for one in found) and min(one.offset for one in found) > offset

    await until(look, f"the log starts behind {offset}", cluster)


def metadata_end(broker: KafkaProcess) -> int:
    """Where a stopped broker's copy of the log ends, at least: the base of its last batch that was indexed."""
    path = broker.files.directory / "data-0" / PARTITION
    return max(int(name[:20]) for name in os.listdir(path) if name.endswith(".log"))


async def brokers_load_snapshots(cluster: KafkaCluster) -> None:
    """One that was away for long, and one that lost its copy of the metadata log."""
    away, wiped = cluster.brokers[0], cluster.brokers[1]
    others = [one.files.id for one in cluster.brokers if one is not away]
    await away.stop()
    await many_records(cluster, "while-away")
    await log_starts_behind(cluster, metadata_end(away) + 200)
    await cluster.serving(*others)
    await away.start()
    await cluster.serving()
    await wiped.stop()
    shutil.rmtree(wiped.files.directory / "data-0" / PARTITION)
    await wiped.start()
    await cluster.serving()
    for one in (away, wiped):
        said = one.files.log.read_text(errors="replace")
        assert "handleLoadSnapshot" in said or "Loading snapshot" in said or "handleSnapshot" in said
    await cluster.in_sync("while-away-0")


async def levels_rise(cluster: KafkaCluster) -> None:
    """By Kafka's own tool, while messages go through."""
    await scenes.create(cluster, "through-levels")
    with Stream(cluster.bootstrap, "through-levels", scenes.PARTITIONS) as stream:
        for name, level in (("4.0-IV3", 25), ("4.2-IV1", 29), ("4.3-IV0", 30)):
            await cluster.done("kafka-features", "upgrade", "--metadata", name)
            told = await cluster.done("kafka-features", "describe")
            assert f"FinalizedVersionLevel: {name}" in told, (level, told)
            await scenes.flowing(cluster, stream)
            await cluster.serving()
        await cluster.done("kafka-features", "upgrade", "--feature", "group.version=1")
        await cluster.done("kafka-features", "upgrade", "--feature", "transaction.version=2")
    await scenes.in_thread(stream.check)
    await scenes.messages_by_new_group(cluster)
    await scenes.transactions(cluster)
    await scenes.a_broker_is_stopped(cluster)


async def releases_roll(cluster: KafkaCluster) -> None:
    """Each broker in turn is stopped in order and started with a newer release, on its own data."""
    await scenes.create(cluster, "through-releases")
    with Stream(cluster.bootstrap, "through-releases", scenes.PARTITIONS) as stream:
        for index, broker in enumerate(cluster.brokers):
            await scenes.flowing(cluster, stream)
            await broker.stop()
            newer = KafkaProcess(broker.files, java=java(), class_path=class_path(NEWEST), flags=FLAGS)
            cluster.brokers[index] = newer
            await newer.start()
            await cluster.serving()
            await cluster.in_sync("through-releases")
    await scenes.in_thread(stream.check)


async def lightweight_brokers_get_no_replicas(cluster: KafkaCluster) -> None:
    """Whoever places them: the controller itself, a manual assignment, a reassignment."""
    await scenes.create(cluster, "placed")
    placed = {replica for p in await cluster.partitions("placed") for replica in p.replicas}
    assert placed <= {one.files.id for one in cluster.brokers}
    light = cluster.quorum.brokers[0].files
    ran = await cluster.tool(
        "kafka-topics", "--create", "--topic", "by-hand", f"--replica-assignment={light.id}:{FIRST_ID}"
    )
    assert ran.exit != 0
    assert "stores no topic data" in ran.out + ran.err
    listed = await cluster.jvm_at(light.address, "kafka-topics", "--list")
    assert "placed" in listed.split()


async def clients_find_a_lightweight_broker_first(cluster: KafkaCluster) -> None:
    """They know no other at first: it sends them on, and never seems too old to them."""
    await scenes.create(cluster, "found")
    light = cluster.quorum.brokers[0].files.address
    sent = scenes.values(100, "by-way-of-another-")
    await scenes.in_thread(produce, light, "found", sent[:50])
    assert sorted(await scenes.in_thread(consume, light, "found", 50, group="found")) == sorted(sent[:50])
    await scenes.in_thread(transact, light, "found", sent[50:], transactional_id="found", commit=True)
    assert sorted(await scenes.in_thread(consume, light, "found", 50, group="found")) == sorted(sent[50:])
    await by_javas_clients(cluster, light)
    listed = await cluster.jvm_at(light, "kafka-transactions", "list")
    assert "found" in listed


async def by_javas_clients(cluster: KafkaCluster, address: str) -> None:
    """Kafka's own producer, idempotent unless it is told otherwise, and its consumer in a group."""
    many = ("--topic", "found", "--num-records", "20", "--record-size", "10", "--throughput", "-1")
    told = await cluster.jvm_at(address, "kafka-producer-perf-test", *many)
    assert "20 records sent" in told
    words = ("--topic", "found", "--group", "javas", "--num-records", "120", "--timeout", "60000")
    read = await cluster.jvm_at(address, "kafka-consumer-perf-test", *words)
    assert ", 120, " in read  # of the columns, how many messages


if full():  # it takes minutes

    async def test_snapshots_while_brokers_are_down(tmp_path: pathlib.Path) -> None:
        needs("java")
        needs("mvn")
        for version, level in ((NEWEST, 30), (OLDEST, 21)):
            cell = Cell(version=version, level=level)
            async with kafka_cluster(tmp_path / version, cell, controller_settings=_LETTING_GO) as cluster:
                await brokers_load_snapshots(cluster)
                cluster.check_unharmed()

    async def test_levels_and_kinds(tmp_path: pathlib.Path) -> None:
        needs("java")
        needs("mvn")
        async with kafka_cluster(tmp_path, Cell(version=NEWEST, level=21, lightweight=1)) as cluster:
            await lightweight_brokers_get_no_replicas(cluster)
            await clients_find_a_lightweight_broker_first(cluster)
            await levels_rise(cluster)
            cluster.check_unharmed()

    async def test_a_rolling_upgrade(tmp_path: pathlib.Path) -> None:
        needs("java")
        needs("mvn")
        async with kafka_cluster(tmp_path, Cell(version=OLDEST, level=21)) as cluster:
            await releases_roll(cluster)
            await scenes.messages_by_group(cluster)
            cluster.check_unharmed()
