"""A simulated broker: the real loader, life cycle and forwarder, on an observer whose log is a cache.

What `broker/machine.py`, `heartbeat.py` and `relay.py` do with tasks and sockets is done here without.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from quorate.broker import forwarding, lifecycle
from quorate.broker.forwarding import Controller, Forwarder, Ticket
from quorate.broker.lifecycle import BrokerLifecycle, LifecycleSettings
from quorate.broker.loader import Cause, MetadataLoader, Publication
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.features import ELR_VERSION, LIGHTWEIGHT
from quorate.metadata.ids import Endpoint, Epoch, Offset, OffsetAndEpoch, random_uuid
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire import brokers, envelope
from quorate.metadata.wire.table import refusal
from tests.sim.controllers import snapshot_of
from tests.sim.images import ImageLaws
from tests.sim.network import CLUSTER_ID
from tests.sim.options import WorldOptions
from tests.sim.parcels import Parcels, ReadTopic, code_of, read_topic
from tests.sim.wires import Gone, Reply, Wires

if TYPE_CHECKING:
    from tests.sim.node import SimNode

NOBODY: Final = MetadataImage.EMPTY


class SimBroker:
    """See the module's docstring. Lives as long as the process."""

    eager = False

    def __init__(
        self,
        node: "SimNode",
        options: WorldOptions,
        images: ImageLaws,
        parcels: Parcels,
        wires: Wires,
        rng: random.Random,
    ) -> None:
        self._node, self._images, self._parcels, self._wires = node, images, parcels, wires
        self._incarnation_id = random_uuid(rng)
        directory_id = node.key.directory_id
        self._directories = () if directory_id is None else (directory_id,)
        self.loader = MetadataLoader()
        self.life = BrokerLifecycle(
            LifecycleSettings(
                heartbeat_interval_ms=options.heartbeat_ms, session_timeout_ms=options.session_ms
            ),
            incarnation_id=self._incarnation_id,
            rng=random.Random(rng.getrandbits(64)),
        )
        self._forwarder = Forwarder()
        self._controller: Endpoint | None = None
        self._waiting: dict[Ticket, tuple[Any, Reply]] = {}
        self._events: list[lifecycle.Event] = [lifecycle.Started()]
        self._taking = False
        self._recovered = False
        self._tickets = 0

    @property
    def image(self) -> MetadataImage:
        return self.loader.published or NOBODY

    @property
    def applied(self) -> Offset:
        return self.loader.end

    # ---- the node's news ---------------------------------------------------------------------------------

    def load(self, snapshot_id: OffsetAndEpoch, batches: Iterator[RecordBatch]) -> None:
        load = SnapshotLoad(snapshot_id)
        for _ in load.steps(batches):
            pass
        self._published(self.loader.load(load.image(), snapshot_id.offset))
        self._images.on_image(self._node.name, self.loader.image, self.loader.end)

    def committed(self, batches: Sequence[RecordBatch], high_watermark: Offset) -> None:
        self._published(self.loader.take(batches, high_watermark))
        if self.loader.published is None:
            self._images.on_image(self._node.name, self.loader.image, self.loader.end)

    def leader_changed(self, leader: LeaderAndEpoch) -> None:
        known = leader.leader_id is not None and leader.endpoint is not None
        self._controller = leader.endpoint if known else None
        if leader.leader_id is not None and leader.endpoint is not None:
            controller = Controller(leader.leader_id, leader.epoch, leader.endpoint)
            self._forward(forwarding.ControllerChanged(controller))
            self._live(lifecycle.ControllerChanged())
        else:
            self._forward(forwarding.ControllerChanged(None))

    def claimed(self, epoch: Epoch, next_offset: Offset) -> None:
        raise InvariantViolated(f"broker {self._node.name} was made the leader of epoch {epoch}")

    def propose(self, log_end: Offset, now_ms: int) -> Sequence[RecordBatch]:
        """No proposals; but it is its turn, so what is due is done."""
        if self._events:
            self._live(self._events.pop())
        deadline = self.life.next_deadline()
        if deadline is not None and deadline <= now_ms:
            self._live(lifecycle.TimePassed())
        deadline = self._forwarder.next_deadline()
        if deadline is not None and deadline <= now_ms:
            self._forward(forwarding.TimePassed())
        return ()

    def next_deadline(self) -> int | None:
        if self._events:
            return self._node.clock_ms
        both = (self.life.next_deadline(), self._forwarder.next_deadline())
        return min((one for one in both if one is not None), default=None)

    def snapshot(self, core: RaftCore, wall_ms: int) -> tuple[OffsetAndEpoch, Iterator[RecordBatch]] | None:
        return None if self.loader.transaction_open else snapshot_of(core, self.loader.image)

    def stop(self) -> None:
        self._live(lifecycle.ShutdownRequested())

    # ---- publications ------------------------------------------------------------------------------------

    def _published(self, publication: Publication | None) -> None:
        """Everybody hears of it, the life cycle last."""
        if publication is None:
            return
        self._images.on_published(self._node.name, self._node.life, publication)
        self._forward(forwarding.ImagePublished(Offset(publication.image.offset)))
        seen = publication.image.cluster.brokers.get(self._node.id)
        registration = None
        if seen is not None:
            registration = lifecycle.SeenRegistration(seen.incarnation_id, seen.epoch, seen.fenced)
        self._live(lifecycle.Published(Offset(publication.image.offset), registration))
        if publication.cause is Cause.LOG and any(
            broker is not None and broker.in_controlled_shutdown and broker_id != self._node.id
            for broker_id, broker in publication.changes.changed_brokers.items()
        ):
            self._live(lifecycle.OtherLeaves())
        if not self._recovered:
            self._recovered = True
            self._live(lifecycle.RecoveryFinished())

    # ---- the life cycle ----------------------------------------------------------------------------------

    def _live(self, event: lifecycle.Event) -> None:
        """One event after the other, each with all its effects: an effect may bring the next one."""
        self._events.append(event)
        if self._taking:
            return
        self._taking = True
        while self._events and self._node.up:
            for effect in self.life.step(self._events.pop(0), self._node.clock_ms):
                self._carry_out(effect)
        self._taking = False

    def _carry_out(self, effect: lifecycle.Effect) -> None:
        match effect:
            case lifecycle.SendRegistration():
                self._ask(effect.attempt, self._registration())
            case lifecycle.SendHeartbeat():
                heartbeat = brokers.BrokerHeartbeatRequest(
                    broker_id=self._node.id,
                    broker_epoch=effect.broker_epoch,
                    current_metadata_offset=effect.current_metadata_offset,
                    want_fence=effect.want_fence,
                    want_shut_down=effect.want_shut_down,
                )
                self._ask(effect.attempt, heartbeat)
            case lifecycle.Entered():
                self._node.note(f"is {effect.state.name}: {effect.why.value}")
            case lifecycle.ShutDown():
                self._node.note(f"ends: {effect.reason}")
                self._node.end()
            case lifecycle.Note():
                self._node.note(effect.text)

    def _registration(self) -> brokers.BrokerRegistrationRequest:
        return brokers.BrokerRegistrationRequest(
            broker_id=self._node.id,
            cluster_id=CLUSTER_ID,
            incarnation_id=self._incarnation_id,
            features=(
                brokers.Feature(name=ELR_VERSION, min_supported_version=0, max_supported_version=1),
                brokers.Feature(name="metadata.version", min_supported_version=1, max_supported_version=25),
                brokers.Feature(name=LIGHTWEIGHT, min_supported_version=1, max_supported_version=1),
            ),
            log_dirs=self._directories,
        )

    def _ask(self, attempt: int, request: Any) -> None:
        def on_reply(reply: Any) -> None:
            if isinstance(reply, Gone):
                self._live(lifecycle.RequestFailed(attempt, reply.value))
            elif reply.error_code is not ErrorCode.none:
                self._live(lifecycle.RequestFailed(attempt, "refused", reply.error_code))
            else:
                self._live(_accepted(attempt, reply))

        if self._controller is None:
            self._live(lifecycle.RequestFailed(attempt, "no active controller is known"))
            return
        self._wires.ask(self._node, self._node.network.nodes[self._controller.port], request, on_reply)

    # ---- clients -----------------------------------------------------------------------------------------

    def serve(self, request: Any, reply: Reply) -> None:
        """Reads are answered from what was published, all else goes to the active controller."""
        if isinstance(request, ReadTopic):
            reply(read_topic(self.image, request))
            return
        self._tickets += 1
        ticket = Ticket(self._tickets)
        self._waiting[ticket] = (request, reply)
        now_ms = self._node.clock_ms
        wrapped = envelope.EnvelopeRequest(request_data=self._parcels.wrap(request), client_host_address=b"")
        patience_ms = forwarding.patience_ms(getattr(request, "timeout_ms", None))
        self._forward(
            forwarding.Submitted(
                ticket=ticket,
                envelope=wrapped,
                deadline_ms=now_ms + forwarding.FORWARD_TIMEOUT_MS,
                unsent_deadline_ms=now_ms + patience_ms,
                is_read=False,
            )
        )

    def _forward(self, event: forwarding.Event) -> None:
        for effect in self._forwarder.step(event, self._node.clock_ms):
            match effect:
                case forwarding.Send():
                    target = self._node.network.nodes[effect.controller.endpoint.port]
                    self._wires.ask(self._node, target, effect.envelope, self._outcome_of(effect.attempt))
                case forwarding.Deliver():
                    request, reply = self._waiting.pop(effect.ticket)
                    response = self._parcels.open(effect.response_data)
                    if code_of(response) is ErrorCode.none:
                        self._images.on_told(self._node.name, self.image, request)
                    reply(response)
                case forwarding.Refuse():
                    request, reply = self._waiting.pop(effect.ticket)
                    reply(refusal(request, effect.code, effect.message))

    def _outcome_of(self, attempt: forwarding.Attempt) -> Callable[[Any], None]:
        def on_reply(reply: Any) -> None:
            match reply:
                case Gone.NOT_WRITTEN:
                    self._forward(forwarding.Failed(attempt, forwarding.Failure.NOT_WRITTEN))
                case Gone.LOST:
                    self._forward(forwarding.Failed(attempt, forwarding.Failure.LOST))
                case _:
                    self._forward(forwarding.Answered(attempt, reply))

        return on_reply


def _accepted(attempt: int, reply: Any) -> lifecycle.Event:
    if isinstance(reply, brokers.BrokerRegistrationResponse):
        return lifecycle.Registered(attempt, reply.broker_epoch)
    return lifecycle.HeartbeatAnswered(
        attempt=attempt,
        is_caught_up=reply.is_caught_up,
        is_fenced=reply.is_fenced,
        should_shut_down=reply.should_shut_down,
    )
