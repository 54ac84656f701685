"""A cluster of real processes on loopback: started, watched, killed, restarted, stopped in order.

The one launcher: `quorate dev`, `quorate demo`, the end-to-end tests and the benchmarks all use it.

    with HeldPorts() as ports:
        files = lay_out(directory, ports, random.Random())
        async with running(files) as cluster:
            await cluster.ready(within_s=10)
            cluster.node(1).kill()

Each node is `quorate controller start` or `quorate broker start` in a process and session of its own: Ctrl-C in a
terminal reaches the launcher alone, which then stops them in order. A node's standard input is a pipe from the
launcher: should that be killed, the pipe closes and the node shuts itself down, so that none is ever left behind.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import trio

from quorate.admin.child_process import ChildProcess
from quorate.admin.cluster_files import ClusterFiles, NodeFiles
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.readiness import Readiness, look
from quorate.metadata.ids import NodeId

STOP_AT_EOF: Final = "--stop-at-eof"
STOP_WITHIN_S: Final = 20.0
"""So long may an orderly stop take; then the process is killed."""
_LOOK_AGAIN_S: Final = 0.02
_LAST_WORDS: Final = 12


class Node(Protocol):
    """What a launcher can do with a node, in whatever it runs."""

    files: NodeFiles

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int | None:
        """Of the process that it runs in; None: it does not run."""
        ...

    @property
    def running(self) -> bool: ...

    @property
    def ended_by_itself(self) -> bool:
        """It was started, nobody here told it to end, and it has."""
        ...

    async def start(self) -> None:
        """Starts it unless it runs; whether it is of any use is `Cluster.ready`'s question."""
        ...

    def kill(self) -> None:
        """Ends it without a chance to do anything more."""
        ...

    def terminate(self) -> None:
        """Tells it to shut down in order."""
        ...

    async def wait(self) -> int:
        """How it ended: an exit code, or minus a signal."""
        ...

    async def stop(self, within_s: float) -> int:
        """Shuts it down in order, or kills it if that takes too long."""
        ...

    def last_words(self) -> str:
        """The end of what it said."""
        ...


class NodeProcess(ChildProcess[NodeFiles]):
    """One node and, while it runs, its process. Whether it is of any use is `Cluster.ready`'s question."""

    stop_within_s = STOP_WITHIN_S
    _stdin = subprocess.PIPE

    def _command(self) -> list[str]:
        return [*command(self.files), STOP_AT_EOF]

    def _environment(self) -> dict[str, str]:
        """QUORATE_* variables would override the same key of every node: they are for one node's own start."""
        return {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}

    async def start(self) -> None:
        if not self.running:
            await self._forget()
            await super().start()

    async def wait(self) -> int:
        code = await super().wait()
        await self._forget()
        return code

    def last_words(self) -> str:
        """The end of what it said."""
        return "\n".join(self.lines()[-_LAST_WORDS:])

    async def _forget(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            await process.stdin.aclose()


NodeOfCluster = TypeVar("NodeOfCluster", bound=Node)


class Cluster(Generic[NodeOfCluster]):
    """The nodes of a cluster. Made by `running`."""

    def __init__(self, files: ClusterFiles, make_node: Callable[[NodeFiles], NodeOfCluster]) -> None:
        self.files = files
        self.nodes = {node.id: make_node(node) for node in files.nodes}
        self._login = files.login()

    @property
    def controllers(self) -> list[NodeOfCluster]:
        return [self.nodes[files.id] for files in self.files.controllers]

    @property
    def brokers(self) -> list[NodeOfCluster]:
        return [self.nodes[files.id] for files in self.files.brokers]

    def node(self, id: int) -> NodeOfCluster:
        return self.nodes[NodeId(id)]

    async def start(self) -> None:
        """Starts every node that does not run."""
        for node in self.nodes.values():
            await node.start()

    async def ready(self, *, within_s: float) -> Readiness:
        """Waits until a leader acknowledges, every running controller follows it and every running broker serves.

        Asks the nodes themselves, over the protocol that clients use.

        Raises:
            Refused: a node's process has ended.
            NoAnswer: not ready in time; the text says what was missing.
        """
        found: Readiness | None = None
        with trio.move_on_after(within_s):
            while True:
                found = await look(
                    self._running_files(self.controllers), self._running_files(self.brokers), self._login
                )
                await self._check_alive()  # also when all is well: who has ended was not even asked
                if found.missing is None:
                    return found
                await trio.sleep(_LOOK_AGAIN_S)
        raise NoAnswer(
            f"The cluster was not ready within {within_s:g} s.",
            where=str(self.files.directory),
            why=found.missing if found is not None else "no node answered at all",
            remedy="read what the nodes say in the *.log files there",
        )

    async def stop(self) -> None:
        """Brokers first, so that controllers are there to let them go; then the controllers."""
        for role in (self.brokers, self.controllers):
            await _all_at_once(role)

    def kill_all(self) -> None:
        """All at once, as when the power goes."""
        for node in self.nodes.values():
            node.kill()

    async def _check_alive(self) -> None:
        for node in self.nodes.values():
            if node.ended_by_itself:
                raise ended(node, await node.wait())

    @staticmethod
    def _running_files(nodes: Iterable[Node]) -> list[NodeFiles]:
        return [node.files for node in nodes if node.running]


def ended(node: Node, code: int) -> Refused:
    """What to say of a node that ended without being told to by its launcher."""
    start = f"quorate {node.files.role} start {node.files.config}"
    if code < 0:
        name = signal.Signals(-code).name
        return Refused(f"{node.name} was ended by {name}.", remedy=f"start it again with: {start}")
    return Refused(
        f"{node.name} has ended (exit code {code}).",
        where=str(node.files.log),
        why=f"its last words were:\n{node.last_words()}",
        remedy=f"mend that, then start it with: {start}",
    )


@contextlib.asynccontextmanager
async def running(files: ClusterFiles) -> AsyncIterator[Cluster[NodeProcess]]:
    """Starts all nodes; at the end, however it comes, stops them in order."""
    cluster = Cluster(files, NodeProcess)
    try:
        await cluster.start()
        yield cluster
    finally:
        with trio.CancelScope(shield=True):
            await cluster.stop()


async def _all_at_once(nodes: Sequence[Node]) -> None:
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.stop, STOP_WITHIN_S)


def command(files: NodeFiles) -> list[str]:
    """How a node is started by this very installation. -P: whatever lies in the current directory is not imported."""
    return [sys.executable, "-P", "-m", "quorate.admin", files.role, "start", str(files.config)]
