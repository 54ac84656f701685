"""Who may ask for delegation tokens, and which ones may be seen (KIP-48, pure)."""

from typing import Final

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.security import DelegationToken
from quorate.metadata.security.permissions import Operation, Permits, Resource

_ANONYMOUS: Final = "User:ANONYMOUS"


def check_may_ask_for_tokens(principal: str, *, by_token: bool) -> None:
    """Who logged in by a token gets no further ones, or they would never end; nor does who did not say who it is.

    Raises:
        RequestRejected: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
    """
    if by_token or principal == _ANONYMOUS:
        raise RequestRejected(
            ErrorCode.delegation_token_request_not_allowed,
            "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token "
            "authenticated channels: log in by SASL with a password, or by a client certificate.",
        )


def may_see(token_id: str, token: DelegationToken, principal: str, permits: Permits) -> bool:
    """Owners and renewers see their own; others by a right on the token, or on its owner (KIP-373)."""
    if principal == token.owner or principal in token.renewers:
        return True
    return permits(Operation.DESCRIBE, Resource.DELEGATION_TOKEN, token_id) or permits(
        Operation.DESCRIBE_TOKENS, Resource.USER, token.owner
    )


def split_principal(principal: str) -> tuple[str, str]:
    """(type, name) of `User:alice`; a name may hold colons."""
    kind, _, name = principal.partition(":")
    return kind, name
