"""What a migration would be, on paper: the numbers are those of the copy, and every trouble is named."""

import json
from collections import Counter
from typing import Any

import attrs
import pytest

from quorate.controller.migration.plan import PlanOptions, Sample, plan
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, encode_secret
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.trees import (
    HEALTHY,
    REAL,
    SECRET,
    STATE,
    Content,
    copy_records,
    healthy_and,
    made,
    real,
)

OPTIONS = PlanOptions(reading=ReadOptions(secrets=(SECRET,)), entropy=entropy())


def _codes(tree: Any, **options: Any) -> list[tuple[str, str]]:
    found = plan(tree, attrs.evolve(OPTIONS, **options))
    return [
        (trouble.severity.value, trouble.code) for trouble in found.troubles if trouble.code != "reassigning"
    ]


@pytest.mark.parametrize("name", REAL)
def test_a_real_tree_can_be_migrated(name: str) -> None:
    found = plan(real(name), OPTIONS)

    assert found.can_run
    assert found.of(Severity.WARNING) == ()
    assert found.sync_writes == {}
    assert found.claimed_epoch == (found.reading.controller_epoch or 0) + 1


def test_the_counts_are_those_of_kafkas_own_copy() -> None:
    found = plan(real("before-copy"), OPTIONS)

    theirs = Counter(
        "".join(word.capitalize() for word in row["type"].split("_"))
        for row in copy_records()
        if row["type"] not in ("NO_OP_RECORD", "ZK_MIGRATION_STATE_RECORD")
    )
    assert found.records == dict(sorted(theirs.items()))
    assert found.total == 404


def test_batches_are_put_together_as_the_copy_does() -> None:
    large = plan(real("large"), OPTIONS)

    assert 60 < large.batches < large.total / 200
    assert plan(real("large"), attrs.evolve(OPTIONS, batch_records=10**9)).batches == 1
    assert plan(real("large"), attrs.evolve(OPTIONS, batch_records=1)).batches == len(large.reading.batches)


def test_everything_in_the_way_is_named() -> None:
    secret = encode_secret("geheim", "another", EncoderSettings(iterations=10), entropy())
    more: Content = {
        "/admin/delete_topics/doomed": None,
        "/admin/reassign_partitions": '{"version":1,"partitions":[]}',
        "/brokers/topics/doomed": '{"partitions":{},"topic_id":"AAAAAAAAAAAAAAAAAAABAA"}',
        "/brokers/topics/no-id": '{"version":3,"partitions":{"0":[1]}}',
        "/brokers/topics/half-born": '{"partitions":{"0":[1]},"topic_id":"AAAAAAAAAAAAAAAAAAACAA"}',
        "/brokers/topics/dead": '{"partitions":{"0":[9]},"topic_id":"AAAAAAAAAAAAAAAAAAADAA"}',
        "/brokers/topics/dead/partitions/0/state": STATE.replace('"leader":2', '"leader":-1').replace("[2,3]", "[9]"),
        "/brokers/topics/broken": "{",
        "/brokers/seqid": ("", 2),
        "/config/topics/ghost": '{"version":1,"config":{"cleanup.policy":"compact"}}',
        "/config/topics/orders": '{"version":1,"config":{"no.such.key":"1"}}',
        "/config/brokers/1": f'{{"version":1,"config":{{"ssl.key.password":"{secret}"}}}}',
        "/config/users/u": '{"version":1,"config":{"producer_byte_rate":"fast"}}',
        "/kafka-acl/Topic/t": '{"version":1,"acls":[{"principal":"x"}]}',
        "/consumers/huge": b"x" * 2**21,
        "/controller": '{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":4}',
        "/migration": '{"version":0,"kraft_controller_id":3000,"kraft_controller_epoch":4,'
        '"kraft_metadata_offset":812,"kraft_metadata_epoch":4}',
    }  # fmt: skip

    found = plan(healthy_and(more), attrs.evolve(OPTIONS, controller_ids=(1, 3000), quorum_epoch=60))

    assert [(trouble.severity.value, trouble.code) for trouble in found.troubles] == [
        ("blocker", "id-taken"),
        ("blocker", "not-json"),
        ("blocker", "no-topic-id"),
        ("blocker", "wrong-secret"),
        ("blocker", "not-a-number"),
        ("blocker", "missing-member"),
        ("warning", "request-dropped"),
        ("warning", "oversized"),
        ("warning", "foreign-controller"),
        ("warning", "already-copied"),
        ("warning", "missing-broker"),
        ("warning", "generated-ids"),
        ("warning", "leaderless"),
        ("warning", "no-state"),
        ("warning", "orphan-config"),
        ("note", "epochs"),
        ("note", "pending-deletion"),
        ("note", "reassigning"),
        ("note", "unknown-key"),
    ]
    assert all(trouble.words and trouble.path.startswith("/") for trouble in found.troubles)
    assert all(trouble.remedy for trouble in found.of(Severity.BLOCKER))
    (missing,) = (trouble for trouble in found.troubles if trouble.code == "missing-broker")
    assert "Broker 9 holds 1 replicas" in missing.words
    assert missing.words.endswith("Topics: dead")
    assert not found.can_run
    assert found.claimed_epoch == 61


def test_what_is_left_out_on_purpose_does_not_block() -> None:
    tree = healthy_and({"/brokers/topics/broken": "{"})

    strict = plan(tree, OPTIONS)
    lenient = plan(tree, attrs.evolve(OPTIONS, reading=ReadOptions(lenient=frozenset({Category.TOPICS}))))

    assert not strict.can_run
    assert lenient.can_run
    assert lenient.sync_removes == ("/brokers/topics/broken", "/config/topics/broken")


def test_records_that_contradict_each_other_block() -> None:
    """A partition whose number the log cannot hold: each znode is well-formed, the whole is not."""
    tree = healthy_and(
        {"/brokers/topics/wide": '{"partitions":{"1000000":[1]},"topic_id":"AAAAAAAAAAAAAAAAAAABAA"}'}
    )

    assert ("blocker", "contradiction") in _codes(tree)


def test_what_no_record_can_hold_blocks() -> None:
    """ZooKeeper takes a text of a megabyte, Kafka's records one of 32,767 bytes."""
    tree = healthy_and(
        {"/config/topics/orders": json.dumps({"version": 1, "config": {"cleanup.policy": "x" * 32_768}})}
    )

    [found] = plan(tree, OPTIONS).of(Severity.BLOCKER)
    assert (found.code, found.path) == ("malformed-record", "/config/topics/orders")
    assert "32767 bytes" in found.words
    assert "cleanup.policy" in found.words
    assert plan(healthy_and({"/config/topics/orders": '{"version":1,"config":{}}'}), OPTIONS).can_run


def test_the_first_sync_is_foreseen() -> None:
    more: Content = {
        "/admin/delete_topics/orders": None,
        "/config/topics/ghost": '{"version":1,"config":{"cleanup.policy":"compact"}}',
    }

    found = plan(healthy_and(more), OPTIONS)

    assert found.sync_writes == {Category.TOPICS: 2, Category.TOPIC_CONFIGS: 1}
    assert "/brokers/topics/orders" in found.sync_removes
    assert found.sync_removes[-1] == "/config/topics/ghost"


def test_the_epoch_that_is_claimed_is_above_all_that_is_known() -> None:
    later = STATE.replace('"controller_epoch":57', '"controller_epoch":99')
    tree = healthy_and({"/brokers/topics/orders/partitions/0/state": later})

    assert plan(tree, OPTIONS).claimed_epoch == 100
    assert plan(tree, attrs.evolve(OPTIONS, quorum_epoch=500)).claimed_epoch == 501
    assert ("warning", "future-controller-epoch") in _codes(tree)


def test_seconds_come_from_what_was_measured() -> None:
    found = plan(healthy_and({"/config/topics/ghost": '{"version":1,"config":{"a":"1"}}'}), OPTIONS)

    live = found.estimate(Sample(read_seconds=2.0, copy_seconds=3.0))
    dump = found.estimate(Sample(read_seconds=None, copy_seconds=3.0))

    assert (live.reading, dump.reading) == (4.0, None)
    assert live.copying == pytest.approx(3.01)
    assert live.syncing == pytest.approx(0.005)
    assert live.total == pytest.approx(7.015)
    assert "assumed" in live.basis


def test_the_document_is_json_without_secrets() -> None:
    found = plan(real("rich"), OPTIONS)

    text = json.dumps(found.document(found.estimate(Sample(read_seconds=1.0, copy_seconds=1.0))))

    document = json.loads(text)
    assert document["can_run"] is True
    assert document["total_records"] == 404
    assert document["records_with_transaction"] == 407
    assert [broker["id"] for broker in document["brokers"]] == [0, 1, 10]
    assert document["controller"] == {"id": 1, "is_broker": True, "ephemeral": True, "kraft_epoch": None}
    assert SECRET not in text
    assert "r0tated" not in text


def test_an_empty_tree_is_no_kafka_cluster() -> None:
    assert _codes(made({})) == [("blocker", "no-znode"), ("blocker", "no-znode")]
    assert "/cluster/id" in HEALTHY
