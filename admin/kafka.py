"""`quorate kafka`: Apache Kafka's own brokers on a running quorum, on loopback, for development."""

import pathlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final

import attrs
import trio
import typer

from quorate.admin import kafka_distribution
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import NoAnswer, Refused
from quorate.admin.kafka_broker_files import KafkaBrokerFiles, KafkaBrokerPlan, find_broker, lay_out_broker
from quorate.admin.kafka_process import KafkaProcess
from quorate.admin.options import command_group
from quorate.admin.output import plural
from quorate.admin.ports import HeldPorts
from quorate.admin.quorum_view import DESCRIBE_QUORUM
from quorate.admin.results import check_whole
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.client import NoAnswer as NobodyAnswered
from quorate.metadata.wire.cluster import DescribeClusterRequest

app = command_group("Run Apache Kafka's own brokers on this quorum.")

FIRST_KAFKA_BROKER_ID: Final = 201
"""So that an id tells the kind: `quorate dev` numbers its brokers from 101."""
_READY_WITHIN_S: Final = 120.0
_LOOK_AGAIN_S: Final = 0.2
_MOST_REPLICAS: Final = 3


@app.callback()
def kafka() -> None:
    """Run Apache Kafka's own brokers on this quorum."""


@app.command("up")
@asks_cluster
async def up(
    session: Session,
    dir: Annotated[
        pathlib.Path,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where the brokers live; made at first, found again at the next start.",
        ),
    ],
    brokers: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="How many brokers to start.")] = 1,
    version: Annotated[
        str,
        typer.Option(metavar="VERSION", help="The release of Apache Kafka, which Maven fetches."),
    ] = kafka_distribution.DEFAULT_VERSION,
    kafka_home: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR", help="An unpacked distribution of Apache Kafka instead; no Maven is needed."
        ),
    ] = None,
    first_id: Annotated[
        int, typer.Option(metavar="ID", min=0, help="The first broker's id; the others follow.")
    ] = FIRST_KAFKA_BROKER_ID,
    log_dirs: Annotated[
        int, typer.Option(metavar="N", min=1, max=20, help="How many log directories a new broker gets.")
    ] = 1,
) -> None:
    """Runs real brokers on loopback until Ctrl-C or SIGTERM.

    The same DIR starts the same ones again. They need Java 17 or newer. With --output json one line is printed when
    they serve: cluster_id, bootstrap, and each broker's id, address, pid and config. Their heap is 512 MiB unless
    KAFKA_HEAP_OPTS says otherwise.
    """
    java = kafka_distribution.java()
    class_path = await trio.to_thread.run_sync(_class_path, version, kafka_home)
    quorum = await _look_at_quorum(session)
    rng = random.SystemRandom()
    with HeldPorts() as ports:
        found = [
            _laid_out(
                dir / f"kafka-{first_id + number}", first_id + number, quorum, ports, rng, brokers, log_dirs
            )
            for number in range(brokers)
        ]
    processes = [KafkaProcess(files, java=java, class_path=class_path) for files in found]
    await _run(session, quorum, processes)


def _class_path(version: str, home: pathlib.Path | None) -> str:
    return kafka_distribution.from_maven(version) if home is None else kafka_distribution.from_home(home)


@attrs.frozen
class _Quorum:
    """What a broker has to know of its quorum."""

    cluster_id: str
    listener: str
    controllers: str


async def _look_at_quorum(session: Session) -> _Quorum:
    cluster = await session.read(DescribeClusterRequest(include_fenced_brokers=True))
    check_whole("The cluster cannot be described.", cluster.error_code, cluster.error_message)
    response = await session.write(DESCRIBE_QUORUM)
    check_whole("The quorum cannot be described.", response.error_code, response.error_message)
    listeners = [node.listeners[0] for node in response.nodes if node.listeners]
    if not listeners:
        raise Refused(
            "The quorum does not say where its controllers are.",
            why="DescribeQuorum names no voter with an address",
            remedy="ask a controller that has joined: `quorate quorum describe`",
        )
    return _Quorum(
        cluster_id=cluster.cluster_id,
        listener=listeners[0].name,
        controllers=",".join(f"{one.host}:{one.port}" for one in listeners),
    )


def _laid_out(
    directory: pathlib.Path,
    id: int,
    quorum: _Quorum,
    ports: HeldPorts,
    rng: random.Random,
    brokers: int,
    log_dirs: int,
) -> KafkaBrokerFiles:
    directory = directory.absolute()
    if directory.exists():
        known = find_broker(directory, quorum.cluster_id)
        ports.hold(known.port, known.name)
        return known
    plan = KafkaBrokerPlan(
        id=id,
        port=ports.claim(rng),
        directory=directory,
        cluster_id=quorum.cluster_id,
        controllers=quorum.controllers,
        controller_listener=quorum.listener,
        log_dirs=log_dirs,
        replication=min(brokers, _MOST_REPLICAS),
    )
    return lay_out_broker(plan, rng)


async def _run(session: Session, quorum: _Quorum, processes: Sequence[KafkaProcess]) -> None:
    """Until the first signal; a second one does not wait for the brokers to stop in order."""
    began = time.monotonic()
    failure: Exception | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            stopping = trio.CancelScope()
            try:
                with stopping:
                    nursery.start_soon(_on_signals, signals, stopping, processes)
                    for one in processes:
                        await one.start()
                    await _ready(session, processes)
                    took_s = time.monotonic() - began
                    session.printer.line(_document(quorum, processes), _text(quorum, processes, took_s))
                    await _tell_who_ends(processes)
            except Exception as error:  # noqa: BLE001 - raised again as soon as the nursery is gone
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    await _stop(processes)
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _on_signals(
    signals: AsyncIterator[int], stopping: trio.CancelScope, processes: Sequence[KafkaProcess]
) -> None:
    async for _ in signals:
        if stopping.cancel_called:
            for one in processes:
                one.kill()
        stopping.cancel()


async def _ready(session: Session, processes: Sequence[KafkaProcess]) -> None:
    """Waits until the quorum has unfenced all of them.

    Raises:
        Refused: one of them has ended. NoAnswer: not in time.
    """
    missing = {one.files.id for one in processes}
    with trio.move_on_after(_READY_WITHIN_S):
        while True:
            for one in processes:
                if one.ended_by_itself:
                    raise _ended(one, await one.wait())
            missing -= await _unfenced(session)
            if not missing:
                return
            await trio.sleep(_LOOK_AGAIN_S)
    late = next(one for one in processes if one.files.id in missing)
    raise NoAnswer(
        f"Broker {late.files.id} does not serve after {_READY_WITHIN_S:g} s.",
        where=str(late.files.log),
        why=f"its last words were:\n{late.last_words()}",
    )


async def _unfenced(session: Session) -> set[int]:
    try:
        found = await session.read(DescribeClusterRequest(include_fenced_brokers=True))
    except (NobodyAnswered, RequestRejected):  # the quorum is busy with itself; asked again soon
        return set()
    if found.error_code is not ErrorCode.none:
        return set()
    return {one.broker_id for one in found.brokers if not one.is_fenced}


async def _tell_who_ends(processes: Sequence[KafkaProcess]) -> None:
    """The others go on. Never returns."""

    async def watch(one: KafkaProcess) -> None:
        code = await one.wait()
        sys.stderr.write(_ended(one, code).text() + "\n")

    async with trio.open_nursery() as nursery:
        for one in processes:
            nursery.start_soon(watch, one)
        await trio.sleep_forever()


async def _stop(processes: Sequence[KafkaProcess]) -> None:
    async with trio.open_nursery() as nursery:
        for one in processes:
            nursery.start_soon(one.stop)


def _ended(one: KafkaProcess, code: int) -> Refused:
    how = f"exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    return Refused(
        f"Broker {one.files.id} has ended ({how}).",
        where=str(one.files.log),
        why=f"its last words were:\n{one.last_words()}",
    )


def _document(quorum: _Quorum, processes: Sequence[KafkaProcess]) -> dict[str, Any]:
    return {
        "cluster_id": quorum.cluster_id,
        "bootstrap": ",".join(one.files.address for one in processes),
        "brokers": [
            {
                "id": one.files.id,
                "address": one.files.address,
                "pid": one.pid,
                "config": str(one.files.config),
            }
            for one in processes
        ],
    }


def _text(quorum: _Quorum, processes: Sequence[KafkaProcess], took_s: float) -> str:
    count = plural(len(processes), "broker")
    bootstrap = ",".join(one.files.address for one in processes)
    return "\n".join(
        [
            f"Apache Kafka serves after {took_s:.1f} s: {count} on cluster {quorum.cluster_id}.",
            f"  clients      {bootstrap}",
            f"  controllers  {quorum.controllers}",
            f"  files        {processes[0].files.directory.parent} (what the brokers say: */broker.log)",
            "Ctrl-C stops them in order; the same --dir starts them again.",
        ]
    )
