"""The value that counts, where it comes from, and all the places that were looked at.

Precedence (KIP-226): the resource's own override, then the dynamic config of this broker, the dynamic
default of the cluster, the node's file, Kafka's default; on each level the key's synonyms in their order.
What is shown is what DescribeConfigs answers: sensitive values are never shown.

More truthful than Kafka in three places: a topic's `retention.ms` that comes from `log.retention.hours` is
said to come from there (Kafka calls it a default); `log.retention.hours` shows its own value also while
`log.retention.ms` overrides it; a listener's own key is as changeable as the key that it stands for.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import attrs

from quorate.metadata.config_keys.codes import ConfigSource, ConfigType, ResourceType, Scope
from quorate.metadata.config_keys.keys import (
    BLANKS,
    BROKER_KEYS,
    CLIENT_METRICS_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    Synonym,
    key_for,
)

_NOTHING: Mapping[str, str] = {}


@attrs.frozen(kw_only=True)
class ConfigSynonym:
    """One place where a value was found: the key there, its text there, and which place it is."""

    name: str
    value: str | None
    source: ConfigSource


@attrs.frozen(kw_only=True)
class EffectiveConfig:
    """One line of DescribeConfigs. `synonyms`: every place that has a value, the one that counts first."""

    name: str
    value: str | None
    source: ConfigSource
    synonyms: tuple[ConfigSynonym, ...]
    read_only: bool
    sensitive: bool
    type: ConfigType
    documentation: str

    @property
    def is_default(self) -> bool:
        return self.source is ConfigSource.DEFAULT


@attrs.frozen(kw_only=True)
class NodeConfigs:
    """What one node's own configs say, by level. Texts by key, as they were set."""

    broker_dynamic: Mapping[str, str] = _NOTHING
    cluster_dynamic: Mapping[str, str] = _NOTHING
    static: Mapping[str, str] = _NOTHING

    def levels(self) -> tuple[tuple[ConfigSource, Mapping[str, str]], ...]:
        """Highest first."""
        return (
            (ConfigSource.DYNAMIC_BROKER, self.broker_dynamic),
            (ConfigSource.DYNAMIC_DEFAULT_BROKER, self.cluster_dynamic),
            (ConfigSource.STATIC_BROKER, self.static),
        )


def effective_topic_value(name: str, overrides: Mapping[str, str], node: NodeConfigs) -> str | None:
    """One topic config as it counts, for decisions; None: it has no value."""
    key = TOPIC_KEYS.by_name[name]
    return overrides[name] if name in overrides else _inherited(key, node)


def topic_defaults(node: NodeConfigs) -> dict[str, str]:
    """What the node gives a topic without overrides, where that is not Kafka's default."""
    inherited = ((key, _inherited(key, node)) for key in TOPIC_KEYS.by_name.values())
    return {key.name: text for key, text in inherited if text is not None and text != key.default}


def effective_broker_value(name: str, node: NodeConfigs) -> str | None:
    """One broker config as it counts, for decisions; None: it has no value."""
    for _, level in node.levels():
        if name in level:
            return level[name]
    return BROKER_KEYS.by_name[name].default


def effective_topic_configs(
    overrides: Mapping[str, str], node: NodeConfigs, names: Collection[str] | None = None
) -> list[EffectiveConfig]:
    """All configs of a topic, or the named ones."""
    return _of_table(TOPIC_KEYS.by_name, ConfigSource.TOPIC, overrides, node, names)


def effective_group_configs(
    overrides: Mapping[str, str], node: NodeConfigs, names: Collection[str] | None = None
) -> list[EffectiveConfig]:
    """All configs of a group, or the named ones."""
    return _of_table(GROUP_KEYS.by_name, ConfigSource.GROUP, overrides, node, names)


def effective_client_metrics_configs(
    overrides: Mapping[str, str], names: Collection[str] | None = None
) -> list[EffectiveConfig]:
    """All configs of a client metrics subscription, or the named ones."""
    return _of_table(
        CLIENT_METRICS_KEYS.by_name, ConfigSource.CLIENT_METRICS, overrides, NodeConfigs(), names
    )


def effective_broker_configs(
    node: NodeConfigs,
    names: Collection[str] | None = None,
    own_keys: Mapping[str, ConfigKey] | None = None,
) -> list[EffectiveConfig]:
    """All configs of one broker or controller, or the named ones; keys that nobody knows where they are set.

    `own_keys`: keys of this program that Kafka does not have.
    """
    set_names = {name for _, level in node.levels() for name in level}
    known: dict[str, ConfigKey] = {**BROKER_KEYS.by_name, **(own_keys or {})}
    listed = {name for name, key in known.items() if not key.hidden} | set_names
    return [
        _broker_config(name, known.get(name) or key_for(ResourceType.BROKER, name), node)
        for name in sorted(listed)
        if not names or name in names
    ]


def cluster_default_configs(
    cluster_dynamic: Mapping[str, str], names: Collection[str] | None = None
) -> list[EffectiveConfig]:
    """The dynamic defaults of the whole cluster: only those that are set (the resource BROKER, "")."""
    node = NodeConfigs(cluster_dynamic=cluster_dynamic)
    return [
        attrs.evolve(
            config,
            synonyms=tuple(s for s in config.synonyms if s.source is ConfigSource.DYNAMIC_DEFAULT_BROKER),
        )
        for config in effective_broker_configs(node, names)
        if config.name in cluster_dynamic
    ]


def _of_table(
    keys: Mapping[str, ConfigKey],
    own_source: ConfigSource,
    overrides: Mapping[str, str],
    node: NodeConfigs,
    names: Collection[str] | None,
) -> list[EffectiveConfig]:
    """For topics, groups and subscriptions: an override, else what their synonyms on the node say."""
    listed = {name for name, key in keys.items() if not key.hidden}.union(overrides)
    return [
        _inheriting(name, keys.get(name), own_source, overrides, node)
        for name in sorted(listed)
        if not names or name in names
    ]


def _inheriting(
    name: str,
    key: ConfigKey | None,
    own_source: ConfigSource,
    overrides: Mapping[str, str],
    node: NodeConfigs,
) -> EffectiveConfig:
    places: list[tuple[ConfigSource, Synonym, str]] = []
    if name in overrides:
        text = overrides[name]
        places.append((own_source, Synonym(name), text if key is None else key.canonical(text)))
    if key is not None:
        places += _places(key.synonyms, node)
        if own_source is ConfigSource.GROUP and not key.synonyms and key.default is not None:
            places.append((ConfigSource.DEFAULT, Synonym(name), key.default))
    value = None if key is None else key.default
    if places:
        _, synonym, text = places[0]
        value = _scaled(text, synonym.factor)
    return _shown(name, key, value, ((source, synonym.name, text) for source, synonym, text in places))


def _broker_config(name: str, key: ConfigKey | None, node: NodeConfigs) -> EffectiveConfig:
    synonyms: tuple[Synonym, ...] = (Synonym(name),)
    if key is not None and key.synonyms:
        synonyms = key.synonyms
    elif key is not None and key.name != name:
        synonyms = (Synonym(name), Synonym(key.name))
    places = list(_places(synonyms, node))
    # log.retention.ms and log.retention.hours are two keys: each shows its own value, not its synonym's.
    while places and places[0][1].name != name:
        places.pop(0)
    value = key.default if key is not None and key.name == name else None
    if places:
        value = places[0][2]
    return _shown(
        name,
        key,
        value,
        ((source, synonym.name, text) for source, synonym, text in places),
        read_only=key is None or key.scope is Scope.READ_ONLY,
    )


def _places(synonyms: Collection[Synonym], node: NodeConfigs) -> Iterator[tuple[ConfigSource, Synonym, str]]:
    """Every place on the node that has a value, highest first, Kafka's defaults last."""
    for source, level in node.levels():
        for synonym in synonyms:
            if synonym.name in level:
                yield source, synonym, level[synonym.name]
    for synonym in synonyms:
        key = BROKER_KEYS.by_name.get(synonym.name)
        if key is not None and key.default is not None:
            yield ConfigSource.DEFAULT, synonym, key.default


def _inherited(key: ConfigKey, node: NodeConfigs) -> str | None:
    for _, level in node.levels():
        for synonym in key.synonyms:
            if synonym.name in level:
                return _scaled(level[synonym.name], synonym.factor)
    return key.default


def _scaled(text: str, factor: int) -> str:
    """Hours and minutes as milliseconds; anything negative means "no limit", which is -1."""
    if factor == 1:
        return text
    try:
        value = int(text.strip(BLANKS)) * factor
    except ValueError:
        return text
    return str(max(value, -1))


def _shown(
    name: str,
    key: ConfigKey | None,
    value: str | None,
    places: Iterable[tuple[ConfigSource, str, str]],
    read_only: bool = False,
) -> EffectiveConfig:
    sensitive = key is None or key.sensitive
    hide: Callable[[str], str | None] = (lambda _: None) if sensitive else (lambda text: text)
    synonyms = tuple(
        ConfigSynonym(name=synonym, value=hide(text), source=source) for source, synonym, text in places
    )
    return EffectiveConfig(
        name=name,
        value=None if sensitive or value is None or key is None else key.canonical(value),
        source=synonyms[0].source if synonyms else ConfigSource.DEFAULT,
        synonyms=synonyms,
        read_only=read_only,
        sensitive=sensitive,
        type=ConfigType.UNKNOWN if key is None else key.type,
        documentation="" if key is None else key.documentation,
    )
