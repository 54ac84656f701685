"""Handing a client's write to the active controller: what goes where, what goes again, what the client hears.

Pure: `Forwarder.step(event, now_ms) -> effects`, `next_deadline()`. The request travels as the client wrote
it, inside an Envelope with the client's principal and address (KIP-590); the answer travels back untouched.
Many envelopes are under way at once on one connection; the controller starts them in the order in which they
came. The shell (`server`) owns the connections.

What a client may conclude from the outcome is the point of this file:
- A controller that answers NOT_CONTROLLER has not appended the request, or knows that it was replaced. It
  goes to the next controller. So does what was never written to a socket.
- A write that was written to a connection which then broke may have been applied. It is never sent again: a
  second CreateTopics would answer TOPIC_ALREADY_EXISTS for a topic that the first one made. The client is
  told REQUEST_TIMED_OUT, and the text says that the outcome is unknown. A read is sent again instead.
- REQUEST_TIMED_OUT for a request that never left says that nothing was changed.
- An answer says up to which offset it rests on the log. It is held until this broker shows as much: who was told here
  that a topic exists finds it here.
"""

import enum
import heapq
from typing import Final, NewType, assert_never

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset
from quorate.metadata.wire.envelope import EnvelopeRequest, EnvelopeResponse

FORWARD_TIMEOUT_MS: Final = 60_000
"""How long a request waits for an answer at most, as in Kafka."""
PATIENCE_MS: Final = 27_000
"""How long it waits for a controller that takes it, unless it says itself how long it may take: most clients give up
after 30 s, and would not hear why."""
MIN_PATIENCE_MS: Final = 5_000
"""Clients that say 0 do not want to wait for the outcome; a failover they would rather survive."""
MAX_IN_FLIGHT: Final = 64
"""Envelopes under way at once. Below what a listener parks per connection, so it never pushes back."""
LAST_WORD_MS: Final = 1_500
"""How long a controller that is none any more may still answer the writes that it was sent."""
MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
RETRY_MS: Final = 50
"""Wait before the same controller, which says that it is none, is asked again; doubles."""
MAX_RETRY_MS: Final = 1_000

Ticket = NewType("Ticket", int)
"""Names a client's request; later requests have higher tickets. Chosen by the shell."""

Attempt = NewType("Attempt", int)
"""Names one sending of a request, so that the answer to one that was given up is told from the others."""


class Failure(enum.Enum):
    """Why an envelope got no answer."""

    NOT_WRITTEN = "it could not be sent"
    """Refused connection, or a connection that broke before the first byte left."""
    LOST = "the connection broke before the answer came"
    TIMED_OUT = "no answer came in time"
    UNSUPPORTED = "the controller does not take envelopes"


@attrs.frozen
class Controller:
    """The active controller of an epoch, and where it is reached."""

    node_id: NodeId
    epoch: Epoch
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"controller {self.node_id} ({self.endpoint.host}:{self.endpoint.port})"


# --- events ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Submitted:
    """A client's request. `is_read`: it changes nothing, so sending it twice is harmless."""

    ticket: Ticket
    envelope: EnvelopeRequest
    deadline_ms: int
    unsent_deadline_ms: int
    """When it is refused if no controller has it then."""
    is_read: bool


@attrs.frozen
class Answered:
    attempt: Attempt
    response: EnvelopeResponse


@attrs.frozen
class Failed:
    attempt: Attempt
    failure: Failure


@attrs.frozen
class ControllerChanged:
    """Who is active now; None while nobody is known to be."""

    controller: Controller | None


@attrs.frozen
class ImagePublished:
    """This broker's image shows the log up to this offset, inclusive."""

    offset: Offset


@attrs.frozen
class Abandoned:
    """The client has gone. What is under way runs on; nobody waits for it."""

    ticket: Ticket


@attrs.frozen
class TimePassed:
    """`next_deadline()` is reached."""


Event = Submitted | Answered | Failed | ControllerChanged | ImagePublished | Abandoned | TimePassed


# --- effects --------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Send:
    """Write the envelope to that controller; report back with the attempt."""

    attempt: Attempt
    controller: Controller
    envelope: EnvelopeRequest
    timeout_ms: int


@attrs.frozen
class Deliver:
    """The controller's answer: the client's response frame, header and body, without its length."""

    ticket: Ticket
    response_data: bytes


@attrs.frozen
class Refuse:
    """Answer the client with an error of its API's own shape."""

    ticket: Ticket
    code: ErrorCode
    message: str


Effect = Send | Deliver | Refuse

_PASSED_ON: Final = frozenset({ErrorCode.unsupported_version, ErrorCode.request_timed_out})
"""Envelope errors that mean the same to the client. Others are between the broker and the controller."""


def patience_ms(timeout_ms: int | None) -> int:
    """How long a request waits for a controller; `timeout_ms`: what it says itself, None where it cannot.

    A little less than that: the client is told why instead of giving up at the same moment.
    """
    if timeout_ms is None:
        return PATIENCE_MS
    return min(max(timeout_ms * 9 // 10, MIN_PATIENCE_MS), FORWARD_TIMEOUT_MS)


@attrs.define
class _Request:
    submitted: Submitted
    queued: bool = False
    attempt: Attempt | None = None
    sent_to: Controller | None = None
    refused_by: Controller | None = None
    held: EnvelopeResponse | None = None
    """Its answer, which rests on more than this broker shows."""
    held_until_ms: int = 0


class Forwarder:
    """All requests of this broker's clients that wait for, or are with, the active controller."""

    def __init__(self) -> None:
        self._controller: Controller | None = None
        self._requests: dict[Ticket, _Request] = {}
        self._waiting: list[Ticket] = []  # a heap: what comes back goes in front of what came later
        self._waiting_bytes = 0
        self._in_flight: dict[Attempt, Ticket] = {}
        self._deadlines: list[tuple[int, Ticket]] = []  # a heap; entries of finished requests are skipped
        self._unsent_deadlines: list[tuple[int, Ticket]] = []  # a heap; so are those of requests under way
        self._held: list[tuple[int, Ticket]] = []  # a heap, by what they wait for; finished ones are skipped
        self._holds = 0
        self._shown = -1
        self._attempts = 0
        self._retry_at_ms: int | None = None
        self._refusals = 0
        self._effects: list[Effect] = []

    @property
    def waiting(self) -> int:
        """Requests that no controller has at the moment, and none has answered."""
        return len(self._requests) - len(self._in_flight) - self._holds

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def next_deadline(self) -> int | None:
        """When `TimePassed` is due, or None if only an event can change anything."""
        while self._deadlines and self._deadlines[0][1] not in self._requests:
            heapq.heappop(self._deadlines)
        while self._unsent_deadlines and not self._is_queued(self._unsent_deadlines[0][1]):
            heapq.heappop(self._unsent_deadlines)
        waits = [heap[0][0] for heap in (self._deadlines, self._unsent_deadlines) if heap]
        if self._retry_at_ms is not None and self.waiting:
            waits.append(self._retry_at_ms)
        return min(waits, default=None)

    def step(self, event: Event, now_ms: int) -> tuple[Effect, ...]:
        """Takes one event; returns what to do, in this order."""
        self._effects = []
        match event:
            case Submitted():
                self._on_submitted(event)
            case Answered():
                self._on_answered(event, now_ms)
            case Failed():
                self._on_failed(event, now_ms)
            case ControllerChanged():
                self._on_controller_changed(event.controller, now_ms)
            case ImagePublished():
                self._on_image_published(event.offset)
            case Abandoned():
                self._finish(event.ticket)
            case TimePassed():
                pass
            case _:
                assert_never(event)
        self._expire(now_ms)
        self._pump(now_ms)
        self._expire_unsent(now_ms)
        return tuple(self._effects)

    # --- events -----------------------------------------------------------------------------------------

    def _on_submitted(self, event: Submitted) -> None:
        size = len(event.envelope.request_data)
        if self.waiting >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._effects.append(
                Refuse(
                    event.ticket,
                    ErrorCode.request_timed_out,
                    f"this broker already holds {self.waiting} requests ({self._waiting_bytes} bytes) "
                    f"for a controller: {self._whereabouts()}; nothing was changed, try again later",
                )
            )
            return
        self._requests[event.ticket] = _Request(event)
        heapq.heappush(self._deadlines, (event.deadline_ms, event.ticket))
        self._put_back(event.ticket)

    def _on_answered(self, event: Answered, now_ms: int) -> None:
        request = self._take_back(event.attempt)
        if request is None:
            return
        ticket, response = request.submitted.ticket, event.response
        if response.error_code is ErrorCode.not_controller:
            self._send_again(request, now_ms)
        elif response.error_code in _PASSED_ON:
            self._refuse(ticket, response.error_code, f"{request.sent_to} refused the forwarded request")
        elif response.error_code is not ErrorCode.none or response.response_data is None:
            code = response.error_code.name.upper()
            text = f"{request.sent_to} answered the envelope with {code}; see its log"
            self._refuse(ticket, ErrorCode.unknown_server_error, text)
        else:
            self._refusals = 0
            if response.rests_on <= self._shown:
                self._deliver(ticket, response.response_data)
            else:
                self._hold(request, response, now_ms)

    def _hold(self, request: _Request, response: EnvelopeResponse, now_ms: int) -> None:
        ticket, patience_ends_ms = request.submitted.ticket, request.submitted.unsent_deadline_ms
        request.held = response
        request.held_until_ms = min(
            request.submitted.deadline_ms, max(patience_ends_ms, now_ms + LAST_WORD_MS)
        )
        self._holds += 1
        heapq.heappush(self._held, (response.rests_on, ticket))
        heapq.heappush(self._deadlines, (request.held_until_ms, ticket))

    def _deliver(self, ticket: Ticket, data: bytes) -> None:
        self._finish(ticket)
        self._effects.append(Deliver(ticket, data))

    def _on_image_published(self, offset: Offset) -> None:
        self._shown = offset
        while self._held and self._held[0][0] <= offset:
            _, ticket = heapq.heappop(self._held)
            request = self._requests.get(ticket)
            if request is not None and request.held is not None and request.held.response_data is not None:
                self._deliver(ticket, request.held.response_data)

    def _on_failed(self, event: Failed, now_ms: int) -> None:
        request = self._take_back(event.attempt)
        if request is None:
            return
        ticket = request.submitted.ticket
        match event.failure:
            case Failure.NOT_WRITTEN:
                self._send_again(request, now_ms)
            case Failure.LOST | Failure.TIMED_OUT:
                if request.submitted.is_read:
                    self._send_again(request, now_ms)
                else:
                    text = f"{event.failure.value} ({request.sent_to}): {_UNKNOWN_OUTCOME}"
                    self._refuse(ticket, ErrorCode.request_timed_out, text)
            case Failure.UNSUPPORTED:
                text = f"{request.sent_to} does not take forwarded requests; upgrade it"
                self._refuse(ticket, ErrorCode.unsupported_version, text)
            case _:
                assert_never(event.failure)

    def _on_controller_changed(self, controller: Controller | None, now_ms: int) -> None:
        if controller == self._controller:
            return
        self._controller = controller
        self._retry_at_ms = None
        self._refusals = 0
        if controller is None:
            return
        # The old controller may yet answer writes (it follows the new leader's log), but it may as well be paused or
        # cut off: then waiting longer tells nothing, and holds up what the client sent behind. Reads need not wait.
        for attempt, ticket in list(self._in_flight.items()):
            if self._requests[ticket].submitted.is_read:
                self._take_back(attempt)
                self._put_back(ticket)
            else:
                heapq.heappush(self._deadlines, (now_ms + LAST_WORD_MS, ticket))

    # --- sending ----------------------------------------------------------------------------------------

    def _pump(self, now_ms: int) -> None:
        if self._controller is None or (self._retry_at_ms is not None and now_ms < self._retry_at_ms):
            return
        self._retry_at_ms = None
        while self._waiting and len(self._in_flight) < MAX_IN_FLIGHT:
            ticket = heapq.heappop(self._waiting)
            request = self._requests.get(ticket)
            if request is None:
                continue
            self._unqueue(request)
            self._attempts += 1
            attempt = request.attempt = Attempt(self._attempts)
            request.sent_to = self._controller
            self._in_flight[attempt] = ticket
            self._effects.append(
                Send(
                    attempt=attempt,
                    controller=self._controller,
                    envelope=request.submitted.envelope,
                    timeout_ms=request.submitted.deadline_ms - now_ms,
                )
            )

    def _take_back(self, attempt: Attempt) -> _Request | None:
        ticket = self._in_flight.pop(attempt, None)
        if ticket is None:
            return None
        request = self._requests[ticket]
        request.attempt = None
        return request

    def _put_back(self, ticket: Ticket) -> None:
        heapq.heappush(self._waiting, ticket)
        request = self._requests[ticket]
        heapq.heappush(self._unsent_deadlines, (request.submitted.unsent_deadline_ms, ticket))
        request.queued = True
        self._waiting_bytes += len(request.submitted.envelope.request_data)

    def _unqueue(self, request: _Request) -> None:
        request.queued = False
        self._waiting_bytes -= len(request.submitted.envelope.request_data)

    def _send_again(self, request: _Request, now_ms: int) -> None:
        """Back in line; if the controller that did not take it is still the one we know, not at once."""
        request.refused_by = request.sent_to
        self._put_back(request.submitted.ticket)
        if request.sent_to == self._controller and self._retry_at_ms is None:
            self._retry_at_ms = now_ms + min(MAX_RETRY_MS, RETRY_MS << min(self._refusals, 10))
            self._refusals += 1

    # --- endings ----------------------------------------------------------------------------------------

    def _expire(self, now_ms: int) -> None:
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, ticket = heapq.heappop(self._deadlines)
            request = self._requests.get(ticket)
            if request is None or not self._is_over(request, now_ms):
                continue
            if request.held is not None:
                text = (
                    f"{request.sent_to} has answered, but this broker does not show the outcome yet: it follows the "
                    f"log up to offset {self._shown}, the answer rests on {request.held.rests_on}: "
                    f"{_UNKNOWN_OUTCOME}"
                )
                self._refuse(ticket, ErrorCode.request_timed_out, text)
            elif request.attempt is None:
                self._refuse_unsent(request)
            else:
                text = f"{Failure.TIMED_OUT.value} ({request.sent_to}): {_UNKNOWN_OUTCOME}"
                self._refuse(ticket, ErrorCode.request_timed_out, text)

    def _expire_unsent(self, now_ms: int) -> None:
        """After the sending: what a controller can take now is not refused."""
        while self._unsent_deadlines and self._unsent_deadlines[0][0] <= now_ms:
            _, ticket = heapq.heappop(self._unsent_deadlines)
            if self._is_queued(ticket):
                self._refuse_unsent(self._requests[ticket])

    def _is_queued(self, ticket: Ticket) -> bool:
        request = self._requests.get(ticket)
        return request is not None and request.queued

    def _refuse_unsent(self, request: _Request) -> None:
        text = f"{self._whereabouts(request)}; nothing was changed, try again later"
        self._refuse(request.submitted.ticket, ErrorCode.request_timed_out, text)

    def _is_over(self, request: _Request, now_ms: int) -> bool:
        """Its time is up, or the controller that has it is none any more and has had its last word."""
        if request.held is not None:
            return request.held_until_ms <= now_ms
        if request.submitted.deadline_ms <= now_ms:
            return True
        return request.attempt is not None and request.sent_to != self._controller

    def _whereabouts(self, request: _Request | None = None) -> str:
        if self._controller is None:
            return "no active controller is known to this broker (is there a majority of controllers?)"
        if request is not None and request.refused_by is not None:
            return f"{request.refused_by} did not take the request and no other one is known"
        return f"{self._controller} does not keep up"

    def _refuse(self, ticket: Ticket, code: ErrorCode, message: str) -> None:
        self._finish(ticket)
        self._effects.append(Refuse(ticket, code, message))

    def _finish(self, ticket: Ticket) -> None:
        request = self._requests.pop(ticket, None)
        if request is None:
            return
        if request.attempt is not None:
            del self._in_flight[request.attempt]
        if request.queued:
            self._unqueue(request)
        if request.held is not None:
            self._holds -= 1


_UNKNOWN_OUTCOME: Final = "whether it was carried out is unknown; look before you repeat it"
