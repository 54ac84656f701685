"""The one place where the log touches the operating system, so that tests can put a failing disk in its stead.

`Files` and `File` say what a directory and an open file can do; `RealFiles` does it. Calls mirror the system's:
a write may be short, an error is an `OSError`. The helpers below add what every caller wants on top: whole
writes, whole reads, a file replaced so that a crash leaves either the old or the new one. What an error *means*
is decided by the callers, which turn it into `StorageFailed`.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from quorate.metadata.log.interface import StorageFailed

Mode = Literal["read", "update", "replace", "new"]
"""read: must exist · update: made if missing, content kept · replace: made or emptied · new: must not exist"""

_FLAGS: Final[dict[Mode, int]] = {
    "read": os.O_RDONLY,
    "update": os.O_RDWR | os.O_CREAT,
    "replace": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "new": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}
_MAX_BUFFERS: Final = 1024  # Linux's IOV_MAX
_NO_FALLOCATE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_READ_AT_ONCE: Final = 4 * 1024 * 1024


class File(Protocol):
    """An open file. Positions are explicit: two threads may use it at once."""

    def pread(self, size: int, position: int) -> bytes:
        """Up to `size` bytes; fewer at the end of the file."""
        ...

    def pwritev(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        """How many bytes were written: perhaps not all."""
        ...

    def fdatasync(self) -> None: ...

    def fsync(self) -> None: ...

    def ftruncate(self, size: int) -> None: ...

    def fallocate(self, position: int, size: int) -> None:
        """Makes room for these bytes; they read as zeros, what is there already stays."""
        ...

    def size(self) -> int: ...

    def try_lock(self, *, shared: bool = False) -> bool:
        """Takes the file's exclusive lock, until it is closed; False if somebody else has it.

        shared: only looks whether somebody has it exclusively; a file that is open for reading will do.
        """
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """Directories and the names in them."""

    def open(self, path: Path, mode: Mode) -> File: ...

    def names(self, directory: Path) -> list[str]:
        """What lies in the directory, sorted.

        Raises:
            FileNotFoundError: there is no such directory.
        """
        ...

    def rename(self, source: Path, target: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def sync_directory(self, directory: Path) -> None:
        """Makes names durable: what was created, renamed or removed in it."""
        ...

    def make_directory(self, directory: Path) -> None:
        """With its parents; harmless if it is there."""
        ...

    def free_bytes(self, directory: Path) -> int: ...


class RealFile:
    """A file descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pread(self, size: int, position: int) -> bytes:
        return os.pread(self._fd, size, position)

    def pwritev(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        return os.pwritev(self._fd, buffers, position)

    def fdatasync(self) -> None:
        os.fdatasync(self._fd)

    def fsync(self) -> None:
        os.fsync(self._fd)

    def ftruncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def fallocate(self, position: int, size: int) -> None:
        try:
            os.posix_fallocate(self._fd, position, size)
        except OSError as error:
            # Some file systems cannot promise room. The log works without the promise; ENOSPC then comes at a write.
            if error.errno not in _NO_FALLOCATE:
                raise

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def try_lock(self, *, shared: bool = False) -> bool:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        # flock, for locks between two users in one process; lockf, because that is the lock Kafka's programs take.
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
            fcntl.lockf(self._fd, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealFiles:
    """The operating system's files."""

    def open(self, path: Path, mode: Mode) -> File:
        return RealFile(os.open(path, _FLAGS[mode] | os.O_CLOEXEC, 0o640))

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory))

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, directory: Path) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, directory: Path) -> None:
        missing = [parent for parent in (directory, *directory.parents) if not parent.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for made in missing:
            self.sync_directory(made.parent)

    def free_bytes(self, directory: Path) -> int:
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def failing_storage(doing: str, path: Path) -> Iterator[None]:
    """Turns the system's errors into `StorageFailed`, with a text for people."""
    try:
        yield
    except OSError as error:
        raise storage_failed(doing, path, error) from error


def storage_failed(doing: str, path: Path, error: OSError) -> StorageFailed:
    name = errno.errorcode.get(error.errno or 0, "no error number")
    lines = [f"{doing} failed: {error.strerror or error} ({name})", f"  where: {path}"]
    if error.errno == errno.ENOSPC:
        lines.append(
            "  why: the file system is full, and the reserve kept for this moment is used up or too small"
        )
        lines.append("  what to do: make room on this file system, then start the node again")
    elif error.errno in _NOT_ALLOWED:
        lines.append("  why: the system does not let this user do it")
        lines.append(
            "  what to do: start the node as the user who owns the directory, or give it that directory;"
        )
        lines.append("    the file system must not be mounted read-only")
    else:
        lines.append("  why: after such an error nobody knows what is on the disk, so nothing is tried again")
        lines.append("  what to do: look at the system's log for disk errors, then start the node again;")
        lines.append("    it reads everything anew and refuses if something it had promised to keep is gone")
    return StorageFailed("\n".join(lines))


def write_fully(file: File, buffers: Sequence[bytes | memoryview], position: int) -> int:
    """Writes all of it, however often the system stops half-way. Returns the position behind."""
    for first in range(0, len(buffers), _MAX_BUFFERS):
        group = buffers[first : first + _MAX_BUFFERS]
        size = sum(map(len, group))
        written = file.pwritev(group, position)
        position += written
        if written < size:
            position = _write_rest(file, memoryview(b"".join(group))[written:], position)
    return position


def _write_rest(file: File, rest: memoryview, position: int) -> int:
    while rest:
        written = file.pwritev([rest], position)
        if written <= 0:
            raise OSError(errno.EIO, "a write wrote nothing")
        position += written
        rest = rest[written:]
    return position


def read_fully(file: File, size: int, position: int) -> bytes:
    """`size` bytes, or as many as there are before the end of the file."""
    found = file.pread(size, position)
    if len(found) == size or not found:
        return found
    parts = [found]
    missing = size - len(found)
    position += len(found)
    while missing and (more := file.pread(missing, position)):
        parts.append(more)
        missing -= len(more)
        position += len(more)
    return b"".join(parts)


def read_whole(files: Files, path: Path) -> bytes:
    file = files.open(path, "read")
    try:
        return read_fully(file, file.size(), 0)
    finally:
        file.close()


def replace_file(files: Files, path: Path, content: bytes) -> None:
    """Write aside, fsync, rename, fsync the directory: a crash leaves the old file or the new one, whole."""
    aside = path.with_name(path.name + ".tmp")
    file = files.open(aside, "replace")
    try:
        write_fully(file, [content], 0)
        file.fsync()
    finally:
        file.close()
    files.rename(aside, path)
    files.sync_directory(path.parent)


def only_zeros(file: File, position: int, size: int) -> bool:
    """Whether nothing but zero bytes lies between `position` and `size`."""
    while position < size:
        chunk = read_fully(file, min(_READ_AT_ONCE, size - position), position)
        if not chunk:
            return True
        if chunk != bytes(len(chunk)):
            return False
        position += len(chunk)
    return True
