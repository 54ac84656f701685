"""The loader: whatever way the log comes, the same image; and nothing is shown too early or by halves."""

import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.broker.loader import Cause, MetadataLoader, Publication
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.features import format_records
from quorate.metadata.ids import Offset
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance, difference
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyDataRecord,
    AnyRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    NoOpRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from tests.broker.logs import leader_change, sealed
from tests.properties.strategies import histories, pieces

BEGIN, END, ABORT = (
    BeginTransactionRecord(name="t"),
    EndTransactionRecord(),
    AbortTransactionRecord(reason="r"),
)
FIRST = list(format_records())


def topic(name: str) -> TopicRecord:
    return TopicRecord(name=name, topic_id=uuid.UUID(int=1000 + ord(name)))


def image_of(records: Sequence[AnyRecord]) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(records)
    return delta.apply(Provenance(offset=-1, epoch=0, append_time_ms=0))


def end_of(batches: Sequence[RecordBatch]) -> Offset:
    return batches[-1].end_offset if batches else Offset(0)


def loaded(batches: Sequence[RecordBatch]) -> MetadataLoader:
    """Everything in one go, all of it committed."""
    loader = MetadataLoader()
    loader.take(batches, end_of(batches))
    return loader


def names(loader: MetadataLoader) -> list[str]:
    assert loader.published is not None
    return loader.published.topics.names()


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[AnyDataRecord], list[RecordBatch]]:
    """A history, and batches that hold it: cut anywhere, with leader changes and transactions in between."""
    history = draw(histories(max_steps=15))
    cut: list[Sequence[AnyRecord]] = []
    for piece in draw(pieces(history)):
        kind = draw(st.sampled_from(["plain", "plain", "leader", "transaction", "aborted", "no-op"]))
        match kind:
            case "leader":
                cut += [[leader_change()], piece]
            case "transaction":
                middle = draw(st.integers(0, len(piece)))
                cut += [[BEGIN, *piece[:middle]], [*piece[middle:], END]]
            case "aborted":
                cut += [[BEGIN, topic("z"), ABORT], piece]
            case "no-op":
                cut += [[NoOpRecord()], piece]
            case _:
                cut.append(piece)
    return history, sealed(cut)


@given(logs(), st.data())
def test_every_way_of_hearing_a_log_ends_in_the_same_image(
    log: tuple[list[AnyDataRecord], list[RecordBatch]], data: st.DataObject
) -> None:
    history, batches = log
    loader = MetadataLoader()
    publications = [loader.take(part, end_of(batches)) for part in data.draw(pieces(batches))]
    assert loader.image.same_metadata(image_of(history))
    assert loader.image == loaded(batches).image
    assert loader.published == loader.image
    # Only what completes the log is shown, and whole.
    shown = [one for one in publications if one is not None]
    assert [one.cause for one in shown] == [Cause.FIRST]
    assert publications[-1] is shown[0]
    assert shown[0].before == MetadataImage.EMPTY


@given(logs(), st.data())
def test_publications_lead_from_one_to_the_next(
    log: tuple[list[AnyDataRecord], list[RecordBatch]], data: st.DataObject
) -> None:
    _, batches = log
    loader = MetadataLoader()
    known = MetadataImage.EMPTY
    for part in data.draw(pieces(batches)):
        publication = loader.take(part, end_of(part))  # each part is all that is committed yet
        if publication is None:
            continue
        assert publication.before == known
        assert publication.image.offset > known.offset
        known = publication.image
        check_changes(publication)


def check_changes(publication: Publication) -> None:
    """The changes hold every real difference; a delta may list more: what was written as it was."""
    real, told = difference(publication.before, publication.image), publication.changes
    assert real.created_topics.items() <= told.created_topics.items()
    assert real.deleted_topics.keys() <= told.deleted_topics.keys()
    assert real.changed_brokers.items() <= told.changed_brokers.items()
    assert real.changed_configs.keys() <= told.changed_configs.keys()
    for topic_id, partitions in real.changed_topics.items():
        assert partitions.items() <= told.changed_topics[topic_id].items()


@given(logs(), st.data())
def test_a_snapshot_and_the_rest_of_the_log_are_the_whole_log(
    log: tuple[list[AnyDataRecord], list[RecordBatch]], data: st.DataObject
) -> None:
    _, batches = log
    at = data.draw(st.integers(0, len(batches)))
    first = loaded(batches[:at])
    if first.transaction_open:
        return  # no snapshot is made there
    began = data.draw(st.booleans())
    loader = MetadataLoader()
    if began:  # it had shown something else before: the snapshot is news
        loader.take(sealed([FIRST]), Offset(len(FIRST)))
    publication = loader.load(first.image, first.end)
    assert (publication is not None) == began
    if publication is not None:
        assert publication.cause is Cause.SNAPSHOT
        assert publication.image == first.image
        check_changes(publication)
    loader.take(batches[at:], end_of(batches))
    assert loader.image == loaded(batches).image


def test_nothing_is_shown_before_all_that_was_committed_at_the_beginning() -> None:
    batches = sealed([FIRST, [topic("a")], [topic("b")]])
    loader = MetadataLoader()
    assert loader.take(batches[:1], Offset(3)) is None
    assert loader.take(batches[1:2], Offset(3)) is None
    assert loader.published is None
    assert loader.take(batches[2:], Offset(3)) is not None
    assert names(loader) == ["a", "b"]


def test_nothing_is_shown_of_a_log_that_holds_no_data() -> None:
    loader = MetadataLoader()
    assert loader.take(sealed([[leader_change()]]), Offset(1)) is None
    assert loader.take(sealed([FIRST], start=1), Offset(2)) is not None


def test_a_snapshot_alone_is_not_shown_at_the_start() -> None:
    # It is the node's own, perhaps from long ago: the high watermark is not known yet.
    loader = MetadataLoader()
    assert loader.load(image_of([*FIRST, topic("a")]), Offset(2)) is None
    assert loader.take(sealed([[topic("b")]], start=2), Offset(4)) is None
    assert loader.take(sealed([[topic("c")]], start=3), Offset(4)) is not None
    assert names(loader) == ["a", "b", "c"]


def test_a_transaction_is_shown_at_its_end_and_at_once() -> None:
    loader = MetadataLoader()
    batches = sealed([FIRST, [BEGIN, topic("a")], [topic("b")], [leader_change()], [topic("c"), END]])
    loader.take(batches[:1], Offset(1))
    for batch in batches[1:4]:
        assert loader.take([batch], batch.end_offset) is None
        assert loader.transaction_open
    assert loader.image.offset == 0
    publication = loader.take(batches[4:], end_of(batches))
    assert publication is not None
    assert sorted(publication.changes.created_topics.values()) == ["a", "b", "c"]
    assert publication.image.offset == end_of(batches) - 1


def test_an_aborted_transaction_only_moves_the_offset() -> None:
    loader = MetadataLoader()
    batches = sealed([FIRST, [BEGIN, topic("a")], [ABORT]])
    for batch in batches:
        publication = loader.take([batch], batch.end_offset)
    assert publication is not None
    assert not publication.changes
    assert (publication.image.offset, names(loader)) == (3, [])


def test_a_snapshot_ends_an_open_transaction() -> None:
    loader = MetadataLoader()
    loader.take(sealed([FIRST, [BEGIN, topic("a")]]), Offset(3))
    loader.load(image_of([*FIRST, topic("b")]), Offset(10))
    assert not loader.transaction_open
    loader.take(sealed([[topic("a")]], start=10), Offset(11))
    assert names(loader) == ["a", "b"]


def test_control_records_move_the_offset_on() -> None:
    loader = MetadataLoader()
    loader.take(sealed([FIRST]), Offset(1))
    publication = loader.take(sealed([[leader_change()]], start=1, epoch=2), Offset(2))
    assert publication is not None
    at = publication.image.provenance
    assert (at.offset, at.epoch) == (1, 2)


def test_a_record_that_cannot_be_true_ends_the_process() -> None:
    loader = MetadataLoader()
    impossible = sealed([FIRST, [RemoveTopicRecord(topic_id=uuid.UUID(int=5))]])
    with pytest.raises(InvariantViolated, match="offset 1, epoch 1, cannot be interpreted"):
        loader.take(impossible, Offset(2))


def test_a_record_that_cannot_be_read_ends_the_process() -> None:
    (good,) = sealed([FIRST])
    bad = RecordBatch.seal_payload(
        b"\x81\x83\x19\x27\x0f\x00\x00",
        record_count=1,
        base_offset=Offset(1),
        epoch=good.epoch,
        append_time_ms=0,
    )
    with pytest.raises(InvariantViolated, match="upgrade it"):
        MetadataLoader().take([good, bad], Offset(2))


def test_a_gap_in_the_log_ends_the_process() -> None:
    with pytest.raises(InvariantViolated, match="after one that ends at 0"):
        MetadataLoader().take(sealed([FIRST], start=5), Offset(6))
