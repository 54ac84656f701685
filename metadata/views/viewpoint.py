"""Who asks where: which nodes a client may be told of, and under which addresses.

A client reached its node through one listener and must be able to reach every node that it is told of through the
listener of the same name. At a broker it sees the unfenced brokers that have it (Kafka's rule), and the answering
broker as the controller, since every broker forwards writes. Our controllers answer the same questions, which
Kafka's do not: there a client sees the unfenced brokers under their first listener if they have none of that name,
and the active controller, which takes writes.
"""

from typing import TypeAlias, assert_never

import attrs

from quorate.metadata.ids import NodeId
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import BrokerEndpoint

NO_NODE = NodeId(-1)


@attrs.frozen(kw_only=True)
class AtBroker:
    """The client is connected to this broker."""

    cluster_id: str
    node_id: NodeId
    listener_name: str


@attrs.frozen(kw_only=True)
class AtController:
    """The client is connected to some controller; `leader` is the active one, as that controller knows it."""

    cluster_id: str
    leader: LeaderAndEpoch
    listener_name: str


Viewpoint: TypeAlias = AtBroker | AtController


@attrs.frozen(kw_only=True)
class SeenNode:
    """A node as a client may be told of it."""

    id: NodeId
    host: str
    port: int
    rack: str | None = None
    fenced: bool = False


def endpoint_seen(broker: BrokerRegistration, viewpoint: Viewpoint) -> BrokerEndpoint | None:
    """Where the client reaches the broker; None if it cannot."""
    same = broker.listener(viewpoint.listener_name)
    if same is None and isinstance(viewpoint, AtController) and broker.listeners:
        return broker.listeners[0]
    return same


def brokers_seen(
    image: MetadataImage, viewpoint: Viewpoint, *, with_fenced: bool = False
) -> tuple[SeenNode, ...]:
    """The brokers that the client can reach, by id; fenced ones only if asked for."""
    seen: list[SeenNode] = []
    for broker_id in sorted(image.cluster.brokers):
        broker = image.cluster.brokers[broker_id]
        endpoint = endpoint_seen(broker, viewpoint)
        if endpoint is not None and (with_fenced or not broker.fenced):
            seen.append(
                SeenNode(
                    id=broker_id,
                    host=endpoint.host,
                    port=endpoint.port,
                    rack=broker.rack,
                    fenced=broker.fenced,
                )
            )
    return tuple(seen)


def active_controller_seen(image: MetadataImage, viewpoint: AtController) -> SeenNode | None:
    """The active controller under the client's listener; before it is registered, where the quorum reaches it."""
    active = viewpoint.leader.leader_id
    if active is None:
        return None
    registration = image.cluster.controllers.get(active)
    endpoint = None if registration is None else registration.listener(viewpoint.listener_name)
    reached = endpoint or viewpoint.leader.endpoint
    return None if reached is None else SeenNode(id=active, host=reached.host, port=reached.port)


def controllers_seen(image: MetadataImage, viewpoint: AtController) -> tuple[SeenNode, ...]:
    """All controllers that have the client's listener, by id."""
    seen: dict[NodeId, SeenNode] = {}
    for controller_id, controller in image.cluster.controllers.items():
        endpoint = controller.listener(viewpoint.listener_name)
        if endpoint is not None:
            seen[controller_id] = SeenNode(id=controller_id, host=endpoint.host, port=endpoint.port)
    active = active_controller_seen(image, viewpoint)
    if active is not None:
        seen.setdefault(active.id, active)
    return tuple(seen[controller_id] for controller_id in sorted(seen))


def nodes_seen(image: MetadataImage, viewpoint: Viewpoint) -> tuple[tuple[SeenNode, ...], NodeId]:
    """(nodes by id, the id of the one that takes writes or -1): what Metadata and DescribeCluster list as brokers."""
    brokers = brokers_seen(image, viewpoint)
    match viewpoint:
        case AtBroker():
            return brokers, _forwarding_broker(brokers, viewpoint.node_id)
        case AtController():
            active = active_controller_seen(image, viewpoint)
            if active is None:
                return brokers, NO_NODE
            return tuple(sorted((*brokers, active), key=lambda node: node.id)), active.id
        case _:
            assert_never(viewpoint)


def _forwarding_broker(brokers: tuple[SeenNode, ...], answering: NodeId) -> NodeId:
    """The answering broker; while it is fenced, one that the client is told the address of: all of them forward."""
    ids = [broker.id for broker in brokers]
    if answering in ids:
        return answering
    return ids[0] if ids else NO_NODE
