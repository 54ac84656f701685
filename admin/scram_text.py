"""How SCRAM credentials are written in options: `SCRAM-SHA-256=[iterations=8192,password=secret]` (pure)."""

import base64
import binascii
import re
import secrets
from typing import Final

import attrs

from quorate.admin.errors import WrongUsage
from quorate.metadata.security.mechanisms import SCRAM, salted_password

FEWEST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 16384
SALT_BYTES: Final = 24
SIZES: Final = {SCRAM["SCRAM-SHA-256"]: 32, SCRAM["SCRAM-SHA-512"]: 64}
"""Of a salted password: that of the mechanism's hash, in bytes."""

_KEYS: Final = ("name", "iterations", "salt", "password", "saltedpassword")
_PAIR: Final = re.compile(rf"(?:^|,)\s*({'|'.join(_KEYS)})=", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class ScramText:
    """What such a text says. `salt` None: to be chosen; one of both passwords is there."""

    mechanism: int
    name: str | None = None
    iterations: int = FEWEST_ITERATIONS
    salt: bytes | None = None
    password: str | None = attrs.field(default=None, repr=False)
    salted_password: bytes | None = attrs.field(default=None, repr=False)


def mechanism_number(option: str, word: str) -> int:
    """Kafka's number of a mechanism.

    Raises:
        WrongUsage: there is none of this name.
    """
    found = SCRAM.get(word.strip().upper())
    if found is None:
        raise WrongUsage(
            f"{option} cannot be used.",
            why=f"there is no mechanism {word!r}",
            remedy=f"write one of {', '.join(SCRAM)}",
        )
    return found


def scram_text(option: str, text: str) -> ScramText:
    """`MECHANISM=[key=value,…]`. A comma ends a value only where the next key follows: passwords may have commas.

    Raises:
        WrongUsage: it cannot be understood. The password is not in the text of the error.
    """
    word, equals, rest = text.partition("=")
    mechanism = mechanism_number(option, word)
    rest = rest.strip()
    if not equals or not (rest.startswith("[") and rest.endswith("]")):
        raise _unreadable(option, word, "its values do not stand in brackets")
    values = _values(option, word, rest[1:-1])
    if ("password" in values) == ("saltedpassword" in values):
        raise _unreadable(option, word, "it needs one of password and saltedpassword")
    if "saltedpassword" in values and "salt" not in values:
        raise _unreadable(option, word, "a saltedpassword needs the salt that it was made with")
    if not values.get("password", "-"):
        raise _unreadable(option, word, "the password is empty")
    salted = _bytes(option, word, "saltedpassword", values.get("saltedpassword"))
    if salted is not None and len(salted) != SIZES[mechanism]:
        raise _unreadable(option, word, f"a saltedpassword has {SIZES[mechanism]} bytes, not {len(salted)}")
    return ScramText(
        mechanism=mechanism,
        name=values.get("name"),
        iterations=_iterations(option, word, values.get("iterations")),
        salt=_bytes(option, word, "salt", values.get("salt")),
        password=values.get("password"),
        salted_password=salted,
    )


def salted_by(text: ScramText) -> tuple[bytes, bytes]:
    """(salt, salted password): as they are given, or with a new salt.

    Raises:
        WrongUsage: the password has characters that SCRAM forbids.
    """
    salt = secrets.token_bytes(SALT_BYTES) if text.salt is None else text.salt
    if text.salted_password is not None:
        return salt, text.salted_password
    try:
        return salt, salted_password(text.mechanism, text.password or "", salt, text.iterations)
    except ValueError as error:
        raise WrongUsage("The password cannot be used.", why=str(error)) from None


def _values(option: str, word: str, text: str) -> dict[str, str]:
    found = list(_PAIR.finditer(text))
    if not found or found[0].start() > 0:
        raise _unreadable(option, word, f"it does not begin with one of {', '.join(_KEYS)}")
    ends = [one.start() for one in found[1:]] + [len(text)]
    values: dict[str, str] = {}
    for one, end in zip(found, ends, strict=True):
        key = one[1].lower()
        if key in values:
            raise _unreadable(option, word, f"{key} is given twice")
        value = text[one.end() : end]
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        values[key] = value[1:-1] if quoted else value
    return values


def _iterations(option: str, word: str, text: str | None) -> int:
    if text is None or text == "-1":  # Kafka's tools: the default
        return FEWEST_ITERATIONS
    if not text.isdecimal() or not FEWEST_ITERATIONS <= int(text) <= MOST_ITERATIONS:
        raise _unreadable(option, word, f"iterations are from {FEWEST_ITERATIONS} to {MOST_ITERATIONS}")
    return int(text)


def _bytes(option: str, word: str, key: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable(option, word, f"{key} is no base64") from None
    if not found:
        raise _unreadable(option, word, f"{key} is empty")
    return found


def _unreadable(option: str, word: str, why: str) -> WrongUsage:
    return WrongUsage(
        f"{option} cannot be used.",
        why=f"{word}: {why}",
        remedy=f"write it as in '{word}=[iterations=8192,password=secret]'",
    )
