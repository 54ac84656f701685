"""A `Sender` that the test plays: what was sent lies there until the test answers it."""

from typing import Any

import attrs

from quorate.metadata.connection import Failure, FailureKind, OnReply
from quorate.metadata.ids import Endpoint, Epoch, NodeId
from quorate.metadata.quorum.messages import LeaderAndEpoch


@attrs.frozen
class Sent:
    endpoint: Endpoint
    request: Any
    on_reply: OnReply
    timeout_ms: int


class Wire:
    """Requests to controllers, in the order in which they left."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.refuses = False
        """Every request fails at once, before `send` returns."""

    def send(self, endpoint: Endpoint, request: Any, on_reply: OnReply, *, timeout_ms: int) -> None:
        sent = Sent(endpoint, request, on_reply, timeout_ms)
        if self.refuses:
            on_reply(failure(FailureKind.REFUSED, written=False))
        else:
            self.sent.append(sent)

    def take(self) -> Sent:
        """The one request that lies there."""
        (sent,) = self.sent
        self.sent.clear()
        return sent


def failure(kind: FailureKind, *, written: bool) -> Failure:
    return Failure(kind=kind, written=written, text=f"it was {kind.value}")


def leader(node_id: int | None, epoch: int = 1) -> LeaderAndEpoch:
    """A leader that is reached at host `c<id>`."""
    if node_id is None:
        return LeaderAndEpoch(Epoch(epoch))
    return LeaderAndEpoch(Epoch(epoch), NodeId(node_id), Endpoint("CONTROLLER", f"c{node_id}", 9093))
