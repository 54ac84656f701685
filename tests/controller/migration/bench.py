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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import attrs
import pytest
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
from quorate.metadata.zookeeper.embedded import Call, EmbeddedServer, EmbeddedZooKeeper, Fault
from quorate.metadata.zookeeper.tree import all_znodes
from quorate.metadata.zookeeper.znodes import Tree, Znode
from tests.controller.desk import Desk
from tests.controller.world import CLUSTER_ID, config, directory, incarnation

ARTEFACTS = pathlib.Path(__file__).parents[2] / "artefacts" / "zookeeper"
SECRETS = (json.loads((ARTEFACTS / "truth-secrets.json").read_text())["password_encoder_secret"],)
_RESIGNATIONS = 10
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
            if len(self.resigned) > _RESIGNATIONS:
                raise RuntimeError(f"one leader resigns after the other: {why}")
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

    def register(self, *broker_ids: int, migrating: bool = True, life: int = 0) -> None:
        for broker_id in broker_ids:
            answer = self.ask(
                BrokerRegistrationRequest(
                    broker_id=broker_id,
                    cluster_id=CLUSTER_ID,
                    incarnation_id=incarnation(broker_id, life),
                    features=(
                        Feature(name="metadata.version", min_supported_version=1, max_supported_version=30),
                    ),
                    log_dirs=(directory(broker_id),),
                    is_migrating_zk_broker=migrating,
                )
            )
            assert answer.error_code.value == 0, answer
            self.ask(self.desk.beat(broker_id))

    def lacks_flag(self) -> None:
        """This controller was restarted without the migration's key."""
        self.ask(ControllerRegistrationRequest(controller_id=3000, incarnation_id=incarnation(3000, 1)))

    def fail_over(self) -> None:
        """The leader is gone; another one has the committed log, in a later epoch."""
        log = self.desk.log[: self.desk.committed]
        epoch = max(batch.epoch for batch in log)
        self.desk = Desk(config=self._config(), log=log, now_ms=self.desk.now_ms)
        self.desk.commit()
        self.desk.lead(epoch + 1)
        self.moved()


@attrs.define(eq=False)
class Seat:
    """One process's view of the quorum; one that stands still sees nothing of what happens."""

    quorum: Quorum
    frozen: tuple[Epoch | None, MetadataImage] | None = None

    def freeze(self) -> None:
        self.frozen = self.quorum.epoch, self.quorum.image

    @property
    def node_id(self) -> int:
        return self.quorum.node_id

    @property
    def epoch(self) -> Epoch | None:
        return self.quorum.epoch if self.frozen is None else self.frozen[0]

    @property
    def image(self) -> MetadataImage:
        return self.quorum.image if self.frozen is None else self.frozen[1]

    @property
    def voters(self) -> Iterable[int]:
        return self.quorum.voters

    async def write(self, epoch: Epoch, name: str, operation: Operation, *, settles: bool = False) -> None:
        await self.quorum.write(epoch, name, operation, settles=settles)

    async def changed(self) -> None:
        while True:
            await self.quorum.changed()
            if self.frozen is None:
                return

    def moved(self) -> None:
        self.quorum.moved()

    def resign(self, epoch: Epoch, why: str) -> None:
        self.quorum.resign(epoch, why)


async def at_once(work: Callable[[], Any]) -> Any:
    """In the place of a thread, of whose time an autojump clock knows nothing."""
    return work()


@attrs.define(eq=False)
class Migration:
    """Both sides and a driver between them."""

    tree: Tree | None = None
    settings: dict[str, Any] = attrs.Factory(dict)
    secrets: tuple[str, ...] = SECRETS
    crashes: Crashes = attrs.Factory(Crashes)
    formatted_for: str | None = None
    """The quorum's cluster id, where it is not ZooKeeper's."""
    server: EmbeddedServer = attrs.field(init=False)
    quorum: Quorum = attrs.field(init=False)
    driver: MigrationDriver = attrs.field(init=False)
    seat: Seat = attrs.field(init=False)
    """The newest driver's."""
    failed: bool = False
    """Whether the fault of `fail` came to be."""
    _writing: bool = False
    _writes: int = 0
    _fault_at: tuple[int, Fault] | None = None

    def __attrs_post_init__(self) -> None:
        self.server = EmbeddedServer(self.tree, shuffle=random.Random(1), pause=self._pause)
        self.server.fault = self._fault
        self.quorum = Quorum(crashes=self.crashes, settings=self.settings)
        self.driver = self.another_driver()

    def another_driver(self) -> MigrationDriver:
        """Of the next process; it knows nothing of the one before."""
        self.seat = Seat(self.quorum)
        return MigrationDriver(
            self.seat,
            self._connect,
            DriverSettings(
                cluster_id=self.formatted_for or self._cluster_of_the_tree(),
                secrets=self.secrets,
                apart=at_once,
            ),
            now_ms=lambda: int(trio.current_time() * 1000),
            wall_ms=lambda: 1_700_000_000_000,
        )

    def replace_driver(self) -> None:
        self.driver = self.another_driver()

    def _cluster_of_the_tree(self) -> str:
        node = None if self.tree is None else self.tree.get("/cluster/id")
        return CLUSTER_ID if node is None or node.data is None else str(json.loads(node.data)["id"])

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[EmbeddedZooKeeper]:
        session = self.server.connect()
        try:
            yield session
        finally:
            session.close()

    # --- what goes wrong

    def fail(self, number: int, fault: Fault) -> None:
        """The n-th write to ZooKeeper from now on fails."""
        self._writes = 0
        self._fault_at = (number, fault)

    def _fault(self, call: Call) -> Fault | None:
        self._writing = call.writes
        if not call.writes:
            return None
        self.crashes.moment()
        self._writes += 1
        if self._fault_at is not None and self._fault_at[0] == self._writes:
            self.failed = True
            return self._fault_at[1]
        return None

    async def _pause(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._writing:
            self._writing = False
            self.crashes.moment()

    # --- running

    @property
    def state(self) -> DriverState:
        return self.driver.board.state

    async def until(self, *states: DriverState, driver: MigrationDriver | None = None) -> None:
        """Runs a driver until it is in one of these states."""
        board = (driver or self.driver).board
        await self._run_until(lambda: board.state in states, driver)

    async def until_mishap(self) -> None:
        before = self.driver.board.mishaps
        await self._run_until(lambda: self.driver.board.mishaps > before)

    async def until_blocked(self) -> None:
        """Something was found, and the order was withdrawn."""

        def is_blocked() -> bool:
            return bool(self.driver.board.blockers) and order_of(self.quorum.image) is MigrationOrder.WAIT

        await self._run_until(is_blocked)

    async def level(self) -> None:
        """Until ZooKeeper has what the log has."""
        await self._run_until(
            lambda: (
                self.state is DriverState.DUAL_WRITE or self.state is DriverState.ROLLBACK_WAIT_FOR_BROKERS
            ),
            settled=True,
        )

    async def _run_until(
        self, is_there: Callable[[], bool], driver: MigrationDriver | None = None, *, settled: bool = False
    ) -> None:
        running = driver or self.driver
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            with trio.fail_after(300):
                while not is_there() or (settled and running.board.written_offset < self.quorum.image.offset):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A driver in the background; both sides are level to begin with."""
        self.replace_driver()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.driver.run)
            with trio.fail_after(300):
                while self.state is not DriverState.DUAL_WRITE:  # noqa: ASYNC110  as above
                    await trio.sleep(0.05)
            yield
            nursery.cancel_scope.cancel()

    async def completes(self, way: Callable[["Migration"], Awaitable[None]]) -> bool:
        """Goes a way; False if it was killed on it."""
        try:
            await way(self)
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
            return False
        return True

    async def recover(self, *states: DriverState) -> None:
        """Another node leads, and its driver begins anew."""
        self.crashes.at = None
        self.quorum.fail_over()
        self.replace_driver()
        await self.until(*states)

    # --- brokers and operators

    async def move_brokers_to_the_quorum(self) -> None:
        """Restarts every broker in KRaft mode; ZooKeeper has seen their sessions end."""
        session = self.server.connect()
        for broker in list(self.quorum.image.cluster.brokers):
            await session.delete(f"/brokers/ids/{broker}")
            self.quorum.register(broker, migrating=False, life=1)

    async def ask_for_the_end(self) -> None:
        """`quorate migrate finalize`, answered."""
        async with self.running():
            with trio.fail_after(300):
                await self.driver.end()

    def znodes(self) -> dict[str, Znode]:
        """The tree at this moment."""
        return {node.path: node for node in all_znodes(self.server.state.tree)}

    @contextlib.asynccontextmanager
    async def paused_while_writing(
        self, change: Callable[[], object]
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """The driver stands still just before it writes a change to ZooKeeper; `wake` lets it go on, and waits until it
        has failed."""
        paused, go_on = trio.Event(), trio.Event()
        self.replace_driver()
        driver, seat = self.driver, self.seat
        armed: list[bool] = []
        session_writes = EmbeddedZooKeeper.multi

        async def multi(session: EmbeddedZooKeeper, ops: Any) -> Any:
            if armed and not paused.is_set():
                seat.freeze()
                paused.set()
                await go_on.wait()
            return await session_writes(session, ops)

        async def wake() -> None:
            before = driver.board.mishaps
            go_on.set()
            while driver.board.mishaps == before:  # noqa: ASYNC110  as above
                await trio.sleep(0.05)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EmbeddedZooKeeper, "multi", multi)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.run)
                with trio.fail_after(300):
                    while self.state is not DriverState.DUAL_WRITE:  # noqa: ASYNC110  as above
                        await trio.sleep(0.05)
                armed.append(True)
                change()
                with trio.fail_after(300):
                    await paused.wait()
                yield wake
                nursery.cancel_scope.cancel()
