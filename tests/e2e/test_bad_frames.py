"""What comes over a connection and is no request that can be served here: it costs its sender that connection, no more.

Each kind goes to a real controller and a real broker; while it does, a second client stays connected and is served, and
the node's log tells why the connection was closed, in a reviewed text.
"""

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from quorate.admin.ports import LOOPBACK
from quorate.admin.talk import Manner, ask
from quorate.metadata.addresses import Address, parse_servers
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.cluster import ApiVersionsRequest, MetadataRequest
from quorate.metadata.wire.framing import framed
from quorate.metadata.wire.table import API_VERSIONS, decode_response, encode_request
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from tests.e2e.conftest import WITHIN_S
from tests.e2e.texts import check_golden

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("in_the_clear")]

_MANNER = Manner(timeout_ms=10_000)

_PRODUCE, _UNKNOWN, _METADATA = 0, 9_999, 3


def _request(api_key: int, version: int, body: bytes = b"") -> bytes:
    return framed(struct.pack(">hhih", api_key, version, 7, -1) + body)


BAD = {
    "http": b"GET / HTTP/1.1\r\nHost: quorum\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "negative-length": struct.pack(">i", -5) + b"hello",
    "too-long": struct.pack(">i", 2**31 - 1),
    "a-byte-too-long": struct.pack(">i", 8 * 1024 * 1024 + 1),
    "empty-frame": framed(b""),
    "garbage-in-a-frame": framed(bytes(range(128, 228))),
    "client-id-beyond-the-frame": framed(struct.pack(">hhih", _METADATA, 1, 7, 30_000)),
    "body-cut-off": _request(_METADATA, 1, struct.pack(">i", 3)),
    "unknown-api": _request(_UNKNOWN, 0),
    "unknown-version": _request(_METADATA, 99),
    "not-offered": _request(_PRODUCE, 9),
}


@attrs.frozen
class Node:
    """A node of the running cluster, as one of its clients sees it."""

    role: str
    address: Address
    log: str

    def said(self) -> str:
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def says(self, event: str, known: int) -> str:
        """Waits for one line behind the first `known` characters that tells of the event."""
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            found = [line for line in self.said()[known:].splitlines(keepends=True) if event in line]
            if found and found[0].endswith("\n"):
                assert len(found) == 1
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"it says nothing of {event}: {self.said()[known:]}")


@pytest.fixture(params=["controllers", "brokers"])
def node(request: pytest.FixtureRequest, dev: dict[str, Any]) -> Node:
    found = dev[request.param][0]
    (address,) = parse_servers([found["address"]])
    return Node(request.param, address, found["config"].removesuffix(".toml") + ".log")


class Client:
    """A socket, and requests with their answers over it."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection((address.host, address.port), timeout=WITHIN_S)

    def call(self, request: Any, version: int) -> Any:
        self.socket.sendall(encode_request(request, version, 5, "tester"))
        return decode_response(request.api_key, version, self.frame())

    def frame(self) -> bytes:
        return self._exactly(*struct.unpack(">i", self._exactly(4)))

    def is_closed_by_the_node(self) -> bool:
        """Waits for what the node does next: True if it hangs up without a word."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            assert more, "the node closed the connection"
            found += more
        return found


@pytest.fixture
def other(node: Node) -> Iterator[Client]:
    """A client that does nothing wrong, before, meanwhile, and after."""
    client = Client(node.address)
    with client.socket:
        assert client.call(MetadataRequest(topics=()), 1).brokers
        yield client
        assert client.call(MetadataRequest(topics=()), 1).brokers
    later = Client(node.address)
    with later.socket:
        assert later.call(ApiVersionsRequest(), 3).error_code is ErrorCode.none
    assert "Traceback" not in node.said()


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_cost_their_sender_its_connection_and_nobody_else(
    name: str, node: Node, other: Client
) -> None:
    known = len(node.said())
    bad = Client(node.address)
    with bad.socket:
        bad.socket.sendall(BAD[name])
        assert bad.is_closed_by_the_node()

    line = node.says("connection closed", known)
    listener = "CONTROLLER" if node.role == "controllers" else "PLAINTEXT"
    check_golden(f"frame-{name}", line, {f"listener={listener}": "listener=LISTENER"})


@pytest.mark.parametrize("cut", [2, 4, 11])
def test_a_frame_that_is_cut_off_ends_in_silence(cut: int, node: Node, other: Client) -> None:
    """The client left in the middle; there is nobody to tell and nothing to note."""
    known = len(node.said())
    bad = Client(node.address)
    with bad.socket:
        bad.socket.sendall(encode_request(MetadataRequest(topics=()), 1, 5, "tester")[:cut])
        bad.socket.shutdown(socket.SHUT_WR)
        assert bad.is_closed_by_the_node()
    assert "connection closed" not in node.said()[known:]


def test_requests_before_the_bad_one_may_be_answered_and_those_behind_it_are_not(
    node: Node, other: Client
) -> None:
    bad = Client(node.address)
    with bad.socket:
        good = encode_request(ApiVersionsRequest(), 3, 5, "tester")
        assert bad.call(ApiVersionsRequest(), 3).error_code is ErrorCode.none
        bad.socket.sendall(BAD["unknown-api"] + good)
        assert bad.is_closed_by_the_node()


def test_bytes_behind_a_request_are_ignored_as_kafka_does(node: Node, other: Client) -> None:
    """librdkafka sends some."""
    client = Client(node.address)
    with client.socket:
        client.socket.sendall(_request(_METADATA, 1, struct.pack(">i", 0) + b"and more"))
        assert decode_response(_METADATA, 1, client.frame()).brokers
        assert client.call(ApiVersionsRequest(), 3).error_code is ErrorCode.none


def test_an_unknown_version_of_api_versions_is_answered_in_version_0(node: Node, other: Client) -> None:
    """KIP-511: so a newer client learns what is spoken here, and goes on over the same connection."""
    client = Client(node.address)
    with client.socket:
        client.socket.sendall(_request(API_VERSIONS, 99))
        answer = decode_response(API_VERSIONS, 0, client.frame())
        assert answer.error_code is ErrorCode.unsupported_version
        (row,) = [row for row in answer.api_keys if row.api_key == API_VERSIONS]
        again = client.call(ApiVersionsRequest(), row.max_version)
        assert again.error_code is ErrorCode.none


async def test_a_write_to_a_controller_that_does_not_lead_names_the_one_that_does(
    dev: dict[str, Any],
) -> None:
    controllers = {
        one["id"]: Address(LOOPBACK, int(one["address"].rpartition(":")[2])) for one in dev["controllers"]
    }
    known = await ask(next(iter(controllers.values())), MetadataRequest(topics=()), _MANNER)
    leader = known.controller_id
    topic = CreatableTopic(name="nowhere", num_partitions=1, replication_factor=1)
    for id, address in controllers.items():
        if id == leader:
            continue
        answer = await ask(address, CreateTopicsRequest(topics=(topic,)), _MANNER)
        (refused,) = answer.topics
        assert refused.error_code is ErrorCode.not_controller
        assert f"node {leader}" in refused.error_message
        check_golden("write-to-a-follower", refused.error_message, {f"node {leader}": "node LEADER"})
    listed = await ask(controllers[leader], MetadataRequest(topics=None), _MANNER)
    assert "nowhere" not in {one.name for one in listed.topics}
