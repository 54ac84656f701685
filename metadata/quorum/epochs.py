"""Where each leader epoch begins in the log: the answer to "is this replica's log a prefix of mine?".

Kafka calls it the leader epoch cache. A replica names the epoch of its last record and its end; the leader
looks up where that epoch ended in its own log (KIP-595, log reconciliation).
"""

from bisect import bisect_right
from collections.abc import Iterable

import attrs

from quorate.metadata.checks import check
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import EpochStart


@attrs.frozen
class EpochHistory:
    """Epoch starts, rising strictly in both fields."""

    starts: tuple[EpochStart, ...] = ()

    @classmethod
    def of(cls, starts: Iterable[EpochStart]) -> "EpochHistory":
        history = cls()
        for start in starts:
            history = history.with_append(start.epoch, start.offset)
        return history

    @property
    def last_epoch(self) -> Epoch:
        return self.starts[-1].epoch if self.starts else Epoch(0)

    def with_append(self, epoch: Epoch, offset: Offset) -> "EpochHistory":
        """A batch of `epoch` was appended at `offset`."""
        starts = self.starts
        if starts and epoch == starts[-1].epoch:
            return self
        last = self.last_epoch
        check(epoch >= last, f"epoch {epoch} is appended behind epoch {last}")
        return EpochHistory((*self.starts, EpochStart(epoch, offset)))

    def truncated_to(self, end: Offset) -> "EpochHistory":
        return EpochHistory(tuple(start for start in self.starts if start.offset < end))

    def from_start(self, start: Offset, log_end: Offset) -> "EpochHistory":
        """Forgets epochs that ended at or before `start`; the one that spans it stays, now beginning there.

        A log that is empty from `start` on has none: whether its last epoch goes on there, its next record shows.
        """
        if start >= log_end:
            return EpochHistory()
        kept = [entry for entry in self.starts if entry.offset >= start]
        older = [entry for entry in self.starts if entry.offset < start]
        if older and (not kept or kept[0].offset > start):
            kept.insert(0, EpochStart(older[-1].epoch, start))
        return EpochHistory(tuple(kept))

    def end_for(self, epoch: Epoch, log_end: Offset) -> OffsetAndEpoch | None:
        """The largest known epoch ≤ `epoch`, and where it ended; None: every known epoch is larger."""
        index = bisect_right(self.starts, epoch, key=lambda start: start.epoch)
        if index == 0:
            return None
        end = self.starts[index].offset if index < len(self.starts) else log_end
        return OffsetAndEpoch(end, self.starts[index - 1].epoch)

    def epoch_before(self, end: Offset) -> Epoch:
        """The epoch of the record at end - 1; 0 if nothing lies there."""
        index = bisect_right(self.starts, end - 1, key=lambda start: start.offset)
        return self.starts[index - 1].epoch if index else Epoch(0)
