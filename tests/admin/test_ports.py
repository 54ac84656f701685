"""Ports that are held for nodes, with real sockets: the kernel's rules are what is tested."""

import random
import socket

import pytest

from quorate.admin.errors import Refused
from quorate.admin.ports import LOOPBACK, HeldPorts


def _listen(port):
    """As trio does it for a node."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((LOOPBACK, port))
    server.listen()
    return server


def test_a_node_can_listen_on_a_held_port_again_and_again():
    with HeldPorts() as ports:
        port = ports.claim(random.Random(1))
        for _ in range(3):
            with _listen(port) as server, socket.create_connection((LOOPBACK, port)) as client:
                peer, _ = server.accept()
                peer.close()
                assert client.recv(1) == b""


def test_while_the_node_is_down_its_port_refuses():
    with HeldPorts() as ports:
        port = ports.claim(random.Random(2))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port), timeout=5)


def test_two_launchers_with_the_same_luck_get_different_ports():
    with HeldPorts() as one, HeldPorts() as other:
        first = [one.claim(random.Random(3)) for _ in range(5)]
        second = [other.claim(random.Random(3)) for _ in range(5)]

    assert len({*first, *second}) == 10


def test_a_port_in_use_is_refused_with_the_nodes_name():
    with HeldPorts() as ports, HeldPorts() as others:
        port = others.claim(random.Random(4))
        with _listen(port), pytest.raises(Refused, match="controller-1 cannot have its port"):
            ports.hold(port, "controller-1")


def test_a_closed_holder_lets_go():
    with HeldPorts() as ports:
        port = ports.claim(random.Random(5))
    with socket.socket() as anybody:
        anybody.bind((LOOPBACK, port))
