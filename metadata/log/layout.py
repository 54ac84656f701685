"""Names in a metadata directory, and the bytes that are this node's own: the prefix before a batch, the flushed mark.

    meta.properties                                 identity, written last by `storage format`
    .lock                                           held while a node runs here; says its process id
    quorum-state                                    epoch, leader, vote
    bootstrap.checkpoint                            the cluster's first records, for its first leader
    <20-digit base offset>.log                      a segment: (prefix, batch), (prefix, batch), …, zeros
    <20-digit end offset>-<10-digit epoch>.checkpoint   a snapshot: batches, byte for byte as they are shipped
    flushed                                         how far the log was flushed; a lower bound, never fsynced
    reserve                                         room to finish with when the disk is full

Prefix: `magic u32 · flushed_to i64 · crc32c u32`. `flushed_to` is what this node had flushed when it wrote the
batch, so a bad batch below any such bound is lost data and not a torn tail. The crc covers the place (segment,
position) and the batch's own length and crc too: a prefix proves that this very batch was written at this very
place, which a block that the disk wrote or read somewhere else cannot do, nor bytes inside a record's value.
"""

import re
import struct
from typing import Final

from crc32c import crc32c

from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch

META_PROPERTIES: Final = "meta.properties"
LOCK: Final = ".lock"
QUORUM_STATE: Final = "quorum-state"
BOOTSTRAP: Final = "bootstrap.checkpoint"
FLUSHED: Final = "flushed"
RESERVE: Final = "reserve"
ASIDE_SUFFIX: Final = ".tmp"
OWN_PART_SUFFIX: Final = ".own.part"
FETCHED_PART_SUFFIX: Final = ".fetched.part"
PART_SUFFIX: Final = ".part"

_SEGMENT: Final = re.compile(r"(\d{20})\.log")
_SNAPSHOT: Final = re.compile(r"(\d{20})-(\d{10})\.checkpoint")

MAGIC: Final = b"\xf1Qb1"
_PREFIX: Final = struct.Struct(">4sqI")
_COVERED: Final = struct.Struct(">qqq8s")  # segment, position, flushed_to, the batch's length and crc
_MARK: Final = struct.Struct(">qI")
PREFIX_BYTES: Final = _PREFIX.size
MARK_BYTES: Final = _MARK.size
_BATCH_HEAD: Final = 8
SEALED_HEAD_BYTES: Final = PREFIX_BYTES + _BATCH_HEAD
"""So many bytes are needed to check a prefix."""


class BadPrefix(ValueError):
    """These bytes are no prefix, or one that was written for another place or another batch."""


def segment_name(base: Offset) -> str:
    return f"{base:020}.log"


def snapshot_name(snapshot_id: OffsetAndEpoch) -> str:
    return f"{snapshot_id.offset:020}-{snapshot_id.epoch:010}.checkpoint"


def segment_base(name: str) -> Offset | None:
    """The base offset that a file name says, or None: not a segment."""
    found = _SEGMENT.fullmatch(name)
    return Offset(int(found[1])) if found else None


def snapshot_id_of(name: str) -> OffsetAndEpoch | None:
    """The id that a file name says, or None: not a snapshot."""
    found = _SNAPSHOT.fullmatch(name)
    return OffsetAndEpoch(Offset(int(found[1])), Epoch(int(found[2]))) if found else None


def pack_prefix(base: Offset, position: int, flushed_to: Offset, batch: bytes) -> bytes:
    """The prefix of a batch that goes to `position` of the segment `base`."""
    crc = crc32c(_COVERED.pack(base, position, flushed_to, batch[:_BATCH_HEAD]))
    return _PREFIX.pack(MAGIC, flushed_to, crc)


def unpack_prefix(base: Offset, position: int, buffer: bytes | memoryview) -> Offset:
    """`flushed_to` of the prefix at the beginning of `buffer`, which lies at `position` of the segment `base`.

    Raises:
        BadPrefix: nothing that this node wrote there.
    """
    if len(buffer) < SEALED_HEAD_BYTES:
        raise BadPrefix(f"only {len(buffer)} bytes are left")
    magic, flushed_to, crc = _PREFIX.unpack_from(buffer)
    if magic != MAGIC:
        raise BadPrefix("no batch begins here")
    head = bytes(buffer[PREFIX_BYTES:SEALED_HEAD_BYTES])
    if crc32c(_COVERED.pack(base, position, flushed_to, head)) != crc:
        raise BadPrefix("the bytes in front of the batch do not fit their crc")
    return Offset(flushed_to)


def pack_mark(flushed_to: Offset) -> bytes:
    return _MARK.pack(flushed_to, crc32c(_MARK.pack(flushed_to, 0)))


def unpack_mark(content: bytes) -> Offset | None:
    """What the flushed mark says; None if it says nothing: it is written without care, and only ever helps."""
    if len(content) < MARK_BYTES:
        return None
    flushed_to, crc = _MARK.unpack_from(content)
    return Offset(flushed_to) if crc32c(_MARK.pack(flushed_to, 0)) == crc and flushed_to >= 0 else None
