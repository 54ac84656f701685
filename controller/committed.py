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
from quorate.metadata.records import AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord


@attrs.frozen
class Publication:
    """The next committed image, and the changes that led to it from the one before, in order."""

    image: MetadataImage
    deltas: tuple[MetadataDelta, ...]


@attrs.define
class _Transaction:
    """An open one. Its records are replayed as they come, and shown when it ends: a copy of a whole cluster, replayed
    in one go, would stop the loop for longer than an election timeout."""

    began_at: int
    image: MetadataImage
    """The image that will be shown, as far as it goes."""
    deltas: list[MetadataDelta] = attrs.Factory(list)


class CommittedImage:
    """The image up to the last committed record that is visible (an open transaction is not)."""

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY
        self.end = Offset(0)
        """The offset after the last batch that was taken in."""
        self._transaction: _Transaction | None = None
        self._delta: MetadataDelta | None = None
        self._provenance: Provenance | None = None

    @property
    def transaction_open(self) -> bool:
        return self._transaction is not None

    def load(self, image: MetadataImage, end: Offset) -> None:
        """A snapshot takes the place of everything."""
        self.image = image
        self.end = end
        self._transaction = None

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
            if link is not None and not link.transactional:
                yield from self._take_own(link)
            elif batch.is_control:
                if self._transaction is None:
                    self._provenance = _provenance(batch, batch.end_offset - 1)
            else:
                yield from self._replay(batch)
        yield from self._flush()

    def _take_own(self, link: Link) -> Iterator[Publication]:
        """Replayed already, when it was proposed."""
        if self._transaction is None:
            yield from self._flush()
            self.image = link.image
            yield Publication(link.image, link.deltas)
        else:
            self._transaction.image = link.image
            self._transaction.deltas += link.deltas

    def _replay(self, batch: RecordBatch) -> Iterator[Publication]:
        try:
            delta: MetadataDelta | None = None
            for offset, record in enumerate(batch.records(), batch.base_offset):
                match record:
                    case BeginTransactionRecord():
                        if self._transaction is not None:
                            raise ReplayError(
                                f"offset {offset}: {record} inside the transaction that began at "
                                f"{self._transaction.began_at}"
                            )
                        yield from self._flush()
                        self._transaction = _Transaction(offset, self.image)
                    case EndTransactionRecord() | AbortTransactionRecord():
                        if self._transaction is None:
                            raise ReplayError(f"offset {offset}: {record} outside of any transaction")
                        self._inside(delta, batch)
                        delta = None
                        ended, self._transaction = self._transaction, None
                        if isinstance(record, EndTransactionRecord):
                            self.image = attrs.evolve(ended.image, provenance=_provenance(batch, offset))
                            yield Publication(self.image, tuple(ended.deltas))
                        else:
                            self._provenance = _provenance(batch, offset)
                    case _ if self._transaction is not None:
                        if delta is None:
                            delta = MetadataDelta(self._transaction.image)
                        delta.replay(record, offset)
                    case _:
                        if self._delta is None:
                            self._delta = MetadataDelta(self.image)
                        self._delta.replay(record, offset)
                        self._provenance = _provenance(batch, offset)
            self._inside(delta, batch)
        except (ReplayError, MalformedRecord) as error:
            raise InvariantViolated(
                f"the committed batch at offset {batch.base_offset}, epoch {batch.epoch}, cannot be interpreted: "
                f"{error}. This node runs older code than the one that wrote it, or its disk is damaged: upgrade it, "
                "or give it a new directory and let it fetch everything again."
            ) from error

    def _inside(self, delta: MetadataDelta | None, batch: RecordBatch) -> None:
        """The part of a batch that belongs to the open transaction."""
        if delta is not None and self._transaction is not None:
            self._transaction.image = delta.apply(_provenance(batch, batch.end_offset - 1))
            self._transaction.deltas.append(delta)

    def _flush(self) -> Iterator[Publication]:
        """Makes one image of what was replayed since the last."""
        if self._provenance is None:
            return
        delta = self._delta if self._delta is not None else MetadataDelta(self.image)
        self.image = delta.apply(self._provenance)
        self._delta = self._provenance = None
        yield Publication(self.image, (delta,))


def _provenance(batch: RecordBatch, offset: int) -> Provenance:
    return Provenance(offset=offset, epoch=batch.epoch, append_time_ms=batch.append_time_ms)
