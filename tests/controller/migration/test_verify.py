"""Two sides that say the same, and every way in which they do not."""

import json
import random
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

from quorate.controller.migration.checks import Facts, Outcome
from quorate.controller.migration.difference import Kind
from quorate.controller.migration.verify import EXPECTED, Phase, Verification, VerifyOptions, verify
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    AccessControlEntryRecord,
    AnyDataRecord,
    BrokerEndpoint,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuotaEntity,
    RegisterBrokerRecord,
    TopicRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category
from quorate.metadata.zookeeper.znodes import Tree, Znode
from tests.metadata.kafka_znodes.test_secrets import entropy
from tests.metadata.kafka_znodes.trees import REAL, SECRET, STATE, Content, healthy_and, made, real

REHEARSED = Facts(brokers_registered=False)


def _records(tree: Tree) -> list[AnyDataRecord]:
    return list(read(tree, ReadOptions(secrets=(SECRET,))).records())


def _image(records: list[AnyDataRecord]) -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(records)
    return delta.apply(Provenance(offset=812, epoch=4, append_time_ms=0))


def _verify(tree: Tree, image: MetadataImage, facts: Facts = REHEARSED, **options: Any) -> Verification:
    return verify(tree, image, VerifyOptions(secrets=(SECRET,), facts=facts, **options))


def _shown(verification: Verification) -> list[tuple[str, str, str]]:
    return [(d.kind.value, d.key, d.field) for d in verification.differences]


# ---- equal


@pytest.mark.parametrize("name", REAL)
def test_a_real_tree_and_what_was_copied_of_it_are_equal(name: str) -> None:
    verification = _verify(real(name), _image(_records(real(name))))

    assert _shown(verification) == []
    assert [check for check in verification.checks if not check.is_passed] == []
    assert verification.is_equal
    assert verification.total_zookeeper == verification.total_log
    for result in verification.categories:
        assert result.digest_zookeeper == result.digest_log
        if result.category is not Category.BROKERS:
            assert result.zookeeper == result.log


def test_every_comparison_has_a_verdict() -> None:
    verification = _verify(real("rich"), _image(_records(real("rich"))))

    assert [check.number for check in verification.checks] == list(range(1, 33))


def test_the_evidence_is_json_and_holds_no_secret() -> None:
    records = _records(real("rich"))

    document = json.dumps(_verify(real("rich"), _image(records[:200])).evidence())

    assert json.loads(document)["equal"] is False
    for clear in ("r0tated", "orphan-broker-77-pw", "a,b:c=d", "encryptedPassword", SECRET):
        assert clear not in document
    for record in records:
        if isinstance(record, UserScramCredentialRecord):
            assert record.salt.hex() not in document


def test_digests_are_the_same_in_every_run_and_order() -> None:
    tree = real("rich")
    backwards = dict(reversed(tree.items()))

    first, second = (_verify(one, _image(_records(tree))) for one in (tree, backwards))

    assert first.total_zookeeper == second.total_zookeeper
    assert first.evidence() == second.evidence()


# ---- mutations of the log: change one field of each kind, and it is found


def _other(value: Any, rng: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 1.0
        case str():
            return value + "x"
        case bytes():
            return value + b"x"
        case None:
            return "x"
        case uuid.UUID():
            return uuid.UUID(int=value.int + 1)
        case tuple() if value and isinstance(value[0], str):
            return (*value, "User:x")
        case tuple():
            return (*value, 99)
    raise AssertionError(value)


NOT_COMPARED = {
    "PartitionRecord": {"version", "directories", "eligible_leader_replicas", "last_known_elr", "topic_id"},
    "AccessControlEntryRecord": {"id"},
    "ProducerIdsRecord": {"broker_id", "broker_epoch"},
    "ClientQuotaRecord": {"remove", "entity"},
}
"""What ZooKeeper has no form for, and what would be a record that cannot be."""
SPECIAL: Mapping[tuple[str, str], Any] = {
    ("PartitionRecord", "leader_recovery_state"): 1,
    ("UserScramCredentialRecord", "mechanism"): 0,
    ("ConfigRecord", "resource_type"): 16,
}


def _mutations(records: list[AnyDataRecord], rng: random.Random) -> Iterator[tuple[str, list[AnyDataRecord]]]:
    """For each field of each kind of record: one record of that kind with another value there."""
    kinds = {type(record) for record in records}
    for kind in sorted(kinds, key=lambda one: one.__name__):
        places = [i for i, record in enumerate(records) if type(record) is kind]
        for field in kind.fields():
            if field.name in NOT_COMPARED.get(kind.__name__, set()):
                continue
            place = rng.choice(places)
            before = getattr(records[place], field.name)
            special = SPECIAL.get((kind.__name__, field.name))
            value: Any = _other(before, rng) if special is None else special
            if field.name == "mechanism":
                value = 3 - before
            changed = list(records)
            changed[place] = attrs.evolve(records[place], **{field.name: value})
            if field.name == "replicas":  # a directory for each
                changed[place] = attrs.evolve(changed[place], directories=())
            if kind is TopicRecord and field.name == "topic_id":
                changed = [
                    attrs.evolve(r, topic_id=value)
                    if isinstance(r, PartitionRecord) and r.topic_id == before
                    else r
                    for r in changed
                ]
            yield f"{kind.__name__}.{field.name} of {place}", changed


@pytest.mark.parametrize("seed", range(2))
def test_one_field_of_the_log_that_is_different_is_found(seed: int) -> None:
    tree = real("rich")
    records = _records(tree)
    tried = set()

    for what, changed in _mutations(records, random.Random(seed)):
        unique = _without_twins(changed)
        verification = _verify(tree, _image(unique))
        tried.add(what.split(" ")[0])
        assert verification.differences, what
        assert not verification.is_equal, what
        assert verification.total_zookeeper != verification.total_log, what

    assert len(tried) == 38


def _without_twins(records: list[AnyDataRecord]) -> list[AnyDataRecord]:
    """A mutation may make an ACL that exists already; then one of the two must go for the image to take it."""
    seen: set[Any] = set()
    kept: list[AnyDataRecord] = []
    for record in records:
        if isinstance(record, AccessControlEntryRecord):
            acl = attrs.evolve(record, id=uuid.UUID(int=0))
            if acl in seen:
                continue
            seen.add(acl)
        kept.append(record)
    return kept


def test_a_record_that_is_missing_is_found() -> None:
    tree = real("rich")
    records = _records(tree)
    for kind in sorted({type(record) for record in records}, key=lambda one: one.__name__):
        if kind is TopicRecord:
            continue
        place = next(i for i, record in enumerate(records) if type(record) is kind)
        verification = _verify(tree, _image(records[:place] + records[place + 1 :]))
        assert {d.kind for d in verification.differences} <= {Kind.ONLY_ZOOKEEPER, Kind.DIFFERENT}
        assert verification.differences, kind


@pytest.mark.parametrize(
    "more",
    [
        TopicRecord(name="more", topic_id=uuid.UUID(int=0x1000)),
        ConfigRecord(resource_type=4, resource_name="", name="num.io.threads", value="9"),
        ClientQuotaRecord(
            entity=(QuotaEntity(entity_type="user", entity_name=""),), key="producer_byte_rate", value=1.0, remove=False
        ),
        UserScramCredentialRecord(name="more", mechanism=1, salt=b"", stored_key=b"", server_key=b"", iterations=1),
    ],
)  # fmt: skip
def test_a_record_too_many_is_found(more: AnyDataRecord) -> None:
    tree = real("small")

    verification = _verify(tree, _image([*_records(tree), more]))

    told = [*verification.differences, *verification.expected]
    assert [d.kind for d in told] == [Kind.ONLY_LOG]


# ---- mutations of the tree: change one value in the JSON of each znode, and it is found


UNSEEN = re.compile(
    r"/brokers/topics/[^/]+ version|.*/state (version|controller_epoch)|/config/.* version|/kafka-acl.* version"
    r"|.*/tokens/.* version|/latest_producer_id_block (version|broker|block_start)"
    r"|/brokers/ids/.*|/config/(users|clients|ips)/.* config"
)
"""Members that say nothing: what a value of theirs means is the same as before, or is looked at elsewhere."""


def _leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from _leaves(inner, (*at, key))
        case list() if value and isinstance(value[0], dict):
            for i, inner in enumerate(value):
                yield from _leaves(inner, (*at, i))
        case _:
            yield at


def _changed_at(value: Any, at: tuple[Any, ...]) -> Any:
    if not at:
        match value:
            case int():
                return value + 1
            case str():
                return str(int(value) + 1) if value.isdecimal() else _other_text(value)
            case list():
                return [*value, 99 if not value or isinstance(value[0], int) else "User%3Ax"]
            case dict():
                return value or {"0": [99]}
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = _changed_at(value[at[0]], at[1:])
    return copy


def _other_text(value: str) -> str:
    if value.startswith("salt="):
        return re.sub(r"iterations=(\d+)", lambda m: f"iterations={int(m[1]) + 1}", value)
    if re.fullmatch(r"[0-9.]+", value):
        return value + "1"
    words = {"Allow": "Deny", "Deny": "Allow", "Read": "Write"}
    return words.get(value, "All" if value[0].isupper() and value.isalpha() else f"{value}x")


def _tree_mutations(tree: Tree) -> Iterator[tuple[str, dict[str, Znode]]]:
    for path, node in tree.items():
        if (
            not node.data
            or not node.data.startswith(b"{")
            or not re.match(
                "/brokers/topics/|/config/(?!changes)|/kafka-acl(?!.*changes)|/delegation_token/tokens/|/latest",
                path,
            )
        ):
            continue
        value = json.loads(node.data)
        for at in _leaves(value):
            if UNSEEN.fullmatch(f"{path} {at[0]}") and not (path.startswith("/config/") and len(at) > 1):
                continue
            changed = json.dumps(_changed_at(value, at)).encode()
            yield f"{path} {at}", {**tree, path: attrs.evolve(node, data=changed)}


@pytest.mark.parametrize("name", ["small"])
def test_one_value_in_zookeeper_that_is_different_is_found(name: str) -> None:
    tree = real(name)
    image = _image(_records(tree))
    tried = 0

    for what, changed in _tree_mutations(tree):
        tried += 1
        told = _verify(changed, image)
        found = [*told.differences, *told.expected]
        assert found, what
        assert not told.is_equal, what

    assert tried > 70


def test_the_version_of_a_state_is_the_epoch_of_the_partition() -> None:
    tree = real("small")
    path = "/brokers/topics/orders/partitions/1/state"
    stat = attrs.evolve(tree[path].stat, version=7)
    later = {**tree, path: attrs.evolve(tree[path], stat=stat)}
    image = _image(_records(tree))

    copied = _verify(later, image)
    dual = _verify(later, image, phase=Phase.DUAL_WRITE)

    assert _shown(copied) == [("different", "orders-1", "partition epoch")]
    assert copied.differences[0].path == path
    assert (copied.differences[0].version, copied.differences[0].zookeeper, copied.differences[0].log) == (
        7,
        7,
        0,
    )
    assert [c.number for c in copied.checks if not c.is_passed] == [11]
    assert dual.is_equal
    assert [d.expected for d in dual.expected] == ["partition-epoch"]
    assert dual.total_zookeeper == dual.total_log


def test_a_leader_that_recovers_is_compared() -> None:
    path = "/brokers/topics/orders/partitions/0/state"
    recovering = healthy_and({path: (STATE.replace("}", ',"leader_recovery_state":1}'), 31)})

    assert _verify(recovering, _image(_records(recovering))).is_equal
    different = _verify(recovering, _image(_records(healthy_and({}))))
    assert _shown(different) == [("different", "orders-0", "recovery")]
    assert [check.number for check in different.checks if not check.is_passed] == [10]


# ---- what may differ, and is told


def test_pending_deletions_and_orphans_are_told_and_do_no_harm() -> None:
    more: Content = {
        "/admin/delete_topics/orders": None,
        "/config/topics/ghost": '{"version":1,"config":{"cleanup.policy":"compact"}}',
    }
    tree = healthy_and(more)

    verification = _verify(tree, _image(_records(tree)))

    assert verification.is_equal
    assert sorted({d.expected for d in verification.expected}) == ["orphan-config", "pending-deletion"]
    assert {d.expected for d in verification.expected} <= EXPECTED.keys()
    (orphans,) = (check for check in verification.checks if check.number == 14)
    assert "ghost" in orphans.words


def test_a_doomed_topic_that_was_copied_is_a_difference() -> None:
    copied = _image(_records(healthy_and({})))

    verification = _verify(healthy_and({"/admin/delete_topics/orders": None}), copied)

    assert ("only in the log", "orders", "") in _shown(verification)


def test_what_means_nothing_is_a_difference_unless_it_was_left_out_on_purpose() -> None:
    tree = healthy_and({"/config/topics/orders": "{"})
    image = _image(_records(tree))

    strict = _verify(tree, image)
    lenient = _verify(tree, image, lenient=frozenset({Category.TOPIC_CONFIGS}))

    assert _shown(strict) == [("unreadable", "/config/topics/orders", "")]
    assert lenient.is_equal
    assert [d.expected for d in lenient.expected] == ["left-out"]


def test_a_partition_without_a_state_is_never_silently_equal() -> None:
    tree = healthy_and({}, "/brokers/topics/orders/partitions/0/state")

    verification = _verify(tree, _image(_records(tree)))

    assert verification.is_equal
    assert verification.defaulted == ("orders-0",)
    (check,) = (check for check in verification.checks if check.number == 12)
    assert "orders-0" in check.words


def test_passwords_are_compared_in_clear_text() -> None:
    def tree(clear: str, secret: str) -> dict[str, Znode]:
        from quorate.metadata.zookeeper.kafka_znodes.secrets import EncoderSettings, encode_secret

        value = encode_secret(clear, secret, EncoderSettings(iterations=10), entropy())
        return healthy_and(
            {"/config/brokers/2": f'{{"version":1,"config":{{"ssl.key.password":"{value}"}}}}'}
        )

    image = _image(_records(tree("geheim", SECRET)))

    assert _verify(tree("geheim", SECRET), image).is_equal
    other = _verify(tree("anders", SECRET), image)
    assert _shown(other) == [("different", "broker 2 ssl.key.password", "value")]
    assert [c.number for c in other.checks if not c.is_passed] == [15, 17]
    assert "geheim" not in str(other)
    unread = _verify(tree("geheim", "another"), image)
    assert ("unreadable", "/config/brokers/2", "") in _shown(unread)


@pytest.mark.parametrize(
    "record",
    [
        AccessControlEntryRecord(
            id=uuid.UUID(int=1),
            resource_type=2,
            resource_name="a/b",
            pattern_type=3,
            principal="User:a",
            host="*",
            operation=3,
            permission_type=3,
        ),
        ConfigRecord(resource_type=16, resource_name="m", name="a", value="1"),
        ConfigRecord(resource_type=2, resource_name="gone", name="a", value="1"),
    ],
)
def test_what_zookeeper_cannot_have_is_expected_to_be_missing(record: AnyDataRecord) -> None:
    tree = healthy_and({})

    verification = _verify(tree, _image([*_records(tree), record]))

    assert verification.is_equal
    assert [d.expected for d in verification.expected] == ["no-form"]


# ---- facts


def _registered(*brokers: int, **more: Any) -> list[AnyDataRecord]:
    listeners = (
        BrokerEndpoint(name="INT", host="b.example", port=9092, security_protocol=0),
        BrokerEndpoint(name="EXT", host="198.51.100.7", port=9094, security_protocol=3),
    )
    return [
        RegisterBrokerRecord(
            version=2,
            broker_id=broker,  # type: ignore[arg-type]
            broker_epoch=i,
            incarnation_id=uuid.UUID(int=i),
            end_points=listeners,
            features=(),
            rack="az-1",
            is_migrating_zk_broker=True,
            **more,
        )
        for i, broker in enumerate(brokers, 1)
    ]


FACTS = Facts(
    cluster_id="k3hT0mWcQ1uV8yZb5xN2Lg",
    controller_id=3000,
    controller_epoch=4,
    zookeeper_epoch=58,
    copied_to=(812, 4),
    record_counts={"TopicRecord": 1, "PartitionRecord": 1, "ConfigRecord": 1, "ProducerIdsRecord": 1},
    other_records=0,
)
CLAIMED: Content = {
    "/controller": '{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":4}',
    "/controller_epoch": ("58", 58),
    "/migration": '{"version":0,"kraft_controller_id":3000,"kraft_controller_epoch":4,'
    '"kraft_metadata_offset":812,"kraft_metadata_epoch":4}',
}


def _migrated(*records: AnyDataRecord) -> MetadataImage:
    copied = _records(healthy_and({}))
    return _image([*_registered(1, 2, 3, 4), *copied, ZkMigrationStateRecord(zk_migration_state=1), *records])


def test_a_whole_migration_passes_every_check() -> None:
    verification = _verify(healthy_and(CLAIMED), _migrated(), FACTS)

    assert [check for check in verification.checks if check.outcome is not Outcome.PASSED] == []
    assert verification.is_equal


@pytest.mark.parametrize(
    ("number", "more", "facts"),
    [
        (1, {}, {"cluster_id": "other"}),
        (27, {}, {"copied_to": (813, 4)}),
        (27, {"/migration": None}, {}),
        (29, {}, {"record_counts": {"TopicRecord": 2}}),
        (31, {}, {"controller_id": 3001}),
        (31, {}, {"controller_epoch": 5}),
        (31, {}, {"zookeeper_epoch": 57}),
        (31, {"/controller": '{"version":2,"brokerid":1,"timestamp":"1","kraftControllerEpoch":-1}'}, {}),
        (32, {}, {"other_records": 1}),
        (28, {"/brokers/ids/7": healthy_and({})["/brokers/ids/1"].data}, {}),
    ],
)
def test_each_fact_is_looked_at(number: int, more: Content, facts: dict[str, Any]) -> None:
    verification = _verify(healthy_and({**CLAIMED, **more}), _migrated(), attrs.evolve(FACTS, **facts))

    assert [check.number for check in verification.checks if not check.is_passed] == [number]
    assert not verification.is_equal


def test_an_assigned_broker_that_is_not_registered_fails() -> None:
    copied = _records(healthy_and({}))
    image = _image([*_registered(1, 2, 3), *copied, ZkMigrationStateRecord(zk_migration_state=1)])

    verification = _verify(healthy_and(CLAIMED, "/brokers/ids/4"), image, FACTS)

    assert [check.number for check in verification.checks if not check.is_passed] == [28]


def test_a_broker_that_has_left_zookeeper_mode_has_no_znode() -> None:
    verification = _verify(healthy_and(CLAIMED, "/brokers/ids/4"), _migrated(), FACTS)

    assert verification.is_equal
    assert [(d.expected, d.key) for d in verification.expected] == [("kraft-broker", "broker 4")]


def test_the_healthy_cluster_has_something_of_all_that_is_counted() -> None:
    kinds = {type(record) for record in _records(healthy_and({}))}

    assert kinds == {TopicRecord, PartitionRecord, ConfigRecord, ProducerIdsRecord}
    assert {type(r) for r in _records(real("rich"))} == kinds | {
        ClientQuotaRecord,
        UserScramCredentialRecord,
        AccessControlEntryRecord,
        DelegationTokenRecord,
    }
    assert made({})["/"].data == b""
