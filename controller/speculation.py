"""What the active controller has decided and the quorum has not committed yet: batches, and the image after each.

    committed image ── batch ── batch ── open batch
                       image    image    image        each with the changes that led to it

An operation is replayed onto the newest image and encoded before anything is kept, so one that fails leaves no trace.
The operations of one turn gather in one open batch, which is sealed at the turn's end, or when the next
operation would not fit. Going back is dropping this object.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from quorate.controller.kafka_size import kafka_size
from quorate.controller.result import reject
from quorate.metadata.batch import HEADER_BYTES, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RecordBatch
from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.codec import encode_records, join_payload
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyDataRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
)

_KAFKA_HEADER_BYTES: Final = 61
_ROOM: Final = MAX_BATCH_BYTES - max(HEADER_BYTES, _KAFKA_HEADER_BYTES) - 3
"""For the records of a batch, in either form; 3 for the head of the CBOR array."""
_PIECE_RECORDS: Final = 1_000
"""A non-atomic operation is cut into pieces of this size, so that they fill open batches well."""
_TRANSACTIONS: Final = (BeginTransactionRecord, EndTransactionRecord, AbortTransactionRecord)
"""They steer readers of the log and never reach an image."""


@attrs.frozen
class Piece:
    """Records that stay together, replayed and encoded."""

    count: int
    encoded: bytes
    kafka_bytes: int
    delta: MetadataDelta
    image: MetadataImage
    transactional: bool
    """Among them are records that begin or end a transaction."""


@attrs.frozen
class Link:
    """A sealed batch that waits for its commit."""

    batch: RecordBatch
    image: MetadataImage
    deltas: tuple[MetadataDelta, ...]
    """The changes from the link before to `image`, in order."""
    transactional: bool = False


@attrs.define
class _OpenBatch:
    """What the next batch will hold."""

    pieces: list[Piece] = attrs.Factory(list)
    count: int = 0
    cbor_bytes: int = 0
    kafka_bytes: int = 0

    def takes(self, piece: Piece) -> bool:
        """Whether there is room for one more; always in an empty one."""
        return not self.pieces or (
            self.count + piece.count <= MAX_BATCH_RECORDS
            and self.cbor_bytes + len(piece.encoded) <= _ROOM
            and self.kafka_bytes + piece.kafka_bytes <= _ROOM
        )

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.count += piece.count
        self.cbor_bytes += len(piece.encoded)
        self.kafka_bytes += piece.kafka_bytes


class Speculation:
    """The chain of one leadership."""

    def __init__(self, image: MetadataImage, epoch: Epoch, next_offset: Offset) -> None:
        self.image = image
        """The newest: everything decided so far."""
        self.next_offset = next_offset
        self._epoch = epoch
        self._chain: deque[Link] = deque()
        self._open = _OpenBatch()
        self._sealed: list[RecordBatch] = []

    @property
    def is_pending(self) -> bool:
        """Whether `image` holds anything that is not committed."""
        return bool(self._chain or self._open.pieces)

    def follow_log_end(self, log_end: Offset) -> None:
        """The quorum appends records of its own (voters); ours come behind them."""
        check(log_end >= self.next_offset, f"the log ends at {log_end}, {self.next_offset} was expected")
        self.next_offset = log_end

    def add(
        self, records: Sequence[AnyDataRecord], *, atomic: bool, wall_ms: int
    ) -> tuple[MetadataDelta, ...]:
        """Takes an operation's records in; says what they change.

        Raises:
            RequestRejected: POLICY_VIOLATION; atomic, and too large for one batch.
            MalformedRecord, ReplayError: the records are wrong. In each case nothing was taken in.
        """
        if not records:
            return ()
        pieces = self._pieces(records, atomic, wall_ms)
        for piece in pieces:
            self._append(piece, wall_ms)
        return tuple([piece.delta for piece in pieces])

    def seal(self, wall_ms: int) -> None:
        """Closes the open batch, if there is one."""
        gathered, self._open = self._open, _OpenBatch()
        if not gathered.pieces:
            return
        pieces = gathered.pieces
        batch = RecordBatch.seal_payload(
            join_payload(gathered.count, [piece.encoded for piece in pieces]),
            record_count=gathered.count,
            base_offset=Offset(self.next_offset - gathered.count),
            epoch=self._epoch,
            append_time_ms=wall_ms,
        )
        deltas = tuple([piece.delta for piece in pieces])
        transactional = True in [piece.transactional for piece in pieces]
        self._chain.append(Link(batch, pieces[-1].image, deltas, transactional))
        self._sealed.append(batch)

    def take_sealed(self) -> tuple[RecordBatch, ...]:
        """The sealed batches that were not handed out yet."""
        sealed = tuple(self._sealed)
        self._sealed.clear()
        return sealed

    def committed(self, batch: RecordBatch) -> Link | None:
        """The link of a committed batch; None if it is not one of ours."""
        if not self._chain:
            return None
        first = self._chain[0].batch
        if first.base_offset != batch.base_offset or first.epoch != batch.epoch:
            check(
                batch.end_offset <= first.base_offset,
                f"a batch at {batch.base_offset} in epoch {batch.epoch} was committed in place of ours",
            )
            return None
        return self._chain.popleft()

    def _pieces(self, records: Sequence[AnyDataRecord], atomic: bool, wall_ms: int) -> list[Piece]:
        image, end = self.image, self.next_offset
        pieces: list[Piece] = []
        waiting = [records] if atomic or len(records) <= _PIECE_RECORDS else [*_cut(records, _PIECE_RECORDS)]
        waiting.reverse()
        while waiting:
            part = waiting.pop()
            encoded = encode_records(part)
            size = kafka_size(part, len(encoded))
            if len(part) > MAX_BATCH_RECORDS or max(size, len(encoded)) > _ROOM:
                if atomic or len(part) == 1:
                    reject(
                        ErrorCode.policy_violation,
                        f"Unable to perform excessively large batch operation: its {len(part)} metadata records have "
                        f"{max(size, len(encoded))} bytes, one batch holds {_ROOM}. Nothing was changed. Split the "
                        "request.",
                    )
                waiting += reversed([*_cut(part, (len(part) + 1) // 2)])
                continue
            end = Offset(end + len(part))
            delta = MetadataDelta(image)
            transactional = False
            for record in part:
                if isinstance(record, _TRANSACTIONS):
                    transactional = True
                else:
                    delta.replay(record)
            image = delta.apply(Provenance(offset=end - 1, epoch=self._epoch, append_time_ms=wall_ms))
            pieces.append(Piece(len(part), encoded, size, delta, image, transactional))
        return pieces

    def _append(self, piece: Piece, wall_ms: int) -> None:
        if not self._open.takes(piece):
            self.seal(wall_ms)
        self._open.add(piece)
        self.image = piece.image
        self.next_offset = Offset(self.next_offset + piece.count)


def _cut(records: Sequence[AnyDataRecord], size: int) -> Iterator[Sequence[AnyDataRecord]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]
