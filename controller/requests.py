"""A request on its way through the controller, and the answer to it."""

from collections.abc import Callable
from typing import Any

import attrs

from quorate.controller.context import Context
from quorate.controller.faults import Situation, rejection
from quorate.controller.result import ControllerResult
from quorate.metadata.checks import RequestRejected
from quorate.metadata.ids import Epoch
from quorate.metadata.security.permissions import Permits, permit_everything
from quorate.metadata.wire.table import refusal


@attrs.frozen
class Answer:
    """What to say to whom."""

    token: Any
    """The asker's; never looked at."""
    response: Any
    unless_replaced: Any = None
    """What to say instead if this node turns out to lead no more: nothing was written that a commit would confirm."""


@attrs.frozen(kw_only=True)
class OwnOperation:
    """An operation that this node asks its own active controller for, in the place of a request.

    It is answered with None, or with the `RequestRejected` that it came to.
    """

    name: str
    epoch: Epoch
    """It is refused in any other: what it continues is gone then."""
    run: Callable[[Context], ControllerResult[None]]
    settles: bool = False
    """Whether all partitions may be new, so that what fenced brokers left of them has to be looked at."""


@attrs.frozen(kw_only=True)
class PendingRequest:
    """A request that was decoded and may be made by its sender; the rights on single items are asked for later."""

    request: Any
    """A value of `metadata.wire`."""
    token: Any
    """Comes back with the answer."""
    deadline_ms: int
    """When its sender stops waiting; monotonic."""
    api_version: int
    principal: str = "User:ANONYMOUS"
    by_token: bool = False
    client_id: str | None = None
    client_host: str = ""
    permits: Permits = permit_everything

    def answer(self, response: Any) -> Answer:
        return Answer(self.token, response)

    def answer_unless_replaced(self, response: Any, who_leads: str) -> Answer:
        """An answer that rests on what this node knows, and so is true only if no other leads by now."""
        return Answer(self.token, response, self.refuse_for(Situation.NOT_ACTIVE, who_leads).response)

    def refuse(self, why: RequestRejected) -> Answer:
        """The refusal in the API's own shape."""
        if isinstance(self.request, OwnOperation):
            return Answer(self.token, why)
        return Answer(self.token, refusal(self.request, why.code, why.message))

    def refuse_for(self, situation: Situation, more: str = "") -> Answer:
        """A refusal that has nothing to do with what was asked for."""
        return self.refuse(rejection(situation, more))

    def __str__(self) -> str:
        if isinstance(self.request, OwnOperation):
            return self.request.name
        who = f"{self.principal} at {self.client_host or 'this node'}, client {self.client_id!r}"
        return f"{type(self.request).__name__} version {self.api_version} of {who}"
