"""Our interpreter against Kafka's: the same log must lead to the image that Kafka's own snapshot describes."""

import pathlib

import pytest

from quorate.metadata.image import (
    MetadataDelta,
    MetadataImage,
    Provenance,
    TransactionGate,
    difference,
    digest,
    image_records,
)
from quorate.metadata.kafka_form import KafkaBatch, decode_batches
from quorate.metadata.records import MigrationState

ARTEFACTS = pathlib.Path(__file__).parents[2] / "artefacts" / "kafka"
CASES = [("3.9.2", 255, 4, 21), ("4.3.1", 272, 2, 30)]


def load(path: pathlib.Path, end: int) -> MetadataImage:
    """The image of a log or snapshot below an offset, batch by batch as a broker would see it."""
    gate, image = TransactionGate(), MetadataImage.EMPTY
    for batch in decode_batches(path.read_bytes()):
        if not batch.is_control and batch.base_offset < end:
            image = _with(image, gate, batch)
    return image


def _with(image: MetadataImage, gate: TransactionGate, batch: KafkaBatch) -> MetadataImage:
    release = gate.offer(batch.base_offset, batch.records)
    if release is None:
        return image
    delta = MetadataDelta(image)
    for offset, record in release.records:
        delta.replay(record, offset)
    return delta.apply(
        Provenance(offset=release.last_offset, epoch=batch.epoch, append_time_ms=batch.append_time_ms)
    )


@pytest.mark.parametrize(("release", "end", "epoch", "level"), CASES)
def test_a_log_means_to_us_what_it_means_to_kafka(release: str, end: int, epoch: int, level: int) -> None:
    directory = ARTEFACTS / f"log-{release}"
    replayed = load(directory / "00000000000000000000.log", end)
    snapshot = load(directory / f"{end:020}-{epoch:010}.checkpoint", 10**9)
    assert replayed.features.metadata_version == snapshot.features.metadata_version == level
    assert not difference(replayed, snapshot)
    assert replayed.same_metadata(snapshot)
    assert digest(replayed) == digest(snapshot)
    assert replayed.provenance.offset == end - 1
    assert replayed.topics.topic_count == 2
    assert replayed.migration is MigrationState.NONE


@pytest.mark.parametrize(("release", "end", "epoch", "level"), CASES)
def test_we_write_the_records_that_kafka_writes(release: str, end: int, epoch: int, level: int) -> None:
    """The same records and versions in the same order of subjects; within one Kafka's order is that of its maps."""
    path = ARTEFACTS / f"log-{release}" / f"{end:020}-{epoch:010}.checkpoint"
    theirs = [r for batch in decode_batches(path.read_bytes()) if not batch.is_control for r in batch.records]
    ours = list(image_records(load(path, 10**9)))
    named = [(type(r).__name__, r.version) for r in theirs]
    # 3.9 writes that no migration ever was; 4.x, and we, write nothing.
    assert [(type(r).__name__, r.version) for r in ours] == [
        n for n in named if n[0] != "ZkMigrationStateRecord"
    ]
    assert ours[0] == theirs[0]
