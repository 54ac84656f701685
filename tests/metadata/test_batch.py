"""Record batches: what is sealed is read back, and no flipped bit, cut or shift goes unnoticed."""

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.batch import (
    HEADER_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    CorruptBatch,
    RecordBatch,
    decode_batches,
)
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.codec import MalformedRecord, encode_payload
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.records import AnyRecord, ConfigRecord, KRaftVersionRecord, NoOpRecord

NO_OP = NoOpRecord()


def seal(*records: AnyRecord, base: int = 7, epoch: int = 3, control: bool = False) -> RecordBatch:
    return RecordBatch.seal(
        records, base_offset=Offset(base), epoch=Epoch(epoch), append_time_ms=1234, is_control=control
    )


SMALL = seal(ConfigRecord(resource_type=2, resource_name="t", name="n", value="v"), NO_OP)


def test_the_bytes_of_a_batch() -> None:
    """Golden: every replica and every later release must find these."""
    assert seal(NO_OP).data.hex(" ", -4) == (
        "00000022 209b3069 01000000 00000000 00070000 00030000 00010000 00000000 04d28182 1400"
    )


@given(
    base=st.integers(0, 2**62),
    epoch=st.integers(0, 2**31 - 1),
    time_ms=st.integers(-(2**63), 2**63 - 1),
    values=st.lists(st.text(max_size=20), min_size=1, max_size=5),
    control=st.booleans(),
    before=st.binary(max_size=50),
    behind=st.binary(max_size=50),
)
def test_what_is_sealed_is_read_back(
    base: int, epoch: int, time_ms: int, values: list[str], control: bool, before: bytes, behind: bytes
) -> None:
    records: list[AnyRecord] = [
        KRaftVersionRecord(k_raft_version=len(value))
        if control
        else ConfigRecord(resource_type=2, resource_name="t", name="n", value=value)
        for value in values
    ]
    sealed = RecordBatch.seal(
        records,
        base_offset=Offset(base),
        epoch=Epoch(epoch),
        append_time_ms=time_ms,
        is_control=control,
    )
    found = RecordBatch.decode(before + sealed.data + behind, len(before))

    assert found == sealed
    assert found.records() == tuple(records)
    assert found.end == OffsetAndEpoch(Offset(base + len(values)), Epoch(epoch))


def test_batches_one_after_the_other() -> None:
    batches = [
        seal(NO_OP, base=0),
        seal(NO_OP, NO_OP, base=1),
        seal(KRaftVersionRecord(k_raft_version=1), control=True),
    ]

    assert list(decode_batches(b"".join(one.data for one in batches))) == batches
    assert list(decode_batches(b"")) == []


@pytest.mark.parametrize("bit", range(8 * len(SMALL.data)))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(SMALL.data)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptBatch):
        RecordBatch.decode(bytes(data))
    with pytest.raises(CorruptBatch):
        RecordBatch.decode(bytes(data) + SMALL.data)  # a length that grew finds bytes behind


@pytest.mark.parametrize("size", range(len(SMALL.data)))
def test_a_part_of_a_batch_is_none(size: int) -> None:
    with pytest.raises(CorruptBatch):
        RecordBatch.decode(SMALL.data[:size])


def test_zeros_are_no_batch() -> None:
    with pytest.raises(CorruptBatch):
        RecordBatch.decode(bytes(4096))


def forged(position: int, new: bytes, data: bytes = SMALL.data) -> bytes:
    """Other bytes behind the crc, and a crc that fits."""
    changed = bytearray(data)
    changed[position : position + len(new)] = new
    changed[4:8] = crc32c(bytes(changed[8:])).to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize(
    ("position", "new"),
    [
        (8, b"\0"),  # format
        (8, b"\2"),
        (9, b"\2"),  # attributes
        (9, b"\x80"),
        (10, b"\xff" * 8),  # base offset
        (18, b"\xff" * 4),  # epoch
        (22, bytes(4)),  # record count
        (22, (MAX_BATCH_RECORDS + 1).to_bytes(4, "big")),
    ],
)
def test_an_impossible_header_is_refused_even_under_a_good_crc(position: int, new: bytes) -> None:
    assert RecordBatch.decode(forged(0, b"")) == SMALL
    with pytest.raises(CorruptBatch, match="impossible batch header"):
        RecordBatch.decode(forged(position, new))


@pytest.mark.parametrize("size", [0, HEADER_BYTES - 4, MAX_BATCH_BYTES - 3, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_read(size: int) -> None:
    with pytest.raises(CorruptBatch, match="impossible batch length"):
        RecordBatch.decode(size.to_bytes(4, "big") + SMALL.data[4:])


def test_a_header_that_counts_other_records_than_there_are_is_noticed_when_they_are_read() -> None:
    found = RecordBatch.decode(forged(22, (3).to_bytes(4, "big")))
    with pytest.raises(InvariantViolated, match="holds 2 records, its header says 3"):
        found.records()


@pytest.mark.parametrize(
    ("records", "is_control", "text"),
    [
        (
            (NO_OP, KRaftVersionRecord(k_raft_version=1)),
            False,
            "data batch at 7 holds a KRaftVersionRecord at offset 8",
        ),
        (
            (KRaftVersionRecord(k_raft_version=1), NO_OP),
            True,
            "control batch at 7 holds a NoOpRecord at offset 8",
        ),
    ],
    ids=["control record among data", "data record among control records"],
)
def test_what_the_batch_is_and_what_its_records_are_must_agree(
    records: tuple[AnyRecord, ...], is_control: bool, text: str
) -> None:
    """The core looks for voters in control batches only, the image takes data batches only: what stands in the
    wrong kind would be seen by one and not by the other."""
    found = seal(*records, control=is_control)
    with pytest.raises(MalformedRecord, match=text):
        found.records()


def test_a_batch_holds_one_record_to_ten_thousand() -> None:
    assert seal(*[NO_OP] * MAX_BATCH_RECORDS).record_count == MAX_BATCH_RECORDS
    for count in (0, MAX_BATCH_RECORDS + 1):
        with pytest.raises(InvariantViolated, match="a batch holds 1 to"):
            seal(*[NO_OP] * count)


def test_a_batch_has_eight_mebibytes_at_most() -> None:
    one = len(encode_payload([NO_OP]))
    room = MAX_BATCH_BYTES - HEADER_BYTES
    assert one < room

    def of(size: int) -> RecordBatch:
        return RecordBatch.seal_payload(
            bytes(size), record_count=1, base_offset=Offset(0), epoch=Epoch(1), append_time_ms=0
        )

    assert RecordBatch.decode(of(room).data) == of(room)
    with pytest.raises(InvariantViolated, match="a batch has at most"):
        of(room + 1)
