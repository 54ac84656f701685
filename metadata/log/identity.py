"""Whose directory this is: `meta.properties`, and the lock that keeps a second process out.

`meta.properties` is written last by `storage format`, so a directory that has it is complete. `quorate.format=1` in it
keeps Kafka's programs off our directories and ours off Kafka's.
"""

import os
import uuid
from pathlib import Path
from typing import Final, Self

import attrs

from quorate.metadata.ids import NodeId, uuid_from_text, uuid_to_text
from quorate.metadata.log.files import File, Files, failing_storage, read_fully, read_whole, write_fully
from quorate.metadata.log.layout import LOCK, META_PROPERTIES, segment_base, snapshot_id_of
from quorate.metadata.log.refusals import (
    REPLACE,
    DirectoryLocked,
    ForeignDirectory,
    HalfFormatted,
    IdentityLost,
    IdentityMismatch,
    NotFormatted,
)

FORMAT: Final = "1"
_FORMAT_KEY: Final = "quorate.format"
_RECOVERY_KEY: Final = "quorate.recovery.id"


@attrs.frozen(kw_only=True)
class MetaProperties:
    """Which cluster, which node, which disk."""

    cluster_id: str
    node_id: NodeId
    directory_id: uuid.UUID
    recovery_id: uuid.UUID | None = None
    """Which log of the cluster lies here: None unless its quorum was made anew without a majority of the old one."""

    def encode(self) -> bytes:
        lines = (
            "version=1",
            f"cluster.id={self.cluster_id}",
            f"node.id={self.node_id}",
            f"directory.id={uuid_to_text(self.directory_id)}",
            f"{_FORMAT_KEY}={FORMAT}",
            *(() if self.recovery_id is None else (f"{_RECOVERY_KEY}={uuid_to_text(self.recovery_id)}",)),
        )
        return ("\n".join(lines) + "\n").encode()


def read_meta(files: Files, directory: Path) -> MetaProperties:
    """The identity of a formatted directory.

    Raises:
        NotFormatted, HalfFormatted, IdentityLost, ForeignDirectory: there is none, each with its own way out.
        StorageFailed: the disk does not answer.
    """
    path = directory / META_PROPERTIES
    with failing_storage("Reading the directory", directory):
        try:
            names = files.names(directory)
        except FileNotFoundError:
            raise _not_there(directory, "the directory does not exist") from None
        except NotADirectoryError:
            raise _not_there(directory, "that is the name of a file, or goes through one") from None
        if META_PROPERTIES not in names:
            raise _without_meta(directory, names)
        return _parse(read_whole(files, path), path)


def _not_there(directory: Path, why: str) -> NotFormatted:
    return NotFormatted(
        "There is no metadata directory yet",
        where=directory,
        why=why,
        remedy="run `quorate storage format` with this node's configuration, once, before its first start",
    )


def _without_meta(directory: Path, names: list[str]) -> NotFormatted | HalfFormatted | IdentityLost:
    data = [name for name in names if segment_base(name) is not None]
    data += [name for name in names if (found := snapshot_id_of(name)) is not None and found.offset > 0]
    if data:
        return IdentityLost(
            f"{META_PROPERTIES} is missing",
            where=directory,
            why=f"data of some node lies there ({data[0]}), but nothing says which node and which cluster",
            remedy="restore the file from a backup of this directory, or:\n" + REPLACE,
        )
    if names and names != [LOCK]:
        return HalfFormatted(
            "The directory is only half formatted",
            where=directory,
            why=f"`storage format` did not come to its end: {META_PROPERTIES}, which it writes last, is missing",
            remedy="run `quorate storage format` again with the same arguments; nothing is lost by it",
        )
    return NotFormatted(
        "The metadata directory is not formatted",
        where=directory,
        why="it is empty",
        remedy="run `quorate storage format` with this node's configuration, once, before its first start",
    )


def _parse(content: bytes, path: Path) -> MetaProperties:
    pairs: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith("#"):
            pairs[key.strip()] = value.strip()
    if _FORMAT_KEY not in pairs and "cluster.id" in pairs:
        raise ForeignDirectory(
            "This directory belongs to Apache Kafka",
            where=path,
            why=f"{META_PROPERTIES} has no {_FORMAT_KEY}, so another program wrote it",
            remedy="give this node an empty directory (metadata.log.dir)",
        )
    if pairs.get(_FORMAT_KEY, FORMAT) != FORMAT:
        raise ForeignDirectory(
            f"This directory has format {pairs[_FORMAT_KEY]}, this program reads format {FORMAT}",
            where=path,
            why="a later release wrote it",
            remedy="start the release that wrote it",
        )
    try:
        if not pairs["node.id"].isdecimal():
            raise ValueError(f"node.id={pairs['node.id']} is no number")
        return MetaProperties(
            cluster_id=pairs["cluster.id"],
            node_id=NodeId(int(pairs["node.id"])),
            directory_id=uuid_from_text(pairs["directory.id"]),
            recovery_id=uuid_from_text(pairs[_RECOVERY_KEY]) if _RECOVERY_KEY in pairs else None,
        )
    except (KeyError, ValueError) as problem:
        missing = f"{problem} is missing" if isinstance(problem, KeyError) else str(problem)
        raise IdentityLost(
            f"{META_PROPERTIES} is damaged",
            where=path,
            why=missing,
            remedy="restore the file from a backup of this directory, or:\n" + REPLACE,
        ) from None


def check_identity(meta: MetaProperties, directory: Path, *, node_id: NodeId, cluster_id: str | None) -> None:
    """Whether the directory is this node's.

    Raises:
        IdentityMismatch: it is not; the text has both values.
    """
    where = directory / META_PROPERTIES
    if meta.node_id != node_id:
        raise IdentityMismatch(
            f"This directory belongs to node {meta.node_id}, the configuration is of node {node_id}",
            where=where,
            why=f"node.id={meta.node_id} stands in {META_PROPERTIES}, node.id={node_id} in the configuration",
            remedy=f"if this is node {meta.node_id}'s disk, correct node.id in the configuration;\n"
            f"if it is node {node_id}'s configuration, correct metadata.log.dir",
        )
    if cluster_id is not None and meta.cluster_id != cluster_id:
        raise IdentityMismatch(
            f"This directory belongs to cluster {meta.cluster_id}, not to {cluster_id}",
            where=where,
            why=f"cluster.id={meta.cluster_id} stands in {META_PROPERTIES}, {cluster_id} was expected",
            remedy="give each cluster its own directory (metadata.log.dir), or use the cluster id of this one",
        )


def locked_by(files: Files, directory: Path) -> str | None:
    """The process that runs on a directory, as it wrote itself down; None: nobody does. Changes nothing."""
    path = directory / LOCK
    with failing_storage("Looking at the lock", path):
        try:
            file = files.open(path, "read")
        except FileNotFoundError:
            return None
        try:
            return None if file.try_lock(shared=True) else _holder(file)
        finally:
            file.close()


def _holder(file: File) -> str:
    return read_fully(file, 32, 0).decode("ascii", "replace").strip("\0\n ") or "unknown"


class DirectoryLock:
    """Held while a process runs on the directory; the system releases it when the process ends, however it ends."""

    def __init__(self, file: File) -> None:
        self._file = file

    @classmethod
    def take(cls, files: Files, directory: Path) -> Self:
        """Takes it, and leaves this process's id in it.

        Raises:
            DirectoryLocked: somebody else has it.
        """
        path = directory / LOCK
        with failing_storage("Locking the directory", path):
            file = files.open(path, "update")
            if not file.try_lock():
                holder = _holder(file)
                file.close()
                raise DirectoryLocked(
                    "Another process runs on this directory",
                    where=path,
                    why=f"its lock is held by process {holder}",
                    remedy="stop that process, or give this node another directory (metadata.log.dir)",
                )
            file.ftruncate(0)
            write_fully(file, [f"{os.getpid()}\n".encode()], 0)
        return cls(file)

    def release(self) -> None:
        self._file.close()
