"""CreateTopics and DeleteTopics (KIP-4, KIP-464, KIP-516, KIP-525): every check in Kafka's order, with its code.

A request is one atomic batch. Items are judged one by one: a topic that is refused does not keep the others from
being created. Per topic the records stand in the order topic, configs, partitions, so that whoever reads a
partition knows its topic's configs.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import attrs

from quorate.controller.assignments import (
    check_manual_assignment,
    partition_records,
    place_partitions,
    require_active,
)
from quorate.controller.configs import check_topic_configs, config_record
from quorate.controller.context import Context
from quorate.controller.policies import ConfigsToAlter, TopicToCreate
from quorate.controller.result import ControllerResult, TooLarge, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ResourceType, effective_topic_configs
from quorate.metadata.ids import METADATA_TOPIC, ZERO_UUID, random_uuid
from quorate.metadata.image.topics import TopicImage, TopicsImage
from quorate.metadata.records import AnyDataRecord, RemoveTopicRecord, TopicRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Resource
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

MAX_NAME_LENGTH: Final = 249
"""A topic's name is part of a directory's name on Kafka's brokers."""
FIRST_VERSION_WITH_CONFIGS: Final = 5
"""CreateTopics answers configs and counts since this version (KIP-525)."""
FIRST_VERSION_WITH_DELETION_DISABLED: Final = 3
_LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")
_USE_DEFAULT: Final = -1


# --- CreateTopics -----------------------------------------------------------------------------------------


@attrs.define
class _Creation:
    """What one request has decided so far."""

    context: Context
    permitted_everywhere: bool
    repeated: set[str]
    records: list[AnyDataRecord] = attrs.Factory(list)
    names: dict[str, str] = attrs.Factory(dict)
    """Of the topics created by this request, by the form in which they could collide."""
    shown_configs: dict[tuple[tuple[str, str], ...], tuple[CreatableTopicConfigs, ...]] = attrs.Factory(dict)


def create_topics(context: Context, request: CreateTopicsRequest) -> ControllerResult[CreateTopicsResponse]:
    """Creates each topic that passes; `validate_only`: says what would happen."""
    counts = Counter(topic.name for topic in request.topics)
    creation = _Creation(
        context,
        permitted_everywhere=context.permits(
            Operation.CREATE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False
        ),
        repeated={name for name, count in counts.items() if count > 1},
    )
    results = []
    for topic in {topic.name: topic for topic in request.topics}.values():
        try:
            results.append(_create_topic(creation, topic))
        except TooLarge:
            raise
        except RequestRejected as refusal:
            results.append(
                CreatableTopicResult(name=topic.name, error_code=refusal.code, error_message=refusal.message)
            )
    records = () if request.validate_only else creation.records
    response = CreateTopicsResponse(throttle_time_ms=context.allowance.throttle_ms, topics=tuple(results))
    return ControllerResult(records, response)


def _create_topic(creation: _Creation, topic: CreatableTopic) -> CreatableTopicResult:
    context = creation.context
    _check_request(creation, topic.name)
    _check_name(topic.name)
    if context.image.topics.by_name(topic.name) is not None:
        reject(ErrorCode.topic_already_exists, f"Topic '{topic.name}' already exists.")
    _check_collision(creation, topic.name)
    configs = {config.name: config.value for config in topic.configs}
    overrides = check_topic_configs(context, configs)
    if overrides:
        _check_config_policy(context, topic.name, overrides)
    assignments = _assignments(creation, topic, len(overrides))
    _check_policy(context, topic, overrides, assignments)
    context.allowance.take(len(assignments))
    topic_id = random_uuid(context.rng)
    creation.records.append(TopicRecord(name=topic.name, topic_id=topic_id))
    creation.records += [
        config_record(ResourceType.TOPIC, topic.name, key, value) for key, value in overrides.items()
    ]
    creation.records += partition_records(context, topic_id, 0, assignments)
    creation.names[_collision_form(topic.name)] = topic.name
    result = CreatableTopicResult(name=topic.name, topic_id=topic_id)
    return _with_details(creation, result, overrides, assignments)


def _check_config_policy(context: Context, name: str, overrides: Mapping[str, str]) -> None:
    context.policies.check_configs(
        ConfigsToAlter(resource_type=int(ResourceType.TOPIC), resource_name=name, configs=overrides)
    )


def _check_policy(
    context: Context,
    topic: CreatableTopic,
    overrides: Mapping[str, str],
    assignments: Sequence[tuple[int, ...]],
) -> None:
    """With the counts as they would be, defaults filled in; or with the assignment, where the client chose it."""
    chosen = bool(topic.assignments)
    context.policies.check_topic(
        TopicToCreate(
            name=topic.name,
            num_partitions=None if chosen else len(assignments),
            replication_factor=None if chosen else len(assignments[0]),
            replicas_assignments=dict(enumerate(assignments)) if chosen else None,
            configs=overrides,
        )
    )


def _with_details(
    creation: _Creation,
    result: CreatableTopicResult,
    overrides: dict[str, str],
    assignments: list[tuple[int, ...]],
) -> CreatableTopicResult:
    """Counts and configs, for those who may see them."""
    if creation.context.api_version < FIRST_VERSION_WITH_CONFIGS:
        return result
    if not creation.context.permits(
        Operation.DESCRIBE_CONFIGS, Resource.TOPIC, result.name, log_if_denied=False
    ):
        return attrs.evolve(result, topic_config_error_code=ErrorCode.topic_authorization_failed)
    return attrs.evolve(
        result,
        num_partitions=len(assignments),
        replication_factor=len(assignments[0]),
        configs=_shown_configs(creation, overrides),
    )


def _shown_configs(creation: _Creation, overrides: dict[str, str]) -> tuple[CreatableTopicConfigs, ...]:
    # Many topics of one request usually have the same overrides, and there are some forty configs to show.
    key = tuple(sorted(overrides.items()))
    shown = creation.shown_configs.get(key)
    if shown is None:
        shown = creation.shown_configs[key] = tuple([
            CreatableTopicConfigs(
                name=config.name,
                value=config.value,
                read_only=config.read_only,
                config_source=config.source,
                is_sensitive=config.sensitive,
            )
            for config in effective_topic_configs(overrides, creation.context.node_configs())
        ])  # fmt: skip
    return shown


def _check_request(creation: _Creation, name: str) -> None:
    if name in creation.repeated:
        reject(ErrorCode.invalid_request, "Duplicate topic name.")
    if name == METADATA_TOPIC:
        reject(ErrorCode.invalid_request, f"Creation of internal topic {METADATA_TOPIC} is prohibited.")
    permitted = creation.permitted_everywhere or creation.context.permits(
        Operation.CREATE, Resource.TOPIC, name
    )
    if not permitted:
        reject(ErrorCode.topic_authorization_failed, f"Not authorized to create topic '{name}'.")


def _check_name(name: str) -> None:
    wrong = None
    if not name:
        wrong = "Topic name is illegal, it can't be empty."
    elif name in (".", ".."):
        wrong = 'Topic name cannot be "." or "..".'
    elif len(name) > MAX_NAME_LENGTH:
        wrong = (
            f"Topic name is illegal, it can't be longer than {MAX_NAME_LENGTH} characters; "
            f"this one has {len(name)}: {name[:20]}..."
        )
    elif not _LEGAL_NAME.fullmatch(name):
        wrong = (
            f'Topic name "{name}" is illegal, it contains a character other than ASCII alphanumerics, '
            "'.', '_' and '-'."
        )
    if wrong is not None:
        reject(ErrorCode.invalid_topic_exception, wrong)


def _check_collision(creation: _Creation, name: str) -> None:
    """Kafka's brokers name metrics after topics, with every "." as "_"."""
    existing = creation.names.get(_collision_form(name)) or colliding_topic(
        creation.context.image.topics, name
    )
    if existing is not None:
        reject(
            ErrorCode.invalid_topic_exception,
            f"Topic '{name}' collides with existing topic: {existing}. "
            "Names that differ only in '.' and '_' cannot exist side by side.",
        )


def _collision_form(name: str) -> str:
    return name.replace(".", "_")


def colliding_topic(topics: TopicsImage, name: str) -> str | None:
    """An existing topic whose name differs from this one only in "." and "_"."""
    parts = re.split(r"[._]", name)
    if len(parts) == 1:
        return None
    if 2 ** (len(parts) - 1) > topics.topic_count:
        form = _collision_form(name)
        return min(
            (t.name for t in topics.unordered() if _collision_form(t.name) == form and t.name != name),
            default=None,
        )
    for separators in itertools.product("._", repeat=len(parts) - 1):
        other = parts[0] + "".join(s + part for s, part in zip(separators, parts[1:], strict=True))
        if other != name and topics.by_name(other) is not None:
            return other
    return None


def _assignments(creation: _Creation, topic: CreatableTopic, config_count: int) -> list[tuple[int, ...]]:
    """The replicas of each partition, in order."""
    if topic.assignments:
        return _manual_assignments(creation, topic, config_count)
    config = creation.context.config
    if topic.replication_factor < _USE_DEFAULT or topic.replication_factor == 0:
        reject(
            ErrorCode.invalid_replication_factor,
            "Replication factor must be larger than 0, or -1 to use the default value; it is "
            f"{topic.replication_factor}.",
        )
    if topic.num_partitions < _USE_DEFAULT or topic.num_partitions == 0:
        reject(
            ErrorCode.invalid_partitions,
            f"Number of partitions was set to an invalid non-positive value: {topic.num_partitions}. "
            "Use -1 for the default.",
        )
    count = config.num_partitions if topic.num_partitions == _USE_DEFAULT else topic.num_partitions
    factor = (
        config.default_replication_factor
        if topic.replication_factor == _USE_DEFAULT
        else topic.replication_factor
    )
    creation.context.require_room(
        creation.records, 1 + config_count + count, f"creating topic '{topic.name}' and those before it"
    )
    return place_partitions(creation.context, count, factor)


def _manual_assignments(
    creation: _Creation, topic: CreatableTopic, config_count: int
) -> list[tuple[int, ...]]:
    for field, value in (
        ("replication factor", topic.replication_factor),
        ("numPartitions", topic.num_partitions),
    ):
        if value != _USE_DEFAULT:
            reject(
                ErrorCode.invalid_request,
                f"A manual partition assignment was specified, but {field} was not set to -1.",
            )
    creation.context.require_room(
        creation.records,
        1 + config_count + len(topic.assignments),
        f"creating topic '{topic.name}' and those before it",
    )
    found: dict[int, tuple[int, ...]] = {}
    expected_replicas = None
    for assignment in topic.assignments:
        if assignment.partition_index in found:
            reject(
                ErrorCode.invalid_replica_assignment,
                f"Found multiple manual partition assignments for partition {assignment.partition_index}.",
            )
        check_manual_assignment(creation.context, assignment.broker_ids, expected_replicas)
        expected_replicas = len(assignment.broker_ids)
        require_active(creation.context, assignment.broker_ids, assignment.partition_index)
        found[assignment.partition_index] = assignment.broker_ids
    if set(found) != set(range(len(found))):
        reject(
            ErrorCode.invalid_replica_assignment,
            "Partitions should be a consecutive 0-based integer sequence.",
        )
    return [found[index] for index in range(len(found))]


# --- DeleteTopics -----------------------------------------------------------------------------------------


def delete_topics(context: Context, request: DeleteTopicsRequest) -> ControllerResult[DeleteTopicsResponse]:
    """Deletes each topic that passes.

    Raises:
        RequestRejected: TOPIC_DELETION_DISABLED (INVALID_REQUEST below version 3) if this cluster forbids it.
    """
    if not context.config.delete_topic_enable:
        code = ErrorCode.topic_deletion_disabled
        if context.api_version < FIRST_VERSION_WITH_DELETION_DISABLED:
            code = ErrorCode.invalid_request
        reject(code, "Topic deletion is disabled: delete.topic.enable is false on the controller.")
    by_name = Counter(state.name for state in request.topics if state.topic_id == ZERO_UUID)
    by_id = Counter(state.topic_id for state in request.topics if state.name is None)
    everything = context.permits(Operation.DELETE, Resource.CLUSTER, CLUSTER_NAME, log_if_denied=False)
    results: list[DeletableTopicResult] = []
    deleted: set[UUID] = set()
    for state in dict.fromkeys(request.topics):
        try:
            _check_deletion(state, by_name, by_id)
            topic = _deletable(context, state, everything)
            if topic.id in deleted:
                reject(
                    ErrorCode.invalid_request,
                    "The provided topic name maps to an ID that was already supplied.",
                )
            context.allowance.take(topic.partition_count)
        except RequestRejected as refusal:
            results.append(
                DeletableTopicResult(
                    name=state.name,
                    topic_id=state.topic_id,
                    error_code=refusal.code,
                    error_message=refusal.message,
                )
            )
        else:
            deleted.add(topic.id)
            results.append(DeletableTopicResult(name=topic.name, topic_id=topic.id))
    context.require_room((), len(deleted), "deleting these topics")
    records = [
        RemoveTopicRecord(topic_id=result.topic_id)
        for result in results
        if result.error_code is ErrorCode.none
    ]
    response = DeleteTopicsResponse(throttle_time_ms=context.allowance.throttle_ms, responses=tuple(results))
    return ControllerResult(records, response)


def _check_deletion(state: DeleteTopicState, by_name: Counter[str | None], by_id: Counter[UUID]) -> None:
    if state.name is None and state.topic_id == ZERO_UUID:
        reject(ErrorCode.invalid_request, "Neither topic name nor id were specified.")
    if state.name is not None and state.topic_id != ZERO_UUID:
        reject(ErrorCode.invalid_request, "You may not specify both topic name and topic id.")
    if state.name is not None and by_name[state.name] > 1:
        reject(ErrorCode.invalid_request, "Duplicate topic name.")
    if state.name is None and by_id[state.topic_id] > 1:
        reject(ErrorCode.invalid_request, "Duplicate topic id.")


def _deletable(context: Context, state: DeleteTopicState, everything: bool) -> TopicImage:
    """The topic, if it exists as far as the caller may know and the caller may delete it."""
    topics = context.image.topics
    topic = topics.by_id(state.topic_id) if state.name is None else topics.by_name(state.name)
    name = state.name if topic is None else topic.name
    if topic is None and state.name is None:
        reject(ErrorCode.unknown_topic_id, "This server does not host this topic ID.")
    if name is not None and not everything:
        # Whoever asks by id has not said a name that could be denied; by name nothing is told before DESCRIBE.
        needed = [] if state.name is None else [Operation.DESCRIBE]
        needed += [] if topic is None else [Operation.DELETE]
        if not all(context.permits(operation, Resource.TOPIC, name) for operation in needed):
            reject(ErrorCode.topic_authorization_failed, "Not authorized to delete this topic.")
    if topic is None:
        reject(ErrorCode.unknown_topic_or_partition, f"This server does not host topic '{state.name}'.")
    return topic
