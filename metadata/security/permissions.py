"""The words of ACLs, and what a caller may do, as handlers ask it: Kafka's numbers (KIP-11, KIP-140, KIP-290).

The decision itself is the authorizer's; the shell binds it to the caller's principal and hands it in. Handlers ask
only where Kafka answers item by item (a topic, a config resource); a right that a whole API needs is checked
before the request gets here.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import attrs

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


@attrs.frozen(kw_only=True)
class Acl:
    """One ACL: who may or may not do what to which resources. The numbers are Kafka's."""

    resource_type: int
    resource_name: str
    pattern_type: int
    principal: str
    host: str
    operation: int
    permission_type: int


MEANINGFUL: Final[Mapping[Resource, tuple[Operation, ...]]] = MappingProxyType(
    {
        Resource.TOPIC: (
            Operation.READ,
            Operation.WRITE,
            Operation.CREATE,
            Operation.DELETE,
            Operation.ALTER,
            Operation.DESCRIBE,
            Operation.DESCRIBE_CONFIGS,
            Operation.ALTER_CONFIGS,
        ),
        Resource.CLUSTER: (
            Operation.CREATE,
            Operation.ALTER,
            Operation.DESCRIBE,
            Operation.CLUSTER_ACTION,
            Operation.DESCRIBE_CONFIGS,
            Operation.ALTER_CONFIGS,
            Operation.IDEMPOTENT_WRITE,
        ),
    }
)
"""What can be done with a resource, as far as answers tell it (KIP-430)."""


class Permits(Protocol):
    """(operation, resource type, resource name) -> may the caller do this?"""

    def __call__(
        self, operation: Operation, resource: Resource, name: str, *, log_if_denied: bool = True
    ) -> bool:
        """`log_if_denied`: false where a denial refuses nothing, because another right will do or something is only
        left out of an answer. Then it is nothing for the audit log."""
        ...


def permit_everything(
    operation: Operation, resource: Resource, name: str, *, log_if_denied: bool = True
) -> bool:
    """The answer of a cluster without an authorizer."""
    return True


def authorized_operations(permits: Permits, resource: Resource, name: str) -> int:
    """All that the caller may do with a resource, as the bits of `authorized_operations` (KIP-430)."""
    return sum(
        1 << operation
        for operation in MEANINGFUL[resource]
        if permits(operation, resource, name, log_if_denied=False)
    )
