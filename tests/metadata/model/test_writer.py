"""An image as records, and its digest."""

import uuid

import pytest

from quorate.metadata.checks import InvariantViolated
from quorate.metadata.codec import MalformedRecord, encode_payload
from quorate.metadata.ids import NodeId
from quorate.metadata.image import DigestWork, MetadataImage, TransactionGate, digest, image_records
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)
from tests.metadata.model.building import A, B, broker, config, image_of, level, partition, topic


def everything() -> list[AnyRecord]:
    """One or two of everything, in no good order but the first."""
    return [
        level(25),
        DelegationTokenRecord(
            owner="o",
            requester="r",
            renewers=(),
            issue_timestamp=1,
            max_timestamp=2,
            expiration_timestamp=2,
            token_id="t",
        ),
        UserScramCredentialRecord(
            name="u", mechanism=1, salt=b"", stored_key=b"", server_key=b"", iterations=1
        ),
        *(
            AccessControlEntryRecord(
                id=uuid.UUID(int=i),
                resource_type=2,
                resource_name=str(i),
                pattern_type=3,
                principal="User:x",
                host="*",
                operation=3,
                permission_type=3,
            )
            for i in (9, 5)
        ),
        ProducerIdsRecord(broker_id=NodeId(1), broker_epoch=5, next_producer_id=1000),
        *(
            ClientQuotaRecord(
                entity=(QuotaEntity(entity_type="user", entity_name=name),), key="k", value=1.0, remove=False
            )
            for name in ("z", None, "a")
        ),
        config("y", "1", 4, ""),
        config("y", "2"),
        config("x", "3"),
        topic("b", B),
        partition(1, B, version=1),
        partition(0, B, version=1),
        topic(),
        RegisterControllerRecord(
            controller_id=NodeId(3000), incarnation_id=A, zk_migration_ready=False, end_points=(), features=()
        ),
        broker(300, version=3, log_dirs=()),
        broker(2, version=3),
        ZkMigrationStateRecord(zk_migration_state=3),
        FeatureLevelRecord(name="group.version", feature_level=1),
        FeatureLevelRecord(name="a.feature", feature_level=1),
    ]


def label(record: AnyRecord) -> str:
    parts = [type(record).__name__.removesuffix("Record")]
    for name in ("name", "broker_id", "partition_id", "resource_name", "id"):
        value = getattr(record, name, None)
        if value is not None:
            parts.append(str(value.int if isinstance(value, uuid.UUID) else value))
    if isinstance(record, ClientQuotaRecord):
        parts.append(str(record.entity[0].entity_name))
    return " ".join(parts)


def test_records_come_in_kafkas_order_and_sorted_within_it() -> None:
    assert [label(r) for r in image_records(image_of(everything()))] == [
        "FeatureLevel metadata.version",
        "FeatureLevel a.feature",
        "FeatureLevel group.version",
        "ZkMigrationState",
        "RegisterBroker 2",
        "RegisterBroker 300",
        "RegisterController",
        "Topic a",
        "Topic b",
        "Partition 0",
        "Partition 1",
        "Config x a",
        "Config y a",
        "Config y ",
        "ClientQuota None",
        "ClientQuota a",
        "ClientQuota z",
        "ProducerIds -1",
        "AccessControlEntry 5 5",
        "AccessControlEntry 9 9",
        "UserScramCredential u",
        "DelegationToken",
    ]  # fmt: skip


def test_settings_are_sorted_whatever_their_hashes() -> None:
    """The order in a map of texts differs from process to process."""
    names = [f"key.{i}" for i in range(20)]
    image = image_of([config(name, "v") for name in reversed(names)])
    assert [r.name for r in image_records(image) if isinstance(r, ConfigRecord)] == sorted(names)


def test_the_empty_image_has_no_records() -> None:
    assert list(image_records(MetadataImage.EMPTY)) == []


@pytest.mark.parametrize(
    ("metadata_version", "broker_version", "partition_version"), [(16, 2, 0), (21, 3, 1), (30, 4, 2)]
)
def test_record_versions_follow_the_images_metadata_version(
    metadata_version: int, broker_version: int, partition_version: int
) -> None:
    plain: list[AnyRecord] = [
        level(metadata_version),
        broker(log_dirs=()),
        topic(),
        partition(version=0, directories=()),
    ]
    written = list(image_records(image_of(plain)))
    assert [r.version for r in written if isinstance(r, RegisterBrokerRecord)] == [broker_version]
    partitions = [r for r in written if isinstance(r, PartitionRecord)]
    assert [r.version for r in partitions] == [partition_version]
    # Without directories in the format, "where it always was" is not said; with them it is.
    assert [len(r.directories) for r in partitions] == [3 if partition_version else 0]
    assert image_of(written).same_metadata(image_of(plain))


def test_what_a_version_cannot_hold_is_refused_rather_than_lost() -> None:
    image = image_of([level(16), topic(), partition()])
    with pytest.raises(MalformedRecord, match="PartitionRecord version 0: this version has no directories"):
        encode_payload(list(image_records(image)))


def test_a_digest_does_not_mind_what_a_version_cannot_hold() -> None:
    assert digest(image_of([level(16), topic(), partition(), broker()])) != digest(image_of([level(16)]))


def test_a_digest_is_known_after_its_last_step_only() -> None:
    work = DigestWork(image_of(everything()))
    steps = iter(work)
    next(steps)
    with pytest.raises(InvariantViolated, match="before its last step"):
        _ = work.value
    for _ in steps:
        pass
    assert work.value == digest(image_of(everything()))


def test_a_digest_takes_a_step_per_topic_and_record() -> None:
    image = image_of(everything())
    assert len(list(DigestWork(image))) == sum(
        not isinstance(r, PartitionRecord) for r in image_records(image)
    )


@pytest.mark.parametrize("number", range(len(everything())))
def test_a_digest_covers_everything(number: int) -> None:
    every = everything()
    if label(every[number]) == "Topic b":
        return  # its partitions could not be replayed without it
    without = every[:number] + every[number + 1 :]
    assert digest(image_of(without)) != digest(image_of(every))
    assert not image_of(without).same_metadata(image_of(every))


def test_a_digest_is_the_same_for_ever() -> None:
    """Nodes of different releases compare digests, and old snapshots carry them: a new way needs a new first byte."""
    assert digest(MetadataImage.EMPTY).hex() == "01" + "00" * 32
    assert digest(image_of(everything())).hex() == (
        "017899d0e9b64227136cdac1404df03bd4b6f7e9cc3b6c99d4d701101f60b2612f"
    )


def test_a_digest_does_not_know_in_which_order_things_came() -> None:
    forwards: list[AnyRecord] = [topic(), partition(0), partition(70), topic("b", B), partition(0, B)]
    backwards: list[AnyRecord] = [topic("b", B), partition(0, B), topic(), partition(70), partition(0)]
    assert digest(image_of(forwards)) == digest(image_of(backwards))


def test_the_gate_lets_a_written_image_through() -> None:
    written = list(image_records(image_of(everything())))
    release = TransactionGate().offer(0, written)
    assert release is not None
    assert [r for _, r in release.records] == written
