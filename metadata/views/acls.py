"""The answer to DescribeAcls (KIP-140): the ACLs that a filter means, by the resource that they are about."""

from collections import defaultdict

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.security.acl_filters import AclFilter, check_filter
from quorate.metadata.wire.acls import (
    AclDescription,
    DescribeAclsRequest,
    DescribeAclsResource,
    DescribeAclsResponse,
)


def answer_describe_acls(image: MetadataImage, request: DescribeAclsRequest) -> DescribeAclsResponse:
    """Raises:
    RequestRejected: INVALID_REQUEST, for a filter with a number that Kafka does not have.
    """
    wanted = AclFilter(
        resource_type=request.resource_type_filter,
        resource_name=request.resource_name_filter,
        pattern_type=request.pattern_type_filter,
        principal=request.principal_filter,
        host=request.host_filter,
        operation=request.operation,
        permission_type=request.permission_type,
    )
    check_filter(wanted)
    by_resource: defaultdict[tuple[int, str, int], list[AclDescription]] = defaultdict(list)
    for acl in image.acls.by_id.values():
        if wanted.matches(acl):
            by_resource[acl.resource_type, acl.resource_name, acl.pattern_type].append(
                AclDescription(
                    principal=acl.principal,
                    host=acl.host,
                    operation=acl.operation,
                    permission_type=acl.permission_type,
                )
            )
    return DescribeAclsResponse(
        resources=tuple(
            DescribeAclsResource(
                resource_type=resource_type,
                resource_name=name,
                pattern_type=pattern_type,
                acls=tuple(sorted(found, key=_in_order)),
            )
            for (resource_type, name, pattern_type), found in sorted(by_resource.items())
        )
    )


def _in_order(one: AclDescription) -> tuple[str, str, int, int]:
    return one.principal, one.host, one.operation, one.permission_type
