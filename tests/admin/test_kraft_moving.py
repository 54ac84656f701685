"""`storage import-kraft` and `export-kraft`, with logs that Kafka's own controllers of 3.9.2 and 4.3.1 have written.

That Kafka's brokers and controllers go on from what is made here is shown in tests/e2e/kafka/test_moving.py.
"""

import json
import pathlib
import random
import shutil

import attrs
import pytest

from quorate.admin import kraft_export, kraft_import
from quorate.admin.errors import Refused
from quorate.admin.offline_log import LogFiles, Piece
from quorate.metadata import features
from quorate.metadata.features import SupportedRange
from quorate.metadata.ids import Endpoint, NodeId, random_uuid
from quorate.metadata.image.writer import digest
from quorate.metadata.kafka_form import decode_batches, encode_batch
from quorate.metadata.log.directory import InitialVoter, open_directory
from quorate.metadata.log.kraft_directory import NotKrafts, read_kraft_directory
from quorate.metadata.log.refusals import AlreadyFormatted
from quorate.metadata.log.segments import LogConfig
from quorate.metadata.records import (
    BeginTransactionRecord,
    FeatureLevelRecord,
    KRaftVersionRecord,
    LeaderChangeRecord,
    NoOpRecord,
    VotersRecord,
)
from tests.metadata.model.test_kafka_logs import ARTEFACTS, CASES, load

_RNG = random.Random(3)
VOTERS = [
    InitialVoter(id=NodeId(id), host="127.0.0.1", port=9090 + id, directory_id=random_uuid(_RNG))
    for id in (1, 2, 3)
]
ENDPOINT = Endpoint("CONTROLLER", "127.0.0.1", 9091)


@pytest.fixture(autouse=True)
def every_feature_of_kafkas(monkeypatch):
    """The 4.3.1 log has all of them finalized."""
    offered = {**features.SUPPORTED, features.ELR_VERSION: SupportedRange(lowest=0, highest=1)}
    monkeypatch.setattr("quorate.admin.kraft_import.SUPPORTED", offered)


@pytest.fixture
def kraft(tmp_path):
    """Copies of the directories that Kafka's controllers left, by release and name."""

    def made(release, name="kafka", *, without_snapshot=False):
        target = tmp_path / name
        (target / "__cluster_metadata-0").mkdir(parents=True)
        for file in (ARTEFACTS / f"log-{release}").iterdir():
            if file.name.endswith(".dump.txt"):
                continue
            if without_snapshot and file.suffix == ".checkpoint":
                continue
            inside = file.suffix in (".log", ".checkpoint") or file.name in ("quorum-state",)
            shutil.copy(file, target / "__cluster_metadata-0" / file.name if inside else target / file.name)
        return target

    return made


def imported(source, directory, node_id=1, initial=VOTERS):
    return kraft_import.import_kraft(
        source,
        directory=directory,
        node_id=NodeId(node_id),
        listener="CONTROLLER",
        endpoint=ENDPOINT,
        initial=initial,
        rng=random.Random(7),
    )


def batches(directory):
    return [piece.batch for piece in LogFiles.at(directory).pieces() if isinstance(piece, Piece)]


@pytest.mark.parametrize("whole", [False, True], ids=["with its snapshot", "the whole log"])
@pytest.mark.parametrize(("release", "end", "epoch", "level"), CASES)
def test_everything_is_kept(kraft, tmp_path, release, end, epoch, level, whole):
    directory = kraft(release, without_snapshot=whole)
    source = kraft_import.look([directory])
    done = imported(source, tmp_path / "ours")

    theirs = [*decode_batches(next((directory / "__cluster_metadata-0").glob("*.log")).read_bytes())]
    kept = theirs if whole else [one for one in theirs if one.base_offset >= end]
    ours = batches(tmp_path / "ours")
    assert [(b.base_offset, b.epoch, b.append_time_ms, b.is_control) for b in ours[:-1]] == [
        (b.base_offset, b.epoch, b.append_time_ms, b.is_control) for b in kept
    ]
    assert [b.records() for b in ours[:-1]] == [b.records for b in kept]
    whole_image = load(next((directory / "__cluster_metadata-0").glob("*.log")), 10**9)
    assert digest(LogFiles.at(tmp_path / "ours").image()) == digest(whole_image)
    assert done.meta.cluster_id == "MkU3OEVBNTcwNTJENDM2Qg"
    assert source.image.features.metadata_version == level


@pytest.mark.parametrize(("release", "end", "epoch", "level"), CASES)
def test_the_log_goes_on_in_an_epoch_that_nobody_has_led(kraft, tmp_path, release, end, epoch, level):
    source = kraft_import.look([kraft(release)])
    done = imported(source, tmp_path / "ours", node_id=2)

    last = batches(tmp_path / "ours")[-1]
    change, version, voters = last.records()
    assert last.epoch == done.epoch > source.chosen.known_epoch + 500
    assert last.append_time_ms == source.append_time_ms
    assert isinstance(change, LeaderChangeRecord)
    assert change.granting_voters == ()
    assert version == KRaftVersionRecord(k_raft_version=1)
    assert isinstance(voters, VotersRecord)
    assert [(v.voter_id, v.voter_directory_id) for v in voters.voters] == [
        (v.id, v.directory_id) for v in VOTERS
    ]
    opened = open_directory(tmp_path / "ours", node_id=NodeId(2), is_controller=True, log_config=LogConfig())
    opened.close()
    assert (opened.election.epoch, opened.election.leader_id, opened.election.voted) == (
        done.epoch,
        None,
        None,
    )


def test_every_voter_makes_the_same_log(kraft, tmp_path):
    source = kraft_import.look([kraft("3.9.2")])
    for id in (1, 2, 3):
        imported(source, tmp_path / f"c{id}", node_id=id)
    logs = [[b.data for b in batches(tmp_path / f"c{id}")] for id in (1, 2, 3)]
    assert logs[0] == logs[1] == logs[2]
    snapshots = [next((tmp_path / f"c{id}").glob("*255-*.checkpoint")).read_bytes() for id in (1, 2, 3)]
    assert snapshots[0] == snapshots[1] == snapshots[2]


# --- which of them


def cut(directory, batches_less):
    """A controller that fell behind."""
    segment = next((directory / "__cluster_metadata-0").glob("*.log"))
    found = [*decode_batches(segment.read_bytes())]
    segment.write_bytes(b"".join(encode_batch(b) for b in found[:-batches_less]))
    return directory


def test_the_longest_log_is_taken(kraft):
    short, long = cut(kraft("3.9.2", "a"), 3), kraft("3.9.2", "b")
    assert kraft_import.look([short, long]).chosen.path.parent == long
    assert kraft_import.look([long, short]).chosen.path.parent == long
    assert not kraft_import.look([long, short]).warnings()
    assert "only one directory" in kraft_import.look([short]).warnings()[0]


def test_a_later_epoch_counts_more_than_a_longer_log(kraft):
    """Of an older epoch's tail nothing was committed, or the later leader would have it."""
    long, later = kraft("3.9.2", "a", without_snapshot=True), kraft("3.9.2", "b", without_snapshot=True)
    segment = next((later / "__cluster_metadata-0").glob("*.log"))
    found = [*decode_batches(segment.read_bytes())][:20]
    found[-1] = attrs.evolve(found[-1], epoch=9)
    segment.write_bytes(b"".join(map(encode_batch, found)))
    source = kraft_import.look([long, later])
    assert source.chosen.path.parent == later
    assert source.chosen.end.epoch == 9


def test_the_epoch_is_above_all_that_any_of_them_has_heard_of(kraft, tmp_path):
    one, other = kraft("3.9.2", "a"), kraft("3.9.2", "b")
    state = other / "__cluster_metadata-0" / "quorum-state"
    state.write_text(json.dumps({**json.loads(state.read_text()), "leaderEpoch": 5_000}))
    assert imported(kraft_import.look([one, other]), tmp_path / "ours").epoch > 5_000


def test_what_is_torn_at_the_end_is_left_out_and_told(kraft, tmp_path):
    directory = kraft("3.9.2")
    segment = next((directory / "__cluster_metadata-0").glob("*.log"))
    segment.write_bytes(segment.read_bytes()[:-5])
    source = kraft_import.look([directory])
    assert any("not whole at the end" in text for text in source.warnings())
    assert source.chosen.end.offset == 304
    imported(source, tmp_path / "ours")


def test_an_open_transaction_is_aborted(kraft, tmp_path):
    directory = kraft("3.9.2")
    segment = next((directory / "__cluster_metadata-0").glob("*.log"))
    last = [*decode_batches(segment.read_bytes())][-1]
    begun = attrs.evolve(
        last,
        base_offset=last.base_offset + len(last.records),
        records=(
            BeginTransactionRecord(name="t"),
            FeatureLevelRecord(name="metadata.version", feature_level=30),
        ),
    )
    segment.write_bytes(segment.read_bytes() + encode_batch(begun))
    source = kraft_import.look([directory])
    assert source.transaction_open
    imported(source, tmp_path / "ours")
    builder = LogFiles.at(tmp_path / "ours").built()
    assert not builder.transaction_open
    assert builder.image().features.metadata_version == 21


# --- what is refused


def test_what_is_refused(kraft, tmp_path):
    with pytest.raises(NotKrafts, match="no directory of one of Kafka's controllers"):
        kraft_import.look([tmp_path])
    one, other = kraft("3.9.2", "a"), kraft("3.9.2", "b")
    meta = other / "meta.properties"
    meta.write_text(meta.read_text().replace("MkU3OEVBNTcwNTJENDM2Qg", "IcRMzbN5rduY1wqmhU07KQ"))
    with pytest.raises(Refused, match="several clusters"):
        kraft_import.look([one, other])
    source = kraft_import.look([one])
    imported(source, tmp_path / "ours")
    with pytest.raises(AlreadyFormatted):
        imported(source, tmp_path / "ours")
    with pytest.raises(NotKrafts, match="one of ours already"):
        read_kraft_directory(tmp_path / "ours")


def test_a_hole_and_damage_in_the_middle_are_refused(kraft):
    directory = kraft("3.9.2", without_snapshot=True)
    segment = next((directory / "__cluster_metadata-0").glob("*.log"))
    found = [*decode_batches(segment.read_bytes())]
    segment.write_bytes(b"".join(encode_batch(b) for b in found[:10] + found[11:]))
    with pytest.raises(NotKrafts, match="follows"):
        read_kraft_directory(directory)
    snapshot = next((kraft("3.9.2", "b") / "__cluster_metadata-0").glob("*255*.checkpoint"))
    snapshot.write_bytes(snapshot.read_bytes()[:200] + b"x" + snapshot.read_bytes()[201:])
    with pytest.raises(NotKrafts, match="cannot be taken over"):
        read_kraft_directory(snapshot.parent)


@pytest.mark.parametrize(
    ("feature", "level", "why"),
    [
        ("metadata.version", 20, "kafka-features.sh --bootstrap-server HOST:PORT upgrade --metadata 3.9-IV0"),
        ("metadata.version", 99, "does not know"),
        ("group.version", 7, "is offered here from 0 to 1"),
        ("something.new", 3, "is not known here"),
    ],
)
def test_levels_that_are_not_offered_are_refused_with_what_to_do(kraft, feature, level, why):
    directory = kraft("3.9.2")
    segment = next((directory / "__cluster_metadata-0").glob("*.log"))
    last = [*decode_batches(segment.read_bytes())][-1]
    more = attrs.evolve(
        last,
        base_offset=last.base_offset + len(last.records),
        records=(FeatureLevelRecord(name=feature, feature_level=level),),
    )
    segment.write_bytes(segment.read_bytes() + encode_batch(more))
    with pytest.raises(Refused) as refusal:
        kraft_import.look([directory])
    assert why in refusal.value.text()


# --- and back


@pytest.mark.parametrize(("release", "end", "epoch", "level"), CASES)
def test_what_is_exported_is_what_brokers_have(kraft, tmp_path, release, end, epoch, level):
    """Batch for batch the bytes that Kafka wrote; then, in a later epoch, who votes."""
    original = kraft(release)
    imported(kraft_import.look([original]), tmp_path / "ours")
    done = kraft_export.export_dynamic(
        tmp_path / "ours",
        tmp_path / "back",
        node_id=NodeId(2),
        listener="CONTROLLER",
        initial=VOTERS,
        rng=random.Random(1),
    )
    partition = tmp_path / "back" / "__cluster_metadata-0"
    theirs = next((original / "__cluster_metadata-0").glob("*.log")).read_bytes()
    kept = b"".join(encode_batch(b) for b in decode_batches(theirs) if b.base_offset >= end)
    back = (partition / f"{end:020}.log").read_bytes()
    assert back.startswith(kept)
    first, second, last = decode_batches(back[len(kept) :])  # of the import, and two of the export
    assert (first.epoch, second.epoch) == (done.epoch - 1_000, done.epoch)
    assert [type(r) for r in second.records] == [LeaderChangeRecord, KRaftVersionRecord, VotersRecord]
    assert second.records[0].version == 0
    assert (last.is_control, last.epoch, [type(r) for r in last.records]) == (False, done.epoch, [NoOpRecord])
    state = json.loads((partition / "quorum-state").read_text())
    assert (state["leaderEpoch"], state["leaderId"], state["data_version"]) == (done.epoch, -1, 1)
    lines = (partition / "leader-epoch-checkpoint").read_text().split()
    assert lines[0] == "0"
    assert lines[-2:] == [str(done.epoch), str(second.base_offset)]
    again = kraft_import.look([tmp_path / "back"])
    assert digest(again.image) == digest(load(next((original / "__cluster_metadata-0").glob("*.log")), 10**9))


def test_an_export_for_static_voters_holds_no_voters(kraft, tmp_path):
    imported(kraft_import.look([kraft("3.9.2")]), tmp_path / "ours")
    done = kraft_export.export_static(
        tmp_path / "ours",
        tmp_path / "back",
        node_id=NodeId(3001),
        voter_ids=[NodeId(3001), NodeId(3002)],
        rng=random.Random(1),
    )
    partition = tmp_path / "back" / "__cluster_metadata-0"
    (snapshot,) = partition.glob("*.checkpoint")
    assert snapshot.name == f"{done.end.offset:020}-{done.epoch:010}.checkpoint"
    control = [r for b in decode_batches(snapshot.read_bytes()) if b.is_control for r in b.records]
    assert not any(isinstance(r, KRaftVersionRecord | VotersRecord) for r in control)
    assert (partition / f"{done.end.offset:020}.log").read_bytes() == b""
    state = json.loads((partition / "quorum-state").read_text())
    assert state["currentVoters"] == [{"voterId": 3001}, {"voterId": 3002}]
    assert digest(done.image) == digest(LogFiles.at(tmp_path / "ours").image())


def test_an_export_never_writes_over_anything(kraft, tmp_path):
    imported(kraft_import.look([kraft("3.9.2")]), tmp_path / "ours")
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "something").touch()
    with pytest.raises(NotKrafts, match="Something lies in the directory"):
        kraft_export.export_static(
            tmp_path / "ours", occupied, node_id=NodeId(1), voter_ids=[NodeId(1)], rng=random.Random(1)
        )
    with pytest.raises(Refused, match="none of the voters"):
        kraft_export.export_static(
            tmp_path / "ours", tmp_path / "x", node_id=NodeId(9), voter_ids=[NodeId(1)], rng=random.Random(1)
        )


def test_by_command(run, kraft, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        f"""
        "node.id" = "1"
        "process.roles" = "controller"
        "controller.listener.names" = "CONTROLLER"
        "listeners" = "CONTROLLER://127.0.0.1:9093"
        "controller.quorum.bootstrap.servers" = "127.0.0.1:9093"
        "metadata.log.dir" = "{tmp_path / "ours"}"
        """
    )
    ran = run("storage", "import-kraft", str(kraft("3.9.2")), "--config", str(config), "--output", "json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["source_end"] == "305@4"
    ran = run(
        "storage", "export-kraft", str(tmp_path / "ours"), "--into", str(tmp_path / "back"), "--node-id", "3001",
        "--static", "3001", "--output", "json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["image_digest"] == told["image_digest"]
    ran = run(
        "storage", "export-kraft", str(tmp_path / "ours"), "--into", str(tmp_path / "b"), "--node-id", "1"
    )
    assert ran.code == 2
    assert pathlib.Path(tmp_path / "b").exists() is False
