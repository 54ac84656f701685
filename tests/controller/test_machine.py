"""The controller's shell: answers that nothing was written for wait until this node is known to lead still."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from quorate.controller.events import ControllerEffects
from quorate.controller.machine import ControllerMachine
from quorate.controller.requests import Answer


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

    def confirm_read(self, tell: Callable[[bool], None]) -> None:
        self.asked.append(tell)

    def wake(self) -> None:
        """Nothing is proposed here."""


def stepped(answer: Answer) -> Node:
    active: Any = Active(ControllerEffects(answers=(answer,)))
    machine = ControllerMachine(active, wall_offset_ms=0)
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
