"""Forwarding: each way in which an envelope can end, and what the client is told."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.broker.forwarding import (
    LAST_WORD_MS,
    MAX_IN_FLIGHT,
    MAX_RETRY_MS,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    RETRY_MS,
    Abandoned,
    Answered,
    Attempt,
    Controller,
    ControllerChanged,
    Deliver,
    Effect,
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
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset
from quorate.metadata.wire.envelope import EnvelopeRequest, EnvelopeResponse

ONE = Controller(NodeId(1), Epoch(4), Endpoint("CONTROLLER", "one", 9093))
TWO = Controller(NodeId(2), Epoch(5), Endpoint("CONTROLLER", "two", 9093))


def _submit(
    ticket: int,
    *,
    deadline_ms: int = 60_000,
    unsent_deadline_ms: int | None = None,
    is_read: bool = False,
    size: int = 10,
) -> Submitted:
    return Submitted(
        ticket=Ticket(ticket),
        envelope=EnvelopeRequest(request_data=bytes(size), client_host_address=b"\x7f\0\0\1"),
        deadline_ms=deadline_ms,
        unsent_deadline_ms=deadline_ms if unsent_deadline_ms is None else unsent_deadline_ms,
        is_read=is_read,
    )


def _forwarder(controller: Controller | None = ONE) -> Forwarder:
    forwarder = Forwarder()
    assert not forwarder.step(ControllerChanged(controller), 0)
    return forwarder


def _send(effects: tuple[Effect, ...]) -> Send:
    (effect,) = effects
    assert isinstance(effect, Send)
    return effect


def _refusal(effects: tuple[Effect, ...]) -> Refuse:
    (effect,) = effects
    assert isinstance(effect, Refuse)
    return effect


def _error(code: ErrorCode) -> EnvelopeResponse:
    return EnvelopeResponse(error_code=code)


def test_an_answer_travels_back_untouched() -> None:
    forwarder = _forwarder()

    send = _send(forwarder.step(_submit(7, deadline_ms=900), 100))
    effects = forwarder.step(Answered(send.attempt, EnvelopeResponse(response_data=b"frame")), 110)

    assert (send.controller, send.timeout_ms) == (ONE, 800)
    assert effects == (Deliver(Ticket(7), b"frame"),)
    assert forwarder.next_deadline() is None


def _rests_on(offset: int, data: bytes = b"x") -> EnvelopeResponse:
    return EnvelopeResponse(response_data=data, rests_on=offset)


def test_an_answer_waits_until_this_broker_shows_what_it_rests_on() -> None:
    """Else a client that was told here that its topic exists might ask here, and be told that it does not."""
    forwarder = _forwarder()
    forwarder.step(ImagePublished(Offset(10)), 0)
    shown, later, latest = [_send(forwarder.step(_submit(n), 0)) for n in (1, 2, 3)]

    assert forwarder.step(Answered(shown.attempt, _rests_on(10)), 1) == (Deliver(Ticket(1), b"x"),)
    assert not forwarder.step(Answered(latest.attempt, _rests_on(12)), 1)
    assert not forwarder.step(Answered(later.attempt, _rests_on(11)), 1)
    assert (forwarder.waiting, forwarder.in_flight) == (0, 0)

    assert forwarder.step(ImagePublished(Offset(11)), 2) == (Deliver(Ticket(2), b"x"),)
    assert forwarder.step(ImagePublished(Offset(13)), 3) == (Deliver(Ticket(3), b"x"),)
    assert forwarder.next_deadline() is None


def test_a_broker_that_does_not_catch_up_does_not_hand_the_answer_on() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1, deadline_ms=60_000, unsent_deadline_ms=5_000), 0))
    forwarder.step(Answered(send.attempt, _rests_on(12)), 1)
    assert forwarder.next_deadline() == 5_000

    refusal = _refusal(forwarder.step(TimePassed(), 5_000))

    assert refusal.code is ErrorCode.request_timed_out
    assert "up to offset -1, the answer rests on 12" in refusal.message
    assert not forwarder.step(ImagePublished(Offset(12)), 5_001)
    assert (forwarder.waiting, forwarder.next_deadline()) == (0, None)


def test_a_late_answer_is_waited_for_a_moment_more() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1, deadline_ms=60_000, unsent_deadline_ms=5_000), 0))

    forwarder.step(Answered(send.attempt, _rests_on(12)), 20_000)

    assert forwarder.next_deadline() == 20_000 + LAST_WORD_MS
    assert forwarder.step(ImagePublished(Offset(12)), 20_001) == (Deliver(Ticket(1), b"x"),)


def test_an_answer_that_is_held_is_no_business_of_the_next_controller() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))
    forwarder.step(Answered(send.attempt, _rests_on(12)), 1)

    assert not forwarder.step(ControllerChanged(TWO), 2)
    assert not forwarder.step(TimePassed(), 2 + LAST_WORD_MS)
    assert forwarder.step(ImagePublished(Offset(12)), 3 + LAST_WORD_MS) == (Deliver(Ticket(1), b"x"),)


def test_nobody_waits_for_an_answer_whose_client_has_gone() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))
    forwarder.step(Answered(send.attempt, _rests_on(12)), 1)

    forwarder.step(Abandoned(Ticket(1)), 2)

    assert not forwarder.step(ImagePublished(Offset(12)), 3)
    assert forwarder.waiting == 0


def test_many_are_under_way_at_once_and_the_rest_follows_in_order() -> None:
    forwarder = _forwarder()
    sent = [effect for n in range(MAX_IN_FLIGHT + 3) for effect in forwarder.step(_submit(n), 0)]
    assert len(sent) == MAX_IN_FLIGHT
    assert forwarder.waiting == 3

    first, second = sent[0], sent[1]
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    after_first = forwarder.step(Answered(first.attempt, EnvelopeResponse(response_data=b"1")), 1)
    assert isinstance(after_first[1], Send)
    after_second = forwarder.step(Answered(after_first[1].attempt, EnvelopeResponse(response_data=b"2")), 1)

    assert after_second[0] == Deliver(Ticket(MAX_IN_FLIGHT), b"2")


def test_not_controller_goes_to_the_next_controller_before_what_came_later() -> None:
    forwarder = _forwarder()
    first = _send(forwarder.step(_submit(1), 0))
    assert not forwarder.step(Answered(first.attempt, _error(ErrorCode.not_controller)), 1)
    assert not forwarder.step(_submit(2), 2)

    resent, later = forwarder.step(ControllerChanged(TWO), 3)

    assert isinstance(resent, Send)
    assert isinstance(later, Send)
    assert (resent.controller, later.controller) == (TWO, TWO)
    assert forwarder.step(Answered(resent.attempt, EnvelopeResponse(response_data=b"x")), 4) == (
        Deliver(Ticket(1), b"x"),
    )


def test_not_controller_from_a_former_controller_is_sent_again_at_once() -> None:
    forwarder = _forwarder()
    first = _send(forwarder.step(_submit(1), 0))
    forwarder.step(ControllerChanged(TWO), 1)

    assert (
        _send(forwarder.step(Answered(first.attempt, _error(ErrorCode.not_controller)), 2)).controller == TWO
    )


def test_the_same_controller_is_asked_again_later_and_ever_more_rarely() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1, deadline_ms=10**9), 0))
    now_ms, waits = 0, []
    for _ in range(8):
        forwarder.step(Answered(send.attempt, _error(ErrorCode.not_controller)), now_ms)
        deadline = forwarder.next_deadline()
        assert deadline is not None
        assert not forwarder.step(TimePassed(), deadline - 1)
        waits.append(deadline - now_ms)
        now_ms = deadline
        send = _send(forwarder.step(TimePassed(), now_ms))

    assert waits == [RETRY_MS, 100, 200, 400, 800, MAX_RETRY_MS, MAX_RETRY_MS, MAX_RETRY_MS]


def test_a_refused_connection_sends_again() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))

    assert not forwarder.step(Failed(send.attempt, Failure.NOT_WRITTEN), 1)
    assert _send(forwarder.step(TimePassed(), 1 + RETRY_MS)).attempt != send.attempt


@pytest.mark.parametrize("failure", [Failure.LOST, Failure.TIMED_OUT])
def test_a_write_that_may_have_arrived_is_never_sent_again(failure: Failure) -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))

    refusal = _refusal(forwarder.step(Failed(send.attempt, failure), 1))

    assert refusal.code is ErrorCode.request_timed_out
    assert "unknown" in refusal.message
    assert "controller 1 (one:9093)" in refusal.message
    assert not forwarder.step(ControllerChanged(TWO), 2)


def test_a_read_that_may_have_arrived_is_sent_again() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1, is_read=True), 0))

    assert not forwarder.step(Failed(send.attempt, Failure.LOST), 1)

    assert _send(forwarder.step(ControllerChanged(TWO), 2)).controller == TWO


def test_a_new_controller_gets_the_reads_at_once_and_writes_wait_for_the_old_one() -> None:
    forwarder = _forwarder()
    write = _send(forwarder.step(_submit(1), 0))
    read = _send(forwarder.step(_submit(2, is_read=True), 0))

    again = _send(forwarder.step(ControllerChanged(TWO), 1))

    assert (again.controller, again.envelope) == (TWO, read.envelope)
    assert not forwarder.step(Answered(read.attempt, EnvelopeResponse(response_data=b"old")), 2)
    assert forwarder.step(Answered(write.attempt, EnvelopeResponse(response_data=b"w")), 3) == (
        Deliver(Ticket(1), b"w"),
    )


def test_a_controller_that_was_paused_has_its_last_word_and_holds_nobody_up() -> None:
    forwarder = _forwarder()
    _send(forwarder.step(_submit(1), 0))
    assert not forwarder.step(ControllerChanged(TWO), 100)

    assert forwarder.next_deadline() == 100 + LAST_WORD_MS
    refusal = _refusal(forwarder.step(TimePassed(), 100 + LAST_WORD_MS))

    assert refusal.code is ErrorCode.request_timed_out
    assert "may have been carried out" in refusal.message or "unknown" in refusal.message


def test_a_request_that_went_on_to_the_next_controller_keeps_its_own_deadline() -> None:
    forwarder = _forwarder()
    first = _send(forwarder.step(_submit(1), 0))
    forwarder.step(ControllerChanged(TWO), 100)
    _send(forwarder.step(Answered(first.attempt, _error(ErrorCode.not_controller)), 110))

    assert not forwarder.step(TimePassed(), 100 + LAST_WORD_MS)
    assert forwarder.next_deadline() == 60_000


def test_a_controller_without_envelopes() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))

    assert _refusal(forwarder.step(Failed(send.attempt, Failure.UNSUPPORTED), 1)).code is (
        ErrorCode.unsupported_version
    )


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (_error(ErrorCode.unsupported_version), ErrorCode.unsupported_version),
        (_error(ErrorCode.request_timed_out), ErrorCode.request_timed_out),
        (_error(ErrorCode.cluster_authorization_failed), ErrorCode.unknown_server_error),
        (_error(ErrorCode.principal_deserialization_failure), ErrorCode.unknown_server_error),
        (EnvelopeResponse(), ErrorCode.unknown_server_error),
    ],
)
def test_a_refused_envelope(response: EnvelopeResponse, code: ErrorCode) -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1), 0))

    assert _refusal(forwarder.step(Answered(send.attempt, response), 1)).code is code
    assert forwarder.in_flight == 0


def test_nobody_to_ask_until_the_deadline() -> None:
    forwarder = _forwarder(None)
    assert not forwarder.step(_submit(1, deadline_ms=500), 0)
    assert forwarder.next_deadline() == 500

    refusal = _refusal(forwarder.step(TimePassed(), 500))

    assert refusal.code is ErrorCode.request_timed_out
    assert "nothing was changed" in refusal.message
    assert "no active controller" in refusal.message


def test_who_waits_in_vain_for_a_controller_is_told_before_it_gives_up() -> None:
    forwarder = _forwarder(None)
    assert not forwarder.step(_submit(1, unsent_deadline_ms=300), 0)
    assert not forwarder.step(TimePassed(), 299)
    assert forwarder.next_deadline() == 300

    refusal = _refusal(forwarder.step(TimePassed(), 300))

    assert "nothing was changed" in refusal.message
    assert forwarder.next_deadline() is None


def test_what_a_controller_can_take_at_the_last_moment_is_sent() -> None:
    forwarder = _forwarder(None)
    assert not forwarder.step(_submit(1, unsent_deadline_ms=300), 0)

    send = _send(forwarder.step(ControllerChanged(ONE), 300))

    # Under way it has all of its time; back again it has none.
    assert not forwarder.step(TimePassed(), 400)
    refusal = _refusal(forwarder.step(Answered(send.attempt, _error(ErrorCode.not_controller)), 401))
    assert "did not take the request" in refusal.message


@pytest.mark.parametrize(
    ("said", "waits"),
    [(None, 27_000), (0, 5_000), (-1, 5_000), (30_000, 27_000), (10_000, 9_000), (2**31 - 1, 60_000)],
)
def test_patience_follows_what_the_request_says(said: int | None, waits: int) -> None:
    assert patience_ms(said) == waits


def test_no_answer_until_the_deadline() -> None:
    forwarder = _forwarder()
    send = _send(forwarder.step(_submit(1, deadline_ms=500), 0))

    assert "unknown" in _refusal(forwarder.step(TimePassed(), 500)).message
    assert not forwarder.step(Answered(send.attempt, EnvelopeResponse(response_data=b"late")), 501)


def test_limits_are_refused_early() -> None:
    forwarder = _forwarder(None)
    for n in range(MAX_WAITING):
        assert not forwarder.step(_submit(n), 0)
    assert _refusal(forwarder.step(_submit(MAX_WAITING), 0)).code is ErrorCode.request_timed_out

    forwarder = _forwarder(None)
    assert not forwarder.step(_submit(1, size=MAX_WAITING_BYTES), 0)
    assert "nothing was changed" in _refusal(forwarder.step(_submit(2, size=1), 0)).message
    # What leaves makes room.
    forwarder.step(Abandoned(Ticket(1)), 1)
    assert not forwarder.step(_submit(3, size=MAX_WAITING_BYTES), 1)


def test_an_abandoned_request_is_not_sent_and_its_answer_is_ignored() -> None:
    forwarder = _forwarder(None)
    forwarder.step(_submit(1), 0)
    forwarder.step(Abandoned(Ticket(1)), 1)
    assert not forwarder.step(ControllerChanged(ONE), 2)

    send = _send(forwarder.step(_submit(2), 3))
    assert not forwarder.step(Abandoned(Ticket(2)), 4)
    assert not forwarder.step(Answered(send.attempt, EnvelopeResponse(response_data=b"x")), 5)


class _World:
    """Controllers that carry out writes, or not, and connections that break; the truth behind the answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.forwarder = Forwarder()
        self.now_ms = 0
        self.applied: dict[bytes, int] = {}
        self.offsets: dict[Ticket, int] = {}
        self.end = self.shown = 0
        self.under_way: list[Send] = []
        self.endings: dict[Ticket, Deliver | Refuse] = {}

    def step(
        self, event: Submitted | Answered | Failed | ControllerChanged | ImagePublished | TimePassed
    ) -> None:
        for effect in self.forwarder.step(event, self.now_ms):
            if isinstance(effect, Send):
                self.under_way.append(effect)
            else:
                assert not isinstance(effect, Abandoned)
                assert effect.ticket not in self.endings
                assert isinstance(effect, Refuse) or self.offsets.get(effect.ticket, 0) <= self.shown
                self.endings[effect.ticket] = effect

    def show_more(self) -> None:
        self.shown = self.rng.randint(self.shown, self.end)
        self.step(ImagePublished(Offset(self.shown)))

    def resolve_one(self) -> None:
        if not self.under_way:
            return
        send = self.under_way.pop(self.rng.randrange(len(self.under_way)))
        key = send.envelope.request_data
        match self.rng.randrange(6):
            case 0:
                self.step(Failed(send.attempt, Failure.NOT_WRITTEN))
            case 1:
                self.applied[key] = self.applied.get(key, 0) + self.rng.randrange(2)
                self.step(Failed(send.attempt, self.rng.choice([Failure.LOST, Failure.TIMED_OUT])))
            case 2 | 3:
                self.step(Answered(send.attempt, _error(ErrorCode.not_controller)))
            case 4:
                self.applied[key] = self.applied.get(key, 0) + 1
                self.end += 1
                self.offsets[Ticket(int(key))] = self.end
                self.step(Answered(send.attempt, _rests_on(self.end, key)))
            case _:  # carried out, and the answer never comes
                self.applied[key] = self.applied.get(key, 0) + 1


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_no_write_is_carried_out_twice_and_nobody_is_told_a_lie(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    world = _World(rng)
    submitted: list[Submitted] = []
    for n in range(steps):
        world.now_ms += rng.randrange(0, 400)
        match rng.randrange(6):
            case 0 | 1:
                envelope = EnvelopeRequest(request_data=b"%d" % n, client_host_address=b"")
                event = Submitted(
                    ticket=Ticket(n),
                    envelope=envelope,
                    deadline_ms=world.now_ms + rng.randrange(5000, 9000),
                    unsent_deadline_ms=world.now_ms + rng.randrange(1, 9000),
                    is_read=rng.random() < 0.3,
                )
                submitted.append(event)
                world.step(event)
            case 2:
                world.step(ControllerChanged(rng.choice([None, ONE, TWO])))
            case 3:
                world.resolve_one()
            case 4:
                world.show_more()
        world.step(TimePassed())
        deadline = world.forwarder.next_deadline()
        assert deadline is None or deadline > world.now_ms
    world.now_ms += 60_000
    world.step(TimePassed())
    assert world.forwarder.next_deadline() is None
    assert (world.forwarder.waiting, world.forwarder.in_flight) == (0, 0)
    for request in submitted:
        applied = world.applied.get(request.envelope.request_data, 0)
        ending = world.endings.pop(request.ticket)
        assert request.is_read or applied <= 1
        if isinstance(ending, Deliver):
            assert ending.response_data == request.envelope.request_data
            assert applied >= 1
        elif not request.is_read and "nothing was changed" in ending.message:
            assert applied == 0
        else:
            assert request.is_read or "unknown" in ending.message
    assert not world.endings


def test_attempts_are_never_used_twice() -> None:
    forwarder = _forwarder()
    seen: set[Attempt] = set()
    send = _send(forwarder.step(_submit(1), 0))
    for now_ms in range(1, 5):
        assert send.attempt not in seen
        seen.add(send.attempt)
        forwarder.step(Answered(send.attempt, _error(ErrorCode.not_controller)), now_ms)
        send = _send(forwarder.step(ControllerChanged(TWO if now_ms % 2 else ONE), now_ms))
