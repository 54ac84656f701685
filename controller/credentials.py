"""AlterUserScramCredentials (KIP-554). The salted password that a client sends is not kept: only what checks it is."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, TypeAlias

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.security import SCRAM_MECHANISMS, SCRAM_SHA_256, SCRAM_SHA_512
from quorate.metadata.records import (
    AnyDataRecord,
    RemoveUserScramCredentialRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.wire.credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)

_HASHES: Final[Mapping[int, str]] = {SCRAM_SHA_256: "sha256", SCRAM_SHA_512: "sha512"}
FEWEST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 16384

_Change: TypeAlias = ScramCredentialDeletion | ScramCredentialUpsertion


def alter_user_scram_credentials(
    context: Context, request: AlterUserScramCredentialsRequest
) -> ControllerResult[AlterUserScramCredentialsResponse]:
    """One result for each user; of a user with anything wrong nothing is changed.

    A user can be altered once in a request, whatever the mechanism: so Kafka's controllers have it, and say.
    """
    changes: tuple[_Change, ...] = (*request.deletions, *request.upsertions)
    refused: dict[str, RequestRejected] = {}
    records: dict[str, AnyDataRecord] = {}
    for change in changes:
        if change.name in refused:
            continue
        try:
            if records.pop(change.name, None) is not None:
                reject(
                    ErrorCode.duplicate_resource,
                    f"User {change.name!r} is altered twice in this request: send a request for each mechanism.",
                )
            _check(change)
            records[change.name] = _record(context, change)
        except RequestRejected as refusal:
            refused[change.name] = refusal
    written = list(records.values())
    context.require_room(written, 0, "this change of credentials")
    results = tuple(
        AlterUserScramCredentialsResult(
            user=user, error_code=refused[user].code, error_message=refused[user].message
        )
        if user in refused
        else AlterUserScramCredentialsResult(user=user)
        for user in dict.fromkeys(change.name for change in changes)
    )
    return ControllerResult(written, AlterUserScramCredentialsResponse(results=results))


def _check(change: _Change) -> None:
    if not change.name:
        reject(ErrorCode.unacceptable_credential, "Username must not be empty.")
    if change.mechanism not in SCRAM_MECHANISMS:
        known = ", ".join(f"{number} {name}" for number, name in SCRAM_MECHANISMS.items())
        reject(
            ErrorCode.unsupported_sasl_mechanism,
            f"Unknown SCRAM mechanism {change.mechanism}: there are {known}.",
        )
    if isinstance(change, ScramCredentialDeletion):
        return
    if not FEWEST_ITERATIONS <= change.iterations <= MOST_ITERATIONS:
        few = "few" if change.iterations < FEWEST_ITERATIONS else "many"
        reject(
            ErrorCode.unacceptable_credential,
            f"Too {few} iterations, {change.iterations}: {FEWEST_ITERATIONS} to {MOST_ITERATIONS} are accepted.",
        )
    size = hashlib.new(_HASHES[change.mechanism]).digest_size
    if not change.salt or len(change.salted_password) != size:
        reject(
            ErrorCode.unacceptable_credential,
            f"{_named(change)} needs a salt, and a salted password of {size} bytes, not {len(change.salted_password)}.",
        )


def _record(context: Context, change: _Change) -> AnyDataRecord:
    if isinstance(change, ScramCredentialUpsertion):
        return scram_record(
            change.name,
            change.mechanism,
            salt=change.salt,
            salted_password=change.salted_password,
            iterations=change.iterations,
        )
    if context.image.credentials.of(change.name, change.mechanism) is None:
        reject(ErrorCode.resource_not_found, f"{_named(change)} does not exist, and so cannot be deleted.")
    return RemoveUserScramCredentialRecord(name=change.name, mechanism=change.mechanism)


def scram_record(
    user: str, mechanism: int, *, salt: bytes, salted_password: bytes, iterations: int
) -> UserScramCredentialRecord:
    """What a server needs to check a password, of which nobody can make the password, or log in (RFC 5802, 3)."""
    algorithm = _HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", algorithm)
    return UserScramCredentialRecord(
        name=user,
        mechanism=mechanism,
        salt=salt,
        stored_key=hashlib.new(algorithm, client_key).digest(),
        server_key=hmac.digest(salted_password, b"Server Key", algorithm),
        iterations=iterations,
    )


def _named(change: _Change) -> str:
    return f"The {SCRAM_MECHANISMS[change.mechanism]} credential of user {change.name!r}"
