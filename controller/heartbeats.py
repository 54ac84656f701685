"""What a broker's heartbeat leads to: the states of KIP-631, controlled shutdown included.

A heartbeat without a transition writes nothing and is answered at once: a starting broker sends a hundred a second,
and a busy queue of writes must not cost a living broker its session. Contact is noted on arrival (`sessions`).
"""

import enum
from collections.abc import Callable
from typing import assert_never
from uuid import UUID

import attrs

from quorate.controller import isr
from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import CORDONED_DIRECTORIES_SINCE
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest, BrokerHeartbeatResponse


class ControlState(enum.Enum):
    """How the controller sees a broker. One that may stop is fenced, and in controlled shutdown, in the image."""

    FENCED = "fenced"
    UNFENCED = "unfenced"
    CONTROLLED_SHUTDOWN = "in controlled shutdown"
    SHUTDOWN_NOW = "may stop"


@attrs.frozen(kw_only=True)
class Beat:
    """What decides about the next state. The last two are asked for only where they matter: they cost time."""

    want_fence: bool
    want_shut_down: bool
    caught_up: bool
    """The broker has read its own registration, and its partitions know of what went before."""
    leads_something: Callable[[], bool]
    may_leave: Callable[[], bool]
    """Everything was moved away from it, and the others know."""


def control_state(broker: BrokerRegistration) -> ControlState:
    """The state that the image gives a broker."""
    if broker.fenced:
        return ControlState.SHUTDOWN_NOW if broker.in_controlled_shutdown else ControlState.FENCED
    return ControlState.CONTROLLED_SHUTDOWN if broker.in_controlled_shutdown else ControlState.UNFENCED


def next_state(now: ControlState, beat: Beat) -> ControlState:
    """The whole state machine. Controlled shutdown cannot be called off: a heartbeat that had been under way when its
    broker was let go would unfence, and make a leader of, a process that ends (as it does in Kafka)."""
    match now:
        case ControlState.SHUTDOWN_NOW:
            return ControlState.SHUTDOWN_NOW
        case ControlState.FENCED:
            if beat.want_shut_down:
                return ControlState.SHUTDOWN_NOW
            return ControlState.UNFENCED if beat.caught_up and not beat.want_fence else ControlState.FENCED
        case ControlState.UNFENCED:
            if beat.want_fence:
                return ControlState.SHUTDOWN_NOW if beat.want_shut_down else ControlState.FENCED
            if not beat.want_shut_down:
                return ControlState.UNFENCED
            return ControlState.CONTROLLED_SHUTDOWN if beat.leads_something() else ControlState.SHUTDOWN_NOW
        case ControlState.CONTROLLED_SHUTDOWN:
            return ControlState.SHUTDOWN_NOW if beat.may_leave() else ControlState.CONTROLLED_SHUTDOWN
        case _:
            assert_never(now)


@attrs.frozen
class Assessment:
    """What a heartbeat would lead to."""

    broker: BrokerRegistration
    now: ControlState
    next: ControlState
    writes: bool
    """Records are needed, so it has to wait its turn."""
    response: BrokerHeartbeatResponse


def assess(context: Context, request: BrokerHeartbeatRequest) -> Assessment:
    """Looks at a heartbeat without making records.

    Raises:
        RequestRejected: STALE_BROKER_EPOCH; there is no such registration (any more).
    """
    broker = context.broker(request.broker_id)
    if broker is None or broker.epoch != request.broker_epoch:
        reject(
            ErrorCode.stale_broker_epoch,
            f"Broker {request.broker_id} is not registered with epoch {request.broker_epoch}. Register again.",
        )
    now = control_state(broker)
    # The broker's epoch is the offset of the record that registered it.
    caught_up = request.current_metadata_offset >= broker.epoch
    settled = context.sessions.is_settled(broker.id)
    following = next_state(
        now,
        Beat(
            # Without a single directory it cannot serve, whatever it wishes.
            want_fence=request.want_fence or _lost_every_directory(broker, request),
            want_shut_down=request.want_shut_down,
            caught_up=caught_up and settled,
            leads_something=lambda: isr.leads_something(context, broker.id),
            may_leave=lambda: context.sessions.may_leave(broker.id, context.now_ms),
        ),
    )
    stops = following is ControlState.SHUTDOWN_NOW
    response = BrokerHeartbeatResponse(
        is_caught_up=caught_up,
        is_fenced=stops or following is ControlState.FENCED,
        should_shut_down=stops,
    )
    writes = _writes(broker, now, following, request) or (
        _newly_cordoned(context, broker, request) is not None
    )
    return Assessment(broker, now, following, writes, response)


def _lost_every_directory(broker: BrokerRegistration, request: BrokerHeartbeatRequest) -> bool:
    return bool(broker.log_dirs) and set(broker.log_dirs) <= set(request.offline_log_dirs)


def _writes(
    broker: BrokerRegistration,
    now: ControlState,
    following: ControlState,
    request: BrokerHeartbeatRequest,
) -> bool:
    if isr.newly_offline(broker, request.offline_log_dirs):
        return True
    # A fenced broker that stops is fenced already.
    return now is not following and (not broker.fenced or following is ControlState.UNFENCED)


def _newly_cordoned(
    context: Context, broker: BrokerRegistration, request: BrokerHeartbeatRequest
) -> tuple[UUID, ...] | None:
    """Which directories take no new replicas (KIP-1066), if the broker says otherwise than before.

    It says nothing (None) before it knows.
    """
    said, known = request.cordoned_log_dirs, broker.cordoned_log_dirs
    if said is None or context.metadata_version < CORDONED_DIRECTORIES_SINCE:
        return None
    return said if known is None or set(said) != set(known) else None


def broker_heartbeat(
    context: Context, request: BrokerHeartbeatRequest
) -> ControllerResult[BrokerHeartbeatResponse]:
    """A heartbeat that changes something.

    Raises:
        RequestRejected: STALE_BROKER_EPOCH.
    """
    found = assess(context, request)
    if not found.writes:
        return ControllerResult((), found.response)
    match found.next:
        case ControlState.FENCED | ControlState.SHUTDOWN_NOW:
            change = isr.fence(context, found.broker)
        case ControlState.UNFENCED if found.broker.fenced:
            change = isr.unfence(context, found.broker)
        case ControlState.CONTROLLED_SHUTDOWN if not found.broker.in_controlled_shutdown:
            change = isr.begin_controlled_shutdown(context, found.broker)
        case ControlState.UNFENCED | ControlState.CONTROLLED_SHUTDOWN:
            change = isr.NO_CHANGE
        case _:
            assert_never(found.next)
    if not change.records:
        # Together with a transition it would be judged by the state before; the next heartbeat says it again.
        change = isr.lose_directories(context, found.broker, request.offline_log_dirs)
    cordoned = _newly_cordoned(context, found.broker, request)
    if not change.records and cordoned is not None:
        change = isr.cordon(context, found.broker, cordoned)
    return ControllerResult(change.records, found.response, atomic=False, unsettled=change.unsettled)
