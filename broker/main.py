"""A broker's process: composes disk, observer, life cycle and listeners, and takes them down in order (shell)."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import attrs
import structlog
import trio

from quorate.broker.config import BrokerConfig
from quorate.broker.heartbeat import BrokerIdentity, BrokerLife
from quorate.broker.lifecycle import LifecycleSettings
from quorate.broker.links import ControllerLinks, opener
from quorate.broker.machine import BrokerMachine
from quorate.broker.metrics import broker_samples
from quorate.broker.publishers import Publishers, log_changes
from quorate.broker.relay import Relay
from quorate.broker.server import BrokerServer
from quorate.metadata import features
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import (
    Assembled,
    BoundListener,
    BoundMetrics,
    assemble,
    bind_listeners,
    bind_metrics,
    controller_login,
    known_users,
    let_go,
    listener_security,
    open_node_directory,
    registered_features,
    registered_listeners,
    room_for_clients,
    through_recoveries,
)
from quorate.metadata.ids import Endpoint, random_uuid
from quorate.metadata.listener import Listener
from quorate.metadata.log.directory import OpenDirectory
from quorate.metadata.metrics.serving import serve_metrics
from quorate.metadata.node import now_ms
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import FeatureRange
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.wire.cluster import ApiVersionsResponse

_DRAIN_MS: Final = 1_000
"""How long clients may still be answered after the cluster has let go of this broker."""

_log = structlog.get_logger("broker")


class CannotJoin(Exception):
    """The cluster did not take this broker; the text says why and what to do."""


@attrs.frozen(kw_only=True)
class Running:
    """What a broker tells once its listeners are bound."""

    cluster_id: str
    endpoints: Mapping[str, Endpoint]
    """By listener, as advertised."""
    metrics: Address | None = None
    """Where metrics are served."""


async def run_broker(
    config: BrokerConfig,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs a broker until `stop` is set, then takes it down in order: the cluster lets go of it first.

    It is started when its listeners are bound. Clients that connect are answered once the cluster has unfenced it:
    until then they wait in the backlog, as with Kafka's brokers.

    When the quorum was recovered from another log it begins anew, with an empty copy of the log, by itself.

    Raises:
        CannotListen, StorageRefused: it cannot start.
        CannotJoin: the cluster did not register it in time.
        StorageFailed, InvariantViolated: the process must end: its disk or its state can no longer be trusted.
    """
    await through_recoveries(config, partial(_live, config, stop), task_status)


async def _live(config: BrokerConfig, stop: trio.Event, tell: Callable[[Running], None]) -> None:
    """One life: from an open directory to a closed one."""
    bound = await bind_listeners(config)
    metrics = await bind_metrics(config, bound)
    try:
        directory = open_node_directory(config, is_controller=False)
        try:
            broker = _Broker(config, directory, bound, metrics)
            async with trio.open_nursery() as nursery:
                await broker.start(nursery)
                tell(
                    Running(
                        cluster_id=directory.meta.cluster_id,
                        endpoints={one.name: one.advertised for one in bound},
                        metrics=None if metrics is None else metrics.address,
                    )
                )
                await broker.live(stop, nursery)
                nursery.cancel_scope.cancel()
        finally:
            directory.close()
    finally:
        await let_go(bound, metrics)
    _log.info("stopped", node=config.node_id)
    broker.check_ending()


class _Broker:
    """The parts of one broker, and the wires between them."""

    def __init__(
        self,
        config: BrokerConfig,
        directory: OpenDirectory,
        bound: list[BoundListener],
        metrics: BoundMetrics | None,
    ) -> None:
        rng = random.Random()
        self._config = config
        self._bound = bound
        self._metrics = metrics
        client_id = f"broker-{config.node_id}"
        login = controller_login(config)
        self._heartbeats = ControllerLinks(opener(f"{client_id}-heartbeat", login), distrust_silence=True)
        self._forwarding = ControllerLinks(opener(f"{client_id}-forwarding", login))
        self._relay = Relay(self._forwarding)
        self._slow = SlowReads()
        self._life = BrokerLife(
            _identity(config, directory, bound, rng), _lifecycle_settings(config), self._heartbeats, rng
        )
        self._asked_to_stop = False
        self._leader_endpoint: Endpoint | None = None
        self._controller_versions: ApiVersionsResponse | None = None
        publishers = Publishers(
            {"log": log_changes, "life cycle": self._life.published, "answers": self._relay.published}
        )
        self._machine = BrokerMachine(publish=publishers.publish, leader_changed=self._leader_changed)
        self._parts: Assembled = assemble(
            config, directory, self._machine, is_controller=False, rng=rng, login=login
        )
        self._server = BrokerServer(
            config=config,
            cluster_id=directory.meta.cluster_id,
            image=lambda: self._machine.image,
            published=lambda: self._machine.loader.published,
            relay=self._relay,
            slow=self._slow,
            kraft_version=lambda: self._parts.node.core.log.voters.kraft_version,
            controller_versions=self._versions_of_controller,
        )
        room = room_for_clients(config)
        known = known_users(config, lambda: self._machine.image)
        self._listeners = [
            Listener(one.name, self._server, security=listener_security(config, one.name, known), room=room)
            for one in bound
        ]

    async def start(self, nursery: trio.Nursery) -> None:
        """Everything but the listeners. Metrics are served from here on: who cannot join is worth looking at."""
        await nursery.start(self._heartbeats.run)
        await nursery.start(self._forwarding.run)
        await nursery.start(self._parts.links.run, self._parts.node.submit)
        await nursery.start(self._parts.node.run)
        nursery.start_soon(self._relay.run)
        nursery.start_soon(self._slow.run)
        nursery.start_soon(self._life.run)
        if self._metrics is not None:
            await nursery.start(
                partial(
                    serve_metrics,
                    self._metrics,
                    node=self._parts.node,
                    image=lambda: self._machine.image,
                    listeners=self._listeners,
                    of_the_role=lambda: broker_samples(self._life.lifecycle, now_ms()),
                )
            )
        _log.info("bound", node=self._config.node_id, to=[str(one.advertised) for one in self._bound])

    async def live(self, stop: trio.Event, nursery: trio.Nursery) -> None:
        """Until the cluster has let go of this broker, be it asked to or not."""
        nursery.start_soon(self._serve_when_running)
        nursery.start_soon(self._leave_when_asked, stop)
        await self._life.ended.wait()
        with trio.move_on_after(_DRAIN_MS * 2 / 1000):
            async with trio.open_nursery() as stopping:
                for listener in self._listeners:
                    stopping.start_soon(listener.stop, _DRAIN_MS)
        self._parts.node.stop()

    def check_ending(self) -> None:
        """Raises CannotJoin if the broker did not leave because it was asked to."""
        ending = self._life.ending
        if ending is not None and not self._asked_to_stop:
            raise CannotJoin(
                f"Broker {self._config.node_id} ends: {ending.reason}\n"
                f"{self._what_controllers_said()}"
                "  what to do: see that a majority of the controllers runs and that controller.quorum.bootstrap."
                "servers names some of them;\n"
                "  if they refuse this broker, their log and the text above say why"
            )

    def _what_controllers_said(self) -> str:
        bootstrap = (Address(one.host, one.port) for one in self._config.bootstrap_endpoints)
        said = dict.fromkeys(bootstrap, "has not answered yet") | self._parts.links.last_said()
        lines = [f"    {address}: {what}\n" for address, what in said.items()]
        return "".join(["  asked for the active controller, and what each said last:\n", *lines])

    async def _serve_when_running(self) -> None:
        await self._life.running.wait()
        async with trio.open_nursery() as nursery:
            for listener, one in zip(self._listeners, self._bound, strict=True):
                await nursery.start(listener.serve, one.sources)
            _log.info("serving", node=self._config.node_id, on=[str(one.advertised) for one in self._bound])

    async def _leave_when_asked(self, stop: trio.Event) -> None:
        await stop.wait()
        self._asked_to_stop = True
        _log.info("stopping", node=self._config.node_id)
        self._life.shut_down()
        await trio.sleep(self._config.shutdown_timeout_ms / 1000)
        _log.warning("the cluster does not let go of this broker in time", node=self._config.node_id)
        self._life.shut_down(at_once=True)

    def _leader_changed(self, leader: LeaderAndEpoch) -> None:
        self._leader_endpoint = leader.endpoint
        self._relay.leader_changed(leader)
        self._life.leader_changed(leader)

    def _versions_of_controller(self) -> ApiVersionsResponse | None:
        """Of the active one; while a new one has not been reached, of the one before it."""
        if self._leader_endpoint is not None:
            said = self._heartbeats.versions(self._leader_endpoint)
            self._controller_versions = said or self._controller_versions
        return self._controller_versions


def _lifecycle_settings(config: BrokerConfig) -> LifecycleSettings:
    return LifecycleSettings(
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        session_timeout_ms=config.session_timeout_ms,
        initial_registration_timeout_ms=config.initial_registration_timeout_ms,
        controlled_shutdown_enable=config.controlled_shutdown_enable,
        controlled_shutdown_grace_ms=config.controlled_shutdown_grace_ms,
    )


def _identity(
    config: BrokerConfig, directory: OpenDirectory, bound: list[BoundListener], rng: random.Random
) -> BrokerIdentity:
    supported = features.supported_ranges()
    lightweight = FeatureRange(name=features.LIGHTWEIGHT, min_supported_version=1, max_supported_version=1)
    return BrokerIdentity(
        broker_id=config.node_id,
        cluster_id=directory.meta.cluster_id,
        incarnation_id=random_uuid(rng),
        listeners=registered_listeners(config, bound),
        features=registered_features((*supported, lightweight)),
        rack=config.rack,
        log_dirs=(directory.meta.directory_id,),
    )
