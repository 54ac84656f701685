"""Ordinary Kafka clients against brokers and against controllers: the same walk, the same outcome."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import WITHIN_S, needs

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("where", ["bootstrap", "bootstrap_controllers"])
@pytest.mark.parametrize("client", ["confluent", "kafka_python", "aio"])
def test_the_walk_of_an_administrator(dev: dict[str, Any], client: str, where: str) -> None:
    topic = f"walk-{client.replace('_', '-')}-{where.replace('_', '-')}"
    command = [sys.executable, "-m", f"tests.e2e.clients.{client}", dev[where], topic]

    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert {leader in {one["id"] for one in dev["brokers"]} for leader in found.pop("leaders")} == {True}
    if client == "confluent":
        assert found.pop("credentials") == [[["SCRAM_SHA_256", 8192]], []]
    assert found == {
        "listed": True,
        "configs": {"retention.ms": "1000", "cleanup.policy": "compact"},
        "partitions": 4,
        "gone": True,
        "deleted_again": "UNKNOWN_TOPIC_OR_PART",
    }


def test_kcat_lists_brokers_at_a_broker(dev: dict[str, Any]) -> None:
    needs("kcat")

    listed = _kcat(dev["bootstrap"])

    assert {one["id"] for one in listed["brokers"]} == {one["id"] for one in dev["brokers"]}
    assert listed["controllerid"] in {one["id"] for one in dev["brokers"]}


def test_kcat_lists_brokers_and_the_active_controller_at_a_controller(dev: dict[str, Any]) -> None:
    needs("kcat")

    listed = _kcat(dev["bootstrap_controllers"])

    controllers = {one["id"] for one in dev["controllers"]}
    assert listed["controllerid"] in controllers
    brokers = {one["id"] for one in dev["brokers"]}
    assert {one["id"] for one in listed["brokers"]} == brokers | {listed["controllerid"]}


def _kcat(bootstrap: str) -> dict[str, Any]:
    done = subprocess.run(
        ["kcat", "-L", "-J", "-b", bootstrap], capture_output=True, text=True, timeout=WITHIN_S, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
