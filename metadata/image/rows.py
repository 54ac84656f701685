"""Partitions packed as rows of bytes, and chunks of rows.

Two million partitions as objects would be some gigabytes, and tens of millions of things for the garbage collector to
visit. As rows they are about a hundred bytes each that it never sees. A topic keeps its rows in chunks of 64: a change
rewrites one chunk, the others are shared with the image before.

    row    counts of (replicas, isr, removing, adding, eligible, last known) u8 each · recovery state i8 · leader i32
           · leader epoch i32 · partition epoch i32 · the brokers, i32 each, in that order · a directory id per replica
    chunk  number u32 · slots u16 · (slots + 1) offsets u32 · rows; slot i holds partition 64 * (chunk's place) + i,
           an empty row is a partition that does not exist

Both are big-endian and canonical: equal partitions are equal bytes, except for the chunk's number, which only the
index of replicas knows (`replica_index`). Digests hash these bytes, so a change of the layout is a new digest form.
"""

import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import accumulate
from struct import Struct
from typing import Final

import attrs

from quorate.metadata.ids import MIGRATING_DIRECTORY, uuid_from_bytes
from quorate.metadata.records import PartitionRecord

CHUNK_SLOTS: Final = 64

_HEAD: Final = Struct(">BBBBBBbiii")
_WIDE_HEAD: Final = Struct(">BHHHHHHbiii")
"""For a partition with more than 254 replicas in a list: the mark 255, then the counts as u16."""
_LEADERS: Final = Struct(">7xi8xi")
"""Of a row with `_HEAD`: its leader, and its first broker behind the head."""
_WIDE: Final = 255
_REMOVING_AT: Final = 2
"""The place of the count of removing replicas among the counts; that of the adding ones follows."""
_CHUNK_HEAD: Final = Struct(">IH")
_TWO_OFFSETS: Final = Struct(">II")
_OFFSET_BYTES: Final = 4
_INT_BYTES: Final = 4
_UUID_BYTES: Final = 16
_NUMBER_BYTES: Final = 4


@attrs.frozen
class PartitionRegistration:
    """The state of one partition.

    Invariants: one directory per replica; `leader` is -1 or a broker.
    """

    replicas: tuple[int, ...]
    directories: tuple[uuid.UUID, ...]
    isr: tuple[int, ...]
    removing_replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    eligible_leader_replicas: tuple[int, ...]
    last_known_elr: tuple[int, ...]
    leader: int
    leader_recovery_state: int
    leader_epoch: int
    partition_epoch: int

    @property
    def preferred_replica(self) -> int:
        """The replica that should lead when all is well; -1 where there are no replicas."""
        return self.replicas[0] if self.replicas else -1

    @property
    def is_reassigning(self) -> bool:
        return bool(self.removing_replicas or self.adding_replicas)

    def directory(self, broker_id: int) -> uuid.UUID | None:
        """The log directory of a broker's replica, or None if it holds none."""
        return self.directories[self.replicas.index(broker_id)] if broker_id in self.replicas else None


def directories_for(directories: tuple[uuid.UUID, ...], replicas: int) -> tuple[uuid.UUID, ...]:
    """Kafka's reading of a record without directories: every replica is where it always was."""
    return directories or (MIGRATING_DIRECTORY,) * replicas


@cache
def _ints(count: int) -> Struct:
    return Struct(f">{count}i")


def pack_row(partition: PartitionRegistration | PartitionRecord) -> bytes:
    """A registration as a row, or what a Partition record says, which has the same fields."""
    p = partition
    brokers = (
        *p.replicas,
        *p.isr,
        *p.removing_replicas,
        *p.adding_replicas,
        *p.eligible_leader_replicas,
        *p.last_known_elr,
    )
    counts = (
        len(p.replicas),
        len(p.isr),
        len(p.removing_replicas),
        len(p.adding_replicas),
        len(p.eligible_leader_replicas),
        len(p.last_known_elr),
    )
    state = (p.leader_recovery_state, p.leader, p.leader_epoch, p.partition_epoch)
    head = _HEAD.pack(*counts, *state) if max(counts) < _WIDE else _WIDE_HEAD.pack(_WIDE, *counts, *state)
    directories = directories_for(p.directories, len(p.replicas))
    return b"".join((head, _ints(len(brokers)).pack(*brokers), *[d.bytes for d in directories]))


def unpack_row(buffer: bytes, at: int = 0) -> PartitionRegistration:
    """The partition whose row starts at `at`."""
    if buffer[at] != _WIDE:
        a, b, c, d, e, f, recovery, leader, leader_epoch, partition_epoch = _HEAD.unpack_from(buffer, at)
        at += _HEAD.size
    else:
        _, a, b, c, d, e, f, recovery, leader, leader_epoch, partition_epoch = _WIDE_HEAD.unpack_from(
            buffer, at
        )
        at += _WIDE_HEAD.size
    end_isr = a + b
    end_removing = end_isr + c
    end_adding = end_removing + d
    end_elr = end_adding + e
    brokers = _ints(end_elr + f).unpack_from(buffer, at)
    at += (end_elr + f) * _INT_BYTES
    return PartitionRegistration(
        brokers[:a],
        tuple(
            [
                uuid_from_bytes(buffer[i : i + _UUID_BYTES])
                for i in range(at, at + a * _UUID_BYTES, _UUID_BYTES)
            ]
        ),
        brokers[a:end_isr],
        brokers[end_isr:end_removing],
        brokers[end_removing:end_adding],
        brokers[end_adding:end_elr],
        brokers[end_elr:],
        leader,
        recovery,
        leader_epoch,
        partition_epoch,
    )


def row_replicas(buffer: bytes, at: int = 0) -> tuple[int, ...]:
    """Only the replicas of a row: what an index asks of many rows."""
    if buffer[at] != _WIDE:
        return _ints(buffer[at]).unpack_from(buffer, at + _HEAD.size)
    return _ints(_WIDE_HEAD.unpack_from(buffer, at)[1]).unpack_from(buffer, at + _WIDE_HEAD.size)


def row_leaders(buffer: bytes, at: int = 0) -> tuple[int, int]:
    """(leader, preferred replica) of a row: what a count over all rows asks; -1 where there is none."""
    if buffer[at] in (0, _WIDE):
        partition = unpack_row(buffer, at)
        return partition.leader, partition.preferred_replica
    leader, preferred = _LEADERS.unpack_from(buffer, at)
    return leader, preferred


def row_is_reassigning(buffer: bytes, at: int = 0) -> bool:
    """Whether a row has replicas that come or go, without reading the rest of it."""
    if buffer[at] != _WIDE:
        return bool(buffer[at + _REMOVING_AT] or buffer[at + _REMOVING_AT + 1])
    counts = _WIDE_HEAD.unpack_from(buffer, at)
    return bool(counts[1 + _REMOVING_AT] or counts[2 + _REMOVING_AT])


def chunk_number(chunk: bytes) -> int:
    """The number under which the index of replicas knows the chunk."""
    number: int = _CHUNK_HEAD.unpack_from(chunk)[0]
    return number


def chunk_content(chunk: bytes) -> bytes:
    """All but the number: what makes two chunks equal."""
    return chunk[_NUMBER_BYTES:]


def row_at(chunk: bytes, slot: int) -> tuple[int, int]:
    """(begin, end) of the row in a slot; equal where there is none."""
    if not chunk or slot >= _CHUNK_HEAD.unpack_from(chunk)[1]:
        return 0, 0
    begin, end = _TWO_OFFSETS.unpack_from(chunk, _CHUNK_HEAD.size + slot * _OFFSET_BYTES)
    return begin, end


def row_offsets(chunk: bytes) -> tuple[int, ...]:
    """Where each row begins, and the chunk's end."""
    if not chunk:
        return ()
    slots = _CHUNK_HEAD.unpack_from(chunk)[1]
    return _offsets(slots + 1).unpack_from(chunk, _CHUNK_HEAD.size)


@cache
def _offsets(count: int) -> Struct:
    return Struct(f">{count}I")


def rows_of(chunk: bytes) -> Iterator[tuple[int, int]]:
    """(slot, begin) of every row that exists."""
    offsets = row_offsets(chunk)
    for slot in range(len(offsets) - 1):
        if offsets[slot] != offsets[slot + 1]:
            yield slot, offsets[slot]


def rows_with(chunk: bytes, broker_id: int) -> Iterator[tuple[int, int]]:
    """(slot, begin) of every row with a replica on the broker.

    The broker's four bytes are searched first: most rows of a big chunk are somebody else's, and are not looked at.
    """
    offsets = row_offsets(chunk)
    if not offsets:
        return
    wanted = _ints(1).pack(broker_id)
    at = chunk.find(wanted, offsets[0])
    while at >= 0:
        slot = bisect_right(offsets, at) - 1
        if broker_id in row_replicas(chunk, offsets[slot]):
            yield slot, offsets[slot]
        at = chunk.find(wanted, offsets[slot + 1])


def replicas_of(chunk: bytes) -> set[int]:
    """Every broker that holds a replica of some partition of the chunk."""
    found: set[int] = set()
    for _, begin in rows_of(chunk):
        found.update(row_replicas(chunk, begin))
    return found


def edit_chunk(chunk: bytes, number: int, rows: Mapping[int, bytes]) -> tuple[bytes, int]:
    """(the chunk with these slots replaced, how many of them are new); an empty chunk is `b""`."""
    offsets = row_offsets(chunk)
    old_slots = max(len(offsets) - 1, 0)
    content = [chunk[offsets[i] : offsets[i + 1]] for i in range(old_slots)]
    content += [b""] * (max(rows) + 1 - old_slots)
    added = 0
    for slot, row in rows.items():
        added += not content[slot]
        content[slot] = row
    begin = _CHUNK_HEAD.size + (len(content) + 1) * _OFFSET_BYTES
    starts = accumulate(map(len, content), initial=begin)
    head = _CHUNK_HEAD.pack(number, len(content)) + _offsets(len(content) + 1).pack(*starts)
    return head + b"".join(content), added
