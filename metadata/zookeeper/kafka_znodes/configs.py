"""Configurations, client quotas and SCRAM credentials: one form of znode for all of them, and what its values mean.

The node of a user holds quotas and credentials side by side; whoever writes one has to write the other too.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.config_keys.keys import java_double
from quorate.metadata.image.security import SCRAM_MECHANISMS, ScramCredential
from quorate.metadata.zookeeper.kafka_znodes.forms import (
    INT32_MAX,
    INT64_MAX,
    FormError,
    decoded,
    encoded,
    submap,
    text,
    version_of,
    wrong,
)
from quorate.metadata.zookeeper.kafka_znodes.java_order import as_java_properties

MECHANISM_NUMBERS: Final = {name: number for number, name in SCRAM_MECHANISMS.items()}

_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?[dDfF]?")
_ITERATIONS = re.compile(r"[0-9]{1,10}")
_BLANKS: Final = "".join(map(chr, range(0x21)))

_RATES: Final[Mapping[str, int | None]] = {
    "producer_byte_rate": INT64_MAX,
    "consumer_byte_rate": INT64_MAX,
    "request_percentage": None,
    "controller_mutation_rate": None,
}
QUOTA_KEYS: Final[Mapping[str, Mapping[str, int | None]]] = {
    "user": _RATES,
    "client-id": _RATES,
    "ip": {"connection_creation_rate": INT32_MAX},
}
"""Type of entity -> key -> the largest number where it is written as a whole one; None: as a Double."""
_EPSILON: Final = 1e-6
"""How far from a whole number a rate may be to be written as one (`ZkAdminManager`)."""


def decode_config(data: bytes | None) -> Mapping[str, str]:
    """The settings in a node of `/config`; null data, or no member `config`: none.

    Raises:
        FormError
    """
    if data is None:
        return {}
    members = decoded(data)
    version_of(members, 1, 1)
    settings = submap(members, "config")
    for key, value in settings.items():
        if not isinstance(value, str):
            raise FormError("wrong-type", f"the value of {key!r} is no text: {value!r}")
    return settings


def encode_config(settings: Mapping[str, str]) -> bytes:
    # Sorted first: an image gives its keys in another order in every process, and buckets keep the order given.
    return encoded({"version": 1, "config": as_java_properties(dict(sorted(settings.items())))})


def decode_config_change(data: bytes | None) -> str:
    """What a notification is about, as a path below `/config`; versions 1 and 2.

    Raises:
        FormError
    """
    members = decoded(data)
    if version_of(members, 1, 2) == 1:
        kind = text(members, "entity_type")
        if kind not in ("topics", "clients"):
            wrong("entity_type", members, "topics or clients")
        return f"{kind}/{text(members, 'entity_name')}"
    return text(members, "entity_path")


def encode_config_change(entity_path: str) -> bytes:
    """`entity_path`: below `/config`, with sanitized names."""
    return encoded({"version": 2, "entity_path": entity_path})


@attrs.frozen
class BadValue:
    """A key whose value means nothing; the text of a secret is not in it."""

    key: str
    code: str
    words: str


@attrs.frozen
class ClientConfig:
    """What the node of a user, client, user and client, or IP says."""

    quotas: Mapping[str, float]
    credentials: Mapping[int, ScramCredential]
    """Mechanism -> credential; only users have any."""
    bad: tuple[BadValue, ...]


def client_config(settings: Mapping[str, str], *, may_log_in: bool) -> ClientConfig:
    """`may_log_in`: of a user; a credential anywhere else means nothing (and stops Kafka's copy)."""
    quotas: dict[str, float] = {}
    credentials: dict[int, ScramCredential] = {}
    bad: list[BadValue] = []
    for key, value in sorted(settings.items()):
        mechanism = MECHANISM_NUMBERS.get(key)
        try:
            if mechanism is None:
                quotas[key] = quota_value(key, value)
            elif may_log_in:
                credentials[mechanism] = decode_credential(value)
            else:
                raise FormError("misplaced-credential", f"{key} stands where no user is who could log in")
        except FormError as error:
            bad.append(BadValue(key, error.code, str(error)))
    return ClientConfig(quotas, credentials, tuple(bad))


def quota_value(key: str, value: str) -> float:
    """A quota as Java's Double reads it.

    Raises:
        FormError: no finite number.
    """
    if key.upper().startswith("SCRAM-"):
        raise FormError("unknown-mechanism", f"{key} is no mechanism that Kafka knows")
    trimmed = value.strip(_BLANKS)
    number = float(trimmed.rstrip("dDfF")) if _DOUBLE.fullmatch(trimmed) else float("nan")
    if not abs(number) < float("inf"):
        raise FormError("not-a-number", f"the quota {key} is no finite number: {value!r}")
    return number


def quota_text(entity_type: str, key: str, value: float) -> str:
    """A quota as Kafka writes it.

    Raises:
        FormError: a key that Kafka's ZooKeeper mode does not have, or a value that it cannot write.
    """
    keys = QUOTA_KEYS[entity_type]
    if key not in keys:
        raise FormError("unknown-quota", f"Kafka has no quota {key} of an entity with {entity_type}")
    highest = keys[key]
    if highest is None:
        return java_double(value)
    # Java's conversion stops at the largest number: 2**63 is what a float makes of 2**63 - 1.
    whole = max(min(int(value + _EPSILON), highest), -highest - 1)
    if abs(float(whole) - value) > _EPSILON:
        raise FormError(
            "not-a-whole-number", f"the quota {key} is {value}, and in ZooKeeper it is a whole number"
        )
    return str(whole)


def decode_credential(value: str) -> ScramCredential:
    """`salt=…,stored_key=…,server_key=…,iterations=…`, binary parts in base64 (ScramCredentialUtils).

    Raises:
        FormError: anything else; the text does not show the value.
    """
    parts = {name: part for name, _, part in (one.partition("=") for one in value.split(","))}
    if parts.keys() != {"salt", "stored_key", "server_key", "iterations"} or value.count(",") != 3:
        raise FormError("bad-credential", "a credential has salt, stored_key, server_key and iterations")
    if not _ITERATIONS.fullmatch(parts["iterations"]) or int(parts["iterations"]) > INT32_MAX:
        raise FormError("bad-credential", "the iterations of a credential are no whole number")
    try:
        salt, stored, server = (
            base64.b64decode(parts[name], validate=True) for name in ("salt", "stored_key", "server_key")
        )
    except (binascii.Error, ValueError):
        raise FormError("bad-credential", "a part of a credential is no base64") from None
    return ScramCredential(
        salt=salt, stored_key=stored, server_key=server, iterations=int(parts["iterations"])
    )


def encode_credential(credential: ScramCredential) -> str:
    salt, stored, server = (
        base64.b64encode(part).decode()
        for part in (credential.salt, credential.stored_key, credential.server_key)
    )
    return f"salt={salt},stored_key={stored},server_key={server},iterations={credential.iterations}"
