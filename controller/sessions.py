"""When each broker was last heard of, and how far it had read: what the active controller knows and no record holds.

Lost with leadership and rebuilt by the next controller, which grants every unfenced broker a full session from the
moment it takes over (nobody is fenced for a silence that was ours). It changes when a heartbeat *arrives*,
however long the queue of writes is, and when records about brokers are replayed; never inside a handler, so a
decision that is not carried out leaves no trace here (in Kafka it does).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import attrs

from quorate.metadata.image.cluster import BrokerRegistration

NOTHING_READ = -1


@attrs.define
class _HandedOver:
    """A broker in controlled shutdown from which everything was moved away."""

    offset: int
    """Of the last record that did so."""
    since_ms: int


@attrs.define
class _Session:
    broker_epoch: int
    last_contact_ms: int
    metadata_offset: int = NOTHING_READ
    """The last offset that the broker had published when it last reported."""
    handed_over: _HandedOver | None = None
    forgiven_ms: int = 0
    """How much of the silence since the last contact was ours."""


class BrokerSessions:
    """One session per registered broker; only those of unfenced brokers can expire."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._sessions: dict[int, _Session] = {}
        self._unfenced: OrderedDict[int, _Session] = OrderedDict()
        """By last contact, the longest silent first."""
        self._active: set[int] = set()
        """Unfenced and staying."""
        self._unsettled: set[int] = set()

    def restart(self, brokers: Iterable[BrokerRegistration], now_ms: int) -> None:
        """Begins anew: every registered broker counts as heard of right now."""
        self.clear()
        for broker in sorted(brokers, key=lambda broker: broker.id):
            self.follow(broker.id, broker, now_ms)

    def clear(self) -> None:
        self._sessions.clear()
        self._unfenced.clear()
        self._active.clear()
        self._unsettled.clear()

    def follow(self, broker_id: int, broker: BrokerRegistration | None, now_ms: int) -> None:
        """Takes over what a replayed record made of a broker's registration; None: it is gone."""
        session = self._sessions.get(broker_id)
        if session is None or broker is None or session.broker_epoch != broker.epoch:
            self._sessions.pop(broker_id, None)
            self._unfenced.pop(broker_id, None)
            session = None
        self._active.discard(broker_id)
        if broker is None:
            return
        if session is None:
            session = self._sessions[broker_id] = _Session(broker.epoch, now_ms)
        if broker.fenced:
            self._unfenced.pop(broker_id, None)
        elif broker_id not in self._unfenced:
            session.last_contact_ms = now_ms
            session.forgiven_ms = 0
            self._unfenced[broker_id] = session
        if not broker.fenced and not broker.in_controlled_shutdown:
            self._active.add(broker_id)
            session.handed_over = None

    def touch(self, broker_id: int, broker_epoch: int, metadata_offset: int, now_ms: int) -> bool:
        """A heartbeat arrived. False: not from a registered broker, or not from this registration."""
        session = self._sessions.get(broker_id)
        if session is None or session.broker_epoch != broker_epoch:
            return False
        session.last_contact_ms = now_ms
        session.forgiven_ms = 0
        # The broker's image may be replaced by that of an older snapshot, but what it has read it has read.
        session.metadata_offset = max(session.metadata_offset, metadata_offset)
        if broker_id in self._unfenced:
            self._unfenced.move_to_end(broker_id)
        return True

    def unsettled(self, broker_id: int) -> None:
        """Some of a broker's partitions do not reflect yet what was decided about it."""
        self._unsettled.add(broker_id)

    def settled(self, broker_id: int, offset: int, now_ms: int) -> None:
        """The records up to `offset` have done the rest. A broker in controlled shutdown leads nothing any more."""
        self._unsettled.discard(broker_id)
        session = self._sessions.get(broker_id)
        if session is not None and session.handed_over is None and broker_id not in self._active:
            session.handed_over = _HandedOver(offset, now_ms)

    def forgive(self, silence_ms: int) -> None:
        """Time in which this process could not listen does not count against anybody.

        The first time since a broker was heard of that is all of it, then one session at most: a controller that is
        always late must still notice who is gone.
        """
        for session in self._sessions.values():
            left_ms = max(0, self._timeout_ms - session.forgiven_ms)
            granted_ms = min(silence_ms, left_ms) if session.forgiven_ms else silence_ms
            session.forgiven_ms += granted_ms
            session.last_contact_ms += granted_ms

    def is_alive(self, broker_id: int, broker_epoch: int, now_ms: int) -> bool:
        """Whether this registration of an unfenced broker was heard of within the session timeout."""
        session = self._unfenced.get(broker_id)
        return (
            session is not None
            and session.broker_epoch == broker_epoch
            and now_ms < session.last_contact_ms + self._timeout_ms
        )

    def is_settled(self, broker_id: int) -> bool:
        """Whether all of a broker's partitions reflect what was decided about it."""
        return broker_id not in self._unsettled

    def may_leave(self, broker_id: int, now_ms: int) -> bool:
        """Whether the other brokers know by now what was moved away from a broker in controlled shutdown.

        One that cannot catch up holds the shutdown back for a session timeout at most; in Kafka for ever.
        """
        session = self._sessions.get(broker_id)
        if session is None or session.handed_over is None:
            return False
        moved = session.handed_over
        if now_ms >= moved.since_ms + self._timeout_ms:
            return True
        return all(self._sessions[other].metadata_offset >= moved.offset for other in self._active)

    def expired(self, now_ms: int) -> Iterator[int]:
        """The unfenced brokers that were silent for too long, the longest silent first."""
        for broker_id, session in self._unfenced.items():
            if now_ms < session.last_contact_ms + self._timeout_ms:
                return
            yield broker_id

    def next_expiry_ms(self) -> int | None:
        """When the next session ends if nothing more is heard."""
        for session in self._unfenced.values():
            return session.last_contact_ms + self._timeout_ms
        return None
