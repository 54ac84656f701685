"""Where a log can be read: on a disk, or in a running cluster; and commands that take either.

    @app.command("ls")
    @reads_log
    async def ls(source: LogSource, path: ... = "/") -> None:

The command gets --directory besides the options of a cluster. Where both are given --directory counts, because
QUORATE_BOOTSTRAP may stand in the environment of every shell.
"""

import pathlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Concatenate, Final, ParamSpec, Protocol

import trio

from quorate.admin.asking import CLUSTER_OPTIONS, Session, make_command, open_session
from quorate.admin.errors import Refused
from quorate.admin.image_building import ImageBuilder
from quorate.admin.live_log import LiveLog, LoadedSnapshot
from quorate.admin.offline_log import LogFiles, Piece, segment_pieces
from quorate.admin.options import DirectoryOption
from quorate.admin.output import Printer
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Offset
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.layout import segment_base

P = ParamSpec("P")

_LOOK_AGAIN_S: Final = 0.2


class LogSource(Protocol):
    """A log that can be read."""

    printer: Printer

    async def next(self, *, wait: bool) -> RecordBatch | None:
        """The next batch, beginning with the oldest one that can still be read.

        At the end: None, or with `wait` the next one when there is one.
        """
        ...

    async def image(self, last: Offset | None) -> MetadataImage:
        """The state at the end, or behind the record `last`.

        Raises:
            Refused: there is no such state (any more).
        """
        ...


class DirectorySource:
    """A directory, or one file, on this machine's disk."""

    def __init__(self, printer: Printer, path: pathlib.Path) -> None:
        self.printer = printer
        self._files = LogFiles.at(path)
        self._batches = self._files.batches()
        self._end = Offset(-1)

    async def next(self, *, wait: bool) -> RecordBatch | None:
        await trio.lowlevel.checkpoint()
        while (batch := next(self._batches, None)) is None:
            if not wait:
                return None
            await trio.sleep(_LOOK_AGAIN_S)
            self._batches = self._since(self._end)
        self._end = batch.end_offset
        return batch

    def _since(self, end: Offset) -> Iterator[RecordBatch]:
        """What a running node has written meanwhile: in the last segment, or in new ones."""
        segments = LogFiles.at(self._files.path).segments
        bases = [segment_base(path.name) or 0 for path in segments]
        for path, following in zip(segments, [*bases[1:], None], strict=True):
            if following is not None and following <= end:
                continue
            for piece in segment_pieces(path):
                if isinstance(piece, Piece) and piece.batch.base_offset >= end:
                    yield piece.batch

    async def image(self, last: Offset | None) -> MetadataImage:
        return self._files.image(last)


class ClusterSource:
    """The committed log of a running cluster, read from its leader."""

    def __init__(self, session: Session) -> None:
        self.printer = session.printer
        self._log = LiveLog(session)

    async def next(self, *, wait: bool) -> RecordBatch | None:
        while isinstance(piece := await self._log.next(wait=wait), LoadedSnapshot):
            pass  # what it holds stood in batches that are gone
        return piece

    async def image(self, last: Offset | None) -> MetadataImage:
        builder = ImageBuilder()
        at = Offset(-1)
        while (piece := await self._log.next(wait=False)) is not None:
            if isinstance(piece, LoadedSnapshot):
                if last is not None and piece.id.offset > last + 1:
                    raise Refused(
                        f"The state at offset {last} is gone.",
                        why=f"the oldest one that the cluster still has is that of snapshot {piece.id}",
                        remedy="name a later offset",
                    )
                builder.load_snapshot(piece.id, piece.batches)
                at = Offset(piece.id.offset - 1)
                continue
            if last is not None and piece.end_offset > last + 1:
                break
            builder.add(piece)
            at = Offset(piece.end_offset - 1)
        if last is not None and at != last:
            raise Refused(
                f"There is no state at offset {last}.",
                why=f"a state ends at offset {at}; the next batch does not end at {last}, or is not committed yet",
                remedy="name the last offset of a batch; `quorate log tail` shows them",
            )
        return builder.image()


def reads_log(function: Callable[Concatenate[LogSource, P], Awaitable[None]]) -> Callable[..., None]:
    """Makes a command of an async function that reads a log, wherever it is."""

    def run(printer: Printer, common: dict[str, Any], own: dict[str, Any]) -> None:
        directory = common.pop("directory")

        async def main() -> None:
            if directory is not None:
                await function(DirectorySource(printer, directory), **own)  # type: ignore[call-arg]
                return
            async with open_session(printer, common) as session:
                await function(ClusterSource(session), **own)  # type: ignore[call-arg]  # as in asks_cluster

        trio.run(main)

    return make_command(function, (("directory", DirectoryOption, None), *CLUSTER_OPTIONS), run)


async def newest(source: LogSource, wanted: int, count: Callable[[RecordBatch], int]) -> list[RecordBatch]:
    """The last batches that together hold so many records, or all of them; `count` says how many are in a batch."""
    kept: deque[tuple[RecordBatch, int]] = deque()
    held = 0
    while (batch := await source.next(wait=False)) is not None:
        kept.append((batch, count(batch)))
        held += kept[-1][1]
        while kept and held - kept[0][1] >= wanted:
            held -= kept.popleft()[1]
    return [batch for batch, _ in kept]
