"""CreateAcls and DeleteAcls: what is written, what is refused and in which words, and what a filter means."""

from typing import Any

import pytest

from quorate.controller.acls import create_acls, delete_acls
from quorate.metadata.checks import ErrorCode
from quorate.metadata.security.permissions import CLUSTER_NAME, Acl
from quorate.metadata.wire.acls import AclCreation, CreateAclsRequest, DeleteAclsFilter, DeleteAclsRequest
from tests.controller.world import World, config, refused

TOPIC, GROUP, CLUSTER = 2, 3, 4
ANY, MATCH, LITERAL, PREFIXED = 1, 2, 3, 4
ALL, READ, WRITE, DESCRIBE = 2, 3, 4, 8
DENY, ALLOW = 2, 3


def creation(**changes: Any) -> AclCreation:
    values: dict[str, Any] = {
        "resource_type": TOPIC,
        "resource_name": "orders",
        "resource_pattern_type": LITERAL,
        "principal": "User:alice",
        "host": "*",
        "operation": READ,
        "permission_type": ALLOW,
    }
    return AclCreation(**(values | changes))


def create(world: World, *creations: AclCreation) -> list[ErrorCode]:
    response = world.run(create_acls, CreateAclsRequest(creations=creations))
    return [result.error_code for result in response.results]


def wanted(**changes: Any) -> DeleteAclsFilter:
    values: dict[str, Any] = {
        "resource_type_filter": ANY,
        "pattern_type_filter": ANY,
        "operation": ANY,
        "permission_type": ANY,
    }
    return DeleteAclsFilter(**(values | changes))


def names(world: World) -> list[str]:
    return sorted(acl.resource_name for acl in world.image.acls.ids)


@pytest.fixture
def world() -> World:
    return World()


def test_an_acl_is_written_as_it_was_asked_for(world: World) -> None:
    assert create(world, creation()) == [ErrorCode.none]

    assert list(world.image.acls.ids) == [
        Acl(
            resource_type=TOPIC,
            resource_name="orders",
            pattern_type=LITERAL,
            principal="User:alice",
            host="*",
            operation=READ,
            permission_type=ALLOW,
        )
    ]


def test_one_that_exists_is_a_success_and_no_record(world: World) -> None:
    assert create(world, creation(), creation()) == [ErrorCode.none] * 2
    assert len(world.image.acls) == 1
    assert list(world.decide(create_acls, CreateAclsRequest(creations=(creation(),))).records) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resource_type": 0}, "Invalid resourceType 0"),
        ({"resource_type": ANY}, "Invalid resourceType 1"),
        ({"resource_type": 8}, "Invalid resourceType 8"),
        ({"resource_pattern_type": ANY}, "Invalid patternType 1"),
        ({"resource_pattern_type": MATCH}, "Invalid patternType 2"),
        ({"operation": ANY}, "Invalid operation 1"),
        ({"operation": 99}, "Invalid operation 99"),
        ({"permission_type": ANY}, "Invalid permissionType 1"),
        ({"permission_type": 0}, "Invalid permissionType 0"),
        ({"resource_name": ""}, "Invalid empty resource name"),
        ({"resource_type": CLUSTER}, f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}"),
        ({"principal": "alice"}, "Could not parse principal from `alice`"),
    ],
)
def test_what_means_nothing_is_refused_and_the_others_are_made(
    world: World, changes: dict[str, Any], words: str
) -> None:
    request = CreateAclsRequest(creations=(creation(**changes), creation(resource_name="fine")))
    response = world.run(create_acls, request)

    bad, good = response.results
    assert (bad.error_code, good.error_code) == (ErrorCode.invalid_request, ErrorCode.none)
    assert bad.error_message.startswith(words)
    assert names(world) == ["fine"]


@pytest.fixture
def full(world: World) -> World:
    create(
        world,
        creation(),
        creation(resource_name="ord", resource_pattern_type=PREFIXED),
        creation(resource_name="*", operation=WRITE, permission_type=DENY),
        creation(resource_name="payments", principal="User:bob", host="10.0.0.1"),
        creation(resource_name="app", resource_type=GROUP),
    )
    return world


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({}, ["*", "app", "ord", "orders", "payments"]),
        ({"resource_type_filter": GROUP}, ["app"]),
        ({"resource_name_filter": "orders"}, ["orders"]),
        ({"resource_name_filter": "orders", "pattern_type_filter": PREFIXED}, []),
        ({"resource_name_filter": "orders", "pattern_type_filter": MATCH}, ["*", "ord", "orders"]),
        ({"resource_name_filter": "ord", "pattern_type_filter": LITERAL}, []),
        ({"resource_name_filter": "ord", "pattern_type_filter": PREFIXED}, ["ord"]),
        ({"pattern_type_filter": PREFIXED}, ["ord"]),
        ({"principal_filter": "User:bob"}, ["payments"]),
        ({"host_filter": "*"}, ["*", "app", "ord", "orders"]),
        ({"operation": WRITE}, ["*"]),
        ({"operation": ALL}, []),
        ({"permission_type": DENY}, ["*"]),
        ({"principal_filter": ""}, []),
    ],
)
def test_what_a_filter_means(full: World, changes: dict[str, Any], gone: list[str]) -> None:
    before = names(full)
    response = full.run(delete_acls, DeleteAclsRequest(filters=(wanted(**changes),)))

    (result,) = response.filter_results
    assert result.error_code is ErrorCode.none
    assert sorted(acl.resource_name for acl in result.matching_acls) == gone
    assert names(full) == sorted(set(before) - set(gone))


def test_each_filter_is_told_all_that_it_means_and_each_acl_goes_once(full: World) -> None:
    response = full.run(
        delete_acls,
        DeleteAclsRequest(filters=(wanted(resource_name_filter="app"), wanted(resource_type_filter=GROUP))),
    )

    assert [len(result.matching_acls) for result in response.filter_results] == [1, 1]
    assert names(full) == ["*", "ord", "orders", "payments"]


@pytest.mark.parametrize(
    "changes",
    [{"resource_type_filter": 0}, {"pattern_type_filter": 5}, {"operation": 0}, {"permission_type": 4}],
)
def test_a_filter_with_an_unknown_number_removes_nothing(full: World, changes: dict[str, Any]) -> None:
    before = names(full)
    response = full.run(
        delete_acls, DeleteAclsRequest(filters=(wanted(**changes), wanted(resource_name_filter="app")))
    )

    assert [result.error_code for result in response.filter_results] == [
        ErrorCode.invalid_request,
        ErrorCode.none,
    ]
    assert names(full) == [name for name in before if name != "app"]


def test_more_than_one_request_may_change() -> None:
    world = World(config=config(max_records_per_operation=2))
    three = CreateAclsRequest(creations=tuple(creation(resource_name=name) for name in "abc"))
    assert refused(world, create_acls, three) is ErrorCode.policy_violation

    for name in "abc":
        create(world, creation(resource_name=name))
    assert refused(world, delete_acls, DeleteAclsRequest(filters=(wanted(),))) is ErrorCode.policy_violation
