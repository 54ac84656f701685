"""An image as records, and the digest of an image.

Records come in the order in which Kafka writes a snapshot, metadata.version first, everything else sorted: two equal
images give the same records. Both walks are lazy, so that a shell can do them in slices of its own size: pull a few,
look at the clock, let others run.

A record version follows the image's own metadata.version. A value that this version cannot hold (only an unsafe
downgrade could leave one) is refused by the codec, with the field's name, rather than lost.
"""

import uuid
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import attrs

from quorate.metadata.checks import check
from quorate.metadata.codec import encode_payload
from quorate.metadata.features import METADATA_VERSION, record_version
from quorate.metadata.ids import NodeId
from quorate.metadata.image.cluster import BrokerRegistration, ControllerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration, chunk_content
from quorate.metadata.image.settings import FeaturesImage, ProducerIdsImage, QuotasImage
from quorate.metadata.image.topics import TopicImage, TopicsImage
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyDataRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    FeatureRange,
    MigrationState,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    TopicRecord,
    UserScramCredentialRecord,
    VersionRange,
    ZkMigrationStateRecord,
)
from quorate.metadata.security.permissions import Acl

DIGEST_FORM: Final = b"\x01"
"""The first byte of every digest: digests of different forms say nothing about each other."""
_DIGEST_LEVEL: Final = 30
"""Other records are hashed as this metadata.version writes them, whatever the image's own is: it loses nothing."""
_SUM_BYTES: Final = 32
_NOBODY: Final = NodeId(-1)


def image_records(image: MetadataImage) -> Iterator[AnyDataRecord]:
    """Records that make the same image out of the empty one."""
    return _records_at(image, image.features.metadata_version)


def _records_at(image: MetadataImage, version: int) -> Iterator[AnyDataRecord]:
    yield from _features(image.features)
    if image.migration is not MigrationState.NONE:
        yield ZkMigrationStateRecord(zk_migration_state=int(image.migration))
    for broker_id in sorted(image.cluster.brokers):
        yield broker_record(image.cluster.brokers[broker_id], version)
    for controller_id in sorted(image.cluster.controllers):
        yield controller_record(image.cluster.controllers[controller_id])
    for topic in image.topics:
        yield from _topic(topic, version)
    yield from _small_parts(image)


def _small_parts(image: MetadataImage) -> Iterator[AnyDataRecord]:
    """What follows the topics."""
    for (kind, resource), settings in image.configs.resources():
        for name in sorted(settings):
            yield ConfigRecord(resource_type=kind, resource_name=resource, name=name, value=settings[name])
    yield from _quotas(image.quotas)
    yield from _producer_ids(image.producer_ids)
    yield from _acls(image)
    yield from _credentials(image)
    yield from _tokens(image)
    yield from image.recoveries
    if image.migration_order is not None:
        yield image.migration_order


def _features(features: FeaturesImage) -> Iterator[AnyDataRecord]:
    # metadata.version goes first: it says how everything after it is to be read.
    for name in sorted(features.levels, key=lambda n: (n != METADATA_VERSION, n)):
        yield FeatureLevelRecord(name=name, feature_level=features.levels[name])


def broker_record(broker: BrokerRegistration, metadata_version: int) -> RegisterBrokerRecord:
    """A registration as its record."""
    return RegisterBrokerRecord(
        version=record_version(RegisterBrokerRecord, metadata_version),
        broker_id=broker.id,
        is_migrating_zk_broker=broker.is_migrating_zk_broker,
        incarnation_id=broker.incarnation_id,
        broker_epoch=broker.epoch,
        end_points=broker.listeners,
        features=_ranges(broker),
        rack=broker.rack,
        fenced=broker.fenced,
        in_controlled_shutdown=broker.in_controlled_shutdown,
        log_dirs=broker.log_dirs,
        cordoned_log_dirs=broker.cordoned_log_dirs,
    )


def controller_record(controller: ControllerRegistration) -> RegisterControllerRecord:
    """A registration as its record."""
    return RegisterControllerRecord(
        controller_id=controller.id,
        incarnation_id=controller.incarnation_id,
        zk_migration_ready=controller.zk_migration_ready,
        end_points=controller.listeners,
        features=_ranges(controller),
    )


def _ranges(node: BrokerRegistration | ControllerRegistration) -> tuple[FeatureRange, ...]:
    def named(name: str, levels: VersionRange) -> FeatureRange:
        return FeatureRange(
            name=name,
            min_supported_version=levels.min_supported_version,
            max_supported_version=levels.max_supported_version,
        )

    return tuple(named(name, node.features[name]) for name in sorted(node.features))


def _topic(topic: TopicImage, metadata_version: int) -> Iterator[AnyDataRecord]:
    yield TopicRecord(name=topic.name, topic_id=topic.id)
    version = record_version(PartitionRecord, metadata_version)
    for index, partition in topic.partitions():
        yield partition_record(topic, index, partition, version)


def partition_record(
    topic: TopicImage, index: int, partition: PartitionRegistration, version: int
) -> PartitionRecord:
    """A partition as its record."""
    # Version 0 has no directories, and says with that what the reserved id says: wherever it always was.
    told = version > 0 or any(d.int for d in partition.directories)
    return PartitionRecord(
        version=version,
        partition_id=index,
        topic_id=topic.id,
        replicas=partition.replicas,
        isr=partition.isr,
        removing_replicas=partition.removing_replicas,
        adding_replicas=partition.adding_replicas,
        leader=partition.leader,
        leader_recovery_state=partition.leader_recovery_state,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        directories=partition.directories if told else (),
        eligible_leader_replicas=partition.eligible_leader_replicas,
        last_known_elr=partition.last_known_elr,
    )


def _quotas(quotas: QuotasImage) -> Iterator[AnyDataRecord]:
    for key, values in quotas.entities():
        entity = tuple(QuotaEntity(entity_type=kind, entity_name=name) for kind, name in key)
        for name in sorted(values):
            yield ClientQuotaRecord(entity=entity, key=name, value=values[name], remove=False)


def _producer_ids(producer_ids: ProducerIdsImage) -> Iterator[AnyDataRecord]:
    if producer_ids.next_producer_id >= 0:
        # Who asked for the last block is not kept, as in Kafka.
        yield ProducerIdsRecord(
            broker_id=_NOBODY, broker_epoch=-1, next_producer_id=producer_ids.next_producer_id
        )


def _acls(image: MetadataImage) -> Iterator[AnyDataRecord]:
    for acl_id in sorted(image.acls.by_id):
        yield acl_record(acl_id, image.acls.by_id[acl_id])


def acl_record(acl_id: uuid.UUID, acl: Acl) -> AccessControlEntryRecord:
    """What makes an ACL."""
    return AccessControlEntryRecord(
        id=acl_id,
        resource_type=acl.resource_type,
        resource_name=acl.resource_name,
        pattern_type=acl.pattern_type,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission_type,
    )


def _credentials(image: MetadataImage) -> Iterator[AnyDataRecord]:
    for user, mechanism in sorted(image.credentials.by_user):
        credential = image.credentials.by_user[user, mechanism]
        yield UserScramCredentialRecord(
            name=user,
            mechanism=mechanism,
            salt=credential.salt,
            stored_key=credential.stored_key,
            server_key=credential.server_key,
            iterations=credential.iterations,
        )


def _tokens(image: MetadataImage) -> Iterator[AnyDataRecord]:
    for token_id, token in image.tokens.sorted():
        yield DelegationTokenRecord(
            owner=token.owner,
            requester=token.requester,
            renewers=token.renewers,
            issue_timestamp=token.issue_timestamp,
            max_timestamp=token.max_timestamp,
            expiration_timestamp=token.expiration_timestamp,
            token_id=token_id,
        )


class DigestWork:
    """The digest of an image, in steps: `for _ in work: …`, then `work.value`.

    The digest is the sum of the SHA-256 of every topic and of every other record. A sum needs no order, so nothing is
    sorted in one long go, and topics are hashed as the packed rows they are: two million partitions in seconds, not
    in a minute. Where the image comes from is not part of it: equal metadata, equal digest.
    """

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._sum = 0
        self._done = False

    def __iter__(self) -> Iterator[None]:
        """One step per topic or record; microseconds each, but for a topic of thousands of partitions."""
        self._sum = 0
        self._done = False
        without_topics = attrs.evolve(self._image, topics=TopicsImage.EMPTY)
        for record in _records_at(without_topics, _DIGEST_LEVEL):
            self._add(b"record", encode_payload([record]))
            yield
        for topic in self._image.topics.unordered():
            self._add(b"topic", topic.name.encode(), topic.id.bytes, *map(chunk_content, topic.chunks))
            yield
        self._done = True

    def _add(self, *parts: bytes) -> None:
        hashed = sha256()
        for part in parts:
            hashed.update(len(part).to_bytes(4, "big"))
            hashed.update(part)
        self._sum += int.from_bytes(hashed.digest(), "big")

    @property
    def value(self) -> bytes:
        """The digest, once all steps were taken."""
        check(self._done, "the digest was asked for before its last step")
        total: int = self._sum % 2 ** (8 * _SUM_BYTES)
        return DIGEST_FORM + total.to_bytes(_SUM_BYTES, "big")


def digest(image: MetadataImage) -> bytes:
    """The digest of an image in one go."""
    work = DigestWork(image)
    for _ in work:
        pass
    return work.value
