"""Which ACLs a filter means (KIP-140, KIP-290), and whether a filter or a new ACL means anything at all."""

import enum

import attrs

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.security.permissions import (
    ANY,
    CLUSTER_NAME,
    WILDCARD,
    Acl,
    Operation,
    Pattern,
    Permission,
    Resource,
)


@attrs.frozen(kw_only=True)
class AclFilter:
    """Every field is a condition; None or ANY is none. The numbers are Kafka's."""

    resource_type: int = ANY
    resource_name: str | None = None
    pattern_type: int = ANY
    principal: str | None = None
    host: str | None = None
    operation: int = ANY
    permission_type: int = ANY

    def matches(self, acl: Acl) -> bool:
        return (
            self.resource_type in (ANY, acl.resource_type)
            and self.principal in (None, acl.principal)
            and self.host in (None, acl.host)
            and self.operation in (ANY, acl.operation)
            and self.permission_type in (ANY, acl.permission_type)
            and self._matches_pattern(acl)
        )

    def _matches_pattern(self, acl: Acl) -> bool:
        if self.pattern_type not in (ANY, Pattern.MATCH, acl.pattern_type):
            return False
        if self.resource_name is None or self.resource_name == acl.resource_name:
            return True
        if self.pattern_type != Pattern.MATCH:
            return False
        if acl.pattern_type == Pattern.LITERAL:
            return acl.resource_name == WILDCARD
        return self.resource_name.startswith(acl.resource_name)


def check_filter(wanted: AclFilter) -> None:
    """Raises:
    RequestRejected: INVALID_REQUEST, for a number that Kafka does not have.
    """
    _check_number("resourceType", wanted.resource_type, Resource, or_any=True)
    _check_number("patternType", wanted.pattern_type, Pattern, or_any=True)
    _check_number("operation", wanted.operation, Operation, or_any=True)
    _check_number("permissionType", wanted.permission_type, Permission, or_any=True)


def check_new_acl(acl: Acl) -> None:
    """Raises:
    RequestRejected: INVALID_REQUEST, for an ACL that Kafka would not have. In its order.
    """
    if acl.resource_type == Resource.CLUSTER and acl.resource_name != CLUSTER_NAME:
        _refuse(f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}, not {acl.resource_name!r}.")
    if not acl.resource_name:
        _refuse(f"Invalid empty resource name. The name {WILDCARD!r} stands for every resource of its type.")
    _check_number("resourceType", acl.resource_type, Resource)
    if acl.pattern_type not in (Pattern.LITERAL, Pattern.PREFIXED):
        _refuse(
            f"Invalid patternType {acl.pattern_type}: an ACL is for a literal name (3) or for a prefix (4)."
        )
    _check_number("operation", acl.operation, Operation)
    _check_number("permissionType", acl.permission_type, Permission)
    if ":" not in acl.principal:
        _refuse(
            f"Could not parse principal from `{acl.principal}` (no colon is present separating the principal type "
            "from the principal name)."
        )


def _check_number(what: str, number: int, kind: type[enum.IntEnum], *, or_any: bool = False) -> None:
    if number in {one.value for one in kind} or (or_any and number == ANY):
        return
    known = ", ".join(f"{one.value} {one.name}" for one in kind)
    _refuse(f"Invalid {what} {number}: Kafka knows {known}{f', {ANY} ANY' if or_any else ''}.")


def _refuse(text: str) -> None:
    raise RequestRejected(ErrorCode.invalid_request, text)
