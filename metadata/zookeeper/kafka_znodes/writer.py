"""Changes of an image as writes to ZooKeeper: the dual write of a migration, and the store of the ZooKeeper mode.

In the order of Kafka's dual write (KIP-866): deleted topics, created topics, assignments, partitions, states, configs,
quotas with credentials, producer ids, ACLs, tokens. Other than there, a notification is in the same multi as what it
announces (a crash between the two would leave brokers with the old value for ever), and tokens are announced too.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from quorate.metadata.image.changes import Changes, difference
from quorate.metadata.image.configs import BROKER, TOPIC
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import encode_config, encode_config_change
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.layout import (
    WriteOptions,
    acls_by_node,
    broker_settings,
    client_path,
    client_settings,
    partition_state,
    producer_id_block,
    topic_znode,
)
from quorate.metadata.zookeeper.kafka_znodes.nodes import encode_producer_ids
from quorate.metadata.zookeeper.kafka_znodes.security import (
    RESOURCE_NODES,
    AclNode,
    acl_node,
    encode_acls,
    encode_token,
    why_no_acl_node,
)
from quorate.metadata.zookeeper.kafka_znodes.topics import encode_state, encode_topic
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Put, Remove, Step, Write, Writer


def writes(
    before: MetadataImage, after: MetadataImage, options: WriteOptions, changes: Changes | None = None
) -> Iterator[Write]:
    """What brings a ZooKeeper that holds `before` to `after`.

    Operations are for what `before` puts there; `Write.resolved` gives them for what is really there. `changes`: what
    is different, where the caller knows; it may name more than is.
    """
    changed = difference(before, after) if changes is None else changes
    return ImageWriter(before, after, options).writes(changed)


class ImageWriter:
    """Everything about one step from an image to the next."""

    def __init__(self, before: MetadataImage, after: MetadataImage, options: WriteOptions) -> None:
        self._before = before
        self._after = after
        self._options = options
        self._writer = Writer(BelievedTree(before))

    def writes(self, changes: Changes) -> Iterator[Write]:
        """In Kafka's order."""
        for topic in changes.deleted_topics.values():
            yield from self._writer.write(Category.TOPICS, f"topic {topic.name}", topic_removal(topic))
        for topic_id in changes.created_topics:
            created = self._after.topics.by_id(topic_id)
            if created is not None:
                steps = topic_creation(self._after, created, self._options)
                yield from self._writer.write(Category.TOPICS, f"topic {created.name}", steps)
        for topic_id, partitions in changes.changed_topics.items():
            if topic_id not in changes.created_topics:
                before, after = self._before.topics.by_id(topic_id), self._after.topics.by_id(topic_id)
                if before is not None and after is not None:
                    yield from self._changed_topic(before, after, partitions)
        yield from self._configs(changes)
        yield from self._clients(changes)
        if changes.producer_ids_changed:
            step = producer_ids_step(self._after)
            yield from self._writer.write(Category.PRODUCER_IDS, "producer ids", [step])
        yield from self._acls(changes)
        yield from self._tokens(changes)

    def _changed_topic(
        self, before: TopicImage, after: TopicImage, partitions: Iterable[int]
    ) -> Iterator[Write]:
        about = f"topic {after.name}"
        pairs = [(i, before.partition(i), after.partition(i)) for i in partitions]
        if any(is_placed_differently(old, new) for _, old, new in pairs):
            step = Put(paths.topic(after.name), encode_topic(topic_znode(after)))
            yield from self._writer.write(Category.TOPICS, about, [step])
        steps = [
            state_step(after.name, index, new, self._options)
            for index, old, new in pairs
            if new is not None and has_another_state(old, new)
        ]
        yield from self._writer.write(Category.PARTITIONS, about, steps)

    def _configs(self, changes: Changes) -> Iterator[Write]:
        created = set(changes.created_topics.values())
        for kind, name in changes.changed_configs:
            settings = self._after.configs.of(kind, name)
            if kind == TOPIC and name not in created and self._after.topics.by_name(name) is not None:
                steps = config_steps(paths.topic_config(name), settings)
                yield from self._writer.write(Category.TOPIC_CONFIGS, f"topic {name}", steps)
            elif kind == BROKER:
                steps = config_steps(paths.broker_config(name), broker_settings(settings, self._options))
                yield from self._writer.write(Category.BROKER_CONFIGS, f"broker {name or '(default)'}", steps)

    def _clients(self, changes: Changes) -> Iterator[Write]:
        entities: dict[QuotaKey, None] = dict.fromkeys(changes.changed_quotas)
        entities |= dict.fromkeys((("user", user),) for user, _ in changes.changed_credentials)
        for entity in entities:
            steps = client_steps(self._after, entity)
            category = Category.QUOTAS if entity in changes.changed_quotas else Category.CREDENTIALS
            yield from self._writer.write(category, _entity_words(entity), steps)

    def _acls(self, changes: Changes) -> Iterator[Write]:
        if not changes.changed_acls:
            return
        touched: set[AclNode] = set()
        for acl_id in changes.changed_acls:
            for image in (self._before, self._after):
                acl = image.acls.by_id.get(acl_id)
                if acl is not None:
                    touched.add(acl_node(acl))
        every = acls_by_node(acl for acl in self._after.acls.by_id.values() if acl_node(acl) in touched)
        for node in sorted(touched):
            if why_no_acl_node(node) is None:
                acls = every.get(node, [])
                put: Step = Put(node.path, encode_acls(acls)) if acls else Remove(node.path)
                steps = [put, Announce(node.change_prefix, node.change)]
                yield from self._writer.write(Category.ACLS, f"resource {node.name}", steps)

    def _tokens(self, changes: Changes) -> Iterator[Write]:
        for token_id in changes.changed_tokens:
            if paths.why_no_node(token_id) is None:
                steps = token_steps(self._after, token_id)
                yield from self._writer.write(Category.TOKENS, f"token {token_id}", steps)


def topic_removal(topic: TopicImage) -> Iterator[Step]:
    """All of a topic: partitions first, so that it may take more than one multi."""
    for index in topic.indexes():
        yield Remove(paths.partition(topic.name, index))
    yield Remove(paths.topic(topic.name))
    yield Remove(paths.topic_config(topic.name))


def topic_creation(image: MetadataImage, topic: TopicImage, options: WriteOptions) -> Iterator[Step]:
    """Its configs first, as Kafka does; brokers read them when they make the first replica."""
    settings = image.configs.of(TOPIC, topic.name)
    yield Put(paths.topic_config(topic.name), encode_config(settings))
    yield Put(paths.topic(topic.name), encode_topic(topic_znode(topic)))
    if topic.partition_count:
        yield Put(paths.partitions(topic.name), None)
    for index, partition in topic.partitions():
        yield state_step(topic.name, index, partition, options)


def state_step(name: str, index: int, partition: PartitionRegistration, options: WriteOptions) -> Put:
    """The state of a partition; the znodes above it are made where they are missing."""
    return Put(paths.state(name, index), encode_state(partition_state(partition, options.controller_epoch)))


def is_placed_differently(before: PartitionRegistration | None, after: PartitionRegistration | None) -> bool:
    """Whether the topic's own znode says something else."""
    if before is None or after is None:
        return before is not after
    return (before.replicas, before.adding_replicas, before.removing_replicas) != (
        after.replicas,
        after.adding_replicas,
        after.removing_replicas,
    )


def has_another_state(before: PartitionRegistration | None, after: PartitionRegistration) -> bool:
    """Whether the state's znode says something else: its own epoch and directories have no place there."""
    return before is None or partition_state(before, 0) != partition_state(after, 0)


def config_steps(path: str, settings: Mapping[str, str]) -> list[Step]:
    """The configs of a topic or broker; without any, an empty node stays, as Kafka leaves one."""
    return [Put(path, encode_config(settings)), announce_config(path)]


def announce_config(path: str) -> Announce:
    """That a node below `/config` has changed."""
    return Announce(paths.CONFIG_CHANGE_PREFIX, encode_config_change(path.removeprefix(f"{paths.CONFIG}/")))


def client_steps(after: MetadataImage, entity: QuotaKey) -> list[Step]:
    """The node of an entity with all that it holds; nodes that hold nothing any more are taken away, upward."""
    try:
        path = client_path(entity)
    except FormError:
        return []
    settings = client_settings(after, entity)
    if settings:
        return [Put(path, encode_config(settings)), announce_config(path)]
    user, is_pair = dict(entity).get("user"), len(entity) == 2
    if "user" in dict(entity):
        pairs = any(len(one) == 2 and dict(one)["user"] == user for one, _ in after.quotas.entities())
        own = bool(client_settings(after, (("user", user),)))
        if not is_pair and pairs:
            return [Put(path, encode_config({})), announce_config(path)]
        if is_pair and not pairs:
            above = paths.user(user)
            return [Remove(f"{above}/clients" if own else above), announce_config(path)]
    return [Remove(path), announce_config(path)]


def producer_ids_step(image: MetadataImage) -> Put:
    """The allocator's znode is always there."""
    block = producer_id_block(image.producer_ids.next_producer_id)
    return Put(paths.PRODUCER_IDS, None if block is None else encode_producer_ids(block))


def token_steps(image: MetadataImage, token_id: str) -> list[Step]:
    """A token, or its end; Kafka's migration announces neither."""
    token = image.tokens.by_id.get(token_id)
    path = paths.token(token_id)
    put: Step = Remove(path) if token is None else Put(path, encode_token(token_id, token))
    return [put, Announce(paths.TOKEN_CHANGE_PREFIX, token_id.encode())]


def _entity_words(entity: QuotaKey) -> str:
    return ", ".join(f"{kind} {'(default)' if name is None else name}" for kind, name in entity)


class BelievedTree:
    """What a ZooKeeper that holds an image has, as far as writes ask; nothing is read to know it."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._always = set(_FOLDERS)
        self._clients: set[str] | None = None
        self._acl_nodes: set[str] | None = None

    def exists(self, path: str) -> bool:
        """Whether the image, or every Kafka, has that znode."""
        if path in self._always:
            return True
        top = path.split("/")[1]
        match top:
            case "brokers":
                return self._topic_znode(path)
            case "config":
                return self._config_znode(path)
            case "kafka-acl" | "kafka-acl-extended":
                return path in self._acl_paths()
            case "delegation_token":
                return paths.name(path) in self._image.tokens.by_id
            case _:
                return False

    def below(self, path: str) -> list[str]:
        """Of what writers remove: partitions, topics, configs, entities, ACLs, tokens."""
        if path.startswith(f"{paths.TOPICS}/"):
            return self._below_topic(path)
        if path.startswith(f"{paths.USERS}/"):
            inside = [one for one in self._client_paths() if one == path or one.startswith(f"{path}/")]
            return sorted(inside, key=lambda one: -one.count("/"))
        return [path] if self.exists(path) else []

    def _topic_znode(self, path: str) -> bool:
        _, _, _, name, *rest = path.split("/")
        topic = self._image.topics.by_name(name)
        if topic is None:
            return False
        if not rest:
            return True
        if len(rest) == 1:
            return topic.partition_count > 0
        return topic.partition(int(rest[1])) is not None

    def _below_topic(self, path: str) -> list[str]:
        _, _, _, name, *rest = path.split("/")
        topic = self._image.topics.by_name(name)
        if topic is None:
            return []
        if len(rest) == 2:
            return [f"{path}/state", path] if topic.partition(int(rest[1])) is not None else []
        found = [
            one
            for index in topic.indexes()
            for one in (paths.state(name, index), paths.partition(name, index))
        ]
        return [*found, *([paths.partitions(name)] if found else []), paths.topic(name)]

    def _config_znode(self, path: str) -> bool:
        _, _, kind, name, *_ = path.split("/")
        if kind == "topics":
            return self._image.topics.by_name(name) is not None
        if kind == "brokers":
            resource = "" if name == paths.DEFAULT_ENTITY else name
            return bool(self._image.configs.of(BROKER, resource))
        return path in self._client_paths()

    def _client_paths(self) -> set[str]:
        if self._clients is None:
            self._clients = set()
            every: list[QuotaKey] = [entity for entity, _ in self._image.quotas.entities()]
            every += [(("user", user),) for user, _ in self._image.credentials.by_user]
            for entity in every:
                try:
                    path = client_path(entity)
                except FormError:
                    continue
                if not client_settings(self._image, entity):
                    continue
                while path not in self._always:
                    self._clients.add(path)
                    path = paths.parent(path)
        return self._clients

    def _acl_paths(self) -> set[str]:
        if self._acl_nodes is None:
            self._acl_nodes = {node.path for node in acls_by_node(self._image.acls.by_id.values())}
        return self._acl_nodes


def _with_parents(every: Iterable[str]) -> Iterator[str]:
    for path in every:
        yield path
        while path != "/":
            path = paths.parent(path)
            yield path


_FOLDERS: Final = frozenset(
    _with_parents(
        [
            *paths.ALWAYS_THERE,
            paths.TOKENS,
            paths.TOKEN_CHANGES,
            paths.LITERAL_ACL_CHANGES,
            paths.PREFIXED_ACL_CHANGES,
            *(f"{paths.LITERAL_ACLS}/{kind}" for kind in RESOURCE_NODES),
            *(f"{paths.PREFIXED_ACLS}/{kind}" for kind in RESOURCE_NODES),
        ]
    )
)
"""Made by every broker at its start; those of ACLs and tokens where these are in use."""
