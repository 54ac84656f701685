"""The life of a broker in the cluster: register, catch up, be unfenced, keep the session, leave in order.

Pure: `BrokerLifecycle.step(event, now_ms) -> effects`, `next_deadline()`; jitter comes from the Random handed
in. Requests leave as effects and come back as events; at most one is under way, and an answer to one that was
given up is ignored. No socket, no image: the shell says what was published and sends what it is told.

The states, their numbers and what they wait for are Kafka's (KIP-631); `TRANSITIONS` has all. Departures:
- A registration that the *committed* metadata no longer holds (UnregisterBroker, another process with this
  node id) is made again, by the same incarnation. Kafka's broker repeats its stale epoch until restarted.
- While catching up a heartbeat leaves when the image shows this broker, not every 10 ms.
- Heartbeats back off to the heartbeat interval, not to the session timeout: a broker that sleeps a whole
  session after a failover would be fenced by the new controller although it is well.
- A new controller, or an image that shows this broker fenced, makes the next heartbeat leave at once.
- So does another broker's wish to stop: it may go when all others have heard of it, which only their heartbeats
  tell. And it asks again soon, less and less so. Kafka's waits a heartbeat interval for each broker that restarts.
"""

import enum
import random
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, assert_never

import attrs

from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import Offset, uuid_to_text

BACKOFF_MS: Final = 100
"""Wait after the first failure; doubles with each further one."""
BACKOFF_JITTER: Final = 0.02
CATCH_UP_RETRY_MS: Final = 100
"""Between heartbeats while the image already shows this broker and the controller has yet to agree."""
FIRST_SHUTDOWN_RETRY_MS: Final = 50
"""After the first time that the controller has not let this broker go; doubles with each further one."""
HURRY_MS: Final = 50
"""News that may repeat make a request leave early, but never closer than this to the one before."""


class BrokerState(enum.IntEnum):
    """Kafka's states and their numbers in metrics (4 and 5 are not used there either)."""

    NOT_RUNNING = 0
    STARTING = 1
    RECOVERY = 2
    RUNNING = 3
    PENDING_CONTROLLED_SHUTDOWN = 6
    SHUTTING_DOWN = 7


class Why(enum.Enum):
    """The reasons for which a broker changes its state."""

    STARTED = "started"
    CAUGHT_UP = "the controller says that the metadata is caught up"
    UNFENCED = "the controller lifted the fence"
    REGISTRATION_GONE = "the cluster's metadata no longer holds this registration"
    SHUTDOWN_REQUESTED = "a shutdown was asked for"
    SHUTDOWN_AT_ONCE = "a shutdown without handing over was asked for"
    SHUTDOWN_GRANTED = "the controller has moved the leaders away"
    GRACE_OVER = "the controller did not grant the shutdown in time"
    NOT_REGISTERED_IN_TIME = "the registration did not succeed in time"


_S = BrokerState
TRANSITIONS: Final[Mapping[tuple[BrokerState, Why], BrokerState]] = MappingProxyType(
    {
        (_S.NOT_RUNNING, Why.STARTED): _S.STARTING,
        (_S.STARTING, Why.CAUGHT_UP): _S.RECOVERY,
        (_S.RECOVERY, Why.UNFENCED): _S.RUNNING,
        (_S.RUNNING, Why.SHUTDOWN_REQUESTED): _S.PENDING_CONTROLLED_SHUTDOWN,
        (_S.PENDING_CONTROLLED_SHUTDOWN, Why.SHUTDOWN_GRANTED): _S.SHUTTING_DOWN,
        (_S.PENDING_CONTROLLED_SHUTDOWN, Why.GRACE_OVER): _S.SHUTTING_DOWN,
        # A broker that is fenced leads nothing, so there is nothing to hand over.
        (_S.NOT_RUNNING, Why.SHUTDOWN_REQUESTED): _S.SHUTTING_DOWN,
        (_S.STARTING, Why.SHUTDOWN_REQUESTED): _S.SHUTTING_DOWN,
        (_S.RECOVERY, Why.SHUTDOWN_REQUESTED): _S.SHUTTING_DOWN,
        (_S.NOT_RUNNING, Why.SHUTDOWN_AT_ONCE): _S.SHUTTING_DOWN,
        (_S.STARTING, Why.SHUTDOWN_AT_ONCE): _S.SHUTTING_DOWN,
        (_S.RECOVERY, Why.SHUTDOWN_AT_ONCE): _S.SHUTTING_DOWN,
        (_S.RUNNING, Why.SHUTDOWN_AT_ONCE): _S.SHUTTING_DOWN,
        (_S.PENDING_CONTROLLED_SHUTDOWN, Why.SHUTDOWN_AT_ONCE): _S.SHUTTING_DOWN,
        (_S.STARTING, Why.NOT_REGISTERED_IN_TIME): _S.SHUTTING_DOWN,
        (_S.STARTING, Why.REGISTRATION_GONE): _S.STARTING,
        (_S.RECOVERY, Why.REGISTRATION_GONE): _S.STARTING,
        (_S.RUNNING, Why.REGISTRATION_GONE): _S.STARTING,
        # The cluster has already taken everything from it.
        (_S.PENDING_CONTROLLED_SHUTDOWN, Why.REGISTRATION_GONE): _S.SHUTTING_DOWN,
    }
)


def become(state: BrokerState, why: Why) -> BrokerState:
    """The only way from one state to another.

    Raises:
        InvariantViolated: the table has no such transition.
    """
    after = TRANSITIONS.get((state, why))
    if after is None:
        raise InvariantViolated(f"a broker in {state.name} cannot change its state because {why.value}")
    return after


@attrs.frozen(kw_only=True)
class LifecycleSettings:
    """Kafka's settings and defaults of the same names, but for the grace, which it does not let choose."""

    heartbeat_interval_ms: int = 2_000
    session_timeout_ms: int = 9_000
    initial_registration_timeout_ms: int = 60_000
    controlled_shutdown_enable: bool = True
    controlled_shutdown_grace_ms: int = 30_000
    """How long to wait for the controller's leave. Kafka's 5 minutes outlast the patience of supervisors."""

    @property
    def request_timeout_ms(self) -> int:
        """Half a session: a lost request must leave time for another one."""
        return self.session_timeout_ms // 2


# --- events ---------------------------------------------------------------------------------------------


@attrs.frozen
class Started:
    """The process is up; its listener is bound but not open."""


@attrs.frozen
class Registered:
    """The controller accepted the registration and assigned this broker epoch."""

    attempt: int
    broker_epoch: int


@attrs.frozen(kw_only=True)
class HeartbeatAnswered:
    """The controller accepted a heartbeat."""

    attempt: int
    is_caught_up: bool
    is_fenced: bool
    should_shut_down: bool


@attrs.frozen
class RequestFailed:
    """Refused with a code, or (code None) not answered. `reason` is for people."""

    attempt: int
    reason: str
    code: ErrorCode | None = None


@attrs.frozen
class SeenRegistration:
    """What the image says about this broker's id."""

    incarnation_id: uuid.UUID
    broker_epoch: int
    fenced: bool


@attrs.frozen
class Published:
    """An image was published; `offset` is the last one that it contains."""

    offset: Offset
    registration: SeenRegistration | None


@attrs.frozen
class RecoveryFinished:
    """All is in place to serve clients: the broker no longer wants to be fenced."""


@attrs.frozen
class ControllerChanged:
    """There is a new active controller, or it became known."""


@attrs.frozen
class OtherLeaves:
    """The published image shows that another broker wishes to stop."""


@attrs.frozen
class ShutdownRequested:
    """SIGTERM and the like. `at_once`: without waiting for the controller's leave."""

    at_once: bool = False


@attrs.frozen
class TimePassed:
    """`next_deadline()` is reached."""


Event = (
    Started
    | Registered
    | HeartbeatAnswered
    | RequestFailed
    | Published
    | RecoveryFinished
    | ControllerChanged
    | OtherLeaves
    | ShutdownRequested
    | TimePassed
)


# --- effects --------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SendRegistration:
    """Send BrokerRegistration to the active controller; answer with this attempt's number."""

    attempt: int
    timeout_ms: int


@attrs.frozen(kw_only=True)
class SendHeartbeat:
    """Send BrokerHeartbeat to the active controller; answer with this attempt's number."""

    attempt: int
    timeout_ms: int
    broker_epoch: int
    current_metadata_offset: Offset
    want_fence: bool
    want_shut_down: bool


@attrs.frozen
class Entered:
    """The state changed. RUNNING opens the listener; leaving it for STARTING need not close it."""

    state: BrokerState
    why: Why


@attrs.frozen(kw_only=True)
class ShutDown:
    """End the process. `clean`: the cluster knows, and moved away what this broker led."""

    reason: str
    clean: bool


@attrs.frozen
class Note:
    """A sentence for the log."""

    text: str


Effect = SendRegistration | SendHeartbeat | Entered | ShutDown | Note


@attrs.define
class Requests:
    """What was asked of active controllers since the process started."""

    registrations: int = 0
    heartbeats: int = 0
    failures: int = 0
    """Of both: refused, not answered in time, or nobody to ask."""
    heartbeats_accepted: int = 0
    last_accepted_ms: int | None = None
    """When the last heartbeat was."""


class BrokerLifecycle:
    """One broker process's life. Feed it events, carry out its effects in order, wake it at its deadline."""

    def __init__(self, settings: LifecycleSettings, *, incarnation_id: uuid.UUID, rng: random.Random) -> None:
        self.requests = Requests()
        self._settings = settings
        self._incarnation_id = incarnation_id
        self._rng = rng
        self._state = BrokerState.NOT_RUNNING
        self._broker_epoch: int | None = None
        self._recovered = False
        self._published_offset = Offset(-1)
        self._seen: SeenRegistration | None = None
        self._attempts = 0
        self._in_flight: int | None = None
        self._sent_ms: int | None = None
        self._next_send_ms: int | None = None
        self._failures = 0
        self._last_refusal = ""
        self._registration_deadline_ms: int | None = None
        self._grace_deadline_ms: int | None = None
        self._shutdown_refusals = 0
        self._effects: list[Effect] = []

    @property
    def state(self) -> BrokerState:
        return self._state

    @property
    def broker_epoch(self) -> int | None:
        """The epoch of the present registration; None while there is none."""
        return self._broker_epoch

    def next_deadline(self) -> int | None:
        """When `TimePassed` is due, or None if only an event can change anything."""
        if self._state in (_S.NOT_RUNNING, _S.SHUTTING_DOWN):
            return None
        request = self._next_send_ms if self._in_flight is None else self._request_deadline_ms()
        waits = (request, self._registration_deadline_ms, self._grace_deadline_ms)
        return min((at for at in waits if at is not None), default=None)

    def step(self, event: Event, now_ms: int) -> tuple[Effect, ...]:
        """Takes one event; returns what to do, in this order."""
        self._effects = []
        if self._state is not _S.SHUTTING_DOWN:
            self._on_event(event, now_ms)
            self._on_time(now_ms)
        return tuple(self._effects)

    def _on_event(self, event: Event, now_ms: int) -> None:
        match event:
            case Started():
                self._on_started(now_ms)
            case Registered():
                self._on_registered(event, now_ms)
            case HeartbeatAnswered():
                self._on_heartbeat_answered(event, now_ms)
            case RequestFailed():
                self._on_failed(event, now_ms)
            case Published():
                self._on_published(event, now_ms)
            case RecoveryFinished():
                self._recovered = True
                if self._state is _S.RECOVERY:
                    self._hurry(now_ms)
            case ControllerChanged():
                self._failures = 0
                self._hurry_a_little(now_ms)
            case OtherLeaves():
                if self._state is _S.RUNNING:
                    self._hurry_a_little(now_ms)
            case ShutdownRequested():
                self._on_shutdown_requested(event, now_ms)
            case TimePassed():
                pass
            case _:
                assert_never(event)

    # --- events -----------------------------------------------------------------------------------------

    def _on_started(self, now_ms: int) -> None:
        self._enter(Why.STARTED)
        self._registration_deadline_ms = now_ms + self._settings.initial_registration_timeout_ms
        self._next_send_ms = now_ms

    def _on_registered(self, event: Registered, now_ms: int) -> None:
        if self._answers(event.attempt):
            self._accept_registration(event.broker_epoch, now_ms)

    def _accept_registration(self, broker_epoch: int, now_ms: int) -> None:
        self._in_flight = None
        self._failures = 0
        self._broker_epoch = broker_epoch
        self._registration_deadline_ms = None
        self._next_send_ms = now_ms
        self._note(f"registered with broker epoch {broker_epoch}")
        self._check_registration(now_ms)

    def _on_heartbeat_answered(self, event: HeartbeatAnswered, now_ms: int) -> None:
        if not self._answers(event.attempt):
            return
        self.requests.heartbeats_accepted += 1
        self.requests.last_accepted_ms = now_ms
        self._in_flight = None
        self._failures = 0
        if self._state is _S.STARTING and event.is_caught_up:
            self._enter(Why.CAUGHT_UP)
        if self._state is _S.RECOVERY and not event.is_fenced:
            self._enter(Why.UNFENCED)
        if self._state is _S.PENDING_CONTROLLED_SHUTDOWN:
            if event.should_shut_down:
                self._shut_down(Why.SHUTDOWN_GRANTED, clean=True)
                return
            self._shutdown_refusals += 1
        self._next_send_ms = now_ms + self._interval_ms()

    def _interval_ms(self) -> int:
        if self._state is _S.PENDING_CONTROLLED_SHUTDOWN:
            retry_ms = FIRST_SHUTDOWN_RETRY_MS << min(self._shutdown_refusals - 1, 16)
            return min(retry_ms, self._settings.heartbeat_interval_ms)
        waits_for_controller = self._state is _S.STARTING or (self._state is _S.RECOVERY and self._recovered)
        if waits_for_controller and self._image_shows_us():
            return CATCH_UP_RETRY_MS
        return self._settings.heartbeat_interval_ms

    def _on_failed(self, event: RequestFailed, now_ms: int) -> None:
        if not self._answers(event.attempt):
            return
        self.requests.failures += 1
        self._in_flight = None
        self._failures += 1
        what, cap_ms = "registration", self._settings.session_timeout_ms
        if self._broker_epoch is not None:
            what, cap_ms = (
                f"heartbeat with broker epoch {self._broker_epoch}",
                self._settings.heartbeat_interval_ms,
            )
        wait_ms = min(cap_ms, BACKOFF_MS << min(self._failures - 1, 16))
        wait_ms = round(wait_ms * (1 + self._rng.uniform(-BACKOFF_JITTER, BACKOFF_JITTER)))
        self._next_send_ms = now_ms + wait_ms
        code = f"{event.code.name.upper()}: " if event.code is not None else ""
        self._last_refusal = f"{code}{event.reason}"
        self._note(f"{what} failed: {self._last_refusal}; next try in {wait_ms} ms")

    def _on_published(self, event: Published, now_ms: int) -> None:
        before, seen = self._seen, event.registration
        shown = self._image_shows_us()
        self._published_offset = event.offset
        self._seen = seen
        if self._broker_epoch is None:
            self._on_published_unregistered(before, now_ms)
            return
        self._check_registration(now_ms)
        if seen is None or not self._image_shows_us():
            return
        if self._state is _S.STARTING and not shown:
            self._hurry(now_ms)
        elif self._state is _S.RUNNING and seen.fenced and before is not None and not before.fenced:
            self._hurry_a_little(now_ms)

    def _on_published_unregistered(self, before: SeenRegistration | None, now_ms: int) -> None:
        seen = self._seen
        if seen is not None and seen.incarnation_id == self._incarnation_id:
            # The answer is lost or late, but the record is committed, and the incarnation id is ours alone.
            self._accept_registration(seen.broker_epoch, now_ms)
        elif before is not None and not before.fenced and (seen is None or seen.fenced):
            # Whoever held the id is gone (a killed process whose session has run out): no DUPLICATE any more.
            self._hurry_a_little(now_ms)

    def _on_shutdown_requested(self, event: ShutdownRequested, now_ms: int) -> None:
        if event.at_once or (self._state is _S.RUNNING and not self._settings.controlled_shutdown_enable):
            self._shut_down(Why.SHUTDOWN_AT_ONCE, clean=False)
        elif self._state is _S.RUNNING:
            self._enter(Why.SHUTDOWN_REQUESTED)
            self._grace_deadline_ms = now_ms + self._settings.controlled_shutdown_grace_ms
            self._shutdown_refusals = 0
            # The heartbeat under way says the contrary; its answer must not count as the first refusal.
            self._in_flight = None
            self._next_send_ms = now_ms
        elif self._state is not _S.PENDING_CONTROLLED_SHUTDOWN:
            self._shut_down(Why.SHUTDOWN_REQUESTED, clean=True)

    # --- the registration in the image ------------------------------------------------------------------

    def _image_shows_us(self) -> bool:
        seen = self._seen
        return (
            seen is not None
            and seen.incarnation_id == self._incarnation_id
            and seen.broker_epoch == self._broker_epoch
        )

    def _check_registration(self, now_ms: int) -> None:
        """Registers anew once the committed metadata says that the registration is gone.

        The broker epoch is the offset at which the registration was decided, and its record follows in the
        same batch. So an image that reaches the epoch and does not show this broker has lost it; an older
        image proves nothing.
        """
        epoch = self._broker_epoch
        if epoch is None or self._published_offset < epoch or self._image_shows_us():
            return
        holder = "nothing is registered under this node id"
        if self._seen is not None:
            other = uuid_to_text(self._seen.incarnation_id)
            holder = f"the id belongs to incarnation {other}, epoch {self._seen.broker_epoch}"
        self._note(f"broker epoch {epoch} is gone at offset {self._published_offset}: {holder}")
        self._broker_epoch = None
        self._in_flight = None
        self._failures = 0
        if self._state is _S.PENDING_CONTROLLED_SHUTDOWN:
            self._shut_down(Why.REGISTRATION_GONE, clean=True)
            return
        self._enter(Why.REGISTRATION_GONE)
        self._next_send_ms = now_ms

    # --- time and requests ------------------------------------------------------------------------------

    def _on_time(self, now_ms: int) -> None:
        if self._state in (_S.NOT_RUNNING, _S.SHUTTING_DOWN):
            return
        if self._registration_deadline_ms is not None and now_ms >= self._registration_deadline_ms:
            self._shut_down(Why.NOT_REGISTERED_IN_TIME, clean=False)
            return
        if self._grace_deadline_ms is not None and now_ms >= self._grace_deadline_ms:
            self._shut_down(Why.GRACE_OVER, clean=False)
            return
        if self._in_flight is not None and now_ms >= self._request_deadline_ms():
            timeout_ms = self._settings.request_timeout_ms
            self._on_failed(RequestFailed(self._in_flight, f"no answer within {timeout_ms} ms"), now_ms)
        if self._in_flight is None and self._next_send_ms is not None and now_ms >= self._next_send_ms:
            self._send(now_ms)

    def _request_deadline_ms(self) -> int:
        return (self._sent_ms or 0) + self._settings.request_timeout_ms

    def _send(self, now_ms: int) -> None:
        self._attempts += 1
        self._in_flight = self._attempts
        self._sent_ms = now_ms
        self._next_send_ms = None
        timeout_ms = self._settings.request_timeout_ms
        if self._broker_epoch is None:
            self.requests.registrations += 1
            self._effects.append(SendRegistration(attempt=self._attempts, timeout_ms=timeout_ms))
            return
        self.requests.heartbeats += 1
        self._effects.append(
            SendHeartbeat(
                attempt=self._attempts,
                timeout_ms=timeout_ms,
                broker_epoch=self._broker_epoch,
                current_metadata_offset=self._published_offset,
                want_fence=not self._recovered,
                want_shut_down=self._state is _S.PENDING_CONTROLLED_SHUTDOWN,
            )
        )

    def _hurry_a_little(self, now_ms: int) -> None:
        """For news that may come in quick succession."""
        self._hurry(now_ms if self._sent_ms is None else max(now_ms, self._sent_ms + HURRY_MS))

    def _hurry(self, at_ms: int) -> None:
        """Brings the next request forward; while one is under way its answer decides."""
        if self._in_flight is None and self._next_send_ms is not None:
            self._next_send_ms = min(self._next_send_ms, at_ms)

    def _answers(self, attempt: int) -> bool:
        return attempt == self._in_flight

    # --- states -----------------------------------------------------------------------------------------

    def _enter(self, why: Why) -> None:
        self._state = become(self._state, why)
        self._effects.append(Entered(self._state, why))

    def _shut_down(self, why: Why, *, clean: bool) -> None:
        self._enter(why)
        reason = why.value
        if why is Why.NOT_REGISTERED_IN_TIME and self._last_refusal:
            reason = f"{reason}; the last try ended with: {self._last_refusal}"
        self._effects.append(ShutDown(reason=reason, clean=clean))

    def _note(self, text: str) -> None:
        self._effects.append(Note(text))
