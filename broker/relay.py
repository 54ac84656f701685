"""The shell of `forwarding`: clients' calls in, envelopes out, answers back to the calls (shell).

One forwarder for all clients of this broker, driven by its clients, its connections and the clock.
"""

import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol, assert_never

from quorate.broker.driver import Driver
from quorate.broker.forwarding import (
    FORWARD_TIMEOUT_MS,
    PATIENCE_MS,
    Abandoned,
    Answered,
    Attempt,
    Controller,
    ControllerChanged,
    Deliver,
    Effect,
    Event,
    Failed,
    Failure,
    Forwarder,
    ImagePublished,
    Refuse,
    Send,
    Submitted,
    Ticket,
    TimePassed,
    patience_ms,
)
from quorate.broker.links import Sender
from quorate.broker.loader import Publication
from quorate.metadata.calls import AskedAt, Call, envelope_of
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import Failure as NoAnswer
from quorate.metadata.connection import FailureKind
from quorate.metadata.ids import Offset
from quorate.metadata.node import now_ms
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.wire.envelope import EnvelopeRequest
from quorate.metadata.wire.table import APIS

_NO_OFFSET_IS_HIGHER: Final = Offset(2**63 - 1)


class Waiting(Protocol):
    """Who waits for the outcome of a forwarded request: a `Call`, or the broker itself."""

    def answer_frame(self, data: bytes) -> None: ...

    def reject(self, code: ErrorCode, message: str | None = None) -> None: ...


class Relay:
    """Forwards to the active controller. `run` keeps its deadlines; everything else is synchronous."""

    def __init__(self, sender: Sender, asked_at: Callable[[Call], AskedAt | None] = lambda _: None) -> None:
        """`asked_at`: what the controller needs to answer reads in this broker's place, if it has no image."""
        self._sender = sender
        self._asked_at = asked_at
        forwarder = Forwarder()
        self._driver: Driver[Event, Effect] = Driver(
            step=forwarder.step,
            next_deadline=forwarder.next_deadline,
            carry_out=self._carry_out,
            time_passed=TimePassed(),
        )
        self._waiting: dict[Ticket, Waiting] = {}
        self._tickets = itertools.count(1)

    @property
    def pending(self) -> int:
        """Requests whose clients wait."""
        return len(self._waiting)

    async def run(self) -> None:
        """Until cancelled."""
        await self._driver.run()

    def forward(self, call: Call) -> None:
        """Has the active controller answer a client's call."""
        reads = APIS[call.api_key].reads
        patience = patience_ms(getattr(call.request, "timeout_ms", None))
        ticket = self.submit(
            envelope_of(call, self._asked_at(call)), call, is_read=reads, patience_ms=patience
        )
        if not call.answered:
            call.on_gone = lambda: self._abandon(ticket)

    def submit(
        self, envelope: EnvelopeRequest, waiting: Waiting, *, is_read: bool, patience_ms: int = PATIENCE_MS
    ) -> Ticket:
        """Has the active controller answer what is in the envelope."""
        ticket = Ticket(next(self._tickets))
        self._waiting[ticket] = waiting
        now = now_ms()
        self._driver.take(
            Submitted(
                ticket=ticket,
                envelope=envelope,
                deadline_ms=now + FORWARD_TIMEOUT_MS,
                unsent_deadline_ms=now + patience_ms,
                is_read=is_read,
            )
        )
        return ticket

    def leader_changed(self, leader: LeaderAndEpoch) -> None:
        """News of who is the active controller."""
        controller = None
        if leader.leader_id is not None and leader.endpoint is not None:
            controller = Controller(leader.leader_id, leader.epoch, leader.endpoint)
        self._driver.take(ControllerChanged(controller))

    def published(self, publication: Publication) -> None:
        """This broker shows a newer image: the publisher that hands on the answers which waited for it."""
        self._driver.take(ImagePublished(Offset(publication.image.offset)))

    def shows_nothing(self) -> None:
        """This broker has no image that an answer would have to wait for."""
        self._driver.take(ImagePublished(_NO_OFFSET_IS_HIGHER))

    def _abandon(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket, None)
        self._driver.take(Abandoned(ticket))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._sender.send(
                    effect.controller.endpoint,
                    effect.envelope,
                    self._outcome_of(effect.attempt),
                    timeout_ms=effect.timeout_ms,
                )
            case Deliver():
                waiting = self._waiting.pop(effect.ticket, None)
                if waiting is not None:
                    waiting.answer_frame(effect.response_data)
            case Refuse():
                waiting = self._waiting.pop(effect.ticket, None)
                if waiting is not None:
                    waiting.reject(effect.code, effect.message)
            case _:
                assert_never(effect)

    def _outcome_of(self, attempt: Attempt) -> Callable[[Any], None]:
        def on_reply(reply: Any) -> None:
            if isinstance(reply, NoAnswer):
                self._driver.take(Failed(attempt, _failure(reply)))
            else:
                self._driver.take(Answered(attempt, reply))

        return on_reply


def _failure(reply: NoAnswer) -> Failure:
    if reply.kind is FailureKind.UNSUPPORTED_VERSION:
        return Failure.UNSUPPORTED
    if not reply.written:
        return Failure.NOT_WRITTEN
    return Failure.TIMED_OUT if reply.kind is FailureKind.TIMED_OUT else Failure.LOST
