"""The states of the migration driver, and which may follow which (pure; KIP-866's, with ours for orders and the way
back).

Every controller has a driver; that of the active one acts. Losing the office leads to INACTIVE from anywhere.

What Kafka has and is missing here: UNINITIALIZED (a driver has nothing to set up), and
KRAFT_CONTROLLER_TO_BROKER_COMM (a broker in ZooKeeper mode is not told of every partition: it sees who the controller
is, and asks it).
"""

import enum
from collections.abc import Mapping
from typing import Final

from quorate.metadata.checks import check


class DriverState(enum.StrEnum):
    """What a driver is about."""

    INACTIVE = "INACTIVE"
    """Another controller is active, or there is nothing to migrate."""
    WAIT_FOR_CONTROLLER_QUORUM = "WAIT_FOR_CONTROLLER_QUORUM"
    """Every voter must have registered as ready."""
    WAIT_FOR_BROKERS = "WAIT_FOR_BROKERS"
    """Every broker of ZooKeeper must have registered with the quorum."""
    WAIT_FOR_ORDER = "WAIT_FOR_ORDER"
    """All is ready. Nothing is copied before `quorate migrate run`."""
    CHECK_TREE = "CHECK_TREE"
    """Reading everything once while ZooKeeper's own controller still works: what cannot be read is found here."""
    BECOME_CONTROLLER = "BECOME_CONTROLLER"
    """Claiming /controller and its epoch."""
    ZK_MIGRATION = "ZK_MIGRATION"
    """Copying, in one transaction of the log."""
    SYNC_KRAFT_TO_ZK = "SYNC_KRAFT_TO_ZK"
    """Making ZooKeeper equal to the log, whatever was left half done."""
    DUAL_WRITE = "DUAL_WRITE"
    """Every change goes to the log, and from there to ZooKeeper."""
    ROLLBACK_WAIT_FOR_BROKERS = "ROLLBACK_WAIT_FOR_BROKERS"
    """Brokers in KRaft mode still need the quorum; both sides are written."""
    ROLLBACK_HAND_BACK = "ROLLBACK_HAND_BACK"
    """The quorum changes nothing any more; ZooKeeper is brought level, checked, and let go."""
    ROLLED_BACK = "ROLLED_BACK"
    """ZooKeeper has the cluster."""
    FINISHED = "FINISHED"
    """The quorum has the cluster, for good."""


_S = DriverState
_WAITING: Final = frozenset(
    {_S.WAIT_FOR_CONTROLLER_QUORUM, _S.WAIT_FOR_BROKERS, _S.WAIT_FOR_ORDER, _S.CHECK_TREE}
)
_ROLLING_BACK: Final = frozenset({_S.ROLLBACK_WAIT_FOR_BROKERS, _S.ROLLBACK_HAND_BACK})

TRANSITIONS: Final[Mapping[DriverState, frozenset[DriverState]]] = {
    _S.INACTIVE: frozenset(
        {*_WAITING, *_ROLLING_BACK, _S.BECOME_CONTROLLER, _S.ROLLED_BACK, _S.FINISHED} - {_S.WAIT_FOR_BROKERS}
    ),
    _S.WAIT_FOR_CONTROLLER_QUORUM: frozenset({_S.WAIT_FOR_BROKERS, _S.ROLLBACK_HAND_BACK, _S.ROLLED_BACK}),
    _S.WAIT_FOR_BROKERS: frozenset(
        {_S.WAIT_FOR_CONTROLLER_QUORUM, _S.WAIT_FOR_ORDER, _S.CHECK_TREE, _S.ROLLBACK_HAND_BACK}
    ),
    _S.WAIT_FOR_ORDER: frozenset({_S.WAIT_FOR_CONTROLLER_QUORUM, _S.CHECK_TREE, _S.ROLLBACK_HAND_BACK}),
    _S.CHECK_TREE: frozenset({_S.WAIT_FOR_CONTROLLER_QUORUM, _S.BECOME_CONTROLLER, _S.ROLLBACK_HAND_BACK}),
    _S.BECOME_CONTROLLER: frozenset(
        {
            _S.WAIT_FOR_CONTROLLER_QUORUM,
            _S.ZK_MIGRATION,
            _S.SYNC_KRAFT_TO_ZK,
            _S.ROLLBACK_WAIT_FOR_BROKERS,
            _S.ROLLBACK_HAND_BACK,
        }
    ),
    _S.ZK_MIGRATION: frozenset({_S.WAIT_FOR_CONTROLLER_QUORUM, _S.BECOME_CONTROLLER, _S.SYNC_KRAFT_TO_ZK}),
    _S.SYNC_KRAFT_TO_ZK: frozenset(
        {_S.BECOME_CONTROLLER, _S.DUAL_WRITE, _S.ROLLBACK_WAIT_FOR_BROKERS, _S.ROLLBACK_HAND_BACK}
    ),
    _S.DUAL_WRITE: frozenset(
        {
            _S.BECOME_CONTROLLER,
            _S.SYNC_KRAFT_TO_ZK,
            _S.ROLLBACK_WAIT_FOR_BROKERS,
            _S.ROLLBACK_HAND_BACK,
            _S.FINISHED,
        }
    ),
    _S.ROLLBACK_WAIT_FOR_BROKERS: frozenset(
        {_S.BECOME_CONTROLLER, _S.SYNC_KRAFT_TO_ZK, _S.DUAL_WRITE, _S.ROLLBACK_HAND_BACK}
    ),
    _S.ROLLBACK_HAND_BACK: frozenset({_S.BECOME_CONTROLLER, _S.SYNC_KRAFT_TO_ZK, _S.ROLLED_BACK}),
    _S.ROLLED_BACK: frozenset(),
    _S.FINISHED: frozenset(),
}
"""state -> what may follow, besides itself and INACTIVE."""


def check_move(now: DriverState, following: DriverState) -> None:
    """
    Raises:
        InvariantViolated: the table does not have this move.
    """
    allowed = following in (now, _S.INACTIVE) or following in TRANSITIONS[now]
    check(allowed, f"the migration driver cannot go from {now} to {following}")
