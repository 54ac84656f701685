"""The decision about a request, against one that is written down rule by rule (StandardAuthorizer, KIP-11, KIP-290)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.security.acl_index import AclIndex, Decision, caller
from quorate.metadata.security.permissions import Acl, Operation, Pattern, Permission, Resource

ALLOW, DENY = Permission.ALLOW, Permission.DENY
LITERAL, PREFIXED = Pattern.LITERAL, Pattern.PREFIXED


def acl(
    name: str,
    operation: Operation = Operation.READ,
    permission: Permission = ALLOW,
    *,
    principal: str = "User:alice",
    host: str = "*",
    pattern: Pattern = LITERAL,
    resource: Resource = Resource.TOPIC,
) -> Acl:
    return Acl(
        resource_type=int(resource),
        resource_name=name,
        pattern_type=int(pattern),
        principal=principal,
        host=host,
        operation=int(operation),
        permission_type=int(permission),
    )


def index_of(*acls: Acl) -> AclIndex:
    return AclIndex.EMPTY.changed((), acls)


def decide(
    index: AclIndex,
    operation: Operation = Operation.READ,
    name: str = "orders",
    *,
    principal: str = "User:alice",
    host: str = "10.0.0.1",
    if_no_acl: bool = False,
) -> Decision:
    return index.decide(caller(principal, host), operation, Resource.TOPIC, name, if_no_acl=if_no_acl)


@pytest.mark.parametrize(
    "about",
    [
        acl("orders"),
        acl("*"),
        acl("ord", pattern=PREFIXED),
        acl("orders", pattern=PREFIXED),
        acl("orders", principal="User:*"),
        acl("orders", host="10.0.0.1"),
        acl("orders", Operation.ALL),
    ],
)
def test_what_allows(about: Acl) -> None:
    assert decide(index_of(about)) == Decision(True)


@pytest.mark.parametrize(
    "about",
    [
        acl("Orders"),
        acl("order"),
        acl("orders-2"),
        acl("orders2", pattern=PREFIXED),
        acl("orders", principal="User:bob"),
        acl("orders", principal="Group:alice"),
        acl("orders", host="10.0.0.2"),
        acl("orders", Operation.WRITE),
        acl("orders", resource=Resource.GROUP),
        acl("*", pattern=PREFIXED),
    ],
)
def test_what_does_not_allow(about: Acl) -> None:
    assert decide(index_of(about)) == Decision(False)


@pytest.mark.parametrize("first", [ALLOW, DENY])
@pytest.mark.parametrize("denying", [acl("*", permission=DENY), acl("o", permission=DENY, pattern=PREFIXED)])
def test_a_denial_counts_whatever_else_there_is(first: Permission, denying: Acl) -> None:
    allowing = acl("orders", Operation.ALL)
    index = index_of(allowing, denying) if first is ALLOW else index_of(denying, allowing)

    assert decide(index) == Decision(False, denying)
    assert decide(index, Operation.WRITE) == Decision(True)


@pytest.mark.parametrize("allowed", [Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER])
def test_who_may_do_something_with_a_topic_may_describe_it(allowed: Operation) -> None:
    assert decide(index_of(acl("orders", allowed)), Operation.DESCRIBE).allowed
    assert not decide(index_of(acl("orders", allowed)), Operation.DESCRIBE_CONFIGS).allowed


def test_who_may_change_configs_may_see_them_and_no_more() -> None:
    index = index_of(acl("orders", Operation.ALTER_CONFIGS))

    assert decide(index, Operation.DESCRIBE_CONFIGS).allowed
    assert not decide(index, Operation.DESCRIBE).allowed


def test_to_forbid_reading_does_not_forbid_describing() -> None:
    index = index_of(acl("orders", Operation.READ, DENY), acl("orders", Operation.DESCRIBE))

    assert decide(index, Operation.DESCRIBE).allowed


def test_a_resource_that_no_acl_is_about_is_left_to_the_setting() -> None:
    assert decide(index_of(), if_no_acl=True) == Decision(True)
    assert decide(index_of(acl("payments")), if_no_acl=True) == Decision(True)
    assert decide(index_of(acl("orders", principal="User:bob")), if_no_acl=True) == Decision(False)


_NAMES = st.sampled_from(["a", "ab", "abc", "b", "*"])
_ACLS = st.builds(
    acl,
    _NAMES,
    st.sampled_from([Operation.ALL, Operation.READ, Operation.DESCRIBE, Operation.ALTER_CONFIGS]),
    st.sampled_from(Permission),
    principal=st.sampled_from(["User:alice", "User:bob", "User:*"]),
    host=st.sampled_from(["*", "h"]),
    pattern=st.sampled_from([LITERAL, PREFIXED]),
    resource=st.sampled_from([Resource.TOPIC, Resource.GROUP]),
)
_IMPLIED = {
    Operation.DESCRIBE: {Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER},
    Operation.DESCRIBE_CONFIGS: {Operation.ALTER_CONFIGS},
}


def by_the_book(
    acls: set[Acl], principal: str, host: str, operation: Operation, name: str, otherwise: bool
) -> bool:
    def about(one: Acl) -> bool:
        if one.resource_type != Resource.TOPIC:
            return False
        if one.pattern_type == PREFIXED:
            return name.startswith(one.resource_name)
        return one.resource_name in (name, "*")

    def applies(one: Acl) -> bool:
        return one.principal in (principal, "User:*") and one.host in (host, "*")

    here = [one for one in acls if about(one)]
    mine = [one for one in here if applies(one)]
    if any(one.permission_type == DENY and one.operation in (operation, Operation.ALL) for one in mine):
        return False
    good = {operation, Operation.ALL} | _IMPLIED.get(operation, set())
    if any(one.permission_type == ALLOW and one.operation in good for one in mine):
        return True
    return otherwise and not here


@given(
    acls=st.lists(_ACLS, max_size=8, unique=True),
    gone=st.lists(_ACLS, max_size=8, unique=True),
    principal=st.sampled_from(["User:alice", "User:bob"]),
    host=st.sampled_from(["h", "i"]),
    operation=st.sampled_from([Operation.READ, Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS]),
    name=_NAMES,
    otherwise=st.booleans(),
)
def test_the_index_decides_as_the_rules_do(
    acls: list[Acl],
    gone: list[Acl],
    principal: str,
    host: str,
    operation: Operation,
    name: str,
    otherwise: bool,
) -> None:
    """Also after others came and went."""
    come_and_gone = [one for one in gone if one not in acls]
    full = index_of(*acls, *come_and_gone)
    index = full.changed(come_and_gone, ())

    for here, there in ((index, acls), (full, [*acls, *come_and_gone])):  # the older one is what it was
        found = here.decide(caller(principal, host), operation, Resource.TOPIC, name, if_no_acl=otherwise)
        assert found.allowed == by_the_book(set(there), principal, host, operation, name, otherwise)
        if found.forbidden_by is not None:
            assert not found.allowed
            assert found.forbidden_by in there
    emptied = full.changed([*acls, *come_and_gone], ())
    assert [
        list(one.literals) + list(one.prefixes) + list(one.lengths) for one in emptied.types.values()
    ] == [[] for _ in emptied.types]


@pytest.mark.parametrize("written", ["2001:db8::1", "2001:db8:0:0:0:0:0:1"])
def test_a_host_of_ipv6_is_the_same_in_pythons_and_in_javas_spelling(written: str) -> None:
    index = index_of(acl("orders", host=written))

    assert decide(index, host="2001:db8::1").allowed
    assert not decide(index, host="2001:db8::2").allowed
