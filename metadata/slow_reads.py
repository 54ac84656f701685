"""Reads that take longer than the event loop may stand still: in a worker thread, one after the other (shell).

Metadata of all partitions of a large cluster is seconds of work; done in the loop it would let elections run into
their timeouts, and a leader would fall because somebody listed topics. An image never changes, so a thread can read
it while the node goes on; the interpreter goes back and forth between the two every few milliseconds.

Tools ask for everything again and again while little changes. The bytes of the last answers are kept, and told again
to the same question as long as the parts of the image that they come from are the very same objects.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs
import structlog
import trio

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.acls import DescribeAclsRequest
from quorate.metadata.wire.cluster import ListPartitionReassignmentsRequest, MetadataRequest
from quorate.metadata.wire.configs import DescribeConfigsRequest, ListConfigResourcesRequest
from quorate.metadata.wire.convert import UnsayableValue
from quorate.metadata.wire.table import encode_response, refusal

SLOW_PARTITIONS: Final = 2_000
"""An answer about more partitions than that (about 20 ms of work) is a slow one."""
SLOW_RESOURCES: Final = 50
"""The configs of more resources than that are a slow answer; `kafka-topics --describe` asks for those of all topics."""
SLOW_ACLS: Final = 500
"""Filtering and telling more ACLs than that is a slow answer."""
SLOW_NAMES: Final = 2_000
"""Sorting and listing more resources than that is a slow answer."""
MAX_WAITING: Final = 100
"""Further slow reads are refused; each answer may be a hundred megabytes."""
MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
"""Of answers that may be told again."""
_LENGTH_BYTES: Final = 4
_CORRELATION_BYTES: Final = 4

_log = structlog.get_logger(__name__)


def is_slow(request: Any, image: MetadataImage) -> bool:
    """Whether answering takes longer than the loop may stand still."""
    if isinstance(request, DescribeConfigsRequest):
        return len(request.resources) > SLOW_RESOURCES
    if isinstance(request, ListPartitionReassignmentsRequest):
        asked = image.topics.partition_count
        if request.topics is not None:
            asked = sum(len(topic.partition_indexes) for topic in request.topics)
        return asked > SLOW_PARTITIONS
    if isinstance(request, DescribeAclsRequest):
        return len(image.acls) > SLOW_ACLS
    if isinstance(request, ListConfigResourcesRequest):
        return image.topics.topic_count + len(image.configs) > SLOW_NAMES
    if not isinstance(request, MetadataRequest) or image.topics.partition_count <= SLOW_PARTITIONS:
        return False
    if not request.topics:  # all of them, or (but for version 0) none: that is quick anywhere
        return True
    named = (
        image.topics.by_name(topic.name or "") or image.topics.by_id(topic.topic_id)
        for topic in request.topics
    )
    return sum(topic.partition_count for topic in named if topic is not None) > SLOW_PARTITIONS


@attrs.frozen(kw_only=True)
class Sources:
    """What an answer follows from, besides the request and its version."""

    asked_from: Hashable
    """Where the client stands, and who it is if that makes a difference."""
    parts: tuple[object, ...]
    """The parts of the image that were read; compared by identity."""


def sources_of(request: Any, image: MetadataImage, asked_from: Hashable) -> Sources | None:
    """For a slow request that is answered by `views`; None: not known here."""
    match request:
        case MetadataRequest():
            return Sources(asked_from=asked_from, parts=(image.topics, image.cluster, image.acls))
        case DescribeConfigsRequest():
            return Sources(asked_from=asked_from, parts=(image.topics, image.configs, image.acls))
        case ListConfigResourcesRequest():
            return Sources(asked_from=asked_from, parts=(image.topics, image.configs, image.cluster))
        case DescribeAclsRequest():
            return Sources(asked_from=asked_from, parts=(image.acls,))
        case ListPartitionReassignmentsRequest():
            return Sources(asked_from=asked_from, parts=(image.topics,))
        case _:
            return None


@attrs.frozen
class _Question:
    call: Call
    work: Callable[[], Any]
    sources: Sources | None

    def key(self, sources: Sources) -> Hashable:
        return self.call.request, self.call.api_version, sources.asked_from


class _Kept:
    """The last answers, oldest first, without their correlation ids."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[tuple[object, ...], bytes]] = {}
        self._bytes = 0

    def find(self, question: _Question) -> bytes | None:
        sources = question.sources
        if sources is None:
            return None
        key = question.key(sources)
        parts, rest = self._answers.get(key, ((), b""))
        if not rest:
            return None
        if len(parts) != len(sources.parts) or any(
            old is not now for old, now in zip(parts, sources.parts, strict=True)
        ):
            self._drop(key)
            return None
        return question.call.correlation_id.to_bytes(_CORRELATION_BYTES, "big", signed=True) + rest

    def keep(self, question: _Question, data: bytes) -> None:
        sources = question.sources
        if sources is None or len(data) > MAX_KEPT_BYTES:
            return
        key = question.key(sources)
        self._drop(key)
        self._answers[key] = sources.parts, data[_CORRELATION_BYTES:]
        self._bytes += len(data) - _CORRELATION_BYTES
        while self._bytes > MAX_KEPT_BYTES:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Hashable) -> None:
        _, rest = self._answers.pop(key, ((), b""))
        self._bytes -= len(rest)


class SlowReads:
    """`run` works; `answer` only queues."""

    def __init__(self) -> None:
        self.faults = 0
        """Requests that were answered with UNKNOWN_SERVER_ERROR because of a bug."""
        self._waiting: deque[_Question] = deque()
        self._wanted = trio.lowlevel.ParkingLot()
        self._kept = _Kept()

    def answer(self, call: Call, work: Callable[[], Any], sources: Sources | None = None) -> None:
        """Has the call answered with what `work` returns, which shares no state and may raise RequestRejected.

        `sources`: all that the answer follows from; None: it is never told again.
        """
        question = _Question(call, work, sources)
        kept = self._kept.find(question)
        if kept is not None:
            call.answer_frame(kept)
            return
        if len(self._waiting) >= MAX_WAITING:
            call.reject(
                ErrorCode.request_timed_out,
                f"this node has {MAX_WAITING} large reads to answer already; ask for fewer topics, or later",
            )
            return
        self._waiting.append(question)
        call.on_gone = lambda: self._forget(call)
        self._wanted.unpark()

    def _forget(self, call: Call) -> None:
        self._waiting = deque(question for question in self._waiting if question.call is not call)

    async def run(self) -> None:
        """Until cancelled; nobody waits then for what a thread has begun."""
        while True:
            if not self._waiting:
                await self._wanted.park()
                continue
            question = self._waiting.popleft()
            call = question.call
            kept = self._kept.find(question)  # the one before may have asked the same
            if kept is not None:
                call.answer_frame(kept)
                continue
            worked_out = await trio.to_thread.run_sync(_answer, call, question.work, abandon_on_cancel=True)
            if worked_out.bug is not None:
                self.faults += 1
                _log.error("bug", request=repr(call.request)[:500], exc_info=worked_out.bug)
            if worked_out.is_answer:
                self._kept.keep(question, worked_out.data)
            call.answer_frame(worked_out.data)


@attrs.frozen
class _WorkedOut:
    data: bytes
    """The response frame without its length."""
    is_answer: bool = False
    """And no refusal."""
    bug: Exception | None = None


def _answer(call: Call, work: Callable[[], Any]) -> _WorkedOut:
    """Runs in the thread."""
    try:
        return _WorkedOut(_frame(call, work()), is_answer=True)
    except RequestRejected as error:
        return _WorkedOut(_frame(call, refusal(call.request, error.code, error.message)))
    except Exception as error:  # noqa: BLE001  a request that trips us must not take one node down after the other
        text = type(error).__name__ if not isinstance(error, UnsayableValue) else str(error)[:200]
        return _WorkedOut(
            _frame(call, refusal(call.request, ErrorCode.unknown_server_error, text)), bug=error
        )


def _frame(call: Call, response: Any) -> bytes:
    data = encode_response(call.api_key, call.api_version, call.correlation_id, response)
    return data[_LENGTH_BYTES:]
