"""The cluster's id, its controller, its brokers, features and the state of a migration, as znodes."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from quorate.metadata.zookeeper.kafka_znodes.forms import (
    INT32_MAX,
    FormError,
    decimal,
    decoded,
    encoded,
    integer,
    long,
    submap,
    text,
    texts,
    version_of,
    wrong,
)

NO_KRAFT_EPOCH: Final = -1
"""Of `/controller`: a broker in ZooKeeper mode is the controller."""
NEVER_MIGRATED: Final = -1
"""Of `/migration`, in all its fields: nothing was copied yet."""

_SECURITY_PROTOCOLS: Final = frozenset({"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"})


def decode_cluster_id(data: bytes | None) -> str:
    """
    Raises:
        FormError
    """
    return text(decoded(data), "id")


def encode_cluster_id(cluster_id: str) -> bytes:
    return encoded({"version": "1", "id": cluster_id})


@attrs.frozen(kw_only=True)
class ControllerZnode:
    """`/controller`."""

    broker_id: int
    timestamp_ms: int
    """When it was claimed, wall clock; readers do not need it."""
    kraft_epoch: int = NO_KRAFT_EPOCH


def decode_controller(data: bytes | None) -> ControllerZnode:
    """Versions 1 and 2.

    Raises:
        FormError
    """
    members = decoded(data)
    stamp = members.get("timestamp")
    return ControllerZnode(
        broker_id=integer(members, "brokerid"),
        timestamp_ms=decimal(stamp, "timestamp") if isinstance(stamp, str) else 0,
        kraft_epoch=integer(members, "kraftControllerEpoch", NO_KRAFT_EPOCH),
    )


def encode_controller(controller: ControllerZnode) -> bytes:
    return encoded(
        {
            "version": 2,
            "brokerid": controller.broker_id,
            "timestamp": str(controller.timestamp_ms),
            "kraftControllerEpoch": controller.kraft_epoch,
        }
    )


def decode_controller_epoch(data: bytes | None) -> int:
    """
    Raises:
        FormError
    """
    if data is None:
        raise FormError("no-data", "it has no data")
    try:
        return decimal(data.decode("ascii"), "the controller's epoch", INT32_MAX)
    except UnicodeDecodeError:
        raise FormError("not-a-number", f"the controller's epoch is no whole number: {data!r}") from None


def encode_controller_epoch(epoch: int) -> bytes:
    return str(epoch).encode()


@attrs.frozen(kw_only=True)
class BrokerListener:
    """One endpoint of a broker."""

    name: str
    host: str
    port: int
    security_protocol: str


@attrs.frozen(kw_only=True)
class BrokerZnode:
    """`/brokers/ids/<id>`. The broker's epoch is the czxid of the znode."""

    listeners: tuple[BrokerListener, ...]
    rack: str | None
    features: Mapping[str, tuple[int, int]]
    """name -> lowest and highest version."""
    timestamp_ms: int
    jmx_port: int = -1


def decode_broker(data: bytes | None) -> BrokerZnode:
    """Versions 1 to 5, and newer ones as far as they are alike.

    Raises:
        FormError
    """
    members = decoded(data)
    version = integer(members, "version")
    if version < 1:
        raise FormError("unknown-version", f"its version is {version}; the lowest is 1")
    stamp = members.get("timestamp")
    rack = members.get("rack")
    if rack is not None and not isinstance(rack, str):
        wrong("rack", members, "a text")
    return BrokerZnode(
        listeners=_only_endpoint(members) if version == 1 else _endpoints(members),
        rack=rack,
        features={name: _range(name, value) for name, value in submap(members, "features").items()},
        timestamp_ms=decimal(stamp, "timestamp") if isinstance(stamp, str) else 0,
        jmx_port=integer(members, "jmx_port", -1),
    )


def encode_broker(broker: BrokerZnode) -> bytes:
    """Version 5."""
    plain = next((one for one in broker.listeners if one.security_protocol == "PLAINTEXT"), None)
    members: dict[str, Any] = {
        "features": {
            name: {"min_version": low, "max_version": high} for name, (low, high) in broker.features.items()
        },
        "listener_security_protocol_map": {one.name: one.security_protocol for one in broker.listeners},
        "endpoints": [f"{one.name}://{_bracketed(one.host)}:{one.port}" for one in broker.listeners],
    }
    if broker.rack is not None:
        members["rack"] = broker.rack
    members |= {
        "jmx_port": broker.jmx_port,
        "port": -1 if plain is None else plain.port,
        "host": None if plain is None else plain.host,
        "version": 5,
        "timestamp": str(broker.timestamp_ms),
    }
    return encoded(members)


def _only_endpoint(members: Mapping[str, Any]) -> tuple[BrokerListener, ...]:
    host, port = text(members, "host"), integer(members, "port")
    return (BrokerListener(name="PLAINTEXT", host=host, port=port, security_protocol="PLAINTEXT"),)


def _endpoints(members: Mapping[str, Any]) -> tuple[BrokerListener, ...]:
    protocols = submap(members, "listener_security_protocol_map")
    return tuple(_endpoint(endpoint, protocols) for endpoint in texts(members, "endpoints"))


def _endpoint(endpoint: str, protocols: Mapping[str, Any]) -> BrokerListener:
    name, scheme, address = endpoint.partition("://")
    host, colon, port = address.rpartition(":")
    if not scheme or not colon:
        raise FormError("wrong-value", f"the endpoint {endpoint!r} is not NAME://HOST:PORT")
    protocol = protocols.get(name, name)
    if not isinstance(protocol, str) or protocol not in _SECURITY_PROTOCOLS:
        raise FormError(
            "wrong-value", f"the endpoint {endpoint!r} has no known security protocol: {protocol!r}"
        )
    number = decimal(port, f"the port of {endpoint!r}", INT32_MAX)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return BrokerListener(name=name, host=bare, port=number, security_protocol=protocol)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _range(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, dict):
        raise FormError("wrong-type", f"the feature {name!r} has no range of versions")
    return integer(value, "min_version"), integer(value, "max_version")


@attrs.frozen(kw_only=True)
class FeatureZnode:
    """`/feature`. metadata.version is never in it: the inter-broker protocol plays that part."""

    enabled: bool
    levels: Mapping[str, int]


def decode_feature(data: bytes | None) -> FeatureZnode:
    """Versions 1 and 2.

    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 1, 2)
    status = integer(members, "status")
    if status not in (0, 1):
        raise FormError("wrong-value", f"its status is {status}; 0 and 1 are known")
    features = submap(members, "features")
    levels: dict[str, int] = {}
    for name in features:
        levels[name] = integer(submap(features, name), "max_version_level")
    return FeatureZnode(enabled=status == 1, levels=levels)


def encode_feature(feature: FeatureZnode) -> bytes:
    """Version 2."""
    levels = {name: {"max_version_level": level} for name, level in feature.levels.items()}
    return encoded({"features": levels, "version": 2, "status": int(feature.enabled)})


@attrs.frozen(kw_only=True)
class MigrationZnode:
    """`/migration`: how far the copy and the dual write are. To Kafka, an offset above 0 means "copied"."""

    controller_id: int = NEVER_MIGRATED
    controller_epoch: int = NEVER_MIGRATED
    offset: int = NEVER_MIGRATED
    epoch: int = NEVER_MIGRATED
    extra: Mapping[str, str | int] = attrs.Factory(dict)
    """Members of our own, which Kafka does not read: whose attempt it is."""

    @property
    def is_copied(self) -> bool:
        return self.offset > 0


_MIGRATION_MEMBERS: Final = {
    "kraft_metadata_offset": "offset",
    "kraft_controller_id": "controller_id",
    "kraft_metadata_epoch": "epoch",
    "kraft_controller_epoch": "controller_epoch",
}


def decode_migration(data: bytes | None) -> MigrationZnode:
    """Version 0.

    Raises:
        FormError
    """
    members = decoded(data)
    version_of(members, 0, 0)
    extra = {
        name: value
        for name, value in members.items()
        if name not in _MIGRATION_MEMBERS and name != "version" and isinstance(value, str | int)
    }
    return MigrationZnode(
        offset=long(members, "kraft_metadata_offset"),
        controller_id=integer(members, "kraft_controller_id"),
        epoch=integer(members, "kraft_metadata_epoch"),
        controller_epoch=integer(members, "kraft_controller_epoch"),
        extra=extra,
    )


def encode_migration(migration: MigrationZnode) -> bytes:
    members = {name: getattr(migration, field) for name, field in _MIGRATION_MEMBERS.items()}
    return encoded({"version": 0, **members, **migration.extra})


@attrs.frozen(kw_only=True)
class ProducerIdBlock:
    """`/latest_producer_id_block`: the last block that was given to a broker; both ends are in it."""

    broker_id: int
    first: int
    last: int


def decode_producer_ids(data: bytes | None) -> ProducerIdBlock | None:
    """None: no block was given away yet (null data).

    Raises:
        FormError
    """
    if data is None:
        return None
    members = decoded(data)
    version_of(members, 1, 1)
    first = decimal(text(members, "block_start"), "block_start")
    last = decimal(text(members, "block_end"), "block_end")
    if not 0 <= first <= last:
        raise FormError("wrong-value", f"a block from {first} to {last} is none")
    return ProducerIdBlock(broker_id=integer(members, "broker"), first=first, last=last)


def encode_producer_ids(block: ProducerIdBlock) -> bytes:
    members = {"broker": block.broker_id, "block_start": str(block.first), "block_end": str(block.last)}
    return encoded({"version": 1, **members})
