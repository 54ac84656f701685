"""`quorate configs`: describe and alter dynamic configs; the options are those of kafka-configs."""

import difflib
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

import attrs
import typer

from quorate.admin import completing, parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import (
    AlterOperation,
    ConfigSource,
    ConfigType,
    ResourceType,
)
from quorate.metadata.settings import read
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResult,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    ListConfigResourcesRequest,
)

app = command_group("Describe and alter dynamic configs.")

_TYPES: Final = {
    "topics": ResourceType.TOPIC,
    "brokers": ResourceType.BROKER,
    "client-metrics": ResourceType.CLIENT_METRICS,
    "groups": ResourceType.GROUP,
}
_WORDS: Final = {
    ResourceType.TOPIC: "topic",
    ResourceType.BROKER: "broker",
    ResourceType.CLIENT_METRICS: "client-metrics",
    ResourceType.GROUP: "group",
}
_SOURCES: Final = {
    ConfigSource.TOPIC: "DYNAMIC_TOPIC_CONFIG",
    ConfigSource.DYNAMIC_BROKER: "DYNAMIC_BROKER_CONFIG",
    ConfigSource.DYNAMIC_DEFAULT_BROKER: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    ConfigSource.STATIC_BROKER: "STATIC_BROKER_CONFIG",
    ConfigSource.DEFAULT: "DEFAULT_CONFIG",
    ConfigSource.DYNAMIC_BROKER_LOGGER: "DYNAMIC_BROKER_LOGGER_CONFIG",
    ConfigSource.CLIENT_METRICS: "DYNAMIC_CLIENT_METRICS_CONFIG",
    ConfigSource.GROUP: "DYNAMIC_GROUP_CONFIG",
}
"""As Kafka's tools name them."""


@attrs.frozen
class _Entity:
    """What configs belong to; an empty name is the default of all brokers."""

    type: ResourceType
    name: str

    def __str__(self) -> str:
        if self.type is ResourceType.BROKER and not self.name:
            return "the default of all brokers"
        return f"{_WORDS[self.type]} {self.name}"


EntityType = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        help="topics, brokers, client-metrics or groups.",
        autocompletion=completing.entity_type,
    ),
]
EntityName = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Which one; several with commas, or repeated.")
]
EntityDefault = Annotated[
    bool, typer.Option("--entity-default", help="The default of all brokers, instead of a name.")
]
TopicOption = Annotated[
    list[str] | None, typer.Option("--topic", metavar="NAME", help="Short for a topic's type and name.")
]
BrokerOption = Annotated[
    list[str] | None, typer.Option("--broker", metavar="ID", help="Short for a broker's type and name.")
]
BrokerDefaults = Annotated[
    bool, typer.Option("--broker-defaults", help="Short for --entity-type brokers --entity-default.")
]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", metavar="NAME", help="Short for a group's type and name.")
]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--client-metrics", metavar="NAME", help="Short for a metrics subscription's type and name."
    ),
]


AddConfig = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE,…",
        help="Set; a value with commas stands in brackets: k=[a,b].",
        autocompletion=completing.topic_config,
    ),
]
DeleteConfig = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY,…",
        help="Remove, so that the default counts again.",
        autocompletion=completing.topic_config_key,
    ),
]


# --- describe


@app.command("describe")
@asks_cluster
async def describe_configs(
    session: Session,
    entity_type: EntityType = None,
    entity_name: EntityName = None,
    entity_default: EntityDefault = False,
    topic: TopicOption = None,
    broker: BrokerOption = None,
    broker_defaults: BrokerDefaults = False,
    group: GroupOption = None,
    client_metrics: MetricsOption = None,
    all: Annotated[
        bool, typer.Option("--all", help="Every effective value, not only those that were set.")
    ] = False,
    documentation: Annotated[bool, typer.Option("--documentation", help="What each key means.")] = False,
) -> None:
    """Shows configs. A type without a name means all topics or all brokers."""
    short = _short(topic, broker, broker_defaults, group, client_metrics)
    entities = await _all_of_type(session, _entities(entity_type, entity_name, entity_default, short))
    results = await _describe(session, entities, documentation=documentation)
    documents, parts, errors = [], [], []
    for entity, result in zip(entities, results, strict=True):
        shown = [config for config in result.configs if all or _is_set(entity, config)]
        documents.append(_described_document(entity, result, shown))
        if result.error_code is ErrorCode.none:
            parts += _described_parts(entity, shown, documentation=documentation)
        else:
            errors.append(ItemError(item=f"{entity}", code=result.error_code, message=result.error_message))
    session.printer.show({"resources": documents}, *parts)
    check_items("described", errors, len(entities))


async def _describe(
    session: Session, entities: Sequence[_Entity], *, documentation: bool
) -> list[DescribeConfigsResult]:
    """A broker's configs are asked of that broker: it alone knows its static ones."""
    brokers = {}
    if any(entity.type is ResourceType.BROKER and entity.name for entity in entities):
        view = await session.client.describe(session.timeout_ms)
        brokers = {str(node.id): node.address for node in view.nodes}
    found: dict[_Entity, DescribeConfigsResult] = {}
    elsewhere = [entity for entity in entities if _address_of(entity, brokers) is None]
    if elsewhere:
        response = await session.read(_describe_request(elsewhere, documentation=documentation))
        found.update(_by_entity(response.results))
    for entity in entities:
        address = _address_of(entity, brokers)
        if address is not None:
            request = _describe_request([entity], documentation=documentation)
            response = await session.client.call_at(address, request, session.timeout_ms)
            found.update(_by_entity(response.results))
    return [found[entity] for entity in entities]


def _address_of(entity: _Entity, brokers: dict[str, Any]) -> Any | None:
    return brokers.get(entity.name) if entity.type is ResourceType.BROKER else None


def _describe_request(entities: Sequence[_Entity], *, documentation: bool) -> DescribeConfigsRequest:
    return DescribeConfigsRequest(
        resources=tuple(
            DescribeConfigsResource(resource_type=entity.type, resource_name=entity.name)
            for entity in entities
        ),
        include_synonyms=True,
        include_documentation=documentation,
    )


def _by_entity(results: Sequence[DescribeConfigsResult]) -> dict[_Entity, DescribeConfigsResult]:
    return {_Entity(ResourceType(one.resource_type), one.resource_name): one for one in results}


def _is_set(entity: _Entity, config: DescribeConfigsResourceResult) -> bool:
    """Whether it was set while the cluster ran: on this entity, or for it by the default of all brokers."""
    dynamic = {
        ResourceType.TOPIC: (ConfigSource.TOPIC,),
        ResourceType.BROKER: (ConfigSource.DYNAMIC_BROKER, ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ResourceType.CLIENT_METRICS: (ConfigSource.CLIENT_METRICS,),
        ResourceType.GROUP: (ConfigSource.GROUP,),
    }
    return config.config_source in dynamic[entity.type]


def _described_document(
    entity: _Entity, result: DescribeConfigsResult, shown: Sequence[DescribeConfigsResourceResult]
) -> dict[str, Any]:
    return {
        "type": _WORDS[entity.type],
        "name": entity.name or None,
        "configs": [
            {
                "name": config.name,
                "value": config.value,
                "source": _source(config.config_source),
                "type": ConfigType(config.config_type).name,
                "sensitive": config.is_sensitive,
                "read_only": config.read_only,
                "documentation": config.documentation,
                "synonyms": [
                    {"name": one.name, "value": one.value, "source": _source(one.source)}
                    for one in config.synonyms
                ],
            }
            for config in shown
        ],
        "error": error_document(result.error_code, result.error_message),
    }


def _described_parts(
    entity: _Entity, shown: Sequence[DescribeConfigsResourceResult], *, documentation: bool
) -> list[str | Table]:
    if not shown:
        return [f"Nothing is set for {entity}."]
    titles = ("KEY", "VALUE", "SOURCE", *(("MEANING",) if documentation else ()))
    rows = [
        (
            config.name,
            "[hidden]" if config.is_sensitive else config.value,
            _source(config.config_source),
            *((config.documentation,) if documentation else ()),
        )
        for config in sorted(shown, key=lambda one: one.name)
    ]
    return [f"Configs of {entity}:", Table(titles, rows)]


def _source(number: int) -> str:
    return _SOURCES[ConfigSource(number)] if number in _SOURCES else "UNKNOWN"


# --- alter


@app.command("alter")
@asks_cluster
async def alter_configs(
    session: Session,
    entity_type: EntityType = None,
    entity_name: EntityName = None,
    entity_default: EntityDefault = False,
    topic: TopicOption = None,
    broker: BrokerOption = None,
    broker_defaults: BrokerDefaults = False,
    group: GroupOption = None,
    client_metrics: MetricsOption = None,
    add_config: AddConfig = None,
    add_config_file: Annotated[
        pathlib.Path | None, typer.Option(metavar="FILE", help="Set all that a file says.")
    ] = None,
    delete_config: DeleteConfig = None,
    append_config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE,…", help="Add to a list.")
    ] = None,
    subtract_config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE,…", help="Take out of a list.")
    ] = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Let the controller check everything, and change nothing.")
    ] = False,
) -> None:
    """Changes configs; keys that are not named keep their values."""
    short = _short(topic, broker, broker_defaults, group, client_metrics)
    entities = _entities(entity_type, entity_name, entity_default, short)
    if any(entity.name == _ALL for entity in entities):
        raise WrongUsage(
            "Nothing is named to be altered.", remedy="add --entity-name, or for brokers --entity-default"
        )
    changes = (
        *_from_file(add_config_file),
        *_changes(AlterOperation.SET, "--add-config", add_config),
        *_changes(AlterOperation.APPEND, "--append-config", append_config),
        *_changes(AlterOperation.SUBTRACT, "--subtract-config", subtract_config),
        *_deletions(delete_config),
    )
    _check_changes(changes)
    await _alter(session, entities, changes, validate_only=validate_only)


async def _alter(
    session: Session,
    entities: Sequence[_Entity],
    changes: tuple[IncrementalAlterableConfig, ...],
    *,
    validate_only: bool,
) -> None:
    request = IncrementalAlterConfigsRequest(
        resources=tuple(
            IncrementalAlterConfigsResource(
                resource_type=entity.type, resource_name=entity.name, configs=changes
            )
            for entity in entities
        ),
        validate_only=validate_only,
    )
    response = await session.write(request)
    documents, lines, errors = [], [], []
    for result in response.responses:
        entity = _Entity(ResourceType(result.resource_type), result.resource_name)
        error = error_document(result.error_code, result.error_message)
        documents.append({"type": _WORDS[entity.type], "name": entity.name or None, "error": error})
        if error is None:
            lines.append(f"{'Could alter' if validate_only else 'Altered'} the configs of {entity}.")
        else:
            errors.append(ItemError(item=str(entity), code=result.error_code, message=result.error_message))
    session.printer.show({"resources": documents, "validate_only": validate_only}, *lines)
    check_items("altered", errors, len(entities))


def _deletions(texts: list[str] | None) -> list[IncrementalAlterableConfig]:
    return [
        IncrementalAlterableConfig(name=name, config_operation=AlterOperation.DELETE)
        for name in parsing.names(texts or ())
    ]


def _changes(
    operation: AlterOperation, option: str, texts: list[str] | None
) -> list[IncrementalAlterableConfig]:
    pairs = parsing.many_pairs(option, texts or ())
    return [
        IncrementalAlterableConfig(name=name, config_operation=operation, value=value)
        for name, value in pairs.items()
    ]


def _from_file(path: pathlib.Path | None) -> list[IncrementalAlterableConfig]:
    if path is None:
        return []
    return [
        IncrementalAlterableConfig(name=name, config_operation=AlterOperation.SET, value=text.value)
        for name, text in read(path).texts.items()
    ]


def _check_changes(changes: Sequence[IncrementalAlterableConfig]) -> None:
    if not changes:
        raise WrongUsage(
            "Nothing is to be altered.", remedy="add --add-config KEY=VALUE or --delete-config KEY"
        )
    named = [change.name for change in changes]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise WrongUsage(
            f"{twice[0]} is to be altered twice.", remedy="say only once what shall become of it"
        )


# --- which entities

_ALL: Final = "\x00all"


def _short(
    topic: list[str] | None,
    broker: list[str] | None,
    broker_defaults: bool,
    group: list[str] | None,
    client_metrics: list[str] | None,
) -> list[_Entity]:
    named = (
        (ResourceType.TOPIC, topic),
        (ResourceType.BROKER, broker),
        (ResourceType.GROUP, group),
        (ResourceType.CLIENT_METRICS, client_metrics),
    )
    found = [_Entity(type, name) for type, texts in named for name in parsing.names(texts or ())]
    return [*found, _Entity(ResourceType.BROKER, "")] if broker_defaults else found


def _entities(
    type_word: str | None, names: list[str] | None, default: bool, short: list[_Entity]
) -> list[_Entity]:
    """What the options name; at least one."""
    if type_word is None:
        if not short or names or default:
            raise WrongUsage(
                "No entity is named.",
                remedy="add --topic NAME, --broker ID, --broker-defaults, or --entity-type TYPE --entity-name NAME",
            )
        return short
    if type_word == "broker-defaults":
        type_word, default = "brokers", True
    if type_word not in _TYPES:
        close = difflib.get_close_matches(type_word, list(_TYPES), n=1)
        raise WrongUsage(
            "--entity-type cannot be used.",
            why=f"there is no type {type_word}; there are {', '.join(_TYPES)}",
            remedy=f"did you mean {close[0]}?" if close else None,
        )
    type = _TYPES[type_word]
    if default:
        if type is not ResourceType.BROKER or names:
            raise WrongUsage("--entity-default stands for all brokers, without a name.")
        return [*short, _Entity(type, "")]
    found = [_Entity(type, name) for name in parsing.names(names or ())]
    return [*short, *(found or [_Entity(type, _ALL)])]


async def _all_of_type(session: Session, entities: list[_Entity]) -> list[_Entity]:
    """A type without a name stands for all that there are."""
    if not any(entity.name == _ALL for entity in entities):
        return entities
    view = await session.read(MetadataRequest(topics=None, allow_auto_topic_creation=False))
    expanded: list[_Entity] = []
    for entity in entities:
        if entity.name != _ALL:
            expanded.append(entity)
        elif entity.type is ResourceType.TOPIC:
            expanded += [_Entity(entity.type, name) for name in sorted(topic.name for topic in view.topics)]
        elif entity.type is ResourceType.BROKER:
            expanded += [_Entity(entity.type, str(one.node_id)) for one in view.brokers]
        else:
            expanded += await _listed(session, entity.type)
    return expanded


async def _listed(session: Session, type: ResourceType) -> list[_Entity]:
    """Those on which anything is set (KIP-714, KIP-1142)."""
    response = await session.read(ListConfigResourcesRequest(resource_types=(type,)))
    check_whole("The entities were not listed.", response.error_code, None)
    return [_Entity(type, one.resource_name) for one in response.config_resources]
