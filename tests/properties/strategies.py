"""What Hypothesis may draw: records of every kind and version, and histories that a log could really hold.

- `records()`: any record that the codec accepts, made from the declarations alone; it need not make sense.
- `histories()`: lists of records that replay from the empty image, at a metadata.version that may rise on the way.
- `pieces(records)`: the same list cut into batches.

Names, ids and broker numbers come from small pools, so that histories meet themselves: the same topic is created,
changed, deleted and created again.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from quorate.metadata import features
from quorate.metadata.ids import NodeId
from quorate.metadata.records import (
    CONTROL_RECORDS,
    DATA_RECORDS,
    NO_LEADER,
    UNCHANGED,
    AccessControlEntryRecord,
    AnyDataRecord,
    AnyRecord,
    BrokerEndpoint,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    FeatureRange,
    MigrationOrder,
    MigrationOrderRecord,
    MigrationState,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    QuorumRecoveryRecord,
    QuotaEntity,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    TopicRecord,
    UnregisterBrokerRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
)
from quorate.metadata.records.declare import INT_RANGES, ArrayOf, Field, Kind, Scalar, StructOf

UUIDS = st.uuids(allow_nil=True)
TEXTS = st.text(max_size=12)

_SCALARS: dict[Scalar, st.SearchStrategy[Any]] = {
    **{kind: st.integers(low, high) for kind, (low, high) in INT_RANGES.items()},
    Scalar.BOOL: st.booleans(),
    Scalar.FLOAT64: st.floats(allow_nan=False),
    Scalar.STRING: TEXTS,
    Scalar.BYTES: st.binary(max_size=12),
    Scalar.UUID: UUIDS,
}


def values(kind: Kind, version: int = 0) -> st.SearchStrategy[Any]:
    """Any value of a declared kind."""
    match kind:
        case Scalar():
            return _SCALARS[kind]
        case ArrayOf(item=item):
            return st.lists(values(item, version), max_size=4).map(tuple)
        case StructOf():
            return st.builds(kind.struct, **_fields(kind.fields, version))


def _fields(fields: Sequence[Field], version: int) -> dict[str, st.SearchStrategy[Any]]:
    return {f.name: field_values(f, version) for f in fields if f.declared.since <= version}


def field_values(field: Field, version: int) -> st.SearchStrategy[Any]:
    """Any value of a field, the special ones included."""
    declared = field.declared
    drawn = st.sampled_from(sorted(declared.codes)) if declared.codes else values(declared.kind, version)
    if field.may_be_unchanged:
        if declared.unchanged is not None and not declared.codes:
            drawn = drawn.filter(lambda v: v != declared.unchanged)
        if isinstance(declared.kind, ArrayOf) and not declared.nullable:
            drawn = drawn.filter(bool)
        return st.just(UNCHANGED) | drawn
    return st.none() | drawn if declared.nullable and not declared.empty_is_null else drawn


ALL_VERSIONS = [
    (made, version)
    for made in (*DATA_RECORDS.values(), *CONTROL_RECORDS.values())
    for version in range(made.versions[0], made.versions[1] + 1)
]


def records_of(made: type[Any], version: int) -> st.SearchStrategy[Any]:
    """Any record of one class at one version."""
    return st.builds(made, version=st.just(version), **_fields(made.fields(), version))


def records() -> st.SearchStrategy[AnyRecord]:
    """Any record that the codec accepts; control records too."""
    return st.sampled_from(ALL_VERSIONS).flatmap(lambda pair: records_of(*pair))


def pieces(history: Sequence[AnyDataRecord]) -> st.SearchStrategy[list[list[AnyDataRecord]]]:
    """The history cut into batches of one record or more."""
    cuts = st.lists(st.booleans(), min_size=max(len(history) - 1, 0), max_size=max(len(history) - 1, 0))

    def cut(where: list[bool]) -> list[list[AnyDataRecord]]:
        batches: list[list[AnyDataRecord]] = []
        for i, record in enumerate(history):
            if i == 0 or where[i - 1]:
                batches.append([])
            batches[-1].append(record)
        return batches

    return cuts.map(cut)


TOPIC_NAMES = ["a", "b", "c", "d"]
BROKER_IDS = [NodeId(i) for i in (0, 1, 2, 300)]
CONTROLLER_IDS = [NodeId(i) for i in (3000, 3001)]
DIRECTORIES = [uuid.UUID(int=i) for i in (1, 2, 1001, 1002, 1003)]
USERS = ["alice", "bob"]
METADATA_VERSIONS = [7, 8, 14, 16, 17, 21, 22, 23, 25, 30]
_Draw = Callable[[st.SearchStrategy[Any]], Any]


@attrs.define
class _Partition:
    replicas: int
    leader_epoch: int = 0


@attrs.define
class _World:
    """What exists so far: as much as is needed to draw a next record that is allowed."""

    draw: _Draw
    level: int
    history: list[AnyDataRecord] = attrs.Factory(list)
    topics: dict[uuid.UUID, tuple[str, dict[int, _Partition]]] = attrs.Factory(dict)
    topics_ever: int = 0
    brokers: dict[NodeId, int] = attrs.Factory(dict)
    acls: dict[uuid.UUID, int] = attrs.Factory(dict)
    credentials: set[tuple[str, int]] = attrs.Factory(set)
    next_producer_id: int = -1

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def some(self, choices: Sequence[Any], most: int = 3) -> tuple[Any, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(choices), max_size=most, unique=True)))

    def write(self, made: type[Any], **fields: Any) -> None:
        """Appends a record at the version that goes with the level, without the fields that it does not have."""
        version = features.record_version(made, self.level)
        there = {f.name for f in made.fields_at(version)}
        self.history.append(made(version=version, **{k: v for k, v in fields.items() if k in there}))

    def allowed(self) -> list[Callable[[], None]]:
        steps = [
            self.no_op,
            self.config,
            self.quota,
            self.acl,
            self.producer_ids,
            self.register,
            self.feature,
            self.recover,
            self.order_migration,
        ]
        if len(self.topics) < len(TOPIC_NAMES):
            steps += [self.create_topic] * 3
        if self.topics:
            steps += [self.partition, self.partition, self.partition, self.delete_topic]
        if any(partitions for _, partitions in self.topics.values()):
            steps += [self.change_partition] * 6
        if self.brokers:
            steps += [self.change_broker, self.change_broker, self.unregister]
        if self.acls:
            steps.append(self.remove_acl)
        if self.level >= features.MIGRATION_SINCE:
            steps.append(self.migration)
        if self.level >= features.SCRAM_SINCE:
            steps.append(self.credential)
        if self.credentials:
            steps.append(self.remove_credential)
        if self.level >= features.DELEGATION_TOKENS_SINCE:
            steps += [self.token, self.remove_token]
        if self.level >= features.CONTROLLER_REGISTRATION_SINCE:
            steps.append(self.register_controller)
        if self.level >= features.CORDONED_DIRECTORIES_SINCE:
            steps.append(self.clear_elr)
        return steps

    def no_op(self) -> None:
        self.write(NoOpRecord)

    def feature(self) -> None:
        higher = [level for level in METADATA_VERSIONS if level > self.level]
        if higher and self.draw(st.booleans()):
            self.level = self.pick(higher)
            self.write(FeatureLevelRecord, name=features.METADATA_VERSION, feature_level=self.level)
        else:
            self.write(FeatureLevelRecord, name="group.version", feature_level=self.pick([0, 1]))

    def recover(self) -> None:
        used = {one.recovery_id for one in self.history if isinstance(one, QuorumRecoveryRecord)}
        self.write(
            QuorumRecoveryRecord,
            recovery_id=self.draw(UUIDS.filter(lambda drawn: drawn not in used)),
            previous_recovery_id=self.draw(UUIDS),
            kind=self.pick(["recover", "restore"]),
            time_ms=self.draw(st.integers(0, 9)),
            operator="somebody",
            source="somewhere",
            source_directory_id=self.draw(UUIDS),
            source_end_offset=len(self.history),
            source_epoch=1,
            epoch=1001,
            digest=b"",
            shown=("one", "two"),
        )

    def order_migration(self) -> None:
        self.write(
            MigrationOrderRecord,
            order=int(self.pick(list(MigrationOrder))),
            attempt=self.draw(UUIDS),
            forced=self.draw(st.booleans()),
            time_ms=self.draw(st.integers(0, 9)),
            operator="User:somebody",
        )

    def create_topic(self) -> None:
        taken = {name for name, _ in self.topics.values()}
        name = self.pick([n for n in TOPIC_NAMES if n not in taken])
        self.topics_ever += 1
        topic_id = uuid.UUID(int=(self.topics_ever << 64) + 0x1000)
        self.topics[topic_id] = (name, {})
        self.write(TopicRecord, name=name, topic_id=topic_id)
        for _ in range(self.pick([0, 1, 2])):
            self._partition(topic_id)

    def delete_topic(self) -> None:
        topic_id = self.pick(list(self.topics))
        del self.topics[topic_id]
        self.write(RemoveTopicRecord, topic_id=topic_id)

    def partition(self) -> None:
        self._partition(self.pick(list(self.topics)))

    def _partition(self, topic_id: uuid.UUID) -> None:
        partitions = self.topics[topic_id][1]
        # Mostly the next number; sometimes one that exists, or one in a later chunk of rows.
        number = self.pick([len(partitions), len(partitions), 0, 64, 200])
        replicas = self.some(BROKER_IDS)
        partitions[number] = _Partition(len(replicas))
        self.write(
            PartitionRecord,
            partition_id=number,
            topic_id=topic_id,
            replicas=replicas,
            isr=self.some(BROKER_IDS),
            removing_replicas=self.some(BROKER_IDS, 1),
            adding_replicas=self.some(BROKER_IDS, 1),
            leader=self.pick([NO_LEADER, *BROKER_IDS]),
            leader_recovery_state=self.pick([0, 1]),
            leader_epoch=self.draw(st.integers(0, 5)),
            partition_epoch=self.draw(st.integers(0, 5)),
            directories=self._directories(len(replicas)),
            eligible_leader_replicas=self.some(BROKER_IDS, 1),
            last_known_elr=self.some(BROKER_IDS, 1),
        )

    def _directories(self, count: int) -> tuple[uuid.UUID, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(DIRECTORIES), min_size=count, max_size=count)))

    def change_partition(self) -> None:
        topic_id = self.pick([i for i, (_, partitions) in self.topics.items() if partitions])
        number = self.pick(list(self.topics[topic_id][1]))
        partition = self.topics[topic_id][1][number]
        replicas: Any = UNCHANGED
        directories: Any = UNCHANGED
        if self.draw(st.booleans()):
            replicas = self.some(BROKER_IDS)
            partition.replicas = len(replicas)
            directories = self._directories(partition.replicas)
            if self.level < features.DIRECTORIES_SINCE:
                directories = UNCHANGED
        self.write(
            PartitionChangeRecord,
            partition_id=number,
            topic_id=topic_id,
            isr=self._maybe(self.some(BROKER_IDS)),
            leader=self.pick([UNCHANGED, NO_LEADER, *BROKER_IDS]),
            replicas=replicas,
            removing_replicas=self._maybe(()),
            adding_replicas=self._maybe((BROKER_IDS[1],)),
            leader_recovery_state=self.pick([UNCHANGED, 0, 1]),
            directories=directories,
            eligible_leader_replicas=self._maybe(self.some(BROKER_IDS, 1)),
            last_known_elr=self._maybe(()),
        )

    def _maybe(self, value: Any) -> Any:
        return self.pick([UNCHANGED, value])

    def clear_elr(self) -> None:
        self.write(ClearElrRecord, topic_name=self.pick(["", *(name for name, _ in self.topics.values())]))

    def register(self) -> None:
        broker_id = self.pick(BROKER_IDS)
        self.brokers[broker_id] = len(self.history)
        self.write(
            RegisterBrokerRecord,
            broker_id=broker_id,
            is_migrating_zk_broker=self.draw(st.booleans()),
            incarnation_id=self.draw(UUIDS),
            broker_epoch=len(self.history),
            end_points=_end_points(self.some(["PLAINTEXT", "SSL"])),
            features=_ranges(self.some(["group.version", features.METADATA_VERSION])),
            rack=self.pick([None, "r1"]),
            fenced=self.draw(st.booleans()),
            in_controlled_shutdown=self.draw(st.booleans()),
            log_dirs=self.some(DIRECTORIES),
            cordoned_log_dirs=self.pick([None, (), (DIRECTORIES[2],)]),
        )

    def change_broker(self) -> None:
        if self.level < features.REGISTRATION_CHANGE_SINCE:
            return
        broker_id = self.pick(list(self.brokers))
        self.write(
            BrokerRegistrationChangeRecord,
            broker_id=broker_id,
            broker_epoch=self.brokers[broker_id],
            fenced=self.pick([UNCHANGED, True, False]),
            in_controlled_shutdown=self.pick([UNCHANGED, True]),
            log_dirs=self._maybe((self.pick(DIRECTORIES),)),
            cordoned_log_dirs=self._maybe(self.some(DIRECTORIES, 1)),
        )

    def unregister(self) -> None:
        broker_id = self.pick(list(self.brokers))
        self.write(UnregisterBrokerRecord, broker_id=broker_id, broker_epoch=self.brokers.pop(broker_id))

    def register_controller(self) -> None:
        self.write(
            RegisterControllerRecord,
            controller_id=self.pick(CONTROLLER_IDS),
            incarnation_id=self.draw(UUIDS),
            zk_migration_ready=self.draw(st.booleans()),
            end_points=_end_points(self.some(["CONTROLLER"])),
            features=_ranges(self.some([features.KRAFT_VERSION])),
        )

    def config(self) -> None:
        kind, resource = self.pick([(2, "a"), (2, "b"), (4, ""), (4, "1"), (32, "group")])
        self.write(
            ConfigRecord,
            resource_type=kind,
            resource_name=resource,
            name=self.pick(["x", "y"]),
            value=self.pick([None, "", "1", "ü"]),
        )

    def quota(self) -> None:
        entity = [
            QuotaEntity(entity_type=kind, entity_name=self.pick([None, "n"]))
            for kind in self.some(["user", "ip"])
        ]
        self.write(
            ClientQuotaRecord,
            entity=tuple(entity),
            key=self.pick(["k", "l"]),
            value=self.draw(st.floats(allow_nan=False)),
            remove=self.draw(st.booleans()),
        )

    def acl(self) -> None:
        # No ACL is there twice: each is about a resource of its own, but one that was removed may come back.
        number = self.pick([n for n in range(len(self.acls) + 1) if n not in self.acls.values()])
        acl_id = self.draw(UUIDS.filter(lambda i: i not in self.acls))
        self.acls[acl_id] = number
        self.write(
            AccessControlEntryRecord,
            id=acl_id,
            resource_type=2,
            resource_name=str(number),
            pattern_type=3,
            principal="User:alice",
            host="*",
            operation=3,
            permission_type=3,
        )

    def remove_acl(self) -> None:
        acl_id = self.pick(list(self.acls))
        del self.acls[acl_id]
        self.write(RemoveAccessControlEntryRecord, id=acl_id)

    def credential(self) -> None:
        user, mechanism = self.pick(USERS), self.pick([1, 2])
        self.credentials.add((user, mechanism))
        secret = self.draw(st.binary(max_size=4))
        self.write(
            UserScramCredentialRecord,
            name=user,
            mechanism=mechanism,
            salt=secret,
            stored_key=secret,
            server_key=secret,
            iterations=4096,
        )

    def remove_credential(self) -> None:
        user, mechanism = self.pick(sorted(self.credentials))
        self.credentials.remove((user, mechanism))
        self.write(RemoveUserScramCredentialRecord, name=user, mechanism=mechanism)

    def token(self) -> None:
        self.write(
            DelegationTokenRecord,
            owner="User:alice",
            requester="User:bob",
            renewers=self.some(USERS),
            issue_timestamp=1,
            max_timestamp=9,
            expiration_timestamp=self.draw(st.integers(1, 9)),
            token_id=self.pick(["t1", "t2"]),
        )

    def remove_token(self) -> None:
        self.write(RemoveDelegationTokenRecord, token_id=self.pick(["t1", "t2"]))

    def producer_ids(self) -> None:
        self.next_producer_id += self.pick([1, 1000])
        self.write(
            ProducerIdsRecord,
            broker_id=self.pick(BROKER_IDS),
            broker_epoch=7,
            next_producer_id=self.next_producer_id,
        )

    def migration(self) -> None:
        self.write(ZkMigrationStateRecord, zk_migration_state=int(self.pick(list(MigrationState)[:4])))


def _end_points(names: Sequence[str]) -> tuple[BrokerEndpoint, ...]:
    return tuple(BrokerEndpoint(name=n, host="h", port=9092, security_protocol=0) for n in names)


def _ranges(names: Sequence[str]) -> tuple[FeatureRange, ...]:
    return tuple(FeatureRange(name=n, min_supported_version=0, max_supported_version=1) for n in names)


@st.composite
def histories(draw: _Draw, *, max_steps: int = 25, level: int | None = None) -> list[AnyDataRecord]:
    """Records that replay from the empty image, the first one naming metadata.version.

    A step is a record, but for a new topic, whose partitions may come with it. `level`: where metadata.version
    starts; drawn if not given.
    """
    start = draw(st.sampled_from(METADATA_VERSIONS)) if level is None else level
    world = _World(draw, start)
    world.write(FeatureLevelRecord, name=features.METADATA_VERSION, feature_level=start)
    for _ in range(draw(st.integers(0, max_steps))):
        draw(st.sampled_from(world.allowed()))()
    return world.history
