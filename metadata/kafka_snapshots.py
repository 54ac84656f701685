"""Snapshots in Kafka's form, for brokers of Kafka's that are too far behind (shell).

Made on first demand from our own snapshot of the same id, in slices that leave the loop to others, into a file of the
metadata directory that has no name: it cannot outlive the process, and nothing has to be swept up after a crash. The
translation of a snapshot is always the same, so its bytes are stable however often it is made, and the file may go as
soon as the snapshot does: a broker that comes back later reads on where it was.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import attrs
import trio

from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.kafka_wire import in_kafkas_form
from quorate.metadata.log.interface import Log, SnapshotNotFound

_SLICE_MS: Final = 4
_SHARE: Final = 4
"""Translating rests this many times as long as it works: a fifth of the loop at most, as for our own snapshots."""
_FILES: Final = 2
"""How many are kept, by last use: a newer one may come while somebody still reads the one before."""

Told = Callable[[int, bytes], None]
"""Takes the size of the whole snapshot and the bytes at the position asked for; size 0: there is no such snapshot,
and no bytes: the position is not inside it."""


@attrs.frozen
class _Question:
    snapshot_id: OffsetAndEpoch
    position: int
    max_bytes: int
    tell: Told


@attrs.frozen
class _Made:
    file: IO[bytes]
    size: int


class KafkaSnapshots:
    """`run` works; `read` only queues."""

    def __init__(self, log: Log, directory: Path) -> None:
        self._log = log
        self._directory = directory
        self._made: dict[OffsetAndEpoch, _Made] = {}
        """The one that was read last comes last."""
        self._waiting: deque[_Question] = deque()
        self._wanted = trio.lowlevel.ParkingLot()

    def read(self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int, tell: Told) -> None:
        """Has a part of a snapshot told, later or at once."""
        question = _Question(snapshot_id, position, max_bytes, tell)
        made = self._found(snapshot_id)
        if made is not None:
            _answer(question, made)
            return
        self._waiting.append(question)
        self._wanted.unpark()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if not self._waiting:
                    await self._wanted.park()
                    continue
                question = self._waiting.popleft()
                made = self._found(question.snapshot_id)
                if made is None:
                    made = await self._make(question.snapshot_id)
                if made is None:
                    question.tell(0, b"")
                else:
                    _answer(question, made)
        finally:
            for one in self._made.values():
                one.file.close()

    def _found(self, snapshot_id: OffsetAndEpoch) -> _Made | None:
        made = self._made.pop(snapshot_id, None)
        if made is not None:
            self._made[snapshot_id] = made
        return made

    async def _make(self, snapshot_id: OffsetAndEpoch) -> _Made | None:
        try:
            parts = iter(self._parts(snapshot_id))
        except SnapshotNotFound:
            return None
        file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  kept until it is let go
        try:
            size, began = 0, trio.current_time()
            for part in parts:
                size += file.write(part)
                spent = trio.current_time() - began
                if spent * 1000 >= _SLICE_MS:
                    await trio.sleep(spent * _SHARE)
                    began = trio.current_time()
            file.flush()
        except BaseException:
            file.close()
            raise
        made = self._made[snapshot_id] = _Made(file, size)
        while len(self._made) > _FILES:
            self._made.pop(next(iter(self._made))).file.close()
        return made

    def _parts(self, snapshot_id: OffsetAndEpoch) -> Iterator[bytes]:
        batches = self._log.snapshot_records(snapshot_id)
        return (in_kafkas_form(batch) for batch in batches)


def _answer(question: _Question, made: _Made) -> None:
    data = b""
    if 0 <= question.position < made.size:
        data = os.pread(made.file.fileno(), question.max_bytes, question.position)
    question.tell(made.size, data)
