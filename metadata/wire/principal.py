"""The principal inside an envelope, as Kafka's default principal builder writes it: a version, then the data."""

import struct
from functools import cache
from typing import Final

from kio.schema.default_principal_data.v0.data import DefaultPrincipalData as Version0

from quorate.metadata.checks import RemoteProtocolError
from quorate.metadata.wire.convert import StructPlan, data_plan
from quorate.metadata.wire.envelope import DefaultPrincipalData
from quorate.metadata.wire.reading import read_data
from quorate.metadata.wire.writing import write_data

_VERSION: Final = struct.Struct(">h")


def encode_principal(principal: str, *, by_token: bool = False) -> bytes:
    """`User:alice` as it travels in `EnvelopeRequest.request_principal`; `by_token`: by a delegation token."""
    kind, _, name = principal.partition(":")
    out = bytearray(_VERSION.pack(0))
    write_data(out, _plan(), DefaultPrincipalData(type=kind, name=name, token_authenticated=by_token))
    return bytes(out)


def decode_principal(data: bytes) -> tuple[str, bool]:
    """The text form of a principal, `User:alice`, and whether it logged in by a delegation token.

    Raises:
        RemoteProtocolError: another version, or bytes that are no principal.
    """
    if len(data) < _VERSION.size:
        raise RemoteProtocolError(f"a principal has more than {len(data)} bytes")
    (version,) = _VERSION.unpack_from(data)
    if version != 0:
        raise RemoteProtocolError(f"principal of version {version}; only 0 is known")
    found: DefaultPrincipalData = read_data(_plan(), data, _VERSION.size)
    return f"{found.type}:{found.name}", found.token_authenticated


@cache
def _plan() -> StructPlan:
    return data_plan(DefaultPrincipalData, Version0)
