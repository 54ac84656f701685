"""Orders and questions about the migration, at the active controller: what is accepted, refused, and told."""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio

from quorate.controller.migration.states import DriverState
from quorate.controller.migration.steering import Steering
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import uuid_to_text
from quorate.metadata.records import MigrationOrder, MigrationState
from quorate.metadata.wire.migration import (
    FINALIZE,
    ROLL_BACK,
    RUN,
    STATUS,
    WITHDRAW,
    SteerMigrationRequest,
)
from tests.controller.migration.bench import ATTEMPT, Migration, real_tree

S = DriverState
SMALL = real_tree("small.jsonl")
NEW = uuid.UUID(int=0x4E << 64)
OPERATOR = "User:operator"


def steering(made: Migration) -> Steering:
    return Steering(made.driver, made.seat, lambda: NEW)


async def steer(made: Migration, step: str, **how: Any) -> dict[str, Any]:
    response = await steering(made).steer(SteerMigrationRequest(step=step, **how), OPERATOR)
    assert response.error_code is ErrorCode.none
    assert response.offset == made.quorum.image.offset
    document: dict[str, Any] = json.loads(response.status)
    return document


async def refused(made: Migration, step: str, **how: Any) -> RequestRejected:
    before = made.quorum.image
    with pytest.raises(RequestRejected) as caught:
        await steer(made, step, **how)
    assert made.quorum.image is before, "what was refused is not in the log"
    return caught.value


def ready(**how: Any) -> Migration:
    made = Migration(tree=SMALL, **how)
    made.quorum.register(1, 2, 3)
    return made


async def copied() -> Migration:
    made = ready()
    made.quorum.order(MigrationOrder.RUN)
    await made.until(S.DUAL_WRITE)
    return made


@contextlib.asynccontextmanager
async def driven(made: Migration) -> AsyncIterator[Callable[[S], Any]]:
    """A driver runs in the background, as in a process that was started again; what is given waits for a state."""
    made.replace_driver()

    async def until(state: S) -> None:
        with trio.fail_after(300):
            while made.state is not state:  # noqa: ASYNC110  virtual time
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.driver.run)
        yield until
        nursery.cancel_scope.cancel()


async def test_the_status_is_one_document_with_keys_that_stay(autojump_clock: object) -> None:
    made = await copied()
    told = await steer(made, STATUS)

    assert told.keys() == {
        "state", "since_ms", "for_seconds", "why", "waiting_for", "what_to_do", "log", "zookeeper", "progress",
        "copied", "verified", "blockers", "last_error", "controllers", "brokers",
    }  # fmt: skip
    assert told["state"] == "DUAL_WRITE"
    assert told["log"]["attempt"] == uuid_to_text(ATTEMPT)
    assert told["copied"].keys() == {"records", "by_type", "batches", "ms", "offset", "epoch", "brokers"}
    assert told["controllers"] == [{"id": 3000, "registered": True, "ready": True}]
    assert [one["mode"] for one in told["brokers"]] == ["zookeeper"] * 3


@pytest.mark.parametrize("step", [STATUS, RUN, ROLL_BACK, WITHDRAW, FINALIZE])
async def test_a_standby_answers_nothing_so_that_the_client_asks_another(
    step: str, autojump_clock: object
) -> None:
    made = ready()
    made.seat.frozen = None, made.quorum.image

    refusal = await refused(made, step)

    assert refusal.code is ErrorCode.not_controller


async def test_run_puts_an_order_into_the_log_with_a_new_attempt_and_who_gave_it(
    autojump_clock: object,
) -> None:
    made = ready()
    told = await steer(made, RUN, forced=True)

    order = made.quorum.image.migration_order
    assert order is not None
    assert (order.order, order.attempt, order.forced, order.operator) == (
        MigrationOrder.RUN.value, NEW, True, OPERATOR,
    )  # fmt: skip
    assert told["log"] | {"offset": 0, "ordered_ms": 0} == {
        "migration_state": "PRE_MIGRATION", "offset": 0, "order": "RUN", "attempt": uuid_to_text(NEW),
        "ordered_by": OPERATOR, "ordered_ms": 0,
    }  # fmt: skip


async def test_a_second_run_changes_nothing(autojump_clock: object) -> None:
    made = ready()
    await steer(made, RUN)
    before = made.quorum.image
    await steer(made, RUN)
    assert made.quorum.image is before


@pytest.mark.parametrize("step", [RUN, ROLL_BACK])
async def test_validate_only_changes_nothing(step: str, autojump_clock: object) -> None:
    made = ready()
    before = made.quorum.image
    assert (await steer(made, step, validate_only=True))["log"]["order"] == "WAIT"
    assert made.quorum.image is before


async def test_an_order_to_run_is_withdrawn_before_the_copy_and_not_after_it(autojump_clock: object) -> None:
    made = ready()
    await steer(made, RUN)
    assert (await steer(made, WITHDRAW))["log"]["order"] == "WAIT"

    refusal = await refused(await copied(), WITHDRAW)
    assert refusal.code is ErrorCode.invalid_request
    assert "quorate migrate rollback" in refusal.message


async def test_another_attempt_than_the_one_under_way_is_refused(autojump_clock: object) -> None:
    refusal = await refused(await copied(), ROLL_BACK, attempt=NEW)
    assert refusal.code is ErrorCode.invalid_request
    assert "Another attempt" in refusal.message


async def test_rollback_leads_to_the_end_and_cannot_be_withdrawn_from_there(autojump_clock: object) -> None:
    made = await copied()
    async with driven(made) as until:
        await steer(made, ROLL_BACK)
        await until(S.ROLLED_BACK)
        told = await steer(made, ROLL_BACK)
        assert told["state"] == "ROLLED_BACK"
        for step in (RUN, WITHDRAW):
            assert "cannot take it over a second time" in (await refused(made, step)).message


async def test_a_rollback_that_waits_is_withdrawn(autojump_clock: object) -> None:
    made = await copied()
    made.quorum.register(1, migrating=False, life=1)
    async with driven(made) as until:
        await until(S.DUAL_WRITE)
        await steer(made, ROLL_BACK)
        await until(S.ROLLBACK_WAIT_FOR_BROKERS)
        assert (await steer(made, STATUS))["waiting_for"] == ["broker 1 runs in KRaft mode"]
        assert "Withdraw it first" in (await refused(made, RUN)).message
        await steer(made, WITHDRAW)
        await until(S.DUAL_WRITE)


async def test_finalize_is_refused_with_every_reason_while_brokers_are_in_zookeeper_mode(
    autojump_clock: object,
) -> None:
    made = await copied()
    async with driven(made) as until:
        await until(S.DUAL_WRITE)
        for validate_only in (True, False):
            refusal = await refused(made, FINALIZE, validate_only=validate_only)
            assert refusal.code is ErrorCode.invalid_request
            for broker in (1, 2, 3):
                assert f"broker {broker} runs in ZooKeeper mode" in refusal.message


async def test_finalize_is_refused_before_the_copy(autojump_clock: object) -> None:
    refusal = await refused(ready(), FINALIZE)
    assert "not in DUAL_WRITE" in refusal.message


async def test_finalize_keeps_the_cluster_and_says_so_again_when_asked_again(autojump_clock: object) -> None:
    made = await copied()
    await made.move_brokers_to_the_quorum()
    async with driven(made) as until:
        await until(S.DUAL_WRITE)
        before = made.quorum.image
        await steer(made, FINALIZE, validate_only=True)
        assert made.quorum.image is before
        assert (await steer(made, FINALIZE))["state"] == "FINISHED"
        assert made.quorum.image.migration is MigrationState.POST_MIGRATION
        assert (await steer(made, FINALIZE))["state"] == "FINISHED"
        assert "no way back" in (await refused(made, ROLL_BACK)).message


async def test_finalize_is_refused_when_zookeeper_says_something_else(autojump_clock: object) -> None:
    made = await copied()
    await made.move_brokers_to_the_quorum()
    async with driven(made) as until:
        await until(S.DUAL_WRITE)
        session = made.server.connect()
        await session.create("/config/users/mallory", b'{"version":1,"config":{"producer_byte_rate":"1"}}')
        with pytest.raises(RequestRejected, match="nothing was changed: both sides differ"):
            await steer(made, FINALIZE)
        assert made.quorum.image.migration is MigrationState.MIGRATION
        assert made.driver.document()["verified"]["equal"] is False


@attrs.define
class _Call:
    """A request that waits for its answer."""

    request: SteerMigrationRequest
    principal: str = OPERATOR
    outcome: Any = None
    done: trio.Event = attrs.Factory(trio.Event)

    def answer(self, response: Any) -> None:
        self.outcome = response
        self.done.set()

    def reject(self, code: ErrorCode, message: str | None = None) -> None:
        self.outcome = code
        self.done.set()


async def test_calls_are_answered_beside_each_other_and_too_many_are_refused(autojump_clock: object) -> None:
    """A finalize that waits for ZooKeeper must not keep anybody from the status."""
    made = ready()
    one = steering(made)
    calls = [_Call(SteerMigrationRequest(step=step)) for step in (STATUS, "dance", WITHDRAW)]
    for call in calls:
        one.submit(call)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        for call in calls:
            await call.done.wait()
        nursery.cancel_scope.cancel()
    assert json.loads(calls[0].outcome.status)["state"] == "INACTIVE"
    assert calls[1].outcome is ErrorCode.invalid_request
    assert calls[2].outcome.error_code is ErrorCode.none

    many = [_Call(SteerMigrationRequest()) for _ in range(101)]
    for call in many:
        one.submit(call)  # type: ignore[arg-type]
    assert [call.outcome for call in many] == [None] * 100 + [ErrorCode.request_timed_out]
