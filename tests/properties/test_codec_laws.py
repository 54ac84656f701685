"""Laws of the two forms of a record: what goes out comes back, and nothing else is taken in."""

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quorate.metadata.codec import (
    MalformedRecord,
    decode_payload,
    encode_payload,
    encode_records,
    join_payload,
)
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.kafka_form import (
    KafkaBatch,
    decode_batches,
    decode_control,
    decode_record,
    encode_batch,
    encode_control,
    encode_record,
)
from quorate.metadata.records import AnyRecord, ControlRecord, DataRecord, NoOpRecord
from tests.properties.strategies import records

payloads = st.lists(records(), min_size=1, max_size=4).map(encode_payload)


@settings(max_examples=200)
@given(st.lists(records(), max_size=4))
def test_what_is_encoded_comes_back(written: list[AnyRecord]) -> None:
    assert decode_payload(encode_payload(written)) == tuple(written)


@given(st.lists(records(), max_size=300))
@example([NoOpRecord()] * 23)
@example([NoOpRecord()] * 24)
@example([NoOpRecord()] * 256)
def test_a_payload_may_grow_piece_by_piece(written: list[AnyRecord]) -> None:
    pieces = [encode_records([record]) for record in written]
    assert join_payload(len(written), pieces) == encode_payload(written)


@settings(max_examples=200)
@given(payloads, st.data())
def test_a_changed_byte_is_refused_or_is_the_one_encoding_of_something_else(
    payload: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(payload) - 1))
    other = data.draw(st.integers(0, 255))
    _accepted_only_if_canonical(payload[:place] + bytes((other,)) + payload[place + 1 :])


@settings(max_examples=200)
@given(payloads, st.data())
def test_bytes_that_are_missing_or_too_many_are_refused(payload: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(payload)))
    more = data.draw(st.binary(max_size=3))
    _accepted_only_if_canonical(payload[:place] + more + payload[place:])
    _accepted_only_if_canonical(payload[:place])


@given(st.binary(max_size=60))
@example(b"")
@example(b"\x80")
def test_any_bytes_are_refused_or_canonical(payload: bytes) -> None:
    _accepted_only_if_canonical(payload)


def _accepted_only_if_canonical(payload: bytes) -> None:
    try:
        found = decode_payload(payload)
    except MalformedRecord:
        return
    assert encode_payload(found) == payload


@settings(max_examples=200)
@given(records())
def test_kafkas_form_comes_back_without_what_only_we_have(record: AnyRecord) -> None:
    """Fields of our own come back with their defaults, a record of our own as a NoOp."""
    expected = _as_kafka_knows_it(record)
    if isinstance(record, ControlRecord):
        assert decode_control(*encode_control(record)) == expected
    else:
        assert decode_record(encode_record(record)) == expected


def _as_kafka_knows_it(record: AnyRecord) -> AnyRecord:
    if isinstance(record, DataRecord) and not record.in_kafka:
        return NoOpRecord()
    ours = {f.name: f.default for f in type(record).fields() if f.declared.ours}
    return attrs.evolve(record, **ours)


@settings(max_examples=200)
@given(records(), st.data())
def test_a_changed_byte_in_kafkas_form_never_fails_otherwise(record: AnyRecord, data: st.DataObject) -> None:
    """Foreign bytes may be wrong in any way; they are refused with MalformedRecord and nothing else."""
    if isinstance(record, ControlRecord):
        return
    value = encode_record(record)
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + bytes((data.draw(st.integers(0, 255)),)) + value[place + 1 :]
    try:
        decode_record(changed)
    except MalformedRecord:
        return


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**40),
            st.lists(records().filter(lambda r: not isinstance(r, ControlRecord)), min_size=1),
        ),
        max_size=3,
    )
)
def test_batches_of_kafkas_form_come_back(batches: list[tuple[int, list[AnyRecord]]]) -> None:
    written = [
        KafkaBatch(
            base_offset=Offset(base),
            epoch=Epoch(3),
            append_time_ms=1_700_000_000_000,
            is_control=False,
            records=tuple(held),
        )
        for base, held in batches
    ]
    known = [attrs.evolve(one, records=tuple(map(_as_kafka_knows_it, one.records))) for one in written]
    assert list(decode_batches(b"".join(map(encode_batch, written)))) == known
