"""A node's disk: the log and the quorum-state file. What a power cut leaves of them, `MemoryLog.crash` decides.

It can be full, it can rot, and it can return what lies elsewhere. Batches never change and are shared between nodes, so
a flipped bit makes a copy: one node's bytes are bad, not everybody's.
"""

import random
from collections.abc import Sequence
from typing import Final

import attrs

from quorate.metadata.batch import CorruptBatch, RecordBatch
from quorate.metadata.ids import Offset
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.quorum.election_state import ElectionState

NO_SPACE: Final = "no space left on the disk"


class SimLog(MemoryLog):
    """The log of a simulated node."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def append(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        if self.full:
            raise StorageFailed(NO_SPACE)
        super().append(batches, flushed_to)

    def rot(self, rng: random.Random, *, misdirected: bool) -> bool:
        """Damages one flushed batch: a flipped bit, or the bytes of another batch in its place."""
        batches = self._batches.batches
        if len(batches) < (2 if misdirected else 1):
            return False
        index = rng.randrange(len(batches))
        victim = batches[index]
        if misdirected:
            other = batches[(index + rng.randrange(1, len(batches))) % len(batches)]
            data = other.data
        else:
            data = flip_a_bit(victim.data, rng)
        self._batches._batches[index] = attrs.evolve(victim, data=data)
        return True

    def damage(self) -> str | None:
        """What recovery finds: every batch must be whole, and be the one that belongs there."""
        for batch in self._batches.batches:
            try:
                found = RecordBatch.decode(batch.data)
            except CorruptBatch as problem:
                return str(problem)
            if (found.base_offset, found.epoch) != (batch.base_offset, batch.epoch):
                return f"a batch of offset {found.base_offset} lies where {batch.base_offset} belongs"
        return None


def flip_a_bit(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


class Disk:
    """What survives the process."""

    def __init__(self, election: ElectionState, log: SimLog) -> None:
        self.election = election
        self.log = log

    def copy(self) -> "Disk":
        """What a backup holds: all that the process had written, flushed or not."""
        return Disk(self.election, self.log.copy())
