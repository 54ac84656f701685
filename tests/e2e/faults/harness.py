"""A cluster of real processes under fault, from its first write to the verdict.

While the nemesis works clients ask and their histories are recorded. Then everything is healed, all nodes must serve,
and with all of them stopped their disks are read:

- nothing acknowledged is missing anywhere: the logs of all controllers hold the same batches, and all nodes the same
  image;
- one order of all operations explains every answer and every change in the log, topic by topic (`tests.sim.history`),
  with no answer of an active controller allowed to be old.
"""

import os
import pathlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess, running
from quorate.admin.cluster_files import ClusterFiles, NodeFiles, Wanted, lay_out
from quorate.admin.demo_parts import replicated_to
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.offline_log import LogFiles
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.metadata.addresses import Address
from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Offset
from quorate.metadata.image.writer import digest
from tests.e2e.disks import MEBIBYTE, FaultyFsync, Impossible, SmallDisks
from tests.e2e.faults.clients import Client, Pace, Record
from tests.e2e.faults.nemesis import FAULTS, NETWORK_FAULTS, Disks, Holding, Nemesis
from tests.e2e.faults.proxy import Network, Party
from tests.secured import Secured, secured
from tests.sim.history import Ending, Kind
from tests.sim.images import ClientChanges

HEALED_WITHIN_S: Final = 90.0
_FLOOR_BYTES: Final = 8 * MEBIBYTE
_SMALL_DISK_MIB: Final = 128
_SNAPSHOT_AFTER_BYTES: Final = 256 * 1024
"""So that snapshots are written all the time."""
_SLOW_CLOCK_MS: Final = 6_000
"""Instead of two seconds: for half as long again a leader that nobody fetches from takes itself for one."""
AFTERWARDS: Final = 40
"""So many more writes must be acknowledged once all is well."""

Say = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be tried."""

    controllers: int = 3
    brokers: int = 2
    clients: int = 8
    seed: int = 1
    seconds: float = 60.0
    """How long faults are drawn."""
    kinds: tuple[str, ...] = tuple(FAULTS)
    script: tuple[str, ...] = ()
    """Exactly these faults, one after the other, instead of drawn ones for some time."""
    small_disks: bool = True
    security: str = "plaintext"
    """One of `secured.MODES`."""
    slow_clock: bool = True
    """The last controller takes all time for less than it is: it leads on long after the others have replaced it, so
    that only what it asks a majority keeps its reads from being old."""
    holding: Holding = attrs.field(factory=Holding)
    pace: Pace = attrs.field(factory=Pace)


@attrs.define
class Finding:
    """All that came out. No problems: it stood."""

    plan: Plan
    record: Record
    nemesis: Nemesis
    problems: list[str] = attrs.field(factory=list)
    impossible: list[str] = attrs.field(factory=list)
    """What could not be tried on this machine, and why."""
    checked_operations: int = 0
    changes: ClientChanges = attrs.field(factory=ClientChanges)
    """What the log holds in the end."""
    last_epoch: int = 0


async def under_fault(directory: pathlib.Path, plan: Plan, say: Say) -> Finding:
    """All of it, in an empty directory, which then holds the evidence of whatever is in `Finding.problems`."""
    rng = random.Random(plan.seed)
    impossible: list[str] = []
    small = SmallDisks(_SMALL_DISK_MIB)
    try:
        with HeldPorts() as ports, _environment():
            fsync = _faulty_fsync(directory, impossible)
            os.environ.update({} if fsync is None else fsync.environment)
            guard = secured(plan.security, directory / "certificates")
            files = lay_out(directory / "cluster", ports, rng, _wanted(plan, guard))
            behind = {node: ports.claim(rng) for node in files.controllers}
            for node, port in behind.items():
                listen_behind_a_proxy(node, port)
            if plan.slow_clock:
                _append(files.controllers[-1], f'"controller.quorum.fetch.timeout.ms" = "{_SLOW_CLOCK_MS}"')
            on_small = _on_small_disks(files, plan, small, impossible)
            finding = await _run(files, behind, plan, rng, fsync, on_small, say)
    finally:
        small.unmount(keep=True)
    finding.impossible = impossible
    return finding


def _wanted(plan: Plan, guard: Secured) -> Wanted:
    both = {"quorate.log.format": "json"}
    controllers = both | {
        "quorate.free.space.floor.bytes": str(_FLOOR_BYTES),
        "metadata.log.max.record.bytes.between.snapshots": str(_SNAPSHOT_AFTER_BYTES),
    }
    return guard.wanted(
        controllers=plan.controllers,
        brokers=plan.brokers,
        controller_settings=controllers,
        broker_settings=both,
    )


def listen_behind_a_proxy(node: NodeFiles, port: int) -> None:
    """The node listens there, and says that it is where its files say: at its proxy."""
    lines = node.config.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith('"listeners"'))
    lines[at] = f'"listeners" = "CONTROLLER://{LOOPBACK}:{port}"'
    node.config.write_text("\n".join(lines) + "\n")
    _append(node, f'"advertised.listeners" = "CONTROLLER://{node.address}"')


def _append(node: NodeFiles, line: str) -> None:
    with node.config.open("a") as file:
        file.write(f"{line}\n")


def _faulty_fsync(directory: pathlib.Path, impossible: list[str]) -> FaultyFsync | None:
    try:
        return FaultyFsync.build(directory)
    except Impossible as reason:
        impossible.append(f"faults of fsync: {reason}")
        return None


def _on_small_disks(
    files: ClusterFiles, plan: Plan, small: SmallDisks, impossible: list[str]
) -> tuple[NodeFiles, ...]:
    """A minority of the controllers; the others keep the disk that is there, which flushes for real."""
    if not plan.small_disks:
        return ()
    chosen = files.controllers[: (len(files.controllers) - 1) // 2]
    try:
        for node in chosen:
            small.put(node)
    except Impossible as reason:
        impossible.append(f"full disks: {reason}")
        return ()
    return chosen


@contextmanager
def _environment() -> Iterator[None]:
    """Nodes are started with this process's environment: what is put into it within the block is taken out again."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _run(
    files: ClusterFiles,
    behind: Mapping[NodeFiles, int],
    plan: Plan,
    rng: random.Random,
    fsync: FaultyFsync | None,
    on_small: Sequence[NodeFiles],
    say: Say,
) -> Finding:
    network = Network(random.Random(rng.random()))
    async with trio.open_nursery() as proxies:
        for node, port in behind.items():
            await proxies.start(network.serve, Party(node.name), node.port, port)
        async with running(files) as cluster:
            disks = Disks(
                fsync=fsync,
                small=tuple(cluster.node(node.id) for node in on_small),
                floor_bytes=_FLOOR_BYTES,
            )
            nemesis = Nemesis(
                cluster, network, disks, holding=plan.holding, rng=random.Random(rng.random()), say=say
            )
            finding = Finding(plan, Record(random.Random(rng.random())), nemesis)
            await cluster.ready(within_s=HEALED_WITHIN_S)
            say("all nodes serve")
            try:
                await _ask_under_fault(cluster, finding, rng, say)
                await _judge(cluster, finding, say)
            except (NoAnswer, Refused, trio.TooSlowError) as error:
                finding.problems.append(f"the cluster did not come back: {error}")
            finding.problems += finding.record.problems + nemesis.problems
            finding.problems += _traces(files)
        proxies.cancel_scope.cancel()
    return finding


async def _ask_under_fault(
    cluster: Cluster[NodeProcess], finding: Finding, rng: random.Random, say: Say
) -> None:
    """Clients and nemesis, to the first quiet moment afterwards."""
    plan, record, nemesis = finding.plan, finding.record, finding.nemesis
    controllers = {int(node.id): Address(LOOPBACK, node.port) for node in cluster.files.controllers}
    brokers = {int(node.id): Address(LOOPBACK, node.port) for node in cluster.files.brokers}
    clients = [
        Client(
            number,
            record,
            controllers,
            brokers,
            pace=plan.pace,
            rng=random.Random(rng.random()),
            security=cluster.files.login(),
        )
        for number in range(1, plan.clients + 1)
    ]
    async with trio.open_nursery() as background:
        background.start_soon(nemesis.watch)
        background.start_soon(_progress, finding, say)
        async with trio.open_nursery() as asking:
            for client in clients:
                asking.start_soon(client.run)
            await _befall(nemesis, plan)
            say("healing everything")
            await nemesis.heal()
            await cluster.ready(within_s=HEALED_WITHIN_S)
            say("all nodes serve again")
            await _acknowledges_again(record)
            for client in clients:
                client.stopping = True
        say("all clients have their last answers")
        await _read_at_rest(clients[0], record)
        background.cancel_scope.cancel()


async def _befall(nemesis: Nemesis, plan: Plan) -> None:
    """The script, or for some time what is drawn: on processes and disks, and at once on the network."""
    for kind in nemesis.possible(plan.script):
        await nemesis.once(kind)
    if plan.script:
        return
    kinds = nemesis.possible(plan.kinds)
    until_s = trio.current_time() + plan.seconds
    async with trio.open_nursery() as loops:
        for some in (
            [kind for kind in kinds if kind not in NETWORK_FAULTS],
            [kind for kind in kinds if kind in NETWORK_FAULTS],
        ):
            if some:
                loops.start_soon(nemesis.run, some, until_s)


async def _progress(finding: Finding, say: Say) -> None:
    record = finding.record
    while True:
        await trio.sleep(30)
        say(
            f"{time.monotonic() - record.began_s:.0f} s: {len(record.history.operations)} operations, "
            f"{len(record.acknowledged_s)} writes acknowledged, {len(finding.nemesis.faults)} faults"
        )


async def _acknowledges_again(record: Record) -> None:
    wanted = len(record.acknowledged_s) + AFTERWARDS
    with trio.fail_after(HEALED_WITHIN_S):
        while len(record.acknowledged_s) < wanted:  # noqa: ASYNC110  others count
            await trio.sleep(0.05)


async def _read_at_rest(client: Client, record: Record) -> None:
    """What nobody changes any more is read once more, at the active controller."""
    with trio.fail_after(HEALED_WITHIN_S):
        async with trio.open_nursery() as nursery:
            while not await client.final_reads(record.current_topics(), nursery):  # noqa: ASYNC110
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()


# --- the verdict


async def _judge(cluster: Cluster[NodeProcess], finding: Finding, say: Say) -> None:
    nodes = list(cluster.nodes.values())
    await cluster.ready(within_s=HEALED_WITHIN_S)
    end = await replicated_to(cluster.files, [node.files.id for node in nodes], within_s=HEALED_WITHIN_S)
    await cluster.stop()
    say(f"all nodes are stopped; checking {len(finding.record.history.operations)} operations")
    finding.problems += await trio.to_thread.run_sync(_check, cluster.files, finding, end)


def _check(files: ClusterFiles, finding: Finding, end: int) -> list[str]:
    last = Offset(end - 1)
    problems: list[str] = []
    digests = {node.name: digest(LogFiles.at(node.data).image(last)) for node in files.nodes}
    if len(set(digests.values())) != 1:
        problems.append(f"the images at offset {last} differ: {digests}")
    whole, *others = files.controllers
    batches = {batch.base_offset: batch for batch in LogFiles.at(whole.data).batches()}
    for node in others:
        problems += _other_batches(node, batches, last)
    try:
        for batch in batches.values():
            finding.last_epoch = batch.epoch
            records = () if batch.is_control else batch.records()
            for offset, record in enumerate(records, batch.base_offset):
                finding.changes.on_record(record, offset)
    except InvariantViolated as error:
        problems.append(f"{whole.name}: {error}")
    finding.checked_operations = len(finding.record.history.operations)
    return problems + judge_history(finding.record, finding.changes)


def _other_batches(node: NodeFiles, batches: Mapping[Offset, RecordBatch], last: Offset) -> list[str]:
    """Where a controller's log is not that of the first one, which has kept its disk; one with a new disk begins with a
    snapshot."""
    return [
        f"the log of {node.name} has another batch at offset {batch.base_offset}"
        for batch in LogFiles.at(node.data).batches()
        if batch.end_offset <= last + 1
        and (batch.base_offset not in batches or batches[batch.base_offset].data != batch.data)
    ]


def judge_history(record: Record, changes: ClientChanges) -> list[str]:
    """What clients were told against what the log holds."""
    problems = []
    for one in record.history.operations:
        written = changes.written[one.value]
        if one.changes and one.ending is Ending.DONE and one.kind in (Kind.CREATE, Kind.SET) and not written:
            problems.append(f"acknowledged, and not in the log: {one}")
        if one.ending in (Ending.NOTHING_DONE, Ending.REFUSED) and written:
            problems.append(f"the client was told that nothing was done, and it is in the log: {one}")
    found = record.history.problem(changes.effects)
    return problems if found is None else [*problems, f"the history is not linearizable: {found}"]


def _traces(files: ClusterFiles) -> list[str]:
    """Stack traces, and what nodes themselves call a bug."""
    return [
        f"{node.log} has {word!r}"
        for node in files.nodes
        for word in ("Traceback", '"bug"')
        if node.log.exists() and word in node.log.read_text(errors="replace")
    ]
