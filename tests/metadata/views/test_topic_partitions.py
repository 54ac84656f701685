"""DescribeTopicPartitions: whatever the pages, a reader that follows the cursor sees everything once."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import NodeId
from quorate.metadata.image import MetadataImage
from quorate.metadata.views import AtBroker, answer_topic_partitions
from quorate.metadata.views.topic_partitions import MAX_PARTITIONS_PER_PAGE
from quorate.metadata.wire.cluster import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from tests.metadata.views import naive
from tests.metadata.views.small_clusters import (
    CLUSTER_ID,
    TOPIC_NAMES,
    Broker,
    Cluster,
    Partition,
    clusters,
)

AT = AtBroker(cluster_id=CLUSTER_ID, node_id=NodeId(1), listener_name="PLAINTEXT")
ONE = Partition(replicas=(1,), isr=(1,), leader=1)
SIX = Cluster(
    brokers={1: Broker(listeners={"PLAINTEXT": 1})}, topics={"a": (ONE, ONE), "b": (ONE,) * 3, "c": (ONE,)}
)
ALL = DescribeTopicPartitionsRequest()


def page(cluster: Cluster, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    return answer_topic_partitions(cluster.image(), request, AT)


def places(response: DescribeTopicPartitionsResponse) -> list[tuple[str | None, int]]:
    return [(topic.name, one.partition_index) for topic in response.topics for one in topic.partitions]


def read_all(
    image: MetadataImage, request: DescribeTopicPartitionsRequest
) -> list[DescribeTopicPartitionsResponse]:
    """Follows the cursor to the end."""
    pages = [answer_topic_partitions(image, request, AT)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(answer_topic_partitions(image, attrs.evolve(request, cursor=cursor), AT))
    return pages


@given(clusters(), st.integers(1, 4))
def test_pages_of_any_size_hold_everything_once_and_in_order(cluster: Cluster, size: int) -> None:
    pages = read_all(cluster.image(), attrs.evolve(ALL, response_partition_limit=size))
    everything = [(name, i) for name in sorted(cluster.topics) for i in range(len(cluster.topics[name]))]
    assert [place for one in pages for place in places(one)] == everything
    assert all(len(places(one)) <= size for one in pages)
    assert all(len(places(one)) == size for one in pages[:-1])


@given(clusters())
def test_partitions_are_told_as_the_model_has_them(cluster: Cluster) -> None:
    for topic in page(cluster, ALL).topics:
        assert topic.name is not None
        for number, one in enumerate(topic.partitions):
            drawn = cluster.topics[topic.name][number]
            expected = naive.partition(cluster, number, drawn, "PLAINTEXT", False, 13)
            expected |= {"eligible_leader_replicas": drawn.elr, "last_known_elr": drawn.last_known_elr}
            assert attrs.asdict(one) == expected


@given(
    clusters(),
    st.lists(st.sampled_from([*TOPIC_NAMES, "nowhere"]), min_size=1),
    st.builds(
        Cursor, topic_name=st.sampled_from([*TOPIC_NAMES, "bb", "z"]), partition_index=st.integers(0, 6)
    ),
)
def test_a_cursor_is_a_place_in_the_order_of_names(
    cluster: Cluster, names: list[str], cursor: Cursor
) -> None:
    request = attrs.evolve(ALL, topics=tuple(TopicRequest(name=n) for n in names), cursor=cursor)
    answer = page(cluster, request)
    begin = (cursor.topic_name, cursor.partition_index)
    assert places(answer) == [
        (name, i)
        for name in sorted(set(names))
        for i in range(len(cluster.topics.get(name, ())))
        if (name, i) >= begin
    ]
    refused = [t.name for t in answer.topics if t.error_code is ErrorCode.unknown_topic_or_partition]
    assert refused == [n for n in sorted(set(names)) if n not in cluster.topics and n >= cursor.topic_name]


def test_a_page_may_end_between_topics_or_within_one() -> None:
    assert page(SIX, attrs.evolve(ALL, response_partition_limit=2)).next_cursor == Cursor(
        topic_name="b", partition_index=0
    )
    assert page(SIX, attrs.evolve(ALL, response_partition_limit=4)).next_cursor == Cursor(
        topic_name="b", partition_index=2
    )
    assert page(SIX, attrs.evolve(ALL, response_partition_limit=6)).next_cursor is None


def test_no_page_is_larger_than_the_limit_of_the_server_or_smaller_than_one() -> None:
    many = Cluster(brokers={}, topics={"a": (ONE,) * (MAX_PARTITIONS_PER_PAGE + 1)})
    assert (
        len(places(page(many, attrs.evolve(ALL, response_partition_limit=10**9)))) == MAX_PARTITIONS_PER_PAGE
    )
    assert len(places(page(many, attrs.evolve(ALL, response_partition_limit=0)))) == 1


def test_a_name_that_cannot_be_a_topic_is_said_to_be_one() -> None:
    (topic,) = page(SIX, attrs.evolve(ALL, topics=(TopicRequest(name="not legal"),))).topics
    assert topic.error_code is ErrorCode.invalid_topic_exception


def test_a_cursor_before_the_first_partition_is_refused() -> None:
    with pytest.raises(RequestRejected, match="negative") as refusal:
        page(SIX, attrs.evolve(ALL, cursor=Cursor(topic_name="a", partition_index=-1)))
    assert refusal.value.code is ErrorCode.invalid_request
