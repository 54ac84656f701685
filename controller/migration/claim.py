"""Being the controller of a cluster in ZooKeeper: the claim, writes under it, and letting go (shell; KIP-866).

`/controller_epoch` is the fence: its version is checked in the transaction of every write, so that a controller that
was paused, or replaced, changes nothing. `/controller` is claimed for good, not for a session: brokers in ZooKeeper
mode do not take the seat while the quorum elects another leader.

Better than Kafka's: the epoch is set above both ZooKeeper's and Raft's, so that no partition's state ever carries an
epoch which ZooKeeper's own controller, after a way back, would take for a newer one (KAFKA-20488). And `/migration`
says whose attempt it belongs to.
"""

import uuid
from collections.abc import Sequence
from typing import Final

import attrs

from quorate.metadata.ids import Epoch, uuid_to_text
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    ControllerZnode,
    MigrationZnode,
    decode_controller,
    decode_controller_epoch,
    decode_migration,
    encode_controller,
    encode_controller_epoch,
    encode_migration,
)
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    Op,
    Result,
    SetData,
    Stat,
    Znode,
    ZooKeeperError,
)

FENCE_OPS: Final = 2
"""How many operations of every fenced transaction are the fence's own."""


class ClaimRefused(Exception):
    """This controller cannot claim the cluster now; the text says why."""


class FenceLost(Exception):
    """Somebody else claimed the cluster: nothing more may be written under this claim."""


@attrs.frozen(kw_only=True)
class Owner:
    """Who claims, and for which attempt at a migration."""

    node_id: int
    epoch: Epoch
    """Of the quorum."""
    cluster_id: str
    attempt: uuid.UUID


class Claim:
    """What this leadership holds in ZooKeeper. Made by `claim`."""

    def __init__(
        self,
        zk: ZooKeeper,
        owner: Owner,
        epoch: int,
        epoch_version: int,
        migration: MigrationZnode,
        version: int,
    ) -> None:
        self._zk = zk
        self._owner = owner
        self.epoch: Final = epoch
        """The controller epoch in ZooKeeper: what states of partitions carry."""
        self._epoch_version = epoch_version
        self.migration = migration
        """What /migration says."""
        self._version = version

    async def write(self, ops: Sequence[Op]) -> list[Result]:
        """One transaction, under the fence.

        Raises:
            FenceLost
            ZooKeeperError: a `MultiFailed` counts `ops` alone.
        """
        fence = (Check(paths.CONTROLLER_EPOCH, self._epoch_version), Check(paths.MIGRATION, self._version))
        results = await self._transact((*fence, *ops))
        return results[FENCE_OPS:]

    async def advance(self, offset: int, epoch: int) -> None:
        """Says that ZooKeeper has everything up to this offset of the log.

        Raises:
            FenceLost, ZooKeeperError
        """
        migration = _signed(self._owner, offset=offset, epoch=epoch)
        ops = (
            Check(paths.CONTROLLER_EPOCH, self._epoch_version),
            SetData(paths.MIGRATION, encode_migration(migration), self._version),
        )
        await self._transact(ops)
        self.migration = migration
        self._version += 1

    async def let_go(self, highest_state_epoch: int) -> None:
        """Gives the seat free, in one transaction; ZooKeeper's own controller takes it with a higher epoch than any
        state of a partition carries.

        Raises:
            FenceLost, ZooKeeperError
        """
        above = max(self.epoch, highest_state_epoch, self._owner.epoch) + 1
        ops = (
            SetData(paths.CONTROLLER_EPOCH, encode_controller_epoch(above), self._epoch_version),
            Delete(paths.MIGRATION, self._version),
            Delete(paths.CONTROLLER),
        )
        await self._transact(ops)

    async def finish(self, reason: str) -> None:
        """Leaves both znodes behind, saying why: `/controller` keeps brokers in ZooKeeper mode from leading again.

        Raises:
            FenceLost, ZooKeeperError
        """
        migration = attrs.evolve(self.migration, extra={**self.migration.extra, "finished": reason})
        await self._transact(
            (
                Check(paths.CONTROLLER_EPOCH, self._epoch_version),
                SetData(paths.MIGRATION, encode_migration(migration), self._version),
            )
        )
        self.migration = migration
        self._version += 1

    async def _transact(self, ops: Sequence[Op]) -> list[Result]:
        try:
            return await self._zk.multi(ops)
        except MultiFailed as failed:
            if failed.path == paths.CONTROLLER_EPOCH:
                raise FenceLost(
                    f"/controller_epoch is not at version {self._epoch_version} any more"
                ) from None
            if failed.path == paths.MIGRATION:
                raise FenceLost(f"/migration is not at version {self._version} any more") from None
            raise MultiFailed(failed.code, failed.path, failed.index - FENCE_OPS) from None


async def claim(zk: ZooKeeper, owner: Owner, wall_ms: int, *, above: int = 0) -> Claim:
    """Takes the seat, from a broker in ZooKeeper mode or from an earlier leader of the quorum.

    `above`: the highest controller epoch that a partition's state carries, where that is known; ZooKeeper's is not
    below it unless somebody set it back.
    An unknown outcome is nothing to worry about: claiming again is claiming a higher epoch.

    Raises:
        ClaimRefused: a newer leader has it, or the znodes are not as they should be.
        ZooKeeperError
    """
    epoch_node = await _existing(zk, paths.CONTROLLER_EPOCH)
    try:
        zk_epoch = decode_controller_epoch(epoch_node.data)
    except FormError as error:
        raise ClaimRefused(
            f"{paths.CONTROLLER_EPOCH} cannot be read: {error}. Nothing was written."
        ) from None
    held = await _found(zk, paths.CONTROLLER)
    if held is not None:
        _require_older(held, owner)
    epoch = max(zk_epoch, owner.epoch, above) + 1
    seat = ControllerZnode(broker_id=owner.node_id, timestamp_ms=wall_ms, kraft_epoch=owner.epoch)
    ops: list[Op] = [SetData(paths.CONTROLLER_EPOCH, encode_controller_epoch(epoch), epoch_node.stat.version)]
    if held is not None:
        ops.append(Delete(paths.CONTROLLER, held.stat.version))
    ops.append(Create(paths.CONTROLLER, encode_controller(seat)))
    try:
        results = await zk.multi(ops)
    except MultiFailed as failed:
        raise ClaimRefused(f"{failed.path} changed in the moment of the claim ({failed.code.name})") from None
    stat = results[0]
    assert isinstance(stat, Stat)
    migration, version = await _sign(zk, owner)
    return Claim(zk, owner, epoch, stat.version, migration, version)


async def seat(zk: ZooKeeper) -> ControllerZnode | None:
    """Who holds /controller.

    Raises:
        ClaimRefused: it cannot be read.
        ZooKeeperError
    """
    held = await _found(zk, paths.CONTROLLER)
    return None if held is None else _decoded(held)


async def migration_znode(zk: ZooKeeper) -> MigrationZnode | None:
    """What /migration says; None if there is nothing, or nothing in it.

    Raises:
        ClaimRefused: it cannot be read.
        ZooKeeperError
    """
    node = await _found(zk, paths.MIGRATION)
    if node is None or not node.data:
        return None  # Kafka's security tool makes an empty one (KAFKA-19480)
    try:
        return decode_migration(node.data)
    except FormError as error:
        raise ClaimRefused(
            f"{paths.MIGRATION} cannot be read: {error}. If no other migration is under way, delete it."
        ) from None


def belongs_to(migration: MigrationZnode, owner: Owner) -> bool:
    """Whether /migration was written in this attempt."""
    return migration.extra.get("attempt") == uuid_to_text(owner.attempt)


async def _sign(zk: ZooKeeper, owner: Owner) -> tuple[MigrationZnode, int]:
    """Puts this owner's name into /migration, whatever its version is: the claim has fenced everybody else."""
    before = await migration_znode(zk)
    migration = _signed(owner, -1, -1) if before is None else _signed(owner, before.offset, before.epoch)
    data = encode_migration(migration)
    try:
        return migration, (await zk.set(paths.MIGRATION, data)).version
    except ZooKeeperError as error:
        if error.code is not ErrorCode.NO_NODE:
            raise
    await zk.create(paths.MIGRATION, data)
    return migration, 0


def _signed(owner: Owner, offset: int, epoch: int) -> MigrationZnode:
    extra = {"cluster_id": owner.cluster_id, "attempt": uuid_to_text(owner.attempt)}
    return MigrationZnode(
        controller_id=owner.node_id, controller_epoch=owner.epoch, offset=offset, epoch=epoch, extra=extra
    )


def _require_older(held: Znode, owner: Owner) -> None:
    holder = _decoded(held)
    if holder.kraft_epoch > owner.epoch or (
        holder.kraft_epoch == owner.epoch and holder.broker_id != owner.node_id
    ):
        raise ClaimRefused(
            f"{paths.CONTROLLER} is held by controller {holder.broker_id} in epoch {holder.kraft_epoch}, and this is "
            f"controller {owner.node_id} in epoch {owner.epoch}: a newer leader of the quorum, or another quorum"
        )


def _decoded(held: Znode) -> ControllerZnode:
    try:
        return decode_controller(held.data)
    except FormError as error:
        raise ClaimRefused(f"{paths.CONTROLLER} cannot be read: {error}. Nothing was written.") from None


async def _found(zk: ZooKeeper, path: str) -> Znode | None:
    try:
        return await zk.get(path)
    except ZooKeeperError as error:
        if error.code is ErrorCode.NO_NODE:
            return None
        raise


async def _existing(zk: ZooKeeper, path: str) -> Znode:
    node = await _found(zk, path)
    if node is None:
        raise ClaimRefused(
            f"{path} does not exist: no controller ever ran on this ZooKeeper. Is the chroot right?"
        )
    return node
