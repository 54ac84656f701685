"""A migration without sockets: real controllers' decisions, a log, the real tree in the same process, and a driver.

`Quorum` is what drivers see of the active controller: the real `ActiveController`, on a log that commits at once. It
can be killed at any of its writes, and so can the driver at any of its writes to ZooKeeper: `Crashes` counts both in
one order. Time is what the test says (an autojump clock).
"""

import contextlib
import gzip
import json
import pathlib
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import attrs
import trio

from quorate.controller.config import ControllerConfig
from quorate.controller.migration.driver import DriverSettings, MigrationDriver
from quorate.controller.migration.operations import Operation, give_order, order_of
from quorate.controller.migration.states import DriverState
from quorate.controller.requests import OwnOperation
from quorate.metadata.ids import Epoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder
from quorate.metadata.wire.brokers import (
    BrokerRegistrationRequest,
    ControllerRegistrationRequest,
    Feature,
)
from quorate.metadata.zookeeper.dump import load_lines
from quorate.metadata.zookeeper.embedded import Call, EmbeddedServer, EmbeddedZooKeeper
from quorate.metadata.zookeeper.tree import all_znodes
from quorate.metadata.zookeeper.znodes import Tree
from tests.controller.desk import Desk
from tests.controller.world import CLUSTER_ID, config, directory, incarnation

ARTEFACTS = pathlib.Path(__file__).parents[2] / "artefacts" / "zookeeper"
ATTEMPT = uuid.UUID(int=0xA77E << 64)


def real_tree(name: str) -> dict[str, Any]:
    """One of the trees that Kafka 3.9 wrote."""
    raw = (ARTEFACTS / name).read_bytes()
    return load_lines((gzip.decompress(raw) if name.endswith(".gz") else raw).decode().splitlines())


class Killed(Exception):
    """The process is gone."""


@attrs.define
class Crashes:
    """Kills at the n-th moment; a moment lies before and behind each write, to the log or to ZooKeeper."""

    at: int | None = None
    moments: int = 0

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self.at:
            raise Killed


@attrs.define(eq=False)
class Quorum:
    """An `Office`, whoever holds it."""

    cluster_id: str = CLUSTER_ID
    settings: dict[str, Any] = attrs.Factory(dict)
    crashes: Crashes = attrs.Factory(Crashes)
    node_id: int = 3000
    desk: Desk = attrs.field(init=False)
    resigned: list[str] = attrs.Factory(list)
    _news: trio.Event = attrs.Factory(trio.Event)

    def __attrs_post_init__(self) -> None:
        self.desk = Desk(config=self._config())
        self.desk.lead()
        self.desk.ask(
            ControllerRegistrationRequest(
                controller_id=3000, incarnation_id=incarnation(3000), zk_migration_ready=True
            )
        )

    def _config(self) -> ControllerConfig:
        return config(migration_enabled=True, zookeeper_connect="zk", **self.settings)

    # --- an Office

    @property
    def epoch(self) -> Epoch | None:
        return self.desk.controller.active_epoch

    @property
    def image(self) -> MetadataImage:
        return self.desk.controller.committed_image

    @property
    def voters(self) -> Iterable[int]:
        return (3000,)

    async def write(self, epoch: Epoch, name: str, operation: Operation, *, settles: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        self.crashes.moment()
        refusal = self.ask(OwnOperation(name=name, epoch=epoch, run=operation, settles=settles))
        self.crashes.moment()
        if refusal is not None:
            raise refusal

    async def changed(self) -> None:
        await self._news.wait()

    def moved(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def resign(self, epoch: Epoch, why: str) -> None:
        if epoch == self.epoch:
            self.resigned.append(why)
            self.fail_over()

    # --- what others do

    def ask(self, request: Any) -> Any:
        """A request, seen through."""
        answer = self.desk.ask(request)
        self.moved()
        return answer

    def order(self, order: MigrationOrder, *, forced: bool = False) -> None:
        assert self.epoch is not None
        operation = give_order(
            order, ATTEMPT, forced=forced, operator="User:test", expected=order_of(self.image)
        )
        refusal = self.ask(OwnOperation(name="order", epoch=self.epoch, run=operation))
        assert refusal is None, refusal

    def register(self, *broker_ids: int, migrating: bool = True) -> None:
        for broker_id in broker_ids:
            answer = self.ask(
                BrokerRegistrationRequest(
                    broker_id=broker_id,
                    cluster_id=CLUSTER_ID,
                    incarnation_id=incarnation(broker_id),
                    features=(
                        Feature(name="metadata.version", min_supported_version=1, max_supported_version=30),
                    ),
                    log_dirs=(directory(broker_id),),
                    is_migrating_zk_broker=migrating,
                )
            )
            assert answer.error_code.value == 0, answer
            self.ask(self.desk.beat(broker_id))

    def fail_over(self) -> None:
        """The leader is gone; another one has the committed log, in a later epoch."""
        log = self.desk.log[: self.desk.committed]
        epoch = max(batch.epoch for batch in log)
        self.desk = Desk(config=self._config(), log=log, now_ms=self.desk.now_ms)
        self.desk.commit()
        self.desk.lead(epoch + 1)
        self.moved()


@attrs.define(eq=False)
class Migration:
    """Both sides and a driver between them."""

    tree: Tree | None = None
    settings: dict[str, Any] = attrs.Factory(dict)
    secrets: tuple[str, ...] = ()
    crashes: Crashes = attrs.Factory(Crashes)
    server: EmbeddedServer = attrs.field(init=False)
    quorum: Quorum = attrs.field(init=False)
    driver: MigrationDriver = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = EmbeddedServer(self.tree, shuffle=random.Random(1))
        self.server.fault = self._fault
        self.server.pause = self._pause
        self.quorum = Quorum(crashes=self.crashes, settings=self.settings)
        self._new_driver()

    def _new_driver(self) -> None:
        self.driver = MigrationDriver(
            self.quorum,
            self._connect,
            DriverSettings(cluster_id=self.cluster_id, secrets=self.secrets),
            now_ms=lambda: int(trio.current_time() * 1000),
            wall_ms=lambda: 1_700_000_000_000 + int(trio.current_time() * 1000),
        )

    @property
    def cluster_id(self) -> str:
        """ZooKeeper's, where it has one: the quorum was formatted for it."""
        node = None if self.tree is None else self.tree.get("/cluster/id")
        return CLUSTER_ID if node is None or node.data is None else str(json.loads(node.data)["id"])

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[EmbeddedZooKeeper]:
        session = self.server.connect()
        try:
            yield session
        finally:
            session.close()

    _writing: bool = False

    def _fault(self, call: Call) -> None:
        self._writing = call.writes
        if call.writes:
            self.crashes.moment()

    async def _pause(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._writing:
            self._writing = False
            self.crashes.moment()

    @property
    def state(self) -> DriverState:
        return self.driver.board.state

    async def until(self, *states: DriverState) -> None:
        """Runs the driver until it is in one of these states, or is killed."""
        with contextlib.suppress(trio.Cancelled):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.driver.run)
                with trio.fail_after(10_000):
                    while self.state not in states:  # noqa: ASYNC110  a driver tells nobody of its states
                        await trio.sleep(0.05)
                nursery.cancel_scope.cancel()

    async def survive(self, *states: DriverState, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """As `until`; after a kill another node leads, whose driver begins anew. Whether there was one."""
        try:
            await self.until(*states)
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        else:
            return False
        self.crashes.at = None
        self.quorum.fail_over()
        meanwhile()
        self._new_driver()
        await self.until(*states)
        return True

    def znodes(self) -> dict[str, Any]:
        """The tree at this moment."""
        return {node.path: node for node in all_znodes(self.server.state.tree)}
