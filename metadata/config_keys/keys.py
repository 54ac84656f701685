"""One key of Kafka's configuration: its type, default, valid values; and the tables of all keys.

The tables are data (the JSON files beside this module, taken from Kafka's own definitions), read once and
only when somebody asks. Parsing follows ConfigDef: blanks around a value do not count, lists are
separated by commas.
"""

import decimal
import functools
import importlib.resources
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from quorate.metadata.config_keys.codes import ConfigType, ResourceType, Scope
from quorate.metadata.config_keys.validators import ConfigValue, ListOf, Validator, validator_from

BLANKS = "".join(map(chr, range(0x21)))
"""What Java's trim() takes away."""

_LIST_SEPARATOR = re.compile(r"[ \t\n\r\f\v]*,[ \t\n\r\f\v]*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?[dDfF]?")
_CLASS = re.compile(r"([A-Za-z_$][A-Za-z0-9_$]*\.)*[A-Za-z_$][A-Za-z0-9_$]*")


class InvalidConfigValue(ValueError):
    """A text that a key does not accept. The message is what a client is answered."""

    def __init__(self, key: str, text: str | None, reason: str) -> None:
        super().__init__(
            f"Invalid value {'null' if text is None else text} for configuration {key}: {reason}"
        )
        self.key = key
        self.reason = reason


@attrs.frozen
class Synonym:
    """Another key that a value is taken from when the key itself is not set; in its unit times `factor`."""

    name: str
    factor: int = 1


@attrs.frozen(kw_only=True)
class ConfigKey:
    """One key. `default` is text, None: no value. `required`: has no default and must be set.

    `hidden` keys are listed only where somebody set them: Kafka's internal ones, and the replication rates
    that exist only as dynamic configs.
    """

    name: str
    type: ConfigType
    default: str | None
    validator: Validator | None = None
    importance: str = "MEDIUM"
    documentation: str = ""
    synonyms: tuple[Synonym, ...] = ()
    scope: Scope = Scope.READ_ONLY
    required: bool = False
    hidden: bool = False

    @property
    def sensitive(self) -> bool:
        """Never shown, in no answer and no error."""
        return self.type is ConfigType.PASSWORD

    @property
    def allowed(self) -> str:
        """What may be set, for people: "an integer, at least 1"."""
        kind, more = _TYPE_NAMES[self.type], "" if self.validator is None else self.validator.allowed
        if kind == "a text":
            return more or kind
        return f"{kind}, {more}" if more else kind

    def parse(self, text: str | None) -> ConfigValue:
        """The value that a text means for this key.

        Raises:
            InvalidConfigValue: not of the key's type, or not a value it accepts.
        """
        reason: str | None
        try:
            value = None if text is None else _PARSERS[self.type](text.strip(BLANKS))
        except ValueError as error:
            reason = str(error)
        else:
            reason = None if self.validator is None else self.validator.wrong(value)
            if reason is None:
                if isinstance(value, tuple) and isinstance(self.validator, ListOf):
                    return tuple(dict.fromkeys(value))
                return value
        raise InvalidConfigValue(self.name, "[hidden]" if self.sensitive else text, reason)

    def canonical(self, text: str) -> str:
        """The text as DescribeConfigs shows it; a value that no longer parses is shown as it stands."""
        try:
            value = self.parse(text)
        except InvalidConfigValue:
            return text
        match value:
            case bool():
                return "true" if value else "false"
            case tuple():
                return ",".join(value)
            case float():
                return java_double(value)
            case _:
                return str(value)


class KeyTable(Mapping[str, ConfigKey]):
    """All keys of one kind of resource, by name in alphabetical order; read at the first look."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name

    @functools.cached_property
    def by_name(self) -> dict[str, ConfigKey]:
        file = importlib.resources.files("quorate.metadata.config_keys").joinpath(self._file_name)
        rows: dict[str, Any] = json.loads(file.read_bytes())["keys"]
        return {name: _key(name, row) for name, row in rows.items()}

    def __getitem__(self, name: str) -> ConfigKey:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def __repr__(self) -> str:
        return f"KeyTable({self._file_name!r})"


TOPIC_KEYS = KeyTable("topic.json")
BROKER_KEYS = KeyTable("broker.json")
GROUP_KEYS = KeyTable("group.json")
CLIENT_METRICS_KEYS = KeyTable("client_metrics.json")

_TABLES: dict[int, KeyTable] = {
    ResourceType.TOPIC: TOPIC_KEYS,
    ResourceType.BROKER: BROKER_KEYS,
    ResourceType.GROUP: GROUP_KEYS,
    ResourceType.CLIENT_METRICS: CLIENT_METRICS_KEYS,
}
_LISTENER_PREFIX = re.compile(r"listener\.name\.[^.]*\.(.*)")
_MECHANISM_KEYS = (
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
)


def key_for(resource_type: int, name: str) -> ConfigKey | None:
    """The definition of a key, also of one that is meant for one listener (`listener.name.<listener>.…`)."""
    table = _TABLES.get(resource_type)
    if table is None:
        return None
    key = table.by_name.get(name)
    if key is None and table is BROKER_KEYS:
        key = table.by_name.get(base_name(name))
    return key


def is_sensitive(resource_type: int, name: str) -> bool:
    """Whether a value must not be shown. An unknown key may hold anything, so it is."""
    key = key_for(resource_type, name)
    return key is None or key.sensitive


def base_name(name: str) -> str:
    """The broker key behind a listener's own, such as `listener.name.ext.scram-sha-256.sasl.jaas.config`."""
    prefixed = _LISTENER_PREFIX.fullmatch(name) if name.startswith("listener.name.") else None
    if prefixed is None:
        return name
    rest: str = prefixed[1]
    return next((key for key in _MECHANISM_KEYS if rest.endswith(key)), rest)


def _key(name: str, row: Mapping[str, Any]) -> ConfigKey:
    return ConfigKey(
        name=name,
        type=ConfigType[row["type"]],
        default=row["default"],
        validator=validator_from(row.get("valid")),
        importance=row["importance"],
        documentation=row["doc"],
        synonyms=tuple(Synonym(synonym, factor) for synonym, factor in row.get("synonyms", ())),
        scope=Scope(row.get("scope", "read-only")),
        required=row.get("required", False),
        hidden=row.get("hidden", False),
    )


def _parse_boolean(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError("Expected value to be either true or false")


def _integer_parser(kind: str, bits: int) -> Callable[[str], int]:
    lowest, highest = -(1 << bits - 1), (1 << bits - 1) - 1

    def parse(text: str) -> int:
        if _INTEGER.fullmatch(text):
            value = int(text)
            if lowest <= value <= highest:
                return value
        raise ValueError(f"Not a number of type {kind}")

    return parse


def _parse_double(text: str) -> float:
    # Java also takes NaN, hexadecimal floats and Infinity; a NaN would pass every range, so only plain ones.
    if not _DOUBLE.fullmatch(text):
        raise ValueError("Not a number of type DOUBLE")
    return float(text.rstrip("dDfF"))


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(_LIST_SEPARATOR.split(text)) if text else ()


def _parse_class(text: str) -> str:
    # Kafka loads the class; here only its name can be judged.
    if not _CLASS.fullmatch(text):
        raise ValueError("Expected the name of a class")
    return text


_PARSERS: dict[ConfigType, Callable[[str], ConfigValue]] = {
    ConfigType.UNKNOWN: str,
    ConfigType.BOOLEAN: _parse_boolean,
    ConfigType.STRING: str,
    ConfigType.INT: _integer_parser("INT", 32),
    ConfigType.SHORT: _integer_parser("SHORT", 16),
    ConfigType.LONG: _integer_parser("LONG", 64),
    ConfigType.DOUBLE: _parse_double,
    ConfigType.LIST: _parse_list,
    ConfigType.CLASS: _parse_class,
    ConfigType.PASSWORD: str,
}
_TYPE_NAMES = {
    ConfigType.UNKNOWN: "a text",
    ConfigType.BOOLEAN: "true or false",
    ConfigType.STRING: "a text",
    ConfigType.INT: "an integer",
    ConfigType.SHORT: "an integer",
    ConfigType.LONG: "an integer",
    ConfigType.DOUBLE: "a number",
    ConfigType.LIST: "a comma-separated list",
    ConfigType.CLASS: "the name of a class",
    ConfigType.PASSWORD: "a text",
}


def java_double(value: float) -> str:
    """As Double.toString writes it: plain between 0.001 and ten million, scientific beyond."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{int(exponent) + len(text) - 1}"
