"""What a decision is: records for the log, and the answer that leaves once they are committed.

A handler changes nothing. It looks at an image and says which records would bring about what was asked; the same
records are then interpreted by the active controller, the standbys and the brokers (KIP-631).
"""

from collections.abc import Sequence
from typing import Generic, NoReturn, TypeVar

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.records import AnyDataRecord

Response = TypeVar("Response", covariant=True)


@attrs.frozen
class ControllerResult(Generic[Response]):
    """The outcome of one operation.

    `atomic`: all records go into one batch, so that no crash can leave half of them. Otherwise they may be cut
    into several batches, and must make sense when only the first of those survive.
    """

    records: Sequence[AnyDataRecord]
    response: Response
    atomic: bool = True
    unsettled: int | None = None
    """A broker with more partitions than one operation should look at; the rest follows (`isr.settle`)."""


class TooLarge(RequestRejected):
    """The request as a whole would cause more than one request may: no item of it is done."""


def reject(code: ErrorCode, message: str) -> NoReturn:
    """Refuses the operation, or the one item of it that is being looked at."""
    raise RequestRejected(code, message)
