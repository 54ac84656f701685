"""Whether a metadata directory is whole, and whether its snapshots and its log tell the same story.

`describe_directory` refuses what must never be skipped: damaged batches below the flushed bound, holes, snapshots
that fail their footer. Beyond that, every record is replayed, and at each snapshot the image from the log must equal
the image from the snapshot: a snapshot that is intact and wrong would be found in no other way.
"""

import pathlib

import attrs

from quorate.admin.errors import Refused
from quorate.admin.image_building import ImageBuilder
from quorate.admin.offline_log import LogFiles
from quorate.metadata.ids import LOG_START, Offset, OffsetAndEpoch
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import digest
from quorate.metadata.log.directory import DirectoryInfo, describe_directory
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.layout import BOOTSTRAP, META_PROPERTIES
from quorate.metadata.log.quorum_state_file import QuorumStateFile, check_against_log
from quorate.metadata.log.snapshot_files import SnapshotReader


@attrs.frozen(kw_only=True)
class VerifiedSnapshot:
    """A whole snapshot; `agrees`: with the log, None where the log no longer reaches back to compare."""

    id: OffsetAndEpoch
    records: int
    digest: str
    agrees: bool | None


@attrs.frozen(kw_only=True)
class Verified:
    """What was read, and what it amounts to."""

    directory: pathlib.Path
    info: DirectoryInfo
    snapshots: tuple[VerifiedSnapshot, ...]
    offset: int
    digest: str


def verify_directory(directory: pathlib.Path) -> Verified:
    """Reads everything, changes nothing.

    Raises:
        StorageRefused: what a node would refuse to start on.
        Refused: a snapshot that differs from the log.
        InvariantViolated, ReplayError: records that cannot be true.
    """
    if not (directory / META_PROPERTIES).exists():
        LogFiles.at(directory)  # says what is missing where nothing of ours is
    info = describe_directory(directory)
    _check_votes(directory, info)
    snapshots = tuple(
        _verify_snapshot(directory, snapshot_id, info)
        for snapshot_id in info.log.snapshots
        if snapshot_id.offset
    )
    for one in snapshots:
        if one.agrees is False:
            raise Refused(
                f"Snapshot {one.id} differs from the log.",
                where=str(directory),
                why="both are intact, and the records before the snapshot's end amount to something else",
                remedy="compare with another node's directory; keep both, and report it",
            )
    image = LogFiles.at(directory).image()
    return Verified(
        directory=directory,
        info=info,
        snapshots=snapshots,
        offset=image.offset,
        digest=digest(image).hex(),
    )


def _check_votes(directory: pathlib.Path, info: DirectoryInfo) -> None:
    """A controller must remember its votes; a broker has none."""
    if (directory / BOOTSTRAP).exists():
        election = QuorumStateFile(RealFiles(), directory).read()
        check_against_log(election, info.log.end.epoch, directory)


def _verify_snapshot(
    directory: pathlib.Path, snapshot_id: OffsetAndEpoch, info: DirectoryInfo
) -> VerifiedSnapshot:
    load = SnapshotLoad(snapshot_id)
    reader = SnapshotReader(RealFiles(), directory)
    for _ in load.steps(reader.batches(snapshot_id)):
        pass
    own = digest(load.image())
    records = sum(batch.record_count for batch in reader.batches(snapshot_id) if not batch.is_control)
    other = _image_before(directory, snapshot_id, info)
    return VerifiedSnapshot(
        id=snapshot_id,
        records=records,
        digest=own.hex(),
        agrees=None if other is None else digest(other) == own,
    )


def _image_before(directory: pathlib.Path, end: OffsetAndEpoch, info: DirectoryInfo) -> MetadataImage | None:
    """The image at a snapshot's end without that snapshot: from the one before it, or from nothing, and the log."""
    older = [one for one in info.log.snapshots if one.offset < end.offset]
    start = older[-1] if older else LOG_START
    if info.log.start > start.offset or info.log.end.offset < end.offset:
        return None
    builder = ImageBuilder()
    if start.offset > 0:
        builder.load_snapshot(start, SnapshotReader(RealFiles(), directory).batches(start))
    for batch in LogFiles.at(directory).batches(Offset(start.offset)):
        if batch.base_offset >= end.offset:
            break
        builder.add(batch)
    return builder.image()
