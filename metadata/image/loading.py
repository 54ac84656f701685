"""From the batches of a snapshot to the image that they describe: for controllers, brokers and offline tools (pure)."""

from collections.abc import Iterable, Iterator

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import SnapshotHeaderRecord


class SnapshotLoad:
    """One snapshot on its way into memory, batch by batch, so that a shell can do other things in between.

    Each batch is applied at once: two million partitions in one delta would be applied in one step of many seconds.
    """

    def __init__(self, snapshot_id: OffsetAndEpoch) -> None:
        self._id = snapshot_id
        self._image = MetadataImage.EMPTY
        self._append_time_ms = 0

    def steps(self, batches: Iterable[RecordBatch]) -> Iterator[None]:
        """Takes one batch in per step.

        Raises:
            InvariantViolated: a record that cannot be read or cannot be true.
        """
        for batch in batches:
            try:
                self._take(batch)
            except (MalformedRecord, ReplayError) as problem:
                raise InvariantViolated(
                    f"snapshot {self._id} cannot be interpreted: {problem}. Either an older version of this program "
                    "reads what a newer one wrote, or the snapshot is damaged; start with the version that wrote it"
                ) from problem
            yield

    def image(self) -> MetadataImage:
        """The image at the snapshot's end."""
        return attrs.evolve(self._image, provenance=self._provenance())

    def _provenance(self) -> Provenance:
        return Provenance(
            offset=self._id.offset - 1, epoch=self._id.epoch, append_time_ms=self._append_time_ms
        )

    def _take(self, batch: RecordBatch) -> None:
        records = batch.records()
        if not batch.is_control:
            delta = MetadataDelta(self._image)
            delta.replay_all(records, batch.base_offset)
            self._image = delta.apply(self._provenance())
        elif isinstance(records[0], SnapshotHeaderRecord):
            self._append_time_ms = records[0].last_contained_log_timestamp
