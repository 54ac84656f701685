"""Why a node does not start on a directory, or `storage format` does not write to it.

Each refusal is an exception of its own kind whose text says what, where, why and what to do. None of them is ever
skipped or mended silently: a replica that is not sure of its own disk would vote with somebody else's memory.
"""

from pathlib import Path

from quorate.metadata.ids import Offset

REPLACE: str = (
    "this replica can no longer keep its promises, so it must come back as a new one:\n"
    "move this directory away (keep it until the cluster is healthy), run `quorate storage format`\n"
    "on an empty one, start the node, and if it was a voter run `quorate quorum replace-controller`;\n"
    "everything is then fetched from the quorum. If no quorum is left, restore a backup of the directory"
)
"""The way out after lost data."""


class StorageRefused(Exception):
    """What, where, why, what to do; `str()` of it is the text for people."""

    def __init__(self, what: str, *, where: Path | str, why: str, remedy: str) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy
        super().__init__(_lines(what, where=str(where), why=why, remedy=remedy))


def _lines(what: str, *, where: str, why: str, remedy: str) -> str:
    def part(title: str, text: str) -> str:
        return f"  {title}: " + text.replace("\n", "\n    ")

    return "\n".join([what, part("where", where), part("why", why), part("what to do", remedy)])


class NotFormatted(StorageRefused):
    """Nothing of ours is there."""


class HalfFormatted(StorageRefused):
    """`storage format` did not come to its end."""


class IdentityLost(StorageRefused):
    """Data is there, `meta.properties` is gone or unreadable."""


class ForeignDirectory(StorageRefused):
    """Another program's directory, or one of a later format."""


class IdentityMismatch(StorageRefused):
    """The directory belongs to another cluster or another node."""


class AlreadyFormatted(StorageRefused):
    """`storage format` on a directory that has an identity."""


class FormatRefused(StorageRefused):
    """`storage format` was asked for something that contradicts itself."""


class DirectoryLocked(StorageRefused):
    """Another process runs on the directory."""


class QuorumStateRefused(StorageRefused):
    """The memory of votes is gone, damaged, or older than the log."""


class SnapshotRefused(StorageRefused):
    """A snapshot that is not whole."""


class LogStartsTooLate(StorageRefused):
    """Records between the newest snapshot and the log's start are missing."""


class CorruptLog(StorageRefused):
    """The log is not what this node wrote: a bad batch below the flushed bound, a hole, epochs going backwards.

    `offset` is the first one that is wrong, `position` the byte in the file `where`.
    """

    def __init__(
        self, what: str, *, path: Path, position: int, offset: Offset, why: str, remedy: str = REPLACE
    ) -> None:
        self.path = path
        self.position = position
        self.offset = offset
        super().__init__(what, where=f"{path}, byte {position}, offset {offset}", why=why, remedy=remedy)


class UnknownRecord(CorruptLog):
    """An intact batch whose records this program cannot read."""
