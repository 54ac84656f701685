"""AlterUserScramCredentials: what is kept of a password, and which credentials are refused."""

import base64
import hashlib
from typing import Any

import pytest

from quorate.controller.credentials import alter_user_scram_credentials
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.security import SCRAM_SHA_256, SCRAM_SHA_512
from quorate.metadata.wire.credentials import (
    AlterUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from tests.controller.world import World

SALT = b"W22ZaJ0SNY7soEsUEjb6gQ"


def upsert(user: str, mechanism: int = SCRAM_SHA_256, **changes: Any) -> ScramCredentialUpsertion:
    size = {SCRAM_SHA_256: 32}.get(mechanism, 64)
    values = {"iterations": 4096, "salt": SALT, "salted_password": b"p" * size} | changes
    return ScramCredentialUpsertion(name=user, mechanism=mechanism, **values)


def delete(user: str, mechanism: int = SCRAM_SHA_256) -> ScramCredentialDeletion:
    return ScramCredentialDeletion(name=user, mechanism=mechanism)


def alter(world: World, *changes: ScramCredentialDeletion | ScramCredentialUpsertion) -> dict[str, ErrorCode]:
    request = AlterUserScramCredentialsRequest(
        deletions=tuple(c for c in changes if isinstance(c, ScramCredentialDeletion)),
        upsertions=tuple(c for c in changes if isinstance(c, ScramCredentialUpsertion)),
    )
    results = world.run(alter_user_scram_credentials, request).results
    assert len({result.user for result in results}) == len(results)
    return {result.user: result.error_code for result in results}


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_kept_is_what_rfc_7677_computes(world: World) -> None:
    """Its example: user `user`, password `pencil`."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)

    assert alter(world, upsert("user", salt=salt, salted_password=salted)) == {"user": ErrorCode.none}

    kept = world.image.credentials.of("user", SCRAM_SHA_256)
    assert kept is not None
    assert base64.b64encode(kept.stored_key) == b"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    assert base64.b64encode(kept.server_key) == b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    assert (kept.salt, kept.iterations) == (salt, 4096)
    assert salted not in repr(world.records).encode()


def test_a_user_has_a_credential_for_each_mechanism(world: World) -> None:
    assert alter(world, upsert("a")) == {"a": ErrorCode.none}
    assert alter(world, upsert("a", SCRAM_SHA_512)) == {"a": ErrorCode.none}
    assert set(world.image.credentials.mechanisms_of("a")) == {SCRAM_SHA_256, SCRAM_SHA_512}

    assert alter(world, delete("a")) == {"a": ErrorCode.none}
    assert set(world.image.credentials.mechanisms_of("a")) == {SCRAM_SHA_512}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (upsert(""), ErrorCode.unacceptable_credential),
        (upsert("a", 0), ErrorCode.unsupported_sasl_mechanism),
        (upsert("a", 3), ErrorCode.unsupported_sasl_mechanism),
        (delete("a", 3), ErrorCode.unsupported_sasl_mechanism),
        (upsert("a", iterations=4095), ErrorCode.unacceptable_credential),
        (upsert("a", iterations=16385), ErrorCode.unacceptable_credential),
        (upsert("a", iterations=-1), ErrorCode.unacceptable_credential),
        (upsert("a", salt=b""), ErrorCode.unacceptable_credential),
        (upsert("a", salted_password=b""), ErrorCode.unacceptable_credential),
        (upsert("a", salted_password=b"p" * 64), ErrorCode.unacceptable_credential),
        (delete("a"), ErrorCode.resource_not_found),
    ],
)
def test_what_is_refused(world: World, change: Any, code: ErrorCode) -> None:
    before = world.next_offset

    assert alter(world, change) == {change.name: code}
    assert world.next_offset == before


def test_a_user_twice_is_refused_and_other_users_are_not(world: World) -> None:
    codes = alter(world, upsert("a"), upsert("a"), upsert("a"), upsert("b"))

    assert codes == {"a": ErrorCode.duplicate_resource, "b": ErrorCode.none}
    assert world.image.credentials.users() == ["b"]


def test_a_user_twice_is_refused_whatever_the_mechanism(world: World) -> None:
    """As kafka-configs asks, when it is given both; Kafka's controllers refuse it too."""
    assert alter(world, upsert("a"), upsert("a", SCRAM_SHA_512)) == {"a": ErrorCode.duplicate_resource}
    assert world.image.credentials.users() == []


def test_what_is_wrong_with_the_first_change_is_told_rather_than_that_there_is_a_second(world: World) -> None:
    assert alter(world, delete("a"), upsert("a")) == {"a": ErrorCode.resource_not_found}


def test_the_bounds_of_the_iterations_are_allowed(world: World) -> None:
    assert alter(world, upsert("a", iterations=4096), upsert("b", iterations=16384)) == {
        "a": ErrorCode.none,
        "b": ErrorCode.none,
    }
