"""Requests and answers between nodes: delayed, lost, doubled, reordered, cut off, reset, refused.

A failure that a real connection would report comes back to the sender as `Failure`; a lost message does not come back
at all, so that the sender's own timeout has to find out. An answer that comes after the sender gave up is delivered
too: dropping it is the core's business.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from quorate.metadata.checks import check
from quorate.metadata.ids import NodeId
from quorate.metadata.quorum.effects import SendRequest
from quorate.metadata.quorum.events import (
    Correlation,
    Failure,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Token,
)
from quorate.metadata.quorum.messages import FetchSnapshotResponse, Request, Response
from tests.sim.disk import flip_a_bit
from tests.sim.options import WorldOptions
from tests.sim.recording import Message
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace

if TYPE_CHECKING:
    from tests.sim.node import SimNode

CLUSTER_ID: Final = "a-simulated-cluster"
LISTENER: Final = "CONTROLLER"
FIRST_PORT: Final = 9090
"""A node's port is its id above this one."""


@attrs.define(eq=False)
class Call:
    """One request on its way, or being worked at. `over`: the connection broke; nothing comes back any more."""

    token: Token
    source: "SimNode"
    source_life: int
    target: "SimNode"
    correlation: Correlation
    request: Request
    answered: bool = False
    over: bool = False
    shown: Message | None = None
    """The one on its way, in a recording."""


class Network:
    """Every pair of nodes is connected unless `cut` says otherwise; directions count separately."""

    def __init__(self, options: WorldOptions, schedule: Schedule, trace: Trace, rng: random.Random) -> None:
        self.trace = trace
        self.nodes: dict[int, SimNode] = {}
        """By port: the endpoints of the voters and the bootstrap servers name nodes by it."""
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.broken: dict[tuple[NodeId, NodeId], Failure] = {}
        """Where requests fail at once, and how: a firewall that refuses, a proxy that resets."""
        self.calls: dict[Token, Call] = {}
        self.loss, self.duplicate, self.damage = options.loss, options.duplicate, options.damage
        self.when_damaged: Callable[[], None] = lambda: None
        self.delay_ms = options.delay_ms
        self.slow: dict[tuple[NodeId, NodeId], int] = {}
        """Links that take so many milliseconds more, in this direction."""
        self.clients: list[NodeId] = []
        """Who asks nodes and is none: they are cut off together with some of them."""
        self.when_reset: Callable[[NodeId, NodeId], None] = lambda source, target: None
        self.when_died: Callable[[NodeId], None] = lambda node_id: None
        self._ordered = options.ordered
        self._schedule = schedule
        self._rng = rng
        self._last_token = 0
        self._last_arrival: dict[tuple[NodeId, NodeId], int] = {}
        self._asked: dict[Token, Callable[[Response], None]] = {}

    # ---- sending ---------------------------------------------------------------------------------------

    def request(self, source: "SimNode", message: SendRequest) -> None:
        target = self.nodes[message.peer.endpoint.port]
        copies = 2 if self.duplicate and self._rng.random() < self.duplicate else 1
        for _ in range(copies):
            self._last_token += 1
            call = Call(
                Token(self._last_token), source, source.life, target, message.correlation, message.request
            )
            if self._lost(source.id, target.id):
                self.trace.sent(source.id, target.id, message.request, None)
                continue
            self.calls[call.token] = call
            when = self.arrival(source.id, target.id)
            call.shown = self.trace.sent(source.id, target.id, message.request, when)
            self._schedule.at(when, lambda call=call: self._arrive(call))

    def ask(self, target: "SimNode", request: Request, tell: Callable[[Response], None]) -> None:
        """Somebody at this very node asks it; there is no answer if the node dies first."""
        self._last_token += 1
        token = Token(self._last_token)
        self._asked[token] = tell
        target.deliver(RequestReceived(token, request, CLUSTER_ID))

    def respond(self, token: Token, response: Response | None) -> None:
        """None: refused at the top level, which to the sender is a failure of no particular kind."""
        call = self.calls.get(token)
        if call is None:
            tell = self._asked.pop(token, None)
            if tell is not None and response is not None:
                tell(response)
            return  # the connection broke meanwhile
        check(not call.answered, f"{call.target.name} answers request {token} a second time")
        call.answered = True
        source, target = call.target.id, call.source.id
        said = "refused" if response is None else response
        if self._lost(source, target):
            self.trace.sent(source, target, said, None)
            del self.calls[token]
            return
        when = self.arrival(source, target)
        call.shown = self.trace.sent(source, target, said, when)
        self._schedule.at(when, lambda: self._come_back(call, response))

    def _arrive(self, call: Call) -> None:
        if call.over:
            return
        if (call.source.id, call.target.id) in self.cut:
            self.trace.failed(call.shown, "cut off")
            del self.calls[call.token]
            return
        broken = self.broken.get((call.source.id, call.target.id))
        if not call.target.up or broken is not None:
            self._fail(call, broken or Failure.REFUSED)
            return
        call.target.deliver(RequestReceived(call.token, call.request, CLUSTER_ID))

    def _come_back(self, call: Call, response: Response | None) -> None:
        if call.over:
            return
        del self.calls[call.token]
        if response is None:
            call.source.deliver(RequestFailed(call.correlation, Failure.RESET))
        else:
            response = self._damaged(response)
            call.source.deliver(ResponseReceived(call.correlation, response))

    def _lost(self, source: NodeId, target: NodeId) -> bool:
        return (source, target) in self.cut or (self.loss > 0 and self._rng.random() < self.loss)

    def lets_through(self, source: NodeId, target: NodeId) -> bool:
        """Whether a packet gets there: now, and this time."""
        return not self._lost(source, target)

    def arrival(self, source: NodeId, target: NodeId) -> int:
        when = self._schedule.now_ms + self._rng.randint(*self.delay_ms)
        if self.slow:
            when += self.slow.get((source, target), 0)
        if self._ordered:
            when = max(when, self._last_arrival.get((source, target), 0))
            self._last_arrival[source, target] = when
        return when

    def _damaged(self, response: Response) -> Response:
        """A part of a snapshot may have a bit flipped, on a disk or on the way: its reader has to notice."""
        if not self.damage or not isinstance(response, FetchSnapshotResponse) or not response.data:
            return response
        if self._rng.random() >= self.damage:
            return response
        self.when_damaged()
        return attrs.evolve(response, data=flip_a_bit(response.data, self._rng))

    # ---- breaking --------------------------------------------------------------------------------------

    def _fail(self, call: Call, failure: Failure) -> None:
        """The sender hears of it after the time that a message takes, unless it cannot be reached."""
        self.calls.pop(call.token, None)
        call.over = True
        self.trace.failed(call.shown, failure.value)
        if (call.target.id, call.source.id) in self.cut:
            return
        when = self._schedule.now_ms + self._rng.randint(*self.delay_ms)
        self._schedule.at(when, lambda: self._tell(call, failure))

    @staticmethod
    def _tell(call: Call, failure: Failure) -> None:
        if call.source.life == call.source_life:
            call.source.deliver(RequestFailed(call.correlation, failure))

    def reset(self, source: NodeId, target: NodeId) -> None:
        """The connection breaks: what is under way fails; it may have arrived all the same."""
        for call in list(self.calls.values()):
            if call.source.id == source and call.target.id == target:
                self._fail(call, Failure.RESET)
        self.when_reset(source, target)

    def died(self, node: "SimNode") -> None:
        """The process is gone: its kernel resets every connection; what it asked itself is nobody's any more."""
        for call in list(self.calls.values()):
            if call.source is node:
                call.over = True
                del self.calls[call.token]
            elif call.target is node:
                self._fail(call, Failure.RESET)
        self.when_died(node.id)

    def break_off(self, one: NodeId, failure: Failure) -> None:
        """Whatever is asked of this node, or by it, fails, and those who ask are told so."""
        for other in self.nodes.values():
            for pair in ((one, other.id), (other.id, one)):
                self.broken[pair] = failure
                self.reset(*pair)

    def split(self, side: frozenset[NodeId], *, inward: bool, outward: bool) -> set[tuple[NodeId, NodeId]]:
        """Cuts these nodes off from all others, in one direction or both; returns what was cut for `mend`."""
        ids = [*(node.id for node in self.nodes.values()), *self.clients]
        inside = [one for one in ids if one in side]
        outside = [one for one in ids if one not in side]
        cut: set[tuple[NodeId, NodeId]] = set()
        for one in inside:
            for other in outside:
                if outward:
                    cut.add((one, other))
                if inward:
                    cut.add((other, one))
        self.cut |= cut
        return cut

    def mend(self, cut: set[tuple[NodeId, NodeId]]) -> None:
        self.cut -= cut

    def heal(self) -> None:
        self.cut.clear()
        self.broken.clear()
        self.slow.clear()
        self.loss = self.duplicate = self.damage = 0.0
        self.delay_ms = (1, 5)
