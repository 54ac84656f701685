"""What the migration demo is made of: files of both modes, processes, a client that never stops, both sides compared
(shell)."""

import contextlib
import json
import pathlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import attrs
import trio

from quorate.admin.asking import Session
from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.cluster_files import NodeFiles, Wanted, lay_out
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.log_source import ClusterSource
from quorate.admin.output import Form, Printer
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.zookeeper_cluster import CHROOT, SESSION_MS, ServerProcess, running_on_zookeeper
from quorate.admin.zookeeper_cluster import lay_out as lay_out_on_zookeeper
from quorate.controller.migration.checks import Facts
from quorate.controller.migration.verify import Phase, Verification, VerifyOptions
from quorate.controller.migration.verify import verify as compare
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, open_client
from quorate.metadata.client import NoAnswer as NobodyAnswered
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire import acls, configs, migration, quotas, topics
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ConnectSettings
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_cluster_id, decode_controller
from quorate.metadata.zookeeper.live_tree import read_tree
from quorate.metadata.zookeeper.znodes import Tree, ZooKeeperError

BROKERS: Final = (1, 2, 3)
FIRST_CONTROLLER: Final = 3000
TOPICS: Final = {"orders": 6, "payments": 3, "audit": 1}
WRITTEN: Final = ("orders", "retention.ms")
"""(topic, config) that the client sets to one value after the other."""
_FIRST_VALUE: Final = 1_000_000
_TIMEOUT_MS: Final = 15_000
_COMPARED_AT_MOST: Final = 20
_TRIED_AT_MOST: Final = 100
_READY_S: Final = 30.0
_PAUSE_S: Final = 0.03
_TRY_AGAIN: Final = frozenset({
    ErrorCode.not_controller,
    ErrorCode.request_timed_out,
    ErrorCode.broker_not_available,
    ErrorCode.unknown_server_error,
    ErrorCode.unknown_topic_or_partition,
})  # fmt: skip
"""A request that was answered so is sent again: nobody held the office at that moment."""
_LOCK: Final = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}
_EVERYBODY: Final = {"super.users": "User:ANONYMOUS"}


@attrs.define
class Scene:
    """All processes of one story."""

    directory: pathlib.Path
    ports: HeldPorts
    server: ServerProcess
    brokers: Cluster[NodeProcess]
    controllers: Cluster[NodeProcess] | None = None

    @property
    def zookeeper(self) -> str:
        return f"{self.server.files.address}{CHROOT}"

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the brokers."""
        return tuple(Address(LOOPBACK, node.port) for node in self.brokers.files.brokers)

    async def tree(self) -> Tree:
        async with connected(ConnectSettings(hosts=self.zookeeper)) as zookeeper:
            return await read_tree(zookeeper)

    async def seat(self) -> tuple[int, int] | None:
        """(who, in which epoch of the quorum) holds /controller; an epoch of -1: a broker in ZooKeeper mode."""
        async with connected(ConnectSettings(hosts=self.zookeeper)) as zookeeper:
            try:
                found = decode_controller((await zookeeper.get(paths.CONTROLLER)).data)
            except ZooKeeperError:
                return None
        return found.broker_id, found.kraft_epoch

    async def image(self) -> MetadataImage:
        """What the quorum has committed."""
        assert self.controllers is not None
        servers = tuple(Address(LOOPBACK, node.port) for node in self.controllers.files.controllers)
        async with open_client(servers) as client:
            session = Session(
                servers=servers,
                timeout_ms=_TIMEOUT_MS,
                client_id="quorate-demo",
                security=self.controllers.files.login(),
                client=client,
                printer=Printer(Form.JSON),
            )
            return await ClusterSource(session).image(None)

    async def both_sides(self) -> Verification:
        """Compared as `quorate migrate verify` does; again if something was written while both were read."""
        assert self.controllers is not None
        facts = Facts(cluster_id=self.controllers.files.cluster_id, brokers_registered=False)
        options = VerifyOptions(phase=Phase.DUAL_WRITE, facts=facts)
        tries = 0
        while True:
            before = await self.image()
            found = compare(await self.tree(), before, options)
            tries += 1
            if found.is_equal or tries == _COMPARED_AT_MOST:
                return found
            await trio.sleep(0.1)

    async def steer(self, step: str) -> dict[str, Any]:
        assert self.controllers is not None
        servers = tuple(Address(LOOPBACK, node.port) for node in self.controllers.files.controllers)
        async with open_client(servers) as client:
            response = await client.call_controller(migration.SteerMigrationRequest(step=step), _TIMEOUT_MS)
        if response.error_code is not ErrorCode.none:
            raise Refused(f"The step {step} was refused.", why=response.error_message)
        found: dict[str, Any] = json.loads(response.status)
        return found

    async def until(self, *states: str, within_s: float = 20.0) -> dict[str, Any]:
        """The driver's status once it is in one of these states."""
        found: dict[str, Any] = {}
        with trio.move_on_after(within_s):
            while True:
                with contextlib.suppress(NobodyAnswered, Refused):
                    found = await self.steer(migration.STATUS)
                    if found["state"] in states:
                        return found
                await trio.sleep(0.1)
        raise NoAnswer(
            f"The migration did not come to {' or '.join(states)}.",
            why=f"it is in {found.get('state')}: {found.get('why')}; {'; '.join(found.get('waiting_for', ()))}",
        )


@contextlib.asynccontextmanager
async def staged(directory: pathlib.Path, ports: HeldPorts) -> AsyncIterator[Scene]:
    """A ZooKeeper server and three brokers in ZooKeeper mode, started and ready; at the end everything is stopped."""
    settings = {**_LOCK, **_EVERYBODY}
    files = lay_out_on_zookeeper(
        directory, ports, random.SystemRandom(), brokers=len(BROKERS), settings=settings
    )
    async with running_on_zookeeper(files) as (server, brokers):
        scene = Scene(directory, ports, server, brokers)
        await brokers.ready(within_s=_READY_S)
        try:
            yield scene
        finally:
            if scene.controllers is not None:
                with trio.CancelScope(shield=True):
                    await brokers.stop()
                    await scene.controllers.stop()


def zookeeper_mode(scene: Scene, node: NodeFiles, *, controllers: str | None) -> dict[str, str]:
    """The file of a broker in ZooKeeper mode; `controllers`: where those are that take over, once it is to migrate."""
    values = {
        "broker.id": str(node.id),
        "listeners": f"PLAINTEXT://{node.address}",
        "zookeeper.connect": scene.zookeeper,
        "zookeeper.session.timeout.ms": str(SESSION_MS),
        **_LOCK,
        **_EVERYBODY,
    }
    if controllers is not None:
        values |= {
            "zookeeper.metadata.migration.enable": "true",
            "controller.quorum.bootstrap.servers": controllers,
            "controller.listener.names": "CONTROLLER",
            "metadata.log.dir": str(node.data),
        }
    return values


def kraft_mode(node: NodeFiles, controllers: str) -> dict[str, str]:
    """The file of the same broker in KRaft mode."""
    return {
        "node.id": str(node.id),
        "process.roles": "broker",
        "listeners": f"PLAINTEXT://{node.address}",
        "controller.quorum.bootstrap.servers": controllers,
        "controller.listener.names": "CONTROLLER",
        "metadata.log.dir": str(node.data),
        **_LOCK,
        **_EVERYBODY,
    }


async def restart(scene: Scene, node: NodeProcess, values: Mapping[str, str]) -> None:
    """In order, with another file."""
    await node.stop()
    write_settings(node.files.config, values)
    await node.start()
    await scene.brokers.ready(within_s=_READY_S)


def write_settings(path: pathlib.Path, values: Mapping[str, str]) -> None:
    path.write_text("".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items()))


async def start_quorum(scene: Scene) -> None:
    """Three controllers, formatted for ZooKeeper's cluster."""
    tree = await scene.tree()
    cluster_id = decode_cluster_id(tree[paths.CLUSTER_ID].data)
    settings = {
        "zookeeper.metadata.migration.enable": "true",
        "zookeeper.connect": scene.zookeeper,
        "zookeeper.session.timeout.ms": str(SESSION_MS),
        "broker.session.timeout.ms": str(SESSION_MS),
        **_LOCK,
        **_EVERYBODY,
    }
    files = lay_out(
        scene.directory / "controllers",
        scene.ports,
        random.SystemRandom(),
        Wanted(
            controllers=3,
            brokers=0,
            controller_settings=settings,
            cluster_id=cluster_id,
            first_controller_id=FIRST_CONTROLLER,
        ),
    )
    scene.controllers = Cluster(files, NodeProcess)
    await scene.controllers.start()
    await scene.controllers.ready(within_s=_READY_S)


async def fill(scene: Scene) -> None:
    """One of everything, by ordinary requests to the brokers."""
    async with open_client(scene.addresses) as client:
        wanted = tuple(
            topics.CreatableTopic(name=name, num_partitions=count, replication_factor=2)
            for name, count in TOPICS.items()
        )
        await _all_done(client, topics.CreateTopicsRequest(topics=wanted), lambda answer: answer.topics)
        await _all_done(
            client, _config_request("payments", "cleanup.policy", "compact"), lambda answer: answer.responses
        )
        entity = (quotas.EntityData(entity_type="user", entity_name="alice"),)
        entry = quotas.AlteredEntry(
            entity=entity, ops=(quotas.OpData(key="producer_byte_rate", value=1048576.0),)
        )
        await _all_done(
            client, quotas.AlterClientQuotasRequest(entries=(entry,)), lambda answer: answer.entries
        )
        creation = acls.AclCreation(
            resource_type=2,
            resource_name="orders",
            resource_pattern_type=3,
            principal="User:alice",
            host="*",
            operation=3,
            permission_type=3,
        )
        await _all_done(client, acls.CreateAclsRequest(creations=(creation,)), lambda answer: answer.results)


async def write_once(scene: Scene) -> None:
    """A change that must go through."""
    async with open_client(scene.addresses) as client:
        await _all_done(client, _config_request(*WRITTEN, str(_FIRST_VALUE)), lambda answer: answer.responses)


async def _all_done(client: ClusterClient, request: Any, items: Callable[[Any], Any]) -> None:
    tries = 0
    while True:
        answer = await client.call_controller(request, _TIMEOUT_MS)
        wrong = [one for one in items(answer) if one.error_code is not ErrorCode.none]
        if not wrong:
            return
        why = f"{wrong[0].error_code.name.upper()}: {wrong[0].error_message}"
        if any(one.error_code not in _TRY_AGAIN for one in wrong):
            raise Refused("Something was refused.", why=why)
        tries += 1
        if tries == _TRIED_AT_MOST:
            raise NoAnswer("Nobody was the controller.", why=why)
        await trio.sleep(0.1)


def _config_request(topic: str, name: str, value: str) -> configs.IncrementalAlterConfigsRequest:
    change = configs.IncrementalAlterableConfig(name=name, config_operation=0, value=value)
    resource = configs.IncrementalAlterConfigsResource(
        resource_type=2, resource_name=topic, configs=(change,)
    )
    return configs.IncrementalAlterConfigsRequest(resources=(resource,))


class Client:
    """Writes one value after the other, and reads the topics back, all the time, wherever the controller is."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        self._addresses = addresses
        self.acknowledged = 0
        self.last = 0
        self.reads = 0
        self.longest_wait_s = 0.0
        self._last_at = time.monotonic()
        self._news = trio.Event()
        self._stopping = trio.Event()
        self._stopped = trio.Event()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator["Client"]:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                failure = error
                nursery.cancel_scope.cancel()
            self._stopping.set()
        if failure is not None:
            raise failure

    async def stop(self) -> None:
        self._stopping.set()
        await self._stopped.wait()

    async def some_more(self, count: int = 10) -> None:
        """Until so many more changes were acknowledged."""
        for _ in range(count):
            await self._news.wait()

    async def _run(self) -> None:
        value = _FIRST_VALUE
        self._last_at = time.monotonic()
        async with open_client(self._addresses) as client:
            while not self._stopping.is_set():
                value += 1
                if await self._write(client, value):
                    self._acknowledged(value)
                    await self._read(client)
                await trio.sleep(_PAUSE_S)
        self._stopped.set()

    def _acknowledged(self, value: int) -> None:
        now = time.monotonic()
        self.longest_wait_s = max(self.longest_wait_s, now - self._last_at)
        self._last_at = now
        self.acknowledged += 1
        self.last = value
        news, self._news = self._news, trio.Event()
        news.set()

    async def _write(self, client: ClusterClient, value: int) -> bool:
        request = _config_request(*WRITTEN, str(value))
        while True:
            try:
                answer = (await client.call_controller(request, _TIMEOUT_MS)).responses[0]
            except NobodyAnswered:
                answer = None  # also if it was carried out: setting the same value again does no harm
            if answer is not None and answer.error_code is ErrorCode.none:
                return True
            if answer is not None and answer.error_code not in _TRY_AGAIN:
                raise Refused(
                    "A change was refused.", why=f"{answer.error_code.name.upper()}: {answer.error_message}"
                )
            if self._stopping.is_set():
                return False
            await trio.sleep(0.05)

    async def _read(self, client: ClusterClient) -> None:
        with contextlib.suppress(NobodyAnswered):
            found = await client.call_any(
                MetadataRequest(topics=None, allow_auto_topic_creation=False), _TIMEOUT_MS
            )
            if found.topics:
                self.reads += 1
