"""Passwords of brokers in ZooKeeper: encrypted by `password.encoder.secret` (Kafka's `EncryptingPasswordEncoder`).

The value itself names the cipher, the key's derivation and all their parameters; only the secret comes from outside.
So a value is decoded by what it says, not by what is configured: Kafka 3.9 takes one that was made by another cipher
for an error, which halts one controller after the other.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from quorate.metadata.zookeeper.kafka_znodes.forms import FormError

Entropy = Callable[[int], bytes]
"""So many bytes that nobody can guess."""

CBC: Final = "AES/CBC/PKCS5Padding"
GCM: Final = "AES/GCM/NoPadding"

_DERIVATION = re.compile(r"PBKDF2WithHmac(SHA1|SHA224|SHA256|SHA384|SHA512)")
_MARK: Final = "encryptedPassword"
_KEY_BITS: Final = (128, 192, 256)
_BLOCK_BITS: Final = 128
_TAG_BYTES: Final = 16
_GCM_VECTOR_BYTES: Final = 12
_SALT_BYTES: Final = 256
_MOST_ITERATIONS: Final = 10_000_000
"""More would be an attack on whoever decodes it."""


@attrs.frozen(kw_only=True)
class EncoderSettings:
    """How new values are encrypted; the defaults of Kafka."""

    cipher: str = CBC
    derivation: str = "PBKDF2WithHmacSHA512"
    key_bits: int = 128
    iterations: int = 4096


def looks_encrypted(value: str) -> bool:
    """Whether a value has the form of an encrypted one."""
    return f"{_MARK}:" in value and _parts(value).keys() >= {_MARK, "salt", "iterations"}


def cipher_of(value: str) -> str:
    """The cipher that a value names; "" where it names none."""
    return _parts(value).get("cipherAlgorithm", "")


def decode_secret(value: str, secret: str) -> str:
    """The clear text.

    Raises:
        FormError: not the form of an encrypted value, a cipher that is not known, or another secret. No text of it
            shows the value.
    """
    parts = _parts(value)
    key = _key(parts, secret)
    cipher = parts.get("cipherAlgorithm", "")
    vector, encrypted = _bytes(parts, "initializationVector"), _bytes(parts, _MARK)
    try:
        clear = _DECIPHER[cipher](key, vector, encrypted, parts)
    except KeyError:
        raise FormError(
            "unknown-cipher", f"it is encrypted by {cipher!r}; {CBC} and {GCM} are known"
        ) from None
    except (ValueError, InvalidTag):
        raise FormError("wrong-secret", "password.encoder.secret does not decrypt it") from None
    return _checked(clear, parts)


def encode_secret(clear: str, secret: str, settings: EncoderSettings, entropy: Entropy) -> str:
    """A value that `decode_secret`, and Kafka, make the clear text of."""
    parts = {
        "keyLength": str(settings.key_bits),
        "salt": _base64(entropy(_SALT_BYTES)),
        "keyFactoryAlgorithm": settings.derivation,
        "cipherAlgorithm": settings.cipher,
    }
    iterations = {"iterations": str(settings.iterations)}
    key = _key(parts | iterations, secret)
    data = clear.encode()
    if settings.cipher == GCM:
        parts["authenticationTagLength"] = str(_TAG_BYTES * 8)
        vector = entropy(_GCM_VECTOR_BYTES)
        sealing = Cipher(algorithms.AES(key), modes.GCM(vector)).encryptor()
        encrypted = sealing.update(data) + sealing.finalize() + sealing.tag
    else:
        vector = entropy(_BLOCK_BITS // 8)
        padding = PKCS7(_BLOCK_BITS).padder()
        ciphering = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        encrypted = ciphering.update(padding.update(data) + padding.finalize()) + ciphering.finalize()
    written = {"initializationVector": _base64(vector), **parts, **iterations}
    written |= {"passwordLength": str(_utf16_length(clear)), _MARK: _base64(encrypted)}
    return ",".join(f"{name}:{part}" for name, part in written.items())


def _parts(value: str) -> Mapping[str, str]:
    return {name.strip(): part.strip() for name, _, part in (one.rpartition(":") for one in value.split(","))}


def _key(parts: Mapping[str, str], secret: str) -> bytes:
    derivation = _DERIVATION.fullmatch(parts.get("keyFactoryAlgorithm", ""))
    if derivation is None:
        named = parts.get("keyFactoryAlgorithm")
        raise FormError("unknown-cipher", f"its key is derived by {named!r}; PBKDF2WithHmacSHA… is known")
    bits, iterations = _number(parts, "keyLength"), _number(parts, "iterations")
    if bits not in _KEY_BITS or not 0 < iterations <= _MOST_ITERATIONS:
        raise FormError(
            "bad-secret", f"{bits} bits or {iterations} iterations are not what AES or PBKDF2 takes"
        )
    salt = _bytes(parts, "salt")
    return hashlib.pbkdf2_hmac(derivation[1].lower(), secret.encode(), salt, iterations, bits // 8)


def _decipher_cbc(key: bytes, vector: bytes, encrypted: bytes, parts: Mapping[str, str]) -> bytes:
    deciphering = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    padded = deciphering.update(encrypted) + deciphering.finalize()
    unpadding = PKCS7(_BLOCK_BITS).unpadder()
    return unpadding.update(padded) + unpadding.finalize()


def _decipher_gcm(key: bytes, vector: bytes, encrypted: bytes, parts: Mapping[str, str]) -> bytes:
    tag_bytes = _number(parts, "authenticationTagLength") // 8
    body, tag = encrypted[:-tag_bytes], encrypted[-tag_bytes:]
    opening = Cipher(algorithms.AES(key), modes.GCM(vector, tag, min_tag_length=tag_bytes)).decryptor()
    return opening.update(body) + opening.finalize()


_DECIPHER: Final[Mapping[str, Callable[[bytes, bytes, bytes, Mapping[str, str]], bytes]]] = {
    CBC: _decipher_cbc,
    GCM: _decipher_gcm,
}


def _checked(clear: bytes, parts: Mapping[str, str]) -> str:
    """CBC does not tell a wrong secret for certain: once in 256 times the padding looks right. So the length counts."""
    try:
        password = clear.decode()
    except UnicodeDecodeError:
        password = None
    if password is None or _utf16_length(password) != _number(parts, "passwordLength"):
        raise FormError("wrong-secret", "password.encoder.secret does not decrypt it")
    return password


def _utf16_length(text: str) -> int:
    """As Java counts characters."""
    return len(text.encode("utf-16-le")) // 2


def _number(parts: Mapping[str, str], name: str) -> int:
    value = parts.get(name, "")
    if not value.isdecimal() or len(value) > 9:
        raise FormError("bad-secret", f"its {name} is no number")
    return int(value)


def _bytes(parts: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(parts[name], validate=True)
    except (KeyError, binascii.Error, ValueError):
        raise FormError("bad-secret", f"its {name} is missing, or no base64") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
