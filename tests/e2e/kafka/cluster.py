"""Apache Kafka's own brokers, unmodified, on three of Quorate's controllers: all real processes on loopback."""

import json
import pathlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, Wanted, lay_out
from quorate.admin.kafka_broker_files import KafkaBrokerPlan, lay_out_broker
from quorate.admin.kafka_distribution import java
from quorate.admin.kafka_process import KafkaProcess
from quorate.admin.ports import HeldPorts
from quorate.admin.talk import Manner, ask, failed
from quorate.metadata.addresses import Address
from quorate.metadata.wire.cluster import DescribeClusterRequest, MetadataRequest, MetadataRequestTopic
from tests.e2e.java.artifacts import class_path
from tests.e2e.java.jvm import Jvm, Ran

WITHIN_S: Final = 90.0
"""Nothing that is waited for here takes so long on any machine that can be worked on."""
_LOOK_AGAIN_S: Final = 0.05
FIRST_ID: Final = 201
_SESSION_MS: Final = 6_000
_FATAL: Final = ("Encountered fatal fault", "Exiting Kafka", "OutOfMemoryError")


@attrs.frozen(kw_only=True)
class Partition:
    """As a controller's image has it."""

    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@attrs.define(kw_only=True)
class KafkaCluster:
    """The controllers, the brokers, and Kafka's tools of the same release."""

    version: str
    quorum: Cluster[NodeProcess]
    brokers: list[KafkaProcess]
    directory: pathlib.Path
    jvm: Jvm
    guarded: str = ""
    """Where users with passwords connect."""

    @property
    def bootstrap(self) -> str:
        return ",".join(one.files.address for one in self.brokers)

    def broker(self, id: int) -> KafkaProcess:
        return next(one for one in self.brokers if one.files.id == id)

    # ---- Kafka's own tools ---------------------------------------------------------------------------

    async def tool(self, name: str, *words: str, controllers: bool = False) -> Ran:
        """What a tool of Kafka's prints, through a broker, or by --bootstrap-controller."""
        where = (
            ["--bootstrap-controller", self.quorum.files.bootstrap_controllers]
            if controllers
            else ["--bootstrap-server", self.bootstrap]
        )
        return await trio.to_thread.run_sync(self.jvm.run, name, [*where, *words])

    async def done(self, name: str, *words: str, controllers: bool = False) -> str:
        """As `tool`, which must succeed."""
        ran = await self.tool(name, *words, controllers=controllers)
        assert ran.exit == 0, f"{name} {' '.join(words)}:\n{ran.out}\n{ran.err}\n{self.trouble()}"
        return ran.out

    async def jvm_at(self, address: str, name: str, *words: str) -> str:
        """What a tool prints that asks one broker, of whatever kind."""
        ran = await trio.to_thread.run_sync(self.jvm.run, name, ["--bootstrap-server", address, *words])
        assert ran.exit == 0, f"{ran.out}\n{ran.err}"
        return ran.out

    def file(self, name: str, content: object) -> str:
        """The path of a JSON file for a tool."""
        path = self.directory / name
        path.write_text(json.dumps(content))
        return str(path)

    # ---- what the controllers say --------------------------------------------------------------------

    async def active(self) -> NodeProcess:
        """The active controller, once one of the running ones names itself."""

        async def look() -> NodeProcess | None:
            for node in self.quorum.controllers:
                if node.running:
                    found = await self._ask(node, MetadataRequest(topics=(), allow_auto_topic_creation=False))
                    if found is not None and found.controller_id == node.files.id:
                        return node
            return None

        return await until(look, "an active controller", self)

    async def unfenced(self) -> set[int]:
        """The brokers that serve, in the eyes of the first controller that answers."""
        for node in self.quorum.controllers:
            found = await self._ask(node, DescribeClusterRequest(include_fenced_brokers=True))
            if found is not None and found.brokers:
                return {one.broker_id for one in found.brokers if not one.is_fenced}
        return set()

    async def serving(self, *ids: int, within_s: float = WITHIN_S) -> None:
        """Waits until just these brokers of Kafka's (all, if none is named) are unfenced."""
        wanted = set(ids or (one.files.id for one in self.brokers))

        async def look() -> bool:
            self.check_alive()
            return {id for id in await self.unfenced() if id >= FIRST_ID} == wanted

        await until(look, f"brokers {sorted(wanted)} unfenced, and no other", self, within_s)

    async def partitions(self, topic: str) -> list[Partition]:
        """In the active controller's image, by number; empty if there is no such topic."""
        node = await self.active()
        request = MetadataRequest(topics=(MetadataRequestTopic(name=topic),), allow_auto_topic_creation=False)
        found = await self._ask(node, request)
        if found is None:
            return []
        (described,) = found.topics
        return [
            Partition(leader=one.leader_id, replicas=one.replica_nodes, isr=one.isr_nodes)
            for one in sorted(described.partitions, key=lambda one: one.partition_index)
        ]

    async def settles(
        self,
        topic: str,
        as_wanted: Callable[[Sequence[Partition]], bool],
        what: str,
        within_s: float = WITHIN_S,
    ) -> None:
        """Waits until a topic's partitions are as they should be."""

        async def look() -> bool:
            found = await self.partitions(topic)
            return bool(found) and as_wanted(found)

        await until(look, f"{topic}: {what}", self, within_s)

    async def in_sync(self, topic: str) -> None:
        """Waits until every replica of a topic is in sync, and each partition has a leader."""
        await self.settles(
            topic,
            lambda found: all(set(p.isr) == set(p.replicas) and p.leader in p.isr for p in found),
            "everything in sync",
        )

    async def _ask(self, node: NodeProcess, request: Any) -> Any:
        answer = await ask(Address("127.0.0.1", node.files.port), request, Manner(timeout_ms=3_000))
        return None if failed(answer) is not None else answer

    # ---- trouble -------------------------------------------------------------------------------------

    def check_alive(self) -> None:
        """No broker may end but by our own hand, whatever the controllers do."""
        for one in self.brokers:
            assert not one.ended_by_itself, f"{one.name} has ended:\n{one.last_words()}"

    def check_unharmed(self) -> None:
        """As `check_alive`; and none has said that anything was fatal."""
        self.check_alive()
        for one in self.brokers:
            said = one.files.log.read_text(errors="replace")
            fatal = [line for line in said.splitlines() if any(word in line for word in _FATAL)]
            assert not fatal, f"{one.name}: {fatal[:3]}"

    def trouble(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.last_words()}" for one in self.brokers)


async def until(
    look: Callable[[], Awaitable[Any]], what: str, cluster: KafkaCluster, within_s: float = WITHIN_S
) -> Any:
    """The first answer that is true."""
    with trio.move_on_after(within_s):
        while True:
            found = await look()
            if found:
                return found
            await trio.sleep(_LOOK_AGAIN_S)
    raise AssertionError(f"not within {within_s:g} s: {what}\n{cluster.trouble()}")


@attrs.frozen(kw_only=True)
class Cell:
    """One of the clusters that the scenes are played on."""

    version: str
    level: int
    static_voters: bool = False
    brokers: int = 3
    log_dirs: int = 1
    lightweight: int = 0
    guarded: bool = False
    """Brokers have a listener for users with passwords (SCRAM) beside the open one, and ACLs count."""

    def __str__(self) -> str:
        how = "static voters" if self.static_voters else "bootstrap servers"
        return f"{self.version} at {self.level}, {how}" + (", guarded" if self.guarded else "")


@asynccontextmanager
async def kafka_cluster(
    directory: pathlib.Path,
    cell: Cell,
    *,
    broker_settings: Mapping[str, str] | None = None,
    controller_settings: Mapping[str, str] | None = None,
) -> AsyncIterator[KafkaCluster]:
    """A cluster whose brokers are all unfenced; taken down in order at the end, brokers first."""
    rng = random.Random()
    with HeldPorts() as held:
        files = lay_out(directory / "quorum", held, rng, _wanted(cell, controller_settings or {}))
        ports = [held.claim(rng) for _ in range(cell.brokers)]
        guarded = [held.claim(rng) for _ in range(cell.brokers if cell.guarded else 0)]
        # Given back before brokers bind them: Java does not share a port that is held.
        held.close()
        for node in files.nodes:
            held.hold(node.port, node.name)
        brokers = [
            _broker(
                directory,
                cell,
                files,
                index,
                port,
                {**(broker_settings or {}), **_guarded(port, guarded[index:])},
            )
            for index, port in enumerate(ports)
        ]
        with Jvm(cell.version) as jvm:
            async with running(files) as quorum:
                cluster = KafkaCluster(
                    version=cell.version,
                    quorum=quorum,
                    brokers=brokers,
                    directory=directory,
                    jvm=jvm,
                    guarded=",".join(f"127.0.0.1:{port}" for port in guarded),
                )
                try:
                    await quorum.ready(within_s=WITHIN_S)
                    for one in brokers:
                        await one.start()
                    await cluster.serving()
                    yield cluster
                finally:
                    with trio.CancelScope(shield=True):
                        async with trio.open_nursery() as nursery:
                            for one in cluster.brokers:
                                nursery.start_soon(one.stop, 20.0)


def _wanted(cell: Cell, settings: Mapping[str, str]) -> Wanted:
    return Wanted(
        controllers=3,
        brokers=cell.lightweight,
        metadata_version=cell.level,
        controller_settings={
            "broker.session.timeout.ms": str(_SESSION_MS),
            "default.replication.factor": "1",
            **(_ACLS if cell.guarded else {}),
            **settings,
        },
    )


def _broker(
    directory: pathlib.Path,
    cell: Cell,
    files: ClusterFiles,
    index: int,
    port: int,
    settings: Mapping[str, str],
) -> KafkaProcess:
    voters = ",".join(f"{node.id}@{node.address}" for node in files.controllers)
    plan = KafkaBrokerPlan(
        id=FIRST_ID + index,
        port=port,
        directory=directory / f"kafka-{FIRST_ID + index}",
        cluster_id=files.cluster_id,
        controllers=files.bootstrap_controllers,
        log_dirs=cell.log_dirs,
        replication=cell.brokers,
        settings={
            "broker.session.timeout.ms": str(_SESSION_MS),
            "broker.heartbeat.interval.ms": "500",
            **({"controller.quorum.voters": voters} if cell.static_voters else {}),
            **settings,
        },
    )
    broker_files = lay_out_broker(plan, random.Random())
    if cell.static_voters:
        _without(broker_files.config, "controller.quorum.bootstrap.servers")
    return KafkaProcess(broker_files, java=java(), class_path=class_path(cell.version), flags=FLAGS)


FLAGS: Final = ("-XX:TieredStopAtLevel=1", "-Xmx256m", "-Xss512k")


_ACLS: Final = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
"""Who comes by an open listener may do everything."""


def _guarded(port: int, guarded: Sequence[int]) -> dict[str, str]:
    if not guarded:
        return {}
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        **_ACLS,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},GUARDED://127.0.0.1:{guarded[0]}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.guarded.scram-sha-512.sasl.jaas.config": scram,
    }


def _without(config: pathlib.Path, key: str) -> None:
    lines = [line for line in config.read_text().splitlines() if not line.startswith(f"{key}=")]
    config.write_text("\n".join(lines) + "\n")
