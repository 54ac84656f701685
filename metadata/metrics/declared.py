"""What a metric is, and a value of one (pure). How values become a page is in `endpoint`.

A `Family` is declared once, at the top of the module that reads its values; the page in docs/metrics.md and the HELP
lines of a scrape come from there. Names follow Prometheus: base units, `_total` for what only grows.
"""

import enum
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from quorate.metadata.metrics.histogram import Histogram

PREFIX: Final = "quorate_"


class Kind(enum.Enum):
    """What may happen to a value."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """Grows until the process ends."""
    STATE = "state set"
    """One series for each state: 1 for the one that holds, 0 for the others. The label is called like the metric."""
    HISTOGRAM = "histogram"


@attrs.frozen(kw_only=True)
class Family:
    """One metric."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    """Empty: a plain number."""
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    kafka: str = ""
    """What Kafka calls it, where it has the like."""

    def of(self, value: "float | str | Histogram", *labels: str) -> "Sample":
        """A value; `labels` in the order of their declaration."""
        return Sample(self, value, labels)


@attrs.frozen
class Sample:
    """One value of a family: a number, the state that holds, or a histogram."""

    family: Family
    value: float | str | Histogram
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Sample]]
"""Reads values off a part of the node, now."""


def gauge(
    name: str, meaning: str, *, unit: str = "", labels: tuple[str, ...] = (), kafka: str = ""
) -> Family:
    return Family(name=PREFIX + name, kind=Kind.GAUGE, meaning=meaning, unit=unit, labels=labels, kafka=kafka)


def counter(
    name: str, meaning: str, *, unit: str = "", labels: tuple[str, ...] = (), kafka: str = ""
) -> Family:
    """`name` without `_total`."""
    return Family(
        name=f"{PREFIX}{name}_total",
        kind=Kind.COUNTER,
        meaning=meaning,
        unit=unit,
        labels=labels,
        kafka=kafka,
    )


def state_set(name: str, meaning: str, states: Iterable[str], *, kafka: str = "") -> Family:
    return Family(name=PREFIX + name, kind=Kind.STATE, meaning=meaning, states=tuple(states), kafka=kafka)


def histogram(name: str, meaning: str, *, unit: str, kafka: str = "") -> Family:
    return Family(name=PREFIX + name, kind=Kind.HISTOGRAM, meaning=meaning, unit=unit, kafka=kafka)
