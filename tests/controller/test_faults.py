"""The one table of outcomes is whole, and says what it does."""

import pytest

from quorate.controller import faults
from quorate.controller.faults import OUTCOMES, Consequence, Situation, rejection
from quorate.metadata.checks import ErrorCode


def test_every_situation_has_an_outcome() -> None:
    assert set(OUTCOMES) == set(Situation)


@pytest.mark.parametrize(
    ("situation", "code", "words"),
    [
        (Situation.NOT_ACTIVE, ErrorCode.not_controller, "nothing was done"),
        (Situation.EXPIRED, ErrorCode.request_timed_out, "nothing was done"),
        (Situation.TOO_BUSY, ErrorCode.request_timed_out, "nothing was done"),
        (Situation.FAULT, ErrorCode.unknown_server_error, "nothing was done"),
        (Situation.REPLACED, ErrorCode.not_controller, "nothing was done"),
        (Situation.OUTCOME_UNKNOWN, ErrorCode.request_timed_out, "not known"),
    ],
)
def test_what_the_caller_is_told(situation: Situation, code: ErrorCode, words: str) -> None:
    refusal = rejection(situation, "And more.")

    assert refusal.code is code
    assert words in refusal.message
    assert refusal.message.endswith("And more.")


def test_a_bug_deposes_the_leader_only_after_the_append() -> None:
    assert OUTCOMES[Situation.FAULT].consequence is Consequence.GOES_ON
    assert OUTCOMES[Situation.FAULT_AFTER_APPEND].consequence is Consequence.RESIGNS
    assert OUTCOMES[Situation.COMMITTED_FAULT].consequence is Consequence.STOPS


def test_the_text_has_a_row_for_each_outcome() -> None:
    table = [line for line in (faults.__doc__ or "").splitlines() if line.startswith("    ")][1:]

    # Refused by the handler is no situation: its code is the handler's own.
    assert len(table) == len(Situation) + 1
