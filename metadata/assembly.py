"""Putting a node together: its directory, its core, its links, its listeners, bound before anything runs (shell).

Controllers and brokers differ in the state machine that they bring and in whether their log must be durable; the rest
is the same, and here.
"""

import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
import structlog
import trio

from quorate.metadata.addresses import Address, SecurityProtocol
from quorate.metadata.disk_speed import DiskSpeed
from quorate.metadata.features import KRAFT_VERSION, SUPPORTED
from quorate.metadata.ids import Endpoint, ReplicaKey, quorum_name, uuid_to_text
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.directory import OpenDirectory, discard_copy, open_directory
from quorate.metadata.log.segments import LogConfig
from quorate.metadata.node import RaftNode, StateMachine, Superseded, wall_ms
from quorate.metadata.node_config import NodeConfig
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.retention import RetentionLimits
from quorate.metadata.quorum.snapshots import SnapshotSchedule
from quorate.metadata.records import FeatureRange
from quorate.metadata.room import Limits, Room
from quorate.metadata.security.admission import ListenerSecurity
from quorate.metadata.security.known import KnownUsers
from quorate.metadata.security.login import ClientLogin
from quorate.metadata.security.settings import ListenerSettings
from quorate.metadata.transport import PeerLinks
from quorate.metadata.wire import brokers

_log = structlog.get_logger("node")

RunningT = TypeVar("RunningT")


class CannotListen(Exception):
    """A listener's address cannot be bound; the text says which, why and what to do."""


@attrs.frozen(kw_only=True)
class BoundListener:
    """A listener that has its address: requests wait in its backlog until somebody serves it."""

    name: str
    advertised: Endpoint
    sources: Sequence[trio.abc.Listener[Any]]


@attrs.frozen(kw_only=True)
class BoundMetrics:
    """The endpoint of the metrics, which has its address."""

    address: Address
    sources: Sequence[trio.abc.Listener[Any]]


@attrs.frozen(kw_only=True)
class Assembled:
    """A node that has read its disk and not yet begun to run."""

    directory: OpenDirectory
    node: RaftNode
    links: PeerLinks
    login: ClientLogin
    """How the node reaches the controllers."""

    @property
    def cluster_id(self) -> str:
        return self.directory.meta.cluster_id

    @property
    def directory_id(self) -> uuid.UUID:
        return self.directory.meta.directory_id


async def through_recoveries(
    config: NodeConfig,
    live: Callable[[Callable[[RunningT], None]], Awaitable[None]],
    task_status: trio.TaskStatus[RunningT],
) -> None:
    """Lets a node live; and once more, without its copy of the log, each time a recovery has given that log up.

    All that was derived from the old log goes with the old life: images, epochs, sessions. `live` tells what
    `task_status` hears, once in each life.
    """
    told = False

    def tell(running: RunningT) -> None:
        nonlocal told
        if not told:
            told = True
            task_status.started(running)

    while True:
        given_up: list[Superseded] = []
        try:
            await live(tell)
        except* Superseded as group:
            given_up = list(_leaves(group))
        if not given_up:
            return
        recovery_id = given_up[0].recovery_id
        _log.warning(
            "the quorum was recovered from another log: this node discards its copy and begins anew",
            node=config.node_id,
            directory=str(config.metadata_log_dir),
            recovery=uuid_to_text(recovery_id),
        )
        await trio.to_thread.run_sync(partial(discard_copy, config.metadata_log_dir, recovery_id))


def _leaves(group: BaseExceptionGroup[Superseded]) -> Iterator[Superseded]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def wall_offset_ms() -> int:
    """Wall clock minus the node's clock, in ms: for append times of the core's own records, which decide nothing."""
    return int(time.time() * 1000) - int(trio.current_time() * 1000)


def open_node_directory(config: NodeConfig, *, is_controller: bool) -> OpenDirectory:
    """Opens the node's metadata directory and tells the log what recovery found.

    Raises:
        StorageRefused, StorageFailed: see `log.directory.open_directory`.
    """
    log_config = LogConfig(segment_bytes=config.log_segment_bytes, segment_ms=config.log_segment_ms)
    opened = open_directory(
        config.metadata_log_dir, node_id=config.node_id, is_controller=is_controller, log_config=log_config
    )
    for line in opened.report.lines():
        _log.info(line, directory=str(config.metadata_log_dir))
    return opened


def assemble(
    config: NodeConfig,
    directory: OpenDirectory,
    machine: StateMachine,
    *,
    is_controller: bool,
    rng: random.Random,
    endpoints: tuple[Endpoint, ...] = (),
    auto_join: bool = False,
    login: ClientLogin | None = None,
) -> Assembled:
    """Core, node and links over an open directory. `endpoints`: where other controllers reach this one.

    Raises:
        CannotSecure: the certificates for the way to the controllers cannot be used.
    """
    login = login or controller_login(config)
    meta = directory.meta
    spoken = SUPPORTED[KRAFT_VERSION]
    listener = config.controller_listener_names[0]
    quorum = QuorumConfig(
        replica=ReplicaKey(config.node_id, meta.directory_id),
        cluster_id=meta.cluster_id,
        recovery_id=meta.recovery_id,
        listener=listener,
        endpoints=endpoints,
        kraft_versions=(spoken.lowest, spoken.highest),
        bootstrap=config.bootstrap_endpoints,
        auto_join=auto_join,
        durable=is_controller,
        wall_offset_ms=wall_offset_ms(),
        election_timeout_ms=config.election_timeout_ms,
        fetch_timeout_ms=config.fetch_timeout_ms,
        election_backoff_max_ms=config.election_backoff_max_ms,
        request_timeout_ms=config.request_timeout_ms,
        retry_backoff_ms=config.retry_backoff_ms,
        fetch_max_bytes=config.fetch_max_bytes,
        snapshot_max_bytes=config.fetch_snapshot_max_bytes,
    )
    links = PeerLinks(
        node_id=config.node_id,
        cluster_id=quorum_name(meta.cluster_id, meta.recovery_id),
        listener=listener,
        request_timeout_ms=config.request_timeout_ms,
        security=login,
    )
    node = RaftNode(
        core=RaftCore(quorum, directory.election, directory.log.summary(), rng),
        log=directory.log,
        elections=directory.elections,
        transport=links,
        machine=machine,
        schedule=SnapshotSchedule(config.snapshot_after_bytes, config.snapshot_interval_ms),
        free_space_floor_bytes=config.free_space_floor_bytes,
        disk_speed=DiskSpeed(config.slow_flush_ms),
        retention_limits=RetentionLimits.of(config.retention_bytes, config.retention_ms),
    )
    return Assembled(directory=directory, node=node, links=links, login=login)


def controller_login(config: NodeConfig) -> ClientLogin:
    """How a node of either role reaches the controllers.

    Raises:
        CannotSecure: its certificates cannot be used.
    """
    return ClientLogin(config.controller_security)


def known_users(
    config: NodeConfig, image: Callable[[], MetadataImage]
) -> Callable[[ListenerSettings], KnownUsers]:
    """Whom the listeners of a node know; each has PLAIN users of its own."""

    def known(settings: ListenerSettings) -> KnownUsers:
        users = {} if settings.sasl is None else settings.sasl.plain_users
        return KnownUsers(
            plain_users=users,
            image=image,
            wall_ms=wall_ms,
            token_secret=config.delegation_token_secret_key,
        )

    return known


def listener_security(
    config: NodeConfig, name: str, known: Callable[[ListenerSettings], KnownUsers]
) -> ListenerSecurity | None:
    """What a listener asks of its clients; None: nothing.

    Raises:
        CannotSecure: its certificates cannot be used.
    """
    settings = config.listener_security.get(name)
    if settings is None or settings.protocol is SecurityProtocol.PLAINTEXT:
        return None
    users = known(settings)
    return ListenerSecurity(settings, users, wall_ms=users.wall_ms)


def room_for_clients(config: NodeConfig) -> Room:
    """The configured limits, and what the node's listeners share of them."""
    return Room(
        Limits(
            frame_bytes=config.max_frame_bytes,
            connections=config.max_connections,
            connections_per_address=config.max_connections_per_ip,
            connections_per_second=config.max_connection_creation_rate,
            pipelined=config.max_in_flight_requests,
            unread_bytes_of_all=config.max_unread_bytes,
            idle_ms=config.connections_max_idle_ms if config.connections_max_idle_ms > 0 else 2**31,
        )
    )


async def bind_listeners(config: NodeConfig) -> list[BoundListener]:
    """Binds every configured listener, so that an occupied port is known before anything else happens.

    Raises:
        CannotListen: one of them cannot be bound; none stays bound.
    """
    bound: list[BoundListener] = []
    advertised = {one.name: one for one in config.advertised_listeners}
    try:
        for listener in config.listeners:
            where = Address(listener.host, listener.port)
            sources = await _bind(config, where, f"listener {listener.name}", "listeners")
            port = sources[0].socket.getsockname()[1]
            known = advertised.get(listener.name, listener)
            reached = Endpoint(listener.name, known.host, known.port or port)
            bound.append(BoundListener(name=listener.name, advertised=reached, sources=sources))
    except BaseException:
        await let_go(bound)
        raise
    return bound


async def bind_metrics(config: NodeConfig, bound: Sequence[BoundListener]) -> BoundMetrics | None:
    """Binds the endpoint of the metrics, beside the listeners; None where none is configured.

    Raises:
        CannotListen: it cannot be bound; then the listeners do not stay bound either.
    """
    where = config.metrics_listener
    if where is None:
        return None
    try:
        sources = await _bind(config, where, "metrics", "quorate.metrics.listener")
    except BaseException:
        await let_go(bound)
        raise
    return BoundMetrics(address=Address(where.host, sources[0].socket.getsockname()[1]), sources=sources)


async def let_go(bound: Sequence[BoundListener], metrics: BoundMetrics | None = None) -> None:
    """Unbinds what nobody serves (any more), so that the same addresses can be bound again. Harmless twice."""
    with trio.CancelScope(shield=True):  # who is cancelled would close the first one only
        for one in (*bound, *(() if metrics is None else (metrics,))):
            for source in one.sources:
                await trio.aclose_forcefully(source)


async def _bind(config: NodeConfig, where: Address, what: str, setting: str) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(
            where.port, host=where.host or None, backlog=config.listen_backlog
        )
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise CannotListen(
            f"Cannot listen on {where} ({what} of node {config.node_id})\n"
            f"  why: {reason}\n"
            f"  what to do: stop the program that uses the port, or change `{setting}` in this node's configuration"
        ) from problem


def registered_listeners(config: NodeConfig, bound: Iterable[BoundListener]) -> tuple[brokers.Listener, ...]:
    """What a node's registration says of where it is reached."""
    return tuple(
        brokers.Listener(
            name=one.name,
            host=one.advertised.host,
            port=one.advertised.port,
            security_protocol=config.security_protocols[one.name],
        )
        for one in bound
    )


def registered_features(ranges: Iterable[FeatureRange]) -> tuple[brokers.Feature, ...]:
    """What a node's registration says of the levels that it supports."""
    return tuple(
        brokers.Feature(
            name=one.name,
            min_supported_version=one.min_supported_version,
            max_supported_version=one.max_supported_version,
        )
        for one in ranges
    )
