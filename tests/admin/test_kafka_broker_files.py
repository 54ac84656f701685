"""The directories that `quorate kafka up` makes for Kafka's own brokers."""

import random

import attrs
import pytest

from quorate.admin.errors import Refused
from quorate.admin.kafka_broker_files import KafkaBrokerPlan, find_broker, lay_out_broker, read_properties

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"


@pytest.fixture
def plan(tmp_path):
    return KafkaBrokerPlan(
        id=201,
        port=9292,
        directory=tmp_path / "kafka-201",
        cluster_id=CLUSTER,
        controllers="127.0.0.1:9093",
        controller_listener="QUORUM",
        log_dirs=2,
        replication=3,
    )


def test_a_broker_finds_all_it_needs(plan):
    files = lay_out_broker(plan, random.Random(1))
    values = read_properties(files.config)
    assert (values["node.id"], values["process.roles"]) == ("201", "broker")
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:9292"
    assert values["controller.listener.names"] == "QUORUM"
    assert values["listener.security.protocol.map"].startswith("QUORUM:PLAINTEXT,")
    assert values["offsets.topic.replication.factor"] == "3"
    assert values["transaction.state.log.min.isr"] == "2"
    directories = values["log.dirs"].split(",")
    assert len(directories) == 2
    metas = [read_properties(plan.directory / f"data-{n}" / "meta.properties") for n in (0, 1)]
    assert [m["cluster.id"] for m in metas] == [CLUSTER, CLUSTER]
    assert metas[0]["directory.id"] != metas[1]["directory.id"]


def test_what_is_there_is_not_touched(plan):
    first = lay_out_broker(plan, random.Random(1))
    text = first.config.read_text() + "log.retention.hours=1\n"
    first.config.write_text(text)
    again = lay_out_broker(attrs.evolve(plan, port=1), random.Random(2))
    assert again == first
    assert again.config.read_text() == text


def test_a_broker_of_another_cluster_is_refused(plan):
    lay_out_broker(plan, random.Random(1))
    with pytest.raises(Refused, match=f"belongs to cluster {CLUSTER}"):
        find_broker(plan.directory, "IcRMzbN5rduY1wqmhU07KQ")


def test_what_cannot_be_read_is_told(plan):
    files = lay_out_broker(plan, random.Random(1))
    files.config.write_text("node.id=x\n")
    with pytest.raises(Refused, match="cannot be read"):
        find_broker(plan.directory, CLUSTER)


def test_settings_of_ones_own_come_last(plan):
    files = lay_out_broker(attrs.evolve(plan, settings={"num.io.threads": "9", "x": "y"}), random.Random(1))
    values = read_properties(files.config)
    assert (values["num.io.threads"], values["x"]) == ("9", "y")
