"""Whatever administrators ask for, in whatever order: every answer is the one that a simple model expects, and the
image holds what the model holds. The model is dictionaries and sets, and knows nothing of records, deltas or versions.
"""

import re
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quorate.controller.operations import HANDLERS
from quorate.metadata.checks import ErrorCode
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.writer import digest, image_records
from quorate.metadata.security.permissions import Acl
from quorate.metadata.wire.acls import AclCreation, CreateAclsRequest, DeleteAclsFilter, DeleteAclsRequest
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.quotas import AlterClientQuotasRequest, AlteredEntry, EntityData, OpData
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    ReassignablePartition,
    ReassignableTopic,
)
from tests.controller.world import World

TOPIC = 2
SET, DELETE, APPEND, SUBTRACT = range(4)
NONE = ErrorCode.none
BROKERS = 3
NAMES = st.sampled_from(["orders", "a.b", "a_b", "x" * 249, "x" * 250, "", "..", "bad name", "é"])
KEYS = st.sampled_from(["retention.ms", "cleanup.policy", "max.message.bytes", "no.such.key"])
VALUES = st.sampled_from(["1000", "-1", "-2", "compact", "delete", "compact,delete", "", "many", None])
ENTITIES = st.sampled_from([
    [("user", "a")],
    [("user", None)],
    [("client-id", "a")],
    [("user", None), ("client-id", "a")],
    [("ip", "10.0.0.1")],
    [("ip", None)],
    [],
    [("user", "")],
    [("ip", "a")],
    [("planet", "a")],
    [("user", "a"), ("ip", None)],
    [("user", "a"), ("user", "b")],
])  # fmt: skip
QUOTA_KEYS = st.sampled_from(
    ["producer_byte_rate", "request_percentage", "connection_creation_rate", "speed"]
)
NUMBERS = st.sampled_from([1.0, 1.5, 0.0, -1.0, float("nan"), float("inf"), 2.0**62, 2.0**70])
DISTINCT_TOPICS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([-2, -1, 0, 1, 3]),
        st.sampled_from([-1, 0, 1, 3, 4]),
        st.one_of(st.none(), VALUES),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[0],
)


@attrs.define
class Model:
    """What there is."""

    topics: dict[str, int] = attrs.Factory(dict)
    """How many partitions each has."""
    configs: dict[str, dict[str, str]] = attrs.Factory(dict)
    quotas: dict[frozenset[tuple[str, str | None]], dict[str, float]] = attrs.Factory(dict)
    acls: set[Acl] = attrs.Factory(set)
    moving: set[tuple[str, int]] = attrs.Factory(set)
    """Partitions that are on their way to other brokers."""


def is_topic_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) is not None and name not in (".", "..")


def config_is_good(key: str, value: str | None) -> bool:
    match key, value:
        case _, None:
            return False
        case "retention.ms", _:
            return value in ("1000", "-1")
        case "max.message.bytes", _:
            return value == "1000"
        case "cleanup.policy", _:
            return value in ("compact", "delete", "compact,delete", "")
    return False


class Administrators(RuleBasedStateMachine):
    """Requests at a controller with three brokers, one of them fenced."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model = Model()

    @initialize()
    def brokers(self) -> None:
        for broker in range(1, BROKERS + 1):
            self.world.add_broker(broker, fenced=broker == BROKERS)

    def ask(self, request: Any) -> Any:
        return self.world.run(HANDLERS[type(request)], request)

    # ---- topics

    @rule(wanted=DISTINCT_TOPICS, validate_only=st.booleans())
    def create_topics(self, wanted: list[tuple[str, int, int, str | None]], validate_only: bool) -> None:
        expected = self.expected_creations(wanted)
        topics = tuple(
            CreatableTopic(
                name=name,
                num_partitions=partitions,
                replication_factor=replicas,
                configs=() if value is None else (CreatableTopicConfig(name="retention.ms", value=value),),
            )
            for name, partitions, replicas, value in wanted
        )
        response = self.ask(CreateTopicsRequest(topics=topics, validate_only=validate_only))

        assert {one.name: one.error_code for one in response.topics} == expected
        if validate_only:
            return
        for name, partitions, _, value in wanted:
            if expected[name] is NONE:
                self.model.topics[name] = max(1, partitions)
                if value is not None:
                    self.model.configs[name] = {"retention.ms": value}

    def expected_creations(self, wanted: list[tuple[str, int, int, str | None]]) -> dict[str, ErrorCode]:
        expected = {}
        taken = {name.replace(".", "_"): name for name in self.model.topics}
        for name, partitions, replicas, value in wanted:
            if name in self.model.topics:
                code = ErrorCode.topic_already_exists
            elif not is_topic_name(name) or name.replace(".", "_") in taken:
                code = ErrorCode.invalid_topic_exception
            elif value is not None and not config_is_good("retention.ms", value):
                code = ErrorCode.invalid_config
            elif replicas == 0:
                code = ErrorCode.invalid_replication_factor
            elif partitions in (0, -2):
                code = ErrorCode.invalid_partitions
            elif replicas > BROKERS:
                code = ErrorCode.invalid_replication_factor
            else:
                code = NONE
                taken[name.replace(".", "_")] = name
            expected[name] = code
        return expected

    @rule(name=NAMES, count=st.integers(-1, 5))
    def create_partitions(self, name: str, count: int) -> None:
        topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
        response = self.ask(CreatePartitionsRequest(topics=(topic,), timeout_ms=1000, validate_only=False))

        if name not in self.model.topics:
            expected = ErrorCode.unknown_topic_or_partition
        elif count <= self.model.topics[name]:
            expected = ErrorCode.invalid_partitions
        else:
            expected = NONE
            self.model.topics[name] = count
        assert [one.error_code for one in response.results] == [expected]

    @rule(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
    def delete_topics(self, names: list[str]) -> None:
        response = self.ask(
            DeleteTopicsRequest(topics=tuple(DeleteTopicState(name=name) for name in names), timeout_ms=1000)
        )

        assert {one.name: one.error_code for one in response.responses} == {
            name: NONE if name in self.model.topics else ErrorCode.unknown_topic_or_partition
            for name in names
        }
        for name in names:
            self.model.topics.pop(name, None)
            self.model.configs.pop(name, None)
            self.model.moving = {(topic, index) for topic, index in self.model.moving if topic != name}

    @rule(
        name=NAMES,
        index=st.integers(0, 1),
        goal=st.none() | st.lists(st.integers(0, BROKERS + 1), max_size=3),
    )
    def reassign(self, name: str, index: int, goal: list[int] | None) -> None:
        """KIP-455: the target is what is left when those that are to go have gone; a cancel leaves nobody half-way."""
        replicas = None if goal is None else tuple(goal)
        partition = ReassignablePartition(partition_index=index, replicas=replicas)
        topic = ReassignableTopic(name=name, partitions=(partition,))
        response = self.ask(AlterPartitionReassignmentsRequest(topics=(topic,), timeout_ms=1000))

        under_way = (name, index) in self.model.moving
        if index >= self.model.topics.get(name, 0):
            expected = ErrorCode.unknown_topic_or_partition
        elif goal is None:
            expected = NONE if under_way else ErrorCode.no_reassignment_in_progress
        elif not goal or len(set(goal)) < len(goal) or not set(goal) <= set(range(1, BROKERS + 1)):
            expected = ErrorCode.invalid_replica_assignment
        else:
            expected = NONE
        assert [part.error_code for one in response.responses for part in one.partitions] == [expected]
        if expected is not NONE:
            return
        found = self.world.partition(name, index)
        staying = [one for one in found.replicas if one not in found.removing_replicas]
        if goal is None:
            assert (found.adding_replicas, found.removing_replicas) == ((), ())
            self.model.moving.discard((name, index))
            return
        assert sorted(staying) == sorted(goal)
        if found.adding_replicas or found.removing_replicas:
            self.model.moving.add((name, index))
        else:
            assert set(found.replicas) == set(goal)
            self.model.moving.discard((name, index))

    # ---- configs

    @rule(name=NAMES, key=KEYS, value=VALUES, operation=st.sampled_from([SET, DELETE, APPEND, SUBTRACT]))
    def alter_config(self, name: str, key: str, value: str | None, operation: int) -> None:
        change = IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
        resource = IncrementalAlterConfigsResource(resource_type=TOPIC, resource_name=name, configs=(change,))
        response = self.ask(IncrementalAlterConfigsRequest(resources=(resource,), validate_only=False))

        expected, after = self.expected_config(name, key, value, operation)
        assert [one.error_code for one in response.responses] == [expected]
        if expected is NONE:
            configs = self.model.configs.setdefault(name, {})
            if after is None:
                configs.pop(key, None)
            else:
                configs[key] = after
            if not configs:
                del self.model.configs[name]

    def expected_config(
        self, name: str, key: str, value: str | None, operation: int
    ) -> tuple[ErrorCode, str | None]:
        """The code, and the value afterwards."""
        current = self.model.configs.get(name, {}).get(key)
        if (operation != DELETE and value is None) or (
            operation in (APPEND, SUBTRACT) and key != "cleanup.policy"
        ):
            wrong, after = True, None
        else:
            after = self.changed(current, value or "", operation)
            wrong = after is not None and not config_is_good(key, after)
        if name == "":
            return ErrorCode.invalid_request, None
        if name not in self.model.topics:
            return ErrorCode.unknown_topic_or_partition, None
        return (ErrorCode.invalid_config, None) if wrong else (NONE, after)

    @staticmethod
    def changed(current: str | None, value: str, operation: int) -> str | None:
        members = [word for word in ("delete" if current is None else current).split(",") if word]
        named = [word for word in value.split(",") if word]
        match operation:
            case 0:
                return value
            case 1:
                return None
            case 2:
                return ",".join(dict.fromkeys([*members, *named]))
        return ",".join(word for word in members if word not in named)

    # ---- quotas

    @rule(entity=ENTITIES, key=QUOTA_KEYS, value=NUMBERS, remove=st.booleans())
    def alter_quota(self, entity: list[tuple[str, str | None]], key: str, value: float, remove: bool) -> None:
        parts = tuple(EntityData(entity_type=kind, entity_name=name) for kind, name in entity)
        entry = AlteredEntry(entity=parts, ops=(OpData(key=key, value=value, remove=remove),))
        response = self.ask(AlterClientQuotasRequest(entries=(entry,), validate_only=False))

        good = self.quota_is_good(entity, key, value, remove)
        assert [one.error_code for one in response.entries] == [NONE if good else ErrorCode.invalid_request]
        if good:
            quotas = self.model.quotas.setdefault(frozenset(entity), {})
            if remove:
                quotas.pop(key, None)
            else:
                quotas[key] = value
            if not quotas:
                del self.model.quotas[frozenset(entity)]

    @staticmethod
    def quota_is_good(entity: list[tuple[str, str | None]], key: str, value: float, remove: bool) -> bool:
        kinds = sorted(kind for kind, _ in entity)
        if kinds == ["ip"]:
            if entity[0][1] not in (None, "10.0.0.1") or key != "connection_creation_rate":
                return False
        elif kinds in (["user"], ["client-id"], ["client-id", "user"]):
            if key not in ("producer_byte_rate", "request_percentage"):
                return False
        else:
            return False
        if "" in {name for _, name in entity}:
            return False
        if remove:
            return True
        largest = {"connection_creation_rate": 2**31, "producer_byte_rate": 2**63}.get(key, float("inf"))
        whole = key != "request_percentage"
        return 0 < value < largest and not (whole and value % 1)

    # ---- ACLs

    @rule(
        kind=st.sampled_from([2, 2, 2, 3, 4, 1, 99]),
        name=st.sampled_from(["orders", "orders", "*", "kafka-cluster", ""]),
        pattern=st.sampled_from([3, 3, 3, 4, 0, 1, 2]),
        principal=st.sampled_from(["User:alice", "User:alice", "User:*", "alice", ""]),
        operation=st.sampled_from([3, 3, 2, 8, 1, 99]),
        permission=st.sampled_from([3, 3, 2, 1, 0]),
    )
    def create_acl(
        self, kind: int, name: str, pattern: int, principal: str, operation: int, permission: int
    ) -> None:
        creation = AclCreation(
            resource_type=kind,
            resource_name=name,
            resource_pattern_type=pattern,
            principal=principal,
            host="*",
            operation=operation,
            permission_type=permission,
        )
        response = self.ask(CreateAclsRequest(creations=(creation,)))

        good = (
            kind in (2, 3, 4)
            and name != ""
            and (kind != 4 or name == "kafka-cluster")
            and pattern in (3, 4)
            and ":" in principal
            and operation in (2, 3, 8)
            and permission in (2, 3)
        )
        assert [one.error_code for one in response.results] == [NONE if good else ErrorCode.invalid_request]
        if good:
            self.model.acls.add(
                Acl(
                    resource_type=kind,
                    resource_name=name,
                    pattern_type=pattern,
                    principal=principal,
                    host="*",
                    operation=operation,
                    permission_type=permission,
                )
            )

    @precondition(lambda self: self.model.acls)
    @rule(data=st.data())
    def create_an_acl_that_exists(self, data: st.DataObject) -> None:
        acl = data.draw(st.sampled_from(sorted(self.model.acls, key=repr)))
        self.create_acl(
            acl.resource_type,
            acl.resource_name,
            acl.pattern_type,
            acl.principal,
            acl.operation,
            acl.permission_type,
        )

    @rule(
        name=st.sampled_from([None, "orders", "*"]),
        pattern=st.sampled_from([1, 2, 3, 4]),
        principal=st.sampled_from([None, "User:alice"]),
    )
    def delete_acls(self, name: str | None, pattern: int, principal: str | None) -> None:
        one = DeleteAclsFilter(
            resource_type_filter=1,
            resource_name_filter=name,
            pattern_type_filter=pattern,
            principal_filter=principal,
            operation=1,
            permission_type=1,
        )
        response = self.ask(DeleteAclsRequest(filters=(one,)))

        gone = {acl for acl in self.model.acls if self.is_meant(acl, name, pattern, principal)}
        self.model.acls -= gone
        (result,) = response.filter_results
        assert result.error_code is NONE
        assert len(result.matching_acls) == len(gone)

    @staticmethod
    def is_meant(acl: Acl, name: str | None, pattern: int, principal: str | None) -> bool:
        """ResourcePatternFilter: MATCH (2) is every pattern that would apply to the name."""
        if principal not in (None, acl.principal):
            return False
        if pattern in (3, 4) and acl.pattern_type != pattern:
            return False
        if name is None:
            return True
        if pattern == 2:
            if acl.pattern_type == 3:
                return acl.resource_name in (name, "*")
            return name.startswith(acl.resource_name)
        return acl.resource_name == name

    # ---- what must hold whenever nobody is asking

    @invariant()
    def the_image_holds_what_the_model_holds(self) -> None:
        image = self.world.image
        assert {topic.name: sum(1 for _ in topic.indexes()) for topic in image.topics} == self.model.topics
        assert {
            name: dict(configs) for (kind, name), configs in image.configs.resources() if kind == TOPIC
        } == self.model.configs
        assert {
            frozenset(entity): dict(found) for entity, found in image.quotas.entities()
        } == self.model.quotas
        assert set(image.acls.ids) == self.model.acls
        assert {
            (topic.name, index)
            for topic in image.topics
            for index, row in topic.partitions()
            if row.adding_replicas or row.removing_replicas
        } == self.model.moving

    @invariant()
    def the_image_goes_into_records_and_comes_back(self) -> None:
        image = self.world.image
        delta = MetadataDelta(MetadataImage.EMPTY)
        for offset, record in enumerate(image_records(image)):
            delta.replay(record, offset)
        assert digest(delta.apply(Provenance(offset=0, epoch=1, append_time_ms=0))) == digest(image)


Administrators.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestAdministrators = Administrators.TestCase
