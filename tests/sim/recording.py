"""What a trace keeps of a run for who wants to look at it: lines, messages, and the state of each node over time.

Filled by `trace` alone, and only if asked for. All of it is plain lists and numbers, ready for JSON; texts and other
values that repeat are kept once: `sent[3]` is an index into `texts`.
"""

import re
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

from quorate.metadata.ids import NodeId
from quorate.metadata.quorum.election_state import ElectionState

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

EVENT: Final = "event"
NOTE: Final = "note"
TROUBLE: Final = "trouble"
CLIENT: Final = "client"

Message = list[Any]
"""[when sent, when it arrives or None, from, to, kind, text, fate, seq]; times in simulated ms."""
ARRIVES: Final = 1
FATE: Final = 6


class _Table:
    """Values, each once, in the order in which they came."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._index: dict[Hashable, int] = {}

    def index(self, value: Hashable) -> int:
        known = self._index.get(value)
        if known is None:
            known = self._index[value] = len(self.values)
            self.values.append(value)
        return known


class Recording:
    """See the module's docstring. `world.trace` fills it from the moment at which it is made."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.lines: list[tuple[int, int, int, int, int]] = []
        """(event, ms, who, kind, text)."""
        self.messages: list[Message] = []
        self.states: list[tuple[int, ...]] = []
        """(seq, ms, who, then as `_state_of` says)."""
        self.cuts: list[list[Any]] = []
        """[from ms, to ms or None, ids inside, inward, outward]."""
        self.texts = _Table()
        self.histories = _Table()
        self.members = _Table()
        self._last: dict[NodeId, tuple[int, ...]] = {}
        self._open: dict[int, list[Any]] = {}
        world.trace.record_in(self)
        for node in world.nodes:
            self.state(node)

    # ---- filled by the trace -----------------------------------------------------------------------------

    def line(self, events: int, who: str, kind: str, text: str) -> None:
        self.lines.append(
            (events, self._now, self._number(who), self.texts.index(kind), self.texts.index(text))
        )

    def message(
        self, source: NodeId, target: NodeId, kind: str, text: str, arrives_ms: int | None
    ) -> Message:
        fate = "" if arrives_ms is not None else "lost"
        entry = [
            self._now,
            arrives_ms,
            int(source),
            int(target),
            self.texts.index(kind),
            self.texts.index(text),
            fate,
            len(self.lines),
        ]
        self.messages.append(entry)
        return entry

    def state(self, node: "SimNode") -> None:
        now = self._state_of(node)
        if self._last.get(node.id) != now:
            self._last[node.id] = now
            self.states.append((len(self.lines), self._now, int(node.id), *now))

    def cut_begins(self, number: int, side: Sequence[NodeId], *, inward: bool, outward: bool) -> None:
        self._open[number] = [self._now, None, [int(one) for one in side], inward, outward]
        self.cuts.append(self._open[number])

    def cut_ends(self, number: int | None = None) -> None:
        """One of them, or all."""
        for ended in list(self._open) if number is None else [number]:
            entry = self._open.pop(ended, None)
            if entry is not None:
                entry[1] = self._now

    # ---- what stands in it -------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return self.world.schedule.now_ms

    @staticmethod
    def _number(who: str) -> int:
        """n3 is 3, a client c1000 is 1000, the world itself 0."""
        digits = re.sub(r"\D", "", who)
        return int(digits) if digits else 0

    def _state_of(self, node: "SimNode") -> tuple[int, ...]:
        """(life, role, epoch, leader, vote, log start, log end, flushed end, high watermark, newest snapshot's end,
        epochs of the log, voters in force); -1 where there is nothing to say."""
        status = "down" if not node.up else "paused" if node.paused else "up"
        summary = node.disk.log.summary()
        election: ElectionState = node.disk.election
        role, high_watermark = "down", -1
        if node.up:
            election, role = node.core.election, node.core.role.name.value
            if role == "follower" and not node.core.is_voter:
                role = "observer"
            high_watermark = -1 if node.core.high_watermark is None else node.core.high_watermark
        snapshots = [one.offset for one in summary.snapshots if one.offset > 0]
        flushed = node.disk.log.flushed_end if node.config.durable else summary.end.offset
        voters = node.core.voters.ids if node.up else ()
        return (
            self.texts.index(status),
            self.texts.index(role),
            election.epoch,
            -1 if election.leader_id is None else election.leader_id,
            -1 if election.voted is None else election.voted.id,
            summary.start,
            summary.end.offset,
            flushed,
            high_watermark,
            snapshots[-1] if snapshots else -1,
            self.histories.index(tuple((one.epoch, one.offset) for one in summary.epochs)),
            self.members.index(voters),
        )
