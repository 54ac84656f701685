"""The controller's shell: answers that nothing was written for wait until this node is known to lead still."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from quorate.controller.events import ControllerEffects
from quorate.controller.machine import ControllerMachine
from quorate.controller.requests import Answer
from quorate.metadata.ids import Offset
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.quorum.voters import NO_VOTERS, VoterHistory


@attrs.define
class Token:
    """Who asked."""

    said: list[Any] = attrs.field(factory=list)

    def answer(self, response: Any) -> None:
        self.said.append(response)


@attrs.define
class Active:
    """Gives the effects that a test wants."""

    effects: ControllerEffects

    def step(self, _event: object, _now_ms: int) -> ControllerEffects:
        return self.effects


@attrs.define
class Node:
    asked: list[Callable[[bool], None]] = attrs.field(factory=list)
    voters: VoterHistory = NO_VOTERS

    def confirm_read(self, tell: Callable[[bool], None]) -> None:
        self.asked.append(tell)

    def now_ms(self) -> int:
        return 0

    def wake(self) -> None:
        """Nothing is proposed here."""


def stepped(answer: Answer) -> Node:
    active: Any = Active(ControllerEffects(answers=(answer,)))
    machine = ControllerMachine(active, wall_ms=lambda: 0)
    node: Any = Node()
    machine.node = node
    machine.propose(log_end=0, now_ms=0)  # type: ignore[arg-type]
    return node  # type: ignore[no-any-return]


def test_an_answer_whose_records_are_committed_leaves_at_once() -> None:
    token = Token()
    node = stepped(Answer(token, "done"))
    assert (token.said, node.asked) == (["done"], [])


@pytest.mark.parametrize(("leads", "said"), [(True, "exists already"), (False, "not controller")])
def test_an_answer_that_wrote_nothing_depends_on_who_leads(leads: bool, said: str) -> None:
    """Else a controller that was replaced while it stood still would deny what its successor has created."""
    token = Token()
    node = stepped(Answer(token, "exists already", "not controller"))
    assert token.said == []
    (tell,) = node.asked
    tell(leads)
    assert token.said == [said]


@attrs.define
class Following:
    """A log that is taken in batch by batch: what is committed grows by one at each step."""

    committed_end: int = 0

    @property
    def committed_image(self) -> MetadataImage:
        at = Provenance(offset=self.committed_end - 1, epoch=1, append_time_ms=0)
        return attrs.evolve(MetadataImage.EMPTY, provenance=at)

    def step(self, _event: object, _now_ms: int) -> ControllerEffects:
        self.committed_end += 1
        return ControllerEffects()


async def test_rights_count_once_the_log_was_caught_up_with_and_ever_after() -> None:
    """An image on the way there may grant what was taken away since."""
    active: Any = Following()
    machine = ControllerMachine(active, wall_ms=lambda: 0)
    node: Any = Node()
    machine.node = node
    assert machine.caught_up_image is None

    known = []
    for high_watermark in (3, 3, 3, 9):
        machine.on_committed((), Offset(high_watermark))
        known.append(machine.caught_up_image and machine.caught_up_image.offset)

    assert known == [None, None, 2, 3]
