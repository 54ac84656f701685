"""A broker's directory in ZooKeeper mode: who it is, and nothing of a quorum's log."""

import random
from pathlib import Path

import pytest

from quorate.broker.zookeeper_config import ZooKeeperBrokerConfig
from quorate.broker.zookeeper_directory import claim_directory
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, NodeId, Offset
from quorate.metadata.log.directory import open_directory
from quorate.metadata.log.refusals import StorageRefused
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.records import NoOpRecord

CLUSTER = "k3hT0mWcQ1uV8yZb5xN2Lg"


def config(directory: Path) -> ZooKeeperBrokerConfig:
    return ZooKeeperBrokerConfig.of(
        {
            "broker.id": "1",
            "zookeeper.connect": "localhost:2181",
            "listeners": "PLAINTEXT://localhost:9092",
            "zookeeper.metadata.migration.enable": "true",
            "controller.quorum.bootstrap.servers": "localhost:9093",
            "controller.listener.names": "CONTROLLER",
            "metadata.log.dir": str(directory),
        }
    )


def live_in_kraft_mode(directory: Path) -> None:
    """Follows a quorum for a while, up to epoch 7."""
    found = open_directory(directory, node_id=NodeId(1), is_controller=False, cluster_id=CLUSTER)
    found.elections.write(ElectionState(epoch=Epoch(7)))
    found.log.append(
        [RecordBatch.seal([NoOpRecord()], base_offset=Offset(0), epoch=Epoch(7), append_time_ms=0)],
        Offset(0),
    )
    found.log.flush()
    found.close()


def test_the_log_of_an_earlier_attempt_is_gone_and_the_broker_is_the_same(tmp_path: Path) -> None:
    """The next quorum begins at epoch 1 under the same cluster id: what lies there could look like its beginning."""
    first = claim_directory(config(tmp_path / "d"), CLUSTER, random.Random(1))
    live_in_kraft_mode(tmp_path / "d")

    again = claim_directory(config(tmp_path / "d"), CLUSTER, random.Random(2))

    assert again == first
    found = open_directory(tmp_path / "d", node_id=NodeId(1), is_controller=False, cluster_id=CLUSTER)
    assert (found.log.summary().end.offset, found.election.epoch) == (0, 0)
    found.close()


def test_another_clusters_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    claim_directory(config(tmp_path / "d"), CLUSTER, random.Random(1))
    live_in_kraft_mode(tmp_path / "d")
    with pytest.raises(StorageRefused):
        claim_directory(config(tmp_path / "d"), "AnotherClusterIdHere22", random.Random(1))
    found = open_directory(tmp_path / "d", node_id=NodeId(1), is_controller=False, cluster_id=CLUSTER)
    assert found.log.summary().end.offset == 1
    found.close()
