"""DescribeCluster: which nodes of which kind, where."""

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import NodeId
from quorate.metadata.views import AtBroker, AtController, answer_describe_cluster, answer_metadata
from quorate.metadata.views.viewpoint import Viewpoint
from quorate.metadata.wire.cluster import (
    NOT_ASKED,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
)
from tests.metadata.views.small_clusters import CLUSTER_ID, Broker, Cluster, clusters, leader

BROKERS, CONTROLLERS = 1, 2
AT_BROKER = AtBroker(cluster_id=CLUSTER_ID, node_id=NodeId(1), listener_name="PLAINTEXT")
CLUSTER = Cluster(
    brokers={
        1: Broker(listeners={"PLAINTEXT": 1}),
        2: Broker(listeners={"PLAINTEXT": 2}, rack="r", fenced=True),
        3: Broker(listeners={"OTHER": 3}),
    },
    topics={},
    controllers={3001: "c1", 3002: "c2"},
)


def at_controller(active: int | None = 3002) -> AtController:
    return AtController(cluster_id=CLUSTER_ID, leader=leader(active), listener_name="CONTROLLER")


def ask(at: Viewpoint, cluster: Cluster = CLUSTER, **asked: Any) -> DescribeClusterResponse:
    return answer_describe_cluster(cluster.image(), DescribeClusterRequest(**asked), at)


def ids(answer: DescribeClusterResponse) -> list[int]:
    return [node.broker_id for node in answer.brokers]


def test_a_broker_tells_of_unfenced_brokers_on_its_listener() -> None:
    answer = ask(AT_BROKER)
    assert (answer.error_code, answer.cluster_id, answer.endpoint_type) == (
        ErrorCode.none,
        CLUSTER_ID,
        BROKERS,
    )
    assert (ids(answer), answer.controller_id) == ([1], 1)


def test_fenced_brokers_are_told_and_marked_if_asked_for() -> None:
    answer = ask(AT_BROKER, include_fenced_brokers=True)
    assert [(n.broker_id, n.rack, n.is_fenced) for n in answer.brokers] == [(1, None, False), (2, "r", True)]


def test_controllers_are_told_at_controllers_only() -> None:
    answer = ask(at_controller(), endpoint_type=CONTROLLERS)
    assert [(n.broker_id, n.host, n.port) for n in answer.brokers] == [(3001, "c1", 9093), (3002, "c2", 9093)]
    assert (answer.endpoint_type, answer.controller_id) == (CONTROLLERS, 3002)

    refused = ask(AT_BROKER, endpoint_type=CONTROLLERS)
    assert (refused.error_code, ids(refused)) == (ErrorCode.mismatched_endpoint_type, [])
    assert "bootstrap-controller" in (refused.error_message or "")


def test_controllers_are_never_fenced_so_no_broker_is_added_to_them() -> None:
    assert ids(ask(at_controller(), endpoint_type=CONTROLLERS, include_fenced_brokers=True)) == [3001, 3002]


def test_an_unknown_kind_of_node_is_refused() -> None:
    for at in (AT_BROKER, at_controller()):
        assert ask(at, endpoint_type=3).error_code is ErrorCode.unsupported_endpoint_type


def test_without_a_leader_the_controllers_are_told_and_nobody_is_active() -> None:
    answer = ask(at_controller(None), endpoint_type=CONTROLLERS)
    assert (ids(answer), answer.controller_id) == ([3001, 3002], -1)


def test_a_leader_that_is_not_registered_yet_is_told_all_the_same() -> None:
    answer = ask(at_controller(3003), endpoint_type=CONTROLLERS)
    assert [(n.broker_id, n.host) for n in answer.brokers][-1] == (3003, "quorum-side")
    assert answer.controller_id == 3003


def test_operations_are_told_only_if_asked_for() -> None:
    assert ask(AT_BROKER).cluster_authorized_operations == NOT_ASKED
    assert ask(AT_BROKER, include_cluster_authorized_operations=True).cluster_authorized_operations == 8096


@given(clusters(), st.sampled_from([None, 3001, 3009]), st.booleans())
def test_brokers_are_those_of_metadata(cluster: Cluster, active: int | None, controller: bool) -> None:
    at: Viewpoint = at_controller(active) if controller else AT_BROKER
    answer = ask(at, cluster)
    metadata = answer_metadata(cluster.image(), MetadataRequest(topics=()), at, api_version=12)
    assert [(n.broker_id, n.host, n.port, n.rack) for n in answer.brokers] == [
        (n.node_id, n.host, n.port, n.rack) for n in metadata.brokers
    ]
    assert answer.controller_id == metadata.controller_id


@given(clusters())
def test_fenced_ones_are_added_never_exchanged(cluster: Cluster) -> None:
    without, also = ask(AT_BROKER, cluster), ask(AT_BROKER, cluster, include_fenced_brokers=True)
    assert [attrs.evolve(n, is_fenced=False) for n in also.brokers if not n.is_fenced] == list(
        without.brokers
    )
    assert all(cluster.brokers[n.broker_id].fenced for n in also.brokers if n.is_fenced)
