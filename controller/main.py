"""A controller's process: composes disk, core, controller, listeners, and takes them down in order (shell)."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Final

import attrs
import structlog
import trio

from quorate.controller.active import ActiveController
from quorate.controller.config import ControllerConfig
from quorate.controller.events import BootstrapRead
from quorate.controller.machine import ControllerMachine
from quorate.controller.metrics import controller_samples
from quorate.controller.migration.driver import ConnectZooKeeper, DriverSettings, MigrationDriver
from quorate.controller.migration.office import MachineOffice
from quorate.controller.migration.steering import Steering
from quorate.controller.partition_health import PartitionHealth
from quorate.controller.policies import Policies
from quorate.controller.policy_loading import load_policies
from quorate.controller.registrar import keep_registered
from quorate.controller.server import ControllerServer
from quorate.metadata import features
from quorate.metadata.addresses import Address
from quorate.metadata.assembly import (
    Assembled,
    BoundListener,
    BoundMetrics,
    assemble,
    bind_listeners,
    bind_metrics,
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
from quorate.metadata.kafka_serving import KafkaServing
from quorate.metadata.kafka_snapshots import KafkaSnapshots
from quorate.metadata.listener import Listener
from quorate.metadata.log.directory import OpenDirectory
from quorate.metadata.metrics.serving import serve_metrics
from quorate.metadata.node import now_ms, wall_ms
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.wire import brokers
from quorate.metadata.zookeeper.client import connected

_DRAIN_MS: Final = 1_000
"""How long clients may still be answered after leadership was handed over."""

_EVERYWHERE: Final = ("", "0.0.0.0", "::")

_log = structlog.get_logger("controller")


@attrs.frozen(kw_only=True)
class Running:
    """What a controller tells once it listens."""

    cluster_id: str
    endpoints: Mapping[str, Endpoint]
    """By listener, as advertised."""
    metrics: Address | None = None
    """Where metrics are served."""


async def run_controller(
    config: ControllerConfig,
    *,
    stop: trio.Event,
    zookeeper: ConnectZooKeeper | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs a controller until `stop` is set, then takes it down in order: a leader hands over first.

    `zookeeper`: a session with the ZooKeeper that the cluster is moved from, in the place of the configured one.

    One that does not vote begins anew, with an empty copy of the log, when the quorum was recovered from another log.

    Raises:
        CannotListen, StorageRefused, InvalidSettings: it cannot start.
        StorageFailed, InvariantViolated: the process must end: its disk or its state can no longer be trusted.
    """
    policies = load_policies(config)
    connect = zookeeper or partial(connected, config.zookeeper)
    await through_recoveries(config, partial(_live, config, policies, connect, stop), task_status)
    _log.info("stopped", node=config.node_id)


async def _live(
    config: ControllerConfig,
    policies: Policies,
    zookeeper: ConnectZooKeeper,
    stop: trio.Event,
    tell: Callable[[Running], None],
) -> None:
    """One life: from bound listeners and an open directory until both are let go."""
    bound = await bind_listeners(config)
    metrics = await bind_metrics(config, bound)
    try:
        directory = open_node_directory(config, is_controller=True)
        try:
            await _run(config, policies, zookeeper, directory, bound, metrics, stop, tell)
        finally:
            directory.close()
    finally:
        await let_go(bound, metrics)


async def _run(
    config: ControllerConfig,
    policies: Policies,
    zookeeper: ConnectZooKeeper,
    directory: OpenDirectory,
    bound: list[BoundListener],
    metrics: BoundMetrics | None,
    stop: trio.Event,
    tell: Callable[[Running], None],
) -> None:
    rng = random.Random()
    active = ActiveController(config=config, cluster_id=directory.meta.cluster_id, rng=rng, policies=policies)
    machine = ControllerMachine(active, wall_ms=wall_ms)
    parts = assemble(
        config,
        directory,
        machine,
        is_controller=True,
        rng=rng,
        endpoints=_voter_endpoints(config, bound),
        auto_join=config.auto_join,
    )
    machine.node = parts.node
    steering = _steering(config, zookeeper, directory, machine, rng) if config.migration_enabled else None
    active.step(BootstrapRead(directory.bootstrap), now_ms())
    slow = SlowReads()
    snapshots = KafkaSnapshots(directory.log, config.metadata_log_dir)
    kafka = KafkaServing(parts.node, snapshots, parts.cluster_id)
    server = ControllerServer(
        config=config,
        machine=machine,
        node=parts.node,
        slow=slow,
        kafka=kafka,
        cluster_id=parts.cluster_id,
        steering=steering,
    )
    listeners = _listeners(config, machine, server, bound)
    running = _told(parts, bound, metrics)
    async with trio.open_nursery() as nursery:
        await nursery.start(parts.links.run, parts.node.submit)
        await nursery.start(parts.node.run)
        nursery.start_soon(slow.run)
        nursery.start_soon(kafka.run)
        if steering is not None:
            nursery.start_soon(steering.run)
        for listener, one in zip(listeners, bound, strict=True):
            await nursery.start(listener.serve, one.sources)
        registration = _registration(config, bound, rng)
        nursery.start_soon(keep_registered, machine, registration, rng, parts.login)
        if metrics is not None:
            await _serve_metrics(nursery, metrics, parts, machine, listeners)
        _log.info("listening", node=config.node_id, on=[str(one.advertised) for one in bound])
        tell(running)
        await stop.wait()
        await _take_down(config, parts, listeners)
        nursery.cancel_scope.cancel()


def _told(parts: Assembled, bound: list[BoundListener], metrics: BoundMetrics | None) -> Running:
    return Running(
        cluster_id=parts.cluster_id,
        endpoints={one.name: one.advertised for one in bound},
        metrics=None if metrics is None else metrics.address,
    )


def _listeners(
    config: ControllerConfig, machine: ControllerMachine, server: ControllerServer, bound: list[BoundListener]
) -> list[Listener]:
    room = room_for_clients(config)
    known = known_users(config, lambda: machine.image)
    return [
        Listener(one.name, server, security=listener_security(config, one.name, known), room=room)
        for one in bound
    ]


def _steering(
    config: ControllerConfig,
    connect: ConnectZooKeeper,
    directory: OpenDirectory,
    machine: ControllerMachine,
    rng: random.Random,
) -> Steering:
    """The migration driver of this node, and who may steer it."""
    office = MachineOffice(machine, config.node_id)
    machine.follow(office.moved)
    secrets = (config.password_encoder_secret, config.password_encoder_old_secret)
    settings = DriverSettings(
        cluster_id=directory.meta.cluster_id,
        secrets=tuple(secret for secret in secrets if secret is not None),
        batch_records=config.migration_min_batch_size,
        max_deleted_percent=config.migration_max_deleted_percent,
    )
    driver = MigrationDriver(office, connect, settings, now_ms=now_ms, wall_ms=wall_ms)
    return Steering(driver, office, partial(random_uuid, rng))


async def _serve_metrics(
    nursery: trio.Nursery,
    bound: BoundMetrics,
    parts: Assembled,
    machine: ControllerMachine,
    listeners: list[Listener],
) -> None:
    active = machine.active
    health = PartitionHealth(lambda: machine.image.topics)
    nursery.start_soon(health.run)
    await nursery.start(
        partial(
            serve_metrics,
            bound,
            node=parts.node,
            image=lambda: machine.image,
            listeners=listeners,
            of_the_role=lambda: chain(controller_samples(active), health.samples()),
        )
    )


async def _take_down(config: ControllerConfig, parts: Assembled, listeners: list[Listener]) -> None:
    """Leadership first, while the others can still be talked to; then the clients' connections."""
    with trio.move_on_after(config.shutdown_timeout_ms / 1000):
        _log.info("stopping", node=config.node_id)
        await parts.node.hand_over()
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(listener.stop, _DRAIN_MS)
    parts.node.stop()


def _voter_endpoints(config: ControllerConfig, bound: list[BoundListener]) -> tuple[Endpoint, ...]:
    """Where the other controllers reach this one; none where the configuration names no host to reach it by."""
    by_name = {one.name: one.advertised for one in bound}
    endpoints = tuple(by_name[name] for name in config.controller_listener_names if name in by_name)
    return endpoints if all(one.host not in _EVERYWHERE for one in endpoints) else ()


def _registration(
    config: ControllerConfig, bound: list[BoundListener], rng: random.Random
) -> brokers.ControllerRegistrationRequest:
    """Who this life of the process is: a new incarnation at each start (KIP-919)."""
    return brokers.ControllerRegistrationRequest(
        controller_id=config.node_id,
        incarnation_id=random_uuid(rng),
        zk_migration_ready=config.migration_enabled,
        listeners=registered_listeners(config, bound),
        features=registered_features(features.supported_ranges()),
    )
