"""Packed partitions: rows, chunks and the index of replicas, at the edges that histories rarely reach."""

import uuid

import pytest

from quorate.metadata.image.replica_index import ReplicaIndex, ReplicaIndexEdit
from quorate.metadata.image.rows import (
    PartitionRegistration,
    chunk_content,
    chunk_number,
    edit_chunk,
    pack_row,
    replicas_of,
    row_at,
    row_replicas,
    rows_of,
    rows_with,
    unpack_row,
)
from tests.metadata.model.building import A, B, image_of, partition, topic


def registration(replicas: tuple[int, ...], isr: tuple[int, ...] = ()) -> PartitionRegistration:
    return PartitionRegistration(
        replicas=replicas,
        directories=tuple(uuid.UUID(int=1000 + r) for r in replicas),
        isr=isr,
        removing_replicas=(),
        adding_replicas=(9,),
        eligible_leader_replicas=(),
        last_known_elr=(7, 8),
        leader=-1,
        leader_recovery_state=1,
        leader_epoch=2**31 - 1,
        partition_epoch=0,
    )


@pytest.mark.parametrize("replicas", [0, 1, 3, 254, 255, 256, 1000])
@pytest.mark.parametrize("in_sync", [0, 254, 255])
def test_a_row_of_any_size_comes_back(replicas: int, in_sync: int) -> None:
    one = registration(tuple(range(replicas)), tuple(range(in_sync)))
    row = pack_row(one)
    assert unpack_row(row) == one
    assert row_replicas(row) == one.replicas
    assert unpack_row(b"xx" + row + b"yy", 2) == one


def test_three_replicas_take_91_bytes() -> None:
    """The size that memory is planned with: 2,000,000 partitions are 190 MB and their chunks' offsets."""
    plain = image_of([topic(), partition()]).topics.by_id(A)
    found = plain.partition(0) if plain is not None else None
    assert found is not None
    assert len(pack_row(found)) == 91


def test_a_chunk_is_edited_in_place_and_at_its_end() -> None:
    rows = {slot: pack_row(registration((slot, 5))) for slot in (0, 3, 63)}
    chunk, added = edit_chunk(b"", 77, rows)
    assert (chunk_number(chunk), added) == (77, 3)
    assert [slot for slot, _ in rows_of(chunk)] == [0, 3, 63]
    assert row_at(chunk, 1)[0] == row_at(chunk, 1)[1]
    assert row_at(chunk, 64) == (0, 0)
    longer, added = edit_chunk(chunk, 77, {3: pack_row(registration((1, 2, 3))), 4: rows[0]})
    assert added == 1
    assert {slot: unpack_row(longer, at).replicas for slot, at in rows_of(longer)} == {
        0: (0, 5),
        3: (1, 2, 3),
        4: (0, 5),
        63: (63, 5),
    }
    assert replicas_of(longer) == {0, 1, 2, 3, 5, 63}


def test_the_number_is_not_part_of_what_a_chunk_says() -> None:
    rows = {1: pack_row(registration((1,)))}
    one, _ = edit_chunk(b"", 1, rows)
    other, _ = edit_chunk(b"", 2, rows)
    assert one != other
    assert chunk_content(one) == chunk_content(other)


@pytest.mark.parametrize("broker", [0, 1, 9, 255, 65536, 2**24, -1])
def test_a_brokers_rows_are_found_among_bytes_that_look_alike(broker: int) -> None:
    """The search goes by bytes: it must not stop at an ISR, an epoch, an offset, or across two numbers."""
    lists = [(), (broker,), (1, 2, 3), (broker + 1, broker), (0, 0), (256, 1, 65536), (2**24, 9)]
    registrations = [registration(replicas, (broker, 1)) for replicas in lists]
    chunk, _ = edit_chunk(b"", broker & 0xFFFF, {i: pack_row(r) for i, r in enumerate(registrations)})
    found = [slot for slot, at in rows_with(chunk, broker) if unpack_row(chunk, at) == registrations[slot]]
    assert found == [i for i, replicas in enumerate(lists) if broker in replicas]
    assert list(rows_with(b"", broker)) == []


def test_the_index_forgets_and_never_reuses_numbers() -> None:
    edit = ReplicaIndexEdit(ReplicaIndex.EMPTY)
    numbers = [edit.new_chunk(A) for _ in range(1500)]
    for number in numbers:
        edit.add(number, (1, 2))
    index = edit.finish()
    assert index.chunks_of(1) == {A: set(range(1500))}
    assert index.chunks_of(3) == {}

    edit = ReplicaIndexEdit(index)
    for number in numbers[1:]:
        edit.forget_chunk(number, (1, 2))
    edit.drop(0, (2,))
    assert edit.new_chunk(B) == 1500
    edit.add(1500, (2,))
    after = edit.finish()
    assert (after.chunks_of(1), after.chunks_of(2)) == ({A: {0}}, {B: {1500}})
    assert dict(after.topics) == {0: A, 1500: B}
    assert index.chunks_of(2) == {A: set(range(1500))}
