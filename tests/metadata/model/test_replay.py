"""What each record does to the image, and what cannot be true."""

import uuid
from typing import Any

import pytest

from quorate.metadata.ids import MIGRATING_DIRECTORY, NodeId
from quorate.metadata.image import MetadataDelta, MetadataImage, ReplayError, difference, image_records
from quorate.metadata.image.security import ScramCredential
from quorate.metadata.records import (
    UNCHANGED,
    AccessControlEntryRecord,
    AnyRecord,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    ClientQuotaRecord,
    DelegationTokenRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    KRaftVersionRecord,
    MigrationState,
    NoOpRecord,
    PartitionChangeRecord,
    ProducerIdsRecord,
    QuotaEntity,
    RegisterControllerRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    SnapshotHeaderRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
    UserScramCredentialRecord,
    VersionRange,
    ZkMigrationStateRecord,
)
from quorate.metadata.records.nodes import FeatureRange
from quorate.metadata.security.permissions import Acl
from tests.metadata.model.building import (
    DIRECTORIES,
    HERE,
    A,
    B,
    broker,
    config,
    image_of,
    level,
    migration_order,
    partition,
    recovery,
    topic,
)


def change(number: int = 0, **changes: Any) -> PartitionChangeRecord:
    return PartitionChangeRecord(version=2, partition_id=number, topic_id=A, **changes)


ACL: dict[str, Any] = {
    "resource_type": 2,
    "resource_name": "a",
    "pattern_type": 3,
    "principal": "User:x",
    "host": "*",
    "operation": 3,
    "permission_type": 3,
}


def acl(number: int, **changes: Any) -> AccessControlEntryRecord:
    return AccessControlEntryRecord(id=uuid.UUID(int=number), **ACL | changes)


def scram(mechanism: int = 1) -> UserScramCredentialRecord:
    return UserScramCredentialRecord(
        name="u", mechanism=mechanism, salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096
    )


PRODUCER_IDS = ProducerIdsRecord(broker_id=NodeId(1), broker_epoch=5, next_producer_id=1000)


@pytest.mark.parametrize(
    ("before", "record", "why"),
    [
        ([topic()], topic("a", B), "a second topic named 'a'"),
        ([topic()], topic("b", A), "a second topic with that id"),
        ([], RemoveTopicRecord(topic_id=A), "removes a topic that does not exist"),
        ([topic(), RemoveTopicRecord(topic_id=A)], RemoveTopicRecord(topic_id=A), "does not exist"),
        ([], partition(), "a topic that does not exist"),
        ([topic()], partition(-1), "a number outside 0 to 999999"),
        ([topic()], partition(1_000_000), "a number outside 0 to 999999"),
        ([topic()], partition(directories=(DIRECTORIES[1],)), "one directory per replica"),
        ([topic()], partition(leader_recovery_state=2), "unknown leader recovery state"),
        ([topic()], change(), "changes a partition that does not exist"),
        ([], change(), "changes a partition that does not exist"),
        ([topic(), partition()], change(1), "changes a partition that does not exist"),
        ([topic(), partition()], change(replicas=(1, 2)), "one directory per replica"),
        ([topic(), partition()], change(directories=(MIGRATING_DIRECTORY,)), "one directory per replica"),
        ([topic(), partition()], change(leader_recovery_state=7), "unknown leader recovery state"),
        ([], ClearElrRecord(topic_name="a"), "a topic that does not exist"),
        ([], UnregisterBrokerRecord(broker_id=NodeId(1), broker_epoch=5), "not registered"),
        ([broker()], UnregisterBrokerRecord(broker_id=NodeId(1), broker_epoch=6), "the broker's epoch is 5"),
        ([], FenceBrokerRecord(id=NodeId(1), epoch=5), "not registered"),
        ([broker()], UnfenceBrokerRecord(id=NodeId(1), epoch=4), "the broker's epoch is 5"),
        ([], BrokerRegistrationChangeRecord(broker_id=NodeId(1), broker_epoch=5), "not registered"),
        (
            [broker()],
            BrokerRegistrationChangeRecord(broker_id=NodeId(1), broker_epoch=9),
            "the broker's epoch is 5",
        ),
        ([acl(1)], acl(1, resource_name="b"), "a second ACL with that id"),
        ([acl(1)], acl(2), "an ACL that exists as 00000000-0000-0000-0000-000000000001"),
        ([], RemoveAccessControlEntryRecord(id=A), "removes an ACL that does not exist"),
        ([], scram(3), "unknown mechanism"),
        ([scram(1)], RemoveUserScramCredentialRecord(name="u", mechanism=2), "does not exist"),
        ([PRODUCER_IDS], PRODUCER_IDS, "does not move the next producer id on from 1000"),
        ([], level(31), "a metadata.version that this node does not know"),
        ([level(21)], level(0), "a metadata.version that this node does not know"),
        ([], ZkMigrationStateRecord(zk_migration_state=9), "an unknown migration state"),
        ([], migration_order(9), "an unknown order"),
        ([recovery(1), recovery(2)], recovery(1), "a recovery id that was used before"),
        ([], EndTransactionRecord(), "EndTransactionRecord never reaches the image"),
        ([], KRaftVersionRecord(k_raft_version=1), "KRaftVersionRecord never reaches the image"),
        (
            [],
            SnapshotHeaderRecord(last_contained_log_timestamp=0),
            "SnapshotHeaderRecord never reaches the image",
        ),
    ],
)
def test_what_cannot_be_true_is_refused(before: list[AnyRecord], record: AnyRecord, why: str) -> None:
    """In the same batch and in a later one alike; the text names the offset."""
    for earlier, same_batch in (([], before), (before, [])):
        delta = MetadataDelta(image_of(earlier))
        delta.replay_all(same_batch)
        with pytest.raises(ReplayError, match=f"offset 42: .*{why}"):
            delta.replay(record, 42)


def test_a_partition_is_what_its_record_says() -> None:
    record = partition(
        7,
        isr=(2,),
        removing_replicas=(3,),
        adding_replicas=(1, 2),
        leader=-1,
        leader_recovery_state=1,
        leader_epoch=4,
        partition_epoch=6,
        eligible_leader_replicas=(1,),
        last_known_elr=(3,),
    )
    found = image_of([topic(), record]).topics.by_name("a")
    assert found is not None
    there = found.partition(7)
    assert there is not None
    for name in ("replicas", "directories", "isr", "removing_replicas", "adding_replicas", "leader"):
        assert getattr(there, name) == getattr(record, name)
    assert (there.leader_recovery_state, there.leader_epoch, there.partition_epoch) == (1, 4, 6)
    assert (there.eligible_leader_replicas, there.last_known_elr) == ((1,), (3,))
    assert there.directory(2) == DIRECTORIES[2]
    assert there.directory(4) is None
    assert there.preferred_replica == 1
    assert there.is_reassigning


def test_a_number_outside_a_topic_is_no_partition() -> None:
    found = image_of([topic(), partition(0), partition(130)]).topics.by_id(A)
    assert found is not None
    assert list(found.indexes()) == [0, 130]
    assert [found.partition(i) for i in (-1, -64, 1, 63, 64, 129, 131, 192, 10**9)] == [None] * 9


def test_a_second_partition_record_replaces_the_first() -> None:
    image = image_of([topic(), partition(), partition(isr=(3,))])
    again = image_of([partition(isr=(2,))], image)
    assert (image.topics.partition_count, again.topics.partition_count) == (1, 1)
    assert [p.isr for _, p in again.topics.by_name("a").partitions()] == [(2,)]  # type: ignore[union-attr]


def changed(*changes: PartitionChangeRecord) -> tuple[int, int, int]:
    """(leader, leader epoch, partition epoch) after the changes."""
    found = image_of([topic(), partition(leader_epoch=3, partition_epoch=5), *changes]).topics.by_id(A)
    there = found.partition(0) if found is not None else None
    assert there is not None
    return there.leader, there.leader_epoch, there.partition_epoch


def test_every_change_is_a_new_partition_epoch_and_a_named_leader_a_new_leader_epoch() -> None:
    assert changed(change()) == (1, 3, 6)
    assert changed(change(isr=(1, 2))) == (1, 3, 6)
    assert changed(change(leader=2)) == (2, 4, 6)
    assert changed(change(leader=1)) == (1, 4, 6)  # the same leader, named again
    assert changed(change(leader=-1), change(leader=3), change(isr=())) == (3, 5, 8)


def test_replicas_that_never_had_directories_may_change_in_number_without_them() -> None:
    """Below metadata.version 17 no record has directories; all replicas are where they always were."""
    image = image_of([topic(), partition(version=0, directories=())])
    assert [p.directories for _, p in image.topics.by_id(A).partitions()] == [(MIGRATING_DIRECTORY,) * 3]  # type: ignore[union-attr]
    image = image_of([change(replicas=(1, 2, 3, 4))], image)
    assert [p.directories for _, p in image.topics.by_id(A).partitions()] == [(MIGRATING_DIRECTORY,) * 4]  # type: ignore[union-attr]


def test_a_topic_goes_with_its_partitions_and_settings() -> None:
    image = image_of([topic(), partition(), config("x", "1"), config("x", "2", 4), broker()])
    after = image_of([RemoveTopicRecord(topic_id=A)], image)
    assert after.topics == MetadataImage.EMPTY.topics
    assert after.topics.by_name("a") is None
    assert not after.topics.has_replicas(1)
    assert dict(after.configs.of(2, "a")) == {}
    assert dict(after.configs.of(4, "a")) == {"x": "2"}


def test_a_topic_may_be_made_again_in_the_same_batch() -> None:
    image = image_of([topic(), partition(replicas=(1,)), config("x", "1")])
    after = image_of(
        [RemoveTopicRecord(topic_id=A), topic("a", B), partition(0, B, replicas=(2,)), config("y", "2")],
        image,
    )
    found = after.topics.by_name("a")
    assert found is not None
    assert found.id == B
    assert after.topics.by_id(A) is None
    assert dict(after.configs.of(2, "a")) == {"y": "2"}
    assert [t.id for t, _, _ in after.topics.partitions_with_replica(2)] == [B]
    assert not after.topics.has_replicas(1)


def test_eligible_leaders_are_forgotten_for_one_topic_or_all() -> None:
    elr: dict[str, Any] = {"eligible_leader_replicas": (2,), "last_known_elr": (3,)}
    records: list[AnyRecord] = [
        topic(),
        partition(0, **elr),
        partition(1),
        topic("b", B),
        partition(0, B, **elr),
    ]

    def elrs(image: MetadataImage) -> list[tuple[str, int, tuple[int, ...], tuple[int, ...], int]]:
        return [
            (t.name, i, p.eligible_leader_replicas, p.last_known_elr, p.partition_epoch)
            for t in image.topics
            for i, p in t.partitions()
        ]

    for one in (image_of([*records, ClearElrRecord(topic_name="a")]),
                image_of([ClearElrRecord(topic_name="a")], image_of(records))):  # fmt: skip
        assert elrs(one) == [("a", 0, (), (), 1), ("a", 1, (), (), 0), ("b", 0, (2,), (3,), 0)]
    every = image_of([*records, ClearElrRecord(topic_name="")])
    assert elrs(every) == [("a", 0, (), (), 1), ("a", 1, (), (), 0), ("b", 0, (), (), 1)]
    assert image_of([ClearElrRecord(topic_name="")], image_of(records)) == every


def test_a_broker_is_what_its_records_say() -> None:
    supported = FeatureRange(name="metadata.version", min_supported_version=21, max_supported_version=25)
    image = image_of([broker(features=(supported,), rack="r", in_controlled_shutdown=False)])
    found = image.cluster.broker(1)
    assert found is not None
    assert found.features["metadata.version"] == VersionRange(
        min_supported_version=21, max_supported_version=25
    )
    assert (found.epoch, found.rack, found.fenced, found.cordoned_log_dirs) == (5, "r", True, None)
    assert found.listener("PLAINTEXT") == found.listeners[0]
    assert found.listener("SSL") is None

    image = image_of([_changed(fenced=False)], image)
    assert image.cluster.is_active(1)
    image = image_of([_changed(in_controlled_shutdown=True)], image)
    assert not image.cluster.is_active(1)
    image = image_of([_changed(log_dirs=(A, B), cordoned_log_dirs=(B,))], image)
    found = image.cluster.broker(1)
    assert found is not None
    assert (found.fenced, found.in_controlled_shutdown) == (False, True)
    assert (found.log_dirs, found.cordoned_log_dirs, found.epoch) == ((A, B), (B,), 5)


def _changed(**changes: Any) -> BrokerRegistrationChangeRecord:
    return BrokerRegistrationChangeRecord(version=3, broker_id=NodeId(1), broker_epoch=5, **changes)


def test_old_records_fence_and_unfence() -> None:
    image = image_of([broker(), UnfenceBrokerRecord(id=NodeId(1), epoch=5)])
    assert image.cluster.is_active(1)
    image = image_of([FenceBrokerRecord(id=NodeId(1), epoch=5)], image)
    assert not image.cluster.is_active(1)
    assert not image_of([UnregisterBrokerRecord(broker_id=NodeId(1), broker_epoch=5)], image).cluster.brokers


def test_a_directory_is_online_as_kafka_sees_it() -> None:
    image = image_of([broker(log_dirs=(A,)), broker(2, log_dirs=())])
    one, old = image.cluster.broker(1), image.cluster.broker(2)
    assert one is not None
    assert old is not None
    reserved = [uuid.UUID(int=i) for i in range(3)]
    assert [one.has_online_directory(d) for d in (A, B, *reserved)] == [True, False, True, True, False]
    assert [old.has_online_directory(d) for d in (A, B, *reserved)] == [True, True, True, True, False]


def test_a_controller_is_what_its_record_says() -> None:
    record = RegisterControllerRecord(
        controller_id=NodeId(3000),
        incarnation_id=A,
        zk_migration_ready=True,
        end_points=broker().end_points,
        features=(FeatureRange(name="kraft.version", min_supported_version=0, max_supported_version=1),),
    )
    found = image_of([record]).cluster.controllers[NodeId(3000)]
    assert (found.id, found.incarnation_id, found.zk_migration_ready) == (3000, A, True)
    assert found.features["kraft.version"].max_supported_version == 1
    assert found.listener("PLAINTEXT") == record.end_points[0]


def test_a_setting_is_set_and_deleted() -> None:
    image = image_of([config("x", "1"), config("y", "2"), config("x", "3")])
    assert dict(image.configs.of(2, "a")) == {"x": "3", "y": "2"}
    image = image_of([config("x", None), config("z", None)], image)
    assert dict(image.configs.of(2, "a")) == {"y": "2"}
    image = image_of([config("y", None)], image)
    assert len(image.configs) == 0
    assert image.configs == MetadataImage.EMPTY.configs


def test_quotas_of_one_entity_meet_whatever_the_order_of_its_parts() -> None:
    user, client = (
        QuotaEntity(entity_type=t, entity_name=n) for t, n in (("user", "u"), ("client-id", None))
    )

    def quota(*entity: QuotaEntity, key: str, remove: bool = False) -> ClientQuotaRecord:
        return ClientQuotaRecord(entity=entity, key=key, value=1.5, remove=remove)

    image = image_of([quota(user, client, key="a"), quota(client, user, key="b")])
    assert dict(image.quotas.of((("client-id", None), ("user", "u")))) == {"a": 1.5, "b": 1.5}
    image = image_of(
        [quota(client, user, key="a", remove=True), quota(user, client, key="b", remove=True)], image
    )
    assert image.quotas == MetadataImage.EMPTY.quotas


def test_an_acl_that_was_removed_may_come_back_under_another_id() -> None:
    image = image_of([acl(1), RemoveAccessControlEntryRecord(id=uuid.UUID(int=1)), acl(2)])
    assert dict(image.acls.by_id) == {uuid.UUID(int=2): Acl(**ACL)}
    assert dict(image.acls.ids) == {Acl(**ACL): uuid.UUID(int=2)}
    assert len(image_of([RemoveAccessControlEntryRecord(id=uuid.UUID(int=2))], image).acls) == 0


def test_credentials_stand_by_user_and_mechanism() -> None:
    image = image_of([scram(1), scram(2)])
    secret = ScramCredential(salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096)
    assert image.credentials.mechanisms_of("u") == {1: secret, 2: secret}
    assert image.credentials.users() == ["u"]
    image = image_of([RemoveUserScramCredentialRecord(name="u", mechanism=1)], image)
    assert (image.credentials.of("u", 1), image.credentials.of("u", 2)) == (None, secret)
    assert "s" not in repr(secret).replace("ScramCredential", "").replace("iterations", "")


def test_a_token_is_renewed_and_removed_even_twice() -> None:
    def token(expires: int) -> DelegationTokenRecord:
        return DelegationTokenRecord(
            owner="o",
            requester="r",
            renewers=("n",),
            issue_timestamp=1,
            max_timestamp=9,
            expiration_timestamp=expires,
            token_id="t",
        )

    image = image_of([token(3), token(5)])
    assert image.tokens.by_id["t"].expiration_timestamp == 5
    remove = RemoveDelegationTokenRecord(token_id="t")
    assert image_of([remove, remove], image).tokens == MetadataImage.EMPTY.tokens


def test_features_are_finalized_and_removed() -> None:
    image = image_of([level(21), FeatureLevelRecord(name="group.version", feature_level=1)])
    assert (image.features.metadata_version, image.features.level("group.version")) == (21, 1)
    image = image_of([level(25), FeatureLevelRecord(name="group.version", feature_level=0)], image)
    assert dict(image.features.levels) == {"metadata.version": 25}
    assert MetadataImage.EMPTY.features.metadata_version == 1


def test_kraft_version_is_not_taken_from_a_feature_record() -> None:
    assert image_of([FeatureLevelRecord(name="kraft.version", feature_level=1)]).same_metadata(
        MetadataImage.EMPTY
    )


def test_the_allocator_and_the_migration_move_on() -> None:
    image = image_of([PRODUCER_IDS, ZkMigrationStateRecord(zk_migration_state=2)])
    assert image.producer_ids.next_producer_id == 1000
    assert image.migration is MigrationState.PRE_MIGRATION


def test_the_last_order_about_the_migration_counts() -> None:
    image = image_of([migration_order(1), migration_order(2)])
    assert image.migration_order == migration_order(2)
    assert image_of(list(image_records(image))).same_metadata(image)


def test_recoveries_are_kept_in_their_order() -> None:
    image = image_of([recovery(2), recovery(1)])
    assert [one.recovery_id.int for one in image.recoveries] == [2, 1]
    assert image_of(list(image_records(image))).same_metadata(image)


def test_what_no_record_touched_is_shared() -> None:
    image = image_of([level(21), broker(), topic(), *(partition(i) for i in range(200)), config("x", "1")])
    after = image_of([change(70, isr=(1,))], image)
    for name in ("features", "cluster", "configs", "quotas", "acls", "credentials", "tokens"):
        assert getattr(after, name) is getattr(image, name)
    before_chunks, after_chunks = image.topics.by_id(A).chunks, after.topics.by_id(A).chunks  # type: ignore[union-attr]
    assert [a is b for a, b in zip(before_chunks, after_chunks, strict=True)] == [True, False, True, True]
    nothing = image_of([NoOpRecord()], image)
    assert all(getattr(nothing, n) is getattr(image, n) for n in ("topics", "cluster", "configs", "features"))
    assert nothing.provenance == HERE


def test_a_delta_says_what_changed() -> None:
    image = image_of([topic("b", B), partition(0, B), broker()])
    delta = MetadataDelta(image)
    delta.replay_all(
        [
            topic(),
            partition(0),
            RemoveTopicRecord(topic_id=B),
            config("x", None),
            _changed(fenced=False),
            level(22),
        ]
    )
    assert dict(delta.created_topics) == {A: "a"}
    assert [t.name for t in delta.deleted_topics.values()] == ["b"]
    assert {t: list(numbers) for t, numbers in delta.changed_topics.items()} == {A: [0]}
    assert [b.fenced for b in delta.changed_brokers.values() if b is not None] == [False]
    assert delta.changed_configs == {(2, "a"): {"x": None}}
    assert delta.features_changed
    assert delta.changes().metadata_version_changed
    assert not MetadataDelta(image).changes()


def test_a_topic_that_came_and_went_in_one_batch_is_no_change() -> None:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all([topic(), partition(), RemoveTopicRecord(topic_id=A)])
    assert not delta.changes()
    assert delta.apply(HERE).same_metadata(MetadataImage.EMPTY)


def test_unchanged_leaves_all_as_it_was() -> None:
    image = image_of([broker(fenced=False, cordoned_log_dirs=())])
    after = image_of([_changed(fenced=UNCHANGED)], image)
    assert after.same_metadata(image)


def test_a_difference_is_sorted_whatever_the_hashes_of_texts() -> None:
    names = [f"feature.{i}" for i in range(20)]
    image = image_of([FeatureLevelRecord(name=name, feature_level=1) for name in reversed(names)])
    assert list(difference(MetadataImage.EMPTY, image).changed_features) == sorted(names)
    assert list(difference(image, MetadataImage.EMPTY).changed_features.items()) == [
        (n, None) for n in sorted(names)
    ]


def test_images_are_equal_only_if_every_partition_is() -> None:
    image = image_of([topic(), *(partition(i) for i in range(100))])
    for number in (0, 63, 64, 99):
        other = image_of([change(number, isr=(1,))], image)
        assert other.topics != image.topics
        assert image_of([partition(number)], other).topics == image.topics
    assert image_of([partition(100)], image).topics != image.topics
    assert image_of([topic("b", A)]).topics != image_of([topic("a", A)]).topics
    assert hash(image.topics.by_id(A)) == hash(image_of([topic()]).topics.by_id(A))


def test_an_id_that_lives_on_under_another_name_is_another_topic() -> None:
    """Nobody uses an id twice; if a snapshot says so, both lives are told apart."""
    before, after = image_of([topic("a"), partition()]), image_of([topic("b"), partition()])
    changes = difference(before, after)
    assert dict(changes.created_topics) == {A: "b"}
    assert [t.name for t in changes.deleted_topics.values()] == ["a"]
    assert {t: list(p) for t, p in changes.changed_topics.items()} == {A: [0]}
