"""The principal inside an envelope."""

import pytest

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.wire.principal import decode_principal, encode_principal

ANONYMOUS = bytes.fromhex("0000 05") + b"User" + b"\x0a" + b"ANONYMOUS" + b"\0\0"
"""As a Kafka broker sent it."""


def test_it_is_written_as_kafka_does() -> None:
    assert encode_principal("User:ANONYMOUS") == ANONYMOUS


def test_it_is_read_as_kafka_writes_it() -> None:
    assert decode_principal(ANONYMOUS) == "User:ANONYMOUS"


def test_a_name_may_hold_colons() -> None:
    assert decode_principal(encode_principal("User:CN=a:b")) == "User:CN=a:b"


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1" + ANONYMOUS[2:], ANONYMOUS[:-1], ANONYMOUS + b"\0"])
def test_anything_else_is_the_senders_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_principal(data)
