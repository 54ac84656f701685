"""Records of what operators set (configs, client quotas, feature levels) and of the producer id allocator."""

from typing import ClassVar

from attrs import field, frozen

from quorate.metadata.ids import NodeId
from quorate.metadata.records.declare import (
    BOOL,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    ArrayOf,
    DataRecord,
    kafka,
    struct_of,
)


@frozen(kw_only=True)
class ConfigRecord(DataRecord):
    """Sets one configuration key of a resource, or deletes it."""

    api_key: ClassVar = 4
    versions: ClassVar = (0, 0)

    resource_type: int = field(metadata=kafka(INT8, "2 topic, 4 broker, 16 client metrics, 32 group."))
    resource_name: str = field(metadata=kafka(STRING, "The resource; empty is the default of all brokers."))
    name: str = field(metadata=kafka(STRING, "The configuration key."))
    value: str | None = field(metadata=kafka(STRING, "The value; none deletes the key.", nullable=True))


@frozen(kw_only=True)
class QuotaEntity:
    """One part of the entity that a client quota applies to."""

    entity_type: str = field(metadata=kafka(STRING, "user, client-id or ip."))
    entity_name: str | None = field(
        metadata=kafka(STRING, "The entity's name; none is the default of that type.", nullable=True)
    )


@frozen(kw_only=True)
class ClientQuotaRecord(DataRecord):
    """Sets one quota of an entity, or removes it."""

    api_key: ClassVar = 14
    versions: ClassVar = (0, 0)

    entity: tuple[QuotaEntity, ...] = field(
        metadata=kafka(ArrayOf(struct_of(QuotaEntity)), "Whom the quota applies to, all parts together.")
    )
    key: str = field(metadata=kafka(STRING, "The quota, such as producer_byte_rate."))
    value: float = field(metadata=kafka(FLOAT64, "Its value; means nothing in a removal."))
    remove: bool = field(metadata=kafka(BOOL, "The quota is removed rather than set."))


@frozen(kw_only=True)
class FeatureLevelRecord(DataRecord):
    """Finalizes a feature at a level. The first record of every log and snapshot sets metadata.version."""

    api_key: ClassVar = 12
    versions: ClassVar = (0, 0)

    name: str = field(metadata=kafka(STRING, "The feature's name."))
    feature_level: int = field(
        metadata=kafka(INT16, "The level of the whole cluster; 0 removes the feature.")
    )


@frozen(kw_only=True)
class ProducerIdsRecord(DataRecord):
    """Moves the producer id allocator: all ids below the next one are given away."""

    api_key: ClassVar = 15
    versions: ClassVar = (0, 0)

    broker_id: NodeId = field(metadata=kafka(INT32, "The broker that asked for a block."))
    broker_epoch: int = field(metadata=kafka(INT64, "The epoch of its registration."))
    next_producer_id: int = field(metadata=kafka(INT64, "The first id of the next block."))
