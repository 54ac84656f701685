"""What a caller may do, as handlers ask it: Kafka's numbers for operations and resources (KIP-11, KIP-140).

The decision itself is the authorizer's; the shell binds it to the caller's principal and hands it in. Handlers ask
only where Kafka answers item by item (a topic, a config resource); a right that a whole API needs is checked
before the request gets here.
"""

import enum
from collections.abc import Callable
from typing import Final, TypeAlias

CLUSTER_NAME: Final = "kafka-cluster"
"""The only name of a resource of type CLUSTER."""


class Operation(enum.IntEnum):
    """Of an ACL."""

    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11


class Resource(enum.IntEnum):
    """What an ACL is for."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4


Permits: TypeAlias = Callable[[Operation, Resource, str], bool]
"""(operation, resource type, resource name) -> may the caller do this?"""


def permit_everything(_operation: Operation, _resource: Resource, _name: str) -> bool:
    """The answer of a cluster without an authorizer."""
    return True
