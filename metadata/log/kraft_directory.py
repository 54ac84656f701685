"""The metadata directory of one of Apache Kafka's controllers, as it lies on a disk: read, and made.

    meta.properties                          which cluster, which node, which disk
    bootstrap.checkpoint                     what a quorum without a log begins with
    __cluster_metadata-0/
      <20 digits>.log                        segments: batches in Kafka's form; an unclean end is cut at the next start
      <20 digits>-<10 digits>.checkpoint     snapshots
      quorum-state                           the epoch, and who leads or was voted for
      leader-epoch-checkpoint, partition.metadata

Whoever reads one only reads, and says so if a process holds its lock. Whoever makes one makes it where there is none.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from quorate.metadata.codec import MalformedRecord
from quorate.metadata.ids import (
    LOG_START,
    METADATA_TOPIC,
    METADATA_TOPIC_ID,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
    uuid_to_text,
)
from quorate.metadata.kafka_form import KafkaBatch, decode_batches
from quorate.metadata.log.files import RealFiles, replace_file
from quorate.metadata.log.layout import (
    BOOTSTRAP,
    META_PROPERTIES,
    segment_base,
    segment_name,
    snapshot_id_of,
    snapshot_name,
)
from quorate.metadata.log.refusals import StorageRefused

PARTITION: Final = f"{METADATA_TOPIC}-0"
_QUORUM_STATE: Final = "quorum-state"
_LOCK: Final = ".lock"
_HEADER_BYTES: Final = 61


class NotKrafts(StorageRefused):
    """This is no directory of one of Kafka's controllers, or it cannot be used."""


@attrs.frozen(kw_only=True)
class KraftDirectory:
    """What lies in the directory of a controller of Kafka's that does not run."""

    path: Path
    """Where its segments and snapshots are."""
    cluster_id: str
    node_id: NodeId
    segments: tuple[Path, ...]
    snapshot_id: OffsetAndEpoch | None
    """The newest."""
    end: OffsetAndEpoch
    """Where its log ends, cut off where it is not whole."""
    known_epoch: Epoch
    """The highest that it has heard of, by its quorum-state file too."""
    torn: str | None
    """What was left out at the end of its last segment, and why."""

    def snapshot_batches(self) -> Iterator[KafkaBatch]:
        """Of the newest snapshot, header and footer included; none if there is no snapshot."""
        if self.snapshot_id is not None:
            yield from decode_batches((self.path / snapshot_name(self.snapshot_id)).read_bytes())

    def log_batches(self) -> Iterator[KafkaBatch]:
        """Those behind the newest snapshot, as far as they are whole."""
        start = LOG_START.offset if self.snapshot_id is None else self.snapshot_id.offset
        for batch, _ in _log(self.segments):
            if batch is not None and batch.base_offset >= start:
                yield batch


def read_kraft_directory(directory: Path) -> KraftDirectory:
    """Looks at a directory (`metadata.log.dir`, or the one of the partition in it) and checks all of its newest state.

    Raises:
        NotKrafts: it is none, a process runs on it, or something before its end is damaged.
    """
    path = directory / PARTITION if (directory / PARTITION).is_dir() else directory
    meta_path = next(
        (one for one in (path / META_PROPERTIES, path.parent / META_PROPERTIES) if one.exists()), None
    )
    if meta_path is None or not path.is_dir():
        raise NotKrafts(
            "This is no directory of one of Kafka's controllers",
            where=directory,
            why=f"there is no {META_PROPERTIES} in it, and none beside it",
            remedy=f"name the metadata.log.dir of a stopped controller: the one that holds {PARTITION}",
        )
    meta = _pairs(meta_path)
    if "quorate.format" in meta:
        raise NotKrafts(
            "This directory is one of ours already",
            where=meta_path,
            why="it says quorate.format",
            remedy="start a controller on it, or copy it; there is nothing to import",
        )
    _check_stopped(meta_path.parent)
    names = os.listdir(path)
    segments = tuple(path / name for name in sorted(names) if segment_base(name) is not None)
    snapshots = sorted(
        (found for name in names if (found := snapshot_id_of(name)) is not None and found.offset > 0),
        key=lambda one: one.offset,
    )
    newest = snapshots[-1] if snapshots else None
    end, torn = _survey(path, segments, newest)
    return KraftDirectory(
        path=path,
        cluster_id=meta.get("cluster.id", ""),
        node_id=NodeId(int(meta.get("node.id", "-1"))),
        segments=segments,
        snapshot_id=newest,
        end=end,
        known_epoch=Epoch(max(end.epoch, _quorum_epoch(path))),
        torn=torn,
    )


def _check_stopped(directory: Path) -> None:
    try:
        fd = os.open(directory / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise NotKrafts(
            "A process runs on this directory",
            where=directory / _LOCK,
            why="its lock is held",
            remedy="stop that controller first: what it would still write would be missing",
        ) from error
    finally:
        os.close(fd)


def _survey(
    path: Path, segments: tuple[Path, ...], newest: OffsetAndEpoch | None
) -> tuple[OffsetAndEpoch, str | None]:
    """Where the log ends; that it has no hole, and never goes back."""
    if newest is not None:
        try:
            for _ in decode_batches((path / snapshot_name(newest)).read_bytes()):
                pass
        except MalformedRecord as error:
            raise _damaged(path / snapshot_name(newest), str(error)) from error
    end, torn = newest or LOG_START, None
    expected: Offset | None = None
    epoch = Epoch(0)
    for batch, why in _log(segments):
        if batch is None:
            torn = why
            break
        if expected is None and batch.base_offset > end.offset:
            raise _damaged(path, f"the log begins at {batch.base_offset}, behind the snapshot {newest}")
        if (expected is not None and batch.base_offset != expected) or batch.epoch < epoch:
            raise _damaged(
                path,
                f"a batch at {batch.base_offset} of epoch {batch.epoch} follows {expected} of epoch {epoch}",
            )
        expected, epoch = Offset(batch.base_offset + len(batch.records)), batch.epoch
        if batch.base_offset < end.offset < expected:
            raise _damaged(path, f"snapshot {newest} ends inside of the batch at {batch.base_offset}")
        if expected > end.offset:
            end = OffsetAndEpoch(expected, epoch)
    return end, torn


def _log(segments: tuple[Path, ...]) -> Iterator[tuple[KafkaBatch | None, str | None]]:
    """(batch, None) of each; (None, why) at the end of the last segment if that is not whole."""
    for segment in segments:
        batches = decode_batches(segment.read_bytes())
        while True:
            try:
                batch = next(batches, None)
            except MalformedRecord as error:
                if segment is not segments[-1]:
                    raise _damaged(segment, str(error)) from error
                yield None, f"{segment.name}: {error}"
                return
            if batch is None:
                break
            yield batch, None


def _damaged(where: Path, why: str) -> NotKrafts:
    return NotKrafts(
        "This log cannot be taken over",
        where=where,
        why=why,
        remedy="import another controller's directory: each of the voters has the whole log",
    )


def _quorum_epoch(path: Path) -> int:
    try:
        found = json.loads((path / _QUORUM_STATE).read_text())
    except (FileNotFoundError, ValueError):
        return 0
    epoch = found.get("leaderEpoch", 0) if isinstance(found, dict) else 0
    return epoch if isinstance(epoch, int) else 0


def _pairs(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


# ---- making one --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KraftPlan:
    """What is to be made. Batches are in Kafka's form already."""

    directory: Path
    cluster_id: str
    node_id: NodeId
    directory_id: uuid.UUID
    bootstrap: bytes
    snapshot: tuple[OffsetAndEpoch, Iterable[bytes]] | None
    log_start: Offset
    log: Iterable[bytes]
    epochs: tuple[tuple[Epoch, Offset], ...]
    """Where each epoch begins, of the log that follows."""
    epoch: Epoch
    """That its controllers know of at their first start; they are elected in later ones."""
    static_voters: tuple[NodeId, ...] | None
    """kraft.version 0: the ids that controller.quorum.voters will name. None: the voters stand in the log."""


def make_kraft_directory(plan: KraftPlan) -> None:
    """Makes it; `meta.properties` comes last, so a directory that has one is whole.

    Raises:
        NotKrafts: something lies there already.
    """
    if plan.directory.exists() and any(plan.directory.iterdir()):
        raise NotKrafts(
            "Something lies in the directory already",
            where=plan.directory,
            why="a directory is made only where there is none; nothing is ever written over",
            remedy="name another one, or move this one away",
        )
    files, path = RealFiles(), plan.directory / PARTITION
    path.mkdir(parents=True, exist_ok=True)
    if plan.snapshot is not None:
        snapshot_id, parts = plan.snapshot
        _write(path / snapshot_name(snapshot_id), parts)
    _write(path / segment_name(plan.log_start), plan.log)
    epochs = "".join(f"{epoch} {offset}\n" for epoch, offset in plan.epochs)
    replace_file(files, path / "leader-epoch-checkpoint", f"0\n{len(plan.epochs)}\n{epochs}".encode())
    topic = f"version: 0\ntopic_id: {uuid_to_text(METADATA_TOPIC_ID)}"
    replace_file(files, path / "partition.metadata", topic.encode())
    replace_file(files, path / _QUORUM_STATE, json.dumps(_quorum_state(plan), separators=(",", ":")).encode())
    replace_file(files, plan.directory / BOOTSTRAP, plan.bootstrap)
    lines = (
        "version=1",
        f"cluster.id={plan.cluster_id}",
        f"node.id={plan.node_id}",
        f"directory.id={uuid_to_text(plan.directory_id)}",
    )
    replace_file(files, plan.directory / META_PROPERTIES, ("\n".join(lines) + "\n").encode())


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _quorum_state(plan: KraftPlan) -> dict[str, object]:
    if plan.static_voters is None:
        return {
            "leaderId": -1,
            "leaderEpoch": plan.epoch,
            "votedId": -1,
            "votedDirectoryId": uuid_to_text(uuid.UUID(int=0)),
            "data_version": 1,
        }
    return {
        "clusterId": "",
        "leaderId": -1,
        "leaderEpoch": plan.epoch,
        "votedId": -1,
        "appliedOffset": 0,
        "currentVoters": [{"voterId": voter} for voter in plan.static_voters],
        "data_version": 0,
    }
