"""The shell of `lifecycle`: registration and heartbeats on their way to the active controller and back (shell).

Hears of images (as the last publisher) and of controllers, sends what the life cycle asks for, and says when the
broker may open its listeners and when it is to stop.
"""

import random
import uuid
from collections.abc import Callable
from typing import Any, Final, assert_never

import attrs
import structlog
import trio

from quorate.broker.driver import Driver
from quorate.broker.lifecycle import (
    BrokerLifecycle,
    BrokerState,
    ControllerChanged,
    Effect,
    Entered,
    Event,
    HeartbeatAnswered,
    LifecycleSettings,
    Note,
    OtherLeaves,
    Published,
    RecoveryFinished,
    Registered,
    RequestFailed,
    SeenRegistration,
    SendHeartbeat,
    SendRegistration,
    ShutDown,
    ShutdownRequested,
    Started,
    TimePassed,
)
from quorate.broker.links import Sender
from quorate.broker.loader import Cause, Publication
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import Failure
from quorate.metadata.ids import Endpoint, NodeId, Offset
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire import brokers

_log = structlog.get_logger("broker")


@attrs.frozen(kw_only=True)
class BrokerIdentity:
    """Who this life of the process is."""

    broker_id: NodeId
    cluster_id: str
    incarnation_id: uuid.UUID
    listeners: tuple[brokers.Listener, ...]
    features: tuple[brokers.Feature, ...]
    rack: str | None
    log_dirs: tuple[uuid.UUID, ...]
    is_migrating_zk_broker: bool = False
    """It is in ZooKeeper mode, and the quorum is to take its cluster over (KIP-866)."""

    def registration(self) -> brokers.BrokerRegistrationRequest:
        return brokers.BrokerRegistrationRequest(
            broker_id=self.broker_id,
            cluster_id=self.cluster_id,
            incarnation_id=self.incarnation_id,
            listeners=self.listeners,
            features=self.features,
            rack=self.rack,
            log_dirs=self.log_dirs,
            is_migrating_zk_broker=self.is_migrating_zk_broker,
        )


NOTHING_TO_READ: Final = Offset(2**62)
"""Up to where a broker has read that follows no log: nobody has to wait until it has read more."""


class BrokerLife:
    """One broker's life in the cluster. `run` begins it; `ended` is set when the process is to stop."""

    def __init__(
        self,
        identity: BrokerIdentity,
        settings: LifecycleSettings,
        sender: Sender,
        rng: random.Random,
        *,
        follows_log: bool = True,
    ) -> None:
        """`follows_log`: whether `published` tells of images; else what the controller answers is all there is."""
        self.running = trio.Event()
        """The controller has lifted the fence for the first time: clients may be served."""
        self.ended = trio.Event()
        self.ending: ShutDown | None = None
        """Why it ended."""
        self._identity = identity
        self._sender = sender
        self._controller: Endpoint | None = None
        self._lifecycle = BrokerLifecycle(settings, incarnation_id=identity.incarnation_id, rng=rng)
        self._driver: Driver[Event, Effect] = Driver(
            step=self._lifecycle.step,
            next_deadline=self._lifecycle.next_deadline,
            carry_out=self._carry_out,
            time_passed=TimePassed(),
        )
        self._recovered = False
        self._follows_log = follows_log

    @property
    def state(self) -> BrokerState:
        return self._lifecycle.state

    @property
    def lifecycle(self) -> BrokerLifecycle:
        """To look at."""
        return self._lifecycle

    async def run(self) -> None:
        """Until cancelled."""
        self._driver.take(Started())
        await self._driver.run()

    def published(self, publication: Publication) -> None:
        """The last publisher: what is published now is in effect."""
        seen = publication.image.cluster.brokers.get(self._identity.broker_id)
        registration = (
            None if seen is None else SeenRegistration(seen.incarnation_id, seen.epoch, seen.fenced)
        )
        self._driver.take(Published(Offset(publication.image.offset), registration))
        if self._sees_another_leave(publication):
            self._driver.take(OtherLeaves())
        if not self._recovered:
            # This broker keeps no topic data: with the first image all is in place.
            self._recovered = True
            self._driver.take(RecoveryFinished())

    def _sees_another_leave(self, publication: Publication) -> bool:
        if publication.cause is not Cause.LOG:
            return False
        return any(
            broker is not None and broker.in_controlled_shutdown and broker_id != self._identity.broker_id
            for broker_id, broker in publication.changes.changed_brokers.items()
        )

    def leader_changed(self, leader: LeaderAndEpoch) -> None:
        """News of who is the active controller."""
        self._controller = leader.endpoint if leader.leader_id is not None else None
        if self._controller is not None:
            self._driver.take(ControllerChanged())

    def shut_down(self, *, at_once: bool = False) -> None:
        """Leaves the cluster, in order unless it must be at once; `ended` says when that is done."""
        self._driver.take(ShutdownRequested(at_once))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendRegistration():
                self._send(effect.attempt, self._identity.registration(), effect.timeout_ms, _registered)
            case SendHeartbeat():
                heartbeat = brokers.BrokerHeartbeatRequest(
                    broker_id=self._identity.broker_id,
                    broker_epoch=effect.broker_epoch,
                    current_metadata_offset=effect.current_metadata_offset,
                    want_fence=effect.want_fence,
                    want_shut_down=effect.want_shut_down,
                )
                self._send(effect.attempt, heartbeat, effect.timeout_ms, _heard)
            case Entered():
                _log.info("broker state", state=effect.state.name, because=effect.why.value)
                if effect.state is BrokerState.RUNNING:
                    self.running.set()
            case ShutDown():
                self.ending = effect
                self.ended.set()
            case Note():
                _log.info(effect.text)
            case _:
                assert_never(effect)

    def _send(
        self, attempt: int, request: Any, timeout_ms: int, accepted: Callable[[int, Any], Event]
    ) -> None:
        def on_reply(reply: Any) -> None:
            if not self._follows_log:
                self._learn(reply)  # first: what an answer accepts is held against what was seen
            if isinstance(reply, Failure):
                self._driver.take(RequestFailed(attempt, reply.text))
            elif reply.error_code is not ErrorCode.none:
                self._driver.take(RequestFailed(attempt, f"refused by {where}", reply.error_code))
            else:
                self._driver.take(accepted(attempt, reply))

        if self._controller is None:
            self._driver.take(RequestFailed(attempt, "no active controller is known to this broker"))
            return
        where = f"{self._controller.host}:{self._controller.port}"
        self._sender.send(self._controller, request, on_reply, timeout_ms=timeout_ms)

    def _learn(self, reply: Any) -> None:
        """What an image would show, from an answer."""
        if isinstance(reply, Failure):
            return
        if reply.error_code is ErrorCode.stale_broker_epoch:
            self._driver.take(Published(NOTHING_TO_READ, None))
        elif isinstance(reply, brokers.BrokerRegistrationResponse) and reply.error_code is ErrorCode.none:
            mine = SeenRegistration(self._identity.incarnation_id, reply.broker_epoch, fenced=True)
            self._driver.take(Published(NOTHING_TO_READ, mine))
            self._driver.take(RecoveryFinished())


def _registered(attempt: int, answer: brokers.BrokerRegistrationResponse) -> Event:
    return Registered(attempt, answer.broker_epoch)


def _heard(attempt: int, answer: brokers.BrokerHeartbeatResponse) -> Event:
    return HeartbeatAnswered(
        attempt=attempt,
        is_caught_up=answer.is_caught_up,
        is_fenced=answer.is_fenced,
        should_shut_down=answer.should_shut_down,
    )
