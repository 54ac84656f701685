"""The same two brokers of Apache Kafka's on two quorums: three of Kafka's controllers, and three of ours."""

import pathlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import attrs
import trio

from benchmarks import load
from benchmarks.clusters import resident_mb
from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.kafka_broker_files import KafkaBrokerFiles, KafkaBrokerPlan, lay_out_broker, write_meta
from quorate.admin.kafka_distribution import java
from quorate.admin.kafka_process import KafkaProcess
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.talk import Manner, ask, failed
from quorate.metadata import features
from quorate.metadata.addresses import Address
from quorate.metadata.batch import decode_batches
from quorate.metadata.ids import random_uuid, uuid_to_text
from quorate.metadata.kafka_wire import in_kafkas_form
from quorate.metadata.log.directory import first_snapshot
from quorate.metadata.wire.cluster import MetadataRequest

LEVEL: Final = 25
"""metadata.version of both."""
BROKERS: Final = (201, 202)
_CONTROLLERS: Final = (1, 2, 3)
WITHIN_S: Final = 90.0


class Controller(Protocol):
    """A process of either kind."""

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


@attrs.define(kw_only=True)
class Side:
    """One quorum with its brokers."""

    controllers: dict[Address, Controller]
    brokers: list[KafkaProcess]

    @property
    def addresses(self) -> list[Address]:
        return list(self.controllers)

    @property
    def broker(self) -> Address:
        return Address(LOOPBACK, self.brokers[0].files.port)

    def controllers_mb(self) -> list[float]:
        return [resident_mb(one.pid) for one in self.controllers.values() if one.pid is not None]

    async def active(self) -> Address:
        """Where writes are taken."""
        return await load.find_writer(self.addresses, within_s=WITHIN_S)

    async def brokers_serve(self) -> None:
        for one in self.brokers:
            await one.start()
        with trio.fail_after(WITHIN_S):
            while True:
                found = await ask(self.broker, MetadataRequest(topics=()), Manner(timeout_ms=2_000))
                if failed(found) is None and len(found.brokers) == len(BROKERS):
                    return
                await trio.sleep(0.1)


MakeSide = Callable[
    [pathlib.Path, str], AbstractAsyncContextManager[tuple[Side, Callable[[], Awaitable[None]]]]
]
"""(a directory, the class path of Kafka) -> a side whose processes do not run, and what starts its controllers."""


@asynccontextmanager
async def ours(
    directory: pathlib.Path, class_path: str
) -> AsyncIterator[tuple[Side, Callable[[], Awaitable[None]]]]:
    """Three of our controllers."""
    rng = random.Random()
    with HeldPorts() as held:
        wanted = Wanted(controllers=3, brokers=0, metadata_version=LEVEL)
        files = lay_out(directory / "quorum", held, rng, wanted)
        ports = [held.claim(rng) for _ in BROKERS]
    plans = _broker_plans(directory, files.cluster_id, files.bootstrap_controllers, ports)
    brokers = [_process(lay_out_broker(plan, rng), class_path) for plan in plans]
    cluster = Cluster(files, NodeProcess)
    controllers: dict[Address, Controller] = {
        Address(LOOPBACK, node.files.port): node for node in cluster.controllers
    }
    try:
        yield Side(controllers=controllers, brokers=brokers), cluster.start
    finally:
        with trio.CancelScope(shield=True):
            await _stop(brokers)
            await cluster.stop()


@asynccontextmanager
async def theirs(
    directory: pathlib.Path, class_path: str
) -> AsyncIterator[tuple[Side, Callable[[], Awaitable[None]]]]:
    """Three of Kafka's, with voters in their configuration, and what Kafka's scripts give them: 1 GiB of heap, G1."""
    rng = random.Random()
    cluster_id = uuid_to_text(random_uuid(rng))
    with HeldPorts() as held:
        ports = {id: held.claim(rng) for id in _CONTROLLERS}
        broker_ports = [held.claim(rng) for _ in BROKERS]
    voters = ",".join(f"{id}@{LOOPBACK}:{port}" for id, port in ports.items())
    found = []
    for id, port in ports.items():
        home = directory / f"controller-{id}"
        (home / "data").mkdir(parents=True)
        write_meta(home / "data", cluster_id=cluster_id, broker_id=id, rng=rng)
        (home / "data" / "bootstrap.checkpoint").write_bytes(_bootstrap())
        files = KafkaBrokerFiles(id=id, port=port, directory=home)
        files.config.write_text(_controller_settings(id, port, voters, home))
        found.append(_process(files, class_path, "-Xmx1g", "-Xms1g", "-XX:+UseG1GC", "-XX:-UseSerialGC"))
    plans = [
        attrs.evolve(plan, settings={"controller.quorum.voters": voters})
        for plan in _broker_plans(directory, cluster_id, "", broker_ports)
    ]
    brokers = []
    for plan in plans:
        files = lay_out_broker(plan, rng)
        text = files.config.read_text().replace("controller.quorum.bootstrap.servers=\n", "")
        files.config.write_text(text)
        brokers.append(_process(files, class_path))

    async def start() -> None:
        for one in found:
            await one.start()

    controllers: dict[Address, Controller] = {Address(LOOPBACK, one.files.port): one for one in found}
    try:
        yield Side(controllers=controllers, brokers=brokers), start
    finally:
        with trio.CancelScope(shield=True):
            await _stop(brokers)
            await _stop(found)


def _bootstrap() -> bytes:
    """What `kafka-storage format --release-version` would write."""
    records = features.format_records(LEVEL, features.default_features(LEVEL))
    return b"".join(in_kafkas_form(batch) for batch in decode_batches(first_snapshot(None, records)))


def _controller_settings(id: int, port: int, voters: str, home: pathlib.Path) -> str:
    return "\n".join([
        f"node.id={id}",
        "process.roles=controller",
        f"listeners=CONTROLLER://{LOOPBACK}:{port}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT",
        f"controller.quorum.voters={voters}",
        f"log.dirs={home / 'data'}",
        "",
    ])  # fmt: skip


def _broker_plans(
    directory: pathlib.Path, cluster_id: str, controllers: str, ports: Sequence[int]
) -> list[KafkaBrokerPlan]:
    return [
        KafkaBrokerPlan(
            id=id,
            port=port,
            directory=directory / f"kafka-{id}",
            cluster_id=cluster_id,
            controllers=controllers,
            replication=len(BROKERS),
        )
        for id, port in zip(BROKERS, ports, strict=True)
    ]


def _process(files: KafkaBrokerFiles, class_path: str, *flags: str) -> KafkaProcess:
    return KafkaProcess(
        files,
        java=java(),
        class_path=class_path,
        flags=("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *flags),
    )


async def _stop(processes: Sequence[KafkaProcess]) -> None:
    async with trio.open_nursery() as nursery:
        for one in processes:
            nursery.start_soon(one.stop)
