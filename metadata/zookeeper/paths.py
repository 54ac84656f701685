"""Paths of znodes: which are valid, and what lies above them (pure).

The rules of ZooKeeper's PathUtils.validatePath. Java looks at UTF-16 units, so a character beyond U+FFFF is two of the
forbidden surrogates there, and forbidden here too.
"""

import re
from typing import Final

ROOT: Final = "/"
RESERVED: Final = "/zookeeper"
"""ZooKeeper's own; not part of what an application keeps there."""
CONFIG: Final = "/zookeeper/config"
QUOTA: Final = "/zookeeper/quota"
UNDELETABLE: Final = frozenset({ROOT, RESERVED, CONFIG, QUOTA})

_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")


def why_invalid(path: str) -> str | None:
    """None: it is a valid path."""
    if not path.startswith("/"):
        return "a path starts with /"
    if path == ROOT:
        return None
    if path.endswith("/"):
        return "a path does not end with /"
    if "//" in path:
        return "a name is empty"
    if "/." in path and any(name in (".", "..") for name in path.split("/")):
        return "there are no relative paths"
    if found := _FORBIDDEN.search(path):
        return f"character U+{ord(found.group()):04X} is not allowed"
    return None


def parent_of(path: str) -> str:
    """Of a path with a / in it; the root's parent is the root."""
    return path[: path.rfind("/")] or ROOT


def name_of(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def child_of(parent: str, name: str) -> str:
    return f"/{name}" if parent == ROOT else f"{parent}/{name}"


def is_reserved(path: str) -> bool:
    return path == RESERVED or path.startswith(RESERVED + "/")
