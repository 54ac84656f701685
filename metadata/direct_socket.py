"""A connection's socket, used without detours: no task switch to write, no second call of the system to read (shell).

An answer that is ready while nobody else writes to its connection leaves in the very turn that made it: waking a
writer task first costs a round of the scheduler, a good part of what a durable write takes. What cannot be written
at once is left to that task. Reading waits first and reads then, once, since there is hardly ever something there
already.
"""

import os
from collections.abc import Awaitable, Callable

import trio

from quorate.metadata.poller import READ_BYTES, Poller


class DirectSocket:
    """For one stream, whatever it is: one that is no plain socket is read as it wants, by its own `feed` if it has one,
    and written at once if it has a `write` of this meaning (TLS has both), else never (tests)."""

    __slots__ = ("_feed", "_socket", "_stream", "_write")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._write: Callable[[bytes], int] | None = getattr(stream, "write", None)
        self._feed: Callable[[Callable[[bytes], bool]], Awaitable[bool]] | None = getattr(
            stream, "feed", None
        )

    def write(self, data: bytes) -> int:
        """How many bytes the socket took now: perhaps none, which says nothing about why."""
        if self._socket is None:
            return 0 if self._write is None else self._write(data)
        descriptor = self._socket.fileno()
        if descriptor < 0:  # closed, and the number may be somebody else's by now
            return 0
        try:
            return os.write(descriptor, data)
        except OSError:
            return 0  # it is full, or broken: the writer task will meet the same error, and knows what to do

    async def read(self) -> bytes | bytearray:
        """Some bytes; none at the end of the stream.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as the stream's own `receive_some`.
        """
        if self._socket is None:
            return await self._stream.receive_some(READ_BYTES)
        while True:
            descriptor = self._socket.fileno()
            if descriptor < 0:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(descriptor)
            try:
                return os.read(descriptor, READ_BYTES)
            except BlockingIOError:
                continue  # woken for nothing
            except OSError as error:
                raise trio.BrokenResourceError(f"socket connection broken: {error}") from error

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        """Hands to `take` what arrives, in the turn that finds it, until that wants no more for now (True) or the
        stream ends (False). What `take` raises is raised here.

        The stream is not to be closed before this has ended: unlike `read` it may not notice.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: the stream was closed before.
        """
        if self._feed is not None:
            return await self._feed(take)
        poller = None if self._socket is None else Poller.of_this_run()
        if self._socket is not None and poller is not None:
            descriptor = self._socket.fileno()
            if descriptor < 0:
                raise trio.ClosedResourceError
            return await poller.feed(descriptor, take)
        while data := await self.read():
            if not take(bytes(data)):
                return True
        return False
