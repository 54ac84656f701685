"""A stream over TLS that can be written to without a task switch (shell).

trio's own SSLStream only writes by awaiting, at some 100 us a message; here a short message is encrypted and handed to
the socket in the turn that made it, as `DirectSocket` does without TLS. OpenSSL works on two buffers in memory: what it
wants to have sent is taken from one, what arrived is put into the other.

Nothing is renegotiated (OpenSSL: no_renegotiation), so reading never waits for a write of the other side.
"""

import contextlib
import os
import ssl
from collections.abc import Callable
from typing import Any, Final

import trio

from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.poller import READ_BYTES

_RECORD_BYTES: Final = 16 * 1024
"""Of plain text that one TLS record holds. Longer messages are worth a task switch."""


class TlsStream(trio.abc.Stream):
    """One side of TLS over another stream. One task may read and another one write."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._transport = transport
        self._reading = DirectSocket(transport)
        self._socket = transport.socket if isinstance(transport, trio.SocketStream) else None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._left = b""  # encrypted, and not taken by the socket yet
        self._flushing = trio.Lock()
        self._closed = False

    async def do_handshake(self) -> None:
        """Both sides agree and show who they are.

        Raises:
            trio.BrokenResourceError: they do not; its cause says why.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except (ssl.SSLError, ssl.CertificateError) as error:
                await self._flush_alert()
                raise trio.BrokenResourceError("TLS failed") from error
            else:
                await self._flush()
                return

    def getpeercert(self) -> dict[str, Any] | None:
        """The other side's certificate as the ssl module tells it; None: it showed none."""
        return self._tls.getpeercert()

    # ---- writing

    def write(self, data: bytes) -> int:
        """How many bytes could be sent now: all of them or none, as `DirectSocket.write`."""
        if self._socket is None or self._left or self._flushing.locked() or len(data) > _RECORD_BYTES:
            return 0
        descriptor = self._socket.fileno()
        if descriptor < 0:
            return 0
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return 0  # it is broken: the writer task will meet the same error, and knows what to do
        encrypted = self._outgoing.read()
        try:
            taken = os.write(descriptor, encrypted)
        except OSError:
            taken = 0  # it is full, or broken, which whoever flushes will meet
        if taken < len(encrypted):
            self._left = encrypted[taken:]
            trio.lowlevel.spawn_system_task(self._drain)
        return len(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise trio.BrokenResourceError("TLS failed") from error
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def _flush(self) -> None:
        """Whoever comes first sends all that is there, in its order."""
        async with self._flushing:
            encrypted, self._left = self._left + self._outgoing.read(), b""
            if encrypted:
                await self._transport.send_all(encrypted)

    async def _drain(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # its user will meet it
            await self._flush()

    async def _flush_alert(self) -> None:
        """What went wrong is told to the other side, if it still listens."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._flush()

    # ---- reading

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while (data := self._read_now(max_bytes or READ_BYTES)) is None:
            if self._outgoing.pending:
                await self._flush()
            await self._feed()
        if not data:
            await trio.lowlevel.checkpoint()
        return data

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        """As `DirectSocket.feed`.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as `receive_some`.
        """
        verdict: bool | None = None  # whether it ended by `take` or by the stream's end

        def hand_on(encrypted: bytes) -> bool:
            nonlocal verdict
            if encrypted:
                self._incoming.write(encrypted)
            while verdict is None and (data := self._read_now(READ_BYTES)) is not None:
                if not data:
                    verdict = False
                elif not take(data):
                    verdict = True
            return verdict is None and not self._outgoing.pending

        while hand_on(b"") or verdict is None:
            if self._outgoing.pending:  # an alert: reading brings nothing else that wants to be sent
                await self._flush()
            elif not await self._reading.feed(hand_on):
                self._incoming.write_eof()
        return verdict is True

    def _read_now(self, max_bytes: int) -> bytes | None:
        """What can be decrypted of what came; None: nothing yet; nothing: the stream has ended."""
        try:
            return self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""  # frames know their length, so a stream that is cut is told from one that ended
        except ssl.SSLError as error:
            raise trio.BrokenResourceError("TLS failed") from error

    async def _feed(self) -> None:
        data = await self._reading.read()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    # ---- ending

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._say_goodbye()
        await self._transport.aclose()

    def _say_goodbye(self) -> None:
        """So that the other side's OpenSSL does not complain; if it cannot be said at once, it is not."""
        if self._socket is None or self._left or self._flushing.locked() or self._socket.fileno() < 0:
            return
        with contextlib.suppress(ssl.SSLError, OSError, ValueError):
            self._tls.unwrap()  # it would wait for the answer of the other side, and we do not
        with contextlib.suppress(OSError):
            os.write(self._socket.fileno(), self._outgoing.read())
