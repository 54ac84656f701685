"""Answers those who steer the migration (`metadata.wire.migration`): at the active controller, which has the driver
(shell)."""

import uuid
from collections.abc import Callable
from typing import Final

import trio

from quorate.controller.migration import operations
from quorate.controller.migration.driver import MigrationDriver
from quorate.controller.migration.office import Office
from quorate.controller.migration.states import DriverState
from quorate.controller.migration.steps import Give, Refuse, decide
from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.wire.migration import FINALIZE, STATUS, SteerMigrationRequest, SteerMigrationResponse

_FINALIZE_S: Final = 60.0
_QUEUE: Final = 100


class Steering:
    """`submit` at any time; `run` answers, and drives."""

    def __init__(self, driver: MigrationDriver, office: Office, new_attempt: Callable[[], uuid.UUID]) -> None:
        self.driver: Final = driver
        self._office = office
        self._new_attempt = new_attempt
        self._send, self._receive = trio.open_memory_channel[Call](_QUEUE)

    def submit(self, call: Call) -> None:
        try:
            self._send.send_nowait(call)
        except trio.WouldBlock:
            call.reject(
                ErrorCode.request_timed_out, f"{_QUEUE} others ask about the migration; try again later"
            )

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.driver.run)
            async for call in self._receive:
                nursery.start_soon(self._answer, call)

    async def _answer(self, call: Call) -> None:
        try:
            call.answer(await self.steer(call.request, call.principal))
        except RequestRejected as refusal:
            call.reject(refusal.code, refusal.message)

    async def steer(self, request: SteerMigrationRequest, principal: str) -> SteerMigrationResponse:
        """Takes a step, and tells how things stand after it.

        Raises:
            RequestRejected: NOT_CONTROLLER, or INVALID_REQUEST with the reason.
        """
        epoch = self._office.epoch
        if epoch is None:
            raise RequestRejected(
                ErrorCode.not_controller, "This node is not the active controller; nothing was done."
            )
        if request.step == FINALIZE:
            await self._finalize(validate_only=request.validate_only)
        elif request.step != STATUS:
            decision = decide(
                self._office.image,
                request.step,
                forced=request.forced,
                attempt=request.attempt,
                new_attempt=self._new_attempt,
            )
            match decision:
                case Refuse():
                    raise RequestRejected(ErrorCode.invalid_request, decision.why)
                case Give() if not request.validate_only:
                    order = operations.give_order(
                        decision.order,
                        decision.attempt,
                        forced=decision.forced,
                        operator=principal,
                        expected=decision.expected,
                    )
                    await self._office.write(epoch, f"migration order {decision.order.name}", order)
                case _:
                    pass
        return SteerMigrationResponse(offset=self._office.image.offset, status=self.driver.status())

    async def _finalize(self, *, validate_only: bool) -> None:
        if self._is_finished():
            return
        against = self.driver.reasons_against_end()
        if against:
            raise RequestRejected(
                ErrorCode.invalid_request, "It cannot be finalized yet: " + "; ".join(against)
            )
        if validate_only:
            return
        board = self.driver.board
        mishaps = board.mishaps
        with trio.move_on_after(_FINALIZE_S):
            await self.driver.end()
        if not self._is_finished():
            why = board.mishap.text if board.mishap is not None and board.mishaps > mishaps else board.why
            raise RequestRejected(
                ErrorCode.invalid_request, f"It was not finalized, and nothing was changed: {why}"
            )

    def _is_finished(self) -> bool:
        return self.driver.board.state is DriverState.FINISHED
