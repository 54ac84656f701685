"""Ordinary Kafka clients against brokers and against controllers: the same walk, the same outcome."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.clients import librdkafka
from tests.e2e.conftest import WITHIN_S, needs
from tests.secured import Secured

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("where", ["bootstrap", "bootstrap_controllers"])
@pytest.mark.parametrize("client", ["confluent", "kafka_python", "aio"])
def test_the_walk_of_an_administrator(
    dev: dict[str, Any], security: Secured, client: str, where: str
) -> None:
    topic = f"walk-{client.replace('_', '-')}-{where.replace('_', '-')}"
    command = [sys.executable, "-m", f"tests.e2e.clients.{client}", dev[where], topic]
    environment = os.environ | {"CLIENT_SECURITY": json.dumps(security.for_clients())}

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )

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


def test_kcat_lists_brokers_at_a_broker(dev: dict[str, Any], security: Secured) -> None:
    needs("kcat")

    listed = _kcat(dev["bootstrap"], security)

    assert {one["id"] for one in listed["brokers"]} == {one["id"] for one in dev["brokers"]}
    assert listed["controllerid"] in {one["id"] for one in dev["brokers"]}


def test_kcat_lists_brokers_and_the_active_controller_at_a_controller(
    dev: dict[str, Any], security: Secured
) -> None:
    needs("kcat")

    listed = _kcat(dev["bootstrap_controllers"], security)

    controllers = {one["id"] for one in dev["controllers"]}
    assert listed["controllerid"] in controllers
    brokers = {one["id"] for one in dev["brokers"]}
    assert {one["id"] for one in listed["brokers"]} == brokers | {listed["controllerid"]}


def _kcat(bootstrap: str, security: Secured) -> dict[str, Any]:
    options = [
        word for key, value in librdkafka(security.for_clients()).items() for word in ("-X", f"{key}={value}")
    ]
    done = subprocess.run(
        ["kcat", "-L", "-J", "-b", bootstrap, *options],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
