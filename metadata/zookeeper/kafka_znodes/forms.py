"""What all forms of znodes share: JSON objects with typed members, and what is wrong with one."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

INT32_MAX: Final = 2**31 - 1
INT32_MIN: Final = -(2**31)
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)

_DECIMAL = re.compile(r"-?[0-9]{1,19}")
_NULL: Final[Mapping[str, Any]] = {}


class FormError(Exception):
    """A znode, or a part of one, that is not what Kafka writes. `code` names the kind of error; the text says what."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code: Final = code


def decoded(data: bytes | None) -> Mapping[str, Any]:
    """The JSON object in a znode.

    Raises:
        FormError: null or empty data, no UTF-8, no JSON, no object.
    """
    if data is None:
        raise FormError("no-data", "it has no data")
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise FormError("not-json", "its data is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise FormError(
            "not-json", f"its data is no JSON ({error})" if data else "its data is empty"
        ) from None
    if not isinstance(value, dict):
        raise FormError("not-json", f"its data is JSON, but no object: {_shown(value)}")
    if b"\\u" in data and _has_lone_surrogate(value):
        raise FormError("not-json", "a text in its JSON has half a character (a lone surrogate)")
    return value


def _has_lone_surrogate(value: Any) -> bool:
    """JSON can spell one; neither a record nor a znode can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def encoded(members: Mapping[str, Any]) -> bytes:
    """A JSON object as Jackson writes it: no blanks, UTF-8, members in the order given."""
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


def version_of(members: Mapping[str, Any], lowest: int, highest: int) -> int:
    """
    Raises:
        FormError: no version, or one outside the range.
    """
    version = integer(members, "version")
    if not lowest <= version <= highest:
        known = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        raise FormError("unknown-version", f"its version is {version}; versions {known} are known")
    return version


def integer(members: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A member that is a 32-bit number.

    Raises:
        FormError: missing without a default, or something else.
    """
    return _integer(members, name, default, INT32_MIN, INT32_MAX)


def long(members: Mapping[str, Any], name: str) -> int:
    """A member that is a 64-bit number.

    Raises:
        FormError: missing, or something else.
    """
    return _integer(members, name, None, INT64_MIN, INT64_MAX)


def _integer(members: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int:
    value = members.get(name, default)
    if type(value) is not int or not low <= value <= high:
        wrong(name, members, f"a whole number from {low} to {high}")
    return value


def text(members: Mapping[str, Any], name: str) -> str:
    """A member that is a text.

    Raises:
        FormError: missing, or something else.
    """
    value = members.get(name)
    if not isinstance(value, str):
        wrong(name, members, "a text")
    return value


def texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A member that is a list of texts.

    Raises:
        FormError: missing, or something else.
    """
    value = members.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        wrong(name, members, "a list of texts")
    return tuple(value)


def objects(members: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A member that is a list of objects.

    Raises:
        FormError: missing, or something else.
    """
    value = members.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        wrong(name, members, "a list of objects")
    return value


def submap(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is an object; missing or null: an empty one.

    Raises:
        FormError: something else.
    """
    value = members.get(name)
    if value is None:
        return _NULL
    if not isinstance(value, dict):
        wrong(name, members, "an object")
    return value


def brokers(value: Any, where: str) -> tuple[int, ...]:
    """A list of broker ids.

    Raises:
        FormError: something else.
    """
    if not isinstance(value, list) or not all(type(i) is int and INT32_MIN <= i <= INT32_MAX for i in value):
        raise FormError("wrong-type", f"{where} is no list of broker ids: {_shown(value)}")
    return tuple(value)


def decimal(value: str, where: str, high: int = INT64_MAX) -> int:
    """A whole number that stands as text.

    Raises:
        FormError: something else.
    """
    if not _DECIMAL.fullmatch(value) or not -high - 1 <= int(value) <= high:
        raise FormError("not-a-number", f"{where} is no whole number: {value!r}")
    return int(value)


def wrong(name: str, members: Mapping[str, Any], wanted: str) -> NoReturn:
    """
    Raises:
        FormError: always.
    """
    if name not in members:
        raise FormError("missing-member", f"it has no member {name!r}, which is {wanted}")
    raise FormError("wrong-type", f"its member {name!r} is not {wanted}: {_shown(members[name])}")


def _shown(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
