"""Answers that carry an error for each item: as documents, and as the end of a command."""

from collections.abc import Sequence
from typing import Any

import attrs

from quorate.admin.errors import CommandError, NoAnswer, Refused
from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class ItemError:
    """What one item was answered, where that is an error. `item` is named as in "topic orders"."""

    item: str
    code: ErrorCode
    message: str | None

    def text(self) -> str:
        return f"{self.code.name.upper()}: {self.message}" if self.message else self.code.name.upper()


def error_document(code: ErrorCode, message: str | None) -> dict[str, Any] | None:
    """The "error" member of an item; null where it is none."""
    if code is ErrorCode.none:
        return None
    return {"code": code.name.upper(), "message": message}


def check_items(verb: str, errors: Sequence[ItemError], asked: int) -> None:
    """Ends the command if items were refused: `verb` says what did not happen, as in "created".

    Raises:
        Refused: some were.
        NoAnswer: all of them because time ran out.
    """
    if not errors:
        return
    timed_out = all(error.code is ErrorCode.request_timed_out for error in errors)
    kind: type[CommandError] = NoAnswer if timed_out else Refused
    if asked == 1:
        raise kind(f"{_capital(errors[0].item)} was not {verb}.", why=errors[0].text())
    raise kind(
        f"{len(errors)} of {asked} were not {verb}.",
        why="\n".join(f"{error.item}: {error.text()}" for error in errors),
    )


def check_whole(what: str, code: ErrorCode, message: str | None) -> None:
    """Ends the command if the request was refused as a whole.

    Raises:
        Refused: it was.
        NoAnswer: because time ran out.
    """
    if code is not ErrorCode.none:
        kind: type[CommandError] = NoAnswer if code is ErrorCode.request_timed_out else Refused
        raise kind(what, why=ItemError(item="", code=code, message=message).text())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
