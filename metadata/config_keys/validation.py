"""Is this a config that a resource may have? Names, values, and what keys demand of each other.

The rules are those of Kafka's controller (ControllerConfigurationValidator, LogConfig, GroupConfig,
ClientMetricsConfigs) and, for brokers, those that Kafka checks at the broker before it forwards
(DynamicBrokerConfig): here the controller checks them too, so that no way in is unchecked.

Each function raises RequestRejected with Kafka's code; what it lets through can be stored.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NoReturn

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys.codes import Scope
from quorate.metadata.config_keys.keys import (
    BROKER_KEYS,
    CLIENT_METRICS_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    InvalidConfigValue,
    KeyTable,
    base_name,
)
from quorate.metadata.config_keys.validators import ConfigValue
from quorate.metadata.ids import NodeId

MAX_VALUE_LENGTH = 32767
"""Characters of one value (Kafka's limit)."""

_NOTHING: Mapping[str, str] = {}
_AS_RETENTION = -2
"""local.retention.*: the same as retention.*"""
_FOR_EVER = -1


def validate_topic_configs(
    configs: Mapping[str, str | None],
    *,
    existing: Mapping[str, str] = _NOTHING,
    defaults: Mapping[str, str] = _NOTHING,
    remote_storage_system: bool = False,
) -> None:
    """Checks all configs a topic would have: those it keeps and those that are set.

    `existing`: what it had before. `defaults`: what the node's own configs give a topic without overrides
    (`topic_defaults`). `remote_storage_system`: remote.log.storage.system.enable of this node.

    Raises:
        RequestRejected: INVALID_CONFIG.
    """
    values = _parsed(configs, TOPIC_KEYS, "topic")
    if "min.compaction.lag.ms" in values or "max.compaction.lag.ms" in values:
        _check_compaction_lag(_TopicValues(values, defaults))
    if values.get("remote.storage.enable"):
        _check_remote_topic(_TopicValues(values, defaults), remote_storage_system)
    elif existing and not values.get("remote.log.delete.on.disable"):
        _check_still_local(existing)


def validate_broker_configs(configs: Mapping[str, str], *, per_broker: bool) -> None:
    """Checks broker configs that a request sets, for one broker or (per_broker=False) for all of them.

    Keys that Kafka does not know are let through: plugins have keys of their own.

    Raises:
        RequestRejected: INVALID_REQUEST, which is what Kafka answers here (KAFKA-13609); INVALID_CONFIG for a
            value that is too long.
    """
    names = sorted(configs)
    refused: dict[_Bar, list[str]] = {}
    for name in names:
        bar = _bar(name)
        if bar is not None:
            refused.setdefault(bar, []).append(name)
    if refused:
        _refuse_brokers(refused, _Bar.READ_ONLY)
        _refuse_brokers(refused, _Bar.PER_LISTENER)
    values = {}
    for name in names:
        text = configs[name]
        _check_length(name, text)
        key = BROKER_KEYS.by_name.get(base_name(name))
        if key is not None and not _PLACEHOLDER.search(text):
            values[name] = _value(key, text, ErrorCode.invalid_request)
    if refused and not per_broker:
        _refuse_brokers(refused, _Bar.PER_BROKER)
    lag, longest = (
        values.get("log.cleaner.min.compaction.lag.ms"),
        values.get("log.cleaner.max.compaction.lag.ms"),
    )
    if isinstance(lag, int) and isinstance(longest, int) and lag > longest:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"conflicting settings log.cleaner.min.compaction.lag.ms ({lag}) > "
            f"log.cleaner.max.compaction.lag.ms ({longest}); the first must not exceed the second",
        )


def validate_group_configs(
    configs: Mapping[str, str | None], *, static: Mapping[str, str] = _NOTHING
) -> None:
    """Checks all configs a group would have, against the bounds that the node's own configs set.

    Raises:
        RequestRejected: INVALID_CONFIG.
    """
    values = _parsed(configs, GROUP_KEYS, "group")
    for name, value in values.items():
        for word, bound_key in _group_bounds(name):
            bound = _number(BROKER_KEYS.by_name[bound_key], static)
            if isinstance(value, int) and (value < bound if word == "greater" else value > bound):
                _invalid(f"{name} must be {word} than or equal to {bound_key} ({bound}), but it is {value}")
    for kind in ("consumer", "share", "streams"):
        session, beat = f"{kind}.session.timeout.ms", f"{kind}.heartbeat.interval.ms"
        if session in values or beat in values:
            session_ms, beat_ms = (_group_number(name, values, static) for name in (session, beat))
            if session_ms <= beat_ms:
                _invalid(f"{session} ({session_ms}) must be greater than {beat} ({beat_ms})")
    _check_assignor(values.get("streams.assignor.name"), static)
    dead_letters = values.get("errors.deadletterqueue.topic.name")
    if isinstance(dead_letters, str) and dead_letters.startswith("__"):
        _invalid("errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'")


def _check_assignor(name: ConfigValue, static: Mapping[str, str]) -> None:
    key = BROKER_KEYS.by_name["group.streams.assignors"]
    known = key.parse(static.get(key.name, key.default))
    if name is not None and isinstance(known, tuple) and name not in known:
        _invalid(
            f"streams.assignor.name '{name}' is not a registered task assignor. "
            f"Registered assignors are: [{', '.join(known)}]."
        )


def validate_client_metrics_configs(configs: Mapping[str, str | None]) -> None:
    """Checks all configs of one client metrics subscription (KIP-714).

    Raises:
        RequestRejected: INVALID_REQUEST for unknown keys and for the interval, else INVALID_CONFIG; as Kafka.
    """
    for name in configs:
        if name not in CLIENT_METRICS_KEYS.by_name:
            raise RequestRejected(ErrorCode.invalid_request, f"Unknown client metrics configuration: {name}")
    values = _parsed(configs, CLIENT_METRICS_KEYS, "client metrics")
    interval_ms = values.get("interval.ms")
    if isinstance(interval_ms, int) and not 100 <= interval_ms <= 3_600_000:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"Invalid value {interval_ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        )
    patterns = values.get("match")
    for pattern in patterns if isinstance(patterns, tuple) else ():
        if not _is_match_pattern(pattern):
            _invalid(
                f"Illegal client matching pattern: {pattern}; it must be one of "
                f"{', '.join(_MATCH_PARAMETERS)}, then = and a regular expression"
            )


def broker_id_of(resource_name: str) -> NodeId | None:
    """Which node a BROKER resource names; None: the default of the whole cluster.

    Raises:
        RequestRejected: INVALID_REQUEST.
    """
    if not resource_name:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", resource_name) or int(resource_name) >= 1 << 31:
        raise RequestRejected(
            ErrorCode.invalid_request,
            f"Unable to parse broker name {resource_name!r} as a base 10 number: name a broker by its id, "
            "or leave the name empty for the default of the whole cluster.",
        )
    if int(resource_name) < 0:
        raise RequestRejected(ErrorCode.invalid_request, f"Invalid negative broker ID: {resource_name}.")
    return NodeId(int(resource_name))


# --- names and single values


def _parsed(configs: Mapping[str, str | None], table: KeyTable, kind: str) -> dict[str, ConfigValue]:
    keys = table.by_name
    values = {}
    for name, text in configs.items():
        key = keys.get(name)
        if key is None:
            _invalid(f"Unknown {kind} config name: {name}{_suggestion(name, keys)}")
        if text is None:
            nulls = ",".join(name for name, text in configs.items() if text is None)
            _invalid(f"Null value not supported for {kind} configs: {nulls}")
        _check_length(name, text)
        values[name] = _value(key, text, ErrorCode.invalid_config)
    return values


def _value(key: ConfigKey, text: str, code: ErrorCode) -> ConfigValue:
    try:
        return key.parse(text)
    except InvalidConfigValue as error:
        raise RequestRejected(code, str(error)) from None


def _check_length(name: str, text: str) -> None:
    if len(text) > MAX_VALUE_LENGTH:
        _invalid(
            f"The configuration value of {name} cannot be added because its {len(text)} characters "
            f"exceed the maximum value size of {MAX_VALUE_LENGTH}."
        )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f". Did you mean {close[0]}?" if close else ""


def _invalid(message: str) -> NoReturn:
    raise RequestRejected(ErrorCode.invalid_config, message)


# --- topics


class _TopicValues:
    """The value that each topic key would have: its override, else what the node gives, else the default."""

    def __init__(self, overrides: Mapping[str, ConfigValue], defaults: Mapping[str, str]) -> None:
        self._overrides = overrides
        self._defaults = defaults

    def __getitem__(self, name: str) -> ConfigValue:
        if name in self._overrides:
            return self._overrides[name]
        key = TOPIC_KEYS.by_name[name]
        return key.parse(self._defaults.get(name, key.default))

    def number(self, name: str) -> int:
        value = self[name]
        return value if isinstance(value, int) else 0


def _check_compaction_lag(values: _TopicValues) -> None:
    shortest, longest = values.number("min.compaction.lag.ms"), values.number("max.compaction.lag.ms")
    if shortest > longest:
        _invalid(
            f"conflict topic config setting min.compaction.lag.ms ({shortest}) > "
            f"max.compaction.lag.ms ({longest})"
        )


def _check_still_local(existing: Mapping[str, str]) -> None:
    if existing.get("remote.storage.enable", "false").strip().lower() == "true":
        _invalid(
            "It is invalid to disable remote storage without deleting remote data. "
            "If you want to keep the remote data and turn to read only, please set "
            "`remote.storage.enable=true,remote.log.copy.disable=true`. "
            "If you want to disable remote storage and delete all remote data, please set "
            "`remote.storage.enable=false,remote.log.delete.on.disable=true`."
        )


def _check_remote_topic(values: _TopicValues, remote_storage_system: bool) -> None:
    if not remote_storage_system:
        _invalid(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )
    if values["cleanup.policy"] not in ((), ("delete",)):
        _invalid(
            "Remote log storage only supports topics with cleanup.policy=delete "
            "or cleanup.policy being an empty list."
        )
    for what in ("bytes", "ms"):
        total, local = values.number(f"retention.{what}"), values.number(f"local.retention.{what}")
        if local == _AS_RETENTION:
            continue
        if total > _FOR_EVER:
            wrong = None
            if local == _FOR_EVER:
                wrong = f"Value must not be -1 as retention.{what} value is set as {total}."
            elif local > total:
                wrong = f"Value must not be more than retention.{what} property value: {total}"
            if wrong is not None:
                _invalid(f"Invalid value {local} for configuration local.retention.{what}: {wrong}")
        if values["remote.log.copy.disable"] and local != total:
            _invalid(
                f"When `remote.log.copy.disable` is set to true, the `local.retention.{what}` and "
                f"`retention.{what}` must be set to the identical value because there will be no more logs "
                "copied to the remote storage."
            )
    for what in ("bytes", "ms"):
        _check_copy_lag(values, what)


def _check_copy_lag(values: _TopicValues, what: str) -> None:
    """A segment has to be copied while it is still here (KIP-1241)."""
    local, lag = values.number(f"local.retention.{what}"), values.number(f"remote.copy.lag.{what}")
    kept = values.number(f"retention.{what}") if local == _AS_RETENTION else local
    if kept > _FOR_EVER and lag > kept:
        _invalid(
            f"Invalid value {lag} for configuration remote.copy.lag.{what}: Value must not exceed "
            f"local.retention.{what} (effective value: {kept})"
        )


# --- brokers

_PLACEHOLDER = re.compile(r"\$\{[^}]+:[^}]*\}")
"""${provider:path:key}: each broker resolves it for itself (KIP-297), so its value cannot be judged here."""

_SECURITY_KEYS = frozenset({
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
})  # fmt: skip


class _Bar(Enum):
    """Why a broker config cannot be set, or not for all brokers at once; in Kafka's words."""

    READ_ONLY = "Cannot update these configs dynamically"
    PER_LISTENER = (
        "These security configs can be dynamically updated only per-listener using the listener prefix"
    )
    PER_BROKER = "Cannot update these configs at default cluster level, broker id must be specified"


def _bar(name: str) -> _Bar | None:
    key, base = BROKER_KEYS.by_name.get(name), base_name(name)
    if key is not None and key.scope is Scope.READ_ONLY:
        return _Bar.READ_ONLY
    if name in _SECURITY_KEYS:
        return _Bar.PER_LISTENER
    if base != name:
        # A listener belongs to a broker; only its limits make sense for all brokers at once.
        limit = BROKER_KEYS.by_name.get(base)
        return None if limit is not None and limit.scope is Scope.CLUSTER_WIDE else _Bar.PER_BROKER
    return _Bar.PER_BROKER if key is not None and key.scope is Scope.PER_BROKER else None


def _refuse_brokers(refused: Mapping[_Bar, list[str]], bar: _Bar) -> None:
    names = refused.get(bar)
    if names:
        raise RequestRejected(ErrorCode.invalid_request, f"{bar.value}: {', '.join(names)}")


# --- groups and client metrics

_MATCH_PARAMETERS = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)
_JAVA_ONLY = re.compile(r"\\[pP]\{\w+\}")
"""Java's character classes, which our regular expressions lack; any one character stands in for them."""


def _group_bounds(name: str) -> Iterable[tuple[str, str]]:
    """The broker keys that bound a group key, such as `group.share.min.session.timeout.ms`."""
    if name == "streams.num.standby.replicas":
        return [("less", "group.streams.max.standby.replicas")]
    kind, _, rest = name.partition(".")
    bounds = (("greater", f"group.{kind}.min.{rest}"), ("less", f"group.{kind}.max.{rest}"))
    return [(word, bound) for word, bound in bounds if bound in BROKER_KEYS.by_name]


def _group_number(name: str, values: Mapping[str, ConfigValue], static: Mapping[str, str]) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else _number(BROKER_KEYS.by_name[f"group.{name}"], static)


def _number(key: ConfigKey, static: Mapping[str, str]) -> int:
    value = key.parse(static.get(key.name, key.default))
    return value if isinstance(value, int) else 0


def _is_match_pattern(text: str) -> bool:
    parameter, equals, pattern = text.partition("=")
    if not equals or "=" in pattern or not pattern or parameter.strip() not in _MATCH_PARAMETERS:
        return False
    try:
        re.compile(_JAVA_ONLY.sub(".", pattern.strip()))
    except re.error:
        return False
    return True
