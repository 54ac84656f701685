"""The benchmarks' load: what its prebuilt frames say, and that no refused write counts."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from benchmarks.load import Refused, Writer, write
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.table import RequestFrame, decode_request, encode_response
from tests.metadata.streams import socket_pair

Answer = Callable[[RequestFrame], bytes]


def _answer(request: RequestFrame, code: ErrorCode = ErrorCode.none, off_by: int = 0) -> bytes:
    resource = AlterConfigsResourceResponse(
        error_code=code, error_message=None, resource_type=4, resource_name=""
    )
    value = IncrementalAlterConfigsResponse(throttle_time_ms=0, responses=(resource,))
    return encode_response(request.api_key, request.api_version, request.correlation_id + off_by, value)


async def _serve(stream: trio.abc.Stream, answers: list[Answer], seen: list[RequestFrame]) -> None:
    """Answers as many requests as there are answers, in two pieces each, and hangs up."""
    frames = FrameBuffer()
    for answer in answers:
        while (frame := frames.next_frame()) is None:
            frames.feed(await stream.receive_some(10_000))
        seen.append(decode_request(frame))
        said = answer(seen[-1])
        await stream.send_all(said[:6])
        await stream.send_all(said[6:])
    await stream.aclose()


async def _written(ends: tuple[Any, Any], answers: list[Answer], *, client: int = 0) -> list[RequestFrame]:
    seen: list[RequestFrame] = []
    ours, theirs = ends
    refused: Refused | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, theirs, answers, seen)
        writer = Writer(ours, client)
        try:
            for _ in answers:
                await writer.ask()
        except Refused as problem:
            refused = problem
    await trio.aclose_forcefully(ours)
    if refused is not None:
        raise refused
    return seen


@pytest.mark.parametrize("pair", [trio.testing.memory_stream_pair, socket_pair])
async def test_each_write_is_another_value_under_another_id(pair: Callable[[], tuple[Any, Any]]) -> None:
    seen = await _written(pair(), [_answer] * 3, client=255)

    assert [frame.correlation_id for frame in seen] == [1, 2, 3]
    assert [frame.body for frame in seen] == [write(255_000_000 + number) for number in (1, 2, 3)]


@pytest.mark.parametrize("before", [0, 1], ids=["first", "later"])
async def test_a_refused_write_ends_the_measurement(before: int) -> None:
    answers: list[Answer] = [*[_answer] * before, lambda request: _answer(request, ErrorCode.not_controller)]

    with pytest.raises(Refused, match=rf"request {before + 1} was refused: .*not_controller"):
        await _written(trio.testing.memory_stream_pair(), answers)


async def test_an_answer_to_another_write_is_none() -> None:
    with pytest.raises(Refused, match="request 2 got the answer to 1"):
        await _written(
            trio.testing.memory_stream_pair(), [_answer, lambda request: _answer(request, off_by=-1)]
        )


async def test_hanging_up_is_no_answer() -> None:
    with pytest.raises(Refused, match="closed the connection instead of answering request 1"):
        await _written(trio.testing.memory_stream_pair(), [lambda _: b""])


async def test_another_answer_that_says_none_is_taken() -> None:
    def throttled(request: RequestFrame) -> bytes:
        value = IncrementalAlterConfigsResponse(
            throttle_time_ms=7,
            responses=(
                AlterConfigsResourceResponse(
                    error_code=ErrorCode.none, error_message=None, resource_type=4, resource_name=""
                ),
            ),
        )
        return encode_response(request.api_key, request.api_version, request.correlation_id, value)

    seen = await _written(trio.testing.memory_stream_pair(), [_answer, throttled, _answer])

    assert len(seen) == 3
