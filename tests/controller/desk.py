"""An ActiveController and a quorum of one's own making: what is appended, committed, lost is the test's decision."""

import random
from collections.abc import Sequence
from typing import Any

import attrs

from quorate.controller.active import ActiveController
from quorate.controller.config import ControllerConfig
from quorate.controller.events import (
    Claimed,
    Committed,
    ControllerEffects,
    ControllerEvent,
    LeaderChanged,
    Submitted,
    Turn,
)
from quorate.controller.policies import NO_POLICIES, Policies
from quorate.controller.requests import PendingRequest
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, NodeId, Offset
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import AnyDataRecord, LeaderChangeRecord
from quorate.metadata.security.permissions import Permits, permit_everything
from quorate.metadata.wire.brokers import (
    BrokerHeartbeatRequest,
    BrokerRegistrationRequest,
    Feature,
)
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from tests.controller.world import CLUSTER_ID, config, directory, incarnation

NODE = NodeId(3000)
OTHER = NodeId(3001)


def control_batch(base_offset: int, epoch: int, leader: NodeId = NODE) -> RecordBatch:
    """What the quorum appends when somebody becomes leader."""
    record = LeaderChangeRecord(version=0, leader_id=leader, voters=(), granting_voters=())
    return RecordBatch.seal(
        [record], base_offset=Offset(base_offset), epoch=Epoch(epoch), append_time_ms=0, is_control=True
    )


def data_batch(base_offset: int, epoch: int, records: Sequence[AnyDataRecord]) -> RecordBatch:
    return RecordBatch.seal(records, base_offset=Offset(base_offset), epoch=Epoch(epoch), append_time_ms=0)


@attrs.define
class Desk:
    """The controller under test, its log, and everything it said."""

    config: ControllerConfig = attrs.Factory(config)
    policies: Policies = NO_POLICIES
    now_ms: int = 1_000
    log: list[RecordBatch] = attrs.Factory(list)
    committed: int = 0
    """How many batches of the log."""
    answers: dict[Any, Any] = attrs.Factory(dict)
    """token -> response; each token is answered once."""
    effects: list[ControllerEffects] = attrs.Factory(list)
    controller: ActiveController = attrs.field(init=False)
    _last_token: int = 0

    def __attrs_post_init__(self) -> None:
        self.controller = ActiveController(
            config=self.config, cluster_id=CLUSTER_ID, rng=random.Random(1), policies=self.policies
        )

    # --- the quorum

    @property
    def log_end(self) -> Offset:
        return self.log[-1].end_offset if self.log else Offset(0)

    def step(self, event: ControllerEvent) -> ControllerEffects:
        effects = self.controller.step(event, self.now_ms)
        for answer in effects.answers:
            assert answer.token not in self.answers, "answered twice"
            self.answers[answer.token] = answer.response
        for batch in effects.append:
            assert batch.base_offset == self.log_end
            self.log.append(batch)
        self.effects.append(effects)
        return effects

    def lead(self, epoch: int = 1) -> "Desk":
        """Elected, its LeaderChange committed, the leadership claimed and the first turn taken."""
        self.elect(epoch)
        self.commit()
        self.claim()
        self.turn()
        self.commit()
        return self

    def elect(self, epoch: int, leader: NodeId = NODE) -> None:
        self.step(LeaderChanged(LeaderAndEpoch(Epoch(epoch), leader)))
        self.log.append(control_batch(self.log_end, epoch, leader))

    def claim(self) -> ControllerEffects:
        return self.step(Claimed(self.log[-1].epoch, self.log_end))

    def turn(self) -> ControllerEffects:
        return self.step(Turn(self.log_end, wall_ms=77))

    def commit(self, count: int | None = None) -> ControllerEffects:
        """Commits all that was appended, or the next `count` batches."""
        end = len(self.log) if count is None else self.committed + count
        batches = tuple(self.log[self.committed : end])
        self.committed = end
        return self.step(Committed(batches))

    def lose(self, epoch: int = 2, leader: NodeId | None = OTHER) -> ControllerEffects:
        """Another node leads."""
        return self.step(LeaderChanged(LeaderAndEpoch(Epoch(epoch), leader)))

    def replace_uncommitted(self, *batches: RecordBatch) -> None:
        """The new leader's log takes the place of what was not committed."""
        del self.log[self.committed :]
        self.log += batches

    def pass_time(self, ms: int) -> None:
        """Serves every deadline of the next `ms`, and commits what comes of it."""
        end_ms = self.now_ms + ms
        while True:
            deadline = self.controller.next_deadline()
            if deadline is None or deadline > end_ms:
                break
            self.now_ms = max(self.now_ms, deadline)
            self.turn()
            self.commit()
        self.now_ms = end_ms

    def is_fenced(self, broker_id: int) -> bool:
        """As the newest image has it."""
        broker = self.controller.newest_image.cluster.broker(broker_id)
        assert broker is not None
        return broker.fenced

    # --- clients

    def submit(
        self,
        request: Any,
        *,
        timeout_ms: int = 60_000,
        api_version: int = 100,
        permits: Permits = permit_everything,
        principal: str = "User:ANONYMOUS",
        client_id: str | None = None,
    ) -> int:
        """Sends a request; its token."""
        self._last_token += 1
        pending = PendingRequest(
            request=request,
            token=self._last_token,
            deadline_ms=self.now_ms + timeout_ms,
            api_version=api_version,
            permits=permits,
            principal=principal,
            client_id=client_id,
        )
        self.step(Submitted(pending))
        return self._last_token

    def ask(self, request: Any, **how: Any) -> Any:
        """Sends a request and sees it through."""
        token = self.submit(request, **how)
        self.turn()
        self.commit()
        return self.answers[token]

    def broker(self, broker_id: int = 1, *, running: bool = True) -> int:
        """Registers a broker and lets it run; its epoch."""
        epoch: int = self.ask(registration(broker_id)).broker_epoch
        if running:
            assert not self.ask(self.beat(broker_id)).is_fenced
        return epoch

    def beat(self, broker_id: int = 1, **fields: Any) -> BrokerHeartbeatRequest:
        """A heartbeat of a broker that has read everything committed."""
        broker = self.controller.newest_image.cluster.broker(broker_id)
        values: dict[str, Any] = {
            "broker_epoch": -1 if broker is None else broker.epoch,
            "current_metadata_offset": self.controller.committed_image.offset,
            **fields,
        }
        return BrokerHeartbeatRequest(broker_id=broker_id, **values)


def registration(broker_id: int = 1, life: int = 0) -> BrokerRegistrationRequest:
    return BrokerRegistrationRequest(
        broker_id=broker_id,
        cluster_id=CLUSTER_ID,
        incarnation_id=incarnation(broker_id, life),
        features=(
            Feature(
                name="eligible.leader.replicas.version", min_supported_version=0, max_supported_version=1
            ),
            Feature(name="metadata.version", min_supported_version=1, max_supported_version=25),
        ),
        log_dirs=(directory(broker_id),),
    )


def create(*names: str, partitions: int = 1, factor: int = 1) -> CreateTopicsRequest:
    return CreateTopicsRequest(
        topics=tuple(
            CreatableTopic(name=name, num_partitions=partitions, replication_factor=factor) for name in names
        )
    )


def set_config(topic: str, key: str, value: str) -> IncrementalAlterConfigsRequest:
    change = IncrementalAlterableConfig(name=key, config_operation=0, value=value)
    resource = IncrementalAlterConfigsResource(resource_type=2, resource_name=topic, configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,))


def running_desk() -> Desk:
    """An active controller with one running broker."""
    desk = Desk().lead()
    desk.broker(1)
    return desk


def codes(response: Any) -> list[ErrorCode]:
    """The codes of a CreateTopics or IncrementalAlterConfigs answer."""
    items = response.topics if hasattr(response, "topics") else response.responses
    return [item.error_code for item in items]
