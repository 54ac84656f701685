"""`quorate partitions`: reassign (generate, execute, verify, cancel, list), elect-leaders.

Options and files are those of kafka-reassign-partitions and kafka-leader-election. Everything is asked of the node
that would carry a change out, since one that is behind would call a reassignment done that has only begun.
"""

import enum
import json
import pathlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import typer

from quorate.admin import parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import Refused, Unhealthy, WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.partition_files import (
    Assignments,
    Place,
    assignments_document,
    read_assignments,
    read_places,
    read_topics,
)
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.controller.placement import Candidate, place
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.cluster import (
    DescribeClusterRequest,
    ListPartitionReassignmentsRequest,
    MetadataRequest,
    MetadataRequestTopic,
    OngoingPartitionReassignment,
)
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    ElectLeadersRequest,
    ReassignablePartition,
    ReassignableTopic,
    TopicPartitions,
)

app = command_group("Move partitions to other brokers, elect leaders.")
reassign = command_group("Move partitions to other brokers.")
app.add_typer(reassign, name="reassign")

ReassignmentFile = Annotated[
    pathlib.Path,
    typer.Option("--reassignment-json-file", metavar="FILE", help="The partitions and their new replicas."),
]


class ElectionType(enum.StrEnum):
    """The choices of --election-type."""

    PREFERRED = "preferred"
    UNCLEAN = "unclean"


_NUMBERS: Final = {ElectionType.PREFERRED: 0, ElectionType.UNCLEAN: 1}


@reassign.command("generate")
@asks_cluster
async def generate(
    session: Session,
    topics_to_move_json_file: Annotated[
        pathlib.Path,
        typer.Option("--topics-to-move-json-file", metavar="FILE", help="The topics to spread anew."),
    ],
    broker_list: Annotated[
        str, typer.Option("--broker-list", metavar="ID,ID", help="The brokers to spread them over.")
    ],
    disable_rack_aware: Annotated[
        bool, typer.Option("--disable-rack-aware", help="Do not look at the brokers' racks.")
    ] = False,
) -> None:
    """Proposes an assignment. Nothing is changed; the present one is shown too."""
    wanted = parsing.names([broker_list])
    if not wanted or not all(word.isdecimal() for word in wanted):
        raise WrongUsage("--broker-list cannot be used.", why=f"{broker_list!r} is no list of broker ids")
    current = await _current(session, read_topics(topics_to_move_json_file))
    found = await session.write(DescribeClusterRequest(include_fenced_brokers=True))
    check_whole("The brokers cannot be listed.", found.error_code, found.error_message)
    racks = {one.broker_id: one.rack for one in found.brokers}
    unknown = [word for word in wanted if int(word) not in racks]
    if unknown:
        raise Refused("Nothing was proposed.", why=f"not registered: broker {', '.join(unknown)}")
    candidates = [
        Candidate(id=int(word), rack=None if disable_rack_aware else racks[int(word)], fenced=False)
        for word in wanted
    ]
    proposed: dict[Place, tuple[int, ...]] = {}
    by_topic: dict[str, list[Place]] = defaultdict(list)
    for one in sorted(current):
        by_topic[one[0]].append(one)
    for topic, places in by_topic.items():
        factor = len(current[places[0]])
        if factor > len(candidates):
            raise Refused(
                "Nothing was proposed.",
                why=f"topic {topic} has {factor} replicas, --broker-list {plural(len(candidates), 'broker')}",
            )
        spread = place(
            candidates, partition_count=len(places), replication_factor=factor, rng=random.Random()
        )
        proposed.update(zip(places, spread, strict=True))
    now, then = assignments_document(current), assignments_document(proposed)
    session.printer.show(
        {"current": now, "proposed": then},
        "Current partition replica assignment",
        json.dumps(now, separators=(",", ":")),
        "\nProposed partition reassignment configuration",
        json.dumps(then, separators=(",", ":")),
    )


@reassign.command("execute")
@asks_cluster
async def execute(
    session: Session,
    reassignment_json_file: ReassignmentFile,
    additional: Annotated[
        bool, typer.Option("--additional", help="Also while other partitions are being moved.")
    ] = False,
    disallow_replication_factor_change: Annotated[
        bool,
        typer.Option(
            "--disallow-replication-factor-change", help="Refuse a change of the number of replicas."
        ),
    ] = False,
) -> None:
    """Begins to move partitions. The present assignment is shown, to go back to."""
    wanted = read_assignments(reassignment_json_file)
    ongoing = await _ongoing(session)
    if ongoing and not additional:
        raise Refused(
            "Nothing was changed.",
            why=f"{plural(len(ongoing), 'partition is', 'partitions are')} being moved already",
            remedy="wait for `quorate partitions reassign list` to be empty, or add --additional",
        )
    current = await _current(session, {topic for topic, _ in wanted})
    errors = await _alter(session, wanted, may_resize=not disallow_replication_factor_change)
    before = assignments_document({one: current[one] for one in wanted if one in current})
    done = len(wanted) - len(_failed(errors))
    session.printer.show(
        {"previous": before, "partitions": _documents(errors)},
        "Current partition replica assignment, save this to go back to it",
        json.dumps(before, separators=(",", ":")),
        f"\nStarted to move {plural(done, 'partition')}.",
    )
    check_items("moved", _failed(errors), len(wanted))


@reassign.command("verify")
@asks_cluster
async def verify(session: Session, reassignment_json_file: ReassignmentFile) -> None:
    """Says which partitions have arrived. The exit code is 10 until all have."""
    wanted = read_assignments(reassignment_json_file)
    ongoing = await _ongoing(session)
    current = await _current(session, {topic for topic, _ in wanted}, allow_absent=True)
    documents, rows = [], []
    for (topic, partition), replicas in sorted(wanted.items()):
        found = current.get((topic, partition))
        if (topic, partition) in ongoing:
            state = "in progress"
        else:
            state = "absent" if found is None else "complete" if found == replicas else "different"
        documents.append({
            "topic": topic,
            "partition": partition,
            "state": state,
            "replicas": None if found is None else list(found),
        })  # fmt: skip
        rows.append((f"{topic}-{partition}", state, None if found is None else _ids(found)))
    session.printer.show({"partitions": documents}, Table(("PARTITION", "STATE", "REPLICAS"), rows))
    left = sum(one["state"] != "complete" for one in documents)
    if left:
        raise Unhealthy(f"{left} of {len(wanted)} are not where the file wants them.")


@reassign.command("cancel")
@asks_cluster
async def cancel(session: Session, reassignment_json_file: ReassignmentFile) -> None:
    """Restores the former replicas. Partitions that are not being moved are left alone."""
    wanted = read_assignments(reassignment_json_file)
    ongoing = await _ongoing(session)
    moving = {one: None for one in wanted if one in ongoing}
    errors = await _alter(session, moving) if moving else {}
    stopped = plural(len(moving) - len(_failed(errors)), "reassignment")
    session.printer.show({"partitions": _documents(errors)}, f"Cancelled {stopped}.")
    check_items("cancelled", _failed(errors), len(moving))


@reassign.command("list")
@asks_cluster
async def list_reassignments(session: Session) -> None:
    """Lists the partitions that are being moved."""
    ongoing = sorted((await _ongoing(session)).items())
    documents = [
        {
            "topic": topic,
            "partition": partition,
            "replicas": list(one.replicas),
            "adding": list(one.adding_replicas),
            "removing": list(one.removing_replicas),
        }
        for (topic, partition), one in ongoing
    ]
    rows = [
        (f"{t}-{p}", _ids(one.replicas), _ids(one.adding_replicas), _ids(one.removing_replicas))
        for (t, p), one in ongoing
    ]
    session.printer.show(
        {"partitions": documents},
        Table(("PARTITION", "REPLICAS", "ADDING", "REMOVING"), rows),
        plural(len(rows), "partition") if rows else "No partition is being moved.",
    )


@app.command("elect-leaders")
@asks_cluster
async def elect_leaders(
    session: Session,
    election_type: Annotated[
        ElectionType,
        typer.Option("--election-type", metavar="preferred|unclean", help="Unclean ones may lose messages."),
    ],
    all_topic_partitions: Annotated[
        bool, typer.Option("--all-topic-partitions", help="For every partition that needs it.")
    ] = False,
    topic: Annotated[str | None, typer.Option("--topic", metavar="NAME", help="With --partition.")] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", metavar="N", min=0, help="With --topic.")
    ] = None,
    path_to_json_file: Annotated[
        pathlib.Path | None,
        typer.Option("--path-to-json-file", metavar="FILE", help="The partitions to elect leaders for."),
    ] = None,
) -> None:
    """Elects the preferred leaders, or whoever is there."""
    if (topic is None) != (partition is None):
        raise WrongUsage("--topic and --partition belong together.")
    if [all_topic_partitions, topic is not None, path_to_json_file is not None].count(True) != 1:
        raise WrongUsage(
            "It is not said for which partitions.",
            remedy="give one of --all-topic-partitions, --topic with --partition, --path-to-json-file",
        )
    places: list[Place] | None = None
    if topic is not None and partition is not None:
        places = [(topic, partition)]
    elif path_to_json_file is not None:
        places = read_places(path_to_json_file)
    response = await session.write(
        ElectLeadersRequest(
            election_type=_NUMBERS[election_type],
            topic_partitions=None
            if places is None
            else tuple(TopicPartitions(topic=t, partitions=tuple(p)) for t, p in _by_topic(places).items()),
            timeout_ms=session.timeout_ms,
        )
    )
    check_whole("No leader was elected.", response.error_code, None)
    results = {
        (one.topic, each.partition_id): (each.error_code, each.error_message)
        for one in response.replica_election_results
        for each in one.partition_result
    }
    needless = {one for one, (code, _) in results.items() if code is ErrorCode.election_not_needed}
    outcomes = {one: (ErrorCode.none, None) if one in needless else results[one] for one in results}
    errors = _failed(outcomes)
    elected = plural(len(outcomes) - len(needless) - len(errors), "leader")
    session.printer.show(
        {
            "partitions": [
                {"needed": (one["topic"], one["partition"]) not in needless, **one}
                for one in _documents(outcomes)
            ]
        },
        f"Elected {elected}; {len(needless)} had no need of an election.",
    )
    check_items("led anew", errors, len(results))


_Outcomes = Mapping[Place, tuple[ErrorCode, str | None]]


async def _alter(
    session: Session, wanted: Mapping[Place, tuple[int, ...] | None], *, may_resize: bool = True
) -> _Outcomes:
    response = await session.write(
        AlterPartitionReassignmentsRequest(
            timeout_ms=session.timeout_ms,
            allow_replication_factor_change=may_resize,
            topics=tuple(
                ReassignableTopic(
                    name=topic,
                    partitions=tuple(
                        ReassignablePartition(partition_index=one, replicas=wanted[topic, one])
                        for one in each
                    ),
                )
                for topic, each in _by_topic(wanted).items()
            ),
        )
    )
    check_whole("Nothing was changed.", response.error_code, response.error_message)
    return {
        (topic.name, one.partition_index): (one.error_code, one.error_message)
        for topic in response.responses
        for one in topic.partitions
    }


async def _ongoing(session: Session) -> dict[Place, OngoingPartitionReassignment]:
    response = await session.write(ListPartitionReassignmentsRequest(timeout_ms=session.timeout_ms))
    check_whole("The reassignments cannot be listed.", response.error_code, response.error_message)
    return {(topic.name, one.partition_index): one for topic in response.topics for one in topic.partitions}


async def _current(session: Session, topics: Iterable[str], *, allow_absent: bool = False) -> Assignments:
    names = tuple(MetadataRequestTopic(name=name) for name in sorted(topics))
    response = await session.write(MetadataRequest(topics=names, allow_auto_topic_creation=False))
    for topic in response.topics:
        if not allow_absent:
            check_whole(f"Topic {topic.name} cannot be looked at.", topic.error_code, None)
    return {
        (topic.name or "", one.partition_index): one.replica_nodes
        for topic in response.topics
        for one in topic.partitions
    }


def _by_topic(places: Iterable[Place]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for topic, partition in places:
        found[topic].append(partition)
    return found


def _failed(outcomes: _Outcomes) -> list[ItemError]:
    return [
        ItemError(item=f"partition {topic}-{partition}", code=code, message=message)
        for (topic, partition), (code, message) in sorted(outcomes.items())
        if code is not ErrorCode.none
    ]


def _documents(outcomes: _Outcomes) -> list[dict[str, Any]]:
    return [
        {"topic": topic, "partition": partition, "error": error_document(*result)}
        for (topic, partition), result in sorted(outcomes.items())
    ]


def _ids(replicas: Iterable[int]) -> str:
    return ",".join(map(str, replicas))
