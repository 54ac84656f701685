"""Somebody whom a listener knows, for tests of logins."""

from quorate.metadata.image.security import ScramCredential
from quorate.metadata.security.mechanisms import SCRAM, TokenLogin, scram_credential

CREDENTIALS = {
    number: scram_credential(number, "pencil", f"{name} and salt".encode(), 4096)
    for name, number in SCRAM.items()
}


class People:
    """A `Known`: alice has a PLAIN password and a SCRAM one, a token is bob's until 60,000."""

    def __init__(self) -> None:
        self.plain = {"alice": "secret"}
        self.token_expires_ms = 60_000

    def password_of(self, user: str) -> str | None:
        return self.plain.get(user)

    def credential_of(self, user: str, mechanism: int) -> ScramCredential | None:
        return CREDENTIALS[mechanism] if user == "alice" else None

    def token(self, token_id: str, mechanism: int) -> TokenLogin | None:
        if token_id != "token-1":
            return None
        return TokenLogin(
            owner="User:bob", expires_ms=self.token_expires_ms, credential=CREDENTIALS[mechanism]
        )
