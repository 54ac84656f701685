"""The bytes of journal and snapshot files: frames with a checksum (pure).

A frame is `magic u32 · length u32 · crc32c u32`, then as many bytes as `length` says, which the crc covers: in a
journal the last zxid that was on disk when the frame was written, and transactions; in a snapshot a kind, and rows.
"""

from collections.abc import Iterator
from typing import Final

import attrs
from crc32c import crc32c

from quorate.metadata.checks import InvariantViolated, RemoteProtocolError
from quorate.metadata.zookeeper.jute import Reader, Writer
from quorate.metadata.zookeeper.records import read_transaction
from quorate.metadata.zookeeper.transactions import Transaction

MAGIC: Final = b"QZK1"
_HEAD: Final = 12


def frame(payload: bytes) -> bytes:
    return MAGIC + len(payload).to_bytes(4, "big") + crc32c(payload).to_bytes(4, "big") + payload


def frame_at(data: bytes | memoryview, position: int) -> bytes | None:
    """The payload of the frame that begins there; None: none does."""
    head = bytes(data[position : position + _HEAD])
    if len(head) < _HEAD or head[:4] != MAGIC:
        return None
    size = int.from_bytes(head[4:8], "big")
    payload = bytes(data[position + _HEAD : position + _HEAD + size])
    # the checksum of nothing is zero, so a bare MAGIC before zeros would be a frame
    if not payload or len(payload) < size or crc32c(payload) != int.from_bytes(head[8:12], "big"):
        return None
    return payload


def frame_size(payload: bytes) -> int:
    return _HEAD + len(payload)


def group(flushed_zxid: int, transactions: bytes) -> bytes:
    """A frame of a journal."""
    return frame(flushed_zxid.to_bytes(8, "big") + transactions)


@attrs.frozen
class Scan:
    """What a journal file holds."""

    transactions: list[Transaction]
    end: int
    """Where the good part ends."""
    torn: str | None
    """Why what lies behind is no part of it, unless it is nothing or zeros."""


class Damaged(Exception):
    """A frame that was on disk, and is no frame any more: acknowledged writes are lost."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position: Final = position


def scan(data: bytes) -> Scan:
    """
    Raises:
        Damaged: a bad frame, and a later one knows that it was on disk.
    """
    found: list[Transaction] = []
    position, last_zxid = 0, 0
    while (payload := frame_at(data, position)) is not None:
        for transaction in _transactions(payload, position):
            found.append(transaction)
            last_zxid = transaction.zxid
        position += frame_size(payload)
    rest = data[position:]
    if not rest.strip(b"\0"):
        return Scan(found, position, None)
    for at, flushed in _later_frames(data, position + 1):
        if flushed > last_zxid:
            raise Damaged(
                position,
                f"the frame at byte {at} says that zxid {flushed:#x} was on disk, and it is not here",
            )
    return Scan(found, position, f"{len(rest)} bytes after byte {position} are no whole frame")


def _transactions(payload: bytes, position: int) -> Iterator[Transaction]:
    reader = Reader(payload, 8)
    try:
        while not reader.at_end():
            yield read_transaction(reader)
    except (RemoteProtocolError, InvariantViolated) as e:
        raise Damaged(position, f"its checksum is right, and it cannot be read: {e}") from None


def _later_frames(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Whole frames anywhere behind, with what they knew to be on disk. The kernel writes what was not flushed in any
    order, so one that knows nothing of the lost one proves nothing."""
    while (position := data.find(MAGIC, position)) >= 0:
        payload = frame_at(data, position)
        if payload is not None and len(payload) >= 8:
            yield position, int.from_bytes(payload[:8], "big")
        position += 1


# -- snapshots

ROWS: Final = b"R"
SESSIONS: Final = b"S"
END: Final = b"E"


def end_of_snapshot(zxid: int, nodes: int) -> bytes:
    return frame(END + Writer().i64(zxid).i64(nodes).done())


def snapshot_frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and rows of each frame, the end among them.

    Raises:
        Damaged: something in it is no frame.
    """
    view = memoryview(data)
    position = 0
    while position < len(data):
        payload = frame_at(view, position)
        if not payload:
            raise Damaged(position, f"no frame begins at byte {position}")
        yield payload[:1], payload[1:]
        position += frame_size(payload)
