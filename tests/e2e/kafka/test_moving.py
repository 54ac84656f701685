"""A cluster of Apache Kafka's moves to this quorum, and back to Kafka's controllers: brokers keep what they have."""

import json
import os
import pathlib
import random
import shutil
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import attrs
import pytest
import trio

from quorate.admin.cluster import running
from quorate.admin.cluster_files import ClusterFiles, Wanted, lay_out
from quorate.admin.kafka_broker_files import KafkaBrokerFiles, KafkaBrokerPlan, lay_out_broker
from quorate.admin.kafka_distribution import java
from quorate.admin.kafka_process import KafkaProcess
from quorate.admin.ports import HeldPorts
from quorate.metadata.ids import random_uuid, uuid_to_text
from quorate.metadata.log.kraft_directory import PARTITION
from tests.e2e.conftest import full, needs
from tests.e2e.java.artifacts import class_path
from tests.e2e.java.jvm import Jvm, Ran
from tests.e2e.kafka.cluster import FLAGS
from tests.e2e.kafka.messages import consume, everything, produce
from tests.e2e.kafka.scenes import in_thread, values

pytestmark = pytest.mark.e2e

IDS: Final = (3001, 3002, 3003)
PARTITIONS: Final = 2
WITHIN_S: Final = 90.0
SHELLS: Final = {"4.4.0": "4.3.1"}
"""The release of kafka-metadata-shell that reads an export, where the one of the brokers' release is not served."""


@attrs.define(kw_only=True)
class Move:
    """The brokers, and Kafka's tools of their release; whose controllers they have at the moment changes."""

    directory: pathlib.Path
    version: str
    jvm: Jvm
    cluster_id: str
    ports: dict[int, int]
    brokers: list[KafkaProcess]

    @property
    def bootstrap(self) -> str:
        return ",".join(one.files.address for one in self.brokers)

    async def tool(self, name: str, *words: str) -> str:
        ran = await trio.to_thread.run_sync(self.jvm.run, name, list(words))
        assert ran.exit == 0, f"{name} {' '.join(words)}\n{ran.out}\n{ran.err}\n{self.trouble()}"
        return ran.out

    async def ask(self, name: str, *words: str) -> str:
        return await self.tool(name, "--bootstrap-server", self.bootstrap, *words)

    def process(self, files: KafkaBrokerFiles) -> KafkaProcess:
        return KafkaProcess(files, java=java(), class_path=class_path(self.version), flags=FLAGS)

    def trouble(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.last_words()}" for one in self.brokers)

    async def serve(self) -> None:
        """Starts the brokers, and waits until every replica of every partition is in sync."""
        for one in self.brokers:
            await one.start()
        words = ["--bootstrap-server", self.bootstrap, "--describe"]
        ran: Ran | None = None
        with trio.move_on_after(WITHIN_S):
            while True:
                ran = await trio.to_thread.run_sync(self.jvm.run, "kafka-topics", words)
                if ran.exit == 0 and _in_sync([line for line in ran.out.splitlines() if "Leader:" in line]):
                    return
                for one in self.brokers:
                    assert not one.ended_by_itself, one.last_words()
        raise AssertionError(f"not in sync: {ran}\n{self.trouble()}")

    async def rest(self) -> None:
        async with trio.open_nursery() as nursery:
            for one in self.brokers:
                nursery.start_soon(one.stop)

    def turn_to(self, controllers: str, *, static: bool = False) -> None:
        """Tells the brokers where their quorum is. `static`: its voters are configured, and not in the log any more."""
        voters = ",".join(f"{one}@127.0.0.1:{self.ports[one]}" for one in IDS)
        quorum = f"voters={voters}" if static else f"bootstrap.servers={controllers}"
        for one in self.brokers:
            lines = [
                line
                for line in one.files.config.read_text().splitlines()
                if not line.startswith(("controller.quorum.bootstrap.servers", "controller.quorum.voters"))
            ]
            one.files.config.write_text("\n".join([*lines, f"controller.quorum.{quorum}"]) + "\n")
            if static:
                shutil.rmtree(one.files.directory / "data-0" / PARTITION)

    # ---- Kafka's controllers

    def controller(self, id: int, where: str, *, static: bool) -> KafkaProcess:
        """One of Kafka's controllers on a directory that is named."""
        home = self.directory / f"{where}-{id}"
        home.mkdir(exist_ok=True)
        voters = ",".join(f"{one}@127.0.0.1:{self.ports[one]}" for one in IDS)
        servers = ",".join(f"127.0.0.1:{self.ports[one]}" for one in IDS)
        lines = [
            f"node.id={id}",
            "process.roles=controller",
            f"listeners=CONTROLLER://127.0.0.1:{self.ports[id]}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT",
            f"controller.quorum.voters={voters}"
            if static
            else f"controller.quorum.bootstrap.servers={servers}",
            f"log.dirs={home / 'data'}",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
        ]
        files = KafkaBrokerFiles(id=id, port=self.ports[id], directory=home)
        files.config.write_text("\n".join(lines) + "\n")
        return self.process(files)


def _in_sync(lines: Sequence[str]) -> bool:
    def count(line: str, what: str) -> int:
        return len(line.partition(f"{what}: ")[2].split("\t")[0].split(","))

    return bool(lines) and all(
        "Leader: none" not in line and count(line, "Isr") == count(line, "Replicas") == 2 for line in lines
    )


async def quorate(*words: str) -> str:
    done = await trio.run_process(
        [sys.executable, "-m", "quorate.admin", *words], capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def fill(move: Move) -> None:
    """Topics with messages, and something of every kind of metadata that an administrator makes."""
    await move.ask(
        "kafka-topics", "--create", "--topic", "kept", f"--partitions={PARTITIONS}", "--replication-factor=2",
        "--config=retention.ms=123456789",
    )  # fmt: skip
    await in_thread(produce, move.bootstrap, "kept", values(300))
    assert len(await in_thread(consume, move.bootstrap, "kept", 300, group="keeps-its-place")) == 300
    for words in (
        ("--entity-type", "users", "--entity-name", "alice", "--add-config", "SCRAM-SHA-256=[password=x]"),
        ("--entity-type", "clients", "--entity-name", "c", "--add-config", "producer_byte_rate=1048576"),
        ("--entity-type", "brokers", "--entity-default", "--add-config", "log.cleaner.threads=2"),
    ):
        await move.ask("kafka-configs", "--alter", *words)
    await move.ask(
        "kafka-acls", "--add", "--allow-principal", "User:alice", "--operation", "Read", "--topic", "kept"
    )


async def told(move: Move) -> dict[str, Any]:
    """What its administrator sees of the cluster, and what a consumer that comes back finds."""
    described = await move.ask("kafka-topics", "--describe", "--topic", "kept")
    return {
        "topic id": described.partition("TopicId: ")[2].split()[0],
        "retention": "retention.ms=123456789" in described,
        "users": await move.ask("kafka-configs", "--describe", "--entity-type", "users"),
        "clients": await move.ask("kafka-configs", "--describe", "--entity-type", "clients"),
        "brokers": await move.ask(
            "kafka-configs", "--describe", "--entity-type", "brokers", "--entity-default"
        ),
        "acls": await move.ask("kafka-acls", "--list"),
    }


async def all_told(move: Move) -> dict[str, Any]:
    """As `told`, once the brokers have heard of all that was made: they do so after the answer."""
    with trio.fail_after(WITHIN_S):
        while not all((found := await told(move)).values()):
            pass
    return found


async def goes_on(move: Move, mark: str, before: list[str]) -> list[str]:
    """New messages come; the group goes on where it was; all there ever were are there once."""
    more = values(50, mark)
    await in_thread(produce, move.bootstrap, "kept", more)
    found = await in_thread(consume, move.bootstrap, "kept", 50, group="keeps-its-place")
    assert sorted(found) == sorted(more)
    assert sorted(await in_thread(everything, move.bootstrap, "kept", PARTITIONS)) == sorted(before + more)
    return before + more


async def import_into(move: Move, files: ClusterFiles, sources: Sequence[pathlib.Path]) -> None:
    ids = {node.id: uuid_to_text(random_uuid(random.Random())) for node in files.controllers}
    voters = ",".join(f"{node.id}@{node.address}:{ids[node.id]}" for node in files.controllers)
    for node in files.controllers:
        shutil.rmtree(node.data)
        words = [str(one) for one in sources]
        await quorate(
            "storage", "import-kraft", *words, "--config", str(node.config), "--initial-controllers", voters
        )


def _broker(move: Move, id: int, rng: random.Random) -> KafkaProcess:
    voters = ",".join(f"{one}@127.0.0.1:{move.ports[one]}" for one in IDS)
    plan = KafkaBrokerPlan(
        id=id,
        port=move.ports[id],
        directory=move.directory / f"kafka-{id}",
        cluster_id=move.cluster_id,
        controllers="",
        replication=2,
        settings={
            "controller.quorum.voters": voters,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    files = lay_out_broker(plan, rng)
    text = files.config.read_text().replace("controller.quorum.bootstrap.servers=\n", "")
    files.config.write_text(text)
    return move.process(files)


async def _stop(controllers: Sequence[KafkaProcess], move: Move) -> None:
    await move.rest()
    async with trio.open_nursery() as nursery:
        for one in controllers:
            nursery.start_soon(one.stop)


async def export_to(move: Move, files: ClusterFiles, *, static: bool) -> list[KafkaProcess]:
    """Of the longest of our logs; what was made is read by Kafka's own programs first."""
    whom = ["--static", ",".join(map(str, IDS))] if static else ["--dynamic", _voters(move)]
    ends = {}
    for node in files.controllers:
        told = await quorate("storage", "info", str(node.config), "--output", "json")
        found = json.loads(told)
        ends[node.id] = (found["last_epoch"], found["log_end"])
    longest = max(files.controllers, key=lambda node: ends[node.id])
    back = []
    for id in IDS:
        one = move.controller(id, "after", static=static)
        await quorate(
            "storage", "export-kraft", str(longest.data), "--into", str(one.files.directory / "data"),
            "--node-id", str(id), *whom,
        )  # fmt: skip
        back.append(one)
    await read_by_kafka(move, back[0].files.directory / "data" / PARTITION, static=static)
    return back


def _voters(move: Move) -> str:
    ids = {id: uuid_to_text(random_uuid(random.Random())) for id in IDS}
    return ",".join(f"{id}@127.0.0.1:{move.ports[id]}:{ids[id]}" for id in IDS)


async def read_by_kafka(move: Move, partition: pathlib.Path, *, static: bool) -> None:
    """By the programs with which Kafka's operators look at a log."""
    suffix = ".checkpoint" if static else ".log"
    file = str(partition / next(name for name in sorted(os.listdir(partition)) if name.endswith(suffix)))
    dumped = await move.tool("kafka-dump-log", "--cluster-metadata-decoder", "--files", file)
    assert '"name":"made-on-ours"' in dumped
    assert "isvalid: true" in dumped
    assert "isvalid: false" not in dumped
    assert ("KRaftVoters" in dumped) is not static
    release = SHELLS.get(move.version, move.version)
    shell = class_path(release, pathlib.Path(__file__).with_name("shell.xml"))
    with Jvm(release, classes=shell) as alone:  # it takes the standard output of its JVM with it
        words = ["--snapshot", file, "ls", "/image/topics/byName"]
        ran = await trio.to_thread.run_sync(alone.run, "kafka-metadata-shell", words)
    assert {"kept", "made-on-ours"} <= set(ran.out.split()), ran


if full():  # it takes minutes

    @pytest.mark.parametrize(
        ("version", "static"), [("4.4.0", False), ("4.3.1", False), ("4.3.1", True), ("3.9.2", True)]
    )
    async def test_a_cluster_moves_here_and_back(tmp_path: pathlib.Path, version: str, static: bool) -> None:
        needs("java")
        needs("mvn")
        rng = random.Random()
        with HeldPorts() as held:
            wanted = Wanted(controllers=3, brokers=0, controller_settings={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            })  # fmt: skip
            files = lay_out(tmp_path / "ours", held, rng, wanted)
            ports = {id: held.claim(rng) for id in (*IDS, 201, 202)}
        cluster_id = uuid_to_text(random_uuid(rng))
        async with AsyncExitStack() as stack:
            jvm = stack.enter_context(Jvm(version))
            move = Move(
                directory=tmp_path, version=version, jvm=jvm, cluster_id=cluster_id, ports=ports, brokers=[]
            )
            move.brokers = [_broker(move, id, rng) for id in (201, 202)]
            controllers = [move.controller(id, "before", static=True) for id in IDS]
            for one in controllers:
                await move.tool(
                    "kafka-storage", "format", "-t", cluster_id, "-c", str(one.files.config),
                    "--release-version", "4.0" if version.startswith("4") else "3.9",
                )  # fmt: skip
            stack.push_async_callback(_stop, controllers, move)

            # Kafka's own cluster, as its users have it.
            for one in controllers:
                await one.start()
            for one in move.brokers:
                await one.start()
            await fill(move)
            seen = await all_told(move)
            await _stop(controllers, move)

            # On our controllers.
            await import_into(move, files, [one.files.directory / "data" for one in controllers])
            move.turn_to(files.bootstrap_controllers)
            async with running(files) as quorum:
                await quorum.ready(within_s=WITHIN_S)
                await move.serve()
                assert await told(move) == seen
                messages = await goes_on(move, "on-ours-", values(300))
                await move.ask(
                    "kafka-topics", "--create", "--topic", "made-on-ours", "--replication-factor=2"
                )
                await move.rest()

            # And back.
            back = await export_to(move, files, static=static)
            stack.push_async_callback(_stop, back, move)
            for one in back:
                await one.start()
            move.turn_to(",".join(one.files.address for one in back), static=static)
            await move.serve()
            assert await told(move) == seen
            await goes_on(move, "back-", messages)
            assert "made-on-ours" in (await move.ask("kafka-topics", "--list")).split()
            await move.ask("kafka-topics", "--create", "--topic", "made-after", "--replication-factor=2")
