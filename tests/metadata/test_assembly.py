"""Listeners are bound before anything runs, and let go whatever comes after."""

import pathlib
import socket

import pytest
import trio

from quorate.controller.config import ControllerConfig
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import CannotListen, bind_listeners, bind_metrics, let_go, room_for_clients


def config(tmp_path: pathlib.Path, *ports: int, **settings: str) -> ControllerConfig:
    names = [f"C{index}" for index, _ in enumerate(ports)]
    return ControllerConfig.of(
        {
            "process.roles": "controller",
            "node.id": "1",
            "metadata.log.dir": str(tmp_path),
            "listeners": ",".join(
                f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)
            ),
            "controller.listener.names": ",".join(names),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
            "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def can_be_bound(port: int) -> bool:
    """By somebody who does not share it."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_a_port_left_to_the_system_is_advertised_as_it_turned_out(tmp_path: pathlib.Path) -> None:
    bound = await bind_listeners(config(tmp_path, 0, 0))
    ports = [one.advertised.port for one in bound]

    assert 0 not in ports
    for port in ports:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    await let_go(bound)


async def test_what_is_advertised_stands_above_what_is_bound(tmp_path: pathlib.Path) -> None:
    bound = await bind_listeners(config(tmp_path, 0, advertised_listeners="C0://quorum.example:19093"))

    assert [(one.advertised.host, one.advertised.port) for one in bound] == [("quorum.example", 19093)]
    await let_go(bound)


async def test_if_one_listener_cannot_be_bound_none_stays_bound(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first, second = free_port(), taken.getsockname()[1]
        with pytest.raises(CannotListen) as refused:
            await bind_listeners(config(tmp_path, first, second))

    assert str(refused.value) == (
        f"Cannot listen on 127.0.0.1:{second} (listener C1 of node 1)\n"
        "  why: Address already in use\n"
        "  what to do: stop the program that uses the port, or change `listeners` in this node's configuration"
    )
    assert can_be_bound(first)


async def test_if_metrics_cannot_be_bound_no_listener_stays_bound(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = Address(*taken.getsockname())
        settings = config(tmp_path, free_port(), quorate_metrics_listener=str(where))
        bound = await bind_listeners(settings)
        with pytest.raises(CannotListen, match=f"Cannot listen on {where} .metrics of node 1"):
            await bind_metrics(settings, bound)

    assert can_be_bound(bound[0].advertised.port)


async def test_a_host_that_is_not_of_this_machine_is_refused_with_the_systems_reason(
    tmp_path: pathlib.Path,
) -> None:
    elsewhere = config(tmp_path, 9093, listeners="C0://192.0.2.1:9093")

    with pytest.raises(CannotListen, match="why: Cannot assign requested address"):
        await bind_listeners(elsewhere)


async def test_all_are_let_go_also_by_who_was_cancelled(tmp_path: pathlib.Path) -> None:
    settings = config(tmp_path, 0, 0, quorate_metrics_listener="127.0.0.1:0")
    bound = await bind_listeners(settings)
    metrics = await bind_metrics(settings, bound)
    assert metrics is not None
    ports = [*(one.advertised.port for one in bound), metrics.address.port]
    assert not any(can_be_bound(port) for port in ports)

    with trio.CancelScope() as scope:
        scope.cancel()
        await let_go(bound, metrics)

    assert all(can_be_bound(port) for port in ports)


def test_connections_that_are_never_idle_too_long(tmp_path: pathlib.Path) -> None:
    assert room_for_clients(config(tmp_path, 0, connections_max_idle_ms="5000")).limits.idle_ms == 5000
    assert (
        room_for_clients(config(tmp_path, 0, connections_max_idle_ms="-1")).limits.idle_ms
        >= 20 * 24 * 3600 * 1000
    )
