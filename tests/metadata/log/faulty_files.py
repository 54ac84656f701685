"""A file system in memory that fails where it is told to, and forgets what was never flushed.

The kernel's promise is narrow, and this keeps to it exactly:

- bytes of a file: safe after `fsync` or `fdatasync` of that file; before it each 512-byte sector that was written is on
  disk or not, in any order, and a new size with or without them
- names: creating, renaming and removing are safe after the directory's fsync; before it any prefix of them is
- a failed fsync marks pages clean: a second one says "done" and has done nothing

`crash` makes the disk as the next process finds it. Each call is counted; `stop_at` ends the process in one.
"""

import errno
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from quorate.metadata.log.files import Mode

SECTOR = 512


class ProcessEnds(BaseException):
    """The power went at this very operation. No handler for errors may catch it."""


class _Inode:
    """Bytes now, bytes on disk, and the sectors that differ because they were written since the last flush."""

    def __init__(self) -> None:
        self.now = bytearray()
        self.safe = bytearray()
        self.dirty: set[int] = set()
        self.room = 0
        self.locked = False

    def flush(self) -> None:
        self.safe = bytearray(self.now)
        self.dirty.clear()

    def lose(self) -> None:
        """The pages are clean now, and not on disk: the next flush will not write them."""
        self.dirty.clear()

    def write_back(self) -> None:
        """What a flush after a failed one really does: only pages written since."""
        if len(self.safe) < len(self.now):
            self.safe.extend(bytes(len(self.now) - len(self.safe)))
        del self.safe[len(self.now) :]
        for sector in self.dirty:
            at = slice(sector * SECTOR, (sector + 1) * SECTOR)
            self.safe[at] = self.now[at]
        self.dirty.clear()

    def crash(self, rng: random.Random) -> None:
        """Some of the dirty sectors got there, in any order; the rest reads as it did before."""
        kind = rng.choice(("all", "none", "some", "some"))
        if kind != "none":
            size = len(self.now)
            if size > len(self.safe) and kind == "some" and rng.random() < 0.3:
                size = rng.randint(len(self.safe), size)
            elif size < len(self.safe) and kind == "some" and rng.random() < 0.5:
                size = len(self.safe)
            after = bytearray(self.safe[:size]) + bytes(max(0, size - len(self.safe)))
            for sector in sorted(self.dirty):
                if kind == "all" or rng.random() < 0.5:
                    start = sector * SECTOR
                    piece = self.now[start : min(start + SECTOR, size)]
                    after[start : start + len(piece)] = piece
            self.safe = after
        self.now = bytearray(self.safe)
        self.dirty.clear()
        self.locked = False


class FaultyFile:
    def __init__(self, disk: "FaultyFiles", inode: _Inode, path: Path) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._locker = False

    def pread(self, size: int, position: int) -> bytes:
        return bytes(self._inode.now[position : position + self._disk.shorter(size)])

    def pwritev(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        data = b"".join(buffers)
        self._disk.step("write", self._path, len(data))
        data = data[: self._disk.shorter(len(data))]
        try:
            self._put(data, position)
        finally:
            self._disk.tear("write")
        return len(data)

    def _put(self, data: bytes, position: int) -> None:
        inode = self._inode
        end = position + len(data)
        self._disk.take_room(inode, end)
        if end > len(inode.now):
            inode.now.extend(bytes(end - len(inode.now)))
        inode.now[position:end] = data
        inode.dirty.update(range(position // SECTOR, -(-end // SECTOR)))

    def fdatasync(self) -> None:
        self._sync("fsync")

    def fsync(self) -> None:
        self._sync("fsync")

    def _sync(self, kind: str) -> None:
        try:
            self._disk.step(kind, self._path)
        except OSError:
            self._inode.lose()
            self._disk.failed_syncs.add(id(self._inode))
            raise
        if id(self._inode) in self._disk.failed_syncs:
            self._disk.synced_after_failure.append(self._path)
            self._inode.write_back()
        else:
            self._inode.flush()

    def ftruncate(self, size: int) -> None:
        self._disk.step("truncate", self._path)
        inode = self._inode
        del inode.now[size:]
        inode.now.extend(bytes(size - len(inode.now)))
        inode.room = min(inode.room, size)
        inode.dirty = {sector for sector in inode.dirty if sector * SECTOR < size}
        inode.dirty.add(max(size - 1, 0) // SECTOR)  # the kernel zeroes the rest of the last page

    def fallocate(self, position: int, size: int) -> None:
        self._disk.step("allocate", self._path)
        self._disk.take_room(self._inode, position + size)
        if position + size > len(self._inode.now):
            self._inode.now.extend(bytes(position + size - len(self._inode.now)))

    def size(self) -> int:
        return len(self._inode.now)

    def try_lock(self, *, shared: bool = False) -> bool:
        if self._inode.locked:
            return False
        self._inode.locked = self._locker = True
        return True

    def close(self) -> None:
        if self._locker:
            self._inode.locked = self._locker = False


class FaultyFiles:
    """One directory is enough. `capacity` counts the room that files have taken, as fallocate does."""

    def __init__(self, capacity: int | None = None) -> None:
        self.names_now: dict[str, _Inode] = {}
        self.names_safe: dict[str, _Inode] = {}
        self.pending: list[Callable[[dict[str, _Inode]], None]] = []
        self.operations = 0
        self.stop_at: int | None = None
        self.fail: dict[str, int] = {}
        """Kind of operation -> errno. Kinds: write, fsync, truncate, allocate, open, rename, remove, names."""
        self.capacity = capacity
        self.short: random.Random | None = None
        self.failed_syncs: set[int] = set()
        self.synced_after_failure: list[Path] = []

    # Faults

    def step(self, kind: str, path: Path, size: int = 0) -> None:
        self.operations += 1
        if self.stop_at is not None and self.operations >= self.stop_at and kind != "write":
            raise ProcessEnds
        if kind in self.fail:
            raise OSError(self.fail[kind], "injected", str(path))

    def tear(self, kind: str) -> None:
        """A write that the power interrupts has reached the cache; what of it reached the disk is `crash`'s choice."""
        if self.stop_at is not None and self.operations >= self.stop_at:
            raise ProcessEnds

    def shorter(self, size: int) -> int:
        return size if self.short is None or size <= 1 else self.short.randint(1, size)

    def take_room(self, inode: _Inode, end: int) -> None:
        if self.capacity is not None and end > inode.room:
            used = sum(one.room for one in self.names_now.values())
            if used + end - inode.room > self.capacity:
                raise OSError(errno.ENOSPC, "No space left on device")
        inode.room = max(inode.room, end)

    def crash(self, rng: random.Random) -> None:
        for change in self.pending[: rng.randint(0, len(self.pending))]:
            change(self.names_safe)
        self.pending.clear()
        self.names_now = dict(self.names_safe)
        for inode in {id(one): one for one in self.names_now.values()}.values():
            inode.crash(rng)
        self.stop_at = None
        self.fail = {}
        self.failed_syncs.clear()

    # Files

    def open(self, path: Path, mode: Mode) -> FaultyFile:
        self.step("open", path)
        inode = self.names_now.get(path.name)
        if inode is None and mode == "read":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        if inode is not None and mode == "new":
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        if inode is None:
            inode = self._create(path.name)
        file = FaultyFile(self, inode, path)
        if mode == "replace" and inode.now:
            file.ftruncate(0)
        return file

    def _create(self, name: str) -> _Inode:
        made = _Inode()
        self._change(lambda names: names.__setitem__(name, made))
        return made

    def names(self, directory: Path) -> list[str]:
        return sorted(self.names_now)

    def rename(self, source: Path, target: Path) -> None:
        self.step("rename", source)
        if source.name not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))
        self._change(lambda names: names.__setitem__(target.name, names.pop(source.name)))

    def remove(self, path: Path) -> None:
        self.step("remove", path)
        if path.name not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        self._change(lambda names: names.__delitem__(path.name))

    def _change(self, change: Callable[[dict[str, _Inode]], None]) -> None:
        change(self.names_now)
        self.pending.append(change)

    def sync_directory(self, directory: Path) -> None:
        self.step("names", directory)
        for change in self.pending:
            change(self.names_safe)
        self.pending.clear()

    def make_directory(self, directory: Path) -> None:
        self.step("names", directory)

    def free_bytes(self, directory: Path) -> int:
        if self.capacity is None:
            return 1 << 40
        return self.capacity - sum(one.room for one in self.names_now.values())
