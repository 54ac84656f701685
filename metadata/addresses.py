"""Where nodes listen and how they are reached, as written in a configuration file.

    listeners                       CONTROLLER://0.0.0.0:9093, EXTERNAL://[::1]:9094, PLAINTEXT://:9092
    controller.quorum.bootstrap...  one.example.org:9093, [2001:db8::1]:9093
    listener.security.protocol.map  CONTROLLER:PLAINTEXT, EXTERNAL:SSL

Each parser judges one key alone and raises ValueError with a sentence for people; what keys demand of each
other is in `node_config`. Names of listeners are upper-cased, as in Kafka. An empty host is every interface.
Stricter than Kafka: an IPv6 address needs its brackets, and a port must be one.
"""

import enum
import ipaddress
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

from quorate.metadata.ids import Endpoint


class SecurityProtocol(enum.IntEnum):
    """How a listener speaks; the numbers are those in registrations and voter sets."""

    PLAINTEXT = 0
    SSL = 1
    SASL_PLAINTEXT = 2
    SASL_SSL = 3


_LISTENER = re.compile(r"([A-Za-z0-9_.-]+)://(.*)", re.DOTALL)
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)


@attrs.frozen
class Address:
    """A host and a port. An empty host is every interface, port 0 any free port: both only to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_wildcard(host: str) -> bool:
    """Whether a host means "every interface", so that nobody can connect to it."""
    return host in ("", "0.0.0.0") or (":" in host and int(ipaddress.IPv6Address(host)) == 0)


def parse_bind_address(text: str) -> Address:
    """`host:port` to listen on: the host may be empty, the port 0.

    Raises:
        ValueError: why it is not one.
    """
    host, port = _host_and_port(text)
    return Address(host, port)


def parse_named_bind_address(text: str) -> Address:
    """As `parse_bind_address`, but who wants every interface must say so: for what anybody may ask without a login.

    Raises:
        ValueError: why it is not one.
    """
    address = parse_bind_address(text)
    if not address.host:
        raise ValueError(
            f"{text} names no host; write 127.0.0.1:{address.port} for programs on this machine, or "
            f"0.0.0.0:{address.port} for every interface"
        )
    return address


def parse_servers(texts: Iterable[str]) -> tuple[Address, ...]:
    """`host:port` of servers to connect to.

    Raises:
        ValueError: why one of them is not one.
    """
    servers = [Address(*_host_and_port(text)) for text in texts]
    for server in servers:
        if is_wildcard(server.host):
            raise ValueError(
                f"{server} names no host that can be connected to; write the server's own name or address"
            )
        if server.port == 0:
            raise ValueError(f"{server} has port 0, which cannot be connected to")
        if servers.count(server) > 1:
            raise ValueError(f"{server} is listed twice")
    return tuple(servers)


def parse_listeners(texts: Iterable[str]) -> tuple[Endpoint, ...]:
    """`NAME://host:port` to listen on: the host may be empty, the port 0; names and ports differ.

    Raises:
        ValueError: why they are not that.
    """
    listeners = _parse_endpoints(texts)
    for index, one in enumerate(listeners):
        for other in listeners[:index]:
            if one.port == other.port != 0 and not _are_ipv4_and_ipv6(one.host, other.host):
                raise ValueError(
                    f"{other.name} and {one.name} both have port {one.port}; each listener needs its own, "
                    "unless one has an IPv4 and the other an IPv6 address"
                )
    return listeners


def parse_advertised_listeners(texts: Iterable[str]) -> tuple[Endpoint, ...]:
    """`NAME://host:port` that others connect to: with a real host and a real port.

    Raises:
        ValueError: why they are not that.
    """
    listeners = _parse_endpoints(texts)
    for listener in listeners:
        if is_wildcard(listener.host):
            raise ValueError(
                f"{listener.name} is advertised as {listener.host or 'an empty host'}, which nobody can connect "
                "to; write the name or address under which others reach this node"
            )
        if listener.port == 0:
            raise ValueError(f"{listener.name} is advertised with port 0, which nobody can connect to")
    return listeners


def parse_protocol_map(text: str) -> Mapping[str, SecurityProtocol]:
    """`NAME:PROTOCOL,...`.

    Raises:
        ValueError: why it is not that.
    """
    protocols: dict[str, SecurityProtocol] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, word = entry.rpartition(":")
        name, word = name.strip().upper(), word.strip()
        if not colon or not name:
            raise ValueError(f"{entry} is not of the form NAME:PROTOCOL")
        if word not in SecurityProtocol.__members__:
            raise ValueError(
                f"{word} is not a security protocol; there are {', '.join(SecurityProtocol.__members__)}"
            )
        if name in protocols:
            raise ValueError(f"{name} is mapped twice")
        protocols[name] = SecurityProtocol[word]
    return MappingProxyType(protocols)


def servers_of_voters(texts: Iterable[str]) -> str | None:
    """The addresses in a list of static voters (`1@host:9093,...`) as bootstrap servers, if they can be read."""
    try:
        servers = parse_servers(text.partition("@")[2] for text in texts)
    except ValueError:
        return None
    return ",".join(map(str, servers))


def _parse_endpoints(texts: Iterable[str]) -> tuple[Endpoint, ...]:
    endpoints: list[Endpoint] = []
    for text in texts:
        match = _LISTENER.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} is not of the form NAME://host:port")
        name = match[1].upper()
        if any(name == endpoint.name for endpoint in endpoints):
            raise ValueError(f"{name} is listed twice; each listener needs a name of its own")
        host, port = _host_and_port(match[2])
        endpoints.append(Endpoint(name, host, port))
    return tuple(endpoints)


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port_text = text.rpartition(":")
    if not colon or not port_text or "]" in port_text:
        raise ValueError(f"{text} is not of the form host:port")
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or int(port_text) > 65535:
        raise ValueError(f"{text} has port {port_text}; a port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{text} has {host} in brackets, which is not an IPv6 address") from None
    elif ":" in host:
        raise ValueError(f"{text}: an IPv6 address is written in brackets, as in [::1]:9092")
    elif host and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text} has {host!r}, which is neither a host name nor an address")
    return host, int(port_text)


def _are_ipv4_and_ipv6(one: str, other: str) -> bool:
    try:
        return {ipaddress.ip_address(one).version, ipaddress.ip_address(other).version} == {4, 6}
    except ValueError:
        return False
