"""Reads that take longer than the event loop may stand still: in a worker thread, one after the other (shell).

Metadata of all partitions of a large cluster is seconds of work; done in the loop it would let elections run into
their timeouts, and a leader would fall because somebody listed topics. An image never changes, so a thread can read
it while the node goes on; the interpreter goes back and forth between the two every few milliseconds.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog
import trio

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.table import encode_response, refusal

SLOW_PARTITIONS: Final = 2_000
"""An answer about more partitions than that (about 20 ms of work) is a slow one."""
MAX_WAITING: Final = 100
"""Further slow reads are refused; each answer may be a hundred megabytes."""
_LENGTH_BYTES: Final = 4

_log = structlog.get_logger(__name__)


def is_slow(request: Any, image: MetadataImage) -> bool:
    """Whether answering takes longer than the loop may stand still."""
    if not isinstance(request, MetadataRequest) or image.topics.partition_count <= SLOW_PARTITIONS:
        return False
    if not request.topics:  # all of them, or (but for version 0) none: that is quick anywhere
        return True
    named = (
        image.topics.by_name(topic.name or "") or image.topics.by_id(topic.topic_id)
        for topic in request.topics
    )
    return sum(topic.partition_count for topic in named if topic is not None) > SLOW_PARTITIONS


class SlowReads:
    """`run` works; `answer` only queues."""

    def __init__(self) -> None:
        self.faults = 0
        """Requests that were answered with UNKNOWN_SERVER_ERROR because of a bug."""
        self._waiting: deque[tuple[Call, Callable[[], Any]]] = deque()
        self._wanted = trio.lowlevel.ParkingLot()

    def answer(self, call: Call, work: Callable[[], Any]) -> None:
        """Has the call answered with what `work` returns, which shares no state and may raise RequestRejected."""
        if len(self._waiting) >= MAX_WAITING:
            call.reject(
                ErrorCode.request_timed_out,
                f"this node has {MAX_WAITING} large reads to answer already; ask for fewer topics, or later",
            )
            return
        entry = (call, work)
        self._waiting.append(entry)
        call.on_gone = lambda: self._forget(entry)
        self._wanted.unpark()

    def _forget(self, entry: tuple[Call, Callable[[], Any]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)

    async def run(self) -> None:
        """Until cancelled; nobody waits then for what a thread has begun."""
        while True:
            if not self._waiting:
                await self._wanted.park()
                continue
            call, work = self._waiting.popleft()
            data, bug = await trio.to_thread.run_sync(_answer, call, work, abandon_on_cancel=True)
            if bug is not None:
                self.faults += 1
                _log.error("bug", request=repr(call.request)[:500], exc_info=bug)
            call.answer_frame(data)


def _answer(call: Call, work: Callable[[], Any]) -> tuple[bytes, Exception | None]:
    """(the response frame without its length, the bug that it tells of). Runs in the thread."""
    bug: Exception | None = None
    try:
        response = work()
    except RequestRejected as error:
        response = refusal(call.request, error.code, error.message)
    except Exception as error:  # noqa: BLE001  a request that trips us must not take one node down after the other
        bug = error
        response = refusal(call.request, ErrorCode.unknown_server_error, type(error).__name__)
    data = encode_response(call.api_key, call.api_version, call.correlation_id, response)
    return data[_LENGTH_BYTES:], bug
