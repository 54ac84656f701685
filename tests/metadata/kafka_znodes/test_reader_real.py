"""The reader on real trees: what Kafka's AdminClient saw at the same moment, and the records of Kafka's own copy."""

import base64
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from quorate.metadata.ids import uuid_from_text, uuid_to_text
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.security import SCRAM_MECHANISMS
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyDataRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    TopicRecord,
    UserScramCredentialRecord,
)
from quorate.metadata.security.permissions import Operation, Pattern, Permission, Resource
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from tests.metadata.kafka_znodes.trees import REAL, SECRET, copy_records, real, secrets, truth

LEVEL_OF_THE_COPY = 16
"""At which a partition's record is of version 0, as those of Kafka's copy are."""


def _read(name: str, **options: Any) -> Reading:
    return read(real(name), ReadOptions(secrets=(SECRET,), **options))


def _image(reading: Reading) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(reading.records())
    return delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))


ODD = {
    "small": [],
    "large": [],
    "rich": ["other-cipher", "no-such-broker", "reassigning"],
    "before-copy": ["no-such-broker", "reassigning"],
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_tree_has_no_trouble_and_what_is_odd_in_it_is_noted(name: str) -> None:
    reading = _read(name)

    assert sorted(trouble.code for trouble in reading.troubles) == sorted(ODD[name])
    assert {trouble.severity.value for trouble in reading.troubles} <= {"note"}


@pytest.mark.parametrize("name", REAL)
def test_the_cluster_as_the_admin_client_saw_it(name: str) -> None:
    reading, seen = _read(name), truth(name)

    assert reading.cluster_id == seen["cluster_id"]
    assert {(b.id, b.znode.rack) for b in reading.brokers.values() if b.znode} == {
        (b["id"], b["rack"]) for b in seen["live_brokers"]
    }
    assert reading.controller is not None
    assert reading.controller.broker_id == seen["controller"]
    assert reading.controller_is_ephemeral
    assert reading.controller_epoch == reading.controller_epoch_version
    assert reading.highest_controller_epoch <= (reading.controller_epoch or 0)
    assert reading.defaulted == ()


@pytest.mark.parametrize("name", REAL)
def test_topics_as_the_admin_client_saw_them(name: str) -> None:
    image, seen = _image(_read(name)), truth(name)

    assert {topic.name: uuid_to_text(topic.id) for topic in image.topics} == {
        name: topic["id"] for name, topic in seen["topics"].items()
    }
    partitions = {
        (topic.name, index): (list(p.replicas), p.leader, sorted(p.isr))
        for topic in image.topics
        for index, p in topic.partitions()
    }
    assert partitions == {
        (name, p["partition"]): (p["replicas"], p["leader"], sorted(p["isr"]))
        for name, topic in seen["topics"].items()
        for p in topic["partitions"]
    }
    moving = {
        f"{topic.name}-{index}": (list(p.replicas), list(p.adding_replicas), list(p.removing_replicas))
        for topic in image.topics
        for index, p in topic.reassigning()
    }
    assert moving == {
        k: (v["replicas"], v["adding"], v["removing"]) for k, v in seen["reassignments"].items()
    }


@pytest.mark.parametrize("name", REAL)
def test_configs_as_the_admin_client_saw_them(name: str) -> None:
    image, seen = _image(_read(name)), truth(name)
    configs = {resource: dict(settings) for resource, settings in image.configs.resources()}

    assert {name: settings for (kind, name), settings in configs.items() if kind == 2} == seen[
        "topic_configs"
    ]
    ours = {name: settings for (kind, name), settings in configs.items() if kind == 4}
    # AdminClient cannot ask for the configs of a broker that does not exist; there is one.
    absent = {"77"} if name in ("rich", "before-copy") else set()
    assert ours.keys() - absent == seen["broker_configs"].keys()
    for broker, settings in seen["broker_configs"].items():
        assert ours[broker].keys() == settings.keys()
        plain = {key: value["value"] for key, value in settings.items() if not value["sensitive"]}
        assert {key: ours[broker][key] for key in plain} == plain


@pytest.mark.parametrize("name", ["small", "rich"])
def test_secrets_are_what_they_were_set_to(name: str) -> None:
    """DescribeConfigs never tells them: they were written down when they were set."""
    image = _image(_read(name))

    for broker, keys in secrets()[name].items():
        assert {key: image.configs.of(4, broker)[key] for key in keys} == keys


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("name", REAL)
def test_quotas_and_users_as_the_admin_client_saw_them(name: str) -> None:
    image, seen = _image(_read(name)), truth(name)

    assert {_key(dict(entity)): dict(quotas) for entity, quotas in image.quotas.entities()} == {
        _key(quota["entity"]): quota["quotas"] for quota in seen["client_quotas"]
    }
    users: dict[str, dict[str, int]] = {}
    for (user, mechanism), credential in image.credentials.by_user.items():
        users.setdefault(user, {})[SCRAM_MECHANISMS[mechanism]] = credential.iterations
    assert users == seen["scram"]


@pytest.mark.parametrize("name", REAL)
def test_acls_and_tokens_as_the_admin_client_saw_them(name: str) -> None:
    image, seen = _image(_read(name)), truth(name)
    ours = Counter(
        (
            Resource(acl.resource_type).name,
            acl.resource_name,
            Pattern(acl.pattern_type).name,
            acl.principal,
            acl.host,
            Operation(acl.operation).name,
            Permission(acl.permission_type).name,
        )
        for acl in image.acls.by_id.values()
    )

    words = ("resource_type", "resource_name", "pattern_type", "principal", "host", "operation", "permission")
    assert ours == Counter(tuple(acl[word] for word in words) for acl in seen["acls"])
    tokens = {
        token_id: (
            t.owner,
            t.requester,
            sorted(t.renewers),
            t.issue_timestamp,
            t.expiration_timestamp,
            t.max_timestamp,
        )
        for token_id, t in image.tokens.sorted()
    }
    assert tokens == {
        t["token_id"]: (
            t["owner"],
            t["requester"],
            sorted(t["renewers"]),
            t["issue_ms"],
            t["expiry_ms"],
            t["max_ms"],
        )
        for t in seen.get("delegation_tokens", [])
    }


def _from_kafka(kind: str, data: dict[str, Any]) -> AnyDataRecord | None:
    """A record of Kafka's copy as ours."""
    match kind:
        case "TOPIC_RECORD":
            return TopicRecord(name=data["name"], topic_id=uuid_from_text(data["topicId"]))
        case "PARTITION_RECORD":
            return PartitionRecord(
                partition_id=data["partitionId"],
                topic_id=uuid_from_text(data["topicId"]),
                replicas=tuple(data["replicas"]),
                isr=tuple(data["isr"]),
                removing_replicas=tuple(data["removingReplicas"]),
                adding_replicas=tuple(data["addingReplicas"]),
                leader=data["leader"],
                leader_recovery_state=data.get("leaderRecoveryState", 0),
                leader_epoch=data["leaderEpoch"],
                partition_epoch=data["partitionEpoch"],
            )
        case "CONFIG_RECORD":
            return ConfigRecord(
                resource_type=data["resourceType"],
                resource_name=data["resourceName"],
                name=data["name"],
                value=data["value"],
            )
        case "CLIENT_QUOTA_RECORD":
            entity = tuple(
                QuotaEntity(entity_type=e["entityType"], entity_name=e["entityName"]) for e in data["entity"]
            )
            return ClientQuotaRecord(
                entity=entity, key=data["key"], value=data["value"], remove=data["remove"]
            )
        case "USER_SCRAM_CREDENTIAL_RECORD":
            return UserScramCredentialRecord(
                name=data["name"],
                mechanism=data["mechanism"],
                salt=base64.b64decode(data["salt"]),
                stored_key=base64.b64decode(data["storedKey"]),
                server_key=base64.b64decode(data["serverKey"]),
                iterations=data["iterations"],
            )
    return _more_from_kafka(kind, data)


def _more_from_kafka(kind: str, data: dict[str, Any]) -> AnyDataRecord | None:
    match kind:
        case "PRODUCER_IDS_RECORD":
            return ProducerIdsRecord(
                broker_id=data["brokerId"],
                broker_epoch=data["brokerEpoch"],
                next_producer_id=data["nextProducerId"],
            )
        case "ACCESS_CONTROL_ENTRY_RECORD":
            return AccessControlEntryRecord(
                id=uuid.UUID(int=0),  # Kafka draws one; so do we, differently
                resource_type=data["resourceType"],
                resource_name=data["resourceName"],
                pattern_type=data["patternType"],
                principal=data["principal"],
                host=data["host"],
                operation=data["operation"],
                permission_type=data["permissionType"],
            )
        case "DELEGATION_TOKEN_RECORD":
            return DelegationTokenRecord(
                owner=data["owner"],
                requester=data["requester"],
                renewers=tuple(data["renewers"]),
                issue_timestamp=data["issueTimestamp"],
                max_timestamp=data["maxTimestamp"],
                expiration_timestamp=data["expirationTimestamp"],
                token_id=data["tokenId"],
            )
        case "NO_OP_RECORD" | "ZK_MIGRATION_STATE_RECORD":
            return None
        case _:
            pytest.fail(f"the copy has a record of kind {kind}")


def _without_id(records: Iterator[AnyDataRecord]) -> Iterator[str]:
    """As text that is equal where records are; credentials show their bytes."""
    for record in records:
        fields = {field.name: getattr(record, field.name) for field in record.fields()}
        if isinstance(record, AccessControlEntryRecord):
            del fields["id"]
        yield f"{type(record).__name__} v{record.version} {fields}"


def test_the_records_are_those_of_kafkas_own_copy() -> None:
    ours = Counter(_without_id(_read("before-copy", metadata_version=LEVEL_OF_THE_COPY).records()))
    rows = copy_records()

    converted = (_from_kafka(row["type"], row["data"]) for row in rows)
    theirs = Counter(_without_id(record for record in converted if record is not None))
    assert all(row["version"] == 0 for row in rows)
    assert sum(theirs.values()) == 404
    assert ours == theirs


def test_the_steps_come_in_the_order_of_kafkas_copy() -> None:
    def steps(kinds: Iterator[str]) -> list[str]:
        names = {
            "PARTITION_RECORD": "topic",
            "TOPIC_RECORD": "topic",
            "USER_SCRAM_CREDENTIAL_RECORD": "clients",
        }
        names["CLIENT_QUOTA_RECORD"] = "clients"
        words = [
            names.get(kind, kind)
            for kind in kinds
            if kind not in ("NO_OP_RECORD", "ZK_MIGRATION_STATE_RECORD")
        ]
        return [word for i, word in enumerate(words) if i == 0 or words[i - 1] != word]

    def ours() -> Iterator[str]:
        for record in _read("before-copy").records():
            topics = isinstance(record, ConfigRecord) and record.resource_type == 2
            name = "Topic" if topics else type(record).__name__.removesuffix("Record")
            yield "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper() + "_RECORD"

    def theirs() -> Iterator[str]:
        for row in copy_records():
            topics = row["type"] == "CONFIG_RECORD" and row["data"]["resourceType"] == 2
            yield "TOPIC_RECORD" if topics else row["type"]

    assert steps(ours()) == steps(theirs())


def test_a_batch_is_a_whole_topic_with_its_configs() -> None:
    reading = _read("rich")

    for batch in reading.batches:
        ids = {r.topic_id for r in batch.records if isinstance(r, TopicRecord | PartitionRecord)}
        assert len(ids) == (1 if batch.path.startswith("/brokers/topics/") else 0)
    (orders,) = (batch for batch in reading.batches if batch.path == "/brokers/topics/orders")
    kinds = [type(record).__name__ for record in orders.records]
    assert kinds == ["TopicRecord", *["ConfigRecord"] * 3, *["PartitionRecord"] * 12]


def test_two_readings_say_the_same_in_any_order_of_the_tree() -> None:
    tree = real("rich")
    backwards = dict(reversed(tree.items()))

    assert read(tree, ReadOptions(secrets=(SECRET,))) == read(backwards, ReadOptions(secrets=(SECRET,)))


def test_records_have_the_version_of_the_metadata_version() -> None:
    level_21 = [r for r in _read("small").records() if isinstance(r, PartitionRecord)]

    assert {(r.version, len(r.directories) == len(r.replicas)) for r in level_21} == {(1, True)}
    assert {d.int for r in level_21 for d in r.directories} == {0}
