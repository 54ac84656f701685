"""Sessions and when they end, by a clock that is handed in (pure).

The server alone decides that a session has expired, and it does so in ticks: a session's end is rounded up to the next
tick, and all that end in the same one end together (SessionTrackerImpl, ExpiryQueue). Hearing from the client moves the
end. That a session exists is part of the journal, when it ends is not: after a restart every session has its whole
timeout again, since its client could not be heard.
"""

from typing import Final

import attrs


@attrs.define
class Session:
    id: int
    timeout_ms: int
    password: bytes
    """What a client must know to go on with the session from another connection."""
    ends_ms: int
    """0: it does not end by itself."""


class SessionTable:
    """Every session that lives."""

    def __init__(self, tick_ms: int) -> None:
        self.tick_ms: Final = tick_ms
        self.sessions: Final[dict[int, Session]] = {}
        self._buckets: Final[dict[int, dict[int, None]]] = {}

    def granted_timeout_ms(self, asked_ms: int) -> int:
        """Between 2 and 20 ticks, ZooKeeper's own bounds."""
        return min(max(asked_ms, 2 * self.tick_ms), 20 * self.tick_ms)

    def add(self, session: int, timeout_ms: int, password: bytes, now_ms: int) -> None:
        self.sessions[session] = Session(session, timeout_ms, password, 0)
        self.touch(session, now_ms)

    def touch(self, session: int, now_ms: int) -> None:
        """Its client was heard."""
        found = self.sessions.get(session)
        if found is None:
            return
        ends_ms = (now_ms + found.timeout_ms) // self.tick_ms * self.tick_ms + self.tick_ms
        if ends_ms == found.ends_ms:
            return
        self._leave_bucket(found)
        found.ends_ms = ends_ms
        self._buckets.setdefault(ends_ms, {})[session] = None

    def remove(self, session: int) -> None:
        found = self.sessions.pop(session, None)
        if found is not None:
            self._leave_bucket(found)

    def ended(self, now_ms: int) -> list[int]:
        """Those whose time is over, the first ones first. They stay until they are removed."""
        return [
            session
            for ends_ms in sorted(self._buckets)
            if ends_ms <= now_ms
            for session in self._buckets[ends_ms]
        ]

    def next_end_ms(self) -> int | None:
        return min(self._buckets, default=None)

    def _leave_bucket(self, session: Session) -> None:
        bucket = self._buckets.get(session.ends_ms)
        if bucket is not None:
            bucket.pop(session.id, None)
            if not bucket:
                del self._buckets[session.ends_ms]
