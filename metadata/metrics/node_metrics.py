"""What a node tells besides its core: its disk, what it has applied, its listeners (shell)."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from quorate.metadata.metrics.declared import Family, Sample, counter, gauge, histogram
from quorate.metadata.metrics.quorum_metrics import quorum_samples
from quorate.metadata.node import RaftNode, now_ms

FLUSH_TIME: Final = histogram(
    "log_flush_duration_seconds",
    "How long flushes of the metadata log (fdatasync) took.",
    unit="seconds",
    kafka="LogFlushRateAndTimeMs",
)
FLUSHES_SLOW: Final = counter(
    "log_slow_flushes", "Flushes that took longer than the 3 ms for which a follower waits."
)
DISK_SLOW: Final = gauge(
    "disk_slow", "1 while the median of the last 20 flushes is more than quorate.slow.flush.ms."
)
APPLIED: Final = gauge(
    "metadata_last_applied_offset",
    "The last offset that was applied to this node's state; -1 before any.",
    unit="offset",
    kafka="LastAppliedRecordOffset",
)
APPLY_LAG: Final = gauge(
    "metadata_apply_lag_records",
    "Records that are known to be committed and not applied yet; absent before any is known.",
    unit="records",
    kafka="LastCommittedRecordOffset - LastAppliedRecordOffset",
)
SNAPSHOT_AGE: Final = gauge(
    "snapshot_generated_age_seconds",
    "Time since this node made a snapshot, or since it started if it has made none.",
    unit="seconds",
    kafka="LatestSnapshotGeneratedAgeMs",
)
SNAPSHOT_BYTES: Final = gauge(
    "snapshot_bytes_since",
    "Bytes of log applied since then; metadata.log.max.record.bytes.between.snapshots asks for the next one.",
    unit="bytes",
)
DISK_FREE: Final = gauge(
    "disk_free_bytes",
    "Room on the disk of the metadata directory when it was looked at last, a second ago at most.",
    unit="bytes",
)
DISK_LOW: Final = gauge(
    "disk_low", "1 while that is below quorate.free.space.floor.bytes: this node refuses writes then."
)
CONNECTIONS: Final = gauge(
    "listener_connections",
    "Connections that are open now.",
    labels=("listener",),
    kafka="connection-count",
)
REFUSED: Final = counter(
    "listener_connections_refused",
    "Connections closed at once because there were too many.",
    labels=("listener",),
)
CUT: Final = counter(
    "listener_connections_cut",
    "Connections closed because of what their client sent, or did not send in time.",
    labels=("listener",),
)

FAMILIES: Final[tuple[Family, ...]] = (
    FLUSH_TIME,
    FLUSHES_SLOW,
    DISK_SLOW,
    APPLIED,
    APPLY_LAG,
    SNAPSHOT_AGE,
    SNAPSHOT_BYTES,
    DISK_FREE,
    DISK_LOW,
    CONNECTIONS,
    REFUSED,
    CUT,
)


class CountedListener(Protocol):
    """What every listener of a node counts."""

    @property
    def name(self) -> str: ...

    @property
    def connections(self) -> int: ...

    @property
    def refused(self) -> int: ...

    @property
    def cut(self) -> int: ...


def node_samples(node: RaftNode) -> Iterator[Sample]:
    now = now_ms()
    yield from quorum_samples(node.core, now)
    yield FLUSH_TIME.of(node.flushes.seconds)
    yield FLUSHES_SLOW.of(node.flushes.slow)
    yield DISK_SLOW.of(node.flushes.speed.slow)
    yield APPLIED.of(node.applied - 1)
    if node.high_watermark is not None:
        yield APPLY_LAG.of(max(0, node.high_watermark - node.applied))
    yield SNAPSHOT_AGE.of(max(0, now - node.snapshot_schedule.last_ms) / 1000)
    yield SNAPSHOT_BYTES.of(node.snapshot_schedule.bytes_since)
    if node.free_bytes is not None:
        yield DISK_FREE.of(node.free_bytes)
    yield DISK_LOW.of(node.core.disk_low)


def listener_samples(listeners: Sequence[CountedListener]) -> Iterator[Sample]:
    for listener in listeners:
        yield CONNECTIONS.of(listener.connections, listener.name)
        yield REFUSED.of(listener.refused, listener.name)
        yield CUT.of(listener.cut, listener.name)
