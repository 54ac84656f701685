"""The bound for Kafka's form is never too small, and not absurdly large."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.controller.kafka_size import kafka_size
from quorate.metadata.codec import encode_records
from quorate.metadata.kafka_form import encode_record
from quorate.metadata.records import AnyDataRecord, ConfigRecord, DataRecord, PartitionRecord
from tests.controller.world import directory
from tests.properties.strategies import records

_RECORD_HEADER_BYTES = 20
"""Of one record in Kafka's batch, at most: lengths, deltas, attributes, header count."""


DATA_RECORDS = records().filter(lambda record: isinstance(record, DataRecord))


def actual(some: list[AnyDataRecord]) -> int:
    return sum(len(encode_record(record)) + _RECORD_HEADER_BYTES for record in some)


@given(st.lists(DATA_RECORDS, min_size=1, max_size=20))
def test_small_operations(some: list[AnyDataRecord]) -> None:
    assert kafka_size(some, len(encode_records(some))) >= actual(some)


@given(st.lists(DATA_RECORDS, min_size=1, max_size=20))
def test_large_operations(some: list[AnyDataRecord]) -> None:
    # As if they were many: then the fields are looked at.
    assert kafka_size(some, 10**9) >= actual(some)


@pytest.mark.parametrize(
    "some",
    [
        [ConfigRecord(resource_type=2, resource_name="t", name="x", value="v" * 30_000)] * 200,
        [
            PartitionRecord(
                version=1,
                partition_id=number,
                topic_id=uuid.UUID(int=1),
                replicas=(1, 2, 3),
                isr=(1, 2, 3),
                leader=1,
                leader_epoch=0,
                partition_epoch=0,
                directories=(directory(1), directory(2), directory(3)),
            )
            for number in range(10_000)
        ],
    ],
    ids=["long values", "many partitions"],
)
def test_what_fits_is_let_through(some: list[AnyDataRecord]) -> None:
    bound = kafka_size(some, len(encode_records(some)))

    assert actual(some) <= bound <= 8 * 1024 * 1024
