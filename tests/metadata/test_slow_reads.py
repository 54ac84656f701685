"""Slow reads: answered from a thread, with the loop free meanwhile; limits, refusals and bugs as anywhere."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.slow_reads import MAX_WAITING, SLOW_PARTITIONS, SlowReads, is_slow
from quorate.metadata.wire.cluster import (
    DescribeClusterRequest,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from quorate.metadata.wire.table import decode_response, encode_request
from tests.metadata.views.small_clusters import Cluster, Partition

ONE = Partition(replicas=(1,), isr=(1,), leader=1)
LARGE = Cluster(brokers={}, topics={"large": (ONE,) * SLOW_PARTITIONS, "small": (ONE,)})
VERSION = 13


class Answers:
    """A sink that keeps what arrives."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.arrived = trio.Event()

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self.values.append(decode_response(call.api_key, call.api_version, data[4:]))
        self.arrived.set()

    def call(self) -> Call:
        frame = encode_request(MetadataRequest(topics=None), VERSION, 1, "me")[4:]
        return Call(
            self,
            frame,
            principal="User:x",
            client_host="local",
            listener_name="L",
            connection_id=1,
            received_ms=0,
        )


def asking_for(*names: str | None) -> MetadataRequest:
    return MetadataRequest(topics=tuple(MetadataRequestTopic(name=name) for name in names))


def test_slow_is_what_tells_of_many_partitions() -> None:
    image = LARGE.image()
    assert is_slow(MetadataRequest(topics=None), image)
    assert is_slow(asking_for("large", "small"), image)
    by_id = MetadataRequest(
        topics=tuple(MetadataRequestTopic(topic_id=LARGE.topic_id(name)) for name in LARGE.topics)
    )
    assert is_slow(by_id, image)
    assert not is_slow(asking_for("small", "nowhere"), image)
    assert not is_slow(asking_for("large"), image)  # just as many as are quick
    assert not is_slow(DescribeClusterRequest(), image)
    assert not is_slow(MetadataRequest(topics=None), Cluster(brokers={}, topics={"t": (ONE,)}).image())


@pytest.fixture
async def reads(nursery: trio.Nursery) -> SlowReads:
    reads = SlowReads()
    nursery.start_soon(reads.run)
    return reads


async def test_the_loop_goes_on_while_a_thread_works(reads: SlowReads) -> None:
    answers, may_end = Answers(), threading.Event()

    def work() -> MetadataResponse:
        assert may_end.wait(20)
        return MetadataResponse(cluster_id="worked out")

    reads.answer(answers.call(), work)
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert answers.values == []
    may_end.set()
    with trio.fail_after(20):
        await answers.arrived.wait()
    assert [value.cluster_id for value in answers.values] == ["worked out"]


def raising(error: Exception) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


async def test_a_refusal_is_an_answer(reads: SlowReads) -> None:
    answers = Answers()
    reads.answer(answers.call(), raising(RequestRejected(ErrorCode.invalid_request, "no")))
    with trio.fail_after(20):
        await answers.arrived.wait()
    assert answers.values[0].error_code is ErrorCode.invalid_request
    assert reads.faults == 0


async def test_a_bug_is_an_answer_too_and_told_to_the_log(reads: SlowReads) -> None:
    answers = Answers()
    with structlog.testing.capture_logs() as logs, trio.fail_after(20):
        reads.answer(answers.call(), raising(ValueError("odd")))
        await answers.arrived.wait()
    assert answers.values[0].error_code is ErrorCode.unknown_server_error
    assert [line["event"] for line in logs] == ["bug"]
    assert reads.faults == 1


async def test_who_has_gone_is_not_worked_for(reads: SlowReads) -> None:
    answers, worked = Answers(), []
    call = answers.call()
    reads.answer(call, lambda: worked.append(1))
    call.gone()
    await trio.testing.wait_all_tasks_blocked()
    assert (answers.values, worked) == ([], [])


async def test_beyond_the_limit_reads_are_refused_early() -> None:
    reads = SlowReads()  # nobody works
    answers = Answers()
    for _ in range(MAX_WAITING):
        reads.answer(answers.call(), MetadataResponse)
    assert answers.values == []
    reads.answer(answers.call(), MetadataResponse)
    assert [value.error_code for value in answers.values] == [ErrorCode.request_timed_out]
