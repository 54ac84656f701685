"""ACLs: the requests, as values that no version colours (KIP-140, KIP-290). The numbers are those of
`security.permissions`."""

from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class DescribeAclsRequest:
    api_key: ClassVar[int] = 29

    resource_type_filter: int
    resource_name_filter: str | None = None
    pattern_type_filter: int = 3
    principal_filter: str | None = None
    host_filter: str | None = None
    operation: int
    permission_type: int


@attrs.frozen(kw_only=True)
class AclDescription:
    principal: str
    host: str
    operation: int
    permission_type: int


@attrs.frozen(kw_only=True)
class DescribeAclsResource:
    resource_type: int
    resource_name: str
    pattern_type: int = 3
    acls: tuple[AclDescription, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeAclsResponse:
    api_key: ClassVar[int] = 29

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    resources: tuple[DescribeAclsResource, ...] = ()


@attrs.frozen(kw_only=True)
class AclCreation:
    resource_type: int
    resource_name: str
    resource_pattern_type: int = 3
    principal: str
    host: str
    operation: int
    permission_type: int


@attrs.frozen(kw_only=True)
class CreateAclsRequest:
    api_key: ClassVar[int] = 30

    creations: tuple[AclCreation, ...] = ()


@attrs.frozen(kw_only=True)
class AclCreationResult:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class CreateAclsResponse:
    api_key: ClassVar[int] = 30

    throttle_time_ms: int = 0
    results: tuple[AclCreationResult, ...] = ()


@attrs.frozen(kw_only=True)
class DeleteAclsFilter:
    resource_type_filter: int
    resource_name_filter: str | None = None
    pattern_type_filter: int = 3
    principal_filter: str | None = None
    host_filter: str | None = None
    operation: int
    permission_type: int


@attrs.frozen(kw_only=True)
class DeleteAclsRequest:
    api_key: ClassVar[int] = 31

    filters: tuple[DeleteAclsFilter, ...] = ()


@attrs.frozen(kw_only=True)
class DeleteAclsMatchingAcl:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    resource_type: int
    resource_name: str
    pattern_type: int = 3
    principal: str
    host: str
    operation: int
    permission_type: int


@attrs.frozen(kw_only=True)
class DeleteAclsFilterResult:
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    matching_acls: tuple[DeleteAclsMatchingAcl, ...] = ()


@attrs.frozen(kw_only=True)
class DeleteAclsResponse:
    api_key: ClassVar[int] = 31

    throttle_time_ms: int = 0
    filter_results: tuple[DeleteAclsFilterResult, ...] = ()
