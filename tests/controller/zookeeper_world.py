"""Brokers in ZooKeeper mode without their sockets: real parts in the office, on a ZooKeeper in the same process."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from quorate.broker.zookeeper_registration import Registration, ensure_paths, find_cluster_id
from quorate.controller.policies import NO_POLICIES
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_loading import Loaded, load
from quorate.controller.zookeeper_mode import ZooKeeperMode
from quorate.metadata.calls import AskedAt, Call, envelope_of
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import LIGHTWEIGHT
from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.wire.cluster import MetadataRequest, MetadataRequestTopic, MetadataResponse
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.envelope import EnvelopeResponse
from quorate.metadata.wire.table import APIS, decode_response, encode_request
from quorate.metadata.wire.topics import (
    CreatableTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from quorate.metadata.zookeeper.embedded import EmbeddedServer, EmbeddedZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import BrokerListener, decode_controller
from quorate.metadata.zookeeper.kafka_znodes.reader import read
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.topics import PartitionState, decode_state
from quorate.metadata.zookeeper.znodes import Tree

SESSION_MS = 6_000
LISTENER = "PLAINTEXT"
SET, DELETE = 0, 1


class Moved(Exception):
    """This broker's part does not hold the office."""


@attrs.define
class Broker:
    """One broker: its session, its part in the office, and the means to end both."""

    id: int
    session: EmbeddedZooKeeper
    office: ZooKeeperMode
    registration: Registration
    scope: trio.CancelScope

    def submit(self, request: Any, version: int | None = None) -> "Asked":
        """Asks this broker's part in the office, as a broker hands a client's request on."""
        api = APIS[request.api_key]
        version = api.last if version is None else version
        asked = Asked(request.api_key, version)
        frame = encode_request(request, version, 7, "client")[4:]
        here = AskedAt(broker_id=NodeId(self.id), listener_name=LISTENER, configs={})
        outer = encode_request(envelope_of(_call(asked, frame), here), 0, 0, None)[4:]
        self.office.handle(_call(asked, outer), own=True)
        return asked

    async def ask(self, request: Any, version: int | None = None) -> Any:
        """
        Raises:
            Moved: it does not hold the office.
        """
        return await self.submit(request, version).outcome()

    async def create(self, *names: str, partitions: int = 2, replicas: int = 2) -> list[ErrorCode]:
        topics = tuple(
            CreatableTopic(name=name, num_partitions=partitions, replication_factor=replicas)
            for name in names
        )
        answer = await self.ask(CreateTopicsRequest(topics=topics, timeout_ms=30_000))
        return [topic.error_code for topic in answer.topics]

    async def delete(self, *names: str) -> list[ErrorCode]:
        topics = tuple(DeleteTopicState(name=name) for name in names)
        answer = await self.ask(DeleteTopicsRequest(topics=topics, timeout_ms=30_000))
        return [one.error_code for one in answer.responses]

    async def set_config(self, kind: int, name: str, key: str, value: str) -> ErrorCode:
        return await self._alter(kind, name, key, SET, value)

    async def unset_config(self, kind: int, name: str, key: str) -> ErrorCode:
        return await self._alter(kind, name, key, DELETE, None)

    async def _alter(self, kind: int, name: str, key: str, operation: int, value: str | None) -> ErrorCode:
        resource = IncrementalAlterConfigsResource(
            resource_type=kind,
            resource_name=name,
            configs=(IncrementalAlterableConfig(name=key, config_operation=operation, value=value),),
        )
        answer = await self.ask(IncrementalAlterConfigsRequest(resources=(resource,)))
        found: ErrorCode = answer.responses[0].error_code
        return found

    async def metadata(self, *names: str) -> MetadataResponse:
        topics = tuple(MetadataRequestTopic(name=name) for name in names) or None
        answer: MetadataResponse = await self.ask(
            MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        )
        return answer


class Asked:
    """A request on its way; takes the answers of the inner call's Envelope."""

    def __init__(self, api_key: int, version: int) -> None:
        self._api_key = api_key
        self._version = version
        self._answered = trio.Event()
        self._envelope: EnvelopeResponse | None = None

    @property
    def answered(self) -> bool:
        return self._answered.is_set()

    def deliver(self, call: Call, response: Any, data: bytes) -> None:
        assert isinstance(response, EnvelopeResponse)
        assert not self._answered.is_set()
        self._envelope = response
        self._answered.set()

    async def outcome(self) -> Any:
        """
        Raises:
            Moved: the Envelope was answered NOT_CONTROLLER.
        """
        await self._answered.wait()
        assert self._envelope is not None
        if self._envelope.error_code is ErrorCode.not_controller:
            raise Moved
        assert self._envelope.error_code is ErrorCode.none, self._envelope
        assert self._envelope.response_data is not None
        return decode_response(self._api_key, self._version, self._envelope.response_data)


def _call(sink: Any, frame: bytes) -> Call:
    return Call(
        sink,
        frame,
        principal="User:ANONYMOUS",
        client_host="127.0.0.1",
        listener_name=LISTENER,
        connection_id=1,
        received_ms=0,
    )


class World:
    """A ZooKeeper and the brokers on it."""

    def __init__(self, server: EmbeddedServer, nursery: trio.Nursery) -> None:
        self.server = server
        self.nursery = nursery
        self.brokers: dict[int, Broker] = {}
        self.rng = random.Random(1)

    async def start(self, broker_id: int, **settings: str) -> Broker:
        """Starts a broker, and waits until it is registered and queues for the office."""
        session = self.server.connect(SESSION_MS)
        await ensure_paths(session)
        cluster_id = await find_cluster_id(session, self.rng)
        config = config_of(broker_id, **settings)
        office = ZooKeeperMode(
            config, session, cluster_id, rng=random.Random(broker_id), policies=NO_POLICIES, own_keys={}
        )
        registration = Registration(
            session,
            broker_id,
            listeners=(
                BrokerListener(
                    name=LISTENER, host="127.0.0.1", port=9000 + broker_id, security_protocol="PLAINTEXT"
                ),
            ),
            rack=None,
            features={LIGHTWEIGHT: (1, 1)},
            wall_ms=lambda: 1_700_000_000_000,
            patience_s=SESSION_MS / 1000,
        )
        scope = trio.CancelScope()
        broker = Broker(broker_id, session, office, registration, scope)
        self.brokers[broker_id] = broker
        self.nursery.start_soon(self._run, broker)
        await registration.registered.wait()
        await until(lambda: self._queues(session))
        return broker

    def _queues(self, session: EmbeddedZooKeeper) -> bool:
        owners = {
            node.stat.ephemeral_owner
            for path, node in self.server.znodes().items()
            if path.startswith("/quorate/candidates/")
        }
        return session.session_id in owners

    async def _run(self, broker: Broker) -> None:
        with broker.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(broker.registration.run)
                nursery.start_soon(broker.office.run)

    def kill(self, broker: Broker) -> None:
        """The process is gone; its session ends at once."""
        broker.session.hold_back()
        broker.scope.cancel()
        self.server.expire(broker.session.session_id)
        del self.brokers[broker.id]

    async def leader(self, *, other_than: Broker | None = None) -> Broker:
        """Whoever takes requests, as soon as somebody does."""
        await until(lambda: any(one.office.holds and one is not other_than for one in self.brokers.values()))
        return next(one for one in self.brokers.values() if one.office.holds and one is not other_than)

    def all_are_served(self) -> bool:
        """Somebody holds the office, and knows every broker."""
        images = (broker.office.image() for broker in self.brokers.values())
        return any(image is not None and len(image.cluster.brokers) == len(self.brokers) for image in images)

    @property
    def tree(self) -> Tree:
        return self.server.znodes()

    def data(self, path: str) -> bytes | None:
        return self.tree[path].data

    def state(self, topic: str, partition: int) -> tuple[PartitionState, int]:
        """(what stands there, its version)"""
        node = self.tree[paths.state(topic, partition)]
        return decode_state(node.data), node.stat.version

    @property
    def controller(self) -> int:
        return decode_controller(self.data(paths.CONTROLLER)).broker_id

    def reading(self) -> Reading:
        return read(self.tree, ReadOptions())

    def loaded(self) -> Loaded:
        """What a controller that begins now would make of it."""
        return load(
            self.tree,
            metadata_version=21,
            epoch=1,
            wall_ms=0,
            delete_topics=True,
            rng=random.Random(0),
        )


async def until(condition: Callable[[], object], steps: int = 5_000) -> None:
    """Lets the others run until it is so."""
    for _ in range(steps):
        if condition():
            return
        await trio.sleep(0.01)
    raise AssertionError("that never happened")


def config_of(broker_id: int, **settings: str) -> ZooKeeperControllerConfig:
    """`settings`: keys with underscores for dots."""
    given = {key.replace("_", "."): value for key, value in settings.items()}
    texts = {"broker.id": str(broker_id), "listeners": "PLAINTEXT://127.0.0.1:0", **given}
    return ZooKeeperControllerConfig.of(texts)


@asynccontextmanager
async def world(
    brokers: Sequence[int] = (1, 2, 3), tree: Tree | None = None, **settings: str
) -> AsyncIterator[World]:
    """Brokers that were started one after the other, so that the first one leads."""
    async with trio.open_nursery() as nursery:
        made = World(EmbeddedServer(tree), nursery)
        for broker_id in brokers:
            await made.start(broker_id, **settings)
        await until(made.all_are_served)
        yield made
        nursery.cancel_scope.cancel()


def same_but_for_ids(one: MetadataImage, other: MetadataImage) -> list[str]:
    """The parts in which two images differ; ACLs by what they say, since ZooKeeper has no ids for them."""
    parts = ("topics", "configs", "quotas", "producer_ids", "credentials", "tokens")
    found = [part for part in parts if getattr(one, part) != getattr(other, part)]
    if sorted(map(repr, one.acls.by_id.values())) != sorted(map(repr, other.acls.by_id.values())):
        found.append("acls")
    if {b.id: b.epoch for b in one.cluster.brokers.values()} != {
        b.id: b.epoch for b in other.cluster.brokers.values()
    }:
        found.append("brokers")
    return found
