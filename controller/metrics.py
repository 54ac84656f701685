"""What a controller tells besides what every node does (pure). Kafka's names are those of `KafkaController`.

Every field of `Counters` is published; a test sees to it that none is forgotten.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from quorate.controller.active import ActiveController
from quorate.controller.counters import Counters
from quorate.metadata.metrics.declared import Family, Sample, counter, gauge

ACTIVE: Final = gauge(
    "controller_active", "1 at the active controller, 0 where it stands by.", kafka="ActiveControllerCount"
)
QUEUE: Final = gauge(
    "controller_queue_length", "Requests that wait for their turn; only the active controller has any."
)
PARKED: Final = gauge("controller_parked_answers", "Answers that wait until what they rest on is committed.")

COUNTERS: Final[Mapping[str, Family]] = {
    "operations_started": counter(
        "controller_operations_started",
        "Requests and tasks that were run.",
        kafka="EventQueueOperationsStartedCount",
    ),
    "operations_timed_out": counter(
        "controller_operations_timed_out",
        "Requests whose deadline passed before their turn.",
        kafka="EventQueueOperationsTimedOutCount",
    ),
    "heartbeats_timed_out": counter(
        "controller_heartbeats_timed_out",
        "Heartbeats among them: a sign of overload.",
        kafka="TimedOutBrokerHeartbeatCount",
    ),
    "heartbeats_answered_at_once": counter(
        "controller_heartbeats_answered_at_once", "Heartbeats that changed nothing and did not wait."
    ),
    "requests_turned_away": counter(
        "controller_requests_turned_away", "Requests refused because too many were waiting."
    ),
    "requests_rejected": counter("controller_requests_rejected", "Requests refused for what they asked for."),
    "faults": counter(
        "controller_faults",
        "Bugs met; anything above 0 needs somebody to look.",
        kafka="MetadataErrorCount",
    ),
    "records_appended": counter("controller_records_appended", "Records that this controller decided on."),
    "batches_appended": counter("controller_batches_appended", "Batches in which they were proposed."),
    "times_active": counter(
        "controller_times_active",
        "How often this node became the active controller.",
        kafka="NewActiveControllersCount",
    ),
    "sessions_expired": counter(
        "controller_sessions_expired", "Brokers that were fenced because they were silent for too long."
    ),
    "silence_forgiven_ms": counter(
        "controller_silence_forgiven_seconds",
        "Time in which this process was stopped or overloaded, which no broker's session paid for.",
        unit="seconds",
    ),
}
"""By field of `Counters`. Fields in milliseconds are told in seconds."""

FAMILIES: Final[tuple[Family, ...]] = (ACTIVE, QUEUE, PARKED, *COUNTERS.values())


def controller_samples(active: ActiveController) -> Iterator[Sample]:
    yield ACTIVE.of(active.active_epoch is not None)
    yield QUEUE.of(active.queue_length)
    yield PARKED.of(active.parked_answers)
    yield from _counted(active.counters)


def office_samples(*, holds: bool, queue_length: int, counters: Counters) -> Iterator[Sample]:
    """The same of a broker in ZooKeeper mode, which has no log that answers would wait for."""
    yield ACTIVE.of(holds)
    yield QUEUE.of(queue_length)
    yield from _counted(counters)


def _counted(counters: Counters) -> Iterator[Sample]:
    for field, family in COUNTERS.items():
        value: int = getattr(counters, field)
        yield family.of(value / 1000 if field.endswith("_ms") else value)
