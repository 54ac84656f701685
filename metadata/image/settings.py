"""Feature levels, client quotas and the producer id allocator, as images and as changes to them."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, TypeAlias

import attrs
from immutables import Map

from quorate.metadata.features import (
    KRAFT_VERSION,
    LOWEST_METADATA_VERSION,
    METADATA_VERSION,
    METADATA_VERSIONS,
)
from quorate.metadata.image.patch import patched
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.records import ClientQuotaRecord, FeatureLevelRecord, ProducerIdsRecord, QuotaEntity


@attrs.frozen
class FeaturesImage:
    """The finalized level of every feature. kraft.version is not here: the quorum keeps it in control records."""

    EMPTY: ClassVar["FeaturesImage"]

    levels: Map[str, int]

    @property
    def metadata_version(self) -> int:
        """The finalized metadata.version; the lowest one while a log has not named any."""
        return self.levels.get(METADATA_VERSION, LOWEST_METADATA_VERSION)

    def level(self, feature: str) -> int:
        """The finalized level; 0 where the feature is not used."""
        return self.levels.get(feature, 0)


FeaturesImage.EMPTY = FeaturesImage(Map())


class FeaturesDelta:
    """Changes to feature levels; None is a feature that is not used any more."""

    __slots__ = ("_base", "changed")

    def __init__(self, base: FeaturesImage) -> None:
        self._base = base
        self.changed: dict[str, int | None] = {}

    def replay(self, record: FeatureLevelRecord) -> None:
        if record.name == KRAFT_VERSION:
            return  # As in Kafka: only the control record counts.
        if record.name == METADATA_VERSION and record.feature_level not in METADATA_VERSIONS:
            raise ReplayError(f"{record} is a metadata.version that this node does not know")
        self.changed[record.name] = record.feature_level or None

    def apply(self) -> FeaturesImage:
        return FeaturesImage(patched(self._base.levels, self.changed))


QuotaKey: TypeAlias = tuple[tuple[str, str | None], ...]
"""(type, name) of each part of an entity, by type; a name of None is the default of that type."""

_NO_QUOTAS: Final[Map[str, float]] = Map()


def quota_key(entity: tuple[QuotaEntity, ...]) -> QuotaKey:
    """The entity of a record; of two parts with one type the later counts."""
    return tuple(sorted({e.entity_type: e.entity_name for e in entity}.items()))


def _by_name(key: QuotaKey) -> tuple[tuple[str, bool, str], ...]:
    """None does not compare with text: the default of a type comes before its names."""
    return tuple((kind, name is not None, name or "") for kind, name in key)


@attrs.frozen
class QuotasImage:
    """Client quotas by entity; an entity without any quota is not here."""

    EMPTY: ClassVar["QuotasImage"]

    _entities: Map[QuotaKey, Map[str, float]] = attrs.field(repr=False)

    def of(self, entity: QuotaKey) -> Map[str, float]:
        """The quotas of one entity."""
        return self._entities.get(entity, _NO_QUOTAS)

    def entities(self) -> Iterator[tuple[QuotaKey, Map[str, float]]]:
        """(entity, quotas) of all, sorted."""
        return ((entity, self._entities[entity]) for entity in sorted(self._entities, key=_by_name))


QuotasImage.EMPTY = QuotasImage(Map())


class QuotasDelta:
    """Changes to quotas; None is a quota that was removed."""

    __slots__ = ("_base", "changed")

    def __init__(self, base: QuotasImage) -> None:
        self._base = base
        self.changed: dict[QuotaKey, dict[str, float | None]] = {}

    def replay(self, record: ClientQuotaRecord) -> None:
        quotas = self.changed.setdefault(quota_key(record.entity), {})
        quotas[record.key] = None if record.remove else record.value

    def apply(self) -> QuotasImage:
        after: Mapping[QuotaKey, Map[str, float] | None] = {
            entity: patched(self._base.of(entity), quotas) or None for entity, quotas in self.changed.items()
        }
        return QuotasImage(patched(self._base._entities, after))


@attrs.frozen
class ProducerIdsImage:
    """The producer id allocator: ids below the next one are given away, -1 before the first block."""

    EMPTY: ClassVar["ProducerIdsImage"]

    next_producer_id: int

    def after(self, record: ProducerIdsRecord) -> "ProducerIdsImage":
        """The allocator moved on; it never goes back, or two producers would share an id."""
        if record.next_producer_id <= self.next_producer_id:
            raise ReplayError(f"{record} does not move the next producer id on from {self.next_producer_id}")
        return ProducerIdsImage(record.next_producer_id)


ProducerIdsImage.EMPTY = ProducerIdsImage(-1)
