"""Which step an operator may take now (pure).

Each step is idempotent: a second `run` while one is under way is answered with its status. Each is refused unless it
makes sense, with what to do instead.
"""

import uuid
from collections.abc import Callable

import attrs

from quorate.controller.migration.operations import order_of
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.wire.migration import ROLL_BACK, RUN, WITHDRAW


@attrs.frozen
class Give:
    """An order to put into the log."""

    order: MigrationOrder
    attempt: uuid.UUID
    forced: bool
    expected: MigrationOrder


@attrs.frozen
class Refuse:
    """Nothing is done, and why."""

    why: str


@attrs.frozen
class Already:
    """Nothing is left to do."""


Decision = Give | Refuse | Already

_OVER = "The migration is over: the quorum has the cluster for good."
_NEVER = (
    "This cluster's log was begun without zookeeper.metadata.migration.enable: there is nothing to migrate. Format new "
    "directories for the controllers and start them with the flag."
)
_GONE = (
    "The cluster was given back to ZooKeeper, and this quorum's log cannot take it over a second time. Stop the "
    "controllers, format new directories for them and start them again."
)


def decide(
    image: MetadataImage, step: str, *, forced: bool, attempt: uuid.UUID, new_attempt: Callable[[], uuid.UUID]
) -> Decision:
    """What becomes of RUN, ROLL_BACK or WITHDRAW. `attempt`: zero, or the only one that is meant."""
    if image.migration is MigrationState.NONE:
        return Refuse(_NEVER)
    given, now = image.migration_order, order_of(image)
    current = None if given is None else given.attempt
    if attempt.int and attempt != current:
        return Refuse("Another attempt at the migration is under way, or none; look at the status.")
    if step != RUN and image.migration is MigrationState.POST_MIGRATION:
        return Refuse(f"{_OVER} There is no way back to ZooKeeper from here.")
    match step:
        case _ if now is MigrationOrder.ROLLED_BACK:
            return Already() if step == ROLL_BACK else Refuse(_GONE)
        case _ if now is MigrationOrder.HAND_BACK:
            return (
                Already()
                if step == ROLL_BACK
                else Refuse("The cluster is being given back to ZooKeeper this moment.")
            )
        case "run":
            return _run(image, now, current or new_attempt(), new_attempt, forced)
        case "rollback":
            if now is MigrationOrder.ROLL_BACK and (not forced or (given is not None and given.forced)):
                return Already()
            return Give(MigrationOrder.ROLL_BACK, current or new_attempt(), forced, now)
        case "withdraw":
            return _withdraw(image, now, current)
        case _:
            return Refuse(f"There is no step {step!r}; there are {RUN}, {ROLL_BACK} and {WITHDRAW}.")


def _run(
    image: MetadataImage,
    now: MigrationOrder,
    current: uuid.UUID,
    new_attempt: Callable[[], uuid.UUID],
    forced: bool,
) -> Decision:
    if now is MigrationOrder.ROLL_BACK:
        return Refuse(
            "An order to roll back was given. Withdraw it first (`quorate migrate rollback --withdraw`)."
        )
    given = image.migration_order
    stronger = (
        forced and given is not None and not given.forced and image.migration is MigrationState.PRE_MIGRATION
    )
    if now is MigrationOrder.RUN and not stronger:
        return Already()
    return Give(MigrationOrder.RUN, current if now is MigrationOrder.RUN else new_attempt(), forced, now)


def _withdraw(image: MetadataImage, now: MigrationOrder, current: uuid.UUID | None) -> Decision:
    if now is MigrationOrder.WAIT or current is None:
        return Already()
    copied = image.migration is MigrationState.MIGRATION
    if now is MigrationOrder.RUN and copied:
        return Refuse(
            "The metadata was copied already: what leads back from here is `quorate migrate rollback`."
        )
    return Give(MigrationOrder.RUN if copied else MigrationOrder.WAIT, current, False, now)
