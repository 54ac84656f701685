"""What the migration driver tells about itself: one JSON document, and the numbers behind it (pure; time is an
argument).

Kafka's migration is silent while it is stuck. Here every state says what it waits for, since when, and what to do.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from quorate.controller.migration.operations import order_of
from quorate.controller.migration.states import DriverState, check_move
from quorate.metadata.ids import NodeId, uuid_to_text
from quorate.metadata.image.image import MetadataImage

_S = DriverState

WHAT_TO_DO: Final[Mapping[DriverState, str]] = {
    _S.INACTIVE: "Ask the active controller.",
    _S.WAIT_FOR_CONTROLLER_QUORUM: "Start every controller with zookeeper.metadata.migration.enable.",
    _S.WAIT_FOR_BROKERS: "Restart the brokers named here with zookeeper.metadata.migration.enable and the controllers' "
    "addresses; or give `quorate migrate run --force` if they will not register.",
    _S.WAIT_FOR_ORDER: "Look at `quorate migrate plan`, then give `quorate migrate run`.",
    _S.CHECK_TREE: "Nothing: everything in ZooKeeper is being read.",
    _S.BECOME_CONTROLLER: "Nothing, unless it lasts: then another controller, or another quorum, holds /controller.",
    _S.ZK_MIGRATION: "Nothing: the metadata is being copied.",
    _S.SYNC_KRAFT_TO_ZK: "Nothing: ZooKeeper is being made equal to the log.",
    _S.DUAL_WRITE: "Restart the brokers one by one in KRaft mode; then `quorate migrate verify` and `finalize`. "
    "`quorate migrate rollback` leads back at any time before.",
    _S.ROLLBACK_WAIT_FOR_BROKERS: "Restart the brokers named here in ZooKeeper mode; or give `rollback --force`.",
    _S.ROLLBACK_HAND_BACK: "Nothing: ZooKeeper is being brought level and checked.",
    _S.ROLLED_BACK: "Stop the controllers. Before another attempt format new directories for them.",
    _S.FINISHED: "Remove the ZooKeeper settings from the controllers' files when you restart them; ZooKeeper can go.",
}


@attrs.define
class Progress:
    """How far one category of metadata is, in one of the driver's states."""

    total: int = 0
    done: int = 0
    began_ms: int = 0
    last_ms: int = 0

    def document(self) -> dict[str, Any]:
        elapsed_ms = self.last_ms - self.began_ms
        rate = self.done * 1000 / elapsed_ms if elapsed_ms > 0 else None
        left = None if not rate else round((self.total - self.done) / rate, 1)
        return {
            "done": self.done,
            "total": self.total,
            "per_second": None if rate is None else round(rate, 1),
            "seconds_left": left if self.done < self.total else 0.0,
        }


@attrs.frozen(kw_only=True)
class Mishap:
    """Something that went wrong and is tried again."""

    state: DriverState
    text: str
    path: str
    wall_ms: int


@attrs.define(kw_only=True)
class Board:
    """Written by the driver, read by whoever asks."""

    state: DriverState = _S.INACTIVE
    since_wall_ms: int = 0
    why: str = ""
    waiting_for: tuple[str, ...] = ()
    blockers: tuple[Mapping[str, Any], ...] = ()
    """What was found in ZooKeeper that cannot be copied, in the last attempt."""
    progress: dict[str, Progress] = attrs.Factory(dict)
    """Category -> how far, in this state."""
    mishap: Mishap | None = None
    mishaps: int = 0
    written_offset: int = -1
    """Up to where ZooKeeper has the log; -1: it is not written to."""
    behind_since_wall_ms: int | None = None
    """Since when it lacks something."""
    writes: int = 0
    """Transactions that were carried out in ZooKeeper."""
    copied: Mapping[str, Any] | None = None
    """What the copy came to: records by type, batches, milliseconds, offsets."""
    verified: Mapping[str, Any] | None = None
    """The last comparison of both sides."""
    controller_epoch: int | None = None
    """Of the claim in ZooKeeper."""

    def move(self, to: DriverState, why: str, wall_ms: int, waiting_for: Iterable[str] = ()) -> bool:
        """Goes to a state; whether it is another one than before.

        Raises:
            InvariantViolated: `states.TRANSITIONS` does not have this move.
        """
        check_move(self.state, to)
        self.why = why
        self.waiting_for = tuple(waiting_for)
        if to is self.state:
            return False
        self.state = to
        self.since_wall_ms = wall_ms
        self.progress = {}
        return True

    def begin(self, category: str, total: int, now_ms: int) -> Progress:
        """Starts counting a category."""
        progress = self.progress.get(category)
        if progress is None:
            progress = self.progress[category] = Progress(began_ms=now_ms, last_ms=now_ms)
        progress.total += total
        return progress

    def failed(self, text: str, path: str, wall_ms: int) -> None:
        self.mishap = Mishap(state=self.state, text=text, path=path, wall_ms=wall_ms)
        self.mishaps += 1

    def document(self, image: MetadataImage, wall_ms: int, voters: Sequence[int]) -> dict[str, Any]:
        """The status. Keys may be added, and never change their meaning."""
        order = image.migration_order
        behind = max(0, image.offset - self.written_offset) if self.behind_since_wall_ms is not None else 0
        return {
            "state": self.state.value,
            "since_ms": self.since_wall_ms,
            "for_seconds": max(0, wall_ms - self.since_wall_ms) // 1000,
            "why": self.why,
            "waiting_for": list(self.waiting_for),
            "what_to_do": WHAT_TO_DO[self.state],
            "log": {
                "migration_state": image.migration.name,
                "offset": image.offset,
                "order": order_of(image).name,
                "attempt": None if order is None else uuid_to_text(order.attempt),
                "ordered_by": None if order is None else order.operator,
                "ordered_ms": None if order is None else order.time_ms,
            },
            "zookeeper": {
                "controller_epoch": self.controller_epoch,
                "written_offset": self.written_offset,
                "lag_records": behind,
                "lag_ms": 0
                if self.behind_since_wall_ms is None
                else max(0, wall_ms - self.behind_since_wall_ms),
                "transactions": self.writes,
            },
            "progress": {name: progress.document() for name, progress in self.progress.items()},
            "copied": self.copied,
            "verified": self.verified,
            "blockers": [dict(one) for one in self.blockers],
            "last_error": None
            if self.mishap is None
            else {
                "state": self.mishap.state.value,
                "text": self.mishap.text,
                "path": self.mishap.path,
                "ms": self.mishap.wall_ms,
                "errors": self.mishaps,
            },
            "controllers": [_controller(image, one) for one in voters],
            "brokers": [
                {
                    "id": broker.id,
                    "mode": "zookeeper" if broker.is_migrating_zk_broker else "kraft",
                    "fenced": broker.fenced,
                }
                for broker in sorted(image.cluster.brokers.values(), key=lambda broker: broker.id)
            ],
        }


def _controller(image: MetadataImage, node_id: int) -> dict[str, Any]:
    known = image.cluster.controllers.get(NodeId(node_id))
    return {
        "id": node_id,
        "registered": known is not None,
        "ready": known is not None and known.zk_migration_ready,
    }
