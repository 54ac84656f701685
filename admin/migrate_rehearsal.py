"""A migration on a copy: a tree in this process, a controller of its own beside it, there and back (shell).

Everything is the product's: a whole controller with a directory and a port, its driver, orders over the wire. Only
the ZooKeeper is the embedded tree, filled with what was dumped or read; nothing is written to the cluster that it
comes from.

    read ─▶ copy ─▶ both sides ─▶ a change ─▶ compare ─▶ give back ─▶ compare with the tree of the beginning
"""

import contextlib
import json
import pathlib
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio

from quorate.admin.cluster_files import ClusterFiles, Wanted, lay_out
from quorate.admin.errors import Refused
from quorate.admin.logs import configure_logs
from quorate.admin.output import plural
from quorate.admin.ports import HeldPorts
from quorate.controller.config import ControllerConfig
from quorate.controller.main import run_controller
from quorate.metadata.addresses import Address
from quorate.metadata.checks import ErrorCode
from quorate.metadata.client import ClusterClient, open_client
from quorate.metadata.features import METADATA_VERSION
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest, BrokerRegistrationRequest, Feature
from quorate.metadata.wire.migration import ROLL_BACK, RUN, STATUS, SteerMigrationRequest
from quorate.metadata.wire.quotas import (
    AlterClientQuotasRequest,
    AlteredEntry,
    EntityData,
    OpData,
)
from quorate.metadata.zookeeper.embedded import EmbeddedServer
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.tree import all_znodes
from quorate.metadata.zookeeper.znodes import Tree

_TIMEOUT_MS: Final = 30_000
_LOOK_AGAIN_S: Final = 0.05
_GUEST: Final = "quorate-rehearsal"
"""Whose quota is set and taken away again, so that something is written to both sides."""
_SESSION_MS: Final = 3_600_000
_ANY_LEVEL: Final = 1_000
_ANY_OFFSET: Final = 2**62
_NOT_COMPARED: Final = frozenset({paths.CONTROLLER, paths.CONTROLLER_EPOCH, paths.MIGRATION})
"""What a migration leaves behind after the way back, by its nature."""


@attrs.frozen(kw_only=True)
class Step:
    """A part of the rehearsal, and how long it took."""

    name: str
    seconds: float
    words: str


@attrs.frozen(kw_only=True)
class Rehearsal:
    """What came of it."""

    steps: tuple[Step, ...]
    status: dict[str, Any]
    """The driver's status at the end."""
    copied: dict[str, Any] | None
    blockers: tuple[dict[str, Any], ...]
    changed: tuple[str, ...]
    """Znodes that are not as they were before, after the way back."""
    led: tuple[str, ...]
    """States of partitions that changed because brokers are not live: the quorum takes from those what they have."""

    @property
    def went_well(self) -> bool:
        return not self.blockers and not self.changed and self.status["state"] == "ROLLED_BACK"

    def document(self) -> dict[str, Any]:
        return {
            "went_well": self.went_well,
            "steps": [attrs.asdict(step) for step in self.steps],
            "copied": self.copied,
            "verified": self.status["verified"],
            "blockers": list(self.blockers),
            "changed_znodes": list(self.changed),
            "changed_states": list(self.led),
            "last_error": self.status["last_error"],
        }


async def go_there_and_back(
    tree: Tree, *, secret: str | None, tell: Callable[[str], None], within_s: float
) -> Rehearsal:
    """Goes there and back on a copy of a tree; `tell` hears of every step.

    Raises:
        Refused: it did not come to an end in that time.
    """
    with tempfile.TemporaryDirectory(prefix="quorate-rehearsal-") as directory, HeldPorts() as ports:
        settings = {
            "zookeeper.metadata.migration.enable": "true",
            "zookeeper.connect": "embedded",
            "broker.session.timeout.ms": str(_SESSION_MS),
        }
        if secret is not None:
            settings["password.encoder.secret"] = secret
        wanted = Wanted(controllers=1, brokers=0, controller_settings=settings, cluster_id=_cluster_id(tree))
        files = lay_out(pathlib.Path(directory), ports, random.SystemRandom(), wanted)
        server = EmbeddedServer(tree)
        result: list[Rehearsal] = []
        async with _controller(files, server), _client(files) as client:
            with trio.move_on_after(within_s) as limit:
                result.append(await _Rehearsing(tree, files.cluster_id, server, client, tell).go())
        if limit.cancelled_caught or not result:
            raise Refused(
                "The rehearsal did not come to its end.",
                why=f"it took more than {within_s:g} s",
                remedy="give it more time with --within",
            )
        return result[0]


class _Rehearsing:
    def __init__(
        self,
        tree: Tree,
        cluster_id: str,
        server: EmbeddedServer,
        client: ClusterClient,
        tell: Callable[[str], None],
    ) -> None:
        self._tree = tree
        self._cluster_id = cluster_id
        self._live = sorted(
            int(name)
            for path in tree
            if path.startswith(f"{paths.BROKER_IDS}/") and (name := paths.name(path)).isdecimal()
        )
        self._server = server
        self._client = client
        self._tell = tell
        self._steps: list[Step] = []

    async def go(self) -> Rehearsal:
        began = time.monotonic()
        await self._register_brokers()
        await self._steer(RUN)
        status = await self._until(
            lambda now: (
                now["state"] == "DUAL_WRITE" or (bool(now["blockers"]) and now["log"]["order"] == "WAIT")
            )
        )
        copied, blockers = status["copied"], tuple(status["blockers"])
        if blockers:
            self._done("copy", began, f"{plural(len(blockers), 'thing')} cannot be copied; nothing was")
            return Rehearsal(
                steps=tuple(self._steps), status=status, copied=None, blockers=blockers, changed=(), led=()
            )
        self._done("copy", began, f"{plural(copied['records'], 'record')}, up to offset {copied['offset']}")
        began = time.monotonic()
        await self._quota(1024.0)
        await self._quota(None)
        await self._until(lambda now: now["zookeeper"]["lag_records"] == 0)
        self._done("both sides", began, "a quota was set and removed, and ZooKeeper followed")
        began = time.monotonic()
        await self._steer(ROLL_BACK)
        status = await self._until(lambda now: now["state"] == "ROLLED_BACK")
        self._done("give back", began, "ZooKeeper was compared with the log, equal, and let go")
        every = self._changed()
        led = tuple(path for path in every if path.endswith("/state"))
        changed = tuple(path for path in every if path not in led)
        words = "every znode is as it was" if not changed else f"{plural(len(changed), 'znode')} changed"
        if led:
            words += f"; {plural(len(led), 'partition')} lost what brokers led or followed that are not live"
        self._done("compare", time.monotonic(), words)
        return Rehearsal(
            steps=tuple(self._steps), status=status, copied=copied, blockers=(), changed=changed, led=led
        )

    async def _register_brokers(self) -> None:
        """In the place of those that live in the tree: what is not registered has lost what it leads."""
        features = (
            Feature(name=METADATA_VERSION, min_supported_version=1, max_supported_version=_ANY_LEVEL),
        )
        for broker_id in self._live:
            directory = uuid.uuid4()
            request = BrokerRegistrationRequest(
                broker_id=broker_id,
                cluster_id=self._cluster_id,
                incarnation_id=uuid.uuid4(),
                features=features,
                log_dirs=(directory,),
                is_migrating_zk_broker=True,
            )
            registered = await self._client.call_controller(request, _TIMEOUT_MS)
            if registered.error_code is not ErrorCode.none:
                raise Refused(
                    f"Broker {broker_id} of the tree cannot be registered.",
                    why=registered.error_code.name.upper(),
                )
            beat = BrokerHeartbeatRequest(
                broker_id=broker_id, broker_epoch=registered.broker_epoch, current_metadata_offset=_ANY_OFFSET
            )
            await self._client.call_controller(beat, _TIMEOUT_MS)

    def _done(self, name: str, began: float, words: str) -> None:
        step = Step(name=name, seconds=round(time.monotonic() - began, 2), words=words)
        self._steps.append(step)
        self._tell(f"{step.name}: {step.words} ({step.seconds} s)")

    async def _steer(self, step: str) -> dict[str, Any]:
        response = await self._client.call_controller(
            SteerMigrationRequest(step=step, forced=True), _TIMEOUT_MS
        )
        if response.error_code is not ErrorCode.none:
            raise Refused("The rehearsal's own controller refused a step.", why=response.error_message)
        found: dict[str, Any] = json.loads(response.status)
        return found

    async def _until(self, is_there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not is_there(found := await self._steer(STATUS)):  # noqa: ASYNC110  a remote state
            await trio.sleep(_LOOK_AGAIN_S)
        return found

    async def _quota(self, value: float | None) -> None:
        op = OpData(key="producer_byte_rate", value=value or 0.0, remove=value is None)
        entity = EntityData(entity_type="user", entity_name=_GUEST)
        request = AlterClientQuotasRequest(entries=(AlteredEntry(entity=(entity,), ops=(op,)),))
        response = await self._client.call_controller(request, _TIMEOUT_MS)
        [entry] = response.entries
        if entry.error_code is not ErrorCode.none:
            raise Refused("A quota could not be set on the copy.", why=entry.error_message)

    def _changed(self) -> tuple[str, ...]:
        """Data and existence; notifications come and go."""
        now = {node.path: node.data for node in all_znodes(self._server.state.tree)}
        before = {path: node.data for path, node in self._tree.items()}
        every = sorted(now.keys() | before.keys())
        notices = (f"{paths.CONFIG_CHANGES}/", f"{paths.DELETE_TOPICS}/")
        return tuple(
            path
            for path in every
            if path not in _NOT_COMPARED
            and not path.startswith(notices)
            and (path in now, now.get(path)) != (path in before, before.get(path))
        )


def _cluster_id(tree: Tree) -> str | None:
    node = tree.get(paths.CLUSTER_ID)
    try:
        return None if node is None else str(json.loads(node.data or b"")["id"])
    except (ValueError, KeyError, TypeError):
        return None


@contextlib.asynccontextmanager
async def _session(server: EmbeddedServer) -> AsyncIterator[ZooKeeper]:
    session = server.connect()
    try:
        yield session
    finally:
        session.close()


@contextlib.asynccontextmanager
async def _controller(files: ClusterFiles, server: EmbeddedServer) -> AsyncIterator[None]:
    """One, which leads itself."""
    config, _ = ControllerConfig.load(files.controllers[0].config, {})
    stop = trio.Event()
    with (files.directory / "rehearsal.log").open("a", buffering=1) as log:
        configure_logs(config, log)
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(run_controller, config, stop=stop, zookeeper=partial(_session, server))
            )
            yield
            stop.set()


@contextlib.asynccontextmanager
async def _client(files: ClusterFiles) -> AsyncIterator[ClusterClient]:
    servers = tuple(Address("127.0.0.1", node.port) for node in files.controllers)
    async with open_client(servers, client_id="quorate-rehearsal") as client:
        yield client
