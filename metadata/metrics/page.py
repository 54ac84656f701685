"""From the values of a node's parts to the text that Prometheus scrapes; prometheus-client writes it (shell)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    StateSetMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from quorate.metadata.metrics.declared import Family, Kind, Sample, Source
from quorate.metadata.metrics.histogram import Histogram

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class NodeCollector(Collector):
    """Asks the sources each time that somebody asks for the page."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def collect(self) -> Iterator[Metric]:
        found: dict[Family, list[Sample]] = {}
        for source in self._sources:
            for sample in source():
                found.setdefault(sample.family, []).append(sample)
        return (_metric(family, samples) for family, samples in found.items())


def registry_of(sources: Sequence[Source]) -> CollectorRegistry:
    """A registry with these sources and the process's own values; nothing global takes part."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(sources))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    match family.kind:
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
            for sample in samples:
                gauge.add_metric(sample.labels, _number(sample))
            return gauge
        case Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.meaning, labels=family.labels)
            for sample in samples:
                counter.add_metric(sample.labels, _number(sample))
            return counter
        case Kind.STATE:
            states = StateSetMetricFamily(family.name, family.meaning, labels=family.labels)
            for sample in samples:
                states.add_metric(sample.labels, {state: state == sample.value for state in family.states})
            return states
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
            for sample in samples:
                value = sample.value
                if isinstance(value, Histogram):
                    histogram.add_metric(sample.labels, _buckets(value), value.sum)
            return histogram


def _number(sample: Sample) -> float:
    if not isinstance(sample.value, (int, float)):
        raise TypeError(f"{sample.family.name} is a number, not {sample.value!r}")
    return float(sample.value)


def _buckets(value: Histogram) -> list[tuple[str, float]]:
    names = [*map(str, value.bounds), "+Inf"]
    return list(zip(names, value.cumulative(), strict=True))
