"""Metadata directories made by hand, for the tests of commands that look at them: `Disk` and its relatives."""

import random
import shutil
import uuid

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.directory import FormatPlan, Quorum, format_directory, open_directory
from quorate.metadata.log.snapshot_format import SnapshotComposer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.records import FeatureLevelRecord, LeaderChangeRecord, NoOpRecord, TopicRecord

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
WALL_MS = 1_700_000_000_000


def topic(name):
    return TopicRecord(name=name, topic_id=uuid.uuid5(uuid.NAMESPACE_DNS, name))


BATCHES = (
    (FeatureLevelRecord(name="metadata.version", feature_level=21),),
    (topic("a"), topic("b")),
    (NoOpRecord(),),
    (topic("c"),),
)
ENDS = (2, 4, 5, 6)
"""Behind each batch; offset 0 is the leader's own."""


class Disk:
    """A formatted directory with a log: one control batch, then `BATCHES`."""

    def __init__(self, path, *, batches=BATCHES, port=9093, cluster_id=CLUSTER):
        self.path = path
        self.epoch = Epoch(1)
        plan = FormatPlan(
            directory=path,
            cluster_id=cluster_id,
            node_id=NodeId(1),
            listener="CONTROLLER",
            is_controller=True,
            quorum=Quorum.STANDALONE,
            endpoint=Endpoint("CONTROLLER", "localhost", port),
        )
        format_directory(plan, random.Random(1))
        self.lead(1)
        for records in batches:
            self.write(records)

    @classmethod
    def twin(cls, other, path):
        """A copy of the directory, to go on in its own way."""
        made = cls.__new__(cls)
        shutil.copytree(other.path, path)
        made.path, made.epoch = path, other.epoch
        return made

    def lead(self, epoch):
        """The node is elected: it knows, and opens its epoch."""
        self.epoch = Epoch(epoch)
        opened = open_directory(self.path, node_id=NodeId(1), is_controller=True)
        opened.elections.write(ElectionState(self.epoch, leader_id=NodeId(1)))
        opened.close()
        leader = LeaderChangeRecord(version=1, leader_id=1, voters=(), granting_voters=())
        self.write([leader], control=True)

    def write(self, records, *, control=False):
        with self.opened() as log:
            self.append(log, records, control=control)

    def opened(self):
        return _Opened(self.path)

    def append(self, log, records, *, control=False):
        end = log.summary().end.offset
        batch = RecordBatch.seal(
            records, base_offset=end, epoch=self.epoch, append_time_ms=WALL_MS + end, is_control=control
        )
        log.append([batch], flushed_to=end)
        log.flush()

    def snapshot(self, log, end, records):
        """A whole snapshot with these records, right or wrong."""
        snapshot_id = OffsetAndEpoch(Offset(end), Epoch(1))
        composer = SnapshotComposer(snapshot_id, wall_ms=WALL_MS)
        writer = log.new_snapshot(snapshot_id)
        writer.append(composer.header(last_contained_log_timestamp=WALL_MS + end - 1))
        writer.append(composer.data(records))
        writer.append(composer.footer())
        writer.finish()

    @property
    def segment(self):
        return self.path / "00000000000000000000.log"


class _Opened:
    def __init__(self, path):
        self._directory = open_directory(path, node_id=NodeId(1), is_controller=True)

    def __enter__(self):
        return self._directory.log

    def __exit__(self, *_):
        self._directory.close()
