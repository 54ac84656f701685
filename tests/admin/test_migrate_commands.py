"""`quorate migrate plan` and `verify`: on dumps, on a living server, against a directory; texts and documents."""

import json
import re
import shutil
import threading

import attrs
import pytest
import trio

from quorate.admin.cluster_files import Wanted
from quorate.admin.entry import main
from quorate.admin.offline_log import LogFiles
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import (
    ConfigRecord,
    FeatureLevelRecord,
    PartitionRecord,
    ProducerIdsRecord,
    ZkMigrationStateRecord,
)
from quorate.metadata.zookeeper.dump import dump_lines
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.writer import writes
from quorate.metadata.zookeeper.server import running_server
from tests.admin.command import Ran, check_golden, dev_cluster
from tests.admin.disks import Disk
from tests.admin.test_documented_shapes import EXAMPLES, members
from tests.metadata.kafka_znodes.applying import carried_out, new_cluster
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.trees import ARTEFACTS, SECRET, healthy_and, real


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.delenv("QUORATE_ZOOKEEPER", raising=False)
    monkeypatch.delenv("QUORATE_BOOTSTRAP", raising=False)

    def run_one(*words):
        code = main(words)
        return Ran(code, *capsys.readouterr())

    return run_one


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "server.properties"
    file.write_text(f"broker.id=1\npassword.encoder.secret={SECRET}\n")
    return str(file)


def _dump(tmp_path, tree):
    file = tmp_path / "tree.jsonl"
    file.write_text("".join(f"{line}\n" for line in dump_lines(tree)))
    return str(file)


def _quiet(text):
    """Without the seconds."""
    return re.sub(r"\b[0-9]+\.[0-9] s", "N s", text)


def _golden(name, ran, tmp_path):
    said = f"{ran.out}---- exit code {ran.code}\n{ran.err}"
    check_golden(f"migrate-{name}", _quiet(said), {str(tmp_path): "DIR", str(ARTEFACTS): "ARTEFACTS"})


@pytest.mark.parametrize("name", ["small.jsonl", "rich.jsonl.gz"])
def test_the_plan_of_a_real_dump(run, config, tmp_path, name):
    ran = run("migrate", "plan", "--dump", str(ARTEFACTS / name), "--zookeeper-config", config)

    assert ran.code == 0
    _golden(f"plan-{name.partition('.')[0]}", ran, tmp_path)


def test_a_plan_with_blockers_says_what_to_do(run, tmp_path):
    more = {
        "/brokers/topics/old": '{"version":3,"partitions":{"0":[1]}}',
        "/admin/delete_topics/orders": None,
        "/config/users/u": '{"version":1,"config":{"producer_byte_rate":"fast"}}',
    }
    ran = run(
        "migrate", "plan", "--dump", _dump(tmp_path, healthy_and(more, "/brokers/ids/4")), "--controller", "3"
    )

    assert ran.code == 10
    _golden("plan-blocked", ran, tmp_path)


def test_the_plan_as_json_is_as_documented(run, config):
    ran = run(
        "migrate",
        "plan",
        "--dump",
        str(ARTEFACTS / "rich.jsonl.gz"),
        "--zookeeper-config",
        config,
        "-o",
        "json",
    )

    document = json.loads(ran.out)
    assert members(json.loads(EXAMPLES["migrate plan"])) == members(document)
    assert document["total_records"] == 404


def test_leaving_out_on_purpose(run, tmp_path):
    file = _dump(tmp_path, healthy_and({"/brokers/topics/old": '{"version":3,"partitions":{"0":[1]}}'}))

    assert run("migrate", "plan", "--dump", file).code == 10
    assert run("migrate", "plan", "--dump", file, "--lenient", "topics").code == 0


def test_no_tree_is_wrong_usage(run, tmp_path):
    _golden("no-tree", run("migrate", "plan"), tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\x1f\x8b\x00"])
def test_what_is_no_dump(run, tmp_path, content):
    file = tmp_path / ("x.gz" if content[0] == 0x1F else "x.jsonl")
    file.write_bytes(content)

    ran = run("migrate", "plan", "--dump", str(file))

    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert str(file) in ran.err or "line 1" in ran.err


# ---- verify


LEVEL = FeatureLevelRecord(name="metadata.version", feature_level=21)
COPIED = ZkMigrationStateRecord(zk_migration_state=1)


def _directory(tmp_path, tree, change=lambda records: records):
    """A controller's directory with a log that says what the tree says, changed or not."""
    reading = read(tree, ReadOptions(secrets=(SECRET,)))
    records = change([*reading.records()])
    pieces = (tuple(records[i : i + 100]) for i in range(0, len(records), 100))
    batches = ((LEVEL,), *pieces, (COPIED,))
    return str(Disk(tmp_path / "data", batches=batches, cluster_id=reading.cluster_id).path)


def _real(name):
    return ARTEFACTS / name


def test_equal_sides(run, config, tmp_path):
    directory = _directory(tmp_path, real("small"))

    ran = run(
        "migrate",
        "verify",
        "--dump",
        str(_real("small.jsonl")),
        "-d",
        directory,
        "--zookeeper-config",
        config,
    )

    assert ran.code == 0
    _golden("verify-equal", ran, tmp_path)


def test_every_difference_is_shown(run, tmp_path):
    def change(records):
        return [
            attrs.evolve(r, value="9") if isinstance(r, ConfigRecord) else r
            for r in records
            if not isinstance(r, ProducerIdsRecord)
        ]

    tree = healthy_and({})
    directory = _directory(tmp_path, tree, change)
    evidence = tmp_path / "evidence.json"

    ran = run(
        "migrate", "verify", "--dump", _dump(tmp_path, tree), "-d", directory, "--evidence", str(evidence)
    )

    assert ran.code == 10
    _golden("verify-different", ran, tmp_path)
    document = json.loads(evidence.read_text())
    assert [one["key"] for one in document["differences"]] == ["orders retention.ms", "producer ids"]


def test_the_evidence_as_json_is_as_documented(run, tmp_path):
    tree = healthy_and({"/admin/delete_topics/x": None, "/brokers/topics/x": "{}"})
    directory = _directory(tmp_path, tree, lambda records: records[:-1])

    ran = run("migrate", "verify", "--dump", _dump(tmp_path, tree), "-d", directory, "-o", "json")

    document = json.loads(ran.out)
    assert members(json.loads(EXAMPLES["migrate verify"])) == members(document)
    assert document["equal"] is False


def test_in_dual_write_epochs_of_partitions_may_differ(run, tmp_path):
    migration = {
        "/migration": '{"version":0,"kraft_controller_id":3000,"kraft_controller_epoch":4,'
        '"kraft_metadata_offset":812,"kraft_metadata_epoch":4}'
    }
    tree = healthy_and(migration)
    directory = _directory(
        tmp_path,
        tree,
        lambda records: [
            attrs.evolve(r, partition_epoch=40) if isinstance(r, PartitionRecord) else r for r in records
        ],
    )
    words = ("migrate", "verify", "--dump", _dump(tmp_path, tree), "-d", directory)

    assert run(*words).code == 0
    assert run(*words, "--phase", "copied").code == 10


def test_another_clusters_log_is_not_equal(run, tmp_path):
    directory = _directory(tmp_path, healthy_and({}))
    other = healthy_and({"/cluster/id": '{"version":"1","id":"MkU3OEVBNTcwNTJENDM2Qg"}'})

    ran = run("migrate", "verify", "--dump", _dump(tmp_path, other), "-d", directory)

    assert ran.code == 10
    assert "failed: the id of the cluster" in ran.out


# ---- a living server


@pytest.fixture
def ensemble(tmp_path):
    """A server of ours in a thread of its own."""
    started, stop = threading.Event(), []
    where = []

    async def main():
        async with running_server(tmp_path / "zookeeper") as running:
            where.append(str(running.address))
            done = trio.Event()
            stop.append((trio.lowlevel.current_trio_token(), done))
            started.set()
            await done.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert started.wait(30)
    yield where[0]
    token, done = stop[0]
    token.run_sync_soon(done.set)
    thread.join(30)


def test_a_living_ensemble_is_planned_and_verified(run, config, tmp_path, ensemble):
    where = ("--zookeeper", ensemble)
    loaded = run("zookeeper", "load", str(_real("small.jsonl")), *where)
    assert loaded.code == 0, loaded.err
    directory = _directory(tmp_path, real("small"))

    planned = run("migrate", "plan", *where, "--zookeeper-config", config, "-o", "json")
    verified = run("migrate", "verify", *where, "--zookeeper-config", config, "-d", directory)

    assert planned.code == 0, planned.err
    document = json.loads(planned.out)
    assert document["total_records"] == 29
    assert document["estimated_seconds"]["reading"] >= 0
    assert document["changed_while_read"] == []
    assert verified.code == 0, verified.out + verified.err


# ---- a living quorum


def _tree_of(image, cluster_id):
    """What a ZooKeeper would hold that says the same."""
    options = WriteOptions(controller_epoch=58, entropy=entropy())
    tree = carried_out(new_cluster(), writes(MetadataImage.EMPTY, image, options))
    told = json.dumps({"version": "1", "id": cluster_id}).encode()
    return {**tree, "/cluster/id": attrs.evolve(tree["/cluster/id"], data=told)}


def _controller_directory(cluster):
    """Where the only controller keeps its log."""
    (found,) = (
        path.parent
        for path in cluster.rglob("quorum-state")
        if "controller" in str(path.relative_to(cluster))
    )
    return found


@pytest.mark.e2e
def test_a_living_quorum_is_compared(run, tmp_path):
    with dev_cluster(tmp_path / "cluster", Wanted(controllers=1, brokers=1)) as ready:
        bootstrap = ("--bootstrap", ready["bootstrap"])
        for words in (
            ("topics", "create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=1000"),
            ("quotas", "alter", "--user", "alice", "--add-config", "producer_byte_rate=1024"),
        ):
            assert run(*words, *bootstrap).code == 0
        directory = tmp_path / "controller"
        shutil.copytree(_controller_directory(tmp_path / "cluster"), directory)
        tree = _tree_of(LogFiles.at(directory).image(), ready["cluster_id"])
        words = ("migrate", "verify", *bootstrap, "--phase", "dual-write", "--dump")

        same = run(*words, _dump(tmp_path, tree))
        assert run("topics", "alter", "--topic", "orders", "--partitions", "4", *bootstrap).code == 0
        other = run(*words, _dump(tmp_path, tree))

    assert same.code == 0, same.out + same.err
    assert "expected (kraft-broker)" in same.out
    assert other.code == 10
    assert "only in the log: orders-3" in other.out
