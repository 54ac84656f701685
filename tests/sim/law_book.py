"""Every law that worlds are held to, found where it is written: a `check(condition, message)`, known by its message.

The laws of a replica (`metadata.quorum.invariants`), of the cluster (`laws`), of its voters (`members`) and of images
(`images`). One can be set
aside for a while: what is then still found, others find. `test_laws` asks of each whether it is needed.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final
from unittest.mock import patch

import attrs

from quorate.metadata.checks import check
from quorate.metadata.quorum import invariants
from tests.sim import images, laws, members

MODULES: Final = (invariants, laws, members, images)
GAP: Final = "…"
"""Stands in a law's text for what the message fills in."""


@attrs.frozen
class Law:
    """One `check`."""

    module: ModuleType = attrs.field(repr=False)
    function: str
    text: str
    """Its message, with gaps."""

    @property
    def where(self) -> str:
        return f"{self.module.__name__.rpartition('.')[2]}.{self.function}"

    def is_broken_in(self, violation: str) -> bool:
        """Whether this law's message was raised."""
        return re.fullmatch(".*".join(map(re.escape, self.text.split(GAP))), violation, re.DOTALL) is not None

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Whatever breaks it goes unnoticed."""

        def lenient(condition: bool, message: str) -> None:
            if not condition and not self.is_broken_in(message):
                check(condition, message)

        with patch.object(self.module, "check", lenient):
            yield


def _text(message: ast.expr) -> str:
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case _:
            return GAP


def _laws_of(module: ModuleType) -> Iterator[Law]:
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            match call:
                case ast.Call(func=ast.Name(id="check"), args=[_, message]):
                    yield Law(module, function.name, _text(message))
                case _:
                    pass


LAWS: Final = tuple(law for module in MODULES for law in _laws_of(module))


def law(text: str) -> Law:
    """By the beginning of its text.

    Raises:
        ValueError: no law begins so, or several do.
    """
    found = [one for one in LAWS if one.text.startswith(text)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} laws begin with {text!r}: {[one.text for one in found]}")
    return found[0]


def broken_by(violation: str) -> Law | None:
    """The law that a world's violation speaks of; None: something else (the core's own checks, the end of a world)."""
    return next((one for one in LAWS if one.is_broken_in(violation)), None)
