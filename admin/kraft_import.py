"""`quorate storage import-kraft`: a controller's directory of ours from those of Kafka's controllers.

Everything is kept: cluster id, offsets, epochs, topic ids, record versions. So Kafka's own brokers go on from where
they were, with their data. New is what follows the log's end: a batch of an epoch that no controller of Kafka's has
ever led, which names the new voters. Every new voter makes the same directory but for its identity, whoever is first.
"""

import itertools
import pathlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from quorate.admin.errors import Refused
from quorate.admin.offline_log import LogFiles
from quorate.admin.output import plural
from quorate.metadata import features
from quorate.metadata.batch import RecordBatch
from quorate.metadata.features import METADATA_VERSION, SUPPORTED, describe_level
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch, uuid_to_text
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.image.transactions import TransactionGate
from quorate.metadata.image.writer import digest
from quorate.metadata.kafka_form import KafkaBatch
from quorate.metadata.log.directory import FormatPlan, InitialVoter, Quorum, first_snapshot, first_voters
from quorate.metadata.log.files import RealFiles, failing_storage, replace_file
from quorate.metadata.log.identity import MetaProperties
from quorate.metadata.log.kraft_directory import KraftDirectory, read_kraft_directory
from quorate.metadata.log.layout import BOOTSTRAP
from quorate.metadata.log.new_quorum import making
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.log.segments import SegmentedLog
from quorate.metadata.log.snapshot_files import FileSnapshotWriter
from quorate.metadata.log.snapshot_format import MAX_RECORDS_PER_BATCH, SnapshotComposer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.recoveries import first_epoch
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyRecord,
    KRaftVersionRecord,
    LeaderChangeRecord,
    LeaderChangeVoter,
    SnapshotHeaderRecord,
    Voter,
    VotersRecord,
)

_APPENDED_AT_ONCE: Final = 64


@attrs.frozen(kw_only=True)
class Source:
    """What was chosen of what was named, and what it amounts to."""

    chosen: KraftDirectory
    shown: tuple[KraftDirectory, ...]
    image: MetadataImage
    transaction_open: bool
    append_time_ms: int
    """Of the last batch."""

    @property
    def digest(self) -> str:
        return digest(self.image).hex()

    def warnings(self) -> list[str]:
        found = []
        if len(self.shown) == 1:
            found.append(
                "only one directory was named: if another controller's log reaches further, what it has beyond is lost"
            )
        if self.chosen.torn is not None:
            found.append(f"what is not whole at the end of the log was left out: {self.chosen.torn}")
        if self.transaction_open:
            found.append("a metadata transaction was open at the end of the log; it is aborted")
        return found


def look(directories: Sequence[pathlib.Path]) -> Source:
    """Reads all of them, and chooses the longest log by epoch, then offset, as an election would.

    Raises:
        Refused: they are of several clusters, or at levels that are not offered here.
        NotKrafts: one of them is no stopped controller's.
    """
    shown = tuple(read_kraft_directory(directory) for directory in directories)
    clusters = {one.cluster_id for one in shown}
    if len(clusters) > 1:
        raise Refused(
            "These directories are of several clusters.",
            why=", ".join(f"{one.path} of {one.cluster_id}" for one in shown),
            remedy="name directories of the controllers of one cluster",
        )
    chosen = max(shown, key=lambda one: (one.end.epoch, one.end.offset))
    if chosen.end.offset == 0:
        raise Refused(
            "There is nothing to import.",
            where=str(chosen.path),
            why="the log is empty",
            remedy="make a new cluster: `quorate storage format`",
        )
    try:
        image, is_open, time_ms = interpret(chosen)
    except ReplayError as error:
        raise Refused(
            "The log cannot be understood.",
            where=str(chosen.path),
            why=str(error),
            remedy="use a later release of Quorate, if a later one of Kafka wrote this log",
        ) from error
    _check_levels(chosen, image)
    return Source(chosen=chosen, shown=shown, image=image, transaction_open=is_open, append_time_ms=time_ms)


def interpret(directory: KraftDirectory) -> tuple[MetadataImage, bool, int]:
    """(the image at the log's end, whether a transaction is open there, the time of the last batch)."""
    image, gate, time_ms = MetadataImage.EMPTY, TransactionGate(), 0
    for batch in directory.snapshot_batches():
        if not batch.is_control:
            delta = MetadataDelta(image)
            for record in batch.records:
                delta.replay(record)
            image = delta.apply(_provenance(directory.snapshot_id, batch.append_time_ms))
        elif isinstance(batch.records[0], SnapshotHeaderRecord):
            time_ms = batch.records[0].last_contained_log_timestamp
    for batch in directory.log_batches():
        time_ms = batch.append_time_ms
        if batch.is_control:
            continue
        release = gate.offer(batch.base_offset, batch.records)
        if release is not None:
            delta = MetadataDelta(image)
            for offset, record in release.records:
                delta.replay(record, offset)
            end = OffsetAndEpoch(Offset(release.last_offset + 1), batch.epoch)
            image = delta.apply(_provenance(end, batch.append_time_ms))
    return image, gate.is_open, time_ms


def _provenance(end: OffsetAndEpoch | None, time_ms: int) -> Provenance:
    if end is None:
        return MetadataImage.EMPTY.provenance
    return Provenance(offset=end.offset - 1, epoch=end.epoch, append_time_ms=time_ms)


def _check_levels(directory: KraftDirectory, image: MetadataImage) -> None:
    level, offered = image.features.metadata_version, SUPPORTED[METADATA_VERSION]
    if level < offered.lowest:
        name = describe_level(offered.lowest).partition("(")[2].rstrip(")")
        raise Refused(
            f"The cluster is at metadata.version {describe_level(level)}.",
            where=str(directory.path),
            why=f"voters are kept in the log, which needs {describe_level(offered.lowest)} or newer",
            remedy="start Kafka's controllers again, raise it, and stop them:\n"
            f"kafka-features.sh --bootstrap-server HOST:PORT upgrade --metadata {name}",
        )
    for feature, finalized in sorted(image.features.levels.items()):
        known = SUPPORTED.get(feature)
        if known is None or finalized not in known:
            what = (
                "is not known here"
                if known is None
                else f"is offered here from {known.lowest} to {known.highest}"
            )
            raise Refused(
                f"The cluster has finalized {feature} {finalized}.",
                where=str(directory.path),
                why=f"{feature} {what}",
                remedy="lower it on Kafka's controllers first (kafka-features.sh downgrade), or use a later release of "
                "Quorate",
            )


# --- making a directory


@attrs.frozen(kw_only=True)
class Imported:
    """What was made."""

    source: Source
    directory: pathlib.Path
    meta: MetaProperties
    voters: VotersRecord
    epoch: Epoch
    end: OffsetAndEpoch


def import_kraft(
    source: Source,
    *,
    directory: pathlib.Path,
    node_id: NodeId,
    listener: str,
    endpoint: Endpoint | None,
    initial: Sequence[InitialVoter],
    rng: random.Random,
) -> Imported:
    """Makes the directory of one of the new voters, reads it again, and compares.

    Raises:
        AlreadyFormatted, FormatRefused, StorageFailed: see `log.directory` and `log.new_quorum`.
        Refused: what was read is not what was written.
    """
    plan = FormatPlan(
        directory=directory,
        cluster_id=source.chosen.cluster_id,
        node_id=node_id,
        listener=listener,
        is_controller=True,
        quorum=Quorum.INITIAL_CONTROLLERS if initial else Quorum.STANDALONE,
        endpoint=endpoint,
        initial=initial,
    )
    directory_id, voters = first_voters(plan, rng)
    if voters is None:
        raise Refused("The new quorum would have no voters.", where=str(directory))
    meta = MetaProperties(cluster_id=plan.cluster_id, node_id=node_id, directory_id=directory_id)
    epoch = first_epoch(one.known_epoch for one in source.shown)
    opening = opening_batches(
        source.chosen.end,
        epoch,
        voters,
        abort=source.transaction_open,
        append_time_ms=source.append_time_ms,
    )
    files = RealFiles()
    with making(files, directory, meta), failing_storage("Making the directory", directory):
        level = source.image.features.metadata_version
        replace_file(files, directory / BOOTSTRAP, first_snapshot(None, features.format_records(level)))
        _write_snapshot(files, directory, source.chosen)
        log, _ = SegmentedLog.open(files, directory)
        try:
            for group in _grouped(itertools.chain(map(_sealed, source.chosen.log_batches()), opening)):
                log.append(group, log.summary().start)
            log.flush()
            end = log.summary().end
        finally:
            log.close()
        QuorumStateFile(files, directory).write(ElectionState(epoch))
    _check(directory, source)
    return Imported(source=source, directory=directory, meta=meta, voters=voters, epoch=epoch, end=end)


def opening_batches(
    end: OffsetAndEpoch, epoch: Epoch, voters: VotersRecord, *, abort: bool, append_time_ms: int
) -> Iterator[RecordBatch]:
    """What follows a log that comes from elsewhere: an epoch that nobody voted for, and its voters.

    Nobody leads that epoch; its leader is named because a LeaderChange names one. `abort`: a transaction that nobody
    will end is ended first.
    """
    named = tuple(
        LeaderChangeVoter(voter_id=one.voter_id, voter_directory_id=one.voter_directory_id)
        for one in voters.voters
    )
    first = RecordBatch.seal(
        [
            LeaderChangeRecord(
                version=1, leader_id=_first_of(voters.voters).voter_id, voters=named, granting_voters=()
            ),
            KRaftVersionRecord(k_raft_version=1),
            voters,
        ],
        base_offset=end.offset,
        epoch=epoch,
        append_time_ms=append_time_ms,
        is_control=True,
    )
    yield first
    if abort:
        record = AbortTransactionRecord(
            reason="The log was moved to another quorum before the transaction ended."
        )
        yield RecordBatch.seal(
            [record], base_offset=first.end_offset, epoch=epoch, append_time_ms=append_time_ms
        )


def _first_of(voters: Iterable[Voter]) -> Voter:
    return min(voters, key=lambda one: one.voter_id)


def _sealed(batch: KafkaBatch) -> RecordBatch:
    return RecordBatch.seal(
        batch.records,
        base_offset=batch.base_offset,
        epoch=batch.epoch,
        append_time_ms=batch.append_time_ms,
        is_control=batch.is_control,
    )


def _grouped(batches: Iterable[RecordBatch]) -> Iterator[list[RecordBatch]]:
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, _APPENDED_AT_ONCE)):
        yield group


def _write_snapshot(files: RealFiles, directory: pathlib.Path, source: KraftDirectory) -> None:
    if source.snapshot_id is None:
        return
    writer = FileSnapshotWriter(files, directory, source.snapshot_id, lambda held: None, failing_storage)
    composer: SnapshotComposer | None = None
    for batch in source.snapshot_batches():
        first = batch.records[0]
        if isinstance(first, SnapshotHeaderRecord):
            time_ms = first.last_contained_log_timestamp
            composer = SnapshotComposer(source.snapshot_id, wall_ms=time_ms)
            writer.append(_header(composer, time_ms, batch.records))
        elif composer is not None and not batch.is_control:
            records = iter(batch.records)
            while group := list(itertools.islice(records, MAX_RECORDS_PER_BATCH)):
                writer.append(composer.data(group))
    if composer is None:
        raise Refused(
            "The snapshot cannot be taken over.",
            where=str(source.path),
            why="it does not begin with a header",
        )
    writer.append(composer.footer())
    writer.finish()


def _header(composer: SnapshotComposer, time_ms: int, records: Sequence[AnyRecord]) -> RecordBatch:
    return composer.header(
        last_contained_log_timestamp=time_ms,
        kraft_version=next((one for one in records if isinstance(one, KRaftVersionRecord)), None),
        voters=next((one for one in records if isinstance(one, VotersRecord)), None),
    )


def _check(directory: pathlib.Path, source: Source) -> None:
    found = digest(LogFiles.at(directory).image()).hex()
    if found != source.digest:
        raise Refused(
            "What was written is not what was read.",
            where=str(directory),
            why=f"its image has the digest {found}, that of Kafka's log has {source.digest}",
            remedy="do not use this directory; please report it with the source",
        )


# --- what is said


def document(done: Imported) -> dict[str, Any]:
    source = done.source
    return {
        "directory": str(done.directory),
        "cluster_id": done.meta.cluster_id,
        "node_id": done.meta.node_id,
        "directory_id": uuid_to_text(done.meta.directory_id),
        "source": str(source.chosen.path),
        "source_end": str(source.chosen.end),
        "snapshot_id": None if source.chosen.snapshot_id is None else str(source.chosen.snapshot_id),
        "epoch": done.epoch,
        "end": str(done.end),
        "metadata_version": source.image.features.metadata_version,
        "topics": source.image.topics.topic_count,
        "partitions": source.image.topics.partition_count,
        "image_digest": source.digest,
        "voters": _voters(done.voters),
        "warnings": source.warnings(),
    }


def _voters(voters: VotersRecord) -> list[dict[str, Any]]:
    return [
        {"id": one.voter_id, "directory_id": uuid_to_text(one.voter_directory_id)} for one in voters.voters
    ]


def lines(done: Imported) -> list[str]:
    source = done.source
    topics = source.image.topics
    level = describe_level(source.image.features.metadata_version)
    voters = ", ".join(str(one.voter_id) for one in done.voters.voters)
    return [
        *(f"Warning: {text}." for text in source.warnings()),
        f"Cluster       {done.meta.cluster_id}, metadata.version {level}",
        *(
            f"Log           {one.path} ends at {one.end}" + (" (chosen)" if one is source.chosen else "")
            for one in source.shown
        ),
        f"Topics        {topics.topic_count:,}, with {plural(topics.partition_count, 'partition')}",
        f"Image digest  {source.digest} (read back and compared)",
        "",
        f"Imported into {done.directory} for controller {done.meta.node_id}; the log goes on in epoch {done.epoch}.",
        f"Voters {voters}: do the same for each of them, start them, then the brokers, with",
        "controller.quorum.bootstrap.servers naming them. Kafka's controllers must never run again.",
    ]
