"""Configurations of resources, as an image and as changes to one. What a key means is not known here."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, TypeAlias

import attrs
from immutables import Map

from quorate.metadata.image.patch import patched
from quorate.metadata.records import ConfigRecord

TOPIC: Final = 2
BROKER: Final = 4
"""Resource types, by Kafka's numbers."""

Resource: TypeAlias = tuple[int, str]
"""(type, name) of a resource; the default of all brokers has the name ""."""

_NONE: Final[Map[str, str]] = Map()


@attrs.frozen
class ConfigsImage:
    """What operators have set; a resource without any setting is not here."""

    EMPTY: ClassVar["ConfigsImage"]

    _resources: Map[Resource, Map[str, str]] = attrs.field(repr=False)

    def of(self, resource_type: int, name: str) -> Map[str, str]:
        """The settings of one resource."""
        return self._resources.get((resource_type, name), _NONE)

    def resources(self) -> Iterator[tuple[Resource, Map[str, str]]]:
        """(resource, settings) of all, by type and name."""
        return ((resource, self._resources[resource]) for resource in sorted(self._resources))

    def unordered(self) -> Iterator[tuple[Resource, Map[str, str]]]:
        """As `resources`, in an order that differs between processes: for sums, never for decisions."""
        return iter(self._resources.items())

    def __len__(self) -> int:
        return len(self._resources)


ConfigsImage.EMPTY = ConfigsImage(Map())


class ConfigsDelta:
    """Changes to configurations; a value of None is a key that was deleted."""

    __slots__ = ("_base", "changed")

    def __init__(self, base: ConfigsImage) -> None:
        self._base = base
        self.changed: dict[Resource, dict[str, str | None]] = {}

    def replay(self, record: ConfigRecord) -> None:
        resource = (record.resource_type, record.resource_name)
        keys = self.changed.get(resource)
        if keys is None:
            keys = self.changed[resource] = {}
        keys[record.name] = record.value

    def forget(self, resource: Resource) -> None:
        """The resource is gone, and its settings with it."""
        keys = {*self._base.of(*resource), *self.changed.get(resource, ())}
        if keys:
            self.changed[resource] = dict.fromkeys(keys)

    def apply(self) -> ConfigsImage:
        after: Mapping[Resource, Map[str, str] | None] = {
            resource: patched(self._base.of(*resource), keys) or None
            for resource, keys in self.changed.items()
        }
        return ConfigsImage(patched(self._base._resources, after))
