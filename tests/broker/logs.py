"""Committed logs for tests of the broker: records sealed into batches, as a node hands them to its state machine."""

from collections.abc import Iterable, Sequence

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset
from quorate.metadata.records import AnyRecord, LeaderChangeRecord


def sealed(pieces: Iterable[Sequence[AnyRecord]], start: int = 0, epoch: int = 1) -> list[RecordBatch]:
    """One batch per piece; a piece that holds control records must hold nothing else."""
    batches = []
    for piece in pieces:
        batch = RecordBatch.seal(
            piece,
            base_offset=Offset(start),
            epoch=Epoch(epoch),
            append_time_ms=1_000 + start,
            is_control=isinstance(piece[0], LeaderChangeRecord),
        )
        start = batch.end_offset
        batches.append(batch)
    return batches


def leader_change(leader: int = 3001) -> LeaderChangeRecord:
    return LeaderChangeRecord(version=0, leader_id=NodeId(leader), voters=(), granting_voters=())
