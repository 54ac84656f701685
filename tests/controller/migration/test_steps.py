"""Which step may be taken when."""

import uuid
from typing import Any

import attrs
import pytest

from quorate.controller.migration.steps import Already, Decision, Give, Refuse, decide
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder, MigrationOrderRecord, MigrationState
from quorate.metadata.wire.migration import ROLL_BACK, RUN, WITHDRAW

FIRST, SECOND = uuid.UUID(int=0x1111 << 64), uuid.UUID(int=0x2222 << 64)
WAIT, GO, BACK, HAND_BACK, GONE = MigrationOrder
NONE, MIGRATION, PRE, POST = (
    MigrationState.NONE,
    MigrationState.MIGRATION,
    MigrationState.PRE_MIGRATION,
    MigrationState.POST_MIGRATION,
)


def image(state: MigrationState, order: MigrationOrder | None, *, forced: bool = False) -> MetadataImage:
    given = None
    if order is not None:
        given = MigrationOrderRecord(
            order=order.value, attempt=FIRST, forced=forced, time_ms=1, operator="User:a"
        )
    return attrs.evolve(MetadataImage.EMPTY, migration=state, migration_order=given)


def decided(step: str, now: MetadataImage, **how: Any) -> Decision:
    how = {"forced": False, "attempt": ZERO_UUID, **how}
    return decide(now, step, new_attempt=lambda: SECOND, **how)


def outcome(decision: Decision) -> object:
    """The order, None where it was given already, False where it is refused."""
    match decision:
        case Give():
            return decision.order
        case Already():
            return None
        case Refuse():
            return False


@pytest.mark.parametrize(
    ("state", "order", "run", "rollback", "withdraw"),
    [
        (NONE, None, False, False, False),
        (PRE, None, GO, BACK, None),
        (PRE, WAIT, GO, BACK, None),
        (PRE, GO, None, BACK, WAIT),
        (PRE, BACK, False, None, WAIT),
        (PRE, HAND_BACK, False, None, False),
        (PRE, GONE, False, None, False),
        (MIGRATION, GO, None, BACK, False),
        (MIGRATION, BACK, False, None, GO),
        (MIGRATION, HAND_BACK, False, None, False),
        (MIGRATION, GONE, False, None, False),
        (POST, GO, None, False, False),
    ],
)
def test_every_step_in_every_situation(
    state: MigrationState, order: MigrationOrder | None, run: object, rollback: object, withdraw: object
) -> None:
    now = image(state, order)
    assert outcome(decided(RUN, now)) == run
    assert outcome(decided(ROLL_BACK, now)) == rollback
    assert outcome(decided(WITHDRAW, now)) == withdraw


def test_a_new_run_is_a_new_attempt_and_the_way_back_belongs_to_the_one_under_way() -> None:
    """/migration of an earlier attempt must never be taken for this one's."""
    assert decided(RUN, image(PRE, WAIT)) == Give(GO, SECOND, False, WAIT)
    assert decided(ROLL_BACK, image(MIGRATION, GO)) == Give(BACK, FIRST, False, GO)


def test_force_is_added_to_an_order_that_waits() -> None:
    assert decided(RUN, image(PRE, GO), forced=True) == Give(GO, FIRST, True, GO)
    assert isinstance(decided(RUN, image(PRE, GO, forced=True), forced=True), Already)
    assert decided(ROLL_BACK, image(MIGRATION, BACK), forced=True) == Give(BACK, FIRST, True, BACK)


def test_who_means_another_attempt_is_refused() -> None:
    assert isinstance(decided(ROLL_BACK, image(MIGRATION, GO), attempt=SECOND), Refuse)
    assert isinstance(decided(ROLL_BACK, image(MIGRATION, GO), attempt=FIRST), Give)


def test_an_unknown_step() -> None:
    assert isinstance(decided("dance", image(PRE, WAIT)), Refuse)
