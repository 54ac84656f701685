"""`quorate demo`: a whole cluster in a moment, its leader killed, and the proof that nothing acknowledged was lost.

Everything is real: five processes, their disks in a temporary directory, their ports on loopback, a client that
writes through a broker all the time. The times are measured, and the reasons are the nodes' own words, read from
their logs. Whatever does not go as it should ends the demo with exit code 1.
"""

import pathlib
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio
import typer

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, Wanted, lay_out
from quorate.admin.demo_parts import (
    TOPIC,
    LeaderWatch,
    NodeLogs,
    Writer,
    create_topics,
    replicated_to,
    values_at_brokers,
    values_in_log,
)
from quorate.admin.errors import CommandError, Interrupted, Refused
from quorate.admin.explain import translate
from quorate.admin.offline_log import LogFiles
from quorate.admin.output import plural
from quorate.admin.ports import HeldPorts
from quorate.metadata.ids import Offset
from quorate.metadata.image.writer import digest

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_AT_MOST_S: Final = 60.0
_WRITE_BEFORE_S: Final = 1.5
_WRITE_AFTER_S: Final = 1.0
_READY_WITHIN_S: Final = 20.0


@app.command("demo")
def demo() -> None:
    """Starts 3 controllers and 2 brokers, works with them, kills the leader, and shows that nothing is lost.

    Needs nothing and leaves nothing behind: processes, files and ports are gone at the end, also after Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="quorate-demo-") as directory, HeldPorts() as ports:
        settings = {"quorate.log.format": "json"}
        files = lay_out(
            pathlib.Path(directory),
            ports,
            random.SystemRandom(),
            Wanted(controller_settings=settings, broker_settings=settings),
        )
        trio.run(told_until_stopped, _Demo(files).tell, _AT_MOST_S)


async def told_until_stopped(tell: Callable[[], Awaitable[None]], at_most_s: float) -> None:
    """A story; Ctrl-C and SIGTERM end it early, and still in order.

    Raises:
        CommandError: it did not go as it should, took too long, or was stopped.
    """
    failure: Exception | None = None
    interrupted = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            telling = trio.CancelScope()

            async def stop_on_signal(signals: AsyncIterator[int]) -> None:
                async for _ in signals:
                    telling.cancel()

            nursery.start_soon(stop_on_signal, signals)
            try:
                with telling, trio.fail_after(at_most_s):
                    await tell()
            except Exception as error:  # noqa: BLE001 - told below, when the nursery is gone
                failure = error
            interrupted = telling.cancelled_caught
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise unexpected(failure, at_most_s) from failure
    if interrupted:
        raise Interrupted("Stopped; nothing is left behind.")


def unexpected(failure: Exception, at_most_s: float = _AT_MOST_S) -> CommandError:
    """Whatever it is, the demo has failed: exit code 1."""
    if isinstance(failure, trio.TooSlowError):
        return Refused(
            "The demo did not come to its end.",
            why=f"it took more than {at_most_s:g} s; is this machine very busy?",
            remedy="run it again",
        )
    told = translate(failure)
    return Refused(
        "The demo did not go as it should.", where=told.where, why=f"{told.what}\n{told.why or ''}".strip()
    )


class _Demo:
    """The story, chapter by chapter."""

    def __init__(self, files: ClusterFiles) -> None:
        self._files = files
        self._began = time.monotonic()

    async def tell(self) -> None:
        _chapter("1. A cluster from nothing")
        async with running(self._files) as cluster:
            leader = await self._start(cluster)
            async with Writer.writing(self._files) as writer:
                await self._work(writer)
                gap_s = await self._kill(cluster, leader, writer)
                await self._bring_back(cluster, leader, writer)
                await writer.stop()
            offset = await self._check_answers(cluster, writer)
        self._check_disks(offset)
        self._sum_up(writer, leader, gap_s)

    async def _start(self, cluster: Cluster[NodeProcess]) -> NodeProcess:
        began = time.monotonic()
        _say(
            "3 controllers and 2 brokers start: five processes, each with a directory and a port of its own."
        )
        found = await cluster.ready(within_s=_READY_WITHIN_S)
        for node in cluster.nodes.values():
            leads = "  <- leads" if node.files.id == found.active else ""
            _say(f"  {node.name:<13} {node.files.address:<16} process {node.pid}{leads}")
        _say(
            f"After {time.monotonic() - began:.1f} s a leader is elected, the brokers are registered, and all of them "
            "hold the same metadata."
        )
        if found.active is None:
            raise Refused("There is no active controller, though the cluster said that it is ready.")
        return cluster.node(found.active)

    async def _work(self, writer: Writer) -> None:
        _chapter("2. Work for it")
        for name, partitions in await create_topics(self._files):
            _say(f"  created topic {name} with {plural(partitions, 'partition')}, 2 replicas each")
        _say(
            f"A client changes a config of topic {TOPIC} through a broker, again and again. Each change counts only "
            "when it is\nacknowledged: when a majority of the controllers has it on disk."
        )
        writer.go()
        await trio.sleep(_WRITE_BEFORE_S)
        p50, p99 = writer.latencies_ms()
        _say(
            f"  {len(writer.acknowledged)} changes in {_WRITE_BEFORE_S:g} s, one at a time: "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        )

    async def _kill(self, cluster: Cluster[NodeProcess], leader: NodeProcess, writer: Writer) -> float:
        """Says how long the client had to wait."""
        _chapter(f"3. The leader is killed: kill -9 {leader.pid}, while the client writes")
        others = [node for node in cluster.controllers if node is not leader]
        logs = NodeLogs([node.files for node in others])
        async with LeaderWatch.watching([node.files for node in others], leader.files.id) as watch:
            before = len(writer.acknowledged)
            killed_wall, killed_at = time.time(), time.monotonic()
            leader.kill()
            await leader.wait()
            await watch.found.wait()
            await writer.acknowledged_after(watch.found_at)
        gap_s = writer.longest_wait_since(killed_at, before)
        seen = [
            *logs.since(killed_wall),
            (watch.found_at - killed_at, watch.new_leader_text()),
            (gap_s, "the client's next change is acknowledged"),
        ]
        for at, text in sorted(seen):
            _say(f"  +{_ms(max(0.0, at))}  {text}")
        _say(
            "Why so soon: a killed process closes its connections. A follower that is cut off and then refused "
            "suspects its leader,\nasks the others whether they would vote (so that a mere hiccup changes nothing), "
            "and stands."
        )
        await trio.sleep(_WRITE_AFTER_S)
        return gap_s

    async def _bring_back(self, cluster: Cluster[NodeProcess], dead: NodeProcess, writer: Writer) -> None:
        _chapter(f"4. {dead.name} comes back, on the same disk")
        missed = len(writer.acknowledged)
        began = time.monotonic()
        await dead.start()
        offset = await replicated_to(self._files, [dead.files.id], within_s=_READY_WITHIN_S)
        await cluster.ready(within_s=_READY_WITHIN_S)
        _say(
            f"  process {dead.pid}: reads its log, learns of the new leader, fetches what it missed (up to offset "
            f"{offset})"
        )
        _say(
            f"After {time.monotonic() - began:.1f} s it is a follower like any other; the client went on meanwhile "
            f"({len(writer.acknowledged) - missed} changes)."
        )

    async def _check_answers(self, cluster: Cluster[NodeProcess], writer: Writer) -> Offset:
        _chapter("5. Is everything there?")
        acknowledged = [one.value for one in writer.acknowledged]
        logged = await values_in_log(self._files)
        missing = [value for value in acknowledged if value not in logged]
        if missing:
            raise Refused(
                f"{plural(len(missing), 'acknowledged change')} cannot be found in the log.",
                why=f"the first one set {TOPIC} to {missing[0]}",
            )
        _say(f"  all {len(acknowledged)} acknowledged changes are in the committed log")
        if writer.unanswered:
            _say(
                f"  ({plural(writer.unanswered, 'change')} had been sent and not answered when the leader died: "
                "the client asked again)"
            )
        for broker, value in (await values_at_brokers(self._files)).items():
            if value != acknowledged[-1]:
                raise Refused(f"{broker} answers {value}; {acknowledged[-1]} was acknowledged last.")
            _say(f"  {broker} answers the last one: {value}")
        everybody = [node.files.id for node in cluster.nodes.values()]
        return Offset(await replicated_to(self._files, everybody, within_s=_READY_WITHIN_S) - 1)

    def _check_disks(self, offset: Offset) -> None:
        _say("All nodes are stopped. What is on their disks amounts to:")
        digests = {}
        for node in self._files.nodes:
            digests[node.name] = digest(LogFiles.at(node.data).image(offset)).hex()
            _say(f"  {node.name:<13} at offset {offset}: digest {digests[node.name][:16]}…")
        if len(set(digests.values())) != 1:
            raise Refused("The nodes' disks do not hold the same metadata.", why=str(digests))

    def _sum_up(self, writer: Writer, leader: NodeProcess, gap_s: float) -> None:
        _chapter("In short")
        _say(f"  {len(writer.acknowledged)} changes acknowledged, 0 lost, on five equal disks")
        _say(f"  leader {leader.files.id} killed; the client waited {_ms(gap_s).strip()} for the next one")
        _say(f"  {time.monotonic() - self._began:.1f} s in all, and nothing is left behind")
        _say("Next: `quorate dev --dir DIR` keeps such a cluster running for you.")


def _chapter(title: str) -> None:
    typer.echo()
    typer.echo(typer.style(title, bold=True))


def _say(text: str) -> None:
    typer.echo(text)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:4.0f} ms"
