"""The answer to DescribeCluster (KIP-700, KIP-919, KIP-1073): the nodes of one kind, and who takes writes.

A client that asks a controller for brokers is told what Metadata tells it there, the active controller included:
the one place in which our controllers stand in for brokers.
"""

from typing import Final, assert_never

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.permissions import Permits, permit_everything
from quorate.metadata.views.operations import operations_on_cluster
from quorate.metadata.views.viewpoint import (
    NO_NODE,
    AtBroker,
    AtController,
    SeenNode,
    Viewpoint,
    brokers_seen,
    controllers_seen,
    nodes_seen,
)
from quorate.metadata.wire.cluster import (
    NOT_ASKED,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

BROKERS: Final = 1
CONTROLLERS: Final = 2
"""Kafka's endpoint types."""


def answer_describe_cluster(
    image: MetadataImage,
    request: DescribeClusterRequest,
    viewpoint: Viewpoint,
    permits: Permits = permit_everything,
) -> DescribeClusterResponse:
    """The nodes of the kind that was asked for (before v1: brokers)."""
    if request.endpoint_type not in (BROKERS, CONTROLLERS):
        return _refused(
            ErrorCode.unsupported_endpoint_type,
            f"endpoint type {request.endpoint_type} is not known: 1 is brokers, 2 is controllers",
        )
    match viewpoint:
        case AtBroker() if request.endpoint_type == CONTROLLERS:
            return _refused(
                ErrorCode.mismatched_endpoint_type,
                "this is a listener of brokers, and the controllers were asked for: ask at a controller "
                "(--bootstrap-controller)",
            )
        case AtBroker():
            nodes, controller_id = nodes_seen(image, viewpoint)
        case AtController() if request.endpoint_type == CONTROLLERS:
            nodes = controllers_seen(image, viewpoint)
            controller_id = viewpoint.leader.leader_id if viewpoint.leader.leader_id is not None else NO_NODE
        case AtController():
            nodes, controller_id = nodes_seen(image, viewpoint)
        case _:
            assert_never(viewpoint)
    if request.include_fenced_brokers and request.endpoint_type == BROKERS:
        nodes = _with_fenced(image, viewpoint, nodes)
    return _described(viewpoint.cluster_id, request, nodes, controller_id, permits)


def _with_fenced(
    image: MetadataImage, viewpoint: Viewpoint, nodes: tuple[SeenNode, ...]
) -> tuple[SeenNode, ...]:
    every = {node.id: node for node in (*brokers_seen(image, viewpoint, with_fenced=True), *nodes)}
    return tuple(every[node_id] for node_id in sorted(every))


def _described(
    cluster_id: str,
    request: DescribeClusterRequest,
    nodes: tuple[SeenNode, ...],
    controller_id: NodeId,
    permits: Permits,
) -> DescribeClusterResponse:
    asked = request.include_cluster_authorized_operations
    return DescribeClusterResponse(
        endpoint_type=request.endpoint_type,
        cluster_id=cluster_id,
        controller_id=controller_id,
        brokers=tuple(
            DescribeClusterBroker(
                broker_id=node.id, host=node.host, port=node.port, rack=node.rack, is_fenced=node.fenced
            )
            for node in nodes
        ),
        cluster_authorized_operations=operations_on_cluster(permits) if asked else NOT_ASKED,
    )


def _refused(code: ErrorCode, why: str) -> DescribeClusterResponse:
    return DescribeClusterResponse(error_code=code, error_message=why)
