"""Whoever was asked to be quiet is not listened to meanwhile, whether it knows how to be quiet or not (KIP-219)."""

from typing import Any

import pytest
import trio
import trio.testing

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.table import THROTTLED, encode_response, throttle_ms_of
from quorate.metadata.wire.topics import (
    CreatableTopicResult,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)
from tests.metadata.streams import settled
from tests.metadata.test_listener import UNREGISTER, serving, unregister

CREATE = CreateTopicsRequest(topics=(), timeout_ms=1)


def throttled(ms: int) -> CreateTopicsResponse:
    return CreateTopicsResponse(
        throttle_time_ms=ms,
        topics=(CreatableTopicResult(name="t", error_code=ErrorCode.throttling_quota_exceeded),),
    )


def as_value(call: Call, ms: int) -> None:
    call.answer(throttled(ms))


def as_forwarded(call: Call, ms: int) -> None:
    """What a broker passes on: the controller's answer, as bytes."""
    call.answer_frame(encode_response(call.api_key, call.api_version, call.correlation_id, throttled(ms))[4:])


@pytest.mark.parametrize("answered", [as_value, as_forwarded])
async def test_what_a_throttled_client_sends_waits(
    autojump_clock: trio.testing.MockClock, answered: Any
) -> None:
    async with serving() as served:
        client, other = served.connect(), served.connect()
        await client.send(CREATE, 7, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        answered(served.desk.calls[0], 5_000)
        began = trio.current_time()
        assert (await client.answer(CREATE.api_key, 7))[1].throttle_time_ms == 5_000
        assert trio.current_time() == began, "the answer itself does not wait"

        await client.send(unregister(1), 0, 2)
        await other.send(unregister(2), 0, 1)
        await settled(lambda: len(served.desk.calls) == 2)
        assert served.desk.calls[1].request == unregister(2), "others are not meant"
        assert trio.current_time() == began
        with trio.fail_after(60):
            while len(served.desk.calls) < 3:  # noqa: ASYNC110  the clock jumps
                await trio.sleep(0.1)

        assert trio.current_time() - began == pytest.approx(5, abs=0.2)
        assert served.desk.calls[2].request == unregister(1)


async def test_of_several_the_longest_counts_and_then_all_is_as_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving() as served:
        client = served.connect()
        for number in (1, 2):
            await client.send(CREATE, 7, number)
        await settled(lambda: len(served.desk.calls) == 2)
        for call, ms in zip(served.desk.calls, (3_000, 1_000), strict=True):
            as_value(call, ms)
        began = trio.current_time()
        for number in (3, 4):
            await client.send(unregister(number), 0, number)
        with trio.fail_after(60):
            while len(served.desk.calls) < 4:  # noqa: ASYNC110  the clock jumps
                await trio.sleep(0.1)

        assert trio.current_time() - began == pytest.approx(3, abs=0.2)


async def test_an_answer_without_a_word_of_it_mutes_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(CREATE, 7, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        as_value(served.desk.calls[0], 0)
        began = trio.current_time()
        await client.send(unregister(1), 0, 2)
        await settled(lambda: len(served.desk.calls) == 2)
        assert trio.current_time() == began


async def test_a_muted_connection_ends_when_the_node_stops(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as served:
        client = served.connect()
        await client.send(CREATE, 7, 1)
        await settled(lambda: len(served.desk.calls) == 1)
        as_value(served.desk.calls[0], 2**31 - 1)
        await client.send(unregister(1), 0, 2)
        with trio.fail_after(60):
            await served.listener.stop(within_ms=1_000)


@pytest.mark.parametrize(
    ("response", "versions"),
    [
        (CreateTopicsResponse(throttle_time_ms=77), range(2, 8)),
        (DeleteTopicsResponse(throttle_time_ms=77), range(1, 7)),
        (CreatePartitionsResponse(throttle_time_ms=77), range(4)),
    ],
)
def test_it_is_found_in_every_version(response: Any, versions: range) -> None:
    assert response.api_key in THROTTLED
    for version in versions:
        frame = encode_response(response.api_key, version, 1, response)
        assert throttle_ms_of(response.api_key, version, frame) == 77


def test_it_is_about_what_is_counted() -> None:
    counted = (CreateTopicsRequest, DeleteTopicsRequest, CreatePartitionsRequest)
    assert {one.api_key for one in counted} == THROTTLED
    assert UNREGISTER not in THROTTLED
