"""A cluster whose nodes all live in this process and share its event loop: `quorate dev --in-process`.

They are whole nodes, with directories, ports and elections of their own; only the processes are missing. Killing
one ends its tasks without a word to the others, which is as near to SIGKILL as a part of a process can get. What
they say goes to one file, each line with its node's name.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Final, TextIO

import structlog
import trio

from quorate.admin.cluster import Cluster
from quorate.admin.cluster_files import ClusterFiles, NodeFiles
from quorate.admin.explain import translate
from quorate.admin.logs import configure_logs
from quorate.broker.config import BrokerConfig
from quorate.broker.main import run_broker
from quorate.controller.config import ControllerConfig
from quorate.controller.main import run_controller

LOG: Final = "nodes.log"

_log = structlog.get_logger("process")


class NodeTask:
    """One node and, while it runs, its tasks. See `cluster.Node`."""

    def __init__(self, files: NodeFiles, nursery: trio.Nursery, log: TextIO) -> None:
        self.files = files
        self._log = log
        self._nursery = nursery
        self._life: trio.CancelScope | None = None
        self._stop = trio.Event()
        self._ended = trio.Event()
        self._last_words = ""
        self._told_to_end = False

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def pid(self) -> int | None:
        return os.getpid() if self.running else None

    @property
    def running(self) -> bool:
        return self._life is not None and not self._ended.is_set()

    @property
    def ended_by_itself(self) -> bool:
        return self._ended.is_set() and not self._told_to_end

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.running:
            return
        self._told_to_end = False
        self._stop, self._ended, self._life = trio.Event(), trio.Event(), trio.CancelScope()
        self._nursery.start_soon(self._live, self._life, self._stop, self._ended)

    def kill(self) -> None:
        self._told_to_end = True
        if self._life is not None:
            self._life.cancel()

    def terminate(self) -> None:
        self._told_to_end = True
        self._stop.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return 1 if self._last_words else 0

    async def stop(self, within_s: float) -> int:
        if self._life is None:
            return 0
        self.terminate()
        with trio.move_on_after(within_s):
            return await self.wait()
        self.kill()
        return await self.wait()

    def last_words(self) -> str:
        return self._last_words

    async def _live(self, life: trio.CancelScope, stop: trio.Event, ended: trio.Event) -> None:
        self._last_words = ""
        structlog.contextvars.bind_contextvars(who=self.name)  # the tasks that come from this one inherit it
        try:
            with life:
                await self._run(stop)
        except Exception as error:  # noqa: BLE001 - one node's end is not the end of its fellows
            self._last_words = translate(error).text()
            _log.error("a node has ended", node=self.name, exc_info=error)
        finally:
            ended.set()

    async def _run(self, stop: trio.Event) -> None:
        if self.files.role == "controller":
            controller, _ = ControllerConfig.load(self.files.config, {})
            configure_logs(controller, self._log)
            await run_controller(controller, stop=stop)
        else:
            broker, _ = BrokerConfig.load(self.files.config, {})
            configure_logs(broker, self._log)
            await run_broker(broker, stop=stop)


@contextlib.asynccontextmanager
async def running_in_process(files: ClusterFiles) -> AsyncIterator[Cluster[NodeTask]]:
    """As `cluster.running`, in this event loop."""
    failure: Exception | None = None
    with (files.directory / LOG).open("a", buffering=1) as log:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(files, lambda node: NodeTask(node, nursery, log))
            try:
                await cluster.start()
                yield cluster
            except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    await cluster.stop()
    if failure is not None:
        raise failure
