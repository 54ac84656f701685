"""Values that do not stand in the configuration itself but in a file or in the environment (shell; KIP-297, KIP-421).

    config.providers = file,env
    config.providers.file.class = org.apache.kafka.common.config.provider.FileConfigProvider
    ssl.key.password = ${file:/run/secrets/node.properties:key.password}

So passwords need not lie in a file that everybody reads. Only the providers that a configuration names are asked, and
only Kafka's own three are known; `${...}` of any other name is text.
"""

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from quorate.metadata.settings import InvalidSettings, Problem, RawSettings, Text, read_properties

PREFIX: Final = "config.providers."
_NAMES: Final = "config.providers"
_CLASSES: Final = "org.apache.kafka.common.config.provider."
_PLACEHOLDER = re.compile(r"\$\{([^}:]*):(?:([^}]*):)?([^}:]*)\}")

_Ask = Callable[[str, str], str]
"""(path, key) -> value; raises ValueError that says why there is none."""


def resolved(raw: RawSettings, environ: Mapping[str, str]) -> RawSettings:
    """The settings with every placeholder replaced by what it stands for.

    Raises:
        InvalidSettings: a provider that is not known, or that has no such value.
    """
    names = raw.texts.get(_NAMES)
    if names is None:
        return raw
    problems: list[Problem] = []
    providers: dict[str, _Ask] = {}
    for name in filter(None, (word.strip() for word in names.value.split(","))):
        try:
            providers[name] = _provider(name, raw, environ)
        except ValueError as error:
            problems.append(Problem(origin=names.origin, key=f"{PREFIX}{name}.class", why=f"{error}."))
    texts = {
        key: text if key.startswith(_NAMES) else _replaced(key, text, providers, problems)
        for key, text in raw.texts.items()
    }
    if problems:
        raise InvalidSettings(problems)
    return attrs.evolve(raw, texts=texts)


def _replaced(key: str, text: Text, providers: Mapping[str, _Ask], problems: list[Problem]) -> Text:
    def ask(match: re.Match[str]) -> str:
        provider = providers.get(match[1])
        if provider is None:
            return match[0]
        try:
            return provider(match[2] or "", match[3])
        except ValueError as error:
            problems.append(Problem(origin=text.origin, key=key, value=text.value, why=f"{error}."))
            return match[0]

    return attrs.evolve(text, value=_PLACEHOLDER.sub(ask, text.value))


def _provider(name: str, raw: RawSettings, environ: Mapping[str, str]) -> _Ask:
    given = raw.texts.get(f"{PREFIX}{name}.class")
    kind = "" if given is None else given.value.strip().removeprefix(_CLASSES)
    allowed = _allowed_paths(raw.texts.get(f"{PREFIX}{name}.param.allowed.paths"))
    pattern = raw.texts.get(f"{PREFIX}{name}.param.allowlist.pattern")
    match kind:
        case "EnvVarConfigProvider":
            return _environment(environ, None if pattern is None else pattern.value.strip())
        case "FileConfigProvider":
            return lambda path, key: _from_file(_checked(path, allowed), key)
        case "DirectoryConfigProvider":
            return lambda path, key: _from_directory(_checked(path, allowed), key)
        case _:
            what = "It is missing" if given is None else f"{given.value} cannot be loaded"
            raise ValueError(
                f"{what}. There are FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider, each with "
                f"{_CLASSES} before it"
            )


def _environment(environ: Mapping[str, str], pattern: str | None) -> _Ask:
    def ask(path: str, key: str) -> str:
        if path:
            raise ValueError(f"A variable of the environment has no path; write only its name, {key}")
        if pattern is not None and re.fullmatch(pattern, key) is None:
            raise ValueError(f"The variable {key} is not among those that allowlist.pattern allows")
        if key not in environ:
            raise ValueError(f"There is no variable {key} in the environment")
        return environ[key]

    return ask


def _from_file(path: pathlib.Path, key: str) -> str:
    try:
        texts = read_properties(path)
    except InvalidSettings as error:
        raise ValueError(f"{path} cannot be read: {error.problems[0].why.rstrip('.')}") from None
    if key not in texts:
        raise ValueError(f"{path} has no key {key}")
    return texts[key].value


def _from_directory(path: pathlib.Path, key: str) -> str:
    if pathlib.Path(key).name != key:
        raise ValueError(f"{key} is no name of a file within {path}")
    try:
        return (path / key).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path / key} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def _allowed_paths(text: Text | None) -> tuple[pathlib.Path, ...] | None:
    if text is None or not text.value.strip():
        return None
    return tuple(pathlib.Path(part.strip()).resolve() for part in text.value.split(",") if part.strip())


def _checked(path: str, allowed: tuple[pathlib.Path, ...] | None) -> pathlib.Path:
    found = pathlib.Path(path)
    if not path:
        raise ValueError("It names no path: ${provider:path:key}")
    if allowed is not None and not any(found.resolve().is_relative_to(place) for place in allowed):
        raise ValueError(f"{path} does not lie in a place that allowed.paths allows")
    return found
