"""An image with many partitions: memory, and the time to write and load its snapshot."""

import gc
import pathlib
import random
import time
from typing import Any

import attrs
import trio

from benchmarks import machine
from benchmarks.clusters import resident_mb
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey, random_uuid
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.image.writer import image_records
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.segments import SegmentedLog
from quorate.metadata.node import SnapshotSource, write_snapshot
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.records import FeatureLevelRecord, PartitionRecord, TopicRecord

_PARTITIONS_PER_TOPIC = 1_000
_BROKERS = 100
_REPLICAS = 3
_TICK_MS = 1.0


async def run(directory: pathlib.Path, *, partitions: int) -> dict[str, Any]:
    """RF 3 over 100 brokers. The loop's longest stall is measured while the snapshot is written."""
    yardstick = await machine.measure(directory)
    before_mb = resident_mb_of_self()
    began = time.perf_counter()
    image = _image(partitions)
    built_s = time.perf_counter() - began
    gc.collect()
    image_mb = resident_mb_of_self() - before_mb
    log, _ = SegmentedLog.open(RealFiles(), _fresh(directory))
    snapshot_id = OffsetAndEpoch(Offset(image.provenance.offset + 1), Epoch(1))
    stall_ms, write_s = await _write(log, image, snapshot_id)
    size = log.read_snapshot_chunk(snapshot_id, 0, 1)[0]
    began = time.perf_counter()
    load = SnapshotLoad(snapshot_id)
    longest_ms = 0.0
    at = time.perf_counter()
    for _ in load.steps(log.snapshot_records(snapshot_id)):
        now = time.perf_counter()
        longest_ms, at = max(longest_ms, (now - at) * 1000), now
    loaded = load.image()
    load_s = time.perf_counter() - began
    log.close()
    if loaded.topics.partition_count != image.topics.partition_count:
        raise RuntimeError("the loaded image is not the one that was written")
    return {
        "machine": attrs.asdict(yardstick),
        "partitions": image.topics.partition_count,
        "bytes_per_partition": image_mb * 1e6 / partitions,
        "build_s": built_s,
        "snapshot_mb": size / 1e6,
        "snapshot_write_s": write_s,
        "snapshot_write_longest_stall_ms": stall_ms,
        "snapshot_load_s": load_s,
        "snapshot_load_longest_step_ms": longest_ms,
    }


def resident_mb_of_self() -> float:
    return resident_mb(int(pathlib.Path("/proc/self").readlink().name))


def _fresh(directory: pathlib.Path) -> pathlib.Path:
    made = directory / "image"
    made.mkdir()
    return made


def _image(partitions: int) -> MetadataImage:
    rng = random.Random(1)
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay(FeatureLevelRecord(name="metadata.version", feature_level=21))
    directory_ids = {broker: random_uuid(rng) for broker in range(_BROKERS)}
    for number in range(-(-partitions // _PARTITIONS_PER_TOPIC)):
        topic_id = random_uuid(rng)
        delta.replay(TopicRecord(name=f"topic-{number}", topic_id=topic_id))
        count = min(_PARTITIONS_PER_TOPIC, partitions - number * _PARTITIONS_PER_TOPIC)
        for index in range(count):
            replicas = tuple(NodeId((number + index + step) % _BROKERS) for step in range(_REPLICAS))
            record = PartitionRecord(
                version=1,
                partition_id=index,
                topic_id=topic_id,
                replicas=replicas,
                isr=replicas,
                removing_replicas=(),
                adding_replicas=(),
                leader=replicas[0],
                leader_epoch=0,
                partition_epoch=0,
                directories=tuple(directory_ids[broker] for broker in replicas),
            )
            delta.replay(record)
    return delta.apply(Provenance(offset=partitions + 10, epoch=1, append_time_ms=0))


async def _write(log: SegmentedLog, image: MetadataImage, snapshot_id: OffsetAndEpoch) -> tuple[float, float]:
    """(longest stall of the loop in ms, seconds): the very code that a node runs beside its elections."""
    core = RaftCore(
        QuorumConfig(replica=ReplicaKey(NodeId(1)), cluster_id="benchmark"),
        ElectionState.primordial(),
        log.summary(),
        random.Random(1),
    )
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            began = trio.current_time()
            await trio.sleep(_TICK_MS / 1000)
            stalls.append((trio.current_time() - began) * 1000 - _TICK_MS)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await write_snapshot(core, log, SnapshotSource(snapshot_id, 0, image_records(image)))
        nursery.cancel_scope.cancel()
    return max(stalls, default=0.0), time.perf_counter() - began
