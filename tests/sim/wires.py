"""What is asked besides the quorum's own messages: brokers ask controllers, clients ask both.

As over TCP: nothing is doubled, what is lost is sent again by the kernel and arrives late, and after a while of that
the connection breaks. So a request may be carried out long after its sender gave it up; that is what makes outcomes
unknown. The cuts, delays and losses are those of `network`.
"""

import enum
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs

from quorate.metadata.ids import NodeId
from tests.sim.network import Network
from tests.sim.schedule import Schedule

RESEND_MS: Final = (200, 1000)
RESENDS: Final = 12
"""Then the connection is given up."""


class Gone(enum.Enum):
    """Why there is no answer."""

    NOT_WRITTEN = "nobody listens there"
    LOST = "the connection broke"


Reply = Callable[[Any], None]
"""Takes a response, or `Gone`."""


class Party(Protocol):
    """Who asks."""

    @property
    def id(self) -> NodeId: ...

    @property
    def life(self) -> int: ...

    def act(self, action: Callable[[], None], what: str) -> None:
        """Does this in its own time: not while it is paused, and never once it is dead."""
        ...


class Server(Party, Protocol):
    """Who is asked."""

    @property
    def up(self) -> bool: ...

    def serve(self, request: Any, reply: Reply) -> None: ...


@attrs.define(eq=False)
class Errand:
    """One request and its answer, on their way."""

    number: int
    source: Party
    source_life: int
    target: Server
    request: Any
    reply: Reply
    arrived: bool = False
    over: bool = False


class Wires:
    """All connections that are not the quorum's."""

    def __init__(self, network: Network, schedule: Schedule, marks: Counter[str], rng: random.Random) -> None:
        self._network, self._schedule, self._marks, self._rng = network, schedule, marks, rng
        self._errands: dict[int, Errand] = {}
        self._last = 0
        network.when_reset = self.reset
        network.when_died = self.died

    def ask(self, source: Party, target: Server, request: Any, reply: Reply) -> None:
        """`reply` is called at most once, as an act of the source, if that is still the same life."""
        self._last += 1
        errand = Errand(self._last, source, source.life, target, request, reply)
        self._errands[errand.number] = errand
        said = _word_of_request(request)
        self._travel(errand, (source.id, target.id), said, lambda: self._arrive(errand))

    # ---- on the way --------------------------------------------------------------------------------------

    def _travel(
        self, errand: Errand, way: tuple[NodeId, NodeId], said: str, arrive: Callable[[], None]
    ) -> None:
        source, target = way

        def attempt(number: int) -> None:
            if errand.over:
                return
            if self._network.lets_through(source, target):
                arrive()
            elif number == RESENDS:
                self._marks["connection given up"] += 1
                self._break(errand)
            else:
                self._schedule.after(self._rng.randint(*RESEND_MS), lambda: attempt(number + 1))

        when = self._network.arrival(source, target)
        self._network.trace.sent(source, target, said, when)
        self._schedule.at(when, lambda: attempt(0))

    def _arrive(self, errand: Errand) -> None:
        target = errand.target
        if not target.up:
            self._finish(errand, Gone.NOT_WRITTEN)
            return
        if errand.source.life != errand.source_life:
            self._marks["request of a dead sender arrives"] += 1
        errand.arrived = True
        name = _word_of_request(errand.request).removesuffix("Request")
        target.act(
            lambda: target.serve(errand.request, lambda response: self._answer(errand, response)),
            f"{name} of {errand.source.id}",
        )

    def _answer(self, errand: Errand, response: Any) -> None:
        if not errand.over:
            way = (errand.target.id, errand.source.id)
            self._travel(errand, way, _word(response), lambda: self._finish(errand, response))

    def _finish(self, errand: Errand, response: Any) -> None:
        if errand.over:
            return
        errand.over = True
        self._errands.pop(errand.number, None)
        if errand.source.life == errand.source_life:
            errand.source.act(lambda: errand.reply(response), f"{_word(response)} from {errand.target.id}")

    # ---- breaking ----------------------------------------------------------------------------------------

    def _break(self, errand: Errand) -> None:
        """Both ends hear of it, each in its time; what has arrived goes on."""
        delay = self._rng.randint(*self._network.delay_ms)
        self._schedule.after(delay, lambda: self._finish(errand, Gone.LOST))

    def reset(self, source: NodeId, target: NodeId) -> None:
        for errand in list(self._errands.values()):
            if errand.source.id == source and errand.target.id == target:
                self._break(errand)

    def died(self, node_id: NodeId) -> None:
        for errand in list(self._errands.values()):
            if errand.source.id == node_id:
                errand.over = errand.arrived  # what its kernel has sent still arrives
                if errand.over:
                    del self._errands[errand.number]
            elif errand.target.id == node_id and errand.arrived:
                self._break(errand)


def _word_of_request(request: Any) -> str:
    return type(request).__name__


def _word(response: Any) -> str:
    return response.value if isinstance(response, Gone) else type(response).__name__
