"""The journal on disk: transactions and snapshots, and what is found of them at start (shell, synchronous).

    journal.<last zxid before it, 16 hex digits>     frames of transactions; the newest one grows
    snapshot.<its zxid, 16 hex digits>               the whole tree; written aside, flushed, renamed

`append` gathers in memory; `seal` says up to where the next `flush` goes, which writes one frame and makes it durable.
`flush` is the only part that another thread may call, between `seal` and the next `seal`. A failed flush is final.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import attrs

from quorate.metadata.checks import InvariantViolated, RemoteProtocolError, check
from quorate.metadata.log.files import File, Files, RealFiles, failing_storage, read_whole, write_fully
from quorate.metadata.log.identity import DirectoryLock
from quorate.metadata.log.interface import nothing_more
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.zookeeper.journal_format import (
    END,
    ROWS,
    SESSIONS,
    Damaged,
    Scan,
    group,
    scan,
    snapshot_frames,
)
from quorate.metadata.zookeeper.jute import Reader, Writer
from quorate.metadata.zookeeper.records import read_nodes, read_sessions, write_transaction
from quorate.metadata.zookeeper.state import TICK_MS, ServerState
from quorate.metadata.zookeeper.transactions import Transaction
from quorate.metadata.zookeeper.tree import Node, ZnodeTree

_ROOM_BYTES: Final = 4 * 1024 * 1024
"""Asked of the file system at once: an fdatasync within the file's size need not write its metadata."""
_WAY_OUT: Final = (
    "if this is one disk's fault, restore a copy of the directory; a dump that was made with\n"
    "`quorate zookeeper dump` can be loaded into an empty server with `quorate zookeeper load`"
)


class JournalRefused(StorageRefused):
    """What lies in the directory cannot be what was acknowledged."""


@attrs.frozen
class Recovered:
    """What a directory held."""

    snapshot_zxid: int
    transactions: int
    """Replayed on top of it."""
    notes: tuple[str, ...]
    """What was cut off, for the log."""


class Journal:
    """One directory, for one process."""

    def __init__(
        self, directory: Path, lock: DirectoryLock, files: Files, file: File, end: int, zxid: int
    ) -> None:
        self.directory: Final = directory
        self.bytes_since_snapshot = end
        self._files = files
        self._lock = lock
        self._file = file
        self._end = end
        self._room = file.size()
        self._appended_zxid = zxid
        self._flushed_zxid = zxid
        self._gathered = Writer()
        self._sealed: tuple[bytes, int] = (b"", zxid)

    @property
    def flushed_zxid(self) -> int:
        """All up to this is on disk."""
        return self._flushed_zxid

    @property
    def appended_zxid(self) -> int:
        return self._appended_zxid

    def append(self, transaction: Transaction) -> None:
        check(transaction.zxid == self._appended_zxid + 1, "transactions are appended one after the other")
        write_transaction(self._gathered, transaction)
        self._appended_zxid = transaction.zxid

    def seal(self) -> int:
        """What was appended so far is what the next `flush` writes; gives the zxid that is durable then."""
        self._sealed = (self._gathered.done(), self._appended_zxid)
        self._gathered = Writer()
        return self._appended_zxid

    def flush(self, durable: Callable[[], None] = nothing_more) -> None:
        """As `Log.flush`.

        Raises:
            StorageFailed: nothing after it can be trusted; the process must end.
        """
        data, zxid = self._sealed
        if data:
            self._write(group(self._flushed_zxid, data))
            self._flushed_zxid = zxid
            self._sealed = (b"", zxid)
        durable()

    def _write(self, data: bytes) -> None:
        with failing_storage("flushing the journal", self.directory):
            if self._end + len(data) > self._room:
                self._file.fallocate(self._room, max(_ROOM_BYTES, self._end + len(data) - self._room))
                self._room = max(self._file.size(), self._end + len(data))
            write_fully(self._file, [data], self._end)
            self._file.fdatasync()
        self._end += len(data)
        self.bytes_since_snapshot += len(data)

    def roll(self) -> None:
        """A new file for all that is flushed from now on; call it while no flush runs. Before a snapshot is begun."""
        with failing_storage("starting a journal file", self.directory):
            name = self.directory / f"journal.{self._flushed_zxid:016x}"
            if not self._end:  # this one is still empty
                return
            self._file.ftruncate(self._end)
            self._file.fsync()
            self._file.close()
            self._file = self._files.open(name, "replace")
            self._files.sync_directory(self.directory)
        self._end = self._room = 0
        self.bytes_since_snapshot = 0

    def open_snapshot(self) -> File:
        """A file to write the parts of a snapshot to, one after the other; then `finish_snapshot`."""
        with failing_storage("writing a snapshot", self.directory):
            return self._files.open(self.directory / "snapshot.new", "replace")

    def finish_snapshot(self, file: File, zxid: int) -> None:
        """Gives it its name, and removes what it makes superfluous. In any thread."""
        with failing_storage("writing a snapshot", self.directory):
            file.fsync()
            file.close()
            self._files.rename(self.directory / "snapshot.new", self.directory / f"snapshot.{zxid:016x}")
            self._files.sync_directory(self.directory)
            remove_superfluous(self._files, self.directory)

    def close(self) -> None:
        """What was appended and not flushed is lost: nobody was told of it."""
        self._file.close()
        self._lock.release()


def open_journal(
    directory: Path, *, tick_ms: int = TICK_MS, now_ms: int = 0, files: Files | None = None
) -> tuple[Journal, ServerState[Any], Recovered]:
    """Makes the directory if it is not there.

    Raises:
        StorageRefused: another process has it, or what lies there cannot be what was acknowledged.
        StorageFailed: the disk does not let itself be read or written.
    """
    files = RealFiles() if files is None else files
    with failing_storage("opening the journal", directory):
        files.make_directory(directory)
        lock = DirectoryLock.take(files, directory)
        try:
            return _open(directory, lock, files, tick_ms, now_ms)
        except BaseException:
            lock.release()
            raise


def _open(
    directory: Path, lock: DirectoryLock, files: Files, tick_ms: int, now_ms: int
) -> tuple[Journal, ServerState[Any], Recovered]:
    state: ServerState[Any]
    snapshots = _numbered(files, directory, "snapshot")
    if snapshots:
        state = _read_snapshot(files, directory / f"snapshot.{snapshots[-1]:016x}", tick_ms, now_ms)
    else:
        state = ServerState(tick_ms=tick_ms)
    snapshot_zxid = state.last_zxid
    notes: list[str] = []
    replayed, end = 0, 0
    starts = _numbered(files, directory, "journal")
    for place, start in enumerate(starts):
        is_last = place == len(starts) - 1
        if not is_last and starts[place + 1] <= snapshot_zxid:
            continue
        path = directory / f"journal.{start:016x}"
        found = _scan(files, path, is_last=is_last)
        for transaction in found.transactions:
            if transaction.zxid > state.last_zxid:
                _replay(state, transaction, path, now_ms)
                replayed += 1
        end = found.end
        if found.torn is not None:
            notes.append(f"{path.name}: {found.torn}; cut off: nobody was told of it")
    name = directory / f"journal.{starts[-1] if starts else state.last_zxid:016x}"
    file = files.open(name, "update")
    if file.size() > end:
        file.ftruncate(end)
    file.fsync()
    files.sync_directory(directory)
    journal = Journal(directory, lock, files, file, end, state.last_zxid)
    return journal, state, Recovered(snapshot_zxid, replayed, tuple(notes))


def _replay(state: ServerState[Any], transaction: Transaction, path: Path, now_ms: int) -> None:
    if transaction.zxid != state.last_zxid + 1:
        raise JournalRefused(
            f"The journal has a hole between zxid {state.last_zxid:#x} and {transaction.zxid:#x}.",
            where=path,
            why="a file is missing",
            remedy=_WAY_OUT,
        )
    try:
        state.replay(transaction, now_ms=now_ms)
    except (KeyError, InvariantViolated) as e:
        raise JournalRefused(
            f"Transaction {transaction.zxid:#x} does not fit the tree before it.",
            where=path,
            why=f"{type(e).__name__}: {e}",
            remedy=_WAY_OUT,
        ) from None


def _scan(files: Files, path: Path, *, is_last: bool) -> Scan:
    try:
        found = scan(read_whole(files, path))
        if found.torn is not None and not is_last:
            raise Damaged(found.end, found.torn)
    except Damaged as e:
        raise JournalRefused(
            "The journal is damaged: writes that were acknowledged are lost.",
            where=f"{path}, byte {e.position}",
            why=str(e),
            remedy=_WAY_OUT,
        ) from None
    return found


def _read_snapshot(files: Files, path: Path, tick_ms: int, now_ms: int) -> ServerState[Any]:
    nodes: dict[str, Node] = {}
    sessions: list[tuple[int, int, bytes]] = []
    zxid, count = -1, -1
    try:
        for kind, rows in snapshot_frames(read_whole(files, path)):
            reader = Reader(rows)
            if kind == ROWS:
                nodes.update(read_nodes(reader))
            elif kind == SESSIONS:
                sessions += read_sessions(reader)
            elif kind == END:
                zxid, count = reader.i64(), reader.i64()
        if count != len(nodes):
            raise Damaged(0, f"it says that it has {count} znodes, and it has {len(nodes)}")
        tree = ZnodeTree(nodes)
    except (Damaged, RemoteProtocolError, InvariantViolated) as e:
        raise JournalRefused(
            "The newest snapshot is damaged.", where=path, why=str(e), remedy=_WAY_OUT
        ) from None
    state: ServerState[Any] = ServerState(tree, tick_ms=tick_ms, last_zxid=zxid)
    for session, timeout_ms, password in sessions:
        state.sessions.add(session, timeout_ms, password, now_ms)
    return state


def remove_superfluous(files: Files, directory: Path) -> None:
    """Older snapshots, and journals that end before the newest."""
    snapshots = _numbered(files, directory, "snapshot")
    for zxid in snapshots[:-1]:
        files.remove(directory / f"snapshot.{zxid:016x}")
    starts = _numbered(files, directory, "journal")
    for start, following in pairwise(starts):
        if snapshots and following <= snapshots[-1]:
            files.remove(directory / f"journal.{start:016x}")
    files.sync_directory(directory)


def _numbered(files: Files, directory: Path, kind: str) -> list[int]:
    """The numbers of the files of a kind, lowest first."""
    numbers = []
    for name in files.names(directory):
        head, dot, digits = name.partition(".")
        if head == kind and dot and len(digits) == 16:
            try:
                numbers.append(int(digits, 16))
            except ValueError:
                continue
    return sorted(numbers)
