"""Metadata transactions: records that become visible together, over several batches (KIP-868).

The gate stands between committed batches and the delta. Outside a transaction it lets every batch through; from a
Begin record on it holds records back until End, or drops them at Abort. A node that publishes only what the gate
releases never shows half of a transaction. Loading a snapshot ends whatever was open: `reset`.
"""

from collections.abc import Sequence

import attrs

from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
)


@attrs.frozen
class Release:
    """Records that are visible from now on; the transaction records themselves are not among them."""

    records: tuple[tuple[int, AnyRecord], ...]
    """(offset, record), in the order of the log."""
    last_offset: int
    """The last offset that the image contains after them; behind the last record where a transaction ended there."""


class TransactionGate:
    """Holds back the records of an open transaction."""

    __slots__ = ("_began_at", "_held")

    def __init__(self) -> None:
        self._began_at: int | None = None
        self._held: list[tuple[int, AnyRecord]] = []

    @property
    def is_open(self) -> bool:
        """Inside a transaction: the image ends before it, and no snapshot can be taken at the log's end."""
        return self._began_at is not None

    def reset(self) -> None:
        """Forgets an open transaction: a snapshot has taken its place."""
        self._began_at = None
        self._held = []

    def offer(self, base_offset: int, records: Sequence[AnyRecord]) -> Release | None:
        """Takes a committed batch in; says what is visible now, or None if nothing new is.

        Raises:
            ReplayError: a transaction inside a transaction, or an end without a beginning.
        """
        visible: list[tuple[int, AnyRecord]] = []
        last = base_offset - 1
        for offset, record in enumerate(records, base_offset):
            if isinstance(record, BeginTransactionRecord):
                if self._began_at is not None:
                    raise ReplayError(
                        f"offset {offset}: {record} inside the transaction that began at {self._began_at}"
                    )
                self._began_at = offset
            elif isinstance(record, EndTransactionRecord | AbortTransactionRecord):
                if self._began_at is None:
                    raise ReplayError(f"offset {offset}: {record} outside of any transaction")
                if isinstance(record, EndTransactionRecord):
                    visible += self._held
                self.reset()
                last = offset
            elif self._began_at is not None:
                self._held.append((offset, record))
            else:
                visible.append((offset, record))
                last = offset
        return Release(tuple(visible), last) if last >= base_offset else None
