"""The way of a Kafka broker's Fetch and FetchSnapshot through a controller: to the core as an observer's, and back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import METADATA_TOPIC_ID, Endpoint, Offset
from quorate.metadata.kafka_form import decode_batches
from quorate.metadata.kafka_serving import KafkaServing
from quorate.metadata.kafka_snapshots import KafkaSnapshots
from quorate.metadata.quorum import messages as raft
from quorate.metadata.wire import raft as wire
from quorate.metadata.wire.table import APIS, decode_response, encode_request
from tests.metadata.log.building import batch, point, snapshot_batches
from tests.metadata.test_kafka_snapshots import CountingLog, holding
from tests.metadata.test_kafka_wire import BROKER, LEADER, asking, asking_for_snapshot
from tests.paper.bench import KEYS, Bench

CLUSTER = "c"
ID = point(8, 3)


class Node:
    """Notes what reaches the core."""

    def __init__(self, bench: Bench) -> None:
        self.core = bench.core
        self.received: list[tuple[Any, str | None, Callable[[Any], None]]] = []

    @property
    def voters(self) -> Any:
        return self.core.log.voters

    def receive(self, request: Any, cluster_id: str | None, reply: Callable[[Any], None]) -> None:
        self.received.append((request, cluster_id, reply))


class Sent:
    """A call as it comes from a broker, and its answer."""

    def __init__(self, request: Any, version: int | None = None, listener: str = "CONTROLLER") -> None:
        self.version = APIS[request.api_key].last if version is None else version
        self.frames: list[bytes] = []
        self.call = Call(
            self,
            encode_request(request, self.version, 7, "raft-client-201")[4:],
            principal="User:ANONYMOUS",
            client_host="10.0.0.9",
            listener_name=listener,
            connection_id=1,
            received_ms=0,
        )

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        self.frames.append(data)

    @property
    def answer(self) -> Any:
        (frame,) = self.frames
        return decode_response(self.call.api_key, self.version, frame[4:])


@attrs.define
class Desk:
    node: Node
    serving: KafkaServing
    log: CountingLog

    def send(self, request: Any, version: int | None = None, listener: str = "CONTROLLER") -> Sent:
        sent = Sent(request, version, listener)
        assert self.serving.is_meant(sent.call.request)
        self.serving.handle(sent.call)
        return sent

    def reply(self, response: Any) -> None:
        self.node.received[-1][2](response)


@asynccontextmanager
async def serving(tmp_path: Any, bench: Bench | None = None) -> AsyncIterator[Desk]:
    node, log = Node(bench or Bench()), holding(ID)
    stands: Any = node
    made = KafkaServing(stands, KafkaSnapshots(log, tmp_path), CLUSTER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield Desk(node, made, log)
        nursery.cancel_scope.cancel()


async def test_a_fetch_reaches_the_core_as_an_observers(tmp_path: Any) -> None:
    async with serving(tmp_path) as desk:
        for version in (17, 18):
            sent = desk.send(asking(), version)
            request, cluster_id, _ = desk.node.received[-1]
            assert (request.replica, request.offset, cluster_id) == (BROKER, 10, CLUSTER)
            assert request.high_watermark == (None if version == 17 else -1)
            assert sent.frames == []
            desk.reply(raft.FetchResponse(leader=LEADER, high_watermark=Offset(12), batches=(batch(10, 3),)))
            (topic,) = sent.answer.responses
            assert topic.topic_id == METADATA_TOPIC_ID
            (found,) = decode_batches(topic.partitions[0].records)
            assert (found.base_offset, len(found.records)) == (10, 2)
            assert sent.answer.node_endpoints[0].port == 9002


@pytest.mark.parametrize("version", [16, 17, 18])
async def test_every_version_that_brokers_send_names_where_the_leader_is(tmp_path: Any, version: int) -> None:
    async with serving(tmp_path) as desk:
        sent = desk.send(asking(), version)
        desk.reply(raft.FetchResponse(leader=LEADER, error=ErrorCode.not_leader_or_follower))
        assert [(n.node_id, n.host) for n in sent.answer.node_endpoints] == [(2, "host-2")]


async def test_the_leaders_address_is_that_of_the_brokers_listener(tmp_path: Any) -> None:
    """The quorum's own listener is the first; a broker may come by another, with other addresses."""
    bench = Bench()
    voters = bench.core.log.voters
    moved = attrs.evolve(
        voters.last,
        voters={
            id: attrs.evolve(one, endpoints=(*one.endpoints, Endpoint("FOR_BROKERS", f"other-{id}", 1)))
            for id, one in voters.last.voters.items()
        },
    )
    bench.core.log.voters = voters.with_record(Offset(5), moved.record())
    async with serving(tmp_path, bench) as desk:
        sent = desk.send(asking(), listener="FOR_BROKERS")
        desk.reply(raft.FetchResponse(leader=LEADER, error=ErrorCode.fenced_leader_epoch))
        assert [(n.node_id, n.host) for n in sent.answer.node_endpoints] == [(2, "other-2")]
        sent = desk.send(asking(), listener="SOMETHING_ELSE")
        desk.reply(raft.FetchResponse(leader=LEADER, error=ErrorCode.fenced_leader_epoch))
        assert [(n.node_id, n.host) for n in sent.answer.node_endpoints] == [(2, "host-2")]


async def test_who_knows_a_later_epoch_is_answered_after_a_pause(
    tmp_path: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """It would ask again at once, for ever."""
    async with serving(tmp_path) as desk:
        sent = desk.send(asking())
        began = trio.current_time()
        desk.reply(raft.FetchResponse(leader=LEADER, error=ErrorCode.unknown_leader_epoch))
        await trio.lowlevel.checkpoint()
        assert sent.frames == []
        await trio.sleep(0.09)
        assert sent.frames == []
        await trio.sleep(0.02)
        assert sent.answer.responses[0].partitions[0].error_code is ErrorCode.unknown_leader_epoch
        assert trio.current_time() - began < 0.2


async def test_another_cluster(tmp_path: Any) -> None:
    async with serving(tmp_path) as desk:
        sent = desk.send(attrs.evolve(asking(), cluster_id="other"))
        assert desk.node.received[-1][1] == "other"
        desk.reply(None)
        assert sent.answer.error_code is ErrorCode.inconsistent_cluster_id


async def test_after_a_recovery_kafkas_brokers_still_know_the_cluster_by_its_id(tmp_path: Any) -> None:
    bench = Bench(recovery_id=KEYS[2].directory_id)
    async with serving(tmp_path, bench) as desk:
        desk.send(asking())
        assert desk.node.received[-1][1] == bench.core.quorum_name != CLUSTER
        desk.send(attrs.evolve(asking(), cluster_id="other"))
        assert desk.node.received[-1][1] == "other"


async def test_a_voter_does_not_fetch_in_kafkas_form(tmp_path: Any) -> None:
    """The high watermark would count bytes on its disk that are not ours."""
    as_voter = attrs.evolve(asking(), replica_state=wire.FetchReplicaState(replica_id=KEYS[2].id))
    partition = attrs.evolve(
        as_voter.topics[0].partitions[0],
        replica_directory_id=KEYS[2].directory_id,  # type: ignore[arg-type]
    )
    topic = wire.FetchTopic(topic_id=METADATA_TOPIC_ID, partitions=(partition,))
    async with serving(tmp_path) as desk:
        sent = desk.send(attrs.evolve(as_voter, topics=(topic,)))
        assert desk.node.received == []
        assert sent.answer.error_code is ErrorCode.unknown_topic_id


async def test_a_strange_fetch_is_answered_and_not_hung_up_on(tmp_path: Any) -> None:
    async with serving(tmp_path) as desk:
        sent = desk.send(attrs.evolve(asking(), topics=asking().topics * 2))
        assert sent.answer.error_code is ErrorCode.unknown_server_error


# --- snapshots


def may(error: ErrorCode = ErrorCode.none) -> raft.FetchSnapshotResponse:
    """The core's answer: of our own form, which nobody asked about."""
    return raft.FetchSnapshotResponse(
        leader=LEADER, snapshot_id=ID, position=0, error=error, size=99_999, data=b"" if error else b"x"
    )


async def test_a_part_of_a_snapshot_is_read_from_its_kafka_form(
    tmp_path: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path) as desk:
        whole = b""
        while True:
            partition = attrs.evolve(asking_for_snapshot().topics[0].partitions[0], position=len(whole))
            topic = attrs.evolve(asking_for_snapshot().topics[0], partitions=(partition,))
            sent = desk.send(attrs.evolve(asking_for_snapshot(), topics=(topic,), max_bytes=50))
            request = desk.node.received[-1][0]
            assert (request.replica, request.snapshot_id, request.position) == (BROKER, ID, 0)
            desk.reply(may())
            await trio.testing.wait_all_tasks_blocked()
            part = sent.answer.topics[0].partitions[0]
            assert (part.error_code, part.position) == (ErrorCode.none, len(whole))
            whole += part.unaligned_records
            if len(whole) >= part.size:
                break
        assert len(whole) == part.size
        assert sum(len(one.records) for one in decode_batches(whole)) == sum(
            one.record_count for one in snapshot_batches(ID, 1, 2)
        )


async def test_what_the_core_refuses_is_not_read(tmp_path: Any) -> None:
    async with serving(tmp_path) as desk:
        sent = desk.send(asking_for_snapshot())
        desk.reply(may(ErrorCode.snapshot_not_found))
        assert sent.answer.topics[0].partitions[0].error_code is ErrorCode.snapshot_not_found
        assert desk.log.read == []


async def test_a_position_outside_of_the_snapshot(
    tmp_path: Any, autojump_clock: trio.testing.MockClock
) -> None:
    partition = attrs.evolve(asking_for_snapshot().topics[0].partitions[0], position=10**6)
    topic = attrs.evolve(asking_for_snapshot().topics[0], partitions=(partition,))
    async with serving(tmp_path) as desk:
        sent = desk.send(attrs.evolve(asking_for_snapshot(), topics=(topic,)))
        desk.reply(may())
        await trio.testing.wait_all_tasks_blocked()
        part = sent.answer.topics[0].partitions[0]
        assert (part.error_code, part.unaligned_records) == (ErrorCode.position_out_of_range, b"")
