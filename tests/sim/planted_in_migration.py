"""Bugs put in on purpose in the move from ZooKeeper: see `planted_bugs`.

Each seed is a migration of a real tree, with the real driver, controller and znode tree
(`tests.controller.migration.bench`): something fails or is killed at a moment that the seed chooses, another leader
goes on, and clients change the metadata in between. In the end both sides say the same, nothing is missing, and
whoever gets the cluster back can lead it.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import trio
from trio.testing import MockClock

from quorate.controller.migration import claim, driver, operations
from quorate.controller.migration.checks import Facts
from quorate.controller.migration.states import DriverState
from quorate.controller.migration.verify import Phase, VerifyOptions, verify
from quorate.controller.result import ControllerResult
from quorate.metadata.records import MigrationOrder
from quorate.metadata.zookeeper.embedded import Fault
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.znodes import Op, Result, ZooKeeperError
from tests.controller.desk import create, set_config
from tests.controller.migration.bench import SECRETS, Crashes, Migration, real_tree
from tests.sim.planted_bugs import planted

_TREE = real_tree("small.jsonl")
_WRITTEN = "orders"
_FAULTS = (None, *Fault)


class Unequal(Exception):
    """ZooKeeper was said to be level with the log, and is not."""


def migrations(seed: int) -> str | None:
    """One migration, there and perhaps back; what is wrong with it."""
    try:
        return trio.run(_migrate, random.Random(seed), clock=MockClock(autojump_threshold=0))
    except Unequal as unequal:
        return str(unequal)
    except BaseExceptionGroup as group:
        if group.split(trio.TooSlowError)[1] is None:
            return "the migration never came to its end"
        raise


async def _migrate(rng: random.Random) -> str | None:
    made = Migration(tree=_TREE, crashes=Crashes(at=rng.choice([None, rng.randint(1, 30)])))
    made.quorum.register(1, 2, 3)
    made.quorum.order(MigrationOrder.RUN)
    fault = rng.choice(_FAULTS)
    if fault is not None:
        made.fail(rng.randint(1, 12), fault)
    goes_back = rng.random() < 0.5
    created: list[str] = []

    async def there(world: Migration) -> None:
        await world.until(DriverState.DUAL_WRITE)
        for number in range(rng.randint(1, 3)):
            created.append(f"made-{number}")
            world.quorum.ask(create(created[-1], partitions=2))
            world.quorum.ask(set_config(created[-1], "retention.ms", str(number)))
            if rng.random() < 0.5:
                world.quorum.fail_over()
                world.replace_driver()
            await world.level()
            differs = _difference(world)
            if differs is not None:
                raise Unequal(differs)
        if rng.random() < 0.6:
            await _wakes_up_late(world)
        if goes_back:
            world.quorum.order(MigrationOrder.ROLL_BACK)
            await world.until(DriverState.ROLLED_BACK)

    end = DriverState.ROLLED_BACK if goes_back else DriverState.DUAL_WRITE
    if not await made.completes(there):
        given = made.quorum.image.migration_order
        back_ordered = given is not None and given.order != MigrationOrder.RUN
        await made.recover(end if back_ordered else DriverState.DUAL_WRITE)
        end = made.state
    return _wrong(made, created, end)


async def _wakes_up_late(world: Migration) -> None:
    """A leader stands still just before it writes; another one leads by then, and has written something else."""

    def change() -> object:
        return world.quorum.ask(set_config(_WRITTEN, "retention.ms", "33"))

    async with world.paused_while_writing(change) as wake:
        world.quorum.fail_over()
        newer = world.another_driver()
        world.quorum.ask(set_config(_WRITTEN, "retention.ms", "77"))
        await world.until(DriverState.DUAL_WRITE, driver=newer)
        await wake()
    world.driver = newer


def _wrong(made: Migration, created: Sequence[str], end: DriverState) -> str | None:
    nodes = made.znodes()
    there = {
        paths.name(path) for path in nodes if path.startswith(f"{paths.TOPICS}/") and path.count("/") == 3
    }
    asked = {name for name in created if made.quorum.image.topics.by_name(name) is not None}
    before = {
        paths.name(path) for path in _TREE if path.startswith(f"{paths.TOPICS}/") and path.count("/") == 3
    }
    missing = (before | asked) - there
    if missing:
        return f"ZooKeeper lost the topics {sorted(missing)}"
    lost = [name for name in before if made.quorum.image.topics.by_name(name) is None]
    if lost:
        return f"the quorum lost the topics {lost}"
    differs = _difference(made)
    if differs is not None:
        return differs
    if end is not DriverState.ROLLED_BACK:
        return None
    if paths.CONTROLLER in nodes or paths.MIGRATION in nodes:
        return "nobody can take the cluster back: /controller or /migration is still there"
    reading = read(nodes, ReadOptions(secrets=SECRETS))
    epoch = reading.controller_epoch or 0
    if epoch <= max(reading.highest_controller_epoch, made.quorum.desk.log[-1].epoch):
        return f"whoever leads in ZooKeeper begins at epoch {epoch}, below what states of partitions carry"
    return None


def _difference(made: Migration) -> str | None:
    options = VerifyOptions(phase=Phase.DUAL_WRITE, secrets=SECRETS, facts=Facts(brokers_registered=False))
    found = verify(made.znodes(), made.quorum.image, options)
    return f"both sides differ: {found.differences[0]}" if found.differences else None


# ---- the bugs --------------------------------------------------------------------------------------------


@planted(
    "The copy is no transaction: a leader that dies on the way leaves half of it, and the next one begins anew on top "
    "(KAFKA-14538).",
    within=40,
    trial=migrations,
)
def copy_without_a_transaction() -> Iterator[None]:
    begin, end = operations.begin_copy, operations.end_copy

    def nothing(*arguments: Any) -> Any:
        run = begin(*arguments)
        return lambda context: ControllerResult(run(context).records[1:], None)

    def state_only(*arguments: Any) -> Any:
        run = end(*arguments)
        return lambda context: ControllerResult(run(context).records[:1], None)

    with patch.object(operations, "begin_copy", nothing), patch.object(operations, "end_copy", state_only):
        yield


@planted(
    "A write to ZooKeeper that failed is forgotten, and the next one stores a newer offset over it (KAFKA-15010).",
    within=20,
    trial=migrations,
)
def failed_dual_write_forgotten() -> Iterator[None]:
    transact = driver.MigrationDriver._transact

    async def forgetful(self: driver.MigrationDriver, held: claim.Claim, ops: list[Op]) -> None:
        try:
            await transact(self, held, ops)
        except ZooKeeperError:
            return

    with patch.object(driver.MigrationDriver, "_transact", forgetful):
        yield


@planted(
    "Writes to ZooKeeper are not fenced: a leader that stood still wakes up and writes over its successor's "
    "(KAFKA-16667).",
    within=20,
    trial=migrations,
)
def writes_without_a_fence() -> Iterator[None]:
    async def unfenced(self: claim.Claim, ops: Sequence[Op]) -> list[Result]:
        return await self._zk.multi(ops)

    with patch.object(claim.Claim, "write", unfenced):
        yield


@planted(
    "Who gives the cluster back leaves ZooKeeper's controller epoch as it was: states of partitions look newer than "
    "any controller, which touches none of them (KAFKA-20488).",
    within=20,
    trial=migrations,
)
def given_back_with_an_old_epoch() -> Iterator[None]:
    let_go = claim.Claim.let_go

    async def careless(self: claim.Claim, highest_state_epoch: int) -> None:
        await let_go(self, highest_state_epoch)
        await self._zk.set(paths.CONTROLLER_EPOCH, str(self.epoch - 1).encode())

    with patch.object(claim.Claim, "let_go", careless):
        yield


@planted(
    "The next leader goes on where the last one stopped, without making ZooKeeper equal first (KAFKA-15003).",
    within=20,
    trial=migrations,
)
def no_reconciling_after_a_failover() -> Iterator[None]:
    with patch.object(driver, "reconcile", lambda *arguments: iter(())):
        yield
