"""The metadata log as Kafka's own brokers fetch it: the core's answers, in Kafka's form, at the same offsets.

A broker asks for topic id `AAAAAAAAAAAAAAAAAAAAAQ` (Fetch) or topic `__cluster_metadata` (FetchSnapshot). What it asks
becomes the same flat message that our own observers send, so the core knows nothing of this; only the answer is
written otherwise. Batches are translated whole, one for one: a broker refuses a batch that begins before the offset
that it asked for, and one that was cut anew would have other offsets behind a reader's back.

Several answers that are only odd to us end a broker's process (`docs/kafka-brokers.md` has the list). What an answer
here never says, whatever the core said:

- INVALID_REQUEST, which a broker takes for a bug of its own and exits;
- a leader without an address: a broker that was configured with bootstrap servers exits;
- records that begin elsewhere than at the offset asked for;
- no records field at all: a broker asks again at once, for ever.
"""

from collections import OrderedDict
from typing import Final

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated, RequestRejected
from quorate.metadata.ids import (
    METADATA_TOPIC,
    METADATA_TOPIC_ID,
    QUORATE_TOPIC,
    QUORATE_TOPIC_ID,
    Epoch,
    NodeId,
    Offset,
)
from quorate.metadata.kafka_form import KafkaBatch, encode_batch
from quorate.metadata.quorum import messages as raft
from quorate.metadata.raft_wire import request_from_wire, response_to_wire
from quorate.metadata.records import AnyRecord, LeaderChangeRecord, LeaderChangeVoter
from quorate.metadata.wire import raft as wire

CACHE_BYTES: Final = 8 * 1024 * 1024
"""Of translated batches that are kept: what all brokers fetch within moments of each other is translated once."""


def asks_in_kafkas_form(request: wire.FetchRequest | wire.FetchSnapshotRequest) -> bool:
    """Whether all of a request is about the log as Kafka has it."""
    if isinstance(request, wire.FetchSnapshotRequest):
        return bool(request.topics) and all(topic.name == METADATA_TOPIC for topic in request.topics)
    return bool(request.topics) and all(topic.topic_id == METADATA_TOPIC_ID for topic in request.topics)


def fetch_from_kafka(request: wire.FetchRequest) -> raft.FetchRequest:
    """What a broker of Kafka's asks.

    Raises:
        RequestRejected: not exactly the one partition that there is. Never INVALID_REQUEST.
    """
    topics = tuple(attrs.evolve(topic, topic_id=QUORATE_TOPIC_ID) for topic in request.topics)
    asked = _from_wire(attrs.evolve(request, topics=topics))
    if not isinstance(asked, raft.FetchRequest):
        raise InvariantViolated("a Fetch became something else")
    return asked


def fetch_snapshot_from_kafka(request: wire.FetchSnapshotRequest) -> raft.FetchSnapshotRequest:
    """What a broker of Kafka's asks; the position is one in the snapshot's Kafka form.

    Raises:
        RequestRejected: not exactly the one partition that there is. Never INVALID_REQUEST.
    """
    topics = tuple(attrs.evolve(topic, name=QUORATE_TOPIC) for topic in request.topics)
    asked = _from_wire(attrs.evolve(request, topics=topics))
    if not isinstance(asked, raft.FetchSnapshotRequest):
        raise InvariantViolated("a FetchSnapshot became something else")
    return asked


def _from_wire(request: wire.FetchRequest | wire.FetchSnapshotRequest) -> raft.Request:
    try:
        return request_from_wire(request)
    except RequestRejected as refusal:
        raise RequestRejected(_never_fatal(refusal.code), refusal.message) from None


class KafkaBatches:
    """Translates batches, and keeps the newest translations: `limit` bytes of them, and always the last one."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[Offset, Epoch], bytes] = OrderedDict()
        self._size = 0
        self.translated = 0
        """How many batches were translated so far."""

    def bytes_of(self, batch: RecordBatch) -> bytes:
        """A committed batch in Kafka's form; an offset and an epoch name one batch for ever (Raft's log matching)."""
        key = (batch.base_offset, batch.epoch)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        made = in_kafkas_form(batch)
        self.translated += 1
        self._kept[key] = made
        self._size += len(made)
        while self._size > self._limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)
        return made


def in_kafkas_form(batch: RecordBatch) -> bytes:
    """A batch as Kafka's log would have it: the same offsets, epoch and time."""
    return encode_batch(
        KafkaBatch(
            base_offset=batch.base_offset,
            epoch=batch.epoch,
            append_time_ms=batch.append_time_ms,
            is_control=batch.is_control,
            records=tuple([_as_kafka_reads(record) for record in batch.records()]),
        )
    )


def _as_kafka_reads(record: AnyRecord) -> AnyRecord:
    """Kafka reads every LeaderChange as version 0, whatever version it says it has (ControlRecordUtils of 3.9 to 4.4).

    One of version 1 ends a broker's process, and again at each start, since it is in its log by then.
    """
    if not isinstance(record, LeaderChangeRecord) or record.version == 0:
        return record
    voters, granting = (
        tuple([LeaderChangeVoter(voter_id=one.voter_id) for one in voters])
        for voters in (record.voters, record.granting_voters)
    )
    return attrs.evolve(record, version=0, voters=voters, granting_voters=granting)


def fetched_to_kafka(
    response: raft.FetchResponse, asked: raft.FetchRequest, batches: KafkaBatches
) -> wire.FetchResponse:
    """The core's answer as a broker of Kafka's understands it."""
    response = attrs.evolve(response, leader=_reachable(response.leader, asked.replica.id))
    found = response.batches
    if found and found[0].base_offset != asked.offset:
        # It lies within a batch of ours: its log is not a copy of this one, whatever the epochs say.
        response = attrs.evolve(response, error=ErrorCode.offset_out_of_range, read=None)
        found = ()
    said = response_to_wire(attrs.evolve(response, error=_never_fatal(response.error), batches=()))
    if not isinstance(said, wire.FetchResponse):
        raise InvariantViolated("a Fetch was answered with something else")
    records = b"".join([batches.bytes_of(batch) for batch in found])
    partition = attrs.evolve(said.responses[0].partitions[0], records=records)
    topic = wire.FetchableTopicResponse(topic_id=METADATA_TOPIC_ID, partitions=(partition,))
    return attrs.evolve(said, responses=(topic,))


def snapshot_to_kafka(response: raft.FetchSnapshotResponse, replica: NodeId) -> wire.FetchSnapshotResponse:
    """The core's answer, whose size and data are those of the snapshot's Kafka form already."""
    response = attrs.evolve(
        response, leader=_reachable(response.leader, replica), error=_never_fatal(response.error)
    )
    said = response_to_wire(response)
    if not isinstance(said, wire.FetchSnapshotResponse):
        raise InvariantViolated("a FetchSnapshot was answered with something else")
    topic = attrs.evolve(said.topics[0], name=METADATA_TOPIC)
    return attrs.evolve(said, topics=(topic,))


def _reachable(leader: raft.LeaderAndEpoch, asking: NodeId) -> raft.LeaderAndEpoch:
    """Names a leader only with its address, and never the asker itself: either would end a broker."""
    if leader.endpoint is None or leader.leader_id == asking:
        return raft.LeaderAndEpoch(leader.epoch)
    return leader


def _never_fatal(error: ErrorCode) -> ErrorCode:
    return ErrorCode.unknown_server_error if error is ErrorCode.invalid_request else error
