"""MetadataDelta: the only interpreter of records.

The active controller, its standbys and the brokers all replay through here, so there is one meaning of every record.
A delta collects changes in plain dicts and touches the image it starts from only to read; `apply` then writes each
changed place once. Sub-deltas are made when the first record asks for them: most batches need one.

Replay is strict, as in Kafka's controller: what cannot be true raises `ReplayError` and means that somebody is wrong.
Control records and transaction records never come here: the first belong to the quorum, the second to
`transactions.TransactionGate`.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from quorate.metadata.ids import NodeId
from quorate.metadata.image.changes import Changes
from quorate.metadata.image.cluster import BrokerRegistration, ClusterDelta, ControllerRegistration
from quorate.metadata.image.configs import TOPIC, ConfigsDelta, Resource
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.security import AclsDelta, CredentialsDelta, TokensDelta
from quorate.metadata.image.settings import FeaturesDelta, QuotasDelta
from quorate.metadata.image.topics import TopicImage, TopicsDelta
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyRecord,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    MigrationOrder,
    MigrationOrderRecord,
    MigrationState,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuorumRecoveryRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    TopicRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)


class MetadataDelta:
    """Changes on the way from one image to the next."""

    __slots__ = (
        "_acls",
        "_cluster",
        "_configs",
        "_credentials",
        "_features",
        "_migration",
        "_migration_order",
        "_producer_ids",
        "_quotas",
        "_recoveries",
        "_tokens",
        "_topics",
        "image",
    )

    def __init__(self, image: MetadataImage) -> None:
        self.image: Final = image
        """The image before."""
        self._features: FeaturesDelta | None = None
        self._cluster: ClusterDelta | None = None
        self._topics: TopicsDelta | None = None
        self._configs: ConfigsDelta | None = None
        self._quotas: QuotasDelta | None = None
        self._acls: AclsDelta | None = None
        self._credentials: CredentialsDelta | None = None
        self._tokens: TokensDelta | None = None
        self._producer_ids = image.producer_ids
        self._migration = image.migration
        self._migration_order = image.migration_order
        self._recoveries = image.recoveries

    def replay(self, record: AnyRecord, offset: int | None = None) -> None:
        """Takes one more record in.

        Raises:
            ReplayError: the record cannot be true; the delta is of no use any more.
        """
        interpret = _INTERPRETERS.get(type(record))
        if interpret is None:
            raise ReplayError(_at(offset, f"{type(record).__name__} never reaches the image"))
        try:
            interpret(self, record)
        except ReplayError as e:
            raise ReplayError(_at(offset, str(e))) from None

    def replay_all(self, records: Iterable[AnyRecord], base_offset: int | None = None) -> None:
        """Takes records in; `base_offset` is the offset of the first one, for the text of errors.

        Raises:
            ReplayError: see `replay`.
        """
        for i, record in enumerate(records):
            self.replay(record, None if base_offset is None else base_offset + i)

    def apply(self, provenance: Provenance) -> MetadataImage:
        """The next image; shares everything that no record touched."""
        before = self.image
        return MetadataImage(
            provenance=provenance,
            features=before.features if self._features is None else self._features.apply(),
            cluster=before.cluster if self._cluster is None else self._cluster.apply(),
            topics=before.topics if self._topics is None else self._topics.apply(),
            configs=before.configs if self._configs is None else self._configs.apply(),
            quotas=before.quotas if self._quotas is None else self._quotas.apply(),
            producer_ids=self._producer_ids,
            acls=before.acls if self._acls is None else self._acls.apply(),
            credentials=before.credentials if self._credentials is None else self._credentials.apply(),
            tokens=before.tokens if self._tokens is None else self._tokens.apply(),
            migration=self._migration,
            migration_order=self._migration_order,
            recoveries=self._recoveries,
        )

    @property
    def created_topics(self) -> Mapping[uuid.UUID, str]:
        """id -> name of the topics that are new."""
        return {} if self._topics is None else self._topics.created

    @property
    def deleted_topics(self) -> Mapping[uuid.UUID, TopicImage]:
        """id -> topic of those that are gone, as they were."""
        return {} if self._topics is None else self._topics.deleted

    @property
    def changed_topics(self) -> Mapping[uuid.UUID, Mapping[int, PartitionRegistration]]:
        """id -> number -> partition of all that were written, created ones included; decoded at each call."""
        return {} if self._topics is None else self._topics.changed()

    @property
    def changed_brokers(self) -> Mapping[NodeId, BrokerRegistration | None]:
        return {} if self._cluster is None else self._cluster.brokers

    @property
    def changed_controllers(self) -> Mapping[NodeId, ControllerRegistration | None]:
        return {} if self._cluster is None else self._cluster.controllers

    @property
    def changed_configs(self) -> Mapping[Resource, Mapping[str, str | None]]:
        """resource -> key -> value, None where it was deleted."""
        return {} if self._configs is None else self._configs.changed

    @property
    def changed_features(self) -> Mapping[str, int | None]:
        return {} if self._features is None else self._features.changed

    @property
    def features_changed(self) -> bool:
        return bool(self.changed_features)

    def changes(self) -> Changes:
        """All of it, as one value for publishers."""
        return Changes(
            created_topics=self.created_topics,
            deleted_topics=self.deleted_topics,
            changed_topics=self.changed_topics,
            changed_brokers=self.changed_brokers,
            changed_controllers=self.changed_controllers,
            changed_configs=self.changed_configs,
            changed_features=self.changed_features,
            changed_quotas={} if self._quotas is None else self._quotas.changed,
            changed_acls={} if self._acls is None else self._acls.changed,
            changed_credentials={} if self._credentials is None else self._credentials.changed,
            changed_tokens={} if self._tokens is None else self._tokens.changed,
            producer_ids_changed=self._producer_ids != self.image.producer_ids,
            migration_changed=(self._migration, self._migration_order)
            != (self.image.migration, self.image.migration_order),
            recoveries_changed=self._recoveries != self.image.recoveries,
        )

    # What each record means. One method per record that does more than hand it on.

    def _remove_topic(self, record: RemoveTopicRecord) -> None:
        name = self._topics_delta().replay_remove(record)
        self._configs_delta().forget((TOPIC, name))

    def _producer_ids_moved(self, record: ProducerIdsRecord) -> None:
        self._producer_ids = self._producer_ids.after(record)

    def _migration_moved(self, record: ZkMigrationStateRecord) -> None:
        try:
            self._migration = MigrationState(record.zk_migration_state)
        except ValueError:
            raise ReplayError(f"{record} has an unknown migration state") from None

    def _migration_ordered(self, record: MigrationOrderRecord) -> None:
        try:
            MigrationOrder(record.order)
        except ValueError:
            raise ReplayError(f"{record} is an unknown order") from None
        self._migration_order = record

    def _recovered(self, record: QuorumRecoveryRecord) -> None:
        if any(one.recovery_id == record.recovery_id for one in self._recoveries):
            raise ReplayError(f"{record} names a recovery id that was used before")
        self._recoveries = (*self._recoveries, record)

    def _features_delta(self) -> FeaturesDelta:
        if self._features is None:
            self._features = FeaturesDelta(self.image.features)
        return self._features

    def _cluster_delta(self) -> ClusterDelta:
        if self._cluster is None:
            self._cluster = ClusterDelta(self.image.cluster)
        return self._cluster

    def _topics_delta(self) -> TopicsDelta:
        if self._topics is None:
            self._topics = TopicsDelta(self.image.topics)
        return self._topics

    def _configs_delta(self) -> ConfigsDelta:
        if self._configs is None:
            self._configs = ConfigsDelta(self.image.configs)
        return self._configs

    def _quotas_delta(self) -> QuotasDelta:
        if self._quotas is None:
            self._quotas = QuotasDelta(self.image.quotas)
        return self._quotas

    def _acls_delta(self) -> AclsDelta:
        if self._acls is None:
            self._acls = AclsDelta(self.image.acls)
        return self._acls

    def _credentials_delta(self) -> CredentialsDelta:
        if self._credentials is None:
            self._credentials = CredentialsDelta(self.image.credentials)
        return self._credentials

    def _tokens_delta(self) -> TokensDelta:
        if self._tokens is None:
            self._tokens = TokensDelta(self.image.tokens)
        return self._tokens


def _at(offset: int | None, why: str) -> str:
    return why if offset is None else f"offset {offset}: {why}"


_D = MetadataDelta
_INTERPRETERS: Final[Mapping[type, Callable[[MetadataDelta, Any], object]]] = {
    RegisterBrokerRecord: lambda d, r: d._cluster_delta().replay_register(r),
    UnregisterBrokerRecord: lambda d, r: d._cluster_delta().replay_unregister(r),
    TopicRecord: lambda d, r: d._topics_delta().replay_topic(r),
    PartitionRecord: lambda d, r: d._topics_delta().replay_partition(r),
    ConfigRecord: lambda d, r: d._configs_delta().replay(r),
    PartitionChangeRecord: lambda d, r: d._topics_delta().replay_change(r),
    FenceBrokerRecord: lambda d, r: d._cluster_delta().replay_fence(r),
    UnfenceBrokerRecord: lambda d, r: d._cluster_delta().replay_fence(r),
    RemoveTopicRecord: _D._remove_topic,
    DelegationTokenRecord: lambda d, r: d._tokens_delta().replay(r),
    UserScramCredentialRecord: lambda d, r: d._credentials_delta().replay(r),
    FeatureLevelRecord: lambda d, r: d._features_delta().replay(r),
    ClientQuotaRecord: lambda d, r: d._quotas_delta().replay(r),
    ProducerIdsRecord: _D._producer_ids_moved,
    BrokerRegistrationChangeRecord: lambda d, r: d._cluster_delta().replay_change(r),
    AccessControlEntryRecord: lambda d, r: d._acls_delta().replay(r),
    RemoveAccessControlEntryRecord: lambda d, r: d._acls_delta().replay_remove(r),
    NoOpRecord: lambda d, r: None,
    ZkMigrationStateRecord: _D._migration_moved,
    RemoveUserScramCredentialRecord: lambda d, r: d._credentials_delta().replay_remove(r),
    RemoveDelegationTokenRecord: lambda d, r: d._tokens_delta().replay_remove(r),
    RegisterControllerRecord: lambda d, r: d._cluster_delta().replay_register_controller(r),
    ClearElrRecord: lambda d, r: d._topics_delta().replay_clear_elr(r),
    QuorumRecoveryRecord: _D._recovered,
    MigrationOrderRecord: _D._migration_ordered,
}
