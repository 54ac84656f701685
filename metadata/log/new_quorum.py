"""Directories of a quorum that is made anew: from one node's log, or from a backup (`quorate storage recover|restore`).

Nothing that lies on a disk is changed. A recovered directory is a copy of the chosen one with two batches more; it is
complete when its `meta.properties` is there, which comes last, and only then it takes the other's name, if that is
wanted, and the other one gets a name that says what it was. Both keep everything: going back is renaming.

A restored directory holds one snapshot, the backup's state with new voters, and an empty log behind it. Its offsets
and epochs begin far behind the backup's: whatever the old cluster did after the backup was made, it did elsewhere.
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from quorate.metadata import features
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, OffsetAndEpoch, ReplicaKey
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.writer import image_records
from quorate.metadata.log.directory import first_snapshot
from quorate.metadata.log.files import (
    Files,
    RealFiles,
    failing_storage,
    read_fully,
    replace_file,
    write_fully,
)
from quorate.metadata.log.identity import DirectoryLock, MetaProperties
from quorate.metadata.log.layout import (
    BOOTSTRAP,
    FLUSHED,
    LOCK,
    META_PROPERTIES,
    segment_base,
    snapshot_id_of,
)
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.log.refusals import AlreadyFormatted, StorageRefused
from quorate.metadata.log.segments import SegmentedLog
from quorate.metadata.log.snapshot_files import FileSnapshotWriter
from quorate.metadata.log.snapshot_format import MAX_RECORDS_PER_BATCH, SnapshotComposer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.recoveries import first_batches
from quorate.metadata.records import KRaftVersionRecord, QuorumRecoveryRecord, Voter, VotersRecord

OFFSETS_SKIPPED: Final = 1_000_000
"""Between the end of a backup and the first offset of what is restored from it."""
_COPIED_AT_ONCE: Final = 4 * 1024 * 1024


class SourceChanged(StorageRefused):
    """The directory is not what it was when it was looked at."""


@attrs.frozen(kw_only=True)
class Recovery:
    """What is to be made of a log. `meta`: the identity of the new directory, with a directory id of its own."""

    source: Path
    target: Path
    end: OffsetAndEpoch
    """Where the source's log ends, as it was looked at."""
    meta: MetaProperties
    voter: Voter
    record: QuorumRecoveryRecord
    transaction_open: bool
    append_time_ms: int


def recover_directory(plan: Recovery, files: Files | None = None) -> None:
    """Makes the target, which must be missing or empty; only reads the source, and holds its lock meanwhile.

    Raises:
        AlreadyFormatted: something lies in the target. DirectoryLocked: a process runs on the source.
        SourceChanged: its log does not end where it did.
        StorageRefused: as a node that starts on it. StorageFailed: the disk does not answer.
    """
    files = files or RealFiles()
    source = DirectoryLock.take(files, plan.source)
    try:
        with making(files, plan.target, plan.meta):
            _copy(files, plan.source, plan.target)
            _append(files, plan)
            # Leader of an epoch that it never leads: it starts as Resigned, and raises the epoch.
            own = ReplicaKey(plan.meta.node_id, plan.meta.directory_id)
            election = ElectionState(Epoch(plan.record.epoch), own.id, own)
            QuorumStateFile(files, plan.target).write(election)
    finally:
        source.release()


def exchange(directory: Path, made: Path, aside: Path, files: Files | None = None) -> None:
    """`directory` becomes `aside`, `made` becomes `directory`; a crash in between leaves both under a name that tells.

    Raises:
        AlreadyFormatted: something has the name `aside`. StorageFailed: the names could not be changed.
    """
    files = files or RealFiles()
    if aside.exists():
        raise _occupied(aside)
    with failing_storage("Exchanging the directories", directory):
        files.rename(directory, aside)
        files.rename(made, directory)
        files.sync_directory(directory.parent)


@attrs.frozen(kw_only=True)
class Restoration:
    """What is to be made of a backup, for one of the new voters (or the only one)."""

    target: Path
    meta: MetaProperties
    snapshot_id: OffsetAndEpoch
    voters: VotersRecord
    image: MetadataImage
    """The backup's state with the audit record in it."""


def restore_directory(plan: Restoration, files: Files | None = None) -> None:
    """Makes the target, which must be missing or empty.

    Raises:
        AlreadyFormatted: something lies there. StorageFailed: the disk does not answer.
    """
    files = files or RealFiles()
    with making(files, plan.target, plan.meta), failing_storage("Restoring the directory", plan.target):
        level = plan.image.features.metadata_version
        first = first_snapshot(None, features.format_records(level))
        replace_file(files, plan.target / BOOTSTRAP, first)
        _write_snapshot(files, plan)
        QuorumStateFile(files, plan.target).write(ElectionState(plan.snapshot_id.epoch))


def with_recovery(image: MetadataImage, record: QuorumRecoveryRecord) -> MetadataImage:
    """The state with the audit record in it."""
    delta = MetadataDelta(image)
    delta.replay(record)
    return delta.apply(image.provenance)


def sealed(
    snapshot_id: OffsetAndEpoch, image: MetadataImage, voters: VotersRecord | None
) -> Iterator[RecordBatch]:
    """The batches of a snapshot of an image."""
    wall_ms = image.provenance.append_time_ms
    composer = SnapshotComposer(snapshot_id, wall_ms=wall_ms)
    yield composer.header(
        last_contained_log_timestamp=wall_ms,
        kraft_version=None if voters is None else KRaftVersionRecord(k_raft_version=1),
        voters=voters,
    )
    records = image_records(image)
    while group := list(itertools.islice(records, MAX_RECORDS_PER_BATCH)):
        yield composer.data(group)
    yield composer.footer()


@contextlib.contextmanager
def making(files: Files, target: Path, meta: MetaProperties) -> Iterator[None]:
    """A directory that is nobody's until its identity is written, last."""
    with failing_storage("Making the directory", target):
        files.make_directory(target)
        if [name for name in files.names(target) if name != LOCK]:
            raise _occupied(target)
        lock = DirectoryLock.take(files, target)
        try:
            yield
            replace_file(files, target / META_PROPERTIES, meta.encode())
        finally:
            lock.release()


def _occupied(target: Path) -> AlreadyFormatted:
    return AlreadyFormatted(
        "Something lies in the directory already",
        where=target,
        why="a directory is made only where there is none; nothing is ever written over",
        remedy="name another one, or move this one away; what was left by a command that did not come to its end has\n"
        "no meta.properties and may be removed",
    )


def _copy(files: Files, source: Path, target: Path) -> None:
    with failing_storage("Copying the directory", source):
        for name in files.names(source):
            is_log = segment_base(name) is not None or snapshot_id_of(name) is not None
            if is_log or name in (FLUSHED, BOOTSTRAP):
                _copy_file(files, source / name, target / name)
        files.sync_directory(target)


def _copy_file(files: Files, source: Path, target: Path) -> None:
    reading, writing = files.open(source, "read"), files.open(target, "new")
    try:
        position = 0
        while chunk := read_fully(reading, _COPIED_AT_ONCE, position):
            position = write_fully(writing, [chunk], position)
        writing.fsync()
    finally:
        reading.close()
        writing.close()


def _append(files: Files, plan: Recovery) -> None:
    log, _ = SegmentedLog.open(files, plan.target)
    try:
        end = log.summary().end
        if end != plan.end:
            raise SourceChanged(
                "The log is not the one that was looked at",
                where=plan.source,
                why=f"it ends at {end} now, and ended at {plan.end} when it was compared with the others",
                remedy="see that nothing writes there, remove what was made, and run the command again",
            )
        batches = first_batches(
            end,
            plan.voter,
            plan.record,
            transaction_open=plan.transaction_open,
            append_time_ms=plan.append_time_ms,
        )
        log.append(batches, end.offset)
        log.flush()
    finally:
        log.close()


def _write_snapshot(files: Files, plan: Restoration) -> None:
    writer = FileSnapshotWriter(files, plan.target, plan.snapshot_id, lambda held: None, failing_storage)
    for batch in sealed(plan.snapshot_id, plan.image, plan.voters):
        writer.append(batch)
    writer.finish()
