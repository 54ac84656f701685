"""SCRAM credentials as options write them."""

import base64

import pytest

from quorate.admin.errors import WrongUsage
from quorate.admin.scram_text import ScramText, scram_text
from quorate.metadata.image.security import SCRAM_SHA_256, SCRAM_SHA_512

HASH = base64.b64encode(b"h" * 32).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SCRAM-SHA-256=[password=secret]", ScramText(mechanism=SCRAM_SHA_256, password="secret")),
        (
            "scram-sha-512=[iterations=8192,password=a,b=c]",
            ScramText(mechanism=SCRAM_SHA_512, iterations=8192, password="a,b=c"),
        ),
        (
            'SCRAM-SHA-256=[name="alice",password="s]e[c",iterations=-1]',
            ScramText(mechanism=SCRAM_SHA_256, name="alice", password="s]e[c"),
        ),
        (
            f"SCRAM-SHA-256=[name=bob,salt=c2FsdA==,saltedpassword={HASH}]",
            ScramText(mechanism=SCRAM_SHA_256, name="bob", salt=b"salt", salted_password=b"h" * 32),
        ),
    ],
)
def test_what_is_understood(text, expected):
    assert scram_text("--x", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "SCRAM-SHA-256",
        "SCRAM-SHA-256=password=hidden",
        "SCRAM-SHA-256=[]",
        "SCRAM-SHA-256=[iterations=4096]",
        "SCRAM-SHA-256=[password=]",
        "SCRAM-SHA-256=[secret=hidden,password=hidden]",
        "SCRAM-SHA-256=[password=hidden,password=hidden]",
        "SCRAM-SHA-256=[iterations=4095,password=hidden]",
        "SCRAM-SHA-256=[iterations=16385,password=hidden]",
        "SCRAM-SHA-256=[iterations=many,password=hidden]",
        "SCRAM-SHA-256=[salt=?,password=hidden]",
        "SCRAM-SHA-256=[salt=,password=hidden]",
        f"SCRAM-SHA-256=[saltedpassword={HASH}]",
        f"SCRAM-SHA-512=[salt=c2FsdA==,saltedpassword={HASH}]",
        f"SCRAM-SHA-256=[salt=c2FsdA==,password=hidden,saltedpassword={HASH}]",
        "SCRAM-SHA-1=[password=hidden]",
    ],
)
def test_what_is_not_and_no_error_repeats_the_password(text):
    with pytest.raises(WrongUsage) as caught:
        scram_text("--x", text)

    assert "hidden" not in str(caught.value)


def test_a_password_is_not_shown_by_repr():
    text = scram_text("--x", f"SCRAM-SHA-256=[salt=c2FsdA==,saltedpassword={HASH}]")

    assert "hhh" not in repr(text)
    assert "secret" not in repr(scram_text("--x", "SCRAM-SHA-256=[password=secret]"))
