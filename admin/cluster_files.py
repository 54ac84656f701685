"""The directory of a cluster on loopback: node configurations, data, logs, and one file that says what belongs to it.

    cluster.json            cluster id; written last, so its presence means that every node has been formatted
    controller-1.toml       an ordinary configuration, to be changed at will but for id, port and directory
    controller-1/           that node's metadata directory
    controller-1.log        what that node says
    client.properties       for --command-config, where the nodes ask who is there

Ports are drawn once and stay in the configurations. A controller is formatted once, before any node has run:
a wiped voter that were formatted again as its old self could vote twice (KIP-853). So an unfinished beginning is
swept away and done anew, and a finished one is never touched.
"""

import json
import pathlib
import random
import shutil
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import attrs

from quorate.admin.client_settings import load_client_settings
from quorate.admin.errors import Refused
from quorate.admin.output import plural
from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.broker.config import BrokerConfig
from quorate.controller.config import ControllerConfig
from quorate.metadata.connection import ClientSecurity
from quorate.metadata.features import DEFAULT_METADATA_VERSION, default_features
from quorate.metadata.ids import NodeId, random_uuid, uuid_to_text
from quorate.metadata.log.directory import FormatPlan, InitialVoter, Quorum, format_directory
from quorate.metadata.settings import read

Role = Literal["controller", "broker"]

DEFAULT_CONTROLLERS: Final = 3
DEFAULT_BROKERS: Final = 2
FIRST_BROKER_ID: Final = 101
"""So that an id tells the role."""
_SUMMARY: Final = "cluster.json"
_CLIENT: Final = "client.properties"
_UNFINISHED: Final = "cluster.json.unfinished"
_CONTROLLER_LISTENER: Final = "CONTROLLER"
_BROKER_LISTENER: Final = "PLAINTEXT"
_BROKER_GRACE_MS: Final = 5_000
"""Brokers that are stopped when their controllers are gone wait so long for a leave that nobody can give."""
_ITS_OWN: Final = frozenset({"node.id", "listeners", "metadata.log.dir"})
"""Keys that differ from node to node."""


@attrs.frozen(kw_only=True)
class NodeFiles:
    """One node: who it is, where it listens, and its files."""

    role: Role
    id: NodeId
    port: int
    config: pathlib.Path
    data: pathlib.Path
    log: pathlib.Path

    @property
    def name(self) -> str:
        return f"{self.role}-{self.id}"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@attrs.frozen(kw_only=True)
class ClusterFiles:
    """A cluster that can be started."""

    directory: pathlib.Path
    cluster_id: str
    controllers: tuple[NodeFiles, ...]
    brokers: tuple[NodeFiles, ...]

    @property
    def nodes(self) -> tuple[NodeFiles, ...]:
        return self.controllers + self.brokers

    @property
    def bootstrap(self) -> str:
        """For clients: the brokers, or the controllers where there are none."""
        return ",".join(node.address for node in self.brokers or self.controllers)

    @property
    def bootstrap_controllers(self) -> str:
        return ",".join(node.address for node in self.controllers)

    @property
    def client_config(self) -> pathlib.Path | None:
        """What clients need to be let in; None: nothing."""
        path = self.directory / _CLIENT
        return path if path.exists() else None

    def login(self) -> ClientSecurity:
        """How an administrator is let in by every node.

        Raises:
            InvalidSettings, CannotSecure: not as the file says.
        """
        return load_client_settings(self.client_config).login()


@attrs.frozen(kw_only=True)
class Wanted:
    """How many nodes, and settings beyond the written ones. None: as before, or the default at first."""

    controllers: int | None = None
    brokers: int | None = None
    controller_settings: Mapping[str, str] = attrs.field(factory=dict)
    broker_settings: Mapping[str, str] = attrs.field(factory=dict)
    client_settings: Mapping[str, str] = attrs.field(factory=dict)
    """What an administrator's client needs, where the nodes ask who is there."""
    metadata_version: int = DEFAULT_METADATA_VERSION
    """Of a new cluster, with the features that go with it."""
    cluster_id: str | None = None
    """Of a new cluster; None: one is drawn."""
    first_controller_id: int = 1
    """Of a new cluster; the others follow it."""


def lay_out(
    directory: pathlib.Path, ports: HeldPorts, rng: random.Random, wanted: Wanted | None = None
) -> ClusterFiles:
    """The cluster in a directory: the one that is there, or a new one. Holds the nodes' ports.

    Raises:
        Refused: the directory is somebody else's, holds another number of controllers, or a port is taken.
    """
    wanted = wanted or Wanted()
    directory = directory.absolute()
    _make(directory)
    if (directory / _SUMMARY).exists():
        files = _read(directory)
        _check_controllers(files, wanted)
        for node in files.nodes:
            ports.hold(node.port, node.name)
        return _with_brokers(files, ports, rng, wanted)
    _sweep_unfinished(directory)
    return _begin(directory, ports, rng, wanted)


def _make(directory: pathlib.Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise Refused(
            "There is no place for the cluster.",
            where=str(directory),
            why="this is a file",
            remedy="name a directory with --dir",
        ) from error


# --- a cluster that is there


def _read(directory: pathlib.Path) -> ClusterFiles:
    summary = directory / _SUMMARY
    try:
        cluster_id = json.loads(summary.read_text())["cluster_id"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            "The cluster in this directory cannot be read.",
            where=str(summary),
            why=f"it is not what `quorate dev` writes: {error}",
            remedy="put the file back as it was, or use another --dir",
        ) from error
    controllers = [_node_of(config, "controller") for config in directory.glob("controller-*.toml")]
    brokers = [_node_of(config, "broker") for config in directory.glob("broker-*.toml")]
    return ClusterFiles(
        directory=directory,
        cluster_id=cluster_id,
        controllers=_by_id(controllers),
        brokers=_by_id(brokers),
    )


def _node_of(config: pathlib.Path, role: Role) -> NodeFiles:
    """Ids, ports and directories are what the configuration says now, as the node itself will read it."""
    kind = ControllerConfig if role == "controller" else BrokerConfig
    loaded, _ = kind.load(config, {})
    return NodeFiles(
        role=role,
        id=loaded.node_id,
        port=loaded.listeners[0].port,
        config=config,
        data=loaded.metadata_log_dir,
        log=config.with_suffix(".log"),
    )


def _by_id(nodes: Iterable[NodeFiles]) -> tuple[NodeFiles, ...]:
    return tuple(sorted(nodes, key=lambda node: node.id))


def _check_controllers(files: ClusterFiles, wanted: Wanted) -> None:
    """The voters are in the log and not ours to change."""
    there = len(files.controllers)
    if wanted.controllers not in (None, there):
        raise Refused(
            f"This cluster has {plural(there, 'controller')}, not {wanted.controllers}.",
            where=str(files.directory),
            why="its voters were named when it was made, and are kept in its metadata log",
            remedy=f"leave --controllers out, say --controllers {there}, or use another --dir",
        )


def _with_brokers(files: ClusterFiles, ports: HeldPorts, rng: random.Random, wanted: Wanted) -> ClusterFiles:
    """More brokers join, fewer stay away."""
    brokers = list(files.brokers)
    if wanted.brokers is None:
        return files
    while len(brokers) < wanted.brokers:
        id = NodeId(max((node.id for node in brokers), default=FIRST_BROKER_ID - 1) + 1)
        added = _plan(files.directory, "broker", id, ports, rng)
        _write_config(
            added, files.bootstrap_controllers, {**_settings_like(files.brokers), **wanted.broker_settings}
        )
        _format(added, files.cluster_id, (), rng)
        brokers.append(added)
    return attrs.evolve(files, brokers=tuple(brokers[: wanted.brokers]))


def with_spare_controller(
    files: ClusterFiles, ports: HeldPorts, rng: random.Random
) -> tuple[ClusterFiles, NodeFiles]:
    """One controller more, which follows and does not vote until `quorate quorum add-controller` lets it."""
    spare = _plan(files.directory, "controller", NodeId(files.controllers[-1].id + 1), ports, rng)
    _write_config(spare, files.bootstrap_controllers, _settings_like(files.controllers))
    format_spare(spare, files.cluster_id, rng)
    return attrs.evolve(files, controllers=(*files.controllers, spare)), spare


def _settings_like(nodes: tuple[NodeFiles, ...]) -> dict[str, str]:
    """What a node that joins these takes over from the last of them: all but what makes it itself."""
    if not nodes:
        return {}
    texts = read(nodes[-1].config).texts
    return {key: text.value for key, text in texts.items() if key not in _ITS_OWN}


def format_spare(node: NodeFiles, cluster_id: str, rng: random.Random) -> None:
    """A controller's directory without voters in it, and with a directory id that nobody has had."""
    format_directory(
        FormatPlan(
            directory=node.data,
            cluster_id=cluster_id,
            node_id=node.id,
            listener=_CONTROLLER_LISTENER,
            is_controller=True,
            quorum=Quorum.NONE,
        ),
        rng,
    )


# --- a new cluster


def _sweep_unfinished(directory: pathlib.Path) -> None:
    """Removes what an earlier beginning left, and nothing else: no node has ever run on it."""
    unfinished = directory / _UNFINISHED
    if unfinished.exists():
        for pattern in ("controller-*", "broker-*"):
            for left in directory.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()
        unfinished.unlink()
    found = sorted(path.name for path in directory.iterdir())
    if found:
        raise Refused(
            "This directory is in use for something else.",
            where=str(directory),
            why=f"it holds {found[0]}{' and more' if len(found) > 1 else ''}, and no {_SUMMARY}",
            remedy="name an empty or a new directory with --dir",
        )


def _begin(directory: pathlib.Path, ports: HeldPorts, rng: random.Random, wanted: Wanted) -> ClusterFiles:
    (directory / _UNFINISHED).touch()
    controllers = DEFAULT_CONTROLLERS if wanted.controllers is None else wanted.controllers
    brokers = DEFAULT_BROKERS if wanted.brokers is None else wanted.brokers
    files = ClusterFiles(
        directory=directory,
        cluster_id=wanted.cluster_id or uuid_to_text(random_uuid(rng)),
        controllers=tuple(
            _plan(directory, "controller", NodeId(wanted.first_controller_id + index), ports, rng)
            for index in range(controllers)
        ),
        brokers=tuple(
            _plan(directory, "broker", NodeId(FIRST_BROKER_ID + index), ports, rng)
            for index in range(brokers)
        ),
    )
    voters = tuple(
        InitialVoter(id=node.id, host=LOOPBACK, port=node.port, directory_id=random_uuid(rng))
        for node in files.controllers
    )
    for node in files.nodes:
        extra = wanted.controller_settings if node.role == "controller" else wanted.broker_settings
        _write_config(node, files.bootstrap_controllers, extra)
    for node in files.nodes:
        _format(node, files.cluster_id, voters, rng, wanted.metadata_version)
    if wanted.client_settings:
        lines = (f"{key}={value}\n" for key, value in wanted.client_settings.items())
        (directory / _CLIENT).touch(mode=0o600)  # passwords are nobody else's to read
        (directory / _CLIENT).write_text("".join(lines))
    summary = json.dumps({"cluster_id": files.cluster_id}) + "\n"
    (directory / _UNFINISHED).write_text(summary)
    (directory / _UNFINISHED).rename(directory / _SUMMARY)
    return files


def _plan(directory: pathlib.Path, role: Role, id: NodeId, ports: HeldPorts, rng: random.Random) -> NodeFiles:
    name = f"{role}-{id}"
    return NodeFiles(
        role=role,
        id=id,
        port=ports.claim(rng),
        config=directory / f"{name}.toml",
        data=directory / name,
        log=directory / f"{name}.log",
    )


def _write_config(node: NodeFiles, controllers: str, extra: Mapping[str, str]) -> None:
    listener = _CONTROLLER_LISTENER if node.role == "controller" else _BROKER_LISTENER
    values = {
        "node.id": str(node.id),
        "process.roles": node.role,
        "listeners": f"{listener}://{node.address}",
        "controller.listener.names": _CONTROLLER_LISTENER,
        "controller.quorum.bootstrap.servers": controllers,
        "metadata.log.dir": str(node.data),
    }
    if node.role == "broker":
        values["quorate.controlled.shutdown.grace.ms"] = str(_BROKER_GRACE_MS)
    values |= extra
    lines = [
        f"# {node.name} of the cluster in this directory, written by `quorate dev`.",
        "# Change what you like and start the node again; id, port and directory must stay.",
        *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()),
    ]
    node.config.write_text("\n".join(lines) + "\n")


def _format(
    node: NodeFiles,
    cluster_id: str,
    voters: tuple[InitialVoter, ...],
    rng: random.Random,
    metadata_version: int = DEFAULT_METADATA_VERSION,
) -> None:
    """`quorate storage format`, with the first voters for controllers and with none for brokers."""
    is_controller = node.role == "controller"
    plan = FormatPlan(
        directory=node.data,
        cluster_id=cluster_id,
        node_id=node.id,
        listener=_CONTROLLER_LISTENER,
        is_controller=is_controller,
        quorum=Quorum.INITIAL_CONTROLLERS if is_controller else Quorum.NONE,
        initial=voters,
        metadata_version=metadata_version,
        other_features=tuple(default_features(metadata_version).items()),
    )
    format_directory(plan, rng)
