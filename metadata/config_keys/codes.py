"""Kafka's numbers for configs on the wire: resource types, operations, sources, value types.

Sources and types: DescribeConfigs (KIP-226, KIP-569); operations: IncrementalAlterConfigs (KIP-339).
"""

import enum


class ResourceType(enum.IntEnum):
    """What a config belongs to. The metadata log stores the number."""

    TOPIC = 2
    BROKER = 4
    """Named by a node id; the empty name is the default of the whole cluster."""
    BROKER_LOGGER = 8
    """The log levels of one running process; never in the metadata log."""
    CLIENT_METRICS = 16
    GROUP = 32


class AlterOperation(enum.IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigSource(enum.IntEnum):
    """Where an effective value comes from."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class ConfigType(enum.IntEnum):
    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Scope(enum.Enum):
    """How a broker key can be changed while the cluster runs, in the words of Kafka's documentation."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    """For one broker only: a cluster-wide default is refused."""
    CLUSTER_WIDE = "cluster-wide"
    """For the whole cluster, or for one broker."""
