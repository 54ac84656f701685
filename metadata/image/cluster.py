"""Registered brokers and controllers, as an image and as changes to one."""

import uuid
from collections.abc import Mapping
from typing import ClassVar, Final

import attrs
from immutables import Map

from quorate.metadata.features import LIGHTWEIGHT
from quorate.metadata.ids import LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY, NodeId
from quorate.metadata.image.patch import patched
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import (
    UNCHANGED,
    BrokerEndpoint,
    BrokerRegistrationChangeRecord,
    FeatureRange,
    FenceBrokerRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
    VersionRange,
)

_NO_FEATURES: Final[Map[str, VersionRange]] = Map()


@attrs.frozen(kw_only=True)
class BrokerRegistration:
    """What the quorum knows of one broker."""

    id: NodeId
    epoch: int
    """The offset of the record that made this registration; every request of the broker carries it."""
    incarnation_id: uuid.UUID
    listeners: tuple[BrokerEndpoint, ...]
    features: Map[str, VersionRange] = _NO_FEATURES
    rack: str | None = None
    fenced: bool = True
    in_controlled_shutdown: bool = False
    is_migrating_zk_broker: bool = False
    log_dirs: tuple[uuid.UUID, ...] = ()
    cordoned_log_dirs: tuple[uuid.UUID, ...] | None = None
    """None until the broker has said anything about it."""

    def listener(self, name: str) -> BrokerEndpoint | None:
        """Where the broker listens under that name."""
        return next((e for e in self.listeners if e.name == name), None)

    @property
    def is_lightweight(self) -> bool:
        """Whether the broker stores no topic data."""
        return LIGHTWEIGHT in self.features

    @property
    def takes_nothing_new(self) -> bool:
        """Whether every directory is cordoned: the replicas that are there stay, and none is added (KIP-1066)."""
        return bool(self.log_dirs) and set(self.log_dirs) <= set(self.cordoned_log_dirs or ())

    def has_online_directory(self, directory: uuid.UUID) -> bool:
        """Whether a replica in that directory can be used, as Kafka sees it: a directory that is not decided yet
        counts as online, and so does every one of a broker that named none."""
        if directory in (MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY):
            return True
        if directory == LOST_DIRECTORY:
            return False
        return not self.log_dirs or directory in self.log_dirs


@attrs.frozen(kw_only=True)
class ControllerRegistration:
    """What the quorum knows of one controller."""

    id: NodeId
    incarnation_id: uuid.UUID
    zk_migration_ready: bool
    listeners: tuple[BrokerEndpoint, ...]
    features: Map[str, VersionRange] = _NO_FEATURES

    def listener(self, name: str) -> BrokerEndpoint | None:
        """Where the controller listens under that name."""
        return next((e for e in self.listeners if e.name == name), None)


@attrs.frozen
class ClusterImage:
    """Every registered node."""

    EMPTY: ClassVar["ClusterImage"]

    brokers: Map[NodeId, BrokerRegistration]
    controllers: Map[NodeId, ControllerRegistration]

    def broker(self, broker_id: int) -> BrokerRegistration | None:
        return self.brokers.get(NodeId(broker_id))

    @property
    def has_data(self) -> bool:
        """Whether some broker stores topic data, or will as soon as it is back."""
        return not all(broker.is_lightweight for broker in self.brokers.values())

    def is_active(self, broker_id: int) -> bool:
        """Registered, not fenced, and not about to stop: it may lead and join an ISR."""
        broker = self.brokers.get(NodeId(broker_id))
        return broker is not None and not broker.fenced and not broker.in_controlled_shutdown


ClusterImage.EMPTY = ClusterImage(Map(), Map())


class ClusterDelta:
    """Changes to registrations; None is a registration that ended."""

    __slots__ = ("_base", "brokers", "controllers")

    def __init__(self, base: ClusterImage) -> None:
        self._base = base
        self.brokers: dict[NodeId, BrokerRegistration | None] = {}
        self.controllers: dict[NodeId, ControllerRegistration | None] = {}

    def replay_register(self, record: RegisterBrokerRecord) -> None:
        self.brokers[record.broker_id] = BrokerRegistration(
            id=record.broker_id,
            epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            listeners=record.end_points,
            features=_ranges(record.features),
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            is_migrating_zk_broker=record.is_migrating_zk_broker,
            log_dirs=record.log_dirs,
            cordoned_log_dirs=record.cordoned_log_dirs,
        )

    def replay_unregister(self, record: UnregisterBrokerRecord) -> None:
        self._broker(record.broker_id, record.broker_epoch, record)
        self.brokers[record.broker_id] = None

    def replay_fence(self, record: FenceBrokerRecord | UnfenceBrokerRecord) -> None:
        broker = self._broker(record.id, record.epoch, record)
        self.brokers[record.id] = attrs.evolve(broker, fenced=isinstance(record, FenceBrokerRecord))

    def replay_change(self, record: BrokerRegistrationChangeRecord) -> None:
        before = self._broker(record.broker_id, record.broker_epoch, record)
        self.brokers[record.broker_id] = attrs.evolve(
            before,
            fenced=before.fenced if record.fenced is UNCHANGED else record.fenced,
            in_controlled_shutdown=(
                before.in_controlled_shutdown
                if record.in_controlled_shutdown is UNCHANGED
                else record.in_controlled_shutdown
            ),
            log_dirs=before.log_dirs if record.log_dirs is UNCHANGED else record.log_dirs,
            cordoned_log_dirs=(
                before.cordoned_log_dirs
                if record.cordoned_log_dirs is UNCHANGED
                else record.cordoned_log_dirs
            ),
        )

    def replay_register_controller(self, record: RegisterControllerRecord) -> None:
        self.controllers[record.controller_id] = ControllerRegistration(
            id=record.controller_id,
            incarnation_id=record.incarnation_id,
            zk_migration_ready=record.zk_migration_ready,
            listeners=record.end_points,
            features=_ranges(record.features),
        )

    def _broker(self, broker_id: NodeId, epoch: int, record: object) -> BrokerRegistration:
        broker = self.brokers[broker_id] if broker_id in self.brokers else self._base.brokers.get(broker_id)
        if broker is None:
            raise ReplayError(f"{record} is about a broker that is not registered")
        if broker.epoch != epoch:
            raise ReplayError(f"{record} is about another registration: the broker's epoch is {broker.epoch}")
        return broker

    def apply(self) -> ClusterImage:
        return ClusterImage(
            patched(self._base.brokers, self.brokers), patched(self._base.controllers, self.controllers)
        )


def _ranges(features: tuple[FeatureRange, ...]) -> Map[str, VersionRange]:
    by_name: Mapping[str, VersionRange] = {
        f.name: VersionRange(
            min_supported_version=f.min_supported_version, max_supported_version=f.max_supported_version
        )
        for f in features
    }
    return Map(by_name)
