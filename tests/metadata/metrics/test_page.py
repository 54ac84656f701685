"""From values to text that Prometheus reads, and what is said about them in docs/metrics.md."""

import re

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.metrics.declared import Kind, Sample, Source, counter, gauge, histogram, state_set
from quorate.metadata.metrics.histogram import Histogram
from quorate.metadata.metrics.image_metrics import BROKERS, PARTITIONS, TOPICS, image_samples
from quorate.metadata.metrics.page import registry_of, render
from quorate.metadata.metrics.process_metrics import LoopLag, ProcessMetrics
from tests.controller.world import World
from tests.metadata.metrics.page import PAGE, families, page


def series(*sources: Source) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Everything that a scrape of these sources finds, but for the process's own values."""
    text = render(registry_of(sources)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith("process_")
    }


def told(*samples: Sample) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return series(lambda: samples)


def test_numbers_with_and_without_labels() -> None:
    plain, labelled = gauge("a", "A."), counter("b", "B.", labels=("x", "y"))

    assert told(plain.of(True), labelled.of(3, "1", 'a "b"\n'), labelled.of(2.5, "2", "")) == {
        ("quorate_a", ()): 1,
        ("quorate_b_total", (("x", "1"), ("y", 'a "b"\n'))): 3,
        ("quorate_b_total", (("x", "2"), ("y", ""))): 2.5,
    }


def test_a_state_is_one_of_its_set() -> None:
    state = state_set("s", "S.", ("up", "down"))

    assert told(state.of("down")) == {
        ("quorate_s", (("quorate_s", "up"),)): 0,
        ("quorate_s", (("quorate_s", "down"),)): 1,
    }


def test_a_histogram() -> None:
    values = Histogram((0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 8.0):
        values.add(value)

    assert told(histogram("h", "H.", unit="seconds").of(values)) == {
        ("quorate_h_bucket", (("le", "0.5"),)): 2,
        ("quorate_h_bucket", (("le", "1.0"),)): 3,
        ("quorate_h_bucket", (("le", "+Inf"),)): 4,
        ("quorate_h_count", ()): 4,
        ("quorate_h_sum", ()): 9.5,
    }
    assert values.count == 4


def test_a_text_is_no_number() -> None:
    with pytest.raises(TypeError, match="quorate_a is a number, not 'x'"):
        told(gauge("a", "A.").of("x"))


def test_values_are_read_when_somebody_asks() -> None:
    numbers = iter((1, 2))
    registry = registry_of([lambda: [gauge("a", "A.").of(next(numbers))]])

    assert b"\nquorate_a 1.0\n" in render(registry)
    assert b"\nquorate_a 2.0\n" in render(registry)


def test_the_process_tells_of_itself() -> None:
    lag = LoopLag()
    lag.seconds.add(0.02)
    found = series(ProcessMetrics(lag).samples)

    (build,) = [labels for name, labels in found if name == "quorate_build_info"]
    assert dict(build).keys() == {"version", "python"}
    assert found["quorate_event_loop_lag_seconds_count", ()] == 1
    assert b"\nprocess_resident_memory_bytes " in render(registry_of([]))


async def test_a_loop_that_comes_late_is_measured(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(0.25)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.seconds.count, lag.seconds.sum) == (1, 0.0)

    mock_clock.jump(1.0)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.seconds.count, lag.seconds.sum) == (2, pytest.approx(0.75))


def test_what_an_image_tells() -> None:
    world = World()
    for broker_id in (1, 2, 3):
        world.add_broker(broker_id)
    world.set_broker(2, fenced=1)
    world.set_broker(3, in_controlled_shutdown=1)
    world.add_topic("t", [1, 2], [2, 1])
    world.add_topic("u", [1])

    found = {(s.family, *s.labels): s.value for s in image_samples(world.image)}

    assert (found[TOPICS,], found[PARTITIONS,]) == (2, 3)
    assert [found[BROKERS, state] for state in ("active", "fenced", "controlled_shutdown")] == [1, 1, 1]


def test_an_empty_image_has_numbers_too() -> None:
    found = {(s.family, *s.labels): s.value for s in image_samples(MetadataImage.EMPTY)}

    assert (found[TOPICS,], found[BROKERS, "active"]) == (0, 0)


def test_the_page_of_metrics_is_what_the_code_declares() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.metadata.metrics.page --rewrite, and review it"


@pytest.mark.parametrize("role", ["controller", "broker"])
def test_names_are_as_prometheus_wants_them(role) -> None:  # type: ignore[no-untyped-def]
    declared = families(role)

    assert len({family.name for family in declared}) == len(declared)
    for family in declared:
        assert re.fullmatch(r"(quorate|process)_[a-z0-9_]+", family.name)
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert "_ms" not in family.name
        assert family.meaning.endswith(".")
        if "seconds" in family.name or "bytes" in family.name:
            assert family.unit in ("seconds", "bytes")


def test_alerts_name_metrics_that_exist() -> None:
    head = page().partition("\n## ")[0]
    names = {family.name for role in ("controller", "broker") for family in families(role)}  # type: ignore[arg-type]

    found = set(re.findall(r"quorate_\w+", head))
    assert len(found) >= 8
    assert found <= names
