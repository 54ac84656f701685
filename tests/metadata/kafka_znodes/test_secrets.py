"""Encrypted passwords: those that Kafka wrote, and those that we write."""

import hashlib
import itertools

import pytest

from quorate.metadata.zookeeper.kafka_znodes.configs import decode_config
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.secrets import (
    CBC,
    GCM,
    EncoderSettings,
    Entropy,
    cipher_of,
    decode_secret,
    encode_secret,
    looks_encrypted,
)
from tests.metadata.kafka_znodes.trees import SECRET, real, secrets


def entropy() -> Entropy:
    """Always the same bytes."""
    drawn = itertools.count()
    return lambda count: (hashlib.sha512(str(next(drawn)).encode()).digest() * 8)[:count]


@pytest.mark.parametrize("name", ["small", "rich"])
def test_what_kafka_encrypted_is_read(name: str) -> None:
    ciphers = set()
    for broker, keys in secrets()[name].items():
        settings = decode_config(real(name)[f"/config/brokers/{broker}"].data)
        assert {key for key, value in settings.items() if looks_encrypted(value)} == keys.keys()
        for key, clear in keys.items():
            ciphers.add(cipher_of(settings[key]))
            assert decode_secret(settings[key], SECRET) == clear

    assert ciphers == ({CBC, GCM} if name == "rich" else {CBC})


@pytest.mark.parametrize("cipher", [CBC, GCM])
@pytest.mark.parametrize("clear", ["", "x", "a,b:c=d é", "😀" * 20, "p" * 300])
def test_what_is_written_is_read(cipher: str, clear: str) -> None:
    settings = EncoderSettings(cipher=cipher, iterations=10, key_bits=256)

    value = encode_secret(clear, "s3cret ü", settings, entropy())

    assert looks_encrypted(value)
    assert decode_secret(value, "s3cret ü") == clear
    with pytest.raises(FormError) as caught:
        decode_secret(value, "another")
    assert caught.value.code == "wrong-secret"
    assert "another" not in str(caught.value)


def test_kafkas_own_parameters_in_kafkas_order() -> None:
    value = encode_secret("x", SECRET, EncoderSettings(), entropy())
    theirs = decode_config(real("small")["/config/brokers/2"].data)
    (encrypted,) = (one for one in theirs.values() if looks_encrypted(one))

    def names(one: str) -> list[str]:
        return [part.rpartition(":")[0] for part in one.split(",")]

    assert names(value) == names(encrypted)


def _changed(value: str, name: str, part: str | None) -> str:
    parts = dict(one.split(":", 1) for one in value.split(","))
    if part is None:
        del parts[name]
    else:
        parts[name] = part
    return ",".join(f"{key}:{one}" for key, one in parts.items())


@pytest.mark.parametrize(
    ("name", "part", "code"),
    [
        ("cipherAlgorithm", "DES/CBC/PKCS5Padding", "unknown-cipher"),
        ("cipherAlgorithm", None, "unknown-cipher"),
        ("keyFactoryAlgorithm", "PBKDF1", "unknown-cipher"),
        ("keyLength", "64", "bad-secret"),
        ("iterations", "0", "bad-secret"),
        ("iterations", "999999999", "bad-secret"),
        ("iterations", "x", "bad-secret"),
        ("salt", "***", "bad-secret"),
        ("initializationVector", None, "bad-secret"),
        ("initializationVector", "AAAA", "wrong-secret"),
        ("encryptedPassword", "AAAA", "wrong-secret"),
        ("passwordLength", "2", "wrong-secret"),
    ],
)
@pytest.mark.parametrize("cipher", [CBC, GCM])
def test_a_damaged_value_is_an_error_that_says_nothing_of_it(
    cipher: str, name: str, part: str | None, code: str
) -> None:
    value = encode_secret("geheim", "s", EncoderSettings(cipher=cipher, iterations=10), entropy())

    with pytest.raises(FormError) as caught:
        decode_secret(_changed(value, name, part), "s")

    assert caught.value.code == code
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "x", "1,2", "encryptedPassword:", "a:b,c:d", "compression.type:x"])
def test_what_is_not_encrypted(value: str) -> None:
    assert not looks_encrypted(value)
