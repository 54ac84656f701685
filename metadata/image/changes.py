"""What is different between two images: what publishers act upon.

A delta knows its changes from the records. After a snapshot was loaded there are two whole images instead, and
`difference` finds the same thing by comparing them; whatever is shared is not looked into.
"""

import uuid
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import attrs
from immutables import Map

from quorate.metadata.features import METADATA_VERSION
from quorate.metadata.ids import NodeId
from quorate.metadata.image.cluster import BrokerRegistration, ControllerRegistration
from quorate.metadata.image.configs import Resource
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.security import DelegationToken, ScramCredential, UserAndMechanism
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.image.topics import TopicImage, TopicsImage
from quorate.metadata.security.permissions import Acl

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@attrs.frozen(kw_only=True)
class Changes:
    """What changed; None stands for what is gone.

    A delta may list something that was written with the value it had; a difference lists real changes only.
    """

    created_topics: Mapping[uuid.UUID, str]
    """id -> name."""
    deleted_topics: Mapping[uuid.UUID, TopicImage]
    """id -> the topic as it was."""
    changed_topics: Mapping[uuid.UUID, Mapping[int, PartitionRegistration]]
    """id -> number -> the partition as it is now; created topics are here with all their partitions."""
    changed_brokers: Mapping[NodeId, BrokerRegistration | None]
    changed_controllers: Mapping[NodeId, ControllerRegistration | None]
    changed_configs: Mapping[Resource, Mapping[str, str | None]]
    changed_features: Mapping[str, int | None]
    changed_quotas: Mapping[QuotaKey, Mapping[str, float | None]]
    changed_acls: Mapping[uuid.UUID, Acl | None]
    changed_credentials: Mapping[UserAndMechanism, ScramCredential | None]
    changed_tokens: Mapping[str, DelegationToken | None]
    producer_ids_changed: bool
    migration_changed: bool
    recoveries_changed: bool

    @property
    def metadata_version_changed(self) -> bool:
        return METADATA_VERSION in self.changed_features

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return any(getattr(self, a.name) for a in attrs.fields(Changes))


def difference(before: MetadataImage, after: MetadataImage) -> Changes:
    """Everything that leads from one image to the other, each part sorted; topics by name."""
    created, deleted, changed = _topics(before.topics, after.topics)
    return Changes(
        created_topics=created,
        deleted_topics=deleted,
        changed_topics=changed,
        changed_brokers=_flat(before.cluster.brokers, after.cluster.brokers),
        changed_controllers=_flat(before.cluster.controllers, after.cluster.controllers),
        changed_configs=_nested(dict(before.configs.resources()), dict(after.configs.resources())),
        changed_features=_flat(before.features.levels, after.features.levels),
        changed_quotas=_nested(dict(before.quotas.entities()), dict(after.quotas.entities())),
        changed_acls=_flat(before.acls.by_id, after.acls.by_id),
        changed_credentials=_flat(before.credentials.by_user, after.credentials.by_user),
        changed_tokens=_flat(before.tokens.by_id, after.tokens.by_id),
        producer_ids_changed=before.producer_ids != after.producer_ids,
        migration_changed=(before.migration, before.migration_order)
        != (after.migration, after.migration_order),
        recoveries_changed=before.recoveries != after.recoveries,
    )


def _flat(before: Map[K, V], after: Map[K, V]) -> dict[K, V | None]:
    if before is after:
        return {}
    gone: dict[K, V | None] = {key: None for key in before if key not in after}
    changes = gone | {key: value for key, value in after.items() if before.get(key) != value}
    # A map of texts has another order in every process, and publishers act in the order that they are given.
    return {key: changes[key] for key in sorted(changes, key=_any_order)}


def _any_order(key: Any) -> Any:
    return key


def _nested(before: dict[K, Map[str, V]], after: dict[K, Map[str, V]]) -> dict[K, dict[str, V | None]]:
    nothing: Map[str, V] = Map()
    every = [*after, *(key for key in before if key not in after)]
    pairs = ((key, _flat(before.get(key, nothing), after.get(key, nothing))) for key in every)
    return {key: changes for key, changes in pairs if changes}


_Topics = tuple[
    dict[uuid.UUID, str], dict[uuid.UUID, TopicImage], dict[uuid.UUID, dict[int, PartitionRegistration]]
]


def _topics(before: TopicsImage, after: TopicsImage) -> _Topics:
    if before is after:
        return {}, {}, {}
    created: dict[uuid.UUID, str] = {}
    changed: dict[uuid.UUID, dict[int, PartitionRegistration]] = {}
    for topic in after:
        earlier = before.by_id(topic.id)
        if earlier is None or earlier.name != topic.name:
            created[topic.id] = topic.name
            changed[topic.id] = dict(topic.partitions())
        elif earlier != topic:
            known = dict(earlier.partitions())
            changed[topic.id] = {i: p for i, p in topic.partitions() if known.get(i) != p}
    gone = (topic for topic in before if topic.id in created or after.by_id(topic.id) is None)
    return created, {topic.id: topic for topic in gone}, changed
