"""What the active controller does by the clock: expired sessions, preferred leaders, leaderless partitions, NoOps.

Everything here exists only while a node is the active controller. A task that fails is tried again at its next turn.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import attrs

from quorate.controller import elections, isr
from quorate.controller.activation import no_op
from quorate.controller.config import ControllerConfig
from quorate.controller.context import Context
from quorate.controller.isr import Slice
from quorate.controller.result import ControllerResult
from quorate.controller.sessions import BrokerSessions
from quorate.controller.tokens import MOST_REMOVED_AT_ONCE, remove_expired_tokens
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.image.configs import Resource
from quorate.metadata.image.image import MetadataImage

SLICE_PAUSE_MS: Final = 25
"""Between two slices of a walk over all partitions; a slice takes some milliseconds."""
FENCED_PER_TURN: Final = 1
"""Fencing a broker may change all of its partitions, so the other sessions that ended wait a turn."""
RETRY_MS: Final = 1_000
"""After a task that failed because of a bug: it is still due, and would otherwise fill every turn."""
_UNCLEAN: Final = "unclean.leader.election.enable"


@attrs.frozen
class Task:
    """An operation of the controller's own."""

    name: str
    run: Callable[[Context], ControllerResult[None]]
    ends_session: bool = False


@attrs.define
class _Walk:
    """A look at every partition, again and again, in slices."""

    name: str
    interval_ms: int
    due_ms: int
    find: Callable[[MetadataImage], Iterator[Slice]]
    elect: Callable[[Context, Slice], ControllerResult[None]]
    _slices: Iterator[Slice] | None = None

    def next_task(self, image: MetadataImage, now_ms: int) -> Task | None:
        """The elections that the next slice asks for."""
        if now_ms < self.due_ms:
            return None
        if self._slices is None:
            self._slices = self.find(image)
        found = next(self._slices, None)
        if found is None:
            self._slices = None
            self.due_ms = now_ms + self.interval_ms
            return None
        self.due_ms = now_ms + SLICE_PAUSE_MS
        return Task(self.name, partial(_elect, self.elect, found)) if found else None

    def hurry(self, now_ms: int) -> None:
        """Begins anew, now: what this walk looks for may be anywhere."""
        self._slices = None
        self.due_ms = now_ms


def _elect(
    elect: Callable[[Context, Slice], ControllerResult[None]], found: Slice, context: Context
) -> ControllerResult[None]:
    return elect(context, found)


class Tasks:
    """The timetable of one leadership."""

    def __init__(self, config: ControllerConfig, sessions: BrokerSessions, now_ms: int) -> None:
        self._sessions = sessions
        self._no_op_interval_ms = config.max_idle_interval_ms
        self._last_append_ms = now_ms
        # At once: a controller that died between unfencing a broker and electing leaves partitions without a leader.
        self._leaderless = _Walk(
            "elect leaders for leaderless partitions",
            config.unclean_leader_election_interval_ms,
            now_ms,
            elections.find_leaderless,
            elections.elect_leaderless,
        )
        self._walks = [self._leaderless]
        if config.auto_leader_rebalance_enable:
            interval_ms = config.leader_imbalance_check_interval_ms
            self._walks.append(
                _Walk(
                    "elect preferred leaders",
                    interval_ms,
                    now_ms + interval_ms,
                    elections.find_not_preferred,
                    elections.elect_preferred,
                )
            )
        self._tokens_interval_ms = config.delegation_token_expiry_check_interval_ms
        has_tokens = config.delegation_token_secret_key is not None
        self._tokens_due_ms = now_ms + self._tokens_interval_ms if has_tokens else None
        self._topics_to_elect: list[str] = []
        self._settling: dict[int, Iterator[Slice]] = {}
        self._not_before_ms = now_ms

    def due(self, image: MetadataImage, now_ms: int) -> Iterator[Task]:
        """The tasks whose time has come."""
        if now_ms < self._not_before_ms:
            return
        settling = self._next_settling(image, now_ms)
        if settling is not None:
            yield settling
        for number, broker_id in enumerate(list(self._sessions.expired(now_ms))):
            if number == FENCED_PER_TURN:
                break
            yield Task(f"fence broker {broker_id}", partial(_fence, broker_id), ends_session=True)
        topics, self._topics_to_elect = self._topics_to_elect, []
        for topic in topics:
            yield Task(
                f"elect leaders for {topic}",
                partial(_elect, elections.elect_leaderless, elections.leaderless_of(image, topic)),
            )
        if self._tokens_due_ms is not None and now_ms >= self._tokens_due_ms:
            self._tokens_due_ms = now_ms + self._tokens_interval_ms
            if image.tokens.by_id:
                yield Task("remove expired delegation tokens", self._remove_expired_tokens)
        for walk in self._walks:
            task = walk.next_task(image, now_ms)
            if task is not None:
                yield task

    def settle(self, broker_id: int, image: MetadataImage) -> None:
        """Looks at all partitions of a broker, a slice per turn, and brings them in line with what it is."""
        self._settling[broker_id] = isr.find_partitions(image, broker_id)
        self._sessions.unsettled(broker_id)

    def _next_settling(self, image: MetadataImage, now_ms: int) -> Task | None:
        for broker_id in list(self._settling):
            found = next(self._settling[broker_id], None)
            if found is not None:
                return Task(f"settle partitions of broker {broker_id}", partial(_settle, broker_id, found))
            del self._settling[broker_id]
            self._sessions.settled(broker_id, image.offset, now_ms)
        return None

    def _remove_expired_tokens(self, context: Context) -> ControllerResult[None]:
        result = remove_expired_tokens(context)
        if len(result.records) == MOST_REMOVED_AT_ONCE:  # there may be more of them
            self._tokens_due_ms = context.now_ms
        return result

    def no_op_due(self, now_ms: int) -> Task | None:
        """A NoOp if nothing was appended for the idle interval."""
        due_ms = self._no_op_due_ms()
        return Task("write a NoOp record", no_op) if due_ms is not None and now_ms >= due_ms else None

    def failed(self, now_ms: int) -> None:
        """A task met a bug; none is tried for a while."""
        self._not_before_ms = now_ms + RETRY_MS

    def appended(self, now_ms: int) -> None:
        """Records were written, so the log is not idle."""
        self._last_append_ms = now_ms

    def configs_changed(self, changed: Mapping[Resource, Mapping[str, object]], now_ms: int) -> None:
        """Where unclean elections may be allowed now, the leaderless partitions need not wait for the clock."""
        for (type_, name), keys in changed.items():
            if _UNCLEAN not in keys:
                continue
            if type_ == ResourceType.TOPIC:
                self._topics_to_elect.append(name)
            else:
                self._leaderless.hurry(now_ms)

    def next_deadline_ms(self, now_ms: int) -> int:
        """When the next task is due."""
        next_ms = now_ms if self._topics_to_elect or self._settling else self._leaderless.due_ms
        dues_ms = (self._sessions.next_expiry_ms(), self._tokens_due_ms, *[one.due_ms for one in self._walks])
        for due_ms in dues_ms:
            if due_ms is not None and due_ms < next_ms:
                next_ms = due_ms
        next_ms = max(next_ms, self._not_before_ms)
        no_op_ms = self._no_op_due_ms()
        return next_ms if no_op_ms is None else min(next_ms, no_op_ms)

    def _no_op_due_ms(self) -> int | None:
        return self._last_append_ms + self._no_op_interval_ms if self._no_op_interval_ms > 0 else None


def _fence(broker_id: int, context: Context) -> ControllerResult[None]:
    broker = context.broker(broker_id)
    change = isr.NO_CHANGE if broker is None else isr.fence(context, broker)
    return ControllerResult(change.records, None, atomic=False, unsettled=change.unsettled)


def _settle(broker_id: int, found: Slice, context: Context) -> ControllerResult[None]:
    return isr.settle(context, broker_id, found)
