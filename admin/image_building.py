"""An image from batches: a snapshot, or nothing, and the log behind it; as every node does it, but all at once."""

from collections.abc import Iterable

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.transactions import TransactionGate


class ImageBuilder:
    """Takes a snapshot and then batches, in the order of the log; `image` is what they amount to."""

    def __init__(self) -> None:
        self._start_from(MetadataImage.EMPTY)

    def load_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[RecordBatch]) -> None:
        """Starts anew from a snapshot.

        Raises:
            InvariantViolated: a record that cannot be read or cannot be true.
        """
        load = SnapshotLoad(snapshot_id)
        for _ in load.steps(batches):
            pass
        self._start_from(load.image())

    def add(self, batch: RecordBatch) -> None:
        """Takes one more batch of the log.

        Raises:
            ReplayError: a record that cannot be true.
            MalformedRecord: bytes that are no records.
        """
        last = batch.end_offset - 1
        if not batch.is_control:
            release = self._gate.offer(batch.base_offset, batch.records())
            if release is None:
                return
            last = release.last_offset
            for offset, record in release.records:
                self._delta.replay(record, offset)
        elif self._gate.is_open:
            return
        self._provenance = Provenance(offset=last, epoch=batch.epoch, append_time_ms=batch.append_time_ms)

    @property
    def transaction_open(self) -> bool:
        """A transaction was begun whose end did not come: its records are not in `image`."""
        return self._gate.is_open

    def image(self) -> MetadataImage:
        """All that was taken in; records of a transaction that has not ended are not."""
        return self._delta.apply(self._provenance)

    def _start_from(self, image: MetadataImage) -> None:
        self._delta = MetadataDelta(image)
        self._gate = TransactionGate()
        self._provenance = image.provenance
