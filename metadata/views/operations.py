"""What a client may do with a resource, as the bits of `authorized_operations` (KIP-430).

Without an authorizer everybody may do everything that Kafka knows of that resource.
"""

from typing import Final

from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permits,
    Resource,
    authorized_operations,
    permit_everything,
)

ALL_ON_TOPIC: Final = authorized_operations(permit_everything, Resource.TOPIC, "")
ALL_ON_CLUSTER: Final = authorized_operations(permit_everything, Resource.CLUSTER, CLUSTER_NAME)


def operations_on_topic(permits: Permits, name: str) -> int:
    """What the caller may do with a topic."""
    if permits is permit_everything:  # for each topic of a large answer
        return ALL_ON_TOPIC
    return authorized_operations(permits, Resource.TOPIC, name)


def operations_on_cluster(permits: Permits) -> int:
    """What the caller may do with the cluster; nothing, for one who may not even DESCRIBE it."""
    if not permits(Operation.DESCRIBE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False):
        return 0
    return authorized_operations(permits, Resource.CLUSTER, CLUSTER_NAME)
