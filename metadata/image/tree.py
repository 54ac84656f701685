"""An image as a tree to browse: directories, and leaves that are plain JSON values.

Paths are those of kafka-metadata-shell's `/image`, so that an operator finds things where they always were:

    provenance
    features/{metadataVersion,finalized_<feature>}
    cluster/{brokers,controllers}/<id>
    topics/byName/<name>/{id,name,<partition>}
    topics/byId/<id>/{id,name,<partition>}
    configs/<TYPE>:<name>/<key>
    clientQuotas/<entity>/<key>
    producerIds/nextProducerId
    acls/byId/<id>
    scram/<mechanism>/<user>
    delegationToken/<id>
    migration
    migrationOrder
    recoveries/<recovery id>

Secrets never appear: SCRAM keys and the values of sensitive configuration keys read `[redacted]`.
Directories are lazy: looking at one topic does not unpack the others.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from quorate.metadata.features import METADATA_VERSION, describe_level
from quorate.metadata.ids import NodeId, uuid_from_text, uuid_to_text
from quorate.metadata.image.cluster import BrokerRegistration, ControllerRegistration
from quorate.metadata.image.configs import Resource
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.security import SCRAM_MECHANISMS, DelegationToken, ScramCredential
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import MigrationOrder, MigrationOrderRecord, QuorumRecoveryRecord
from quorate.metadata.security.permissions import Acl

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

REDACTED: Final = "[redacted]"
RESOURCE_TYPES: Final = {2: "TOPIC", 4: "BROKER", 8: "BROKER_LOGGER", 16: "CLIENT_METRICS", 32: "GROUP"}
_ENTITY_TYPES: Final = {"client-id": "clientId", "user": "user", "ip": "ip"}

Sensitive: TypeAlias = Callable[[int, str], bool]
"""(resource type, key) -> whether its value must not be shown."""


@attrs.frozen
class Directory:
    """A place with named things in it."""

    names: Callable[[], list[str]]
    """All names, in the order to show them in."""
    get: Callable[[str], "Node | None"]
    """What has that name, or None."""


@attrs.frozen
class Leaf:
    """A value."""

    value: Json


Node: TypeAlias = Directory | Leaf


class NoSuchPath(LookupError):
    """A path that leads nowhere; the text says how far it goes and what is there."""


def browse(image: MetadataImage, sensitive: Sensitive) -> Directory:
    """The root of an image."""
    return _fixed(
        {
            "provenance": lambda: Leaf(_provenance(image.provenance)),
            "features": lambda: _features(image),
            "cluster": lambda: _fixed(
                {"brokers": lambda: _brokers(image), "controllers": lambda: _controllers(image)}
            ),
            "topics": lambda: _fixed(
                {"byName": lambda: _topics_by_name(image), "byId": lambda: _topics_by_id(image)}
            ),
            "configs": lambda: _configs(image, sensitive),
            "clientQuotas": lambda: _quotas(image),
            "producerIds": lambda: _values({"nextProducerId": image.producer_ids.next_producer_id}),
            "acls": lambda: _fixed({"byId": lambda: _acls(image)}),
            "scram": lambda: _scram(image),
            "delegationToken": lambda: _tokens(image),
            "migration": lambda: Leaf(image.migration.name),
            "migrationOrder": lambda: _migration_order(image.migration_order),
            "recoveries": lambda: _recoveries(image),
        }
    )


def find(root: Directory, path: str) -> Node:
    """The node at a path; slashes at either end do not matter.

    Raises:
        NoSuchPath: there is nothing.
    """
    node: Node = root
    walked = ""
    for name in _split(path):
        below = node.get(name) if isinstance(node, Directory) else None
        if below is None:
            raise NoSuchPath(_dead_end(path, walked or "/", name, node))
        node, walked = below, f"{walked}/{name}"
    return node


def _dead_end(path: str, walked: str, name: str, node: Node) -> str:
    if isinstance(node, Leaf):
        return f"{path}: {walked} is a value, there is nothing below it"
    names = node.names()
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    return f"{path}: there is no {name!r} in {walked}" + (f", only {shown}" if names else ", which is empty")


_NAMES_SHOWN: Final = 10


def matching(root: Directory, pattern: str) -> Iterator[tuple[str, Node]]:
    """(path, node) of all that fits a path with `*`, `?` and `[…]` in its parts; at least one, or none at all."""
    found: list[tuple[str, Node]] = [("", root)]
    for part in _split(pattern):
        found = [step for path, node in found for step in _below(path, node, part)]
    yield from ((path or "/", node) for path, node in found)


def _below(path: str, node: Node, part: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node, Leaf):
        return
    exact = node.get(part)
    names = (
        [part] if exact is not None else fnmatch.filter(node.names(), part) if set(part) & set("*?[") else []
    )
    for name in names:
        below = node.get(name)
        if below is not None:
            yield f"{path}/{name}", below


def ls(node: Node) -> list[str]:
    """The names in a directory; directories among them end in a slash. A value has none."""
    if isinstance(node, Leaf):
        return []
    return [f"{name}/" if isinstance(node.get(name), Directory) else name for name in node.names()]


def cat(node: Node) -> Json:
    """The value of a leaf, or everything below a directory as nested objects."""
    if isinstance(node, Leaf):
        return node.value
    below = ((name, node.get(name)) for name in node.names())
    return {name: cat(child) for name, child in below if child is not None}


def tree(node: Node, depth: int | None = None) -> Iterator[tuple[int, str, Json]]:
    """(level, name, value) of everything below, top down; a directory's value is None, its name ends in a slash."""
    yield from _tree(node, 0, depth)


def _tree(node: Node, level: int, depth: int | None) -> Iterator[tuple[int, str, Json]]:
    if isinstance(node, Leaf) or (depth is not None and level >= depth):
        return
    for name in node.names():
        child = node.get(name)
        if isinstance(child, Leaf):
            yield level, name, child.value
        elif child is not None:
            yield level, f"{name}/", None
            yield from _tree(child, level + 1, depth)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _fixed(children: Mapping[str, Callable[[], Node]]) -> Directory:
    def get(name: str) -> Node | None:
        make = children.get(name)
        return None if make is None else make()

    return Directory(lambda: list(children), get)


def _quoted(name: str) -> str:
    """A name that users chose, without slashes."""
    return name.replace("%", "%25").replace("/", "%2F")


def _values(values: Mapping[str, Json]) -> Directory:
    return Directory(lambda: list(values), lambda name: Leaf(values[name]) if name in values else None)


def _provenance(provenance: Provenance) -> dict[str, Json]:
    return {
        "offset": provenance.offset,
        "epoch": provenance.epoch,
        "appendTimeMs": provenance.append_time_ms,
    }


def _features(image: MetadataImage) -> Directory:
    levels = image.features.levels
    values: dict[str, Json] = {"metadataVersion": describe_level(image.features.metadata_version)}
    values |= {f"finalized_{name}": levels[name] for name in sorted(levels) if name != METADATA_VERSION}
    return _values(values)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and str(int(text)) == text else None


def _brokers(image: MetadataImage) -> Directory:
    def get(name: str) -> Node | None:
        number = _number(name)
        found = None if number is None else image.cluster.brokers.get(NodeId(number))
        return None if found is None else Leaf(broker_json(found))

    return Directory(lambda: [str(i) for i in sorted(image.cluster.brokers)], get)


def _controllers(image: MetadataImage) -> Directory:
    def get(name: str) -> Node | None:
        number = _number(name)
        found = None if number is None else image.cluster.controllers.get(NodeId(number))
        return None if found is None else Leaf(controller_json(found))

    return Directory(lambda: [str(i) for i in sorted(image.cluster.controllers)], get)


def broker_json(broker: BrokerRegistration) -> dict[str, Json]:
    """A registration as a JSON value."""
    cordoned = broker.cordoned_log_dirs
    return {
        "id": broker.id,
        "epoch": broker.epoch,
        "incarnationId": uuid_to_text(broker.incarnation_id),
        "listeners": _listeners(broker),
        "supportedFeatures": _ranges(broker),
        "rack": broker.rack,
        "fenced": broker.fenced,
        "inControlledShutdown": broker.in_controlled_shutdown,
        "isMigratingZkBroker": broker.is_migrating_zk_broker,
        "directories": [uuid_to_text(d) for d in broker.log_dirs],
        "cordonedDirectories": None if cordoned is None else [uuid_to_text(d) for d in cordoned],
    }


def controller_json(controller: ControllerRegistration) -> dict[str, Json]:
    """A registration as a JSON value."""
    return {
        "id": controller.id,
        "incarnationId": uuid_to_text(controller.incarnation_id),
        "zkMigrationReady": controller.zk_migration_ready,
        "listeners": _listeners(controller),
        "supportedFeatures": _ranges(controller),
    }


def _listeners(node: BrokerRegistration | ControllerRegistration) -> Json:
    return [
        {"name": e.name, "host": e.host, "port": e.port, "securityProtocol": e.security_protocol}
        for e in node.listeners
    ]


def _ranges(node: BrokerRegistration | ControllerRegistration) -> Json:
    return {
        name: {
            "min": node.features[name].min_supported_version,
            "max": node.features[name].max_supported_version,
        }
        for name in sorted(node.features)
    }


def _topics_by_name(image: MetadataImage) -> Directory:
    def get(name: str) -> Node | None:
        found = image.topics.by_name(name)
        return None if found is None else _topic(found)

    return Directory(image.topics.names, get)


def _topics_by_id(image: MetadataImage) -> Directory:
    def get(name: str) -> Node | None:
        try:
            found = image.topics.by_id(uuid_from_text(name))
        except ValueError:
            return None
        return None if found is None else _topic(found)

    return Directory(lambda: sorted(uuid_to_text(topic.id) for topic in image.topics), get)


def _topic(topic: TopicImage) -> Directory:
    def get(name: str) -> Node | None:
        if name == "name":
            return Leaf(topic.name)
        if name == "id":
            return Leaf(uuid_to_text(topic.id))
        number = _number(name)
        found = None if number is None else topic.partition(number)
        return None if found is None else Leaf(partition_json(found))

    return Directory(lambda: ["id", "name", *map(str, topic.indexes())], get)


def partition_json(partition: PartitionRegistration) -> dict[str, Json]:
    """A partition as a JSON value."""
    return {
        "replicas": list(partition.replicas),
        "directories": [uuid_to_text(d) for d in partition.directories],
        "isr": list(partition.isr),
        "removingReplicas": list(partition.removing_replicas),
        "addingReplicas": list(partition.adding_replicas),
        "elr": list(partition.eligible_leader_replicas),
        "lastKnownElr": list(partition.last_known_elr),
        "leader": partition.leader,
        "leaderRecoveryState": "RECOVERING" if partition.leader_recovery_state else "RECOVERED",
        "leaderEpoch": partition.leader_epoch,
        "partitionEpoch": partition.partition_epoch,
    }


def _configs(image: MetadataImage, sensitive: Sensitive) -> Directory:
    def settings(resource: Resource) -> Callable[[], Node]:
        kind, name = resource
        values = image.configs.of(kind, name)
        shown = {key: REDACTED if sensitive(kind, key) else values[key] for key in sorted(values)}
        return lambda: _values(shown)

    def title(resource: Resource) -> str:
        kind, name = resource
        return f"{RESOURCE_TYPES.get(kind, str(kind))}:{_quoted(name)}"

    return _fixed({title(resource): settings(resource) for resource, _ in image.configs.resources()})


def _quotas(image: MetadataImage) -> Directory:
    def values(quotas: Mapping[str, float]) -> Callable[[], Node]:
        return lambda: _values({key: quotas[key] for key in sorted(quotas)})

    return _fixed({_entity_name(entity): values(quotas) for entity, quotas in image.quotas.entities()})


def _entity_name(entity: QuotaKey) -> str:
    """As kafka-metadata-shell writes an entity: `user(alice)_clientId(app)`, an empty name for the default."""
    named = ((_ENTITY_TYPES.get(kind, kind), _escaped(name or "")) for kind, name in entity)
    return "_".join(f"{kind}({name})" for kind, name in named)


def _escaped(name: str) -> str:
    for special in ("\\", "(", ")"):
        name = name.replace(special, f"\\{special}")
    return _quoted(name)


def _acls(image: MetadataImage) -> Directory:
    def get(name: str) -> Node | None:
        try:
            found = image.acls.by_id.get(uuid_from_text(name))
        except ValueError:
            return None
        return None if found is None else Leaf(_acl_json(found))

    return Directory(lambda: sorted(uuid_to_text(i) for i in image.acls.by_id), get)


def _acl_json(acl: Acl) -> dict[str, Json]:
    return {
        "resourceType": acl.resource_type,
        "resourceName": acl.resource_name,
        "patternType": acl.pattern_type,
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation,
        "permissionType": acl.permission_type,
    }


def _scram(image: MetadataImage) -> Directory:
    credentials = image.credentials

    def users(mechanism: int) -> Callable[[], Node]:
        found = ((user, credentials.of(user, mechanism)) for user in credentials.users())
        values = {
            _quoted(user): _credential_json(credential)
            for user, credential in found
            if credential is not None
        }
        return lambda: _values(values)

    return _fixed({name: users(mechanism) for mechanism, name in SCRAM_MECHANISMS.items()})


def _credential_json(credential: ScramCredential) -> dict[str, Json]:
    return {
        "salt": REDACTED,
        "storedKey": REDACTED,
        "serverKey": REDACTED,
        "iterations": credential.iterations,
    }


def _tokens(image: MetadataImage) -> Directory:
    return _values({_quoted(token_id): _token_json(token) for token_id, token in image.tokens.sorted()})


def _token_json(token: DelegationToken) -> dict[str, Json]:
    return {
        "owner": token.owner,
        "requester": token.requester,
        "renewers": list(token.renewers),
        "issueTimestamp": token.issue_timestamp,
        "maxTimestamp": token.max_timestamp,
        "expirationTimestamp": token.expiration_timestamp,
    }


def _recoveries(image: MetadataImage) -> Directory:
    """By recovery id, in the order in which they happened."""
    return _values({uuid_to_text(one.recovery_id): recovery_json(one) for one in image.recoveries})


def _migration_order(order: MigrationOrderRecord | None) -> Leaf:
    if order is None:
        return Leaf(None)
    return Leaf(
        {
            "order": MigrationOrder(order.order).name,
            "attempt": uuid_to_text(order.attempt),
            "forced": order.forced,
            "timeMs": order.time_ms,
            "operator": order.operator,
        }
    )


def recovery_json(recovery: QuorumRecoveryRecord) -> dict[str, Json]:
    """The audit record of a recovery as a JSON value."""
    return {
        "recoveryId": uuid_to_text(recovery.recovery_id),
        "previousRecoveryId": uuid_to_text(recovery.previous_recovery_id)
        if recovery.previous_recovery_id.int
        else None,
        "kind": recovery.kind,
        "timeMs": recovery.time_ms,
        "operator": recovery.operator,
        "source": recovery.source,
        "sourceDirectoryId": uuid_to_text(recovery.source_directory_id),
        "sourceEndOffset": recovery.source_end_offset,
        "sourceEpoch": recovery.source_epoch,
        "epoch": recovery.epoch,
        "digest": recovery.digest.hex(),
        "shown": list(recovery.shown),
    }
