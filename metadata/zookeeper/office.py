"""The controller's office in ZooKeeper mode, as a broker sees it: it runs one, and does not know what is inside.

Every broker in that mode stands for the office. Whoever holds it answers everything that any broker's client asks,
reads included, because the others have no image. `admin` puts broker and office together.
"""

from collections.abc import Callable, Iterable, Set
from typing import Protocol

import trio

from quorate.metadata.calls import Call
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.metrics.declared import Sample
from quorate.metadata.zookeeper.interface import ZooKeeper


class ControllerOffice(Protocol):
    """One broker's part in it."""

    @property
    def serves(self) -> Set[int]:
        """The keys of the APIs that it answers in Envelopes while it is held."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stands for the office, holds it, stands again; until cancelled or left."""
        ...

    async def leave(self) -> None:
        """Gives the office up in order, and stands no more; `run` returns. Harmless without it."""
        ...

    def image(self) -> MetadataImage | None:
        """What answers rest on; None while the office is not held."""
        ...

    def samples(self) -> Iterable[Sample]:
        """What it tells in numbers."""
        ...

    def handle(self, envelope: Call, *, own: bool = False) -> None:
        """Answers an Envelope, now or later: NOT_CONTROLLER while this broker does not hold the office.

        `own`: it is this very broker's; others must have the right to send them.
        """
        ...


OfficeFactory = Callable[[ZooKeeper, str], ControllerOffice]
"""Given the session and the cluster's id."""
