"""CreateAcls and DeleteAcls (KIP-140, KIP-290): each entry of a request is judged by itself.

Whether there is an authorizer for which ACLs would mean anything was asked before, at the gate.
"""

from collections.abc import Iterable
from uuid import UUID

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult
from quorate.metadata.checks import RequestRejected
from quorate.metadata.ids import random_uuid
from quorate.metadata.image.writer import acl_record
from quorate.metadata.records import AnyDataRecord, RemoveAccessControlEntryRecord
from quorate.metadata.security.acl_filters import AclFilter, check_filter, check_new_acl
from quorate.metadata.security.permissions import Acl
from quorate.metadata.wire.acls import (
    AclCreation,
    AclCreationResult,
    CreateAclsRequest,
    CreateAclsResponse,
    DeleteAclsFilter,
    DeleteAclsFilterResult,
    DeleteAclsMatchingAcl,
    DeleteAclsRequest,
    DeleteAclsResponse,
)


def create_acls(context: Context, request: CreateAclsRequest) -> ControllerResult[CreateAclsResponse]:
    """Adds ACLs. One that exists, also one that the same request has made, is a success without a record."""
    made: dict[Acl, UUID] = {}
    results = []
    for creation in request.creations:
        acl = _acl(creation)
        try:
            check_new_acl(acl)
        except RequestRejected as refusal:
            results.append(AclCreationResult(error_code=refusal.code, error_message=refusal.message))
            continue
        if acl not in made and acl not in context.image.acls.ids:
            made[acl] = _fresh_id(context, made.values())
        results.append(AclCreationResult())
    records = [acl_record(acl_id, acl) for acl, acl_id in made.items()]
    context.require_room(records, 0, "this creation of ACLs")
    return ControllerResult(records, CreateAclsResponse(results=tuple(results)))


def delete_acls(context: Context, request: DeleteAclsRequest) -> ControllerResult[DeleteAclsResponse]:
    """Removes every ACL that one of the filters means; each filter is told all that it means, overlaps included.

    Raises:
        RequestRejected: POLICY_VIOLATION, if these are more than one request may remove.
    """
    gone: dict[UUID, None] = {}
    results = []
    for one in request.filters:
        wanted = _filter(one)
        try:
            check_filter(wanted)
        except RequestRejected as refusal:
            results.append(DeleteAclsFilterResult(error_code=refusal.code, error_message=refusal.message))
            continue
        found = [(acl_id, acl) for acl_id, acl in context.image.acls.by_id.items() if wanted.matches(acl)]
        gone.update((acl_id, None) for acl_id, _ in found)
        context.require_room((), len(gone), "this deletion of ACLs")
        results.append(DeleteAclsFilterResult(matching_acls=tuple(_matching(acl) for _, acl in found)))
    records: list[AnyDataRecord] = [RemoveAccessControlEntryRecord(id=acl_id) for acl_id in gone]
    return ControllerResult(records, DeleteAclsResponse(filter_results=tuple(results)))


def _fresh_id(context: Context, taken: Iterable[UUID]) -> UUID:
    used = set(taken)
    while True:
        acl_id = random_uuid(context.rng)
        if acl_id not in used and acl_id not in context.image.acls.by_id:
            return acl_id


def _acl(creation: AclCreation) -> Acl:
    return Acl(
        resource_type=creation.resource_type,
        resource_name=creation.resource_name,
        pattern_type=creation.resource_pattern_type,
        principal=creation.principal,
        host=creation.host,
        operation=creation.operation,
        permission_type=creation.permission_type,
    )


def _filter(one: DeleteAclsFilter) -> AclFilter:
    return AclFilter(
        resource_type=one.resource_type_filter,
        resource_name=one.resource_name_filter,
        pattern_type=one.pattern_type_filter,
        principal=one.principal_filter,
        host=one.host_filter,
        operation=one.operation,
        permission_type=one.permission_type,
    )


def _matching(acl: Acl) -> DeleteAclsMatchingAcl:
    return DeleteAclsMatchingAcl(
        resource_type=acl.resource_type,
        resource_name=acl.resource_name,
        pattern_type=acl.pattern_type,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission_type,
    )
