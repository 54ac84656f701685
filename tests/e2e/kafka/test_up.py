"""`quorate kafka up`, as its user has it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quorate.admin.cluster_files import Wanted
from tests.e2e.conftest import needs, started
from tests.e2e.kafka.messages import everything, produce

pytestmark = pytest.mark.e2e

_WITHIN_S = 120.0


@contextmanager
def up(directory: pathlib.Path, bootstrap: str, *words: str) -> Iterator[dict[str, Any]]:
    """What it says when its brokers serve; at the end it must have stopped them in order."""
    command = [sys.executable, "-m", "quorate.admin", "kafka", "up", "--bootstrap", bootstrap]
    command += ["--dir", str(directory), "--version", "4.4.0", "--output", "json", *words]
    environment = {**os.environ, "KAFKA_HEAP_OPTS": "-Xmx256m"}
    with (directory.parent / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (directory.parent / "errors").read_text()
            yield json.loads(line)
            process.send_signal(signal.SIGTERM)
            assert process.wait(_WITHIN_S) == 0, (directory.parent / "errors").read_text()
        finally:
            process.kill()
            process.communicate()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_brokers_come_up_stop_in_order_and_are_found_again(tmp_path: pathlib.Path) -> None:
    needs("java")
    needs("mvn")
    with started(tmp_path, Wanted(controllers=1, brokers=0)) as quorum:
        controllers = quorum["bootstrap_controllers"]
        with up(tmp_path / "kafka", controllers) as first:
            assert first["cluster_id"] == quorum["cluster_id"]
            (broker,) = first["brokers"]
            assert broker["id"] == 201
            produce(first["bootstrap"], "made-by-itself", ["a", "b"], {"allow.auto.create.topics": True})
        assert gone(broker["pid"])
        log = (tmp_path / "kafka" / "kafka-201" / "broker.log").read_text()
        assert "shut down completed" in log
        with up(tmp_path / "kafka", controllers) as again:
            assert again["bootstrap"] == first["bootstrap"]
            assert sorted(everything(again["bootstrap"], "made-by-itself", 1)) == ["a", "b"]
