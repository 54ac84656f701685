"""A controller and a broker with `quorate.metrics.listener`, asked by a plain HTTP client."""

import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from quorate.broker.main import run_broker
from quorate.controller.main import run_controller
from quorate.metadata.addresses import Address
from quorate.metadata.client import open_client
from quorate.metadata.wire.topics import CreatableTopic, CreateTopicsRequest
from tests.broker.test_main import BROKER, CONTROLLER, Place, place
from tests.metadata.metrics.page import declared_by

__all__ = ["place"]
HERE = Address("127.0.0.1", 0)
LONGEST_S = 60
TIMEOUT_MS = 20_000


@asynccontextmanager
async def running(run: Any, config: Any) -> AsyncIterator[Any]:
    """A node that serves its metrics on any free port, stopped in order at the end of the block."""
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        yield await nursery.start(partial(run, attrs.evolve(config, metrics_listener=HERE), stop=stop))
        stop.set()


def ask(address: Address, method: str = "GET", path: str = "/metrics") -> tuple[int, str | None, str]:
    """(status, content type, body), in a thread."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=LONGEST_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read().decode()
    finally:
        connection.close()


class Scrape:
    """One page, read as Prometheus does."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {
            family.name: family for family in text_string_to_metric_families(text)
        }
        self._values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, tuple(sorted(labels.items()))]


async def scrape(address: Address) -> Scrape:
    status, content_type, body = await trio.to_thread.run_sync(ask, address)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Scrape(body)


async def test_a_controller_and_a_broker_are_scraped(place: Place) -> None:
    topic = CreatableTopic(name="t", num_partitions=3, replication_factor=1)
    with trio.fail_after(LONGEST_S):
        async with (
            running(run_controller, place.controller()) as controller,
            running(run_broker, place.broker()) as broker,
        ):
            endpoint = broker.endpoints["PLAINTEXT"]
            async with open_client([Address(endpoint.host, endpoint.port)]) as client:
                made = await client.call_controller(CreateTopicsRequest(topics=(topic,)), TIMEOUT_MS)
                assert made.topics[0].name == "t"
                led, followed = await scrape(controller.metrics), await scrape(broker.metrics)
            check_controller(led)
            check_broker(followed)
            assert await trio.to_thread.run_sync(ask, controller.metrics, "HEAD") == (
                200,
                "text/plain; version=0.0.4; charset=utf-8",
                "",
            )


async def test_a_broker_that_cannot_join_tells_so(place: Place) -> None:
    with trio.fail_after(LONGEST_S):
        async with running(run_broker, place.broker()) as broker:
            page = await scrape(broker.metrics)

    assert page("quorate_broker_state", quorate_broker_state="starting") == 1
    assert page("quorate_broker_registrations_sent_total") >= 1
    assert page("quorate_broker_epoch") == -1
    assert page("quorate_quorum_leader_id") == -1
    assert page("quorate_listener_connections", listener="PLAINTEXT") == 0


async def test_without_the_setting_nothing_is_served(place: Place) -> None:
    with trio.fail_after(LONGEST_S):
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            controller = await nursery.start(partial(run_controller, place.controller(), stop=stop))
            assert controller.metrics is None
            stop.set()


def check_controller(page: Scrape) -> None:
    assert set(page.families) == declared_by("controller")
    assert page("quorate_quorum_role", quorate_quorum_role="leader") == 1
    assert page("quorate_quorum_role", quorate_quorum_role="follower") == 0
    assert page("quorate_quorum_leader_id") == CONTROLLER
    assert page("quorate_quorum_voters") == 1
    assert page("quorate_quorum_observers") == 1
    assert page("quorate_quorum_elections_won_total") == 1
    assert page("quorate_controller_active") == 1
    assert page("quorate_controller_times_active_total") == 1
    assert page("quorate_controller_faults_total") == 0
    assert page("quorate_controller_records_appended_total") >= 4
    assert page("quorate_metadata_topics") == 1
    assert page("quorate_metadata_partitions") == 3
    assert page("quorate_metadata_brokers", state="active") == 1
    assert page("quorate_log_end_offset") >= page("quorate_quorum_high_watermark") > 0
    assert page("quorate_metadata_apply_lag_records") == 0
    assert page("quorate_metadata_last_applied_offset") == page("quorate_quorum_high_watermark") - 1
    assert page("quorate_metadata_image_offset") == page("quorate_quorum_high_watermark") - 1
    assert page("quorate_snapshot_bytes_since") > 0
    assert 0 <= page("quorate_snapshot_generated_age_seconds") < LONGEST_S
    assert page("quorate_disk_low") == 0
    assert page("quorate_log_flush_duration_seconds_count") >= 1
    assert page("quorate_log_flush_duration_seconds_bucket", le="+Inf") >= 1
    assert page("quorate_disk_free_bytes") > 0
    assert page("quorate_listener_connections", listener="CONTROLLER") >= 1
    assert page("quorate_listener_connections", listener="METRICS") == 1
    assert page("process_resident_memory_bytes") > 1_000_000
    (lag,) = page.families["quorate_quorum_replica_lag_records"].samples
    assert (lag.labels["replica"], lag.labels["kind"]) == (str(BROKER), "observer")


def check_broker(page: Scrape) -> None:
    assert set(page.families) == declared_by("broker") - {
        "quorate_quorum_observers",
        "quorate_quorum_replica_lag_records",
        "quorate_quorum_replica_fetch_age_seconds",
    }
    assert page("quorate_broker_state", quorate_broker_state="running") == 1
    assert page("quorate_broker_epoch") > 0
    assert page("quorate_broker_registrations_sent_total") >= 1
    assert page("quorate_broker_heartbeats_accepted_total") >= 1
    assert page("quorate_quorum_voter") == 0
    assert page("quorate_quorum_leader_id") == CONTROLLER
    assert page("quorate_metadata_image_offset") >= page("quorate_broker_epoch")
    assert "quorate_controller_active" not in page.families
