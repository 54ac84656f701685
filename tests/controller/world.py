"""A cluster to decide about: an image built by the handlers' own records, and contexts on it.

No quorum, and no time of its own.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import pytest

from quorate.controller.config import ControllerConfig
from quorate.controller.context import NEWEST_API_VERSION, Context
from quorate.controller.policies import NO_POLICIES, Policies
from quorate.controller.result import ControllerResult
from quorate.controller.sessions import BrokerSessions
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.features import LIGHTWEIGHT, format_records
from quorate.metadata.ids import NodeId, Offset
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import (
    AnyDataRecord,
    BrokerEndpoint,
    BrokerRegistrationChangeRecord,
    FeatureRange,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from quorate.metadata.security.permissions import Operation, Permits, Resource, permit_everything

CLUSTER_ID = "quorate-test-cluster"
SESSION_MS = 9_000


def config(**overrides: Any) -> ControllerConfig:
    settings: dict[str, Any] = {
        "node_id": NodeId(3000),
        "controller_listener_names": ("CONTROLLER",),
        "bootstrap_servers": (),
        "broker_session_timeout_ms": SESSION_MS,
        **overrides,
    }
    return ControllerConfig(**settings)


def directory(broker_id: int, number: int = 0) -> uuid.UUID:
    """A broker's log directory."""
    return uuid.UUID(int=(1 << 100) + broker_id * 100 + number)


def incarnation(broker_id: int, life: int = 0) -> uuid.UUID:
    return uuid.UUID(int=(2 << 100) + broker_id * 100 + life)


@attrs.define
class World:
    """An image that grows; `run` decides and replays."""

    config: ControllerConfig = attrs.Factory(config)
    image: MetadataImage = MetadataImage.EMPTY
    next_offset: int = 0
    now_ms: int = 1_000
    api_version: int = NEWEST_API_VERSION
    permits: Permits = permit_everything
    policies: Policies = NO_POLICIES
    rng: random.Random = attrs.Factory(lambda: random.Random(1))
    sessions: BrokerSessions = attrs.Factory(lambda: BrokerSessions(SESSION_MS))
    records: list[AnyDataRecord] = attrs.Factory(list)
    """Everything that was replayed."""

    def __attrs_post_init__(self) -> None:
        if not self.image.features.levels:
            self.replay(format_records())

    def replay(self, records: Iterable[AnyDataRecord]) -> None:
        delta = MetadataDelta(self.image)
        for record in records:
            delta.replay(record, self.next_offset)
            self.records.append(record)
            self.next_offset += 1
        self.image = delta.apply(Provenance(offset=self.next_offset - 1, epoch=1, append_time_ms=0))
        for broker_id, broker in delta.changed_brokers.items():
            self.sessions.follow(broker_id, broker, self.now_ms)

    def context(self, **changes: Any) -> Context:
        values: dict[str, Any] = {
            "image": self.image,
            "next_offset": Offset(self.next_offset),
            "now_ms": self.now_ms,
            "wall_ms": 0,
            "rng": self.rng,
            "config": self.config,
            "cluster_id": CLUSTER_ID,
            "sessions": self.sessions,
            "api_version": self.api_version,
            "permits": self.permits,
            "policies": self.policies,
            **changes,
        }
        return Context(**values)

    def decide(self, handler: Callable[[Context, Any], ControllerResult[Any]], request: Any) -> Any:
        """The result of a handler, which changes nothing."""
        return handler(self.context(), request)

    def run(self, handler: Callable[[Context, Any], ControllerResult[Any]], request: Any) -> Any:
        """The response, after its records were replayed."""
        result = self.decide(handler, request)
        self.replay(result.records)
        return result.response

    def add_broker(
        self,
        broker_id: int,
        *,
        rack: str | None = None,
        fenced: bool = False,
        shutting_down: bool = False,
        directories: int = 1,
        lightweight: bool = False,
        features: Mapping[str, tuple[int, int]] | None = None,
    ) -> BrokerRegistration:
        """Registers a broker by hand."""
        ranges = {"metadata.version": (1, 25), **(features or {})}
        if lightweight:
            ranges[LIGHTWEIGHT] = (1, 1)
        self.replay([
            RegisterBrokerRecord(
                version=3,
                broker_id=NodeId(broker_id),
                incarnation_id=incarnation(broker_id),
                broker_epoch=self.next_offset,
                end_points=(BrokerEndpoint(name="PLAINTEXT", host="h", port=9092, security_protocol=0),),
                features=tuple(
                    FeatureRange(name=n, min_supported_version=low, max_supported_version=high)
                    for n, (low, high) in sorted(ranges.items())
                ),
                rack=rack,
                fenced=fenced,
                in_controlled_shutdown=shutting_down,
                log_dirs=tuple(directory(broker_id, number) for number in range(directories)),
            )
        ])  # fmt: skip
        return self.broker(broker_id)

    def broker(self, broker_id: int) -> BrokerRegistration:
        found = self.image.cluster.broker(broker_id)
        assert found is not None
        return found

    def set_broker(self, broker_id: int, **changes: Any) -> None:
        """Writes a registration change by hand."""
        epoch = self.broker(broker_id).epoch
        self.replay([
            BrokerRegistrationChangeRecord(
                version=2, broker_id=NodeId(broker_id), broker_epoch=epoch, **changes
            )
        ])  # fmt: skip

    def add_topic(self, name: str, *partitions: Sequence[int], **state: Any) -> TopicImage:
        """A topic whose partitions have these replicas, all in sync; `state` overrides fields of each."""
        topic_id = uuid.UUID(int=(3 << 100) + self.next_offset)
        records: list[AnyDataRecord] = [TopicRecord(name=name, topic_id=topic_id)]
        for number, replicas in enumerate(partitions):
            fields: dict[str, Any] = {
                "isr": tuple(replicas),
                "leader": replicas[0],
                "leader_epoch": 0,
                "partition_epoch": 0,
                "directories": tuple(directory(r) for r in replicas),
                **state,
            }
            records.append(
                PartitionRecord(
                    version=1,
                    partition_id=number,
                    topic_id=topic_id,
                    replicas=tuple(replicas),
                    **fields,
                )
            )
        self.replay(records)
        return self.topic(name)

    def topic(self, name: str) -> TopicImage:
        found = self.image.topics.by_name(name)
        assert found is not None
        return found

    def partition(self, name: str, index: int = 0) -> PartitionRegistration:
        found = self.topic(name).partition(index)
        assert found is not None
        return found


def refused(world: World, handler: Callable[[Context, Any], Any], request: Any) -> ErrorCode:
    """The code with which a whole call is refused."""
    with pytest.raises(RequestRejected) as refusal:
        handler(world.context(), request)
    assert refusal.value.message
    return refusal.value.code


def permit_only(*allowed: tuple[Operation, Resource, str]) -> Permits:
    """An authorizer that grants just this."""
    return lambda operation, resource, name, *, log_if_denied=True: (operation, resource, name) in allowed
