"""All that is different in ZooKeeper from an image, as writes: after a failover, a failure, or before a way back.

What says the same is not written, whatever its bytes are: no notification goes out for nothing. Epochs of controllers,
versions of states, log directories, empty nodes and notifications do not count, nor who allocated the last block of
producer ids; a state of a controller epoch above the claimed one is written anew, or no broker could ever lead that
partition again.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from quorate.metadata.image.configs import BROKER, TOPIC
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import client_config, decode_config, encode_config
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.layout import (
    WriteOptions,
    acls_by_node,
    broker_settings,
    client_entities,
    client_path,
    client_settings,
    partition_state,
    topic_znode,
)
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_producer_ids
from quorate.metadata.zookeeper.kafka_znodes.read_configs import is_password
from quorate.metadata.zookeeper.kafka_znodes.secrets import decode_secret, looks_encrypted
from quorate.metadata.zookeeper.kafka_znodes.security import (
    RESOURCE_NODES,
    AclNode,
    decode_acls,
    decode_token,
    encode_acls,
)
from quorate.metadata.zookeeper.kafka_znodes.topics import (
    TopicZnode,
    decode_state,
    decode_topic,
    encode_topic,
)
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.kafka_znodes.writer import (
    announce_config,
    client_steps,
    config_steps,
    producer_ids_step,
    state_step,
    token_steps,
    topic_creation,
)
from quorate.metadata.zookeeper.kafka_znodes.writes import Announce, Put, Remove, Step, Write, Writer
from quorate.metadata.zookeeper.znodes import Tree

T = TypeVar("T")

_PAIR_DEPTH: Final = 5
"""Slashes in `/config/users/<user>/clients/<client>`."""


def reconcile(tree: Tree, image: MetadataImage, options: WriteOptions) -> Iterator[Write]:
    """What makes ZooKeeper say what the image says; nothing where it does already."""
    yield from _Reconciler(Family(tree), image, options).writes()


class _Reconciler:
    def __init__(self, family: Family, image: MetadataImage, options: WriteOptions) -> None:
        self._family = family
        self._image = image
        self._options = options
        self._writer = Writer(family)

    def writes(self) -> Iterator[Write]:
        """In the order of the dual write."""
        yield from self._deletions()
        for topic in self._image.topics:
            yield from self._topic(topic)
        yield from self._topic_configs()
        yield from self._broker_configs()
        yield from self._clients()
        yield from self._producer_ids()
        yield from self._acls()
        yield from self._tokens()

    def _decoded(self, path: str, decode: Callable[[bytes | None], T]) -> T | None:
        """None: it is not there, or means nothing."""
        node = self._family.get(path)
        if node is None:
            return None
        try:
            return decode(node.data)
        except FormError:
            return None

    # ---- topics

    def _deletions(self) -> Iterator[Write]:
        markers = [
            Remove(f"{paths.DELETE_TOPICS}/{name}") for name in self._family.children(paths.DELETE_TOPICS)
        ]
        yield from self._writer.write(Category.TOPICS, "requests to delete topics", markers)
        for name in self._family.children(paths.TOPICS):
            if self._is_gone(name):
                yield from self._writer.write(Category.TOPICS, f"topic {name}", self._removal(name))

    def _is_gone(self, name: str) -> bool:
        """No such topic any more, or another one that has the same name."""
        topic = self._image.topics.by_name(name)
        there = self._decoded(paths.topic(name), decode_topic)
        return topic is None or (
            there is not None and there.topic_id is not None and there.topic_id != topic.id
        )

    def _removal(self, name: str) -> Iterator[Step]:
        below = paths.partitions(name)
        for partition in self._family.children(below):
            yield Remove(f"{below}/{partition}")
        yield Remove(paths.topic(name))
        yield Remove(paths.topic_config(name))

    def _topic(self, topic: TopicImage) -> Iterator[Write]:
        path, about = paths.topic(topic.name), f"topic {topic.name}"
        there = self._decoded(path, decode_topic)
        if not self._family.exists(path) or self._is_gone(topic.name):
            steps = topic_creation(self._image, topic, self._options)
            yield from self._writer.write(Category.TOPICS, about, steps)
            return
        wanted = topic_znode(topic)
        if there is None or not _same_assignment(there, wanted):
            yield from self._writer.write(Category.TOPICS, about, [Put(path, encode_topic(wanted))])
        yield from self._writer.write(Category.PARTITIONS, about, self._partitions(topic))

    def _partitions(self, topic: TopicImage) -> Iterator[Step]:
        below = paths.partitions(topic.name)
        known: set[str] = set()
        for index, partition in topic.partitions():
            known.add(str(index))
            if not self._has_state(paths.state(topic.name, index), partition):
                yield state_step(topic.name, index, partition, self._options)
        for name in self._family.children(below):
            if name not in known:
                yield Remove(f"{below}/{name}")

    def _has_state(self, path: str, partition: PartitionRegistration) -> bool:
        there = self._decoded(path, decode_state)
        return (
            there is not None
            and there.controller_epoch <= self._options.controller_epoch
            and partition_state(partition, there.controller_epoch) == there
        )

    # ---- configs

    def _topic_configs(self) -> Iterator[Write]:
        for name in self._family.children(paths.TOPIC_CONFIGS):
            path = paths.topic_config(name)
            has_topic = self._image.topics.by_name(name) is not None or self._family.exists(paths.topic(name))
            # An empty node without a topic says nothing, and is not worth a write.
            if not has_topic and self._says_something(path):
                yield from self._write(
                    Category.TOPIC_CONFIGS, f"topic {name}", Remove(path), announce_config(path)
                )
        for topic in self._image.topics:
            path = paths.topic_config(topic.name)
            is_new = not self._family.exists(paths.topic(topic.name)) or self._is_gone(topic.name)
            settings = self._image.configs.of(TOPIC, topic.name)
            there = self._decoded(path, decode_config)
            missing = not self._family.exists(path)
            if is_new or (missing and not settings) or (there is not None and dict(there) == dict(settings)):
                continue
            yield from self._writer.write(
                Category.TOPIC_CONFIGS, f"topic {topic.name}", config_steps(path, settings)
            )

    def _says_something(self, path: str) -> bool:
        """Of a node below `/config`: it is there, and is not empty."""
        return self._family.exists(path) and self._decoded(path, decode_config) != {}

    def _write(self, category: Category, about: str, *steps: Step) -> Iterator[Write]:
        return self._writer.write(category, about, steps)

    def _broker_configs(self) -> Iterator[Write]:
        wanted = {name: dict(s) for (kind, name), s in self._image.configs.resources() if kind == BROKER}
        there = {
            "" if name == paths.DEFAULT_ENTITY else name
            for name in self._family.children(paths.BROKER_CONFIGS)
        }
        for name in sorted(there | wanted.keys()):
            path, about = paths.broker_config(name), f"broker {name or '(default)'}"
            settings = wanted.get(name, {})
            if self._has_broker_config(path, settings):
                continue
            steps = config_steps(path, broker_settings(settings, self._options))
            yield from self._writer.write(Category.BROKER_CONFIGS, about, steps)

    def _has_broker_config(self, path: str, wanted: Mapping[str, str]) -> bool:
        """Whether it says the same, passwords decrypted; without a secret no password counts."""
        there = self._decoded(path, decode_config)
        if there is None:
            return not self._family.exists(path) and not wanted
        if self._options.secret is None:
            wanted = {key: value for key, value in wanted.items() if not is_password(key)}
            return {key: value for key, value in there.items() if not is_password(key)} == wanted
        return {key: self._clear(value) for key, value in there.items()} == dict(wanted)

    def _clear(self, value: str) -> str | None:
        if not looks_encrypted(value) or self._options.secret is None:
            return value
        try:
            return decode_secret(value, self._options.secret)
        except FormError:
            return None

    # ---- quotas, credentials, producer ids

    def _clients(self) -> Iterator[Write]:
        wanted: dict[str, None] = {}
        for entity in client_entities(self._image):
            try:
                path = client_path(entity)
            except FormError:
                continue
            settings = client_settings(self._image, entity)
            if settings:
                wanted[path] = None
                if not self._has_client_config(path, settings):
                    steps = client_steps(self._image, entity)
                    yield from self._writer.write(Category.QUOTAS, _about(path), steps)
        yield from self._strangers(wanted)

    def _has_client_config(self, path: str, wanted: Mapping[str, str]) -> bool:
        there = self._decoded(path, decode_config)
        if there is None or there.keys() != wanted.keys():
            return False
        ours, theirs = (client_config(settings, may_log_in=True) for settings in (wanted, there))
        return not theirs.bad and (ours.quotas, ours.credentials) == (theirs.quotas, theirs.credentials)

    def _strangers(self, wanted: Mapping[str, None]) -> Iterator[Write]:
        """Entities that hold something in ZooKeeper and nothing in the image."""
        keeping = {paths.parent(paths.parent(path)) for path in wanted if path.count("/") == _PAIR_DEPTH}
        for name in self._family.children(paths.USERS):
            user = f"{paths.USERS}/{name}"
            yield from self._strange_user(user, wanted, keeps_clients=user in keeping)
        for folder in (paths.CLIENTS, paths.IPS):
            for name in self._family.children(folder):
                yield from self._removed(f"{folder}/{name}", [f"{folder}/{name}"], wanted)

    def _strange_user(self, user: str, wanted: Mapping[str, None], *, keeps_clients: bool) -> Iterator[Write]:
        """Nodes that would be left empty go with the last one that holds something."""
        pairs = [f"{user}/clients/{name}" for name in self._family.children(f"{user}/clients")]
        if keeps_clients:
            for pair in pairs:
                yield from self._removed(pair, [pair], wanted)
            if user not in wanted and self._says_something(user):
                emptied = Put(user, encode_config({}))
                yield from self._write(Category.QUOTAS, _about(user), emptied, announce_config(user))
        elif user in wanted:
            yield from self._removed(f"{user}/clients", pairs, wanted)
        else:
            yield from self._removed(user, [user, *pairs], wanted)

    def _removed(self, path: str, entities: list[str], wanted: Mapping[str, None]) -> Iterator[Write]:
        """All of it, if any of the entities in it says something."""
        speaking = [one for one in entities if one not in wanted and self._says_something(one)]
        if speaking:
            announced = map(announce_config, speaking)
            yield from self._write(Category.QUOTAS, _about(path), Remove(path), *announced)

    def _producer_ids(self) -> Iterator[Write]:
        following = max(self._image.producer_ids.next_producer_id, 0)
        node = self._family.get(paths.PRODUCER_IDS)
        if node is not None:
            try:
                block = decode_producer_ids(node.data)
                if (0 if block is None else block.last + 1) == following:
                    return
            except FormError:
                pass
        elif following == 0:
            return
        yield from self._writer.write(Category.PRODUCER_IDS, "producer ids", [producer_ids_step(self._image)])

    # ---- ACLs and tokens

    def _acls(self) -> Iterator[Write]:
        wanted = acls_by_node(self._image.acls.by_id.values())
        for node in sorted({*wanted, *self._acl_nodes()}):
            acls = wanted.get(node, [])
            try:
                entries = decode_acls(node, self._family.data(node.path))
                if {entry.acl for entry in entries} == set(acls):
                    continue
            except FormError:
                pass
            put: Step = Put(node.path, encode_acls(acls)) if acls else Remove(node.path)
            steps = [put, Announce(node.change_prefix, node.change)]
            yield from self._writer.write(Category.ACLS, f"resource {node.name}", steps)

    def _acl_nodes(self) -> Iterator[AclNode]:
        for store, pattern in ((paths.LITERAL_ACLS, 3), (paths.PREFIXED_ACLS, 4)):
            for kind, number in RESOURCE_NODES.items():
                for name in self._family.children(f"{store}/{kind}"):
                    yield AclNode(number, pattern, name)

    def _tokens(self) -> Iterator[Write]:
        there = {name for name in self._family.children(paths.TOKENS) if self._family.data(paths.token(name))}
        for token_id in sorted(there | set(self._image.tokens.by_id)):
            if paths.why_no_node(token_id) is not None:
                continue
            wanted = self._image.tokens.by_id.get(token_id)
            decoded = self._decoded(paths.token(token_id), decode_token)
            if wanted is None or decoded != (token_id, wanted):
                yield from self._writer.write(
                    Category.TOKENS, f"token {token_id}", token_steps(self._image, token_id)
                )


def _about(path: str) -> str:
    return path.removeprefix(f"{paths.CONFIG}/")


def _same_assignment(there: TopicZnode, wanted: TopicZnode) -> bool:
    """Empty lists of a reassignment say what missing ones say."""

    def moving(replicas: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
        return {index: ids for index, ids in replicas.items() if ids}

    return (
        there.topic_id == wanted.topic_id
        and dict(there.partitions) == dict(wanted.partitions)
        and moving(there.adding) == moving(wanted.adding)
        and moving(there.removing) == moving(wanted.removing)
    )
