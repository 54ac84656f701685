"""A run of batches in memory, each starting where the one before ends (pure).

All of `MemoryLog`, and the recent end of `SegmentedLog`: the batches that followers ask for are nearly always the
ones just written.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Self

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import check
from quorate.metadata.ids import Offset


class BatchRun:
    """Mutable; batches themselves never change, so a copy shares them."""

    __slots__ = ("_bases", "_batches", "byte_count")

    def __init__(self) -> None:
        self._batches: list[RecordBatch] = []
        self._bases: list[int] = []
        self.byte_count = 0

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def batches(self) -> Sequence[RecordBatch]:
        return self._batches

    @property
    def start(self) -> Offset | None:
        """Where it begins; None: it is empty."""
        return self._batches[0].base_offset if self._batches else None

    def copy(self) -> Self:
        twin = type(self)()
        twin._batches = list(self._batches)
        twin._bases = list(self._bases)
        twin.byte_count = self.byte_count
        return twin

    def append(self, batch: RecordBatch) -> None:
        self._batches.append(batch)
        self._bases.append(batch.base_offset)
        self.byte_count += len(batch.data)

    def at(self, base: Offset) -> RecordBatch | None:
        """The batch that starts exactly there."""
        index = bisect_left(self._bases, base)
        found = index < len(self._bases) and self._bases[index] == base
        return self._batches[index] if found else None

    def count_below(self, offset: Offset) -> int:
        """How many batches start below it."""
        return bisect_left(self._bases, offset)

    def read(self, start: Offset, end: Offset, max_bytes: int) -> list[RecordBatch]:
        """Whole batches below `end` from the one that holds `start`: at least one, then as many as fit.

        Raises:
            ValueError: `start` lies before the first batch or behind the last.
        """
        first = bisect_right(self._bases, start) - 1
        if first < 0 or self._batches[first].end_offset <= start:
            raise ValueError(f"no batch holds offset {start}")
        taken: list[RecordBatch] = []
        size = 0
        for index in range(first, len(self._batches)):
            batch = self._batches[index]
            size += len(batch.data)
            if batch.end_offset > end or (taken and size > max_bytes):
                break
            taken.append(batch)
        return taken

    def truncate_to(self, end: Offset) -> None:
        """Forgets the batches at or behind `end`, a boundary."""
        keep = bisect_left(self._bases, end)
        check(
            keep == 0 or self._batches[keep - 1].end_offset <= end,
            f"offset {end} lies inside a batch",
        )
        self._forget(keep, len(self._batches))

    def drop_below(self, start: Offset) -> None:
        """Forgets the batches that lie wholly below `start`."""
        keep = bisect_right(self._bases, start)
        if keep and self._batches[keep - 1].end_offset > start:
            keep -= 1
        self._forget(0, keep)

    def shrink(self, max_bytes: int, max_batches: int) -> None:
        """Forgets the oldest batches beyond a quarter more than the limits, back to the limits.

        The slack makes it cheap: a list forgets its front at the price of moving the rest.
        """
        if (
            self.byte_count <= max_bytes + max_bytes // 4
            and len(self._batches) <= max_batches + max_batches // 4
        ):
            return
        size = self.byte_count
        gone = 0
        while gone < len(self._batches) - 1 and (size > max_bytes or len(self._batches) - gone > max_batches):
            size -= len(self._batches[gone].data)
            gone += 1
        self._forget(0, gone)

    def clear(self) -> None:
        self._forget(0, len(self._batches))

    def _forget(self, first: int, last: int) -> None:
        self.byte_count -= sum(len(batch.data) for batch in self._batches[first:last])
        del self._batches[first:last]
        del self._bases[first:last]
