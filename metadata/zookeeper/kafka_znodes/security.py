"""ACLs and delegation tokens as znodes, and the notifications that go with them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from quorate.metadata.image.security import DelegationToken
from quorate.metadata.security.permissions import Acl, Operation, Pattern, Permission, Resource
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import (
    FormError,
    decoded,
    encoded,
    long,
    objects,
    text,
    texts,
    version_of,
)

UNKNOWN: Final = 0
"""The number of an operation that has no name here: Kafka reads any text as this one."""

ACL_VERSION: Final = 1
TOKEN_VERSION: Final = 3


def pascal(word: str) -> str:
    """`DESCRIBE_CONFIGS` as ACLs write it: `DescribeConfigs`."""
    return "".join(part.capitalize() for part in word.split("_"))


RESOURCE_NODES: Final[Mapping[str, int]] = {pascal(kind.name): kind.value for kind in Resource}
"""`Topic` -> its number: the nodes below `/kafka-acl`."""
_NODE_OF_RESOURCE: Final = {number: node for node, number in RESOURCE_NODES.items()}
_OPERATIONS: Final = {pascal(one.name).lower(): one.value for one in Operation}
_OPERATION_NAMES: Final = {one.value: pascal(one.name) for one in Operation} | {UNKNOWN: "Unknown"}
_PERMISSIONS: Final = {pascal(one.name).lower(): one.value for one in Permission}
_PERMISSION_NAMES: Final = {one.value: pascal(one.name) for one in Permission}
_STORES: Final = {Pattern.LITERAL.value: paths.LITERAL_ACLS, Pattern.PREFIXED.value: paths.PREFIXED_ACLS}


@attrs.frozen(order=True)
class AclNode:
    """Which resource a node with ACLs is about. The numbers are Kafka's."""

    resource_type: int
    pattern_type: int
    name: str

    @property
    def path(self) -> str:
        return f"{_STORES[self.pattern_type]}/{_NODE_OF_RESOURCE[self.resource_type]}/{self.name}"

    @property
    def change_prefix(self) -> str:
        """Below which its notifications are made."""
        literal = self.pattern_type == Pattern.LITERAL
        return paths.LITERAL_ACL_CHANGE_PREFIX if literal else paths.PREFIXED_ACL_CHANGE_PREFIX

    @property
    def change(self) -> bytes:
        """The notification: text for a literal resource, JSON for a prefix."""
        kind = Resource(self.resource_type).name
        if self.pattern_type == Pattern.LITERAL:
            return f"{kind}:{self.name}".encode()
        return encoded({"version": 1, "resourceType": kind, "name": self.name, "patternType": "PREFIXED"})


def acl_node(acl: Acl) -> AclNode:
    return AclNode(acl.resource_type, acl.pattern_type, acl.resource_name)


def why_no_acl_node(node: AclNode) -> str | None:
    """Why ZooKeeper has no place for ACLs of this resource; None: it has."""
    if node.pattern_type not in _STORES or node.resource_type not in _NODE_OF_RESOURCE:
        return "a pattern or a type of resource that Kafka's ZooKeeper mode does not have"
    return paths.why_no_node(node.name)


@attrs.frozen
class AclEntry:
    """One ACL of a node, or what is wrong with it."""

    acl: Acl | None
    trouble: FormError | None = attrs.field(default=None, eq=False)


def decode_acls(node: AclNode, data: bytes | None) -> list[AclEntry]:
    """The ACLs of a resource; null or empty data: none.

    Raises:
        FormError: of the node as a whole.
    """
    if not data:
        return []
    members = decoded(data)
    version_of(members, ACL_VERSION, ACL_VERSION)
    return [_entry(node, one) for one in objects(members, "acls")]


def _entry(node: AclNode, members: Mapping[str, Any]) -> AclEntry:
    try:
        permission = text(members, "permissionType")
        if permission.lower() not in _PERMISSIONS:
            raise FormError("unknown-permission", f"an ACL has the permission {permission!r}")
        operation = text(members, "operation")
        acl = Acl(
            resource_type=node.resource_type,
            resource_name=node.name,
            pattern_type=node.pattern_type,
            principal=text(members, "principal"),
            host=text(members, "host"),
            operation=_OPERATIONS.get(operation.lower(), UNKNOWN),
            permission_type=_PERMISSIONS[permission.lower()],
        )
        if not acl.principal.partition(":")[1]:
            raise FormError("bad-principal", f"the principal {acl.principal!r} is not TYPE:NAME")
    except FormError as error:
        return AclEntry(None, error)
    if acl.operation == UNKNOWN:
        return AclEntry(
            acl, FormError("unknown-operation", f"an ACL of {acl.principal} is for {operation!r}")
        )
    return AclEntry(acl)


def encode_acls(acls: Iterable[Acl]) -> bytes:
    """In the order given; Kafka keeps a set."""
    entries = [
        {
            "principal": acl.principal,
            "permissionType": _PERMISSION_NAMES[acl.permission_type],
            "host": acl.host,
            "operation": _OPERATION_NAMES.get(acl.operation, _OPERATION_NAMES[UNKNOWN]),
        }
        for acl in acls
    ]
    return encoded({"acls": entries, "version": ACL_VERSION})


def decode_acl_change(data: bytes | None, *, prefixed: bool) -> tuple[str, str]:
    """(type of resource in upper case, name) of a notification.

    Raises:
        FormError
    """
    if prefixed:
        members = decoded(data)
        version_of(members, 1, 1)
        return text(members, "resourceType"), text(members, "name")
    try:
        kind, colon, name = (data or b"").decode().partition(":")
    except UnicodeDecodeError:
        kind = colon = name = ""
    if not colon:
        raise FormError("wrong-value", "it is not TYPE:NAME")
    return kind, name


def decode_token(data: bytes | None) -> tuple[str, DelegationToken]:
    """(id, token); versions 1 to 3. The HMAC is nowhere: every node computes it from the id and the shared secret.

    Raises:
        FormError
    """
    members = decoded(data)
    version = version_of(members, 1, TOKEN_VERSION)
    owner = _principal(text(members, "owner"))
    requester = _principal(text(members, "tokenRequester")) if version == TOKEN_VERSION else owner
    return text(members, "tokenId"), DelegationToken(
        owner=owner,
        requester=requester,
        renewers=tuple(map(_principal, texts(members, "renewers"))),
        issue_timestamp=long(members, "issueTimestamp"),
        max_timestamp=long(members, "maxTimestamp"),
        expiration_timestamp=long(members, "expiryTimestamp"),
    )


def encode_token(token_id: str, token: DelegationToken) -> bytes:
    """Version 3."""
    return encoded(
        {
            "issueTimestamp": token.issue_timestamp,
            "renewers": [paths.sanitized(renewer) for renewer in token.renewers],
            "tokenRequester": paths.sanitized(token.requester),
            "tokenId": token_id,
            "owner": paths.sanitized(token.owner),
            "expiryTimestamp": token.expiration_timestamp,
            "maxTimestamp": token.max_timestamp,
            "version": TOKEN_VERSION,
        }
    )


def _principal(value: str) -> str:
    principal = paths.desanitized(value)
    if not principal.partition(":")[1]:
        raise FormError("bad-principal", f"the principal {principal!r} is not TYPE:NAME")
    return principal
