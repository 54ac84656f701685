"""What clients should be told, worked out the slow way from a small cluster: the model that views are held against.

Written from Kafka's `KRaftMetadataCache`, partition by partition, without any of the views' code.
"""

from typing import Any

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import LOST_DIRECTORY, UNASSIGNED_DIRECTORY
from tests.metadata.views.small_clusters import Cluster, Partition


def port(cluster: Cluster, broker: int, listener: str, at_controller: bool) -> int | None:
    """Where the client reaches a broker."""
    if broker not in cluster.brokers:
        return None
    listeners = cluster.brokers[broker].listeners
    if listener in listeners:
        return listeners[listener]
    return next(iter(listeners.values())) if at_controller else None


def brokers(cluster: Cluster, listener: str, at_controller: bool) -> list[tuple[int, str, int, str | None]]:
    """(id, host, port, rack) of those that are told."""
    found = []
    for broker_id, broker in sorted(cluster.brokers.items()):
        at = port(cluster, broker_id, listener, at_controller)
        if at is not None and not broker.fenced:
            found.append((broker_id, f"b{broker_id}", at, broker.rack))
    return found


def offline(cluster: Cluster, one: Partition, listener: str, at_controller: bool) -> list[int]:
    found = []
    for replica, disk in zip(one.replicas, one.disks, strict=True):
        broker = cluster.brokers.get(replica)
        if broker is None or broker.fenced or port(cluster, replica, listener, at_controller) is None:
            found.append(replica)
            continue
        undecided = disk == UNASSIGNED_DIRECTORY or not broker.disks
        if disk == LOST_DIRECTORY or (not undecided and disk not in broker.disks):
            found.append(replica)
    return found


def partition(
    cluster: Cluster, number: int, one: Partition, listener: str, at_controller: bool, version: int
) -> dict[str, Any]:
    """One partition of a Metadata answer."""
    reached = {b for b in cluster.brokers if port(cluster, b, listener, at_controller) is not None}
    replicas, isr = list(one.replicas), list(one.isr)
    if version == 0:
        replicas, isr = [b for b in replicas if b in reached], [b for b in isr if b in reached]
    if one.leader in reached:
        shown = one.leader
        error = ErrorCode.none
        if len(replicas) < len(one.replicas) or len(isr) < len(one.isr):
            error = ErrorCode.replica_not_available
    else:
        shown = -1
        error = ErrorCode.leader_not_available
        if one.leader in cluster.brokers and version >= 6:
            error = ErrorCode.listener_not_found
    return {
        "error_code": error,
        "partition_index": number,
        "leader_id": shown,
        "leader_epoch": one.leader_epoch,
        "replica_nodes": tuple(replicas),
        "isr_nodes": tuple(isr),
        "offline_replicas": tuple(offline(cluster, one, listener, at_controller)),
    }
