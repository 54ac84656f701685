"""The image of what is committed, on every controller, whether it leads or stands by.

A standby replays. The active controller has replayed its own batches when it proposed them, so its image moves along
the chain instead. Either way what changed is handed on as publications, one per link or run of replayed batches.
"""

from collections.abc import Callable, Iterable, Iterator

import attrs

from quorate.controller.speculation import Link
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import Offset
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.transactions import TransactionGate


@attrs.frozen
class Publication:
    """The next committed image, and the changes that led to it from the one before, in order."""

    image: MetadataImage
    deltas: tuple[MetadataDelta, ...]


class CommittedImage:
    """The image up to the last committed record that is visible (an open transaction is not)."""

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY
        self.end = Offset(0)
        """The offset after the last batch that was taken in."""
        self._gate = TransactionGate()
        self._delta: MetadataDelta | None = None
        self._provenance: Provenance | None = None

    @property
    def transaction_open(self) -> bool:
        return self._gate.is_open

    def load(self, image: MetadataImage, end: Offset) -> None:
        """A snapshot takes the place of everything."""
        self.image = image
        self.end = end
        self._gate.reset()

    def take(
        self, batches: Iterable[RecordBatch], own_link: Callable[[RecordBatch], Link | None]
    ) -> Iterator[Publication]:
        """Moves on over committed batches.

        Raises:
            InvariantViolated: a committed record cannot be read or cannot be true. The process must end.
        """
        for batch in batches:
            check(
                batch.base_offset == self.end,
                f"a batch at {batch.base_offset} is committed after one that ends at {self.end}",
            )
            self.end = batch.end_offset
            link = own_link(batch)
            if link is not None and not link.transactional and not self._gate.is_open:
                yield from self._flush()
                self.image = link.image
                yield Publication(link.image, link.deltas)
            elif batch.is_control:
                self._moved_to(batch, batch.end_offset - 1)
            else:
                self._replay(batch)
        yield from self._flush()

    def _replay(self, batch: RecordBatch) -> None:
        try:
            release = self._gate.offer(batch.base_offset, batch.records())
            if release is None:
                return
            if self._delta is None:
                self._delta = MetadataDelta(self.image)
            for offset, record in release.records:
                self._delta.replay(record, offset)
        except (ReplayError, MalformedRecord) as error:
            raise InvariantViolated(
                f"the committed batch at offset {batch.base_offset}, epoch {batch.epoch}, cannot be interpreted: "
                f"{error}. This node runs older code than the one that wrote it, or its disk is damaged: upgrade it, "
                "or give it a new directory and let it fetch everything again."
            ) from error
        self._moved_to(batch, release.last_offset)

    def _moved_to(self, batch: RecordBatch, last_offset: int) -> None:
        if not self._gate.is_open or last_offset < batch.end_offset - 1:
            self._provenance = Provenance(
                offset=last_offset, epoch=batch.epoch, append_time_ms=batch.append_time_ms
            )

    def _flush(self) -> Iterator[Publication]:
        """Makes one image of what was replayed since the last."""
        if self._provenance is None:
            return
        delta = self._delta if self._delta is not None else MetadataDelta(self.image)
        self.image = delta.apply(self._provenance)
        self._delta = self._provenance = None
        yield Publication(self.image, (delta,))
