"""The active controller as the state machine of a Raft node (shell).

Hands the node's news to `ActiveController.step` and carries out its effects: answers go to the calls that wait for
them, publications to whoever follows the committed image, a resignation to the node.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import structlog

from quorate.controller.active import ActiveController
from quorate.controller.committed import Publication
from quorate.controller.events import (
    Claimed,
    Committed,
    ControllerEffects,
    ControllerEvent,
    LeaderChanged,
    SnapshotLoaded,
    Submitted,
    Turn,
)
from quorate.controller.requests import Answer, PendingRequest
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import image_records
from quorate.metadata.node import SnapshotSource
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.quorum.voters import VoterHistory

_log = structlog.get_logger("controller")


class Node(Protocol):
    """The part of a RaftNode that a controller acts upon."""

    @property
    def voters(self) -> VoterHistory: ...

    def now_ms(self) -> int: ...

    def wake(self) -> None: ...

    def resign(self, epoch: Epoch, reason: str) -> None: ...

    def confirm_read(self, tell: Callable[[bool], None]) -> None: ...


class ControllerMachine:
    """See the module's docstring. `node` is set before the node runs; the two know each other."""

    node: Node

    def __init__(
        self,
        active: ActiveController,
        *,
        wall_ms: Callable[[], int],
        published: Callable[[Sequence[Publication]], None] = lambda publications: None,
    ) -> None:
        self.active = active
        self.leader = LeaderAndEpoch(Epoch(0))
        self._wall_ms = wall_ms
        self._published = published
        self._moved: Callable[[], None] = lambda: None
        self._caught_up = False

    def follow(self, moved: Callable[[], None]) -> None:
        """`moved` is called whenever the committed image or the office has become another one."""
        self._moved = moved

    @property
    def image(self) -> MetadataImage:
        """The committed image: what answers may rest on."""
        return self.active.committed_image

    @property
    def caught_up_image(self) -> MetadataImage | None:
        """The committed image; None until it was level with the high watermark for the first time. Before that it may
        grant rights that were taken away long ago."""
        return self.image if self._caught_up else None

    def submit(self, pending: PendingRequest) -> None:
        """A request for the active controller; its token is a call that is answered in time."""
        self._step(Submitted(pending), self.node.now_ms())
        self.node.wake()

    # ---- node.StateMachine ---------------------------------------------------------------------------

    def on_committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        self._step(Committed(tuple(batches)), self.node.now_ms())
        if not self._caught_up:
            self._caught_up = self.image.offset >= 0 and self.active.committed_end >= high_watermark

    def load_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[RecordBatch]) -> Iterator[None]:
        load = SnapshotLoad(snapshot_id)
        yield from load.steps(batches)
        self._step(SnapshotLoaded(snapshot_id, load.image()), self.node.now_ms())

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        self.leader = leader
        self._step(LeaderChanged(leader), self.node.now_ms())
        self._moved()

    def on_claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        self._step(Claimed(epoch, next_offset), self.node.now_ms())
        self._moved()

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        return self._step(Turn(log_end, self._wall_ms(), self.node.voters), now_ms).append

    def next_deadline(self) -> int | None:
        return self.active.next_deadline()

    def snapshot_source(self) -> SnapshotSource | None:
        image = self.active.committed_image
        at = image.provenance
        if at.offset < 0 or self.active.transaction_open:
            return None
        return SnapshotSource(
            OffsetAndEpoch(Offset(at.offset + 1), Epoch(at.epoch)), at.append_time_ms, image_records(image)
        )

    # ---- effects -------------------------------------------------------------------------------------

    def _step(self, event: ControllerEvent, now_ms: int) -> ControllerEffects:
        effects = self.active.step(event, now_ms)
        for fault in effects.faults:
            _log.error("bug", during=fault.what, exc_info=fault.error)
        for note in effects.notes:
            _log.info(note)
        if effects.resign is not None:
            self.node.resign(self.leader.epoch, effects.resign)
        if effects.publications:
            self._published(effects.publications)
            self._moved()
        for answer in effects.answers:
            if answer.unless_replaced is None:
                answer.token.answer(answer.response)
            else:
                self.node.confirm_read(partial(_tell, answer))
        return effects


def _tell(answer: Answer, leads: bool) -> None:
    answer.token.answer(answer.response if leads else answer.unless_replaced)
