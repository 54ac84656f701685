"""A whole tree as records, in the order of Kafka's own copy (KIP-866), sorted within each step.

Kafka reads in whatever order ZooKeeper lists; sorted, two readings of one tree are the same bytes of the log. What
Kafka does not copy (features, brokers, requests of old tools, notifications, consumers' offsets) is not copied here.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import attrs

from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.admin_nodes import decode_partitions, decode_reassignment
from quorate.metadata.zookeeper.kafka_znodes.family import Family
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.nodes import (
    NO_KRAFT_EPOCH,
    ControllerZnode,
    MigrationZnode,
    decode_broker,
    decode_cluster_id,
    decode_controller,
    decode_controller_epoch,
    decode_migration,
)
from quorate.metadata.zookeeper.kafka_znodes.read_configs import ConfigsReader
from quorate.metadata.zookeeper.kafka_znodes.read_security import SecurityReader
from quorate.metadata.zookeeper.kafka_znodes.read_topics import TopicsReader
from quorate.metadata.zookeeper.kafka_znodes.reading import BrokerNode, Reading, ReadOptions
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Troubles
from quorate.metadata.zookeeper.znodes import Tree

T = TypeVar("T")

MOST_BYTES: Final = 1_048_576
"""A znode with more data than this is beyond ZooKeeper's default limit (jute.maxbuffer)."""
_TOPICS_SHOWN: Final = 5
_NO_BROKER: Final = "Start a broker once, which writes it"


def read(tree: Tree, options: ReadOptions) -> Reading:
    """Reads all of it; whatever cannot be read is a trouble of the reading."""
    family = Family(tree)
    troubles = Troubles(options.lenient)
    cluster = _ClusterReader(family, troubles)
    cluster_id = cluster.cluster_id()
    epoch = cluster.controller_epoch()
    topics = TopicsReader(family, options, troubles, epoch)
    configs = ConfigsReader(family, options, troubles)
    security = SecurityReader(family, troubles, cluster_id)
    batches = [
        *topics.batches(),
        *configs.brokers(),
        *configs.clients(),
        *configs.producer_ids(),
        *security.acls(),
        *security.tokens(),
    ]
    brokers = cluster.brokers()
    cluster.look_at_placement(brokers, topics)
    cluster.look_at_requests()
    cluster.look_at_sizes()
    controller_node, epoch_node = family.get(paths.CONTROLLER), family.get(paths.CONTROLLER_EPOCH)
    return Reading(
        cluster_id=cluster_id,
        controller=cluster.controller(),
        controller_is_ephemeral=controller_node is not None and controller_node.stat.ephemeral_owner != 0,
        controller_epoch=epoch,
        controller_epoch_version=-1 if epoch_node is None else epoch_node.stat.version,
        highest_controller_epoch=topics.highest_controller_epoch,
        brokers=brokers,
        assigned=dict(sorted(topics.assigned.items())),
        migration=cluster.migration(),
        pending_deletions=tuple(topics.pending),
        defaulted=tuple(topics.defaulted),
        batches=tuple(batches),
        troubles=troubles.sorted(),
    )


@attrs.define
class _ClusterReader:
    """What is about the cluster as a whole, and is not copied."""

    family: Family
    troubles: Troubles

    def _decoded(self, path: str, decode: Callable[[bytes | None], T], missing: str, remedy: str) -> T | None:
        """`missing`: the words where the znode is not there; "": then there is nothing to say."""
        node = self.family.get(path)
        if node is None:
            if missing:
                self.troubles.block(Category.CLUSTER, path, "no-znode", missing, remedy)
            return None
        try:
            return decode(node.data)
        except FormError as error:
            self.troubles.block(Category.CLUSTER, path, error.code, str(error), remedy)
            return None

    def cluster_id(self) -> str | None:
        missing = "The cluster has no id: this is no Kafka cluster's ZooKeeper, or the chroot is another one"
        remedy = "Look at the chroot in zookeeper.connect of the brokers"
        return self._decoded(paths.CLUSTER_ID, decode_cluster_id, missing, remedy)

    def controller_epoch(self) -> int | None:
        missing = "No controller was ever elected"
        return self._decoded(paths.CONTROLLER_EPOCH, decode_controller_epoch, missing, _NO_BROKER)

    def controller(self) -> ControllerZnode | None:
        remedy = "Remove it when no controller is at work; a broker claims it anew"
        controller = self._decoded(paths.CONTROLLER, decode_controller, "", remedy)
        if controller is not None and controller.kraft_epoch != NO_KRAFT_EPOCH:
            words = (
                f"Controller {controller.broker_id} of a quorum claimed it at epoch {controller.kraft_epoch}"
            )
            self.troubles.warn(
                Category.CLUSTER,
                paths.CONTROLLER,
                "foreign-controller",
                words,
                "If that was an earlier attempt, roll it back before another one",
            )
        return controller

    def migration(self) -> MigrationZnode | None:
        remedy = "Remove it if no migration is going on"
        migration = self._decoded(paths.MIGRATION, decode_migration, "", remedy)
        if migration is not None and migration.is_copied:
            words = f"A quorum's log was copied up to offset {migration.offset} of epoch {migration.epoch}"
            self.troubles.warn(
                Category.CLUSTER,
                paths.MIGRATION,
                "already-copied",
                words,
                "If that attempt was given up, remove it: an empty quorum that believes it would empty ZooKeeper",
            )
        return migration

    def brokers(self) -> dict[int, BrokerNode]:
        found: dict[int, BrokerNode] = {}
        for name in self.family.children(paths.BROKER_IDS):
            path = f"{paths.BROKER_IDS}/{name}"
            if not name.isdecimal():
                error = FormError("malformed-name", f"{name!r} is no broker's id")
                self.troubles.undecodable(Category.BROKERS, path, error)
                continue
            node = self.family.tree[path]
            try:
                znode = decode_broker(node.data)
            except FormError as error:
                self.troubles.undecodable(Category.BROKERS, path, error, "The broker registers by itself")
                znode = None
            found[int(name)] = BrokerNode(id=int(name), epoch=node.stat.czxid, znode=znode)
        return dict(sorted(found.items()))

    def look_at_placement(self, brokers: dict[int, BrokerNode], topics: TopicsReader) -> None:
        for broker_id in sorted(topics.assigned):
            if broker_id in brokers:
                continue
            named = list(topics.named_by[broker_id])
            more = f" and {len(named) - _TOPICS_SHOWN} more" if len(named) > _TOPICS_SHOWN else ""
            words = (
                f"Broker {broker_id} holds {topics.assigned[broker_id]} replicas and is not there; a migration waits "
                f"until it registers. Topics: {', '.join(named[:_TOPICS_SHOWN])}{more}"
            )
            remedy = "Start it, or reassign its partitions if it is gone for good"
            path = f"{paths.BROKER_IDS}/{broker_id}"
            self.troubles.warn(Category.BROKERS, path, "missing-broker", words, remedy)

        known = {str(broker_id) for broker_id in (*brokers, *topics.assigned)}
        for name in self.family.children(paths.BROKER_CONFIGS):
            if name.isdecimal() and name not in known:
                words = f"There is no broker {name}, and it has configs: they are copied"
                path = paths.broker_config(name)
                self.troubles.note(Category.BROKER_CONFIGS, path, "no-such-broker", words)

    def look_at_requests(self) -> None:
        """Requests of old tools that no controller has begun: Kafka's copy drops them too."""
        self._requests(paths.REASSIGN_PARTITIONS, decode_reassignment, "reassignments")
        self._requests(paths.PREFERRED_ELECTION, decode_partitions, "elections")

    def _requests(self, path: str, decode: Callable[[bytes | None], object], what: str) -> None:
        node = self.family.get(path)
        if node is None:
            return
        remedy = "Wait until the controller has taken them up, or ask for them again after the migration"
        try:
            decode(node.data)
            words = f"There are {what} that were asked for and not begun: they are not copied"
        except FormError as error:
            words = f"There are {what} that mean nothing: {error}. They are not copied"
        self.troubles.warn(Category.CLUSTER, path, "request-dropped", words, remedy)

    def look_at_sizes(self) -> None:
        for path, node in self.family.tree.items():
            size = len(node.data or b"")
            if size > MOST_BYTES:
                words = f"It has {size:,} bytes, above ZooKeeper's default limit of {MOST_BYTES:,}"
                remedy = "Set jute.maxbuffer of the migration's client as high as the brokers have it"
                self.troubles.warn(Category.CLUSTER, path, "oversized", words, remedy)
