"""The directory of a broker in ZooKeeper mode: who it is, and later, in KRaft mode, its metadata (shell).

Kafka's brokers write their `meta.properties` by themselves in ZooKeeper mode, since the cluster's id comes from
ZooKeeper; so does this one. The directory's id stays the same when the broker moves to the quorum.
"""

import random
import uuid
from pathlib import Path

from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.metadata.log.directory import FormatPlan, Quorum, discard_copy, format_directory
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.identity import MetaProperties, check_identity, read_meta
from quorate.metadata.log.layout import QUORUM_STATE
from quorate.metadata.log.refusals import HalfFormatted, NotFormatted


def claim_directory(config: ZooKeeperBrokerConfig, cluster_id: str, rng: random.Random) -> uuid.UUID | None:
    """The id of the broker's directory, which is made ready if it is not, and holds no log; None: it has none.

    Raises:
        StorageRefused: it is another node's, or another cluster's.
        StorageFailed: the disk does not answer.
    """
    directory = config.metadata_log_dir
    if directory is None:
        return None
    try:
        meta = read_meta(RealFiles(), directory)
        check_identity(meta, directory, node_id=config.node_id, cluster_id=cluster_id)
        _forget_log(directory, meta)
    except (NotFormatted, HalfFormatted):
        plan = FormatPlan(
            directory=directory,
            cluster_id=cluster_id,
            node_id=config.node_id,
            listener="",
            is_controller=False,
            quorum=Quorum.NONE,
        )
        meta = format_directory(plan, rng).meta
    return meta.directory_id


def _forget_log(directory: Path, meta: MetaProperties) -> None:
    """Throws away what a time in KRaft mode has left in the directory; who it is stays.

    ZooKeeper is the truth here. Another attempt at the migration has another quorum, whose epochs begin at 1 again
    under the same cluster id: an old log could look like a beginning of the new one, and be built upon (KAFKA-16463).
    """
    files = RealFiles()
    discard_copy(directory, meta.recovery_id, files)
    if QUORUM_STATE in files.names(directory):
        files.remove(directory / QUORUM_STATE)
        files.sync_directory(directory)
