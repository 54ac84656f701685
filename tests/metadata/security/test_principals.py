"""Distinguished names as Java writes them, and the rules that make principals of them."""

import pytest

from quorate.metadata.security.principals import distinguished_name, parse_rules

SUBJECT = (
    (("countryName", "DE"),),
    (("organizationName", "Example, Inc."),),
    (("organizationalUnitName", "Ops"),),
    (("commonName", "alice"),),
)


def test_the_most_special_part_comes_first() -> None:
    """X500Principal.getName(), RFC 2253."""
    assert distinguished_name(SUBJECT) == r"CN=alice,OU=Ops,O=Example\, Inc.,C=DE"


def test_parts_of_several_attributes_and_those_that_have_no_word() -> None:
    subject = ((("commonName", "a"), ("userId", "b")), (("emailAddress", "a@b"),))

    assert distinguished_name(subject) == "1.2.840.113549.1.9.1=#1603614062,CN=a+UID=b"


@pytest.mark.parametrize(("value", "written"), [("#x", r"\#x"), (" x ", r"\ x\ "), ('"<>', r"\"\<\>")])
def test_signs_with_a_meaning_are_escaped(value: str, written: str) -> None:
    assert distinguished_name(((("commonName", value),),)) == f"CN={written}"


@pytest.mark.parametrize(
    ("rules", "principal"),
    [
        ("DEFAULT", "User:CN=alice,OU=Ops,O=Example"),
        ("", "User:CN=alice,OU=Ops,O=Example"),
        ("RULE:^CN=(.*?),.*$/$1/", "User:alice"),
        ("RULE:^CN=(.*?),OU=(.*?),.*$/$1@$2/U", "User:ALICE@OPS"),
        ("RULE:^CN=(.*?),.*$/$1-X/L", "User:alice-x"),
        ("RULE:^OU=.*$/none/,RULE:^CN=(.*?),.*$/second-$1/,DEFAULT", "User:second-alice"),
        (r"RULE:^CN=(.*?),OU=Ops,O=Example$/a\/b/", "User:a/b"),
        ("RULE:^CN=alice/short/", None),
        ("RULE:^CN=bob,.*$/bob/", None),
    ],
)
def test_the_first_rule_that_matches_the_whole_name_counts(rules: str, principal: str | None) -> None:
    """SslPrincipalMapper: a rule has to match all of the name (KIP-371)."""
    assert parse_rules(rules).principal("CN=alice,OU=Ops,O=Example") == principal


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("RULE:^CN=(.*?)$/$1", "no rule"),
        ("RULE:^CN=(.*?)$/$1/X", "no rule"),
        ("DEFAULT,nonsense", "nonsense"),
        ("RULE:^CN=(.*?$/$1/", "no regular expression"),
        ("RULE:^CN=(.*?)$/$2/", "1 groups"),
    ],
)
def test_what_is_no_rule_is_refused(rules: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_rules(rules)
