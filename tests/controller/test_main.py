"""A controller that cannot start says why and leaves nothing behind; one that can is taken down in order."""

import pathlib
import random
import socket
from functools import partial

import attrs
import pytest
import trio

from quorate.controller.config import ControllerConfig
from quorate.controller.main import run_controller
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import CannotListen
from quorate.metadata.ids import Endpoint, NodeId
from quorate.metadata.log.directory import FormatPlan, Quorum, format_directory
from quorate.metadata.log.refusals import StorageRefused
from tests.metadata.test_assembly import can_be_bound, config, free_port

LONGEST_S = 40


@pytest.fixture
def formatted(tmp_path: pathlib.Path) -> ControllerConfig:
    """A single voter's."""
    settings = config(tmp_path / "c", free_port(), quorate_free_space_floor_bytes="0")
    (listener,) = settings.listeners
    plan = FormatPlan(
        directory=tmp_path / "c",
        cluster_id="abcdefghijklmnopqrstuA",
        node_id=NodeId(1),
        listener=listener.name,
        is_controller=True,
        quorum=Quorum.STANDALONE,
        endpoint=Endpoint(listener.name, "127.0.0.1", listener.port),
    )
    format_directory(plan, random.Random(1))
    return settings


async def started_and_stopped(settings: ControllerConfig) -> None:
    stop = trio.Event()
    with trio.fail_after(LONGEST_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(run_controller, settings, stop=stop))
            stop.set()


async def test_a_directory_that_is_not_formatted_leaves_no_port_bound(tmp_path: pathlib.Path) -> None:
    port = free_port()
    settings = config(tmp_path / "none", port, quorate_metrics_listener="127.0.0.1:0")
    refused: list[StorageRefused] = []
    try:
        await run_controller(settings, stop=trio.Event())
    except StorageRefused as problem:
        refused.append(problem)  # and with it the frames that hold the listeners

    assert [one.what for one in refused] == ["There is no metadata directory yet"]
    assert can_be_bound(port)


async def test_another_nodes_directory_is_refused_and_stays_free(formatted: ControllerConfig) -> None:
    with pytest.raises(StorageRefused, match="belongs to node 1, the configuration is of node 2"):
        await run_controller(attrs.evolve(formatted, node_id=NodeId(2)), stop=trio.Event())

    await started_and_stopped(formatted)


async def test_a_taken_port_is_known_before_the_directory_is_looked_at(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = config(tmp_path / "not formatted", taken.getsockname()[1])
        with pytest.raises(CannotListen, match="listener C0 of node 1"):
            await run_controller(settings, stop=trio.Event())


async def test_a_taken_port_for_metrics_leaves_the_listener_free(formatted: ControllerConfig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = attrs.evolve(formatted, metrics_listener=Address(*taken.getsockname()))
        with pytest.raises(CannotListen, match="metrics of node 1"):
            await run_controller(settings, stop=trio.Event())

    assert can_be_bound(formatted.listeners[0].port)


async def test_two_processes_worth_of_a_node_do_not_share_a_directory(formatted: ControllerConfig) -> None:
    stop = trio.Event()
    with trio.fail_after(LONGEST_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(run_controller, formatted, stop=stop))
            (listener,) = formatted.listeners
            twin = attrs.evolve(formatted, listeners=(attrs.evolve(listener, port=free_port()),))
            with pytest.raises(StorageRefused, match="Another process runs on this directory"):
                await run_controller(twin, stop=trio.Event())
            stop.set()


async def test_told_to_stop_before_it_has_begun_it_starts_and_stops(formatted: ControllerConfig) -> None:
    stop = trio.Event()
    stop.set()
    with trio.fail_after(LONGEST_S):
        await run_controller(formatted, stop=stop)

    await started_and_stopped(formatted)  # the lock and the port are free again
