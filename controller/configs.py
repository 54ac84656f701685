"""IncrementalAlterConfigs and AlterConfigs (KIP-339, KIP-133), and the configs of a new topic.

Resources are judged one by one; the records of those that pass form one batch. What a resource would have
afterwards is validated as a whole, since keys depend on each other. A record is written for a value that changes;
for a broker always, because setting a keystore's path to what it was makes brokers read the file again
(KAFKA-14136).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs

from quorate.controller import eligible_leaders
from quorate.controller.context import Context
from quorate.controller.policies import ConfigsToAlter
from quorate.controller.result import ControllerResult, TooLarge, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import (
    AlterOperation,
    ResourceType,
    append_to_list,
    broker_id_of,
    effective_topic_value,
    subtract_from_list,
    validate_broker_configs,
    validate_client_metrics_configs,
    validate_group_configs,
    validate_topic_configs,
)
from quorate.metadata.config_keys.keys import TOPIC_KEYS
from quorate.metadata.ids import NodeId
from quorate.metadata.records import AnyDataRecord, ConfigRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Resource
from quorate.metadata.wire.configs import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    IncrementalAlterConfigsResponse,
)

Changes: TypeAlias = dict[str, str | None]
"""What becomes of each key that a request names; None: it is deleted."""


class _Resource(Protocol):
    @property
    def resource_type(self) -> int: ...
    @property
    def resource_name(self) -> str: ...


# --- the two APIs ---------------------------------------------------------------------------------------------


def incremental_alter_configs(
    context: Context, request: IncrementalAlterConfigsRequest
) -> ControllerResult[IncrementalAlterConfigsResponse]:
    """Sets, deletes, appends to and subtracts from single keys."""
    alteration = _Alteration.of(context, request.resources)
    results = []
    for resource in request.resources:
        try:
            alteration.check(resource)
            current = context.image.configs.of(resource.resource_type, resource.resource_name)
            changes = _incremental_changes(resource, current)
            alteration.apply(resource, current, changes, changes)
        except RequestRejected as refusal:
            results.append(_refused(resource, refusal))
        else:
            results.append(_done(resource))
    records = () if request.validate_only else alteration.records
    return ControllerResult(records, IncrementalAlterConfigsResponse(responses=tuple(results)))


def alter_configs(context: Context, request: AlterConfigsRequest) -> ControllerResult[AlterConfigsResponse]:
    """The older call: every key that is not named is deleted."""
    alteration = _Alteration.of(context, request.resources)
    results = []
    for resource in request.resources:
        try:
            alteration.check(resource)
            current = context.image.configs.of(resource.resource_type, resource.resource_name)
            changes = _replacing_changes(resource, current)
            # What is deleted because it is not named was never shown to policies (KAFKA-14195).
            named = {key: value for key, value in changes.items() if value is not None}
            alteration.apply(resource, current, changes, named)
        except RequestRejected as refusal:
            results.append(_refused(resource, refusal))
        else:
            results.append(_done(resource))
    records = () if request.validate_only else alteration.records
    return ControllerResult(records, AlterConfigsResponse(responses=tuple(results)))


def _incremental_changes(resource: IncrementalAlterConfigsResource, current: Mapping[str, str]) -> Changes:
    changes: Changes = {}
    for config in resource.configs:
        if config.name in changes:
            reject(ErrorCode.invalid_request, f"Error due to duplicate config keys: {config.name}")
        changes[config.name] = _new_value(resource.resource_type, config, current.get(config.name))
    return changes


def _new_value(resource_type: int, config: IncrementalAlterableConfig, current: str | None) -> str | None:
    if config.config_operation == AlterOperation.DELETE:
        return None
    if config.value is None:
        reject(ErrorCode.invalid_config, f"Null value not supported for the change of config {config.name}.")
    match config.config_operation:
        case AlterOperation.SET:
            return config.value
        case AlterOperation.APPEND:
            return append_to_list(resource_type, config.name, current, config.value)
        case AlterOperation.SUBTRACT:
            return subtract_from_list(resource_type, config.name, current, config.value)
        case _:
            raise RequestRejected(
                ErrorCode.invalid_request,
                f"Unknown operation {config.config_operation} for config {config.name}: "
                "0 sets, 1 deletes, 2 appends, 3 subtracts.",
            )


def _replacing_changes(resource: AlterConfigsResource, current: Mapping[str, str]) -> Changes:
    changes: Changes = {}
    for config in resource.configs:
        if config.name in changes:
            reject(ErrorCode.invalid_request, f"Error due to duplicate config keys: {config.name}")
        if config.value is None:
            reject(ErrorCode.invalid_config, f"Null value not supported for config {config.name}.")
        changes[config.name] = config.value
    changes.update((name, None) for name in current if name not in changes)
    return changes


def _done(resource: _Resource) -> AlterConfigsResourceResponse:
    return AlterConfigsResourceResponse(
        resource_type=resource.resource_type, resource_name=resource.resource_name
    )


def _refused(resource: _Resource, refusal: RequestRejected) -> AlterConfigsResourceResponse:
    if isinstance(refusal, TooLarge):
        raise refusal
    return AlterConfigsResourceResponse(
        error_code=refusal.code,
        error_message=refusal.message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )


# --- what both have in common ---------------------------------------------------------------------------------


@attrs.define
class _Alteration:
    """One request on its way: the records so far, and which resources it names twice."""

    context: Context
    repeated: frozenset[tuple[int, str]]
    records: list[AnyDataRecord] = attrs.Factory(list)

    @classmethod
    def of(cls, context: Context, resources: Sequence[_Resource]) -> "_Alteration":
        if len(resources) < 2:
            return cls(context, frozenset())
        counts = Counter((r.resource_type, r.resource_name) for r in resources)
        return cls(context, frozenset(key for key, count in counts.items() if count > 1))

    def check(self, resource: _Resource) -> None:
        """Whether the resource may be changed at all, before its values are looked at."""
        if self.repeated and (resource.resource_type, resource.resource_name) in self.repeated:
            reject(ErrorCode.invalid_request, "Each resource must appear at most once.")
        _check_permitted(self.context, resource.resource_type, resource.resource_name)
        _check_exists(self.context, resource.resource_type, resource.resource_name)

    def apply(
        self,
        resource: _Resource,
        current: Mapping[str, str],
        changes: Changes,
        named: Mapping[str, str | None],
    ) -> None:
        """Validates what the resource would have, and writes what differs. `named`: those changes that a policy is
        asked about."""
        type_, name = resource.resource_type, resource.resource_name
        eligible_leaders.check_config(self.context, type_, name, changes)
        _validate(self.context, type_, name, current, changes)
        always = type_ == ResourceType.BROKER
        self.context.policies.check_configs(
            ConfigsToAlter(
                resource_type=type_,
                resource_name=name,
                configs={key: value for key, value in named.items() if always or current.get(key) != value},
            )
        )
        self.context.require_room(self.records, len(changes), "this change of configs")
        for key, value in changes.items():
            if always or current.get(key) != value:
                record = config_record(type_, name, key, value)
                self.records += [record, *eligible_leaders.forgetting(self.context, record)]


_NEEDED: Final[Mapping[int, tuple[Resource, ErrorCode]]] = {
    ResourceType.TOPIC: (Resource.TOPIC, ErrorCode.topic_authorization_failed),
    ResourceType.GROUP: (Resource.GROUP, ErrorCode.group_authorization_failed),
    ResourceType.BROKER: (Resource.CLUSTER, ErrorCode.cluster_authorization_failed),
    ResourceType.CLIENT_METRICS: (Resource.CLUSTER, ErrorCode.cluster_authorization_failed),
}


def _check_permitted(context: Context, type_: int, name: str) -> None:
    needed = _NEEDED.get(type_)
    if needed is None:
        reject(
            ErrorCode.invalid_request,
            f"Unexpected resource type {type_}: the controller changes configs of topics (2), brokers (4), client "
            "metrics (16) and groups (32). The log levels of a broker (8) are changed at that broker.",
        )
    resource, code = needed
    if not context.permits(
        Operation.ALTER_CONFIGS, resource, CLUSTER_NAME if resource is Resource.CLUSTER else name
    ):
        reject(code, f"Not authorized to change the configs of {ResourceType(type_).name} '{name}'.")


def _check_exists(context: Context, type_: int, name: str) -> None:
    if type_ == ResourceType.TOPIC:
        if not name:
            reject(ErrorCode.invalid_request, "Default topic resources are not allowed.")
        if context.image.topics.by_name(name) is None:
            reject(ErrorCode.unknown_topic_or_partition, f"The topic '{name}' does not exist.")
    elif type_ == ResourceType.BROKER:
        node_id = broker_id_of(name)
        if node_id is not None and not _is_known_node(context, node_id):
            reject(
                ErrorCode.broker_id_not_registered,
                f"No broker or controller with id {node_id} found. Its configs can be set once it is registered; "
                "the empty name sets the default of the whole cluster.",
            )
    elif not name:
        kind = "client metrics" if type_ == ResourceType.CLIENT_METRICS else "group"
        reject(ErrorCode.invalid_request, f"Default {kind} resources are not allowed.")


def _is_known_node(context: Context, node_id: NodeId) -> bool:
    cluster = context.image.cluster
    return node_id in cluster.brokers or node_id in cluster.controllers or node_id == context.config.node_id


def _validate(context: Context, type_: int, name: str, current: Mapping[str, str], changes: Changes) -> None:
    if type_ == ResourceType.BROKER:
        set_now = {key: value for key, value in changes.items() if value is not None}
        validate_broker_configs(set_now, per_broker=bool(name))
        return
    merged = dict(current)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    if type_ == ResourceType.TOPIC:
        _validate_topic(context, merged, current)
    elif type_ == ResourceType.GROUP:
        validate_group_configs(merged, static=context.config.static)
    else:
        validate_client_metrics_configs(merged)


def _validate_topic(context: Context, configs: Mapping[str, str | None], existing: Mapping[str, str]) -> None:
    validate_topic_configs(
        configs,
        existing=existing,
        defaults=_Inherited(context),
        remote_storage_system=context.config.remote_log_storage_system_enable,
    )


class _Inherited(Mapping[str, str]):
    """What a topic inherits from this node, worked out only for the few keys that a check asks for."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, name: str) -> str:
        value = effective_topic_value(name, {}, self._context.node_configs())
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in TOPIC_KEYS if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


# --- for new topics -------------------------------------------------------------------------------------------


def check_topic_configs(context: Context, configs: Mapping[str, str | None]) -> dict[str, str]:
    """The overrides of a new topic.

    Raises:
        RequestRejected: INVALID_CONFIG.
    """
    if configs:
        _validate_topic(context, configs, {})
    return {name: value for name, value in configs.items() if value is not None}


def config_record(type_: int, name: str, key: str, value: str | None) -> ConfigRecord:
    """Sets one key, or deletes it."""
    return ConfigRecord(resource_type=int(type_), resource_name=name, name=key, value=value)
