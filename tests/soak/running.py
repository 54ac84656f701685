"""A cluster under load for so many minutes, with nodes that are restarted in turn, and what it took."""

import itertools
import pathlib
import random

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.ports import HeldPorts
from tests.soak.judgement import Bound, Verdict, judge
from tests.soak.load import Load
from tests.soak.sampling import DIRECTORY, FILES, MEMORY, MIB, THREADS, Lives

RETENTION_BYTES = 32 * MIB
SETTINGS = {
    "metadata.max.retention.bytes": str(RETENTION_BYTES),
    "metadata.log.segment.bytes": str(8 * MIB),
    "metadata.log.max.record.bytes.between.snapshots": str(2 * MIB),
}
"""Small, so that minutes show what hours would: many snapshots, many segments let go."""
BOUNDS = (
    Bound(quantity=MEMORY, unit="MiB", per_hour=16, noise=8),
    Bound(quantity=FILES, unit="files", per_hour=6, noise=6),
    Bound(quantity=THREADS, unit="threads", per_hour=2, noise=3),
    # Beside what retention counts: 8 MiB of reserve, 16 MiB taken ahead, a snapshot interval, what is being written.
    Bound(quantity=DIRECTORY, unit="MiB", per_hour=float("inf"), noise=0, at_most=RETENTION_BYTES / MIB + 40),
)
_SAMPLE_S = 2.0
_READY_S = 60.0


@attrs.frozen(kw_only=True)
class Plan:
    minutes: float
    writers: int = 4

    @property
    def warm_up_s(self) -> float:
        """Caches fill, and the allocator finds its size: a quarter of the time, ten minutes at most."""
        return min(self.minutes * 60 / 4, 600)

    @property
    def restart_every_s(self) -> float:
        return max(20.0, self.minutes * 60 / 20)


@attrs.define(eq=False)
class Result:
    load: Load
    restarts: int = 0
    verdicts: list[Verdict] = attrs.Factory(list)

    @property
    def problems(self) -> list[str]:
        return [
            f"{one.who}: {one.bound.quantity}: {one.problem}"
            for one in self.verdicts
            if one.problem is not None
        ]


async def soak(directory: pathlib.Path, plan: Plan) -> Result:
    """Three controllers and two brokers. One of each kind lives through all of it; the others are restarted in turn."""
    result, lives = Result(load=Load()), Lives()
    with HeldPorts() as ports:
        wanted = Wanted(controllers=3, brokers=2, controller_settings=SETTINGS, broker_settings=SETTINGS)
        files = lay_out(directory / "cluster", ports, random.Random(), wanted)
        async with running(files) as cluster:
            await cluster.ready(within_s=_READY_S)
            with trio.move_on_after(plan.minutes * 60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(result.load.run, files, plan.writers)
                    nursery.start_soon(result.load.look, files)
                    nursery.start_soon(_restart, cluster, plan, result)
                    nursery.start_soon(_sample, cluster, lives)
            await cluster.ready(within_s=_READY_S)
    for (name, life), series in sorted(lives.series.items()):
        for bound in BOUNDS:
            verdict = judge(f"{name} ({life})", bound, series[bound.quantity], plan.warm_up_s)
            if verdict is not None:
                result.verdicts.append(verdict)
    return result


async def _sample(cluster: Cluster[NodeProcess], lives: Lives) -> None:
    while True:
        for node in cluster.nodes.values():
            lives.sample(node, trio.current_time())
        await trio.sleep(_SAMPLE_S)


async def _restart(cluster: Cluster[NodeProcess], plan: Plan, result: Result) -> None:
    """In order and by force in turn; the last controller and the last broker only: the others are watched over."""
    victims = (cluster.controllers[-1], cluster.brokers[-1])
    for number, node in enumerate(itertools.cycle(victims)):
        await trio.sleep(plan.restart_every_s)
        if number // len(victims) % 2:
            node.kill()
            await node.wait()
        else:
            await node.stop()
        await node.start()
        await cluster.ready(within_s=_READY_S)
        result.restarts += 1
