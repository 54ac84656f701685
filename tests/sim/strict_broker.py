"""One of Apache Kafka's brokers, as far as it judges its controllers: what ends its process is a failed check here.

The rules are those of KafkaRaftClient in 3.9 and 4.x, each tried on real brokers (docs/kafka-brokers.md). A model sits
behind each observer of a world and is told, in Kafka's form, what that observer was told; so it sees every leader and
every fault that a world has.
"""

from collections import Counter
from typing import Any

import attrs

from quorate.metadata.checks import ErrorCode, check
from quorate.metadata.ids import METADATA_TOPIC_ID
from quorate.metadata.kafka_form import decode_batches
from quorate.metadata.kafka_wire import KafkaBatches, fetched_to_kafka
from quorate.metadata.quorum.messages import FetchRequest, FetchResponse
from tests.sim.network import Call
from tests.sim.world import World


@attrs.define
class StrictBroker:
    """What it keeps: epoch and leader in a file, the high watermark in memory."""

    id: int
    epoch: int = 0
    leader: int | None = None
    high_watermark: int | None = None
    life: int = -1
    marks: Counter[str] = attrs.field(factory=Counter)

    def hear(self, life: int, asked: Any, told: FetchResponse, batches: KafkaBatches) -> None:
        """An answer to a Fetch has come."""
        check(isinstance(asked, FetchRequest), "what is answered like a Fetch was none")
        if life != self.life:
            self.life, self.high_watermark = life, None
        answer = fetched_to_kafka(told, asked, batches)
        (topic,) = answer.responses
        check(topic.topic_id == METADATA_TOPIC_ID, "a broker is told of a topic that it did not ask for")
        (partition,) = topic.partitions
        said, error = partition.current_leader, partition.error_code
        leader = None if said.leader_id < 0 else said.leader_id
        known = {node.node_id for node in answer.node_endpoints}
        check(
            leader is None or leader in known,
            f"broker {self.id} is told of leader {leader} without an address",
        )
        check(error is not ErrorCode.invalid_request, f"broker {self.id} is told that its Fetch is invalid")
        if said.leader_epoch < self.epoch or error is ErrorCode.unknown_leader_epoch:
            return
        refused = error in (ErrorCode.fenced_leader_epoch, ErrorCode.not_leader_or_follower)
        if said.leader_epoch > self.epoch or refused:
            self._follow(said.leader_epoch, leader)
            return
        if self.leader is None:
            self._follow(said.leader_epoch, leader)
        if error is ErrorCode.none:
            self._take(asked, partition)

    def _follow(self, epoch: int, leader: int | None) -> None:
        check(leader != self.id, f"broker {self.id} is told that it leads epoch {epoch}")
        same = epoch != self.epoch or leader is None or self.leader is None or leader == self.leader
        check(same, f"broker {self.id} is told of leader {leader} for epoch {epoch}, and knows {self.leader}")
        if epoch > self.epoch:
            self.epoch, self.leader = epoch, leader
            self.marks["new epoch"] += 1
        elif leader is not None:
            self.leader = leader

    def _take(self, asked: FetchRequest, partition: Any) -> None:
        end = int(asked.offset)
        floor = self.high_watermark or 0
        if partition.diverging_epoch.epoch >= 0:
            end = min(end, partition.diverging_epoch.end_offset)
            check(
                end >= floor, f"broker {self.id} is to cut its log at {end}, below its high watermark {floor}"
            )
            self.marks["cut"] += 1
            return
        if partition.snapshot_id.epoch >= 0:
            offered = partition.snapshot_id.end_offset
            check(offered >= floor, f"broker {self.id} is offered snapshot {offered} below {floor}")
            self.marks["snapshot"] += 1
            return
        epoch = int(asked.last_fetched_epoch)
        for batch in decode_batches(partition.records):
            check(
                batch.base_offset == end, f"broker {self.id} at {end} is sent a batch at {batch.base_offset}"
            )
            check(
                epoch <= batch.epoch <= self.epoch, f"a batch of epoch {batch.epoch} follows one of {epoch}"
            )
            end, epoch = end + len(batch.records), batch.epoch
            self.marks["batch"] += 1
        if partition.high_watermark >= 0:
            new = min(partition.high_watermark, end)
            check(new >= floor, f"the high watermark of broker {self.id} is to go from {floor} back to {new}")
            check(
                end <= partition.high_watermark or end == asked.offset,
                f"broker {self.id} is served up to {end}, and {partition.high_watermark} is committed",
            )
            self.high_watermark = new


def _is_awaited(call: Call) -> bool:
    """Worlds double messages and bring them late, which no connection does: the asker knows what it still waits for."""
    core = call.source.core
    return not call.over and call.source.up and core is not None and call.correlation in core.outstanding


def watch(world: World) -> list[StrictBroker]:
    """Puts one behind each broker of a world; its spare controllers may come to vote."""
    batches = KafkaBatches()
    first, options = len(world.first_voters), world.options
    observers = world.nodes[first : first + options.observers + options.brokers]
    brokers = {node.id: StrictBroker(id=node.id) for node in observers if not node.config.durable}
    come_back = world.network._come_back

    def told(call: Call, response: Any) -> None:
        broker = brokers.get(call.source.id)
        if broker is not None and isinstance(response, FetchResponse) and _is_awaited(call):
            broker.hear(call.source_life, call.request, response, batches)
        come_back(call, response)

    world.network._come_back = told  # type: ignore[method-assign]
    return list(brokers.values())
