"""Where a server asks whether a call may go on, and what its caller may do with single things (shell: it logs).

Each server has one gate and asks it once per call, before anything else. What `Access` demands is refused here, in
the API's own shape; rights on single topics and configs are asked for later, through `permits`. Every refusal leaves
one line in the log.
"""

from collections.abc import Callable, Hashable
from typing import Final

import structlog

from quorate.metadata.calls import Call
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.authorizer import Authorizer
from quorate.metadata.security.permissions import (
    CLUSTER_NAME,
    Operation,
    Permits,
    Resource,
    permit_everything,
)
from quorate.metadata.wire.acls import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from quorate.metadata.wire.table import APIS, Access

_OPERATIONS: Final = {
    Access.CLUSTER_ACTION: Operation.CLUSTER_ACTION,
    Access.DESCRIBE: Operation.DESCRIBE,
    Access.ALTER: Operation.ALTER,
    Access.DESCRIBE_CONFIGS: Operation.DESCRIBE_CONFIGS,
    Access.ALTER_CONFIGS: Operation.ALTER_CONFIGS,
}
_ABOUT_ACLS: Final = frozenset(
    kind.api_key for kind in (CreateAclsRequest, DescribeAclsRequest, DeleteAclsRequest)
)

_log = structlog.get_logger("authorizer")


class Gate:
    """The gate of one server."""

    def __init__(
        self,
        authorizer: Authorizer | None,
        image: Callable[[], MetadataImage | None],
        *,
        at_controller: bool,
    ) -> None:
        """`image`: what decisions rest on now; None before the metadata is loaded."""
        self._authorizer = authorizer
        self._image = image
        self._at_brokers = {key: _OPERATIONS.get(api.access) for key, api in APIS.items()}
        self._demands = (
            {key: _OPERATIONS.get(api.access_at_controllers) for key, api in APIS.items()}
            if at_controller
            else self._at_brokers
        )

    def admits(self, call: Call) -> bool:
        """Whether the call may go on; if not, it has been refused."""
        if self._authorizer is None:
            if call.api_key not in _ABOUT_ACLS:
                return True
            call.reject(
                ErrorCode.security_disabled,
                "No Authorizer is configured, so ACLs would protect nothing. Set authorizer.class.name on all nodes.",
            )
            return False
        demands = self._demands if call.asked_at is None else self._at_brokers
        operation = demands[call.api_key]
        if operation is None or self.permits(call)(operation, Resource.CLUSTER, CLUSTER_NAME):
            return True
        call.reject(
            ErrorCode.cluster_authorization_failed,
            f"{APIS[call.api_key].name} needs {operation.name} on the cluster, which {call.principal} has not.",
        )
        return False

    def permits(self, call: Call) -> Permits:
        """What the caller may do, at the moment at which that is asked."""
        if self._authorizer is None:
            return permit_everything
        return _Rights(self._authorizer, self._image, call)

    def sees(self, call: Call) -> Hashable:
        """What the answer to a read depends on besides the image: whom it is for, and whether ACLs count yet. The same
        for all without an authorizer."""
        if self._authorizer is None:
            return None
        return call.principal, call.client_host, self._image() is not None


class _Rights:
    """The rights of one caller."""

    __slots__ = ("_api_key", "_authorizer", "_host", "_image", "_principal")

    def __init__(self, authorizer: Authorizer, image: Callable[[], MetadataImage | None], call: Call) -> None:
        self._authorizer = authorizer
        self._image = image
        self._principal = call.principal
        self._host = call.client_host
        self._api_key = call.api_key

    def __call__(
        self, operation: Operation, resource: Resource, name: str, *, log_if_denied: bool = True
    ) -> bool:
        if self._principal in self._authorizer.super_users:  # other nodes, all the time
            return True
        image = self._image()
        decision = self._authorizer.decide(image, self._principal, self._host, operation, resource, name)
        if log_if_denied and not decision.allowed:
            _log.info(
                "denied",
                principal=self._principal,
                host=self._host,
                operation=operation.name,
                resource=f"{resource.name}:{name}",
                api=APIS[self._api_key].name,
                because=_why(image, decision.forbidden_by),
            )
        return decision.allowed


def _why(image: MetadataImage | None, acl: object) -> str:
    if image is None:
        return "the metadata is not loaded yet"
    return "no ACL allows it" if acl is None else f"{acl}"
