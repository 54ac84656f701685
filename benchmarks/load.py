"""Clients that write as fast as they are answered: closed loops over Kafka's protocol.

The load shares its processors with the cluster that it measures, so a write costs it next to nothing: one task a
connection, a frame that is built once and patched (correlation id, digits of the value), an answer that is compared
with the first one, which was decoded and said NONE.
"""

import statistics
import struct
import time
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import CallFailed, ConnectFailed, connect
from quorate.metadata.direct_socket import DirectSocket
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.framing import FrameBuffer
from quorate.metadata.wire.table import APIS, correlation_id_of, decode_response, encode_request

_BROKER: Final = 4
_API: Final = IncrementalAlterConfigsRequest.api_key
_VERSION: Final = APIS[_API].last
_PATIENCE_S: Final = 10
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
    writes_per_s: float
    p50_ms: float
    p99_ms: float


def write(number: int) -> IncrementalAlterConfigsRequest:
    """A durable write: one cluster-wide config gets a value that it did not have."""
    change = IncrementalAlterableConfig(
        name="log.retention.ms", config_operation=0, value=str(_FIRST_VALUE + number)
    )
    resource = IncrementalAlterConfigsResource(resource_type=_BROKER, resource_name="", configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False)


async def find_writer(addresses: Sequence[Address], *, within_s: float) -> Address:
    """The address that takes a write now.

    Raises:
        trio.TooSlowError: none does in time.
    """
    with trio.fail_after(within_s):
        while True:
            for address in addresses:
                if await _takes(address):
                    return address
            await trio.sleep(0.005)


async def _takes(address: Address) -> bool:
    try:
        connection = await connect(address, timeout_ms=500)
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
    """A write was not acknowledged. The text is the answer."""


class Writer:
    """One client: a connection with one write under way. The numbers of its writes count up from `first`."""

    def __init__(self, stream: trio.abc.Stream, first: int) -> None:
        self._stream = stream
        self._direct = DirectSocket(stream)
        self._answers = FrameBuffer()
        self._number = first
        self._id = 0
        self._frame = bytearray(encode_request(write(first), _VERSION, self._id, "benchmark"))
        digits = str(_FIRST_VALUE + first).encode()
        self._value_at = self._frame.index(digits)
        self._value_ends = self._value_at + len(digits)
        self._acknowledged: bytes | None = None

    async def write(self) -> None:
        """Writes the next number and waits until it is acknowledged.

        Raises:
            Refused: it is not.
        """
        self._number += 1
        self._id += 1
        _ID.pack_into(self._frame, _ID_AT, self._id)
        self._frame[self._value_at : self._value_ends] = b"%d" % (_FIRST_VALUE + self._number)
        frame = bytes(self._frame)
        taken = self._direct.write(frame)
        if taken < len(frame):
            await self._stream.send_all(frame[taken:])
        answer = await self._answer()
        if correlation_id_of(answer) != self._id:
            raise Refused(f"write {self._id} got the answer to {correlation_id_of(answer)}")
        if answer[_BODY_AT:] != self._acknowledged:
            self._judge(answer)

    async def _answer(self) -> bytes:
        while (frame := self._answers.next_frame()) is None:
            data = await self._direct.read()
            if not data:
                raise Refused(f"the node closed the connection instead of answering write {self._id}")
            self._answers.feed(data)
        return frame

    def _judge(self, answer: bytes) -> None:
        value = decode_response(_API, _VERSION, answer)
        if not acknowledged(value):
            raise Refused(f"write {self._id} was refused: {value}")
        self._acknowledged = answer[_BODY_AT:]


async def closed_loop(address: Address, *, clients: int, seconds: float) -> Result:
    """So many connections, one write under way on each.

    Raises:
        Refused: a write was not acknowledged.
        trio.TooSlowError: the writes do not end in time.
    """
    times: list[float] = []

    async def one(writer: Writer) -> None:
        began = time.perf_counter()
        while began < end:
            await writer.write()
            done = time.perf_counter()
            times.append(done - began)
            began = done

    streams = [await trio.open_tcp_stream(address.host, address.port) for _ in range(clients)]
    writers = [Writer(stream, number * _WRITES_OF_A_CLIENT) for number, stream in enumerate(streams)]
    try:
        with trio.fail_after(seconds + _PATIENCE_S):
            await writers[0].write()
            start = time.perf_counter()
            end = start + seconds
            async with trio.open_nursery() as loops:
                for writer in writers:
                    loops.start_soon(one, writer)
            spent = time.perf_counter() - start
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)
    times.sort()
    return Result(
        clients=clients,
        writes_per_s=len(times) / spent,
        p50_ms=statistics.median(times) * 1000,
        p99_ms=times[int(len(times) * 0.99)] * 1000,
    )
