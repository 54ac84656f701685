"""Reader after writer is the identity, up to what ZooKeeper cannot say."""

import uuid
from collections.abc import Iterable
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyDataRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    TopicRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.layout import unwritable
from quorate.metadata.zookeeper.kafka_znodes.reconcile import reconcile
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.znodes import Tree
from tests.metadata.kafka_znodes.applying import carried_out, new_cluster
from tests.metadata.kafka_znodes.test_writer_real import OPTIONS, image_of, without_epochs

NAMES = ["a", "<default>", "ü/x", "100%", "%2F", "*", "+ ~", "b'\""]
_BROKERS = st.integers(0, 3)
_REPLICAS = st.lists(_BROKERS, max_size=3, unique=True).map(tuple)
_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def topics(draw: Any) -> list[AnyDataRecord]:
    """Some of four topics, with the same ids or others."""
    records: list[AnyDataRecord] = []
    for number, name in enumerate(["t", "t.x", "t_x", "..."]):
        if not draw(st.booleans()):
            continue
        indexes = draw(st.sets(st.integers(0, 70), max_size=3))
        # The same partitions, the same topic: partitions are never taken away from one.
        topic_id = uuid.UUID(int=0x1000 + number + sum(1 << (50 + i) for i in indexes))
        records.append(TopicRecord(name=name, topic_id=topic_id))
        records += draw(_configs(2, name, ["retention.ms", "no.such=key"]))
        records += [draw(_partition(topic_id, index)) for index in indexes]
    return records


@st.composite
def _configs(draw: Any, kind: int, name: str, keys: list[str]) -> list[AnyDataRecord]:
    chosen = draw(st.sets(st.sampled_from(keys)))
    return [ConfigRecord(resource_type=kind, resource_name=name, name=k, value=draw(_VALUES)) for k in chosen]


@st.composite
def _partition(draw: Any, topic_id: uuid.UUID, index: int) -> PartitionRecord:
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=draw(_REPLICAS),
        isr=draw(_REPLICAS),
        adding_replicas=draw(_REPLICAS),
        removing_replicas=draw(_REPLICAS),
        leader=draw(st.integers(-1, 3)),
        leader_epoch=draw(st.integers(0, 3)),
        leader_recovery_state=draw(st.integers(0, 1)),
        partition_epoch=draw(st.integers(0, 3)),
    )


@st.composite
def clients(draw: Any) -> list[AnyDataRecord]:
    """Quotas of every kind of entity, and credentials."""
    found: dict[Any, AnyDataRecord] = {}
    name = st.sampled_from(NAMES)
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([("user",), ("client-id",), ("user", "client-id"), ("ip",)]))
        entity = tuple(QuotaEntity(entity_type=k, entity_name=draw(st.none() | name)) for k in kind)
        rate = draw(st.sampled_from(["producer_byte_rate", "consumer_byte_rate"]))
        key = "connection_creation_rate" if kind == ("ip",) else rate
        value = float(draw(st.integers(0, 2**31 - 1)))
        found[entity, key] = ClientQuotaRecord(entity=entity, key=key, value=value, remove=False)
        if kind != ("ip",):
            percent = draw(st.floats(0, 1e9))
            found[entity, "p"] = ClientQuotaRecord(
                entity=entity, key="request_percentage", value=percent, remove=False
            )
    for user in draw(st.sets(name, max_size=3)):
        for mechanism in draw(st.sets(st.integers(1, 2))):
            found[user, mechanism] = UserScramCredentialRecord(
                name=user,
                mechanism=mechanism,
                salt=draw(st.binary(max_size=4)),
                stored_key=b"s",
                server_key=b"k",
                iterations=draw(st.integers(1, 9999)),
            )
    return list(found.values())


@st.composite
def others(draw: Any) -> list[AnyDataRecord]:
    """Broker configs, ACLs, tokens, producer ids."""
    records: list[AnyDataRecord] = []
    for broker in draw(st.sets(st.sampled_from(["", "0", "77"]))):
        records += draw(_configs(4, broker, ["num.io.threads", "ssl.key.password"]))
    rows = st.tuples(
        st.sampled_from([2, 4, 7]),
        st.sampled_from(["*", "x", "ü y"]),
        st.integers(3, 4),
        st.sampled_from(["User:*", "User:CN=a,O=b"]),
        st.integers(2, 14),
        st.integers(2, 3),
    )
    for number, (kind, name, pattern, principal, operation, permission) in enumerate(
        draw(st.sets(rows, max_size=6))
    ):
        acl = AccessControlEntryRecord(
            id=uuid.UUID(int=number + 1),
            resource_type=kind,
            resource_name=name,
            pattern_type=pattern,
            principal=principal,
            host="*",
            operation=operation,
            permission_type=permission,
        )
        records.append(acl)
    for token in draw(st.sets(st.sampled_from(["t1", "t2"]))):
        renewers = tuple(draw(st.lists(st.sampled_from(["User:ü/x", "User:b"]), max_size=2)))
        times = draw(st.tuples(*[st.integers(0, 2**62)] * 3))
        records.append(
            DelegationTokenRecord(
                owner="User:a=b",
                requester="User:c",
                renewers=renewers,
                issue_timestamp=times[0],
                max_timestamp=times[1],
                expiration_timestamp=times[2],
                token_id=token,
            )
        )
    if draw(st.booleans()):
        following = draw(st.integers(1, 2**63 - 1))
        records.append(ProducerIdsRecord(broker_id=1, broker_epoch=1, next_producer_id=following))  # type: ignore[arg-type]
    return records


def _image(records: Iterable[AnyDataRecord]) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(records)
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))


images = st.builds(lambda a, b, c: _image([*a, *b, *c]), topics(), clients(), others())


def _said(image: MetadataImage) -> Any:
    """All but what ZooKeeper does not keep: ids of ACLs, epochs of partitions."""
    plain = without_epochs(image)
    acls = frozenset(plain.acls.by_id.values())
    return acls, attrs.evolve(plain, acls=MetadataImage.EMPTY.acls, provenance=MetadataImage.EMPTY.provenance)


def _holding(image: MetadataImage) -> Tree:
    return carried_out(new_cluster(), writes(MetadataImage.EMPTY, image, OPTIONS))


@settings(max_examples=50)
@given(images)
def test_what_was_written_is_read(image: MetadataImage) -> None:
    assert unwritable(image, with_secret=True) == ()

    assert _said(image_of(_holding(image))) == _said(image)


@settings(max_examples=50)
@given(images, images)
def test_a_change_leads_from_one_image_to_the_other(before: MetadataImage, after: MetadataImage) -> None:
    tree = carried_out(_holding(before), writes(before, after, OPTIONS))

    assert _said(image_of(tree)) == _said(after)
    assert list(reconcile(tree, after, OPTIONS)) == []


@settings(max_examples=50)
@given(images, images)
def test_reconciling_leads_from_any_tree_to_the_image(before: MetadataImage, after: MetadataImage) -> None:
    tree = carried_out(_holding(before), reconcile(_holding(before), after, OPTIONS))

    assert _said(image_of(tree)) == _said(after)
    assert list(reconcile(tree, after, OPTIONS)) == []


@settings(max_examples=50)
@given(images, images, st.data())
def test_a_write_that_was_carried_out_already_can_be_asked_for_again(
    before: MetadataImage, after: MetadataImage, data: st.DataObject
) -> None:
    """Whatever the caller does not know of a write, it reads and asks anew; so it does after any other interruption."""
    tree = _holding(before)
    made = list(writes(before, after, OPTIONS))
    lost = data.draw(st.integers(0, len(made)))
    for write in made[:lost]:
        tree = carried_out(tree, [write])
        assert write.is_done(tree)
    again = carried_out(tree, [write.resolved(tree) for write in made[max(lost - 1, 0) : lost]])
    for write in made[lost:]:
        again = carried_out(again, [write.resolved(again)])

    assert _said(image_of(again)) == _said(after)
