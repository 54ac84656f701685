"""Metadata in one plain form, so that ZooKeeper's and the log's can be compared row by row.

Two decoders that share nothing: one takes the bytes of znodes apart by itself, without the reader that the migration
copies with, so that a mistake there does not hide itself; the other looks only at the image. They meet in the rows, and
in the cipher of passwords.

A row has a key that people can read and fields. What ZooKeeper cannot say is in no row: ids of ACLs, log directories,
eligible leaders, features. What is not worth comparing is not either: epochs of controllers in states, blocks of
producer ids, notifications, empty nodes, time stamps of `/controller`, ciphertext (see `verify.EXPECTED`).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from quorate.metadata.image.configs import BROKER, TOPIC
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.permissions import Acl
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.layout import has_place, quota_settings
from quorate.metadata.zookeeper.kafka_znodes.read_configs import is_password
from quorate.metadata.zookeeper.kafka_znodes.security import acl_node, why_no_acl_node
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category

Value: TypeAlias = str | int | float | bool | None
Fields: TypeAlias = Mapping[str, Value]

DEFAULT: Final = "(default)"
"""The default of users, clients, IPs or brokers, as a key shows it. Names are shown in quotes: nobody is called so."""
_ROUNDS: Final = 20_000
"""Of the hash of a password: whoever holds the evidence must not find short ones by trying."""


@attrs.frozen(kw_only=True)
class Row:
    """One thing. `path`, `version` and `mzxid` say where ZooKeeper has it; of the log's rows they are empty."""

    fields: Fields
    path: str = ""
    version: int = -1
    mzxid: int = -1


@attrs.define
class Model:
    """All rows, by category and key."""

    rows: dict[Category, dict[str, Row]] = attrs.Factory(lambda: {category: {} for category in Category})
    aside: dict[Category, dict[str, Row]] = attrs.Factory(lambda: {category: {} for category in Category})
    """What is in ZooKeeper and rightly nowhere else: topics that are being deleted, configs without a topic."""
    defaulted: list[str] = attrs.Factory(list)
    """Partitions without a state: their rows are what Kafka's copy makes of them."""
    unreadable: list[tuple[str, str]] = attrs.Factory(list)
    """(path, why): what means nothing is in no row."""

    def add(self, category: Category, key: str, row: Row) -> None:
        self.rows[category][key] = row

    def digest(self, category: Category) -> str:
        """Of all rows of a category, in whatever order; places are not part of it."""
        total = sum(_hash_of(key, row) for key, row in self.rows[category].items())
        return f"{total % 2**256:064x}"

    def total_digest(self) -> str:
        """One digest to sign off."""
        every = "".join(f"{category.value}={self.digest(category)};" for category in Category)
        return hashlib.sha256(every.encode()).hexdigest()


def _hash_of(key: str, row: Row) -> int:
    said = json.dumps([key, dict(sorted(row.fields.items()))], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(said.encode(errors="surrogatepass")).digest(), "big")


Hider: TypeAlias = Callable[[str, str], str]
"""(what it belongs to, a secret) -> a text that equal secrets share and that shows neither."""


def hider(cluster_id: str | None) -> Hider:
    """Hides passwords: the same way in every run on one cluster, so that digests of different days can be compared."""
    salt = f"quorate verify {cluster_id}".encode()
    made: dict[tuple[str, str], str] = {}

    def hide(owner: str, secret: str) -> str:
        if (owner, secret) not in made:  # both sides ask, and it is slow on purpose
            hashed = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt + owner.encode(), _ROUNDS)
            made[owner, secret] = f"hidden:{hashed.hex()[:32]}"
        return made[owner, secret]

    return hide


def hidden_bytes(data: bytes) -> str:
    """Of keys that nobody can guess: they are hashes themselves."""
    return f"hidden:{hashlib.sha256(data).hexdigest()[:32]}"


def ids(brokers: tuple[int, ...] | list[int]) -> str:
    """A list of brokers: its order counts."""
    return ",".join(map(str, brokers))


def entity_key(parts: Mapping[str, str | None]) -> str:
    """A user, a client, both, or an IP."""
    return " ".join(
        f"{kind} {DEFAULT if name is None else repr(name)}" for kind, name in sorted(parts.items())
    )


def broker_key(name: str) -> str:
    """Of a config: a broker's id, or the default of all brokers."""
    return f"broker {name or DEFAULT}"


# ---- the log's side


def model_of_image(image: MetadataImage, hide: Hider) -> Model:
    """What an image says; of it, what ZooKeeper could say too."""
    model = Model()
    _topics(image, model)
    _configs(image, model, hide)
    _clients(image, model)
    if image.producer_ids.next_producer_id > 0:
        following = Row(fields={"next id": image.producer_ids.next_producer_id})
        model.add(Category.PRODUCER_IDS, "producer ids", following)
    for acl in image.acls.by_id.values():
        model.add(Category.ACLS, acl_row_key(acl), Row(fields={"there": True}))
    for token_id, token in image.tokens.sorted():
        fields: Fields = {
            "owner": token.owner,
            "requester": token.requester,
            "renewers": json.dumps(sorted(set(token.renewers)), ensure_ascii=False),
            "issued": token.issue_timestamp,
            "expires": token.expiration_timestamp,
            "ends": token.max_timestamp,
        }
        model.add(Category.TOKENS, f"token {token_id}", Row(fields=fields))
    for broker in image.cluster.brokers.values():
        listeners = {e.name: f"{e.host}:{e.port} {_PROTOCOLS[e.security_protocol]}" for e in broker.listeners}
        model.add(Category.BROKERS, f"broker {broker.id}", Row(fields=broker_fields(broker.rack, listeners)))
    return model


_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def broker_fields(rack: str | None, listeners: Mapping[str, str]) -> Fields:
    """A registered broker."""
    return {"rack": rack, "listeners": json.dumps(dict(sorted(listeners.items())), ensure_ascii=False)}


def acl_key(
    kind: int, pattern: int, name: str, principal: str, host: str, operation: int, permission: int
) -> str:
    """An ACL is all that it says, by Kafka's numbers: no other row needs a field."""
    return f"type {kind} pattern {pattern} {name!r} {principal!r} from {host!r} op {operation} permission {permission}"


def acl_row_key(acl: Acl) -> str:
    """The same, of an ACL of the image."""
    return acl_key(
        acl.resource_type,
        acl.pattern_type,
        acl.resource_name,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )


def partition_key(topic: str, index: int) -> str:
    return f"{topic}-{index}"


def _topics(image: MetadataImage, model: Model) -> None:
    for topic in image.topics:
        indexes: list[int] = []
        for index, partition in topic.partitions():
            indexes.append(index)
            fields: Fields = {
                "replicas": ids(partition.replicas),
                "adding": ids(partition.adding_replicas),
                "removing": ids(partition.removing_replicas),
                "leader": partition.leader,
                "leader epoch": partition.leader_epoch,
                "isr": ids(partition.isr),
                "recovery": partition.leader_recovery_state,
                "partition epoch": partition.partition_epoch,
            }
            model.add(Category.PARTITIONS, partition_key(topic.name, index), Row(fields=fields))
        fields = {"id": topic.id.hex, "partitions": ids(indexes)}
        model.add(Category.TOPICS, topic.name, Row(fields=fields))


def _configs(image: MetadataImage, model: Model, hide: Hider) -> None:
    for (kind, name), settings in image.configs.resources():
        for key, value in settings.items():
            if kind == TOPIC:
                model.add(Category.TOPIC_CONFIGS, f"{name} {key}", Row(fields={"value": value}))
            elif kind == BROKER:
                owner = f"{broker_key(name)} {key}"
                shown = hide(owner, value) if is_password(key) else value
                model.add(Category.BROKER_CONFIGS, owner, Row(fields={"value": shown}))


def _clients(image: MetadataImage, model: Model) -> None:
    for entity, quotas in image.quotas.entities():
        for key, number in quotas.items():
            row = Row(fields={"value": float(number)})
            model.add(Category.QUOTAS, f"{entity_key(dict(entity))} {key}", row)
    for (user, mechanism), credential in image.credentials.by_user.items():
        fields: Fields = {
            "salt": hidden_bytes(credential.salt),
            "stored key": hidden_bytes(credential.stored_key),
            "server key": hidden_bytes(credential.server_key),
            "iterations": credential.iterations,
        }
        model.add(Category.CREDENTIALS, credential_key(user, mechanism), Row(fields=fields))


def credential_key(user: str, mechanism: int) -> str:
    """A user's credential; the mechanism by Kafka's number."""
    return f"user {user!r} mechanism {mechanism}"


def keys_without_form(image: MetadataImage, with_secret: bool) -> frozenset[tuple[Category, str]]:
    """Rows of an image that ZooKeeper cannot have. `with_secret`: passwords of brokers could be encrypted."""
    return frozenset(_without_form(image, with_secret))


def _without_form(image: MetadataImage, with_secret: bool) -> Iterator[tuple[Category, str]]:
    for entity, quotas in image.quotas.entities():
        writable = quota_settings(entity, quotas) if has_place(entity) else {}
        for key in quotas.keys() - writable.keys():
            yield Category.QUOTAS, f"{entity_key(dict(entity))} {key}"
    for user, mechanism in image.credentials.by_user:
        if not has_place((("user", user),)):
            yield Category.CREDENTIALS, credential_key(user, mechanism)
    for acl in image.acls.by_id.values():
        if why_no_acl_node(acl_node(acl)) is not None:
            yield Category.ACLS, acl_row_key(acl)
    for token_id, _ in image.tokens.sorted():
        if paths.why_no_node(token_id) is not None:
            yield Category.TOKENS, f"token {token_id}"
    for (kind, name), settings in image.configs.resources():
        for key in settings:
            if kind == TOPIC and image.topics.by_name(name) is None:
                yield Category.TOPIC_CONFIGS, f"{name} {key}"
            elif kind == BROKER and is_password(key) and not with_secret:
                yield Category.BROKER_CONFIGS, f"{broker_key(name)} {key}"
