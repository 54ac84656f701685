"""Kafka's own brokers on this quorum: releases, levels, static voters and bootstrap servers, and a day in their life.

Two cells, short, in the default run, which have each end of each axis; all of them with TESTS_FULL=1 (`python -m
tests.full`).
"""

import functools
import pathlib
from typing import Final

import pytest

from tests.e2e.conftest import full, needs
from tests.e2e.kafka import scenes
from tests.e2e.kafka.cluster import Cell, kafka_cluster
from tests.e2e.kafka.scenes import Scene

pytestmark = pytest.mark.e2e

NEWEST: Final = "4.4.0"
MIDDLE: Final = "4.3.1"
OLDEST: Final = "3.9.2"

FIRST_THINGS: Final[tuple[Scene, ...]] = (scenes.topics_come_and_go, scenes.messages_by_group)
SHORT: Final[tuple[Scene, ...]] = (
    *FIRST_THINGS,
    scenes.a_broker_is_killed,
    scenes.the_active_controller_is_killed,
    scenes.a_broker_is_stopped,
)
CLASSIC: Final[tuple[Scene, ...]] = (
    *SHORT,
    scenes.transactions,
    scenes.settings_take_effect,
    scenes.partitions_move,
    scenes.controllers_restart_in_turn,
)
NEW: Final[tuple[Scene, ...]] = (*CLASSIC, scenes.messages_by_new_group, scenes.messages_by_share_group)
GUARDED: Final[tuple[Scene, ...]] = (scenes.users_and_their_rights, scenes.controllers_restart_in_turn)

CELLS: Final[tuple[tuple[Cell, tuple[Scene, ...]], ...]] = (
    (
        (Cell(version=NEWEST, level=30), NEW),
        (Cell(version=NEWEST, level=30, static_voters=True), NEW),
        (Cell(version=NEWEST, level=21), CLASSIC),
        (Cell(version=NEWEST, level=25, log_dirs=2), (*CLASSIC, scenes.messages_by_new_group)),
        (Cell(version=MIDDLE, level=30, log_dirs=2), NEW),
        (Cell(version=MIDDLE, level=30, static_voters=True), NEW),
        (Cell(version=MIDDLE, level=21), CLASSIC),
        (Cell(version=MIDDLE, level=21, static_voters=True), CLASSIC),
        (Cell(version=OLDEST, level=21), CLASSIC),
        (Cell(version=NEWEST, level=30, guarded=True, brokers=2), GUARDED),
        (Cell(version=OLDEST, level=21, guarded=True, brokers=2), GUARDED),
        (Cell(version=OLDEST, level=21, static_voters=True, log_dirs=2), CLASSIC),
    )
    if full()
    else (
        (Cell(version=NEWEST, level=30, log_dirs=2), (*SHORT, scenes.transactions)),
        (Cell(version=OLDEST, level=21, static_voters=True), FIRST_THINGS),
    )
)


@pytest.mark.parametrize(("setting", "played"), CELLS, ids=[str(cell) for cell, _ in CELLS])
async def test_a_day_in_the_life(tmp_path: pathlib.Path, setting: Cell, played: tuple[Scene, ...]) -> None:
    needs("java")
    needs("mvn")
    async with kafka_cluster(tmp_path, setting) as cluster:
        for scene in played:
            await scene(cluster)
        cluster.check_unharmed()


if full():  # it takes minutes

    @pytest.mark.parametrize(
        "setting",
        [
            Cell(version=NEWEST, level=30),
            Cell(version=MIDDLE, level=30),
            Cell(version=OLDEST, level=21, static_voters=True),
        ],
        ids=str,
    )
    async def test_nothing_that_befalls_the_controllers_reaches_the_messages(
        tmp_path: pathlib.Path, setting: Cell
    ) -> None:
        needs("java")
        needs("mvn")
        long: tuple[Scene, ...] = (
            functools.partial(scenes.the_active_controller_is_killed, times=10),
            scenes.controllers_restart_in_turn,
            functools.partial(scenes.all_controllers_are_down, for_s=60),
        )
        async with kafka_cluster(tmp_path, setting) as cluster:
            for scene in long:
                await scene(cluster)
            cluster.check_unharmed()
