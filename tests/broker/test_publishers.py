"""Who hears of an image, in which order; and the sentences in the log."""

import uuid

import attrs
import pytest
import structlog

from quorate.broker.loader import MetadataLoader, Publication
from quorate.broker.publishers import Publishers, sentences
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.features import format_records
from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.records import (
    AnyRecord,
    BrokerRegistrationChangeRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnregisterBrokerRecord,
)
from tests.broker.logs import sealed

REGISTER = RegisterBrokerRecord(
    version=3,
    broker_id=NodeId(1),
    incarnation_id=uuid.UUID(int=500),
    broker_epoch=7,
    end_points=(),
    features=(),
    rack=None,
    fenced=True,
)
CHANGE = BrokerRegistrationChangeRecord(version=2, broker_id=NodeId(1), broker_epoch=7)


def topic(number: int) -> TopicRecord:
    return TopicRecord(name=f"t{number}", topic_id=uuid.UUID(int=1000 + number))


def published(*batches: list[AnyRecord]) -> list[Publication]:
    loader = MetadataLoader()
    log = sealed([[*format_records()], *batches])
    publications = [loader.take([batch], Offset(batch.end_offset)) for batch in log]
    return [one for one in publications if one is not None]


def test_everybody_hears_in_order_even_if_one_fails() -> None:
    heard: list[str] = []

    def failing(publication: Publication) -> None:
        raise ValueError("odd image")

    publishers = Publishers(
        {
            "first": lambda p: heard.append(f"first {p.image.offset}"),
            "odd": failing,
            "last": lambda p: heard.append(f"last {p.image.offset}"),
        }
    )
    (publication,) = published()
    with structlog.testing.capture_logs() as logs:
        publishers.publish(publication)
    assert heard == ["first 0", "last 0"]
    assert publishers.failures == 1
    assert [(line["publisher"], line["log_level"]) for line in logs] == [("odd", "error")]


def test_the_log_says_what_changed() -> None:
    changes = published(
        [topic(1)],
        [REGISTER],
        [attrs.evolve(CHANGE, fenced=False)],
        [attrs.evolve(CHANGE, in_controlled_shutdown=True)],
        [attrs.evolve(CHANGE, fenced=True)],
        [UnregisterBrokerRecord(broker_id=NodeId(1), broker_epoch=7)],
        [RemoveTopicRecord(topic_id=topic(1).topic_id), *(topic(n) for n in range(2, 9))],
    )
    assert [list(sentences(one)) for one in changes] == [
        ["the first image: 0 brokers, 0 topics, 0 partitions"],
        ["created 1 topic: t1"],
        ["broker 1 registered with epoch 7"],
        ["broker 1 is unfenced"],
        ["broker 1 is about to stop"],
        ["broker 1 is fenced"],
        ["broker 1 is not registered any more"],
        ["created 7 topics: t2, t3, t4, t5, t6 and 2 more", "deleted 1 topic: t1"],
    ]


def test_a_publisher_whose_own_state_is_impossible_ends_the_process() -> None:
    def broken(publication: Publication) -> None:
        raise InvariantViolated("cannot be")

    (publication,) = published()
    with pytest.raises(InvariantViolated):
        Publishers({"broken": broken}).publish(publication)
