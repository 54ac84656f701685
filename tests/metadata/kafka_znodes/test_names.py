"""Names in paths, and what ZooKeeper takes as a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("alice", "alice"),
        ("CN=alice,OU=x", "CN%3Dalice%2COU%3Dx"),
        ("user/1@prod", "user%2F1%40prod"),
        ("<default>", "%3Cdefault%3E"),
        ("a b+c*d~e", "a%20b%2Bc%2Ad%7Ee"),
        ("ü", "%C3%BC"),
        ("😀", "%F0%9F%98%80"),
        ("a%2Fb", "a%252Fb"),
        ("-_.", "-_."),
        ("!'()", "%21%27%28%29"),
    ],
)
def test_names_are_sanitized_as_java_does(name: str, node: str) -> None:
    assert paths.sanitized(name) == node
    assert paths.desanitized(node) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_sanitizing_loses_nothing(name: str) -> None:
    assert paths.desanitized(paths.sanitized(name)) == name
    assert paths.entity_name(paths.entity_node(name)) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_only_dots_are_no_node_once_sanitized(name: str) -> None:
    assert (paths.why_no_node(paths.sanitized(name)) is None) == (name not in (".", ".."))


def test_the_default_is_nobodys_name() -> None:
    assert paths.entity_node(None) == "<default>"
    assert paths.entity_name("<default>") is None
    assert paths.entity_name("%3Cdefault%3E") == "<default>"


@pytest.mark.parametrize("node", ["%", "50%", "%2", "%zz", "%2G", "a%-1", "%FF", "%C3"])
def test_a_malformed_escape_is_an_error(node: str) -> None:
    with pytest.raises(FormError):
        paths.desanitized(node)


def test_a_plus_is_a_blank_as_javas_decoder_has_it() -> None:
    assert paths.desanitized("a+b") == "a b"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a\x7fb", "\ue000", "\ufff9"])
def test_what_zookeeper_refuses_as_a_name(name: str) -> None:
    assert paths.why_no_node(name) is not None
