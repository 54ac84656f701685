"""Directories of a quorum made anew, and copies that are thrown away: the power goes at every single operation."""

import random
import uuid
from pathlib import Path

import attrs
import pytest

from quorate.metadata.ids import Endpoint, Epoch, NodeId, OffsetAndEpoch
from quorate.metadata.image import MetadataImage
from quorate.metadata.log.directory import (
    FormatPlan,
    Quorum,
    discard_copy,
    format_directory,
    open_directory,
)
from quorate.metadata.log.files import File, Mode
from quorate.metadata.log.identity import MetaProperties, read_meta
from quorate.metadata.log.layout import LOCK, META_PROPERTIES
from quorate.metadata.log.new_quorum import (
    Recovery,
    Restoration,
    SourceChanged,
    exchange,
    recover_directory,
    restore_directory,
    with_recovery,
)
from quorate.metadata.log.refusals import AlreadyFormatted, StorageRefused
from quorate.metadata.log.segments import LogConfig
from quorate.metadata.quorum.election_state import ElectionState
from tests.metadata.log.building import point, row, snapshot_batches, voters
from tests.metadata.log.faulty_files import FaultyFiles, ProcessEnds
from tests.metadata.model.building import recovery

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
SOURCE, TARGET = Path("/source"), Path("/target")
SMALL = LogConfig(preallocate_bytes=4096, reserve_bytes=4096)
RECOVERY = uuid.UUID(int=900)
END = point(6, 4)


class Disks:
    """A disk for each directory."""

    def __init__(self) -> None:
        self.of = {SOURCE: FaultyFiles(), TARGET: FaultyFiles()}

    def open(self, path: Path, mode: Mode) -> File:
        return self.of[path.parent].open(path, mode)

    def names(self, directory: Path) -> list[str]:
        return self.of[directory].names(directory)

    def rename(self, source: Path, target: Path) -> None:
        self.of[source.parent].rename(source, target)

    def remove(self, path: Path) -> None:
        self.of[path.parent].remove(path)

    def sync_directory(self, directory: Path) -> None:
        self.of[directory].sync_directory(directory)

    def make_directory(self, directory: Path) -> None:
        self.of[directory].make_directory(directory)

    def free_bytes(self, directory: Path) -> int:
        return self.of[directory].free_bytes(directory)


def content(files: FaultyFiles) -> dict[str, bytes]:
    return {name: bytes(inode.now) for name, inode in files.names_now.items() if name != LOCK}


def make_node(files: Disks | FaultyFiles, directory: Path, *, snapshot: bool = False) -> None:
    """A controller's directory with six records of epoch 4."""
    plan = FormatPlan(
        directory=directory,
        cluster_id=CLUSTER,
        node_id=NodeId(1),
        listener="CONTROLLER",
        is_controller=True,
        quorum=Quorum.STANDALONE,
        endpoint=Endpoint("CONTROLLER", "host1", 9093),
    )
    format_directory(plan, random.Random(1), files)
    opened = open_directory(directory, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
    opened.elections.write(ElectionState(Epoch(4), NodeId(1)))
    opened.log.append(row(3, epoch=4), opened.log.summary().end.offset)
    opened.log.flush()
    if snapshot:
        writer = opened.log.new_snapshot(point(4, 4))
        for one in snapshot_batches(point(4, 4)):
            writer.append(one)
        writer.finish()
    opened.close()


def plan_to_recover(end: OffsetAndEpoch = END) -> Recovery:
    meta = MetaProperties(
        cluster_id=CLUSTER, node_id=NodeId(1), directory_id=uuid.UUID(int=1001), recovery_id=RECOVERY
    )
    return Recovery(
        source=SOURCE,
        target=TARGET,
        end=end,
        meta=meta,
        voter=voters(1).voters[0],
        record=recovery(900, epoch=1004),
        transaction_open=False,
        append_time_ms=1,
    )


def check_recovered(files: Disks) -> None:
    opened = open_directory(TARGET, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
    summary = opened.log.summary()
    opened.close()
    assert summary.end == point(10, 1004)
    assert opened.election.epoch == 1004
    assert opened.election.leader_id == 1
    assert opened.meta.recovery_id == RECOVERY


def test_a_recovery_that_the_power_interrupts_leaves_the_source_and_no_half_directory() -> None:
    stop, finished = 1, 0
    while not finished:
        files = Disks()
        make_node(files, SOURCE)
        before = content(files.of[SOURCE])
        target = files.of[TARGET]
        target.operations, target.stop_at = 0, stop
        try:
            recover_directory(plan_to_recover(), files)
            finished = stop
        except ProcessEnds:
            target.crash(random.Random(stop))
        target.stop_at = None
        stop += 1
        assert content(files.of[SOURCE]) == before
        if META_PROPERTIES in target.names(TARGET):
            check_recovered(files)
        else:
            with pytest.raises(StorageRefused):
                read_meta(files, TARGET)
    assert finished > 30


def test_all_of_a_recovery_is_durable() -> None:
    files = Disks()
    make_node(files, SOURCE)
    recover_directory(plan_to_recover(), files)
    files.of[TARGET].crash(random.Random(3))

    check_recovered(files)


def test_a_source_that_is_not_what_was_looked_at_is_refused() -> None:
    files = Disks()
    make_node(files, SOURCE)
    with pytest.raises(SourceChanged, match="ends at 6@4 now, and ended at 4@4"):
        recover_directory(plan_to_recover(point(4, 4)), files)


def test_a_copy_that_is_thrown_away_is_never_damage() -> None:
    """Whatever the power leaves: a shorter log of before, or an empty one that knows for which recovery."""
    stop, finished, seen = 1, 0, set()
    while not finished:
        files = FaultyFiles()
        make_node(files, SOURCE, snapshot=True)
        files.operations, files.stop_at = 0, stop
        try:
            discard_copy(SOURCE, RECOVERY, files)
            finished = stop
        except ProcessEnds:
            files.crash(random.Random(stop))
        files.stop_at = None
        stop += 1
        opened = open_directory(SOURCE, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
        summary = opened.log.summary()
        opened.close()
        assert opened.election.epoch == 4, "what it has voted is not forgotten"
        seen.add((summary.end.offset, opened.meta.recovery_id))
        assert opened.meta.recovery_id in (None, RECOVERY)
        if opened.meta.recovery_id == RECOVERY:
            assert (summary.end.offset, summary.snapshots, summary.control) == (0, (), ())
    assert (0, RECOVERY) in seen
    assert (6, None) in seen
    assert finished > 10


def test_a_restoration_that_the_power_interrupts_leaves_no_half_directory() -> None:
    record = recovery(900, kind="restore", epoch=1004)
    plan = Restoration(
        target=TARGET,
        meta=plan_to_recover().meta,
        snapshot_id=point(1_000_006, 1004),
        voters=voters(1),
        image=with_recovery(MetadataImage.EMPTY, record),
    )
    stop, finished = 1, 0
    while not finished:
        files = FaultyFiles()
        files.stop_at = stop
        try:
            restore_directory(plan, files)
            finished = stop
        except ProcessEnds:
            files.crash(random.Random(stop))
        files.stop_at = None
        stop += 1
        if META_PROPERTIES not in files.names(TARGET):
            continue
        opened = open_directory(TARGET, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=files)
        summary = opened.log.summary()
        opened.close()
        assert summary.end == point(1_000_006, 1004)
        assert (opened.election.epoch, opened.election.leader_id) == (1004, None)
    assert finished > 10


def test_directories_are_exchanged_and_nothing_is_written_over(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    exchange(tmp_path / "old", tmp_path / "new", tmp_path / "aside")

    assert [(tmp_path / name / "what").read_text() for name in ("old", "aside")] == ["new", "old"]
    (tmp_path / "new").mkdir()
    with pytest.raises(AlreadyFormatted):
        exchange(tmp_path / "old", tmp_path / "new", tmp_path / "aside")


def test_an_identity_keeps_its_recovery_id() -> None:
    files = FaultyFiles()
    make_node(files, SOURCE)
    before = read_meta(files, SOURCE)
    discard_copy(SOURCE, RECOVERY, files)

    assert before.recovery_id is None
    assert b"recovery" not in before.encode()
    assert read_meta(files, SOURCE) == attrs.evolve(before, recovery_id=RECOVERY)
