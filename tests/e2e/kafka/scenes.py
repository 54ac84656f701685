"""What users do with a cluster, and what befalls it. Each scene leaves all brokers serving, as it found them."""

import functools
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import pytest
import trio

from tests.e2e.kafka.cluster import KafkaCluster, Partition, until
from tests.e2e.kafka.messages import NotTaken, Stream, consume, everything, produce, transact

Scene = Callable[[KafkaCluster], Awaitable[None]]
P = ParamSpec("P")
T = TypeVar("T")

PARTITIONS: Final = 3


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs what blocks."""
    return await trio.to_thread.run_sync(functools.partial(work, *args, **kwargs))


async def create(cluster: KafkaCluster, topic: str, replicas: int | None = None, **configs: str) -> None:
    """With Kafka's own tool, through a broker."""
    words = [f"--config={key.replace('_', '.')}={value}" for key, value in configs.items()]
    factor = str(replicas or len(cluster.brokers))
    await cluster.done(
        "kafka-topics", "--create", "--topic", topic, f"--partitions={PARTITIONS}",
        f"--replication-factor={factor}", *words,
    )  # fmt: skip
    await cluster.in_sync(topic)


def values(count: int, mark: str = "v") -> list[str]:
    return [f"{mark}{number}" for number in range(count)]


# --- what users do ------------------------------------------------------------------------------------


async def topics_come_and_go(cluster: KafkaCluster) -> None:
    await create(cluster, "short-lived", retention_ms="1000000")
    assert "short-lived" in (await cluster.done("kafka-topics", "--list")).split()
    described = await cluster.done("kafka-topics", "--describe", "--topic", "short-lived")
    assert "retention.ms=1000000" in described
    assert described.count("Leader: 2") == PARTITIONS
    await cluster.done(
        "kafka-topics", "--alter", "--topic", "short-lived", "--partitions", str(PARTITIONS + 2)
    )
    await cluster.settles("short-lived", lambda found: len(found) == PARTITIONS + 2, "more partitions")
    await cluster.done("kafka-topics", "--delete", "--topic", "short-lived")

    async def gone() -> bool:
        return "short-lived" not in (await cluster.done("kafka-topics", "--list")).split()

    await until(gone, "the topic is gone", cluster)


async def messages_by_group(cluster: KafkaCluster) -> None:
    """An idempotent producer, a classic group; a second member goes on where the first committed."""
    await create(cluster, "plain")
    await in_thread(produce, cluster.bootstrap, "plain", values(500))
    first = await in_thread(consume, cluster.bootstrap, "plain", 500, group="classic")
    assert sorted(first) == sorted(values(500))
    await in_thread(produce, cluster.bootstrap, "plain", values(20, "w"))
    assert sorted(await in_thread(consume, cluster.bootstrap, "plain", 20, group="classic")) == sorted(
        values(20, "w")
    )


async def transactions(cluster: KafkaCluster) -> None:
    await create(cluster, "in-transactions")
    for name, commit in (("a", True), ("b", False), ("c", True)):
        await in_thread(
            transact,
            cluster.bootstrap,
            "in-transactions",
            values(50, name),
            transactional_id=name,
            commit=commit,
        )
    found = await in_thread(everything, cluster.bootstrap, "in-transactions", PARTITIONS)
    assert sorted(found) == sorted(values(50, "a") + values(50, "c"))


async def messages_by_new_group(cluster: KafkaCluster) -> None:
    """The consumer protocol of KIP-848, which group.version 1 brings."""
    await create(cluster, "new-protocol")
    await in_thread(produce, cluster.bootstrap, "new-protocol", values(300))
    settings = {"group.protocol": "consumer"}
    found = await in_thread(
        consume, cluster.bootstrap, "new-protocol", 300, group="of-kip-848", settings=settings
    )
    assert sorted(found) == sorted(values(300))


async def messages_by_share_group(cluster: KafkaCluster) -> None:
    """KIP-932, which share.version 1 brings; with Kafka's own console consumer."""
    await create(cluster, "shared")
    await cluster.done(
        "kafka-configs", "--alter", "--entity-type", "groups", "--entity-name", "sharing",
        "--add-config", "share.auto.offset.reset=earliest",
    )  # fmt: skip
    await in_thread(produce, cluster.bootstrap, "shared", values(200))
    told = await cluster.done(
        "kafka-console-share-consumer", "--topic", "shared", "--group", "sharing", "--max-messages", "200",
        "--timeout-ms", "60000",
    )  # fmt: skip
    assert sorted(told.split()) == sorted(values(200))


async def settings_take_effect(cluster: KafkaCluster) -> None:
    """A topic's and a broker's configs, and a client's quota, at the brokers."""
    await create(cluster, "limited", max_message_bytes="2000")
    with pytest.raises(NotTaken, match="MSG_SIZE_TOO_LARGE"):
        await in_thread(produce, cluster.bootstrap, "limited", ["x" * 5000])
    await cluster.done(
        "kafka-configs", "--alter", "--entity-type", "topics", "--entity-name", "limited",
        "--add-config", "max.message.bytes=200000",
    )  # fmt: skip

    async def takes_it() -> bool:
        try:
            await in_thread(produce, cluster.bootstrap, "limited", ["y" * 5000])
        except NotTaken:
            return False
        return True

    await until(takes_it, "the topic takes larger messages", cluster)
    first = str(cluster.brokers[0].files.id)
    await cluster.done(
        "kafka-configs", "--alter", "--entity-type", "brokers", "--entity-name", first,
        "--add-config", "log.cleaner.threads=2",
    )  # fmt: skip
    described = await cluster.done(
        "kafka-configs", "--describe", "--entity-type", "brokers", "--entity-name", first
    )
    assert "log.cleaner.threads=2" in described
    await cluster.done(
        "kafka-configs", "--alter", "--entity-type", "brokers", "--entity-name", first,
        "--delete-config", "log.cleaner.threads",
    )  # fmt: skip
    await quotas_hold(cluster)


async def quotas_hold(cluster: KafkaCluster) -> None:
    quota = ("--entity-type", "clients", "--entity-name", "greedy")
    await cluster.done("kafka-configs", "--alter", *quota, "--add-config", "producer_byte_rate=2000")
    throttled: list[float] = []

    def told(event: object) -> None:
        throttled.append(event.throttle_time)  # type: ignore[attr-defined]

    async def is_throttled() -> bool:
        settings = {"client.id": "greedy", "throttle_cb": told}
        await in_thread(produce, cluster.bootstrap, "limited", ["z" * 1500] * 20, settings)
        return any(throttled)

    await until(is_throttled, "the quota holds", cluster)
    await cluster.done("kafka-configs", "--alter", *quota, "--delete-config", "producer_byte_rate")


async def partitions_move(cluster: KafkaCluster) -> None:
    """A reassignment, and the election of preferred leaders, while messages go through."""
    await create(cluster, "moving", replicas=1)
    ids = [one.files.id for one in cluster.brokers]
    with Stream(cluster.bootstrap, "moving", PARTITIONS) as stream:
        target = [
            {"topic": "moving", "partition": number, "replicas": [ids[(number + 1) % 3], ids[number % 3]]}
            for number in range(PARTITIONS)
        ]
        plan = cluster.file("plan.json", {"version": 1, "partitions": target})
        await cluster.done("kafka-reassign-partitions", "--execute", "--reassignment-json-file", plan)
        await cluster.settles(
            "moving",
            lambda found: all(len(p.replicas) == len(p.isr) == 2 for p in found),
            "two replicas each",
        )
        verified = await cluster.done(
            "kafka-reassign-partitions", "--verify", "--reassignment-json-file", plan
        )
        assert verified.count("is completed") == PARTITIONS
        await cluster.tool("kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions")
        await cluster.settles(
            "moving", lambda found: all(p.leader == p.replicas[0] for p in found), "led by the preferred"
        )
    await in_thread(stream.check)


async def users_and_their_rights(cluster: KafkaCluster) -> None:
    """A password and ACLs that stand in the quorum's log, at the brokers' door."""
    await create(cluster, "guarded")
    user = ("--entity-type", "users", "--entity-name", "alice")
    await cluster.done("kafka-configs", "--alter", *user, "--add-config", "SCRAM-SHA-512=[password=secret]")
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "alice",
        "sasl.password": "secret",
        "message.timeout.ms": 5_000,
    }

    async def why_not() -> str:
        try:
            await in_thread(produce, cluster.guarded, "guarded", ["by alice"], login)
        except NotTaken as refused:
            return str(refused)
        return ""

    async def writes() -> bool:
        return not await why_not()

    async def is_known() -> bool:
        return "TOPIC_AUTHORIZATION_FAILED" in await why_not()

    await until(is_known, "alice is known, and may do nothing", cluster)
    await cluster.done(
        "kafka-acls", "--add", "--allow-principal", "User:alice", "--operation", "Write", "--topic", "guarded"
    )
    await until(writes, "alice may write", cluster)
    with pytest.raises(NotTaken):
        await in_thread(produce, cluster.guarded, "guarded", ["x"], {**login, "sasl.password": "wrong"})
    await cluster.done(
        "kafka-acls", "--remove", "--force", "--allow-principal", "User:alice", "--operation", "Write",
        "--topic", "guarded",
    )  # fmt: skip

    async def refused() -> bool:
        return not await writes()

    await until(refused, "alice may write no more", cluster)
    found = await in_thread(everything, cluster.bootstrap, "guarded", PARTITIONS)
    assert set(found) == {"by alice"}


# --- what befalls them --------------------------------------------------------------------------------


async def a_broker_is_killed(cluster: KafkaCluster) -> None:
    """By -9, while messages go through: it is fenced, others lead; it comes back and everything is in sync."""
    await create(cluster, "through-a-kill", min_insync_replicas="2")
    with Stream(cluster.bootstrap, "through-a-kill", PARTITIONS) as stream:
        victim = cluster.broker((await cluster.partitions("through-a-kill"))[0].leader)
        others = [one.files.id for one in cluster.brokers if one is not victim]
        await flowing(cluster, stream)
        victim.kill()
        await victim.wait()
        await cluster.serving(*others)
        await cluster.settles("through-a-kill", led_by(*others), "led by the others")
        await flowing(cluster, stream)
        await victim.start()
        await cluster.serving()
        await cluster.in_sync("through-a-kill")
    await in_thread(stream.check)


async def a_broker_is_stopped(cluster: KafkaCluster) -> None:
    """In order: nothing it led waits for its session, and it ends by itself, soon."""
    await create(cluster, "through-a-stop")
    with Stream(cluster.bootstrap, "through-a-stop", PARTITIONS) as stream:
        leaving = cluster.broker((await cluster.partitions("through-a-stop"))[0].leader)
        others = [one.files.id for one in cluster.brokers if one is not leaving]
        await flowing(cluster, stream)
        leaving.terminate()
        with trio.fail_after(30):
            await leaving.wait()
        await cluster.settles("through-a-stop", led_by(*others), "led by the others", within_s=5)
        await leaving.start()
        await cluster.serving()
        await cluster.in_sync("through-a-stop")
    await in_thread(stream.check)


async def the_active_controller_is_killed(cluster: KafkaCluster, times: int = 1) -> None:
    """By -9, while messages go through and topics are made; each time it comes back as a follower."""
    await create(cluster, f"through-{times}-failovers")
    with Stream(cluster.bootstrap, f"through-{times}-failovers", PARTITIONS) as stream:
        for number in range(times):
            await flowing(cluster, stream)
            leader = await cluster.active()
            leader.kill()
            await leader.wait()
            await cluster.done("kafka-topics", "--create", "--topic", f"during-{times}-{number}")
            await leader.start()
            await cluster.quorum.ready(within_s=60)
        await flowing(cluster, stream)
    await in_thread(stream.check)
    await cluster.serving()


async def controllers_restart_in_turn(cluster: KafkaCluster) -> None:
    await create(cluster, "through-restarts")
    with Stream(cluster.bootstrap, "through-restarts", PARTITIONS) as stream:
        for node in cluster.quorum.controllers:
            await flowing(cluster, stream)
            await node.stop()
            await node.start()
            await cluster.quorum.ready(within_s=60)
            await cluster.serving()
        await flowing(cluster, stream)
    await in_thread(stream.check)


async def all_controllers_are_down(cluster: KafkaCluster, for_s: float) -> None:
    """The data path goes on without them; when they are back nobody has been fenced, and nothing is lost."""
    await create(cluster, "without-controllers")
    with Stream(cluster.bootstrap, "without-controllers", PARTITIONS) as stream:
        await flowing(cluster, stream)
        for node in cluster.quorum.controllers:
            node.kill()
            await node.wait()
        with trio.move_on_after(for_s):
            while True:
                await flowing(cluster, stream)
        for node in cluster.quorum.controllers:
            await node.start()
        await cluster.quorum.ready(within_s=60)
        await cluster.serving()
        await cluster.done("kafka-topics", "--create", "--topic", "after-the-silence")
        await flowing(cluster, stream)
    await in_thread(stream.check)


def led_by(*ids: int) -> Callable[[list[Partition]], bool]:
    return lambda found: all(p.leader in ids for p in found)


async def flowing(cluster: KafkaCluster, stream: Stream, more: int = 50) -> None:
    """Waits until so many more messages were acknowledged."""
    wanted = len(stream.acknowledged) + more

    async def look() -> bool:
        cluster.check_alive()
        return len(stream.acknowledged) >= wanted

    await until(look, f"{more} messages more", cluster)
