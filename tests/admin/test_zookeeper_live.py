"""`quorate zookeeper`: a server as a process, and the commands that ask it."""

import contextlib
import gzip
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient

from quorate.metadata.zookeeper.dump import load_lines
from tests.admin.command import Ran, check_golden, environment, quorate
from tests.admin.test_documented_shapes import EXAMPLES, members

pytestmark = pytest.mark.e2e

_ARTEFACT = pathlib.Path(__file__).parents[1] / "artefacts" / "zookeeper"


@contextlib.contextmanager
def server(directory: pathlib.Path, *options: str) -> Iterator[dict[str, Any]]:
    """What it printed when it was ready; it must end well."""
    words = [
        "zookeeper",
        "start",
        "--directory",
        str(directory),
        "--listen",
        "127.0.0.1:0",
        "--output",
        "json",
    ]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "quorate.admin", *words, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line) | {"process": process}
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, process.stderr.read()


def asked(address: str, *words: str, code: int = 0) -> Any:
    """The document."""
    ran = quorate("zookeeper", *words, "--zookeeper", address, "--output", "json")
    assert ran.code == code, ran
    return json.loads(ran.out)


def told(name: str, address: str, ran: Ran, *paths: pathlib.Path, shown: str = "127.0.0.1:2181") -> None:
    replaced = {address: shown} | {str(path): f"DIR{index or ''}" for index, path in enumerate(paths)}
    check_golden(f"zookeeper-{name}", f"exit code {ran.code}\n{ran.out}{ran.err}", replaced)


def small() -> pathlib.Path:
    (found,) = _ARTEFACT.glob("small.jsonl")
    return found


def test_a_real_clusters_tree_is_loaded_looked_at_and_dumped(tmp_path: pathlib.Path) -> None:
    tree = load_lines(small().read_text().splitlines())
    with server(tmp_path / "zk") as ready:
        assert members({key: ready[key] for key in ready if key != "process"}) == members(
            json.loads(EXAMPLES["zookeeper start"])
        )
        address = ready["address"]
        loaded = asked(address, "load", str(small()))
        assert loaded == {"file": str(small()), "znodes": len(tree) - 1}
        assert members(loaded) == members(json.loads(EXAMPLES["zookeeper load"]))

        listed = asked(address, "ls", "/brokers/ids")
        assert members(listed) == members(json.loads(EXAMPLES["zookeeper ls"]))
        assert [child["name"] for child in listed["children"]] == ["1", "2", "3"]
        got = asked(address, "get", "/controller_epoch")
        assert members(got) == members(json.loads(EXAMPLES["zookeeper get"]))
        assert got["data"].encode() == tree["/controller_epoch"].data
        assert got["stat"]["version"] == tree["/controller_epoch"].stat.version
        assert asked(address, "get", "/brokers")["data_b64"] is None

        out = tmp_path / "out.jsonl.gz"
        dumped = asked(address, "dump", str(out))
        assert members(dumped) == members(json.loads(EXAMPLES["zookeeper dump"]))
        again = load_lines(gzip.decompress(out.read_bytes()).decode().splitlines())
        assert {path: (node.data, node.stat.version) for path, node in again.items()} == {
            path: (node.data, node.stat.version) for path, node in tree.items()
        }

        ran = quorate("zookeeper", "ls", "/config", "--zookeeper", address)
        assert ran.code == 0
        assert ran.out.splitlines()[0].split() == ["NAME", "BYTES", "VERSION", "CHILDREN", "OWNER", "MZXID"]
        told("load-not-empty", address, quorate("zookeeper", "load", str(small()), "--zookeeper", address))
        told("no-node", address, quorate("zookeeper", "get", "/no", "--zookeeper", address))
        told(
            "no-chroot",
            address,
            quorate("zookeeper", "dump", str(out), "--zookeeper", f"{address}/no"),
            tmp_path,
        )
        told("json-error", address, quorate("zookeeper", "get", "/no", "-o", "json", "--zookeeper", address))


def test_a_killed_server_has_kept_what_it_acknowledged(tmp_path: pathlib.Path) -> None:
    with server(tmp_path / "zk") as ready:
        client = KazooClient(hosts=ready["address"])
        client.start()
        made = [client.create_async(f"/{index}", b"x") for index in range(500)]
        acknowledged = [one.get() for one in made[:300]]
        ready["process"].kill()
        client.stop()
        client.close()
    with server(tmp_path / "zk") as ready:
        there = {f"/{child['name']}" for child in asked(ready["address"], "ls", "/")["children"]}
        assert set(acknowledged) <= there
        assert ready["replayed"] > 300


def test_ephemerals_and_versions_can_be_left_out(tmp_path: pathlib.Path) -> None:
    tree = load_lines(small().read_text().splitlines())
    ephemerals = {path for path, node in tree.items() if node.stat.ephemeral_owner}
    assert ephemerals
    with server(tmp_path / "zk") as ready:
        options = ("--ephemeral", "skip", "--no-versions")
        loaded = asked(ready["address"], "load", str(small()), *options)
        assert loaded["znodes"] == len(tree) - 1 - len(ephemerals)
        assert asked(ready["address"], "get", "/controller_epoch")["stat"]["version"] == 0


def test_what_goes_wrong_is_told(tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"path": "/a"}\n')
    settings = tmp_path / "client.properties"
    settings.write_text(
        "zookeeper.ssl.client.enable=perhaps\nzookeeper.ssl.keystore.location=a.jks\n"
        "zookeeper.sesion.timeout.ms=1\nquorate.zookeeper.digest=secret\n"
    )
    nobody = "127.0.0.1:1"
    lines = {
        "unreachable": f"ls --zookeeper {nobody} --timeout 0.3",
        "no-ensemble": "ls",
        "no-port": f"ls --zookeeper {nobody}/a/",
        "bad-settings": f"ls --zookeeper {nobody} --command-config {settings}",
        "bad-listen": f"start -d {tmp_path} --listen nowhere",
    }
    for name, line in lines.items():
        told(name, nobody, quorate("zookeeper", *line.split()), tmp_path)
    with server(tmp_path / "zk") as ready:
        told(
            "bad-dump",
            ready["address"],
            quorate("zookeeper", "load", str(broken), "--zookeeper", ready["address"]),
        )
        ran = quorate("zookeeper", "start", "-d", str(tmp_path / "zk"), "--listen", "127.0.0.1:0")
        told("locked", str(ready["process"].pid), ran, tmp_path, shown="PID")
