"""Writing to a socket at once, without a task switch, when it can take the bytes (shell).

An answer that is ready while nobody else writes to its connection leaves in the very turn that made it: waking a
writer task first costs a round of the scheduler, a good part of what a durable write takes. What cannot be written
at once is left to that task.
"""

import os

import trio


class DirectWriter:
    """For one stream; streams that are no plain sockets (TLS, tests) take nothing."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None

    def write(self, data: bytes) -> int:
        """How many bytes the socket took now: perhaps none, which says nothing about why."""
        if self._socket is None:
            return 0
        descriptor = self._socket.fileno()
        if descriptor < 0:  # closed, and the number may be somebody else's by now
            return 0
        try:
            return os.write(descriptor, data)
        except OSError:
            return 0  # it is full, or broken: the writer task will meet the same error, and knows what to do
