"""The short way of Fetch: it writes and understands what the general codec does, to the byte, and is taken."""

from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata import fetch_frames
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.fetch_frames import FETCH, AnswerWriter, FetchForm, RequestReader
from quorate.metadata.ids import QUORATE_TOPIC_ID, Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.messages import FetchRequest, FetchResponse, LeaderAndEpoch
from quorate.metadata.raft_wire import (
    request_from_wire,
    request_to_wire,
    response_from_wire,
    response_to_wire,
)
from quorate.metadata.records import ConfigRecord
from quorate.metadata.wire import raft as wire
from quorate.metadata.wire.table import (
    APIS,
    RequestFrame,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from tests.paper.bench import KEYS

CLUSTER: Final = "cluster-of-this-test-0"
CLIENT: Final = "raft-client-2"
LISTENER: Final = "CONTROLLER"
NEWEST: Final = APIS[FETCH].last
LEADER: Final = LeaderAndEpoch(Epoch(3), NodeId(1), Endpoint(LISTENER, "one.example", 9093))

OFFSETS = st.integers(0, 2**63 - 2).map(Offset)
EPOCHS = st.sampled_from((Epoch(3), Epoch(4)))
VERSIONS = st.sampled_from((NEWEST - 1, NEWEST))


@st.composite
def requests(draw: st.DrawFn) -> FetchRequest:
    """Most of one row, as a follower makes them; now and then something else changes."""
    return FetchRequest(
        replica=draw(st.sampled_from((KEYS[2], KEYS[2], KEYS[2], KEYS[3]))),
        epoch=draw(EPOCHS),
        offset=draw(OFFSETS),
        last_fetched_epoch=Epoch(3),
        max_wait_ms=draw(st.sampled_from((500, 500, 500, 0))),
        max_bytes=8 * 1024 * 1024,
        high_watermark=draw(st.none() | OFFSETS | st.just(Offset(-1))),
    )


def batch(base: int, value: str) -> RecordBatch:
    record = ConfigRecord(resource_type=4, resource_name="", name="log.retention.ms", value=value)
    return RecordBatch.seal([record], base_offset=Offset(base), epoch=Epoch(3), append_time_ms=1)


@st.composite
def answers(draw: st.DrawFn) -> FetchResponse:
    """Mostly what a leader says again and again."""
    leader = draw(
        st.sampled_from(
            (
                *(LEADER,) * 4,
                LeaderAndEpoch(Epoch(4), NodeId(3), Endpoint(LISTENER, "three", 9093)),
                LeaderAndEpoch(Epoch(4)),
            )
        )
    )
    odd = draw(st.sampled_from(("", "", "", "", "diverging", "snapshot", "error", "recovered")))
    return FetchResponse(
        leader=leader,
        error=ErrorCode.fenced_leader_epoch if odd == "error" else ErrorCode.none,
        high_watermark=draw(st.none() | OFFSETS),
        log_start=draw(st.sampled_from((Offset(0), Offset(0), Offset(7)))),
        diverging=OffsetAndEpoch(Offset(5), Epoch(2)) if odd == "diverging" else None,
        snapshot_id=OffsetAndEpoch(Offset(6), Epoch(2)) if odd == "snapshot" else None,
        batches=tuple(
            batch(base, "x" * draw(st.sampled_from((1, 60, 200)))) for base in range(draw(st.integers(0, 2)))
        ),
        recovery_id=KEYS[1].directory_id if odd == "recovered" else None,
    )


def generally(request: FetchRequest, version: int, number: int) -> bytes:
    return encode_request(request_to_wire(request, CLUSTER), version, number, CLIENT)


def form() -> FetchForm:
    return FetchForm(cluster_id=CLUSTER, client_id=CLIENT, listener=LISTENER)


def outcome(what: Callable[[], Any]) -> Any:
    """The value, or the kind of the error."""
    try:
        found = what()
        return response_from_wire(found, LISTENER) if isinstance(found, wire.FetchResponse) else found
    except RemoteProtocolError as error:
        return type(error)


def encoded(answer: FetchResponse, number: int, version: int = NEWEST) -> bytes:
    return encode_response(FETCH, version, number, response_to_wire(answer))


def answer_frame(answer: FetchResponse, number: int, version: int = NEWEST) -> bytes:
    return encoded(answer, number, version)[4:]


def decoded(reader: RequestReader, frame: bytes) -> RequestFrame:
    """What is said to be meant is what the body means."""
    found = reader.decode(frame)
    assert found.meant is None or found.meant == request_from_wire(found.body)
    return found


@given(st.lists(st.tuples(requests(), VERSIONS, st.integers(0, 2**31 - 1)), min_size=1, max_size=12))
def test_a_row_of_fetches_is_written_and_read_as_the_general_codec_does(
    asked: list[tuple[FetchRequest, int, int]],
) -> None:
    writer, reader = form(), RequestReader()
    for request, version, number in asked:
        frame = writer.write(request, version, number)
        assert frame == generally(request, version, number)
        assert decoded(reader, frame[4:]) == decode_request(frame[4:])


@given(requests(), requests(), st.data())
def test_a_changed_byte_in_a_row_of_fetches_is_seen_or_refused_alike(
    request: FetchRequest, other: FetchRequest, data: st.DataObject
) -> None:
    reader = RequestReader()
    for number in range(3):
        reader.decode(generally(request, NEWEST, number)[4:])
    same = attrs.evolve(request, offset=other.offset, high_watermark=other.high_watermark)
    frame = bytearray(generally(same, NEWEST, 9)[4:])
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))

    assert outcome(lambda: decoded(reader, bytes(frame))) == outcome(lambda: decode_request(bytes(frame)))


@given(st.lists(st.tuples(answers(), VERSIONS, st.integers(0, 2**31 - 1)), min_size=1, max_size=12))
def test_a_row_of_answers_is_understood_as_the_general_codec_does(
    answered: list[tuple[FetchResponse, int, int]],
) -> None:
    reader = form()
    for answer, version, number in answered:
        frame = answer_frame(answer, number, version)
        assert outcome(lambda f=frame, v=version: reader.read(v, f)) == outcome(  # type: ignore[misc]
            lambda f=frame, v=version: decode_response(FETCH, v, f)  # type: ignore[misc]
        )


@given(st.lists(st.tuples(answers(), VERSIONS, st.integers(0, 2**31 - 1)), min_size=1, max_size=12))
def test_a_row_of_answers_is_written_as_the_general_codec_does(
    answered: list[tuple[FetchResponse, int, int]],
) -> None:
    writer = AnswerWriter()
    for answer, version, number in answered:
        frame = writer.write(answer, version, number)
        plain = answer.diverging is None and answer.snapshot_id is None
        assert frame == (encoded(answer, number, version) if plain else None)


@given(answers(), answers(), st.data())
def test_a_changed_byte_in_a_row_of_answers_is_seen_or_refused_alike(
    answer: FetchResponse, other: FetchResponse, data: st.DataObject
) -> None:
    reader = form()
    outcome(lambda: reader.read(NEWEST, answer_frame(answer, 1)))
    same = attrs.evolve(answer, high_watermark=other.high_watermark, batches=other.batches)
    frame = bytearray(answer_frame(same, 2))
    at = data.draw(st.integers(4, len(frame) - 1))
    if data.draw(st.booleans()):
        frame[at] ^= data.draw(st.integers(1, 255))
    else:
        del frame[at:]

    assert outcome(lambda: reader.read(NEWEST, bytes(frame))) == outcome(
        lambda: decode_response(FETCH, NEWEST, bytes(frame))
    )


def test_the_short_way_is_taken_from_the_second_answer_and_the_third_fetch_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    went: list[str] = []

    def counted(name: str) -> None:
        real = getattr(fetch_frames, name)
        monkeypatch.setattr(fetch_frames, name, lambda *arguments: (went.append(name), real(*arguments))[1])

    for name in ("decode_request", "decode_response", "request_to_wire", "response_to_wire"):
        counted(name)
    follower, leader, writer = form(), RequestReader(), AnswerWriter()
    for number in range(20):
        request = FetchRequest(
            replica=KEYS[2],
            epoch=Epoch(3),
            offset=Offset(number),
            last_fetched_epoch=Epoch(3),
            max_wait_ms=500,
            max_bytes=1 << 20,
            high_watermark=Offset(number),
        )
        read = leader.decode(follower.write(request, NEWEST, number)[4:])
        assert (read.meant == request) == (number > 1)
        answer = FetchResponse(
            leader=LEADER,
            high_watermark=Offset(number),
            log_start=Offset(7),
            batches=(batch(number, "v" * number),),
        )
        frame = writer.write(answer, NEWEST, number)
        assert frame is not None
        assert follower.read(NEWEST, frame[4:]) is not None

    assert sorted(went) == [
        "decode_request",
        "decode_request",
        "decode_response",
        "request_to_wire",
        "response_to_wire",
    ]


def test_other_requests_of_a_connection_are_read_as_ever() -> None:
    reader = RequestReader()
    other = encode_request(wire.DescribeQuorumRequest(topics=()), 2, 5, CLIENT)[4:]
    for _ in range(3):
        assert reader.decode(other) == decode_request(other)


@pytest.mark.parametrize("version", range(APIS[FETCH].first, NEWEST + 1))
def test_a_follower_of_another_make_is_read_as_ever(version: int) -> None:
    """Kafka's brokers ask without a high watermark, for two partitions perhaps, or with bytes behind the end."""
    reader = RequestReader()
    partition = wire.FetchPartition(partition=0, fetch_offset=5, partition_max_bytes=1 << 20)
    topic = wire.FetchTopic(topic_id=QUORATE_TOPIC_ID, partitions=(partition,))
    for topics in ((topic,), (topic, topic), ()):
        request = wire.FetchRequest(max_wait_ms=500, min_bytes=1, topics=topics)
        for number in range(3):
            frame = encode_request(request, version, number, "broker-1")[4:]
            assert decoded(reader, frame) == decode_request(frame)
            assert decoded(reader, frame + b"behind") == decode_request(frame + b"behind")
