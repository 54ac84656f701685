"""What a broker tells besides what every node does (pure)."""

from collections.abc import Iterator
from typing import Final

from quorate.broker.lifecycle import BrokerLifecycle, BrokerState
from quorate.metadata.metrics.declared import Family, Sample, counter, gauge, state_set

STATE: Final = state_set(
    "broker_state",
    "Where this broker is in its life; it serves clients once it is running.",
    (state.name.lower() for state in BrokerState),
    kafka="BrokerState",
)
EPOCH: Final = gauge("broker_epoch", "The epoch of its registration; -1 while there is none.")
REGISTRATIONS: Final = counter("broker_registrations_sent", "Times it asked to be registered.")
HEARTBEATS: Final = counter("broker_heartbeats_sent", "Heartbeats that left for the active controller.")
ACCEPTED: Final = counter("broker_heartbeats_accepted", "Heartbeats that the controller accepted.")
FAILURES: Final = counter(
    "broker_controller_failures",
    "Registrations and heartbeats that were refused or not answered in time, or that nobody could be asked.",
)
SILENCE: Final = gauge(
    "broker_heartbeat_age_seconds",
    "Time since a heartbeat was accepted; absent before the first. Beyond the session timeout it will be fenced.",
    unit="seconds",
)

FAMILIES: Final[tuple[Family, ...]] = (
    STATE,
    EPOCH,
    REGISTRATIONS,
    HEARTBEATS,
    ACCEPTED,
    FAILURES,
    SILENCE,
)


def broker_samples(lifecycle: BrokerLifecycle, now_ms: int) -> Iterator[Sample]:
    requests = lifecycle.requests
    yield STATE.of(lifecycle.state.name.lower())
    yield EPOCH.of(-1 if lifecycle.broker_epoch is None else lifecycle.broker_epoch)
    yield REGISTRATIONS.of(requests.registrations)
    yield HEARTBEATS.of(requests.heartbeats)
    yield ACCEPTED.of(requests.heartbeats_accepted)
    yield FAILURES.of(requests.failures)
    if requests.last_accepted_ms is not None:
        yield SILENCE.of(max(0, now_ms - requests.last_accepted_ms) / 1000)
