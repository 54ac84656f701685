"""Trees with something wrong in them: what is copied all the same, and what is said about it."""

import pytest

from quorate.metadata.ids import uuid_from_text
from quorate.metadata.records import (
    ConfigRecord,
    PartitionRecord,
    TopicRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity
from tests.metadata.kafka_znodes.edges import found, of, read_with
from tests.metadata.kafka_znodes.trees import ORDERS, ORDERS_ID, STATE, Content, healthy_and

OTHER_ID = "AAAAAAAAAAAAAAAAAAABAA"
TOPIC = f'{{"version":3,"partitions":{{"0":[1,2]}},"topic_id":"{OTHER_ID}"}}'
HEALTHY_STATE = '{"version":1,"leader":1,"leader_epoch":0,"controller_epoch":57,"isr":[1,2]}'


def _topic(name: str, assignment: str, *states: str | None) -> Content:
    """A topic whose partitions have these states."""
    made: dict[str, str | None] = {
        f"/brokers/topics/{name}": f'{{"version":3,{assignment},"topic_id":"{OTHER_ID}"}}'
    }
    for index, state in enumerate(states):
        if state is not None:
            made[f"/brokers/topics/{name}/partitions/{index}/state"] = state
    return made


def test_the_healthy_tree_has_no_trouble() -> None:
    reading = read_with({})

    assert found(reading) == []
    assert [t.code for t in reading.troubles] == ["reassigning"]
    (partition,) = of(reading, PartitionRecord)
    assert isinstance(partition, PartitionRecord)
    assert partition.partition_epoch == 31
    assert (partition.adding_replicas, partition.removing_replicas) == ((4,), (1,))


# ---- topics


def test_a_topic_that_is_being_deleted_is_not_copied() -> None:
    reading = read_with({"/admin/delete_topics/orders": None, "/admin/delete_topics/nobody": None})

    assert reading.pending_deletions == ("orders",)
    assert of(reading, TopicRecord) == []
    assert of(reading, ConfigRecord) == []
    assert found(reading) == [
        ("note", "stale-deletion", "/admin/delete_topics/nobody"),
        ("note", "pending-deletion", "/admin/delete_topics/orders"),
    ]


def test_a_topic_without_an_id_blocks() -> None:
    more: Content = {"/brokers/topics/old": '{"version":3,"partitions":{"0":[1]}}'}

    strict = read_with(more)
    lenient = read_with(more, lenient=frozenset({Category.TOPICS}))

    assert found(strict) == [("blocker", "no-topic-id", "/brokers/topics/old")]
    assert found(lenient) == [("warning", "no-topic-id", "/brokers/topics/old")]
    assert [r.name for r in of(lenient, TopicRecord) if isinstance(r, TopicRecord)] == ["orders"]


@pytest.mark.parametrize(
    ("topic_id", "code"), [(ORDERS_ID, "duplicate-topic-id"), ("AAAAAAAAAAAAAAAAAAAAAQ", "reserved-topic-id")]
)
def test_an_id_that_nobody_else_may_have(topic_id: str, code: str) -> None:
    reading = read_with({"/brokers/topics/other": f'{{"partitions":{{}},"topic_id":"{topic_id}"}}'})

    assert [one[1] for one in found(reading) if one[0] == "blocker"] == [code]


@pytest.mark.parametrize(
    ("data", "code"),
    [(None, "no-data"), ("", "not-json"), ("{", "not-json"), ('{"partitions":7}', "wrong-type")],
)
def test_an_undecodable_topic_blocks(data: str | None, code: str) -> None:
    assert found(read_with({"/brokers/topics/broken": data})) == [("blocker", code, "/brokers/topics/broken")]


def test_all_troubles_are_collected() -> None:
    reading = read_with({f"/brokers/topics/t{i}": "{" for i in range(7)})

    assert len(reading.of(Severity.BLOCKER)) == 7


def test_topic_znodes_of_older_versions() -> None:
    more: Content = {
        "/brokers/topics/v1": f'{{"version":1,"partitions":{{"0":[1,2]}},"topic_id":"{OTHER_ID}"}}',
        "/brokers/topics/v1/partitions/0/state": HEALTHY_STATE,
    }

    reading = read_with(more)

    assert found(reading) == []
    (record,) = (
        r for r in of(reading, PartitionRecord) if isinstance(r, PartitionRecord) and r.replicas == (1, 2)
    )
    assert (record.adding_replicas, record.removing_replicas) == ((), ())


def test_no_topics_at_all() -> None:
    reading = read_with({}, "/brokers/topics/orders", "/config/topics/orders")

    assert found(reading) == []
    assert of(reading, TopicRecord) == []


@pytest.mark.parametrize(
    ("assignment", "states", "expected"),
    [
        ('"partitions":{}', 0, ["no-partitions"]),
        ('"partitions":{"0":[1],"2":[1]}', 0, ["no-state", "no-state", "partition-holes"]),
        ('"partitions":{"1000000":[1]}', 0, ["no-state", "partition-number"]),
        ('"partitions":{"0":[1,2]},"adding_replicas":{"5":[1]}', 1, ["stray-reassignment"]),
        ('"partitions":{"0":[1,2]},"removing_replicas":{"0":[3]}', 1, ["stray-reassignment"]),
        ('"partitions":{"0":[1,2]}', 2, ["extra-partition"]),
    ],
)
def test_odd_assignments(assignment: str, states: int, expected: list[str]) -> None:
    reading = read_with(_topic("odd", assignment, *[HEALTHY_STATE] * states))

    assert sorted(code for _, code, _ in found(reading)) == expected
    blocked = [trouble.code for trouble in reading.of(Severity.BLOCKER)]
    assert blocked == [code for code in expected if code == "partition-number"]


def test_two_names_that_collide_in_metrics_are_two_topics() -> None:
    more: Content = {
        "/brokers/topics/a.b": TOPIC,
        "/brokers/topics/a.b/partitions/0/state": HEALTHY_STATE,
        "/brokers/topics/a_b": TOPIC.replace(OTHER_ID, "AAAAAAAAAAAAAAAAAAACAA"),
        "/brokers/topics/a_b/partitions/0/state": HEALTHY_STATE,
    }

    reading = read_with(more)

    assert found(reading) == []
    assert len(of(reading, TopicRecord)) == 3


# ---- partitions


@pytest.mark.parametrize("more", [{}, {"/brokers/topics/fresh/partitions/0": None}])
def test_a_half_born_topic_is_taken_as_kafkas_copy_takes_it(more: dict[str, None]) -> None:
    reading = read_with({"/brokers/topics/fresh": TOPIC.replace("[1,2]", "[3,1]"), **more})

    assert reading.defaulted == (("fresh", 0),)
    assert found(reading) == [("warning", "no-state", "/brokers/topics/fresh/partitions/0/state")]
    (record,) = (
        r
        for r in of(reading, PartitionRecord)
        if isinstance(r, PartitionRecord) and r.topic_id == uuid_from_text(OTHER_ID)
    )
    assert (record.replicas, record.isr, record.leader) == ((3, 1), (3, 1), 3)
    assert (record.leader_epoch, record.partition_epoch) == (0, 0)


def _state(**fields: object) -> str:
    text = {"leader": 1, "leader_epoch": 0, "controller_epoch": 57, "isr": [1, 2], **fields}
    members = ",".join(f'"{name}":{str(value).replace(" ", "")}' for name, value in text.items())
    return f'{{"version":1,{members}}}'


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (_state(leader=-1), [("warning", "leaderless")]),
        (_state(leader=-2), [("warning", "wrong-leader")]),
        (_state(leader=3), [("warning", "wrong-leader")]),
        (_state(isr=[2]), [("warning", "leader-not-in-isr")]),
        (_state(isr=[], leader=-1), [("warning", "empty-isr"), ("warning", "leaderless")]),
        (_state(isr=[1, 3]), [("warning", "stray-isr")]),
        (_state(controller_epoch=58), [("warning", "future-controller-epoch")]),
        (_state(leader_epoch=2**31 - 2), [("warning", "epoch-nearly-used-up")]),
        (_state(leader_recovery_state=1), [("note", "recovering")]),
        (_state(leader_recovery_state=9), [("blocker", "wrong-value"), ("warning", "no-state")]),
        (_state(leader_epoch=2**31), [("blocker", "wrong-type"), ("warning", "no-state")]),
        ("{", [("blocker", "not-json"), ("warning", "no-state")]),
    ],
)
def test_odd_states(state: str, expected: list[tuple[str, str]]) -> None:
    reading = read_with(_topic("odd", '"partitions":{"0":[1,2]}', state))

    assert sorted((severity, code) for severity, code, _ in found(reading)) == sorted(expected)
    if ("note", "recovering") in expected:
        records = [r for r in of(reading, PartitionRecord) if isinstance(r, PartitionRecord)]
        assert [r.leader_recovery_state for r in records] == [1, 0]


@pytest.mark.parametrize(("replicas", "code"), [("[]", "no-replicas"), ("[1,1]", "double-replica")])
def test_odd_replicas(replicas: str, code: str) -> None:
    reading = read_with(_topic("odd", f'"partitions":{{"0":{replicas}}}', _state(isr=[1])))

    assert code in [one[1] for one in found(reading)]


def test_an_undecodable_state_of_a_lenient_category_is_none() -> None:
    more = _topic("odd", '"partitions":{"0":[1,2]}', "{")

    reading = read_with(more, lenient=frozenset({Category.PARTITIONS}))

    assert [(s, c) for s, c, _ in found(reading)] == [("warning", "no-state"), ("warning", "not-json")]
    assert reading.defaulted == (("odd", 0),)


def test_the_epoch_of_a_partition_is_the_version_of_its_state() -> None:
    path = "/brokers/topics/orders/partitions/0/state"

    (record,) = of(read_with({path: (STATE, 2**31 - 1)}), PartitionRecord)

    assert isinstance(record, PartitionRecord)
    assert record.partition_epoch == 2**31 - 1


# ---- the cluster


def test_dead_brokers_are_named_with_what_they_hold() -> None:
    reading = read_with({}, "/brokers/ids/3", "/brokers/ids/4")

    assert found(reading) == [
        ("warning", "missing-broker", "/brokers/ids/3"),
        ("warning", "missing-broker", "/brokers/ids/4"),
    ]
    assert reading.assigned == {1: 1, 2: 1, 3: 1, 4: 1}
    assert sorted(reading.brokers) == [1, 2]


def test_brokers_that_mean_nothing() -> None:
    reading = read_with({"/brokers/ids/x": "{}", "/brokers/ids/9": "{}"})

    assert found(reading) == [
        ("blocker", "missing-member", "/brokers/ids/9"),
        ("blocker", "malformed-name", "/brokers/ids/x"),
    ]
    assert reading.brokers[9].znode is None


def test_the_epoch_of_a_broker_is_its_czxid() -> None:
    tree = healthy_and({})

    reading = read(tree, ReadOptions())

    assert reading.brokers[3].epoch == tree["/brokers/ids/3"].stat.czxid


@pytest.mark.parametrize("path", ["/cluster/id", "/controller_epoch"])
def test_what_every_cluster_has(path: str) -> None:
    assert found(read_with({}, path)) == [("blocker", "no-znode", path)]
    assert [(s, p) for s, _, p in found(read_with({path: "{"}))] == [("blocker", path)]


def test_no_controller_is_nothing_to_worry_about() -> None:
    reading = read_with({}, "/controller")

    assert found(reading) == []
    assert reading.controller is None


def test_leftovers_of_an_earlier_attempt() -> None:
    more: Content = {
        "/controller": '{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":4}',
        "/migration": '{"version":0,"kraft_controller_id":3000,"kraft_controller_epoch":4,'
        '"kraft_metadata_offset":812,"kraft_metadata_epoch":4}',
    }

    reading = read_with(more)

    assert found(reading) == [
        ("warning", "foreign-controller", "/controller"),
        ("warning", "already-copied", "/migration"),
    ]
    assert not reading.controller_is_ephemeral
    assert reading.migration is not None
    assert reading.migration.offset == 812


@pytest.mark.parametrize("data", [None, "", '{"version":1}'])
def test_a_migration_znode_that_means_nothing(data: str | None) -> None:
    """KAFKA-19480: null data there made Kafka's driver loop for ever."""
    assert [(s, p) for s, _, p in found(read_with({"/migration": data}))] == [("blocker", "/migration")]


def test_requests_that_nobody_took_up() -> None:
    more: Content = {
        "/admin/reassign_partitions": '{"version":1,"partitions":[]}',
        "/admin/preferred_replica_election": "{",
    }

    assert found(read_with(more)) == [
        ("warning", "request-dropped", "/admin/preferred_replica_election"),
        ("warning", "request-dropped", "/admin/reassign_partitions"),
    ]


def test_a_znode_that_is_too_large_for_zookeeper() -> None:
    assert found(read_with({"/consumers/huge": b"x" * 1_048_577})) == [
        ("warning", "oversized", "/consumers/huge")
    ]


def test_the_healthy_topic_is_what_it_is() -> None:
    """The healthy tree is the ground of all others here: it must not be healthy for nothing."""
    assert ORDERS_ID in ORDERS
    (topic,) = of(read_with({}), TopicRecord)
    assert topic == TopicRecord(name="orders", topic_id=uuid_from_text(ORDERS_ID))
