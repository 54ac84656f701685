"""Configs of brokers, client quotas and SCRAM credentials, and the producer ids, out of a tree."""

from collections.abc import Iterable, Iterator, Mapping

import attrs

from quorate.metadata.config_keys.codes import ResourceType
from quorate.metadata.config_keys.keys import key_for
from quorate.metadata.ids import NodeId
from quorate.metadata.image.configs import BROKER
from quorate.metadata.records import (
    AnyDataRecord,
    ClientQuotaRecord,
    ConfigRecord,
    ProducerIdsRecord,
    QuotaEntity,
    UserScramCredentialRecord,
)
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.configs import (
    MECHANISM_NUMBERS,
    QUOTA_KEYS,
    ClientConfig,
    client_config,
    decode_config,
)
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import INT64_MAX, FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import decode_producer_ids
from quorate.metadata.zookeeper.kafka_znodes.reading import Batch, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.secrets import CBC, cipher_of, decode_secret, looks_encrypted
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Troubles

_NOBODYS_EPOCH = -1


def is_password(key: str) -> bool:
    """Whether a broker's config is encrypted in ZooKeeper."""
    known = key_for(ResourceType.BROKER, key)
    return known is not None and known.sensitive


def opened(value: str, secrets: Iterable[str]) -> str:
    """The clear text of an encrypted value, by the first of the secrets that fits.

    Raises:
        FormError: none of them does, or there are none.
    """
    problem = FormError("no-secret", "it is encrypted, and no password.encoder.secret was given")
    for secret in secrets:
        try:
            return decode_secret(value, secret)
        except FormError as error:
            problem = error
    raise problem


@attrs.frozen
class Entity:
    """Whose quotas and credentials a node holds."""

    path: str
    parts: tuple[tuple[str, str | None], ...]
    """(type, name) of each; None: the default."""

    @property
    def may_log_in(self) -> bool:
        (kind, name), *more = self.parts
        return kind == "user" and name is not None and not more


@attrs.define
class ConfigsReader:
    """Reads what lies below `/config`, topics apart."""

    family: Family
    options: ReadOptions
    troubles: Troubles

    def brokers(self) -> Iterator[Batch]:
        """By id, the default of all brokers first."""
        names = self.family.children(paths.BROKER_CONFIGS)
        numbered = sorted((name for name in names if name.isdecimal()), key=int)
        default = [name for name in names if name == paths.DEFAULT_ENTITY]
        for name in sorted(set(names).difference(numbered, default)):
            path = f"{paths.BROKER_CONFIGS}/{name}"
            error = FormError("malformed-name", f"{name!r} is no broker's id")
            self.troubles.undecodable(Category.BROKER_CONFIGS, path, error)
        for name in default + numbered:
            records = tuple(self._broker("" if name == paths.DEFAULT_ENTITY else name))
            if records:
                path = f"{paths.BROKER_CONFIGS}/{name}"
                yield Batch(category=Category.BROKER_CONFIGS, path=path, records=records)

    def _broker(self, name: str) -> Iterator[AnyDataRecord]:
        path = paths.broker_config(name)
        try:
            settings = decode_config(self.family.data(path))
        except FormError as error:
            self.troubles.undecodable(Category.BROKER_CONFIGS, path, error)
            return
        for key in sorted(settings):
            value = self._clear(path, key, settings[key])
            if value is not None:
                yield ConfigRecord(resource_type=BROKER, resource_name=name, name=key, value=value)

    def _clear(self, path: str, key: str, value: str) -> str | None:
        """The value in clear text; None: it cannot be read. Ciphertext is never taken for a password."""
        if not looks_encrypted(value):
            if is_password(key):
                words = f"{key} is a password and stands there in clear text: it is copied as it is"
                self.troubles.warn(
                    Category.BROKER_CONFIGS, path, "clear-password", words, "Set it anew by Kafka"
                )
            return value
        if cipher_of(value) not in ("", CBC):
            words = f"{key} is encrypted by {cipher_of(value)}: Kafka's own copy would stop at it, this one reads it"
            self.troubles.note(Category.BROKER_CONFIGS, path, "other-cipher", words)
        try:
            return opened(value, self.options.secrets)
        except FormError as error:
            named = FormError(error.code, f"{key}: {error}")
            self.troubles.undecodable(Category.BROKER_CONFIGS, path, named, "The key is left out")
            return None

    def entities(self) -> Iterator[Entity]:
        """Users, clients, pairs of both, IPs: in the order of Kafka's copy, each sorted."""
        yield from self._entities(paths.USERS, "user", ())
        yield from self._entities(paths.CLIENTS, "client-id", ())
        for node, user in self._named(paths.USERS, complain=False):
            yield from self._entities(f"{paths.USERS}/{node}/clients", "client-id", (("user", user),))
        yield from self._entities(paths.IPS, "ip", ())

    def _entities(
        self, folder: str, kind: str, before: tuple[tuple[str, str | None], ...]
    ) -> Iterator[Entity]:
        for node, name in self._named(folder):
            yield Entity(f"{folder}/{node}", (*before, (kind, name)))

    def _named(self, folder: str, *, complain: bool = True) -> Iterator[tuple[str, str | None]]:
        """(node, name) of all whose name means something."""
        for node in self.family.children(folder):
            try:
                name = paths.entity_name(node)
            except FormError as error:
                if complain:
                    self.troubles.undecodable(Category.QUOTAS, f"{folder}/{node}", error)
                continue
            yield node, name

    def clients(self) -> Iterator[Batch]:
        """The quotas and credentials of all entities."""
        for entity in self.entities():
            records = tuple(self._client(entity))
            if records:
                yield Batch(category=Category.QUOTAS, path=entity.path, records=records)

    def _client(self, entity: Entity) -> Iterator[AnyDataRecord]:
        try:
            settings = decode_config(self.family.data(entity.path))
        except FormError as error:
            self.troubles.undecodable(Category.QUOTAS, entity.path, error)
            return
        config = client_config(settings, may_log_in=entity.may_log_in)
        self._complain(entity, config)
        user = entity.parts[0][1]
        for mechanism, credential in sorted(config.credentials.items()):
            if user is not None:
                yield UserScramCredentialRecord(
                    name=user,
                    mechanism=mechanism,
                    salt=credential.salt,
                    stored_key=credential.stored_key,
                    server_key=credential.server_key,
                    iterations=credential.iterations,
                )
        parts = tuple(QuotaEntity(entity_type=kind, entity_name=name) for kind, name in entity.parts)
        for key, value in sorted(config.quotas.items()):
            yield ClientQuotaRecord(entity=parts, key=key, value=value, remove=False)

    def _complain(self, entity: Entity, config: ClientConfig) -> None:
        for bad in config.bad:
            category = Category.CREDENTIALS if bad.key in MECHANISM_NUMBERS else Category.QUOTAS
            self.troubles.undecodable(category, entity.path, FormError(bad.code, bad.words))
        known: Mapping[str, object] = QUOTA_KEYS[entity.parts[-1][0]]
        for key in sorted(config.quotas):
            if key not in known:
                words = f"{key} is no quota that Kafka knows of; it is copied as one"
                self.troubles.warn(
                    Category.QUOTAS, entity.path, "unknown-quota", words, "Remove it by kafka-configs"
                )

    def producer_ids(self) -> Iterator[Batch]:
        """Nothing where no block was given away yet."""
        path = paths.PRODUCER_IDS
        try:
            block = decode_producer_ids(self.family.data(path))
            if block is not None and block.last == INT64_MAX:
                raise FormError("wrong-value", "all producer ids are used up")
        except FormError as error:
            words = "Ids would be given away a second time"
            self.troubles.undecodable(Category.PRODUCER_IDS, path, error, words)
            return
        if block is not None:
            record = ProducerIdsRecord(
                broker_id=NodeId(block.broker_id),
                broker_epoch=_NOBODYS_EPOCH,
                next_producer_id=block.last + 1,
            )
            yield Batch(category=Category.PRODUCER_IDS, path=path, records=(record,))
