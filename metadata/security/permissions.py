"""The words of ACLs, and what a caller may do, as handlers ask it: Kafka's numbers (KIP-11, KIP-140, KIP-290).

The decision itself is the authorizer's; the shell binds it to the caller's principal and hands it in. Handlers ask
only where Kafka answers item by item (a topic, a config resource); a right that a whole API needs is checked
before the request gets here.
"""

import enum
from collections.abc import Callable
from typing import Final, TypeAlias

CLUSTER_NAME: Final = "kafka-cluster"
"""The only name of a resource of type CLUSTER."""
ANYBODY: Final = "User:*"
"""The principal of an ACL for everybody."""
WILDCARD: Final = "*"
"""Of an ACL: every resource (as a literal name), every host."""
ANY: Final = 1
"""Of a filter: whatever it is. The same number for resources, patterns, operations and permissions."""


class Operation(enum.IntEnum):
    """Of an ACL."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class Resource(enum.IntEnum):
    """What an ACL is for."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class Pattern(enum.IntEnum):
    """How the name of an ACL's resource is meant. MATCH is for filters: whatever applies to a name."""

    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class Permission(enum.IntEnum):
    """What an ACL says."""

    DENY = 2
    ALLOW = 3


Permits: TypeAlias = Callable[[Operation, Resource, str], bool]
"""(operation, resource type, resource name) -> may the caller do this?"""


def permit_everything(_operation: Operation, _resource: Resource, _name: str) -> bool:
    """The answer of a cluster without an authorizer."""
    return True
