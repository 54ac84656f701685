"""The answer to DescribeDelegationToken (KIP-48, KIP-373), the HMACs included: who may see a token may use it."""

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.security import DelegationToken
from quorate.metadata.security.known import token_hmac
from quorate.metadata.security.permissions import Permits
from quorate.metadata.security.tokens import check_may_ask_for_tokens, may_see, split_principal
from quorate.metadata.wire.tokens import (
    DescribedDelegationToken,
    DescribedDelegationTokenRenewer,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
)


def answer_describe_tokens(
    image: MetadataImage,
    request: DescribeDelegationTokenRequest,
    *,
    principal: str,
    by_token: bool,
    permits: Permits,
    secret: str | None,
) -> DescribeDelegationTokenResponse:
    """The tokens that an asked owner owns or may renew, as far as the caller may see them; expired ones until they are
    removed.

    Raises:
        RequestRejected: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, DELEGATION_TOKEN_AUTH_DISABLED.
    """
    check_may_ask_for_tokens(principal, by_token=by_token)
    if secret is None:
        raise RequestRejected(
            ErrorCode.delegation_token_auth_disabled,
            "Delegation tokens are not enabled: delegation.token.secret.key is not set on this node.",
        )
    owners = None
    if request.owners is not None:
        owners = {f"{owner.principal_type}:{owner.principal_name}" for owner in request.owners}
    return DescribeDelegationTokenResponse(
        tokens=tuple(
            _described(token_id, token, secret)
            for token_id, token in image.tokens.sorted()
            if _is_asked_for(token, owners) and may_see(token_id, token, principal, permits)
        )
    )


def _is_asked_for(token: DelegationToken, owners: set[str] | None) -> bool:
    return owners is None or token.owner in owners or not owners.isdisjoint(token.renewers)


def _described(token_id: str, token: DelegationToken, secret: str) -> DescribedDelegationToken:
    owner_type, owner_name = split_principal(token.owner)
    requester_type, requester_name = split_principal(token.requester)
    renewers = map(split_principal, token.renewers)
    return DescribedDelegationToken(
        principal_type=owner_type,
        principal_name=owner_name,
        token_requester_principal_type=requester_type,
        token_requester_principal_name=requester_name,
        issue_timestamp=token.issue_timestamp,
        expiry_timestamp=token.expiration_timestamp,
        max_timestamp=token.max_timestamp,
        token_id=token_id,
        hmac=token_hmac(token_id, secret),
        renewers=tuple(
            DescribedDelegationTokenRenewer(principal_type=kind, principal_name=name)
            for kind, name in renewers
        ),
    )
