"""Delegation tokens at the controller."""

from typing import Any

import attrs
import pytest

from quorate.controller.context import Context
from quorate.controller.operations import HANDLERS
from quorate.controller.tokens import MOST_REMOVED_AT_ONCE, remove_expired_tokens
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.security import DelegationToken
from quorate.metadata.records import DelegationTokenRecord, RemoveDelegationTokenRecord
from quorate.metadata.security.known import token_hmac
from quorate.metadata.security.permissions import Operation, Resource
from quorate.metadata.wire.tokens import (
    CreatableRenewers,
    CreateDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
)
from tests.controller.world import World, config, permit_only

ALICE, BOB, CAROL = "User:alice", "User:bob", "User:carol"
SECRET = "shared by all nodes"
DAY_MS = 24 * 3_600_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def world() -> World:
    return World(config=config(delegation_token_secret_key=SECRET))


def context(world: World, principal: str = ALICE, **changes: Any) -> Context:
    return world.context(**{"principal": principal, "wall_ms": NOW_MS, **changes})


def ask(world: World, request: Any, principal: str = ALICE, **changes: Any) -> Any:
    result = HANDLERS[type(request)](context(world, principal, **changes), request)
    world.replay(result.records)
    return result.response


def refusal(world: World, request: Any, principal: str = ALICE, **changes: Any) -> ErrorCode:
    with pytest.raises(RequestRejected) as refused:
        HANDLERS[type(request)](context(world, principal, **changes), request)
    return refused.value.code


def made(world: World, **fields: Any) -> Any:
    return ask(world, CreateDelegationTokenRequest(**fields))


def renewer(name: str, kind: str = "User") -> CreatableRenewers:
    return CreatableRenewers(principal_type=kind, principal_name=name)


def token(world: World) -> DelegationToken:
    (found,) = world.image.tokens.by_id.values()
    return found


def requests(hmac: bytes = b"x") -> list[Any]:
    return [
        CreateDelegationTokenRequest(),
        RenewDelegationTokenRequest(hmac=hmac),
        ExpireDelegationTokenRequest(hmac=hmac),
    ]


# --- create


def test_a_token_for_oneself(world: World) -> None:
    response = made(world, renewers=(renewer("bob"),))

    assert (response.principal_type, response.principal_name) == ("User", "alice")
    assert response.hmac == token_hmac(response.token_id, SECRET)
    assert token(world) == DelegationToken(
        owner=ALICE,
        requester=ALICE,
        renewers=(BOB,),
        issue_timestamp=NOW_MS,
        max_timestamp=NOW_MS + 7 * DAY_MS,
        expiration_timestamp=NOW_MS + DAY_MS,
    )
    assert (response.issue_timestamp_ms, response.expiry_timestamp_ms, response.max_timestamp_ms) == (
        NOW_MS,
        NOW_MS + DAY_MS,
        NOW_MS + 7 * DAY_MS,
    )
    assert response.hmac not in repr(world.records[-1]).encode()


@pytest.mark.parametrize(
    ("asked_ms", "lives_ms", "expires_ms"),
    [
        (-1, 7 * DAY_MS, DAY_MS),
        (0, 7 * DAY_MS, DAY_MS),
        (8 * DAY_MS, 7 * DAY_MS, DAY_MS),
        (2 * DAY_MS, 2 * DAY_MS, DAY_MS),
        (1_000, 1_000, 1_000),
        (2**63 - 1, 7 * DAY_MS, DAY_MS),
    ],
)
def test_how_long_it_lives(world: World, asked_ms: int, lives_ms: int, expires_ms: int) -> None:
    response = made(world, max_lifetime_ms=asked_ms)

    assert response.max_timestamp_ms == NOW_MS + lives_ms
    assert response.expiry_timestamp_ms == NOW_MS + expires_ms


def test_a_token_for_somebody_else_needs_a_right_on_that_user(world: World) -> None:
    request = CreateDelegationTokenRequest(owner_principal_type="User", owner_principal_name="bob")
    on_bob = permit_only((Operation.CREATE_TOKENS, Resource.USER, BOB))
    on_carol = permit_only((Operation.CREATE_TOKENS, Resource.USER, CAROL))

    assert refusal(world, request, permits=on_carol) is ErrorCode.delegation_token_authorization_failed
    response = ask(world, request, permits=on_bob)
    assert (response.principal_name, response.token_requester_principal_name) == ("bob", "alice")
    assert (token(world).owner, token(world).requester) == (BOB, ALICE)


def test_for_oneself_by_name_no_right_is_needed(world: World) -> None:
    request = CreateDelegationTokenRequest(owner_principal_type="User", owner_principal_name="alice")

    assert ask(world, request, permits=permit_only()).error_code is ErrorCode.none


@pytest.mark.parametrize(
    "fields",
    [
        {"renewers": (renewer("team", "Group"),)},
        {"renewers": (renewer("bob"), renewer("bob", ""))},
        {"owner_principal_name": "bob"},
    ],
)
def test_principals_have_a_type(world: World, fields: dict[str, Any]) -> None:
    assert refusal(world, CreateDelegationTokenRequest(**fields)) is ErrorCode.invalid_principal_type


@pytest.mark.parametrize(
    "fields",
    [
        {"renewers": (renewer("é" * 16_384),)},
        {"renewers": tuple(renewer(f"u{number}") for number in range(1_001))},
        {"owner_principal_type": "T" * 16_384, "owner_principal_name": "n" * 16_384},
    ],
)
def test_what_no_record_can_hold_is_refused(world: World, fields: dict[str, Any]) -> None:
    assert refusal(world, CreateDelegationTokenRequest(**fields)) is ErrorCode.invalid_request


# --- who may ask at all


@pytest.mark.parametrize("number", range(3))
def test_a_token_gets_no_token_and_nobody_neither(world: World, number: int) -> None:
    request = requests(made(world).hmac)[number]

    not_allowed = ErrorCode.delegation_token_request_not_allowed
    assert refusal(world, request, by_token=True) is not_allowed
    assert refusal(world, request, "User:ANONYMOUS") is not_allowed


@pytest.mark.parametrize("number", range(3))
def test_without_a_secret_there_are_none(number: int) -> None:
    assert refusal(World(), requests()[number]) is ErrorCode.delegation_token_auth_disabled


# --- renew and expire


@pytest.mark.parametrize("number", [1, 2])
def test_a_token_that_is_unknown_or_somebody_elses_or_over(world: World, number: int) -> None:
    hmac = made(world, renewers=(renewer("bob"),)).hmac

    assert refusal(world, requests(hmac[:-1])[number]) is ErrorCode.delegation_token_not_found
    assert refusal(world, requests(b"")[number]) is ErrorCode.delegation_token_not_found
    assert refusal(world, requests(hmac)[number], CAROL) is ErrorCode.delegation_token_owner_mismatch
    late = {"wall_ms": NOW_MS + DAY_MS + 1}
    assert refusal(world, requests(hmac)[number], CAROL, **late) is ErrorCode.delegation_token_expired
    assert ask(world, requests(hmac)[number], BOB, wall_ms=NOW_MS + DAY_MS).error_code is ErrorCode.none


@pytest.mark.parametrize(
    ("asked_ms", "expires_ms"),
    [(-1, DAY_MS), (0, DAY_MS), (5, 5), (3 * DAY_MS, DAY_MS), (2**63 - 1, DAY_MS)],
)
def test_renewing(world: World, asked_ms: int, expires_ms: int) -> None:
    hmac = made(world, max_lifetime_ms=2 * DAY_MS).hmac
    later_ms = NOW_MS + DAY_MS // 2
    before = token(world)

    response = ask(world, RenewDelegationTokenRequest(hmac=hmac, renew_period_ms=asked_ms), wall_ms=later_ms)

    assert response.expiry_timestamp_ms == later_ms + expires_ms
    assert token(world) == attrs.evolve(before, expiration_timestamp=later_ms + expires_ms)


def test_renewing_does_not_go_beyond_its_end(world: World) -> None:
    hmac = made(world, max_lifetime_ms=DAY_MS + 5).hmac

    response = ask(world, RenewDelegationTokenRequest(hmac=hmac), wall_ms=NOW_MS + 10)

    assert response.expiry_timestamp_ms == NOW_MS + DAY_MS + 5


def test_expiring_at_once_removes_it(world: World) -> None:
    hmac = made(world).hmac

    response = ask(world, ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=-1))

    assert response.expiry_timestamp_ms == NOW_MS
    assert dict(world.image.tokens.by_id) == {}


@pytest.mark.parametrize(
    ("period_ms", "expires_ms"), [(0, 0), (7, 7), (3 * DAY_MS, 3 * DAY_MS), (2**63 - 1, 7 * DAY_MS)]
)
def test_expiring_later(world: World, period_ms: int, expires_ms: int) -> None:
    hmac = made(world).hmac

    response = ask(world, ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=period_ms))

    assert response.expiry_timestamp_ms == token(world).expiration_timestamp == NOW_MS + expires_ms


# --- the sweep


def _record(number: int, expires_ms: int, ends_ms: int = NOW_MS + DAY_MS) -> DelegationTokenRecord:
    return DelegationTokenRecord(
        owner=ALICE,
        requester=ALICE,
        renewers=(),
        issue_timestamp=0,
        max_timestamp=ends_ms,
        expiration_timestamp=expires_ms,
        token_id=f"t{number:05}",
    )


def test_only_what_has_expired_is_removed(world: World) -> None:
    world.replay(
        [_record(1, NOW_MS - 1), _record(2, NOW_MS), _record(3, NOW_MS + 1), _record(4, NOW_MS, NOW_MS - 1)]
    )

    result = remove_expired_tokens(context(world))

    assert result.records == [RemoveDelegationTokenRecord(token_id=f"t0000{number}") for number in (1, 4)]


def test_very_many_are_removed_in_parts(world: World) -> None:
    world.replay([_record(number, 0) for number in range(MOST_REMOVED_AT_ONCE + 1)])

    world.replay(remove_expired_tokens(context(world)).records)
    assert len(world.image.tokens.by_id) == 1
    world.replay(remove_expired_tokens(context(world)).records)
    assert len(world.image.tokens.by_id) == 0
