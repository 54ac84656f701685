"""From committed batches to images, and when an image may be shown: the broker's metadata loader.

Pure: batches in, at most one `Publication` out. Replay is the delta's, the same as at the controllers; what is added
here is a broker's patience:
- Nothing is published before everything that was committed when the high watermark became known is loaded, and at
  least one record of data with it. A broker that showed an old image would name leaders that were fenced long ago.
- A transaction becomes visible at its end, all at once; an aborted one only moves the offset on.
- A snapshot takes the place of everything, an open transaction included; what it changed is found by comparing.

The first publication is the whole image against the empty one. A committed record that cannot be interpreted ends the
process: this node would otherwise show half of the truth for ever (Kafka's broker counts the error and goes on).
"""

import enum
from collections.abc import Iterable
from functools import cached_property

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import FIRST_OFFSET, Offset
from quorate.metadata.image.changes import Changes, difference
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.transactions import TransactionGate


class Cause(enum.Enum):
    """What led to a publication."""

    FIRST = "the first image"
    LOG = "committed records"
    SNAPSHOT = "a snapshot"


@attrs.frozen(eq=False)
class Publication:
    """The next image for everybody at this broker, and how it came from the one that was published before."""

    before: MetadataImage
    image: MetadataImage
    cause: Cause
    _delta: MetadataDelta | None = None

    @cached_property
    def changes(self) -> Changes:
        """What changed; found out when first asked for, since after a snapshot that means comparing images."""
        return difference(self.before, self.image) if self._delta is None else self._delta.changes()


class MetadataLoader:
    """The image on its way along the committed log."""

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY
        """Everything that was taken in and is visible, published or not."""
        self.end = FIRST_OFFSET
        """The offset after the last batch that was taken in."""
        self._gate = TransactionGate()
        self._has_seen_data = False
        self._published: MetadataImage | None = None

    @property
    def published(self) -> MetadataImage | None:
        """The image that was published last; None before the first."""
        return self._published

    @property
    def transaction_open(self) -> bool:
        """Inside a transaction the image cannot be written as a snapshot of the log's end."""
        return self._gate.is_open

    def load(self, image: MetadataImage, end: Offset) -> Publication | None:
        """A snapshot that ends at `end` takes the place of everything."""
        self.image = image
        self.end = end
        self._gate.reset()
        self._has_seen_data = True
        # At start the newest snapshot of the own disk comes first, and the log behind it: too early to show.
        return None if self._published is None else self._publish(Cause.SNAPSHOT, None)

    def take(self, batches: Iterable[RecordBatch], high_watermark: Offset) -> Publication | None:
        """Takes committed batches in, which follow what came before; `high_watermark` is what is known of it now.

        Raises:
            InvariantViolated: a committed record cannot be read or cannot be true.
        """
        delta = MetadataDelta(self.image)
        reached: Provenance | None = None
        for batch in batches:
            check(
                batch.base_offset == self.end,
                f"a batch at {batch.base_offset} is committed after one that ends at {self.end}",
            )
            self.end = batch.end_offset
            last = self._replay(batch, delta)
            if last is not None:
                reached = Provenance(offset=last, epoch=batch.epoch, append_time_ms=batch.append_time_ms)
        if reached is not None:
            self.image = delta.apply(reached)
        if self._published is not None:
            return None if reached is None else self._publish(Cause.LOG, delta)
        if self._has_seen_data and self.end >= high_watermark:
            return self._publish(Cause.FIRST, None)
        return None

    def _replay(self, batch: RecordBatch, delta: MetadataDelta) -> int | None:
        """The last offset that is visible after the batch, or None if it moved nothing."""
        if batch.is_control:
            return None if self._gate.is_open else batch.end_offset - 1
        try:
            release = self._gate.offer(batch.base_offset, batch.records())
            if release is None:
                return None
            for offset, record in release.records:
                delta.replay(record, offset)
        except (ReplayError, MalformedRecord) as error:
            raise InvariantViolated(
                f"the committed batch at offset {batch.base_offset}, epoch {batch.epoch}, cannot be interpreted: "
                f"{error}. This broker runs older code than the controller that wrote it, or its disk is damaged: "
                "upgrade it, or give it a new directory and let it fetch everything again."
            ) from error
        self._has_seen_data = self._has_seen_data or bool(release.records)
        return release.last_offset

    def _publish(self, cause: Cause, delta: MetadataDelta | None) -> Publication:
        before = self._published or MetadataImage.EMPTY
        self._published = self.image
        return Publication(before, self.image, cause, delta)
