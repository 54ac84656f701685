"""One line per event, for people, and a hash over them, for the test that a seed means one world only."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from quorate.metadata.ids import NodeId
from quorate.metadata.quorum.events import (
    Event,
    Proposed,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SnapshotInstalled,
)
from quorate.metadata.quorum.messages import LeaderAndEpoch
from tests.sim.recording import CLIENT, EVENT, FATE, NOTE, TROUBLE, Message, Recording
from tests.sim.schedule import Schedule

if TYPE_CHECKING:
    from tests.sim.node import SimNode


class Trace:
    """Off by default: most worlds pass, and then nobody reads it."""

    def __init__(self, schedule: Schedule, show: Callable[[str], None] | None = None) -> None:
        self._schedule = schedule
        self._show = show
        self._digest: hashlib._Hash | None = None
        self.recording: Recording | None = None
        self.events = 0

    def record_in(self, recording: Recording) -> None:
        """From now on all of it is kept, with what no line tells: messages on their way, and what each node has."""
        self.recording = recording

    def hash_lines(self) -> None:
        self._digest = hashlib.sha256()

    @property
    def hexdigest(self) -> str:
        return "" if self._digest is None else self._digest.hexdigest()

    @property
    def _on(self) -> bool:
        return self._show is not None or self._digest is not None or self.recording is not None

    def event(self, who: str, event: Event) -> None:
        self.events += 1
        if self._on:
            self._line(who, f"← {describe(event)}", EVENT)

    def act(self, who: str, what: str) -> None:
        self.events += 1
        if self._on:
            self._line(who, f"← {what}", CLIENT if who.startswith("c") else EVENT)

    def line(self, who: str, text: str) -> None:
        """What somebody decided, and why."""
        if self._on:
            self._line(who, text, NOTE)

    def trouble(self, who: str, text: str) -> None:
        """What befalls somebody, or ends; without a name: all, or several."""
        if self._on:
            self._line(who, text, TROUBLE)

    def _line(self, who: str, text: str, kind: str) -> None:
        line = f"{self.events:>6} {self._schedule.now_ms:>7} {who:<3} {text}"
        if self._digest is not None:
            self._digest.update(line.encode())
        if self._show is not None:
            self._show(line)
        if self.recording is not None:
            self.recording.line(self.events, who, kind, text)

    # ---- for a recording only ----------------------------------------------------------------------------

    def sent(
        self, source: NodeId, target: NodeId, message: attrs.AttrsInstance | str, arrives_ms: int | None
    ) -> Message | None:
        """A message goes out; None: it is lost on its way. What is returned is for `failed`."""
        if self.recording is None:
            return None
        kind = message.partition(" ")[0] if isinstance(message, str) else type(message).__name__
        text = message if isinstance(message, str) else _brief(message)
        return self.recording.message(source, target, kind, text, arrives_ms)

    @staticmethod
    def failed(message: Message | None, fate: str) -> None:
        """It does not get there after all."""
        if message is not None:
            message[FATE] = fate

    def state(self, node: "SimNode") -> None:
        if self.recording is not None:
            self.recording.state(node)

    def cut_begins(self, number: int, side: Iterable[NodeId], *, inward: bool, outward: bool) -> None:
        if self.recording is not None:
            self.recording.cut_begins(number, sorted(side), inward=inward, outward=outward)

    def cut_ends(self, number: int | None = None) -> None:
        if self.recording is not None:
            self.recording.cut_ends(number)


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
        elif field.name == "preferred":
            words.append("preferred=" + ",".join(f"n{key.id}" for key in content))
        elif field.name == "candidate" or field.name == "replica":
            words.append(f"n{content.id}")
        elif field.name not in _DULL and content not in _NOTHING:
            text = str(content) if not isinstance(content, LeaderAndEpoch) else f"({content})"
            words.append(f"{field.name}={text}")
    return " ".join(words)
