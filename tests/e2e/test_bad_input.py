"""Directories that a node must not, or may only just, start on: each is a copy of one that a killed controller left.

What needs no used directory (unformatted, half formatted, of Kafka, of another node, of the other role, misspelt keys,
an occupied port) is tested in `tests/admin/test_errors.py`; what comes over a connection or from a failing disk, in
`test_bad_frames` and `test_bad_disks`.
"""

import pathlib
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio

from quorate.admin.cluster import NodeProcess, command, running
from quorate.admin.cluster_files import ClusterFiles, NodeFiles, Wanted, lay_out
from quorate.admin.errors import Refused
from quorate.admin.offline_log import LogFiles, Piece
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.admin.talk import Manner, ask
from quorate.metadata.addresses import Address
from quorate.metadata.connection import Failure
from quorate.metadata.ids import NodeId, random_uuid, uuid_to_text
from quorate.metadata.log.directory import FormatPlan, Quorum, format_directory
from quorate.metadata.log.layout import META_PROPERTIES, PREFIX_BYTES, QUORUM_STATE, snapshot_name
from quorate.metadata.wire.cluster import MetadataRequest
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from tests.e2e.conftest import WITHIN_S, MakeCluster
from tests.e2e.texts import check_golden, last_text, log_lines

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("in_the_clear")]

_TORN = b"\xf1Qb1 the beginning of a batch that was never flushed"


@attrs.frozen
class Left:
    """A directory that a controller left when it was killed, and which this test may damage."""

    node: NodeFiles
    first_state: bytes
    """quorum-state as it was when the directory had just been formatted."""
    topics: frozenset[str]

    @property
    def segment(self) -> pathlib.Path:
        return LogFiles.at(self.node.data).segments[-1]

    def pieces(self) -> list[Piece]:
        """The intact batches of the last segment."""
        return [
            piece
            for piece in LogFiles.at(self.node.data).pieces()
            if isinstance(piece, Piece) and piece.path == self.segment
        ]

    def contents(self) -> dict[str, bytes]:
        """Of all files but the lock and unfinished snapshots, which nobody needs."""
        return {
            path.name: path.read_bytes()
            for path in self.node.data.iterdir()
            if not path.name.startswith(".") and not path.name.endswith(".part")
        }


@attrs.frozen
class _Original:
    files: ClusterFiles
    first_state: bytes
    topics: frozenset[str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Original]:
    """One controller that was killed after some work, and whose port stays ours."""
    directory = tmp_path_factory.mktemp("original")
    wanted = Wanted(
        controllers=1,
        brokers=1,
        controller_settings={"metadata.log.max.record.bytes.between.snapshots": "500"},
        broker_settings={"quorate.controlled.shutdown.grace.ms": "1"},
    )
    with HeldPorts() as ports:
        files = lay_out(directory / "cluster", ports, random.Random(), wanted)
        first_state = (files.controllers[0].data / QUORUM_STATE).read_bytes()
        topics = trio.run(_use_and_kill, files)
        yield _Original(files, first_state, topics)


async def _use_and_kill(files: ClusterFiles) -> frozenset[str]:
    async with running(files) as cluster:
        await cluster.ready(within_s=WITHIN_S)
        with trio.fail_after(WITHIN_S):
            topics = await _make_topics(files)
            await _snapshot_taken(files.controllers[0])
        cluster.kill_all()
        for node in cluster.nodes.values():
            await node.wait()
    return topics


async def _snapshot_taken(node: NodeFiles) -> None:
    while len(LogFiles.at(node.data).snapshots) < 2:  # noqa: ASYNC110 - another process takes it
        await trio.sleep(0.01)


async def _make_topics(files: ClusterFiles) -> frozenset[str]:
    names = [f"topic-{number}" for number in range(40)]
    for name in names:  # one batch each
        topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
        answer = await ask(
            _address(files.controllers[0]), CreateTopicsRequest(topics=(topic,)), Manner(timeout_ms=30_000)
        )
        assert answer.topics[0].error_message is None
    return frozenset(names)


def _address(node: NodeFiles) -> Address:
    return Address(LOOPBACK, node.port)


@pytest.fixture
def left(original: _Original, tmp_path: pathlib.Path) -> Left:
    was = original.files.controllers[0]
    node = attrs.evolve(
        was, data=tmp_path / was.data.name, config=tmp_path / was.config.name, log=tmp_path / was.log.name
    )
    shutil.copytree(was.data, node.data)
    node.config.write_text(was.config.read_text().replace(str(was.data), str(node.data)))
    return Left(node, original.first_state, original.topics)


Refusing = Callable[..., str]


@pytest.fixture
def refused(left: Left, tmp_path: pathlib.Path) -> Refusing:
    """Starts the controller, which must refuse with the golden text and leave the directory as it is."""

    def start(name: str, **replaced: object) -> str:
        before = left.contents()
        ran = subprocess.run(
            command(left.node),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert ran.returncode == 1, ran.stderr
        assert ran.stdout == ""
        assert "Traceback" not in ran.stderr
        assert left.contents() == before
        shown = {str(tmp_path): "DIR"} | {str(found): shown for shown, found in replaced.items()}
        check_golden(name, last_text(ran.stderr), shown)
        return ran.stderr

    return start


def _flip(path: pathlib.Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_a_flipped_bit_in_the_log_is_refused_with_file_byte_and_offset(left: Left, refused: Refusing) -> None:
    pieces = left.pieces()
    hit = pieces[len(pieces) // 2]
    _flip(hit.path, hit.position + PREFIX_BYTES + len(hit.batch.data) // 2)

    said = refused("log-flipped-bit", SEGMENT=hit.path.name)

    assert f"{hit.path}, byte {hit.position}, offset {hit.batch.base_offset}\n" in said


async def test_a_torn_tail_is_cut_and_told_and_nothing_acknowledged_is_lost(left: Left) -> None:
    last = left.pieces()[-1]
    end = last.position + PREFIX_BYTES + len(last.batch.data)
    with left.segment.open("r+b") as file:
        file.seek(end)
        file.write(_TORN)

    said = await _started(left)

    assert f"cut at offset {last.batch.end_offset} (byte {end} of {left.segment.name}" in said
    check_golden("log-torn-tail", "\n".join(log_lines(said, "torn tail")), {str(left.node.data): "DIR"})


async def test_a_tail_that_was_acknowledged_is_not_a_torn_one(left: Left, refused: Refusing) -> None:
    last = left.pieces()[-1]
    _flip(left.segment, last.position + PREFIX_BYTES + len(last.batch.data) - 1)

    refused("log-flipped-tail")


def test_a_log_that_was_deleted_is_refused(left: Left, refused: Refusing) -> None:
    left.segment.unlink()

    refused("log-deleted")


def test_a_flipped_bit_in_a_snapshot_is_refused(left: Left, refused: Refusing) -> None:
    path = left.node.data / snapshot_name(LogFiles.at(left.node.data).snapshots[-1])
    _flip(path, path.stat().st_size // 2)

    assert str(path) in refused("snapshot-flipped-bit")


def test_a_snapshot_that_was_cut_off_is_refused(left: Left, refused: Refusing) -> None:
    path = left.node.data / snapshot_name(LogFiles.at(left.node.data).snapshots[-1])
    path.write_bytes(path.read_bytes()[:-20])

    refused("snapshot-cut-off")


def test_a_vote_that_was_changed_is_refused(left: Left, refused: Refusing) -> None:
    """Valid JSON, but not what was written."""
    path = left.node.data / QUORUM_STATE
    before = path.read_text()
    path.write_text(re.sub(r"([eE]poch\D+)\d+", r"\g<1>7", before))
    assert path.read_text() != before

    refused("vote-changed")


def test_a_vote_that_is_missing_is_refused(left: Left, refused: Refusing) -> None:
    (left.node.data / QUORUM_STATE).unlink()

    refused("vote-missing")


def test_a_vote_from_a_backup_that_is_older_than_the_log_is_refused(left: Left, refused: Refusing) -> None:
    (left.node.data / QUORUM_STATE).write_bytes(left.first_state)

    refused("vote-older-than-log")


def test_data_without_an_identity_is_refused(left: Left, refused: Refusing) -> None:
    (left.node.data / META_PROPERTIES).unlink()

    refused("identity-missing")


def test_another_nodes_directory_is_refused(left: Left, refused: Refusing) -> None:
    config = left.node.config
    config.write_text(config.read_text().replace('"node.id" = "1"', '"node.id" = "2"'))

    refused("directory-of-another-node")


async def test_a_second_process_on_a_directory_is_refused_and_the_first_goes_on(
    left: Left, tmp_path: pathlib.Path
) -> None:
    first = NodeProcess(left.node)
    await first.start()
    try:
        await _knows_all(left)
        second = tmp_path / "second.toml"
        second.write_text(left.node.config.read_text().replace(f":{left.node.port}", ":0", 1))
        ran = await trio.run_process(
            command(attrs.evolve(left.node, config=second)), capture_stderr=True, check=False
        )
        said = ran.stderr.decode()
        assert f"process {first.pid}\n" in said
        assert ran.returncode == 1
        check_golden("directory-in-use", said, {str(tmp_path): "DIR", f"process {first.pid}": "process PID"})
        await _knows_all(left)
    finally:
        await first.stop()
    assert "Traceback" not in left.node.log.read_text()


async def test_a_broker_of_another_cluster_is_told_so(left: Left, tmp_path: pathlib.Path) -> None:
    """Its directory was formatted with another cluster id than the quorum's."""
    broker = attrs.evolve(
        left.node, role="broker", id=NodeId(102), config=tmp_path / "broker.toml", data=tmp_path / "broker"
    )
    theirs = uuid_to_text(random_uuid(random.Random()))
    plan = FormatPlan(
        directory=broker.data,
        cluster_id=theirs,
        node_id=broker.id,
        listener="CONTROLLER",
        is_controller=False,
        quorum=Quorum.NONE,
    )
    format_directory(plan, random.Random())
    broker.config.write_text(
        f'''
"node.id" = "{broker.id}"
"process.roles" = "broker"
"listeners" = "PLAINTEXT://127.0.0.1:0"
"advertised.listeners" = "PLAINTEXT://127.0.0.1:9092"
"controller.listener.names" = "CONTROLLER"
"controller.quorum.bootstrap.servers" = "127.0.0.1:{left.node.port}"
"metadata.log.dir" = "{broker.data}"
"initial.broker.registration.timeout.ms" = "1000"
'''
    )
    controller = NodeProcess(left.node)
    await controller.start()
    try:
        await _knows_all(left)
        with trio.fail_after(WITHIN_S):
            ran = await trio.run_process(command(broker), capture_stderr=True, check=False)
        said = ran.stderr.decode()
        assert ran.returncode == 1
        assert "Traceback" not in said
        told = [*log_lines(said, "of no use"), last_text(said)]
        check_golden("broker-of-another-cluster", "\n".join(told), {str(tmp_path): "DIR", theirs: "THEIRS"})
        await _knows_all(left)
    finally:
        await controller.stop()


async def test_a_node_that_has_ended_is_told_of_even_where_the_others_serve(
    make_cluster: MakeCluster,
) -> None:
    nonsense = {"quorate.controlled.shutdown.grace.ms": "never"}
    with pytest.raises(Refused, match="broker-101 has ended"):
        async with make_cluster(controllers=1, brokers=1, broker_settings=nonsense):
            pass


async def _started(left: Left) -> str:
    """What the controller says when it is started, has told of every acknowledged topic, and is stopped again."""
    node = NodeProcess(left.node)
    await node.start()
    try:
        await _knows_all(left)
    finally:
        await node.stop()
    said = left.node.log.read_text()
    assert "Traceback" not in said
    return said


async def _knows_all(left: Left) -> None:
    """Waits until the controller says that it is the active one: then it knows all that was ever acknowledged."""
    with trio.fail_after(WITHIN_S):
        while True:
            answer = await ask(_address(left.node), MetadataRequest(topics=None), Manner(timeout_ms=5_000))
            if not isinstance(answer, Failure) and answer.controller_id == left.node.id:
                assert {topic.name for topic in answer.topics} == left.topics
                return
