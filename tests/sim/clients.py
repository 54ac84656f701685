"""Those who write: they propose to whoever believes that it leads, and remember what they were told.

An answer follows the design's purgatory: committed in the proposal's epoch → acknowledged; replaced → refused; the
node dies or loads a snapshot over it → the client never learns. That what is committed here is committed everywhere,
`laws` sees when the watermark moves: before anybody is answered.
"""

import random
from collections import Counter

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.quorum.events import Proposed
from tests.sim.machine import Values
from tests.sim.node import SimNode
from tests.sim.schedule import Schedule


@attrs.define(eq=False)
class Proposal:
    node: SimNode
    life: int
    batch: RecordBatch


class Clients:
    """All of them together."""

    def __init__(self, schedule: Schedule, values: Values, marks: Counter[str], rng: random.Random) -> None:
        self.acknowledged: list[RecordBatch] = []
        self.acknowledged_by: list[SimNode] = []
        self._waiting: dict[SimNode, list[Proposal]] = {}
        self._schedule, self._values = schedule, values
        self._marks, self._rng = marks, rng

    def propose(self, node: SimNode, count: int | None = None) -> None:
        """Writes a few records through `node`, which answers from `resolve`."""
        core = node.core
        batches: list[RecordBatch] = []
        base, epoch = core.log.end.offset, core.election.epoch
        for _ in range(self._rng.choice([1, 1, 1, 2, 3]) if count is None else 1):
            batch = self._values.batch(
                self._rng.choice([1, 1, 2, 4]) if count is None else count,
                base=base,
                epoch=epoch,
                now_ms=self._schedule.now_ms,
            )
            batches.append(batch)
            base = batch.end_offset
        waiting = self._waiting.setdefault(node, [])
        waiting.extend(Proposal(node, node.life, batch) for batch in batches)
        if not node.handle(Proposed(epoch, tuple(batches))) and node.up:
            del waiting[-len(batches) :]  # refused: not appended

    def resolve(self, node: SimNode) -> None:
        """The node's high watermark has moved."""
        waiting = self._waiting.get(node)
        if not waiting:
            return
        high_watermark = node.core.high_watermark or 0
        left = []
        for proposal in waiting:
            batch = proposal.batch
            if proposal.life != node.life or batch.base_offset < node.disk.log.start:
                self._marks["client never learns"] += 1
            elif batch.end_offset <= high_watermark:
                self._answer(node, batch)
            else:
                left.append(proposal)
        self._waiting[node] = left

    def _answer(self, node: SimNode, batch: RecordBatch) -> None:
        own = node.disk.log.at(batch.base_offset)
        if own is not None and own.data == batch.data:
            self.acknowledged.append(batch)
            self.acknowledged_by.append(node)
            self._marks["write acknowledged"] += 1
        else:
            self._marks["write replaced"] += 1
