"""Clients that write or read as fast as they are answered: closed loops over Kafka's protocol.

The load shares its processors with the cluster that it measures, so a request costs it next to nothing: one task a
connection, a frame that is built once and patched (correlation id; digits of the value to write), an answer that is
compared with the first one, which was decoded and said NONE. A single client has no task either: it blocks in its
socket, in a thread of its own.
"""

import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import CallFailed, ClientSecurity, ConnectFailed, Plaintext, connect
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.table import APIS, correlation_id_of, decode_response, encode_request

_BROKER: Final = 4
_KEY: Final = "log.retention.ms"
_PATIENCE_S: Final = 10
_READ_BYTES: Final = 64 * 1024
_FIRST_VALUE: Final = 1_000_000_000
"""Ten digits, and so are all that follow: a prebuilt frame has room for each of them."""
_WRITES_OF_A_CLIENT: Final = 1_000_000
_ID: Final = struct.Struct(">i")
_ID_AT: Final = 8  # behind the length, the API's key and its version
_BODY_AT: Final = 4  # in an answer without its length: behind the correlation id


@attrs.frozen(kw_only=True)
class Result:
    """One load."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float

    def told(self, what: str) -> dict[str, float]:
        """Under the name of what was done."""
        return {
            "clients": self.clients,
            f"{what}_per_s": self.per_s,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        }


def write(number: int) -> IncrementalAlterConfigsRequest:
    """A durable write: one cluster-wide config gets a value that it did not have."""
    change = IncrementalAlterableConfig(name=_KEY, config_operation=0, value=str(_FIRST_VALUE + number))
    resource = IncrementalAlterConfigsResource(resource_type=_BROKER, resource_name="", configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)


def read() -> DescribeConfigsRequest:
    """What that config is."""
    resource = DescribeConfigsResource(resource_type=_BROKER, resource_name="", configuration_keys=(_KEY,))
    return DescribeConfigsRequest(resources=(resource,))


async def find_writer(
    addresses: Sequence[Address], *, within_s: float, login: ClientSecurity | None = None
) -> Address:
    """The address that takes a write now.

    Raises:
        trio.TooSlowError: none does in time.
    """
    with trio.fail_after(within_s):
        while True:
            for address in addresses:
                if await _takes(address, login):
                    return address
            await trio.sleep(0.005)


async def _takes(address: Address, login: ClientSecurity | None) -> bool:
    try:
        connection = await connect(address, timeout_ms=500, security=login)
    except ConnectFailed:
        return False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            return acknowledged(await connection.call(write(0), 2_000))
        except CallFailed:
            return False
        finally:
            connection.close()


def acknowledged(answer: object) -> bool:
    return answer.responses[0].error_code is ErrorCode.none  # type: ignore[attr-defined]


class Refused(Exception):
    """A request was not answered as it should be. The text is the answer."""


class Asker:
    """One client: a connection with one request under way, always the same but for what `patch` changes."""

    def __init__(self, stream: trio.abc.Stream, request: Any) -> None:
        self._stream = stream
        self._direct = DirectSocket(stream)
        self._answers = FrameBuffer()
        self._api, self._version = request.api_key, APIS[request.api_key].last
        self._id = 0
        self._frame = bytearray(encode_request(request, self._version, self._id, "benchmark"))
        self._expected: bytes | None = None

    async def ask(self) -> None:
        """Asks once more and waits for the answer.

        Raises:
            Refused: it says anything but what it should.
        """
        frame = self._next_request()
        taken = self._direct.write(frame)
        if taken < len(frame):
            await self._stream.send_all(frame[taken:])
        while (answer := self._answers.next_frame()) is None:
            self._feed(await self._direct.read())
        self._judge(answer)

    def ask_alone(self, plain: socket.socket) -> None:
        """As `ask`, on the connection's own socket, which blocks.

        Raises:
            Refused: as `ask`. BlockingIOError: there is no answer in time.
        """
        plain.sendall(self._next_request())
        while (answer := self._answers.next_frame()) is None:
            self._feed(plain.recv(_READ_BYTES))
        self._judge(answer)

    def _next_request(self) -> bytes:
        self._id += 1
        _ID.pack_into(self._frame, _ID_AT, self._id)
        self.patch()
        return bytes(self._frame)

    def _feed(self, data: bytes | bytearray) -> None:
        if not data:
            raise Refused(f"the node closed the connection instead of answering request {self._id}")
        self._answers.feed(data)

    def _judge(self, answer: bytes) -> None:
        if correlation_id_of(answer) != self._id:
            raise Refused(f"request {self._id} got the answer to {correlation_id_of(answer)}")
        if answer[_BODY_AT:] != self._expected:
            value = decode_response(self._api, self._version, answer)
            if not self.is_well(value):
                raise Refused(f"request {self._id} was refused: {value}")
            self._expected = answer[_BODY_AT:]

    def patch(self) -> None:
        """Before each request: what is new in it."""

    def is_well(self, answer: Any) -> bool:
        """Whether an answer that differs from the one before is a good one all the same."""
        raise NotImplementedError


class Writer(Asker):
    """Writes; the numbers count up from that of the client."""

    def __init__(self, stream: trio.abc.Stream, client: int) -> None:
        self._number = client * _WRITES_OF_A_CLIENT
        super().__init__(stream, write(self._number))
        digits = str(_FIRST_VALUE + self._number).encode()
        self._value_at = self._frame.index(digits)
        self._value_ends = self._value_at + len(digits)

    def patch(self) -> None:
        self._number += 1
        self._frame[self._value_at : self._value_ends] = b"%d" % (_FIRST_VALUE + self._number)

    def is_well(self, answer: Any) -> bool:
        return acknowledged(answer)


class Reader(Asker):
    """Reads what nobody changes meanwhile."""

    def __init__(self, stream: trio.abc.Stream, client: int) -> None:
        super().__init__(stream, read())

    def is_well(self, answer: Any) -> bool:
        found = answer.results[0]
        return found.error_code is ErrorCode.none and len(found.configs) == 1


async def closed_loop(
    address: Address,
    *,
    clients: int,
    seconds: float,
    make: Callable[[trio.abc.Stream, int], Asker] = Writer,
    login: ClientSecurity | None = None,
) -> Result:
    """So many connections, one request under way on each.

    Raises:
        Refused: one was not answered as it should be.
        trio.TooSlowError: the last answers do not come in time.
    """
    times: list[float] = []

    async def one(asker: Asker) -> None:
        began = time.perf_counter()
        while began < end:
            await asker.ask()
            done = time.perf_counter()
            times.append(done - began)
            began = done

    sockets = [await trio.open_tcp_stream(address.host, address.port) for _ in range(clients)]
    way = login or Plaintext()
    streams = [(await way.enter(one, FrameBuffer(), address)).stream for one in sockets]
    askers = [make(stream, client) for client, stream in enumerate(streams)]
    try:
        with trio.fail_after(seconds + _PATIENCE_S):
            await askers[0].ask()
            start = time.perf_counter()
            end = start + seconds
            if clients == 1 and login is None:
                times += await trio.to_thread.run_sync(_alone, askers[0], sockets[0].socket.fileno(), end)
            else:
                async with trio.open_nursery() as loops:
                    for asker in askers:
                        loops.start_soon(one, asker)
            spent = time.perf_counter() - start
    finally:
        for one_socket in sockets:
            await trio.aclose_forcefully(one_socket)
    times.sort()
    return Result(
        clients=clients,
        per_s=len(times) / spent,
        p50_ms=statistics.median(times) * 1000,
        p99_ms=times[int(len(times) * 0.99)] * 1000,
    )


def _alone(asker: Asker, descriptor: int, end: float) -> list[float]:
    """How long each request took until then."""
    times: list[float] = []
    with socket.socket(fileno=os.dup(descriptor)) as plain:
        plain.setblocking(True)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _PATIENCE_S, 0))
        began = time.perf_counter()
        while began < end:
            asker.ask_alone(plain)
            done = time.perf_counter()
            times.append(done - began)
            began = done
    return times
