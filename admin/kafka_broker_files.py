"""What lies in the directory of one of Kafka's own brokers: its configuration, its log directories, what it says.

    server.properties       ordinary; written once, to be changed at will but for id, ports and directories
    data-0/meta.properties  which cluster, which broker, which disk: all that a broker needs to find in a new directory
    broker.log              what it says

A broker of Kafka's needs no `kafka-storage format`: it takes the directory's identity from meta.properties, and all
else from the quorum.
"""

import pathlib
import random
from collections.abc import Mapping
from typing import Final

import attrs

from quorate.admin.errors import Refused
from quorate.admin.ports import LOOPBACK
from quorate.metadata.ids import random_uuid, uuid_to_text

META: Final = "meta.properties"
_SETTINGS: Final = "server.properties"
_LISTENER: Final = "PLAINTEXT"


@attrs.frozen(kw_only=True)
class KafkaBrokerFiles:
    """One broker of Kafka's: who it is, where it listens, and its files."""

    id: int
    port: int
    directory: pathlib.Path

    @property
    def name(self) -> str:
        return f"kafka-{self.id}"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def config(self) -> pathlib.Path:
        return self.directory / _SETTINGS

    @property
    def log(self) -> pathlib.Path:
        return self.directory / "broker.log"


@attrs.frozen(kw_only=True)
class KafkaBrokerPlan:
    """What a new broker needs to know."""

    id: int
    port: int
    directory: pathlib.Path
    cluster_id: str
    controllers: str
    """controller.quorum.bootstrap.servers."""
    controller_listener: str = "CONTROLLER"
    """The listener's name that the controllers have in the log: a broker looks for them by it."""
    log_dirs: int = 1
    replication: int = 1
    """Of the topics that brokers create for themselves; not more than there are brokers."""
    settings: Mapping[str, str] = attrs.field(factory=dict)
    """Beyond the written ones, or instead of them."""


def lay_out_broker(plan: KafkaBrokerPlan, rng: random.Random) -> KafkaBrokerFiles:
    """Makes the directory of a new broker; one that is there is not touched.

    Raises:
        Refused: the directory is of another broker or cluster.
    """
    files = KafkaBrokerFiles(id=plan.id, port=plan.port, directory=plan.directory)
    if files.config.exists():
        return find_broker(plan.directory, plan.cluster_id)
    data = [plan.directory / f"data-{number}" for number in range(plan.log_dirs)]
    for each in data:
        each.mkdir(parents=True, exist_ok=True)
        write_meta(each, cluster_id=plan.cluster_id, broker_id=plan.id, rng=rng)
    values = _values(plan, data) | dict(plan.settings)
    lines = [
        f"# {files.name}: one of Apache Kafka's own brokers on a quorum of Quorate's controllers.",
        "# Change what you like and start it again; id, ports and directories must stay.",
        *(f"{key}={value}" for key, value in values.items()),
    ]
    files.config.write_text("\n".join(lines) + "\n")
    return files


def find_broker(directory: pathlib.Path, cluster_id: str) -> KafkaBrokerFiles:
    """A broker that was laid out before.

    Raises:
        Refused: it belongs to another cluster, or cannot be read.
    """
    path = directory / _SETTINGS
    values = read_properties(path)
    try:
        id, port = int(values["node.id"]), int(values["listeners"].rpartition(":")[2])
        first = pathlib.Path(values["log.dirs"].partition(",")[0])
    except (KeyError, ValueError) as error:
        raise Refused(
            "A broker's directory cannot be read.",
            where=str(path),
            why=f"it is not what `quorate kafka up` writes: {error}",
            remedy="put the file back as it was, or use another --dir",
        ) from error
    known = read_properties(first / META).get("cluster.id")
    if known != cluster_id:
        raise Refused(
            f"This broker belongs to cluster {known}, not to {cluster_id}.",
            where=str(first / META),
            why="its data are those of another cluster's topics",
            remedy="use another --dir for each cluster",
        )
    return KafkaBrokerFiles(id=id, port=port, directory=directory)


def write_meta(directory: pathlib.Path, *, cluster_id: str, broker_id: int, rng: random.Random) -> str:
    """Gives a log directory of a broker its identity; returns the directory id that was drawn."""
    drawn = uuid_to_text(random_uuid(rng))
    lines = ("version=1", f"cluster.id={cluster_id}", f"node.id={broker_id}", f"directory.id={drawn}")
    (directory / META).write_text("\n".join(lines) + "\n")
    return drawn


def read_properties(path: pathlib.Path) -> dict[str, str]:
    """The pairs of a simple .properties file; empty if there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _values(plan: KafkaBrokerPlan, data: list[pathlib.Path]) -> dict[str, str]:
    replication = str(plan.replication)
    in_sync = str(min(2, plan.replication))
    controller = plan.controller_listener
    return {
        "node.id": str(plan.id),
        "process.roles": "broker",
        "listeners": f"{_LISTENER}://{LOOPBACK}:{plan.port}",
        "controller.listener.names": controller,
        "listener.security.protocol.map": f"{controller}:PLAINTEXT,{_LISTENER}:PLAINTEXT",
        "controller.quorum.bootstrap.servers": plan.controllers,
        "log.dirs": ",".join(map(str, data)),
        # A few brokers on one machine: small topics of their own, and no waiting for more members.
        "offsets.topic.num.partitions": "3",
        "offsets.topic.replication.factor": replication,
        "transaction.state.log.num.partitions": "3",
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
    }
