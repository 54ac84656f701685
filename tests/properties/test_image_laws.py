"""Laws of the image: one meaning of a log however it is cut, and nothing lost on the way to records and back."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.metadata.codec import decode_payload, encode_payload
from quorate.metadata.image import (
    Changes,
    MetadataDelta,
    MetadataImage,
    PartitionRegistration,
    Provenance,
    TransactionGate,
    difference,
    digest,
    image_records,
)
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyDataRecord,
    AnyRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
)
from tests.properties.strategies import BROKER_IDS, histories, pieces

LAW = settings(max_examples=60)

HERE = Provenance(offset=99, epoch=7, append_time_ms=1_700_000_000_000)


def replayed(
    batches: Iterable[Iterable[AnyRecord]], start: MetadataImage = MetadataImage.EMPTY
) -> MetadataImage:
    image = start
    for batch in batches:
        delta = MetadataDelta(image)
        delta.replay_all(batch)
        image = delta.apply(HERE)
    return image


@LAW
@given(histories(), st.data())
def test_every_cut_of_a_log_gives_the_same_image(history: list[AnyDataRecord], data: st.DataObject) -> None:
    whole = replayed([history])
    assert replayed(data.draw(pieces(history))) == whole
    assert replayed([record] for record in history) == whole


@LAW
@given(histories())
def test_an_image_goes_into_records_and_comes_back(history: list[AnyDataRecord]) -> None:
    image = replayed([history])
    written = list(image_records(image))
    assert decode_payload(encode_payload(written)) == tuple(written)
    back = replayed([written])
    assert back.same_metadata(image)
    assert list(image_records(back)) == written


@LAW
@given(histories(), histories(), st.data())
def test_digests_are_equal_exactly_where_images_are(
    one: list[AnyDataRecord], other: list[AnyDataRecord], data: st.DataObject
) -> None:
    image = replayed(data.draw(pieces(one)))
    assert digest(replayed([image_records(image)])) == digest(image)
    another = replayed([other])
    assert (digest(another) == digest(image)) == another.same_metadata(image)


@LAW
@given(histories(), st.data())
def test_the_image_before_is_never_touched(history: list[AnyDataRecord], data: st.DataObject) -> None:
    image = MetadataImage.EMPTY
    for batch in data.draw(pieces(history)):
        before = list(image_records(image))
        after = replayed([batch], image)
        assert list(image_records(image)) == before
        image = after


@LAW
@given(histories(), st.data())
def test_the_index_of_replicas_finds_what_a_walk_finds(
    history: list[AnyDataRecord], data: st.DataObject
) -> None:
    image = MetadataImage.EMPTY
    for batch in data.draw(pieces(history)):
        image = replayed([batch], image)
        for broker in BROKER_IDS:
            found = [(t.name, i, p) for t, i, p in image.topics.partitions_with_replica(broker)]
            walked = [(t.name, i, p) for t in image.topics for i, p in t.partitions() if broker in p.replicas]
            assert sorted(found, key=lambda f: f[:2]) == walked
            assert image.topics.has_replicas(broker) == bool(walked)


@LAW
@given(histories(), st.data())
def test_counts_are_those_of_a_walk(history: list[AnyDataRecord], data: st.DataObject) -> None:
    topics = replayed(data.draw(pieces(history))).topics
    assert topics.topic_count == len(list(topics)) == len(topics.names())
    assert topics.partition_count == sum(len(list(t.partitions())) for t in topics)
    for topic in topics:
        assert topic.partition_count == len(list(topic.indexes()))
        assert topics.by_id(topic.id) == topics.by_name(topic.name) == topic
        assert dict(topic.partitions()) == {i: topic.partition(i) for i in topic.indexes()}


@LAW
@given(histories(), st.data())
def test_comparing_images_finds_what_the_records_said(
    history: list[AnyDataRecord], data: st.DataObject
) -> None:
    """All of it but what was written with the value that it had."""
    image = MetadataImage.EMPTY
    for batch in data.draw(pieces(history)):
        delta = MetadataDelta(image)
        delta.replay_all(batch)
        after = delta.apply(HERE)
        told, seen = delta.changes(), difference(image, after)
        _check_same_topics(told, seen, image)
        for name, had in _parts(image).items():
            said: dict[Any, Any] = getattr(told, name)
            assert getattr(seen, name) == {k: v for k, v in said.items() if had.get(k) != v}, name
        assert seen.changed_configs == _news(told.changed_configs, dict(image.configs.resources()))
        assert seen.changed_quotas == _news(told.changed_quotas, dict(image.quotas.entities()))
        assert told.producer_ids_changed == seen.producer_ids_changed
        assert told.migration_changed == seen.migration_changed
        assert told.recoveries_changed == seen.recoveries_changed
        assert bool(told) or not seen
        assert bool(seen) != after.same_metadata(image)
        image = after
    assert not difference(image, replayed([history]))


def _parts(image: MetadataImage) -> dict[str, Mapping[Any, Any]]:
    return {
        "changed_brokers": image.cluster.brokers,
        "changed_controllers": image.cluster.controllers,
        "changed_features": image.features.levels,
        "changed_acls": image.acls.by_id,
        "changed_credentials": image.credentials.by_user,
        "changed_tokens": image.tokens.by_id,
    }


def _news(
    said: Mapping[Any, Mapping[str, Any]], had: Mapping[Any, Mapping[str, Any]]
) -> dict[Any, dict[str, Any]]:
    """What is really new of what was said about nested maps."""
    news = {
        key: {name: value for name, value in values.items() if had.get(key, {}).get(name) != value}
        for key, values in said.items()
    }
    return {key: values for key, values in news.items() if values}


def _check_same_topics(told: Changes, seen: Changes, image: MetadataImage) -> None:
    assert told.created_topics == seen.created_topics
    assert told.deleted_topics == seen.deleted_topics
    expected: dict[uuid.UUID, dict[int, PartitionRegistration]] = {}
    for topic_id, partitions in told.changed_topics.items():
        earlier = image.topics.by_id(topic_id)
        had = {} if earlier is None else dict(earlier.partitions())
        news = {i: p for i, p in partitions.items() if had.get(i) != p}
        if news or topic_id in told.created_topics:
            expected[topic_id] = news
    assert seen.changed_topics == expected


@LAW
@given(histories(), st.data())
def test_the_gate_shows_a_transaction_whole_or_not_at_all(
    history: list[AnyDataRecord], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(history)))
    end = data.draw(st.integers(begin, len(history)))
    aborted = data.draw(st.booleans())
    closing = AbortTransactionRecord() if aborted else EndTransactionRecord()
    log: list[AnyDataRecord] = [
        *history[:begin],
        BeginTransactionRecord(),
        *history[begin:end],
        closing,
    ]
    before, whole = replayed([history[:begin]]), replayed([history[: begin if aborted else end]])
    gate, image, offset = TransactionGate(), MetadataImage.EMPTY, 0
    for batch in data.draw(pieces(log)):
        release = gate.offer(offset, batch)
        offset += len(batch)
        if release is not None:
            image = replayed([[record for _, record in release.records]], image)
            assert release.last_offset == (offset - 1 if not gate.is_open else begin - 1)
        assert gate.is_open == (begin < offset <= len(log) - 1)
        if offset > begin:
            assert image.same_metadata(before if gate.is_open else whole)


@LAW
@given(histories())
def test_where_an_image_comes_from_is_not_what_it_says(history: list[AnyDataRecord]) -> None:
    image = replayed([history])
    elsewhere = attrs.evolve(image, provenance=attrs.evolve(HERE, offset=100))
    assert elsewhere != image
    assert elsewhere.same_metadata(image)
    assert digest(elsewhere) == digest(image)
