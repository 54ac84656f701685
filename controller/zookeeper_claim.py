"""Claiming the controller's office in ZooKeeper, and the fence that comes with it (shell).

As Kafka's brokers do it: one multi creates `/controller` for the life of the session and raises `/controller_epoch`
by one, expecting the version that was read. The version after it is the fence: every write of this holding of the
office begins with a check of it, so that none can follow the claim of another.

A claim is never resumed. Whoever is back after a lost connection claims anew, even from himself: writes of before
whose outcome is unknown must not arrive behind what the new holding has read.
"""

from typing import Final

import attrs

from quorate.metadata.zookeeper.interface import Watcher, ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    NO_KRAFT_EPOCH,
    ControllerZnode,
    decode_controller,
    decode_controller_epoch,
    encode_controller,
    encode_controller_epoch,
)
from quorate.metadata.zookeeper.kafka_znodes.paths import CONTROLLER, CONTROLLER_EPOCH
from quorate.metadata.zookeeper.znodes import (
    Check,
    Create,
    Delete,
    ErrorCode,
    MultiFailed,
    Op,
    SetData,
    Stat,
    Znode,
    ZooKeeperError,
)

FIRST_EPOCH: Final = 0
"""What `/controller_epoch` is made with; the first claim raises it at once."""


@attrs.frozen(kw_only=True)
class Claim:
    """The office, held from here on."""

    epoch: int
    epoch_version: int
    """Of the znode `/controller_epoch`: the fence."""

    @property
    def fence(self) -> Check:
        """Stands before everything that is written."""
        return Check(CONTROLLER_EPOCH, self.epoch_version)


@attrs.frozen(kw_only=True)
class Taken:
    """Somebody else holds the office; who watches hears when that changes."""

    why: str


async def claim_office(zookeeper: ZooKeeper, broker_id: int, wall_ms: int, watch: Watcher) -> Claim | Taken:
    """Tries once. `watch` is called when `/controller` changes, if it is somebody else's.

    Raises:
        ZooKeeperError: the outcome may be unknown: claim again.
    """
    epoch, epoch_stat = await _read_epoch(zookeeper)
    ops: list[Op] = []
    holder = await _holder(zookeeper, watch)
    if holder is not None:
        if holder.stat.ephemeral_owner != zookeeper.session_id:
            return Taken(why=_words(holder))
        ops.append(Delete(CONTROLLER, holder.stat.version))
    seat = ControllerZnode(broker_id=broker_id, timestamp_ms=wall_ms)
    ops += [
        Create(CONTROLLER, encode_controller(seat), ephemeral=True),
        SetData(CONTROLLER_EPOCH, encode_controller_epoch(epoch + 1), epoch_stat.version),
    ]
    try:
        results = await zookeeper.multi(ops)
    except MultiFailed as error:
        if error.code in (ErrorCode.NODE_EXISTS, ErrorCode.BAD_VERSION, ErrorCode.NO_NODE):
            return Taken(why=f"somebody else was faster ({error})")
        raise
    after = results[-1]
    if not isinstance(after, Stat):
        raise TypeError(f"the answer to a setData is {after!r}")
    return Claim(epoch=epoch + 1, epoch_version=after.version)


async def give_up_office(zookeeper: ZooKeeper, claim: Claim) -> None:
    """Lets the next one claim at once instead of at the end of this session; nothing happens if that is done already.

    Raises:
        ZooKeeperError: nobody heard it; the end of the session does the same.
    """
    stat = await zookeeper.exists(CONTROLLER)
    if stat is None or stat.ephemeral_owner != zookeeper.session_id:
        return  # a controller of a quorum may have put itself there
    try:
        await zookeeper.multi([claim.fence, Delete(CONTROLLER)])
    except MultiFailed as error:
        if error.code not in (ErrorCode.BAD_VERSION, ErrorCode.NO_NODE):
            raise


async def holds_still(zookeeper: ZooKeeper, claim: Claim) -> bool:
    """Whether nobody has claimed the office until now, which no answer of before this call can tell.

    Raises:
        ZooKeeperError: it could not be asked.
    """
    await zookeeper.sync(CONTROLLER_EPOCH)
    stat = await zookeeper.exists(CONTROLLER_EPOCH)
    return stat is not None and stat.version == claim.epoch_version


async def _read_epoch(zookeeper: ZooKeeper) -> tuple[int, Stat]:
    """The epoch so far; the znode is made if there is none."""
    await zookeeper.sync(CONTROLLER_EPOCH)
    if await zookeeper.exists(CONTROLLER_EPOCH) is None:
        try:
            await zookeeper.create(CONTROLLER_EPOCH, encode_controller_epoch(FIRST_EPOCH))
        except ZooKeeperError as error:
            if error.code is not ErrorCode.NODE_EXISTS:
                raise
    node = await zookeeper.get(CONTROLLER_EPOCH)
    return decode_controller_epoch(node.data), node.stat


async def _holder(zookeeper: ZooKeeper, watch: Watcher) -> Znode | None:
    """`/controller` as it is; watched if it is there."""
    try:
        return await zookeeper.get(CONTROLLER, watch)
    except ZooKeeperError as error:
        if error.code is ErrorCode.NO_NODE:
            return None
        raise


def _words(holder: Znode) -> str:
    try:
        seat = decode_controller(holder.data)
    except FormError as error:
        return f"{CONTROLLER} means nothing ({error}); remove it if nobody is the controller"
    if seat.kraft_epoch != NO_KRAFT_EPOCH:
        return f"controller {seat.broker_id} of a quorum holds it, in its epoch {seat.kraft_epoch}"
    if holder.stat.ephemeral_owner == 0:
        return (
            f"{CONTROLLER} names broker {seat.broker_id} and belongs to no session, so it will never go: was this tree "
            "copied? Remove that znode if no controller is at work"
        )
    return f"broker {seat.broker_id} holds it"
