"""`quorate acls`: list, add and remove ACLs; the options are those of kafka-acls."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import attrs
import typer

from quorate.admin.asking import Session, asks_cluster, confirm
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.metadata.checks import ErrorCode
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
from quorate.metadata.wire.acls import (
    AclCreation,
    CreateAclsRequest,
    DeleteAclsFilter,
    DeleteAclsMatchingAcl,
    DeleteAclsRequest,
    DescribeAclsRequest,
)

app = command_group("Who may do what: list, add and remove ACLs.")

_TITLES: Final = ("RESOURCE", "NAME", "PATTERN", "PRINCIPAL", "HOST", "OPERATION", "PERMISSION")
_EVERY: Final = WILDCARD

TopicOption = Annotated[
    list[str] | None, typer.Option("--topic", metavar="NAME", help="ACLs of this topic; * is every one.")
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help="ACLs of this consumer group; * is every one."),
]
ClusterOption = Annotated[bool, typer.Option("--cluster", help="ACLs of the cluster itself.")]
TransactionalOption = Annotated[
    list[str] | None, typer.Option("--transactional-id", metavar="ID", help="ACLs of this transactional id.")
]
TokenOption = Annotated[
    list[str] | None, typer.Option("--delegation-token", metavar="ID", help="ACLs of this delegation token.")
]
UserOption = Annotated[
    list[str] | None,
    typer.Option("--user-principal", metavar="USER", help="ACLs of this user as a resource: for tokens."),
]
PatternOption = Annotated[
    str,
    typer.Option(
        "--resource-pattern-type",
        metavar="TYPE",
        help="How names are meant: literal or prefixed; to list and remove also match (all that applies to the name) "
        "and any.",
    ),
]
OperationOption = Annotated[
    list[str] | None,
    typer.Option("--operation", metavar="OPERATION", help="Read, Write, Describe, …; may be repeated."),
]
AllowPrincipal = Annotated[
    list[str] | None,
    typer.Option("--allow-principal", metavar="TYPE:NAME", help="Who may; User:* is everybody."),
]
DenyPrincipal = Annotated[
    list[str] | None,
    typer.Option("--deny-principal", metavar="TYPE:NAME", help="Who may not, whatever else allows it."),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="ADDRESS", help="From where those who may; everywhere if left out."),
]
DenyHost = Annotated[
    list[str] | None,
    typer.Option(
        "--deny-host", metavar="ADDRESS", help="From where those who may not; everywhere if left out."
    ),
]
ProducerOption = Annotated[
    bool,
    typer.Option(
        "--producer",
        help="What a producer needs: Write, Describe, Create on --topic; Write, Describe on --transactional-id.",
    ),
]
ConsumerOption = Annotated[
    bool,
    typer.Option("--consumer", help="What a consumer needs: Read, Describe on --topic, Read on --group."),
]
IdempotentOption = Annotated[
    bool,
    typer.Option("--idempotent", help="With --producer: IdempotentWrite on the cluster as well."),
]


@attrs.frozen
class _Target:
    """What ACLs are about."""

    type: Resource
    name: str


# --- list


@app.command("list")
@asks_cluster
async def list_acls(
    session: Session,
    topic: TopicOption = None,
    group: GroupOption = None,
    cluster: ClusterOption = False,
    transactional_id: TransactionalOption = None,
    delegation_token: TokenOption = None,
    user_principal: UserOption = None,
    resource_pattern_type: PatternOption = "literal",
    principal: Annotated[
        list[str] | None,
        typer.Option("--principal", metavar="TYPE:NAME", help="Only ACLs of this principal."),
    ] = None,
) -> None:
    """Lists all ACLs, or those that are asked for."""
    targets = _targets(topic, group, cluster, transactional_id, delegation_token, user_principal)
    pattern = _pattern(resource_pattern_type)
    acls = await _found(session, _questions(targets, pattern, _principals("--principal", principal)))
    session.printer.show(
        {"acls": [_document(acl) for acl in acls]},
        _table(acls),
        plural(len(acls), "ACL") if acls else "No ACLs.",
    )


async def _found(session: Session, requests: Iterable[DescribeAclsRequest]) -> list[Acl]:
    """What any node says, each ACL once, in order."""
    found: dict[Acl, None] = {}
    for request in requests:
        response = await session.read(request)
        check_whole("The ACLs were not listed.", response.error_code, response.error_message)
        for resource in response.resources:
            for one in resource.acls:
                acl = Acl(
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                    pattern_type=resource.pattern_type,
                    principal=one.principal,
                    host=one.host,
                    operation=one.operation,
                    permission_type=one.permission_type,
                )
                found[acl] = None
    return sorted(found, key=_in_order)


def _questions(
    targets: Sequence[_Target], pattern: int, principals: Sequence[str]
) -> Iterable[DescribeAclsRequest]:
    for target in targets or (None,):
        for principal in principals or (None,):
            yield DescribeAclsRequest(
                resource_type_filter=ANY if target is None else target.type,
                resource_name_filter=None if target is None else target.name,
                pattern_type_filter=ANY if target is None else pattern,
                principal_filter=principal,
                operation=ANY,
                permission_type=ANY,
            )


# --- add


@app.command("add")
@asks_cluster
async def add_acls(
    session: Session,
    topic: TopicOption = None,
    group: GroupOption = None,
    cluster: ClusterOption = False,
    transactional_id: TransactionalOption = None,
    delegation_token: TokenOption = None,
    user_principal: UserOption = None,
    resource_pattern_type: PatternOption = "literal",
    allow_principal: AllowPrincipal = None,
    deny_principal: DenyPrincipal = None,
    allow_host: AllowHost = None,
    deny_host: DenyHost = None,
    operation: OperationOption = None,
    producer: ProducerOption = False,
    consumer: ConsumerOption = False,
    idempotent: IdempotentOption = False,
) -> None:
    """Adds ACLs; one that exists is no error.

    One for each operation, principal and host, on each resource. Without --operation: for all of them.
    """
    pattern = _pattern(resource_pattern_type)
    if pattern not in (Pattern.LITERAL, Pattern.PREFIXED):
        raise WrongUsage("--resource-pattern-type cannot be used.", why="a new ACL is literal or prefixed")
    who = _who(allow_principal, deny_principal, allow_host, deny_host)
    if not who:
        raise WrongUsage(
            "Nobody is named.", remedy="add --allow-principal User:NAME, or --deny-principal User:NAME"
        )
    targets = _required(_targets(topic, group, cluster, transactional_id, delegation_token, user_principal))
    rights = _rights(targets, operation, producer=producer, consumer=consumer, idempotent=idempotent)
    acls = _combined(rights, pattern, who)
    response = await session.write(CreateAclsRequest(creations=tuple(map(_creation, acls))))
    documents, lines, errors = [], [], []
    for acl, result in zip(acls, response.results, strict=True):
        documents.append(_document(acl) | {"error": error_document(result.error_code, result.error_message)})
        if result.error_code is ErrorCode.none:
            lines.append(acl)
        else:
            errors.append(ItemError(item=_text(acl), code=result.error_code, message=result.error_message))
    session.printer.show(
        {"acls": documents}, _table(lines), *([f"Added {plural(len(lines), 'ACL')}."] if lines else [])
    )
    check_items("added", errors, len(acls))


# --- remove


@app.command("remove")
@asks_cluster
async def remove_acls(
    session: Session,
    topic: TopicOption = None,
    group: GroupOption = None,
    cluster: ClusterOption = False,
    transactional_id: TransactionalOption = None,
    delegation_token: TokenOption = None,
    user_principal: UserOption = None,
    resource_pattern_type: PatternOption = "literal",
    allow_principal: AllowPrincipal = None,
    deny_principal: DenyPrincipal = None,
    allow_host: AllowHost = None,
    deny_host: DenyHost = None,
    operation: OperationOption = None,
    producer: ProducerOption = False,
    consumer: ConsumerOption = False,
    idempotent: IdempotentOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "--force", help="Do not ask.")] = False,
) -> None:
    """Removes ACLs: those that `add` adds with the same options.

    Without a principal all ACLs of the resources that are named.
    """
    pattern = _pattern(resource_pattern_type)
    targets = _required(_targets(topic, group, cluster, transactional_id, delegation_token, user_principal))
    who = _who(allow_principal, deny_principal, allow_host, deny_host)
    if who:
        rights = _rights(targets, operation, producer=producer, consumer=consumer, idempotent=idempotent)
        filters = tuple(_exactly(acl) for acl in _combined(rights, pattern, who))
    elif operation or producer or consumer or idempotent:
        raise WrongUsage(
            "Nobody is named.",
            why="without a principal all ACLs of a resource are removed, whatever the operation",
            remedy="add --allow-principal or --deny-principal, or leave the operations out",
        )
    else:
        filters = tuple(_all_of(target, pattern) for target in targets)
    if dry_run:
        acls = await _found(session, (_question(one) for one in filters))
        session.printer.show(
            {"acls": [_document(acl) for acl in acls]},
            _table(acls),
            f"Would remove {plural(len(acls), 'ACL')}.",
        )
        return
    if not yes:
        named = ", ".join(f"{target.type.name.lower()} {target.name}" for target in targets)
        what = "the ACLs that are named" if who else "ALL ACLs"
        confirm([f"This removes {what} of: {named}."], "Remove them?")
    await _remove(session, filters)


async def _remove(session: Session, filters: tuple[DeleteAclsFilter, ...]) -> None:
    response = await session.write(DeleteAclsRequest(filters=filters))
    gone: dict[Acl, None] = {}
    errors = []
    for one, result in zip(filters, response.filter_results, strict=True):
        if result.error_code is not ErrorCode.none:
            item = f"the ACLs of {one.resource_name_filter}"
            errors.append(ItemError(item=item, code=result.error_code, message=result.error_message))
        gone.update((_matched(match), None) for match in result.matching_acls)
    acls = sorted(gone, key=_in_order)
    session.printer.show(
        {"acls": [_document(acl) for acl in acls]},
        _table(acls),
        f"Removed {plural(len(acls), 'ACL')}." if acls else "There was no such ACL.",
    )
    check_items("removed", errors, len(filters))


# --- what options mean


def _targets(
    topics: list[str] | None,
    groups: list[str] | None,
    cluster: bool,
    transactional_ids: list[str] | None,
    tokens: list[str] | None,
    users: list[str] | None,
) -> list[_Target]:
    """Names are taken as they are: unlike those of topics, others may have commas."""
    named = (
        (Resource.TOPIC, topics),
        (Resource.GROUP, groups),
        (Resource.CLUSTER, [CLUSTER_NAME] if cluster else None),
        (Resource.TRANSACTIONAL_ID, transactional_ids),
        (Resource.DELEGATION_TOKEN, tokens),
        (Resource.USER, users),
    )
    found = [_Target(kind, name) for kind, names in named for name in names or ()]
    for target in found:
        if not target.name:
            raise WrongUsage(
                f"--{target.type.name.lower().replace('_', '-')} cannot be used.",
                why="the name is empty",
                remedy="write * for every one",
            )
    return list(dict.fromkeys(found))


def _required(targets: list[_Target]) -> list[_Target]:
    if not targets:
        raise WrongUsage(
            "No resource is named.",
            remedy="add --topic NAME, --group NAME, --cluster, or --transactional-id ID",
        )
    return targets


def _pattern(text: str) -> int:
    words = {"any": ANY} | {one.name.lower(): int(one) for one in Pattern}
    found = words.get(text.lower())
    if found is None:
        raise WrongUsage(
            "--resource-pattern-type cannot be used.",
            why=f"{text!r} is none",
            remedy=f"write one of {', '.join(words)}",
        )
    return found


def _operation(text: str) -> Operation:
    """In any of the spellings of Kafka's tools: DescribeConfigs, describe-configs, DESCRIBE_CONFIGS."""
    words = {one.name.replace("_", "").lower(): one for one in Operation}
    found = words.get(text.replace("_", "").replace("-", "").lower())
    if found is None:
        raise WrongUsage(
            "--operation cannot be used.",
            why=f"there is no operation {text!r}",
            remedy=f"write one of {', '.join(_camel(one) for one in Operation)}",
        )
    return found


def _camel(operation: Operation) -> str:
    return "".join(part.capitalize() for part in operation.name.split("_"))


def _principals(option: str, texts: list[str] | None) -> list[str]:
    for text in texts or ():
        kind, colon, name = text.partition(":")
        if not (kind and colon and name):
            raise WrongUsage(
                f"{option} cannot be used.",
                why=f"{text!r} is no principal",
                remedy="write TYPE:NAME, as in User:alice; User:* is everybody",
            )
    return list(dict.fromkeys(texts or ()))


def _who(
    allow: list[str] | None,
    deny: list[str] | None,
    allow_hosts: list[str] | None,
    deny_hosts: list[str] | None,
) -> list[tuple[Permission, str, str]]:
    """(permission, principal, host)"""
    for hosts, principals, name in ((allow_hosts, allow, "allow"), (deny_hosts, deny, "deny")):
        if hosts and not principals:
            raise WrongUsage(
                f"--{name}-host stands alone.",
                why="an ACL is for a principal",
                remedy=f"add --{name}-principal; User:* is everybody",
            )
    allowed = _principals("--allow-principal", allow)
    denied = _principals("--deny-principal", deny)
    return [
        (permission, principal, host)
        for permission, principals, hosts in (
            (Permission.ALLOW, allowed, allow_hosts),
            (Permission.DENY, denied, deny_hosts),
        )
        for principal in principals
        for host in dict.fromkeys(hosts or (_EVERY,))
    ]


def _rights(
    targets: Sequence[_Target],
    operations: list[str] | None,
    *,
    producer: bool,
    consumer: bool,
    idempotent: bool,
) -> list[tuple[_Target, Operation]]:
    """What is allowed or denied on what. Without --operation and the short forms: everything (Kafka's default)."""
    named = [_operation(text) for text in operations or ()]
    if not (producer or consumer):
        if idempotent:
            raise WrongUsage("--idempotent stands alone.", remedy="add --producer")
        return [(target, one) for target in targets for one in named or (Operation.ALL,)]
    if named:
        raise WrongUsage(
            "--operation cannot be used.", why="--producer and --consumer say which operations they need"
        )
    kinds = {target.type for target in targets}
    _check_short_forms(kinds, producer=producer, consumer=consumer)
    needed: list[tuple[Resource, Operation]] = []
    if producer:
        on_topic = (Operation.WRITE, Operation.DESCRIBE, Operation.CREATE)
        needed += [(Resource.TOPIC, one) for one in on_topic]
        needed += [(Resource.TRANSACTIONAL_ID, one) for one in (Operation.WRITE, Operation.DESCRIBE)]
    if consumer:
        needed += [(Resource.TOPIC, one) for one in (Operation.READ, Operation.DESCRIBE)]
        needed += [(Resource.GROUP, Operation.READ)]
    rights = [(target, one) for kind, one in needed for target in targets if target.type is kind]
    if idempotent:
        rights.append((_Target(Resource.CLUSTER, CLUSTER_NAME), Operation.IDEMPOTENT_WRITE))
    return list(dict.fromkeys(rights))


def _check_short_forms(kinds: set[Resource], *, producer: bool, consumer: bool) -> None:
    if Resource.TOPIC not in kinds:
        raise WrongUsage("No topic is named.", remedy="add --topic NAME to --producer or --consumer")
    if consumer and Resource.GROUP not in kinds:
        raise WrongUsage("No group is named.", remedy="add --group NAME to --consumer")
    useful = {Resource.TOPIC} | ({Resource.TRANSACTIONAL_ID} if producer else set())
    useful |= {Resource.GROUP} if consumer else set()
    useless = sorted(kind.name.lower().replace("_", "-") for kind in kinds - useful)
    if useless:
        raise WrongUsage(
            f"--{useless[0]} cannot be used.",
            why="what --producer and --consumer need has nothing to do with it",
        )


def _combined(
    rights: Sequence[tuple[_Target, Operation]], pattern: int, who: Sequence[tuple[Permission, str, str]]
) -> list[Acl]:
    return [
        Acl(
            resource_type=int(target.type),
            resource_name=target.name,
            # The cluster has one name only, whatever the names of the others are.
            pattern_type=int(Pattern.LITERAL) if target.type is Resource.CLUSTER else pattern,
            principal=principal,
            host=host,
            operation=int(operation),
            permission_type=int(permission),
        )
        for target, operation in rights
        for permission, principal, host in who
    ]


# --- from and to the wire


def _creation(acl: Acl) -> AclCreation:
    return AclCreation(
        resource_type=acl.resource_type,
        resource_name=acl.resource_name,
        resource_pattern_type=acl.pattern_type,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission_type,
    )


def _exactly(acl: Acl) -> DeleteAclsFilter:
    return DeleteAclsFilter(
        resource_type_filter=acl.resource_type,
        resource_name_filter=acl.resource_name,
        pattern_type_filter=acl.pattern_type,
        principal_filter=acl.principal,
        host_filter=acl.host,
        operation=acl.operation,
        permission_type=acl.permission_type,
    )


def _all_of(target: _Target, pattern: int) -> DeleteAclsFilter:
    return DeleteAclsFilter(
        resource_type_filter=int(target.type),
        resource_name_filter=target.name,
        pattern_type_filter=int(Pattern.LITERAL) if target.type is Resource.CLUSTER else pattern,
        operation=ANY,
        permission_type=ANY,
    )


def _question(one: DeleteAclsFilter) -> DescribeAclsRequest:
    """Which ACLs a filter means."""
    return DescribeAclsRequest(
        resource_type_filter=one.resource_type_filter,
        resource_name_filter=one.resource_name_filter,
        pattern_type_filter=one.pattern_type_filter,
        principal_filter=one.principal_filter,
        host_filter=one.host_filter,
        operation=one.operation,
        permission_type=one.permission_type,
    )


def _matched(match: DeleteAclsMatchingAcl) -> Acl:
    return Acl(
        resource_type=match.resource_type,
        resource_name=match.resource_name,
        pattern_type=match.pattern_type,
        principal=match.principal,
        host=match.host,
        operation=match.operation,
        permission_type=match.permission_type,
    )


# --- words


def _word(kind: type[Resource] | type[Pattern] | type[Operation] | type[Permission], number: int) -> str:
    """A newer Kafka may know numbers that we do not."""
    return next((one.name for one in kind if one == number), str(number))


def _document(acl: Acl) -> dict[str, Any]:
    return {
        "resource_type": _word(Resource, acl.resource_type),
        "resource_name": acl.resource_name,
        "pattern_type": _word(Pattern, acl.pattern_type),
        "principal": acl.principal,
        "host": acl.host,
        "operation": _word(Operation, acl.operation),
        "permission": _word(Permission, acl.permission_type),
    }


def _text(acl: Acl) -> str:
    words = _document(acl)
    return (
        f"{words['permission']} {words['principal']} {words['operation']} on {words['resource_type']} "
        f"{words['resource_name']}"
    )


def _table(acls: Sequence[Acl]) -> Table:
    return Table(_TITLES, [tuple(_document(acl).values()) for acl in acls])


def _in_order(acl: Acl) -> tuple[Any, ...]:
    return tuple(getattr(acl, field.name) for field in attrs.fields(Acl))
