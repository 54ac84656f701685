"""The migration as processes: the demo as an operator runs it, and one on a real ZooKeeper."""

import contextlib
import html.parser
import json
import pathlib
import random
import sys
from collections.abc import AsyncIterator

import pytest
import trio

from quorate.admin import migrate_demo_parts as parts
from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import ClusterFiles
from quorate.admin.migrate_demo_parts import Client, Scene
from quorate.admin.ports import HeldPorts
from quorate.admin.zookeeper_cluster import CHROOT, SESSION_MS, ServerProcess, node_files
from quorate.metadata.ids import NodeId
from quorate.metadata.wire import migration
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.kafka_znodes.configs import decode_config
from quorate.metadata.zookeeper.kafka_znodes.paths import topic_config
from tests.contracts.zookeepers import real_zookeeper
from tests.e2e.conftest import WITHIN_S, full

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("in_the_clear")]


class _Titles(html.parser.HTMLParser):
    """What stands in headings; every element must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3"):
            self.titles.append(data)


async def test_the_demo_goes_there_and_back_and_writes_its_page(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "story.html"

    done = await trio.run_process(
        [sys.executable, "-P", "-m", "quorate.admin", "migrate", "demo", "--page", str(page)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )

    said = done.stdout.decode()
    assert done.returncode == 0, said[-3000:] + done.stderr.decode()
    assert "Both ways went well" in said
    found = _Titles()
    found.feed(page.read_text())
    assert not found.open
    assert found.titles[0] == "From ZooKeeper to the quorum"
    assert {"A controller is killed", "A ZooKeeper session ends", "Finalize", "Rollback"} <= set(found.titles)
    assert [
        title for title in found.titles if f"\n{title}  (" not in said and title.upper() not in said
    ] == []


@contextlib.asynccontextmanager
async def _on_a_real_zookeeper(directory: pathlib.Path) -> AsyncIterator[Scene]:
    """As `parts.staged`, with Apache ZooKeeper in the place of our server; nobody stops that one on the way."""
    (directory / "zookeeper").mkdir()
    with real_zookeeper(directory / "zookeeper") as port, HeldPorts() as ports:
        rng = random.SystemRandom()
        nodes = tuple(
            node_files(directory, f"broker-{one}", NodeId(one), ports.claim(rng)) for one in parts.BROKERS
        )
        files = ClusterFiles(directory=directory, cluster_id="", controllers=(), brokers=nodes)
        server = ServerProcess(node_files(directory, "zookeeper", NodeId(0), port))
        scene = Scene(directory, ports, server, Cluster(files, NodeProcess))
        settings = ConnectSettings(hosts=f"127.0.0.1:{port}", session_timeout_ms=SESSION_MS)
        async with connected(settings) as session:
            await session.create(CHROOT)
        for node in nodes:
            parts.write_settings(node.config, parts.zookeeper_mode(scene, node, controllers=None))
        try:
            await scene.brokers.start()
            await scene.brokers.ready(within_s=WITHIN_S)
            yield scene
        finally:
            with trio.CancelScope(shield=True):
                await scene.brokers.stop()
                if scene.controllers is not None:
                    await scene.controllers.stop()


if full():  # it takes minutes

    async def test_a_real_zookeeper_there_and_back(tmp_path: pathlib.Path) -> None:
        async with _on_a_real_zookeeper(tmp_path) as scene:
            await parts.fill(scene)
            async with Client(scene.addresses).working() as client:
                await client.some_more()
                await parts.start_quorum(scene)
                assert scene.controllers is not None
                bootstrap = scene.controllers.files.bootstrap_controllers
                for node in scene.brokers.brokers:
                    values = parts.zookeeper_mode(scene, node.files, controllers=bootstrap)
                    await parts.restart(scene, node, values)
                await scene.until("WAIT_FOR_ORDER", within_s=WITHIN_S)
                await scene.steer(migration.RUN)
                await scene.until("DUAL_WRITE", within_s=WITHIN_S)
                await client.some_more()
                assert (await scene.both_sides()).is_equal
                seat = await scene.seat()
                assert seat is not None
                assert seat[0] >= parts.FIRST_CONTROLLER
                await scene.steer(migration.ROLL_BACK)
                await scene.until("ROLLED_BACK", within_s=WITHIN_S)
                await scene.controllers.stop()
                await client.some_more()
                await client.stop()
            seat = await scene.seat()
            assert seat is not None
            assert seat[0] in parts.BROKERS
            topic, key = parts.WRITTEN
            there = decode_config((await scene.tree())[topic_config(topic)].data)
            assert there[key] == json.dumps(client.last)
