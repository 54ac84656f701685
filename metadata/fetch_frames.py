"""A follower's Fetch and its answer by a shorter way between bytes and messages (pure; KIP-595).

While nothing but the log grows, one Fetch differs from the next in three numbers, and one answer from the next in its
high watermark and its batches. The general codec builds and takes apart a dozen objects for each, a tenth of what a
write costs. So a frame that went the general way shows where those few places lie; the frame after it is compared with
it byte by byte, and only they are read or written. What does not compare, whoever sent it, goes the general way
again: no bytes are written or understood here that the general codec would not write or understand alike.
"""

import struct
from collections.abc import Sequence
from typing import Final

import attrs

from quorate.metadata.batch import CorruptBatch, RecordBatch, decode_batches
from quorate.metadata.checks import RemoteProtocolError, RequestRejected
from quorate.metadata.ids import Offset
from quorate.metadata.quorum.messages import FetchRequest, FetchResponse
from quorate.metadata.raft_wire import (
    request_from_wire,
    request_to_wire,
    response_from_wire,
    response_to_wire,
)
from quorate.metadata.wire import raft as wire
from quorate.metadata.wire.convert import UnsayableValue
from quorate.metadata.wire.reading import Malformed, read_varint
from quorate.metadata.wire.table import (
    RequestFrame,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from quorate.metadata.wire.writing import put_varint

FETCH: Final = wire.FetchRequest.api_key

_LONG: Final = struct.Struct(">q")
_LENGTH_AND_NUMBER: Final = struct.Struct(">ii")
_SIZE_BYTES: Final = 4
_NUMBER_BYTES: Final = 4  # of a correlation id
_MARK_NUMBER: Final = 0x1F_2E_3D_4C
_MARK_OFFSET: Final = 0x21_32_43_54_65_76_07_18
_MARK_WATERMARK: Final = 0x31_42_53_64_75_06_17_28


class _NoRow(Exception):
    """A frame that shows nothing for those after it."""


class RequestReader:
    """Decodes the requests of one connection."""

    __slots__ = ("_last_size", "_row")

    def __init__(self) -> None:
        self._row: _RequestRow | None = None
        self._last_size = 0

    def decode(self, frame: bytes) -> RequestFrame:
        """As `table.decode_request`, and raises what that does."""
        row = self._row
        if row is not None and len(frame) == row.layout.size:
            found = row.read(frame)
            if found is not None:
                return found
        decoded = decode_request(frame)
        if decoded.api_key == FETCH:
            if self._last_size == len(frame):  # else it may be the only one of its kind
                self._row = _request_row(frame, decoded)
            self._last_size = len(frame)
        return decoded


class AnswerWriter:
    """Writes the answers of one leader."""

    def __init__(self) -> None:
        self._row: _AnswerRow | None = None

    def write(self, answer: FetchResponse, version: int, number: int) -> bytes | None:
        """The whole frame with its length in front; None: only the general codec writes this one."""
        row = self._row
        if row is None or not row.goes_on(answer, version):
            row = self._row = self._written_row(answer, version)
            if row is None:
                return None
        return row.write(number, answer)

    def _written_row(self, answer: FetchResponse, version: int) -> "_AnswerRow | None":
        if answer.diverging is not None or answer.snapshot_id is not None:
            return None
        like = attrs.evolve(answer, batches=())
        value = response_to_wire(like)
        if not isinstance(value, wire.FetchResponse):
            return None
        try:
            return _AnswerRow(version, like, _answer_layout(version, value))
        except _NoRow:
            return None


class FetchForm:
    """Writes the Fetches of one replica, and reads their answers (`connection.Form`)."""

    def __init__(self, *, cluster_id: str, client_id: str, listener: str) -> None:
        self.api_key = FETCH
        self._cluster_id = cluster_id
        self._client_id = client_id
        self._listener = listener
        self._writes: _WrittenRow | None = None
        self._reads: _AnswerRow | None = None

    def write(self, request: FetchRequest, version: int, number: int) -> bytes:
        """The whole frame with its length in front.

        Raises:
            UnsayableValue: as `table.encode_request`.
        """
        watermark, row = request.high_watermark, self._writes
        if watermark is None:
            return self._general(request, version, number)
        if row is None or not row.goes_on(request, version):
            row = self._writes = self._written_row(request, version)
            if row is None:
                return self._general(request, version, number)
        return row.write(number, request.offset, watermark)

    def read(self, version: int, frame: bytes) -> FetchResponse | wire.FetchResponse:
        """The answer in a frame without its length: the message, or a value that `raft_wire` still has to look at.

        Raises:
            RemoteProtocolError: as `table.decode_response`.
        """
        row = self._reads
        if row is not None and row.version == version:
            known = row.read(frame)
            if known is not None:
                return known
        answer: wire.FetchResponse = decode_response(FETCH, version, frame)
        try:
            self._reads = _read_row(version, frame, answer, self._listener)
        except _NoRow:
            self._reads = None
        return answer

    def _general(self, request: FetchRequest, version: int, number: int) -> bytes:
        return encode_request(request_to_wire(request, self._cluster_id), version, number, self._client_id)

    def _written_row(self, request: FetchRequest, version: int) -> "_WrittenRow | None":
        marked = attrs.evolve(request, offset=Offset(_MARK_OFFSET), high_watermark=Offset(_MARK_WATERMARK))
        try:
            layout = _request_layout(self._general(marked, version, _MARK_NUMBER))
        except _NoRow:
            return None
        return _WrittenRow(layout, request, version)


class _RequestLayout:
    """A request's bytes, and the places of the three numbers in it."""

    __slots__ = ("_before", "_behind", "_between", "_head", "_struct", "size")

    def __init__(self, frame: bytes, number_at: int, offset_at: int, watermark_at: int) -> None:
        self._struct = struct.Struct(
            f">{number_at}si{offset_at - number_at - _NUMBER_BYTES}sq{watermark_at - offset_at - _LONG.size}sq"
            f"{len(frame) - watermark_at - _LONG.size}s"
        )
        self.size = self._struct.size
        self._head, _, self._before, _, self._between, _, self._behind = self._struct.unpack(frame)

    def write(self, number: int, offset: int, watermark: int) -> bytes:
        return self._struct.pack(
            self._head, number, self._before, offset, self._between, watermark, self._behind
        )

    def read(self, frame: bytes) -> tuple[int, int, int] | None:
        """None: some other byte differs. The size must be right."""
        head, number, before, offset, between, watermark, behind = self._struct.unpack(frame)
        if before != self._before or between != self._between or behind != self._behind or head != self._head:
            return None
        return number, offset, watermark


def _request_layout(marked: bytes) -> _RequestLayout:
    """Of a frame that was written with the marks for numbers.

    Raises:
        _NoRow: a version that does not say one of them, or other fields that look like a mark.
    """
    number = _place(marked, _MARK_NUMBER.to_bytes(_NUMBER_BYTES))
    offset = _place(marked, _LONG.pack(_MARK_OFFSET))
    watermark = _place(marked, _LONG.pack(_MARK_WATERMARK))
    if not number < offset < watermark:
        raise _NoRow
    return _RequestLayout(marked, number, offset, watermark)


def _place(frame: bytes, mark: bytes) -> int:
    if frame.count(mark) != 1:
        raise _NoRow
    return frame.index(mark)


@attrs.frozen
class _WrittenRow:
    """The Fetches of one epoch, written."""

    layout: _RequestLayout
    like: FetchRequest
    version: int

    def goes_on(self, request: FetchRequest, version: int) -> bool:
        like = self.like
        return (
            request.replica is like.replica
            and request.epoch == like.epoch
            and request.last_fetched_epoch == like.last_fetched_epoch
            and request.max_wait_ms == like.max_wait_ms
            and request.max_bytes == like.max_bytes
            and version == self.version
        )

    def write(self, number: int, offset: int, watermark: int) -> bytes:
        return self.layout.write(number, offset, watermark)


@attrs.frozen
class _RequestRow:
    """The Fetches of one replica in one epoch, read."""

    layout: _RequestLayout
    version: int
    client_id: str | None
    like: wire.FetchRequest
    meant: FetchRequest | None
    """`like`, if it asks for the log."""

    def read(self, frame: bytes) -> RequestFrame | None:
        numbers = self.layout.read(frame)
        if numbers is None:
            return None
        number, offset, watermark = numbers
        return RequestFrame(
            api_key=FETCH,
            api_version=self.version,
            correlation_id=number,
            client_id=self.client_id,
            body=_with_numbers(self.like, offset, watermark),
            meant=self._meant(offset, watermark),
        )

    def _meant(self, offset: int, watermark: int) -> FetchRequest | None:
        like = self.meant
        if like is None:
            return None
        return FetchRequest(
            replica=like.replica,
            epoch=like.epoch,
            offset=Offset(offset),
            last_fetched_epoch=like.last_fetched_epoch,
            max_wait_ms=like.max_wait_ms,
            max_bytes=like.max_bytes,
            high_watermark=None if watermark == wire.NOT_TRACKED else Offset(watermark),
        )


def _request_row(frame: bytes, decoded: RequestFrame) -> _RequestRow | None:
    """None: not a Fetch of one partition, or not written as this program would."""
    like: wire.FetchRequest = decoded.body
    if len(like.topics) != 1 or len(like.topics[0].partitions) != 1:
        return None
    marked = _with_numbers(like, _MARK_OFFSET, _MARK_WATERMARK)
    try:
        written = encode_request(marked, decoded.api_version, _MARK_NUMBER, decoded.client_id)
        layout = _request_layout(written[_SIZE_BYTES:])
    except (_NoRow, UnsayableValue):
        return None
    if len(frame) != layout.size or layout.read(frame) is None:
        return None
    try:
        meant = request_from_wire(like)
    except RequestRejected:
        meant = None
    return _RequestRow(
        layout,
        decoded.api_version,
        decoded.client_id,
        like,
        meant if isinstance(meant, FetchRequest) else None,
    )


def _with_numbers(like: wire.FetchRequest, offset: int, watermark: int) -> wire.FetchRequest:
    """`attrs.evolve`, three times over, at a third of the cost."""
    topic = like.topics[0]
    partition = topic.partitions[0]
    asked = wire.FetchPartition(
        partition=partition.partition,
        current_leader_epoch=partition.current_leader_epoch,
        fetch_offset=offset,
        last_fetched_epoch=partition.last_fetched_epoch,
        log_start_offset=partition.log_start_offset,
        partition_max_bytes=partition.partition_max_bytes,
        replica_directory_id=partition.replica_directory_id,
        high_watermark=watermark,
    )
    return wire.FetchRequest(
        cluster_id=like.cluster_id,
        replica_state=like.replica_state,
        max_wait_ms=like.max_wait_ms,
        min_bytes=like.min_bytes,
        max_bytes=like.max_bytes,
        isolation_level=like.isolation_level,
        session_id=like.session_id,
        session_epoch=like.session_epoch,
        topics=(wire.FetchTopic(topic_id=topic.topic_id, partitions=(asked,)),),
        forgotten_topics_data=like.forgotten_topics_data,
        rack_id=like.rack_id,
    )


@attrs.frozen
class _AnswerLayout:
    """Answers of one leader in one epoch, as bytes between which the places stand. All begins at the correlation id."""

    watermark_at: int
    """The high watermark; behind it the last stable offset, which is the same."""
    records_at: int
    """The length of the records, a varint."""
    head: bytes
    between: bytes
    behind: bytes

    def read(self, frame: bytes) -> tuple[int, bytes] | None:
        """High watermark and records. None: something else differs.

        Raises:
            IndexError, Malformed: it is too short, or the length of the records is none.
        """
        if (
            frame[self.watermark_at + 2 * _LONG.size : self.records_at] != self.between
            or frame[_NUMBER_BYTES : self.watermark_at] != self.head
        ):
            return None
        size, begin = read_varint(frame, self.records_at)
        end = begin + size - 1
        if frame[end:] != self.behind:
            return None
        (watermark,) = _LONG.unpack_from(frame, self.watermark_at)
        return watermark, frame[begin:end]

    def write(self, number: int, watermark: int, batches: Sequence[RecordBatch]) -> bytes:
        """With its length in front."""
        records = batches[0].data if len(batches) == 1 else b"".join([batch.data for batch in batches])
        size = bytearray()
        put_varint(size, 1 + len(records))
        told = _LONG.pack(watermark)
        length = (
            _NUMBER_BYTES + len(self.head) + 2 * len(told) + len(self.between)
            + len(size) + len(records) + len(self.behind)
        )  # fmt: skip
        before = _LENGTH_AND_NUMBER.pack(length, number)
        return b"".join((before, self.head, told, told, self.between, size, records, self.behind))


def _answer_layout(version: int, answer: wire.FetchResponse) -> _AnswerLayout:
    """
    Raises:
        _NoRow: this version has no room for one of the places, or cannot say it at all.
    """
    try:
        empty = _written(version, answer, records=b"")
        none = _written(version, answer, records=None)
    except UnsayableValue:
        raise _NoRow from None
    watermark_at = _place(empty, _LONG.pack(_MARK_WATERMARK))
    records_at = _first_difference(empty, none)
    return _AnswerLayout(
        watermark_at=watermark_at,
        records_at=records_at,
        head=empty[_NUMBER_BYTES:watermark_at],
        between=empty[watermark_at + 2 * _LONG.size : records_at],
        behind=empty[records_at + 1 :],
    )


def _written(version: int, answer: wire.FetchResponse, *, records: bytes | None) -> bytes:
    """The answer with a mark for its high watermark, and these records; without its length."""
    topic = answer.responses[0]
    partition = attrs.evolve(
        topic.partitions[0], high_watermark=_MARK_WATERMARK, last_stable_offset=0, records=records
    )
    topic = attrs.evolve(topic, partitions=(partition,))
    return encode_response(FETCH, version, 0, attrs.evolve(answer, responses=(topic,)))[_SIZE_BYTES:]


def _first_difference(one: bytes, other: bytes) -> int:
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


@attrs.frozen
class _AnswerRow:
    """The answers of one leader in one epoch, read or written."""

    version: int
    like: FetchResponse
    layout: _AnswerLayout

    def goes_on(self, answer: FetchResponse, version: int) -> bool:
        like = self.like
        return (
            answer.leader is like.leader
            and answer.log_start == like.log_start
            and answer.error is like.error
            and answer.diverging is None
            and answer.snapshot_id is None
            and answer.recovery_id == like.recovery_id
            and version == self.version
        )

    def read(self, frame: bytes) -> FetchResponse | None:
        """None: something else differs, or the batches are damaged."""
        try:
            found = self.layout.read(frame)
            if found is None:
                return None
            watermark, records = found
            batches = tuple(decode_batches(records))
        except (CorruptBatch, IndexError, Malformed):
            return None
        return FetchResponse(
            leader=self.like.leader,
            high_watermark=None if watermark < 0 else Offset(watermark),
            log_start=self.like.log_start,
            batches=batches,
            recovery_id=self.like.recovery_id,
        )

    def write(self, number: int, answer: FetchResponse) -> bytes:
        watermark = answer.high_watermark
        return self.layout.write(number, -1 if watermark is None else watermark, answer.batches)


def _read_row(version: int, frame: bytes, answer: wire.FetchResponse, listener: str) -> _AnswerRow:
    """
    Raises:
        _NoRow: not the plain answer of a leader, or not written as this program would.
    """
    try:
        like = response_from_wire(answer, listener)
    except RemoteProtocolError:
        raise _NoRow from None
    if not isinstance(like, FetchResponse):
        raise _NoRow
    row = _AnswerRow(version, attrs.evolve(like, batches=()), _answer_layout(version, answer))
    if row.read(frame) != like:  # an error, a diverging epoch, a snapshot; or written by somebody else
        raise _NoRow
    return row
