"""A login as the server sees it: the order of its steps, who may take a connection over, and for how long it holds."""

from collections.abc import Callable
from functools import partial

import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.security.mechanisms import PLAIN, Identity, server_mechanism
from quorate.metadata.security.sasl_server import Proven, SaslLogin
from quorate.metadata.wire.sasl import SaslAuthenticateRequest, SaslHandshakeRequest
from tests.metadata.security.people import People

GOOD = SaslAuthenticateRequest(auth_bytes=b"\0alice\0secret")
BAD = SaslAuthenticateRequest(auth_bytes=b"\0alice\0wrong")
BY_PLAIN = SaslHandshakeRequest(mechanism=PLAIN)
ALICE = Proven(identity=Identity(principal="User:alice"), mechanism=PLAIN, lifetime_ms=1000)


def never_ends(mechanism: str, identity: Identity) -> int:
    return 0


def login(
    *names: str, before: Proven | None = None, lifetime_ms: Callable[[str, Identity], int] = never_ends
) -> SaslLogin:
    begin = {name: partial(server_mechanism, name, People(), lambda: "nonce") for name in names or (PLAIN,)}
    return SaslLogin(begin, lifetime_ms=lifetime_ms, before=before)


def test_handshake_then_token() -> None:
    one = login("SCRAM-SHA-256", PLAIN)

    assert one.handshake(BY_PLAIN, 1).mechanisms == ("SCRAM-SHA-256", PLAIN)
    assert one.authenticate(GOOD).error_code is ErrorCode.none
    assert one.proven == Proven(identity=Identity(principal="User:alice"), mechanism=PLAIN, lifetime_ms=0)
    assert one.failure is None


def test_a_login_that_holds_for_a_while_says_so() -> None:
    one = login(lifetime_ms=lambda mechanism, identity: 5_000 if mechanism == PLAIN else 1)
    one.handshake(BY_PLAIN, 1)

    assert one.authenticate(GOOD).session_lifetime_ms == 5_000


def test_a_wrong_password_ends_it() -> None:
    one = login()
    one.handshake(BY_PLAIN, 1)

    answer = one.authenticate(BAD)

    assert answer.error_code is ErrorCode.sasl_authentication_failed
    assert one.proven is None
    assert one.failure is not None
    assert one.authenticate(GOOD).error_code is ErrorCode.illegal_sasl_state
    assert one.proven is None


def test_a_mechanism_that_is_not_enabled_is_refused_with_those_that_are() -> None:
    one = login(PLAIN)

    answer = one.handshake(SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1)

    assert (answer.error_code, answer.mechanisms) == (ErrorCode.unsupported_sasl_mechanism, (PLAIN,))
    assert one.failure is not None


def test_no_token_before_a_handshake_and_no_second_handshake() -> None:
    early, twice = login(), login()
    twice.handshake(BY_PLAIN, 1)

    assert early.authenticate(GOOD).error_code is ErrorCode.illegal_sasl_state
    assert twice.handshake(BY_PLAIN, 1).error_code is ErrorCode.illegal_sasl_state
    assert early.failure is not None
    assert twice.failure is not None


def test_old_clients_send_bare_tokens() -> None:
    one = login()
    one.handshake(BY_PLAIN, 0)

    assert one.takes_bare_tokens
    assert one.bare_token(GOOD.auth_bytes) == b""
    assert one.proven is not None


def test_a_bare_token_that_is_wrong_is_not_answered() -> None:
    one = login()
    one.handshake(BY_PLAIN, 0)

    assert one.bare_token(BAD.auth_bytes) is None
    assert one.failure is not None


def test_after_a_handshake_for_bare_tokens_there_are_no_requests() -> None:
    one = login()
    one.handshake(BY_PLAIN, 0)

    assert one.authenticate(GOOD).error_code is ErrorCode.illegal_sasl_state


def test_nobody_else_takes_a_connection_over() -> None:
    """KIP-368: the principal must stay."""
    bob = Proven(identity=Identity(principal="User:bob"), mechanism=PLAIN, lifetime_ms=1000)
    one = login(before=bob)
    one.handshake(BY_PLAIN, 1)

    assert one.authenticate(GOOD).error_code is ErrorCode.sasl_authentication_failed
    assert one.proven is None


@pytest.mark.parametrize(
    ("mechanism", "code"), [(PLAIN, "none"), ("SCRAM-SHA-256", "unsupported_sasl_mechanism")]
)
def test_the_mechanism_stays_too(mechanism: str, code: str) -> None:
    one = login(PLAIN, "SCRAM-SHA-256", before=ALICE)

    assert one.handshake(SaslHandshakeRequest(mechanism=mechanism), 1).error_code is ErrorCode[code]
