"""Answers that wait for the log.

An answer leaves when everything it could have seen is committed: its own records, and those of others that are in
the log but not safe yet, since "nothing to do" and "exists already" may rest on them as well.

When leadership is lost, the outcome of what waits is not known here: the next leader may commit those records or
replace them. The purgatory keeps what was waited for, an end offset in an epoch, and reads it off the log that the
next leader commits:

    the record before that offset is committed in that epoch      it is ours, and all before it: the answer is true
    a record at or before it is committed in a later epoch        epochs never fall along the log, so ours are gone
                                                                  for ever: NOT_CONTROLLER
    neither before the request's deadline                         REQUEST_TIMED_OUT: the outcome is unknown

That this node's own log was cut means nothing yet: another replica may hold the records, lead later and commit them.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import attrs

from quorate.controller.faults import Situation
from quorate.controller.requests import Answer, PendingRequest
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch


@attrs.define
class Parked:
    """An answer that waits until everything below `end_offset` is committed."""

    end_offset: Offset
    epoch: Epoch
    pending: PendingRequest
    response: Any

    def answer(self) -> Answer:
        return self.pending.answer(self.response)


class Purgatory:
    """First in, first out: end offsets never fall while a node leads."""

    def __init__(self) -> None:
        self._waiting: deque[Parked] = deque()
        self._unresolved: list[Parked] = []
        """Of leaderships that were lost."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._unresolved)

    def park(self, parked: Parked) -> None:
        self._waiting.append(parked)

    def release(self, committed_end: Offset) -> list[Answer]:
        """The answers whose offset has been committed under this node's own leadership."""
        waiting = self._waiting
        answers = []
        while waiting and waiting[0].end_offset <= committed_end:
            answers.append(waiting.popleft().answer())
        return answers

    def leadership_lost(self) -> None:
        """From now on only the next leader's log can tell."""
        self._unresolved.extend(self._waiting)
        self._waiting.clear()

    def resolve(self, ends: Iterable[OffsetAndEpoch]) -> list[Answer]:
        """Reads outcomes off committed batches, given as their ends, in order."""
        answers: list[Answer] = []
        if not self._unresolved:
            return answers
        for end in ends:
            undecided = []
            for parked in self._unresolved:
                if end.epoch > parked.epoch:
                    answers.append(parked.pending.refuse_for(Situation.REPLACED))
                elif parked.end_offset <= end.offset:
                    answers.append(parked.answer())
                else:
                    undecided.append(parked)
            self._unresolved = undecided
        return answers

    def snapshot_loaded(self, end: OffsetAndEpoch) -> list[Answer]:
        """The log below `end` came as a snapshot: of its epochs only the last one can be read."""
        answers: list[Answer] = []
        undecided = []
        for parked in self._unresolved:
            if end.epoch > parked.epoch and parked.end_offset < end.offset:
                # Later leaders may have gone on after ours was committed, or have replaced it.
                answers.append(parked.pending.refuse_for(Situation.OUTCOME_UNKNOWN))
            elif end.epoch > parked.epoch:
                answers.append(parked.pending.refuse_for(Situation.REPLACED))
            elif parked.end_offset <= end.offset:
                answers.append(parked.answer())
            else:
                undecided.append(parked)
        self._unresolved = undecided
        return answers

    def expire(self, now_ms: int) -> list[Answer]:
        """Gives up on outcomes that did not come in time."""
        if not self._unresolved:
            return []
        late = [parked for parked in self._unresolved if parked.pending.deadline_ms <= now_ms]
        if late:
            self._unresolved = [p for p in self._unresolved if p.pending.deadline_ms > now_ms]
        return [parked.pending.refuse_for(Situation.OUTCOME_UNKNOWN) for parked in late]

    def next_deadline_ms(self) -> int | None:
        if not self._unresolved:
            return None
        return min([parked.pending.deadline_ms for parked in self._unresolved])
