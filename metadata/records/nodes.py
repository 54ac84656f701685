"""Records of brokers and controllers: who is registered, where, and what it supports (KIP-631, KIP-919)."""

import uuid
from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.ids import NodeId
from quorate.metadata.records.declare import (
    BOOL,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT16,
    UNCHANGED,
    UUID,
    ArrayOf,
    DataRecord,
    Unchanged,
    kafka,
    struct_of,
)


@frozen(kw_only=True)
class BrokerEndpoint:
    """A listener of a broker or controller, as its registration names it."""

    name: str = field(metadata=kafka(STRING, "The listener's name, in upper case."))
    host: str = field(metadata=kafka(STRING, "The host it advertises."))
    port: int = field(metadata=kafka(UINT16, "The port it advertises."))
    security_protocol: int = field(metadata=kafka(INT16, "0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL."))


@frozen(kw_only=True)
class FeatureRange:
    """The levels of one feature that a node can work at."""

    name: str = field(metadata=kafka(STRING, "The feature's name."))
    min_supported_version: int = field(metadata=kafka(INT16, "The lowest level it supports."))
    max_supported_version: int = field(metadata=kafka(INT16, "The highest level it supports."))


_END_POINTS = ArrayOf(struct_of(BrokerEndpoint))
_FEATURES = ArrayOf(struct_of(FeatureRange))


@frozen(kw_only=True)
class RegisterBrokerRecord(DataRecord):
    """A broker's whole registration; replaces the one before it.

    Version 1: controlled shutdown; 2: ZooKeeper migration; 3: log directories; 4: cordoned log directories.
    """

    api_key: ClassVar = 0
    versions: ClassVar = (0, 4)

    broker_id: NodeId = field(metadata=kafka(INT32, "The broker."))
    is_migrating_zk_broker: bool = field(
        default=False,
        metadata=kafka(BOOL, "Still a ZooKeeper-mode broker, in the middle of a migration.", since=2),
    )
    incarnation_id: uuid.UUID = field(metadata=kafka(UUID, "Drawn by the broker process when it starts."))
    broker_epoch: int = field(
        metadata=kafka(INT64, "The epoch of this registration: the offset of the record that made it.")
    )
    end_points: tuple[BrokerEndpoint, ...] = field(metadata=kafka(_END_POINTS, "Where the broker listens."))
    features: tuple[FeatureRange, ...] = field(metadata=kafka(_FEATURES, "What the broker supports."))
    rack: str | None = field(
        default=None, metadata=kafka(STRING, "The broker's rack, or none.", nullable=True)
    )
    fenced: bool = field(default=True, metadata=kafka(BOOL, "Fenced brokers lead nothing and serve nobody."))
    in_controlled_shutdown: bool = field(
        default=False, metadata=kafka(BOOL, "The broker is handing over what it leads, to stop.", since=1)
    )
    log_dirs: tuple[uuid.UUID, ...] = field(
        default=(), metadata=kafka(ArrayOf(UUID), "The log directories that are online.", since=3, tag=0)
    )
    cordoned_log_dirs: tuple[uuid.UUID, ...] | None = field(
        default=None,
        metadata=kafka(
            ArrayOf(UUID),
            "Log directories that take no new replicas; none until the broker has said so in a heartbeat.",
            since=4,
            tag=1,
            nullable=True,
        ),
    )


@frozen(kw_only=True)
class UnregisterBrokerRecord(DataRecord):
    """Removes a broker's registration."""

    api_key: ClassVar = 1
    versions: ClassVar = (0, 0)

    broker_id: NodeId = field(metadata=kafka(INT32, "The broker."))
    broker_epoch: int = field(metadata=kafka(INT64, "The epoch of the registration that ends."))


@frozen(kw_only=True)
class FenceBrokerRecord(DataRecord):
    """Fences a broker. Only below metadata.version 6, where BrokerRegistrationChange took over."""

    api_key: ClassVar = 7
    versions: ClassVar = (0, 0)

    id: NodeId = field(metadata=kafka(INT32, "The broker."))
    epoch: int = field(metadata=kafka(INT64, "The epoch of its registration."))


@frozen(kw_only=True)
class UnfenceBrokerRecord(DataRecord):
    """Unfences a broker. Only below metadata.version 6, where BrokerRegistrationChange took over."""

    api_key: ClassVar = 8
    versions: ClassVar = (0, 0)

    id: NodeId = field(metadata=kafka(INT32, "The broker."))
    epoch: int = field(metadata=kafka(INT64, "The epoch of its registration."))


@frozen(kw_only=True)
class BrokerRegistrationChangeRecord(DataRecord):
    """Changes parts of a broker's registration.

    Version 1: controlled shutdown; 2: log directories; 3: cordoned log directories.
    """

    api_key: ClassVar = 17
    versions: ClassVar = (0, 3)

    broker_id: NodeId = field(metadata=kafka(INT32, "The broker."))
    broker_epoch: int = field(metadata=kafka(INT64, "The epoch of its registration."))
    fenced: bool | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            BOOL, "Whether the broker is fenced now.", tag=0, unchanged=0, codes={True: 1, False: -1}
        ),
    )
    in_controlled_shutdown: bool | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            BOOL,
            "True: it shuts down now. There is no way back.",
            since=1,
            tag=1,
            unchanged=0,
            codes={True: 1},
        ),
    )
    log_dirs: tuple[uuid.UUID, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            ArrayOf(UUID), "The log directories that are online now; never empty.", since=2, tag=2
        ),
    )
    cordoned_log_dirs: tuple[uuid.UUID, ...] | Unchanged = field(
        default=UNCHANGED,
        metadata=kafka(
            ArrayOf(UUID), "The log directories that take no new replicas.", since=3, tag=3, nullable=True
        ),
    )


@frozen(kw_only=True)
class RegisterControllerRecord(DataRecord):
    """A controller's whole registration; replaces the one before it (KIP-919)."""

    api_key: ClassVar = 27
    versions: ClassVar = (0, 0)

    controller_id: NodeId = field(metadata=kafka(INT32, "The controller."))
    incarnation_id: uuid.UUID = field(metadata=kafka(UUID, "Drawn by the controller process when it starts."))
    zk_migration_ready: bool = field(
        metadata=kafka(BOOL, "The controller is configured for a migration from ZooKeeper.")
    )
    end_points: tuple[BrokerEndpoint, ...] = field(
        metadata=kafka(_END_POINTS, "Where the controller listens.")
    )
    features: tuple[FeatureRange, ...] = field(metadata=kafka(_FEATURES, "What the controller supports."))
