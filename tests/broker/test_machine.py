"""The broker as a state machine: the log and snapshots of a node in, publications out, snapshots of its own."""

import uuid

import pytest

from quorate.broker.loader import Cause, Publication
from quorate.broker.machine import BrokerMachine
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.features import format_records
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image import MetadataImage
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import BeginTransactionRecord, TopicRecord
from tests.broker.logs import leader_change, sealed
from tests.broker.wire import leader

FIRST = [*format_records()]


def topic(name: str) -> TopicRecord:
    return TopicRecord(name=name, topic_id=uuid.UUID(int=1000 + ord(name)))


class Heard:
    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.leaders: list[LeaderAndEpoch] = []
        self.machine = BrokerMachine(publish=self.publications.append, leader_changed=self.leaders.append)


def test_what_is_committed_is_published_and_kept() -> None:
    heard = Heard()
    assert heard.machine.image is MetadataImage.EMPTY
    batches = sealed([FIRST, [topic("a")]])
    heard.machine.on_committed(batches[:1], Offset(2))
    assert (heard.publications, heard.machine.image) == ([], MetadataImage.EMPTY)
    heard.machine.on_committed(batches[1:], Offset(2))
    assert [one.cause for one in heard.publications] == [Cause.FIRST]
    assert heard.machine.image.topics.names() == ["a"]


def test_its_own_snapshot_loads_into_the_same_image() -> None:
    writer = Heard()
    writer.machine.on_committed(sealed([FIRST, [topic("a")], [leader_change()]]), Offset(3))
    source = writer.machine.snapshot_source()
    assert source is not None
    assert (source.snapshot_id, source.append_time_ms) == (OffsetAndEpoch(Offset(3), Epoch(1)), 1_002)

    reader = Heard()
    slices = reader.machine.load_snapshot(source.snapshot_id, sealed([[*source.records]]))
    assert len(list(slices)) == 1
    reader.machine.on_committed(sealed([[topic("b")]], start=3), Offset(4))
    (publication,) = reader.publications
    assert publication.image.topics.names() == ["a", "b"]


def test_a_snapshot_that_was_fetched_is_news() -> None:
    heard = Heard()
    heard.machine.on_committed(sealed([FIRST, [topic("a")]]), Offset(2))
    list(heard.machine.load_snapshot(OffsetAndEpoch(Offset(9), Epoch(1)), sealed([[*FIRST, topic("b")]])))
    last = heard.publications[-1]
    assert last.cause is Cause.SNAPSHOT
    assert list(last.changes.created_topics.values()) == ["b"]
    assert [gone.name for gone in last.changes.deleted_topics.values()] == ["a"]


def test_no_snapshot_before_there_is_an_image_nor_within_a_transaction() -> None:
    heard = Heard()
    assert heard.machine.snapshot_source() is None
    heard.machine.on_committed(sealed([FIRST, [BeginTransactionRecord(name="t"), topic("a")]]), Offset(3))
    assert heard.machine.snapshot_source() is None


def test_it_follows_and_never_leads() -> None:
    heard = Heard()
    heard.machine.on_leader_change(leader(3001))
    assert heard.leaders == [leader(3001)]
    assert heard.machine.propose(Offset(5), 0) == ()
    assert heard.machine.next_deadline() is None
    with pytest.raises(InvariantViolated, match="a broker was made the leader"):
        heard.machine.on_claimed(Epoch(1), Offset(1))
