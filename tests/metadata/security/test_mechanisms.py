"""PLAIN and SCRAM, server against client, and against messages that no client of ours would send."""

import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.security.mechanisms import (
    MECHANISMS,
    PLAIN,
    SCRAM,
    Identity,
    NotLetIn,
    client_mechanism,
    salted_password,
    scram_credential,
    server_mechanism,
)
from tests.metadata.security.people import People

PASSWORDS = {PLAIN: "secret", **dict.fromkeys(SCRAM, "pencil")}


def nonces() -> "itertools.count[int]":
    return itertools.count(1)


def log_in(name: str, user: str, password: str, *, by_token: bool = False) -> Identity | None:
    """Both sides talk until the client is content."""
    numbers = nonces()
    server = server_mechanism(name, People(), lambda: f"server{next(numbers)}")
    client = client_mechanism(name, user, password, lambda: f"client{next(numbers)}", by_token=by_token)
    token: bytes | None = client.first()
    while token is not None:
        token = client.next(server.respond(token))
    return server.identity


@pytest.mark.parametrize("name", MECHANISMS)
def test_who_knows_the_password_is_let_in(name: str) -> None:
    assert log_in(name, "alice", PASSWORDS[name]) == Identity(principal="User:alice")


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize(
    ("user", "password"), [("alice", "wrong"), ("alice", "pencil "), ("mallory", "secret")]
)
def test_others_are_not(name: str, user: str, password: str) -> None:
    with pytest.raises(NotLetIn, match=r"[Aa]uthentication failed"):
        log_in(name, user, password)


@pytest.mark.parametrize("name", SCRAM)
def test_a_token_lets_its_owner_in(name: str) -> None:
    found = log_in(name, "token-1", "pencil", by_token=True)

    assert found == Identity(principal="User:bob", by_token=True, expires_ms=60_000)


@pytest.mark.parametrize("name", SCRAM)
def test_a_token_is_no_user_and_a_user_no_token(name: str) -> None:
    with pytest.raises(NotLetIn):
        log_in(name, "token-1", "pencil")
    with pytest.raises(NotLetIn):
        log_in(name, "alice", "pencil", by_token=True)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"alice",
        b"\0alice",
        b"\0alice\0",
        b"\0\0secret",
        b"eve\0alice\0secret",
        b"\0alice\0secret\0",
        b"\xff\0a\0b",
    ],
)
def test_no_odd_plain_message_lets_anyone_in(token: bytes) -> None:
    server = server_mechanism(PLAIN, People(), str)

    with pytest.raises(NotLetIn):
        server.respond(token)
    assert server.identity is None


def test_an_empty_password_in_the_configuration_lets_nobody_in() -> None:
    people = People()
    people.plain["alice"] = ""

    with pytest.raises(NotLetIn):
        server_mechanism(PLAIN, people, str).respond(b"\0alice\0")


def test_a_recorded_scram_login_is_of_no_use_to_who_recorded_it() -> None:
    """A replay meets another nonce of the server."""
    client = client_mechanism("SCRAM-SHA-256", "alice", "pencil", lambda: "same")
    honest = server_mechanism("SCRAM-SHA-256", People(), lambda: "one")
    first = client.first()
    final = client.next(honest.respond(first))
    assert final is not None
    assert honest.respond(final)

    replayed = server_mechanism("SCRAM-SHA-256", People(), lambda: "two")
    replayed.respond(first)
    with pytest.raises(NotLetIn):
        replayed.respond(final)
    assert replayed.identity is None


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    client = client_mechanism("SCRAM-SHA-256", "alice", "other", lambda: "client")
    server = server_mechanism("SCRAM-SHA-256", People(), lambda: "server")
    client.next(server.respond(client.first()))

    with pytest.raises(NotLetIn, match="server's part"):
        client.next(b"v=" + b"A" * 43 + b"=")


@given(
    st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), max_size=3),
    st.sampled_from(MECHANISMS),
)
def test_no_bytes_let_anyone_in_or_raise_anything_else(tokens: list[bytes], name: str) -> None:
    server = server_mechanism(name, People(), lambda: "server")
    try:
        for token in tokens:
            server.respond(token)
    except NotLetIn:
        pass
    assert server.identity is None


def test_what_plain_cannot_say_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        client_mechanism(PLAIN, "a\0b", "c", str)


@pytest.mark.parametrize("name", SCRAM)
def test_a_salted_password_makes_the_credential_of_the_password(name: str) -> None:
    mechanism, salt = SCRAM[name], b"some salt of 16B"
    # A soft hyphen and a Roman numeral: RFC 4013 prepares both before they are hashed.
    for password in ("secret", "I\u00adX", "\u2168"):
        salted = salted_password(mechanism, password, salt, 4096)
        kept = scram_credential(mechanism, password, salt, 4096)
        algorithm = {1: "sha256", 2: "sha512"}[mechanism]
        assert hmac.digest(salted, b"Server Key", algorithm) == kept.server_key


def test_a_password_that_scram_forbids_is_refused() -> None:
    with pytest.raises(ValueError):
        salted_password(1, "bell\x07", b"salt", 4096)
