"""Slow reads: answered from a thread, with the loop free meanwhile; limits, refusals and bugs as anywhere."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio.testing

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.slow_reads import (
    MAX_KEPT_BYTES,
    MAX_WAITING,
    SLOW_PARTITIONS,
    SLOW_RESOURCES,
    SlowReads,
    Sources,
    is_slow,
    sources_of,
)
from quorate.metadata.wire.cluster import (
    DescribeClusterRequest,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
)
from quorate.metadata.wire.configs import DescribeConfigsRequest, DescribeConfigsResource
from quorate.metadata.wire.table import decode_response, encode_request
from tests.metadata.views.small_clusters import Cluster, Partition

ONE = Partition(replicas=(1,), isr=(1,), leader=1)
LARGE = Cluster(brokers={}, topics={"large": (ONE,) * SLOW_PARTITIONS, "small": (ONE,)})
VERSION = 13
ALL = MetadataRequest(topics=None)


class Answers:
    """A sink that keeps what arrives."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.arrived = trio.Event()

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        correlation_id = int.from_bytes(data[4:8], "big", signed=True)
        assert correlation_id == call.correlation_id
        self.values.append(decode_response(call.api_key, call.api_version, data[4:]))
        self.arrived.set()
        self.arrived = trio.Event()

    def call(self, request: MetadataRequest = ALL, correlation_id: int = 1) -> Call:
        frame = encode_request(request, VERSION, correlation_id, "me")[4:]
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


def test_the_configs_of_many_topics_are_slow() -> None:
    one = DescribeConfigsResource(resource_type=2, resource_name="t")
    image = LARGE.image()
    assert not is_slow(DescribeConfigsRequest(resources=(one,) * SLOW_RESOURCES), image)
    assert is_slow(DescribeConfigsRequest(resources=(one,) * (SLOW_RESOURCES + 1)), image)


@pytest.mark.parametrize("more", [0, 1])
def test_reassignments_are_slow_by_the_partitions_that_are_looked_at(more: int) -> None:
    image = Cluster(brokers={}, topics={"t": (ONE,) * (SLOW_PARTITIONS + more)}).image()
    named = ListPartitionReassignmentsTopics(name="t", partition_indexes=(0,) * (SLOW_PARTITIONS + more))

    assert is_slow(ListPartitionReassignmentsRequest(), image) is bool(more)
    assert is_slow(ListPartitionReassignmentsRequest(topics=(named,)), image) is bool(more)
    assert not is_slow(ListPartitionReassignmentsRequest(topics=()), image)


@pytest.fixture
async def reads(nursery: trio.Nursery) -> SlowReads:
    reads = SlowReads()
    nursery.start_soon(reads.run)
    return reads


async def test_the_loop_goes_on_while_a_thread_works(reads: SlowReads) -> None:
    answers, may_end = Answers(), threading.Event()
    arrived = answers.arrived

    def work() -> MetadataResponse:
        assert may_end.wait(20)
        return MetadataResponse(cluster_id="worked out")

    reads.answer(answers.call(), work)
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert answers.values == []
    may_end.set()
    with trio.fail_after(20):
        await arrived.wait()
    assert [value.cluster_id for value in answers.values] == ["worked out"]


def raising(error: Exception) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


async def test_a_refusal_is_an_answer(reads: SlowReads) -> None:
    answers = Answers()
    arrived = answers.arrived
    reads.answer(answers.call(), raising(RequestRejected(ErrorCode.invalid_request, "no")))
    with trio.fail_after(20):
        await arrived.wait()
    assert answers.values[0].error_code is ErrorCode.invalid_request
    assert reads.faults == 0


async def test_a_bug_is_an_answer_too_and_told_to_the_log(reads: SlowReads) -> None:
    answers = Answers()
    arrived = answers.arrived
    with structlog.testing.capture_logs() as logs, trio.fail_after(20):
        reads.answer(answers.call(), raising(ValueError("odd")))
        await arrived.wait()
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


async def test_an_answer_that_cannot_be_written_is_a_bug_too(reads: SlowReads) -> None:
    answers = Answers()
    with structlog.testing.capture_logs(), trio.fail_after(20):
        arrived = answers.arrived
        reads.answer(answers.call(), lambda: MetadataResponse(controller_id=2**40))
        await arrived.wait()
    assert answers.values[0].error_code is ErrorCode.unknown_server_error
    assert reads.faults == 1


class Asker:
    """Asks again and again; each answer that is worked out has another number."""

    def __init__(self, reads: SlowReads) -> None:
        self._reads = reads
        self._answers = Answers()
        self._numbers = itertools.count(1)
        self._correlation_ids = itertools.count(-2)

    def work(self) -> MetadataResponse:
        return MetadataResponse(controller_id=next(self._numbers))

    async def told(
        self,
        sources: Sources | None,
        work: Callable[[], Any] | None = None,
        request: MetadataRequest = ALL,
    ) -> int:
        """The number that the answer holds."""
        arrived = self._answers.arrived
        call = self._answers.call(request, next(self._correlation_ids))
        self._reads.answer(call, work or self.work, sources)
        with trio.fail_after(20):
            await arrived.wait()
        number: int = self._answers.values[-1].controller_id
        return number


async def test_the_same_question_of_the_same_image_is_worked_out_once(reads: SlowReads) -> None:
    asker = Asker(reads)
    image = LARGE.image()
    here = sources_of(ALL, image, "here")
    assert await asker.told(here) == 1
    assert await asker.told(here) == 1
    # Equal is not the same: a new image may hold another truth that was not compared.
    assert await asker.told(sources_of(ALL, LARGE.image(), "here")) == 2
    assert await asker.told(here) == 3
    # A record that touches neither topics nor brokers leaves those parts as they are.
    moved = attrs.evolve(image, provenance=attrs.evolve(image.provenance, offset=image.offset + 1))
    assert await asker.told(sources_of(ALL, moved, "here")) == 3
    # Who asks from elsewhere, or something else, is told something else.
    assert await asker.told(sources_of(ALL, image, "there")) == 4
    with_operations = MetadataRequest(include_topic_authorized_operations=True)
    assert await asker.told(here, request=with_operations) == 5
    assert await asker.told(None) == 6
    assert await asker.told(None) == 7


async def test_refusals_and_bugs_are_not_told_again(reads: SlowReads) -> None:
    asker = Asker(reads)
    here = sources_of(ALL, LARGE.image(), "here")
    with structlog.testing.capture_logs():
        assert await asker.told(here, raising(ValueError("odd"))) == -1
    assert await asker.told(here, raising(RequestRejected(ErrorCode.invalid_request, "no"))) == -1
    assert await asker.told(here) == 1


async def test_kept_answers_do_not_grow_without_bound(reads: SlowReads) -> None:
    asker = Asker(reads)
    image = LARGE.image()

    brokers = MAX_KEPT_BYTES // 30_100 // 3

    def large() -> MetadataResponse:
        node = MetadataResponseBroker(node_id=1, host="h" * 30_000, port=1)
        return attrs.evolve(asker.work(), brokers=(node,) * brokers)

    def at(asked_from: int) -> Sources:
        return Sources(asked_from=asked_from, parts=(image.topics,))

    assert [await asker.told(at(n), large) for n in (1, 2, 3)] == [1, 2, 3]
    assert await asker.told(at(1), large) == 1
    assert await asker.told(at(4), large) == 4  # the oldest makes room
    assert await asker.told(at(2), large) == 2
    assert await asker.told(at(1), large) == 5


async def test_beyond_the_limit_reads_are_refused_early() -> None:
    reads = SlowReads()  # nobody works
    answers = Answers()
    for _ in range(MAX_WAITING):
        reads.answer(answers.call(), MetadataResponse)
    assert answers.values == []
    reads.answer(answers.call(), MetadataResponse)
    assert [value.error_code for value in answers.values] == [ErrorCode.request_timed_out]
