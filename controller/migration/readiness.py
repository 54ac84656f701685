"""What a migration waits for, in words for its operator (pure; KIP-866)."""

from collections.abc import Iterable, Mapping

from quorate.metadata.ids import NodeId
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.zookeeper.kafka_znodes import paths
from quorate.metadata.zookeeper.kafka_znodes.nodes import MigrationZnode
from quorate.metadata.zookeeper.kafka_znodes.reading import Reading
from quorate.metadata.zookeeper.kafka_znodes.troubles import Category, Severity, Trouble


def missing_controllers(image: MetadataImage, voters: Iterable[int]) -> tuple[str, ...]:
    """The voters that have not said yet that they can take part."""
    missing = []
    for node_id in sorted(voters):
        known = image.cluster.controllers.get(NodeId(node_id))
        if known is None:
            missing.append(f"controller {node_id} has not registered")
        elif not known.zk_migration_ready:
            missing.append(f"controller {node_id} was started without zookeeper.metadata.migration.enable")
    return tuple(missing)


def missing_brokers(image: MetadataImage, in_zookeeper: Iterable[int]) -> tuple[str, ...]:
    """The live brokers of ZooKeeper that have not registered with the quorum; a fenced registration counts.

    Kafka waits for every broker that is named in an assignment too, for ever if one was decommissioned. Here such
    brokers are a warning of `plan`.
    """
    missing = []
    for broker_id in sorted(in_zookeeper):
        known = image.cluster.broker(broker_id)
        if known is None:
            missing.append(f"broker {broker_id} is in ZooKeeper and has not registered with the quorum")
        elif not known.is_migrating_zk_broker:
            missing.append(f"broker {broker_id} is in ZooKeeper and has registered in KRaft mode")
    return tuple(missing)


def brokers_of_the_quorum(image: MetadataImage) -> tuple[str, ...]:
    """The brokers that could not go on without the quorum: alive, and not in ZooKeeper mode."""
    return tuple(
        f"broker {broker.id} runs in KRaft mode"
        for broker in sorted(image.cluster.brokers.values(), key=lambda broker: broker.id)
        if not broker.is_migrating_zk_broker and not broker.fenced
    )


def brokers_of_zookeeper(image: MetadataImage, in_zookeeper: Iterable[int]) -> tuple[str, ...]:
    """The brokers that would be lost if the quorum kept the cluster: still in ZooKeeper mode."""
    registered = (broker.id for broker in image.cluster.brokers.values() if broker.is_migrating_zk_broker)
    return tuple(
        f"broker {broker_id} runs in ZooKeeper mode" for broker_id in sorted({*registered, *in_zookeeper})
    )


def blockers(
    reading: Reading, cluster_id: str, others: Iterable[Trouble] = ()
) -> tuple[Mapping[str, str], ...]:
    """Why this tree cannot be copied, as the status shows it; none: it can. `others`: found besides the reading's."""
    found = [*reading.of(Severity.BLOCKER), *others]
    if reading.cluster_id is not None and reading.cluster_id != cluster_id:
        found.append(
            _of_the_cluster(
                "another-cluster",
                paths.CLUSTER_ID,
                f"ZooKeeper has cluster {reading.cluster_id}, and the controllers were formatted for {cluster_id}",
                f"Format new directories for the controllers with --cluster-id {reading.cluster_id}",
            )
        )
    return tuple(
        {
            "code": one.code,
            "path": one.path,
            "category": one.category.value,
            "words": one.words,
            "remedy": one.remedy,
        }
        for one in found
    )


def leftover(migration: MigrationZnode | None, is_ours: bool) -> tuple[Trouble, ...]:
    """Why an old /migration forbids a copy; nothing if it does not.

    To a Kafka that finds it, it says "the copy is done": reconciling then deleted everything in ZooKeeper that the
    empty log did not have (Strimzi #11262).
    """
    if migration is None or not migration.is_copied or is_ours:
        return ()
    whose = migration.extra.get("attempt")
    attempt = "" if whose is None else f" (attempt {whose})"
    words = (
        f"/migration says that controller {migration.controller_id} has copied this cluster up to offset "
        f"{migration.offset}{attempt}, and this quorum's log has nothing of it"
    )
    remedy = "If no other quorum is at work, delete /migration in ZooKeeper"
    return (_of_the_cluster("leftover", paths.MIGRATION, words, remedy),)


def _of_the_cluster(code: str, path: str, words: str, remedy: str) -> Trouble:
    return Trouble(
        category=Category.CLUSTER,
        severity=Severity.BLOCKER,
        code=code,
        path=path,
        words=words,
        remedy=remedy,
    )
