"""Snapshots in Kafka's form: what is in them, that their bytes stay the same, and what becomes of the files."""

import os
import pathlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import OffsetAndEpoch
from quorate.metadata.kafka_form import decode_batches
from quorate.metadata.kafka_snapshots import KafkaSnapshots
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.records import (
    ConfigRecord,
    KRaftVersionRecord,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    VotersRecord,
)
from tests.metadata.log.building import point, snapshot_batches

ID = point(8, 3)


class CountingLog(MemoryLog):
    """Knows how often a snapshot was read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[OffsetAndEpoch] = []

    def snapshot_records(self, snapshot_id: OffsetAndEpoch) -> Iterable[RecordBatch]:
        found = super().snapshot_records(snapshot_id)
        self.read.append(snapshot_id)
        return found


def holding(*ids: OffsetAndEpoch, data: int = 3) -> CountingLog:
    log = CountingLog()
    for snapshot_id in ids:
        writer = log.new_snapshot(snapshot_id)
        for each in snapshot_batches(snapshot_id, 1, 2, data=data):
            writer.append(each)
        writer.finish()
    return log


class Reader:
    def __init__(self, snapshots: KafkaSnapshots) -> None:
        self.snapshots = snapshots
        self.told: list[tuple[int, bytes]] = []

    async def ask(
        self, snapshot_id: OffsetAndEpoch = ID, position: int = 0, count: int = 10**6
    ) -> tuple[int, bytes]:
        self.snapshots.read(snapshot_id, position, count, lambda size, data: self.told.append((size, data)))
        await trio.testing.wait_all_tasks_blocked()
        return self.told[-1]


@asynccontextmanager
async def serving(log: CountingLog, directory: pathlib.Path) -> AsyncIterator[Reader]:
    async with trio.open_nursery() as nursery:
        snapshots = KafkaSnapshots(log, directory)
        nursery.start_soon(snapshots.run)
        yield Reader(snapshots)
        nursery.cancel_scope.cancel()


async def test_it_holds_what_ours_holds(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(holding(ID), tmp_path) as reader:
        size, data = await reader.ask()

    assert size == len(data)
    found = [*decode_batches(data)]
    assert [type(record) for one in found for record in one.records] == [
        SnapshotHeaderRecord,
        KRaftVersionRecord,
        VotersRecord,
        ConfigRecord,
        ConfigRecord,
        ConfigRecord,
        SnapshotFooterRecord,
    ]
    assert [one.base_offset for one in found] == [0, 3, 4, 5, 6]  # its own, from the beginning
    assert {one.epoch for one in found} == {3}


async def test_parts_make_the_whole_and_it_is_made_once(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock
) -> None:
    log = holding(ID)
    async with serving(log, tmp_path) as reader:
        size, whole = await reader.ask()
        parts = [(await reader.ask(position=at, count=7))[1] for at in range(0, size, 7)]

    assert b"".join(parts) == whole
    assert log.read == [ID]


async def test_its_bytes_are_the_same_whoever_makes_it(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock
) -> None:
    made = []
    for _ in range(2):
        async with serving(holding(ID), tmp_path) as reader:
            made.append(await reader.ask())
    assert made[0] == made[1]


async def test_what_is_not_there(tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(holding(ID), tmp_path) as reader:
        assert await reader.ask(point(9, 3)) == (0, b"")
        size, _ = await reader.ask()
        assert await reader.ask(position=size) == (size, b"")
        assert await reader.ask(position=-1) == (size, b"")


async def test_nothing_is_left_in_the_directory(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(holding(ID), tmp_path) as reader:
        await reader.ask()
        assert os.listdir(tmp_path) == []


async def test_those_that_were_read_last_are_kept(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock
) -> None:
    ids = [point(8, 3), point(20, 3), point(30, 4)]
    log = holding(*ids)
    async with serving(log, tmp_path) as reader:
        for one in (*ids, ids[2], ids[1], ids[2], ids[0], ids[2]):
            size, data = await reader.ask(one)
            assert size == len(data) > 0
    assert log.read == [*ids, ids[0]]


async def test_one_that_is_large_is_made_in_slices(
    tmp_path: pathlib.Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever else is on the loop has its turn: elections must not notice."""
    real = trio.current_time
    steps = iter(range(1, 10**6))
    monkeypatch.setattr(
        "quorate.metadata.kafka_snapshots.trio.current_time", lambda: real() + next(steps) / 100
    )
    async with serving(holding(ID, data=20), tmp_path) as reader:
        began = autojump_clock.current_time()
        told = trio.Event()
        reader.snapshots.read(ID, 0, 10, lambda size, data: told.set())
        await told.wait()
        assert (
            autojump_clock.current_time() - began > 0.5
        )  # it rests after each batch, which takes 10 ms here
