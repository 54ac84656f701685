"""A broker as the state machine of a Raft node: the log becomes images, images become publications (shell).

A broker is an observer: it never leads and never proposes. What it learns of leaders goes to those who talk to the
active controller.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from quorate.broker.loader import MetadataLoader, Publication
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import image_records
from quorate.metadata.node import SnapshotSource
from quorate.metadata.quorum.messages import LeaderAndEpoch


class BrokerMachine:
    """Implements `node.StateMachine`."""

    def __init__(
        self, *, publish: Callable[[Publication], None], leader_changed: Callable[[LeaderAndEpoch], None]
    ) -> None:
        self.loader = MetadataLoader()
        self._publish = publish
        self._leader_changed = leader_changed

    @property
    def image(self) -> MetadataImage:
        """What was published last; the empty image before that."""
        return self.loader.published or MetadataImage.EMPTY

    def on_committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        self._hand_on(self.loader.take(batches, high_watermark))

    def load_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[RecordBatch]) -> Iterator[None]:
        load = SnapshotLoad(snapshot_id)
        yield from load.steps(batches)
        self._hand_on(self.loader.load(load.image(), snapshot_id.offset))

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        self._leader_changed(leader)

    def on_claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        raise InvariantViolated(f"a broker was made the leader of epoch {epoch}")

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        return ()

    def next_deadline(self) -> int | None:
        return None

    def snapshot_source(self) -> SnapshotSource | None:
        image = self.loader.image
        at = image.provenance
        if at.offset < 0 or self.loader.transaction_open:
            return None
        return SnapshotSource(
            OffsetAndEpoch(Offset(at.offset + 1), Epoch(at.epoch)), at.append_time_ms, image_records(image)
        )

    def _hand_on(self, publication: Publication | None) -> None:
        if publication is not None:
            self._publish(publication)
