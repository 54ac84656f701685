"""Messages cut from a stream of bytes: a length and that many bytes, again and again (pure)."""

from collections.abc import Iterator
from typing import Final

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.zookeeper.messages import MAX_BYTES


class Frames:
    """Bytes in, whole messages out."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes: Final = max_bytes
        self._buffer = bytearray()

    def add(self, data: bytes | bytearray) -> Iterator[bytes]:
        """
        Raises:
            RemoteProtocolError: a message is longer than any may be.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 4:
            size = int.from_bytes(buffer[at : at + 4], "big", signed=True)
            if not 0 <= size <= self._max_bytes:
                raise RemoteProtocolError(
                    f"a message of {size} bytes, and at most {self._max_bytes} are allowed"
                )
            end = at + 4 + size
            if end > len(buffer):
                break
            yield bytes(buffer[at + 4 : end])
            at = end
        del buffer[:at]
