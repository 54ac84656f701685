"""What a controller answers on its listeners: one way for each kind of request, nothing decided here (shell).

the quorum's own requests        to the node, as flat messages; the log in Kafka's form by `kafka_serving`
everything                       first through the gate, also what is inside an Envelope
an Envelope                      opened; what is inside is handled as if it had come by itself (KIP-590)
changes, registrations           to the active controller, which answers when they are committed
reads                            from the committed image: at the active controller once it knows that it still is
                                 (never stale), at the others as far as they have got
"""

from functools import partial
from typing import Any, Final

from quorate.controller.config import ControllerConfig
from quorate.controller.machine import ControllerMachine
from quorate.controller.migration.steering import Steering
from quorate.controller.operations import HANDLERS
from quorate.controller.requests import PendingRequest
from quorate.metadata.calls import Call, open_envelope
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.fetch_frames import AnswerWriter
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image_reads import ImageReads, Reader
from quorate.metadata.kafka_serving import KafkaServing
from quorate.metadata.node import RaftNode, wall_ms
from quorate.metadata.quorum.messages import FetchResponse, LeaderAndEpoch, Response
from quorate.metadata.quorum_view import quorum_status
from quorate.metadata.raft_wire import request_from_wire, response_to_wire
from quorate.metadata.records import MigrationState
from quorate.metadata.security.gate import Gate
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.views import SAME_EVERYWHERE
from quorate.metadata.views.api_versions import answer_api_versions
from quorate.metadata.views.configs import DescribingNode
from quorate.metadata.views.quorum import answer_describe_quorum
from quorate.metadata.views.viewpoint import AtBroker, AtController, Viewpoint
from quorate.metadata.wire import brokers, cluster, configs, envelope, migration, raft, tokens

_DEFAULT_TIMEOUT_MS: Final = 30_000
_HEARTBEAT_TIMEOUT_MS: Final = 1_000
"""Half a heartbeat interval: a later answer would only cross the next heartbeat (as in Kafka)."""

_RAFT_REQUESTS: Final = (
    raft.VoteRequest,
    raft.BeginQuorumEpochRequest,
    raft.EndQuorumEpochRequest,
    raft.FetchRequest,
    raft.FetchSnapshotRequest,
    raft.AddRaftVoterRequest,
    raft.RemoveRaftVoterRequest,
    raft.UpdateRaftVoterRequest,
)
_NEEDS_NO_ROOM: Final = (brokers.BrokerHeartbeatRequest, brokers.ControllerRegistrationRequest)
"""Refusing these for want of room would fence living brokers, and saves next to nothing."""

_NAMING_NO_CONTROLLER: Final = (
    configs.DescribeConfigsRequest,
    tokens.DescribeDelegationTokenRequest,
    *SAME_EVERYWHERE,
)
"""Reads whose answer does not say who leads: from a controller that was replaced it would look like the truth."""


class _FetchAnswers:
    """Followers that are level are told the same: it is put into bytes once."""

    def __init__(self) -> None:
        self._writer = AnswerWriter()
        self._last: tuple[FetchResponse, int, bytes] | None = None

    def answer(self, call: Call, response: FetchResponse) -> None:
        if self._last is not None:
            known, version, alike = self._last
            # The high watermark first: it alone tells most of them apart.
            if (
                known.high_watermark == response.high_watermark
                and version == call.api_version
                and known == response
            ):
                call.answer_alike(response, alike)
                return
        frame = self._writer.write(response, call.api_version, call.correlation_id)
        if frame is None:
            frame = call.answer(response_to_wire(response))
        else:
            call.answer_written(response, frame)
        self._last = (response, call.api_version, frame)


class ControllerServer:
    """A `calls.Service`."""

    def __init__(
        self,
        *,
        config: ControllerConfig,
        machine: ControllerMachine,
        node: RaftNode,
        slow: SlowReads,
        kafka: KafkaServing,
        cluster_id: str,
        steering: Steering | None = None,
    ) -> None:
        """`steering`: where the move from ZooKeeper is steered; None: this controller takes part in none."""
        self._machine = machine
        self._node = node
        self._kafka = kafka
        self._cluster_id = cluster_id
        self._gate = Gate(config.authorizer, lambda: machine.caught_up_image, at_controller=True)
        self._steering = steering
        self._fetched = _FetchAnswers()
        describing = DescribingNode(
            node_id=config.node_id,
            static=config.static,
            own_keys=type(config).own_keys(),
            observed=lambda: node.flushes.speed.observed(),
        )
        self._reads = ImageReads(
            Reader(
                gate=self._gate,
                viewpoint=self._viewpoint,
                describing=describing,
                token_secret=config.delegation_token_secret_key,
            ),
            slow,
            {raft.DescribeQuorumRequest: self._describe_quorum},
        )
        steered = () if steering is None else (migration.SteerMigrationRequest,)
        kinds = (*_RAFT_REQUESTS, envelope.EnvelopeRequest, *HANDLERS, *self._reads.kinds, *steered)
        self.serves = frozenset(kind.api_key for kind in kinds)

    def api_versions(self, listener_name: str) -> cluster.ApiVersionsResponse:
        return answer_api_versions(
            self._machine.image,
            (*self.serves, cluster.ApiVersionsRequest.api_key),
            kraft_version=self._node.core.log.voters.kraft_version,
        )

    def handle(self, call: Call) -> None:
        if not self._gate.admits(call):
            return
        request = call.request
        if call.meant is not None:
            self._to_quorum(call)
        elif type(request) in HANDLERS:
            self._to_active_controller(call)
        elif self._kafka.is_meant(request):
            self._kafka.handle(call)
        elif isinstance(request, _RAFT_REQUESTS):
            self._to_quorum(call)
        elif isinstance(request, envelope.EnvelopeRequest):
            inner = open_envelope(call, self.serves, lambda: self._machine.image.offset)
            if inner is not None:
                self.handle(inner)
        elif isinstance(request, migration.SteerMigrationRequest):
            if self._steering is not None:
                self._steering.submit(call)
        else:
            self._read(call)

    def _to_quorum(self, call: Call) -> None:
        def answer(response: Response | None) -> None:
            if response is None:
                call.reject(ErrorCode.inconsistent_cluster_id, f"this is cluster {self._cluster_id}")
            elif isinstance(response, FetchResponse):
                self._fetched.answer(call, response)
            else:
                call.answer(response_to_wire(response))

        try:
            message = call.meant or request_from_wire(call.request)
        except RequestRejected as refusal:
            call.reject(refusal.code, refusal.message)
        else:
            self._node.receive(message, call.request.cluster_id, answer)

    def _to_active_controller(self, call: Call) -> None:
        if self._lacks_room() and not isinstance(call.request, _NEEDS_NO_ROOM):
            call.reject(
                ErrorCode.kafka_storage_error,
                f"the disk of controller {self._node.core.id} is almost full, so it takes no changes; nothing was "
                "done. Make room there, or try again: another controller takes over if one has room",
            )
            return
        timeout_ms = getattr(call.request, "timeout_ms", _DEFAULT_TIMEOUT_MS)
        if isinstance(call.request, brokers.BrokerHeartbeatRequest):
            timeout_ms = _HEARTBEAT_TIMEOUT_MS
        pending = PendingRequest(
            request=call.request,
            token=call,
            deadline_ms=self._node.now_ms() + max(0, timeout_ms),
            api_version=call.api_version,
            principal=call.principal,
            by_token=call.by_token,
            client_id=call.client_id,
            client_host=call.client_host,
            permits=self._gate.permits(call),
        )
        self._machine.submit(pending)

    def _lacks_room(self) -> bool:
        """Where another one is known to lead the answer is NOT_CONTROLLER, so that the client asks there: told of this
        disk, it would come back here for ever."""
        return self._node.core.disk_low and self._machine.leader.leader_id in (None, self._node.core.id)

    # ---- reads ---------------------------------------------------------------------------------------

    def _read(self, call: Call) -> None:
        if call.asked_at is not None and self._machine.image.migration is MigrationState.PRE_MIGRATION:
            # A broker in ZooKeeper mode hands reads on to who holds the office, which may not have the copy yet.
            call.reject(ErrorCode.not_controller)
            return
        if self._node.core.leads:
            self._node.confirm_read(partial(self._read_as, call))
        else:
            self._read_now(call)

    def _read_as(self, call: Call, leads: bool) -> None:
        """Who was replaced answers like any other controller: its answer names no active controller, or another one.
        Where it names none it is refused."""
        if not leads and isinstance(call.request, _NAMING_NO_CONTROLLER):
            call.reject(ErrorCode.not_controller, "This controller was replaced; ask the active one.")
        else:
            self._read_now(call)

    def _read_now(self, call: Call) -> None:
        self._reads.answer(call, self._machine.image)

    def _viewpoint(self, call: Call) -> Viewpoint:
        if call.asked_at is not None:
            return AtBroker(
                cluster_id=self._cluster_id,
                node_id=call.asked_at.broker_id,
                listener_name=call.asked_at.listener_name,
            )
        return AtController(
            cluster_id=self._cluster_id, leader=self._active_controller(), listener_name=call.listener_name
        )

    def _active_controller(self) -> LeaderAndEpoch:
        """As far as is known. This node names itself only once it is active: until then its image may lack the
        last records that former leaders acknowledged. And no more as soon as it does not lead: those whose reads could
        not be confirmed are answered in the very turn that ends its leadership, before the machine hears of it."""
        leader = self._machine.leader
        is_active = self._node.core.leads and self._node.claimed_epoch == leader.epoch
        if leader.leader_id == self._node.core.id and not is_active:
            return LeaderAndEpoch(leader.epoch)
        return leader

    def _describe_quorum(self, call: Call, _image: MetadataImage) -> Any:
        return answer_describe_quorum(
            quorum_status(self._node.core, self._node.now_ms(), wall_ms()), call.request
        )
