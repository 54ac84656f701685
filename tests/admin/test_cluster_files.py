"""The directory of a cluster on loopback: made once, found again, never made anew over what has run."""

import json
import random

import pytest

from quorate.admin.cluster_files import Wanted, lay_out
from quorate.admin.errors import Refused
from quorate.admin.ports import HeldPorts
from quorate.controller.config import ControllerConfig
from quorate.metadata.log.directory import describe_directory


@pytest.fixture
def make(tmp_path):
    """Lays out a cluster in a directory, with ports that are let go at once."""

    def lay(seed=1, name="c", **wanted):
        with HeldPorts() as ports:
            return lay_out(tmp_path / name, ports, random.Random(seed), Wanted(**wanted))

    return lay


def test_a_new_cluster_is_formatted_with_one_quorum(make):
    files = make()

    infos = [describe_directory(node.data) for node in files.controllers]
    assert [info.meta.node_id for info in infos] == [1, 2, 3]
    assert {info.meta.cluster_id for info in infos} == {files.cluster_id}
    assert len({tuple(info.voters.keys.values()) for info in infos}) == 1
    assert [(voter.id, voter.directory_id) for voter in infos[0].voters.keys.values()] == [
        (info.meta.node_id, info.meta.directory_id) for info in infos
    ]
    assert [node.id for node in files.brokers] == [101, 102]
    assert len({node.port for node in files.nodes}) == 5


def test_a_node_reads_its_file_as_it_was_meant(make):
    files = make(controller_settings={"quorate.log.level": "debug"})

    for node in files.controllers:
        config, warnings = ControllerConfig.load(node.config, {})
        assert (config.node_id, config.metadata_log_dir, config.log_level) == (node.id, node.data, "debug")
        assert config.listeners[0].port == node.port
        assert ",".join(map(str, config.bootstrap_servers)) == files.bootstrap_controllers
        assert warnings == ()


def test_the_same_directory_is_the_same_cluster(make):
    first = make(seed=1)

    assert make(seed=2) == first


def test_brokers_can_be_added_and_left_out(make):
    first = make(brokers=1)

    more = make(seed=2, brokers=3)
    fewer = make(seed=3, brokers=2)
    as_before = make(seed=4)

    assert more.brokers[:1] == first.brokers
    assert [node.id for node in more.brokers] == [101, 102, 103]
    assert describe_directory(more.brokers[2].data).meta.cluster_id == first.cluster_id
    assert fewer.brokers == more.brokers[:2]
    assert as_before.brokers == more.brokers


def test_controllers_cannot_be_added(make):
    first = make(controllers=1)

    with pytest.raises(Refused, match="1 controller, not 3"):
        make(controllers=3)
    assert make(controllers=1) == first


def test_an_unfinished_beginning_is_done_anew(make, tmp_path):
    files = make()
    identity = describe_directory(files.controllers[0].data).meta.directory_id
    (tmp_path / "c" / "cluster.json").rename(tmp_path / "c" / "cluster.json.unfinished")

    again = make(seed=2, controllers=1, brokers=0)

    assert [node.id for node in again.controllers] == [1]
    assert describe_directory(again.controllers[0].data).meta.directory_id != identity
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "cluster.json",
        "controller-1",
        "controller-1.toml",
    ]


def test_what_is_not_ours_is_never_swept(make, tmp_path):
    directory = tmp_path / "c"
    directory.mkdir()
    (directory / "cluster.json.unfinished").touch()
    (directory / "letter.txt").write_text("dear")

    with pytest.raises(Refused, match="in use for something else"):
        make()
    assert (directory / "letter.txt").read_text() == "dear"


def test_a_wiped_voter_is_not_made_anew(make):
    """Its directory is missing at the next start: the node itself must refuse, or it would vote a second time."""
    files = make(controllers=1)
    for path in files.controllers[0].data.iterdir():
        path.unlink()
    files.controllers[0].data.rmdir()

    assert make(seed=2) == files
    assert not files.controllers[0].data.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json"])
def test_a_damaged_summary_is_refused(make, tmp_path, content):
    make()
    (tmp_path / "c" / "cluster.json").write_text(content)

    with pytest.raises(Refused, match="cannot be read"):
        make()


def test_a_file_is_no_place(make, tmp_path):
    (tmp_path / "c").write_text("")

    with pytest.raises(Refused, match="no place"):
        make()


def test_the_summary_names_the_cluster(make, tmp_path):
    files = make()

    assert json.loads((tmp_path / "c" / "cluster.json").read_text()) == {"cluster_id": files.cluster_id}
