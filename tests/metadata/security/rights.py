"""ACLs for tests: the records of rights, and who has them."""

import uuid
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from quorate.metadata.records import AccessControlEntryRecord
from quorate.metadata.security.permissions import CLUSTER_NAME, Operation, Pattern, Permission, Resource

ALICE = "User:alice"
"""Who has the rights that a test gives."""
Right: TypeAlias = tuple[Operation, Resource, str]


def on_cluster(operation: Operation) -> Right:
    return operation, Resource.CLUSTER, CLUSTER_NAME


def on_topic(operation: Operation, name: str) -> Right:
    return operation, Resource.TOPIC, name


def acl_records(
    rights: Iterable[Right], *, principal: str = ALICE, permission: Permission = Permission.ALLOW
) -> Iterator[AccessControlEntryRecord]:
    for operation, resource, name in rights:
        yield AccessControlEntryRecord(
            id=uuid.uuid5(
                uuid.NAMESPACE_OID, f"{principal} {permission.name} {operation.name} {resource} {name}"
            ),
            resource_type=int(resource),
            resource_name=name,
            pattern_type=int(Pattern.LITERAL),
            principal=principal,
            host="*",
            operation=int(operation),
            permission_type=int(permission),
        )
