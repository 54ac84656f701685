"""Frames out of whatever pieces a socket gives."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.wire import framing
from quorate.metadata.wire.framing import FrameBuffer, framed


def drain(buffer: FrameBuffer) -> list[bytes]:
    frames = []
    while (frame := buffer.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(framing).failed == 0


def test_one_byte_at_a_time() -> None:
    buffer = FrameBuffer()
    sent = [b"", b"a", b"hello" * 100]
    received = []

    for byte in b"".join(map(framed, sent)):
        buffer.feed(bytes([byte]))
        received += drain(buffer)

    assert received == sent
    assert len(buffer) == 0


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 400)))
def test_any_cuts_give_the_same_frames(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, frames))
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    buffer = FrameBuffer()
    received = []

    for start, end in zip([0, *ends], ends, strict=False):
        buffer.feed(stream[start:end])
        received += drain(buffer)

    assert received == frames


def test_what_is_left_over_is_counted() -> None:
    buffer = FrameBuffer()

    buffer.feed(framed(b"whole") + b"\0\0\0\5cut")

    assert drain(buffer) == [b"whole"]
    assert len(buffer) == 7


def test_the_limit_itself_is_allowed_and_one_more_is_not() -> None:
    buffer = FrameBuffer(limit=4)
    buffer.feed(framed(b"four"))
    assert drain(buffer) == [b"four"]

    buffer.feed(b"\0\0\0\5")
    with pytest.raises(RemoteProtocolError, match="5 bytes is over the limit of 4"):
        buffer.next_frame()


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\x7f\xff\xff\xff", "a frame of 2147483647 bytes is over the limit"),
        (b"\xff\xff\xff\xff", "cannot have -1 bytes"),
        (b"GET / HTTP/1.1\r\n", "HTTP request"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP response"),
        (b"\x16\x03\x01\x02\x00\x01", "beginning of TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS alert"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    ],
)
def test_a_stranger_is_named(start: bytes, told: str) -> None:
    buffer = FrameBuffer(1_000_000)

    buffer.feed(start)

    with pytest.raises(RemoteProtocolError, match=told):
        buffer.next_frame()
