"""A simulated controller: the real `ActiveController`, on the simulated node, between its clients and its log.

What `controller/machine.py` and `controller/server.py` do with tasks and sockets is done here without: news of the
node goes in, answers go to whoever asked, a resignation goes to the node.
"""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from quorate.controller.active import ActiveController
from quorate.controller.config import ControllerConfig
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
from quorate.controller.operations import HANDLERS
from quorate.controller.requests import Answer, PendingRequest
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import FIRST_OFFSET, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import image_records
from quorate.metadata.node import SnapshotSource, snapshot_batches
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire import brokers, envelope
from quorate.metadata.wire.table import holds_error, refusal
from tests.sim.images import ImageLaws
from tests.sim.network import CLUSTER_ID
from tests.sim.options import WorldOptions
from tests.sim.parcels import Parcels, ReadTopic, read_topic
from tests.sim.wires import Reply

if TYPE_CHECKING:
    from tests.sim.node import SimNode

TIMEOUT_MS: Final = 30_000
HEARTBEAT_TIMEOUT_MS: Final = 1_000
WALL_CLOCKS_APART_MS: Final = 60_000


def controller_config(node_id: NodeId, options: WorldOptions) -> ControllerConfig:
    return ControllerConfig(
        node_id=node_id,
        controller_listener_names=("CONTROLLER",),
        bootstrap_servers=(),
        broker_session_timeout_ms=options.session_ms,
        max_idle_interval_ms=options.idle_ms,
    )


class SimController:
    """See the module's docstring. Lives as long as the process."""

    eager = False

    def __init__(
        self,
        node: "SimNode",
        config: ControllerConfig,
        images: ImageLaws,
        parcels: Parcels,
        rng: random.Random,
    ) -> None:
        self._node, self._images, self._parcels = node, images, parcels
        self._wall_offset_ms = rng.randint(0, WALL_CLOCKS_APART_MS)
        self._epoch = Epoch(0)
        self._end = FIRST_OFFSET
        core_rng = random.Random(rng.getrandbits(64))
        self.active = ActiveController(config=config, cluster_id=CLUSTER_ID, rng=core_rng)

    @property
    def image(self) -> MetadataImage:
        return self.active.committed_image

    @property
    def applied(self) -> Offset:
        return self._end

    # ---- the node's news ---------------------------------------------------------------------------------

    def load(self, snapshot_id: OffsetAndEpoch, batches: Iterator[RecordBatch]) -> None:
        load = SnapshotLoad(snapshot_id)
        for _ in load.steps(batches):
            pass
        self._end = snapshot_id.offset
        self._step(SnapshotLoaded(snapshot_id, load.image()))
        self._images.on_image(self._node.name, self.image, self._end)

    def committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        self._end = batches[-1].end_offset
        self._step(Committed(tuple(batches)))
        self._images.on_image(self._node.name, self.image, self._end)

    def leader_changed(self, leader: LeaderAndEpoch) -> None:
        self._epoch = leader.epoch
        self._step(LeaderChanged(leader))

    def claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        self._step(Claimed(epoch, next_offset))

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        return self._step(Turn(log_end, now_ms + self._wall_offset_ms)).append

    def next_deadline(self) -> int | None:
        return self.active.next_deadline()

    def snapshot(self, core: RaftCore, wall_ms: int) -> tuple[OffsetAndEpoch, Iterator[RecordBatch]] | None:
        if self.active.transaction_open:
            return None
        return snapshot_of(core, self.image)

    def stop(self) -> None:
        """Nothing to do first: the core hands over."""

    def _step(self, event: ControllerEvent) -> ControllerEffects:
        effects = self.active.step(event, self._node.clock_ms)
        for fault in effects.faults:
            raise InvariantViolated(f"{self._node.name}, {fault.what}: {fault.error!r}") from fault.error
        for note in effects.notes:
            self._node.note(note)
        if effects.resign is not None:
            self._node.resign(self._epoch, effects.resign)
        for answer in effects.answers:
            if answer.unless_replaced is None:
                answer.token(answer.response)
            else:
                self._node.confirm_read(partial(_tell, answer))
        return effects

    # ---- requests ----------------------------------------------------------------------------------------

    def serve(self, request: Any, reply: Reply) -> None:
        if isinstance(request, envelope.EnvelopeRequest):
            self.serve(self._parcels.open(request.request_data), self._into_envelope(reply))
        elif isinstance(request, ReadTopic):
            self._read(request, reply)
        elif type(request) in HANDLERS:
            self._submit(request, reply)
        else:
            raise InvariantViolated(f"{self._node.name} was asked {request}")

    def _read(self, request: ReadTopic, reply: Reply) -> None:
        """Whoever leads answers once it knows that it still does; the others answer as far as they have got."""
        if self._node.core.leads:
            self._node.confirm_read(lambda leads: reply(read_topic(self.image, request, confirmed=leads)))
        else:
            reply(read_topic(self.image, request))

    def _submit(self, request: Any, reply: Reply) -> None:
        is_heartbeat = isinstance(request, brokers.BrokerHeartbeatRequest)
        if self._node.core.disk_low and not is_heartbeat:
            reply(refusal(request, ErrorCode.kafka_storage_error, "no room"))
            return
        timeout_ms = HEARTBEAT_TIMEOUT_MS if is_heartbeat else getattr(request, "timeout_ms", TIMEOUT_MS)
        deadline_ms = self._node.clock_ms + timeout_ms
        self._step(
            Submitted(PendingRequest(request=request, token=reply, deadline_ms=deadline_ms, api_version=99))
        )

    def _into_envelope(self, reply: Reply) -> Reply:
        """As `calls` does it: that this node is no controller any more is for the broker, not for its client."""

        def put(response: Any) -> None:
            if holds_error(response, ErrorCode.not_controller):
                reply(envelope.EnvelopeResponse(error_code=ErrorCode.not_controller))
            else:
                reply(
                    envelope.EnvelopeResponse(
                        response_data=self._parcels.wrap(response), rests_on=self.image.offset
                    )
                )

        return put


def _tell(answer: Answer, leads: bool) -> None:
    answer.token(answer.response if leads else answer.unless_replaced)


def snapshot_of(core: RaftCore, image: MetadataImage) -> tuple[OffsetAndEpoch, Iterator[RecordBatch]] | None:
    """The image as the batches of a snapshot, made by the node's own code."""
    at = image.provenance
    if at.offset < 0:
        return None
    point = OffsetAndEpoch(Offset(at.offset + 1), Epoch(at.epoch))
    return point, snapshot_batches(core, SnapshotSource(point, at.append_time_ms, image_records(image)))
