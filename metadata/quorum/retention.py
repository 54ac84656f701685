"""What of log and snapshots is more than the operator wants to keep (metadata.max.retention.bytes and .ms).

As in Kafka the log is let go from its beginning, a snapshot at a time: it then begins where the oldest snapshot that
is kept ends. The newest snapshot and the records behind it always stay, whatever the limits say. Here is only the wish;
the core knows who still reads what, and has the last word (`snapshots.let_go`).
"""

import attrs

from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.log.interface import LogUse, SnapshotUse


@attrs.frozen(kw_only=True)
class RetentionLimits:
    """How much is kept, and for how long; None: without a limit."""

    max_bytes: int | None = None
    """Of log and snapshots together."""
    max_age_ms: int | None = None
    """Since the last record that a snapshot holds."""

    @classmethod
    def of(cls, max_bytes: int, max_age_ms: int) -> "RetentionLimits":
        """From Kafka's settings, where -1 is no limit."""
        return cls(
            max_bytes=None if max_bytes < 0 else max_bytes, max_age_ms=None if max_age_ms < 0 else max_age_ms
        )


def oldest_kept(use: LogUse, limits: RetentionLimits, wall_ms: int) -> OffsetAndEpoch | None:
    """The snapshot with which log and snapshots should begin; None: nothing is too much."""
    kept = [one for one in use.snapshots if one.id.offset > 0]  # 0-0 is never shipped, and holds no records
    before = len(kept)
    while len(kept) > 1 and (
        kept[0].id.offset < use.start  # nobody could go on from there: the log of that time is gone
        or _too_large(use, kept, limits)
        or _too_old(kept[0], limits, wall_ms)
    ):
        kept.pop(0)
    return kept[0].id if len(kept) < before else None


def _too_large(use: LogUse, kept: list[SnapshotUse], limits: RetentionLimits) -> bool:
    if limits.max_bytes is None:
        return False
    start = use.start if len(kept) == len(use.snapshots) else kept[0].id.offset
    log = sum(part.byte_count for part in use.parts if part.end > start)
    return log + sum(one.byte_count for one in kept) > limits.max_bytes


def _too_old(oldest: SnapshotUse, limits: RetentionLimits, wall_ms: int) -> bool:
    return limits.max_age_ms is not None and wall_ms - oldest.time_ms > limits.max_age_ms
