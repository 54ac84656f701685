"""One helper for all sub-images: the next persistent map, from changes that were collected in a dict."""

from collections.abc import Mapping
from typing import TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")


def patched(base: Map[K, V], changes: Mapping[K, V | None]) -> Map[K, V]:
    """The map with these keys set, or removed where the change is None. The base stays as it is."""
    if len(changes) == 1:
        # The write path: one record, one change.
        for key, value in changes.items():
            if value is not None:
                return base.set(key, value)
            return base.delete(key) if key in base else base
    after = base.mutate()
    for key, value in changes.items():
        if value is not None:
            after[key] = value
        elif key in after:
            del after[key]
    return after.finish()
