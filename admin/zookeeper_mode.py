"""Brokers in ZooKeeper mode, put together: each is a broker that may become the controller.

Neither of the two packages knows the other; the file of such a node is read by both.
"""

import contextlib
import pathlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

import attrs
import trio

from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.broker.zookeeper_main import run_zookeeper_broker
from quorate.broker.zookeeper_registration import ensure_path
from quorate.controller.policies import Policies
from quorate.controller.policy_loading import load_policies
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_mode import ZooKeeperMode
from quorate.metadata import config_providers, settings
from quorate.metadata.settings import InvalidSettings, Problem, RawSettings, SettingsWarning
from quorate.metadata.zookeeper.client import connected
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.office import OfficeFactory
from quorate.metadata.zookeeper.settings import split_connect

Loaded = TypeVar("Loaded")

_KEYS: Final = ZooKeeperBrokerConfig.known_keys() | ZooKeeperControllerConfig.known_keys()


@attrs.frozen
class ZooKeeperNode:
    """What a file says to both parts."""

    broker: ZooKeeperBrokerConfig
    controller: ZooKeeperControllerConfig


def load_zookeeper_node(
    path: pathlib.Path, environ: Mapping[str, str], host_name: str | None = None
) -> tuple[ZooKeeperNode, tuple[SettingsWarning, ...]]:
    """From a file and the environment. `host_name`: this machine's, for listeners that name no host.

    Raises:
        InvalidSettings: all that is wrong with it, whichever part it concerns.
    """
    raw = settings.overlay(settings.read(path), environ, _KEYS)
    return zookeeper_node(config_providers.resolved(raw, environ), host_name)


def zookeeper_node(
    raw: RawSettings, host_name: str | None = None
) -> tuple[ZooKeeperNode, tuple[SettingsWarning, ...]]:
    """From texts with their origins.

    Raises:
        InvalidSettings
    """
    problems: list[Problem] = []
    broker = _read(
        problems,
        lambda: ZooKeeperBrokerConfig.from_raw(
            raw, host_name, also_used=ZooKeeperControllerConfig.used_keys()
        ),
    )
    controller = _read(
        problems,
        lambda: ZooKeeperControllerConfig.from_raw(
            raw, host_name, also_used=ZooKeeperBrokerConfig.used_keys()
        ),
    )
    if broker is None or controller is None:
        raise InvalidSettings(_each_once(problems))
    warnings = dict.fromkeys((*broker[1], *controller[1]))
    return ZooKeeperNode(broker[0], controller[0]), tuple(warnings)


def _read(problems: list[Problem], load: Callable[[], Loaded]) -> Loaded | None:
    try:
        return load()
    except InvalidSettings as error:
        problems += error.problems
        return None


def _each_once(problems: Iterable[Problem]) -> list[Problem]:
    """By key; both parts judge what both read."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.key, problem)
    return [first[key] for key in sorted(first)]


async def run_zookeeper_node(
    node: ZooKeeperNode,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs the broker until `stop` is set.

    Raises:
        InvalidSettings: a policy cannot be loaded.
        see `run_zookeeper_broker`.
    """
    await run_zookeeper_broker(
        node.broker,
        partial(_connect, node.broker),
        office_factory(node, load_policies(node.controller)),
        stop=stop,
        task_status=task_status,
    )


def office_factory(node: ZooKeeperNode, policies: Policies) -> OfficeFactory:
    """What makes a broker's part in the controller's office."""

    def make(zookeeper: ZooKeeper, cluster_id: str) -> ZooKeeperMode:
        return ZooKeeperMode(
            node.controller,
            zookeeper,
            cluster_id,
            rng=random.Random(),
            policies=policies,
            own_keys={**ZooKeeperControllerConfig.own_keys(), **ZooKeeperBrokerConfig.own_keys()},
        )

    return make


@contextlib.asynccontextmanager
async def _connect(config: ZooKeeperBrokerConfig) -> AsyncIterator[ZooKeeper]:
    """A session below the chroot, which is made if it is not there, as Kafka's brokers do."""
    hosts, chroot = split_connect(config.zookeeper_connect)
    async with connected(config.zookeeper) as zookeeper:
        if chroot and await zookeeper.exists("/") is None:
            async with connected(attrs.evolve(config.zookeeper, hosts=hosts)) as whole:
                await ensure_path(whole, chroot)
        yield zookeeper
