"""SASL's mechanisms, both sides: tokens in, tokens out, and in the end who is there (pure).

PLAIN is RFC 4616; SCRAM is RFC 5802 by scramp, in the two forms that Kafka knows (KIP-84). A delegation token logs in
by SCRAM, its id as the name and its HMAC as the password, and says so in an extension `tokenauth=true` (KIP-48).
Nonces come from outside.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import attrs
from scramp import ScramClient, ScramException, ScramMechanism  # type: ignore[import-untyped]
from scramp.utils import saslprep  # type: ignore[import-untyped]

from quorate.metadata.image.security import SCRAM_MECHANISMS, SCRAM_SHA_256, SCRAM_SHA_512, ScramCredential

PLAIN: Final = "PLAIN"
SCRAM: Final[Mapping[str, int]] = {name: number for number, name in SCRAM_MECHANISMS.items()}
"""The names of SCRAM's mechanisms, with Kafka's numbers for them."""
MECHANISMS: Final = (PLAIN, *SCRAM)
_TOKEN_EXTENSION: Final = "tokenauth=true"
_HASHES: Final[Mapping[int, str]] = {SCRAM_SHA_256: "sha256", SCRAM_SHA_512: "sha512"}


class NotLetIn(Exception):
    """The client has not shown that it is who it says. The text may be told to it: it does not say what was wrong."""


@attrs.frozen(kw_only=True)
class Identity:
    """Who logged in. `expires_ms`: until when that holds, in wall clock ms; None: for ever."""

    principal: str
    by_token: bool = False
    expires_ms: int | None = None


@attrs.frozen(kw_only=True)
class TokenLogin:
    """What a delegation token lets in, and the credential that its HMAC makes."""

    owner: str
    expires_ms: int
    credential: ScramCredential


class Known(Protocol):
    """Whom a listener knows."""

    def password_of(self, user: str) -> str | None:
        """For PLAIN."""
        ...

    def credential_of(self, user: str, mechanism: int) -> ScramCredential | None: ...

    def token(self, token_id: str, mechanism: int) -> TokenLogin | None:
        """None also for one that has expired."""
        ...


class ServerMechanism(Protocol):
    """The server's side of one login."""

    @property
    def identity(self) -> Identity | None:
        """None: the client has to send more."""
        ...

    def respond(self, token: bytes) -> bytes:
        """The answer to the client's next token.

        Raises:
            NotLetIn: this client is not let in.
        """
        ...


def server_mechanism(name: str, known: Known, nonce: Callable[[], str]) -> ServerMechanism:
    """One of `MECHANISMS`."""
    return PlainServer(known) if name == PLAIN else ScramServer(name, known, nonce())


class PlainServer:
    """The name and the password in one message."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.identity: Identity | None = None

    def respond(self, token: bytes) -> bytes:
        try:
            authorize, user, password = token.decode().split("\0")
        except ValueError:
            raise NotLetIn("Authentication failed: this is no PLAIN message") from None
        if not user or not password or authorize not in ("", user):
            raise NotLetIn("Authentication failed: Invalid username or password")
        expected = self._known.password_of(user)
        # The comparison is made for unknown names too, so that its time does not tell which names there are.
        matches = hmac.compare_digest((expected or "\0").encode(), password.encode())
        if expected is None or not matches:
            raise NotLetIn("Authentication failed: Invalid username or password")
        self.identity = Identity(principal=f"User:{user}")
        return b""


class ScramServer:
    """Two messages from the client, two answers."""

    def __init__(self, name: str, known: Known, nonce: str) -> None:
        self._name = name
        self._known = known
        self._candidate: Identity | None = None
        self._by_token = False
        self._begun = False
        self._scram = ScramMechanism(name).make_server(self._credential, s_nonce=nonce)
        self.identity: Identity | None = None

    def respond(self, token: bytes) -> bytes:
        try:
            text = token.decode()
            answer = self._last(text) if self._begun else self._first(text)
        except (ScramException, ValueError):
            raise NotLetIn(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism "
                f"{self._name}"
            ) from None
        return answer.encode()

    def _first(self, text: str) -> str:
        self._begun = True
        message, self._by_token = _without_token_extension(text)
        self._scram.set_client_first(message)
        if self._by_token:  # what is signed is the message as it came
            self._scram.client_first_bare = text.split(",", 2)[2]
        return str(self._scram.get_server_first())

    def _last(self, text: str) -> str:
        self._scram.set_client_final(text)
        answer = str(self._scram.get_server_final())
        self.identity = self._candidate
        return answer

    def _credential(self, user: str) -> tuple[bytes, bytes, bytes, int] | None:
        mechanism = SCRAM[self._name]
        if self._by_token:
            login = self._known.token(user, mechanism)
            if login is None:
                return None
            self._candidate = Identity(principal=login.owner, by_token=True, expires_ms=login.expires_ms)
            return _fields(login.credential)
        credential = self._known.credential_of(user, mechanism)
        self._candidate = Identity(principal=f"User:{user}")
        return None if credential is None else _fields(credential)


def _fields(credential: ScramCredential) -> tuple[bytes, bytes, bytes, int]:
    return credential.salt, credential.stored_key, credential.server_key, credential.iterations


def _without_token_extension(text: str) -> tuple[str, bool]:
    """The first message without the extension that scramp does not know, and whether it was there."""
    suffix = "," + _TOKEN_EXTENSION
    return (text.removesuffix(suffix), True) if text.endswith(suffix) else (text, False)


def scram_credential(mechanism: int, password: str, salt: bytes, iterations: int) -> ScramCredential:
    """What a server keeps of a password."""
    made = ScramMechanism(SCRAM_MECHANISMS[mechanism]).make_auth_info(password, iterations, salt)
    return ScramCredential(salt=made[0], stored_key=made[1], server_key=made[2], iterations=made[3])


def salted_password(mechanism: int, password: str, salt: bytes, iterations: int) -> bytes:
    """What an administrator sends instead of the password (KIP-554).

    Raises:
        ValueError: the password has characters that SCRAM forbids (RFC 4013).
    """
    try:
        prepared = str(saslprep(password)).encode()
    except ScramException as error:
        raise ValueError(str(error)) from None
    return hashlib.pbkdf2_hmac(_HASHES[mechanism], prepared, salt, iterations)


# ---- the client's side


class ClientMechanism(Protocol):
    """The client's side of one login."""

    def first(self) -> bytes:
        """The token to begin with."""
        ...

    def next(self, token: bytes) -> bytes | None:
        """What to send after the server's token; None: the login is done.

        Raises:
            NotLetIn: the server does not know the password either, or breaks the mechanism's rules.
        """
        ...


def client_mechanism(
    name: str, user: str, password: str, nonce: Callable[[], str], *, by_token: bool = False
) -> ClientMechanism:
    """One of `MECHANISMS`.

    Raises:
        ValueError: no such name or password can be sent.
    """
    return (
        PlainClient(user, password)
        if name == PLAIN
        else ScramClientSide(name, user, password, nonce(), by_token)
    )


class PlainClient:
    """See `PlainServer`."""

    def __init__(self, user: str, password: str) -> None:
        if "\0" in user + password:
            raise ValueError("PLAIN cannot send a name or password that holds a zero byte")
        self._token = f"\0{user}\0{password}".encode()

    def first(self) -> bytes:
        return self._token

    def next(self, token: bytes) -> bytes | None:
        return None


class ScramClientSide:
    """See `ScramServer`. The server has to show that it knows the password too."""

    def __init__(self, name: str, user: str, password: str, nonce: str, by_token: bool) -> None:
        try:
            self._scram = ScramClient([name], user, password, c_nonce=nonce)
        except ScramException as error:
            raise ValueError(str(error)) from None
        self._by_token = by_token
        self._finished = False

    def first(self) -> bytes:
        message = str(self._scram.get_client_first())
        if self._by_token:
            self._scram.client_first_bare += "," + _TOKEN_EXTENSION
            message += "," + _TOKEN_EXTENSION
        return message.encode()

    def next(self, token: bytes) -> bytes | None:
        try:
            if self._finished:
                self._scram.set_server_final(token.decode())
                return None
            self._finished = True
            self._scram.set_server_first(token.decode())
            return str(self._scram.get_client_final()).encode()
        except (ScramException, ValueError) as error:
            raise NotLetIn(f"the server's part of the login is wrong: {error}") from None
