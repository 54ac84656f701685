"""`quorate tokens`: delegation tokens; the options are those of kafka-delegation-tokens."""

import base64
import binascii
import datetime
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import check_whole
from quorate.metadata.wire.tokens import (
    CreatableRenewers,
    CreateDelegationTokenRequest,
    DescribedDelegationToken,
    DescribeDelegationTokenOwner,
    DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
)

app = command_group("Delegation tokens: create, renew, expire and describe them.")

HmacOption = Annotated[
    str, typer.Option("--hmac", metavar="BASE64", help="The token's HMAC, as create printed it.")
]
OwnerOption = Annotated[
    list[str] | None,
    typer.Option("--owner-principal", metavar="User:NAME", help="Whom the token stands for."),
]


@app.command("create")
@asks_cluster
async def create_token(
    session: Session,
    owner_principal: Annotated[
        str | None,
        typer.Option(metavar="User:NAME", help="For whom; left out: for the one who asks."),
    ] = None,
    renewer_principal: Annotated[
        list[str] | None,
        typer.Option(metavar="User:NAME", help="Who may renew it, besides its owner; may be repeated."),
    ] = None,
    max_life_time_period: Annotated[
        int,
        typer.Option(metavar="MS", help="When it ends at last; -1: as late as the cluster allows."),
    ] = -1,
) -> None:
    """Makes a token and prints its HMAC, which is its password."""
    kind, name = (None, None) if owner_principal is None else _principal("--owner-principal", owner_principal)
    renewers = [_principal("--renewer-principal", text) for text in renewer_principal or ()]
    response = await session.write(
        CreateDelegationTokenRequest(
            owner_principal_type=kind,
            owner_principal_name=name,
            renewers=tuple(
                CreatableRenewers(principal_type=kind, principal_name=name) for kind, name in renewers
            ),
            max_lifetime_ms=max_life_time_period,
        )
    )
    check_whole("No token was made.", response.error_code, None)
    made = DescribedDelegationToken(
        principal_type=response.principal_type,
        principal_name=response.principal_name,
        token_requester_principal_type=response.token_requester_principal_type,
        token_requester_principal_name=response.token_requester_principal_name,
        issue_timestamp=response.issue_timestamp_ms,
        expiry_timestamp=response.expiry_timestamp_ms,
        max_timestamp=response.max_timestamp_ms,
        token_id=response.token_id,
        hmac=response.hmac,
    )
    renewer_texts = [f"{kind}:{name}" for kind, name in renewers]
    session.printer.show({"token": _document(made, renewer_texts)}, *_lines(made, renewer_texts))


@app.command("renew")
@asks_cluster
async def renew_token(
    session: Session,
    hmac: HmacOption,
    renew_time_period: Annotated[
        int, typer.Option(metavar="MS", help="For how long from now; -1: for as long as the cluster allows.")
    ] = -1,
) -> None:
    """Lets a token live longer."""
    request = RenewDelegationTokenRequest(hmac=_hmac(hmac), renew_period_ms=renew_time_period)
    response = await session.write(request)
    check_whole("The token was not renewed.", response.error_code, None)
    expiry_ms = response.expiry_timestamp_ms
    session.printer.show({"expires_ms": expiry_ms}, f"The token is renewed until {_time(expiry_ms)}.")


@app.command("expire")
@asks_cluster
async def expire_token(
    session: Session,
    hmac: HmacOption,
    expiry_time_period: Annotated[
        int, typer.Option(metavar="MS", help="When from now; -1: at once, and the token is removed.")
    ] = -1,
) -> None:
    """Ends a token."""
    request = ExpireDelegationTokenRequest(hmac=_hmac(hmac), expiry_time_period_ms=expiry_time_period)
    response = await session.write(request)
    check_whole("The token was not expired.", response.error_code, None)
    removed = expiry_time_period < 0
    expiry_ms = None if removed else response.expiry_timestamp_ms
    text = "The token is removed." if removed else f"The token expires {_time(response.expiry_timestamp_ms)}."
    session.printer.show({"expires_ms": expiry_ms, "removed": removed}, text)


@app.command("describe")
@asks_cluster
async def describe_tokens(session: Session, owner_principal: OwnerOption = None) -> None:
    """Shows the tokens that one may see.

    Those of oneself, those that one may renew, and those that a right on them or their owners shows.
    """
    owners = [_principal("--owner-principal", text) for text in owner_principal or ()]
    asked = (DescribeDelegationTokenOwner(principal_type=kind, principal_name=name) for kind, name in owners)
    response = await session.read(DescribeDelegationTokenRequest(owners=tuple(asked) or None))
    check_whole("The tokens were not described.", response.error_code, None)
    titles = ("TOKEN", "OWNER", "RENEWERS", "ISSUED", "EXPIRES", "ENDS", "HMAC")
    shown = [
        (token, [f"{one.principal_type}:{one.principal_name}" for one in token.renewers])
        for token in response.tokens
    ]
    session.printer.show(
        {"tokens": [_document(token, renewers) for token, renewers in shown]},
        Table(titles, [_row(token, renewers) for token, renewers in shown]),
        plural(len(shown), "token") if shown else "No tokens.",
    )


def _principal(option: str, text: str) -> tuple[str, str]:
    kind, colon, name = text.partition(":")
    if not (kind and colon and name):
        raise WrongUsage(
            f"{option} cannot be used.", why=f"{text!r} is no principal", remedy="write User:NAME"
        )
    return kind, name


def _hmac(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WrongUsage("--hmac cannot be used.", why="it is no base64") from None


def _document(token: DescribedDelegationToken, renewers: Sequence[str]) -> dict[str, Any]:
    return {
        "id": token.token_id,
        "hmac": base64.b64encode(token.hmac).decode(),
        "owner": f"{token.principal_type}:{token.principal_name}",
        "requester": f"{token.token_requester_principal_type}:{token.token_requester_principal_name}",
        "renewers": list(renewers),
        "issued_ms": token.issue_timestamp,
        "expires_ms": token.expiry_timestamp,
        "ends_ms": token.max_timestamp,
    }


def _row(token: DescribedDelegationToken, renewers: Sequence[str]) -> tuple[str | None, ...]:
    return (
        token.token_id,
        f"{token.principal_type}:{token.principal_name}",
        ",".join(renewers) or None,
        _time(token.issue_timestamp),
        _time(token.expiry_timestamp),
        _time(token.max_timestamp),
        base64.b64encode(token.hmac).decode(),
    )


def _lines(token: DescribedDelegationToken, renewers: Sequence[str]) -> list[str | Table]:
    titles = ("TOKEN", "OWNER", "RENEWERS", "ISSUED", "EXPIRES", "ENDS")
    hmac = base64.b64encode(token.hmac).decode()
    return [Table(titles, [_row(token, renewers)[:-1]]), f"HMAC: {hmac}"]


def _time(wall_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
