"""`quorate migrate demo`: a cluster moves from ZooKeeper to the quorum under a client that never stops; then another
one goes back.

Everything is real: a ZooKeeper server, three brokers that keep their metadata there, three controllers, all processes
with disks and ports of their own. A controller is killed on the way, and a ZooKeeper session. Whatever does not go as
it should ends the demo with exit code 1.
"""

import os
import pathlib
import tempfile
import time
from typing import Annotated, Final

import attrs
import trio
import typer

from quorate.admin import migrate_demo_page as page
from quorate.admin import migrate_demo_parts as parts
from quorate.admin.demo import told_until_stopped
from quorate.admin.errors import Refused
from quorate.admin.migrate_demo_parts import Client, Scene
from quorate.admin.output import plural
from quorate.admin.ports import HeldPorts
from quorate.admin.zookeeper_cluster import SESSION_MS
from quorate.controller.migration.plan import Plan, PlanOptions, planned
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.wire import migration
from quorate.metadata.zookeeper.kafka_znodes.configs import decode_config
from quorate.metadata.zookeeper.kafka_znodes.paths import topic_config
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.znodes import Tree

_AT_MOST_S: Final = 300.0
_PAGE: Final = pathlib.Path("quorate-migrate-demo.html")

PageOption = Annotated[
    pathlib.Path, typer.Option("--page", metavar="FILE", help="Where the story is written as one HTML page.")
]


def demo(page: PageOption = _PAGE) -> None:
    """Moves a cluster to a quorum while a client works; and back.

    Needs nothing, and takes a minute or two. Processes, data and ports are gone at the end, also after Ctrl-C; the
    page stays.
    """
    trio.run(told_until_stopped, _Demo(page).tell, _AT_MOST_S)


@attrs.define
class _Demo:
    """The two stories."""

    path: pathlib.Path
    story: page.Story = attrs.Factory(page.Story)
    began: float = attrs.Factory(time.monotonic)

    async def tell(self) -> None:
        self._chapter("From ZooKeeper to the quorum")
        with tempfile.TemporaryDirectory(prefix="quorate-migrate-") as directory, HeldPorts() as ports:
            async with parts.staged(pathlib.Path(directory), ports) as scene:
                await self._there(scene)
        self._chapter("There, and back to ZooKeeper")
        with tempfile.TemporaryDirectory(prefix="quorate-migrate-") as directory, HeldPorts() as ports:
            async with parts.staged(pathlib.Path(directory), ports) as scene:
                await self._there_and_back(scene)
        self._sum_up()

    # --- the two stories

    async def _there(self, scene: Scene) -> None:
        await self._begin(scene)
        async with Client(scene.addresses).working() as client:
            await client.some_more()
            await self._plan(scene)
            await self._quorum(scene)
            await self._copy(scene, client)
            await self._kill_controller(scene, client)
            await self._lose_session(scene, client)
            await self._move_brokers(scene, client, parts.BROKERS)
            await client.some_more()
            await client.stop()
        await self._compare(scene, client)
        await self._finalize(scene)

    async def _there_and_back(self, scene: Scene) -> None:
        await self._begin(scene)
        async with Client(scene.addresses).working() as client:
            await client.some_more()
            await self._quorum(scene)
            await self._copy(scene, client)
            await self._move_brokers(scene, client, (1,))
            await client.some_more()
            await self._roll_back(scene, client)
            await client.some_more()
            await client.stop()
        await self._check_written(scene, client, in_quorum=False)
        seat = await scene.seat()
        self._say(
            f"/controller is held by broker {None if seat is None else seat[0]}, in ZooKeeper mode, as at the "
            "beginning."
        )

    # --- their scenes

    async def _begin(self, scene: Scene) -> None:
        self._scene("A cluster that lives in ZooKeeper")
        self._say("A ZooKeeper server and three brokers in ZooKeeper mode, four processes.")
        await parts.fill(scene)
        seat = await scene.seat()
        self._say(
            "Topics, a config, a quota and an ACL were created through the brokers. Broker "
            f"{None if seat is None else seat[0]} "
            "holds /controller: the lowest in the queue of candidates."
        )
        await self._sides(scene)

    async def _plan(self, scene: Scene) -> None:
        self._scene("Plan: only reading")
        tree = await scene.tree()
        made = _planned(tree)
        self._say(f"{plural(made.znodes, 'znode')}; the copy will write {plural(made.total, 'record')}.")
        for trouble in made.troubles:
            self._say(f"  {trouble.severity.value}: {trouble.path}: {trouble.words}")
        if not made.can_run:
            raise Refused("The plan names blockers in a cluster that was just made.")

    async def _quorum(self, scene: Scene) -> None:
        self._scene("A quorum beside it")
        await parts.start_quorum(scene)
        assert scene.controllers is not None
        bootstrap = scene.controllers.files.bootstrap_controllers
        self._say(
            "Three controllers start with zookeeper.metadata.migration.enable. They wait, and change nothing."
        )
        for node in scene.brokers.brokers:
            await parts.restart(scene, node, parts.zookeeper_mode(scene, node.files, controllers=bootstrap))
        self._say(
            "The brokers are restarted one by one with the same key: still in ZooKeeper mode, and registered with "
            "the quorum."
        )
        status = await scene.until("WAIT_FOR_ORDER")
        self._say(f"The driver: {status['state']}. {status['what_to_do']}")

    async def _copy(self, scene: Scene, client: Client) -> None:
        self._scene("Run: the copy, under writes")
        began = time.monotonic()
        await scene.steer(migration.RUN)
        status = await scene.until("DUAL_WRITE")
        copied = status["copied"]
        seat = await scene.seat()
        self._say(
            f"After {time.monotonic() - began:.1f} s: {copied['records']} records copied in one transaction, and "
            "both sides are "
            f"written. /controller is held by controller {None if seat is None else seat[0]}."
        )
        await client.some_more()
        await self._sides(scene)

    async def _kill_controller(self, scene: Scene, client: Client) -> None:
        self._scene("A controller is killed")
        assert scene.controllers is not None
        seat = await scene.seat()
        active = scene.controllers.node(-1 if seat is None else seat[0])
        active.kill()
        await active.wait()
        before = client.acknowledged
        await scene.until("DUAL_WRITE")
        await client.some_more()
        now = await scene.seat()
        self._say(
            f"SIGKILL to controller {active.files.id}: controller {None if now is None else now[0]} leads, has claimed "
            f"/controller anew and made ZooKeeper level; {client.acknowledged - before} changes were acknowledged "
            "meanwhile."
        )
        await active.start()

    async def _lose_session(self, scene: Scene, client: Client) -> None:
        self._scene("A ZooKeeper session ends")
        broker = scene.brokers.node(2)
        broker.suspend()
        try:
            await trio.sleep(SESSION_MS * 1.6 / 1000)
        finally:
            broker.resume()
        await scene.brokers.ready(within_s=30.0)
        await client.some_more()
        self._say(
            "Broker 2 stood still for longer than its session: its znodes went, and came back when it woke. The "
            "client "
            f"waited {client.longest_wait_s:.1f} s at most so far."
        )

    async def _move_brokers(self, scene: Scene, client: Client, broker_ids: tuple[int, ...]) -> None:
        self._scene("Brokers move to KRaft mode" if len(broker_ids) > 1 else "One broker moves to KRaft mode")
        assert scene.controllers is not None
        bootstrap = scene.controllers.files.bootstrap_controllers
        for broker_id in broker_ids:
            node = scene.brokers.node(broker_id)
            await parts.restart(scene, node, parts.kraft_mode(node.files, bootstrap))
            await client.some_more(3)
        status = await scene.until("DUAL_WRITE")
        modes = ", ".join(f"{one['id']}: {one['mode']}" for one in status["brokers"])
        self._say(f"Restarted one by one with another file, the client went on. Modes now: {modes}.")

    async def _compare(self, scene: Scene, client: Client) -> None:
        self._scene("Verify: both sides, row by row")
        await self._sides(scene)
        await self._check_written(scene, client, in_quorum=True)

    async def _finalize(self, scene: Scene) -> None:
        self._scene("Finalize")
        await scene.steer(migration.FINALIZE)
        status = await scene.until("FINISHED")
        self._say(f"The log says {status['log']['migration_state']}: the quorum has the cluster for good.")
        await scene.server.stop()
        await parts.write_once(scene)
        self._say("The ZooKeeper server was stopped; the cluster takes changes all the same.")

    async def _roll_back(self, scene: Scene, client: Client) -> None:
        self._scene("Rollback")
        assert scene.controllers is not None
        await scene.steer(migration.ROLL_BACK)
        status = await scene.until("ROLLBACK_WAIT_FOR_BROKERS")
        self._say(f"The order was given; the driver waits for: {', '.join(status['waiting_for'])}.")
        node = scene.brokers.node(1)
        bootstrap = scene.controllers.files.bootstrap_controllers
        await parts.restart(scene, node, parts.zookeeper_mode(scene, node.files, controllers=bootstrap))
        status = await scene.until("ROLLED_BACK")
        verified = status["verified"]
        self._say(
            f"Broker 1 was restarted in ZooKeeper mode. ZooKeeper was made level, compared with the log at offset "
            f"{verified['offset']} ({'equal' if verified['equal'] else 'NOT equal'}), and let go."
        )
        await client.some_more()
        await scene.controllers.stop()
        self._say(
            "The controllers are stopped; the brokers have a controller among them again, and the client goes on."
        )

    # --- telling

    async def _check_written(self, scene: Scene, client: Client, *, in_quorum: bool) -> None:
        topic, key = parts.WRITTEN
        there = decode_config((await scene.tree())[topic_config(topic)].data).get(key)
        values = [("ZooKeeper", there)]
        if in_quorum:
            values.append(
                ("the quorum", (await scene.image()).configs.of(ResourceType.TOPIC, topic).get(key))
            )
        for side, value in values:
            if value != str(client.last):
                raise Refused(
                    "An acknowledged change is missing.", why=f"{side} says {value}, the client {client.last}"
                )
        self._say(
            f"The client had {plural(client.acknowledged, 'change')} acknowledged and read the topics {client.reads} "
            "times; the last "
            f"value, {client.last}, is in {' and in '.join(side for side, _ in values)}. It never waited longer than "
            f"{client.longest_wait_s:.1f} s."
        )

    async def _sides(self, scene: Scene) -> None:
        """ZooKeeper and the log next to each other."""
        if scene.controllers is None:
            tree = await scene.tree()
            made = _planned(tree)
            rows = [page.Row(kind, str(count), "-", "") for kind, count in made.records.items()]
        else:
            found = await scene.both_sides()
            if not found.is_equal:
                raise Refused("Both sides differ.", why=str(found.differences[:1]))
            rows = [
                page.Row(
                    one.category.value,
                    str(one.zookeeper),
                    str(one.log),
                    f"equal {one.digest_log[:8]}"
                    if one.digest_log == one.digest_zookeeper
                    else "as expected",
                )
                for one in found.categories
                if one.zookeeper or one.log
            ]
        self.story.sides(rows)
        for line in page.table(rows):
            typer.echo(f"    {line}")

    def _chapter(self, title: str) -> None:
        self.story.chapter(title)
        typer.echo(f"\n{title.upper()}")

    def _scene(self, title: str) -> None:
        at = time.monotonic() - self.began
        self.story.scene(title, at)
        typer.echo(f"\n{title}  ({at:.1f} s)")

    def _say(self, words: str) -> None:
        self.story.say(words)
        typer.echo(f"  {words}")

    def _sum_up(self) -> None:
        took = time.monotonic() - self.began
        self.path.write_text(self.story.html(took), encoding="utf-8")
        typer.echo(
            f"\nBoth ways went well, in {took:.0f} s. Nothing acknowledged was lost. The story as a page: {self.path}"
        )


def _planned(tree: Tree) -> Plan:
    ids = tuple(parts.FIRST_CONTROLLER + index for index in range(3))
    options = PlanOptions(reading=ReadOptions(), controller_ids=ids, entropy=os.urandom)
    return planned(tree, read(tree, options.reading), options)
