"""Snapshots as files: written aside, fsynced, renamed; read in pieces; fetched in pieces.

A name `<offset>-<epoch>.checkpoint` is given only to a whole snapshot on disk. `*.part` files are beginnings that
nobody will continue after a restart: they are removed then.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from quorate.metadata.batch import MAX_BATCH_BYTES, CorruptBatch, RecordBatch
from quorate.metadata.checks import InvariantViolated, check
from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.log.files import File, Files, failing_storage, read_fully, write_fully
from quorate.metadata.log.history import HeldSnapshot
from quorate.metadata.log.interface import SnapshotNotFound
from quorate.metadata.log.layout import (
    FETCHED_PART_SUFFIX,
    OWN_PART_SUFFIX,
    snapshot_id_of,
    snapshot_name,
)
from quorate.metadata.log.refusals import REPLACE, SnapshotRefused
from quorate.metadata.log.scan import Window
from quorate.metadata.log.snapshot_format import BadSnapshot, SnapshotChecker

_LENGTH_BYTES: Final = 4

Failing = Callable[[str, Path], AbstractContextManager[None]]
"""(doing what, where): turns an error of the system into the end of the whole log, as `failing_storage` its text."""


def read_batches(file: File) -> Iterator[tuple[int, RecordBatch]]:
    """(position, batch) of every batch in a file that holds batches only.

    Raises:
        CorruptBatch: with the position in its text.
    """
    size = file.size()
    window = Window(file, size)
    position = 0
    while position < size:
        head = window.at(position, _LENGTH_BYTES)
        length = _LENGTH_BYTES + int.from_bytes(head[:_LENGTH_BYTES], "big")
        try:
            batch = RecordBatch.decode(window.at(position, min(length, MAX_BATCH_BYTES)))
        except CorruptBatch as error:
            raise CorruptBatch(f"byte {position}: {error}") from error
        yield position, batch
        position += len(batch.data)


def check_snapshot_file(file: File, snapshot_id: OffsetAndEpoch) -> HeldSnapshot:
    """Reads all of it.

    Raises:
        CorruptBatch, BadSnapshot: it is not a whole snapshot of that id.
    """
    checker = SnapshotChecker(snapshot_id)
    for _, batch in read_batches(file):
        checker.add(batch)
    return HeldSnapshot.of(checker.finish(), file.size())


def held_snapshots(files: Files, directory: Path, names: Sequence[str]) -> list[HeldSnapshot]:
    """Checks every snapshot of the directory.

    Raises:
        SnapshotRefused: one that fails; the others do not make up for it.
    """
    found = []
    for name in names:
        snapshot_id = snapshot_id_of(name)
        if snapshot_id is None:
            continue
        file = files.open(directory / name, "read")
        try:
            found.append(check_snapshot_file(file, snapshot_id))
        except (CorruptBatch, BadSnapshot) as error:
            raise SnapshotRefused(
                f"Snapshot {snapshot_id} is damaged",
                where=directory / name,
                why=f"{error}. It was whole when it got its name, so the disk has changed it",
                remedy=REPLACE,
            ) from error
        finally:
            file.close()
    return found


class FileSnapshotWriter:
    """A snapshot of our own being written. See `interface.SnapshotWriter`."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        snapshot_id: OffsetAndEpoch,
        on_finished: Callable[[HeldSnapshot], None],
        failing: Failing,
    ) -> None:
        self._files = files
        self._failing = failing
        self._target = directory / snapshot_name(snapshot_id)
        self._part = self._target.with_name(self._target.name + OWN_PART_SUFFIX)
        self._id = snapshot_id
        self._checker = SnapshotChecker(snapshot_id)
        self._position = 0
        self._on_finished = on_finished
        with self._failing("Beginning a snapshot", self._part):
            self._file: File | None = files.open(self._part, "replace")

    def append(self, batch: RecordBatch) -> None:
        if self._file is None:
            raise InvariantViolated("a batch for a snapshot that is finished")
        try:
            self._checker.add(batch)
        except BadSnapshot as error:
            raise InvariantViolated(f"snapshot {self._id} is put together wrongly: {error}") from error
        with self._failing("Writing a snapshot", self._part):
            self._position = write_fully(self._file, [batch.data], self._position)

    def finish(self) -> None:
        if self._file is None:
            raise InvariantViolated("a snapshot is finished once")
        try:
            checked = self._checker.finish()
        except BadSnapshot as error:
            raise InvariantViolated(f"snapshot {self._id} is put together wrongly: {error}") from error
        with self._failing("Making a snapshot durable", self._part):
            self._file.fsync()
            self._file.close()
            self._file = None
            self._files.rename(self._part, self._target)
            self._files.sync_directory(self._target.parent)
        self._on_finished(HeldSnapshot.of(checked, self._position))

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            with self._failing("Giving a snapshot up", self._part):
                self._files.remove(self._part)


class FetchedPart:
    """The snapshot that is being fetched: at most one at a time."""

    def __init__(self, files: Files, directory: Path, failing: Failing) -> None:
        self._files = files
        self._failing = failing
        self._directory = directory
        self._id: OffsetAndEpoch | None = None
        self._file: File | None = None
        self._size = 0

    def write(self, snapshot_id: OffsetAndEpoch, position: int, data: bytes) -> None:
        if position == 0:
            self.discard()
            self._id = snapshot_id
            with self._failing("Beginning to fetch a snapshot", self._path(snapshot_id)):
                self._file = self._files.open(self._path(snapshot_id), "replace")
        file = self._current(snapshot_id)
        check(position == self._size, f"snapshot {snapshot_id} has {self._size} bytes so far, not {position}")
        with self._failing("Writing a fetched snapshot", self._path(snapshot_id)):
            self._size = write_fully(file, [data], position)

    def install(self, snapshot_id: OffsetAndEpoch) -> HeldSnapshot:
        """Gives a whole snapshot its name.

        Raises:
            CorruptBatch: it is none; what was fetched is removed.
        """
        file = self._current(snapshot_id)
        part = self._path(snapshot_id)
        try:
            held = check_snapshot_file(file, snapshot_id)
        except (CorruptBatch, BadSnapshot) as error:
            self.discard()
            raise CorruptBatch(f"fetched snapshot {snapshot_id}: {error}") from error
        with self._failing("Making a fetched snapshot durable", part):
            file.fsync()
            self._close()
            self._files.rename(part, self._directory / snapshot_name(snapshot_id))
            self._files.sync_directory(self._directory)
        return held

    def discard(self) -> None:
        if self._id is not None:
            part = self._path(self._id)
            self._close()
            with self._failing("Giving up a fetched snapshot", part):
                self._files.remove(part)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _current(self, snapshot_id: OffsetAndEpoch) -> File:
        if self._file is None or self._id != snapshot_id:
            raise InvariantViolated(f"snapshot {snapshot_id} is not being fetched")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._id = None
        self._size = 0

    def _path(self, snapshot_id: OffsetAndEpoch) -> Path:
        return self._directory / (snapshot_name(snapshot_id) + FETCHED_PART_SUFFIX)


class SnapshotReader:
    """Reads the complete snapshots of a directory."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory

    def chunk(self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int) -> tuple[int, bytes]:
        file = self._open(snapshot_id)
        try:
            with failing_storage("Reading a snapshot", self._path(snapshot_id)):
                size = file.size()
                if not 0 <= position < size:
                    raise ValueError(
                        f"position {position} is not inside snapshot {snapshot_id} of {size} bytes"
                    )
                return size, read_fully(file, min(max_bytes, size - position), position)
        finally:
            file.close()

    def batches(self, snapshot_id: OffsetAndEpoch) -> Iterator[RecordBatch]:
        """Opened at once, so that a missing snapshot is known before the first step."""
        return self._each(self._open(snapshot_id), snapshot_id)

    def _each(self, file: File, snapshot_id: OffsetAndEpoch) -> Iterator[RecordBatch]:
        checker = SnapshotChecker(snapshot_id)
        try:
            for _, batch in read_batches(file):
                checker.add(batch)
                yield batch
            checker.finish()
        except BadSnapshot as error:
            raise CorruptBatch(f"snapshot {snapshot_id}: {error}") from error
        finally:
            file.close()

    def _open(self, snapshot_id: OffsetAndEpoch) -> File:
        try:
            return self._files.open(self._path(snapshot_id), "read")
        except FileNotFoundError as error:
            raise SnapshotNotFound(f"there is no snapshot {snapshot_id}") from error

    def _path(self, snapshot_id: OffsetAndEpoch) -> Path:
        return self._directory / snapshot_name(snapshot_id)
