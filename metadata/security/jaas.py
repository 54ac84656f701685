"""The login entries that Kafka writes in Java's words (JAAS): a module, a flag, options.

org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="secret";
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
MODULES: Final = (PLAIN, SCRAM)
_FLAGS: Final = frozenset({"required", "requisite", "sufficient", "optional"})

_TOKEN = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([=;])|([^\s=;"']+))""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@attrs.frozen
class LoginEntry:
    """One login module with its options. Its text form shows no option: they are passwords."""

    module: str
    options: Mapping[str, str] = attrs.field(repr=False)

    @property
    def username(self) -> str | None:
        return self.options.get("username")

    @property
    def password(self) -> str | None:
        return self.options.get("password")

    @property
    def by_token(self) -> bool:
        """The name and the password are a delegation token's id and HMAC (KIP-48)."""
        return self.options.get("tokenauth", "false").lower() == "true"

    @property
    def users(self) -> Mapping[str, str]:
        """Whom PLAIN lets in: user -> password, from the options `user_<name>`."""
        prefix = "user_"
        return {
            name.removeprefix(prefix): password
            for name, password in self.options.items()
            if name.startswith(prefix)
        }


def parse_login(text: str) -> LoginEntry:
    """One entry, and only one. What is wrong is told without quoting the text, which holds passwords.

    Raises:
        ValueError: why it is none.
    """
    tokens = _tokens(text)
    if len(tokens) < 3 or tokens[-1] != (";", True):
        raise ValueError(
            'It is no login entry: MODULE required option="value" ...; with a semicolon at its end'
        )
    (module, _), (flag, _), *rest = tokens[:-1]
    if (";", True) in rest:
        raise ValueError("It has more than one login entry; exactly one is allowed")
    if flag.lower() not in _FLAGS:
        raise ValueError("The word after the module must be required, requisite, sufficient or optional")
    if module not in MODULES:
        raise ValueError(f"There is no login module {module}; there are {' and '.join(MODULES)}")
    options: dict[str, str] = {}
    if len(rest) % 3:
        raise ValueError('An option is written name="value"')
    for index in range(0, len(rest), 3):
        (name, is_sign), equals, (value, value_is_sign) = rest[index : index + 3]
        if is_sign or equals != ("=", True) or value_is_sign:
            raise ValueError('An option is written name="value"')
        if name in options:
            raise ValueError(f"The option {name} is given twice")
        options[name] = value
    return LoginEntry(module, options)


def _tokens(text: str) -> list[tuple[str, bool]]:
    """(text, whether it is an unquoted sign) of each word and sign."""
    tokens: list[tuple[str, bool]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError("A quotation mark is not closed")
        double, single, sign, bare = match.groups()
        quoted = double if double is not None else single
        if quoted is not None:
            tokens.append((_ESCAPE.sub(r"\1", quoted), False))
        else:
            tokens.append((sign or bare, sign is not None))
        position = match.end()
    return tokens
