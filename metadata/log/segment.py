"""One segment file: where its batches end, how to find them, how to cut it."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import check
from quorate.metadata.ids import Offset
from quorate.metadata.log.files import File, Files, Mode, read_fully, write_fully
from quorate.metadata.log.layout import PREFIX_BYTES, pack_prefix, segment_name
from quorate.metadata.log.scan import Found, Stop, scan

_INDEX_INTERVAL: Final = 64 * 1024
_COPY_CHUNK: Final = 4 * 1024 * 1024


class Segment:
    """Batches from `base` to `end_offset`, in the first `size` bytes of the file; the rest are zeros.

    The index is sparse: one entry per 64 KiB says which batch starts where. It is never written: recovery reads
    every byte anyhow, and makes it anew.
    """

    __slots__ = (
        "_offsets",
        "_positions",
        "allocated",
        "base",
        "end_offset",
        "file",
        "first_time_ms",
        "path",
        "size",
    )

    def __init__(self, file: File, path: Path, base: Offset) -> None:
        self.file = file
        self.path = path
        self.base = base
        self.end_offset = base
        self.size = 0
        self.allocated = file.size()
        self.first_time_ms: int | None = None
        self._offsets = array("q")
        self._positions = array("q")

    @classmethod
    def open(cls, files: Files, directory: Path, base: Offset, mode: Mode) -> Self:
        path = directory / segment_name(base)
        return cls(files.open(path, mode), path, base)

    def note(self, batch: RecordBatch) -> None:
        """The batch stands at the end of what was known."""
        position = self.size
        if self.first_time_ms is None:
            self.first_time_ms = batch.append_time_ms
        if not self._positions or position >= self._positions[-1] + _INDEX_INTERVAL:
            self._offsets.append(batch.base_offset)
            self._positions.append(position)
        self.size = position + PREFIX_BYTES + len(batch.data)
        self.end_offset = batch.end_offset

    def write(self, batches: Sequence[RecordBatch], flushed_to: Offset) -> None:
        """Writes behind the end, in one call of the system; does not `note`, so it can be done again."""
        buffers: list[bytes] = []
        position = self.size
        for batch in batches:
            buffers.append(pack_prefix(self.base, position, flushed_to, batch.data))
            buffers.append(batch.data)
            position += PREFIX_BYTES + len(batch.data)
        write_fully(self.file, buffers, self.size)

    def allocate(self, upto: int) -> None:
        """Makes room up to that position, if there is none yet."""
        if upto > self.allocated:
            self.file.fallocate(self.allocated, upto - self.allocated)
            self.allocated = upto

    def scan_from(self, offset: Offset) -> Iterator[Found | Stop]:
        """The batches from a little before `offset` to the end."""
        at = bisect_right(self._offsets, offset) - 1
        position = self._positions[at] if at >= 0 else 0
        return scan(self.file, self.base, position, self.size)

    def position_of(self, end: Offset) -> int:
        """The position where the batch that starts at `end` stands, or would stand."""
        if end == self.end_offset:
            return self.size
        for found in self.scan_from(end):
            if isinstance(found, Stop):
                break
            if found.batch.base_offset >= end:
                check(found.batch.base_offset == end, f"offset {end} lies inside a batch")
                return found.position
        check(False, f"offset {end} does not lie in the segment {self.path.name}")
        raise AssertionError  # for type checkers: `check` has raised

    def cut(self, position: int, end: Offset) -> None:
        """Removes everything from `position` on, durably: what was cut off reads as zeros for ever."""
        self.file.ftruncate(position)
        self.file.fsync()
        self.allocated = self.size = position
        self.end_offset = end
        keep = bisect_right(self._positions, position - 1)
        del self._offsets[keep:]
        del self._positions[keep:]
        if position == 0:
            self.first_time_ms = None

    def trim(self) -> None:
        """Gives back the room behind the last batch; nothing will be written here again."""
        if self.allocated > self.size:
            self.file.ftruncate(self.size)
            self.allocated = self.size

    def rewrite_from(self, offset: Offset) -> int:
        """Writes the bytes of all batches from `offset` on over themselves. Returns how many bytes."""
        at = bisect_right(self._offsets, offset) - 1
        first = position = self._positions[at] if at >= 0 else 0
        while position < self.size:
            chunk = read_fully(self.file, min(_COPY_CHUNK, self.size - position), position)
            position = write_fully(self.file, [chunk], position)
        return position - first

    def close(self) -> None:
        self.file.close()
