"""Login entries in Java's words."""

import pytest

from quorate.metadata.security.jaas import PLAIN, SCRAM, parse_login


def test_an_entry_with_its_options() -> None:
    entry = parse_login(
        f'  {PLAIN} required\n  username="alice"\n  password="a;b=c" user_bob=\'x y\' user_eve=z ; '
    )

    assert entry.module == PLAIN
    assert (entry.username, entry.password, entry.by_token) == ("alice", "a;b=c", False)
    assert entry.users == {"bob": "x y", "eve": "z"}


def test_quotation_marks_and_backslashes_within_a_value() -> None:
    assert parse_login(rf'{PLAIN} required password="a\"b\\c";').password == 'a"b\\c'


def test_a_token_says_so() -> None:
    assert parse_login(f'{SCRAM} required username="id" password="hmac" tokenauth="true";').by_token


def test_its_text_shows_no_secret() -> None:
    assert "hush" not in repr(parse_login(f'{PLAIN} required password="hush";'))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no login entry"),
        (f'{PLAIN} required username="a"', "semicolon"),
        (f'{PLAIN} required username="a;', "not closed"),
        (f"{PLAIN} needed;", "required, requisite"),
        ("com.example.Other required;", "no login module com.example.Other"),
        (f'{PLAIN} required username "a";', "written name="),
        (f'{PLAIN} required a="1" a="2";', "given twice"),
        (f'{PLAIN} required a="1"; {SCRAM} required;', "more than one"),
    ],
)
def test_what_is_no_entry_is_refused_without_being_quoted(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refusal:
        parse_login(text)
    assert 'username="a' not in str(refusal.value)
