"""Eligible leader replicas as Kafka's own tools see them: brokers stop one after the other, and one comes back."""

import functools

import pytest
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from tests.e2e.conftest import WITHIN_S, MakeCluster, needs
from tests.e2e.java.artifacts import VERSIONS
from tests.e2e.java.jvm import Jvm, Ran

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("in_the_clear")]


class Tools:
    """Kafka's tools, which ask the controllers: brokers come and go."""

    def __init__(self, jvm: Jvm, cluster: Cluster[NodeProcess]) -> None:
        self._jvm = jvm
        self._at = ",".join(f"127.0.0.1:{node.port}" for node in cluster.files.controllers)

    async def run(self, command: str) -> Ran:
        tool, *args = command.split()
        option = "--bootstrap-controller" if tool == "kafka-features" else "--bootstrap-server"
        return await trio.to_thread.run_sync(
            functools.partial(self._jvm.run, tool, [option, self._at, *args])
        )

    async def done(self, command: str) -> str:
        ran = await self.run(command)
        assert (ran.exit, ran.err) == (0, ""), ran
        return ran.out

    async def partition_becomes(self, **wanted: str) -> None:
        """Waits until kafka-topics describes the partition so."""
        told: dict[str, str] = {}
        with trio.move_on_after(WITHIN_S):
            while wanted.items() - told.items():
                said = await self.done("kafka-topics --describe --topic kept")
                parts = [part.partition(":") for part in said.splitlines()[-1].strip().split("\t")]
                told = {key: value.strip() for key, _, value in parts}
        assert wanted.items() <= told.items()


async def test_who_may_lead_when_the_isr_is_empty(make_cluster: MakeCluster) -> None:
    for program in ("java", "mvn"):
        needs(program)
    async with make_cluster(controllers=3, brokers=2) as cluster:
        with Jvm(VERSIONS[-1]) as jvm:
            tools = Tools(jvm, cluster)
            await tools.done("kafka-features upgrade --feature metadata.version=23")
            await tools.done("kafka-features upgrade --feature eligible.leader.replicas.version=1")
            await tools.done(
                "kafka-topics --create --topic kept --replica-assignment 102:101 --config min.insync.replicas=2"
            )
            refused = await tools.run("kafka-configs --alter --broker 101 --add-config min.insync.replicas=2")
            assert "Broker-level min.insync.replicas cannot be altered while ELR is enabled" in refused.err

            await cluster.node(101).stop()
            await tools.partition_becomes(
                Leader="102", Replicas="102,101", Isr="102", Elr="101", LastKnownElr=""
            )
            await cluster.node(102).stop()
            await tools.partition_becomes(
                Leader="none", Replicas="102,101", Isr="", Elr="101,102", LastKnownElr="102"
            )
            await cluster.node(101).start()
            await tools.partition_becomes(
                Leader="101", Replicas="102,101", Isr="101", Elr="102", LastKnownElr=""
            )
            await cluster.node(102).start()
            await tools.partition_becomes(Replicas="102,101", Isr="102,101", Elr="", LastKnownElr="")
