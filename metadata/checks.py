"""The three kinds of wrong, and `check`, which guards what cannot happen.

- `RequestRejected`: a normal answer. The caller asked for something that is refused, with Kafka's code.
- `RemoteProtocolError`: the peer broke the protocol. It costs that peer its connection, never more.
- `InvariantViolated`: we are wrong, or our disk is. The process ends: a node that doubts its own state
  must never speak again.

`assert` is not used for this, since `python -O` removes it.
"""

from kio.schema.errors import ErrorCode

__all__ = ["ErrorCode", "InvariantViolated", "RemoteProtocolError", "RequestRejected", "check"]


class InvariantViolated(Exception):
    """Something that must always hold does not. Fail-stop."""


class RemoteProtocolError(Exception):
    """The other side sent what the protocol does not allow. Its connection is closed."""


class RequestRejected(Exception):
    """A request that is answered with an error code; `message` says what, where, why and what to do."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def check(condition: bool, why: str) -> None:
    """Raises InvariantViolated(why) unless the condition holds."""
    if not condition:
        raise InvariantViolated(why)
