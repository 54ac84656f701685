"""`quorate storage export-kraft`: a directory that Kafka's own controllers start from, made of a controller's of ours.

dynamic   the newest snapshot and the log behind it, batch for batch as brokers have them, and behind them an epoch that
          nobody has led, with Kafka's controllers as voters, and a NoOp. Brokers go on from where they are.
static    one snapshot, of the state at the log's end, and no voters in it: kraft.version 0, as controller.quorum.voters
          needs. What brokers hold of the log says kraft.version 1, which nothing takes back: they begin theirs anew.

A record of ours that Kafka does not know is a NoOp. What was written is read again, and its image compared.
"""

import pathlib
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from quorate.admin.errors import Refused
from quorate.admin.kraft_import import interpret, opening_batches
from quorate.admin.offline_log import LogFiles
from quorate.admin.output import plural
from quorate.metadata import features
from quorate.metadata.batch import RecordBatch, decode_batches
from quorate.metadata.features import describe_level
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch, random_uuid, uuid_to_text
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.writer import digest
from quorate.metadata.kafka_wire import in_kafkas_form
from quorate.metadata.log.directory import FormatPlan, InitialVoter, Quorum, first_snapshot, first_voters
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import MetaProperties, locked_by, read_meta
from quorate.metadata.log.kraft_directory import KraftPlan, make_kraft_directory, read_kraft_directory
from quorate.metadata.log.new_quorum import sealed
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.log.snapshot_files import SnapshotReader
from quorate.metadata.quorum.recoveries import first_epoch
from quorate.metadata.records import NoOpRecord, VotersRecord

_FILES: Final = RealFiles()


@attrs.frozen(kw_only=True)
class Exported:
    """What was made."""

    source: pathlib.Path
    directory: pathlib.Path
    meta: MetaProperties
    end: OffsetAndEpoch
    epoch: Epoch
    """That the controllers know of at their first start."""
    image: MetadataImage
    voters: VotersRecord | None
    """None: they are configured."""


@attrs.frozen(kw_only=True)
class _Source:
    meta: MetaProperties
    files: LogFiles
    image: MetadataImage
    snapshot_id: OffsetAndEpoch | None
    end: OffsetAndEpoch
    transaction_open: bool
    append_time_ms: int
    known_epoch: Epoch

    def batches(self) -> Iterator[RecordBatch]:
        start = LOG_START.offset if self.snapshot_id is None else self.snapshot_id.offset
        return self.files.batches(start)


def export_dynamic(
    directory: pathlib.Path,
    into: pathlib.Path,
    *,
    node_id: NodeId,
    listener: str,
    initial: Sequence[InitialVoter],
    rng: random.Random,
) -> Exported:
    """For controllers whose voters stand in the log (kraft.version 1). The same for each of them but its identity.

    Raises:
        Refused, StorageRefused, StorageFailed: nothing usable was made.
    """
    source = _look(directory)
    plan = FormatPlan(
        directory=into,
        cluster_id=source.meta.cluster_id,
        node_id=node_id,
        listener=listener,
        is_controller=True,
        quorum=Quorum.INITIAL_CONTROLLERS,
        initial=initial,
    )
    directory_id, voters = first_voters(plan, rng)
    if voters is None:
        raise Refused("The exported quorum would have no voters.", where=str(into))
    epoch = first_epoch([source.known_epoch])
    opening = [*_opening(source, epoch, voters)]
    epochs = _epochs([*_starts(source.batches()), (opening[0].epoch, opening[0].base_offset)])
    snapshot = None
    if source.snapshot_id is not None:
        reader = SnapshotReader(_FILES, directory)
        snapshot = (source.snapshot_id, map(in_kafkas_form, reader.batches(source.snapshot_id)))
    make_kraft_directory(
        KraftPlan(
            directory=into,
            cluster_id=source.meta.cluster_id,
            node_id=node_id,
            directory_id=directory_id,
            bootstrap=_bootstrap(source.image),
            snapshot=snapshot,
            log_start=LOG_START.offset if source.snapshot_id is None else source.snapshot_id.offset,
            log=map(in_kafkas_form, _both(source.batches(), opening)),
            epochs=epochs,
            epoch=epoch,
            static_voters=None,
        )
    )
    return _checked(source, directory, into, node_id, directory_id, epoch, voters)


def _opening(source: _Source, epoch: Epoch, voters: VotersRecord) -> Iterator[RecordBatch]:
    """As after an import; and a NoOp: Kafka's metadata shell waits until it has shown the last record, which it never
    has if that is one of a control batch."""
    end = source.end.offset
    for batch in opening_batches(
        source.end, epoch, voters, abort=source.transaction_open, append_time_ms=source.append_time_ms
    ):
        end = batch.end_offset
        yield batch
    yield RecordBatch.seal([NoOpRecord()], base_offset=end, epoch=epoch, append_time_ms=source.append_time_ms)


def export_static(
    directory: pathlib.Path,
    into: pathlib.Path,
    *,
    node_id: NodeId,
    voter_ids: Sequence[NodeId],
    rng: random.Random,
) -> Exported:
    """For controllers that are configured with controller.quorum.voters (kraft.version 0).

    Raises:
        Refused, StorageRefused, StorageFailed: nothing usable was made.
    """
    source = _look(directory)
    if node_id not in voter_ids:
        raise Refused(
            f"Node {node_id} is none of the voters {', '.join(map(str, voter_ids))}.",
            where=str(into),
            remedy="give every controller the same list, with its own id in it",
        )
    # Of an epoch that nobody has led: no broker may take it for a part of a log that it holds already.
    epoch = first_epoch([source.known_epoch])
    snapshot_id = OffsetAndEpoch(source.end.offset, epoch)
    image = attrs.evolve(
        source.image,
        provenance=Provenance(
            offset=snapshot_id.offset - 1, epoch=epoch, append_time_ms=source.append_time_ms
        ),
    )
    directory_id = random_uuid(rng)
    make_kraft_directory(
        KraftPlan(
            directory=into,
            cluster_id=source.meta.cluster_id,
            node_id=node_id,
            directory_id=directory_id,
            bootstrap=_bootstrap(source.image),
            snapshot=(snapshot_id, map(in_kafkas_form, sealed(snapshot_id, image, None))),
            log_start=snapshot_id.offset,
            log=(),
            epochs=((epoch, snapshot_id.offset),),
            epoch=epoch,
            static_voters=tuple(sorted(voter_ids)),
        )
    )
    return _checked(source, directory, into, node_id, directory_id, epoch, None)


def _look(directory: pathlib.Path) -> _Source:
    meta = read_meta(_FILES, directory)
    holder = locked_by(_FILES, directory)
    if holder is not None:
        raise Refused(
            "A controller runs on this directory.",
            where=str(directory),
            why=f"its lock is held by process {holder}",
            remedy="stop all controllers in order first: what they would still write would be missing",
        )
    files = LogFiles.at(directory)
    builder = files.built()
    image = builder.image()
    newest = next((one for one in reversed(files.snapshots) if one.offset > 0), None)
    end = newest or LOG_START
    time_ms = image.provenance.append_time_ms
    for batch in files.batches(end.offset):
        end, time_ms = batch.end, batch.append_time_ms
    try:
        known = QuorumStateFile(_FILES, directory).read().epoch
    except StorageRefused:
        known = end.epoch
    return _Source(
        meta=meta,
        files=files,
        image=image,
        snapshot_id=newest,
        end=end,
        transaction_open=builder.transaction_open,
        append_time_ms=time_ms,
        known_epoch=max(known, end.epoch),
    )


def _both(first: Iterable[RecordBatch], then: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    yield from first
    yield from then


def _starts(batches: Iterable[RecordBatch]) -> Iterator[tuple[Epoch, Offset]]:
    for batch in batches:
        yield batch.epoch, batch.base_offset


def _epochs(starts: Iterable[tuple[Epoch, Offset]]) -> tuple[tuple[Epoch, Offset], ...]:
    """The first offset of each epoch."""
    found: dict[Epoch, Offset] = {}
    for epoch, offset in starts:
        found.setdefault(epoch, offset)
    return tuple(found.items())


def _bootstrap(image: MetadataImage) -> bytes:
    level = image.features.metadata_version
    ours = first_snapshot(None, features.format_records(level))
    return b"".join(in_kafkas_form(batch) for batch in decode_batches(ours))


def _checked(
    source: _Source,
    directory: pathlib.Path,
    into: pathlib.Path,
    node_id: NodeId,
    directory_id: uuid.UUID,
    epoch: Epoch,
    voters: VotersRecord | None,
) -> Exported:
    """Reads what was written, as Kafka's controllers will."""
    made = read_kraft_directory(into)
    found, _, _ = interpret(made)
    wanted = attrs.evolve(source.image, recoveries=())
    if digest(found) != digest(wanted):
        raise Refused(
            "What was written is not what was read.",
            where=str(into),
            why=f"its image has the digest {digest(found).hex()}, that of the source has {digest(wanted).hex()}",
            remedy="do not use this directory; please report it with the source",
        )
    return Exported(
        source=directory,
        directory=into,
        meta=MetaProperties(cluster_id=source.meta.cluster_id, node_id=node_id, directory_id=directory_id),
        end=made.end,
        epoch=epoch,
        image=found,
        voters=voters,
    )


# --- what is said


def document(done: Exported) -> dict[str, Any]:
    return {
        "directory": str(done.directory),
        "source": str(done.source),
        "cluster_id": done.meta.cluster_id,
        "node_id": done.meta.node_id,
        "directory_id": uuid_to_text(done.meta.directory_id),
        "kraft_version": 0 if done.voters is None else 1,
        "end": str(done.end),
        "epoch": done.epoch,
        "metadata_version": done.image.features.metadata_version,
        "topics": done.image.topics.topic_count,
        "partitions": done.image.topics.partition_count,
        "image_digest": digest(done.image).hex(),
    }


def lines(done: Exported) -> list[str]:
    topics = done.image.topics
    level = describe_level(done.image.features.metadata_version)
    told = [
        f"Cluster       {done.meta.cluster_id}, metadata.version {level}",
        f"Log           ends at {done.end}",
        f"Topics        {topics.topic_count:,}, with {plural(topics.partition_count, 'partition')}",
        f"Image digest  {digest(done.image).hex()} (read back and compared)",
        "",
        f"Exported into {done.directory} for controller {done.meta.node_id} of Apache Kafka.",
    ]
    if done.voters is not None:
        return [
            *told,
            "Do the same for each of its controllers, start them, then the brokers, with",
            "controller.quorum.bootstrap.servers naming them. Our controllers must never run again.",
        ]
    return [
        *told,
        "Do the same for each of its controllers, start them with controller.quorum.voters, then the brokers.",
        "Each broker's __cluster_metadata-0 says kraft.version 1: remove that directory (not the topics' data) before",
        "the broker starts, and it reads the new log from the beginning. Our controllers must never run again.",
    ]
