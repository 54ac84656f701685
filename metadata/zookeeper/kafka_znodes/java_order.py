"""The order in which the hash maps of Kafka's writers give their keys, so that what we write is the same bytes.

No reader depends on it. It lets a tree that was read and written again be compared byte for byte with the real one.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

V = TypeVar("V")

_FIRST_TABLE: Final = 16
_MASK: Final = 0xFFFFFFFF


def string_hash(text: str) -> int:
    """Java's String.hashCode, as an unsigned number: over UTF-16 units."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for i in range(0, len(units), 2):
        value = (31 * value + (units[i] << 8 | units[i + 1])) & _MASK
    return value ^ (value >> 16)


def as_scala_map(members: Mapping[str, V]) -> dict[str, V]:
    """In the order of Scala 2.13's mutable.HashMap: a table twice as large at three quarters, buckets by hash."""
    size = _FIRST_TABLE
    while len(members) >= size * 3 // 4:
        size *= 2
    hashes = {key: string_hash(key) for key in members}
    ordered = sorted(members, key=lambda key: (hashes[key] & (size - 1), _signed(hashes[key])))
    return {key: members[key] for key in ordered}


def as_java_properties(members: Mapping[str, V]) -> dict[str, V]:
    """In the order of java.util.Properties, a ConcurrentHashMap inside; within a bucket as they are given."""
    size = _FIRST_TABLE
    while len(members) >= size * 3 // 4:
        size *= 2
    hashes = _hashes(members)
    return {key: members[key] for key in sorted(members, key=lambda key: hashes[key] & (size - 1))}


def _hashes(keys: Iterable[str]) -> dict[str, int]:
    return {key: string_hash(key) & 0x7FFFFFFF for key in keys}


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value
