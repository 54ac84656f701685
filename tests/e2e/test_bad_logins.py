"""Who should not be let in, at a real controller and a real broker: nobody is, and both go on serving who should.

What each answer says is tested in tests/metadata/security; docs/security.md has the table of all bad input.
"""

import pathlib
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from quorate.metadata.addresses import parse_servers
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.sasl import SaslAuthenticateRequest, SaslHandshakeRequest
from quorate.metadata.wire.table import decode_response, encode_request
from tests.e2e.conftest import WITHIN_S, started
from tests.secured import ADMIN, PASSWORD, Certificates, Secured, secured

pytestmark = pytest.mark.e2e

_METADATA: Final = MetadataRequest(topics=None)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    return secured("sasl_ssl", tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def cluster(guard: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with started(tmp_path_factory.mktemp("guarded"), guard.wanted(controllers=1, brokers=1)) as found:
        yield found


class Caller:
    """A client over a bare socket, TLS or not."""

    def __init__(self, address: str, authority: pathlib.Path | None, host: str = "localhost") -> None:
        (at,) = parse_servers([address])
        self.socket = socket.create_connection((at.host, at.port), timeout=WITHIN_S)
        if authority is not None:
            trusting = ssl.create_default_context(cafile=authority)
            self.socket = trusting.wrap_socket(self.socket, server_hostname=host)

    def call(self, request: Any, version: int) -> Any:
        """The answer; None where the node hangs up."""
        try:
            self.socket.sendall(encode_request(request, version, 1, "stranger"))
            head = self._exactly(4)
            return decode_response(request.api_key, version, self._exactly(*struct.unpack(">i", head)))
        except (ConnectionError, ssl.SSLError, EOFError):
            return None

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            if not more:
                raise EOFError
            found += more
        return found

    def log_in(self, token: bytes, mechanism: str = "PLAIN") -> ErrorCode | None:
        """The code with which it ends; None where the node hangs up."""
        shaken = self.call(SaslHandshakeRequest(mechanism=mechanism), 1)
        if shaken is None or shaken.error_code is not ErrorCode.none:
            return None if shaken is None else shaken.error_code
        answer = self.call(SaslAuthenticateRequest(auth_bytes=token), 2)
        code: ErrorCode | None = None if answer is None else answer.error_code
        return code


def _plain(user: bytes, password: bytes) -> bytes:
    return b"\0" + user + b"\0" + password


FAILED: Final = ErrorCode.sasl_authentication_failed
UNKNOWN: Final = ErrorCode.unsupported_sasl_mechanism
BAD: Final[dict[str, tuple[Callable[[Caller], ErrorCode | None], ErrorCode | None]]] = {
    "wrong password": (lambda c: c.log_in(_plain(ADMIN.encode(), b"guessed")), FAILED),
    "unknown user": (lambda c: c.log_in(_plain(b"mallory", PASSWORD.encode())), FAILED),
    "empty password": (lambda c: c.log_in(_plain(ADMIN.encode(), b"")), FAILED),
    "acts for another": (lambda c: c.log_in(b"node" + _plain(ADMIN.encode(), PASSWORD.encode())), FAILED),
    "every byte": (lambda c: c.log_in(bytes(range(256))), FAILED),
    "empty token": (lambda c: c.log_in(b""), FAILED),
    "oversized token": (lambda c: c.log_in(b"x" * 2_000_000), None),
    "unknown mechanism": (lambda c: c.log_in(b"", "GSSAPI"), UNKNOWN),
    "mechanism of every byte": (lambda c: c.log_in(b"", "".join(map(chr, range(256)))), UNKNOWN),
    "scram without a name": (lambda c: c.log_in(b"n,,n=,r=x", "SCRAM-SHA-512"), FAILED),
    "scram that is none": (lambda c: c.log_in(bytes(range(256)), "SCRAM-SHA-256"), FAILED),
    "no login": (lambda c: None, None),
}


@pytest.mark.parametrize("where", ["controllers", "brokers"])
@pytest.mark.parametrize("what", BAD)
def test_who_does_not_log_in_is_not_let_in(
    cluster: dict[str, Any], guard: Secured, what: str, where: str
) -> None:
    attempt, code = BAD[what]
    address = cluster[where][0]["address"]
    caller = Caller(address, guard.authority)
    with caller.socket:
        assert attempt(caller) is code
        assert caller.call(_METADATA, 1) is None
    _check_that_others_are_served(address, guard)


@pytest.mark.parametrize("where", ["controllers", "brokers"])
def test_plaintext_to_a_tls_port_is_not_answered(cluster: dict[str, Any], guard: Secured, where: str) -> None:
    address = cluster[where][0]["address"]
    caller = Caller(address, None)
    with caller.socket:
        assert caller.log_in(_plain(ADMIN.encode(), PASSWORD.encode())) is None
    _check_that_others_are_served(address, guard)


@pytest.mark.parametrize("where", ["controllers", "brokers"])
def test_a_node_is_not_believed_under_another_name_or_by_another_authority(
    cluster: dict[str, Any], guard: Secured, where: str, tmp_path: pathlib.Path
) -> None:
    address = cluster[where][0]["address"]
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Caller(address, guard.authority, host="other.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        Caller(address, Certificates(tmp_path).authority)
    _check_that_others_are_served(address, guard)


def test_our_command_says_what_was_wrong(
    cluster: dict[str, Any], guard: Secured, tmp_path: pathlib.Path
) -> None:
    """A wrong password is told from a cluster that is not there."""
    config = tmp_path / "client.properties"
    settings = {**guard.client_settings}
    settings["sasl.jaas.config"] = settings["sasl.jaas.config"].replace(PASSWORD, "guessed")
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = [
        sys.executable,
        "-m",
        "quorate.admin",
        "topics",
        "list",
        "--bootstrap-server",
        cluster["bootstrap"],
    ]
    ran = subprocess.run(
        [*command, "--command-config", str(config)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ran.returncode != 0
    assert "guessed" not in ran.stderr + ran.stdout
    assert "password" in ran.stderr


def _check_that_others_are_served(address: str, guard: Secured) -> None:
    caller = Caller(address, guard.authority)
    with caller.socket:
        assert caller.log_in(_plain(ADMIN.encode(), PASSWORD.encode())) is ErrorCode.none
        answer = caller.call(_METADATA, 1)
        assert answer is not None
        assert answer.brokers
