"""`quorate quorum`: who leads, who follows, how far behind; once, in Kafka's words, or all the time. And who votes."""

import datetime
import uuid
from typing import Annotated, Any

import trio
import typer

from quorate.admin import quorum_voters as voters
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import CommandError, NoAnswer, Unhealthy, WrongUsage
from quorate.admin.explain import translate
from quorate.admin.options import command_group
from quorate.admin.output import Table
from quorate.admin.quorum_view import (
    QuorumView,
    Replica,
    describe_quorum,
    quorum_view,
    recovery_id,
    replicas_of,
)
from quorate.metadata import client
from quorate.metadata.addresses import parse_servers
from quorate.metadata.checks import RequestRejected
from quorate.metadata.ids import ZERO_UUID, uuid_from_text, uuid_to_text
from quorate.metadata.wire.cluster import DescribeClusterRequest

app = command_group("Who leads, who follows, how far behind; who votes.")


@app.command("status")
@asks_cluster
async def status(session: Session) -> None:
    """Asks the leader and every voter. Exit code 10 if something is wrong, 3 if nobody answers."""
    view = await quorum_view(session)
    lines: list[str | Table] = [_headline(view), Table(_TITLES, [_row(one) for one in view.replicas])]
    if view.answered or not session.printer.for_people:
        session.printer.show(view.document(), *lines)
    _end(view)


_TITLES = ("NODE", "ROLE", "STATE", "ADDRESS", "LOG END", "LAG", "CAUGHT UP")


def _headline(view: QuorumView) -> str:
    if view.leader_id is None:
        return f"Cluster {view.cluster_id or '(unknown)'} has no active controller."
    recovered = (
        "" if view.recovery_id is None else f"\nIts quorum was recovered: {uuid_to_text(view.recovery_id)}."
    )
    return (
        f"Cluster {view.cluster_id}: controller {view.leader_id} leads epoch {view.leader_epoch}, "
        f"high watermark {view.high_watermark}.{recovered}"
    )


def _row(one: Replica) -> tuple[object, ...]:
    return (
        one.id,
        "leader" if one.leads else one.role,
        one.state,
        one.address,
        one.log_end_offset,
        one.lag,
        None if one.caught_up_ms_ago is None else f"{one.caught_up_ms_ago / 1000:.1f} s ago",
    )


def _end(view: QuorumView) -> None:
    """Healthy, or the exit code that says what not."""
    if not view.answered:
        reasons = dict.fromkeys(one.error for one in view.replicas if one.error)
        raise NoAnswer(
            "Nobody answered.",
            where=", ".join(one.address or "?" for one in view.replicas),
            why="\n".join(reasons) or None,
            remedy="check that the nodes run, and that --bootstrap names them",
        )
    problems = view.problems()
    if problems:
        raise Unhealthy("The quorum is not healthy.", why="\n".join(problems))


# --- describe


@app.command("describe")
@asks_cluster
async def describe(
    session: Session,
    replication: Annotated[
        bool, typer.Option("--replication", help="Each replica's place in the log, as the leader sees it.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="The summary; this is the default.")] = False,
) -> None:
    """Shows the leader's word, in Kafka's form."""
    response, partition = await describe_quorum(session, session.timeout_ms)
    cluster_id = (await session.read(DescribeClusterRequest())).cluster_id
    addresses = {
        node.node_id: client.Address(node.listeners[0].host, node.listeners[0].port)
        for node in response.nodes
        if node.listeners
    }
    listeners = {
        node.node_id: [f"{one.name}://{one.host}:{one.port}" for one in node.listeners]
        for node in response.nodes
    }
    replicas = replicas_of(partition, addresses, {})
    recovered = await recovery_id(session, partition, addresses.get(partition.leader_id))
    document = {
        "cluster_id": cluster_id,
        "recovery_id": None if recovered is None else uuid_to_text(recovered),
        "leader_id": partition.leader_id,
        "leader_epoch": partition.leader_epoch,
        "high_watermark": partition.high_watermark,
        "replicas": [
            {**_without_error(one), "endpoints": listeners.get(one.id or 0, [])} for one in replicas
        ],
    }
    if replication:
        session.printer.show(document, _replication_table(replicas))
        return
    session.printer.show(document, *_status_lines(document, replicas, listeners))


def _without_error(one: Replica) -> dict[str, Any]:
    document = one.document()
    del document["error"], document["state"], document["flush_median_ms"]
    return document


def _replication_table(replicas: tuple[Replica, ...]) -> Table:
    titles = ("NODE", "DIRECTORY ID", "LOG END", "LAG", "LAST FETCH", "LAST CAUGHT UP", "STATUS")
    rows = [
        (
            one.id,
            _directory(one),
            one.log_end_offset,
            one.lag,
            _ago(one.fetched_ms_ago),
            _ago(one.caught_up_ms_ago),
            "leader" if one.leads else "follower" if one.role == "voter" else "observer",
        )
        for one in replicas
    ]
    return Table(titles, rows)


def _ago(ms: int | None) -> str | None:
    return None if ms is None else f"{ms} ms ago"


def _directory(one: Replica) -> str:
    return uuid_to_text(one.directory_id or ZERO_UUID)


def _status_lines(
    document: dict[str, Any], replicas: tuple[Replica, ...], listeners: dict[int, list[str]]
) -> list[str]:
    followers = [one for one in replicas if one.role == "voter" and not one.leads]
    lags = [one.lag for one in followers if one.lag is not None]
    times = [one.caught_up_ms_ago for one in followers if one.caught_up_ms_ago is not None]
    lines = [
        f"ClusterId:              {document['cluster_id']}",
        *(() if document["recovery_id"] is None else (f"RecoveryId:             {document['recovery_id']}",)),
        f"LeaderId:               {document['leader_id']}",
        f"LeaderEpoch:            {document['leader_epoch']}",
        f"HighWatermark:          {document['high_watermark']}",
        f"MaxFollowerLag:         {max(lags, default=0)}",
        f"MaxFollowerLagTimeMs:   {max(times, default=0)}",
    ]
    for title, role in (("CurrentVoters", "voter"), ("CurrentObservers", "observer")):
        members = [one for one in replicas if one.role == role]
        lines.append(f"{title}:".ljust(24) + ("none" if not members else ""))
        lines += [
            f"  {one.id} {_directory(one)} {' '.join(listeners.get(one.id or 0, []))}".rstrip()
            for one in members
        ]
    return lines


# --- watch


@app.command("watch")
@asks_cluster
async def watch(
    session: Session,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="How often to look.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Look so many times, then end.")
    ] = None,
    until_healthy: Annotated[
        bool, typer.Option("--until-healthy", help="End as soon as the quorum is healthy.")
    ] = False,
) -> None:
    """Looks again and again, a line each time.

    With --output json each line is the document of `quorum status`. Ends at Ctrl-C, --count or --until-healthy; the
    exit code is that of the last look.
    """
    looks = 0
    failure: CommandError | None = None
    while count is None or looks < count:
        if looks:
            await trio.sleep(interval)
        looks += 1
        try:
            view = await quorum_view(session)
        except (client.NoAnswer, RequestRejected) as error:
            failure = translate(error)
            session.printer.line({"time": _now(), "error": failure.document()}, f"{_now()}  {failure.what}")
            continue
        failure = _watch_line(session, view)
        if until_healthy and failure is None:
            return
    if failure is not None:
        raise failure


def _watch_line(session: Session, view: QuorumView) -> CommandError | None:
    """One line; gives the error that it amounts to, should it be the last one."""
    problems = view.problems()
    lags = " ".join(
        f"{one.id}{'*' if one.leads else ''}:{'?' if one.lag is None or one.error else -one.lag}"
        for one in view.replicas
        if one.id is not None
    )
    leader = "none" if view.leader_id is None else f"{view.leader_id} epoch {view.leader_epoch}"
    verdict = "healthy" if not problems else "; ".join(problems)
    text = f"{_now()}  leader {leader}  hw {view.high_watermark}  {lags}  {verdict}"
    session.printer.line({"time": _now(), **view.document()}, text)
    try:
        _end(view)
    except CommandError as error:
        return error
    return None


# --- who votes

NodeArgument = Annotated[int, typer.Argument(metavar="NODE_ID", min=0, help="The controller's node.id.")]
DirectoryIdOption = Annotated[
    str | None,
    typer.Option(
        "--directory-id",
        metavar="ID",
        help="Which disk of the node is meant, where that is not clear (`quorate storage info`).",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Where the other controllers reach it, if it has not registered that itself.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Even if the voters that are left do not answer. They may never commit it."),
]


@app.command("add-controller")
@asks_cluster
async def add_controller(
    session: Session,
    node_id: NodeArgument,
    directory_id: DirectoryIdOption = None,
    address: AddressOption = None,
    dry_run: DryRun = False,
) -> None:
    """Lets a controller vote that follows.

    It must have caught up: format it with --no-initial-controllers and start it first. Waits until the change is
    committed.
    """
    look = await voters.look_at(session)
    disk, where = _directory_id(directory_id), _address(address)
    steps = await voters.plan_to_add(session, look, node_id, disk, where)
    await _change(session, steps, f"Controller {node_id} votes already.", dry_run=dry_run, force=True)


@app.command("remove-controller")
@asks_cluster
async def remove_controller(
    session: Session,
    node_id: NodeArgument,
    directory_id: DirectoryIdOption = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Ends a controller's vote.

    It goes on following as an observer; a leader hands over. Waits until the change is committed. Refuses if the
    voters that would be left and answer are no majority.
    """
    look = await voters.look_at(session)
    steps = voters.plan_to_remove(look, node_id, _directory_id(directory_id))
    await _change(session, steps, f"Controller {node_id} is no voter.", dry_run=dry_run, force=force)


@app.command("replace-controller")
@asks_cluster
async def replace_controller(
    session: Session,
    node_id: NodeArgument,
    directory_id: DirectoryIdOption = None,
    address: AddressOption = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Moves a controller's vote to a new disk.

    Removes the old directory id, then adds the new one. For a controller whose disk was lost: format the new one with
    --no-initial-controllers and start it first.
    """
    look = await voters.look_at(session)
    disk, where = _directory_id(directory_id), _address(address)
    steps = await voters.plan_to_replace(session, look, node_id, disk, where)
    await _change(session, steps, f"Controller {node_id} votes with that disk.", dry_run=dry_run, force=force)


async def _change(
    session: Session, steps: tuple[voters.Step, ...], nothing: str, *, dry_run: bool, force: bool
) -> None:
    if not force:
        await voters.check_majority(session, steps)
    if not dry_run:
        with session.printer.progress("Waiting for the quorum") as told:
            for step in steps:
                await voters.carry_out(session, step, lambda _why: told(0))
    look = await voters.look_at(session)
    changes = [step for step in steps if not step.already]
    document = {
        "dry_run": dry_run,
        "changes": [step.document("would be done" if dry_run else "done") for step in changes],
        "voters": [
            {"id": key.id, "directory_id": uuid_to_text(key.directory_id or ZERO_UUID)}
            for key in look.voters.values()
        ],
    }
    said = [f"{'Would ' if dry_run else 'Done: '}{step}." for step in changes] or [nothing]
    ids = ", ".join(str(node_id) for node_id in look.voters)
    said.append(
        f"Voters: {ids}; a majority is {len(look.voters) // 2 + 1}. Controller {look.leader_id} leads."
    )
    session.printer.show(document, *said)


def _directory_id(text: str | None) -> uuid.UUID | None:
    if text is None:
        return None
    try:
        return uuid_from_text(text)
    except ValueError as error:
        raise WrongUsage("--directory-id cannot be used.", why=str(error)) from error


def _address(text: str | None) -> client.Address | None:
    if text is None:
        return None
    try:
        (address,) = parse_servers((text,))
    except ValueError as error:
        raise WrongUsage("--address cannot be used.", why=str(error), remedy="write HOST:PORT") from error
    return address


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%H:%M:%S.%f")[:-3]
