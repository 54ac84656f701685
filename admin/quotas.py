"""`quorate quotas`: describe and alter client quotas; the options are those of kafka-configs."""

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Final, TypeAlias

import typer

from quorate.admin import parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.quotas import (
    AlterClientQuotasRequest,
    AlteredEntry,
    ComponentData,
    DescribeClientQuotasRequest,
    DescribedEntry,
    EntityData,
    OpData,
)

app = command_group("What clients may use: describe and alter quotas.")

_USER: Final = "user"
_CLIENT: Final = "client-id"
_IP: Final = "ip"
_DEFAULT: Final = "<default>"
_EXACT: Final = 0
_DEFAULT_MATCH: Final = 1

_Parts: TypeAlias = tuple[tuple[str, str | None], ...]
"""(type, name) of what a quota is for; no name is the default of the type."""

UserOption = Annotated[
    list[str] | None, typer.Option("--user", metavar="NAME", help="Of this user, without its type: alice.")
]
UserDefaults = Annotated[
    bool, typer.Option("--user-defaults", help="Of every user that has no quota of its own.")
]
ClientOption = Annotated[
    list[str] | None,
    typer.Option(
        "--client", metavar="ID", help="Of this client id; with --user: as this user's client only."
    ),
]
ClientDefaults = Annotated[
    bool, typer.Option("--client-defaults", help="Of every client id that has no quota of its own.")
]
IpOption = Annotated[
    list[str] | None, typer.Option("--ip", metavar="ADDRESS", help="Of connections from this address.")
]
IpDefaults = Annotated[
    bool, typer.Option("--ip-defaults", help="Of every address that has no quota of its own.")
]


# --- describe


@app.command("describe")
@asks_cluster
async def describe_quotas(
    session: Session,
    user: UserOption = None,
    user_defaults: UserDefaults = False,
    client: ClientOption = None,
    client_defaults: ClientDefaults = False,
    ip: IpOption = None,
    ip_defaults: IpDefaults = False,
) -> None:
    """Shows all quotas, or those of what is named.

    A user's quota for one of its clients is shown only where both are named.
    """
    named = _entities(user, user_defaults, client, client_defaults, ip, ip_defaults)
    found: dict[_Parts, DescribedEntry] = {}
    for parts in named or [()]:
        components = tuple(
            ComponentData(entity_type=kind, match_type=_DEFAULT_MATCH if name is None else _EXACT, match=name)
            for kind, name in parts
        )
        response = await session.read(DescribeClientQuotasRequest(components=components, strict=bool(parts)))
        check_whole("The quotas were not described.", response.error_code, response.error_message)
        found.update((_parts(entry.entity), entry) for entry in response.entries or ())
    shown = sorted(found.items(), key=repr)
    session.printer.show(
        {"quotas": [_described(parts, entry) for parts, entry in shown]},
        Table(("ENTITY", "QUOTA", "VALUE"), list(_rows(shown))),
        plural(len(shown), "entity has quotas.", "entities have quotas.") if shown else "No quotas.",
    )


def _described(parts: _Parts, entry: DescribedEntry) -> dict[str, Any]:
    return {"entity": _document(parts), "quotas": {value.key: value.value for value in entry.values}}


def _rows(shown: Sequence[tuple[_Parts, DescribedEntry]]) -> list[tuple[str, str, str]]:
    return [
        (_text(parts), value.key, _number(value.value)) for parts, entry in shown for value in entry.values
    ]


# --- alter


@app.command("alter")
@asks_cluster
async def alter_quotas(
    session: Session,
    user: UserOption = None,
    user_defaults: UserDefaults = False,
    client: ClientOption = None,
    client_defaults: ClientDefaults = False,
    ip: IpOption = None,
    ip_defaults: IpDefaults = False,
    add_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUOTA=NUMBER,…",
            help="Set: producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate; "
            "of addresses connection_creation_rate.",
        ),
    ] = None,
    delete_config: Annotated[
        list[str] | None, typer.Option(metavar="QUOTA,…", help="Remove, so that the default counts again.")
    ] = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Let the controller check everything, and change nothing.")
    ] = False,
) -> None:
    """Changes quotas; those that are not named keep their values."""
    entities = _entities(user, user_defaults, client, client_defaults, ip, ip_defaults)
    if not entities:
        raise WrongUsage(
            "Nothing is named to be altered.",
            remedy="add --user, --client, both, or --ip; or the defaults: --user-defaults and so on",
        )
    ops = (*_set("--add-config", add_config), *_removed(delete_config))
    _check_ops(ops)
    response = await session.write(
        AlterClientQuotasRequest(
            entries=tuple(AlteredEntry(entity=_entity(parts), ops=ops) for parts in entities),
            validate_only=validate_only,
        )
    )
    documents, lines, errors = [], [], []
    for result in response.entries:
        parts = _parts(result.entity)
        error = error_document(result.error_code, result.error_message)
        documents.append({"entity": _document(parts), "error": error})
        if result.error_code is ErrorCode.none:
            lines.append(f"{'Could alter' if validate_only else 'Altered'} the quotas of {_text(parts)}.")
        else:
            item = f"the quotas of {_text(parts)}"
            errors.append(ItemError(item=item, code=result.error_code, message=result.error_message))
    session.printer.show({"quotas": documents, "validate_only": validate_only}, *lines)
    check_items("altered", errors, len(entities))


def _set(option: str, texts: list[str] | None) -> list[OpData]:
    ops = []
    for key, text in parsing.many_pairs(option, texts or ()).items():
        try:
            value = float(text)
        except ValueError:
            raise WrongUsage(f"{option} cannot be used.", why=f"{key} is a number, not {text!r}") from None
        ops.append(OpData(key=key, value=value))
    return ops


def _removed(texts: list[str] | None) -> list[OpData]:
    return [OpData(key=key, remove=True) for key in parsing.names(texts or ())]


def _check_ops(ops: Sequence[OpData]) -> None:
    if not ops:
        raise WrongUsage(
            "Nothing is to be altered.", remedy="add --add-config QUOTA=NUMBER or --delete-config QUOTA"
        )
    keys = [op.key for op in ops]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise WrongUsage(
            f"{twice[0]} is to be altered twice.", remedy="say only once what shall become of it"
        )


# --- what quotas are for


def _entities(
    users: list[str] | None,
    user_defaults: bool,
    clients: list[str] | None,
    client_defaults: bool,
    ips: list[str] | None,
    ip_defaults: bool,
) -> list[_Parts]:
    """Each user with each client id where both are named. Names are taken as they are: they may have commas."""
    named_users = _named("--user", users, user_defaults)
    named_clients = _named("--client", clients, client_defaults)
    named_ips = _named("--ip", ips, ip_defaults)
    if named_ips and (named_users or named_clients):
        raise WrongUsage(
            "--ip cannot be used.", why="a quota is for an address, or for a user, a client id, or both"
        )
    groups = (
        [(_IP, name) for name in named_ips],
        [(_USER, name) for name in named_users],
        [(_CLIENT, name) for name in named_clients],
    )
    filled = [group for group in groups if group]
    return list(dict.fromkeys(product(*filled))) if filled else []


def _named(option: str, names: list[str] | None, default: bool) -> list[str | None]:
    if names and "" in names:
        raise WrongUsage(
            f"{option} cannot be used.", why="the name is empty", remedy=f"write {option}-defaults"
        )
    return [*(names or ()), *([None] if default else ())]


def _entity(parts: _Parts) -> tuple[EntityData, ...]:
    return tuple(EntityData(entity_type=kind, entity_name=name) for kind, name in parts)


def _parts(entity: Sequence[EntityData]) -> _Parts:
    """In the order in which options stand: the user before its client."""
    found = sorted(entity, key=lambda one: one.entity_type, reverse=True)
    return tuple((one.entity_type, one.entity_name) for one in found)


def _document(parts: _Parts) -> list[dict[str, Any]]:
    return [{"type": kind, "name": name} for kind, name in parts]


def _text(parts: _Parts) -> str:
    return ", ".join(f"{kind} {_DEFAULT if name is None else name}" for kind, name in parts)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)
