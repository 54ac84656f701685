"""The JSON files of kafka-reassign-partitions and kafka-leader-election, read and written.

Assignments: `{"version": 1, "partitions": [{"topic": …, "partition": …, "replicas": […], "log_dirs": […]}]}`; topics to
move: `{"version": 1, "topics": [{"topic": …}]}`; elections: `{"partitions": [{"topic": …, "partition": …}]}`.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from quorate.admin.errors import WrongUsage

Place: TypeAlias = tuple[str, int]
"""Topic, partition."""
Assignments: TypeAlias = Mapping[Place, tuple[int, ...]]

_VERSION: Final = 1
_ANY_DIRECTORY: Final = "any"
_HIGHEST_NUMBER: Final = 2**31 - 1


def read_assignments(path: pathlib.Path) -> dict[Place, tuple[int, ...]]:
    """What partitions shall be.

    Raises:
        WrongUsage: no such file, or not of that form; log directories, which no controller moves.
    """
    found: dict[Place, tuple[int, ...]] = {}
    for one in _items(path, "partitions"):
        place = _place(path, one)
        replicas = one.get("replicas")
        if not isinstance(replicas, list) or not replicas or not all(map(_is_number, replicas)):
            raise _unusable(path, f'{_name(place)} has no list of broker ids in "replicas"')
        if len(set(replicas)) < len(replicas):
            raise _unusable(path, f"{_name(place)} names a broker twice")
        directories = one.get("log_dirs", [_ANY_DIRECTORY] * len(replicas))
        if not isinstance(directories, list) or len(directories) != len(replicas):
            raise _unusable(path, f"{_name(place)} has not one of log_dirs for each of its replicas")
        if any(directory != _ANY_DIRECTORY for directory in directories):
            raise _unusable(
                path,
                f"{_name(place)} names log directories; between those of a broker Kafka's own tool moves replicas",
            )
        if place in found:
            raise _unusable(path, f"{_name(place)} stands there twice")
        found[place] = tuple(replicas)
    return found


def read_topics(path: pathlib.Path) -> list[str]:
    """The topics to move, each once.

    Raises:
        WrongUsage: see `read_assignments`.
    """
    names: dict[str, None] = {}
    for one in _items(path, "topics"):
        name = one.get("topic")
        if not isinstance(name, str) or not name:
            raise _unusable(path, 'an entry of "topics" has no "topic"')
        names[name] = None
    return list(names)


def read_places(path: pathlib.Path) -> list[Place]:
    """The partitions to elect leaders for, each once.

    Raises:
        WrongUsage: see `read_assignments`.
    """
    return list(dict.fromkeys(_place(path, one) for one in _items(path, "partitions", versioned=False)))


def assignments_document(assignments: Assignments) -> dict[str, Any]:
    """As the file has it."""
    return {
        "version": _VERSION,
        "partitions": [
            {
                "topic": topic,
                "partition": partition,
                "replicas": list(replicas),
                "log_dirs": [_ANY_DIRECTORY] * len(replicas),
            }
            for (topic, partition), replicas in sorted(assignments.items())
        ],
    }


def _items(path: pathlib.Path, member: str, *, versioned: bool = True) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise _unusable(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise _unusable(path, f"it is no readable JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get(member), list):
        raise _unusable(path, f'it has no list "{member}"')
    if versioned and document.get("version", _VERSION) != _VERSION:
        raise _unusable(path, f"it is of version {document['version']}; {_VERSION} is known")
    for item in document[member]:
        if not isinstance(item, dict):
            raise _unusable(path, f'an entry of "{member}" is no object')
        yield item


def _place(path: pathlib.Path, item: dict[str, Any]) -> Place:
    topic, partition = item.get("topic"), item.get("partition")
    if not isinstance(topic, str) or not topic or partition is None or not _is_number(partition):
        raise _unusable(path, 'an entry of "partitions" has no "topic" and "partition"')
    return topic, int(partition)


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _HIGHEST_NUMBER


def _name(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def _unusable(path: pathlib.Path, why: str) -> WrongUsage:
    return WrongUsage("The file cannot be used.", where=str(path), why=why)
