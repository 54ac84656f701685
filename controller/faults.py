"""Everything that can go wrong with an operation, and what follows: one table.

                                             the caller is told        counted   and the controller
    refused by the handler                   Kafka's code for it                 goes on
    not the active controller                NOT_CONTROLLER                      -
    too late before its turn came            REQUEST_TIMED_OUT         yes       goes on; nothing was done
    too many are waiting                     REQUEST_TIMED_OUT         yes       goes on; nothing was done
    a bug in a handler or in its records     UNKNOWN_SERVER_ERROR      yes       goes on; nothing was done
    its records were replaced                NOT_CONTROLLER                      -
    its records' fate did not show in time   REQUEST_TIMED_OUT                   -
    a bug after the records were handed over -                         yes       resigns
    a committed record that makes no sense   -                         yes       ends its process

A bug does not depose the leader while nothing was appended: clients send the request again, to the next controller,
and one poisonous request would take down one after the other.

Ours in Kafka's place: a queue that is full refuses at once instead of letting the client wait for its timeout.
"""

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected


class Situation(enum.Enum):
    """Why an operation has no ordinary outcome."""

    NOT_ACTIVE = "this node is not the active controller"
    EXPIRED = "its deadline passed before its turn came"
    TOO_BUSY = "too many requests are waiting"
    FAULT = "it failed because of a bug"
    REPLACED = "leadership was lost and its records were replaced"
    OUTCOME_UNKNOWN = "leadership was lost and the fate of its records did not show in time"
    FAULT_AFTER_APPEND = "something failed after its records were handed over"
    COMMITTED_FAULT = "a committed record cannot be interpreted"


class Consequence(enum.Enum):
    """What becomes of the controller."""

    GOES_ON = "goes on"
    RESIGNS = "resigns"
    STOPS = "ends its process"


@attrs.frozen(kw_only=True)
class Outcome:
    """One row of the table."""

    code: ErrorCode | None
    """None: nobody is answered."""
    message: str = ""
    counted: bool = False
    consequence: Consequence = Consequence.GOES_ON


OUTCOMES: Final[Mapping[Situation, Outcome]] = {
    Situation.NOT_ACTIVE: Outcome(
        code=ErrorCode.not_controller, message="This node is not the active controller; nothing was done."
    ),
    Situation.EXPIRED: Outcome(
        code=ErrorCode.request_timed_out,
        message="The request waited in the controller's queue until its timeout passed; nothing was done. "
        "Send it again.",
        counted=True,
    ),
    Situation.TOO_BUSY: Outcome(
        code=ErrorCode.request_timed_out,
        message="The controller has more requests waiting than it may hold; nothing was done. Send it again later.",
        counted=True,
    ),
    Situation.FAULT: Outcome(
        code=ErrorCode.unknown_server_error,
        message="The controller failed to carry out the request because of a bug; nothing was done. "
        "Its log has the details.",
        counted=True,
    ),
    Situation.REPLACED: Outcome(
        code=ErrorCode.not_controller,
        message="The controller lost its leadership and the change did not survive; nothing was done. Send it again.",
    ),
    Situation.OUTCOME_UNKNOWN: Outcome(
        code=ErrorCode.request_timed_out,
        message="The controller lost its leadership and it is not known whether the change survived. Look before "
        "sending it again.",
    ),
    Situation.FAULT_AFTER_APPEND: Outcome(code=None, counted=True, consequence=Consequence.RESIGNS),
    Situation.COMMITTED_FAULT: Outcome(code=None, counted=True, consequence=Consequence.STOPS),
}


def rejection(situation: Situation, more: str = "") -> RequestRejected:
    """The refusal that a caller gets."""
    outcome = OUTCOMES[situation]
    code = ErrorCode.unknown_server_error if outcome.code is None else outcome.code
    return RequestRejected(code, f"{outcome.message} {more}".rstrip())
