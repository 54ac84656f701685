"""Reading a living tree: what is asked for, what changes meanwhile, what a write has to know."""

import random
from collections.abc import Mapping

import pytest

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.zookeeper.embedded import Call, EmbeddedServer, Fault
from quorate.metadata.zookeeper.kafka_znodes.places import category_of
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Put, Remove, Step, Write
from quorate.metadata.zookeeper.live_tree import around, differences, read_tree, rereading, unfenced
from quorate.metadata.zookeeper.znodes import Delete, Znode, ZooKeeperError
from tests.metadata.kafka_znodes.applying import carried_out, new_cluster
from tests.metadata.kafka_znodes.test_writer_real import OPTIONS, image_of, real_image
from tests.metadata.kafka_znodes.trees import REAL, Content, healthy_and, real

CONFIG = '{"version":1,"config":{}}'


def _server(tree: Mapping[str, Znode]) -> EmbeddedServer:
    return EmbeddedServer(dict(tree), shuffle=random.Random(1))


@pytest.mark.parametrize("name", [name for name in REAL if name != "large"])
async def test_a_living_tree_reads_as_its_dump(name: str) -> None:
    found = await read_tree(_server(real(name)).connect())

    kafkas = {path: node for path, node in real(name).items() if not path.startswith("/zookeeper")}
    assert found == kafkas
    assert list(found) == sorted(found)


async def test_only_what_is_kafkas_is_read() -> None:
    server = _server(healthy_and({"/consumers/g/offsets/t/0": "7", "/somebody/else": "x"}))

    without = await read_tree(server.connect())
    consumers = await read_tree(server.connect(), consumers=True)

    assert "/consumers" in without
    assert not any(path.startswith(("/consumers/", "/somebody")) for path in without)
    assert consumers["/consumers/g/offsets/t/0"].data == b"7"
    assert "/somebody" not in consumers


async def test_progress_is_told_by_category() -> None:
    told: dict[Category, list[tuple[int, int]]] = {}

    def progress(category: Category, done: int, total: int) -> None:
        told.setdefault(category, []).append((done, total))

    server = _server(healthy_and({f"/config/topics/t{i}": None for i in range(2500)}))
    await read_tree(server.connect(), progress=progress)

    assert told[Category.TOPIC_CONFIGS][-1] == (2502, 2502)
    assert len(told[Category.TOPIC_CONFIGS]) > 3
    assert all(done <= total for steps in told.values() for done, total in steps)
    assert Category.PARTITIONS in told
    assert Category.BROKERS in told


async def test_what_vanishes_meanwhile_is_left_out() -> None:
    server = _server(healthy_and({}))
    janitor = server.connect()
    session = server.connect()

    def vanish(call: Call) -> Fault | None:
        if call.paths == ("/config/topics/orders",) and call.session == session.session_id:
            server.fault = lambda call: None
            server.write(janitor.session_id, Delete("/config/topics/orders"))
        return None

    server.fault = vanish
    found = await read_tree(session)

    assert "/config/topics" in found
    assert "/config/topics/orders" not in found


async def test_a_read_that_fails_is_not_retried() -> None:
    server = _server(healthy_and({}))
    server.fault = lambda call: Fault.LOSS_BEFORE if "/brokers/topics/orders" in call.paths else None

    with pytest.raises(ZooKeeperError) as caught:
        await read_tree(server.connect())

    assert caught.value.outcome_unknown


async def test_a_second_reading_tells_who_wrote_meanwhile() -> None:
    server = _server(healthy_and({"/config/users/a": None, "/admin/delete_topics/x": None}))
    session, other = server.connect(), server.connect()
    first = await read_tree(session)

    await other.set("/config/topics/orders", CONFIG.encode())
    await other.create("/config/topics/x", CONFIG.encode())
    await other.delete("/config/users/a")
    await other.delete("/controller")
    await other.create("/controller", b"{}")
    await other.create("/config/clients", None)
    await other.delete("/config/clients")

    told = {one.path: one.what for one in await rereading(session, first)}
    assert told == {
        "/config/topics/orders": "data changed",
        "/config/topics/x": "made",
        "/config/users/a": "gone",
        "/controller": "made again",
        "/config": "children changed",
    }


async def test_nothing_is_told_of_a_tree_that_holds_still() -> None:
    session = _server(real("rich")).connect()

    assert await rereading(session, await read_tree(session)) == ()
    assert differences(real("rich"), real("rich")) == ()


async def test_writes_after_the_claim_that_are_not_ours() -> None:
    server = _server(healthy_and({}))
    session, other = server.connect(), server.connect()
    claim = (await session.set("/controller_epoch", b"58")).mzxid
    await session.create("/config/changes", None)
    await other.set("/latest_producer_id_block", None)
    await other.create("/config/topics/x", None)

    tree = await read_tree(session)

    told = [(one.path, one.what) for one in unfenced(tree, claim, ["/config/changes"])]
    assert told == [
        ("/config/topics", "children changed"),
        ("/config/topics/x", "made"),
        ("/latest_producer_id_block", "data changed"),
    ]
    newest = max(max(node.stat.mzxid, node.stat.pzxid) for node in tree.values())
    assert unfenced(tree, newest) == ()


def _write(*steps: Step) -> Write:
    return Write(category=Category.TOPICS, about="x", steps=steps, ops=())


async def test_what_a_write_has_to_know() -> None:
    more: Content = {"/brokers/topics/orders/partitions/9/odd/deep": None, "/config/topics/other": None}
    session = _server(healthy_and(more)).connect()
    write = _write(
        Remove("/brokers/topics/orders"),
        Remove("/brokers/topics/nobody"),
        Put("/config/users/a/clients/b", b"x"),
        Announce("/config/changes/config_change_", b""),
    )

    found = await around(session, write)

    assert "/config/topics/other" not in found
    assert [op.path for op in write.resolved(found).ops] == [
        "/brokers/topics/orders/partitions/9/odd/deep",
        "/brokers/topics/orders/partitions/0/state",
        "/brokers/topics/orders/partitions/9/odd",
        "/brokers/topics/orders/partitions/0",
        "/brokers/topics/orders/partitions/9",
        "/brokers/topics/orders/partitions",
        "/brokers/topics/orders",
        "/config/users",
        "/config/users/a",
        "/config/users/a/clients",
        "/config/users/a/clients/b",
        "/config/changes",
        "/config/changes/config_change_",
    ]
    await session.multi(write.resolved(found).ops)
    assert write.is_done(await around(session, write))


# ---- the writer on the real tree of ZooKeeper


@pytest.mark.parametrize("name", ["small", "rich"])
async def test_what_is_written_to_a_real_tree_reads_the_same(name: str) -> None:
    """The tests of the writer carry it out by rules of their own; these are the tree's."""
    session = _server(new_cluster()).connect()
    by_rules = carried_out(new_cluster(), writes(MetadataImage.EMPTY, real_image(name), OPTIONS))

    for write in writes(MetadataImage.EMPTY, real_image(name), OPTIONS):
        await session.multi(write.ops)

    found = await read_tree(session)
    without_secrets = [path for path in by_rules if not path.startswith("/config/brokers/")]
    assert {p: found[p].data for p in without_secrets} == {p: by_rules[p].data for p in without_secrets}
    assert found.keys() == by_rules.keys()
    for write in reconcile(found, MetadataImage.EMPTY, OPTIONS):
        await session.multi(write.ops)
    assert image_of(await read_tree(session)).same_metadata(MetadataImage.EMPTY)


async def test_a_write_whose_outcome_is_unknown_is_asked_for_anew() -> None:
    """Applied or not: what is read afterwards says what is left to be done."""
    for fault in (Fault.LOSS_BEFORE, Fault.LOSS_AFTER):
        server = _server(new_cluster())
        session = server.connect()
        for write in writes(MetadataImage.EMPTY, real_image("small"), OPTIONS):
            server.fault = lambda call, fault=fault: fault if call.name == "multi" else None  # type: ignore[misc]
            with pytest.raises(ZooKeeperError):
                await session.multi(write.ops)
            server.fault = lambda call: None
            known = await around(session, write)
            assert write.is_done(known) == (fault is Fault.LOSS_AFTER)
            await session.multi(write.resolved(known).ops)
            assert write.is_done(await around(session, write))
        assert list(reconcile(await read_tree(session), real_image("small"), OPTIONS)) == []


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("/brokers/topics/t", Category.TOPICS),
        ("/brokers/topics/t/partitions/0/state", Category.PARTITIONS),
        ("/config/users/u/clients/c", Category.QUOTAS),
        ("/kafka-acl-extended/prefixed/Topic/x", Category.ACLS),
        ("/kafka-acl-changes", Category.CLUSTER),
        ("/controller", Category.CLUSTER),
    ],
)
def test_categories_of_paths(path: str, category: Category) -> None:
    assert category_of(path) is category
