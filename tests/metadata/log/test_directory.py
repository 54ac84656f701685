"""Formatting and opening a metadata directory: what is written, what is refused, and in which words."""

import json
import os
import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from quorate.metadata.ids import LOG_START, Endpoint, Epoch, NodeId, Offset, ReplicaKey, uuid_to_text
from quorate.metadata.log.directory import (
    FormatPlan,
    Formatted,
    InitialVoter,
    OpenDirectory,
    Quorum,
    describe_directory,
    format_directory,
    open_directory,
)
from quorate.metadata.log.files import File, Mode, RealFiles
from quorate.metadata.log.identity import DirectoryLock
from quorate.metadata.log.layout import (
    BOOTSTRAP,
    LOCK,
    META_PROPERTIES,
    PART_SUFFIX,
    QUORUM_STATE,
    segment_name,
    snapshot_name,
)
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.log.refusals import (
    AlreadyFormatted,
    DirectoryLocked,
    FormatRefused,
    HalfFormatted,
    QuorumStateRefused,
    StorageRefused,
)
from quorate.metadata.log.segments import LogConfig
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.voters import VoterHistory
from quorate.metadata.records import FeatureLevelRecord
from tests.metadata.log.building import everything, point, row
from tests.metadata.log.faulty_files import FaultyFiles, ProcessEnds
from tests.metadata.log.golden import Case, expected, told

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
KAFKA = Path(__file__).parents[2] / "artefacts" / "kafka" / "log-3.9.2"
SMALL = LogConfig(preallocate_bytes=4096, reserve_bytes=4096)
VOTERS = tuple(
    InitialVoter(
        id=NodeId(node_id), host=f"host{node_id}", port=9093, directory_id=uuid.UUID(int=1_000 + node_id)
    )
    for node_id in (3, 1, 2)
)
VERSION = FeatureLevelRecord(name="metadata.version", feature_level=21)


def plan(directory: Path, quorum: Quorum = Quorum.STANDALONE) -> FormatPlan:
    return FormatPlan(
        directory=directory,
        cluster_id=CLUSTER,
        node_id=NodeId(1),
        listener="CONTROLLER",
        is_controller=True,
        quorum=quorum,
        endpoint=Endpoint("CONTROLLER", "host1", 9093),
        initial=VOTERS if quorum is Quorum.INITIAL_CONTROLLERS else (),
        metadata_version=21,
    )


def formatted(directory: Path, quorum: Quorum = Quorum.STANDALONE, seed: int = 1) -> Formatted:
    return format_directory(plan(directory, quorum), random.Random(seed))


def opened(directory: Path, *, is_controller: bool = True) -> OpenDirectory:
    return open_directory(
        directory, node_id=NodeId(1), is_controller=is_controller, cluster_id=CLUSTER, log_config=SMALL
    )


def voters_of(found: OpenDirectory) -> VoterHistory:
    return VoterHistory.of(found.log.summary().control)


# ---- formatting ------------------------------------------------------------------------------------------


def test_a_first_voter_begins_alone(tmp_path: Path) -> None:
    done = formatted(tmp_path / "new" / "directory")
    found = opened(tmp_path / "new" / "directory")

    assert not done.already
    assert found.meta == done.meta
    assert (found.meta.cluster_id, found.meta.node_id) == (CLUSTER, 1)
    history = voters_of(found)
    assert history.kraft_version == 1
    assert [history.last.key(one) for one in history.last.ids] == [
        ReplicaKey(NodeId(1), done.meta.directory_id)
    ]
    assert found.log.summary().snapshots == (LOG_START,)
    assert found.log.summary().end == LOG_START
    assert found.election == ElectionState.primordial()
    assert found.bootstrap == (VERSION,)
    found.close()


def test_initial_controllers_agree_on_who_they_are(tmp_path: Path) -> None:
    """Each has the directory id that the list gives it, and the same voters."""
    told_voters = []
    for voter in VOTERS:
        directory = tmp_path / str(voter.id)
        done = format_directory(
            attrs.evolve(plan(directory, Quorum.INITIAL_CONTROLLERS), node_id=voter.id),
            random.Random(voter.id),
        )
        assert done.meta.directory_id == voter.directory_id
        found = open_directory(directory, node_id=voter.id, is_controller=True, log_config=SMALL)
        told_voters.append(found.log.summary().control)
        found.close()

    assert told_voters[0] == told_voters[1] == told_voters[2]
    last = VoterHistory.of(told_voters[0]).last
    assert {last.key(one) for one in last.ids} == {ReplicaKey(one.id, one.directory_id) for one in VOTERS}


def test_a_controller_that_is_added_later_knows_no_voters(tmp_path: Path) -> None:
    formatted(tmp_path, Quorum.NONE)
    found = opened(tmp_path)

    assert found.log.summary().control == ()
    assert found.log.summary().snapshots == ()
    assert found.bootstrap == (VERSION,)
    found.close()


def test_features_are_the_first_records(tmp_path: Path) -> None:
    others = (("group.version", 1), ("eligible.leader.replicas.version", 0))
    format_directory(attrs.evolve(plan(tmp_path), other_features=others), random.Random(1))
    found = opened(tmp_path)

    assert found.bootstrap == (VERSION, FeatureLevelRecord(name="group.version", feature_level=1))
    found.close()


def test_a_broker_has_no_bootstrap_records(tmp_path: Path) -> None:
    broker = attrs.evolve(plan(tmp_path, Quorum.NONE), is_controller=False, endpoint=None)
    format_directory(broker, random.Random(1))
    found = opened(tmp_path, is_controller=False)

    assert found.bootstrap == ()
    assert BOOTSTRAP not in os.listdir(tmp_path)
    found.close()


def test_a_wiped_disk_is_another_disk(tmp_path: Path) -> None:
    first = formatted(tmp_path / "one", seed=1).meta.directory_id
    second = formatted(tmp_path / "two", seed=2).meta.directory_id

    assert first != second


def test_ignore_formatted_changes_nothing(tmp_path: Path) -> None:
    first = formatted(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = format_directory(attrs.evolve(plan(tmp_path), ignore_formatted=True), random.Random(9))

    assert again == Formatted(meta=first.meta, already=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("other", [{"node_id": NodeId(2)}, {"cluster_id": "AAAAAAAAAAAAAAAAAAAAAQ"}])
def test_ignore_formatted_does_not_ignore_whose_it_is(tmp_path: Path, other: dict[str, Any]) -> None:
    formatted(tmp_path)
    wanted = attrs.evolve(plan(tmp_path), ignore_formatted=True, **other)
    with pytest.raises(AlreadyFormatted):
        format_directory(wanted, random.Random(1))


@pytest.mark.parametrize("quorum", list(Quorum))
def test_a_format_that_was_interrupted_is_done_again(quorum: Quorum) -> None:
    """A crash at each operation, then again, even with other arguments: nothing of the first time is left."""
    directory = Path("/directory")
    stop, interrupted = 1, True
    while interrupted:
        files = FaultyFiles()
        files.stop_at = stop
        try:
            format_directory(plan(directory), random.Random(1), files)
        except ProcessEnds:
            files.crash(random.Random(stop))
        else:
            interrupted = False
        stop += 1
        if META_PROPERTIES in files.names(directory):
            quorum_then, seed = Quorum.STANDALONE, 1
        else:
            quorum_then, seed = quorum, 2
            format_directory(plan(directory, quorum), random.Random(2), files)
        clean = FaultyFiles()
        format_directory(plan(directory, quorum_then), random.Random(seed), clean)
        assert content(files) == content(clean)
    assert stop > 10


def content(files: FaultyFiles) -> dict[str, bytes]:
    return {
        name: bytes(inode.now)
        for name, inode in files.names_now.items()
        if name != LOCK and not name.endswith(".tmp")
    }


def test_every_file_of_a_format_is_durable() -> None:
    directory = Path("/directory")
    files = FaultyFiles()
    format_directory(plan(directory), random.Random(1), files)
    before = content(files)
    files.crash(random.Random(0))

    assert content(files) == before
    found = open_directory(directory, node_id=NodeId(1), is_controller=True, files=files)
    assert found.bootstrap == (VERSION,)
    found.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"quorum": Quorum.STANDALONE, "is_controller": False},
        {"quorum": Quorum.STANDALONE, "endpoint": None},
        {"quorum": Quorum.INITIAL_CONTROLLERS, "initial": VOTERS[:1]},
        {"quorum": Quorum.INITIAL_CONTROLLERS, "initial": (*VOTERS, VOTERS[1])},
        {"quorum": Quorum.INITIAL_CONTROLLERS, "initial": (*VOTERS, VOTERS[0])},
        {
            "quorum": Quorum.INITIAL_CONTROLLERS,
            "initial": (VOTERS[1], attrs.evolve(VOTERS[0], directory_id=VOTERS[1].directory_id)),
        },
        {"quorum": Quorum.INITIAL_CONTROLLERS, "is_controller": False},
    ],
)
def test_a_plan_that_contradicts_itself_touches_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatRefused):
        format_directory(attrs.evolve(plan(tmp_path / "d"), **wrong), random.Random(1))

    assert not (tmp_path / "d").exists()


def test_an_initial_controller_is_read_from_text() -> None:
    directory_id = uuid.UUID(int=12345678901234567890)
    text = uuid_to_text(directory_id)

    found = InitialVoter.parse(f" 7@[::1]:9093:{text} ")
    assert found == InitialVoter(id=NodeId(7), host="::1", port=9093, directory_id=directory_id)
    for bad in (
        "",
        "7",
        f"7@host:{text}",
        f"x@host:9093:{text}",
        f"7@host:0:{text}",
        "7@host:9093:zz",
        "7@:1:",
    ):
        with pytest.raises(ValueError):
            InitialVoter.parse(bad)


# ---- opening -----------------------------------------------------------------------------------------------


def test_what_a_node_leaves_it_finds_again(tmp_path: Path) -> None:
    formatted(tmp_path)
    found = opened(tmp_path)
    vote = ElectionState(Epoch(3), NodeId(2), ReplicaKey(NodeId(2), uuid.UUID(int=77)))
    found.elections.write(vote)
    found.log.append(row(2, epoch=3), Offset(0))
    found.log.flush()
    found.close()
    found = opened(tmp_path)

    assert found.election == vote
    assert everything(found.log) == row(2, epoch=3)
    found.close()


@pytest.mark.parametrize("damage", ["missing", "flipped", "older"])
def test_a_broker_writes_its_quorum_state_anew(tmp_path: Path, damage: str) -> None:
    """It never votes, so it has nothing to remember."""
    formatted(tmp_path, Quorum.NONE)
    _damage_quorum_state(tmp_path, damage)
    found = opened(tmp_path, is_controller=False)
    last = found.log.summary().end.epoch

    assert found.election == ElectionState(last)
    assert QuorumStateFile(RealFiles(), tmp_path).read() == ElectionState(last)
    found.close()


@pytest.mark.parametrize("damage", ["missing", "flipped", "older"])
def test_a_refused_directory_is_not_left_locked(tmp_path: Path, damage: str) -> None:
    formatted(tmp_path)
    _damage_quorum_state(tmp_path, damage)
    for _ in range(2):
        with pytest.raises(QuorumStateRefused):
            opened(tmp_path)


def _leave_work_for_recovery(directory: Path) -> None:
    """A log with a torn tail, and a snapshot that was never finished."""
    formatted(directory)
    found = opened(directory)
    found.elections.write(ElectionState(Epoch(5)))
    found.log.append(row(2, epoch=5), Offset(0))
    found.log.flush()
    found.close()
    with (directory / segment_name(Offset(0))).open("ab") as segment:
        segment.write(b"torn" * 20)
    (directory / (snapshot_name(LOG_START) + PART_SUFFIX)).write_bytes(b"half")


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != LOCK}


@pytest.mark.parametrize("damage", ["missing", "flipped", "older copy", "bootstrap"])
def test_a_refused_start_changes_nothing(tmp_path: Path, damage: str) -> None:
    """Whoever looks into it, or copies it away, finds what the crash left: the torn tail too."""
    _leave_work_for_recovery(tmp_path)
    match damage:
        case "missing":
            (tmp_path / QUORUM_STATE).unlink()
        case "flipped":
            (tmp_path / QUORUM_STATE).write_bytes(b"?")
        case "older copy":
            QuorumStateFile(RealFiles(), tmp_path).write(ElectionState(Epoch(4)))
        case _:
            (tmp_path / BOOTSTRAP).write_bytes(b"?")
    before = _contents(tmp_path)
    for _ in range(2):
        with pytest.raises(StorageRefused):
            opened(tmp_path)

    assert _contents(tmp_path) == before


def test_what_a_refused_start_leaves_a_good_one_recovers(tmp_path: Path) -> None:
    _leave_work_for_recovery(tmp_path)
    found = opened(tmp_path)

    assert found.report.torn is not None
    assert found.report.removed_parts == (snapshot_name(LOG_START) + PART_SUFFIX,)
    assert everything(found.log) == row(2, epoch=5)
    found.close()


def test_a_vote_older_than_a_log_that_a_snapshot_replaces_is_refused_too(tmp_path: Path) -> None:
    """The log that is to be dropped says as well which epochs there were."""
    formatted(tmp_path)
    found = opened(tmp_path)
    found.elections.write(ElectionState(Epoch(6)))
    found.log.append(row(2, epoch=5), Offset(0))
    found.log.flush()
    composer = SnapshotComposer(point(20, 6), wall_ms=0)
    batches = [composer.header(last_contained_log_timestamp=0), composer.data((VERSION,)), composer.footer()]
    found.close()
    (tmp_path / snapshot_name(point(20, 6))).write_bytes(b"".join(batch.data for batch in batches))
    QuorumStateFile(RealFiles(), tmp_path).write(ElectionState(Epoch(5)))
    before = _contents(tmp_path)
    with pytest.raises(QuorumStateRefused, match="the log has records of epoch 6"):
        opened(tmp_path)

    assert _contents(tmp_path) == before


class _ReadBytes(RealFiles):
    """Counts the bytes of the log that are read."""

    def __init__(self) -> None:
        self.log_bytes = 0

    def open(self, path: Path, mode: Mode) -> File:
        file = super().open(path, mode)
        if path.suffix != ".log":
            return file
        pread = file.pread

        def counted(size: int, position: int) -> bytes:
            data = pread(size, position)
            self.log_bytes += len(data)
            return data

        return _Counted(file, counted)


class _Counted:
    def __init__(self, file: File, pread: Callable[[int, int], bytes]) -> None:
        self._file = file
        self.pread = pread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_the_log_is_read_once(tmp_path: Path) -> None:
    formatted(tmp_path)
    found = opened(tmp_path)
    found.elections.write(ElectionState(Epoch(1)))
    found.log.append(row(9), Offset(0))
    found.log.flush()
    found.close()
    looked, started = _ReadBytes(), _ReadBytes()
    describe_directory(tmp_path, looked)
    open_directory(tmp_path, node_id=NodeId(1), is_controller=True, log_config=SMALL, files=started).close()

    assert 0 < started.log_bytes == looked.log_bytes


def test_every_flipped_bit_of_a_vote_is_noticed(tmp_path: Path) -> None:
    elections = QuorumStateFile(RealFiles(), tmp_path)
    vote = ElectionState(Epoch(3), NodeId(2), ReplicaKey(NodeId(2), uuid.UUID(int=77)))
    elections.write(vote)
    path = tmp_path / QUORUM_STATE
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert elections.read() == vote  # the line's end may be another blank
        except QuorumStateRefused:
            continue


def test_a_directory_is_looked_at_without_changing_it(tmp_path: Path) -> None:
    done = formatted(tmp_path)
    found = opened(tmp_path)
    found.log.append(row(2), Offset(0))
    found.log.flush()
    found.elections.write(ElectionState(Epoch(1)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    info = describe_directory(tmp_path)  # beside the running node

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (info.meta, info.election, info.kraft_version) == (done.meta, ElectionState(Epoch(1)), 1)
    assert tuple(info.voters.keys.values()) == (ReplicaKey(NodeId(1), done.meta.directory_id),)
    assert info.log.end.offset == 4
    found.close()


def test_the_lock_is_free_once_it_was_let_go(tmp_path: Path) -> None:
    lock = DirectoryLock.take(RealFiles(), tmp_path)
    with pytest.raises(DirectoryLocked, match=f"held by process {os.getpid()}"):
        DirectoryLock.take(RealFiles(), tmp_path)
    lock.release()
    DirectoryLock.take(RealFiles(), tmp_path).release()


# ---- refusals, with their texts ------------------------------------------------------------------------------


def said(directory: Path) -> str:
    try:
        opened(directory).close()
    except StorageRefused as refused:
        return str(refused)
    raise AssertionError("this directory was not refused")


def format_said(wanted: FormatPlan) -> str:
    try:
        format_directory(wanted, random.Random(1))
    except StorageRefused as refused:
        return str(refused)
    raise AssertionError("this format was not refused")


def _damage_quorum_state(directory: Path, damage: str) -> None:
    path = directory / QUORUM_STATE
    match damage:
        case "missing":
            path.unlink()
        case "flipped":
            path.write_bytes(path.read_bytes().replace(b'"leaderEpoch":0', b'"leaderEpoch":8'))
        case "json":
            path.write_bytes(b"\0" * 40)
        case "version":
            fields = json.loads(path.read_bytes())
            path.write_text(json.dumps({**fields, "data_version": 1}))
        case _:
            found = opened(directory)
            found.log.append(row(2, epoch=5), Offset(0))
            found.log.flush()
            found.close()


def _quorum_state(damage: str) -> Case:
    def case(directory: Path) -> str:
        formatted(directory)
        _damage_quorum_state(directory, damage)
        return said(directory)

    return case


def _meta(change: Callable[[str], str | None]) -> Case:
    def case(directory: Path) -> str:
        formatted(directory)
        path = directory / META_PROPERTIES
        after = change(path.read_text())
        if after is None:
            path.unlink()
        else:
            path.write_text(after)
        return said(directory)

    return case


def _not_there(directory: Path) -> str:
    return said(directory / "nowhere")


def _identity_lost(directory: Path) -> str:
    formatted(directory)
    opened(directory).close()
    (directory / META_PROPERTIES).unlink()
    return said(directory)


def _kafka(directory: Path) -> str:
    shutil.copyfile(KAFKA / "meta.properties", directory / META_PROPERTIES)
    return said(directory)


def _format_kafka(directory: Path) -> str:
    shutil.copyfile(KAFKA / "meta.properties", directory / META_PROPERTIES)
    return format_said(plan(directory))


def _format_again(directory: Path) -> str:
    formatted(directory)
    return format_said(plan(directory))


def _format_other_list(directory: Path) -> str:
    formatted(directory)
    return format_said(attrs.evolve(plan(directory, Quorum.INITIAL_CONTROLLERS), ignore_formatted=True))


def _format_identity_lost(directory: Path) -> str:
    _identity_lost(directory)
    return format_said(plan(directory))


def _format_not_in_list(directory: Path) -> str:
    return format_said(attrs.evolve(plan(directory, Quorum.INITIAL_CONTROLLERS), initial=VOTERS[:1]))


def _locked(directory: Path) -> str:
    formatted(directory)
    program = (
        "import sys; from pathlib import Path\n"
        "from quorate.metadata.log.files import RealFiles\n"
        "from quorate.metadata.log.identity import DirectoryLock\n"
        "lock = DirectoryLock.take(RealFiles(), Path(sys.argv[1]))\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        text = said(directory)
        assert f"held by process {holder.pid}" in text
        assert holder.stdin is not None
        holder.stdin.close()
    opened(directory).close()  # the system took the lock back with the process
    return text


def _bootstrap_damaged(directory: Path) -> str:
    formatted(directory)
    path = directory / BOOTSTRAP
    path.write_bytes(path.read_bytes()[:-1])
    return said(directory)


def _first_voters_damaged(directory: Path) -> str:
    formatted(directory)
    path = directory / snapshot_name(LOG_START)
    path.write_bytes(path.read_bytes()[:-1])
    return said(directory)


REFUSALS: dict[str, Case] = {
    "quorum-state-missing": _quorum_state("missing"),
    "quorum-state-flipped": _quorum_state("flipped"),
    "quorum-state-no-json": _quorum_state("json"),
    "quorum-state-version": _quorum_state("version"),
    "quorum-state-older": _quorum_state("older"),
    "half-formatted": _meta(lambda _: None),
    "meta-no-cluster": _meta(lambda text: text.replace("cluster.id", "cluster")),
    "meta-node-is-text": _meta(lambda text: text.replace("node.id=1", "node.id=one")),
    "meta-later-format": _meta(lambda text: text.replace("format=1", "format=2")),
    "another-node": _meta(lambda text: text.replace("node.id=1", "node.id=2")),
    "another-cluster": _meta(lambda text: text.replace(CLUSTER, "AAAAAAAAAAAAAAAAAAAAAQ")),
    "not-there": _not_there,
    "not-formatted": said,
    "identity-lost": _identity_lost,
    "kafka": _kafka,
    "format-kafka": _format_kafka,
    "format-again": _format_again,
    "format-other-list": _format_other_list,
    "format-identity-lost": _format_identity_lost,
    "format-not-in-list": _format_not_in_list,
    "locked": _locked,
    "bootstrap-damaged": _bootstrap_damaged,
    "first-voters-damaged": _first_voters_damaged,
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_an_operator_reads(tmp_path: Path, name: str) -> None:
    assert told(REFUSALS[name], tmp_path) == expected(name)


def test_a_half_formatted_directory_says_so_to_nobody_who_formats_it(tmp_path: Path) -> None:
    formatted(tmp_path)
    (tmp_path / META_PROPERTIES).unlink()
    with pytest.raises(HalfFormatted):
        opened(tmp_path)
    formatted(tmp_path, Quorum.NONE)
    found = opened(tmp_path)

    assert found.log.summary().snapshots == ()
    found.close()
