"""The principal inside an envelope."""

import pytest

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.wire.principal import decode_principal, encode_principal

ANONYMOUS = bytes.fromhex("0000 05") + b"User" + b"\x0a" + b"ANONYMOUS" + b"\0\0"
"""As a Kafka broker sent it."""


def test_it_is_written_as_kafka_does() -> None:
    assert encode_principal("User:ANONYMOUS") == ANONYMOUS


def test_it_is_read_as_kafka_writes_it() -> None:
    assert decode_principal(ANONYMOUS) == ("User:ANONYMOUS", False)


def test_a_name_may_hold_colons() -> None:
    assert decode_principal(encode_principal("User:CN=a:b")) == ("User:CN=a:b", False)


def test_whether_it_logged_in_by_a_token_travels_with_it() -> None:
    data = encode_principal("User:alice", by_token=True)

    assert data == bytes.fromhex("0000 05") + b"User" + b"\x06" + b"alice" + b"\1\0"
    assert decode_principal(data) == ("User:alice", True)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1" + ANONYMOUS[2:], ANONYMOUS[:-1], ANONYMOUS + b"\0"])
def test_anything_else_is_the_senders_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_principal(data)
