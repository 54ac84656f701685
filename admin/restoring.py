"""Backups: what `snapshot save` writes, and what `storage restore` makes of it.

A backup is one line of JSON that says what follows, and then a snapshot, byte for byte as replicas ship them:

    {"quorate_backup": 1, "cluster_id": …, "snapshot_id": …, "sha256": …, "image_digest": …, …}

The SHA-256 is that of the snapshot's bytes. The snapshot's own footer holds another one, and the image digest is that
of what the records amount to: a backup is good if all three agree.
"""

import hashlib
import json
import pathlib
import random
import uuid
from collections.abc import Sequence
from typing import Any, Final

import attrs

from quorate.admin.errors import Refused
from quorate.admin.output import plural
from quorate.metadata.batch import CorruptBatch, RecordBatch, decode_batches
from quorate.metadata.ids import (
    FIRST_FREE_UUID,
    ZERO_UUID,
    Endpoint,
    Epoch,
    NodeId,
    Offset,
    OffsetAndEpoch,
    uuid_to_text,
)
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import digest
from quorate.metadata.log.directory import FormatPlan, InitialVoter, Quorum, first_voters
from quorate.metadata.log.files import RealFiles, replace_file
from quorate.metadata.log.identity import MetaProperties
from quorate.metadata.log.new_quorum import (
    OFFSETS_SKIPPED,
    Restoration,
    restore_directory,
    sealed,
    with_recovery,
)
from quorate.metadata.log.snapshot_format import BadSnapshot, SnapshotChecker
from quorate.metadata.quorum.recoveries import first_epoch
from quorate.metadata.records import QuorumRecoveryRecord, VotersRecord

_FORMAT: Final = 1
_HEAD: Final = "quorate_backup"
_MOST_HEAD_BYTES: Final = 64 * 1024
RESTORE: Final = "restore"


@attrs.frozen(kw_only=True)
class Backup:
    """A backup, checked."""

    cluster_id: str
    snapshot_id: OffsetAndEpoch
    image: MetadataImage
    sha256: str
    image_digest: str
    records: int
    size: int
    """Of the snapshot, in bytes."""

    def document(self) -> dict[str, Any]:
        return {
            "cluster_id": self.cluster_id,
            "snapshot_id": str(self.snapshot_id),
            "records": self.records,
            "bytes": self.size,
            "time_ms": self.image.provenance.append_time_ms,
            "topics": self.image.topics.topic_count,
            "partitions": self.image.topics.partition_count,
            "sha256": self.sha256,
            "image_digest": self.image_digest,
        }

    def lines(self) -> list[str]:
        topics = self.image.topics
        return [
            f"Cluster       {self.cluster_id}",
            f"Snapshot      {self.snapshot_id}: {plural(self.records, 'record')}, {self.size:,} bytes",
            f"Topics        {topics.topic_count:,}, with {plural(topics.partition_count, 'partition')}",
            f"SHA-256       {self.sha256}",
            f"Image digest  {self.image_digest}",
        ]


def write_backup(
    path: pathlib.Path, cluster_id: str, image: MetadataImage, voters: VotersRecord | None
) -> Backup:
    """Writes the backup of a state, reads it again, and compares.

    Raises:
        Refused: something lies there already, or what was read is not what was written.
    """
    if path.exists():
        raise Refused(
            "The file exists already.",
            where=str(path),
            why="a backup is never written over another one",
            remedy="name another file, or move this one away",
        )
    snapshot_id = OffsetAndEpoch(Offset(image.offset + 1), Epoch(image.provenance.epoch))
    content = b"".join(batch.data for batch in sealed(snapshot_id, image, voters))
    head = {
        _HEAD: _FORMAT,
        "cluster_id": cluster_id,
        "snapshot_id": {"end_offset": snapshot_id.offset, "epoch": snapshot_id.epoch},
        "sha256": hashlib.sha256(content).hexdigest(),
        "image_digest": digest(image).hex(),
    }
    replace_file(RealFiles(), path.absolute(), json.dumps(head).encode() + b"\n" + content)
    return read_backup(path)


def read_backup(path: pathlib.Path) -> Backup:
    """Reads all of it.

    Raises:
        Refused: it is no backup, or not a whole one.
    """
    data = path.read_bytes()
    first, _, content = data[:_MOST_HEAD_BYTES].partition(b"\n")
    try:
        head = json.loads(first)
        if head[_HEAD] != _FORMAT:
            raise _bad(path, f"it has format {head[_HEAD]}, this program reads {_FORMAT}")
        point = head["snapshot_id"]
        snapshot_id = OffsetAndEpoch(Offset(point["end_offset"]), Epoch(point["epoch"]))
        cluster_id, expected = head["cluster_id"], (head["sha256"], head["image_digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(path, "it does not begin with the line of a backup") from error
    content = data[len(first) + 1 :]
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected[0]:
        raise _bad(path, f"its SHA-256 is {sha256}, its first line says {expected[0]}")
    image, records = _loaded(path, snapshot_id, content)
    found = digest(image).hex()
    if found != expected[1]:
        raise _bad(path, f"its records amount to the image digest {found}, its first line says {expected[1]}")
    return Backup(
        cluster_id=cluster_id,
        snapshot_id=snapshot_id,
        image=image,
        sha256=sha256,
        image_digest=found,
        records=records,
        size=len(content),
    )


def _loaded(path: pathlib.Path, snapshot_id: OffsetAndEpoch, content: bytes) -> tuple[MetadataImage, int]:
    load, checker = SnapshotLoad(snapshot_id), SnapshotChecker(snapshot_id)
    try:
        batches: list[RecordBatch] = list(decode_batches(content))
        for batch in batches:
            checker.add(batch)
        checked = checker.finish()
    except (CorruptBatch, BadSnapshot) as error:
        raise _bad(path, str(error)) from error
    for _ in load.steps(batches):
        pass
    return load.image(), checked.data_records


def _bad(path: pathlib.Path, why: str) -> Refused:
    return Refused(
        "This is no backup that could be restored.",
        where=str(path),
        why=why,
        remedy="use another copy of it, or another backup (`quorate snapshot verify` checks one)",
    )


# --- restoring


@attrs.frozen(kw_only=True)
class Restored:
    """What was made of a backup."""

    backup: Backup
    directory: pathlib.Path
    meta: MetaProperties
    snapshot_id: OffsetAndEpoch
    voters: VotersRecord
    record: QuorumRecoveryRecord


def restore(
    backup: Backup,
    *,
    directory: pathlib.Path,
    node_id: NodeId,
    endpoint: Endpoint | None,
    initial: Sequence[InitialVoter],
    cluster_id: str | None,
    epoch_above: int,
    rng: random.Random,
) -> Restored:
    """Makes the directory of one of the new voters. All of them get the same bytes, whoever is first.

    Raises:
        StorageRefused, StorageFailed: see `new_quorum.restore_directory`.
    """
    plan = FormatPlan(
        directory=directory,
        cluster_id=cluster_id or backup.cluster_id,
        node_id=node_id,
        listener="CONTROLLER" if endpoint is None else endpoint.name,
        is_controller=True,
        quorum=Quorum.INITIAL_CONTROLLERS if initial else Quorum.STANDALONE,
        endpoint=endpoint,
        initial=initial,
    )
    directory_id, voters = first_voters(plan, rng)
    if voters is None:
        raise Refused("The new quorum would have no voters.", where=str(directory))
    epoch = first_epoch([backup.snapshot_id.epoch, epoch_above])
    snapshot_id = OffsetAndEpoch(Offset(backup.snapshot_id.offset + OFFSETS_SKIPPED), epoch)
    record = _record(backup, plan.cluster_id, voters, epoch)
    meta = MetaProperties(
        cluster_id=plan.cluster_id,
        node_id=node_id,
        directory_id=directory_id,
        recovery_id=record.recovery_id,
    )
    image = with_recovery(backup.image, record)
    restore_directory(
        Restoration(target=directory, meta=meta, snapshot_id=snapshot_id, voters=voters, image=image)
    )
    return Restored(
        backup=backup,
        directory=directory,
        meta=meta,
        snapshot_id=snapshot_id,
        voters=voters,
        record=record,
    )


def _record(backup: Backup, cluster_id: str, voters: VotersRecord, epoch: Epoch) -> QuorumRecoveryRecord:
    """The same for every voter of the new quorum: nothing in it is of this moment or this machine."""
    before = backup.image.recoveries
    return QuorumRecoveryRecord(
        recovery_id=_derived_id(f"{backup.sha256} {cluster_id} {epoch} {voters}"),
        previous_recovery_id=before[-1].recovery_id if before else ZERO_UUID,
        kind=RESTORE,
        time_ms=backup.image.provenance.append_time_ms,
        operator="",
        source=backup.sha256,
        source_directory_id=ZERO_UUID,
        source_end_offset=backup.snapshot_id.offset,
        source_epoch=backup.snapshot_id.epoch,
        epoch=epoch,
        digest=bytes.fromhex(backup.image_digest),
        shown=(),
    )


def _derived_id(text: str) -> uuid.UUID:
    """An id that every voter finds by itself."""
    drawn = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])
    while drawn.int < FIRST_FREE_UUID or uuid_to_text(drawn).startswith("-"):
        drawn = uuid.UUID(bytes=hashlib.sha256(drawn.bytes).digest()[:16])
    return drawn


def document(done: Restored) -> dict[str, Any]:
    return {
        "directory": str(done.directory),
        "cluster_id": done.meta.cluster_id,
        "node_id": done.meta.node_id,
        "directory_id": uuid_to_text(done.meta.directory_id),
        "recovery_id": uuid_to_text(done.record.recovery_id),
        "snapshot_id": str(done.snapshot_id),
        "voters": [
            {"id": one.voter_id, "directory_id": uuid_to_text(one.voter_directory_id)}
            for one in done.voters.voters
        ],
        "backup": done.backup.document(),
    }


def lines(done: Restored) -> list[str]:
    voters = ", ".join(str(one.voter_id) for one in done.voters.voters)
    return [
        *done.backup.lines(),
        "",
        f"Restored {done.directory} for controller {done.meta.node_id} of cluster {done.meta.cluster_id}.",
        f"Voters {voters}; the log goes on behind snapshot {done.snapshot_id}.",
        f"Recovery id {uuid_to_text(done.record.recovery_id)}. Brokers and spare controllers of Quorate with that",
        "cluster id begin anew by themselves when they find it.",
    ]
