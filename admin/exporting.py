"""All that a directory holds, as plain documents: the newest snapshot's records, then those of the log behind it.

    {"kind": "directory", "cluster_id", "node_id", "log_start", "log_end", "last_epoch", "snapshot"}
    {"kind": "snapshot", "snapshot", "offset", "epoch", "control", "type", "version", "data", …}     offsets of its own
    {"kind": "record",               "offset", "epoch", "control", "type", "version", "data", …}
    {"kind": "end", "records", "image_offset", "image_digest"}

Whoever reads it can tell that it is whole: the last line is there, and the number of records before it fits.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from quorate.admin.image_building import ImageBuilder
from quorate.admin.offline_log import LogFiles
from quorate.admin.record_text import placed_record_document
from quorate.metadata.ids import LOG_START
from quorate.metadata.image.writer import digest
from quorate.metadata.log.directory import DirectoryInfo
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.snapshot_files import SnapshotReader


def exported(directory: pathlib.Path, info: DirectoryInfo) -> Iterator[dict[str, Any]]:
    """One document per line.

    Raises:
        ReplayError, InvariantViolated: records that cannot be true.
    """
    newest = next((one for one in reversed(info.log.snapshots) if one.offset > 0), LOG_START)
    yield {
        "kind": "directory",
        "cluster_id": info.meta.cluster_id,
        "node_id": info.meta.node_id,
        "log_start": info.log.start,
        "log_end": info.log.end.offset,
        "last_epoch": info.log.end.epoch,
        "snapshot": str(newest) if newest.offset else None,
    }
    builder, count = ImageBuilder(), 0
    if newest.offset:
        reader = SnapshotReader(RealFiles(), directory)
        for batch in reader.batches(newest):
            for offset, record in enumerate(batch.records(), batch.base_offset):
                count += 1
                yield {
                    "kind": "snapshot",
                    "snapshot": str(newest),
                    **placed_record_document(batch, offset, record),
                }
        builder.load_snapshot(newest, reader.batches(newest))
    for batch in LogFiles.at(directory).batches(newest.offset):
        builder.add(batch)
        for offset, record in enumerate(batch.records(), batch.base_offset):
            count += 1
            yield {"kind": "record", **placed_record_document(batch, offset, record)}
    image = builder.image()
    yield {
        "kind": "end",
        "records": count,
        "image_offset": image.offset,
        "image_digest": digest(image).hex(),
    }
