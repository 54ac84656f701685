"""The answer to DescribeConfigs (KIP-133, KIP-226): every config of a resource, its value and where that comes from.

What a topic inherits comes from the answering node's own file and dynamic configs; so does all of the resource
BROKER, which only the node itself can describe. Controllers answer for themselves in the same way (KIP-919).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import (
    ConfigKey,
    ConfigSource,
    ConfigType,
    EffectiveConfig,
    NodeConfigs,
    ResourceType,
    cluster_default_configs,
    effective_broker_configs,
    effective_client_metrics_configs,
    effective_group_configs,
    effective_topic_configs,
)
from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.authorizer import DENIAL_CODES
from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permits,
    Resource,
    permit_everything,
)
from quorate.metadata.views.partitions import unknown_topic
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

_CLUSTER_DEFAULT: Final = ""
"""The name of the resource BROKER that stands for all of them."""


_OF_NAMES: Final[Mapping[int, Resource]] = {
    ResourceType.TOPIC: Resource.TOPIC,
    ResourceType.GROUP: Resource.GROUP,
}
"""Whose configs are asked for by a right on the thing itself; for all others it is one on the cluster."""


@attrs.frozen(kw_only=True)
class DescribingNode:
    """The node that answers: its id, and what its file says."""

    node_id: NodeId
    static: Mapping[str, str]
    own_keys: Mapping[str, ConfigKey]
    """Keys that Kafka does not have: `type(config).own_keys()`."""
    observed: Callable[[], Mapping[str, str]] = dict
    """What is no config and yet to be asked for like one, by its name: what the node has seen of itself."""

    def standing_for(self, node_id: NodeId, static: Mapping[str, str]) -> "DescribingNode":
        """As another node, which has no image of its own, would answer."""
        return attrs.evolve(self, node_id=node_id, static=static, observed=dict)

    def configs(self, image: MetadataImage) -> NodeConfigs:
        """What this node's configs say at that image, by level."""
        return NodeConfigs(
            broker_dynamic=_set_on(image, ResourceType.BROKER, str(self.node_id)),
            cluster_dynamic=_set_on(image, ResourceType.BROKER, _CLUSTER_DEFAULT),
            static=self.static,
        )


def answer_describe_configs(
    image: MetadataImage,
    request: DescribeConfigsRequest,
    node: DescribingNode,
    permits: Permits = permit_everything,
) -> DescribeConfigsResponse:
    """One result per resource; one that cannot be described does not keep the others from it."""
    describer = _Describer(image, request, node, permits)
    return DescribeConfigsResponse(results=tuple(map(describer.result, request.resources)))


class _Describer:
    """One answer on its way. What topics inherit is the same for all of them and is worked out once."""

    def __init__(
        self, image: MetadataImage, request: DescribeConfigsRequest, node: DescribingNode, permits: Permits
    ) -> None:
        self._image = image
        self._request = request
        self._node = node
        self._permits = permits
        self._node_configs = node.configs(image)
        self._inherited: dict[tuple[str, ...], dict[str, DescribeConfigsResourceResult]] = {}

    def result(self, resource: DescribeConfigsResource) -> DescribeConfigsResult:
        try:
            configs = self._configs(resource)
        except RequestRejected as refusal:
            return DescribeConfigsResult(
                error_code=refusal.code,
                error_message=refusal.message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
        return DescribeConfigsResult(
            resource_type=resource.resource_type, resource_name=resource.resource_name, configs=configs
        )

    def _check_permitted(self, kind: int, name: str) -> None:
        """Before anything is said about the resource, be it that there is none."""
        resource = _OF_NAMES.get(kind, Resource.CLUSTER)
        named = CLUSTER_NAME if resource is Resource.CLUSTER else name
        if not self._permits(Operation.DESCRIBE_CONFIGS, resource, named):
            raise RequestRejected(
                DENIAL_CODES[resource],
                f"Not authorized to describe the configs of {resource.name} {named!r}.",
            )

    def _configs(self, resource: DescribeConfigsResource) -> tuple[DescribeConfigsResourceResult, ...]:
        kind, name, keys = resource.resource_type, resource.resource_name, resource.configuration_keys
        self._check_permitted(kind, name)
        overrides = _set_on(self._image, kind, name)
        match kind:
            case ResourceType.TOPIC:
                if self._image.topics.by_name(name) is None:
                    raise RequestRejected(unknown_topic(name), f"There is no topic named {name!r}.")
                return self._of_topic(overrides, keys or ())
            case ResourceType.BROKER:
                return self._shown(self._of_broker(name, keys))
            case ResourceType.GROUP:
                _check_named(name, "A group")
                return self._shown(effective_group_configs(overrides, self._node_configs, keys))
            case ResourceType.CLIENT_METRICS:
                _check_named(name, "A client metrics subscription")
                return self._shown(effective_client_metrics_configs(overrides, keys))
            case ResourceType.BROKER_LOGGER:
                raise RequestRejected(
                    ErrorCode.invalid_request,
                    "The log levels of this program cannot be described; see quorate.log.level in its "
                    "configuration.",
                )
            case _:
                known = ", ".join(f"{one.value} ({one.name})" for one in ResourceType)
                raise RequestRejected(
                    ErrorCode.invalid_request, f"Resource type {kind} is not known. There are: {known}."
                )

    def _of_topic(
        self, overrides: Mapping[str, str], keys: tuple[str, ...]
    ) -> tuple[DescribeConfigsResourceResult, ...]:
        inherited = self._inherited.get(keys)
        if inherited is None:
            defaults = self._shown(effective_topic_configs({}, self._node_configs, keys))
            inherited = self._inherited[keys] = {config.name: config for config in defaults}
        own = [name for name in overrides if not keys or name in keys]
        if not own:
            return tuple(inherited.values())
        mine = self._shown(effective_topic_configs(overrides, self._node_configs, own))
        every = inherited | {config.name: config for config in mine}
        return tuple(every[name] for name in sorted(every))

    def _of_broker(self, name: str, keys: Collection[str] | None) -> list[EffectiveConfig]:
        if name == _CLUSTER_DEFAULT:
            return cluster_default_configs(self._node_configs.cluster_dynamic, keys)
        node_id = self._node.node_id
        if name != str(node_id):
            raise RequestRejected(
                ErrorCode.invalid_request,
                f"Unexpected node id {name}: this is node {node_id}, which knows its own configs and, under an "
                f"empty name, the defaults of the cluster. Ask node {name} itself.",
            )
        configs = effective_broker_configs(self._node_configs, keys, self._node.own_keys)
        seen = self._node.observed() if keys else {}
        return configs + [_observed(name, seen[name]) for name in seen if name in (keys or ())]

    def _shown(self, configs: Iterable[EffectiveConfig]) -> tuple[DescribeConfigsResourceResult, ...]:
        return tuple(_shown(config, self._request) for config in configs)


def _set_on(image: MetadataImage, kind: int, name: str) -> dict[str, str]:
    """A copy: the persistent map's keys are no set, and what is computed here takes unions of them."""
    return dict(image.configs.of(kind, name))


def _observed(name: str, value: str) -> EffectiveConfig:
    """Never listed with the configs, so that nobody mistakes it for one that could be set."""
    return EffectiveConfig(
        name=name,
        value=value,
        source=ConfigSource.DEFAULT,
        synonyms=(),
        read_only=True,
        sensitive=False,
        type=ConfigType.STRING,
        documentation="What this node has seen of itself; it cannot be set.",
    )


def _check_named(name: str, what: str) -> None:
    if not name:
        raise RequestRejected(ErrorCode.invalid_request, f"{what} needs a name.")


def _shown(config: EffectiveConfig, request: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=config.name,
        value=config.value,
        read_only=config.read_only,
        config_source=config.source,
        is_sensitive=config.sensitive,
        synonyms=tuple(
            DescribeConfigsSynonym(name=one.name, value=one.value, source=one.source)
            for one in (config.synonyms if request.include_synonyms else ())
        ),
        config_type=config.type,
        documentation=config.documentation if request.include_documentation else None,
    )
