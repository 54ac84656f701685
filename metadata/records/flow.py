"""Records that steer the log itself: no-ops, transactions (KIP-868), the migration state (KIP-866)."""

import enum
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.records.declare import INT8, STRING, DataRecord, kafka


class MigrationState(enum.IntEnum):
    """How far the move from ZooKeeper is; the numbers of ZkMigrationState records."""

    NONE = 0
    """The cluster was born in the quorum."""
    MIGRATION = 1
    """Metadata was copied; every change goes to ZooKeeper too."""
    PRE_MIGRATION = 2
    """The quorum has taken over and is about to copy."""
    POST_MIGRATION = 3
    """Finished: ZooKeeper is left behind."""
    ZK = 4
    """Never written: what a node says of a log that has no such record."""


@frozen(kw_only=True)
class NoOpRecord(DataRecord):
    """Changes nothing: moves the high watermark while nobody asks for anything (KIP-835)."""

    api_key: ClassVar = 20
    versions: ClassVar = (0, 0)


@frozen(kw_only=True)
class BeginTransactionRecord(DataRecord):
    """What follows becomes visible together, at the End record."""

    api_key: ClassVar = 23
    versions: ClassVar = (0, 0)

    name: str | None = field(
        default=None, metadata=kafka(STRING, "What the transaction is for, or none.", tag=0, nullable=True)
    )


@frozen(kw_only=True)
class EndTransactionRecord(DataRecord):
    """Makes the transaction's records visible."""

    api_key: ClassVar = 24
    versions: ClassVar = (0, 0)


@frozen(kw_only=True)
class AbortTransactionRecord(DataRecord):
    """Throws the transaction's records away."""

    api_key: ClassVar = 25
    versions: ClassVar = (0, 0)

    reason: str | None = field(
        default=None, metadata=kafka(STRING, "Why it was aborted, or none.", tag=0, nullable=True)
    )


@frozen(kw_only=True)
class ZkMigrationStateRecord(DataRecord):
    """Moves the migration from ZooKeeper to its next state."""

    api_key: ClassVar = 21
    versions: ClassVar = (0, 0)

    zk_migration_state: int = field(metadata=kafka(INT8, "A number of MigrationState."))
