"""The record of a quorum that was made anew without a majority of the old one (`quorate storage recover|restore`).

Kafka knows no such thing: in Kafka's form a NoOp stands at its offset (`DataRecord.in_kafka`).
"""

import uuid
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.records.declare import BYTES, INT32, INT64, STRING, UUID, ArrayOf, DataRecord, ours


@frozen(kw_only=True)
class QuorumRecoveryRecord(DataRecord):
    """Somebody decided what the log is from here on: who, when, from what, and which other logs were looked at.

    Whoever holds a log without this record may hold records that this log has given up.
    """

    api_key: ClassVar = 20_001
    versions: ClassVar = (0, 0)
    in_kafka: ClassVar = False

    recovery_id: uuid.UUID = field(metadata=ours(UUID, "Names this log among all that had its cluster id."))
    previous_recovery_id: uuid.UUID = field(
        metadata=ours(UUID, "The recovery id before; zero if there was none.")
    )
    kind: str = field(metadata=ours(STRING, "recover: from a node's directory; restore: from a backup."))
    time_ms: int = field(
        metadata=ours(INT64, "When, wall clock ms; of a restore, of the last batch in the backup.")
    )
    operator: str = field(metadata=ours(STRING, "Who did it: user@host; empty for a restore."))
    source: str = field(
        metadata=ours(STRING, "The directory that was chosen; of a restore, the backup's SHA-256.")
    )
    source_directory_id: uuid.UUID = field(
        metadata=ours(UUID, "The directory id of the source; zero for a backup.")
    )
    source_end_offset: int = field(metadata=ours(INT64, "Where the log that was kept ends, exclusive."))
    source_epoch: int = field(metadata=ours(INT32, "The epoch of the last record that was kept."))
    epoch: int = field(metadata=ours(INT32, "The first epoch of the new quorum."))
    digest: bytes = field(metadata=ours(BYTES, "The digest of the image at the end of what was kept."))
    shown: tuple[str, ...] = field(
        metadata=ours(ArrayOf(STRING), "All logs that were looked at, one sentence each.")
    )
