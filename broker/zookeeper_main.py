"""The process of a broker in ZooKeeper mode: its session, registration, office, listeners, in order (shell)."""

import random
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import structlog
import trio

from quorate.broker.links import ControllerLinks, opener
from quorate.broker.main import Running
from quorate.broker.relay import Relay
from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.broker.zookeeper_controller import ControllerFinder
from quorate.broker.zookeeper_directory import claim_directory
from quorate.broker.zookeeper_hybrid import HybridMembership, QuorumFollower
from quorate.broker.zookeeper_registration import (
    CannotRegister,
    Registration,
    ensure_paths,
    find_cluster_id,
)
from quorate.broker.zookeeper_server import AskedHere, OwnOfficeFirst, ZooKeeperBrokerServer
from quorate.broker.zookeeper_users import UserFollower, needs_users
from quorate.metadata.assembly import (
    BoundListener,
    BoundMetrics,
    bind_listeners,
    bind_metrics,
    controller_login,
    known_users,
    let_go,
    listener_security,
    room_for_clients,
)
from quorate.metadata.features import LIGHTWEIGHT
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.listener import Listener
from quorate.metadata.metrics.serving import serve_metrics
from quorate.metadata.node import wall_ms
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.security.login import ClientLogin
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes.nodes import BrokerListener
from quorate.metadata.zookeeper.office import OfficeFactory
from quorate.metadata.zookeeper.znodes import ZooKeeperError

_DRAIN_MS: Final = 1_000
"""How long clients may still be answered after this broker has left."""
_SESSION_GRACE: Final = 2.0
"""A former process's session may be over after so many session timeouts at the latest: servers count in ticks."""

Connect = Callable[[], AbstractAsyncContextManager[ZooKeeper]]
"""Opens a session, for as long as the block."""

_log = structlog.get_logger("broker")


async def run_zookeeper_broker(
    config: ZooKeeperBrokerConfig,
    connect: Connect,
    make_office: OfficeFactory,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs a broker in ZooKeeper mode until `stop` is set, then takes it down in order.

    It is started when it is registered and serves clients.

    Raises:
        CannotListen, CannotRegister, StorageRefused, CannotConnect: it cannot start, or not go on.
    """
    bound = await bind_listeners(config)
    metrics = await bind_metrics(config, bound)
    try:
        async with connect() as zookeeper:
            await _live(config, zookeeper, make_office, bound, metrics, stop, task_status)
    finally:
        await let_go(bound, metrics)
    _log.info("stopped", node=config.node_id)


async def _live(
    config: ZooKeeperBrokerConfig,
    zookeeper: ZooKeeper,
    make_office: OfficeFactory,
    bound: list[BoundListener],
    metrics: BoundMetrics | None,
    stop: trio.Event,
    task_status: trio.TaskStatus[Running],
) -> None:
    rng = random.Random()
    cluster_id = await _found(config, zookeeper, rng)
    directory_id = claim_directory(config, cluster_id, rng)
    broker = _ZooKeeperBroker(config, zookeeper, make_office, cluster_id, directory_id, bound, rng)
    failure: CannotRegister | None = None
    try:
        async with trio.open_nursery() as nursery:
            await broker.start(nursery, metrics)
            task_status.started(
                Running(
                    cluster_id=cluster_id,
                    endpoints={one.name: one.advertised for one in bound},
                    metrics=None if metrics is None else metrics.address,
                )
            )
            await stop.wait()
            await broker.stop()
            nursery.cancel_scope.cancel()
    except* CannotRegister as group:
        failure = _first(group)  # what an operator is to read, without the group around it
    if failure is not None:
        raise failure


def _first(group: BaseExceptionGroup[CannotRegister]) -> CannotRegister:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


async def _found(config: ZooKeeperBrokerConfig, zookeeper: ZooKeeper, rng: random.Random) -> str:
    """The cluster's id, and the paths that must be there.

    Raises:
        CannotRegister
    """
    try:
        await ensure_paths(zookeeper)
        return await find_cluster_id(zookeeper, rng)
    except ZooKeeperError as error:
        raise CannotRegister(
            f"Broker {config.node_id} cannot find its cluster in ZooKeeper: {error}\n"
            f"  where: {config.zookeeper_connect}\n"
            "  what to do: see that the servers are up and let this client write, and start the broker again"
        ) from error


class _ZooKeeperBroker:
    """The parts of one broker, and the wires between them."""

    def __init__(
        self,
        config: ZooKeeperBrokerConfig,
        zookeeper: ZooKeeper,
        make_office: OfficeFactory,
        cluster_id: str,
        directory_id: uuid.UUID | None,
        bound: list[BoundListener],
        rng: random.Random,
    ) -> None:
        self._config = config
        self._bound = bound
        self._office = make_office(zookeeper, cluster_id)
        by_name = {one.name: one.advertised for one in bound}
        own = by_name[config.inter_broker_listener]
        client_id = f"broker-{config.node_id}"
        between, to_controllers = ClientLogin(config.between_brokers), controller_login(config)
        self._links = ControllerLinks(opener(f"{client_id}-forwarding", between))
        self._quorum_links = ControllerLinks(opener(f"{client_id}-forwarding", to_controllers))
        sender = OwnOfficeFirst(self._links, self._quorum_links, self._office, own)
        self._relay = Relay(sender, AskedHere(config))
        self._relay.shows_nothing()
        self._quorum: QuorumFollower | None = None
        self._membership: HybridMembership | None = None
        if config.migrates and directory_id is not None:
            self._quorum = QuorumFollower(
                config.bootstrap_servers, config.controller_listener_names[0], client_id, to_controllers
            )
            self._membership = HybridMembership(
                config,
                cluster_id=cluster_id,
                directory_id=directory_id,
                bound=bound,
                quorum=self._quorum,
                security=to_controllers,
                rng=rng,
            )
        self._finder = ControllerFinder(
            zookeeper, config.inter_broker_listener, self._controller_changed, quorum=self._quorum
        )
        self._registration = _registration(config, zookeeper, bound)
        server = ZooKeeperBrokerServer(config=config, relay=self._relay, office=self._office)
        room = room_for_clients(config)
        self._users = UserFollower(zookeeper) if needs_users(config) else None
        known = known_users(config, self._known_users)
        self._listeners = [
            Listener(one.name, server, security=listener_security(config, one.name, known), room=room)
            for one in bound
        ]

    def _known_users(self) -> MetadataImage:
        return MetadataImage.EMPTY if self._users is None else self._users.image

    async def start(self, nursery: trio.Nursery, metrics: BoundMetrics | None) -> None:
        """Registered first: who becomes the controller is found by its registration."""
        if metrics is not None:
            await nursery.start(
                partial(
                    serve_metrics,
                    metrics,
                    image=self._office.image,
                    listeners=self._listeners,
                    of_the_role=self._office.samples,
                )
            )
        await nursery.start(self._links.run)
        await nursery.start(self._quorum_links.run)
        nursery.start_soon(self._relay.run)
        nursery.start_soon(self._registration.run)
        await self._registration.registered.wait()
        nursery.start_soon(self._finder.run)
        if self._membership is not None and self._quorum is not None:
            nursery.start_soon(self._membership.run)
            nursery.start_soon(self._quorum.run)
        await nursery.start(self._office.run)
        if self._users is not None:
            await nursery.start(self._users.run)
        for listener, one in zip(self._listeners, self._bound, strict=True):
            await nursery.start(listener.serve, one.sources)
        _log.info("serving", node=self._config.node_id, on=[str(one.advertised) for one in self._bound])

    async def stop(self) -> None:
        """The office first, so that another broker takes it while this one still hands requests on."""
        with trio.move_on_after(self._config.shutdown_timeout_ms / 1000):
            _log.info("stopping", node=self._config.node_id)
            await self._office.leave()
            if self._membership is not None:
                await self._membership.leave()
            await self._registration.leave()
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(listener.stop, _DRAIN_MS)

    def _controller_changed(self, leader: LeaderAndEpoch) -> None:
        _log.info("controller", node=leader.leader_id, at=str(leader.endpoint))
        self._relay.leader_changed(leader)


def _registration(
    config: ZooKeeperBrokerConfig, zookeeper: ZooKeeper, bound: list[BoundListener]
) -> Registration:
    """The broker's znode."""
    return Registration(
        zookeeper,
        config.node_id,
        listeners=tuple(
            BrokerListener(
                name=one.name,
                host=one.advertised.host,
                port=one.advertised.port,
                security_protocol=config.security_protocols[one.name].name,
            )
            for one in bound
        ),
        rack=config.rack,
        features={LIGHTWEIGHT: (1, 1)},
        wall_ms=wall_ms,
        patience_s=config.zookeeper.session_timeout_ms / 1000 * _SESSION_GRACE,
    )
