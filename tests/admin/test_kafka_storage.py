"""`storage format --kafka-broker`: what Kafka's own brokers find in their log directories."""

import json
import pathlib

import pytest

from quorate.metadata.ids import uuid_from_text

_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
_OTHER = "IcRMzbN5rduY1wqmhU07KQ"
EXAMPLES = pathlib.Path(__file__).parents[2] / "configs" / "kafka"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "server.properties"
    file.write_text(f"process.roles=broker\nnode.id=7\nlog.dirs={tmp_path}/a, {tmp_path}/b\n")
    return file


def words(config, cluster=_CLUSTER):
    return ["storage", "format", "--kafka-broker", "--cluster-id", cluster, str(config)]


def meta(directory):
    lines = (directory / "meta.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_each_directory_gets_an_id_of_its_own(run, config, tmp_path):
    ran = run(*words(config), "--output", "json")
    assert ran.code == 0, ran.err

    a, b = meta(tmp_path / "a"), meta(tmp_path / "b")
    for found in (a, b):
        assert (found["version"], found["cluster.id"], found["node.id"]) == ("1", _CLUSTER, "7")
        assert "quorate.format" not in found  # it is Kafka's
        uuid_from_text(found["directory.id"])
        assert not found["directory.id"].startswith("-")
    assert a["directory.id"] != b["directory.id"]
    told = json.loads(ran.out)["directories"]
    assert [(one["directory_id"], one["already_formatted"]) for one in told] == [
        (a["directory.id"], False),
        (b["directory.id"], False),
    ]


def test_a_new_disk_is_added_and_the_others_stay(run, config, tmp_path):
    run(*words(config))
    before = meta(tmp_path / "a")
    (tmp_path / "b" / "meta.properties").unlink()
    assert run(*words(config)).code == 1
    ran = run(*words(config), "--ignore-formatted")
    assert ran.code == 0, ran.err
    assert meta(tmp_path / "a") == before
    assert meta(tmp_path / "b")["node.id"] == "7"


def test_what_belongs_to_somebody_else_is_left_alone(run, config, tmp_path):
    run(*words(config, _OTHER))
    before = meta(tmp_path / "a")
    ran = run(*words(config), "--ignore-formatted")
    assert ran.code == 1
    assert "belongs to somebody else" in ran.err
    assert meta(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "process.roles=controller\nnode.id=7\nlog.dirs=x\n",
            "not the configuration of one of Kafka's brokers",
        ),
        ("process.roles=broker\nlog.dirs=x\n", "not the configuration of one of Kafka's brokers"),
        ("process.roles=broker\nnode.id=7\n", "names no log directory"),
    ],
)
def test_what_is_no_broker(run, tmp_path, text, what):
    file = tmp_path / "server.properties"
    file.write_text(text)
    ran = run(*words(file))
    assert ran.code == 1
    assert what in ran.err


def test_no_option_of_the_quorum_goes_with_it(run, config):
    ran = run(*words(config), "--standalone")
    assert ran.code == 2
    assert "goes with no option" in ran.err


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.properties")))
def test_the_examples_can_be_formatted(run, tmp_path, name):
    text = (EXAMPLES / name).read_text()
    file = tmp_path / name
    file.write_text(text.replace("log.dirs=data/", f"log.dirs={tmp_path}/"))
    ran = run(*words(file))
    assert ran.code == 0, ran.err
