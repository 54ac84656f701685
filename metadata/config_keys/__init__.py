"""Kafka's configuration definitions, held as data: types, defaults, ranges, synonyms, documentation.

Pure but for the JSON files, which are read once, at the first look into a table. The subjects: `codes`
(numbers on the wire), `keys` (one key, and the tables), `validators` (what a key accepts), `validation`
(what a resource may have), `lists` (APPEND, SUBTRACT), `effective` (which value counts).
"""

from quorate.metadata.config_keys.codes import AlterOperation, ConfigSource, ConfigType, ResourceType, Scope
from quorate.metadata.config_keys.effective import (
    ConfigSynonym,
    EffectiveConfig,
    NodeConfigs,
    cluster_default_configs,
    effective_broker_configs,
    effective_broker_value,
    effective_client_metrics_configs,
    effective_group_configs,
    effective_topic_configs,
    effective_topic_value,
    topic_defaults,
)
from quorate.metadata.config_keys.keys import (
    BROKER_KEYS,
    CLIENT_METRICS_KEYS,
    GROUP_KEYS,
    TOPIC_KEYS,
    ConfigKey,
    InvalidConfigValue,
    Synonym,
    is_sensitive,
    key_for,
)
from quorate.metadata.config_keys.lists import append_to_list, subtract_from_list
from quorate.metadata.config_keys.validation import (
    MAX_VALUE_LENGTH,
    broker_id_of,
    validate_broker_configs,
    validate_client_metrics_configs,
    validate_group_configs,
    validate_topic_configs,
)
from quorate.metadata.config_keys.validators import ConfigValue, Validator

__all__ = [
    "BROKER_KEYS",
    "CLIENT_METRICS_KEYS",
    "GROUP_KEYS",
    "MAX_VALUE_LENGTH",
    "TOPIC_KEYS",
    "AlterOperation",
    "ConfigKey",
    "ConfigSource",
    "ConfigSynonym",
    "ConfigType",
    "ConfigValue",
    "EffectiveConfig",
    "InvalidConfigValue",
    "NodeConfigs",
    "ResourceType",
    "Scope",
    "Synonym",
    "Validator",
    "append_to_list",
    "broker_id_of",
    "cluster_default_configs",
    "effective_broker_configs",
    "effective_broker_value",
    "effective_client_metrics_configs",
    "effective_group_configs",
    "effective_topic_configs",
    "effective_topic_value",
    "is_sensitive",
    "key_for",
    "subtract_from_list",
    "topic_defaults",
    "validate_broker_configs",
    "validate_client_metrics_configs",
    "validate_group_configs",
    "validate_topic_configs",
]
