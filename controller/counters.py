"""What the controller counts, as plain numbers; whoever publishes metrics reads them (Kafka's names in brackets)."""

import attrs


@attrs.define
class Counters:
    """Since the process started."""

    operations_started: int = 0
    """Requests and tasks that were run [EventQueueOperationsStartedCount]."""
    operations_timed_out: int = 0
    """Requests whose deadline passed before their turn [EventQueueOperationsTimedOutCount]."""
    heartbeats_timed_out: int = 0
    """Heartbeats among them: a sign of overload [TimedOutBrokerHeartbeatCount]."""
    heartbeats_answered_at_once: int = 0
    requests_turned_away: int = 0
    """Refused because too many were waiting."""
    requests_rejected: int = 0
    """Refused by their handler."""
    faults: int = 0
    """Bugs met [MetadataErrorCount]; anything above 0 needs somebody to look."""
    records_appended: int = 0
    batches_appended: int = 0
    times_active: int = 0
    """How often this node became the active controller [NewActiveControllersCount]."""
    sessions_expired: int = 0
    silence_forgiven_ms: int = 0
    """Time in which this process was stopped or overloaded, which no broker's session paid for."""
