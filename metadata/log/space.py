"""Room on the disk: a reserve to finish with when the file system is full."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quorate.metadata.log.files import Files
from quorate.metadata.log.layout import RESERVE

_T = TypeVar("_T")


class Reserve:
    """A file that holds room and nothing else.

    When a write finds the disk full the file is given up and the write is done again, once. Until it is held again
    `free_bytes` says 0, so the node refuses writes and hands over, with room left to remember its votes.
    """

    def __init__(self, files: Files, directory: Path, size: int) -> None:
        self._files = files
        self._directory = directory
        self._path = directory / RESERVE
        self._size = size
        self._held = False

    def ensure(self) -> bool:
        """Takes the room, unless it is held already; False: there is none."""
        if self._held:
            return True
        file = self._files.open(self._path, "update")
        try:
            file.fallocate(0, self._size)
            self._held = True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            file.close()
        if not self._held:
            self._files.remove(self._path)  # it may have taken the very last blocks
        return self._held

    def release(self) -> bool:
        """Gives the room up; False: it is gone already."""
        if not self._held:
            return False
        self._held = False
        self._files.remove(self._path)
        self._files.sync_directory(self._directory)  # only then the file system hands the blocks out again
        return True

    def lean_on(self, write: Callable[[], _T]) -> _T:
        """Does `write`, and if the disk is full a second time from the reserve. It must bear being done twice."""
        try:
            return write()
        except OSError as error:
            if error.errno != errno.ENOSPC or not self.release():
                raise
            return write()

    def free_bytes(self) -> int:
        """What is left for others; 0 while the reserve is given up. It is taken again as soon as there is room for it:
        else a node whose disk was full for a moment would refuse everything until it is restarted."""
        free = self._files.free_bytes(self._directory)
        if not self._held and free > self._size and self.ensure():
            free = self._files.free_bytes(self._directory)
        return free if self._held else 0
