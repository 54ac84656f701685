"""Metadata: against the naive model, and the rules that a model would only repeat."""

import uuid

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import NodeId
from quorate.metadata.image import MetadataImage
from quorate.metadata.views import AtBroker, AtController, answer_metadata, unknown_names
from quorate.metadata.views.viewpoint import Viewpoint
from quorate.metadata.wire.cluster import NOT_ASKED, MetadataRequest, MetadataRequestTopic, MetadataResponse
from quorate.metadata.wire.table import decode_response, encode_response
from tests.metadata.views import naive
from tests.metadata.views.small_clusters import (
    CLUSTER_ID,
    TOPIC_NAMES,
    Broker,
    Cluster,
    Partition,
    clusters,
    leader,
)

NEWEST = 13
ALL = MetadataRequest(topics=None)
TWO = Cluster(
    brokers={1: Broker(listeners={"PLAINTEXT": 1}), 2: Broker(listeners={"PLAINTEXT": 2}, rack="r")},
    topics={
        "a": (Partition(replicas=(1, 2), isr=(1, 2), leader=1),),
        "b": (Partition(replicas=(2,), isr=(2,), leader=2),),
    },
    controllers={3001: "c1", 3002: "c2"},
)


def at_broker(node_id: int = 1, listener: str = "PLAINTEXT") -> AtBroker:
    return AtBroker(cluster_id=CLUSTER_ID, node_id=NodeId(node_id), listener_name=listener)


def at_controller(active: int | None, listener: str = "CONTROLLER") -> AtController:
    return AtController(cluster_id=CLUSTER_ID, leader=leader(active), listener_name=listener)


def ask(
    cluster: Cluster, *names: str, at: Viewpoint | None = None, version: int = NEWEST
) -> MetadataResponse:
    topics = tuple(MetadataRequestTopic(name=name) for name in names)
    return answer_metadata(
        cluster.image(), MetadataRequest(topics=topics), at or at_broker(), api_version=version
    )


@given(
    clusters(),
    st.sampled_from(["PLAINTEXT", "EXTERNAL"]),
    st.booleans(),
    st.sampled_from([0, 1, 5, 6, NEWEST]),
)
def test_every_topic_is_told_as_the_model_has_it(
    cluster: Cluster, listener: str, controller: bool, version: int
) -> None:
    at: Viewpoint = at_controller(3001, listener) if controller else at_broker(1, listener)
    asked = MetadataRequest(topics=() if version == 0 else None)
    answer = answer_metadata(cluster.image(), asked, at, api_version=version)

    told = [(n.node_id, n.host, n.port, n.rack) for n in answer.brokers if n.node_id < 3000]
    assert told == naive.brokers(cluster, listener, controller)
    assert [topic.name for topic in answer.topics] == sorted(cluster.topics)
    for topic in answer.topics:
        assert topic.name is not None
        assert (topic.error_code, topic.topic_id) == (ErrorCode.none, cluster.topic_id(topic.name))
        assert topic.is_internal == (topic.name == "__consumer_offsets")
        expected = [
            naive.partition(cluster, number, one, listener, controller, version)
            for number, one in enumerate(cluster.topics[topic.name])
        ]
        assert [attrs.asdict(one) for one in topic.partitions] == expected


@given(clusters(), st.lists(st.sampled_from([*TOPIC_NAMES, "nowhere", "not legal"])))
def test_named_topics_are_those_of_the_whole_answer(cluster: Cluster, names: list[str]) -> None:
    image = cluster.image()
    whole = {t.name: t for t in answer_metadata(image, ALL, at_broker(), api_version=NEWEST).topics}
    answer = ask(cluster, *names)
    assert [topic.name for topic in answer.topics] == list(dict.fromkeys(names))
    for topic in answer.topics:
        if topic.name in whole:
            assert topic == whole[topic.name]
        else:
            unknown = ErrorCode.unknown_topic_or_partition
            assert topic.error_code is (
                ErrorCode.invalid_topic_exception if topic.name == "not legal" else unknown
            )
            assert topic.partitions == ()


@given(clusters(), st.sampled_from([0, 1, 4, 8, 9, 10, 12, NEWEST]))
def test_every_version_can_carry_the_answer(cluster: Cluster, version: int) -> None:
    request = MetadataRequest(topics=() if version == 0 else None)
    answer = answer_metadata(cluster.image(), request, at_broker(), api_version=version)
    data = encode_response(MetadataRequest.api_key, version, 1, answer)
    read = decode_response(MetadataRequest.api_key, version, data[4:])
    assert [(t.name, len(t.partitions)) for t in read.topics] == [
        (t.name, len(t.partitions)) for t in answer.topics
    ]


def test_topics_are_found_by_id_since_version_12() -> None:
    image, known, unknown = TWO.image(), TWO.topic_id("a"), uuid.UUID(int=12345)
    request = MetadataRequest(
        topics=(MetadataRequestTopic(topic_id=known), MetadataRequestTopic(topic_id=unknown))
    )
    found, missing = answer_metadata(image, request, at_broker(), api_version=12).topics
    assert (found.name, found.error_code) == ("a", ErrorCode.none)
    assert (missing.name, missing.topic_id, missing.error_code) == (None, unknown, ErrorCode.unknown_topic_id)
    with pytest.raises(RequestRejected, match="by id") as refusal:
        answer_metadata(image, request, at_broker(), api_version=11)
    assert refusal.value.code is ErrorCode.invalid_request


def test_an_empty_list_asks_for_no_topic_but_in_version_0_for_all() -> None:
    assert ask(TWO, version=1).topics == ()
    assert len(ask(TWO, version=0).topics) == 2


def test_the_answering_broker_is_the_controller_because_it_forwards() -> None:
    assert ask(TWO, at=at_broker(2)).controller_id == 2


def test_while_the_answering_broker_is_fenced_another_one_is_named() -> None:
    fenced = Cluster(
        brokers={1: Broker(listeners={"PLAINTEXT": 1}, fenced=True), 2: Broker(listeners={"PLAINTEXT": 2})},
        topics={},
    )
    answer = ask(fenced, at=at_broker(1))
    assert [node.node_id for node in answer.brokers] == [2]
    assert answer.controller_id == 2


def test_with_nobody_to_name_the_controller_is_unknown() -> None:
    nobody = Cluster(brokers={}, topics={})
    assert ask(nobody, at=at_broker(1)).controller_id == -1
    assert ask(nobody, at=at_controller(None)).controller_id == -1


def test_a_controller_tells_of_the_unfenced_brokers_and_the_active_controller() -> None:
    answer = ask(TWO, at=at_controller(3002))
    assert [(n.node_id, n.host, n.port) for n in answer.brokers] == [
        (1, "b1", 1),
        (2, "b2", 2),
        (3002, "c2", 9093),
    ]
    assert answer.controller_id == 3002
    assert answer.cluster_id == CLUSTER_ID


def test_an_active_controller_that_is_not_registered_yet_is_found_where_the_quorum_finds_it() -> None:
    answer = ask(attrs.evolve(TWO, controllers={}), at=at_controller(3002))
    assert [(n.node_id, n.host) for n in answer.brokers][-1] == (3002, "quorum-side")


def test_operations_are_told_only_if_asked_for() -> None:
    image = TWO.image()
    silent = answer_metadata(image, ALL, at_broker(), api_version=NEWEST)
    assert {
        silent.cluster_authorized_operations,
        *(t.topic_authorized_operations for t in silent.topics),
    } == {NOT_ASKED}
    asked = attrs.evolve(
        ALL, include_topic_authorized_operations=True, include_cluster_authorized_operations=True
    )
    told = answer_metadata(image, asked, at_broker(), api_version=8)
    # What Kafka without an authorizer answers.
    assert told.cluster_authorized_operations == 8096
    assert {topic.topic_authorized_operations for topic in told.topics} == {3576}


def test_only_names_that_could_be_topics_are_worth_making() -> None:
    request = MetadataRequest(
        topics=tuple(
            MetadataRequestTopic(name=name) for name in ("a", "new", "new", "not legal", "..", "n" * 250)
        )
    )
    assert unknown_names(TWO.image(), request) == ("new",)
    assert unknown_names(MetadataImage.EMPTY, ALL) == ()
