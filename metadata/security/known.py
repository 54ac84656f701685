"""Whom a listener knows: PLAIN's users from its configuration, SCRAM's and tokens from the cluster's metadata (pure).

Decided on the image that the node shows at that moment, so a credential counts as soon as it is committed and
published there, and no more as soon as its removal is.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import attrs

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.security import ScramCredential
from quorate.metadata.security.mechanisms import TokenLogin, scram_credential

_TOKEN_ITERATIONS: Final = 4096


@attrs.frozen(kw_only=True)
class KnownUsers:
    """A `mechanisms.Known`."""

    plain_users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    image: Callable[[], MetadataImage] = attrs.field(repr=False)
    wall_ms: Callable[[], int] = attrs.field(repr=False)
    token_secret: str | None = attrs.field(default=None, repr=False)
    """What all nodes make the HMAC of a delegation token with; None: tokens let nobody in."""

    def password_of(self, user: str) -> str | None:
        return self.plain_users.get(user)

    def credential_of(self, user: str, mechanism: int) -> ScramCredential | None:
        return self.image().credentials.of(user, mechanism)

    def token(self, token_id: str, mechanism: int) -> TokenLogin | None:
        token = self.image().tokens.by_id.get(token_id)
        if token is None or self.token_secret is None or token.expiration_timestamp <= self.wall_ms():
            return None
        password = token_password(token_id, self.token_secret)
        return TokenLogin(
            owner=token.owner,
            expires_ms=token.expiration_timestamp,
            credential=_token_credential(mechanism, token_id, password),
        )


@lru_cache(maxsize=16_384)
def token_hmac(token_id: str, secret: str) -> bytes:
    """The secret half of a delegation token, which the log does not hold (KIP-48).

    Kept: to find a token by it, it is made for all of them.
    """
    return hmac.new(secret.encode(), token_id.encode(), hashlib.sha512).digest()


def token_password(token_id: str, secret: str) -> str:
    """What its bearer logs in with."""
    return base64.b64encode(token_hmac(token_id, secret)).decode()


@lru_cache(maxsize=1024)
def _token_credential(mechanism: int, token_id: str, password: str) -> ScramCredential:
    """Made once and kept: it takes some milliseconds. The password is random, so its salt need not be."""
    salt = hashlib.sha256(f"{mechanism}:{token_id}".encode()).digest()
    return scram_credential(mechanism, password, salt, _TOKEN_ITERATIONS)
