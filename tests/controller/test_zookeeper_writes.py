"""A turn in ZooKeeper mode as multis: behind the fence, in an order whose prefixes make sense, expecting versions."""

import uuid
from collections.abc import Iterable

import pytest

from quorate.controller.zookeeper_core import Step
from quorate.controller.zookeeper_writes import (
    MAX_BYTES,
    MAX_OPS,
    KnownZnodes,
    Unwritable,
    check_room,
    multis,
)
from quorate.metadata.features import format_records
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import NOWHERE, MetadataImage
from quorate.metadata.records import (
    AnyDataRecord,
    ConfigRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions
from quorate.metadata.zookeeper.znodes import Check, Create, Delete, Op, SetData, Stat, Znode

FENCE = Check(paths.CONTROLLER_EPOCH, 7)
OPTIONS = WriteOptions(controller_epoch=7, entropy=bytes)
TOPIC = uuid.UUID(int=1000)


def known(*more: str) -> KnownZnodes:
    stat = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    every: set[str] = set()
    for path in (*paths.ALWAYS_THERE, *more):
        while path != "/":
            every.add(path)
            path = paths.parent(path)
    return KnownZnodes({path: Znode(path, None, stat) for path in every})


def step(before: MetadataImage, records: Iterable[AnyDataRecord]) -> Step:
    delta = MetadataDelta(before)
    delta.replay_all(records)
    return Step(before=before, after=delta.apply(NOWHERE), changes=delta.changes())


def topic(partitions: int, replicas: tuple[int, ...] = (1, 2)) -> list[AnyDataRecord]:
    rows = [
        PartitionRecord(
            version=1,
            partition_id=index,
            topic_id=TOPIC,
            replicas=replicas,
            isr=replicas,
            leader=replicas[0],
            leader_epoch=0,
            partition_epoch=0,
            directories=(uuid.UUID(int=0),) * len(replicas),
        )
        for index in range(partitions)
    ]
    return [TopicRecord(name="orders", topic_id=TOPIC), *rows]


def empty() -> MetadataImage:
    return step(MetadataImage.EMPTY, format_records()).after


def change(**fields: object) -> PartitionChangeRecord:
    return PartitionChangeRecord(version=1, partition_id=0, topic_id=TOPIC, **fields)  # type: ignore[arg-type]


def sent(steps: Iterable[Step], there: KnownZnodes) -> list[list[Op]]:
    return [*multis(steps, there, OPTIONS, FENCE)]


def test_each_multi_begins_with_the_fence_and_none_is_larger_than_servers_take() -> None:
    found = sent([step(empty(), topic(2_000))], known())

    assert len(found) > 1
    for ops in found:
        assert ops[0] == FENCE
        assert FENCE not in ops[1:]
        assert len(ops) <= MAX_OPS + 1
        assert sum(len(op.path) + len(getattr(op, "data", None) or b"") for op in ops) <= MAX_BYTES


def test_what_is_cut_is_a_topic_whose_states_are_missing_at_worst() -> None:
    paths_in_order = [op.path for ops in sent([step(empty(), topic(2_000))], known()) for op in ops[1:]]

    first = [paths.topic_config("orders"), paths.topic("orders"), paths.partitions("orders")]
    assert paths_in_order[:3] == first
    assert len(paths_in_order) == len(set(paths_in_order)) == 3 + 2 * 2_000


def test_several_operations_share_a_multi() -> None:
    one = step(empty(), topic(1))
    other = step(one.after, [ConfigRecord(resource_type=2, resource_name="orders", name="k", value="v")])
    (ops,) = sent([one, other], known())

    assert [type(op) for op in ops if op.path == paths.topic_config("orders")] == [Create, SetData]


def test_a_state_is_written_where_the_known_version_is_and_nowhere_else() -> None:
    made = step(empty(), topic(1))
    there = known()
    sent([made], there)
    shrunk = step(made.after, [change(isr=(1,))])
    (ops,) = sent([shrunk], there)
    again = step(shrunk.after, [change(isr=(1, 2))])
    (more,) = sent([again], there)

    assert [(op.path, op.version) for op in ops if isinstance(op, SetData)] == [(paths.state("orders", 0), 0)]
    assert [(op.path, op.version) for op in more if isinstance(op, SetData)] == [
        (paths.state("orders", 0), 1)
    ]


def test_a_change_of_replicas_alone_writes_the_state_too_since_the_epoch_is_its_version() -> None:
    made = step(empty(), topic(1))
    there = known()
    sent([made], there)
    moved = step(
        made.after, [change(replicas=(1, 2, 3), adding_replicas=(3,), directories=(uuid.UUID(int=0),) * 3)]
    )
    (ops,) = sent([moved], there)

    written = {op.path: op.version for op in ops if isinstance(op, SetData)}
    assert written == {paths.topic("orders"): -1, paths.state("orders", 0): 0}
    after = moved.after.topics.by_name("orders")
    partition = None if after is None else after.partition(0)
    assert partition is not None
    assert partition.partition_epoch == 1


def test_what_is_known_follows_what_was_written() -> None:
    there = known()
    made = step(empty(), topic(2))
    sent([made], there)
    assert paths.state("orders", 1) in there

    (ops,) = sent([step(made.after, [RemoveTopicRecord(topic_id=TOPIC)])], there)
    deleted = [op.path for op in ops if isinstance(op, Delete)]
    assert paths.topic("orders") not in there
    assert set(deleted) >= {paths.state("orders", 0), paths.partitions("orders"), paths.topic("orders")}
    for path in deleted:
        assert all(
            deleted.index(below) < deleted.index(path) for below in deleted if below.startswith(f"{path}/")
        )


def test_what_lies_there_unseen_is_removed_with_a_topic() -> None:
    """A stray znode of a partition that the assignment does not have: without it the topic could not be deleted."""
    made = step(empty(), topic(1))
    there = known()
    sent([made], there)
    there.apply([Create(paths.partition("orders", 9)), Create(paths.state("orders", 9))])
    (ops,) = sent([step(made.after, [RemoveTopicRecord(topic_id=TOPIC)])], there)

    assert {paths.partition("orders", 9), paths.state("orders", 9)} <= {op.path for op in ops}


def test_a_config_that_is_there_and_empty_is_set_and_not_created() -> None:
    setting = ConfigRecord(resource_type=4, resource_name="1", name="log.cleaner.threads", value="2")
    (ops,) = sent([step(empty(), [setting])], known(paths.broker_config("1")))

    assert [type(op) for op in ops if op.path == paths.broker_config("1")] == [SetData]


def test_a_znode_that_could_not_be_read_is_in_the_way_unless_it_goes_first() -> None:
    made = step(empty(), topic(1))
    with pytest.raises(Unwritable, match="is there already"):
        check_room([made], known(paths.topic("orders")))

    removed = step(made.after, [RemoveTopicRecord(topic_id=TOPIC)])
    check_room([removed, step(removed.after, topic(1))], known(paths.topic("orders")))


def test_what_no_server_would_take_is_not_sent() -> None:
    with pytest.raises(Unwritable, match="ZooKeeper takes no more than"):
        sent([step(empty(), topic(9_000, replicas=tuple(range(100_000, 100_020))))], known())
