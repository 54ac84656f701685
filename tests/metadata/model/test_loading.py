"""A snapshot's batches become its image."""

import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image import Provenance, image_records
from quorate.metadata.image.loading import SnapshotLoad
from quorate.metadata.records import AnyRecord, SnapshotFooterRecord, SnapshotHeaderRecord
from tests.metadata.model.building import image_of, partition
from tests.metadata.model.test_writer import everything

ID = OffsetAndEpoch(Offset(500), Epoch(7))


def batches(data: list[list[AnyRecord]]) -> list[RecordBatch]:
    header = SnapshotHeaderRecord(last_contained_log_timestamp=1_700_000_000_000, end_offset=500, epoch=7)
    whole: list[tuple[list[AnyRecord], bool]] = [([header], True)]
    whole += [(records, False) for records in data]
    whole += [([SnapshotFooterRecord()], True)]
    sealed: list[RecordBatch] = []
    for records, is_control in whole:
        base = sealed[-1].end_offset if sealed else Offset(0)
        sealed.append(
            RecordBatch.seal(
                records, base_offset=base, epoch=ID.epoch, append_time_ms=5, is_control=is_control
            )
        )
    return sealed


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_snapshot_becomes_the_image_that_it_was_written_from(size: int) -> None:
    image = image_of(everything())
    written: list[AnyRecord] = list(image_records(image))
    pieces = batches([written[i : i + size] for i in range(0, len(written), size)])
    load = SnapshotLoad(ID)
    assert len(list(load.steps(pieces))) == len(pieces)
    assert load.image().same_metadata(image)
    assert load.image().provenance == Provenance(offset=499, epoch=7, append_time_ms=1_700_000_000_000)


def test_a_snapshot_that_cannot_be_true_stops_the_process() -> None:
    load = SnapshotLoad(ID)
    with pytest.raises(
        InvariantViolated, match=r"snapshot 500@7 cannot be interpreted: offset 1: .*does not exist"
    ):
        list(load.steps(batches([[partition()]])))
