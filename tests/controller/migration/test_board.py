"""What the driver tells: moves that the table has, rates, what is lacking since when."""

import json

import attrs
import pytest

from quorate.controller.migration.board import WHAT_TO_DO, Board
from quorate.controller.migration.states import TRANSITIONS, DriverState, check_move
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder, MigrationOrderRecord, MigrationState
from tests.controller.migration.test_steps import FIRST

S = DriverState


@pytest.mark.parametrize("now", S)
@pytest.mark.parametrize("following", S)
def test_a_move_outside_the_table_raises_and_changes_nothing(now: S, following: S) -> None:
    board = Board(state=now, since_wall_ms=7, why="before")
    board.begin("topics", 3, 0)
    if following in (now, S.INACTIVE) or following in TRANSITIONS[now]:
        assert board.move(following, "after", 9, ["broker 2"]) is (following is not now)
        assert (board.state, board.why, board.waiting_for) == (following, "after", ("broker 2",))
        assert board.since_wall_ms == (7 if following is now else 9)
        assert bool(board.progress) is (following is now), "progress is that of one state"
    else:
        with pytest.raises(InvariantViolated, match=f"cannot go from {now} to {following}"):
            board.move(following, "after", 9)
        assert (board.state, board.why, board.since_wall_ms) == (now, "before", 7)


def test_the_last_states_have_no_way_on() -> None:
    """Whoever has kept the cluster does not give it back, and whoever has given it back does not write any more."""
    for last in (S.FINISHED, S.ROLLED_BACK):
        assert TRANSITIONS[last] == frozenset()
        with pytest.raises(InvariantViolated):
            check_move(last, S.DUAL_WRITE)


def test_nothing_is_written_to_zookeeper_before_a_claim() -> None:
    """Each way to a state that writes leads through BECOME_CONTROLLER, in this office."""
    writing = {S.ZK_MIGRATION, S.SYNC_KRAFT_TO_ZK, S.DUAL_WRITE, S.ROLLBACK_WAIT_FOR_BROKERS}
    came_from = {state: {now for now, following in TRANSITIONS.items() if state in following} for state in S}
    for state in writing:
        before_it = came_from[state] - writing - {S.ROLLBACK_HAND_BACK}
        assert before_it <= {S.BECOME_CONTROLLER, S.INACTIVE}, state
        # INACTIVE -> ROLLBACK_WAIT_FOR_BROKERS is in the table; nothing else may come without a claim
        assert S.INACTIVE not in came_from[state] or state is S.ROLLBACK_WAIT_FOR_BROKERS


def test_every_state_can_be_reached_and_says_what_to_do() -> None:
    reached, new = {S.INACTIVE}, {S.INACTIVE}
    while new:
        new = {following for state in new for following in TRANSITIONS[state]} - reached
        reached |= new
    assert reached == set(S)
    assert WHAT_TO_DO.keys() == TRANSITIONS.keys() == set(S)


def test_rates_and_what_is_left() -> None:
    board = Board()
    progress = board.begin("topics", 100, 5_000)
    assert progress.document() == {"done": 0, "total": 100, "per_second": None, "seconds_left": None}

    progress.done, progress.last_ms = 40, 7_000
    assert progress.document() == {"done": 40, "total": 100, "per_second": 20.0, "seconds_left": 3.0}

    progress.done, progress.last_ms = 100, 10_000
    assert progress.document() == {"done": 100, "total": 100, "per_second": 20.0, "seconds_left": 0.0}
    assert board.begin("topics", 20, 11_000) is progress, "more of the same is counted with it"
    assert progress.total == 120


def test_the_lag_counts_from_the_first_record_that_zookeeper_lacks() -> None:
    image = _at(50)
    board = Board(written_offset=40)
    assert board.document(image, 9_000, (1,))["zookeeper"]["lag_records"] == 0, (
        "nothing is known to be lacking"
    )

    board.behind_since_wall_ms = 8_500
    told = board.document(image, 9_000, (1,))["zookeeper"]
    assert (told["lag_records"], told["lag_ms"], told["written_offset"]) == (10, 500, 40)


def test_the_last_error_stays_with_the_state_it_happened_in() -> None:
    board = Board(state=S.DUAL_WRITE)
    board.failed("the session has ended", "/controller_epoch", 10)
    board.failed("no connection", "", 20)
    board.move(S.INACTIVE, "another controller is active", 30)

    assert board.document(_at(1), 40, ())["last_error"] == {
        "state": "DUAL_WRITE", "text": "no connection", "path": "", "ms": 20, "errors": 2,
    }  # fmt: skip


def test_the_document_says_which_controllers_and_brokers_are_there() -> None:
    told = Board().document(_at(3), 0, (3000, 3001))

    assert told["controllers"] == [
        {"id": 3000, "registered": False, "ready": False},
        {"id": 3001, "registered": False, "ready": False},
    ]
    assert told["brokers"] == []
    assert told["log"]["migration_state"] == "PRE_MIGRATION"
    assert told["log"]["order"] == "RUN"
    assert told["log"]["ordered_by"] == "User:a"
    assert json.loads(json.dumps(told)) == told


def _at(offset: int) -> MetadataImage:
    order = MigrationOrderRecord(
        order=MigrationOrder.RUN.value, attempt=FIRST, forced=False, time_ms=1, operator="User:a"
    )
    where = attrs.evolve(MetadataImage.EMPTY.provenance, offset=offset)
    return attrs.evolve(
        MetadataImage.EMPTY,
        provenance=where,
        migration=MigrationState.PRE_MIGRATION,
        migration_order=order,
    )
