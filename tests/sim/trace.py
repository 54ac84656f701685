"""One line per event, for people, and a hash over them, for the test that a seed means one world only."""

import hashlib
from collections.abc import Callable

import attrs

from quorate.metadata.quorum.events import (
    Event,
    Proposed,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SnapshotInstalled,
)
from quorate.metadata.quorum.messages import LeaderAndEpoch
from tests.sim.schedule import Schedule


class Trace:
    """Off by default: most worlds pass, and then nobody reads it."""

    def __init__(self, schedule: Schedule, show: Callable[[str], None] | None = None) -> None:
        self._schedule = schedule
        self._show = show
        self._digest: hashlib._Hash | None = None
        self.events = 0

    def hash_lines(self) -> None:
        self._digest = hashlib.sha256()

    @property
    def hexdigest(self) -> str:
        return "" if self._digest is None else self._digest.hexdigest()

    @property
    def _on(self) -> bool:
        return self._show is not None or self._digest is not None

    def event(self, who: str, event: Event) -> None:
        self.events += 1
        if self._on:
            self.line(who, f"← {describe(event)}")

    def act(self, who: str, what: str) -> None:
        self.events += 1
        if self._on:
            self.line(who, f"← {what}")

    def line(self, who: str, text: str) -> None:
        if not self._on:
            return
        line = f"{self.events:>6} {self._schedule.now_ms:>7} {who:<3} {text}"
        if self._digest is not None:
            self._digest.update(line.encode())
        if self._show is not None:
            self._show(line)


def describe(event: Event) -> str:
    """An event in a few words: its kind, and what distinguishes it."""
    match event:
        case RequestReceived(token=token, request=request):
            return f"#{token} {_brief(request)}"
        case ResponseReceived(correlation=correlation, response=response):
            return f"={correlation} {_brief(response)}"
        case RequestFailed(correlation=correlation, failure=failure):
            return f"={correlation} {failure.value}"
        case Proposed(epoch=epoch, batches=batches):
            ends = ", ".join(f"{batch.base_offset}..{batch.end_offset - 1}" for batch in batches)
            return f"Proposed in epoch {epoch}: {ends}"
        case SnapshotInstalled(summary=summary):
            return f"SnapshotInstalled, the log is {summary.start}..{summary.end}"
        case _:
            return _brief(event)


_DULL = ("error", "data", "cluster_id", "voter", "endpoints")
_NOTHING = (None, (), 0, False, b"")


def _brief(value: attrs.AttrsInstance) -> str:
    words = [type(value).__name__.removesuffix("Request")]
    for field in attrs.fields(type(value)):
        content = getattr(value, field.name)
        if field.name == "error" and content.value != 0:
            words.append(content.name)
        elif field.name == "batches" and content:
            words.append(f"{content[0].base_offset}..{content[-1].end_offset - 1}")
        elif field.name == "candidate" or field.name == "replica":
            words.append(f"n{content.id}")
        elif field.name not in _DULL and content not in _NOTHING:
            text = str(content) if not isinstance(content, LeaderAndEpoch) else f"({content})"
            words.append(f"{field.name}={text}")
    return " ".join(words)
