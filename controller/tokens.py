"""Delegation tokens: made, renewed, expired, and removed once they have expired (KIP-48, KIP-373).

The log holds who a token stands for and until when, never its HMAC: every node makes that of the token's id and the
secret that all nodes share. Who shows the HMAC knows the token.
"""

import hmac
from typing import Final

import attrs

from quorate.controller.context import Context
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import random_uuid, uuid_to_text
from quorate.metadata.image.security import DelegationToken
from quorate.metadata.records import DelegationTokenRecord, RemoveDelegationTokenRecord
from quorate.metadata.security.known import token_hmac
from quorate.metadata.security.permissions import Operation, Resource
from quorate.metadata.security.tokens import check_may_ask_for_tokens, split_principal
from quorate.metadata.wire.tokens import (
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest,
    RenewDelegationTokenResponse,
)

MAX_PRINCIPAL_BYTES: Final = 32_767
"""The longest text that a record can hold in Kafka's form; type and name come apart and are joined."""
MAX_RENEWERS: Final = 1_000
MOST_REMOVED_AT_ONCE: Final = 1_000
_USER: Final = "User"


def create_delegation_token(
    context: Context, request: CreateDelegationTokenRequest
) -> ControllerResult[CreateDelegationTokenResponse]:
    """Makes a token for the caller, or for somebody else whom the caller may make tokens for.

    Raises:
        RequestRejected: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTHORIZATION_FAILED,
            DELEGATION_TOKEN_AUTH_DISABLED, INVALID_PRINCIPAL_TYPE, INVALID_REQUEST.
    """
    check_may_ask_for_tokens(context.principal, by_token=context.by_token)
    owner = _owner(context, request)
    if owner != context.principal and not context.permits(Operation.CREATE_TOKENS, Resource.USER, owner):
        reject(
            ErrorCode.delegation_token_authorization_failed,
            f"{context.principal} may not make delegation tokens for {owner}: that needs CREATE_TOKENS on it.",
        )
    secret = _secret(context)
    token_id = uuid_to_text(random_uuid(context.rng))
    token = DelegationToken(
        owner=owner,
        requester=context.principal,
        renewers=_renewers(request),
        issue_timestamp=context.wall_ms,
        max_timestamp=context.wall_ms
        + _shorter(context.config.delegation_token_max_lifetime_ms, request.max_lifetime_ms),
        expiration_timestamp=0,
    )
    token = _lasting(token, context.wall_ms + context.config.delegation_token_expiry_time_ms)
    owner_type, owner_name = split_principal(owner)
    requester_type, requester_name = split_principal(token.requester)
    return ControllerResult(
        [_record(token_id, token)],
        CreateDelegationTokenResponse(
            principal_type=owner_type,
            principal_name=owner_name,
            token_requester_principal_type=requester_type,
            token_requester_principal_name=requester_name,
            issue_timestamp_ms=token.issue_timestamp,
            expiry_timestamp_ms=token.expiration_timestamp,
            max_timestamp_ms=token.max_timestamp,
            token_id=token_id,
            hmac=token_hmac(token_id, secret),
        ),
    )


def renew_delegation_token(
    context: Context, request: RenewDelegationTokenRequest
) -> ControllerResult[RenewDelegationTokenResponse]:
    """Lets a token live longer, for its owner or one of its renewers; never beyond its own end.

    Raises:
        RequestRejected: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED,
            DELEGATION_TOKEN_NOT_FOUND, DELEGATION_TOKEN_EXPIRED, DELEGATION_TOKEN_OWNER_MISMATCH.
    """
    token_id, token = _changeable(context, request.hmac)
    period_ms = _shorter(context.config.delegation_token_expiry_time_ms, request.renew_period_ms)
    renewed = _lasting(token, context.wall_ms + period_ms)
    return ControllerResult(
        [_record(token_id, renewed)],
        RenewDelegationTokenResponse(expiry_timestamp_ms=renewed.expiration_timestamp),
    )


def expire_delegation_token(
    context: Context, request: ExpireDelegationTokenRequest
) -> ControllerResult[ExpireDelegationTokenResponse]:
    """Says when a token ends, or with a negative period removes it.

    Raises:
        RequestRejected: as for `renew_delegation_token`.
    """
    token_id, token = _changeable(context, request.hmac)
    if request.expiry_time_period_ms < 0:
        return ControllerResult(
            [RemoveDelegationTokenRecord(token_id=token_id)],
            ExpireDelegationTokenResponse(expiry_timestamp_ms=context.wall_ms),
        )
    expiring = _lasting(token, context.wall_ms + request.expiry_time_period_ms)
    return ControllerResult(
        [_record(token_id, expiring)],
        ExpireDelegationTokenResponse(expiry_timestamp_ms=expiring.expiration_timestamp),
    )


def remove_expired_tokens(context: Context) -> ControllerResult[None]:
    """A task of the active controller. With very many, the next look takes the rest."""
    expired = [
        token_id for token_id, token in context.image.tokens.sorted() if has_expired(token, context.wall_ms)
    ]
    records = [RemoveDelegationTokenRecord(token_id=token_id) for token_id in expired[:MOST_REMOVED_AT_ONCE]]
    return ControllerResult(records, None, atomic=False)


def has_expired(token: DelegationToken, wall_ms: int) -> bool:
    return token.max_timestamp < wall_ms or token.expiration_timestamp < wall_ms


def _secret(context: Context) -> str:
    secret = context.config.delegation_token_secret_key
    if secret is None:
        reject(
            ErrorCode.delegation_token_auth_disabled,
            "Delegation tokens are not enabled: delegation.token.secret.key is not set on the controllers.",
        )
    return secret


def _owner(context: Context, request: CreateDelegationTokenRequest) -> str:
    if not request.owner_principal_name:
        return context.principal
    if not request.owner_principal_type:
        reject(ErrorCode.invalid_principal_type, "The owner has a name and no type; write User.")
    return _joined(request.owner_principal_type, request.owner_principal_name)


def _renewers(request: CreateDelegationTokenRequest) -> tuple[str, ...]:
    for renewer in request.renewers:
        if renewer.principal_type != _USER:
            reject(
                ErrorCode.invalid_principal_type,
                f"A renewer is of type {_USER}, not {renewer.principal_type!r}.",
            )
    if len(request.renewers) > MAX_RENEWERS:
        reject(
            ErrorCode.invalid_request,
            f"A token has {MAX_RENEWERS} renewers at most, not {len(request.renewers)}.",
        )
    return tuple(_joined(renewer.principal_type, renewer.principal_name) for renewer in request.renewers)


def _joined(kind: str, name: str) -> str:
    principal = f"{kind}:{name}"
    if len(principal.encode()) > MAX_PRINCIPAL_BYTES:
        reject(ErrorCode.invalid_request, f"A principal has {MAX_PRINCIPAL_BYTES} bytes at most.")
    return principal


def _changeable(context: Context, secret_half: bytes) -> tuple[str, DelegationToken]:
    """The token with this HMAC, which the caller may change."""
    check_may_ask_for_tokens(context.principal, by_token=context.by_token)
    secret = _secret(context)
    token_id = next(
        (
            token_id
            for token_id in context.image.tokens.by_id
            if hmac.compare_digest(token_hmac(token_id, secret), secret_half)
        ),
        None,
    )
    if token_id is None:
        reject(ErrorCode.delegation_token_not_found, "No delegation token has this HMAC.")
    token = context.image.tokens.by_id[token_id]
    if has_expired(token, context.wall_ms):
        reject(ErrorCode.delegation_token_expired, "The delegation token has expired.")
    if context.principal != token.owner and context.principal not in token.renewers:
        reject(
            ErrorCode.delegation_token_owner_mismatch,
            "The delegation token is for its owner and its renewers to change.",
        )
    return token_id, token


def _shorter(allowed_ms: int, asked_ms: int) -> int:
    return min(allowed_ms, asked_ms) if asked_ms > 0 else allowed_ms


def _lasting(token: DelegationToken, until_ms: int) -> DelegationToken:
    return attrs.evolve(token, expiration_timestamp=min(token.max_timestamp, until_ms))


def _record(token_id: str, token: DelegationToken) -> DelegationTokenRecord:
    return DelegationTokenRecord(token_id=token_id, **attrs.asdict(token, recurse=False))
