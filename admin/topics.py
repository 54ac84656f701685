"""`quorate topics`: list, create, describe, alter (add partitions), delete; the options are those of kafka-topics."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import attrs
import typer

from quorate.admin import completing, parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import Refused, WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import ItemError, check_items, error_document
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ConfigSource, ResourceType
from quorate.metadata.ids import ZERO_UUID, uuid_from_text, uuid_to_text
from quorate.metadata.wire.cluster import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponseTopic,
    TopicRequest,
)
from quorate.metadata.wire.configs import DescribeConfigsRequest, DescribeConfigsResource
from quorate.metadata.wire.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)

app = command_group("List, create, describe, alter and delete topics.")

_ABSENT: Final = frozenset({ErrorCode.unknown_topic_or_partition, ErrorCode.unknown_topic_id})
_MIN_ISR: Final = "min.insync.replicas"

TopicsOption = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="NAME", help="A topic's name; several with commas, or repeated."),
]
ExcludeInternal = Annotated[bool, typer.Option("--exclude-internal", help="Leave internal topics out.")]
IfExists = Annotated[bool, typer.Option("--if-exists", help="A topic that does not exist is no error.")]
ValidateOnly = Annotated[
    bool, typer.Option("--validate-only", help="Let the controller check everything, and change nothing.")
]


@app.command("list")
@asks_cluster
async def list_topics(session: Session, exclude_internal: ExcludeInternal = False) -> None:
    """Lists all topics."""
    found = await session.read(MetadataRequest(topics=None, allow_auto_topic_creation=False))
    topics: list[MetadataResponseTopic] = sorted(
        (topic for topic in found.topics if not (exclude_internal and topic.is_internal)),
        key=lambda topic: topic.name or "",
    )
    documents = [
        {
            "name": topic.name,
            "id": uuid_to_text(topic.topic_id),
            "partitions": len(topic.partitions),
            "internal": topic.is_internal,
        }
        for topic in topics
    ]
    rows = [(one["name"], one["partitions"], one["id"]) for one in documents]
    session.printer.show(
        {"topics": documents},
        Table(("TOPIC", "PARTITIONS", "ID"), rows),
        f"{plural(len(rows), 'topic')}" if rows else "No topics.",
    )


# --- create


@app.command("create")
@asks_cluster
async def create_topics(
    session: Session,
    topic: TopicsOption = None,
    partitions: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many; the cluster's default if not given.")
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=32767, help="How many; the cluster's default if not given."),
    ] = None,
    replica_assignment: Annotated[
        str | None,
        typer.Option(
            metavar="ID:ID,ID:ID,…",
            help="The brokers of partition 0, of partition 1, …, instead of letting the controller place them.",
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A config of the topic; may be repeated.",
            autocompletion=completing.topic_config,
        ),
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="A topic that exists already is no error.")
    ] = False,
    validate_only: ValidateOnly = False,
) -> None:
    """Creates topics; several named at once are created together."""
    if replica_assignment is not None and (partitions is not None or replication_factor is not None):
        raise WrongUsage(
            "--replica-assignment stands alone.",
            why="it says already how many partitions and replicas there are",
            remedy="leave --partitions and --replication-factor out",
        )
    wanted = _required(topic)
    assignments = tuple(
        CreatableReplicaAssignment(partition_index=index, broker_ids=brokers)
        for index, brokers in enumerate(
            parsing.replica_assignment("--replica-assignment", replica_assignment)
        )
    )
    configs = parsing.one_pair_each("--config", config or ())
    request = CreateTopicsRequest(
        topics=tuple(
            CreatableTopic(
                name=name,
                num_partitions=-1 if partitions is None else partitions,
                replication_factor=-1 if replication_factor is None else replication_factor,
                assignments=assignments,
                configs=tuple(CreatableTopicConfig(name=key, value=value) for key, value in configs.items()),
            )
            for name in wanted
        ),
        timeout_ms=session.timeout_ms,
        validate_only=validate_only,
    )
    response = await session.write(request)
    _tell_created(session, response.topics, if_not_exists=if_not_exists, validate_only=validate_only)


def _tell_created(
    session: Session, results: Sequence[CreatableTopicResult], *, if_not_exists: bool, validate_only: bool
) -> None:
    documents, lines, errors = [], [], []
    for result in results:
        existed = if_not_exists and result.error_code is ErrorCode.topic_already_exists
        code = ErrorCode.none if existed else result.error_code
        documents.append(_created_document(result, code, existed=existed))
        if existed:
            lines.append(f"Topic {result.name} exists already.")
        elif code is not ErrorCode.none:
            errors.append(ItemError(item=f"topic {result.name}", code=code, message=result.error_message))
        else:
            lines.append(created_text(result, "Could create" if validate_only else "Created"))
    session.printer.show({"topics": documents, "validate_only": validate_only}, *lines)
    check_items("created", errors, len(results))


def created_text(result: CreatableTopicResult, verb: str) -> str:
    """A topic that was created, or could be. Who may not describe its configs is told nothing of it (KIP-525)."""
    if result.topic_config_error_code is not ErrorCode.none:
        return f"{verb} topic {result.name}; how is not shown, for want of DESCRIBE_CONFIGS on it."
    partitions = plural(result.num_partitions, "partition")
    return f"{verb} topic {result.name}: {partitions}, {plural(result.replication_factor, 'replica')} each."


def _created_document(result: CreatableTopicResult, code: ErrorCode, *, existed: bool) -> dict[str, Any]:
    created = code is ErrorCode.none and not existed
    shown = created and result.topic_config_error_code is ErrorCode.none
    return {
        "name": result.name,
        "id": uuid_to_text(result.topic_id) if created and result.topic_id != ZERO_UUID else None,
        "partitions": result.num_partitions if shown else None,
        "replication_factor": result.replication_factor if shown else None,
        "existed": existed,
        "error": error_document(code, result.error_message),
    }


# --- describe


@attrs.frozen(kw_only=True)
class _Described:
    """A topic as the cluster tells it, with its configs; or the error instead."""

    name: str
    topic: DescribeTopicPartitionsResponseTopic
    configs: Mapping[str, str]
    min_isr: int
    partitions: Sequence[DescribeTopicPartitionsResponsePartition]


@app.command("describe")
@asks_cluster
async def describe_topics(
    session: Session,
    topic: TopicsOption = None,
    topic_id: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A topic's id instead of its name.")
    ] = None,
    exclude_internal: ExcludeInternal = False,
    under_replicated: Annotated[
        bool,
        typer.Option(
            "--under-replicated-partitions",
            "--under-replicated",
            help="Only partitions with a replica out of sync.",
        ),
    ] = False,
    unavailable: Annotated[
        bool, typer.Option("--unavailable-partitions", help="Only partitions without a leader.")
    ] = False,
    under_min_isr: Annotated[
        bool,
        typer.Option(
            "--under-min-isr-partitions", help="Only partitions with fewer in sync than min.insync.replicas."
        ),
    ] = False,
    at_min_isr: Annotated[
        bool,
        typer.Option(
            "--at-min-isr-partitions", help="Only partitions with exactly min.insync.replicas in sync."
        ),
    ] = False,
    topics_with_overrides: Annotated[
        bool, typer.Option("--topics-with-overrides", help="Only topics with configs of their own.")
    ] = False,
    if_exists: IfExists = False,
) -> None:
    """Describes all topics, or those that are named."""
    wanted = await _names_to_describe(session, topic, topic_id)
    kept = _filters(
        under_replicated=under_replicated,
        unavailable=unavailable,
        under_min_isr=under_min_isr,
        at_min_isr=at_min_isr,
    )
    described = [
        one
        for one in await _describe(session, wanted)
        if not (exclude_internal and one.topic.is_internal)
        and not (topics_with_overrides and not one.configs)
        and not (if_exists and one.topic.error_code in _ABSENT)
    ]
    _tell_described(session, described, kept)


def _tell_described(session: Session, described: Sequence[_Described], kept: "_Kept | None") -> None:
    """All that was found; with filters only topics that have a partition left."""
    shown = list(described)
    if kept is not None:
        cut = [
            attrs.evolve(one, partitions=[part for part in one.partitions if kept(one, part)])
            for one in described
        ]
        shown = [one for one in cut if one.partitions or one.topic.error_code is not ErrorCode.none]
    good = [one for one in shown if one.topic.error_code is ErrorCode.none]
    session.printer.show({"topics": [_described_document(one) for one in shown]}, *_described_parts(good))
    errors = [
        ItemError(item=f"topic {one.name}", code=one.topic.error_code, message=None)
        for one in shown
        if one.topic.error_code is not ErrorCode.none
    ]
    check_items("described", errors, len(shown))


async def _names_to_describe(
    session: Session, topics: list[str] | None, topic_ids: list[str] | None
) -> list[str]:
    if topics:
        return parsing.names(topics)
    request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
    if topic_ids:
        wanted = tuple(MetadataRequestTopic(topic_id=_id(text)) for text in parsing.names(topic_ids))
        request = attrs.evolve(request, topics=wanted)
    found = await session.read(request)
    absent = [topic for topic in found.topics if topic.error_code is not ErrorCode.none]
    if absent:
        raise Refused(
            "There is no topic with this id.",
            where=", ".join(uuid_to_text(topic.topic_id) for topic in absent),
            why=absent[0].error_code.name.upper(),
            remedy="`quorate topics list` shows the ids",
        )
    return sorted(topic.name for topic in found.topics)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid_from_text(text)
    except ValueError as error:
        raise WrongUsage("--topic-id cannot be used.", why=str(error)) from error


async def _describe(session: Session, names: Sequence[str]) -> list[_Described]:
    """In pages, as the API wants it; a topic may be cut across two of them."""
    if not names:
        return []
    request = DescribeTopicPartitionsRequest(topics=tuple(TopicRequest(name=name) for name in names))
    topics: dict[str, DescribeTopicPartitionsResponseTopic] = {}
    while True:
        page = await session.read(request)
        for topic in page.topics:
            before = topics.get(topic.name)
            partitions = (*before.partitions, *topic.partitions) if before else topic.partitions
            topics[topic.name] = attrs.evolve(topic, partitions=partitions)
        if page.next_cursor is None:
            break
        request = attrs.evolve(request, cursor=page.next_cursor)
    configs = await _configs_of(session, [name for name in names if name in topics])
    return [
        _Described(
            name=name,
            topic=topics[name],
            configs=configs.get(name, ({}, 1))[0],
            min_isr=configs.get(name, ({}, 1))[1],
            partitions=topics[name].partitions,
        )
        for name in names
        if name in topics
    ]


async def _configs_of(session: Session, names: Sequence[str]) -> dict[str, tuple[dict[str, str], int]]:
    """name -> (what was set for this topic, min.insync.replicas)."""
    request = DescribeConfigsRequest(
        resources=tuple(
            DescribeConfigsResource(resource_type=ResourceType.TOPIC, resource_name=name) for name in names
        )
    )
    found = {}
    for result in (await session.read(request)).results:
        if result.error_code is ErrorCode.none:
            own = {
                config.name: config.value or ""
                for config in result.configs
                if config.config_source == ConfigSource.TOPIC
            }
            min_isr = next((config.value for config in result.configs if config.name == _MIN_ISR), None)
            found[result.resource_name] = (dict(sorted(own.items())), int(min_isr or 1))
    return found


_Kept = Callable[[_Described, DescribeTopicPartitionsResponsePartition], bool]


def _filters(
    *, under_replicated: bool, unavailable: bool, under_min_isr: bool, at_min_isr: bool
) -> _Kept | None:
    """Whether a partition is shown: all options that were given must agree. None: no option was given."""
    if not (under_replicated or unavailable or under_min_isr or at_min_isr):
        return None

    def kept(one: _Described, part: DescribeTopicPartitionsResponsePartition) -> bool:
        in_sync = len(part.isr_nodes)
        return not (
            (under_replicated and in_sync >= len(part.replica_nodes))
            or (unavailable and part.leader_id >= 0)
            or (under_min_isr and in_sync >= one.min_isr)
            or (at_min_isr and in_sync != one.min_isr)
        )

    return kept


def _described_document(one: _Described) -> dict[str, Any]:
    return {
        "name": one.name,
        "id": uuid_to_text(one.topic.topic_id) if one.topic.topic_id != ZERO_UUID else None,
        "internal": one.topic.is_internal,
        "configs": one.configs,
        "partitions": [
            {
                "partition": part.partition_index,
                "leader": part.leader_id if part.leader_id >= 0 else None,
                "leader_epoch": part.leader_epoch,
                "replicas": list(part.replica_nodes),
                "isr": list(part.isr_nodes),
                "offline": list(part.offline_replicas),
                "elr": _list(part.eligible_leader_replicas),
                "last_known_elr": _list(part.last_known_elr),
            }
            for part in one.partitions
        ],
        "error": error_document(one.topic.error_code, None),
    }


def _list(ids: tuple[int, ...] | None) -> list[int] | None:
    return None if ids is None else list(ids)


def _described_parts(described: Sequence[_Described]) -> list[str | Table]:
    parts: list[str | Table] = []
    for one in described:
        factor = len(one.topic.partitions[0].replica_nodes) if one.topic.partitions else 0
        configs = ", ".join(f"{key}={value}" for key, value in one.configs.items())
        parts.append(
            f"Topic: {one.name}  id: {uuid_to_text(one.topic.topic_id)}  "
            f"partitions: {len(one.topic.partitions)}  replication factor: {factor}  configs: {configs or '-'}"
        )
        rows = [
            (
                part.partition_index,
                part.leader_id if part.leader_id >= 0 else "none",
                _ids(part.replica_nodes),
                _ids(part.isr_nodes),
                _ids(part.eligible_leader_replicas or ()),
                _ids(part.offline_replicas),
            )
            for part in one.partitions
        ]
        parts.append(Table(("PARTITION", "LEADER", "REPLICAS", "ISR", "ELR", "OFFLINE"), rows))
    return parts or ["No topics."]


def _ids(ids: Sequence[int]) -> str | None:
    return ",".join(map(str, ids)) or None


# --- alter, delete


@app.command("alter")
@asks_cluster
async def alter_topics(
    session: Session,
    topic: TopicsOption = None,
    partitions: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The new total; a topic can only grow.")
    ] = None,
    replica_assignment: Annotated[
        str | None, typer.Option(metavar="ID:ID,…", help="The brokers of each added partition.")
    ] = None,
    if_exists: IfExists = False,
    validate_only: ValidateOnly = False,
) -> None:
    """Adds partitions to topics. Configs are changed with `quorate configs alter`."""
    if partitions is None:
        raise WrongUsage("Nothing is to be altered.", why="--partitions is not given")
    wanted = _required(topic)
    added = (
        None
        if replica_assignment is None
        else tuple(
            CreatePartitionsAssignment(broker_ids=brokers)
            for brokers in parsing.replica_assignment("--replica-assignment", replica_assignment)
        )
    )
    request = CreatePartitionsRequest(
        topics=tuple(
            CreatePartitionsTopic(name=name, count=partitions, assignments=added) for name in wanted
        ),
        timeout_ms=session.timeout_ms,
        validate_only=validate_only,
    )
    response = await session.write(request)
    documents, lines, errors = [], [], []
    for result in response.results:
        absent = if_exists and result.error_code in _ABSENT
        code = ErrorCode.none if absent else result.error_code
        done = code is ErrorCode.none and not absent
        documents.append(
            {
                "name": result.name,
                "partitions": partitions if done else None,
                "existed": not absent,
                "error": error_document(code, result.error_message),
            }
        )
        if code is not ErrorCode.none:
            errors.append(ItemError(item=f"topic {result.name}", code=code, message=result.error_message))
        elif absent:
            lines.append(f"Topic {result.name} does not exist.")
        else:
            verb = "could have" if validate_only else "has"
            lines.append(f"Topic {result.name} {verb} {plural(partitions, 'partition')}.")
    session.printer.show({"topics": documents, "validate_only": validate_only}, *lines)
    check_items("altered", errors, len(wanted))


@app.command("delete")
@asks_cluster
async def delete_topics(session: Session, topic: TopicsOption = None, if_exists: IfExists = False) -> None:
    """Deletes topics, with all that belongs to them. Names are taken literally, never as patterns."""
    wanted = _required(topic)
    request = DeleteTopicsRequest(
        topics=tuple(DeleteTopicState(name=name) for name in wanted), timeout_ms=session.timeout_ms
    )
    response = await session.write(request)
    documents, lines, errors = [], [], []
    for result in sorted(response.responses, key=lambda one: one.name or ""):
        absent = if_exists and result.error_code in _ABSENT
        code = ErrorCode.none if absent else result.error_code
        documents.append(
            {
                "name": result.name,
                "existed": result.error_code not in _ABSENT,
                "error": error_document(code, result.error_message),
            }
        )
        if code is not ErrorCode.none:
            errors.append(ItemError(item=f"topic {result.name}", code=code, message=result.error_message))
        else:
            lines.append(f"Topic {result.name} did not exist." if absent else f"Deleted topic {result.name}.")
    session.printer.show({"topics": documents}, *lines)
    check_items("deleted", errors, len(wanted))


def _required(topics: list[str] | None) -> list[str]:
    wanted = parsing.names(topics or ())
    if not wanted:
        raise WrongUsage("No topic is named.", remedy="add --topic NAME")
    return wanted
