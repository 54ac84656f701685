"""What an image looks like in ZooKeeper: the znodes of each thing in it, and what has no form there."""

from collections.abc import Iterable, Iterator, Mapping

import attrs

from quorate.metadata.image.configs import BROKER, TOPIC
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.security import SCRAM_MECHANISMS
from quorate.metadata.image.settings import QuotaKey
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.security.permissions import Acl
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import encode_credential, quota_text
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import ProducerIdBlock
from quorate.metadata.zookeeper.kafka_znodes.read_configs import is_password
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, Entropy, encode_secret
from quorate.metadata.zookeeper.kafka_znodes.security import AclNode, acl_node, why_no_acl_node
from quorate.metadata.zookeeper.kafka_znodes.topics import PartitionState, TopicZnode
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category

BLOCK_SIZE = 1000
"""Producer ids in a block (ProducerIdsBlock)."""
NOBODY = -1


@attrs.frozen(kw_only=True)
class WriteOptions:
    """What a write needs to know besides the image."""

    controller_epoch: int
    """ZooKeeper's, as it was claimed; it stands in every state of a partition that is written. Kafka's migration
    writes the epoch of the quorum instead, which after the way back no broker may lead against (KAFKA-20488)."""
    secret: str | None = attrs.field(default=None, repr=False)
    """`password.encoder.secret` of the brokers; without it their passwords cannot be written."""
    encoder: EncoderSettings = attrs.Factory(EncoderSettings)
    entropy: Entropy
    """For salts of encrypted passwords."""


def topic_znode(topic: TopicImage) -> TopicZnode:
    """The assignment of all partitions."""
    partitions: dict[int, tuple[int, ...]] = {}
    adding: dict[int, tuple[int, ...]] = {}
    removing: dict[int, tuple[int, ...]] = {}
    for index, partition in topic.partitions():
        partitions[index] = partition.replicas
        if partition.adding_replicas:
            adding[index] = partition.adding_replicas
        if partition.removing_replicas:
            removing[index] = partition.removing_replicas
    return TopicZnode(topic_id=topic.id, partitions=partitions, adding=adding, removing=removing)


def partition_state(partition: PartitionRegistration, controller_epoch: int) -> PartitionState:
    """The state of one partition; its epoch has no place there."""
    return PartitionState(
        leader=partition.leader,
        leader_epoch=partition.leader_epoch,
        isr=partition.isr,
        controller_epoch=controller_epoch,
        leader_recovery_state=partition.leader_recovery_state,
    )


def broker_settings(settings: Mapping[str, str], options: WriteOptions) -> dict[str, str]:
    """A broker's configs as they stand in ZooKeeper: passwords encrypted, or left out where there is no secret."""
    written: dict[str, str] = {}
    for key in sorted(settings):
        if not is_password(key):
            written[key] = settings[key]
        elif options.secret is not None:
            written[key] = encode_secret(settings[key], options.secret, options.encoder, options.entropy)
    return written


def client_path(entity: QuotaKey) -> str:
    """The node of an entity with quotas.

    Raises:
        FormError: ZooKeeper has no place for it.
    """
    parts = dict(entity)
    for name in parts.values():
        why = None if name is None else paths.why_no_node(paths.sanitized(name))
        if why is not None:
            raise FormError("no-place", f"ZooKeeper takes no node for {why}")
    match tuple(sorted(parts)):
        case ("user",):
            return paths.user(parts["user"])
        case ("client-id",):
            return paths.client(parts["client-id"])
        case ("client-id", "user"):
            return paths.user_client(parts["user"], parts["client-id"])
        case ("ip",):
            return paths.ip(parts["ip"])
        case kinds:
            raise FormError("no-place", f"Kafka's ZooKeeper mode has no quotas of {' and '.join(kinds)}")


def has_place(entity: QuotaKey) -> bool:
    """Whether ZooKeeper has a node for it."""
    try:
        client_path(entity)
    except FormError:
        return False
    return True


def quota_settings(entity: QuotaKey, quotas: Mapping[str, float]) -> dict[str, str]:
    """Quotas as they stand in ZooKeeper, without those that cannot."""
    kind = "user" if "user" in dict(entity) else entity[0][0]
    written: dict[str, str] = {}
    for key in sorted(quotas):
        try:
            written[key] = quota_text(kind, key, quotas[key])
        except FormError:
            continue
    return written


def client_settings(image: MetadataImage, entity: QuotaKey) -> dict[str, str]:
    """All that the node of an entity holds: its quotas, and a user's credentials beside them."""
    settings = quota_settings(entity, image.quotas.of(entity))
    user = dict(entity).get("user")
    if len(entity) == 1 and user is not None:
        for mechanism, name in SCRAM_MECHANISMS.items():
            credential = image.credentials.by_user.get((user, mechanism))
            if credential is not None:
                settings[name] = encode_credential(credential)
    return settings


def client_entities(image: MetadataImage) -> list[QuotaKey]:
    """Every entity that has quotas or credentials; sorted, users first where they are alone."""
    found = {entity for entity, _ in image.quotas.entities()}
    found.update((("user", user),) for user, _ in image.credentials.by_user)
    return sorted(found, key=_any_name)


def _any_name(entity: QuotaKey) -> tuple[tuple[str, bool, str], ...]:
    return tuple((kind, name is not None, name or "") for kind, name in entity)


def producer_id_block(next_producer_id: int) -> ProducerIdBlock | None:
    """The block that ends right before the next id, so that whoever reads it goes on there; None: nothing was given.

    Kafka writes the block that begins there, and every way there and back skips a thousand ids.
    """
    if next_producer_id <= 0:
        return None
    first = max(next_producer_id - BLOCK_SIZE, 0)
    return ProducerIdBlock(broker_id=NOBODY, first=first, last=next_producer_id - 1)


def acls_by_node(acls: Iterable[Acl]) -> dict[AclNode, list[Acl]]:
    """Sorted; without those that have no place in ZooKeeper."""
    found: dict[AclNode, list[Acl]] = {}
    for acl in acls:
        found.setdefault(acl_node(acl), []).append(acl)
    return {
        node: sorted(
            found[node], key=lambda acl: (acl.principal, acl.host, acl.operation, acl.permission_type)
        )
        for node in sorted(found)
        if why_no_acl_node(node) is None
    }


@attrs.frozen(kw_only=True)
class Unwritable:
    """Something that the image has and ZooKeeper cannot: it stays in the quorum, and a way back loses it."""

    category: Category
    about: str
    words: str


def unwritable(image: MetadataImage, *, with_secret: bool) -> tuple[Unwritable, ...]:
    """All of it. `with_secret`: passwords of brokers can be encrypted."""
    return (
        *_unwritable_topics(image),
        *_unwritable_configs(image, with_secret=with_secret),
        *_unwritable_clients(image),
        *_unwritable_acls(image),
        *_unwritable_tokens(image),
        *_unwritable_features(image),
    )


def _no(category: Category, about: str, words: str) -> Unwritable:
    return Unwritable(category=category, about=about, words=words)


def _unwritable_topics(image: MetadataImage) -> Iterator[Unwritable]:
    for topic in image.topics:
        placed = eligible = 0
        for _, partition in topic.partitions():
            placed += any(directory.int for directory in partition.directories)
            eligible += bool(partition.eligible_leader_replicas or partition.last_known_elr)
        about = f"topic {topic.name}"
        if placed:
            words = f"the log directories of {placed} partitions; brokers say them again"
            yield _no(Category.PARTITIONS, about, words)
        if eligible:
            yield _no(Category.PARTITIONS, about, f"the eligible leader replicas of {eligible} partitions")


def _unwritable_configs(image: MetadataImage, *, with_secret: bool) -> Iterator[Unwritable]:
    for (kind, name), settings in image.configs.resources():
        if kind not in (TOPIC, BROKER):
            words = f"configs of resources of type {kind} (client metrics, groups)"
            yield _no(Category.BROKER_CONFIGS, f"resource {name}", words)
        elif kind == TOPIC and image.topics.by_name(name) is None:
            yield _no(Category.TOPIC_CONFIGS, f"topic {name}", "configs of a topic that does not exist")
        elif kind == BROKER and not with_secret:
            for key in filter(is_password, sorted(settings)):
                words = f"the password {key}: no password.encoder.secret was given"
                yield _no(Category.BROKER_CONFIGS, f"broker {name or '(default)'}", words)


def _unwritable_clients(image: MetadataImage) -> Iterator[Unwritable]:
    for entity in client_entities(image):
        about = ", ".join(f"{kind} {'(default)' if name is None else name}" for kind, name in entity)
        try:
            client_path(entity)
        except FormError as error:
            yield _no(Category.QUOTAS, about, str(error))
            continue
        quotas = image.quotas.of(entity)
        kind = "user" if "user" in dict(entity) else entity[0][0]
        for key in sorted(quotas):
            try:
                quota_text(kind, key, quotas[key])
            except FormError as error:
                yield _no(Category.QUOTAS, about, str(error))


def _unwritable_acls(image: MetadataImage) -> Iterator[Unwritable]:
    for node in sorted({acl_node(acl) for acl in image.acls.by_id.values()}):
        why = why_no_acl_node(node)
        if why is not None:
            yield _no(Category.ACLS, f"resource {node.name}", f"ACLs of a resource with {why}")


def _unwritable_tokens(image: MetadataImage) -> Iterator[Unwritable]:
    for token_id, _ in image.tokens.sorted():
        why = paths.why_no_node(token_id)
        if why is not None:
            yield _no(Category.TOKENS, f"token {token_id}", f"a token with {why}")


def _unwritable_features(image: MetadataImage) -> Iterator[Unwritable]:
    for name in sorted(image.features.levels):
        words = "the level of the feature; in ZooKeeper mode inter.broker.protocol.version plays its part"
        yield _no(Category.CLUSTER, f"feature {name}", words)
