"""Batches and snapshots for tests of the log: small, all different, deterministic."""

import uuid
from collections.abc import Sequence

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import Log
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.records import (
    AnyRecord,
    ConfigRecord,
    KRaftVersionRecord,
    NoOpRecord,
    VersionRange,
    Voter,
    VotersRecord,
)


def point(offset: int, epoch: int) -> OffsetAndEpoch:
    return OffsetAndEpoch(Offset(offset), Epoch(epoch))


def batch(
    base: int, epoch: int = 1, *, count: int = 2, fill: int = 20, mark: int = 0, time_ms: int = 0
) -> RecordBatch:
    """A data batch of `count` records; `fill` bytes of value in the first, `mark` makes it unlike its twins."""
    first = ConfigRecord(resource_type=2, resource_name=f"t{base}", name=f"m{mark}", value="v" * fill)
    records: list[AnyRecord] = [first, *(NoOpRecord() for _ in range(count - 1))]
    return RecordBatch.seal(
        records, base_offset=Offset(base), epoch=Epoch(epoch), append_time_ms=time_ms or 1_000 + base
    )


def voters(*node_ids: int) -> VotersRecord:
    return VotersRecord(
        voters=tuple(
            Voter(
                voter_id=NodeId(node_id),
                voter_directory_id=uuid.UUID(int=1_000 + node_id),
                endpoints=(Endpoint("CONTROLLER", f"host{node_id}", 9093),),
                kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
            )
            for node_id in node_ids
        )
    )


def control(base: int, epoch: int, *records: AnyRecord) -> RecordBatch:
    return RecordBatch.seal(
        records, base_offset=Offset(base), epoch=Epoch(epoch), append_time_ms=1_000 + base, is_control=True
    )


def row(count: int, *, base: int = 0, epoch: int = 1, fill: int = 20) -> list[RecordBatch]:
    """`count` data batches of two records each."""
    return [batch(base + 2 * index, epoch, fill=fill) for index in range(count)]


def snapshot_batches(
    snapshot_id: OffsetAndEpoch, *node_ids: int, data: int = 3, fill: int = 20
) -> list[RecordBatch]:
    composer = SnapshotComposer(snapshot_id, wall_ms=7_000)
    batches = [
        composer.header(
            last_contained_log_timestamp=5,
            kraft_version=KRaftVersionRecord(k_raft_version=1) if node_ids else None,
            voters=voters(*node_ids) if node_ids else None,
        )
    ]
    for index in range(data):
        record = ConfigRecord(resource_type=2, resource_name=f"s{index}", name="n", value="w" * fill)
        batches.append(composer.data([record]))
    return [*batches, composer.footer()]


def snapshot_bytes(snapshot_id: OffsetAndEpoch, *node_ids: int, data: int = 3, fill: int = 20) -> bytes:
    return b"".join(one.data for one in snapshot_batches(snapshot_id, *node_ids, data=data, fill=fill))


def write_snapshot(log: Log, snapshot_id: OffsetAndEpoch, *node_ids: int) -> bytes:
    """A snapshot of the node's own; returns its bytes."""
    writer = log.new_snapshot(snapshot_id)
    batches = snapshot_batches(snapshot_id, *node_ids)
    for one in batches:
        writer.append(one)
    writer.finish()
    return b"".join(one.data for one in batches)


def fetch_snapshot(log: Log, snapshot_id: OffsetAndEpoch, data: bytes, *, chunk: int = 100) -> None:
    """Hands a snapshot over in pieces, as a leader would; does not install it."""
    for position in range(0, len(data), chunk):
        log.write_snapshot_chunk(snapshot_id, position, data[position : position + chunk])


def everything(log: Log) -> Sequence[RecordBatch]:
    """Every batch that can be read."""
    summary = log.summary()
    found: list[RecordBatch] = []
    position = summary.start
    while position < summary.end.offset:
        found += log.read(position, summary.end.offset, 1_000_000)
        position = found[-1].end_offset
    return found
