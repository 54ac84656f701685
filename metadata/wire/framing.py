"""Frames: four bytes of length, then a request or a response, on every Kafka connection.

`FrameBuffer` is fed what the socket gave, in whatever pieces, and hands out whole frames. It knows nothing of
sockets. A length that cannot be is an error of the peer, found before anything is allocated for it.
"""

import struct
from typing import Final

from quorate.metadata.checks import RemoteProtocolError

MAX_FRAME_BYTES: Final = 100 * 1024 * 1024
"""Kafka's own limit (socket.request.max.bytes); a listener is given its own."""

_LENGTH: Final = struct.Struct(">i")

_STRANGERS: Final = {
    b"GET ": "an HTTP request",
    b"POST": "an HTTP request",
    b"PUT ": "an HTTP request",
    b"HEAD": "an HTTP request",
    b"HTTP": "an HTTP response",
    b"SSH-": "an SSH banner",
}


class FrameBuffer:
    """Bytes that arrived and are no whole frame yet.

    >>> buffer = FrameBuffer(100)
    >>> buffer.feed(bytes([0, 0, 0, 2, 65]))
    >>> buffer.next_frame() is None
    True
    >>> buffer.feed(b"B")
    >>> buffer.next_frame()
    b'AB'
    """

    __slots__ = ("_data", "_limit", "_start")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._data = bytearray()
        self._start = 0  # what lies before it was handed out
        self._limit = limit

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Adds what the socket gave."""
        if self._start:
            del self._data[: self._start]
            self._start = 0
        self._data += data

    def next_frame(self) -> bytes | None:
        """The next whole frame without its length; None until more is fed.

        Raises:
            RemoteProtocolError: a negative or too large length. No later frame can be found then.
        """
        available = len(self._data) - self._start - _LENGTH.size
        if available < 0:
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._start)
        if not 0 <= length <= self._limit:
            raise RemoteProtocolError(self._what_is_this(length))
        if length > available:
            return None
        begin = self._start + _LENGTH.size
        self._start = begin + length
        with memoryview(self._data) as view:
            return bytes(view[begin : self._start])

    def rest(self) -> bytes:
        """What was fed and not handed out; it is handed out by this."""
        rest = bytes(self._data[self._start :])
        self._data.clear()
        self._start = 0
        return rest

    def __len__(self) -> int:
        """Bytes that were fed and not handed out; 0 means the stream may end here."""
        return len(self._data) - self._start

    def _what_is_this(self, length: int) -> str:
        start = bytes(self._data[self._start : self._start + 4])
        if start in _STRANGERS:
            return f"this is {_STRANGERS[start]}, not the Kafka protocol"
        if start[:2] == b"\x16\x03":
            return "this is the beginning of TLS, and this side of the connection speaks plaintext"
        if start[:2] == b"\x15\x03":
            return "this is a TLS alert: the other side expects TLS, this side speaks plaintext"
        if length < 0:
            return f"a frame cannot have {length} bytes"
        return f"a frame of {length} bytes is over the limit of {self._limit}"


def readdressed(frame: bytes, correlation_id: int) -> bytes:
    """A whole response frame, as the answer to another request."""
    return frame[: _LENGTH.size] + _LENGTH.pack(correlation_id) + frame[2 * _LENGTH.size :]


def framed(data: bytes) -> bytes:
    """A frame with its length in front."""
    return _LENGTH.pack(len(data)) + data
