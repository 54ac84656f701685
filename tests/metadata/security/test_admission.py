"""Letting clients in, through a real listener over memory streams and real TLS: who gets in, who does not, what it
costs whoever tries."""

import os
import pathlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import structlog.testing
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.metadata.addresses import Address, SecurityProtocol
from quorate.metadata.checks import ErrorCode
from quorate.metadata.connection import CallFailed, ConnectFailed, Connection, FailureKind, greet
from quorate.metadata.listener import Listener
from quorate.metadata.security.admission import ListenerSecurity
from quorate.metadata.security.jaas import PLAIN as PLAIN_MODULE
from quorate.metadata.security.jaas import LoginEntry
from quorate.metadata.security.login import ClientLogin
from quorate.metadata.security.principals import parse_rules
from quorate.metadata.security.settings import (
    ClientSettings,
    ListenerSettings,
    Pem,
    SaslClientSettings,
    SaslServerSettings,
    TlsSettings,
)
from quorate.metadata.wire.brokers import UnregisterBrokerRequest
from quorate.metadata.wire.cluster import ApiVersionsRequest
from quorate.metadata.wire.sasl import SaslAuthenticateRequest, SaslHandshakeRequest
from quorate.metadata.wire.table import API_VERSIONS
from tests.metadata.security.people import People
from tests.metadata.streams import Client, MemorySource, settled
from tests.metadata.test_listener import Desk, unregister
from tests.secured import Certificates

ALICE = LoginEntry(PLAIN_MODULE, {"username": "alice", "password": "secret"})
HERE = Address("localhost", 9092)
ALL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def node(certificates: Certificates) -> Pem:
    return Pem(path=certificates.issue("node.pem", "localhost", common_name="node"))


def sasl(protocol: SecurityProtocol = SecurityProtocol.SASL_PLAINTEXT, **own: Any) -> ListenerSettings:
    return ListenerSettings(
        name="EXTERNAL",
        protocol=protocol,
        sasl=SaslServerSettings(mechanisms=ALL, **own),
        failure_delay_ms=100,
    )


class Served:
    def __init__(self, desk: Desk, source: MemorySource, listener: Listener, people: People) -> None:
        self.desk = desk
        self.source = source
        self.listener = listener
        self.people = people

    def connect(self) -> Client:
        return self.source.connect()

    async def principal(self, client: Client) -> str:
        """Who the service is told that this client is."""
        before = len(self.desk.calls)
        await client.send(unregister(1), 0, 1)
        await settled(lambda: len(self.desk.calls) > before)
        return self.desk.calls[-1].principal


@asynccontextmanager
async def serving(asks: ListenerSettings) -> AsyncIterator[Served]:
    desk, source, people = Desk(at_once=True), MemorySource(), People()
    security = ListenerSecurity(asks, people, wall_ms=lambda: int(trio.current_time() * 1000))
    listener = Listener("EXTERNAL", desk, security=security)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, [source])
        yield Served(desk, source, listener, people)
        nursery.cancel_scope.cancel()


async def handshake(client: Client, mechanism: str = "PLAIN", version: int = 1) -> ErrorCode:
    await client.send(SaslHandshakeRequest(mechanism=mechanism), version, 1)
    _, answer = await client.answer(SaslHandshakeRequest.api_key, version)
    code: ErrorCode = answer.error_code
    return code


async def authenticate(client: Client, token: bytes = b"\0alice\0secret") -> Any:
    await client.send(SaslAuthenticateRequest(auth_bytes=token), 2, 2)
    return (await client.answer(SaslAuthenticateRequest.api_key, 2))[1]


# ---- SASL


async def test_who_logs_in_is_known_to_the_service(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await handshake(client)
        await authenticate(client)

        assert await served.principal(client) == "User:alice"


async def test_a_wrong_password_is_told_later_and_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await handshake(client)
        began = trio.current_time()
        with structlog.testing.capture_logs() as logs:
            answer = await authenticate(client, b"\0alice\0guess")

            assert answer.error_code is ErrorCode.sasl_authentication_failed
            assert trio.current_time() - began >= 0.1
            assert await client.is_closed()
        assert "by PLAIN" in logs[-1]["why"]
        assert "guess" not in str(logs)
        assert served.listener.cut == 1


async def test_before_the_login_only_what_leads_to_it_is_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await client.send(ApiVersionsRequest(), 3, 5)
        _, offered = await client.answer(API_VERSIONS, 3)
        await client.send(unregister(1), 0, 6)

        assert {17, 36} <= {one.api_key for one in offered.api_keys}
        assert await client.is_closed()
        assert served.desk.calls == []


async def test_a_new_client_that_asks_in_a_version_of_tomorrow_is_answered_in_todays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await client.stream.send_all(b"\x00\x00\x00\x0a\x00\x12\x00\x63\x00\x00\x00\x07\xff\xff")
        _, answer = await client.answer(API_VERSIONS, 0)

        assert answer.error_code is ErrorCode.unsupported_version


async def test_old_clients_send_bare_tokens(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await handshake(client, version=0)
        token = b"\0alice\0secret"
        await client.stream.send_all(len(token).to_bytes(4, "big") + token)

        assert await client.frame() == b""
        assert await served.principal(client) == "User:alice"


async def test_what_is_sent_right_behind_the_login_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await handshake(client)
        await client.send(SaslAuthenticateRequest(auth_bytes=b"\0alice\0secret"), 2, 2)
        await client.send(unregister(4), 0, 3)
        await settled(lambda: len(served.desk.calls) == 1)

        assert served.desk.calls[0].principal == "User:alice"


async def test_a_token_over_the_limit_is_not_read(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl(max_token_bytes=1000)) as served:
        client = served.connect()
        await handshake(client)
        await client.stream.send_all((2000).to_bytes(4, "big"))

        assert await client.is_closed()


async def test_who_says_nothing_does_not_hold_a_connection_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()

        assert await client.is_closed()
        assert served.listener.connections == 0


@pytest.mark.parametrize(
    "tail", [b"", b"\0\0\0\0", os.urandom(50), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
async def test_garbage_costs_its_sender_the_connection_and_nobody_else(
    autojump_clock: trio.testing.MockClock, tail: bytes
) -> None:
    async with serving(sasl()) as served:
        bad, good = served.connect(), served.connect()
        await handshake(bad)
        await bad.stream.send_all(tail + b"\xff" * 8)
        assert await bad.is_closed()
        await handshake(good)
        await authenticate(good)

        assert await served.principal(good) == "User:alice"


# ---- a login that ends (KIP-368)


async def test_a_login_that_is_not_renewed_in_time_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl(max_session_ms={"PLAIN": 5_000})) as served:
        client = served.connect()
        await handshake(client)
        assert (await authenticate(client)).session_lifetime_ms == 5_000
        assert await served.principal(client) == "User:alice"
        await client.answer(UnregisterBrokerRequest.api_key, 0)
        await trio.sleep(5.1)
        await client.send(unregister(2), 0, 9)

        assert await client.is_closed()
        assert len(served.desk.calls) == 1


async def test_a_login_is_renewed_on_the_living_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl(max_session_ms={"PLAIN": 5_000})) as served:
        client = served.connect()
        await handshake(client)
        await authenticate(client)
        await trio.sleep(4)
        await handshake(client)
        assert (await authenticate(client)).session_lifetime_ms == 5_000
        await trio.sleep(4)

        assert await served.principal(client) == "User:alice"


async def test_who_fails_to_renew_is_cut_off_and_what_he_sent_behind_it_is_not_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl(max_session_ms={"PLAIN": 5_000})) as served:
        client = served.connect()
        await handshake(client)
        await authenticate(client)
        await handshake(client)
        await client.send(SaslAuthenticateRequest(auth_bytes=b"\0alice\0wrong"), 2, 2)
        await client.send(unregister(3), 0, 3)
        _, answer = await client.answer(SaslAuthenticateRequest.api_key, 2)

        assert answer.error_code is ErrorCode.sasl_authentication_failed
        assert await client.is_closed()
        assert served.desk.calls == []


async def test_where_no_login_ends_a_second_one_is_out_of_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(sasl()) as served:
        client = served.connect()
        await handshake(client)
        await authenticate(client)

        assert await handshake(client) is ErrorCode.illegal_sasl_state
        assert await client.is_closed()


async def test_a_tokens_login_ends_with_the_token(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(sasl(max_session_ms={"SCRAM-SHA-256": 100_000})) as served:
        served.people.token_expires_ms = int(trio.current_time() * 1000) + 3_000
        entry = LoginEntry("scram", {"username": "token-1", "password": "pencil", "tokenauth": "true"})
        async with connected(
            served, login=SaslClientSettings(mechanism="SCRAM-SHA-256", login=entry)
        ) as connection:
            await trio.sleep(2)
            served.people.token_expires_ms = 0  # so it cannot be renewed
            await trio.sleep(2)
            with pytest.raises(CallFailed, match=r"does not let token-1 in|closed"):
                await connection.call(unregister(1), 1_000)
        assert served.desk.calls == []


# ---- our own client


@asynccontextmanager
async def connected(
    served: Served, *, tls: TlsSettings | None = None, login: SaslClientSettings | None = None
) -> AsyncIterator[Connection]:
    security = ClientLogin(ClientSettings(tls=tls, sasl=login))
    stream = served.connect().stream
    connection = await greet(stream, HERE, security=security)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        yield connection
        connection.close()


@pytest.mark.parametrize("mechanism", ALL)
async def test_our_client_logs_in(autojump_clock: trio.testing.MockClock, mechanism: str) -> None:
    password = "secret" if mechanism == "PLAIN" else "pencil"
    entry = LoginEntry("any", {"username": "alice", "password": password})
    async with (
        serving(sasl()) as served,
        connected(served, login=SaslClientSettings(mechanism=mechanism, login=entry)) as connection,
    ):
        await connection.call(unregister(7), 1_000)

        assert served.desk.calls[0].principal == "User:alice"


async def test_our_client_renews_its_login_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        serving(sasl(max_session_ms={"PLAIN": 2_000})) as served,
        connected(served, login=SaslClientSettings(mechanism="PLAIN", login=ALICE)) as connection,
    ):
        for number in range(20):
            await trio.sleep(1)
            await connection.call(unregister(number), 1_000)

        assert len(served.desk.calls) == 20


@pytest.mark.parametrize(
    ("mechanism", "options", "why"),
    [
        ("PLAIN", {"username": "alice", "password": "no"}, "does not let alice in"),
        ("PLAIN", {"username": "a\0", "password": "no"}, "zero byte"),
    ],
)
async def test_our_client_says_why_it_is_not_let_in(
    autojump_clock: trio.testing.MockClock, mechanism: str, options: dict[str, str], why: str
) -> None:
    async with serving(sasl()) as served:
        with pytest.raises(ConnectFailed, match=why) as failed:
            async with connected(
                served, login=SaslClientSettings(mechanism=mechanism, login=LoginEntry("any", options))
            ):
                pass
        assert failed.value.failure.kind is FailureKind.NOT_LET_IN
        assert "Check" in str(failed.value) or "zero byte" in str(failed.value)


async def test_who_did_not_log_in_is_told_that_a_login_may_be_wanted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ApiVersions is answered to everybody, so that a client only learns it from its first request."""
    async with serving(sasl()) as served, connected(served) as connection:
        with pytest.raises(CallFailed, match="does that listener want a login"):
            await connection.call(unregister(1), 1_000)


# ---- TLS


def tls_listener(identity: Pem, *, rules: str = "DEFAULT", **own: Any) -> ListenerSettings:
    return ListenerSettings(
        name="EXTERNAL",
        protocol=SecurityProtocol.SSL,
        tls=TlsSettings(identity=identity, **own),
        rules=parse_rules(rules),
    )


async def test_over_tls_a_client_without_a_certificate_is_anonymous(
    autojump_clock: trio.testing.MockClock, certificates: Certificates, node: Pem
) -> None:
    trusted = TlsSettings(trusted=Pem(path=certificates.authority))
    async with serving(tls_listener(node)) as served, connected(served, tls=trusted) as connection:
        await connection.call(unregister(1), 1_000)

        assert served.desk.calls[0].principal == "User:ANONYMOUS"


async def test_a_certificate_makes_a_principal(
    autojump_clock: trio.testing.MockClock, certificates: Certificates, node: Pem
) -> None:
    alice = Pem(path=certificates.issue("alice.pem", "alice@example.org", common_name="alice"))
    authority = Pem(path=certificates.authority)
    asks = tls_listener(node, rules="RULE:^CN=(.*?),.*$/$1/L", trusted=authority, client_auth="required")
    async with (
        serving(asks) as served,
        connected(served, tls=TlsSettings(identity=alice, trusted=authority)) as connection,
    ):
        await connection.call(unregister(1), 1_000)

        assert served.desk.calls[0].principal == "User:alice"


async def test_no_rule_no_entry(
    autojump_clock: trio.testing.MockClock, certificates: Certificates, node: Pem
) -> None:
    alice = Pem(path=certificates.issue("alice2.pem", "alice@example.org", common_name="alice"))
    authority = Pem(path=certificates.authority)
    asks = tls_listener(node, rules="RULE:^CN=bob,.*$/bob/", trusted=authority, client_auth="required")
    async with serving(asks) as served:
        with pytest.raises(ConnectFailed):
            async with connected(served, tls=TlsSettings(identity=alice, trusted=authority)):
                pass
        assert served.listener.cut == 1


@pytest.mark.parametrize("whose", ["nobody's", "a stranger's", "an expired one"])
async def test_without_a_certificate_that_is_believed_nobody_gets_in(
    autojump_clock: trio.testing.MockClock,
    tmp_path: pathlib.Path,
    certificates: Certificates,
    node: Pem,
    whose: str,
) -> None:
    stranger = Pem(path=Certificates(tmp_path).issue("eve.pem", "eve@example.org", common_name="alice"))
    expired = Pem(path=certificates.issue("old.pem", "alice@example.org", common_name="alice", expired=True))
    identity = {"nobody's": None, "a stranger's": stranger, "an expired one": expired}[whose]
    authority = Pem(path=certificates.authority)
    asks = tls_listener(node, trusted=authority, client_auth="required")
    mine = TlsSettings(trusted=authority, identity=identity)
    async with serving(asks) as served:
        with pytest.raises(ConnectFailed) as failed:
            async with connected(served, tls=mine) as connection:
                await connection.call(unregister(1), 1_000)
        assert failed.value.failure.kind in (FailureKind.NOT_LET_IN, FailureKind.RESET)
        assert served.desk.calls == []


@pytest.mark.parametrize(
    ("address", "check_host", "why"),
    [("other.example.org", True, "not valid for|mismatch"), ("other.example.org", False, None)],
)
async def test_a_servers_certificate_must_name_its_host(
    autojump_clock: trio.testing.MockClock,
    certificates: Certificates,
    node: Pem,
    address: str,
    check_host: bool,
    why: str | None,
) -> None:
    """ssl.endpoint.identification.algorithm."""
    way = TlsSettings(trusted=Pem(path=certificates.authority), check_host=check_host)
    async with serving(tls_listener(node)) as served:
        stream = served.connect().stream
        greeting = greet(stream, Address(address, 1), security=ClientLogin(ClientSettings(tls=way)))
        if why is None:
            await greeting
        else:
            with pytest.raises(ConnectFailed, match=why):
                await greeting


async def test_an_expired_certificate_of_a_server_is_not_believed(
    autojump_clock: trio.testing.MockClock, certificates: Certificates
) -> None:
    old = Pem(path=certificates.issue("node-old.pem", "localhost", common_name="node", expired=True))
    async with serving(tls_listener(old)) as served:
        with pytest.raises(ConnectFailed, match="expired") as failed:
            async with connected(served, tls=TlsSettings(trusted=Pem(path=certificates.authority))):
                pass
        assert failed.value.failure.kind is FailureKind.NOT_LET_IN
        assert served.desk.calls == []


async def test_plaintext_to_a_listener_that_speaks_tls(
    autojump_clock: trio.testing.MockClock, node: Pem
) -> None:
    async with serving(tls_listener(node)) as served:
        client = served.connect()
        with structlog.testing.capture_logs() as logs:
            await client.send(ApiVersionsRequest(), 3, 1)
            while await client.stream.receive_some(1000):
                pass
            await settled(lambda: served.listener.connections == 0)

        assert "does not speak TLS" in logs[-1]["why"]


async def test_tls_to_a_listener_that_speaks_plaintext(
    autojump_clock: trio.testing.MockClock, certificates: Certificates
) -> None:
    way = ClientLogin(ClientSettings(tls=TlsSettings(trusted=Pem(path=certificates.authority))))
    async with serving(sasl()) as served:
        with pytest.raises(ConnectFailed, match="over TLS") as failed:
            await greet(served.connect().stream, HERE, security=way)
        assert failed.value.failure.kind is FailureKind.CUT_OFF


async def test_changed_certificates_are_used_for_the_next_connection(
    autojump_clock: trio.testing.MockClock, tmp_path: pathlib.Path
) -> None:
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    file = tmp_path / "node.pem"
    file.write_bytes(old.issue("n.pem", "localhost").read_bytes())
    async with serving(tls_listener(Pem(path=file))) as served:
        async with connected(served, tls=TlsSettings(trusted=Pem(path=old.authority))):
            pass
        file.write_bytes(new.issue("n.pem", "localhost").read_bytes())
        await trio.sleep(1.5)
        async with connected(served, tls=TlsSettings(trusted=Pem(path=new.authority))):
            pass
        file.write_text("nonsense")
        await trio.sleep(1.5)
        with structlog.testing.capture_logs() as logs:
            async with connected(served, tls=TlsSettings(trusted=Pem(path=new.authority))):
                pass
        assert any("the former ones stay" in line["event"] for line in logs)


async def test_sasl_over_tls_together(
    autojump_clock: trio.testing.MockClock, certificates: Certificates, node: Pem
) -> None:
    asks = attrs.evolve(sasl(SecurityProtocol.SASL_SSL), tls=TlsSettings(identity=node))
    async with (
        serving(asks) as served,
        connected(
            served,
            tls=TlsSettings(trusted=Pem(path=certificates.authority)),
            login=SaslClientSettings(mechanism="PLAIN", login=ALICE),
        ) as connection,
    ):
        await connection.call(unregister(1), 1_000)

        assert served.desk.calls[0].principal == "User:alice"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.binary(min_size=1, max_size=80), max_size=4))
def test_no_bytes_reach_the_service_without_a_login(data: list[bytes]) -> None:
    async def main() -> None:
        async with serving(sasl()) as served:
            client = served.connect()
            try:
                for piece in data:
                    await client.stream.send_all(piece)
                await client.stream.send_all(len(b"x").to_bytes(4, "big") + b"x")
                await client.frame()
            except trio.BrokenResourceError:
                pass
            assert served.desk.calls == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
