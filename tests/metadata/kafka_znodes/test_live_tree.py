"""Reading a living tree: what is asked for, what changes meanwhile, what a write has to know."""

from collections.abc import Callable, Sequence

import attrs
import pytest

from quorate.metadata.zookeeper.kafka_znodes.places import category_of
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Put, Remove, Step, Write
from quorate.metadata.zookeeper.live_tree import (
    around,
    differences,
    read_tree,
    rereading,
    unfenced,
)
from quorate.metadata.zookeeper.znodes import Znode
from tests.metadata.kafka_znodes.trees import HEALTHY, REAL, Content, healthy_and, made, real


@attrs.define
class Reads:
    """The reads of a session over a tree that the test may change at any read."""

    tree: dict[str, Znode]
    before: Callable[["Reads"], None] = lambda reads: None
    asked: int = 0
    synced: bool = False

    async def sync(self, path: str = "/") -> None:
        self.synced = True

    async def get_many(self, paths: Sequence[str]) -> list[Znode | None]:
        assert self.synced
        self.asked += 1
        self.before(self)
        return [self.tree.get(path) for path in paths]

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        self.asked += 1
        self.before(self)
        return [self._children(path) if path in self.tree else None for path in paths]

    def _children(self, path: str) -> list[str]:
        depth = path.count("/") + 1
        inside = [one for one in self.tree if one.startswith(f"{path}/") and one.count("/") == depth]
        return [one.rpartition("/")[2] for one in reversed(inside)]


@pytest.mark.parametrize("name", [name for name in REAL if name != "large"])
async def test_a_living_tree_reads_as_its_dump(name: str) -> None:
    tree = {path: node for path, node in real(name).items() if not path.startswith("/zookeeper")}

    found = await read_tree(Reads(tree))  # type: ignore[arg-type]

    assert found == tree
    assert list(found) == sorted(found)


async def test_only_what_is_kafkas_is_read() -> None:
    more: Content = {"/consumers/g/offsets/t/0": "7", "/somebody/else": "x"}

    without = await read_tree(Reads(healthy_and(more)))  # type: ignore[arg-type]
    consumers = await read_tree(Reads(healthy_and(more)), consumers=True)  # type: ignore[arg-type]

    assert "/consumers" in without
    assert not any(path.startswith(("/consumers/", "/somebody")) for path in without)
    assert consumers["/consumers/g/offsets/t/0"].data == b"7"
    assert "/somebody" not in consumers


async def test_a_level_is_asked_for_at_once() -> None:
    reads = Reads(healthy_and({f"/config/topics/t{i}": None for i in range(900)}))

    await read_tree(reads)  # type: ignore[arg-type]

    assert reads.asked < 20


async def test_progress_is_told_by_category() -> None:
    told: dict[Category, list[tuple[int, int]]] = {}

    def progress(category: Category, done: int, total: int) -> None:
        told.setdefault(category, []).append((done, total))

    tree = healthy_and({f"/config/topics/t{i}": None for i in range(2500)})
    await read_tree(Reads(tree), progress=progress)  # type: ignore[arg-type]

    assert told[Category.TOPIC_CONFIGS][-1] == (2502, 2502)
    assert len(told[Category.TOPIC_CONFIGS]) > 3
    assert all(done <= total for steps in told.values() for done, total in steps)
    assert Category.PARTITIONS in told
    assert Category.BROKERS in told


async def test_what_vanishes_meanwhile_is_left_out() -> None:
    def vanish(reads: Reads) -> None:
        if reads.asked == 5:
            for path in [path for path in reads.tree if path.startswith("/brokers/topics/orders")]:
                del reads.tree[path]

    found = await read_tree(Reads(healthy_and({}), vanish))  # type: ignore[arg-type]

    assert "/brokers/topics" in found
    assert set(found) < set(healthy_and({}))


def _changed(tree: dict[str, Znode], path: str, **stat: int) -> dict[str, Znode]:
    node = tree[path]
    return {**tree, path: attrs.evolve(node, stat=attrs.evolve(node.stat, **stat))}


async def test_a_second_reading_tells_who_wrote_meanwhile() -> None:
    first = healthy_and({"/config/users/a": None})
    second = _changed(first, "/config/topics/orders", mzxid=900)
    second = _changed(second, "/controller", czxid=901, mzxid=901)
    second = _changed(second, "/config/users", pzxid=903)
    del second["/config/users/a"]
    second = {
        **second,
        **{p: n for p, n in made({**HEALTHY, "/config/topics/x": None}).items() if p.endswith("/x")},
    }
    second = _changed(second, "/admin", pzxid=904)

    told = await rereading(Reads(second), first)  # type: ignore[arg-type]

    assert [(one.path, one.what) for one in told] == [
        ("/config/topics/orders", "data changed"),
        ("/config/topics/x", "made"),
        ("/config/users/a", "gone"),
        ("/controller", "made again"),
        ("/admin", "children changed"),
    ]
    assert told[0].category is Category.TOPIC_CONFIGS
    assert told[0].zxid == 900


def test_nothing_is_told_of_two_equal_readings() -> None:
    assert differences(real("rich"), real("rich")) == ()


def test_writes_after_the_claim_that_are_not_ours() -> None:
    tree = healthy_and({})
    newest = max(node.stat.mzxid for node in tree.values())
    tree = _changed(tree, "/controller_epoch", mzxid=newest + 1)
    tree = _changed(tree, "/latest_producer_id_block", mzxid=newest + 2)
    tree = _changed(tree, "/brokers/ids/3", czxid=newest + 3)
    tree = _changed(tree, "/config/topics", pzxid=newest + 4)

    told = unfenced(tree, newest, ["/controller_epoch"])

    assert [(one.path, one.what, one.zxid - newest) for one in told] == [
        ("/brokers/ids/3", "made", 3),
        ("/config/topics", "children changed", 4),
        ("/latest_producer_id_block", "data changed", 2),
    ]
    assert unfenced(tree, newest + 4) == ()
    assert unfenced(tree, newest + 3, ["/config/topics/orders"]) == ()


def _write(*steps: Step) -> Write:
    return Write(category=Category.TOPICS, about="x", steps=steps, ops=())


async def test_what_a_write_has_to_know() -> None:
    tree = healthy_and({"/brokers/topics/orders/partitions/9/odd/deep": None, "/config/topics/other": None})
    write = _write(
        Remove("/brokers/topics/orders"),
        Remove("/brokers/topics/nobody"),
        Put("/config/users/a/clients/b", b"x"),
        Announce("/config/changes/config_change_", b""),
    )

    found = await around(Reads(tree), write)  # type: ignore[arg-type]

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
