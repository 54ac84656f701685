"""Principals of clients with a certificate: its distinguished name, and `ssl.principal.mapping.rules` (KIP-371).

A name is written as Java writes it (RFC 2253): the most special part first, `CN=alice,OU=Ops,O=Example`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

Name = Sequence[Sequence[tuple[str, str]]]
"""A distinguished name as Python's ssl module gives it: the most general part first."""

_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""The attribute types that RFC 2253 has a word for; Java writes others as numbers."""

_NUMBERS: Final = {
    "emailAddress": ("1.2.840.113549.1.9.1", 0x16),
    "serialNumber": ("2.5.4.5", 0x13),
    "surname": ("2.5.4.4", 0x0C),
    "givenName": ("2.5.4.42", 0x0C),
    "title": ("2.5.4.12", 0x0C),
    "initials": ("2.5.4.43", 0x0C),
    "generationQualifier": ("2.5.4.44", 0x0C),
    "dnQualifier": ("2.5.4.46", 0x13),
    "pseudonym": ("2.5.4.65", 0x0C),
}
"""Object id, and the ASN.1 type in which such a value is usually encoded."""

_SPECIAL = re.compile(r'([,+"\\<>;])')


def distinguished_name(subject: Name) -> str:
    """The subject of a certificate as text."""
    return ",".join("+".join(_attribute(kind, value) for kind, value in part) for part in reversed(subject))


def _attribute(kind: str, value: str) -> str:
    short = _SHORT.get(kind)
    if short is not None:
        return f"{short}={_escaped(value)}"
    if kind in _NUMBERS:
        number, tag = _NUMBERS[kind]
        data = value.encode()
        return f"{number}=#{(bytes([tag]) + _der_length(len(data)) + data).hex()}"
    return f"{kind}={_escaped(value)}"


def _der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


def _escaped(value: str) -> str:
    text = _SPECIAL.sub(r"\\\1", value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if len(text) > 1 and text.endswith(" "):
        text = text[:-1] + "\\ "
    return text


@attrs.frozen
class _Rule:
    """DEFAULT: no pattern, and any name as it is."""

    pattern: re.Pattern[str] | None = None
    replacement: str = ""
    case: Callable[[str], str] = str

    def apply(self, name: str) -> str | None:
        if self.pattern is None:
            return name
        if self.pattern.fullmatch(name) is None:
            return None
        return self.case(self.pattern.sub(self.replacement, name))


@attrs.frozen
class PrincipalRules:
    """The rules in their order; the first that matches a name makes the principal of it."""

    rules: tuple[_Rule, ...] = (_Rule(),)

    def principal(self, name: str) -> str | None:
        """`User:...`; None: no rule matches, so whoever it is has no principal and is not let in."""
        for rule in self.rules:
            made = rule.apply(name)
            if made is not None:
                return f"User:{made}"
        return None


_RULE = re.compile(r"\s*(DEFAULT|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?))\s*(?:,|$)", re.DOTALL)
_CASES: Final[Mapping[str, Callable[[str], str]]] = {"": str, "L": str.lower, "U": str.upper}


def parse_rules(text: str) -> PrincipalRules:
    """`RULE:pattern/replacement/[LU],...,DEFAULT`, where `$1` stands for the pattern's first group.

    Raises:
        ValueError: why they are no rules.
    """
    rules: list[_Rule] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _RULE.match(text, position)
        if match is None:
            raise ValueError(
                f"From {text[position : position + 40]!r} on it is no rule; a rule is DEFAULT or "
                "RULE:pattern/replacement/ with L or U behind it for lower or upper case"
            )
        rules.append(_Rule() if match[1] == "DEFAULT" else _rule(match[2], match[3], match[4]))
        position = match.end()
    return PrincipalRules(tuple(rules)) if rules else PrincipalRules()


def _rule(pattern: str, replacement: str, case: str) -> _Rule:
    try:
        compiled = re.compile(pattern)
        template = re.sub(r"\\(.)|\$(\d)", _in_python, replacement, flags=re.DOTALL)
        _check_groups(compiled, re.findall(r"\$(\d)", replacement))
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return _Rule(compiled, template, _CASES[case])


def _in_python(match: re.Match[str]) -> str:
    """A part of Java's replacement text: `\\x` is x itself, `$1` a group."""
    literal, group = match.groups()
    return f"\\g<{group}>" if literal is None else literal.replace("\\", r"\\")


def _check_groups(pattern: re.Pattern[str], used: Iterable[str]) -> None:
    for number in used:
        if int(number) > pattern.groups:
            raise ValueError(
                f"The replacement uses ${number}, and {pattern.pattern!r} has {pattern.groups} groups"
            )
