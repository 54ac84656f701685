"""APPEND and SUBTRACT of IncrementalAlterConfigs (KIP-339): a list is a text with commas."""

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys.codes import ConfigType
from quorate.metadata.config_keys.keys import BLANKS, key_for


def append_to_list(resource_type: int, name: str, current: str | None, additions: str) -> str:
    """The list with what it lacks added at its end. A list that is not set starts as the key's default.

    Raises:
        RequestRejected: INVALID_CONFIG; the key is not a list.
    """
    members = _members(resource_type, name, current, "APPEND")
    for word in _words(additions):
        if word not in members:
            members.append(word)
    return ",".join(members)


def subtract_from_list(resource_type: int, name: str, current: str | None, removals: str) -> str:
    """The list without the given members; what it does not hold is no error.

    Raises:
        RequestRejected: INVALID_CONFIG; the key is not a list.
    """
    members = _members(resource_type, name, current, "SUBTRACT")
    gone = set(_words(removals))
    return ",".join(word for word in members if word not in gone)


def _members(resource_type: int, name: str, current: str | None, operation: str) -> list[str]:
    key = key_for(resource_type, name)
    if key is None or key.type is not ConfigType.LIST:
        raise RequestRejected(
            ErrorCode.invalid_config,
            f"Can't {operation} to key {name} because its type is not LIST. Use SET with the whole value.",
        )
    text = key.default if current is None else current
    return _words(text or "")


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip(BLANKS))]
