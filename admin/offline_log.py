"""Reading a metadata directory, or one file of it, as it lies there; beside a running node too. Nothing is changed.

What is read is what is on this disk: behind the high watermark there may be records that were never committed, and a
running node may be in the middle of a write. So where the intact batches end is told, not judged; `log verify`
judges.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Final, Self

import attrs

from quorate.admin.errors import Refused
from quorate.admin.image_building import ImageBuilder
from quorate.metadata.batch import CorruptBatch, RecordBatch
from quorate.metadata.ids import LOG_START, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.files import File, RealFiles
from quorate.metadata.log.layout import BOOTSTRAP, segment_base, snapshot_id_of
from quorate.metadata.log.scan import Found, Stop, scan
from quorate.metadata.log.snapshot_files import SnapshotReader, read_batches

_FILES: Final = RealFiles()


@attrs.frozen
class Piece:
    """An intact batch and where it stands."""

    path: pathlib.Path
    position: int
    batch: RecordBatch


@attrs.frozen
class Ends:
    """Where the intact batches end before the file does, and why."""

    path: pathlib.Path
    position: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}, byte {self.position}: {self.why}"


@attrs.frozen(kw_only=True)
class LogFiles:
    """The log files that a path means: those of a directory, or one file."""

    path: pathlib.Path
    segments: tuple[pathlib.Path, ...]
    snapshots: tuple[OffsetAndEpoch, ...]

    @classmethod
    def at(cls, path: pathlib.Path) -> Self:
        """What lies there.

        Raises:
            Refused: nothing of ours.
        """
        if path.is_dir():
            names = _FILES.names(path)
            segments = tuple(path / name for name in names if segment_base(name) is not None)
            snapshots = tuple(found for name in names if (found := snapshot_id_of(name)) is not None)
            if segments or snapshots:
                return cls(path=path, segments=segments, snapshots=snapshots)
            why = "there is neither a log segment (*.log) nor a snapshot (*.checkpoint)"
        elif not path.exists():
            why = "there is nothing of that name"
        elif segment_base(path.name) is not None:
            return cls(path=path, segments=(path,), snapshots=())
        elif is_snapshot(path):
            return cls(path=path, segments=(), snapshots=())
        else:
            why = "it is neither a log segment (20 digits and .log) nor a snapshot (.checkpoint)"
        raise Refused(
            "There is no metadata log to read.",
            where=str(path),
            why=why,
            remedy="name a node's metadata.log.dir, or a .log or .checkpoint file in it",
        )

    def pieces(self) -> Iterator[Piece | Ends]:
        """Every batch, in order; of a snapshot file its own batches."""
        if is_snapshot(self.path):
            yield from snapshot_pieces(self.path)
        for index, path in enumerate(self.segments):
            for piece in segment_pieces(path):
                yield piece
                if isinstance(piece, Ends) and index < len(self.segments) - 1:
                    return

    def batches(self, start: Offset = LOG_START.offset) -> Iterator[RecordBatch]:
        """The log's intact batches that end behind `start`."""
        for piece in self.pieces():
            if isinstance(piece, Piece) and piece.batch.end_offset > start:
                yield piece.batch

    def image(self, last: Offset | None = None) -> MetadataImage:
        """The state behind the last record, or behind the record `last`.

        Raises:
            Refused: that point is not in this directory.
        """
        return self.built(last).image()

    def built(self, last: Offset | None = None) -> ImageBuilder:
        """As `image`, with what is known besides."""
        wanted = None if last is None else Offset(last + 1)
        builder = ImageBuilder()
        usable = [one for one in self.snapshots if wanted is None or one.offset <= wanted]
        start = usable[-1] if usable else LOG_START
        if start.offset > 0:
            builder.load_snapshot(start, SnapshotReader(_FILES, self.path).batches(start))
        end = start.offset
        for batch in self.batches(start.offset):
            if batch.base_offset > end:
                raise self._beyond(last, f"the log begins at offset {batch.base_offset}")
            if wanted is not None and batch.end_offset > wanted:
                break  # a batch is atomic: there is no state in the middle of one
            builder.add(batch)
            end = batch.end_offset
        if wanted is not None and end < wanted:
            raise self._beyond(
                last,
                f"a state ends behind offset {end - 1}, the next one does not end there or is not here yet",
            )
        return builder

    def _beyond(self, last: Offset | None, why: str) -> Refused:
        return Refused(
            "There is no such state in this directory." if last is not None else "The log has a hole.",
            where=str(self.path),
            why=why,
            remedy="name the last offset of a batch; `quorate log dump` shows them"
            if last is not None
            else None,
        )


def is_snapshot(path: pathlib.Path) -> bool:
    return snapshot_id_of(path.name) is not None or path.name == BOOTSTRAP


def segment_pieces(path: pathlib.Path, position: int = 0) -> Iterator[Piece | Ends]:
    """The batches of a segment from a position on."""
    base = segment_base(path.name)
    if base is None:
        raise ValueError(f"{path} is no segment")
    with _opened(path) as file:
        for found in scan(file, base, position, file.size()):
            match found:
                case Found():
                    yield Piece(path, found.position, found.batch)
                case Stop(bad=str() as why):
                    yield Ends(path, found.position, why)
                case Stop():
                    pass


def snapshot_pieces(path: pathlib.Path) -> Iterator[Piece | Ends]:
    """The batches of a snapshot file, header and footer included."""
    with _opened(path) as file:
        end = 0
        try:
            for position, batch in read_batches(file):
                yield Piece(path, position, batch)
                end = position + len(batch.data)
        except CorruptBatch as error:
            yield Ends(path, end, str(error))


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[File]:
    file = _FILES.open(path, "read")
    try:
        yield file
    finally:
        file.close()
