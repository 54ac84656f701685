"""What is written for one change, operation by operation, and what is not."""

import uuid

import attrs
import pytest

from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyDataRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    TopicRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions, unwritable
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.kafka_znodes.writes import MOST_OPS, Write
from quorate.metadata.zookeeper.znodes import Create, Delete, ErrorCode, MultiFailed, SetData, Znode
from tests.metadata.kafka_znodes.applying import announced, carried_out, multi, new_cluster
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.test_writer_real import OPTIONS
from tests.metadata.kafka_znodes.trees import made

T = uuid.UUID(int=0x1000)
TOPIC_DATA = (
    b'{"partitions":{"0":[1,2]},"topic_id":"AAAAAAAAAAAAAAAAAAAQAA","adding_replicas":{},"removing_replicas":{},'
    b'"version":3}'
)
TOPIC = TopicRecord(name="t", topic_id=T)


def _partition(index: int = 0, **fields: object) -> PartitionRecord:
    given = {
        "partition_id": index,
        "topic_id": T,
        "replicas": (1, 2),
        "isr": (1, 2),
        "leader": 1,
        "leader_epoch": 0,
        "partition_epoch": 0,
        **fields,
    }
    return PartitionRecord(**given)  # type: ignore[arg-type]


def _image(*records: AnyDataRecord, on: MetadataImage = MetadataImage.EMPTY) -> MetadataImage:
    delta = MetadataDelta(on)
    delta.replay_all(records)
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))


def _change(before: MetadataImage, *records: AnyDataRecord) -> list[Write]:
    delta = MetadataDelta(before)
    delta.replay_all(records)
    after = delta.apply(Provenance(offset=1, epoch=1, append_time_ms=0))
    return list(writes(before, after, OPTIONS, delta.changes()))


def _holding(image: MetadataImage) -> dict[str, Znode]:
    return carried_out(new_cluster(), writes(MetadataImage.EMPTY, image, OPTIONS))


def _quota(entity: dict[str, str | None], key: str, value: float | None) -> ClientQuotaRecord:
    parts = tuple(QuotaEntity(entity_type=kind, entity_name=name) for kind, name in entity.items())
    return ClientQuotaRecord(entity=parts, key=key, value=value or 0.0, remove=value is None)


def _scram(user: str) -> UserScramCredentialRecord:
    return UserScramCredentialRecord(
        name=user, mechanism=1, salt=b"msalt", stored_key=b"sk", server_key=b"sv", iterations=4096
    )


def _acl(number: int = 1, principal: str = "User:a", **fields: object) -> AccessControlEntryRecord:
    given = {
        "id": uuid.UUID(int=number),
        "resource_type": 2,
        "resource_name": "t",
        "pattern_type": 3,
        "principal": principal,
        "host": "*",
        "operation": 3,
        "permission_type": 3,
        **fields,
    }
    return AccessControlEntryRecord(**given)  # type: ignore[arg-type]


# ---- topics


def test_a_topic_is_made_in_one_multi_configs_first() -> None:
    config = ConfigRecord(resource_type=2, resource_name="t", name="retention.ms", value="1")

    (write,) = _change(MetadataImage.EMPTY, TOPIC, config, _partition())

    assert [(type(op).__name__, op.path) for op in write.ops] == [
        ("Create", "/config/topics/t"),
        ("Create", "/brokers/topics/t"),
        ("Create", "/brokers/topics/t/partitions"),
        ("Create", "/brokers/topics/t/partitions/0"),
        ("Create", "/brokers/topics/t/partitions/0/state"),
    ]
    assert [op.data for op in write.ops if isinstance(op, Create)] == [
        b'{"version":1,"config":{"retention.ms":"1"}}',
        TOPIC_DATA,
        None,
        None,
        b'{"controller_epoch":60,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}',
    ]
    assert not write.is_idempotent


def test_states_carry_the_claimed_epoch_of_zookeeper() -> None:
    before = _image(TOPIC, _partition())
    change = PartitionChangeRecord(partition_id=0, topic_id=T, leader=2, isr=(2,))

    (write,) = _change(before, change)

    (op,) = write.ops
    assert op == SetData(
        "/brokers/topics/t/partitions/0/state",
        b'{"controller_epoch":60,"leader":2,"version":1,"leader_epoch":1,"isr":[2]}',
    )
    assert write.is_idempotent


def test_a_change_that_zookeeper_cannot_see_is_not_written() -> None:
    before = _image(TOPIC, _partition())
    directories = (uuid.UUID(int=0x2000), uuid.UUID(int=0x2001))

    assert (
        _change(before, PartitionChangeRecord(version=1, partition_id=0, topic_id=T, directories=directories))
        == []
    )
    assert _change(before, FeatureLevelRecord(name="metadata.version", feature_level=21)) == []


def test_an_assignment_comes_before_new_partitions() -> None:
    before = _image(TOPIC, _partition())

    made = _change(before, _partition(1), PartitionChangeRecord(partition_id=0, topic_id=T, isr=(1,)))

    assert [(write.category.value, op.path) for write in made for op in write.ops] == [
        ("topics", "/brokers/topics/t"),
        ("partitions", "/brokers/topics/t/partitions/0/state"),
        ("partitions", "/brokers/topics/t/partitions/1"),
        ("partitions", "/brokers/topics/t/partitions/1/state"),
    ]


def test_a_running_reassignment_stands_in_the_topics_znode() -> None:
    before = _image(TOPIC, _partition())
    change = PartitionChangeRecord(
        partition_id=0, topic_id=T, replicas=(3, 1, 2), adding_replicas=(3,), removing_replicas=(1,)
    )

    topic, *_ = _change(before, change)

    (op,) = topic.ops
    assert isinstance(op, SetData)
    assert op.data is not None
    assert b'"partitions":{"0":[3,1,2]}' in op.data
    assert b'"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}' in op.data


def test_a_topic_is_taken_away_with_its_configs_children_first() -> None:
    before = _image(TOPIC, _partition())

    (write,) = _change(before, RemoveTopicRecord(topic_id=T))

    assert [op.path for op in write.ops] == [
        "/brokers/topics/t/partitions/0/state",
        "/brokers/topics/t/partitions/0",
        "/brokers/topics/t/partitions",
        "/brokers/topics/t",
        "/config/topics/t",
    ]
    assert all(isinstance(op, Delete) for op in write.ops)
    assert "/brokers/topics/t" in write.removes


def test_a_name_that_comes_back_is_deleted_first() -> None:
    before = _image(TOPIC, _partition())
    again = TopicRecord(name="t", topic_id=uuid.UUID(int=0x1001))

    first, second = _change(before, RemoveTopicRecord(topic_id=T), again)

    assert {type(op) for op in first.ops} == {Delete}
    assert {type(op) for op in second.ops} == {Create}
    carried_out(_holding(before), [first, second])


def test_a_very_large_topic_is_made_and_taken_away_in_pieces() -> None:
    image = _image(TOPIC, *(_partition(i) for i in range(1000)))

    made = list(writes(MetadataImage.EMPTY, image, OPTIONS))
    gone = list(writes(image, MetadataImage.EMPTY, OPTIONS))

    assert [len(write.ops) <= MOST_OPS for write in made + gone] == [True] * (len(made) + len(gone))
    assert len(made) == len(gone) == 5
    tree = carried_out(carried_out(new_cluster(), made), gone)
    assert [path for path in tree if path.startswith("/brokers/topics/")] == []


# ---- configs, quotas, credentials


def test_a_notification_is_in_the_multi_of_what_it_announces() -> None:
    before = _image(TOPIC)
    (topic,) = _change(before, ConfigRecord(resource_type=2, resource_name="t", name="a", value="1"))
    (broker,) = _change(before, ConfigRecord(resource_type=4, resource_name="", name="a", value="1"))

    assert topic.ops == (
        SetData("/config/topics/t", b'{"version":1,"config":{"a":"1"}}'),
        Create("/config/changes/config_change_", b'{"version":2,"entity_path":"topics/t"}', sequential=True),
    )
    assert [op.path for op in broker.ops] == ["/config/brokers/<default>", "/config/changes/config_change_"]


def test_configs_of_a_topic_or_broker_that_are_gone_leave_an_empty_node() -> None:
    records = [
        ConfigRecord(resource_type=k, resource_name=n, name="a", value="1") for k, n in ((2, "t"), (4, "7"))
    ]
    before = _image(TOPIC, *records)
    gone = [
        ConfigRecord(resource_type=k, resource_name=n, name="a", value=None) for k, n in ((2, "t"), (4, "7"))
    ]

    tree = carried_out(_holding(before), _change(before, *gone))

    assert tree["/config/topics/t"].data == tree["/config/brokers/7"].data == b'{"version":1,"config":{}}'


def test_a_password_is_never_written_in_clear_text() -> None:
    record = ConfigRecord(resource_type=4, resource_name="1", name="ssl.key.password", value="geheim")
    without = WriteOptions(controller_epoch=60, entropy=entropy())

    for options in (OPTIONS, without):
        for write in writes(MetadataImage.EMPTY, _image(record), options):
            assert "geheim" not in str(write)
    assert [u.words for u in unwritable(_image(record), with_secret=False)] == [
        "the password ssl.key.password: no password.encoder.secret was given"
    ]


def test_quotas_and_credentials_of_a_user_are_written_together() -> None:
    before = _image(_scram("a"), _quota({"user": "a"}, "producer_byte_rate", 1.0))

    (write,) = _change(before, _quota({"user": "a"}, "producer_byte_rate", 2.0))

    op = write.ops[0]
    assert isinstance(op, SetData)
    assert op.data == (
        b'{"version":1,"config":{"SCRAM-SHA-256":"salt=bXNhbHQ=,stored_key=c2s=,server_key=c3Y=,iterations=4096",'
        b'"producer_byte_rate":"2"}}'
    )


@pytest.mark.parametrize(
    ("there", "gone", "left"),
    [
        ([{"user": "a"}], {"user": "a"}, []),
        ([{"user": "a", "client-id": "c"}], {"user": "a", "client-id": "c"}, []),
        (
            [{"user": "a"}, {"user": "a", "client-id": "c"}],
            {"user": "a", "client-id": "c"},
            ["/config/users/a"],
        ),
        (
            [{"user": "a"}, {"user": "a", "client-id": "c"}],
            {"user": "a"},
            ["/config/users/a", "/config/users/a/clients", "/config/users/a/clients/c"],
        ),
        (
            [{"user": "a", "client-id": "c"}, {"user": "a", "client-id": None}],
            {"user": "a", "client-id": None},
            ["/config/users/a", "/config/users/a/clients", "/config/users/a/clients/c"],
        ),
        ([{"user": None}], {"user": None}, []),
        ([{"client-id": "c"}], {"client-id": "c"}, []),
    ],
)
def test_empty_nodes_of_clients_are_pruned_upward(
    there: list[dict[str, str | None]], gone: dict[str, str | None], left: list[str]
) -> None:
    before = _image(*(_quota(entity, "producer_byte_rate", 1.0) for entity in there))
    removal = _quota(gone, "producer_byte_rate", None)
    tree = _holding(before)

    by_delta = carried_out(tree, _change(before, removal))
    by_reconcile = carried_out(tree, reconcile(tree, _image(removal, on=before), OPTIONS))

    for after in (by_delta, by_reconcile):
        assert sorted(p for p in after if p.startswith(("/config/users/", "/config/clients/"))) == left
        assert len(announced(after)) == len(announced(tree)) + 1


def test_producer_ids_are_the_block_that_was_given_last() -> None:
    def block(following: int) -> bytes | None:
        record = ProducerIdsRecord(broker_id=1, broker_epoch=1, next_producer_id=following)  # type: ignore[arg-type]
        (write,) = _change(MetadataImage.EMPTY, record)
        (op,) = write.ops
        assert isinstance(op, SetData)
        return op.data

    assert block(6000) == b'{"version":1,"broker":-1,"block_start":"5000","block_end":"5999"}'
    assert block(7) == b'{"version":1,"broker":-1,"block_start":"0","block_end":"6"}'
    assert block(0) is None


# ---- ACLs and tokens


def test_all_acls_of_a_resource_are_one_node() -> None:
    before = _image(_acl(1))

    (added,) = _change(before, _acl(2, "User:b"))
    (gone,) = _change(before, RemoveAccessControlEntryRecord(id=uuid.UUID(int=1)))

    assert isinstance(added.ops[0], SetData)
    assert (added.ops[0].data or b"").count(b"principal") == 2
    assert added.ops[1] == Create("/kafka-acl-changes/acl_changes_", b"TOPIC:t", sequential=True)
    assert gone.ops[0] == Delete("/kafka-acl/Topic/t")
    assert isinstance(gone.ops[1], Create)


def test_a_prefix_is_announced_in_its_own_form() -> None:
    (write,) = _change(MetadataImage.EMPTY, _acl(pattern_type=4, resource_type=5, resource_name="tx-"))

    assert [op.path for op in write.ops] == [
        "/kafka-acl-extended/prefixed/TransactionalId/tx-",
        "/kafka-acl-extended-changes/acl_changes_",
    ]
    assert write.ops[1].data == (  # type: ignore[union-attr]
        b'{"version":1,"resourceType":"TRANSACTIONAL_ID","name":"tx-","patternType":"PREFIXED"}'
    )


def test_tokens_are_announced_too() -> None:
    token = DelegationTokenRecord(
        owner="User:a",
        requester="User:a",
        renewers=(),
        issue_timestamp=1,
        max_timestamp=3,
        expiration_timestamp=2,
        token_id="t",
    )
    before = _image(token)

    (made,) = _change(MetadataImage.EMPTY, token)
    (gone,) = _change(before, RemoveDelegationTokenRecord(token_id="t"))

    assert made.ops[1] == Create("/delegation_token/token_changes/token_change_", b"t", sequential=True)
    assert gone.ops[0] == Delete("/delegation_token/tokens/t")


# ---- what ZooKeeper has no form for


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            ConfigRecord(resource_type=16, resource_name="m", name="a", value="1"),
            "configs of resources of type 16",
        ),
        (
            ConfigRecord(resource_type=32, resource_name="g", name="a", value="1"),
            "configs of resources of type 32",
        ),
        (ConfigRecord(resource_type=2, resource_name="gone", name="a", value="1"), "does not exist"),
        (FeatureLevelRecord(name="group.version", feature_level=1), "level of the feature"),
        (_acl(resource_name="a/b"), "slash"),
        (_acl(resource_name=""), "empty name"),
        (_acl(pattern_type=2), "pattern"),
        (_quota({"user": ".."}, "producer_byte_rate", 1.0), "'..'"),
        (_quota({"user": ""}, "producer_byte_rate", 1.0), "empty name"),
        (_quota({"ip": "1.2.3.4", "user": "a"}, "producer_byte_rate", 1.0), "ip and user"),
        (_quota({"user": "a"}, "producer_byte_rate", 0.5), "whole number"),
        (_quota({"user": "a"}, "no_such_quota", 0.5), "no quota"),
        (_scram("."), "'.'"),
    ],
)
def test_what_has_no_form_is_said_and_not_written(record: AnyDataRecord, words: str) -> None:
    image = _image(record)

    (told,) = unwritable(image, with_secret=True)

    assert words in told.words
    assert list(writes(MetadataImage.EMPTY, image, OPTIONS)) == []
    assert list(reconcile(new_cluster(), image, OPTIONS)) == []


def test_directories_and_eligible_leaders_are_told_by_topic() -> None:
    told = unwritable(
        _image(
            TOPIC,
            _partition(
                version=2,
                directories=(uuid.UUID(int=0x2000), uuid.UUID(int=0)),
                eligible_leader_replicas=(2,),
            ),
        ),
        with_secret=True,
    )

    assert [one.about for one in told] == ["topic t", "topic t"]


# ---- operations for what is really there


def test_a_write_is_resolved_against_what_is_really_there() -> None:
    before = _image(TOPIC, _partition())
    (write,) = _change(before, PartitionChangeRecord(partition_id=0, topic_id=T, leader=2))
    tree = new_cluster()
    with pytest.raises(MultiFailed) as caught:
        multi(tree, write.ops)
    assert caught.value.code is ErrorCode.NO_NODE

    resolved = write.resolved(tree)

    assert [op.path for op in resolved.ops] == [
        "/brokers/topics/t",
        "/brokers/topics/t/partitions",
        "/brokers/topics/t/partitions/0",
        "/brokers/topics/t/partitions/0/state",
    ]
    assert not write.is_done(tree)
    assert write.is_done(multi(tree, resolved.ops))


def test_a_removal_takes_what_nobody_knew_of() -> None:
    before = _image(TOPIC, _partition())
    (write,) = _change(before, RemoveTopicRecord(topic_id=T))
    tree = dict(
        made({"/brokers/topics/t/partitions/0/state": "{}", "/brokers/topics/t/partitions/9/x/y": None})
    )

    left = multi(tree, write.resolved(tree).ops)

    assert sorted(left) == ["/", "/brokers", "/brokers/topics"]
    assert write.is_done(left)
    assert write.resolved(left).ops == ()


# ---- reconciling


def test_pending_deletions_and_strange_topics_go() -> None:
    tree = _holding(_image(TOPIC, _partition()))
    tree |= made(
        {**{p: n.data for p, n in tree.items()}, "/admin/delete_topics/x": None, "/brokers/topics/x": "{}"}
    )

    after = carried_out(tree, reconcile(tree, _image(TOPIC, _partition()), OPTIONS))

    assert "/admin/delete_topics" in after
    assert not any(path.endswith("/x") for path in after)


def test_a_topic_without_an_id_gets_it_and_keeps_its_partitions() -> None:
    image = _image(TOPIC, _partition())
    tree = _holding(image)
    old = b'{"version":3,"partitions":{"0":[1,2]},"adding_replicas":{},"removing_replicas":{}}'
    tree["/brokers/topics/t"] = Znode("/brokers/topics/t", old, tree["/brokers/topics/t"].stat)

    (write,) = reconcile(tree, image, OPTIONS)

    assert [type(op) for op in write.ops] == [SetData]


def test_a_topic_that_has_the_same_name_and_another_id_is_made_anew() -> None:
    """Its partitions are other partitions: what brokers hold of the old one must go (KAFKA-16180)."""
    tree = _holding(_image(TOPIC, _partition(), _partition(1)))
    again = uuid.UUID(int=0x1001)
    image = _image(TopicRecord(name="t", topic_id=again), attrs.evolve(_partition(), topic_id=again))

    gone, come = reconcile(tree, image, OPTIONS)

    assert {type(op) for op in gone.ops} == {Delete}
    assert {type(op) for op in come.ops} == {Create}
    assert "/brokers/topics/t/partitions/1" not in carried_out(tree, [gone, come])


def test_a_state_of_a_later_controller_is_written_anew() -> None:
    """KAFKA-20488: no broker could lead it after the way back."""
    image = _image(TOPIC, _partition())
    path = "/brokers/topics/t/partitions/0/state"
    for epoch, rewritten in ((59, False), (60, False), (61, True)):
        tree = _holding(image)
        data = b'{"controller_epoch":%d,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}' % epoch
        tree[path] = Znode(path, data, tree[path].stat)
        assert [op.path for w in reconcile(tree, image, OPTIONS) for op in w.ops] == (
            [path] if rewritten else []
        )


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (
            "/brokers/topics/t/partitions/0/state",
            '{"isr":[1, 2],"version":1,"controller_epoch":5,"leader":1,"leader_epoch":0}',
        ),
        (
            "/brokers/topics/t",
            '{"version":1,"partitions":{"0":[1,2]},"topic_id":"AAAAAAAAAAAAAAAAAAAQAA","adding_replicas":{"0":[]}}',
        ),
        ("/config/users/a", '{"config":{"producer_byte_rate":"1E0"},"version":1}'),
        ("/latest_producer_id_block", '{"version":1,"broker":7,"block_start":"0","block_end":"5999"}'),
        (
            "/kafka-acl/Topic/t",
            '{"version":1,"acls":[{"operation":"READ","host":"*","principal":"User:a","permissionType":"allow"}]}',
        ),
    ],
)
def test_what_says_the_same_in_other_words_is_left_alone(path: str, data: str) -> None:
    records = [TOPIC, _partition(), _quota({"user": "a"}, "producer_byte_rate", 1.0), _acl()]
    following = ProducerIdsRecord(broker_id=1, broker_epoch=1, next_producer_id=6000)  # type: ignore[arg-type]
    image = _image(*records, following)
    tree = _holding(image)
    assert tree[path].data != data.encode()
    tree[path] = Znode(path, data.encode(), tree[path].stat)

    assert list(reconcile(tree, image, OPTIONS)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/brokers/topics/t/partitions/0/state",
        "/brokers/topics/t",
        "/config/topics/t",
        "/config/users/a",
        "/config/brokers/1",
        "/latest_producer_id_block",
        "/kafka-acl/Topic/t",
        "/delegation_token/tokens/t",
    ],
)
@pytest.mark.parametrize("data", [b"{", b"", b"[]"])
def test_what_means_nothing_is_written_anew(path: str, data: bytes) -> None:
    records = [TOPIC, _partition(), _quota({"user": "a"}, "producer_byte_rate", 1.0), _acl()]
    records += [
        ConfigRecord(resource_type=k, resource_name=n, name="a", value="1") for k, n in ((2, "t"), (4, "1"))
    ]
    token = DelegationTokenRecord(
        owner="User:a", requester="User:a", renewers=(), issue_timestamp=1, max_timestamp=3, expiration_timestamp=2,
        token_id="t",
    )  # fmt: skip
    following = ProducerIdsRecord(broker_id=1, broker_epoch=1, next_producer_id=6000)  # type: ignore[arg-type]
    image = _image(*records, token, following)
    tree = _holding(image)
    wanted = tree[path].data
    tree[path] = Znode(path, data, tree[path].stat)

    (write,) = reconcile(tree, image, OPTIONS)

    assert write.paths == (path,)
    assert multi(tree, write.ops)[path].data == wanted


def test_partitions_that_the_image_does_not_have_go() -> None:
    image = _image(TOPIC, _partition())
    tree = carried_out(_holding(image), _change(image, _partition(1)))

    after = carried_out(tree, reconcile(tree, image, OPTIONS))

    assert sorted(p for p in after if p.startswith("/brokers/topics/t/partitions/")) == [
        "/brokers/topics/t/partitions/0",
        "/brokers/topics/t/partitions/0/state",
    ]


def test_orphan_configs_go_unless_they_are_empty() -> None:
    tree = new_cluster()
    more = {
        f"/config/topics/{n}": f'{{"version":1,"config":{c}}}'
        for n, c in (("empty", "{}"), ("full", '{"a":"1"}'))
    }
    tree |= made({**{path: node.data for path, node in tree.items()}, **more})

    (write,) = reconcile(tree, MetadataImage.EMPTY, OPTIONS)

    assert write.removes == ("/config/topics/full",)
