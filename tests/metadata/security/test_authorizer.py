"""The settings of the authorizer: who is above ACLs, and what may stand in a configuration."""

import pytest

from quorate.broker.config import BrokerConfig
from quorate.metadata.security.authorizer import (
    STANDARD_AUTHORIZER,
    Authorizer,
    parse_authorizer_class,
    parse_super_users,
)
from quorate.metadata.settings import InvalidSettings, RawSettings

BROKER = {
    "process.roles": "broker",
    "node.id": "1",
    "metadata.log.dir": "unused",
    "listeners": "PLAINTEXT://127.0.0.1:9092",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
}


def test_super_users_are_exact_principals_between_semicolons() -> None:
    assert parse_super_users("") == frozenset()
    assert parse_super_users(" User:CN=a,O=b ; User:c;") == {"User:CN=a,O=b", "User:c"}


@pytest.mark.parametrize("text", ["alice", "User:alice,bob;bob", ":alice", "User:"])
def test_what_is_no_principal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no principal"):
        parse_super_users(text)


def test_only_kafkas_own_authorizer_is_built_in() -> None:
    assert parse_authorizer_class(STANDARD_AUTHORIZER)
    assert not parse_authorizer_class("")
    with pytest.raises(ValueError, match="Java classes"):
        parse_authorizer_class("kafka.security.authorizer.AclAuthorizer")


def test_a_node_has_an_authorizer_if_it_names_one() -> None:
    settings = {"super.users": "User:a", "allow.everyone.if.no.acl.found": "true"}
    config = BrokerConfig.of(BROKER | settings | {"authorizer.class.name": STANDARD_AUTHORIZER})

    assert BrokerConfig.of(BROKER).authorizer is None
    assert config.authorizer == Authorizer(super_users=frozenset({"User:a"}), allow_if_no_acl=True)


def test_super_users_without_an_authorizer_are_warned_of() -> None:
    config, warnings = BrokerConfig.from_raw(RawSettings.of(BROKER | {"super.users": "User:a"}))

    assert config.authorizer is None
    assert [warning.key for warning in warnings] == ["super.users"]


def test_another_authorizer_is_never_ignored() -> None:
    with pytest.raises(InvalidSettings, match=r"authorizer\.class\.name"):
        BrokerConfig.of(BROKER | {"authorizer.class.name": "org.example.Mine"})
