"""Trees as text: one JSON object a line, sorted by path (pure).

`{"path", "data_b64", "stat": {...}}`; `data_b64` is null for null data and "" for empty data; the keys of `stat` are
ZooKeeper's own names. The form of the dumps that the project's ZooKeeper artefacts come in.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Final

from quorate.metadata.zookeeper.znodes import Stat, Tree, Znode

STAT_KEYS: Final = {
    "czxid": "czxid",
    "mzxid": "mzxid",
    "ctime": "ctime",
    "mtime": "mtime",
    "version": "version",
    "cversion": "cversion",
    "aversion": "aversion",
    "ephemeralOwner": "ephemeral_owner",
    "dataLength": "data_length",
    "numChildren": "num_children",
    "pzxid": "pzxid",
}


class DumpUnreadable(Exception):
    """A line that is no znode, and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line: Final = line


def dump_lines(tree: Tree) -> Iterator[str]:
    """Without line ends."""
    for path in sorted(tree):
        node = tree[path]
        data = None if node.data is None else base64.b64encode(node.data).decode()
        stat = {key: getattr(node.stat, name) for key, name in STAT_KEYS.items()}
        yield json.dumps(
            {"path": path, "data_b64": data, "stat": stat}, separators=(",", ":"), ensure_ascii=False
        )


def load_lines(lines: Iterable[str]) -> dict[str, Znode]:
    """
    Raises:
        DumpUnreadable: at the first line that is no znode, or that names a path twice.
    """
    tree: dict[str, Znode] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        node = _znode(number, line)
        if node.path in tree:
            raise DumpUnreadable(number, f"{node.path} stands here a second time")
        tree[node.path] = node
    return tree


def _znode(number: int, line: str) -> Znode:
    try:
        row = json.loads(line)
        path, data, stat = row["path"], row["data_b64"], row["stat"]
        numbers = {name: stat[key] for key, name in STAT_KEYS.items()}
        if not isinstance(path, str) or not path.startswith("/"):
            raise DumpUnreadable(number, f"a path begins with /, and this is {path!r}")
        if any(type(value) is not int for value in numbers.values()):
            raise DumpUnreadable(number, f"{path}: everything in stat is a whole number")
        return Znode(path, None if data is None else base64.b64decode(data, validate=True), Stat(**numbers))
    except (ValueError, KeyError, TypeError, binascii.Error) as e:
        raise DumpUnreadable(number, f"not a znode of a dump ({type(e).__name__}: {e})") from None
