"""Every record of the metadata log, each declared once: KRaft's names, numbers, versions and fields.

The log is a dictionary, and these are its words. Pieces by subject: `topics`, `nodes`, `settings`, `security`,
`flow`, `migration`, `recovery`, `control`; `declare` holds the language they are written in. No bytes (see `codec`,
`kafka_form`), no meaning (see `image.delta`), no choice of versions (see `features`).
"""

from collections.abc import Mapping
from typing import Final, TypeAlias, get_args

from quorate.metadata.records.control import (
    KRaftVersionRecord,
    LeaderChangeRecord,
    LeaderChangeVoter,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    VersionRange,
    Voter,
    VotersRecord,
)
from quorate.metadata.records.declare import UNCHANGED, ControlRecord, DataRecord, Record, Unchanged
from quorate.metadata.records.flow import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    MigrationState,
    NoOpRecord,
    ZkMigrationStateRecord,
)
from quorate.metadata.records.migration import MigrationOrder, MigrationOrderRecord
from quorate.metadata.records.nodes import (
    BrokerEndpoint,
    BrokerRegistrationChangeRecord,
    FeatureRange,
    FenceBrokerRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
)
from quorate.metadata.records.recovery import QuorumRecoveryRecord
from quorate.metadata.records.security import (
    AccessControlEntryRecord,
    DelegationTokenRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveUserScramCredentialRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.records.settings import (
    ClientQuotaRecord,
    ConfigRecord,
    FeatureLevelRecord,
    ProducerIdsRecord,
    QuotaEntity,
)
from quorate.metadata.records.topics import (
    NO_LEADER,
    RECOVERED,
    RECOVERING,
    ClearElrRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)

AnyDataRecord: TypeAlias = (
    RegisterBrokerRecord
    | UnregisterBrokerRecord
    | TopicRecord
    | PartitionRecord
    | ConfigRecord
    | PartitionChangeRecord
    | FenceBrokerRecord
    | UnfenceBrokerRecord
    | RemoveTopicRecord
    | DelegationTokenRecord
    | UserScramCredentialRecord
    | FeatureLevelRecord
    | ClientQuotaRecord
    | ProducerIdsRecord
    | BrokerRegistrationChangeRecord
    | AccessControlEntryRecord
    | RemoveAccessControlEntryRecord
    | NoOpRecord
    | ZkMigrationStateRecord
    | RemoveUserScramCredentialRecord
    | BeginTransactionRecord
    | EndTransactionRecord
    | AbortTransactionRecord
    | RemoveDelegationTokenRecord
    | RegisterControllerRecord
    | ClearElrRecord
    | QuorumRecoveryRecord
    | MigrationOrderRecord
)
AnyControlRecord: TypeAlias = (
    LeaderChangeRecord | SnapshotHeaderRecord | SnapshotFooterRecord | KRaftVersionRecord | VotersRecord
)
AnyRecord: TypeAlias = AnyDataRecord | AnyControlRecord
"""Any record, as a union: a `match` over it can end with `assert_never`."""

DATA_RECORDS: Final[Mapping[int, type[DataRecord]]] = {c.api_key: c for c in get_args(AnyDataRecord)}
"""Every data record by Kafka's api key; our own have numbers that Kafka will not reach."""
CONTROL_RECORDS: Final[Mapping[int, type[ControlRecord]]] = {
    c.control_type: c for c in get_args(AnyControlRecord)
}
"""Every control record by Kafka's control type."""

__all__ = [
    "CONTROL_RECORDS",
    "DATA_RECORDS",
    "NO_LEADER",
    "RECOVERED",
    "RECOVERING",
    "UNCHANGED",
    "AbortTransactionRecord",
    "AccessControlEntryRecord",
    "AnyControlRecord",
    "AnyDataRecord",
    "AnyRecord",
    "BeginTransactionRecord",
    "BrokerEndpoint",
    "BrokerRegistrationChangeRecord",
    "ClearElrRecord",
    "ClientQuotaRecord",
    "ConfigRecord",
    "ControlRecord",
    "DataRecord",
    "DelegationTokenRecord",
    "EndTransactionRecord",
    "FeatureLevelRecord",
    "FeatureRange",
    "FenceBrokerRecord",
    "KRaftVersionRecord",
    "LeaderChangeRecord",
    "LeaderChangeVoter",
    "MigrationOrder",
    "MigrationOrderRecord",
    "MigrationState",
    "NoOpRecord",
    "PartitionChangeRecord",
    "PartitionRecord",
    "ProducerIdsRecord",
    "QuorumRecoveryRecord",
    "QuotaEntity",
    "Record",
    "RegisterBrokerRecord",
    "RegisterControllerRecord",
    "RemoveAccessControlEntryRecord",
    "RemoveDelegationTokenRecord",
    "RemoveTopicRecord",
    "RemoveUserScramCredentialRecord",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "TopicRecord",
    "Unchanged",
    "UnfenceBrokerRecord",
    "UnregisterBrokerRecord",
    "UserScramCredentialRecord",
    "VersionRange",
    "Voter",
    "VotersRecord",
    "ZkMigrationStateRecord",
]
