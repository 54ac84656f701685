"""`quorate users`: the users that log in by SCRAM; the options are those of kafka-configs."""

import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate.admin import parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.admin.scram_text import ScramText, mechanism_number, salted_by, scram_text
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.security import SCRAM_MECHANISMS
from quorate.metadata.wire.credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResult,
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
    UserName,
)

app = command_group("Who may log in by SCRAM: users and their passwords.")

UserOption = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="NAME", help="This user, without its type: alice; may be repeated."),
]


# --- describe


@app.command("describe")
@asks_cluster
async def describe_users(session: Session, user: UserOption = None) -> None:
    """Shows users and which mechanisms they have a password for."""
    names = _names(user)
    request = DescribeUserScramCredentialsRequest(users=tuple(UserName(name=name) for name in names) or None)
    response = await session.read(request)
    check_whole("The users were not described.", response.error_code, response.error_message)
    documents, rows, errors = [], [], []
    for result in response.results:
        documents.append(
            {
                "name": result.user,
                "credentials": [_document(info) for info in result.credential_infos],
                "error": error_document(result.error_code, result.error_message),
            }
        )
        rows += [(result.user, _word(info.mechanism), info.iterations) for info in result.credential_infos]
        if result.error_code is not ErrorCode.none:
            item = f"user {result.user}"
            errors.append(ItemError(item=item, code=result.error_code, message=result.error_message))
    session.printer.show(
        {"users": documents},
        Table(("USER", "MECHANISM", "ITERATIONS"), rows),
        *([plural(len(documents), "user") if documents else "No users."] if not names else []),
    )
    check_items("described", errors, len(documents))


def _document(info: CredentialInfo) -> dict[str, Any]:
    return {"mechanism": _word(info.mechanism), "iterations": info.iterations}


def _word(mechanism: int) -> str:
    return SCRAM_MECHANISMS.get(mechanism, str(mechanism))


# --- alter


@app.command("alter")
@asks_cluster
async def alter_users(
    session: Session,
    user: UserOption = None,
    add_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MECHANISM=[…]",
            help="Set a password: SCRAM-SHA-256=[iterations=8192,password=secret].",
        ),
    ] = None,
    add_config_file: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE",
            help="The same from a file, one a line: other users of a machine see its command lines.",
        ),
    ] = None,
    delete_config: Annotated[
        list[str] | None, typer.Option(metavar="MECHANISM,…", help="Remove the password for it.")
    ] = None,
) -> None:
    """Sets and removes passwords.

    What leaves this machine is a salted hash of them.
    """
    names = _names(user)
    if not names:
        raise WrongUsage("No user is named.", remedy="add --user NAME")
    added = _added(add_config, add_config_file)
    removed = [mechanism_number("--delete-config", word) for word in parsing.names(delete_config or ())]
    _check(added, removed)
    # Kafka's controllers let a request alter a user once, so there is one for each mechanism.
    results: dict[str, AlterUserScramCredentialsResult] = {}
    for request in (*_deletions(names, removed), *_upsertions(names, added)):
        for result in (await session.write(request)).results:
            before = results.get(result.user)
            if before is None or before.error_code is ErrorCode.none:
                results[result.user] = result
    documents, lines, errors = [], [], []
    for result in results.values():
        error = error_document(result.error_code, result.error_message)
        documents.append({"name": result.user, "error": error})
        if result.error_code is ErrorCode.none:
            lines.append(f"Altered user {result.user}.")
        else:
            item = f"user {result.user}"
            errors.append(ItemError(item=item, code=result.error_code, message=result.error_message))
    session.printer.show({"users": documents}, *lines)
    check_items("altered", errors, len(names))


def _deletions(names: Sequence[str], mechanisms: Sequence[int]) -> list[AlterUserScramCredentialsRequest]:
    return [
        AlterUserScramCredentialsRequest(
            deletions=tuple(ScramCredentialDeletion(name=name, mechanism=mechanism) for name in names)
        )
        for mechanism in mechanisms
    ]


def _upsertions(names: Sequence[str], texts: Sequence[ScramText]) -> list[AlterUserScramCredentialsRequest]:
    return [
        AlterUserScramCredentialsRequest(upsertions=tuple(_upsertion(name, text) for name in names))
        for text in texts
    ]


def _added(texts: list[str] | None, path: pathlib.Path | None) -> list[ScramText]:
    parts = (part for text in texts or () for part in parsing.split_outside_brackets(text))
    return [
        *(scram_text("--add-config", part) for part in parts),
        *(scram_text("--add-config-file", line) for line in _lines(path)),
    ]


def _upsertion(name: str, text: ScramText) -> ScramCredentialUpsertion:
    salt, salted = salted_by(text)
    return ScramCredentialUpsertion(
        name=name, mechanism=text.mechanism, iterations=text.iterations, salt=salt, salted_password=salted
    )


def _check(added: Sequence[ScramText], removed: Sequence[int]) -> None:
    if not added and not removed:
        raise WrongUsage(
            "Nothing is to be altered.",
            remedy="add --add-config 'SCRAM-SHA-256=[password=secret]' or --delete-config SCRAM-SHA-256",
        )
    if any(text.name is not None for text in added):
        raise WrongUsage("name= cannot be used here.", why="--user says whose the password is")
    mechanisms = [*(text.mechanism for text in added), *removed]
    twice = sorted({one for one in mechanisms if mechanisms.count(one) > 1})
    if twice:
        raise WrongUsage(
            f"{_word(twice[0])} is to be altered twice.", remedy="say only once what shall become of it"
        )


def _names(names: list[str] | None) -> list[str]:
    """Taken as they are: a user's name may have commas."""
    if names and "" in names:
        raise WrongUsage("--user cannot be used.", why="the name is empty")
    return list(dict.fromkeys(names or ()))


def _lines(path: pathlib.Path | None) -> list[str]:
    if path is None:
        return []
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage("--add-config-file cannot be read.", where=str(path), why=str(error)) from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
