"""Batches and images ahead of the commit."""

import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.controller.speculation import Speculation
from quorate.metadata.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated, RequestRejected
from quorate.metadata.ids import Epoch, Offset
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import AnyDataRecord, ConfigRecord, NoOpRecord, RemoveTopicRecord
from tests.controller.desk import control_batch, data_batch

BASE = Offset(100)


def speculation() -> Speculation:
    return Speculation(MetadataImage.EMPTY, Epoch(3), BASE)


def setting(number: int, value: str = "v") -> ConfigRecord:
    return ConfigRecord(resource_type=2, resource_name=f"t{number}", name="k", value=value)


def sealed(made: Speculation) -> tuple[RecordBatch, ...]:
    made.seal(wall_ms=5)
    return made.take_sealed()


def test_nothing_is_nothing() -> None:
    made = speculation()

    assert made.add([], atomic=True, wall_ms=1) == ()
    assert sealed(made) == ()
    assert not made.is_pending


def test_operations_gather_in_one_batch() -> None:
    made = speculation()
    made.add([setting(1), setting(2)], atomic=True, wall_ms=5)
    made.add([setting(3)], atomic=False, wall_ms=5)
    assert made.is_pending
    assert made.next_offset == BASE + 3

    batches = sealed(made)

    assert len(batches) == 1
    assert batches[0].records() == (setting(1), setting(2), setting(3))
    assert (batches[0].base_offset, batches[0].epoch, batches[0].append_time_ms) == (BASE, 3, 5)
    assert made.take_sealed() == ()


def test_the_link_of_a_batch_has_its_image_and_what_led_to_it() -> None:
    made = speculation()
    first = made.add([setting(1)], atomic=True, wall_ms=5)
    second = made.add([setting(2)], atomic=True, wall_ms=5)
    (batch,) = sealed(made)

    link = made.committed(batch)

    assert link is not None
    assert link.image is made.image
    assert link.image.provenance.offset == batch.end_offset - 1
    assert link.image.provenance.append_time_ms == batch.append_time_ms
    assert link.deltas == (*first, *second)
    assert not made.is_pending


def test_what_is_not_ours_has_no_link() -> None:
    made = speculation()
    made.add([setting(1)], atomic=True, wall_ms=5)
    sealed(made)

    assert made.committed(control_batch(99, 3)) is None
    assert speculation().committed(control_batch(100, 3)) is None
    with pytest.raises(InvariantViolated):
        made.committed(data_batch(100, 4, [setting(1)]))


def test_a_failing_operation_leaves_no_trace() -> None:
    made = speculation()
    made.add([setting(1)], atomic=True, wall_ms=5)
    image, offset = made.image, made.next_offset
    impossible: Sequence[AnyDataRecord] = [setting(2), RemoveTopicRecord(topic_id=uuid.UUID(int=5))]

    with pytest.raises(ReplayError):
        made.add(impossible, atomic=True, wall_ms=5)
    with pytest.raises(ReplayError):
        made.add([*(setting(i) for i in range(2_000)), *impossible], atomic=False, wall_ms=5)

    assert (made.image, made.next_offset) == (image, offset)
    assert [batch.record_count for batch in sealed(made)] == [1]


@pytest.mark.parametrize(
    "records",
    [
        [NoOpRecord()] * (MAX_BATCH_RECORDS + 1),
        [setting(number, "v" * 30_000) for number in range(300)],
    ],
    ids=["records", "bytes"],
)
def test_an_atomic_operation_that_fits_into_no_batch(records: list[AnyDataRecord]) -> None:
    made = speculation()

    with pytest.raises(RequestRejected) as refusal:
        made.add(records, atomic=True, wall_ms=5)

    assert refusal.value.code is ErrorCode.policy_violation
    assert not made.is_pending


def test_a_non_atomic_operation_is_cut_by_bytes_too() -> None:
    made = speculation()
    records = [setting(number, "v" * 30_000) for number in range(600)]

    made.add(records, atomic=False, wall_ms=5)
    batches = sealed(made)

    assert [r for batch in batches for r in batch.records()] == records
    assert len(batches) in (3, 4)
    assert all(len(batch.data) <= MAX_BATCH_BYTES for batch in batches)


def test_large_batches_are_filled_well() -> None:
    made = speculation()

    made.add([NoOpRecord()] * 25_000, atomic=False, wall_ms=5)

    assert [batch.record_count for batch in sealed(made)] == [10_000, 10_000, 5_000]


def test_records_of_the_quorum_come_in_between() -> None:
    made = speculation()
    made.add([setting(1)], atomic=True, wall_ms=5)
    sealed(made)

    made.follow_log_end(Offset(BASE + 3))
    made.add([setting(2)], atomic=True, wall_ms=5)

    assert sealed(made)[0].base_offset == BASE + 3
    with pytest.raises(InvariantViolated):
        made.follow_log_end(BASE)


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_any_cut_leads_to_the_same_image(operations: list[tuple[int, bool, bool]]) -> None:
    made = speculation()
    everything: list[AnyDataRecord] = []
    batches: list[RecordBatch] = []
    for number, (count, atomic, seal_after) in enumerate(operations):
        records = [setting(i % 7, f"{number}-{i}") for i in range(count)]
        made.add(records, atomic=atomic, wall_ms=5)
        everything += records
        if seal_after:
            batches += sealed(made)
    batches += sealed(made)

    assert [r for batch in batches for r in batch.records()] == everything
    offset = BASE
    for batch in batches:
        assert batch.base_offset == offset
        offset = batch.end_offset
    replayed = MetadataDelta(MetadataImage.EMPTY)
    replayed.replay_all(everything)
    assert replayed.apply(made.image.provenance) == made.image
    assert made.image.offset == offset - 1
    links = [made.committed(batch) for batch in batches]
    assert links[-1] is not None
    assert links[-1].image is made.image
    assert not made.is_pending
