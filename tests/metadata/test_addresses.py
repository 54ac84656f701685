"""Listeners, servers and protocols as people write them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.metadata.addresses import (
    Address,
    SecurityProtocol,
    is_wildcard,
    parse_advertised_listeners,
    parse_bind_address,
    parse_listeners,
    parse_protocol_map,
    parse_servers,
    servers_of_voters,
)
from quorate.metadata.ids import Endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("CONTROLLER://one.example.org:9093", Endpoint("CONTROLLER", "one.example.org", 9093)),
        ("controller://:9093", Endpoint("CONTROLLER", "", 9093)),
        ("X://0.0.0.0:0", Endpoint("X", "0.0.0.0", 0)),
        ("X://[::1]:65535", Endpoint("X", "::1", 65535)),
        ("X://[fe80::1%eth0]:1", Endpoint("X", "fe80::1%eth0", 1)),
        ("SASL_SSL-2.x://under_score-1:7", Endpoint("SASL_SSL-2.X", "under_score-1", 7)),
    ],
)
def test_a_listener(text: str, endpoint: Endpoint) -> None:
    assert parse_listeners([text]) == (endpoint,)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["one:9092"], "not of the form NAME://host:port"),
        (["X:/one:9092"], "not of the form NAME://host:port"),
        (["://one:9092"], "not of the form NAME://host:port"),
        (["X://one"], "not of the form host:port"),
        (["X://one:"], "not of the form host:port"),
        (["X://one:-1"], "a port is a number from 0 to 65535"),
        (["X://one:65536"], "a port is a number from 0 to 65535"),
        (["X://one:9_0"], "a port is a number from 0 to 65535"),
        (["X://::1:9092"], "an IPv6 address is written in brackets"),
        (["X://[one]:9092"], "not an IPv6 address"),
        (["X://[::1]"], "not of the form host:port"),
        (["X://a b:9092"], "neither a host name nor an address"),
        (["X://-a:9092"], "neither a host name nor an address"),
        (["X://a..b:9092"], "neither a host name nor an address"),
        (["X://" + "a" * 254 + ":9092"], "neither a host name nor an address"),
        (["X://one:1", "x://one:2"], "X is listed twice"),
        (["X://one:1", "Y://two:1"], "X and Y both have port 1"),
        (["X://1.2.3.4:1", "Y://1.2.3.5:1"], "X and Y both have port 1"),
    ],
)
def test_what_is_no_listener(texts: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_listeners(texts)


def test_ports_may_repeat_for_the_two_families_and_for_free_ports() -> None:
    assert len(parse_listeners(["X://1.2.3.4:1", "Y://[::1]:1"])) == 2
    assert len(parse_listeners(["X://one:0", "Y://one:0"])) == 2


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]", "[0:0::0]"])
def test_an_address_for_everybody_leads_nowhere(host: str) -> None:
    with pytest.raises(ValueError, match="nobody can connect"):
        parse_advertised_listeners([f"X://{host}:9092"])
    with pytest.raises(ValueError, match="names no host that can be connected to"):
        parse_servers([f"{host}:9092"])


def test_port_0_is_only_for_listening() -> None:
    assert parse_bind_address(":0") == Address("", 0)
    with pytest.raises(ValueError, match="port 0"):
        parse_advertised_listeners(["X://one:0"])
    with pytest.raises(ValueError, match="port 0"):
        parse_servers(["one:0"])


def test_advertised_ports_may_repeat_behind_different_names() -> None:
    assert len(parse_advertised_listeners(["X://one:1", "Y://two:1"])) == 2


def test_servers() -> None:
    servers = parse_servers(["one:1", "[::1]:2"])

    assert servers == (Address("one", 1), Address("::1", 2))
    assert [str(server) for server in servers] == ["one:1", "[::1]:2"]
    with pytest.raises(ValueError, match="one:1 is listed twice"):
        parse_servers(["one:1", "one:1"])


def test_protocols() -> None:
    protocols = parse_protocol_map(" controller:PLAINTEXT , X : SASL_SSL,")

    assert dict(protocols) == {"CONTROLLER": SecurityProtocol.PLAINTEXT, "X": SecurityProtocol.SASL_SSL}
    assert {protocol.name: protocol.value for protocol in SecurityProtocol} == {
        "PLAINTEXT": 0,
        "SSL": 1,
        "SASL_PLAINTEXT": 2,
        "SASL_SSL": 3,
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("X", "not of the form NAME:PROTOCOL"),
        (":PLAINTEXT", "not of the form NAME:PROTOCOL"),
        ("X:plaintext", "not a security protocol"),
        ("X:SSL,x:SSL", "X is mapped twice"),
    ],
)
def test_what_is_no_protocol_map(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_protocol_map(text)


def test_static_voters_are_read_to_propose_bootstrap_servers() -> None:
    assert servers_of_voters(["1@one:9093", "2@[::1]:9093"]) == "one:9093,[::1]:9093"
    assert servers_of_voters(["one:9093"]) is None


hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,5}){0,2}", fullmatch=True),
)
ports = st.integers(1, 65535)


@given(st.lists(st.builds(Address, hosts, ports), unique=True, max_size=4))
def test_servers_come_back_as_they_were_written(servers: list[Address]) -> None:
    usable = [server for server in servers if not is_wildcard(server.host)]

    assert parse_servers(map(str, usable)) == tuple(usable)


@given(hosts, st.integers(0, 65535))
def test_listeners_come_back_as_they_were_written(host: str, port: int) -> None:
    address = Address(host, port)

    assert parse_bind_address(str(address)) == address
    assert parse_listeners([f"x://{address}"]) == (Endpoint("X", host, port),)


PARSERS: list[Callable[[str], Any]] = [
    parse_bind_address,
    lambda text: parse_servers([text]),
    lambda text: parse_listeners([text]),
    lambda text: parse_advertised_listeners([text]),
    parse_protocol_map,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(st.text(alphabet="aX:/[]0159.%-,@ \n\u00e4", max_size=24))
@example("X://[::%]:1")
@example("[" * 1000)
def test_any_text_is_understood_or_refused_with_a_sentence(parse: Callable[[str], Any], text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert str(error).strip()  # noqa: PT017
