"""Disks of real nodes that are small, fill up, are slow to flush, or cannot flush at all."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from typing import Final

import attrs

from quorate.admin.cluster_files import NodeFiles

MEBIBYTE: Final = 1024 * 1024
_FILLER: Final = "somebody-elses-file"


class Impossible(Exception):
    """This machine cannot do it; the text says why."""


class SmallDisks:
    """Puts directories of nodes on file systems of their own. `unmount` takes them away again."""

    def __init__(self, size_mib: int) -> None:
        self._size_mib = size_mib
        self._mounted: list[pathlib.Path] = []

    @staticmethod
    def check() -> None:
        """Raises Impossible where it is plain that nothing can be mounted."""
        if shutil.which("mount") is None:
            raise Impossible("mount is not installed")
        if os.geteuid() != 0:
            raise Impossible("only root may mount a small file system")

    def put(self, node: NodeFiles) -> None:
        """Before the node is started.

        Raises:
            Impossible: the system does not allow it.
        """
        self.check()
        aside = node.data.with_name(node.data.name + ".aside")
        node.data.rename(aside)
        node.data.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={self._size_mib}m", "quorate-test", str(node.data)]
        made = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            node.data.rmdir()
            aside.rename(node.data)
            raise Impossible(f"no file system can be mounted here: {made.stderr.strip()}")
        self._mounted.append(node.data)
        for file in aside.iterdir():
            (node.data / file.name).write_bytes(file.read_bytes())
        shutil.rmtree(aside)

    def unmount(self, *, keep: bool = False) -> None:
        """`keep`: what lies on them goes to the directories below."""
        for path in self._mounted:
            aside = path.with_name(path.name + ".kept")
            if keep:
                empty(path)
                shutil.copytree(path, aside)
            subprocess.run(["umount", str(path)], check=True)
            if keep:
                path.rmdir()
                aside.rename(path)
        self._mounted.clear()


def fill(directory: pathlib.Path, left_bytes: int) -> pathlib.Path:
    """Somebody else's file takes the room of a node's disk until only so much is left."""
    found = os.statvfs(directory)
    wanted = found.f_bavail * found.f_frsize - left_bytes
    path = directory / _FILLER
    if wanted > 0:
        with path.open("wb") as file, contextlib.suppress(OSError):  # the node may take the last of it
            os.posix_fallocate(file.fileno(), 0, wanted)
    return path


def empty(directory: pathlib.Path) -> None:
    """Takes that file away, if it is there."""
    (directory / _FILLER).unlink(missing_ok=True)


@attrs.frozen(kw_only=True)
class FaultyFsync:
    """A library that nodes are started with, and the directory in which their processes' faults are written down."""

    library: pathlib.Path
    told: pathlib.Path

    @classmethod
    def build(cls, directory: pathlib.Path) -> "FaultyFsync":
        """Compiles it.

        Raises:
            Impossible: there is no compiler.
        """
        if shutil.which("gcc") is None:
            raise Impossible("gcc is not installed")
        library, told = directory / "faulty_fsync.so", directory / "faulty"
        source = pathlib.Path(__file__).parent / "faulty_fsync.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        told.mkdir()
        return cls(library=library, told=told)

    @property
    def environment(self) -> dict[str, str]:
        """What a node must be started with."""
        return {"LD_PRELOAD": str(self.library), "FAULTY_FSYNC": str(self.told)}

    def fail(self, pid: int) -> None:
        """Every further flush of that process fails."""
        (self.told / f"{pid}.fails").touch()

    def slow(self, pid: int, ms: int) -> None:
        """Every further flush of that process takes so much longer."""
        aside = self.told / f"{pid}.aside"
        aside.write_text(str(ms))
        aside.rename(self.told / f"{pid}.slow")

    def heal(self, pid: int) -> None:
        for what in ("fails", "slow"):
            (self.told / f"{pid}.{what}").unlink(missing_ok=True)
