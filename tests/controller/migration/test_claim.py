"""Claiming a cluster in ZooKeeper, writing under the claim, letting go."""

import uuid
from typing import Any

import attrs
import pytest

from quorate.controller.migration.claim import (
    Claim,
    ClaimRefused,
    FenceLost,
    Owner,
    claim,
    migration_znode,
    seat,
)
from quorate.metadata.ids import Epoch
from quorate.metadata.zookeeper.embedded import EmbeddedServer, EmbeddedZooKeeper, Fault
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    ControllerZnode,
    MigrationZnode,
    decode_controller,
    encode_controller,
    encode_migration,
)
from quorate.metadata.zookeeper.znodes import Create, ErrorCode, MultiFailed, SetData, ZooKeeperError

OURS = Owner(node_id=3000, epoch=Epoch(4), cluster_id="cluster", attempt=uuid.UUID(int=7 << 64))


async def cluster(epoch: bytes = b"57", server: EmbeddedServer | None = None) -> EmbeddedZooKeeper:
    """ZooKeeper as brokers leave it: broker 1 leads."""
    zk = (server or EmbeddedServer()).connect()
    await zk.create("/controller_epoch", epoch)
    await zk.create(
        "/controller", encode_controller(ControllerZnode(broker_id=1, timestamp_ms=5)), ephemeral=True
    )
    return zk


async def held(zk: EmbeddedZooKeeper, **owner: Any) -> Claim:
    return await claim(zk, attrs.evolve(OURS, **owner), wall_ms=9)


async def text(zk: EmbeddedZooKeeper, path: str) -> str:
    data = (await zk.get(path)).data
    assert data is not None
    return data.decode()


async def test_a_claim_takes_the_seat_for_good_and_raises_the_epoch() -> None:
    zk = await cluster()
    got = await held(zk)

    assert got.epoch == 58
    assert await text(zk, "/controller_epoch") == "58"
    node = await zk.get("/controller")
    assert decode_controller(node.data) == ControllerZnode(broker_id=3000, timestamp_ms=9, kraft_epoch=4)
    assert node.stat.ephemeral_owner == 0


async def test_the_epoch_is_above_the_quorums_too() -> None:
    """Else states written later would look older to nobody, and after a way back newer than any controller."""
    zk = await cluster(b"3")
    assert (await held(zk, epoch=Epoch(40))).epoch == 41


async def test_the_epoch_is_above_those_of_partitions() -> None:
    zk = await cluster(b"3")
    assert (await claim(zk, OURS, wall_ms=9, above=70)).epoch == 71


async def test_whoever_was_replaced_writes_nothing_more() -> None:
    zk = await cluster()
    old = await held(zk)
    new = await held(zk, node_id=3001, epoch=Epoch(5))

    with pytest.raises(FenceLost):
        await old.write([Create("/x")])
    with pytest.raises(FenceLost):
        await old.advance(10, 4)
    with pytest.raises(FenceLost):
        await old.let_go(0)

    assert await zk.exists("/x") is None
    await new.write([Create("/x")])


async def test_a_broker_that_takes_the_seat_fences_too() -> None:
    zk = await cluster()
    got = await held(zk)
    await zk.set("/controller_epoch", b"59")
    with pytest.raises(FenceLost):
        await got.write([Create("/x")])


async def test_an_older_leader_of_the_quorum_is_refused_and_so_is_another_one_of_the_same_epoch() -> None:
    zk = await cluster()
    await held(zk, epoch=Epoch(6))
    with pytest.raises(ClaimRefused, match="epoch 6"):
        await held(zk, node_id=3001, epoch=Epoch(5))
    with pytest.raises(ClaimRefused):
        await held(zk, node_id=3001, epoch=Epoch(6))
    await held(zk, epoch=Epoch(6))


@pytest.mark.parametrize("fault", [Fault.LOSS_BEFORE, Fault.LOSS_AFTER])
async def test_a_claim_whose_outcome_nobody_knows_is_made_again(fault: Fault) -> None:
    server = EmbeddedServer()
    zk = await cluster(server=server)
    faults = [fault]
    server.fault = lambda call: faults.pop() if call.name == "multi" and faults else None

    with pytest.raises(ZooKeeperError):
        await held(zk)
    got = await held(zk)

    await got.write([Create("/x")])
    assert got.epoch == (58 if fault is Fault.LOSS_BEFORE else 59)


async def test_migration_is_signed_and_keeps_how_far_the_copy_was() -> None:
    zk = await cluster()
    await zk.create("/migration", encode_migration(MigrationZnode(offset=812, epoch=3)))
    got = await held(zk)

    written = await migration_znode(zk)
    assert written == got.migration
    assert written is not None
    assert (written.offset, written.epoch, written.controller_id) == (812, 3, 3000)
    assert written.extra["cluster_id"] == "cluster"


async def test_an_empty_migration_of_kafkas_security_tool_is_no_migration() -> None:
    zk = await cluster()
    await zk.create("/migration", None)
    assert await migration_znode(zk) is None
    await held(zk)


async def test_offsets_move_on_and_each_check_counts_from_the_last() -> None:
    zk = await cluster()
    got = await held(zk)
    await got.advance(10, 4)
    await got.advance(12, 4)
    await got.write([Create("/x")])
    written = await migration_znode(zk)
    assert written is not None
    assert written.offset == 12


async def test_what_fails_counts_without_the_fence() -> None:
    got = await held(await cluster())
    with pytest.raises(MultiFailed) as failed:
        await got.write([Create("/a"), SetData("/nowhere", b"")])
    assert (failed.value.index, failed.value.path, failed.value.code) == (1, "/nowhere", ErrorCode.NO_NODE)


async def test_letting_go_leaves_an_epoch_above_every_state() -> None:
    """A controller in ZooKeeper mode touches no partition whose state carries a larger epoch than its (KAFKA-20488)."""
    zk = await cluster()
    got = await held(zk)
    await got.let_go(highest_state_epoch=90)

    assert await text(zk, "/controller_epoch") == "91"
    assert await seat(zk) is None
    assert await migration_znode(zk) is None


@pytest.mark.parametrize("path", ["/controller_epoch", "/controller"])
async def test_what_cannot_be_read_is_not_written_over(path: str) -> None:
    zk = await cluster()
    await zk.set(path, b"{")
    with pytest.raises(ClaimRefused, match=path):
        await held(zk)
    assert (await zk.get(path)).data == b"{"


async def test_without_an_epoch_no_controller_ever_ran() -> None:
    with pytest.raises(ClaimRefused, match="chroot"):
        await held(EmbeddedServer().connect())
