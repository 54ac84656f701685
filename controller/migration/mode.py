"""What a quorum refuses while ZooKeeper holds the cluster's metadata, or is given it back (pure; KIP-866).

    PRE_MIGRATION             only what the quorum itself lives on: registrations, heartbeats, the copy
    HAND_BACK, ROLLED_BACK    nothing: whatever were written now would not be in ZooKeeper

Kafka's words for it are NOT_CONTROLLER: the cluster's controller is a broker in ZooKeeper mode then.
"""

from typing import Final

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.wire.brokers import (
    BrokerHeartbeatRequest,
    BrokerRegistrationRequest,
    ControllerRegistrationRequest,
    UnregisterBrokerRequest,
)

_NODES: Final = (
    BrokerRegistrationRequest,
    BrokerHeartbeatRequest,
    UnregisterBrokerRequest,
    ControllerRegistrationRequest,
)


def is_handed_back(image: MetadataImage) -> bool:
    """Whether the quorum must not change anything any more."""
    order = image.migration_order
    return order is not None and order.order in (MigrationOrder.HAND_BACK, MigrationOrder.ROLLED_BACK)


def is_migrating(image: MetadataImage) -> bool:
    """Whether brokers in ZooKeeper mode belong to this cluster."""
    return image.migration in (MigrationState.PRE_MIGRATION, MigrationState.MIGRATION)


def why_closed(image: MetadataImage, request: object) -> str | None:
    """Why this request cannot be carried out here at the moment; None if it can."""
    if is_handed_back(image):
        if isinstance(request, ControllerRegistrationRequest):
            return None
        return "The cluster was given back to ZooKeeper, which has a controller of its own. Nothing was done."
    if image.migration is MigrationState.PRE_MIGRATION and not isinstance(request, _NODES):
        return (
            "The metadata is still in ZooKeeper: a broker in ZooKeeper mode is the controller until the migration has "
            "copied it here. Nothing was done."
        )
    return None


FLAG_WITHOUT_EFFECT: Final = (
    "zookeeper.metadata.migration.enable is set, and this cluster's log was begun without it: it has metadata of its "
    "own, "
    "into which nothing can be copied from ZooKeeper. The flag has no effect. If a migration was meant, stop the "
    "controllers, format new directories for all of them and start them with the flag."
)

FLAG_IS_MISSING: Final = (
    "the cluster is being moved from ZooKeeper, and this controller was started without "
    "zookeeper.metadata.migration.enable: "
    "what it decides would not reach ZooKeeper, and a way back would lose it. Start it with the flag, or end the "
    "migration "
    "(`quorate migrate finalize` or `rollback`) while another one leads"
)
