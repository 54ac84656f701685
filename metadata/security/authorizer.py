"""What Kafka's StandardAuthorizer decides: super users, then ACLs (KIP-11, KIP-290, KIP-801).

Nobody but super users gets anything from a node that has not loaded the metadata yet: its ACLs are not all there, and
the ones that it knows may have been taken back.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.acl_index import ALLOWED, NOT_ALLOWED, Decision, caller
from quorate.metadata.security.permissions import Operation, Resource

STANDARD_AUTHORIZER: Final = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

DENIAL_CODES: Final[Mapping[Resource, ErrorCode]] = {
    Resource.TOPIC: ErrorCode.topic_authorization_failed,
    Resource.GROUP: ErrorCode.group_authorization_failed,
    Resource.CLUSTER: ErrorCode.cluster_authorization_failed,
}


@attrs.frozen(kw_only=True)
class Authorizer:
    """The settings of one node."""

    super_users: frozenset[str] = frozenset()
    """Exact principals, as `User:alice`."""
    allow_if_no_acl: bool = False
    """Whether a resource that no ACL is about is everybody's."""

    def decide(
        self,
        image: MetadataImage | None,
        principal: str,
        host: str,
        operation: Operation,
        resource: Resource,
        name: str,
    ) -> Decision:
        """`image`: None before the metadata is loaded."""
        if principal in self.super_users:
            return ALLOWED
        if image is None:
            return NOT_ALLOWED
        return image.acls.index.decide(
            caller(principal, host), operation, resource, name, if_no_acl=self.allow_if_no_acl
        )


def parse_super_users(text: str) -> frozenset[str]:
    """`User:alice;User:bob`. Semicolons, because the names of certificates have commas.

    Raises:
        ValueError: a part that is no principal.
    """
    found = [part.strip() for part in text.split(";") if part.strip()]
    for principal in found:
        kind, colon, name = principal.partition(":")
        if not (kind and colon and name):
            raise ValueError(f"{principal!r} is no principal; write type:name, as in User:alice;User:bob")
    return frozenset(found)


def parse_authorizer_class(text: str) -> bool:
    """Whether there is an authorizer.

    Raises:
        ValueError: another one than Kafka's own.
    """
    if text.strip() not in ("", STANDARD_AUTHORIZER):
        raise ValueError(
            f"Authorizers are Java classes and cannot be loaded; only {STANDARD_AUTHORIZER} is built in. "
            "Name that one, or leave this key empty to let every client do everything"
        )
    return bool(text.strip())
