"""What a node's configuration file and environment say: read, typed, and judged all at once.

A file is TOML, with nested tables joined by dots (`node.id = 1`), or a Kafka `.properties` file; the
environment overrides it (`QUORATE_NODE_ID`). A `Setting` declares one key: name, type, default, what is
allowed, unit, a sentence. Most are Kafka's own and take all this from Kafka's definitions (`config_keys`).

`read` and `overlay` give texts by key, `Reader` turns them into values and gathers every `Problem`, so that an
operator sees all of them in one go. A node's fields are declared with `setting()`; the roles' classes are
in `controller.config` and `broker.config`. Nothing here knows what a value is for.
"""

import difflib
import functools
import pathlib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from quorate.metadata.config_keys import (
    BROKER_KEYS,
    ConfigKey,
    ConfigType,
    ConfigValue,
    InvalidConfigValue,
    Validator,
)
from quorate.metadata.config_keys.validators import InRange

ENVIRONMENT_PREFIX: Final = "QUORATE_"
OWN_PREFIX: Final = "quorate."
"""Keys that Kafka does not have."""


# --- what is wrong


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that keeps a node from starting. `origin`: the file or environment variable; `value` None: missing."""

    origin: str
    key: str
    value: str | None = None
    why: str

    def __str__(self) -> str:
        what = self.key if self.value is None else f"{self.key} = {self.value}"
        return f"{self.origin}: {what}\n    {self.why}"


class InvalidSettings(Exception):
    """A configuration that cannot be used; all its problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(
            "\n".join([f"This configuration cannot be used ({count}):", *map(str, self.problems)])
        )


@attrs.frozen(kw_only=True)
class SettingsWarning:
    """Something the operator should know; the node starts all the same."""

    origin: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.key}: {self.why}"


# --- texts by key


@attrs.frozen
class Text:
    """A value as written, and where: a file's name or `environment`."""

    value: str
    origin: str


@attrs.frozen(kw_only=True)
class RawSettings:
    """All keys that were given, not yet judged."""

    file: str
    texts: Mapping[str, Text]
    warnings: tuple[SettingsWarning, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, str], file: str = "settings") -> "RawSettings":
        """As if a file of this name held these values."""
        return cls(file=file, texts={key: Text(value, file) for key, value in values.items()})


def read(path: pathlib.Path) -> RawSettings:
    """Reads a `.toml` or `.properties` file.

    Raises:
        InvalidSettings: it cannot be read, or is not of its format.
    """
    file = str(path)
    parse = {".toml": _parse_toml, ".properties": _parse_properties}.get(path.suffix)
    if parse is None:
        raise _unreadable(file, "A configuration file is named *.toml or *.properties.")
    return parse(_content(path), file)


def _content(path: pathlib.Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise _unreadable(str(path), f"It cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _unreadable(str(path), f"It is not UTF-8 text (byte {error.start}).") from error


def read_properties(path: pathlib.Path) -> Mapping[str, Text]:
    """The texts of a file in the form of `.properties`, whatever its name.

    Raises:
        InvalidSettings: it cannot be read.
    """
    return _parse_properties(_content(path), str(path)).texts


def overlay(raw: RawSettings, environ: Mapping[str, str], known: Iterable[str]) -> RawSettings:
    """The settings with what the environment overrides: QUORATE_NODE_ID is node.id.

    Own keys lose their prefix: QUORATE_LOG_FORMAT is quorate.log.format. Variables that name no key are
    warned of, not refused: container platforms set some of their own.
    """
    # Own keys come last, so that QUORATE_MAX_CONNECTIONS is quorate.max.connections.
    keys = {environment_name(key): key for key in sorted(known, key=lambda key: key.startswith(OWN_PREFIX))}
    texts, warnings = dict(raw.texts), list(raw.warnings)
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _NOT_SETTINGS:
            continue
        if name in keys:
            texts[keys[name]] = Text(environ[name], f"environment variable {name}")
        else:
            why = f"this variable names no key and is ignored{_did_you_mean(name, keys)}"
            warnings.append(SettingsWarning(origin="environment", key=name, why=why))
    return attrs.evolve(raw, texts=texts, warnings=tuple(warnings))


def environment_name(key: str) -> str:
    """The variable that overrides a key."""
    return ENVIRONMENT_PREFIX + key.removeprefix(OWN_PREFIX).replace(".", "_").upper()


_NOT_SETTINGS: Final = frozenset({"QUORATE_BOOTSTRAP", "QUORATE_ZOOKEEPER"})
"""Variables with our prefix that the command line reads."""


# --- one setting


@attrs.frozen(kw_only=True)
class Setting:
    """One key that a node reads."""

    key: str
    own: ConfigKey | None = None
    """The definition of a key that is ours; Kafka's are looked up."""
    narrowed: Validator | None = None
    """What is allowed here, where that is less than what Kafka allows."""
    default: str | None = None
    """Our default, where Kafka's will not do."""
    required: bool = False
    unit: str = ""
    convert: Callable[[Any], Any] | None = None
    """Makes the node's value of the parsed one; raises ValueError with a reason."""

    @functools.cached_property
    def definition(self) -> ConfigKey:
        key = self.own or BROKER_KEYS.by_name[self.key]
        return attrs.evolve(
            key,
            validator=self.narrowed or key.validator,
            default=key.default if self.default is None else self.default,
            required=key.required or self.required,
        )

    @property
    def allowed(self) -> str:
        """For people: "an integer (ms), at least 1"."""
        unit = f" ({self.unit})" if self.unit else ""
        kind, comma, rest = self.definition.allowed.partition(", ")
        return f"{kind}{unit}{comma}{rest}"

    def value_of(self, text: str | None) -> Any:
        """The node's value.

        Raises:
            InvalidConfigValue: not of its type or range.
            ValueError: `convert` refuses it.
        """
        value: ConfigValue = self.definition.parse(text)
        return value if self.convert is None or value is None else self.convert(value)

    def default_value(self) -> Any:
        return self.value_of(self.definition.default)


def setting(
    key: str,
    *,
    allowed: Validator | None = None,
    default: str | None = None,
    required: bool = False,
    unit: str = "",
    convert: Callable[[Any], Any] | None = None,
    secret: bool = False,
) -> Any:
    """A field that one of Kafka's keys fills; type, default and documentation are Kafka's."""
    return _field(
        Setting(key=key, narrowed=allowed, default=default, required=required, unit=unit, convert=convert),
        shown=not secret,
    )


def own_setting(
    key: str,
    type: ConfigType,
    default: str,
    doc: str,
    *,
    allowed: Validator | None = None,
    unit: str = "",
    convert: Callable[[Any], Any] | None = None,
) -> Any:
    """A field that a key of ours fills."""
    own = ConfigKey(name=OWN_PREFIX + key, type=type, default=default, validator=allowed, documentation=doc)
    return _field(Setting(key=own.name, own=own, unit=unit, convert=convert))


def plugin_setting(
    key: str,
    type: ConfigType,
    default: str | None,
    doc: str,
    *,
    allowed: Validator | None = None,
    convert: Callable[[Any], Any] | None = None,
) -> Any:
    """A field that a key of one of Kafka's plug-ins, or of an older Kafka, fills: not among its brokers' keys."""
    borrowed = ConfigKey(name=key, type=type, default=default, validator=allowed, documentation=doc)
    return _field(Setting(key=key, own=borrowed, convert=convert), shown=type is not ConfigType.PASSWORD)


def settings_of(config_class: type[attrs.AttrsInstance]) -> Iterator[tuple[str, Setting]]:
    """The fields of a class that keys fill, with their settings."""
    for field in attrs.fields(config_class):
        if _SETTING in field.metadata:
            yield field.name, field.metadata[_SETTING]


def at_least(minimum: int, maximum: int | None = None) -> InRange:
    return InRange(min=minimum, max=maximum)


def seconds_as_ms(seconds: int) -> int:
    return seconds * 1000


_SETTING: Final = "setting"


def _field(declared: Setting, shown: bool = True) -> Any:
    required = declared.required or (declared.own is None and declared.key in _ALWAYS_REQUIRED)
    default = attrs.NOTHING if required else attrs.Factory(declared.default_value)
    return attrs.field(default=default, repr=shown, metadata={_SETTING: declared})


_ALWAYS_REQUIRED: Final = frozenset({"node.id", "process.roles", "controller.listener.names"})


# --- judging


class Reader:
    """Turns texts into values, and remembers everything that is wrong with them."""

    def __init__(self, raw: RawSettings) -> None:
        self.raw = raw
        self.values: dict[str, Any] = {}
        """By key; a key with a problem has no value."""
        self._problems: dict[str, Problem] = {}
        self._warnings: list[SettingsWarning] = list(raw.warnings)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems[key] for key in sorted(self._problems))

    @property
    def warnings(self) -> tuple[SettingsWarning, ...]:
        return tuple(self._warnings)

    def given(self, key: str) -> bool:
        return key in self.raw.texts

    def read(self, declared: Setting) -> None:
        """Judges one setting alone."""
        text = self.raw.texts.get(declared.key)
        key = declared.definition
        if text is None and key.required and key.default is None:
            self.problem(declared.key, f"It is missing. It must be {declared.allowed}.")
            return
        try:
            self.values[declared.key] = declared.value_of(key.default if text is None else text.value)
        except InvalidConfigValue:
            self.problem(declared.key, f"It must be {declared.allowed}.", hide=key.sensitive)
        except ValueError as error:
            self.problem(declared.key, f"{error}.")

    def problem(self, key: str, why: str, *, hide: bool = False) -> None:
        """Records what is wrong with a key; the first word about a key stands."""
        text = self.raw.texts.get(key)
        value = None if text is None else "[hidden]" if hide else text.value
        origin = self.raw.file if text is None else text.origin
        self._problems.setdefault(key, Problem(origin=origin, key=key, value=value, why=why))
        self.values.pop(key, None)

    def warn(self, key: str, why: str) -> None:
        text = self.raw.texts.get(key)
        self._warnings.append(
            SettingsWarning(origin=self.raw.file if text is None else text.origin, key=key, why=why)
        )

    def unknown(self, key: str, known: Iterable[str], role: str) -> None:
        self.problem(key, f"A {role} has no such key{_did_you_mean(key, known)}")

    def check(self) -> None:
        """Raises InvalidSettings if anything was wrong."""
        if self._problems:
            raise InvalidSettings(self.problems)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ends a sentence. Names are compared without the prefix that all variables share."""
    names = {key.removeprefix(ENVIRONMENT_PREFIX): key for key in known}
    close = difflib.get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX), names, n=1, cutoff=0.75)
    return f". Did you mean {names[close[0]]}?" if close else "."


# --- file formats


def _unreadable(file: str, why: str) -> InvalidSettings:
    return InvalidSettings([Problem(origin=file, key="(the whole file)", why=why)])


def _parse_toml(content: str, file: str) -> RawSettings:
    try:
        tables = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        hint = (
            " A key that begins like another one is written in quotes." if "overwrite" in str(error) else ""
        )
        raise _unreadable(file, f"It is not TOML: {error}.{hint}") from error
    texts: dict[str, Text] = {}
    problems = []
    for key, value in _flattened(tables):
        text = _toml_text(value)
        if text is None:
            why = "A value is a text, a number, true, false, or a list of these."
            problems.append(Problem(origin=file, key=key, value=str(value), why=why))
        elif key in texts:
            problems.append(Problem(origin=file, key=key, value=text, why="It is given twice."))
        else:
            texts[key] = Text(text, file)
    if problems:
        raise InvalidSettings(problems)
    return RawSettings(file=file, texts=texts)


def _flattened(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _toml_text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
        case list():
            members = [_toml_text(member) for member in value if not isinstance(member, list | dict)]
            words = [word for word in members if word is not None]
            return ",".join(words) if len(words) == len(value) else None
        case _:
            return None


_LOGICAL_LINE = re.compile(r"[ \t\f]*([#!][^\r\n]*|(?:[^\\\r\n]|\\(?:\r\n|[\s\S]))*)(?:\r\n|\r|\n|$)")
_KEY = re.compile(r"((?:[^\\:= \t\f]|\\.)*)[ \t\f]*[:=]?[ \t\f]*(.*)", re.DOTALL)
_CONTINUATION = re.compile(r"\\(?:\r\n|\r|\n)[ \t\f]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _parse_properties(content: str, file: str) -> RawSettings:
    """As java.util.Properties reads it: comments, three separators, continued lines, escapes."""
    texts: dict[str, Text] = {}
    warnings = []
    # The line break at the end keeps a last line that ends with a backslash, as in Java.
    for match in _LOGICAL_LINE.finditer(content + "\n"):
        line = _CONTINUATION.sub("", match[1])
        pair = _KEY.fullmatch(line)
        if not line or line[0] in "#!" or pair is None:
            continue
        try:
            key, value = _unescaped(pair[1]), _unescaped(pair[2])
        except ValueError as error:
            raise _unreadable(file, f"{error}, in the line {match[1]!r}.") from error
        if key in texts:
            why = "it is given twice; the last value counts, as in Kafka"
            warnings.append(SettingsWarning(origin=file, key=key, why=why))
        texts[key] = Text(value, file)
    return RawSettings(file=file, texts=texts, warnings=tuple(warnings))


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code == "u":
            raise ValueError(
                "After \\u four hexadecimal digits are needed; a backslash itself is written \\\\"
            )
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(plain, text)
