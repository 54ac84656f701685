"""`quorate dev` and `quorate demo` with real processes: what they promise to scripts and to people."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import trio

from quorate.admin.demo import unexpected
from quorate.admin.errors import NoAnswer
from tests.admin.command import Ran, environment, quorate

pytestmark = pytest.mark.e2e

_STOP_WITHIN_S = 40


class Dev:
    """A running `quorate dev`."""

    def __init__(self, *words):
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "quorate.admin", "dev", *words, "--output", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.stderr.read())
        self.ready = json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.end(signal.SIGTERM)

    @property
    def pids(self):
        return [node["pid"] for node in (*self.ready["controllers"], *self.ready["brokers"])]

    def end(self, number):
        """Sends a signal, and gives how it ended."""
        self._process.send_signal(number)
        out, err = self._process.communicate(timeout=_STOP_WITHIN_S)
        return Ran(self._process.returncode, out, err)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _gone(pids):
    """Waits for processes that were told to end; they are not ours to wait for."""
    for pid in pids:
        subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=_STOP_WITHIN_S, check=True)
    return True


def _status(ready):
    ran = quorate("quorum", "status", "--bootstrap", ready["bootstrap_controllers"], "--output", "json")
    return ran.code, json.loads(ran.out)


def test_one_line_when_ready_and_nothing_left_after_sigterm(tmp_path):
    with Dev("--dir", str(tmp_path / "c")) as dev:
        pids = dev.pids
        assert len(set(pids)) == 5
        assert all(map(_runs, pids))
        ended = dev.end(signal.SIGTERM)

    assert (ended.code, ended.out) == (0, "")
    assert not any(map(_runs, pids))


def test_in_zookeeper_mode_the_same_directory_starts_the_same_cluster(tmp_path):
    words = ("--zookeeper", "--dir", str(tmp_path / "c"), "--brokers", "2")
    with Dev(*words) as dev:
        first = dev.ready
        made = quorate("topics", "create", "--topic", "kept", "--bootstrap", first["bootstrap"])
        assert made.code == 0, made.err
        pids = dev.pids
        assert dev.end(signal.SIGTERM).code == 0
    assert not any(map(_runs, pids))
    with Dev(*words[:-2]) as dev:
        second = dev.ready
        found = quorate("topics", "list", "--bootstrap", second["bootstrap"], "--output", "json")
        seat = quorate("zookeeper", "get", "/controller", "--zookeeper", second["zookeeper"], "-o", "json")

    assert (first["bootstrap"], first["zookeeper"]) == (second["bootstrap"], second["zookeeper"])
    assert second["controllers"] == []
    assert [topic["name"] for topic in json.loads(found.out)["topics"]] == ["kept"]
    assert json.loads(json.loads(seat.out)["data"])["brokerid"] in (1, 2)


@pytest.mark.parametrize("option", ["--controllers=3", "--in-process"])
def test_zookeeper_mode_has_no_controllers_and_no_single_process(tmp_path, option):
    ran = quorate("dev", "--zookeeper", "--dir", str(tmp_path / "c"), option)

    assert ran.code == 2
    assert "do not go together" in ran.err


def test_a_quorums_directory_is_not_started_in_zookeeper_mode(tmp_path):
    (tmp_path / "cluster.json").write_text('{"cluster_id": "x"}')
    ran = quorate("dev", "--zookeeper", "--dir", str(tmp_path))

    assert ran.code == 1
    assert "There is a cluster with a quorum in this directory." in ran.err


def test_the_same_directory_starts_the_same_cluster(tmp_path):
    with Dev("--dir", str(tmp_path / "c"), "--controllers", "1", "--brokers", "1", "--in-process") as dev:
        first = dev.ready
        made = quorate("topics", "create", "--topic", "kept", "--bootstrap", first["bootstrap"])
        assert made.code == 0, made.err
        assert dev.end(signal.SIGINT).code == 0
    with Dev("--dir", str(tmp_path / "c"), "--brokers", "2", "--in-process") as dev:
        second = dev.ready
        found = quorate("topics", "list", "--bootstrap", second["bootstrap"], "--output", "json")

    def places(ready):
        return [
            (node["id"], node["address"], node["config"]) for node in ready["controllers"] + ready["brokers"]
        ]

    assert second["cluster_id"] == first["cluster_id"]
    assert places(second)[:2] == places(first)
    assert [node["id"] for node in second["brokers"]] == [101, 102]
    assert [topic["name"] for topic in json.loads(found.out)["topics"]] == ["kept"]


def test_a_killed_node_is_told_of_and_can_be_started_by_hand(tmp_path):
    with Dev("--dir", str(tmp_path / "c"), "--brokers", "0") as dev:
        _, before = _status(dev.ready)
        leader = next(node for node in dev.ready["controllers"] if node["id"] == before["leader_id"])
        os.kill(leader["pid"], signal.SIGKILL)
        code, without = _status(dev.ready)
        errors = {node["id"]: node["error"] for node in without["nodes"]}
        assert code == 10
        assert not without["healthy"]
        assert without["leader_epoch"] > before["leader_epoch"]
        assert [id for id, error in errors.items() if error] == [leader["id"]]

        command = [sys.executable, "-P", "-m", "quorate.admin", "controller", "start", leader["config"]]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as again:
            watched = quorate(
                "quorum",
                "watch",
                "--until-healthy",
                "--interval",
                "0.1",
                "--count",
                "200",
                "--bootstrap",
                dev.ready["bootstrap_controllers"],
            )
            assert watched.code == 0, watched.out
            again.send_signal(signal.SIGTERM)
            assert again.wait(timeout=_STOP_WITHIN_S) == 0
        ended = dev.end(signal.SIGTERM)

    assert ended.code == 0
    assert f"controller-{leader['id']} was ended by SIGKILL." in ended.err


def test_no_node_outlives_its_launcher(tmp_path):
    with Dev("--dir", str(tmp_path / "c"), "--controllers", "1", "--brokers", "0") as dev:
        pids = dev.pids
        dev.end(signal.SIGKILL)

    assert _gone(pids)


def test_what_was_acknowledged_is_on_every_disk_and_the_disks_are_whole(tmp_path, run):
    with Dev("--dir", str(tmp_path / "c"), "--brokers", "0", "--in-process") as dev:
        defaults = ("configs", "alter", "--broker-defaults", "--bootstrap", dev.ready["bootstrap"])
        assert run(*defaults, "--add-config", "log.cleaner.threads=3").code == 0
        dev.end(signal.SIGTERM)

    for node in dev.ready["controllers"]:
        directory = node["config"].removesuffix(".toml")
        verified = run("log", "verify", directory, "--output", "json")
        place = "/configs/BROKER:/log.cleaner.threads"
        read = run("image", "cat", place, "--directory", directory, "--output", "json")
        assert verified.code == 0, verified.err
        assert all(one["agrees_with_log"] is not False for one in json.loads(verified.out)["snapshots"])
        assert json.loads(read.out)["entries"][0]["value"] == "3"


@pytest.mark.parametrize(
    "failure",
    [NoAnswer("Silence."), ValueError("x"), trio.TooSlowError(), ExceptionGroup("g", [OSError(5, "I/O")])],
)
def test_a_demo_that_goes_wrong_ends_with_exit_code_1(failure):
    told = unexpected(failure)

    assert told.exit_code == 1
    assert "demo did not" in told.text()


def test_the_demo_ends_well_and_leaves_nothing_behind(tmp_path):
    ran = quorate("demo", env={"TMPDIR": str(tmp_path)})

    assert ran.code == 0, ran.out + ran.err
    assert ran.err == ""
    assert re.search(r"[1-9]\d* changes acknowledged, 0 lost, on five equal disks", ran.out)
    assert len(set(re.findall(r"digest (\w{16})", ran.out))) == 1
    assert "suspects leader" in ran.out
    assert list(tmp_path.iterdir()) == []
    assert not any(map(_runs, map(int, re.findall(r"process (\d+)", ran.out))))


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "quorate.admin", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as demo:
        told = ""
        while "Work for it" not in told:
            told += demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=_STOP_WITHIN_S) == 130

    pids = re.findall(r"process (\d+)", told)
    assert len(pids) == 5
    assert not any(map(_runs, map(int, pids)))
    assert list(tmp_path.iterdir()) == []
