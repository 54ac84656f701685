"""The migration driver: takes a cluster over from ZooKeeper, writes to both sides, gives it back or keeps it (shell;
KIP-866).

Every controller runs one; it acts while its controller is active. All that must survive it is in the log (orders, the
copy as one transaction) or in ZooKeeper under a fence (`claim`), so it keeps nothing: whatever fails, it begins again
from what the log and ZooKeeper say, claims anew, and makes ZooKeeper equal to the log before it goes on. That is its
only repair.

What it decides is decided by pure code: `states` (which step may follow), `operations` (what may enter the log),
`readiness` (what is waited for), `kafka_znodes` (what a tree means, and which writes bring one to another), `verify`.
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final, NoReturn

import attrs
import structlog
import trio

from quorate.controller.migration import operations, readiness
from quorate.controller.migration.board import Board
from quorate.controller.migration.checks import Facts
from quorate.controller.migration.claim import (
    Claim,
    ClaimRefused,
    FenceLost,
    Owner,
    belongs_to,
    claim,
    migration_znode,
    seat,
)
from quorate.controller.migration.mode import FLAG_WITHOUT_EFFECT
from quorate.controller.migration.office import Office, wait_for_news
from quorate.controller.migration.operations import order_of
from quorate.controller.migration.states import DriverState
from quorate.controller.migration.verify import Phase, Verification, VerifyOptions, verify
from quorate.metadata.checks import RequestRejected
from quorate.metadata.ids import ZERO_UUID, Epoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.zookeeper.client import CannotConnect
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Batch, Reading, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.secrets import Entropy
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.kafka_znodes.writes import MOST_BYTES, MOST_OPS, Write
from quorate.metadata.zookeeper.live_tree import differences, read_tree
from quorate.metadata.zookeeper.znodes import ErrorCode, Op, Tree, ZooKeeperError

_S = DriverState

_LOOK_AGAIN_S: Final = 1.0
"""How often something in ZooKeeper is looked at that no watch tells of."""
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_READINGS: Final = 5
"""How often the tree is read until it holds still."""
_FEW_TOPICS: Final = 10
"""So many may be deleted whatever their share is."""

_log = structlog.get_logger("migration")


@attrs.frozen(kw_only=True)
class DriverSettings:
    """What a driver is told by its node's configuration."""

    cluster_id: str
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """`password.encoder.secret`, and the old one."""
    batch_records: int = 200
    max_deleted_percent: int = 50
    entropy: Entropy = os.urandom
    """For the salts of passwords that are encrypted for ZooKeeper."""
    apart: Callable[[Callable[[], Any]], Awaitable[Any]] = trio.to_thread.run_sync
    """Runs what takes long, and touches nothing that changes, beside the event loop: elections must not wait for it."""


ConnectZooKeeper = Callable[[], AbstractAsyncContextManager[ZooKeeper]]
"""A session, until the block is left."""


class Stopped(Exception):
    """The driver does not go on from here by itself at the moment; the text says why. It is tried again."""


class MigrationDriver:
    """See the module's docstring."""

    def __init__(
        self,
        office: Office,
        connect: ConnectZooKeeper,
        settings: DriverSettings,
        *,
        now_ms: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self.board: Final = Board(since_wall_ms=wall_ms())
        self._office = office
        self._connect = connect
        self._settings = settings
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._written = MetadataImage.EMPTY
        self._wants_end: trio.Event | None = None

    def document(self) -> dict[str, Any]:
        """The status (`Board.document`)."""
        return self.board.document(self._office.image, self._wall_ms(), sorted(self._office.voters))

    def status(self) -> str:
        """The status as text."""
        return json.dumps(self.document(), indent=2)

    # ---- in office and out of it ---------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            epoch = self._office.epoch
            if epoch is None:
                self._move(_S.INACTIVE, "another controller is active")
                await self._office.changed()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_replaced, epoch, nursery.cancel_scope)
                await self._in_office(epoch)
                nursery.cancel_scope.cancel()

    async def _until_replaced(self, epoch: Epoch, scope: trio.CancelScope) -> None:
        while self._office.epoch == epoch:
            await self._office.changed()
        scope.cancel()

    async def _in_office(self, epoch: Epoch) -> None:
        while not self._office.image.features.levels:
            await self._office.changed()
        if self._office.image.migration not in (MigrationState.PRE_MIGRATION, MigrationState.MIGRATION):
            finished = self._office.image.migration is MigrationState.POST_MIGRATION
            if not finished:
                _log.warning(FLAG_WITHOUT_EFFECT)
            self._move(
                _S.FINISHED if finished else _S.INACTIVE,
                "the migration is over" if finished else FLAG_WITHOUT_EFFECT,
            )
            await trio.sleep_forever()
        while True:
            try:
                async with self._connect() as zk:
                    await self._keep_driving(epoch, zk)
            except CannotConnect as error:
                self._failed(error)
                await trio.sleep(_LOOK_AGAIN_S)

    async def _keep_driving(self, epoch: Epoch, zk: ZooKeeper) -> NoReturn:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self._drive(epoch, zk)
            except (ZooKeeperError, ClaimRefused, FenceLost, Stopped, RequestRejected) as error:
                self._failed(error)
            await trio.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _failed(self, error: Exception) -> None:
        path = error.path if isinstance(error, ZooKeeperError) else ""
        self.board.failed(str(error) or type(error).__name__, path, self._wall_ms())
        _log.warning("migration step failed; beginning again", state=self.board.state.value, why=str(error))

    # ---- the way -------------------------------------------------------------------------------------

    async def _drive(self, epoch: Epoch, zk: ZooKeeper) -> None:
        """From wherever the log is to the end of the way; an error leads back to the caller."""
        if order_of(self._office.image) is MigrationOrder.ROLLED_BACK:
            await self._rest(_S.ROLLED_BACK, "the cluster was given back to ZooKeeper")
        if self._office.image.migration is MigrationState.PRE_MIGRATION:
            held = await self._take_over(epoch, zk)
            tree = None
            if held is not None:
                tree = await self._copy(epoch, zk, held)
        else:
            if await self._was_let_go(zk):
                await self._say_rolled_back(epoch)
            held = await self._claim(epoch, zk)
            tree = None
        if held is None:
            await self._give_back_uncopied(epoch, zk)
            return
        if order_of(self._office.image) is not MigrationOrder.HAND_BACK:
            await self._sync(zk, held, tree)
            await self._write_both(epoch, zk, held)
        await self._hand_back(epoch, zk, held)

    async def _take_over(self, epoch: Epoch, zk: ZooKeeper) -> Claim | None:
        """Waits until everything is ready and ordered, and claims the cluster; None: it is to be given back."""
        if order_of(self._office.image) is MigrationOrder.WAIT:
            await self._leave_seat(epoch, zk)
        while True:
            order = await self._wait_for_order(zk)
            if order is not MigrationOrder.RUN:
                return None
            self._move(_S.CHECK_TREE, "reading what is to be copied")
            _, reading = await self._read(zk)
            if await self._is_blocked(epoch, zk, reading):
                continue
            return await self._claim(epoch, zk, above=reading.highest_controller_epoch)

    async def _wait_for_order(self, zk: ZooKeeper) -> MigrationOrder:
        while True:
            image = self._office.image
            order = order_of(image)
            if order in (MigrationOrder.ROLL_BACK, MigrationOrder.HAND_BACK):
                return order
            forced = image.migration_order is not None and image.migration_order.forced
            lacking = readiness.missing_controllers(image, self._office.voters)
            if lacking:
                self._move(_S.WAIT_FOR_CONTROLLER_QUORUM, "not every controller is ready", lacking)
            else:
                if self.board.state in (_S.INACTIVE, _S.CHECK_TREE, _S.BECOME_CONTROLLER, _S.ZK_MIGRATION):
                    self._move(_S.WAIT_FOR_CONTROLLER_QUORUM, "looking at controllers and brokers")
                lacking = readiness.missing_brokers(image, await self._live_brokers(zk))
                if lacking and not (forced and order is MigrationOrder.RUN):
                    if self.board.state is _S.WAIT_FOR_ORDER:
                        self._move(_S.WAIT_FOR_CONTROLLER_QUORUM, "a broker came")
                    self._move(_S.WAIT_FOR_BROKERS, "not every broker of ZooKeeper has registered", lacking)
                elif order is MigrationOrder.RUN:
                    if self.board.state is _S.WAIT_FOR_CONTROLLER_QUORUM:
                        self._move(_S.WAIT_FOR_BROKERS, "every broker has registered")
                    return order
                elif self.board.state is not _S.WAIT_FOR_ORDER:
                    self._move(_S.WAIT_FOR_BROKERS, "every broker has registered")
                    self._move(_S.WAIT_FOR_ORDER, "everything is ready")
            await wait_for_news(self._office, _LOOK_AGAIN_S)

    async def _is_blocked(self, epoch: Epoch, zk: ZooKeeper, reading: Reading) -> bool:
        """Whether the copy cannot begin. If so the order is withdrawn: it would be found blocked again and again."""
        migration = await migration_znode(zk)
        old = readiness.leftover(
            migration, migration is not None and belongs_to(migration, self._owner(epoch))
        )
        trial = partial(operations.try_copy, reading.batches, self._office.image)
        _, unfit = await self._settings.apart(trial)
        found = readiness.blockers(reading, self._settings.cluster_id, (*unfit, *old))
        self.board.blockers = found
        if not found:
            return False
        _log.error("the migration is blocked", blockers=len(found), first=found[0])
        if self.board.state is _S.CHECK_TREE:
            self._move(_S.WAIT_FOR_CONTROLLER_QUORUM, "what is in ZooKeeper cannot be copied")
        await self._withdraw(epoch)
        return True

    async def _withdraw(self, epoch: Epoch) -> None:
        given = self._office.image.migration_order
        attempt = ZERO_UUID if given is None else given.attempt
        await self._order(epoch, MigrationOrder.WAIT, attempt, expected=MigrationOrder.RUN)

    async def _claim(self, epoch: Epoch, zk: ZooKeeper, above: int = 0) -> Claim:
        self._move(_S.BECOME_CONTROLLER, "claiming the cluster in ZooKeeper")
        held = await claim(zk, self._owner(epoch), self._wall_ms(), above=above)
        self.board.controller_epoch = held.epoch
        _log.info("claimed the cluster in ZooKeeper", controller_epoch=held.epoch, epoch=epoch)
        return held

    # ---- the copy ------------------------------------------------------------------------------------

    async def _copy(self, epoch: Epoch, zk: ZooKeeper, held: Claim) -> Tree:
        """Everything that ZooKeeper has, as one transaction of the log. The tree is read anew: before the claim it had
        another master."""
        self._move(_S.ZK_MIGRATION, "copying")
        began_ms = self._now_ms()
        tree, reading = await self._read(zk, held_still=True)
        if await self._is_blocked(epoch, zk, reading):
            await held.let_go(reading.highest_controller_epoch)
            self._move(
                _S.WAIT_FOR_CONTROLLER_QUORUM, "what came to ZooKeeper before the claim cannot be copied"
            )
            raise Stopped(f"{len(self.board.blockers)} things in ZooKeeper cannot be copied; nothing was")
        order = self._office.image.migration_order
        assert order is not None
        counts: Counter[str] = Counter()
        batches = 0
        await self._office.write(epoch, "begin the copy", operations.begin_copy(order.attempt))
        try:
            for batch in reading.batches:
                self.board.begin(batch.category.value, len(batch.records), self._now_ms())
            for gathered in operations.gathered(reading.batches, self._settings.batch_records):
                records = [record for batch in gathered for record in batch.records]
                await self._office.write(epoch, "copy from ZooKeeper", operations.copy(records))
                batches += 1
                counts.update(type(record).__name__ for record in records)
                self._count(gathered)
            await self._office.write(epoch, "end the copy", operations.end_copy(order.attempt), settles=True)
        except RequestRejected as refusal:
            # The order was withdrawn, or the office lost. The transaction is open, and nobody but the next leader may
            # end it: what it holds is in our own images.
            self._office.resign(epoch, f"the copy from ZooKeeper failed: {refusal.message}")
            await trio.sleep_forever()
        image = self._office.image
        self.board.copied = {
            "records": sum(counts.values()),
            "by_type": dict(sorted(counts.items())),
            "batches": batches,
            "ms": self._now_ms() - began_ms,
            "offset": image.offset,
            "epoch": image.provenance.epoch,
            "brokers": sorted(reading.brokers),
        }
        _log.info("copied from ZooKeeper", **{k: v for k, v in self.board.copied.items() if k != "by_type"})
        await held.advance(image.offset, image.provenance.epoch)
        return tree

    def _count(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            progress = self.board.begin(batch.category.value, 0, self._now_ms())
            progress.done += len(batch.records)
            progress.last_ms = self._now_ms()

    # ---- both sides ----------------------------------------------------------------------------------

    async def _sync(self, zk: ZooKeeper, held: Claim, tree: Tree | None) -> None:
        """Makes ZooKeeper equal to the log, as it is now."""
        self._move(_S.SYNC_KRAFT_TO_ZK, "making ZooKeeper equal to the log")
        if tree is None:
            tree, _ = await self._read(zk)
        image = self._office.image
        self._behind()
        self._require_sane(tree, image)
        await self._carry_out(held, await self._differing(tree, image, held))
        await self._level(held, image)

    def _require_sane(self, tree: Tree, image: MetadataImage) -> None:
        """A log that lacks most of what ZooKeeper has is more likely the wrong log than the wish of anybody."""
        there = {
            paths.name(path) for path in tree if path.startswith(f"{paths.TOPICS}/") and path.count("/") == 3
        }
        doomed = {name for name in there if image.topics.by_name(name) is None}
        doomed -= {paths.name(path) for path in tree if path.startswith(f"{paths.DELETE_TOPICS}/")}
        limit = self._settings.max_deleted_percent
        if len(doomed) > _FEW_TOPICS and len(doomed) * 100 > len(there) * limit:
            raise Stopped(
                f"Making ZooKeeper equal to the log would delete {len(doomed)} of its {len(there)} topics. Nothing was "
                "written. If that is right, raise quorate.migration.max.deleted.percent on the controllers."
            )

    async def _write_both(self, epoch: Epoch, zk: ZooKeeper, held: Claim) -> None:
        """Returns when the cluster is to be handed back."""
        self._move(_S.DUAL_WRITE, "the log and ZooKeeper are level")
        while True:
            image = self._office.image
            if image is not self._written:
                await self._write_changes(held, image)
                continue
            order = order_of(image)
            if order is MigrationOrder.ROLL_BACK:
                lacking = readiness.brokers_of_the_quorum(image)
                forced = image.migration_order is not None and image.migration_order.forced
                if not lacking or forced:
                    return
                self._move(_S.ROLLBACK_WAIT_FOR_BROKERS, "brokers still need the quorum", lacking)
            elif self.board.state is not _S.DUAL_WRITE:
                self._move(_S.DUAL_WRITE, "the order to roll back was withdrawn")
            if self._wants_end is not None:
                await self._end(epoch, zk, held)
                continue
            await self._office.changed()

    async def _write_changes(self, held: Claim, image: MetadataImage) -> None:
        changes = writes(self._written, image, self._write_options(held))
        first = next(changes, None)
        if first is None:
            self._written = image  # nothing that ZooKeeper keeps: a heartbeat's news, a NoOp
            self.board.written_offset = image.offset
            return
        self._behind()
        await self._carry_out(held, itertools.chain((first,), changes))
        await self._level(held, image)

    def _behind(self) -> None:
        if self.board.behind_since_wall_ms is None:
            self.board.behind_since_wall_ms = self._wall_ms()

    async def _level(self, held: Claim, image: MetadataImage) -> None:
        await held.advance(image.offset, image.provenance.epoch)
        self._written = image
        self.board.written_offset = image.offset
        self.board.behind_since_wall_ms = None

    async def _carry_out(self, held: Claim, changes: Iterable[Write]) -> None:
        """In order; several in one transaction where they are small. None is torn apart: a notification comes together
        with what it tells of."""
        gathered: list[Op] = []
        size = 0
        for write in changes:
            progress = self.board.begin(write.category.value, 1, self._now_ms())
            bulk = write.bulk
            if gathered and (len(gathered) + len(write.ops) > MOST_OPS or size + bulk > MOST_BYTES):
                await self._transact(held, gathered)
                gathered, size = [], 0
            gathered += write.ops
            size += bulk
            progress.done += 1
            progress.last_ms = self._now_ms()
        if gathered:
            await self._transact(held, gathered)

    async def _transact(self, held: Claim, ops: list[Op]) -> None:
        await held.write(ops)
        self.board.writes += 1

    # ---- the end -------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Has the quorum keep the cluster; what stands in the way is in the status, and then nothing was changed."""
        if self._wants_end is None:
            self._wants_end = trio.Event()
            self._office.moved()
        await self._wants_end.wait()

    def reasons_against_end(self) -> tuple[str, ...]:
        """What stands in the way of keeping the cluster, without looking at ZooKeeper."""
        if self.board.state is not _S.DUAL_WRITE:
            return (f"the driver is in state {self.board.state}, not in DUAL_WRITE: {self.board.why}",)
        image = self._office.image
        against = [*readiness.brokers_of_zookeeper(image, ())]
        against += readiness.missing_controllers(image, self._office.voters)
        if self._written is not image and self.board.behind_since_wall_ms is not None:
            against.append(f"ZooKeeper lacks what the log has after offset {self.board.written_offset}")
        return tuple(against)

    async def _end(self, epoch: Epoch, zk: ZooKeeper, held: Claim) -> None:
        wanted = self._wants_end
        assert wanted is not None
        try:
            image = self._office.image
            against = readiness.brokers_of_zookeeper(image, await self._live_brokers(zk))
            if not against and await self._verified(zk, image):
                await self._office.write(epoch, "finish the migration", operations.finish())
                await held.finish(f"finished at offset {image.offset}; the quorum is the controller")
                await self._rest(_S.FINISHED, "the quorum has the cluster", wanted)
            for reason in against:
                self.board.failed(reason, paths.BROKER_IDS, self._wall_ms())
        finally:
            self._wants_end = None
            wanted.set()

    async def _verified(self, zk: ZooKeeper, image: MetadataImage) -> bool:
        """Compares both sides at this moment; what differs is in the status."""
        tree, _ = await self._read(zk, held_still=True)
        # Who lives is not metadata: it is guarded by `readiness`, and changes while both sides are read.
        facts = Facts(cluster_id=self._settings.cluster_id, brokers_registered=False)
        options = VerifyOptions(phase=Phase.DUAL_WRITE, secrets=self._settings.secrets, facts=facts)
        found: Verification = await self._settings.apart(partial(verify, tree, image, options))
        self.board.verified = {
            "equal": found.is_equal,
            "differences": len(found.differences),
            "offset": image.offset,
            "ms": self._wall_ms(),
            "digests": {"zookeeper": found.total_zookeeper, "log": found.total_log},
        }
        if not found.is_equal:
            first = found.differences[0] if found.differences else None
            failed = next((f"{one.about}: {one.words}" for one in found.checks if not one.is_passed), "")
            what = (
                failed if first is None else f"first {first.kind.value}: {first.key} {first.field}".rstrip()
            )
            self.board.failed(
                f"both sides differ; {what}", "" if first is None else first.path, self._wall_ms()
            )
        return found.is_equal

    # ---- the way back --------------------------------------------------------------------------------

    async def _hand_back(self, epoch: Epoch, zk: ZooKeeper, held: Claim) -> None:
        given = self._office.image.migration_order
        assert given is not None
        self._move(_S.ROLLBACK_HAND_BACK, "the quorum changes nothing any more")
        if given.order != MigrationOrder.HAND_BACK:
            await self._order(
                epoch, MigrationOrder.HAND_BACK, given.attempt, expected=MigrationOrder.ROLL_BACK
            )
        image = self._office.image
        tree, reading = await self._read(zk)
        self._require_sane(tree, image)
        await self._carry_out(held, await self._differing(tree, image, held))
        if not await self._verified(zk, image):
            raise Stopped("ZooKeeper is not equal to the log, and is not let go before it is")
        await held.let_go(reading.highest_controller_epoch)
        await self._say_rolled_back(epoch)

    async def _was_let_go(self, zk: ZooKeeper) -> bool:
        """Whether an earlier leader gave the cluster back and died before it could say so."""
        if order_of(self._office.image) is not MigrationOrder.HAND_BACK:
            return False
        return await migration_znode(zk) is None

    async def _give_back_uncopied(self, epoch: Epoch, zk: ZooKeeper) -> None:
        """There is nothing to write back; only the seat, if an earlier leader of ours took it."""
        given = self._office.image.migration_order
        assert given is not None
        self._move(_S.ROLLBACK_HAND_BACK, "nothing was copied yet")
        if given.order != MigrationOrder.HAND_BACK:
            await self._order(
                epoch, MigrationOrder.HAND_BACK, given.attempt, expected=MigrationOrder.ROLL_BACK
            )
        await self._leave_seat(epoch, zk)
        await self._say_rolled_back(epoch)

    async def _leave_seat(self, epoch: Epoch, zk: ZooKeeper) -> None:
        """If an earlier leader took it for a copy that did not come to be: nobody leads the brokers until it is
        free."""
        holder = await seat(zk)
        migration = await migration_znode(zk)
        ours = migration is not None and migration.extra.get("cluster_id") == self._settings.cluster_id
        if holder is None or holder.kraft_epoch < 0 or not ours:
            return
        held = await claim(zk, self._owner(epoch), self._wall_ms())
        _, reading = await self._read(zk)
        await held.let_go(reading.highest_controller_epoch)

    async def _say_rolled_back(self, epoch: Epoch) -> None:
        given = self._office.image.migration_order
        assert given is not None
        await self._order(epoch, MigrationOrder.ROLLED_BACK, given.attempt, expected=MigrationOrder.HAND_BACK)
        await self._rest(_S.ROLLED_BACK, "the cluster was given back to ZooKeeper")

    # ---- small things --------------------------------------------------------------------------------

    async def _rest(self, state: DriverState, why: str, tell: trio.Event | None = None) -> NoReturn:
        if state is _S.ROLLED_BACK and self.board.state is not _S.ROLLBACK_HAND_BACK:
            self._move(_S.INACTIVE, why)
        self._move(state, why)
        if tell is not None:
            tell.set()
        while True:
            await trio.sleep_forever()

    async def _read(self, zk: ZooKeeper, *, held_still: bool = False) -> tuple[Tree, Reading]:
        """The whole tree. `held_still`: as it was at one moment; the claim fences those who lead, not those who write
        ACLs or tokens.

        Raises:
            Stopped: it does not hold still.
        """
        tree: Tree = await read_tree(zk, progress=self._reading_progress)
        if held_still:
            tree = await self._held_still(zk, tree)
        reading: Reading = await self._settings.apart(partial(read, tree, self._options()))
        return tree, reading

    async def _held_still(self, zk: ZooKeeper, tree: Tree) -> Tree:
        for _ in range(_READINGS):
            again = await read_tree(zk)
            restless = differences(tree, again)
            if not restless:
                return tree
            tree = again
        raise Stopped(f"znodes change whenever everything is read, {_READINGS} times so far")

    def _reading_progress(self, category: Category, done: int, total: int) -> None:
        progress = self.board.begin(f"reading {category}", 0, self._now_ms())
        progress.done, progress.total, progress.last_ms = done, total, self._now_ms()

    def _options(self) -> ReadOptions:
        level = self._office.image.features.metadata_version
        return ReadOptions(metadata_version=level, secrets=self._settings.secrets)

    async def _differing(self, tree: Tree, image: MetadataImage, held: Claim) -> list[Write]:
        options = self._write_options(held)
        found: list[Write] = await self._settings.apart(lambda: list(reconcile(tree, image, options)))
        return found

    def _write_options(self, held: Claim) -> WriteOptions:
        return WriteOptions(
            controller_epoch=held.epoch,
            secret=next(iter(self._settings.secrets), None),
            entropy=self._settings.entropy,
        )

    async def _live_brokers(self, zk: ZooKeeper) -> set[int]:
        try:
            return {int(name) for name in await zk.children(paths.BROKER_IDS) if name.isdecimal()}
        except ZooKeeperError as error:
            if error.code is ErrorCode.NO_NODE:
                return set()
            raise

    async def _order(
        self, epoch: Epoch, order: MigrationOrder, attempt: Any, *, expected: MigrationOrder
    ) -> None:
        operation = operations.give_order(order, attempt, expected=expected)
        await self._office.write(epoch, f"migration order {order.name}", operation)

    def _owner(self, epoch: Epoch) -> Owner:
        order = self._office.image.migration_order
        return Owner(
            node_id=self._office.node_id,
            epoch=epoch,
            cluster_id=self._settings.cluster_id,
            attempt=ZERO_UUID if order is None else order.attempt,
        )

    def _move(self, to: DriverState, why: str, waiting_for: Iterable[str] = ()) -> None:
        if self.board.move(to, why, self._wall_ms(), waiting_for):
            _log.info("migration", state=to.value, why=why)
