"""Reading the bytes of one segment: which batches lie where, and where the good ones stop.

Nothing is judged here; whether a stop is the end of the log, a torn tail or corruption is `recovery`'s question.
"""

from collections.abc import Iterator
from typing import Final

import attrs

from quorate.metadata.batch import MAX_BATCH_BYTES, CorruptBatch, RecordBatch
from quorate.metadata.ids import Offset
from quorate.metadata.log.files import File, only_zeros, read_fully
from quorate.metadata.log.layout import (
    MAGIC,
    PREFIX_BYTES,
    SEALED_HEAD_BYTES,
    BadPrefix,
    unpack_prefix,
)

_CHUNK: Final = 1024 * 1024
_LENGTH_BYTES: Final = 4


@attrs.frozen
class Found:
    """An intact batch, its place, and what was flushed when it was written."""

    position: int
    flushed_to: Offset
    batch: RecordBatch

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.position + PREFIX_BYTES + len(self.batch.data)


@attrs.frozen
class Stop:
    """Where the intact batches of a segment end. Always the last thing that `scan` yields."""

    position: int
    bad: str | None
    """What is wrong with the bytes there; None: the file ends, or only zeros are left."""


class Window:
    """A file read front to back in large pieces."""

    def __init__(self, file: File, size: int) -> None:
        self._file = file
        self._size = size
        self._start = 0
        self._data = b""

    def at(self, position: int, need: int) -> memoryview:
        """The bytes from `position` on: at least `need` of them, unless the file ends before."""
        begin = position - self._start
        if begin < 0 or begin + need > len(self._data):
            length = min(max(need, _CHUNK), self._size - position)
            self._data = read_fully(self._file, length, position) if length > 0 else b""
            self._start = position
            begin = 0
        return memoryview(self._data)[begin:]


def scan(file: File, base: Offset, position: int, size: int) -> Iterator[Found | Stop]:
    """The batches from `position` (a batch's place) up to `size`, then one Stop."""
    window = Window(file, size)
    while position < size:
        try:
            found = _read_one(window, base, position)
        except (BadPrefix, CorruptBatch) as error:
            yield Stop(position, None if only_zeros(file, position, size) else str(error))
            return
        yield found
        position = found.end
    yield Stop(position, None)


def _read_one(window: Window, base: Offset, position: int) -> Found:
    head = window.at(position, SEALED_HEAD_BYTES)
    flushed_to = unpack_prefix(base, position, head)
    length = _LENGTH_BYTES + int.from_bytes(head[PREFIX_BYTES : PREFIX_BYTES + _LENGTH_BYTES], "big")
    whole = window.at(position, PREFIX_BYTES + min(length, MAX_BATCH_BYTES))
    return Found(position, flushed_to, RecordBatch.decode(whole, PREFIX_BYTES))


def prefixes_behind(file: File, base: Offset, position: int, size: int) -> Iterator[tuple[int, Offset]]:
    """(position, flushed_to) of every intact prefix at or behind `position`, whatever lies around it.

    A batch behind a bad one may prove that the bad one had been flushed: it remembers how far the log was
    durable when it was written itself.
    """
    overlap = SEALED_HEAD_BYTES - 1
    while position < size:
        chunk = read_fully(file, min(_CHUNK + overlap, size - position), position)
        at = chunk.find(MAGIC)
        while 0 <= at < _CHUNK:
            try:
                flushed_to = unpack_prefix(base, position + at, chunk[at : at + SEALED_HEAD_BYTES])
            except BadPrefix:
                pass  # four bytes that look like ours, inside something else
            else:
                yield position + at, flushed_to
            at = chunk.find(MAGIC, at + 1)
        position += _CHUNK
