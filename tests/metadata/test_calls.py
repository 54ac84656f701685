"""Calls inside envelopes: the client's request arrives as its own, and the answer comes back untouched."""

from typing import Any

import attrs
import pytest
import structlog.testing

from quorate.metadata.calls import Call, answer_read, envelope_of, open_envelope
from quorate.metadata.checks import ErrorCode, InvariantViolated, RequestRejected
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest
from quorate.metadata.wire.envelope import EnvelopeRequest, EnvelopeResponse
from quorate.metadata.wire.raft import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
)
from quorate.metadata.wire.table import APIS, decode_response, encode_request, encode_response
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

SERVED = frozenset(APIS)
CREATE = CreateTopicsRequest(topics=(CreatableTopic(name="a"),))


class Box:
    """A sink that keeps what is delivered."""

    def __init__(self) -> None:
        self.responses: list[Any] = []
        self.frames: list[bytes] = []

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self.responses.append(response)
        self.frames.append(data[4:])


def call_of(box: Box, frame: bytes, *, principal: str = "User:alice", client_host: str = "10.0.0.7") -> Call:
    return Call(
        box,
        frame,
        principal=principal,
        client_host=client_host,
        listener_name="CLIENTS",
        connection_id=3,
        received_ms=1_000,
    )


def client_call(request: Any = CREATE, version: int = 7, **who: str) -> tuple[Call, Box]:
    box = Box()
    return call_of(box, encode_request(request, version, 42, "adminclient-1")[4:], **who), box


def enveloped(request: EnvelopeRequest) -> tuple[Call, Box]:
    """The envelope's call, as the controller received it from a broker."""
    box = Box()
    frame = encode_request(request, 0, 9, "1")[4:]
    return call_of(box, frame, principal="User:broker", client_host="10.0.0.1"), box


def test_a_forwarded_request_is_its_clients_own() -> None:
    call, _ = client_call(client_host="2001:db8::1")
    outer, _ = enveloped(envelope_of(call))

    inner = open_envelope(outer, SERVED, lambda: 77)

    assert inner is not None
    assert inner.request == CREATE
    assert (inner.principal, inner.client_host) == ("User:alice", "2001:db8::1")
    assert (inner.api_version, inner.client_id, inner.correlation_id) == (7, "adminclient-1", 42)
    assert inner.received_ms == 1_000


def test_its_answer_goes_back_in_the_clients_version_with_the_clients_number() -> None:
    call, client_box = client_call(version=5)
    outer, box = enveloped(envelope_of(call))
    inner = open_envelope(outer, SERVED, lambda: 77)
    assert inner is not None
    answer = CreateTopicsResponse(topics=(CreatableTopicResult(name="a", num_partitions=1, configs=()),))

    inner.answer(answer)

    (response,) = box.responses
    assert response.error_code is ErrorCode.none
    assert response.rests_on == 77
    assert response.response_data == encode_response(19, 5, 42, answer)[4:]
    call.answer_frame(response.response_data)
    assert decode_response(19, 5, client_box.frames[0]) == answer


def test_a_controller_that_is_none_tells_the_broker_not_the_client() -> None:
    call, _ = client_call()
    outer, box = enveloped(envelope_of(call))
    inner = open_envelope(outer, SERVED, lambda: 77)
    assert inner is not None

    inner.reject(ErrorCode.not_controller, "node 2 is")

    assert box.responses == [EnvelopeResponse(error_code=ErrorCode.not_controller)]


@pytest.mark.parametrize(
    ("code", "moved"),
    [(ErrorCode.not_leader_or_follower, True), (ErrorCode.unknown_topic_or_partition, False)],
)
def test_describe_quorum_says_it_in_another_way(code: ErrorCode, moved: bool) -> None:
    call, _ = client_call(DescribeQuorumRequest(), 2)
    outer, box = enveloped(envelope_of(call))
    inner = open_envelope(outer, SERVED, lambda: 77)
    assert inner is not None
    partition = DescribeQuorumResponsePartitionData(
        partition_index=0, error_code=code, leader_id=2, leader_epoch=4, high_watermark=-1
    )
    topic = DescribeQuorumResponseTopicData(topic_name="__cluster_metadata", partitions=(partition,))

    inner.answer(DescribeQuorumResponse(topics=(topic,)))

    assert (box.responses[0].error_code is ErrorCode.not_controller) == moved
    assert (box.responses[0].response_data is None) == moved


HEARTBEAT = BrokerHeartbeatRequest(broker_id=1, current_metadata_offset=0)
GOOD = envelope_of(client_call()[0])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"request_principal": None}, ErrorCode.principal_deserialization_failure),
        ({"request_principal": b"\0\1junk"}, ErrorCode.principal_deserialization_failure),
        ({"client_host_address": b"\x7f\0\0"}, ErrorCode.invalid_request),
        ({"request_data": b"\0"}, ErrorCode.unsupported_version),
        ({"request_data": bytes.fromhex("0013 0063 00000001 ffff 00")}, ErrorCode.unsupported_version),
        (
            {
                "request_data": encode_request(
                    BrokerHeartbeatRequest(broker_id=1, current_metadata_offset=0), 1, 1, None
                )[4:]
            },
            ErrorCode.invalid_request,
        ),
        ({"request_data": encode_request(GOOD, 0, 1, None)[4:]}, ErrorCode.invalid_request),
    ],
    ids=[
        "no principal",
        "a principal of junk",
        "3 bytes of address",
        "junk",
        "an unknown version",
        "a heartbeat",
        "an envelope",
    ],
)
def test_a_bad_envelope_is_refused_and_told_in_the_log(changes: dict[str, Any], code: ErrorCode) -> None:
    outer, box = enveloped(attrs.evolve(GOOD, **changes))

    with structlog.testing.capture_logs() as logs:
        assert open_envelope(outer, SERVED, lambda: 77) is None

    assert box.responses == [EnvelopeResponse(error_code=code)]
    assert [(line["event"], line["sender"]) for line in logs] == [("an envelope was refused", "10.0.0.1")]


def test_a_broker_that_goes_takes_its_clients_with_it() -> None:
    outer, _ = enveloped(GOOD)
    inner = open_envelope(outer, SERVED, lambda: 77)
    assert inner is not None
    gone: list[str] = []
    inner.on_gone = lambda: gone.append("told")

    outer.gone()
    outer.gone()

    assert gone == ["told"]


def test_who_is_answered_already_is_not_told_of_a_lost_connection() -> None:
    call, _ = client_call()
    gone: list[str] = []
    call.on_gone = lambda: gone.append("told")
    call.answer(CreateTopicsResponse())

    call.gone()

    assert gone == []


def test_a_read_is_answered_refused_or_owned_up_to() -> None:
    def refuse(call: Call) -> Any:
        raise RequestRejected(ErrorCode.invalid_request, "no")

    def fail(call: Call) -> Any:
        raise KeyError("a bug")

    codes = []
    with structlog.testing.capture_logs() as logs:
        for read in (
            lambda call: CreateTopicsResponse(topics=(CreatableTopicResult(name="a"),)),
            refuse,
            fail,
        ):
            call, box = client_call()
            answer_read(call, read)
            codes.append(box.responses[0].topics[0].error_code)

    assert codes == [ErrorCode.none, ErrorCode.invalid_request, ErrorCode.unknown_server_error]
    assert [line["event"] for line in logs] == ["bug"]


def test_a_second_answer_is_our_mistake() -> None:
    call, box = client_call()
    call.answer(CreateTopicsResponse())

    with pytest.raises(InvariantViolated):
        call.answer_frame(b"again")
    assert len(box.responses) == 1
