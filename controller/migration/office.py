"""The active controller, as the migration driver sees it (shell).

What the driver writes goes through the same queue, speculation and purgatory as every request, so that it can neither
overtake nor be overtaken, and nothing of it is believed before it is committed.
"""

import math
from collections.abc import Iterable
from typing import Any, Final, Protocol

import attrs
import trio

from quorate.controller.context import NEWEST_API_VERSION
from quorate.controller.machine import ControllerMachine
from quorate.controller.migration.operations import Operation
from quorate.controller.requests import OwnOperation, PendingRequest
from quorate.metadata.checks import RequestRejected
from quorate.metadata.ids import Epoch, NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.node import now_ms

_DEADLINE_MS: Final = 300_000
"""As Kafka waits for a batch of the copy."""


class Office(Protocol):
    """What a driver needs of the controller that it belongs to."""

    @property
    def node_id(self) -> int: ...

    @property
    def epoch(self) -> Epoch | None:
        """In which this node is the active controller; None while it is not."""
        ...

    @property
    def image(self) -> MetadataImage:
        """The committed one."""
        ...

    @property
    def voters(self) -> Iterable[int]: ...

    async def write(self, epoch: Epoch, name: str, operation: Operation, *, settles: bool = False) -> None:
        """Returns when it is committed.

        Raises:
            RequestRejected: nothing was written; NOT_CONTROLLER if the office of that epoch was lost.
        """
        ...

    async def changed(self) -> None:
        """Returns when the committed image or the office is another one than when it was called, or a little later."""
        ...

    def moved(self) -> None:
        """Wakes everybody who waits in `changed`."""
        ...

    def resign(self, epoch: Epoch, why: str) -> None: ...


@attrs.define(eq=False)
class _Waiter:
    """The token of an own operation."""

    done: trio.Event = attrs.field(factory=trio.Event)
    refusal: RequestRejected | None = None

    def answer(self, response: Any) -> None:
        self.refusal = response
        self.done.set()


class MachineOffice:
    """An `Office` on a controller's machine, which calls `moved` when something changed."""

    def __init__(self, machine: ControllerMachine, node_id: NodeId) -> None:
        self.node_id: Final = node_id
        self._machine = machine
        self._news = trio.Event()

    @property
    def epoch(self) -> Epoch | None:
        return self._machine.active.active_epoch

    @property
    def image(self) -> MetadataImage:
        return self._machine.image

    @property
    def voters(self) -> Iterable[int]:
        return self._machine.node.voters.last.ids

    def moved(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def write(self, epoch: Epoch, name: str, operation: Operation, *, settles: bool = False) -> None:
        waiter = _Waiter()
        self._machine.submit(
            PendingRequest(
                request=OwnOperation(name=name, epoch=epoch, run=operation, settles=settles),
                token=waiter,
                deadline_ms=now_ms() + _DEADLINE_MS,
                api_version=NEWEST_API_VERSION,
            )
        )
        await waiter.done.wait()
        if waiter.refusal is not None:
            raise waiter.refusal

    async def changed(self) -> None:
        await self._news.wait()

    def resign(self, epoch: Epoch, why: str) -> None:
        self._machine.node.resign(epoch, why)


async def wait_for_news(office: Office, at_most_s: float = math.inf) -> None:
    """Until something changed, or for so long."""
    with trio.move_on_after(at_most_s):
        await office.changed()
