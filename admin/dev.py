"""`quorate dev`: a cluster on loopback, kept running for development; its nodes are ordinary ones."""

import pathlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final

import trio
import typer

from quorate.admin import zookeeper_cluster
from quorate.admin.asking import looks_offline
from quorate.admin.cluster import Cluster, Node, ended, running
from quorate.admin.cluster_files import (
    DEFAULT_BROKERS,
    DEFAULT_CONTROLLERS,
    ClusterFiles,
    NodeFiles,
    Wanted,
    lay_out,
)
from quorate.admin.errors import WrongUsage
from quorate.admin.output import Printer, plural
from quorate.admin.ports import HeldPorts
from quorate.admin.readiness import Readiness

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_READY_WITHIN_S: Final = 60.0


@app.command("dev")
@looks_offline
def dev(
    printer: Printer,
    dir: Annotated[
        pathlib.Path,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where the cluster lives; made at first, found again at the next start.",
        ),
    ],
    controllers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=9, help=f"How many controllers a new cluster has; {DEFAULT_CONTROLLERS}."
        ),
    ] = None,
    brokers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=99,
            help=f"How many brokers to start; at first {DEFAULT_BROKERS}, then all.",
        ),
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="All nodes in this one process, instead of one process each.")
    ] = False,
    zookeeper: Annotated[
        bool,
        typer.Option(
            "--zookeeper",
            help="Brokers in ZooKeeper mode, on a ZooKeeper server of ours, instead of a quorum.",
        ),
    ] = False,
) -> None:
    """Runs a cluster on loopback until Ctrl-C or SIGTERM; the same DIR starts the same cluster again.

    With --output json one line is printed when it is ready: cluster_id, bootstrap, bootstrap_controllers, and each
    node's id, address, pid and config. A node can be killed, and started again with
    `quorate controller start CONFIG` or `quorate broker start CONFIG`.
    """
    if zookeeper:
        _without_quorum(controllers, in_process=in_process)
        with HeldPorts() as ports:
            on_zookeeper = zookeeper_cluster.lay_out(dir, ports, random.SystemRandom(), brokers=brokers)
            start = partial(_starting_on_zookeeper, on_zookeeper)
            trio.run(_run, on_zookeeper.brokers, printer, start, on_zookeeper.zookeeper)
        return
    with HeldPorts() as ports:
        files = lay_out(dir, ports, random.SystemRandom(), Wanted(controllers=controllers, brokers=brokers))
        trio.run(_run, files, printer, _starter(in_process=in_process))


def _without_quorum(controllers: int | None, *, in_process: bool) -> None:
    """
    Raises:
        WrongUsage: something is asked for that such a cluster does not have.
    """
    for asked, option in ((controllers is not None, "--controllers"), (in_process, "--in-process")):
        if asked:
            raise WrongUsage(
                f"--zookeeper and {option} do not go together.",
                why="a cluster in ZooKeeper mode has no controllers of its own, and each broker is a process",
                remedy=f"leave {option} out",
            )


@asynccontextmanager
async def _starting_on_zookeeper(
    on_zookeeper: zookeeper_cluster.ZooKeeperFiles, _: ClusterFiles
) -> AsyncIterator[Cluster[Any]]:
    async with zookeeper_cluster.running_on_zookeeper(on_zookeeper) as (_server, cluster):
        yield cluster


def _starter(*, in_process: bool) -> Callable[[ClusterFiles], AbstractAsyncContextManager[Cluster[Any]]]:
    if not in_process:
        return running
    from quorate.admin.in_process import running_in_process  # brings both roles' code into this process

    return running_in_process


async def _run(
    files: ClusterFiles,
    printer: Printer,
    start: Callable[[ClusterFiles], AbstractAsyncContextManager[Cluster[Any]]],
    zookeeper: str | None = None,
) -> None:
    """Until the first signal; a second one does not wait for the nodes to stop in order."""
    began = time.monotonic()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            stopping = trio.CancelScope()
            try:
                with stopping:
                    async with start(files) as cluster:
                        nursery.start_soon(_on_signals, signals, stopping, cluster)
                        found = await cluster.ready(within_s=_READY_WITHIN_S)
                        printer.line(
                            ready_document(files, cluster, zookeeper),
                            _ready_text(files, found, time.monotonic() - began, zookeeper),
                        )
                        await _tell_who_ends(cluster)
            except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure


async def _on_signals(signals: AsyncIterator[int], stopping: trio.CancelScope, cluster: Cluster[Any]) -> None:
    async for _ in signals:
        if stopping.cancel_called:
            cluster.kill_all()
        stopping.cancel()


async def _tell_who_ends(cluster: Cluster[Any]) -> None:
    """The others go on; the one that ended can be started again by hand. Never returns."""

    async def watch(node: Node) -> None:
        code = await node.wait()
        sys.stderr.write(ended(node, code).text() + "\n")

    async with trio.open_nursery() as nursery:
        for node in cluster.nodes.values():
            nursery.start_soon(watch, node)
        await trio.sleep_forever()


def ready_document(
    files: ClusterFiles, cluster: Cluster[Any], zookeeper: str | None = None
) -> dict[str, Any]:
    """The ready line; a stable shape that tests and scripts rely on. In ZooKeeper mode it names ZooKeeper, which has
    the cluster's id."""

    def node(one: NodeFiles) -> dict[str, Any]:
        return {
            "id": one.id,
            "address": one.address,
            "pid": cluster.node(one.id).pid,
            "config": str(one.config),
        }

    return {
        **({"cluster_id": files.cluster_id} if zookeeper is None else {"zookeeper": zookeeper}),
        "bootstrap": files.bootstrap,
        "bootstrap_controllers": files.bootstrap_controllers,
        "controllers": [node(one) for one in files.controllers],
        "brokers": [node(one) for one in files.brokers],
        **({} if files.client_config is None else {"client_config": str(files.client_config)}),
    }


def _ready_text(files: ClusterFiles, found: Readiness, took_s: float, zookeeper: str | None) -> str:
    first = files.bootstrap.partition(",")[0]
    if zookeeper is not None:
        return "\n".join(
            [
                f"A cluster in ZooKeeper mode is up after {took_s:.1f} s: {plural(len(files.brokers), 'broker')}.",
                f"  clients      {files.bootstrap}",
                f"  ZooKeeper    {zookeeper}",
                f"  files        {files.directory} (what the brokers say: *.log)",
                "Try, in another terminal:",
                f"  export QUORATE_BOOTSTRAP={first} QUORATE_ZOOKEEPER={zookeeper}",
                "  quorate topics create --topic orders --partitions 6",
                "  quorate zookeeper get /controller",
                "Ctrl-C stops it; the same --dir with --zookeeper starts it again.",
            ]
        )
    counts = f"{plural(len(files.controllers), 'controller')}, {plural(len(files.brokers), 'broker')}"
    return "\n".join(
        [
            f"Cluster {files.cluster_id} is up after {took_s:.1f} s: {counts}; controller {found.active} leads.",
            f"  clients      {files.bootstrap}",
            f"  controllers  {files.bootstrap_controllers}",
            f"  files        {files.directory} (what the nodes say: *.log)",
            *(
                ()
                if files.client_config is None
                else (f"  to log in    --command-config {files.client_config}",)
            ),
            "Try, in another terminal:",
            f"  export QUORATE_BOOTSTRAP={first}",
            "  quorate topics create --topic orders --partitions 6",
            "  quorate quorum status",
            "Ctrl-C stops it; the same --dir starts it again.",
        ]
    )
