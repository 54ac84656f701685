"""Feature levels: what each metadata.version brought, which ones we offer, which record versions go with them.

A cluster finalizes one level per feature, and every node must support it. metadata.version decides which
records and record versions may be written; the version is stored with each record, so a reader never asks
this table. Only levels whose whole meaning is implemented are offered (`SUPPORTED`); the others are known so
that foreign logs can be read and explained.

Facts are those of Kafka 4.3.1's `MetadataVersion` and `Feature`; levels below 7 are those of 3.9.2. Levels
above 21 were numbered differently in unreleased 3.9 code: nothing above 21 is ever said to a 3.9 node.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.records import (
    AnyDataRecord,
    BeginTransactionRecord,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    DataRecord,
    DelegationTokenRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    FeatureRange,
    FenceBrokerRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveDelegationTokenRecord,
    RemoveUserScramCredentialRecord,
    UnfenceBrokerRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)
from quorate.metadata.records.flow import AbortTransactionRecord

METADATA_VERSION: Final = "metadata.version"
KRAFT_VERSION: Final = "kraft.version"
ELR_VERSION: Final = "eligible.leader.replicas.version"
GROUP_VERSION: Final = "group.version"
SHARE_VERSION: Final = "share.version"
STREAMS_VERSION: Final = "streams.version"
TRANSACTION_VERSION: Final = "transaction.version"

LIGHTWEIGHT: Final = "quorate.lightweight"
"""A mark, not a level: a broker whose registration lists this feature (1 to 1) holds no topic data, so its replicas
are in sync whenever it is unfenced. Never finalized."""

# The first level with …
LEADER_RECOVERY_SINCE: Final = 3
FEATURE_RECORDS_SINCE: Final = 4
NO_OP_SINCE: Final = 5
REGISTRATION_CHANGE_SINCE: Final = 6
CONTROLLED_SHUTDOWN_SINCE: Final = 7
MIGRATION_SINCE: Final = 8
SCRAM_SINCE: Final = 11
ISR_SHRINK_KEEPS_LEADER_EPOCH_SINCE: Final = 12
TRANSACTIONS_SINCE: Final = 13
DELEGATION_TOKENS_SINCE: Final = 14
CONTROLLER_REGISTRATION_SINCE: Final = 15
DIRECTORIES_SINCE: Final = 17
KRAFT_VERSION_1_SINCE: Final = 21
ELR_SINCE: Final = 23
CORDONED_DIRECTORIES_SINCE: Final = 30

LOWEST_METADATA_VERSION: Final = 1
DEFAULT_METADATA_VERSION: Final = 21
"""What `storage format` writes unless told otherwise: 3.9-IV0, the newest level that 3.9 and 4.x nodes share."""


@attrs.frozen(kw_only=True)
class MetadataVersionLevel:
    """One level of metadata.version."""

    level: int
    name: str
    """Kafka's name for it: the release that it was made for, and a counter."""
    changes_metadata: bool
    """It brought records or fields that older levels do not have, so going back below it could lose them."""
    brought: str


def _levels(*rows: tuple[int, str, bool, str]) -> dict[int, MetadataVersionLevel]:
    return {
        level: MetadataVersionLevel(level=level, name=name, changes_metadata=changes, brought=brought)
        for level, name, changes, brought in rows
    }


METADATA_VERSIONS: Final[Mapping[int, MetadataVersionLevel]] = _levels(
    (1, "3.0-IV1", True, "the first layout of the metadata log"),
    (2, "3.1-IV0", False, "topic ids in Fetch"),
    (3, "3.2-IV0", True, "leader recovery state after an unclean election"),
    (4, "3.3-IV0", False, "feature records"),
    (5, "3.3-IV1", True, "no-op records"),
    (6, "3.3-IV2", True, "broker registration changes instead of fence and unfence"),
    (7, "3.3-IV3", True, "controlled shutdown in the registration"),
    (8, "3.4-IV0", True, "migration from ZooKeeper"),
    (9, "3.5-IV0", False, "tiered storage"),
    (10, "3.5-IV1", False, "broker epochs in Fetch and AlterPartition"),
    (11, "3.5-IV2", True, "SCRAM credentials"),
    (12, "3.6-IV0", False, "an ISR that shrinks keeps its leader epoch"),
    (13, "3.6-IV1", True, "metadata transactions"),
    (14, "3.6-IV2", True, "delegation tokens"),
    (15, "3.7-IV0", True, "controller registration"),
    (16, "3.7-IV1", False, "nothing (reserved)"),
    (17, "3.7-IV2", True, "log directories of replicas"),
    (18, "3.7-IV3", False, "nothing (once eligible leader replicas)"),
    (19, "3.7-IV4", False, "node endpoints in Fetch"),
    (20, "3.8-IV0", False, "nothing (marks 3.8)"),
    (21, "3.9-IV0", False, "voters in the log (kraft.version 1)"),
    (22, "4.0-IV0", False, "group.version 1"),
    (23, "4.0-IV1", True, "eligible leader replicas"),
    (24, "4.0-IV2", False, "transaction.version 1 and 2"),
    (25, "4.0-IV3", False, "the newest ListOffsets"),
    (26, "4.1-IV0", False, "eligible leader replicas by default"),
    (27, "4.1-IV1", False, "Fetch 18: the high watermark of observers"),
    (28, "4.2-IV0", False, "share groups"),
    (29, "4.2-IV1", False, "streams groups"),
    (30, "4.3-IV0", True, "cordoned log directories"),
)
"""Every level that a Kafka release finalizes; 31 is known to 4.3.1 and not released."""


@attrs.frozen(kw_only=True)
class SupportedRange:
    """The levels of a feature that this code implements completely."""

    lowest: int
    highest: int

    def __contains__(self, level: int) -> bool:
        return self.lowest <= level <= self.highest


SUPPORTED: Final[Mapping[str, SupportedRange]] = {
    METADATA_VERSION: SupportedRange(lowest=21, highest=30),
    KRAFT_VERSION: SupportedRange(lowest=0, highest=1),
    ELR_VERSION: SupportedRange(lowest=0, highest=1),
    # What these mean is the brokers' business: the quorum keeps their levels, and lets no broker in that lacks one.
    GROUP_VERSION: SupportedRange(lowest=0, highest=1),
    SHARE_VERSION: SupportedRange(lowest=0, highest=1),
    STREAMS_VERSION: SupportedRange(lowest=0, highest=1),
    TRANSACTION_VERSION: SupportedRange(lowest=0, highest=2),
}
"""What this code offers, by feature. A feature that is not here is at level 0."""


NEEDED_METADATA_VERSION: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    KRAFT_VERSION: ((1, KRAFT_VERSION_1_SINCE),),
    GROUP_VERSION: ((1, 22),),
    ELR_VERSION: ((1, ELR_SINCE),),
    TRANSACTION_VERSION: ((2, 24),),
}
"""feature: (its level, the lowest metadata.version with which that level works). Also of features that are not offered
here: a log of Kafka's may have them finalized."""


_DEFAULTS_SINCE: Final = (
    # (feature, the level that a new cluster has, since which metadata.version)
    (GROUP_VERSION, 1, 22),
    (TRANSACTION_VERSION, 2, 24),
    (ELR_VERSION, 1, 26),
    (SHARE_VERSION, 1, 28),
    (STREAMS_VERSION, 1, 29),
)


def default_features(metadata_version: int) -> dict[str, int]:
    """What a new cluster at this level finalizes unless told otherwise, as Kafka's storage tool does: by feature."""
    return {
        name: level
        for name, level, since in _DEFAULTS_SINCE
        if metadata_version >= since and name in SUPPORTED
    }


def supported_ranges() -> tuple[FeatureRange, ...]:
    """`SUPPORTED` as a registration says it, by name."""
    return tuple(
        FeatureRange(name=name, min_supported_version=r.lowest, max_supported_version=r.highest)
        for name, r in sorted(SUPPORTED.items())
    )


_VERSIONS_SINCE: Final[Mapping[type[DataRecord], tuple[tuple[int, int], ...]]] = {
    # class: (first metadata.version, record version), ascending
    RegisterBrokerRecord: (
        (1, 0),
        (CONTROLLED_SHUTDOWN_SINCE, 1),
        (MIGRATION_SINCE, 2),
        (DIRECTORIES_SINCE, 3),
        (CORDONED_DIRECTORIES_SINCE, 4),
    ),
    PartitionRecord: ((1, 0), (DIRECTORIES_SINCE, 1), (ELR_SINCE, 2)),
    PartitionChangeRecord: ((1, 0), (DIRECTORIES_SINCE, 1), (ELR_SINCE, 2)),
    BrokerRegistrationChangeRecord: (
        (REGISTRATION_CHANGE_SINCE, 0),
        (CONTROLLED_SHUTDOWN_SINCE, 1),
        (DIRECTORIES_SINCE, 2),
        (CORDONED_DIRECTORIES_SINCE, 3),
    ),
    FeatureLevelRecord: ((FEATURE_RECORDS_SINCE, 0),),
    NoOpRecord: ((NO_OP_SINCE, 0),),
    ZkMigrationStateRecord: ((MIGRATION_SINCE, 0),),
    UserScramCredentialRecord: ((SCRAM_SINCE, 0),),
    RemoveUserScramCredentialRecord: ((SCRAM_SINCE, 0),),
    BeginTransactionRecord: ((TRANSACTIONS_SINCE, 0),),
    EndTransactionRecord: ((TRANSACTIONS_SINCE, 0),),
    AbortTransactionRecord: ((TRANSACTIONS_SINCE, 0),),
    DelegationTokenRecord: ((DELEGATION_TOKENS_SINCE, 0),),
    RemoveDelegationTokenRecord: ((DELEGATION_TOKENS_SINCE, 0),),
    RegisterControllerRecord: ((CONTROLLER_REGISTRATION_SINCE, 0),),
    ClearElrRecord: ((ELR_SINCE, 0),),
}
_LAST_WITH_FENCE_RECORDS: Final = REGISTRATION_CHANGE_SINCE - 1


class NotInThisVersion(ValueError):
    """A record that does not exist at a metadata.version."""


def record_version(record: type[DataRecord], metadata_version: int) -> int:
    """The version in which a record is written while the cluster is at `metadata_version`.

    Raises:
        NotInThisVersion: the record does not exist at that level.
    """
    if record in (FenceBrokerRecord, UnfenceBrokerRecord) and metadata_version > _LAST_WITH_FENCE_RECORDS:
        raise NotInThisVersion(_absent(record, metadata_version))
    found: int | None = None
    for since, version in _VERSIONS_SINCE.get(record, ((LOWEST_METADATA_VERSION, 0),)):
        if metadata_version >= since:
            found = version
    if found is None:
        raise NotInThisVersion(_absent(record, metadata_version))
    return found


def _absent(record: type[DataRecord], metadata_version: int) -> str:
    return f"{record.__name__} does not exist at metadata.version {describe_level(metadata_version)}"


def describe_level(metadata_version: int) -> str:
    """A level as people know it: `21 (3.9-IV0)`."""
    known = METADATA_VERSIONS.get(metadata_version)
    return str(metadata_version) if known is None else f"{metadata_version} ({known.name})"


def parse_metadata_version(text: str) -> int:
    """A level from `21`, `3.9-IV0` or `3.9` (the last level of that release).

    Raises:
        ValueError: no such level.
    """
    if text.isdecimal() and int(text) in METADATA_VERSIONS:
        return int(text)
    matching = [
        v.level for v in METADATA_VERSIONS.values() if v.name == text or v.name.startswith(f"{text}-")
    ]
    if not matching:
        known = METADATA_VERSIONS[max(METADATA_VERSIONS)]
        raise ValueError(
            f"{text!r} is no metadata.version: give a level from {LOWEST_METADATA_VERSION} to {known.level}, "
            f"or a name such as {METADATA_VERSIONS[DEFAULT_METADATA_VERSION].name}"
        )
    return max(matching)


def metadata_changed_between(one: int, other: int) -> bool:
    """Whether a level in (lower, higher] brought new metadata, so that going back down could lose some."""
    lower, higher = sorted((one, other))
    return any(v.changes_metadata for v in METADATA_VERSIONS.values() if lower < v.level <= higher)


def format_records(
    metadata_version: int = DEFAULT_METADATA_VERSION, other_features: Mapping[str, int] | None = None
) -> tuple[AnyDataRecord, ...]:
    """The first records of a new cluster: metadata.version before all else, since it says how to read the rest."""
    others = sorted((other_features or {}).items())
    return (
        FeatureLevelRecord(name=METADATA_VERSION, feature_level=metadata_version),
        *(FeatureLevelRecord(name=name, feature_level=level) for name, level in others if level != 0),
    )
